"""Interactive plots of a joint fit, as plain data for Plotly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mixpipe.model.results import Array
from mixpipe.report.drawing import COMPONENT_COLOURS, shown_height
from mixpipe.report.entries import JointEntry
from mixpipe.report.plots import axis_title, component_look, plain_label, plain_words, selection_figure
from mixpipe.report.traces import (
    DATA_LINE,
    INK,
    abscissae,
    axes_layout,
    bar_trace,
    level_shape,
    line_trace,
    ordinates,
)

# Weights of more components than these would fill the legend.
_FEW = 6
# No colour of a component.
_OWN_COLOUR = "#8E5BC0"


def joint_plots(entry: JointEntry) -> list[dict[str, Any]]:
    """The plots of a joint fit, in the form of `mixpipe.report.plots.fit_plots`."""
    plots = [] if entry.curves is None else [*_pairs(entry, entry.curves), *_columns(entry, entry.curves)]
    caption = "Information criteria above their lowest value, against the number of components"
    plots.append({"caption": caption, "figure": selection_figure(entry)})
    if entry.curves is not None:
        caption = (
            "Integral transforms: share of the rows below each place, minus the share that a right fit has below it; "
            "the largest distance from 0 is KS"
        )
        plots.append({"caption": caption, "figure": _uniformity(entry.curves["uniformity"])})
    alone = len(entry.names) == 2
    return [
        {**plot, "alt": f"{plot['caption']}: {entry.shown}", "lead": place == 0 and alone}
        for place, plot in enumerate(plots)
    ]


def _pairs(entry: JointEntry, curves: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Every pair of columns: some rows, and the ellipses of the components."""
    for pair in curves["ellipses"]:
        a, b = pair["columns"]
        caption = (
            f"{entry.names[b]} against {entry.names[a]}: 1σ and 2σ of each component, with the errors removed"
            f"{'' if pair['observed'] is None else ' and, dashed, as observed'}. {curves['note']}"
        )
        yield {"caption": caption, "figure": _pair(entry, curves, pair)}


def _pair(entry: JointEntry, curves: Mapping[str, Any], pair: Mapping[str, Any]) -> dict[str, Any]:
    ends = [curves["columns"][a] for a in pair["columns"]]
    rows = np.array([curves["points"][a] for a in pair["columns"]], dtype=np.float64)
    x, y = rows[:, ~np.isnan(rows).any(axis=0)]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "data",
            "x": _placed(x, ends[0]),
            "y": _placed(y, ends[1]),
            "marker": {"color": DATA_LINE, "size": 4, "opacity": 0.6},
            "hovertemplate": "%{x}, %{y}<extra></extra>",
        }
    ]
    mixture = entry.fit.mixture
    for j in range(mixture.n_components):
        name = f"{j + 1}: weight {mixture.weights[j]:.3g}" if mixture.n_components <= _FEW else str(j + 1)
        centre = mixture.means[j, pair["columns"]]
        for kind, words, dash in (("intrinsic", "errors removed", "solid"), ("observed", "as observed", "dash")):
            if pair[kind] is None:
                continue
            one = np.asarray(pair[kind][j], dtype=np.float64)
            both = np.concatenate([one, np.full((2, 1), np.nan), 2.0 * one - centre[:, None]], axis=1)
            traces.append(
                {
                    "type": "scatter",
                    "name": name,
                    "legendgroup": name,
                    "showlegend": kind == "intrinsic",
                    "x": _placed(both[0], ends[0]),
                    "y": _placed(both[1], ends[1]),
                    "line": {"color": component_look(j)["color"], "dash": dash, "width": 2 if dash == "solid" else 1},
                    "hovertemplate": f"component {j + 1}, {words}: %{{x}}, %{{y}}<extra></extra>",
                }
            )
    if mixture.n_components > 1:
        traces.append(_numbers(mixture.means[:, pair["columns"]], ends))
    across, up = (_title(entry, curves, a) for a in pair["columns"])
    layout = axes_layout(across, up, ends[0]["range"], ends[1]["range"], ends[0]["log"])
    if ends[1]["log"]:
        layout["yaxis"] = axes_layout(up, "", ends[1]["range"], None, log=True)["xaxis"]
    return {"data": traces, "layout": layout}


