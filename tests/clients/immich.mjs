// What Immich's server sends, with the fetch and FormData of its own runtime: `node immich.mjs URL PICTURE MODEL`.
import { readFile } from 'node:fs/promises';

const [url, picture, model] = process.argv.slice(2);

async function predict(entries, add) {
  const form = new FormData();
  form.append('entries', JSON.stringify(entries));
  add(form);
  const response = await fetch(new URL('/predict', url), { method: 'POST', body: form });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return response.json();
}

function vector(answer) {
  if (typeof answer.clip !== 'string') throw new Error('clip must be a string');
  const vector = JSON.parse(answer.clip);
  const norm = Math.hypot(...vector);
  if (Math.abs(norm - 1) > 1e-4) throw new Error(`the norm is ${norm}`);
  return vector;
}

if (process.env.RECORD !== 'textual') {
  const bytes = await readFile(picture);
  const visual = await predict({ clip: { visual: { modelName: model } } }, (form) =>
    form.append('image', new Blob([new Uint8Array(bytes)])),
  );
  vector(visual);
  if (!(visual.imageWidth > 0 && visual.imageHeight > 0)) throw new Error('no size');
}
if (process.env.RECORD !== 'visual') {
  const entries = { clip: { textual: { modelName: model, options: { language: 'de' } } } };
  vector(await predict(entries, (form) => form.append('text', 'a red circle – ein Kreis')));
  const ping = await fetch(new URL('/ping', url), { signal: AbortSignal.timeout(2000) });
  if ((await ping.text()) !== 'pong') throw new Error('no pong');
}
console.log('as expected');
