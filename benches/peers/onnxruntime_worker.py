"""Plain ONNX Runtime in Python, without any server: the bare limit.

    onnxruntime_worker.py BUNDLE THREADS

Opens the bundle's encoders and writes one JSON line for it, then one for each line that it reads. It speaks
the protocol of cpu_backend.rs, and besides: `{"classify": [picture, prompts]}` reads, decodes, resizes,
encodes and scores as a service does, the texts once; `{"decode": picture}` does the first half of that, and
`{"draft": picture}` lets Pillow decode at the smallest scale that is enough.
"""

import json
import sys
import time
from pathlib import Path

import numpy
from PIL import Image

from onnxruntime_clip import OnnxClip

clip = OnnxClip(sys.argv[1], int(sys.argv[2]))
# What a picture shows makes no difference to how long it takes.
pictures = numpy.random.default_rng(1).integers(0, 256, (8, clip.size, clip.size, 3), dtype=numpy.uint8)
known_texts = {}


def classify(path, prompts):
    key = tuple(prompts)
    if key not in known_texts:
        known_texts[key] = clip.embed_texts(prompts)
    return clip.scores(clip.embed_images(clip.pixels(path)[None])[0], known_texts[key])


def draft(path):
    with Image.open(path) as picture:
        picture.draft("RGB", (clip.size, clip.size))
        return numpy.asarray(picture.convert("RGB").resize((clip.size, clip.size), Image.Resampling.BICUBIC))


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
            return timed(clip.embed_images, pictures[numpy.arange(count) % len(pictures)])
        case {"texts": texts}:
            return timed(clip.embed_texts, texts)
        case {"padded_texts": texts}:
            return timed(clip.embed_texts, texts, True)
        case {"classify": [path, prompts]}:
            return timed(classify, path, prompts)
        case {"decode": path}:
            return timed(clip.pixels, path)
        case {"draft": path}:
            return timed(draft, path)


print(json.dumps({"seconds": clip.opened, "cpu_seconds": clip.processor}), flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
