"""Plots as SVG for a page that is light or dark: text and axes take the page's own colour.

A plot is what Section.plot() wrote: {title, x, y, lines: [{label, x, y}]}, with `log: "x"|"y"|"xy"`, `bars`
(the lines are stacked bars over the names in `ticks`), or `limits` [{label, y}] (dashed, horizontal).
"""

import io
import re

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

INK = "#010203"
COLOURS = ("#2a78d6", "#eb6834", "#1baf7a", "#eda100", "#e87ba4", "#4a3aa7", "#e34948", "#5f8f00")
STYLE = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "axes.spines.top": False,
    "axes.spines.right": False, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "grid.color": INK, "grid.alpha": 0.15, "axes.grid": True,
    "axes.axisbelow": True, "legend.frameon": False,
}


def svg(plot, number):
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": f"plot-{number}"}):
        figure, axes = pyplot.subplots(figsize=(7.2, 3.8), layout="constrained")
        draw_bars(axes, plot) if plot.get("bars") else draw_lines(axes, plot)
        for limit in plot.get("limits", ()):
            axes.axhline(limit["y"], linestyle="--", linewidth=1.2, color=INK, alpha=0.7, label=limit["label"])
        axes.set_xlabel(plot["x"])
        axes.set_ylabel(plot["y"])
        if len(plot["lines"]) > 1 or plot.get("limits"):
            axes.legend(fontsize=8.5)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg"):].replace(INK, "currentColor")
    # The page scales it.
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    # Names of parts are the page's: two plots may not have the same.
    return re.sub(r'id="((?:axes|figure|line2d|patch|text|matplotlib|xtick|ytick|legend)[\w.]*)"', rf'id="p{number}-\1"', text)


def draw_lines(axes, plot):
    for index, line in enumerate(plot["lines"]):
        points = [(x, y) for x, y in zip(line["x"], line["y"]) if y is not None]
        axes.plot(
            [x for x, _ in points], [y for _, y in points], label=line["label"], color=COLOURS[line.get("colour", index) % len(COLOURS)],
            linewidth=1.8, marker="o" if len(points) < 30 else None, markersize=4.5, linestyle=line.get("style", "-"),
        )
    log = plot.get("log", "")
    if "x" in log:
        ticks = sorted({x for line in plot["lines"] for x in line["x"]})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    if "y" in log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_ylim(bottom=0)


def draw_bars(axes, plot):
    base = [0.0] * len(plot["ticks"])
    for index, line in enumerate(plot["lines"]):
        axes.barh(plot["ticks"], line["y"], left=base, height=0.6, label=line["label"], color=COLOURS[index % len(COLOURS)])
        base = [a + b for a, b in zip(base, line["y"])]
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