def _title(entry: JointEntry, curves: Mapping[str, Any], a: int) -> str:
    """The title of the axis of a column."""
    return axis_title(plain_label(curves["columns"][a].get("label"), entry.names[a]), entry.units[a])


def _numbers(means: Array, ends: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of the components at their means, since several may have the same colour."""
    numbers = range(len(means))
    return {
        "type": "scatter",
        "mode": "text",
        "text": [f"<b>{j + 1}</b>" for j in numbers],
        "x": _placed(means[:, 0], ends[0]),
        "y": _placed(means[:, 1], ends[1]),
        "textfont": {"color": [component_look(j)["color"] for j in numbers]},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _placed(values: Array, column: Mapping[str, Any]) -> list[float | None]:
    """Coordinates with the digits that the range of the picture can show; None where there is none on the axis."""
    ends = np.asarray(column["range"], dtype=np.float64)
    there = ~np.isnan(values) & ((values > 0.0) | (not column["log"]))
    found: list[float | None] = [None] * values.size
    for place, value in zip(np.flatnonzero(there), abscissae(values[there], ends, column["log"]), strict=True):
        found[place] = value
    return found


def _columns(entry: JointEntry, curves: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Every column: histogram, marginal mixture, and the column's own fit."""
    for a, column in enumerate(curves["columns"]):
        caption = f"{entry.names[a]}: data and the mixture of this column, as observed"
        if column["own"] is not None:
            caption += ", and the fit of the column alone"
        yield {"caption": caption, "figure": _column(column, _title(entry, curves, a))}


def _column(column: Mapping[str, Any], title: str) -> dict[str, Any]:
    x, density, observed, intrinsic = (
        np.asarray(column[name], dtype=np.float64) for name in ("x", "density", "observed", "intrinsic")
    )
    log, tallest = column["log"], float(density.max(initial=0.0)) or 1.0
    top = 1.08 * shown_height(tallest, float(max(observed.max(), intrinsic.max())))
    rows = ordinates(np.asarray(column["counts"], dtype=np.float64), 6)
    traces = [
        bar_trace(column["edges"], density, "data", log, customdata=rows, hovertemplate="%{x}: %{customdata:,} rows"),
        line_trace(x, observed, top, log, name="mixture, as observed", color=INK),
    ]
    if intrinsic.any():
        traces.append(line_trace(x, intrinsic, top, log, name="mixture, errors removed", color=INK, dash="dot"))
    if column["own"] is not None:
        own = np.asarray(column["own"], dtype=np.float64)
        traces.append(line_trace(x, own, top, log, name="column fitted alone", color=_OWN_COLOUR, dash="dash"))
    layout = axes_layout(title, "density per decade" if log else "density", column["range"], [0.0, top], log)
    return {"data": traces, "layout": layout}


def _uniformity(uniformity: Mapping[str, Any]) -> dict[str, Any]:
    """The difference of the distribution function of each transform from a uniform one."""
    u, excess = uniformity["u"], uniformity["excess"]
    traces = [
        {
            "type": "scatter",
            "name": plain_words(name),
            "x": ordinates(np.asarray(u, dtype=np.float64)),
            "y": ordinates(np.asarray(values, dtype=np.float64)),
            "line": {
                "color": COMPONENT_COLOURS[k % len(COMPONENT_COLOURS)],
                "dash": ("solid", "dash")[k // len(COMPONENT_COLOURS) % 2],
            },
        }
        for k, (name, values) in enumerate(excess.items())
    ]
    largest = max((float(np.max(np.abs(values))) for values in excess.values()), default=0.0)
    height = 1.15 * max(largest, 0.01)
    layout = axes_layout("integral transform", "share below, minus expected", [0.0, 1.0], [-height, height])
    return {"data": traces, "layout": {**layout, "shapes": [level_shape(0.0)]}}


def joint_captions(names: Sequence[str]) -> dict[str, str]:
    """Captions of the figures of a joint fit of these columns."""
    return {
        "corner": f"{', '.join(names)}: below the diagonal the data with the components (solid with the errors "
        "removed, dashed as observed), on it each column with its mixture, above it rows drawn from the mixture",
        "quality": "Quality of the fit: integral transforms of the columns, of the principal axis and of the distances",
    }
