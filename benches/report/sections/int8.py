"""A bundle with 8-bit weights beside ONNX Runtime with the fp32 one."""

import statistics

from ..daemon import MemoryWatch
from ..figures import Section, take_turns
from ..load import closed_loop
from ..pictures import PROMPTS


def run(bench):
    section = Section(
        "int8", "The int8 bundle",
        "One picture and one client: the image encoder alone, and whole requests, with the bundle's weights in 8 bits; the peer "
        "stays at fp32.",
    )
    if not (bench.int8_bundle / "model.yaml").exists():
        section.note(f"not measured: there is no bundle at {bench.int8_bundle.name}; --int8-bundle names one")
        return section
    peer, plain, turns = bench.onnxruntime(), bench.onnxruntime(simd=True), bench.few(5, 15)
    backend, service = bench.backend(bench.int8_bundle), bench.daemon(bench.int8_bundle)
    doors = bench.doors(service)
    for count in (1, 8):
        command = {"images": count}
        results = take_turns({"ours": lambda: backend.seconds(command), "peer": lambda: peer.seconds(command)}, turns)
        section.compare(f"image encoder, batch {count}, int8", "ms", results["ours"], results["peer"], "ONNX Runtime, fp32", f"int8_image_{count}", 1000)
    for count in (1, 10):
        command = {"texts": PROMPTS[:count]}
        results = take_turns({"ours": lambda: backend.seconds(command), "peer": lambda: peer.seconds(command)}, turns)
        section.compare(f"text encoder, {count} prompts, int8", "ms", results["ours"], results["peer"], "ONNX Runtime, fp32", scale=1000)
    command = {"classify": [str(bench.picture), PROMPTS[:10]]}
    results = take_turns(
        {"ours": lambda: statistics.median(doors.ask({"http": 3})["seconds"]), "peer": lambda: plain.seconds(command)}, turns,
    )
    section.compare("classify a 1-megapixel JPEG, 10 cached prompts, HTTP, int8", "ms", results["ours"], results["peer"], f"{bench.plain}, fp32", "int8_request", 1000)
    with MemoryWatch(service.pid) as watch:
        closed_loop(service.port, bench.requests(), 4, bench.few(3, 10))
    resident = max(anonymous + files for _, anonymous, files in watch.samples)
    section.facts["int8_resident_kb"] = resident
    section.note(f"resident at most, with all mapped files: {resident / 1024:.0f} MiB, of which anonymous at most {watch.peak_anonymous() / 1024:.0f} MiB")
    return section
