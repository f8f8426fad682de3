"""The figures of docs/estimators.md."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.estimators_study import distance, free, largest_bias, relative, select
from mixpipe.base.files import write_file
from mixpipe.report.figures.style import COMPONENT_COLOURS, NOTE_COLOUR, style

# Colour, marker and line of each method; "errors ignored" has the colour of its estimator.
LOOKS = {
    "em": (COMPONENT_COLOURS[0], "o", "-"),
    "density": (COMPONENT_COLOURS[2], "s", "--"),
    "moments": (COMPONENT_COLOURS[1], "^", ":"),
    "em, background": (COMPONENT_COLOURS[3], "D", "-."),
}
NAMES = ("weight 1", "mean 1", "mean 2", "sigma 1", "sigma 2")
# Deviations are drawn to scale up to the first, by their logarithms from there to the second.
_LINEAR, _FAR = 0.5, 15.0
_WIDTH = 7.5  # inches: of a page
# Ratios beyond this are drawn at the edge.
_MOST = 8.0
# A bias above this, in units of em's error, is marked.
_BIASED = 1.0


def _looks(name: str, filled: bool = True) -> dict[str, Any]:
    colour, marker, _ = LOOKS[name]
    return {"color": colour, "marker": marker, "ms": 4.5, "mfc": colour if filled else "white", "mew": 1.0}


def _handles(names: Sequence[str]) -> list[Line2D]:
    return [Line2D([], [], ls=LOOKS[name][2], label=name, **_looks(name)) for name in names]


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    write_file(path, partial(figure.savefig, format="png", dpi=180, metadata={"Software": None}))


def draw_accuracy(result: list[dict[str, Any]]) -> Figure:
    """Error in units of em's against N: a row of panels for each kind of errors, a column for each distance."""
    pairs = select(result, "pair", "ignored")
    kinds = list(dict.fromkeys(case["errors"] for case in pairs))
    distances = sorted({distance(case) for case in pairs})
    figure = _figure(5.2)
    grid = figure.subplots(len(kinds), len(distances), sharex=True, sharey=True)
    for row, errors in zip(grid, kinds, strict=True):
        for axes, apart in zip(row, distances, strict=True):
            cases = [case for case in pairs if case["errors"] == errors and distance(case) == apart]
            for name in ("em", "moments", "density"):
                found = [(case["methods"][name], case["methods"]["em"]) for case in cases]
                ratios = [relative(*pair) for pair in found]
                sizes = [case["n_data"] for case in cases]
                colour, _, line = LOOKS[name]
                axes.plot(sizes, np.minimum(ratios, _MOST), color=colour, ls=line)
                for n, ratio, pair in zip(sizes, ratios, found, strict=True):
                    biased = largest_bias(*pair) > _BIASED
                    axes.plot(n, min(ratio, _MOST), ls="none", zorder=3, **_looks(name, filled=not biased))
                    if ratio > _MOST:
                        axes.annotate(f"{ratio:.0f}", (n, _MOST), (0, 4), textcoords="offset points", ha="center")
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlim(200, 150_000)
            axes.set_ylim(0.7, _MOST * 1.25)
            axes.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
            axes.minorticks_off()
            axes.grid(axis="y", lw=0.4, color="#E0E0E0")
    for axes, apart in zip(grid[0], distances, strict=True):
        axes.set_title(f"means {apart:g} apart", loc="left")
    for axes, errors in zip(grid[:, 0], kinds, strict=True):
        axes.set_ylabel("no errors" if errors == "none" else f"{errors} errors")
    grid[-1, 1].set_xlabel("rows")
    figure.supylabel("error of the estimates, in units of em's", fontsize=8.5)
    hollow = Line2D([], [], ls="none", color=NOTE_COLOUR, marker="o", mfc="white", label="bias above the error of em")
    figure.legend(
        handles=[*_handles(("em", "moments", "density")), hollow], loc="outside upper center", ncols=4, fontsize=8
    )
    return figure


def _estimates(axes: Axes, case: dict[str, Any], methods: dict[str, str]) -> None:
    """Median and scatter of the estimates less the truth, for each parameter; `methods` gives their looks."""
    for k, (method, look) in enumerate(methods.items()):
        found = case["methods"][method]
        middle = free(found["bias"])
        axes.errorbar(
            middle,
            np.arange(middle.size) + 0.76 * ((k + 0.5) / len(methods) - 0.5),
            xerr=free(found["scatter"]),
            ls="none",
            elinewidth=1.0,
            **_looks(look, filled="ignored" not in method),
        )
    axes.axvline(0.0, color=NOTE_COLOUR, lw=0.7)
    for y in np.arange(len(NAMES) - 1) + 0.5:
        axes.axhline(y, color="#C0C0C0", lw=0.5)
    # Small deviations matter, and large ones occur.
    axes.set_xscale("symlog", linthresh=_LINEAR, linscale=2.0)
    axes.set_xlim(-_FAR, _FAR)
    axes.set_xticks([-10, -2, -0.5, 0, 0.5, 2, 10], ["-10", "-2", "-0.5", "0", "0.5", "2", "10"])
    axes.minorticks_off()
    axes.set_ylim(len(NAMES) - 0.5, -0.5)
    axes.set_yticks(range(len(NAMES)), NAMES)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("estimate less truth")


def draw_errors(result: list[dict[str, Any]]) -> Figure:
    """Estimates with errors used and ignored, for moderate and large errors."""
    cases = [case for case in select(result, "ignored") if distance(case) == 3.0]
    figure = _figure(4.0)
    for axes, case in zip(figure.subplots(1, len(cases), sharey=True), cases, strict=True):
        methods = {f"{name}{end}": name for name in ("em", "moments", "density") for end in ("", ", errors ignored")}
        _estimates(axes, case, methods)
        axes.set_title(f"{case['errors']} errors, {case['n_data']:,} rows", loc="left")
    kinds = [
        Line2D([], [], ls="none", color=NOTE_COLOUR, marker="o", mfc=face, label=label)
        for face, label in ((NOTE_COLOUR, "errors used"), ("white", "errors ignored"))
    ]
    marks = [Line2D([], [], ls="none", label=name, **_looks(name)) for name in ("em", "moments", "density")]
    figure.legend(handles=[*marks, *kinds], loc="outside upper center", ncols=5, fontsize=8)
    return figure


def draw_robustness(result: list[dict[str, Any]]) -> Figure:
    """Estimates with contaminants and with errors that differ between the components."""
    cases = [case for case in select(result, "contaminated", "unequal errors") if case["n_data"] == 10_000]
    titles = {
        ("contaminated", "none"): "5 % contaminants,\nno errors",
        ("contaminated", "moderate"): "5 % contaminants,\nmoderate errors",
        ("unequal errors", "of components"): "errors differ between\nthe components",
    }
    figure = _figure(4.0)
    for axes, case in zip(figure.subplots(1, len(cases), sharey=True), cases, strict=True):
        _estimates(axes, case, {name: name for name in case["methods"]})
        axes.set_title(titles[case["kind"], case["errors"]], loc="left")
    marks = [
        Line2D([], [], ls="none", label=name, **_looks(name)) for name in ("em", "moments", "density", "em, background")
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def draw(result: list[dict[str, Any]], folder: Path) -> None:
    """Write all figures."""
    for name, figure_of in (("accuracy", draw_accuracy), ("errors", draw_errors), ("robustness", draw_robustness)):
        with style():
            _save(figure_of(result), folder / f"estimators_{name}.png")
