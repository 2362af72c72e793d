// The page's behaviour: one picture, some prompts, one request at a time, and the service's state beside it.
// Nothing is kept beyond the tab; everything that comes from outside is set as text.

const $ = (id) => document.getElementById(id);

const POLL_MS = 2000;
const POLL_FAILED_MS = 8000;
const POLL_LIMIT_MS = 5000;
const TYPING_MS = 350;
const POINTS = 60;
const FEWEST_POINTS = 12;
const MOST_PROMPTS = 100;
const LONGEST_WAIT_S = 30;
const WARNING_TITLES = {
  no_clear_winner: "No clear winner",
  near_duplicates: "Near-duplicates",
  threshold_hides_all: "Everything is hidden",
};

let picture = null; // {blob, name}
let previewUrl = null;
let key = "";
let limits = { body: 16 << 20, pixels: 64e6 };
let current = null; // the AbortController of the request under way
let retryTimer = 0;
let typingTimer = 0;
let camera = null;
let waitingForModel = false;
let loadedModel = null;
let modelsAsked = false;
const times = [];

// Prompts

function addRow(text = "", focus = false, after = null) {
  if ($("rows").children.length >= MOST_PROMPTS) return;
  const row = document.createElement("li");
  row.className = "row";
  const input = document.createElement("input");
  input.type = "text";
  input.value = text;
  input.placeholder = "describe what may be in it";
  input.autocomplete = "off";
  const score = document.createElement("span");
  score.className = "score none";
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "remove";
  remove.textContent = "×";
  const track = document.createElement("span");
  track.className = "track";
  track.setAttribute("aria-hidden", "true");
  const fill = document.createElement("span");
  fill.className = "fill";
  track.append(fill);
  const cosine = document.createElement("span");
  cosine.className = "cosine";
  row.append(input, score, remove, track, cosine);
  if (after) after.after(row);
  else $("rows").append(row);
  input.addEventListener("input", () => { nameRow(row); changed(); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); addRow("", true, row); }
  });
  input.addEventListener("paste", (event) => {
    const lines = (event.clipboardData?.getData("text") ?? "").split(/\r?\n/).map((l) => l.trim()).filter(Boolean);
    if (lines.length < 2) return;
    event.preventDefault();
    input.value = lines[0];
    lines.slice(1).reverse().forEach((line) => addRow(line, false, row));
    changed();
  });
  remove.addEventListener("click", () => {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (!next) addRow();
    ($("rows").contains(next) ? next : $("rows").firstElementChild).querySelector("input").focus();
    renumber();
    changed();
  });
  renumber();
  if (focus) input.focus();
}

function nameRow(row) {
  const index = [...$("rows").children].indexOf(row) + 1;
  const input = row.querySelector("input");
  input.setAttribute("aria-label", `Prompt ${index}`);
  row.querySelector(".remove").setAttribute("aria-label", `Remove prompt ${index}: ${input.value || "empty"}`);
}

function renumber() { for (const row of $("rows").children) nameRow(row); }

const prompts = () => [...new Set([...$("rows").children].map((row) => row.querySelector("input").value.trim()).filter(Boolean))];
const templates = () => $("templates").value.split("\n").map((line) => line.trim()).filter(Boolean);
const threshold = () => Math.min(100, Math.max(0, Number($("threshold").value) || 0)) / 100;

// The picture

async function setPicture(blob, name) {
  stopCamera();
  picture = { blob, name };
  hideError();
  $("preview").alt = `The picture ${name}`;
  if (previewUrl) URL.revokeObjectURL(previewUrl);
  previewUrl = URL.createObjectURL(blob);
  $("preview").src = previewUrl;
  $("preview").hidden = false;
  $("stage").classList.add("has-picture");
  $("picture-note").textContent = `${name}, ${size(blob.size)}`;
  try {
    picture = await fitLimits(blob, name);
    if (picture.note) $("picture-note").textContent += ` – ${picture.note}`;
  } catch { /* The browser cannot read it; the service may. */ }
  classify();
}

$("preview").addEventListener("error", () => {
  $("preview").hidden = true;
  $("stage").classList.remove("has-picture");
});

