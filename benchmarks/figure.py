"""Cost of a pass, time to choose M, and deficits; time and memory against the number of rows; several columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.arrival import deficits
from benchmarks.joint import ARRIVED, MAX_EM
from benchmarks.measure import number
from mixpipe.base.files import write_file
from mixpipe.report.figures.style import COMPONENT_COLOURS, DATA_COLOUR

# Deficits below this (nats) are drawn as this: nothing that a choice by BIC could notice.
_NO_DEFICIT = 1e-3


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], texts: Sequence[str], unit: str) -> None:
    """Horizontal bars on a logarithmic axis, the first on top, each with its number."""
    colours = [COMPONENT_COLOURS[0] if name.startswith("mixpipe") else DATA_COLOUR for name in names]
    axes.barh(range(len(names)), values, color=colours, height=0.62)
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 4.0, max(values) * 12.0)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    for y, (value, text) in enumerate(zip(values, texts, strict=True)):
        axes.annotate(text, (value, y), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.minorticks_off()


def draw(measured: dict[str, dict[str, Any]], path: Path) -> None:
    """Write the figure."""
    figure = Figure(figsize=(10.5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    cost, time, short = figure.subplots(1, 3)

    row = next(r for r in measured["passes"]["rows"] if r["single"] and r["n_components"] == 3)
    codes = {
        "mixpipe EM": "sums",
        "mixpipe Newton": "derivatives",
        "scikit-learn": "sklearn",
        "pygmmis": "pygmmis",
        "astroML": "astroml",
    }
    shown = {name: row[key] for name, key in codes.items() if isinstance(row.get(key), float)}
    _bars(cost, list(shown), list(shown.values()), [number(v) for v in shown.values()], "ns per row and component")
    cost.set_title(f"One pass over the data\n{row['n_data']:,} rows, M = 3, one thread", fontsize=9, loc="left")

    used = measured["choice"]["rows"][-1]
    seconds = [used["mixpipe"], used["sklearn"]]
    choices = [measured["choice"]["mixpipe_choice"], measured["choice"]["sklearn_choice"]]
    texts = [f"{number(s)} s, M = {m}" for s, m in zip(seconds, choices, strict=True)]
    _bars(time, ["mixpipe\n(errors used)", "scikit-learn\n(errors ignored)"], seconds, texts, "seconds")
    time.set_xlim(min(seconds) / 2, max(seconds) * 60)
    time.set_title("Time to choose M in 1 … 10\n1,000,000 rows, truth M = 3", fontsize=9, loc="left")

    worst: dict[str, float] = {}
    for column in measured["arrival"]["columns"]:
        if column["label"].startswith("10,000"):
            for code, value in deficits(column, 3):
                name = f"{code}\n(errors ignored)" if code == "scikit-learn" else code
                worst[name] = max(value, worst.get(name, 0.0))
    drawn = [max(value, _NO_DEFICIT) for value in worst.values()]
    labels = [f"< {_NO_DEFICIT:g}" if value < _NO_DEFICIT else number(value, 2) for value in worst.values()]
    _bars(short, list(worst), drawn, labels, "nats below the maximum")
    short.axvline(13.8, color="#4D4D4D", lw=0.8, ls=":")
    short.annotate(
        "one more component\nin BIC",
        (13.8, len(worst) - 0.15),
        (-3, 0),
        textcoords="offset points",
        ha="right",
        fontsize=7,
    )
    short.set_ylim(len(worst) + 0.3, -0.6)
    short.set_title("Where default fits stop\n10,000 rows, M = 3, worst seed", fontsize=9, loc="left")
    write_file(path, lambda temporary: figure.savefig(temporary, dpi=160, metadata={"Software": None}))


def draw_scale(result: dict[str, Any], path: Path) -> None:
    """Write the figure of time and memory from a file to tables."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    time, memory = figure.subplots(1, 2)
    rows = [row for row in result["rows"] if row["format"] == "fits" and row["n_columns"] == 2]
    n_data = [row["n_data"] for row in rows]
    lines = (
        ("mixpipe, file to tables", [row["fit"]["seconds"] for row in rows], COMPONENT_COLOURS[0], "o-"),
        ("Astropy, reading alone", [row["astropy"]["seconds"] for row in rows], DATA_COLOUR, "s--"),
    )
    for label, values, colour, style in lines:
        time.loglog(n_data, values, style, color=colour, label=label)
    peers = [(row["n_data"], row["scikit-learn"]["seconds"]) for row in rows if row["scikit-learn"]]
    time.loglog(
        *zip(*peers, strict=True), "^:", color=COMPONENT_COLOURS[1], label="scikit-learn, no errors, no reading"
    )
    time.set_ylabel("seconds")
    time.set_title("Choosing M in 1 … 10 for one column of a FITS file", fontsize=9, loc="left")
    memory.loglog(n_data, [row["fit"]["peak"] for row in rows], "o-", color=COMPONENT_COLOURS[0], label="mixpipe")
    memory.loglog(n_data, [row["bytes"] / 1e6 for row in rows], "s--", color=DATA_COLOUR, label="size of the file")
    memory.axhline(1024 * 1.048576, color="#4D4D4D", lw=0.8, ls=":")
    memory.annotate("1 GiB", (n_data[0], 1024 * 1.048576), (0, 3), textcoords="offset points", fontsize=8)
    memory.set_ylabel("peak memory / MB")
    memory.set_title("Memory, libraries included", fontsize=9, loc="left")
    for axes in (time, memory):
        axes.set_xlabel("rows")
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    write_file(path, lambda temporary: figure.savefig(temporary, dpi=160, metadata={"Software": None}))


