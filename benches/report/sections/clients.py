"""Throughput against the number of clients, beside peers and the bare limit, and how the service grows."""

import statistics

import numpy

from ..daemon import MemoryWatch
from ..figures import Section
from ..load import closed_loop
from ..peers import FLASK

CLIENTS = (1, 2, 4, 16, 64, 256)
PEER_CLIENTS = (1, 4, 16)
BATCHES = (1, 2, 4, 8, 16, 32)


def run(bench):
    section = Section(
        "clients", "Throughput against clients",
        "Clients that each send their next request when they have the answer to the last: pictures of a megapixel in JSON with ten "
        "prompts, the same to all services. The bare limit runs the image encoder alone, at its best batch size, "
        "before and after each load.",
    )
    service, plain = bench.daemon(), bench.onnxruntime()
    contenders = {"hailo-clip": service} | {name: bench.flask(mode) for name, mode in FLASK.items()}
    requests = bench.requests()
    best, rates = best_batch(plain, bench.few(2, 5))
    section.note(f"ONNX Runtime alone is fastest at batch {best}: {rates[best]:.1f} pictures a second; at batch 1: {rates[1]:.1f}")
    for contender in contenders.values():
        closed_loop(contender.port, requests, 2, 0.5)

    loads = {name: {} for name in contenders}
    memory = {}
    rounds = bench.few(1, 3)
    for turn in range(rounds):
        for clients in CLIENTS:
            limit = [plain_rate(plain, best)]
            for name, contender in contenders.items():
                if name != "hailo-clip" and (clients not in PEER_CLIENTS):
                    continue
                with MemoryWatch(contender.pid) as watch:
                    load = closed_loop(contender.port, requests, clients, bench.few(4, 10), per_client=bench.few(1, 2))
                limit.append(plain_rate(plain, best))
                loads[name].setdefault(clients, []).append((load, statistics.mean(limit[-2:])))
                if name == "hailo-clip":
                    memory.setdefault(clients, []).append(watch.peak_anonymous())
                print(f"  {name}, {clients} clients: {load.rate:.1f}/s, p99 {1000 * (load.percentile(0.99) or 0):.0f} ms", flush=True)
                if load.others:
                    section.note(f"{name}, {clients} clients: answers that were none: {load.others}")

    against_peers(section, loads)
    growth(section, loads["hailo-clip"], memory, len(requests[0]))
    pictures_against(section, loads, rates[best])
    return section


def best_batch(plain, repeats):
    rates = {
        count: statistics.median(count / plain.seconds({"images": count}) for _ in range(repeats + 1)) for count in BATCHES
    }
    return max(rates, key=rates.get), rates


def plain_rate(plain, batch):
    """Over about a second: the machine's own speed wavers."""
    return statistics.median(batch / plain.seconds({"images": batch}) for _ in range(max(3, 48 // batch)))


def against_peers(section, loads):
    for clients in CLIENTS:
        pairs = loads["hailo-clip"][clients]
        section.compare(
            f"classify, {clients} client{'s' * (clients > 1)}", "1/s", [load.rate for load, _ in pairs], [limit for _, limit in pairs],
            "image encoder of ONNX Runtime, best batch", f"plain_{clients}",
        )
    for name, mode in FLASK.items():
        for clients in PEER_CLIENTS:
            pairs = list(zip((load for load, _ in loads["hailo-clip"][clients]), (load for load, _ in loads[name][clients])))
            section.compare(
                f"classify, {clients} client{'s' * (clients > 1)}", "1/s", [ours.rate for ours, _ in pairs],
                [peer.rate for _, peer in pairs], name, f"{mode}_rate_{clients}",
            )
            section.compare(
                f"99th percentile, {clients} client{'s' * (clients > 1)}", "ms", [ours.percentile(0.99) for ours, _ in pairs],
                [peer.percentile(0.99) for _, peer in pairs], name, f"{mode}_p99_{clients}", 1000,
            )


def growth(section, loads, memory, body_bytes):
    """Flat throughput and memory, latency in proportion to the queue.

    A machine's speed changes from minute to minute: rates are counted in the peer's of just before and after.
    """
    rate = {clients: statistics.median(load.rate for load, _ in each) for clients, each in loads.items()}
    latency = {clients: statistics.median(load.percentile(0.5) for load, _ in each) for clients, each in loads.items()}
    relative_rate = {clients: statistics.median(load.rate / limit for load, limit in each) for clients, each in loads.items()}
    relative_latency = {
        clients: statistics.median(load.percentile(0.5) * limit for load, limit in each) for clients, each in loads.items()
    }
    peak = {clients: statistics.median(each) for clients, each in memory.items()}
    crowds = [clients for clients in CLIENTS if clients >= 16]
    straight = numpy.corrcoef(crowds, [relative_latency[clients] for clients in crowds])[0, 1] ** 2
    # By Little's law the latency is the number of clients over the rate: what is above it waits elsewhere.
    excess = max(latency[clients] * rate[clients] / clients for clients in crowds)
    bodies = (256 - 16) * body_bytes / 1024
    section.facts |= {
        "flat_rate": relative_rate[256] / max(relative_rate[clients] for clients in crowds), "latency_r2": straight, "latency_excess": excess,
        "memory_16_kb": peak[16], "memory_256_kb": peak[256], "bodies_kb": bodies,
        "memory_growth": (peak[256] - bodies) / peak[16],
    }
    section.table(
        "How hailo-clip grows", ["clients", "requests/s", "p50 ms", "p99 ms", "peak anonymous memory, MiB"],
        [
            [
                clients, round(rate[clients], 1), round(1000 * latency[clients]),
                round(1000 * statistics.median(load.percentile(0.99) for load, _ in loads[clients])), round(peak[clients] / 1024),
            ]
            for clients in CLIENTS
        ],
    )
    section.note(
        f"from 16 to 256 clients: throughput at 256 is {section.facts['flat_rate']:.2f} of the best, latency over queue length "
        f"is straight with R² {straight:.3f}, memory grows by {(peak[256] - peak[16]) / 1024:.0f} MiB, of which the 240 further "
        f"requests' own bytes are {bodies / 1024:.0f} MiB"
    )


def pictures_against(section, loads, limit):
    def line(name, number, value):
        points = sorted(loads[name])
        return {"label": name, "colour": number, "x": points, "y": [value([load for load, _ in loads[name][clients]]) for clients in points]}

    section.plot(
        "Throughput against clients", "clients", "requests per second",
        [line(name, number, lambda each: statistics.median(load.rate for load in each)) for number, name in enumerate(loads)],
        log="x", limits=[{"label": "image encoder of ONNX Runtime alone, best batch", "y": limit}],
    )
    section.plot(
        "99th percentile against clients", "clients", "ms",
        [line(name, number, lambda each: 1000 * statistics.median(load.percentile(0.99) for load in each)) for number, name in enumerate(loads)],
        log="xy",
    )
