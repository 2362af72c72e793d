"""The encoders alone, without a service, beside ONNX Runtime."""

from ..figures import Section, take_turns
from ..pictures import PROMPTS

PEER = "ONNX Runtime"


def run(bench):
    section = Section(
        "encoders", "Encoders alone",
        "The CPU backend in a process of its own beside plain ONNX Runtime, in turns: batches of pictures, and prompts "
        "that both trim to the longest of the batch, or that the peer pads to the model's whole context.",
    )
    ours, prepacked, peer = bench.backend(), bench.backend(prepack=True), bench.onnxruntime()
    turns = bench.few(5, 15)
    for count in (1, 8):
        command = {"images": count}
        results = take_turns({
            "ours": lambda: ours.seconds(command), "prepacked": lambda: prepacked.seconds(command),
            "peer": lambda: peer.seconds(command),
        }, turns)
        fact = f"image_batch_{count}"
        section.compare(f"image encoder, batch {count}", "ms", results["ours"], results["peer"], PEER, fact, 1000)
        section.compare(f"image encoder, batch {count}, prepacked weights", "ms", results["prepacked"], results["peer"], PEER, scale=1000)
    for count in (1, 5, 20):
        texts, what = PROMPTS[:count], f"text encoder, {count} prompt{'s' * (count > 1)}"
        results = take_turns({
            "ours": lambda: ours.seconds({"texts": texts}), "peer": lambda: peer.seconds({"texts": texts}),
            "padded": lambda: peer.seconds({"padded_texts": texts}),
        }, turns)
        section.compare(what, "ms", results["ours"], results["peer"], PEER, scale=1000)
        section.compare(what, "ms", results["ours"], results["padded"], f"{PEER}, padded to 77", scale=1000)
    used = peer.ask("memory")
    for what, worker in (("encoders", ours), ("encoders, prepacked weights", prepacked)):
        memory = worker.ask("memory")
        for kind, label in (("peak", "peak resident"), ("anonymous", "anonymous at the end")):
            section.compare(f"memory, {label}, {what}", "MiB", [memory[kind] / 1024], [used[kind] / 1024], PEER)
    return section
