"""Decoding and pre-processing of JPEGs beside Pillow: seconds, ratios, and how far the embeddings agree.

usage: pictures.py --worker PROGRAM [--bundle FOLDER]… [--rounds N] [--json FILE]

Pictures are photographs of tests/fixtures/preprocess beside each other in their own resolution, quality 90, made anew
below target/bench. "whole" is the service without libturbojpeg, "draft" the service as it is; Pillow decodes whole
pictures, and with "draft" it does what Image.draft does for twice the target. All bring the picture to 224 × 224
bytes of RGB, bicubic. Each takes its turn in each round; figures are medians of processor time of one thread, which
other programs on the machine disturb little.
"""

import argparse
import io
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image, ImageOps, __version__ as pillow

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/fixtures/preprocess"
FOLDER = ROOT / "target/bench/pictures"
PHOTOGRAPHS = ["astronaut.png", "cat.jpg", "coffee_portrait.jpg", "rocket_exif6.jpg"]
SIZES = {"1 MP": (1152, 864), "12 MP": (4000, 3000)}
KINDS = {
    "4:2:0": dict(subsampling=2),
    "4:4:4": dict(subsampling=0),
    "4:2:0, progressive": dict(subsampling=2, progressive=True),
    "4:4:4, progressive": dict(subsampling=0, progressive=True),
    "4:2:0, on its side": dict(subsampling=2, exif=6),
}
SIZE = 224


def mosaic(width, height):
    choose = random.Random(1)
    tiles = [ImageOps.exif_transpose(Image.open(FIXTURES / name)).convert("RGB") for name in PHOTOGRAPHS]
    whole = Image.new("RGB", (width, height))
    for y in range(0, height, 300):
        x = 0
        while x < width:
            tile = choose.choice(tiles)
            if choose.random() < 0.5:
                tile = ImageOps.mirror(tile)
            tile = tile.crop((0, 0, min(400, tile.width), 300))
            whole.paste(tile, (x, y))
            x += tile.width
    return whole


def pictures():
    """(name, path) of each picture."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = []
    for size, sides in SIZES.items():
        whole = mosaic(*sides)
        for kind, options in KINDS.items():
            options = dict(options)
            if orientation := options.pop("exif", None):
                exif = Image.Exif()
                exif[0x0112] = orientation
                options["exif"] = exif
            path = FOLDER / f"{size} {kind}.jpg".replace(" ", "-").replace(",", "").replace(":", "")
            whole.save(path, quality=90, **options)
            made.append((f"{size}, {kind}", path))
    return made


class Worker:
    def __init__(self, program, bundles):
        self.process = subprocess.Popen([program, *bundles], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.offers = json.loads(self.process.stdout.readline())

    def ask(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("the worker ended")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def with_pillow(data, draft):
    """(processor, clock) seconds for decoding, and for the rest."""
    started = time.thread_time(), time.perf_counter()
    image = Image.open(io.BytesIO(data))
    if draft:
        image.draft("RGB", (2 * SIZE, 2 * SIZE))
    image.load()
    decoded = time.thread_time(), time.perf_counter()
    image = ImageOps.exif_transpose(image).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    ended = time.thread_time(), time.perf_counter()
    return tuple(b - a for a, b in zip(started, decoded)), tuple(b - a for a, b in zip(decoded, ended))


def with_worker(worker, path, way):
    answer = worker.ask(file=str(path), way=way)
    both = lambda stage: (answer[stage]["processor"], answer[stage]["clock"])
    return both("decode"), both("fit"), both("normalize"), answer["denominator"]


def measure(worker, path, rounds):
    data = path.read_bytes()
    ways = {
        "draft": lambda: with_worker(worker, path, "draft"),
        "whole": lambda: with_worker(worker, path, "whole"),
        "pillow": lambda: with_pillow(data, False),
        "pillow_draft": lambda: with_pillow(data, True),
    }
    runs = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, run in ways.items():
            run = run()
            # The first warms the caches.
            if turn > 0:
                runs[name].append(run)
    found = {}
    for name, all_runs in runs.items():
        middle = lambda stage, clock: statistics.median(run[stage][clock] for run in all_runs) * 1e3
        total = lambda clock: statistics.median(run[0][clock] + run[1][clock] for run in all_runs) * 1e3
        found[name] = {"decode_ms": middle(0, 0), "fit_ms": middle(1, 0), "total_ms": total(0), "clock_ms": total(1)}
        if len(all_runs[0]) > 2:
            found[name]["normalize_ms"] = middle(2, 0)
            found[name]["denominator"] = all_runs[0][3]
    for name in ("draft", "whole", "pillow_draft"):
        found[name]["to_pillow"] = found[name]["total_ms"] / found["pillow"]["total_ms"]
    return found


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--worker", required=True)
    parser.add_argument("--bundle", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--json", type=Path, default=ROOT / "target/bench/pictures.json")
    arguments = parser.parse_args()

    worker = Worker(arguments.worker, arguments.bundle)
    all_pictures = pictures()
    report = {"pillow": pillow, **worker.offers, "pictures": {}}
    offers = f"libturbojpeg {'is' if worker.offers['libturbojpeg'] else 'is not'} there, the resizer uses {worker.offers['resizer']}"
    print(f"Pillow {pillow}; {offers}; ms of processor time, decoding + fitting; ratios to Pillow\n")
    print(f"{'':28}{'Pillow':>16}{'its draft':>22}{'whole':>22}{'draft':>22}      cosine")
    for name, path in all_pictures:
        found = measure(worker, path, arguments.rounds)
        found["bytes"] = path.stat().st_size
        found["cosines"] = worker.ask(agree=str(path))["cosines"]
        report["pictures"][name] = found
        cells = [
            f"{found[way]['decode_ms']:7.1f} + {found[way]['fit_ms']:5.1f}"
            + (f" {found[way]['to_pillow']:5.2f}" if way != "pillow" else "")
            for way in ("pillow", "pillow_draft", "whole", "draft")
        ]
        cosines = ", ".join(f"{bundle} {cosine:.5f}" for bundle, cosine in found["cosines"].items())
        print(f"{name:28}{cells[0]:>16}{cells[1]:>22}{cells[2]:>22}{cells[3]:>22} 1/{found['draft']['denominator']}  {cosines}")

    report["per_second"] = {}
    print()
    for size in SIZES:
        paths = [str(path) for name, path in all_pictures if name == f"{size}, 4:2:0"]
        rates = {"draft": [], "whole": []}
        for _ in range(3):
            for way, all_rates in rates.items():
                all_rates.append(worker.ask(rate=paths, way=way, seconds=arguments.seconds)["per_second"])
        rates = {way: statistics.median(all_rates) for way, all_rates in rates.items()}
        report["per_second"][size] = rates
        print(f"{size}, 4:2:0, all cores: {rates['draft']:.0f} a second, whole {rates['whole']:.0f}; ratio {rates['draft'] / rates['whole']:.2f}")
    worker.close()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=2) + "\n")


main()
