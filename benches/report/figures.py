"""Medians, spreads, and ratios of contenders that take turns.

Whatever else the machine does hits all contenders of a turn alike, so what counts is the median of the ratios
within turns. Absolute figures are for orientation.
"""

import math
import statistics
import time


def percentile(values, share):
    """By nearest rank; None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def spread(values):
    """Median and quartiles."""
    values = list(values)
    if len(values) == 1:
        low = high = values[0]
    else:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": statistics.median(values), "low": low, "high": high, "count": len(values)}


def take_turns(contenders, turns, pause=0.05):
    """Results of each contender (name: callable) by turn, in an order that rotates, after one warm-up each.

    ONNX Runtime's threads spin for a while after their work is done: hence the pause.
    """
    names = list(contenders)
    for name in names:
        contenders[name]()
    results = {name: [] for name in names}
    for turn in range(turns):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(pause)
            results[name].append(contenders[name]())
    return results


def timed(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Section:
    """What one part of the report found."""

    def __init__(self, name, title, about):
        self.name, self.title, self.about = name, title, about
        self.rows, self.plots, self.notes, self.tables = [], [], [], []
        # What targets are judged by, by name.
        self.facts = {}

    def compare(self, what, unit, ours, peer, peer_name, fact=None, scale=1):
        """A row of two lists of neighbouring turns; the median ratio."""
        ratio = spread(a / b for a, b in zip(ours, peer))
        self.rows.append({
            "what": what, "unit": unit, "peer_name": peer_name,
            "ours": spread(scale * value for value in ours), "peer": spread(scale * value for value in peer), "ratio": ratio,
        })
        print(
            f"  {what:<62}{self.rows[-1]['ours']['median']:>10.1f}{self.rows[-1]['peer']['median']:>10.1f} "
            f"{unit:<5}{ratio['median']:>7.2f}  {peer_name}", flush=True,
        )
        if fact:
            self.facts[fact] = ratio
        return ratio["median"]

    def note(self, text):
        self.notes.append(text)
        print(f"  {text}", flush=True)

    def plot(self, title, x, y, lines, **more):
        """Lines of {label, x, y}, or with `bars` stacked bars; see plots.py."""
        self.plots.append({"title": title, "x": x, "y": y, "lines": lines} | more)

    def table(self, title, head, rows):
        self.tables.append({"title": title, "head": head, "rows": rows})

    def as_json(self):
        return {
            key: getattr(self, key)
            for key in ("name", "title", "about", "rows", "plots", "tables", "notes", "facts")
        }