function size(bytes) { return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`; }

// Scales down what the service would refuse, and nothing else.
async function fitLimits(blob, name) {
  const room = limits.body - 65536;
  const bitmap = await createImageBitmap(blob);
  const pixels = bitmap.width * bitmap.height;
  if (blob.size <= room && pixels <= limits.pixels) { bitmap.close(); return { blob, name }; }
  let scale = Math.min(1, Math.sqrt(limits.pixels / pixels));
  for (let tries = 0; tries < 8; tries++, scale *= 0.7) {
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.floor(side * scale)));
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    const smaller = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
    if (smaller && smaller.size <= room) {
      bitmap.close();
      return { blob: smaller, name: name.replace(/\.\w+$/, "") + ".jpg", note: `sent as ${width} × ${height}, ${size(smaller.size)}` };
    }
  }
  bitmap.close();
  return { blob, name };
}

const fromInput = (event) => {
  const [file] = event.target.files;
  if (file) setPicture(file, file.name);
  event.target.value = "";
};
$("file").addEventListener("change", fromInput);
$("capture-file").addEventListener("change", fromInput);
$("choose").addEventListener("click", () => $("file").click());

for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const [file] = event.dataTransfer.files;
  if (file) setPicture(file, file.name);
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  if (file) { event.preventDefault(); setPicture(file, file.name || "pasted.png"); }
});

$("drawing").addEventListener("click", () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 448, height: 448 });
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, 448, 448);
  context.fillStyle = "#d81e1e";
  context.beginPath();
  context.arc(224, 224, 130, 0, 7);
  context.fill();
  canvas.toBlob((blob) => setPicture(blob, "drawing.png"), "image/png");
});

// The camera: in the page where the browser allows it (localhost, HTTPS), else the phone's own.
if (navigator.mediaDevices?.getUserMedia) $("camera").hidden = false;
else if (matchMedia("(pointer: coarse)").matches) $("capture").hidden = false;

$("camera").addEventListener("click", async () => {
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    const why = error.name === "NotAllowedError" ? "the browser does not allow it; allow it for this page and try again" : "there is none that can be used";
    return showError(`No picture from the camera: ${why}.`);
  }
  $("video").srcObject = camera;
  $("video").hidden = false;
  $("preview").hidden = true;
  $("stage").classList.add("has-picture");
  await $("video").play();
  $("camera").hidden = true;
  $("shoot").hidden = $("camera-off").hidden = false;
  $("shoot").focus();
});
$("camera-off").addEventListener("click", () => { stopCamera(); $("camera").focus(); });
$("shoot").addEventListener("click", () => {
  const video = $("video");
  const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => { setPicture(blob, "camera.jpg"); $("camera").focus(); }, "image/jpeg", 0.92);
});

function stopCamera() {
  if (!camera) return;
  camera.getTracks().forEach((track) => track.stop());
  camera = null;
  $("video").srcObject = null;
  $("video").hidden = $("shoot").hidden = $("camera-off").hidden = true;
  $("camera").hidden = false;
  $("preview").hidden = !picture;
  $("stage").classList.toggle("has-picture", Boolean(picture));
}

// The request

function changed() {
  showCommands();
  clearTimeout(typingTimer);
  typingTimer = setTimeout(classify, TYPING_MS);
}

function headers() { return key ? { Authorization: `Bearer ${key}` } : {}; }

async function classify() {
  clearTimeout(typingTimer);
  clearTimeout(retryTimer);
  current?.abort();
  showCommands();
  const asked = prompts();
  if (!picture || asked.length === 0) {
    clearResults();
    $("verdict").textContent = picture ? "Write a prompt." : "Choose a picture to begin.";
    return;
  }
  const form = new FormData();
  form.append("image", picture.blob, picture.name);
  form.append("prompts", JSON.stringify(asked));
  form.append("top_k", String(asked.length));
  form.append("threshold", String(threshold()));
  form.append("explain", "true");
  if (templates().length) form.append("templates", JSON.stringify(templates()));
  const mine = (current = new AbortController());
  document.body.classList.add("busy");
  if (waitingForModel) showError("The model is being loaded. The picture is classified as soon as it is there.", true);
  try {
    const response = await fetch("/v1/classify", { method: "POST", body: form, headers: headers(), signal: mine.signal });
    const answer = await response.json().catch(() => ({}));
    if (mine !== current) return;
    if (response.ok) showAnswer(answer, response.headers.get("Server-Timing"));
    else refused(response, answer);
  } catch (error) {
    if (error.name !== "AbortError" && mine === current) showError("The service cannot be reached. Is it running?");
  } finally {
    if (mine === current) { document.body.classList.remove("busy"); current = null; }
  }
}

function refused(response, answer) {
  clearResults();
  const seconds = Math.min(LONGEST_WAIT_S, Number(response.headers.get("Retry-After")) || 0);
  switch (answer.code) {
    case "unauthorized":
      askForKey();
      return showError(key ? "The service does not know this API key." : "The service asks for an API key.");
    case "invalid_image":
      return showError("That is not a picture that can be read. Choose a JPEG, PNG, WebP, GIF, BMP or TIFF file.");
    case "body_too_large":
    case "image_too_large":
      return showError("The picture is larger than the service takes, and the browser could not make it smaller.");
    case "loading":
      waitingForModel = true;
      showError("The model is being loaded. The picture is classified as soon as it is there.", true);
      return again(seconds || 2);
    case "queue_full":
    case "busy":
      showError(`The service is busy: its queue is full. Trying again in ${seconds || 1} s.`, true);
      return again(seconds || 1);
    default:
      return showError(answer.error ? sentence(answer.error) : `The service answered ${response.status}.`);
  }
}

function again(seconds) { retryTimer = setTimeout(classify, seconds * 1000); }

function sentence(text) { return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : "."); }

function showAnswer(answer, timing) {
  hideError();
  const several = prompts().length > 1;
  const found = new Map(answer.classifications.map((entry) => [entry.text, entry]));
  for (const row of $("rows").children) {
    const text = row.querySelector("input").value.trim();
    const entry = found.get(text);
    const score = row.querySelector(".score");
    row.classList.toggle("best", entry?.rank === 1);
    row.querySelector(".fill").style.width = entry ? `${Math.max(0, Math.min(1, entry.score)) * 100}%` : "0";
    score.classList.toggle("none", !entry);
    score.textContent = !entry ? (text ? "hidden" : "") : several ? percent(entry.score) : entry.score.toFixed(3);
    row.querySelector(".cosine").textContent = entry ? `cosine ${entry.cosine.toFixed(4)}` : "";
  }
  const [best] = answer.classifications;
  const verdict = $("verdict");
  verdict.replaceChildren();
  if (best) {
    const strong = document.createElement("strong");
    strong.textContent = best.text;
    verdict.append(strong, several ? ` – ${percent(best.score)}${lead(answer.explanation.margin)}` : ` – cosine ${best.score.toFixed(3)}`);
  } else verdict.textContent = "No prompt scores above the threshold.";
  const stages = [...(timing ?? "").matchAll(/(\w+);dur=([\d.]+)/g)].filter(([, , ms]) => Number(ms) >= 0.1);
  $("timing").textContent = `${answer.inference_time_ms.toFixed(0)} ms on ${answer.model}` + (stages.length ? ` (${stages.map(([, name, ms]) => `${name} ${Number(ms).toFixed(1)}`).join(", ")})` : "");
  $("warnings").replaceChildren(...answer.explanation.warnings.map((warning) => {
    const item = document.createElement("li");
    const title = document.createElement("strong");
    title.textContent = WARNING_TITLES[warning.code] ?? "Warning";
    item.append(title, sentence(warning.message));
    return item;
  }));
  showEffects(answer.explanation.templates);
}

function lead(margin) {
  if (!margin) return "";
  return `, ${inWords(margin.odds)} as likely as “${margin.runner_up}”`;
}

function inWords(odds) { return odds >= 1000 ? "over 1,000 times" : `${odds < 10 ? odds.toFixed(1) : Math.round(odds)} times`; }
function percent(score) { return `${(score * 100).toFixed(1)} %`; }

function showEffects(effects) {
  $("effect").hidden = effects.length === 0;
  $("effects").replaceChildren(...effects.map((effect) => {
    const row = document.createElement("tr");
    for (const text of [effect.template === "{}" ? "none" : effect.template, effect.winner, effect.margin ? inWords(effect.margin.odds) : "–"]) {
      row.append(Object.assign(document.createElement("td"), { textContent: text }));
    }
    return row;
  }));
}

function clearResults() {
  for (const row of $("rows").children) {
    row.classList.remove("best");
    row.querySelector(".fill").style.width = "0";
    row.querySelector(".score").textContent = row.querySelector(".cosine").textContent = "";
  }
  $("verdict").textContent = "";
  $("timing").textContent = "";
  $("warnings").replaceChildren();
  $("effect").hidden = true;
}

function showError(text, waiting = false) {
  $("error").hidden = false;
  $("error").classList.toggle("waiting", waiting);
  $("error-text").textContent = text;
}

function hideError() { $("error").hidden = true; }

$("again").addEventListener("click", classify);
$("add").addEventListener("click", () => addRow("", true));
for (const id of ["templates", "threshold"]) $(id).addEventListener("input", changed);

// The same request, for a shell

const shell = (text) => (/'/.test(text) && !/["$`\\!]/.test(text) ? `"${text}"` : `'${text.replaceAll("'", "'\\''")}'`);
const gvariant = (text) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

