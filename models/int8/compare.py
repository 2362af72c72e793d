"""Holds int8 bundles against the fp32 ones that they were made of: quality, speed, memory. See `make int8`.

    compare.py --worker CPU_BACKEND --pictures SET --demo FP32 INT8 --speed FP32 INT8

Quality is that of the bundled model on its evaluation (SET is what `evaluate.py --write` wrote), and how far its
embeddings have turned. Speed and memory are those of the second pair; ONNX Runtime takes turns with the service's
own CPU backend, and what counts is the median of the ratios of neighbouring turns. Exits with 1 if quality is lost.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import yaml
from PIL import Image

BENCHES = Path(__file__).resolve().parents[2] / "benches"
MOST_POINTS_LOST, LEAST_COSINE, LEAST_MEAN = 1.0, 0.98, 0.995
CHUNK = 64
TEXTS = [
    "a photo of a cat", "a photo of a dog", "an empty shelf", "a stocked shelf", "a person riding a bicycle",
    "the night sky with a full moon", "sunrise over the sea", "a snowy mountain", "a house with a red roof",
    "a tree in a green field",
]


class Worker:
    """A program that answers JSON lines, as cpu_backend.rs and onnxruntime_worker.py do."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} stopped with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, command):
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return self.answer()

    def embed(self, kind, value):
        return numpy.array(self.ask({kind: value}), numpy.float32)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def chunks(items):
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def embed_set(worker, rows, pictures, size):
    """Embeddings of the set's pictures, and of its captions by caption."""
    images = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pictures.npy"
        for part in chunks(rows):
            opened = (Image.open(pictures / row["file"]).convert("RGB") for row in part)
            resized = [numpy.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)) for picture in opened]
            numpy.save(file, numpy.stack(resized))
            images.append(worker.embed("embed_images", str(file)))
    captions = sorted({caption for row in rows for caption in row["captions"]})
    texts = numpy.concatenate([worker.embed("embed_texts", part) for part in chunks(captions)])
    return numpy.concatenate(images), texts, dict(zip(captions, texts))


def quality(worker, pictures, bundles):
    rows = json.loads((pictures / "set.json").read_text())["pictures"]
    accuracy, embeddings = [], []
    for bundle in bundles:
        size = yaml.safe_load((bundle / "model.yaml").read_text(encoding="utf-8"))["image"]["size"]
        with Worker(worker, bundle, "2", "auto") as running:
            images, texts, captions = embed_set(running, rows, pictures, size)
        right = sum(
            int(numpy.argmax([captions[caption] @ image for caption in row["captions"]])) == row["right"]
            for row, image in zip(rows, images)
        )
        accuracy.append(100 * right / len(rows))
        embeddings.append((images, texts))
        print(f"{bundle.name:<16}{accuracy[-1]:6.2f} % right of {len(rows)}", flush=True)
    held = accuracy[0] - accuracy[1] <= MOST_POINTS_LOST
    for kind, fp32, int8 in zip(("pictures", "texts"), *embeddings):
        cosines = (fp32 * int8).sum(axis=1)
        print(f"  cosine of int8 to fp32, {len(cosines)} {kind}: lowest {cosines.min():.4f}, mean {cosines.mean():.4f}")
        held &= bool(cosines.min() >= LEAST_COSINE and cosines.mean() >= LEAST_MEAN)
    return held


def agreement(fp32, int8, pictures):
    for kind, command in (("pictures", {"embed_images": str(pictures)}), ("texts", {"embed_texts": TEXTS})):
        a, b = (numpy.array(worker.ask(command), numpy.float32) for worker in (fp32, int8))
        cosines = (a * b).sum(axis=1)
        print(f"  cosine of int8 to fp32, {len(cosines)} {kind}: lowest {cosines.min():.4f}, mean {cosines.mean():.4f}")


def speed(worker, bundles, turns, threads):
    fp32, int8 = bundles
    reference = fp32 / "reference"
    if not (int8 / "reference").exists():
        (int8 / "reference").symlink_to(os.path.relpath(reference, int8))
    peer = BENCHES / "peers/onnxruntime_worker.py"
    contenders = {
        "ONNX Runtime fp32": (sys.executable, peer, fp32, threads),
        "ours fp32": (worker, fp32, threads, "auto"),
        "ours int8": (worker, int8, threads, "auto"),
        "ONNX Runtime int8": (sys.executable, peer, int8, threads),
        # clip.prepack_weights, otherwise than by itself.
        "ours fp32, false": (worker, fp32, threads, "false"),
        "ours int8, false": (worker, int8, threads, "false"),
        "ours int8, true": (worker, int8, threads, "true"),
    }
    running = {name: Worker(*map(str, command)) for name, command in contenders.items()}
    agreement(running["ours fp32"], running["ours int8"], reference / "images.npy")
    base = next(iter(contenders))
    print(f"\n{threads} thread(s), ms and ratio to {base}\n{'':<22}" + "".join(f"{what:>20}" for what in COMMANDS))
    measured = {name: [] for name in contenders}
    for command in COMMANDS.values():
        times = {name: [] for name in contenders}
        for turn in range(-1, turns):
            for name in list(contenders) if turn % 2 else reversed(contenders):
                # ONNX Runtime's threads spin for a while after their work is done.
                time.sleep(0.05)
                seconds = running[name].ask(command)["seconds"]
                if turn >= 0:
                    times[name].append(seconds)
        for name, own in times.items():
            ratio = statistics.median(a / b for a, b in zip(own, times[base]))
            measured[name].append(f"{1000 * statistics.median(own):>13.1f}{ratio:>7.2f}")
    for name, columns in measured.items():
        print(f"{name:<22}" + "".join(columns))
    print(f"\nresident memory, MiB    {'peak':>10}{'anonymous':>12}{'files':>10}")
    for name, process in running.items():
        memory = process.ask("memory")
        print(f"{name:<22}" + "".join(f"{memory[key] / 1024:>11.0f}" for key in ("peak", "anonymous", "files")))
        process.__exit__()


COMMANDS = {
    "1 picture": {"images": 1}, "8 pictures": {"images": 8}, "1 text": {"texts": TEXTS[:1]}, "10 texts": {"texts": TEXTS},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", type=Path, required=True, help="the built cpu_backend.rs")
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--demo", type=Path, nargs=2, required=True, metavar=("FP32", "INT8"))
    parser.add_argument("--speed", type=Path, nargs=2, required=True, metavar=("FP32", "INT8"))
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, len(os.sched_getaffinity(0))])
    options = parser.parse_args()
    held = quality(options.worker, options.pictures, [bundle.resolve() for bundle in options.demo])
    for threads in options.threads:
        print(f"\n{options.speed[1].name}, random weights")
        speed(options.worker, [bundle.resolve() for bundle in options.speed], options.turns, threads)
    if not held:
        sys.exit(f"int8 loses more than {MOST_POINTS_LOST} points, or turns embeddings below {LEAST_COSINE}")


if __name__ == "__main__":
    main()
