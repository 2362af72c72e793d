"""Where and of what a report was made."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("onnxruntime", "numpy", "pillow", "tokenizers", "flask", "waitress", "werkzeug", "dbus-fast")


def output(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def processor():
    lines = (line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines}
    flags = fields.get("flags", fields.get("Features", "")).split()
    telling = [flag for flag in flags if flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")]
    return fields.get("model name", platform.machine()), telling


def describe():
    name, flags = processor()
    return {
        "architecture": platform.machine(), "processor": name, "instructions": flags,
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(), "load_average_before": round(os.getloadavg()[0], 2),
    }


def versions():
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), "rustc": output("rustc", "--version").removeprefix("rustc ")} | installed


def commit():
    changed = "" if not output("git", "status", "--porcelain", "--untracked-files=no") else ", with changes"
    return output("git", "log", "-1", "--format=%h %s") + changed


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
