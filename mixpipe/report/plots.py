"""Plots that can be zoomed and tell their values: what Plotly is told, as plain data."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mixpipe.model import Array
from mixpipe.report.entries import DensityEntry, ReportEntry
from mixpipe.report.numbers import missing, significant

# Okabe & Ito (2008), as in the figures: told apart with any colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
# The page's style sheet makes this near-black near-white on a dark ground.
INK = "#010101"
_DATA, _DATA_LINE, _BAND = "rgba(128,128,128,0.35)", "#808080", "rgba(86,180,233,0.25)"
_DASHES = ("solid", "dash", "dot", "dashdot")
_MARKERS = ("circle", "diamond", "square", "triangle-up", "cross", "x")
# Characters of a name.
_NAME = 24
# Numbers of this many times the width of the picture have so many digits that few of them fit.
_LONG = 1000.0
# Curves are cut at this many times the height of the histogram.
_HEADROOM = 2.5
# Curves are drawn by as few points as keep them this close to the truth, in parts of the picture's height.
_TOLERANCE = 0.0025
# Digits of ordinates.
_DIGITS = 4
# Information criteria are shown up to this much above the best, or some times the distance of the next.
_CLEAR = 20.0

# Numbers on an axis are written out: a date has many digits.
_AXIS = {"linecolor": "#808080", "exponentformat": "none", "separatethousands": True, "automargin": True}

# What all plots share.
TEMPLATE: dict[str, Any] = {
    "layout": {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "margin": {"l": 56, "r": 12, "t": 16, "b": 48},
        "hovermode": "closest",
        "dragmode": "zoom",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "modebar": {"orientation": "v"},
        "bargap": 0,
        "xaxis": {"showgrid": False, "zeroline": False, "showline": True, "ticks": "outside", **_AXIS},
        "yaxis": {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "exponentformat": "power"},
    },
    "data": {
        "scatter": [{"mode": "lines", "line": {"width": 2}}],
        "bar": [{"marker": {"color": _DATA, "line": {"color": _DATA_LINE, "width": 1}}}],
    },
}
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
    "toImageButtonOptions": {"format": "svg"},
}


def fit_plots(entry: ReportEntry) -> list[dict[str, Any]]:
    """The plots of a fit: caption, alternative text, whether it leads the others, and ``figure`` for Plotly."""
    plots = [] if entry.curves is None else _curve_plots(entry, entry.curves)
    caption = "Information criteria above their lowest value, against the number of components"
    plots.insert(1, {"caption": caption, "figure": _selection(entry)})
    return [
        {**plot, "alt": f"{plot['caption']}: {entry.shown}", "lead": place == 0 and len(plots) > 1}
        for place, plot in enumerate(plots)
    ]


def density_plots(entry: DensityEntry) -> list[dict[str, Any]]:
    """The plots of some tabulated densities, as those of `fit_plots`."""
    plots = []
    for example in entry.examples:
        caption = f"The {example['which']} fit, of {example['row']}"
        x, density = np.asarray(example["grid"], float), np.asarray(example["density"], float)
        height = float(np.nanmax(density, initial=0.0)) or 1.0
        fine, model = (np.asarray(example[name], float) for name in ("fine", "mixture"))
        traces = [
            _line(x, density, height, name="density", color=_DATA_LINE, fill=_DATA),
            _line(fine, model, height, name="mixture", color=INK, dash="dot"),
        ]
        figure = {"data": traces, "layout": _layout(axis_title(entry.column, entry.unit), "density")}
        plots.append({"caption": caption, "alt": f"{caption}: {entry.shown}", "lead": False, "figure": figure})
    return plots


def axis_title(name: str, unit: str | None) -> str:
    """A name with its unit, shortened to what a narrow screen has room for, none of it read as markup."""
    name, unit = (_shortened(text, _NAME) for text in (name, unit or ""))
    return _words(f"{name} [{unit}]" if unit else name)


def _shortened(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 1]}…"


def _words(text: str) -> str:
    """A text that Plotly shows as it is; quotes are none of its markup."""
    return html.escape(text, quote=False)


def simplified(x: Array, y: Array, tolerance: float) -> Array:
    """Places of as few points as draw a curve to within a tolerance (Ramer 1972, Douglas & Peucker 1973).

    >>> simplified(np.arange(5.0), np.array([0.0, 1.0, 2.0, 1.0, 0.0]), 0.1)
    array([0, 2, 4])
    """
    keep = {0, x.size - 1}
    waiting = [(0, x.size - 1)]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        inner = slice(first + 1, last)
        slope = (y[last] - y[first]) / (x[last] - x[first])
        distance = np.abs(y[inner] - y[first] - slope * (x[inner] - x[first]))
        farthest = int(np.argmax(distance))
        if distance[farthest] > tolerance:
            middle = first + 1 + farthest
            keep.add(middle)
            waiting += [(first, middle), (middle, last)]
    return np.array(sorted(keep))


def _curve_plots(entry: ReportEntry, curves: Mapping[str, Any]) -> list[dict[str, Any]]:
    title = axis_title(entry.column, entry.unit)
    return [
        {
            "caption": f"Data, the mixture as observed, and its components with the errors removed. {curves['note']}",
            "figure": _mixture(entry, curves, title),
        },
        {
            "caption": "Probability of each component against the value, for a row with the median error",
            "figure": _classes(curves, title),
        },
        {
            "caption": "Probability integral transform: rows over those expected; the band holds 95 % of a right fit",
            "figure": _transform(curves["pit"]),
        },
        {
            "caption": "Residual of the histogram in σ; the band holds 95 % of a right fit",
            "figure": _residual(curves, title),
        },
    ]


def _mixture(entry: ReportEntry, curves: Mapping[str, Any], title: str) -> dict[str, Any]:
    x, density = np.asarray(curves["x"], float), np.asarray(curves["density"], float)
    observed, intrinsic = np.asarray(curves["observed"], float), np.asarray(curves["intrinsic"], float)
    tallest = float(density.max(initial=0.0)) or 1.0
    top = 1.08 * max(tallest, min(_HEADROOM * tallest, float(max(observed.max(), intrinsic.max()))))
    low, high = curves["range"]
    rows = _ordinates(np.asarray(curves["counts"], float), 6)
    traces = [_bars(curves["edges"], density, "data", customdata=rows, hovertemplate="%{x}: %{customdata:,} rows")]
    for row, curve in zip(entry.components.to_dict("records"), curves["components"], strict=True):
        index = int(row["component"]) - 1
        dash = _DASHES[index // len(_COLOURS) % len(_DASHES)]
        style = {
            "name": f"{index + 1}: weight {row['weight']:.3g}, mean {significant(row['mean'], (high - low) / 100.0)}, "
            f"σ {row['sigma']:.3g}",
            "color": _COLOURS[index % len(_COLOURS)],
            "dash": dash,
        }
        if curve is not None:
            traces.append(_line(x, np.asarray(curve, float), top, **style, filled=True))
        elif low <= row["mean"] <= high:
            traces.append(_spike(row["mean"], (0.15 + 0.8 * row["weight"]) * top, **style))
    if observed.any():
        traces.append(_line(x, observed, top, name="mixture, as observed", color=INK))
    if intrinsic.any() and curves["median_err"] > 0.0:
        traces.append(_line(x, intrinsic, top, name="mixture, errors removed", color=INK, dash="dot"))
    for number, (name, curve) in enumerate(curves["estimators"].items(), start=1):
        line = _line(
            x,
            np.asarray(curve, float),
            top,
            name=f"as observed, by {_words(name)}",
            color=_COLOURS[-number % len(_COLOURS)],
            dash=_DASHES[number % len(_DASHES)],
        )
        traces.append({**line, "visible": "legendonly"})
    layout = _layout(title, "density", [low, high], [0.0, top])
    return {"data": traces, "layout": layout}


def _selection(entry: ReportEntry) -> dict[str, Any]:
    table = entry.selection
    traces: list[dict[str, Any]] = []
    nearest: list[float] = []
    families = table.groupby("family", sort=False) if entry.several_families else [("", table)]
    criteria = (entry.summary["criterion"],) if entry.several_families else ("bic", "aic", "icl")
    for criterion in criteria:
        if criterion not in table:
            continue
        best = float(table[criterion].min())
        for family, rows in families:
            above = (rows[criterion] - best).to_numpy(dtype=np.float64)
            nearest.append(float(np.sort(above[np.isfinite(above)])[:2].max(initial=0.0)))
            index = len(traces)
            words = " ".join(filter(None, (criterion.upper(), str(family).replace("_", " "))))
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": _words(words),
                    "x": rows["n_components"].tolist(),
                    "y": _ordinates(above),
                    "line": {"color": _COLOURS[index % 6], "dash": _DASHES[index % 4]},
                    "marker": {"symbol": _MARKERS[index % 6], "size": 8},
                    "hovertemplate": "M = %{x}: %{y:.2f} above the best",
                }
            )
    values = [value for trace in traces for value in trace["y"] if value is not None]
    highest = max(values, default=1.0)
    top = min(highest, max(_CLEAR, 2.0 * max(nearest, default=0.0))) or 1.0
    layout = _layout("number of components", "above the lowest", None, [-0.06 * top, 1.08 * top])
    layout["xaxis"]["dtick"] = max(1, math.ceil(int(table["n_components"].max()) / 10))
    return {"data": traces, "layout": layout}


def _classes(curves: Mapping[str, Any], title: str) -> dict[str, Any]:
    x = np.asarray(curves["x"], float)
    traces = [
        _line(
            x,
            np.asarray(curve, float),
            1.0,
            name=str(j + 1),
            color=_COLOURS[j % len(_COLOURS)],
            dash=_DASHES[j // len(_COLOURS) % len(_DASHES)],
            filled=True,
        )
        for j, curve in enumerate(curves["classes"])
    ]
    return {"data": traces, "layout": _layout(title, "probability", curves["range"], [0.0, 1.03])}


def _transform(pit: Mapping[str, Any]) -> dict[str, Any]:
    layout = _layout("integral transform", "rows / expected", [0.0, 1.0])
    layout["yaxis"]["rangemode"] = "tozero"
    layout["shapes"] = [_band(*pit["band"]), _level(1.0)]
    bars = _bars(pit["edges"], np.asarray(pit["ratio"], float), "rows / expected", hovertemplate="%{x}: %{y:.3g}")
    return {"data": [bars], "layout": {**layout, "showlegend": False}}


def _residual(curves: Mapping[str, Any], title: str) -> dict[str, Any]:
    layout = _layout(title, "data − fit [σ]", curves["range"])
    layout["shapes"] = [_band(-1.96, 1.96), _level(0.0)]
    bars = _bars(curves["edges"], np.asarray(curves["residual"], float), "residual", hovertemplate="%{x}: %{y:.2f} σ")
    return {"data": [bars], "layout": {**layout, "showlegend": False}}


def _layout(
    x: str, y: str, x_range: Sequence[float] | None = None, y_range: Sequence[float] | None = None
) -> dict[str, Any]:
    axes: dict[str, dict[str, Any]] = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    for axis, limits in (("xaxis", x_range), ("yaxis", y_range)):
        if limits is not None:
            low, high = axes[axis]["range"] = list(limits)
            if max(abs(low), abs(high)) > _LONG * (high - low):
                axes[axis]["nticks"] = 4
    return axes


def _bars(edges: ArrayLike, heights: Array, name: str, **more: Any) -> dict[str, Any]:
    ends = np.asarray(edges, dtype=np.float64)
    widths = _ordinates(np.diff(ends))
    return {
        "type": "bar",
        "name": name,
        "x": _abscissae(0.5 * (ends[1:] + ends[:-1]), ends),
        "y": _ordinates(heights),
        "width": widths[0] if len(set(widths)) == 1 else widths,
        **more,
        "hovertemplate": f"{more['hovertemplate']}<extra></extra>",
    }


def _line(
    x: Array,
    y: Array,
    height: float,
    *,
    name: str,
    color: str,
    dash: str = "solid",
    fill: str | None = None,
    filled: bool = False,
) -> dict[str, Any]:
    """A curve, where it can be seen, by as few points as show it in a picture of that height."""
    cut = np.clip(np.nan_to_num(y), 0.0, 2.0 * _HEADROOM * height)
    seen = np.convolve(cut > 0.5 * _TOLERANCE * height, np.ones(3), "same") > 0.0
    x, cut = (x[seen], cut[seen]) if seen.any() else (x[[0, -1]], cut[[0, -1]])
    few = simplified(x, cut, _TOLERANCE * height)
    line: dict[str, Any] = {
        "type": "scatter",
        "name": name,
        "x": _abscissae(x[few], x),
        "y": _places(cut[few], height),
        "line": {"color": color, "dash": dash},
    }
    if filled or fill:
        line |= {"fill": "tozeroy", "fillcolor": fill or _faint(color)}
    return line


def _spike(mean: float, height: float, *, name: str, color: str, dash: str) -> dict[str, Any]:
    """A component too narrow to have a visible width; its height shows the weight."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [mean, mean],
        "y": [0.0, height],
        "line": {"color": color, "dash": dash},
        "marker": {"symbol": "triangle-up", "size": [0, 11], "color": color},
    }


def _band(low: float, high: float) -> dict[str, Any]:
    place = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": low, "y1": high}
    return {**place, "fillcolor": _BAND, "line": {"width": 0}, "layer": "below"}


def _level(height: float) -> dict[str, Any]:
    place = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": height, "y1": height}
    return {**place, "line": {"color": INK, "width": 1}}


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _abscissae(x: Array, whole: Array) -> list[float]:
    """Values with the digits that a picture of their range can show."""
    return _places(x, float(np.ptp(whole)) or abs(float(whole[0])) or 1.0)


def _places(values: Array, width: float) -> list[float]:
    """Values to 1e-4 of a width, or better."""
    places = 4 - math.floor(math.log10(width))
    return [round(value, places) for value in values.tolist()]


def _ordinates(y: Array, digits: int = _DIGITS) -> list[float | None]:
    return [None if missing(value) else float(f"{value:.{digits}g}") for value in y.tolist()]
