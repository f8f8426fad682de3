"""Interactive plots of the report, as plain data for Plotly."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mixpipe.report.drawing import COMPONENT_COLOURS, LINEAR, criterion_marks, shown_bins, shown_height, squeezed
from mixpipe.report.entries import DensityEntry, FittedEntry, ReportEntry
from mixpipe.report.numbers import significant, with_unc
from mixpipe.report.traces import (
    DATA,
    DATA_LINE,
    INK,
    axes_layout,
    band_shape,
    bar_trace,
    dots_trace,
    level_shape,
    line_trace,
    ordinates,
    spike_trace,
)
from mixpipe.report.typesetting import density_text, quantity_text, value_unit

_DASHES = ("solid", "dash", "dot", "dashdot")
# Lines and fills of the components in the first cycle of colours, in the second, and in all later ones.
_CYCLES = (("solid", ""), ("dash", "/"), ("dashdot", "."))
_MARKERS = ("circle", "diamond", "square", "triangle-up", "cross", "x")
# Largest number of characters of a name.
_NAME = 24
# Residuals are shown at least this far, in sigma.
_BROAD = 2.5


def fit_plots(entry: ReportEntry) -> list[dict[str, Any]]:
    """The plots of a fit: caption, alternative text, whether it is the leading plot, and ``figure`` for Plotly."""
    plots = [] if entry.curves is None else _curve_plots(entry, entry.curves)
    caption = "Information criteria above their lowest value, against the number of components"
    plots.insert(1, {"caption": caption, "figure": selection_figure(entry)})
    return [
        {**plot, "alt": f"{plot['caption']}: {entry.shown}", "lead": place == 0 and len(plots) > 1}
        for place, plot in enumerate(plots)
    ]


def density_plots(entry: DensityEntry) -> list[dict[str, Any]]:
    """The plots of tabulated densities, in the form of `fit_plots`."""
    plots = []
    for example in entry.examples:
        caption = f"The {example['which']} fit, of {example['row']}"
        x, density = np.asarray(example["grid"], float), np.asarray(example["density"], float)
        height = float(np.nanmax(density, initial=0.0)) or 1.0
        fine, model = (np.asarray(example[name], float) for name in ("fine", "mixture"))
        traces = [
            line_trace(x, density, height, name="density", color=DATA_LINE, fill=DATA),
            line_trace(fine, model, height, name="mixture", color=INK, dash="dot"),
        ]
        figure = {"data": traces, "layout": axes_layout(axis_title(entry.column, entry.unit), "density")}
        plots.append({"caption": caption, "alt": f"{caption}: {entry.shown}", "lead": False, "figure": figure})
    return plots


def axis_title(name: str, unit: str | None) -> str:
    """A name with its unit, shortened to fit a narrow screen and escaped so that none of it is read as markup."""
    return plain_words(quantity_text(_shortened(name, _NAME), unit and _shortened(unit, _NAME)))


def plain_label(label: str | None, name: str) -> str:
    """The label of a column; its name where there is none, or one in TeX.

    >>> plain_label("stellar mass", "m"), plain_label("$M$", "m"), plain_label(None, "m")
    ('stellar mass', 'm', 'm')
    """
    return label if label and "$" not in label else name


def _shortened(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 1]}…"


def plain_words(text: str) -> str:
    """A text escaped such that Plotly shows it literally; quotes need no escape."""
    return html.escape(text, quote=False)


def _curve_plots(entry: ReportEntry, curves: Mapping[str, Any]) -> list[dict[str, Any]]:
    title = axis_title(plain_label(curves.get("label"), entry.column), entry.unit)
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
            "caption": "Probability integral transform: observed / expected rows; the band holds 95 % of correct fits",
            "figure": _transform(curves["pit"]),
        },
        {
            "caption": "Residual of the histogram in σ; the band holds 95 % of correct fits",
            "figure": _residual(curves, title),
        },
    ]


def _mixture(entry: ReportEntry, curves: Mapping[str, Any], title: str) -> dict[str, Any]:
    x, density = np.asarray(curves["x"], float), np.asarray(curves["density"], float)
    observed, intrinsic = np.asarray(curves["observed"], float), np.asarray(curves["intrinsic"], float)
    spread = np.zeros_like(density) if curves.get("limits") is None else np.asarray(curves["limits"], float)
    log = curves["log"]
    edges = np.asarray(curves["edges"], float)
    tallest = shown_bins(density + spread, np.diff(np.log(edges) if log else edges))
    top = 1.08 * shown_height(tallest, float(max(observed.max(), intrinsic.max())))
    low, high = curves["range"]
    rows = ordinates(np.asarray(curves["counts"], float), 6)
    traces = [
        bar_trace(curves["edges"], density, "data", log, customdata=rows, hovertemplate="%{x}: %{customdata:,} rows")
    ]
    if curves.get("limits") is not None:
        name = "rows with limits, where the fit expects them"
        bars = bar_trace(curves["edges"], spread, name, log, base=ordinates(density), hovertemplate=name)
        traces.append({**bars, "marker": {"color": "rgba(0,0,0,0)", "pattern": {"shape": "/", "fgcolor": DATA_LINE}}})
    for row, curve in zip(entry.components.to_dict("records"), curves["parts"], strict=True):
        index = int(row["component"]) - 1
        numbers = [_measured(row, name, (high - low) / 100.0) for name in ("weight", "mean", "sigma")]
        style = {
            "name": "{}: weight {}, mean {}, σ {}{}".format(
                index + 1, *numbers, plain_words(_shortened(value_unit(entry.unit), _NAME))
            ),
            **component_look(index),
        }
        if curve is not None:
            traces.append(line_trace(x, np.asarray(curve, float), top, log, **style, filled=True))
        elif low <= row["mean"] <= high:
            style.pop("pattern")
            traces.append(spike_trace(row["mean"], (0.15 + 0.8 * row["weight"]) * top, **style))
    if observed.any():
        traces.append(line_trace(x, observed, top, log, name="mixture, as observed", color=INK))
    if curves.get("in_bins") is not None:
        in_bins = np.asarray(curves["in_bins"], float)
        traces.append(dots_trace(traces[0]["x"], in_bins, "mixture, in each bin", color=INK))
    if intrinsic.any() and curves["median_err"] > 0.0:
        traces.append(line_trace(x, intrinsic, top, log, name="mixture, errors removed", color=INK, dash="dot"))
    for number, (name, curve) in enumerate(curves["estimators"].items(), start=1):
        line = line_trace(
            x,
            np.asarray(curve, float),
            top,
            log,
            name=f"as observed, by {plain_words(name)}",
            color=COMPONENT_COLOURS[-number % len(COMPONENT_COLOURS)],
            dash=_DASHES[number % len(_DASHES)],
        )
        traces.append({**line, "visible": "legendonly"})
    layout = axes_layout(title, "density per decade" if log else density_text(entry.unit), [low, high], [0.0, top], log)
    if curves.get("limits") is not None:
        layout["barmode"] = "overlay"
    return {"data": traces, "layout": layout}


def _measured(row: Mapping[Any, Any], name: str, detail: float) -> str:
    """A parameter with its uncertainty, or with the digits that the plot can show if it has none."""
    unc = row.get(f"{name}_unc")
    if unc is not None and unc > 0.0:
        return with_unc(row[name], unc)
    return significant(row[name], detail if name == "mean" else 0.1 * row[name])


def selection_figure(entry: FittedEntry) -> dict[str, Any]:
    """Information criteria above their lowest value, against the number of components."""
    table = entry.selection
    traces: list[dict[str, Any]] = []
    families = table.groupby("family", sort=False) if entry.several_families else [("", table)]
    criteria = (entry.summary["criterion"],) if entry.several_families else ("bic", "aic", "icl")
    for criterion in criteria:
        if criterion not in table:
            continue
        best = float(table[criterion].min())
        for family, rows in families:
            above = (rows[criterion] - best).to_numpy(dtype=np.float64)
            index = len(traces)
            words = " ".join(filter(None, (criterion.upper(), str(family).replace("_", " "))))
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": plain_words(words),
                    "x": rows["n_components"].tolist(),
                    "y": ordinates(above),
                    "customdata": ordinates(above, 6),
                    "line": {"color": COMPONENT_COLOURS[index % 6], "dash": _DASHES[index % 4]},
                    "marker": {"symbol": _MARKERS[index % 6], "size": 8},
                    "hovertemplate": "M = %{x}: %{customdata:,} above the best",
                }
            )
    values = [value for trace in traces for value in trace["y"] if value is not None]
    highest = max(values, default=1.0) or 1.0
    top = _squeeze(highest, highest) if squeezed(highest) else highest
    layout = axes_layout("number of components", "above the lowest", None, [-0.06 * top, 1.08 * top])
    if squeezed(highest):
        for trace in traces:
            trace["y"] = [None if value is None else round(_squeeze(value, highest), 3) for value in trace["y"]]
        marks = criterion_marks(highest)
        layout["yaxis"] |= {"tickvals": [_squeeze(mark, highest) for mark in marks], "ticktext": list(marks.values())}
    layout["xaxis"]["dtick"] = max(1, math.ceil(int(table["n_components"].max()) / 10))
    return {"data": traces, "layout": layout}


def _squeeze(above: float, highest: float) -> float:
    """A difference on a scale that is linear over at least its first third, and logarithmic beyond."""
    if above <= LINEAR:
        return above
    decade = LINEAR * min(1.0, 2.0 / math.log10(highest / LINEAR))
    return LINEAR + decade * math.log10(above / LINEAR)


def _classes(curves: Mapping[str, Any], title: str) -> dict[str, Any]:
    x = np.asarray(curves["x"], float)
    traces = [
        line_trace(
            x,
            np.asarray(curve, float),
            1.0,
            curves["log"],
            name=str(j + 1),
            **component_look(j),
            filled=True,
        )
        for j, curve in enumerate(curves["classes"])
    ]
    return {"data": traces, "layout": axes_layout(title, "probability", curves["range"], [0.0, 1.03], curves["log"])}


def _transform(pit: Mapping[str, Any]) -> dict[str, Any]:
    highest = max(*pit["ratio"], pit["band"][1])
    layout = axes_layout("integral transform", "rows / expected", [0.0, 1.0], [0.0, 1.15 * highest])
    layout["shapes"] = [band_shape(*pit["band"]), level_shape(1.0)]
    bars = bar_trace(pit["edges"], np.asarray(pit["ratio"], float), "rows / expected", hovertemplate="%{x}: %{y:.3g}")
    return {"data": [bars], "layout": {**layout, "showlegend": False}}


def _residual(curves: Mapping[str, Any], title: str) -> dict[str, Any]:
    heights = np.asarray(curves["residual"], float)
    highest = 1.15 * max(_BROAD, float(np.nanmax(np.abs(heights))))
    layout = axes_layout(title, "data − fit [σ]", curves["range"], [-highest, highest], curves["log"])
    bars = bar_trace(curves["edges"], heights, "residual", curves["log"], hovertemplate="%{x}: %{y:.2f} σ")
    layout["shapes"] = [band_shape(-1.96, 1.96), level_shape(0.0)]
    return {"data": [bars], "layout": {**layout, "showlegend": False}}


def component_look(index: int) -> dict[str, str]:
    """Colour, line and fill of a component."""
    cycle, place = divmod(index, len(COMPONENT_COLOURS))
    dash, pattern = _CYCLES[cycle % len(_CYCLES)]
    return {"color": COMPONENT_COLOURS[place], "dash": dash, "pattern": pattern}