function showCommands() {
  const name = picture?.name ?? "picture.jpg";
  const [asked, filled] = [prompts(), templates()];
  const curl = [];
  if (key) curl.push('-H "Authorization: Bearer $KEY"');
  // Inside curl's own quotes, so that a comma or semicolon in the name is part of it.
  curl.push(`-F ${shell(`image=@"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`)}`);
  curl.push(...asked.map((prompt) => `--form-string ${shell(`prompts=${prompt}`)}`));
  curl.push(...filled.map((template) => `--form-string ${shell(`templates=${template}`)}`));
  curl.push(`-F top_k=${Math.max(1, asked.length)}`);
  if (threshold()) curl.push(`-F threshold=${threshold()}`);
  curl.push("-F explain=true", shell(`${location.origin}/v1/classify`));
  $("curl").textContent = `curl ${curl.join(" \\\n  ")}`;
  const options = [`'explain': <true>`, `'top_k': <uint32 ${Math.max(1, asked.length)}>`];
  if (threshold()) options.push(`'threshold': <${threshold().toFixed(4)}>`);
  if (filled.length) options.push(`'templates': <[${filled.map(gvariant).join(", ")}]>`);
  $("gdbus").textContent = [
    "gdbus call --system --dest org.hailo.Clip1 --object-path /org/hailo/Clip1",
    "--method org.hailo.Clip1.Classify",
    `"[byte $(od -An -v -tu1 './${name.replaceAll("'", "'\\''")}' | xargs | tr ' ' ',')]"`,
    shell(asked.length ? `[${asked.map(gvariant).join(", ")}]` : "@as []"),
    shell(`{${options.join(", ")}}`),
  ].join(" \\\n  ");
}

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const text = $(button.dataset.copy).textContent;
    let done = false;
    try { await navigator.clipboard.writeText(text); done = true; } catch {
      // Without HTTPS there is no clipboard but this one.
      getSelection().selectAllChildren($(button.dataset.copy));
      done = document.execCommand("copy");
    }
    $("copied").textContent = done ? "Copied." : "Select the text and copy it.";
    const label = button.firstChild;
    label.textContent = done ? "Copied" : "Select it";
    setTimeout(() => { label.textContent = "Copy"; $("copied").textContent = ""; }, 2000);
  });
}

