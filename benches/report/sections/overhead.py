"""What HTTP and the engine cost where the encoders have nothing to do, under wrk."""

import os
import re
import resource
import statistics
import subprocess

from ..figures import Section
from ..machine import ROOT

# Requests a second at /v1/embed/text, on two cores.
CONNECTIONS = 16
SCRIPT = "wrk.method = 'POST'\nwrk.body = '{\"text\": \"a photo of a cat\"}'\nwrk.headers['Content-Type'] = 'application/json'\n"
LATENCY = re.compile(r"(50|99)%\s+([\d.]+)(us|ms|s)")
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1}


def run(bench):
    section = Section(
        "overhead", "Overhead of HTTP and engine",
        f"wrk with one thread and {CONNECTIONS} connections, on the same cores: /v1/embed/text with a text that is known, so that "
        "no encoder works, beside /health/live, which is HTTP alone. Where others load the machine, processor time per request "
        "tells what it would be without them.",
    )
    demo = ROOT / "models" / "demo"
    service = bench.daemon(demo)
    script = bench.file("embed_text.lua", SCRIPT.encode())
    seconds, results = bench.few(2, 5), {"embed": [], "live": []}
    wrk(service, "/v1/embed/text", 1, script)
    for turn in range(bench.few(3, 7)):
        for name in ("embed", "live") if turn % 2 else ("live", "embed"):
            path, lua = ("/v1/embed/text", script) if name == "embed" else ("/health/live", None)
            results[name].append(wrk(service, path, seconds, lua))
    rates = {name: [each["rate"] for each in runs] for name, runs in results.items()}
    section.compare("/v1/embed/text, cached", "1/s", rates["embed"], rates["live"], "/health/live of the same service", "embed_to_live")
    cores = os.cpu_count()
    middle = lambda name, key: statistics.median(each[key] for each in results[name])  # noqa: E731
    implied = {name: min(cores, 2) / (middle(name, "service_cpu") + middle(name, "wrk_cpu")) for name in results}
    section.table(
        "Requests on these cores, wrk included", ["", "requests/s", "p50 ms", "p99 ms", "service µs/request", "wrk µs/request", "two cores could"],
        [
            [
                path, round(middle(name, "rate")), round(1000 * middle(name, "p50"), 2), round(1000 * middle(name, "p99"), 2),
                round(1e6 * middle(name, "service_cpu"), 1), round(1e6 * middle(name, "wrk_cpu"), 1), round(implied[name]),
            ]
            for name, path in (("embed", "/v1/embed/text, cached"), ("live", "/health/live"))
        ],
    )
    section.facts |= {"embed_rate": middle("embed", "rate"), "embed_rate_implied": implied["embed"], "errors": sum(each["errors"] for each in results["embed"])}
    return section


def wrk(service, path, seconds, script):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *(["-s", str(script)] if script else [])]
    before, used = service.cpu_seconds(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*command, f"http://127.0.0.1:{service.port}{path}"], capture_output=True, text=True, timeout=60 + 3 * seconds)
    if done.returncode:
        raise RuntimeError(f"wrk: {done.stderr or done.stdout}")
    after, now_used = service.cpu_seconds(), resource.getrusage(resource.RUSAGE_CHILDREN)
    count = int(re.search(r"(\d+) requests in", done.stdout)[1])
    latency = {share: float(value) * UNITS[unit] for share, value, unit in LATENCY.findall(done.stdout)}
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1]), "p50": latency["50"], "p99": latency["99"],
        "service_cpu": (after - before) / count,
        "wrk_cpu": (now_used.ru_utime + now_used.ru_stime - used.ru_utime - used.ru_stime) / count,
        "errors": int(errors[1]) if errors else 0,
    }