def draw_joint(result: dict[str, Any], path: Path) -> None:
    """Write the figure of several columns: cost of a pass, and passes to a maximum."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    cost, passes = figure.subplots(1, 2, width_ratios=(1.0, 1.15))
    codes = ("mixpipe", "scikit-learn", "pygmmis", "astroML")
    n_dims = [row["n_dims"] for row in result["cost"]]
    styles = zip(codes, (COMPONENT_COLOURS[0], DATA_COLOUR, *COMPONENT_COLOURS[1:3]), "os^D", strict=True)
    for name, colour, marker in styles:
        points = [(row["n_dims"], row[name]) for row in result["cost"] if not isinstance(row[name], str)]
        if points:
            cost.semilogy(*zip(*points, strict=True), marker + "-", color=colour, ms=5)
            label = f"{name}\n(no errors)" if name == "scikit-learn" else name
            cost.annotate(label, points[-1], (7, 0), textcoords="offset points", va="center", fontsize=8)
    cost.set_xticks(n_dims)
    cost.set_xlim(min(n_dims) - 0.2, max(n_dims) + 1.2)
    cost.set_xlabel("columns")
    cost.set_ylabel("ns per row and component")
    cost.set_title("One pass over the data\nM = 8, one thread", fontsize=9, loc="left")
    _draw_climbs(passes, result["climbs"])
    for axes in (cost, passes):
        axes.spines[["top", "right"]].set_visible(False)
    write_file(path, lambda temporary: figure.savefig(temporary, dpi=160, metadata={"Software": None}))


def _draw_climbs(axes: Axes, climbs: Sequence[dict[str, Any]]) -> None:
    """Passes of every climb, those that did not arrive as open marks at the last pass."""
    problems = list(dict.fromkeys((row["n_dims"], row["n_components"]) for row in climbs))
    series = (("passes", -0.16, COMPONENT_COLOURS[0], "mixpipe"), ("em", 0.16, DATA_COLOUR, "EM"))
    for key, shift, colour, label in series:
        for row in climbs:
            # Seeds lie beside each other, so that no mark hides another.
            x = problems.index((row["n_dims"], row["n_components"])) + shift + 0.07 * (row["seed"] - 2)
            arrived = row[key] is not None
            y = row[key] if arrived else MAX_EM
            axes.semilogy(x, y, "o", color=colour, mfc=colour if arrived else "none", ms=5)
        axes.semilogy([], [], "o", color=colour, label=label)
    axes.semilogy([], [], "o", color=DATA_COLOUR, mfc="none", label=f"EM, not there after {MAX_EM:,}")
    axes.set_xticks(range(len(problems)), [f"{d}, {m}" for d, m in problems])
    axes.set_xlabel("columns, M")
    axes.set_ylabel("passes")
    axes.set_ylim(10, 4 * MAX_EM)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper left", columnspacing=1.0, handletextpad=0.2)
    axes.set_title(
        f"Passes to within {ARRIVED:g} nats of a maximum\n10,000 rows, random starts", fontsize=9, loc="left"
    )
