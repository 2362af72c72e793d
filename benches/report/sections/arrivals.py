"""Latency against offered load: an open loop, in which requests come when they come."""

from ..figures import Section
from ..load import closed_loop, open_loop
from ..peers import FLASK

SHARES = (0.2, 0.4, 0.6, 0.8, 0.9, 1.1)
QUICK_SHARES = (0.3, 0.7, 0.9)
PERCENTILES = ((0.5, "p50_ms"), (0.95, "p95_ms"), (0.99, "p99_ms"))


def run(bench):
    section = Section(
        "arrivals", "Latency against offered load",
        "Requests arrive at random times (Poisson) of a set mean rate, whether or not earlier ones were answered; a latency counts "
        "from the moment for which the request was scheduled, so a pause of the service is in all that it delays. Rates are "
        "shares of what each service reached with 16 clients just before.",
    )
    contenders = {"hailo-clip": bench.daemon()} | {name: bench.flask(mode) for name, mode in FLASK.items() if mode != "cache"}
    requests, results = bench.requests(), {name: [] for name in contenders}
    shares = bench.few(QUICK_SHARES, SHARES)
    rounded = lambda value: None if value is None else round(value, 1)  # noqa: E731
    for name, contender in contenders.items():
        closed_loop(contender.port, requests, 2, 0.5)
    for share in shares:
        for name, contender in contenders.items():
            capacity = closed_loop(contender.port, requests, 16, bench.few(2, 4)).rate
            load = open_loop(contender.port, requests, share * capacity, bench.few(6, 25), seed=int(100 * share))
            results[name].append({"share": share, "capacity": capacity, "offered": share * capacity} | load.as_json())
            print(f"  {name}: {share:.0%} of {capacity:.1f}/s: {rounded(results[name][-1]['p50_ms'])} / {rounded(results[name][-1]['p99_ms'])} ms", flush=True)
    section.table(
        "Latency against offered load", ["service", "offered/s", "of its capacity", "answered", "not answered", "p50 ms", "p95 ms", "p99 ms"],
        [
            [
                name, rounded(each["offered"]), f"{each['share']:.0%}", each["answered"], sum(each["others"].values()),
                *(rounded(each[key]) for _, key in PERCENTILES),
            ]
            for name, loads in results.items() for each in loads
        ],
    )
    for share, key in ((0.5, "p50_ms"), (0.99, "p99_ms")):
        section.plot(
            f"Latency against offered load, {'median' if share == 0.5 else '99th percentile'}", "offered requests per second", "ms",
            [
                {"label": name, "x": [each["offered"] for each in loads], "y": [each[key] for each in loads]}
                for name, loads in results.items()
            ],
            log="y",
        )
    ours = results["hailo-clip"]
    section.plot(
        "hailo-clip: percentiles against offered load", "offered, share of capacity", "ms",
        [{"label": key[:3], "x": [each["share"] for each in ours], "y": [each[key] for each in ours]} for _, key in PERCENTILES],
    )
    section.facts["open_loop"] = results
    return section
