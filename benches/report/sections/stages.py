"""Where requests spend their time, from the service's own histograms."""

import os
import statistics
import time

from ..figures import Section
from ..load import closed_loop

STAGES = ("decode", "preprocess", "queue", "image", "text", "score")
TOTAL = 'hailo_clip_inference_duration_seconds_{}{{operation="classify"}}'


def run(bench):
    section = Section(
        "stages", "Stages of a request",
        "Means over all requests of a load, from the histograms at /metrics; pictures of a megapixel, ten known prompts. "
        "What a batch takes counts for each picture in it.",
    )
    service, plain, requests, rows, costs = bench.daemon(), bench.onnxruntime(), bench.requests(), [], []
    closed_loop(service.port, requests, 1, 0.5)
    for clients in (1, 4, 16):
        before, metrics_before, threads_before = service.stages(), service.metrics(), service.thread_seconds()
        faults = service.page_faults()
        began, generator = time.perf_counter(), time.process_time()
        load = closed_loop(service.port, requests, clients, bench.few(4, 10))
        seconds, generator = time.perf_counter() - began, time.process_time() - generator
        after, metrics_after, threads = service.stages(), service.metrics(), service.thread_seconds()
        faults = service.page_faults() - faults
        grown = lambda name: metrics_after[name] - metrics_before[name]  # noqa: E731
        answers = max(1, grown(TOTAL.format("count")))
        means = {stage: 1000 * (after[stage][0] - before[stage][0]) / answers for stage in STAGES if stage in after}
        total = 1000 * grown(TOTAL.format("sum")) / answers
        batch = 'hailo_clip_batch_size_{}{{encoder="image"}}'
        mean_batch = grown(batch.format("sum")) / max(1, grown(batch.format("count")))
        rows.append((clients, means, total, mean_batch, load.rate))
        threads.subtract(threads_before)
        inference, all_else = threads.pop("rten", 0), sum(threads.values())
        processors = seconds * len(os.sched_getaffinity(0))
        costs.append((clients, *(1000 * each / answers for each in (inference, all_else, generator, processors)), faults / answers))
    section.plot(
        "Mean time of a request by stage", "ms", "",
        [{"label": stage, "x": [], "y": [means.get(stage, 0) for _, means, *_ in rows]} for stage in STAGES],
        bars=True, ticks=[f"{clients} client{'s' * (clients > 1)}" for clients, *_ in rows],
    )
    section.table(
        "Mean time of a request by stage, in ms", ["clients", *STAGES, "acceptance to answer", "pictures in a batch", "requests/s"],
        [
            [clients, *(round(means.get(stage, 0), 2) for stage in STAGES), round(total, 1), round(batch, 2), round(rate, 1)]
            for clients, means, total, batch, rate in rows
        ],
    )
    bare = 1000 * statistics.median(plain.seconds({"images": 8}) for _ in range(bench.few(5, 15))) / 8 * bench.threads
    section.table(
        "Where the processors' time goes, in ms for each request, and how many pages of memory it had to fetch",
        ["clients", "inference", "HTTP, base64, decoding", "the clients", "all processors", "ONNX Runtime for a picture in a batch of 8", "page faults"],
        [[clients, *(round(each, 1) for each in cost), round(bare, 1), round(faults)] for clients, *cost, faults in costs],
    )
    crowd = costs[-1]
    section.facts["crowd"] = (
        f"a request takes {crowd[4]:.1f} ms of all processors, {crowd[1]:.1f} ms of them inference and {crowd[2] + crowd[3]:.1f} ms "
        f"its picture, HTTP and the client; a picture in ONNX Runtime alone, without either, takes {bare:.1f} ms; "
        f"it had {crowd[5]:.0f} page faults"
    )
    section.note(f"with {crowd[0]} clients {section.facts['crowd']}")
    section.facts["stages"] = {str(clients): means for clients, means, *_ in rows}
    return section
