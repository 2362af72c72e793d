"""Memory over time, under a mix of all kinds of requests."""

from ..daemon import MemoryWatch
from ..figures import Section
from ..load import post, run_through
from ..pictures import PROMPTS, draw, encoded

CLIENTS = 8


def run(bench):
    count = bench.few(300, 1000)
    section = Section(
        "memory", "Memory over time",
        f"{count} mixed requests by {CLIENTS} clients: classifications of one and twelve megapixels in JSON and bare, embeddings of "
        "pictures, prompts never seen, known ones, PNGs, and pictures that are none. Anonymous memory is what the kernel cannot take "
        "back; weights are mapped files, which it can.",
    )
    service = bench.daemon()
    started = service.memory()
    with MemoryWatch(service.pid) as watch:
        load = run_through(service.port, mixed(bench, count), CLIENTS)
    after, peak = service.memory(), watch.peak_anonymous()
    weights = bench.weights_bytes() / 1024
    mib = lambda kb: round(kb / 1024, 1)  # noqa: E731
    section.table(
        "Resident memory, MiB", ["", "anonymous", "of files"],
        [
            ["after the start", mib(started["anonymous"]), mib(started["files"])],
            ["peak over all requests", mib(peak), mib(max(sample[2] for sample in watch.samples))],
            ["after the last", mib(after["anonymous"]), mib(after["files"])],
            ["the weights' files", "", mib(weights)],
        ],
    )
    section.note(f"answers: {len(load.latencies)} of {count} as asked, others by status: {load.others}")
    peer = bench.onnxruntime()
    for size in (1, 8):
        peer.seconds({"images": size})
    peer.seconds({"texts": PROMPTS})
    section.compare(
        "anonymous memory, peak", "MiB", [peak / 1024], [peer.ask("memory")["anonymous"] / 1024],
        "ONNX Runtime, no server, after a few batches", "anonymous_to_plain",
    )
    thinned = watch.samples[:: max(1, len(watch.samples) // 400)]
    section.plot(
        "Resident memory over time", "seconds", "MiB",
        [
            {"label": "anonymous", "x": [sample[0] for sample in thinned], "y": [sample[1] / 1024 for sample in thinned]},
            {"label": "of files (weights, mapped)", "x": [sample[0] for sample in thinned], "y": [sample[2] / 1024 for sample in thinned]},
        ],
        limits=[{"label": "weights + 150 MB", "y": weights / 1024 + 150e6 / 2**20}],
    )
    section.facts |= {
        "anonymous_peak_kb": peak, "anonymous_after_kb": after["anonymous"], "weights_kb": weights, "requests": count,
        "statuses": load.others | {"200": len(load.latencies)},
    }
    return section


def mixed(bench, count):
    json, big = bench.requests(), bench.big_picture.read_bytes()
    query = "/v1/classify?" + "&".join(f"prompts={prompt.replace(' ', '+')}" for prompt in PROMPTS[:10])
    portrait = encoded(draw((600, 800), 7), "PNG")
    kinds = [
        lambda number: json[number % len(json)],
        lambda number: post("/v1/embed/text", {"text": f"a text that nobody has asked for, number {number}"}),
        lambda number: post(query, bench.pictures[number % len(bench.pictures)], "image/jpeg"),
        lambda number: post("/v1/embed/text", {"text": PROMPTS[number % len(PROMPTS)]}),
        lambda number: post("/v1/embed/image", portrait, "image/png"),
        lambda number: json[(number + 1) % len(json)],
        lambda number: post("/v1/embeddings", {"input": [f"{prompt}, {number}" for prompt in PROMPTS], "model": bench.bundle.name}),
        lambda number: post(query, big, "image/jpeg") if number % 2 else post(query, b"no picture at all", "image/jpeg"),
    ]
    # One after the other, each made when it is sent: a thousand of them would fill the generator's own memory.
    return (kinds[number % len(kinds)](number // len(kinds)) for number in range(count))
