"""The peer of bench.py: plain ONNX Runtime in Python, without any server.

    onnxruntime_worker.py BUNDLE THREADS

Opens the bundle's encoders and writes one JSON line for it, then one for each line that it reads. It speaks
the protocol of cpu_backend.rs, and `{"classify": [picture, prompts]}`, which reads, decodes, resizes, encodes
and scores as a service does.
"""

import json
import sys
import time
from pathlib import Path

import numpy
import onnxruntime
import tokenizers
from PIL import Image

started, processor = time.perf_counter(), time.process_time()
folder, threads = Path(sys.argv[1]), int(sys.argv[2])
description = json.loads((folder / "model.yaml").read_text())
mean, std = (numpy.array(description["image"][key], dtype=numpy.float32) for key in ("mean", "std"))
size = description["image"]["size"]

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
image, text = (
    onnxruntime.InferenceSession(str(folder / f"{tower}.onnx"), options, providers=["CPUExecutionProvider"])
    for tower in ("image", "text")
)
tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(description["text"]["context_length"])
opened = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - processor}

pictures = numpy.load(folder / "reference" / "images.npy")
known_texts = {}


def embed_images(pixels):
    planes = ((pixels.astype(numpy.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    embeddings = image.run(None, {"pixel_values": numpy.ascontiguousarray(planes)})[0]
    return embeddings / numpy.linalg.norm(embeddings, axis=1, keepdims=True)


def embed_texts(texts, length=None):
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    ids = numpy.zeros((len(texts), length or max(map(len, encoded))), dtype=numpy.int64)
    for row, tokens in zip(ids, encoded):
        row[: len(tokens)] = tokens
    embeddings = text.run(None, {"input_ids": ids})[0]
    return embeddings / numpy.linalg.norm(embeddings, axis=1, keepdims=True)


def classify(path, prompts):
    key = tuple(prompts)
    if key not in known_texts:
        known_texts[key] = embed_texts(prompts)
    with Image.open(path) as picture:
        pixels = numpy.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
    logits = description["logit_scale"] * (embed_images(pixels[None]) @ known_texts[key].T)[0]
    scores = numpy.exp(logits - logits.max())
    return scores / scores.sum()


def memory():
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    fields = {line[0]: int(line[1]) for line in lines if line[0] in ("VmHWM:", "RssAnon:", "RssFile:")}
    return {"peak": fields["VmHWM:"], "anonymous": fields["RssAnon:"], "files": fields["RssFile:"]}


def timed(work, *arguments):
    before = time.perf_counter()
    work(*arguments)
    return {"seconds": time.perf_counter() - before}


def answer(command):
    match command:
        case "memory":
            return memory()
        case {"images": count}:
            return timed(embed_images, pictures[numpy.arange(count) % len(pictures)])
        case {"texts": texts}:
            return timed(embed_texts, texts)
        case {"padded_texts": texts}:
            return timed(embed_texts, texts, description["text"]["context_length"])
        case {"classify": [path, prompts]}:
            return timed(classify, path, prompts)


print(json.dumps(opened), flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
