"""How much of a simulated NPU's rate is delivered: what npu.rs found, which this runs."""

import json
import os
import subprocess

from ..figures import Section
from ..machine import ROOT


def run(bench):
    section = Section(
        "npu", "On simulated NPUs",
        "The device is simulated and keeps the vendor's times for CLIP ViT-B/32 without using the processor; all else is the real "
        "thing. The processor's limit is decoding and pre-processing on all cores, with nothing else to do, before and after.",
    )
    found = bench.output / "npu.json"
    if bench.npu_program:
        bench.output.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "HAILO_CLIP_BENCH_SECONDS": str(bench.few(2, 6)), "HAILO_CLIP_BENCH_JSON": str(found),
            "HAILO_CLIP_NPU_MODELS": str(ROOT / "target/hailort-sim/vit"),
        }
        subprocess.run([str(bench.npu_program), "--bench"], cwd=ROOT, env=environment, timeout=900, check=True)
    elif not found.exists():
        section.note("not measured: run make bench-npu before")
        return section
    rows = json.loads(found.read_text())
    section.table(
        "Simulated devices", ["device", "door", "clients", "answers/s", "of the device", "of the CPU's limit", "of the lower", "median ms", "mean batch", "peak anonymous MiB"],
        [
            [
                row["device"], row["door"], row["clients"], round(row["per_second"], 1), percent(row["per_second"] / row["device_rate"]),
                percent(row["per_second"] / row["limit"]), percent(of_the_lower(row)), round(row["median_ms"], 1), round(row["mean_batch"], 1),
                round(row["anonymous_kb"] / 1024),
            ]
            for row in rows
        ],
    )
    crowd = [row for row in rows if row["device"] == "Hailo-10H" and row["door"] == "HTTP" and row["clients"] == 16]
    section.facts |= {
        "npu_share": of_the_lower(crowd[0]) if crowd else None, "npu_device_share": crowd[0]["per_second"] / crowd[0]["device_rate"] if crowd else None,
        "npu_anonymous_kb": max(row["anonymous_kb"] for row in rows),
    }
    return section


def of_the_lower(row):
    return row["per_second"] / min(row["device_rate"], row["limit"])


def percent(share):
    return f"{100 * share:.1f} %"
