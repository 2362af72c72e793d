"""Measures the service beside its peers and writes target/bench/report.{json,html}; see benches/run.

All contenders of a comparison are alive at once and take turns, so that whatever else the machine does hits
them alike. What counts is the median of the ratios of neighbouring turns.
"""

import argparse
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from . import machine, page, sections, targets
from .bench import Bench


def main():
    parser = argparse.ArgumentParser(prog="benches/run", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("target/vit-b-32"))
    parser.add_argument("--int8-bundle", type=Path, default=Path("target/int8/vit-b-32-int8"), help="if it is there")
    parser.add_argument("--daemon", type=Path, default=Path("target/release/hailo-clipd"))
    parser.add_argument("--worker", type=Path, required=True, help="the built cpu_backend.rs")
    parser.add_argument("--doors", type=Path, required=True, help="the built doors.rs")
    parser.add_argument("--npu", type=Path, help="the built npu.rs; without it, what it found before")
    parser.add_argument("--simd-python", type=Path, help="a Python with Pillow-SIMD instead of Pillow")
    parser.add_argument("--infinity-python", type=Path, help="a Python with infinity-emb")
    parser.add_argument("--quick", action="store_true", help="a few minutes instead of half an hour, with less certain figures")
    parser.add_argument("--sections", help="these alone, with commas; of: " + " ".join(sections.NAMES))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each contender")
    parser.add_argument("--output", type=Path, default=Path("target/bench"))
    parser.add_argument("--render", action="store_true", help="make the HTML of the JSON that is there, measure nothing")
    arguments = parser.parse_args()
    wanted = arguments.sections.split(",") if arguments.sections else list(sections.NAMES)
    if unknown := set(wanted) - set(sections.NAMES):
        parser.error(f"no such section: {' '.join(sorted(unknown))}; there are: {' '.join(sections.NAMES)}")

    file = arguments.output / "report.json"
    if arguments.render:
        report = write(json.loads(file.read_text()), file)
    else:
        arguments.output.mkdir(parents=True, exist_ok=True)
        report = measure(arguments, wanted, file)
    targets.show(report["targets"])
    print(f"\nwritten to {file} and {file.with_suffix('.html')}")
    sys.exit(any("error" in section for section in report["sections"]))


def measure(arguments, wanted, file):
    """Section by section. What is done is written, so that an interrupted run has its report too."""
    report = {
        "made": machine.now(), "commit": machine.commit(), "mode": "quick" if arguments.quick else "full",
        "model": arguments.bundle.name, "model_about": json.loads((arguments.bundle / "model.yaml").read_text())["description"],
        "threads": arguments.threads, "machine": machine.describe(), "versions": machine.versions(), "sections": [],
    }
    print(f"{report['commit']}; {arguments.threads} threads each; {report['mode']}; below 1 is faster or smaller (above 1 for 1/s)")
    # Whoever ends it wants its programs ended as well.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, interrupt)
    with Bench(arguments) as bench:
        for number, name in enumerate(wanted, 1):
            began = time.perf_counter()
            print(f"\n{name} ({number} of {len(wanted)})", flush=True)
            try:
                with bench.section() as each:
                    result = sections.run(name, each).as_json()
            except KeyboardInterrupt:
                print("interrupted; what was measured until now is kept", file=sys.stderr)
                break
            except Exception as error:  # noqa: BLE001: the other sections are measured all the same
                traceback.print_exc()
                result = {"name": name, "title": name, "error": f"{type(error).__name__}: {error}"[:600]}
            report["sections"].append(result | {"seconds": round(time.perf_counter() - began, 1)})
            report["machine"]["load_average_after"] = round(os.getloadavg()[0], 2)
            write(report, file)
    return write(report, file)


def interrupt(*_):
    """Once: what a second signal would interrupt is the clearing up."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def write(report, file):
    report["targets"] = targets.judge(report)
    file.write_text(json.dumps(report, indent=1) + "\n")
    file.with_suffix(".html").write_text(page.html(report))
    file.with_suffix(".md").write_text(targets.markdown(report))
    return report


if __name__ == "__main__":
    main()
