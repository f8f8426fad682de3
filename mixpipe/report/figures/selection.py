"""The figure of the choice: information criteria against the number of components."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mixpipe.model.criteria import CRITERIA
from mixpipe.report.drawing import COMPONENT_COLOURS, LINEAR, criterion_marks, squeezed
from mixpipe.report.figures.style import DATA_COLOUR, DATA_FILL, MODEL_COLOUR, NOTE_COLOUR, finish, new_figure, style
from mixpipe.report.typesetting import short

_LEAST_RANGE = 4  # of numbers of components
_LINES = {"bic": ("#0072B2", "o"), "aic": ("#D55E00", "s"), "icl": ("#8A8A8A", "^")}


def draw_selection(selection_table: pd.DataFrame, criterion: str, *, label: str) -> Figure:
    """Draw the information criteria above their minimum, against the number of components.

    Parameters
    ----------
    selection_table : pandas.DataFrame
        Table as returned by `Selection.table`: n_components, bic, aic, icl, converged, selected, and, for the note on
        the possible improvement, loglik, loglik_bound and bound_sigma.
    criterion : str
        The criterion that chose: ``bic``, ``aic`` or ``icl``.
    label : str
        Title, ``catalog / release / column``.

    Returns
    -------
    matplotlib.figure.Figure
        The scale is linear if all differences are small, and otherwise linear up to ten and logarithmic above.

    Raises
    ------
    ValueError
        For an unknown criterion or an empty table.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"unknown criterion {criterion!r}: expected one of {', '.join(CRITERIA)}")
    if selection_table.empty:
        raise ValueError("empty selection table: expected one row for each number of components")
    sizes = selection_table["n_components"].to_numpy(dtype=int)
    converged = selection_table["converged"].to_numpy(dtype=bool)
    chosen = sizes[selection_table["selected"].to_numpy(dtype=bool)]
    with style():
        figure = new_figure(2.3)
        axes = figure.subplots()
        handles: list[Artist] = []
        highest = 1.0
        for line in _lines(selection_table, criterion):
            finite = np.isfinite(line.above)
            highest = max(highest, float(line.above[finite].max(initial=0.0)))
            look: dict[str, Any] = {
                "color": line.colour,
                "linewidth": 1.5 if line.main else 0.8,
                "markersize": 5 if line.main else 3.5,
            }
            axes.plot(line.sizes[finite], line.above[finite], zorder=3 if line.main else 2, **look)
            for mask, face in ((finite & line.converged, line.colour), (finite & ~line.converged, "white")):
                if mask.any():
                    points = look | {"markerfacecolor": face, "markeredgecolor": line.colour, "linestyle": ""}
                    axes.plot(line.sizes[mask], line.above[mask], marker=line.marker, zorder=4, clip_on=False, **points)
            handles.insert(0, Line2D([], [], marker=line.marker, label=line.label, **look))
        for m in chosen:
            axes.axvspan(m - 0.3, m + 0.3, color=DATA_FILL, alpha=0.6, linewidth=0.0, zorder=0)
        notes = f"chosen: M = {_listed(chosen)} (shaded)" if chosen.size else "nothing chosen"
        if not converged.all():
            hollow: dict[str, Any] = {"marker": "o", "linestyle": "", "color": DATA_COLOUR, "markerfacecolor": "white"}
            handles.append(Line2D([], [], label="not converged", **hollow))
            notes += f" · not converged: M = {_listed(np.unique(sizes[~converged]))}"
        axes.axhline(0.0, color=MODEL_COLOUR, linewidth=0.5, zorder=1)
        notes += _set_scale(axes, highest) + _bound_note(selection_table)
        # With few numbers of components there is room for more, so that the chosen one is not the whole picture.
        axes.set_xlim(sizes.min() - 0.6, max(sizes.max(), sizes.min() + _LEAST_RANGE) + 0.6)
        if np.unique(sizes).size == 1:
            axes.text(sizes[0] + 0.6, 0.5 * highest, "no other number was tried", color=NOTE_COLOUR, va="center")
        ticks = np.unique(sizes)
        axes.set_xticks(ticks if ticks.size <= 20 else ticks[:: ticks.size // 10])
        axes.set_xlabel("number of components M")
        axes.set_ylabel("above its minimum")
        return finish(figure, label, notes, handles, columns=4)


def _set_scale(axes: Axes, highest: float) -> str:
    """Set the range of the axis of the criteria, and return a remark about it."""
    if not squeezed(highest):
        axes.set_ylim(-0.04 * highest, 1.08 * highest)
        return ""
    axes.set_yscale("symlog", linthresh=LINEAR, linscale=max(1.2, 0.6 * math.log10(highest / LINEAR)))
    marks = criterion_marks(highest)
    axes.set_yticks(list(marks), list(marks.values()))
    axes.minorticks_off()
    axes.axhspan(0.0, LINEAR, color=DATA_FILL, alpha=0.25, linewidth=0.0, zorder=0)
    axes.set_ylim(-0.6, 1.6 * highest)
    return " · linear to 10, then logarithmic"


def _bound_note(table: pd.DataFrame) -> str:
    """A note on how much better than the chosen fit any mixture could be, if that is known."""
    best = table.loc[table["selected"].astype(bool)]
    numbers = {
        name: float(best[name].astype(np.float64).iloc[0])
        for name in ("loglik", "loglik_bound", "bound_sigma")
        if name in best and len(best)
    }
    if not np.isfinite(numbers.get("loglik_bound", np.nan)):
        return ""
    margin, narrowest = numbers["loglik_bound"] - numbers["loglik"], numbers.get("bound_sigma", 0.0)
    above = f" with σ above {short(narrowest)}" if narrowest > 0.0 else ""
    return f" · more components{above} gain at most {short(margin)} in log-likelihood, however many"


@dataclass(frozen=True, eq=False)
class _Line:
    """One line of the figure: a criterion, or a family of components with the criterion that chose."""

    label: str
    sizes: NDArray[np.int_]
    above: NDArray[np.float64]
    converged: NDArray[np.bool_]
    colour: str
    marker: str
    main: bool


def _lines(table: pd.DataFrame, criterion: str) -> list[_Line]:
    """The lines to draw, the last one on top."""
    sizes = table["n_components"].to_numpy(dtype=int)
    converged = table["converged"].to_numpy(dtype=bool)
    families = table["family"].to_numpy() if "family" in table else np.full(sizes.size, "gaussian")
    lines = []
    if np.unique(families).size == 1:
        for name in sorted(CRITERIA, key=lambda each: each == criterion):
            values = table[name].to_numpy(dtype=float)
            if np.isfinite(values).any():
                above = values - np.nanmin(values)
                text = name.upper() + (", decides" if name == criterion else "")
                lines.append(_Line(text, sizes, above, converged, *_LINES[name], name == criterion))
        return lines
    values = table[criterion].to_numpy(dtype=float)
    above = values - np.nanmin(values)
    best = families[int(np.nanargmin(values))]
    for k, family in enumerate(dict.fromkeys(families.tolist())):
        rows = families == family
        colour, marker = COMPONENT_COLOURS[k % len(COMPONENT_COLOURS)], "osD^vP"[k % 6]
        text = f"{criterion.upper()}, {family.replace('_', ' ')}"
        lines.append(_Line(text, sizes[rows], above[rows], converged[rows], colour, marker, family == best))
    return sorted(lines, key=lambda line: line.main)


def _listed(sizes: NDArray[np.int_]) -> str:
    return ", ".join(str(size) for size in sizes)
