"""What is measured, one module for each part of the report, in this order."""

import importlib

NAMES = (
    "encoders", "requests", "clients", "arrivals", "stages", "memory", "startup", "pictures", "overhead", "int8", "infinity",
    "instructions", "npu",
)


def run(name, bench):
    return importlib.import_module(f"{__name__}.{name}").run(bench)