// The service

async function poll() {
  let next = POLL_MS;
  const begun = performance.now();
  try {
    const response = await fetch("/health", { headers: headers(), signal: AbortSignal.timeout(POLL_LIMIT_MS), cache: "no-store" });
    const health = await response.json();
    if (!document.hidden) showHealth(health, performance.now() - begun);
  } catch {
    next = POLL_FAILED_MS;
    showState("unreachable", "not reachable");
    $("service-note").textContent = "The service does not answer. This page goes on trying.";
  }
  if (!document.hidden) pollTimer = setTimeout(poll, next);
}

let pollTimer = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(pollTimer);
  if (!document.hidden) poll();
});

function showState(state, text) {
  if ($("state-text").textContent === text && $("state").dataset.state === state) return;
  $("state").dataset.state = state;
  $("state-text").textContent = text;
}

function showHealth(health, milliseconds) {
  const degraded = health.status === "healthy" && health.runtime_mode === "degraded";
  const state = degraded ? "degraded" : health.status;
  if (state === "starting") waitingForModel = true;
  showState(state, { healthy: "ready", starting: "loading", unhealthy: "failed" }[state] ?? state);
  $("model").textContent = health.model_loaded ? `${health.model}, ${health.precision}` : `${health.model} (not loaded)`;
  $("device").textContent = health.device_name ?? "–";
  const temperature = health.device?.temperature_c;
  $("temperature").textContent = temperature == null ? "no sensor" : `${temperature.toFixed(0)} °C${health.device.throttled ? ", throttled" : ""}`;
  $("queue").textContent = `${health.queue_depth} of ${health.max_queue_size}`;
  $("queue-bar").style.width = `${Math.min(1, health.queue_depth / health.max_queue_size) * 100}%`;
  $("service-note").textContent = health.error ? sentence(health.error) : "";
  limits = { body: health.max_body_bytes, pixels: health.max_image_pixels };
  times.push(milliseconds);
  if (times.length > POINTS) times.shift();
  $("latency").textContent = `${milliseconds < 10 ? milliseconds.toFixed(1) : milliseconds.toFixed(0)} ms`;
  drawSparkline();
  if (health.model_loaded && (waitingForModel || health.model !== loadedModel)) {
    const known = loadedModel !== null;
    loadedModel = health.model;
    if (waitingForModel || known) {
      waitingForModel = false; 
      if (picture && !current) classify();
    }
    askForModels();
  } else if (!modelsAsked) askForModels();
}

