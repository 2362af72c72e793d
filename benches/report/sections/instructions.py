"""What stages cost in instructions, which no other load on the machine changes.

Callgrind runs the programs on a processor without AVX-512 that does one thing at a time, so the encoders' counts
are those of their AVX2 code, and nothing is said of caches and memory.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

from ..figures import Section
from ..load import closed_loop, post
from ..machine import ROOT
from ..peers import PEERS, Worker
from ..pictures import PROMPTS, draw, encoded

SMALL = ROOT / "models" / "demo"

def run(bench):
    section = Section(
        "instructions", "Cost of stages in instructions",
        "Counted by callgrind, in millions for one request or one run; a stage is the difference between two kinds of requests. "
        "The peers are the Python programs of the other parts, counted in the same way. The encoders are the small bundled "
        "model's: callgrind emulates each multiplication of a vector, and takes many minutes for ViT-B/32.",
    )
    ours, http = encoder_costs(bench, bench.worker_program, True), request_costs(bench)
    try:
        peer = encoder_costs(bench, None, False)
    except RuntimeError as error:
        section.note(f"the peers could not be counted: {error}")
        peer = {}
    rounded = lambda value, digits=None: None if value is None else round(value, digits)  # noqa: E731
    decode = http["picture"] - http["square"]
    section.table(
        "Millions of instructions", ["stage", "hailo-clip", "ONNX Runtime and Pillow in Python"],
        [
            ["HTTP alone (/health/live)", round(http["live"], 3), None],
            ["a known text (/v1/embed/text): HTTP, engine, cache", round(http["text"], 3), None],
            ["decode and resize a 1-megapixel JPEG", round(decode, 1), rounded(peer.get("decode"), 1)],
            ["image encoder, bundled model, batch 1", round(ours["image"], 1), rounded(peer.get("image"), 1)],
            ["text encoder, bundled model, 1 prompt", round(ours["text"], 1), rounded(peer.get("text"), 1)],
        ],
    )
    for what, mine, theirs, name, fact in (
        ("decode and resize a 1-megapixel JPEG", decode, peer.get("decode"), "Pillow", "instructions_decode"),
        ("image encoder, batch 1", ours["image"], peer.get("image"), "ONNX Runtime", "instructions_image"),
        ("text encoder, 1 prompt", ours["text"], peer.get("text"), "ONNX Runtime", "instructions_text"),
        ("a known text over HTTP", http["text"], http["live"], "/health/live", "instructions_text_to_live"),
    ):
        if theirs:
            section.compare(what, "M", [mine], [theirs], name, fact)
    section.facts["instructions"] = {"service": http, "encoders": ours, "peer": peer}
    return section


class Counter:
    """Instructions of a process under callgrind since the last question."""

    def __init__(self, folder, name):
        self.out = Path(folder) / f"callgrind.{name}"
        self.wrapper = [
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}", "--quiet", "--separate-threads=no",
        ]
        self.seen = 0

    def millions(self, pid):
        """Dumps, which starts the count anew."""
        subprocess.run(["vgdb", f"--pid={pid}", "--wait=60", "dump"], capture_output=True, timeout=300, check=True)
        self.seen += 1
        dump = Path(f"{self.out}.{self.seen}")
        for _ in range(600):
            if dump.exists() and (found := re.findall(r"^(?:totals|summary): (\d+)", dump.read_text(errors="replace"), re.M)):
                return int(found[-1]) / 1e6
            time.sleep(0.1)
        raise RuntimeError("callgrind wrote no dump")


def request_costs(bench):
    """Of whole requests to the service with the small bundled model."""
    counter = Counter(bench.folder, "service")
    service = bench.daemon(SMALL, wrapper=counter.wrapper, patience=600)
    # Already the size of the model's input: a bitmap costs next to nothing to decode.
    size = 64
    square = encoded(draw((size, size), 3), "BMP")
    kinds = {
        "live": (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", 50),
        "text": (post("/v1/embed/text", {"text": PROMPTS[0]}), 50),
        "square": (post("/v1/embed/image", square, "image/bmp"), 10),
        "picture": (post("/v1/embed/image", bench.pictures[0], "image/jpeg"), 10),
    }
    costs = {}
    for name, (request, count) in kinds.items():
        closed_loop(service.port, [request], 1, 0, settle=0, per_client=3)
        counter.millions(service.pid)
        answered = closed_loop(service.port, [request], 1, 0, settle=0, per_client=count)
        costs[name] = counter.millions(service.pid) / len(answered.latencies)
    return costs


def encoder_costs(bench, program, ours):
    """Of one run of each encoder, and for the peer of decoding, on one thread: waiting threads would be counted."""
    counter = Counter(bench.folder, "ours" if ours else "peer")
    arguments = [program, SMALL, "1", "false"] if ours else [sys.executable, PEERS / "onnxruntime_worker.py", SMALL, "1"]
    worker = bench.started(Worker(*counter.wrapper, *arguments))
    commands = {"image": {"images": 1}, "text": {"texts": PROMPTS[:1]}}
    if not ours:
        commands["decode"] = {"decode": str(bench.picture)}
    costs = {}
    for name, command in commands.items():
        worker.ask(command)
        counter.millions(worker.process.pid)
        worker.ask(command)
        costs[name] = counter.millions(worker.process.pid)
    return costs
