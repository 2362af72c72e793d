"""From exec to READY=1, and to the first answer."""

import statistics
import time

from ..figures import Section, timed
from ..load import closed_loop


def run(bench):
    section = Section(
        "startup", "Start-up",
        "The service from exec to READY=1 with the weights in the page cache, beside what ONNX Runtime needs to read the same "
        "weights and prepare both graphs (its sessions alone, without starting Python or importing anything). The first start "
        "after an installation tries the model in a process of its own besides; later ones remember that it passed.",
    )
    state = bench.folder / "state"
    bench.daemon(state=state).stop()
    trials, starts, sessions, reads, firsts = [], [], [], [], []
    turns = bench.few(3, 9)
    for turn in range(turns + 1):
        read = timed(lambda: read_all(bench.bundle))
        trial = bench.daemon()
        trial.stop()
        service = bench.daemon(state=state)
        first = closed_loop(service.port, bench.requests(), 1, 0, settle=0, per_client=1).latencies[0]
        service.stop()
        # Its teardown is not the next one's start.
        time.sleep(0.1)
        peer = bench.onnxruntime()
        peer.stop()
        if turn:
            trials.append(trial.start_up)
            starts.append(service.start_up)
            sessions.append(peer.opened)
            reads.append(read)
            firsts.append(service.start_up + first)
    section.compare("exec to READY=1", "ms", starts, sessions, "ONNX Runtime: weights read, graphs prepared", "ready", 1000)
    section.compare("exec to READY=1, the first start", "ms", trials, sessions, "the same", "ready_first", 1000)
    section.compare("exec to the first answer, ten new prompts", "ms", firsts, sessions, "the same", scale=1000)
    section.compare("exec to READY=1", "ms", starts, reads, "reading the bundle's files once, warm", scale=1000)
    section.facts["start_ms"] = 1000 * statistics.median(starts)
    return section


def read_all(bundle):
    buffer = bytearray(1 << 20)
    for path in bundle.glob("*.onnx*"):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
