"""Where requests spend their time, from the service's own histograms."""

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
    service, requests, rows = bench.daemon(), bench.requests(), []
    closed_loop(service.port, requests, 1, 0.5)
    for clients in (1, 4, 16):
        before, metrics_before = service.stages(), service.metrics()
        load = closed_loop(service.port, requests, clients, bench.few(4, 10))
        after, metrics_after = service.stages(), service.metrics()
        grown = lambda name: metrics_after[name] - metrics_before[name]  # noqa: E731
        answers = max(1, grown(TOTAL.format("count")))
        means = {stage: 1000 * (after[stage][0] - before[stage][0]) / answers for stage in STAGES if stage in after}
        total = 1000 * grown(TOTAL.format("sum")) / answers
        batch = 'hailo_clip_batch_size_{}{{encoder="image"}}'
        mean_batch = grown(batch.format("sum")) / max(1, grown(batch.format("count")))
        rows.append((clients, means, total, mean_batch, load.rate))
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
    section.facts["stages"] = {str(clients): means for clients, means, *_ in rows}
    return section
