"""The elements of the plots as Plotly describes them: bars, curves, bands and axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mixpipe.model.results import Array
from mixpipe.report.drawing import HEADROOM
from mixpipe.report.numbers import missing

# The style sheet of the page turns this near-black into near-white on a dark background.
INK = "#010101"
DATA, DATA_LINE = "rgba(128,128,128,0.35)", "#808080"
_BAND = "rgba(86,180,233,0.25)"
# Numbers larger than this many times the width of the picture have so many digits that few of them fit on the axis.
_LONG = 1000.0
# Numbers below this are written out in full on a logarithmic axis.
_PLAIN = 1e5
# Curves are drawn with as few points as keep them within this distance of the exact curve, as a fraction of the
# picture's height.
_TOLERANCE = 0.0025
# Significant digits of ordinates.
_DIGITS = 4

# Numbers on an axis are written out in full, since a date has many digits.
_AXIS = {"linecolor": "#808080", "exponentformat": "none", "separatethousands": True, "automargin": True}

# Settings that all plots share.
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
        "yaxis": {
            "gridcolor": "rgba(128,128,128,0.25)",
            "zeroline": False,
            "exponentformat": "power",
            "automargin": True,
        },
    },
    "data": {
        "scatter": [{"mode": "lines", "line": {"width": 2}}],
        "bar": [{"marker": {"color": DATA, "line": {"color": DATA_LINE, "width": 1}}}],
    },
}
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
    "toImageButtonOptions": {"format": "svg"},
}


def simplified(x: Array, y: Array, tolerance: float) -> Array:
    """Indices of the fewest points that reproduce a curve to within a tolerance (Ramer 1972, Douglas & Peucker 1973).

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


def axes_layout(
    x: str,
    y: str,
    x_range: Sequence[float] | None = None,
    y_range: Sequence[float] | None = None,
    log: bool = False,
) -> dict[str, Any]:
    """Titles and ranges of two axes, the first of which may be logarithmic."""
    axes: dict[str, dict[str, Any]] = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    for axis, limits in (("xaxis", x_range), ("yaxis", y_range)):
        if limits is not None:
            low, high = axes[axis]["range"] = list(limits)
            if max(abs(low), abs(high)) > _LONG * (high - low):
                axes[axis]["nticks"] = 4
    if log and x_range is not None:
        axes["xaxis"] |= {"type": "log", "dtick": 1, "range": np.log10(x_range).round(4).tolist()}
        if x_range[1] >= _PLAIN:
            axes["xaxis"]["exponentformat"] = "power"
    return axes


def bar_trace(edges: ArrayLike, heights: Array, name: str, log: bool = False, **more: Any) -> dict[str, Any]:
    """A histogram."""
    ends = np.asarray(edges, dtype=np.float64)
    widths = ordinates(np.diff(ends), 5 if log else _DIGITS)
    return {
        "type": "bar",
        "name": name,
        "x": abscissae(0.5 * (ends[1:] + ends[:-1]), ends, log),
        "y": ordinates(heights),
        "width": widths[0] if len(set(widths)) == 1 else widths,
        **more,
        "hovertemplate": f"{more['hovertemplate']}<extra></extra>",
    }


def dots_trace(x: list[Any], heights: Array, name: str, *, color: str) -> dict[str, Any]:
    """A dot for each bar of a histogram, whose places are given."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x,
        "y": ordinates(heights),
        "marker": {"size": 7, "color": color},
    }


def line_trace(
    x: Array,
    y: Array,
    height: float,
    log: bool = False,
    *,
    name: str,
    color: str,
    dash: str = "solid",
    pattern: str = "",
    fill: str | None = None,
    filled: bool = False,
) -> dict[str, Any]:
    """The visible part of a curve, with as few points as a picture of this height requires."""
    cut = np.clip(np.nan_to_num(y), 0.0, 2.0 * HEADROOM * height)
    seen = np.convolve(cut > 0.5 * _TOLERANCE * height, np.ones(3), "same") > 0.0
    x, cut = (x[seen], cut[seen]) if seen.any() else (x[[0, -1]], cut[[0, -1]])
    few = simplified(np.log(x) if log else x, cut, _TOLERANCE * height)
    line: dict[str, Any] = {
        "type": "scatter",
        "name": name,
        "x": abscissae(x[few], x, log),
        "y": places_of(cut[few], height),
        "line": {"color": color, "dash": dash},
    }
    if filled or fill:
        line |= {"fill": "tozeroy", "fillcolor": fill or _faint(color)}
    if pattern:
        line["fillpattern"] = {"shape": pattern, "fillmode": "overlay", "fgcolor": color, "size": 8}
    return line


def spike_trace(mean: float, height: float, *, name: str, color: str, dash: str) -> dict[str, Any]:
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


def band_shape(low: float, high: float) -> dict[str, Any]:
    """A band between two heights, drawn behind everything else."""
    place = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": low, "y1": high}
    return {**place, "fillcolor": _BAND, "line": {"width": 0}, "layer": "below"}


def level_shape(height: float) -> dict[str, Any]:
    """A horizontal line across the plot."""
    place = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": height, "y1": height}
    return {**place, "line": {"color": INK, "width": 1}}


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def abscissae(x: Array, whole: Array, log: bool) -> Sequence[float | None]:
    """Values rounded to the digits that a picture of their range can show."""
    if log:
        return ordinates(x, 5)
    return places_of(x, float(np.ptp(whole)) or abs(float(whole[0])) or 1.0)


def places_of(values: Array, width: float) -> list[float]:
    """Values rounded to 1e-4 of a width or better."""
    places = 4 - math.floor(math.log10(width))
    return [round(value, places) for value in values.tolist()]


def ordinates(y: Array, digits: int = _DIGITS) -> list[float | None]:
    """Numbers rounded to this many significant digits; None where a number is missing."""
    return [None if missing(value) else float(f"{value:.{digits}g}") for value in y.tolist()]