function drawSparkline() {
  const most = Math.max(...times, 5) * 1.15;
  // A few points are drawn wide, many as close as they must be.
  const room = Math.max(times.length, FEWEST_POINTS);
  const step = 120 / (room - 1);
  const start = room - times.length;
  const points = times.map((time, index) => `${((start + index) * step).toFixed(1)},${(31 - (time / most) * 29).toFixed(1)}`);
  if (points.length < 2) return;
  $("spark-line").setAttribute("d", `M${points.join("L")}`);
  $("spark-area").setAttribute("d", `M${(start * step).toFixed(1)},32L${points.join("L")}L120,32Z`);
}

function askForKey(focus = true) {
  const first = $("key-form").hidden;
  $("key-form").hidden = false;
  if (first && focus) $("key").focus();
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  askForModels();
  classify();
});

// The list of models, where the service has one.
async function askForModels() {
  modelsAsked = true;
  const response = await fetch("/v1/models", { headers: headers() }).catch(() => null);
  if (response?.status === 401) return askForKey(false);
  const list = response?.ok ? await response.json().catch(() => null) : null;
  const names = (list?.data ?? []).map((model) => model.id).filter((name) => typeof name === "string");
  $("switch").hidden = names.length < 2;
  $("models").replaceChildren(...names.map((name) => new Option(name, name, false, name === loadedModel)));
}

$("switch").addEventListener("submit", async (event) => {
  event.preventDefault();
  const model = $("models").value;
  $("switch-note").textContent = `Loading ${model}; the old model answers until it is there.`;
  const response = await fetch("/v1/models/use", {
    method: "POST", headers: { ...headers(), "Content-Type": "application/json" }, body: JSON.stringify({ model }),
  }).catch(() => null);
  const answer = await response?.json().catch(() => ({}));
  if (response?.ok) {
    $("switch-note").textContent = `${model} is in service.`;
    clearTimeout(pollTimer);
    poll();
  } else {
    if ([401, 403].includes(response?.status)) askForKey();
    $("switch-note").textContent = answer?.error ? sentence(answer.error) : "The service cannot be reached.";
  }
});

["a red circle", "a blue square", "a green triangle"].forEach((text) => addRow(text));
showCommands();
poll();
