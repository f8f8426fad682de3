"""The figure that compares two fits of several columns: ellipses of old and new components for pairs of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mixpipe.assess.comparison.compare import Comparison
from mixpipe.assess.comparison.verdict import VERDICTS, Difference
from mixpipe.base.presentation import plural
from mixpipe.model.joint.results import JointFit
from mixpipe.model.results import Array
from mixpipe.report.drawing import COMPONENT_COLOURS
from mixpipe.report.figures.style import DATA_COLOUR, NOTE_COLOUR, finish, in_tex, is_tex, new_figure, style
from mixpipe.report.typesetting import quantity_text, wrap

# Largest numbers of joint fits, and of columns of one of them, that are drawn.
_MOST, _MOST_COLUMNS = 3, 6
# Height in inches of the panels of a fit with each number of columns, and of a line of text.
_HEIGHTS = {2: 2.6, 3: 1.75, 4: 1.25, 5: 1.05, 6: 0.9}
_LINE = 0.135
# Numbers of characters that fit across the figure, and in one of two columns of the legend.
_WIDTH, _HALF = 84, 36
# Number of rows that are drawn in all panels together, at most.
_POINTS = 3_000
# Markers of the components in the first cycle of colours, in the second, and in the third.
_MARKERS = ("o", "s", "^")
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 121)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])
# Reach of the axes in sigmas of the components, and the part of the range of the rows beyond which they are cut.
_REACH, _BEYOND = 2.3, 2.0


@dataclass(frozen=True, eq=False)
class JointPanel:
    """One joint fit in the figure.

    Parameters
    ----------
    label : str
        Name of the joint fit.
    axis_names : tuple of str
        What the axes call each column.
    units : tuple of str or None
        Unit of each column.
    names : tuple of (str, str)
        Names of the old and the new fit.
    comparison : Comparison
        The comparison of the two fits, which are `JointFit`.
    x : ndarray, shape (n_rows, n_dims)
        The rows of the new fit; nan where a value is missing.
    """

    label: str
    axis_names: tuple[str, ...]
    units: tuple[str | None, ...]
    names: tuple[str, str]
    comparison: Comparison
    x: Array

    @property
    def fits(self) -> tuple[JointFit, JointFit]:
        """The old and the new fit."""
        old, new = self.comparison.old, self.comparison.new
        if not (isinstance(old, JointFit) and isinstance(new, JointFit)):
            raise TypeError("expected fits of several columns")
        return old, new

    @property
    def change(self) -> tuple[int, float]:
        """Sort key, which is smallest for the fit that changed most."""
        return VERDICTS.index(self.comparison.verdict), -self.comparison.distance

    def columns(self) -> list[int]:
        """Places of the columns that are drawn: of many, those whose means or widths differ most significantly."""
        names = self.fits[1].names
        if len(names) <= _MOST_COLUMNS:
            return list(range(len(names)))
        largest = dict.fromkeys(range(len(names)), 0.0)
        for each in self.comparison.differences:
            for place, name in enumerate(names):
                if each.parameter in (f"mean_{name}", f"sigma_{name}") and math.isfinite(each.significance):
                    largest[place] = max(largest[place], abs(each.significance))
        return sorted(sorted(largest, key=lambda place: -largest[place])[:_MOST_COLUMNS])


@dataclass(frozen=True)
class _Entry:
    """A component of the legend: its places in both fits, None where there is no counterpart, and its look."""

    old: int | None
    new: int | None
    colour: str
    marker: str


def draw_joint_overlay(panels: Sequence[JointPanel], *, label: str) -> Figure:
    """Draw the components of two fits of several columns on top of each other, for each pair of columns.

    Parameters
    ----------
    panels : sequence of JointPanel
        Joint fits; if there are more than three, those that changed most are drawn.
    label : str
        Title.
    """
    shown = list(panels)
    notes = "ellipses of the components, errors taken out: 1 and 2 sigma"
    if len(shown) > _MOST:
        most = sorted(range(len(shown)), key=lambda index: panels[index].change)[:_MOST]
        shown = [panels[index] for index in sorted(most)]
        notes = f"the {_MOST} of {len(panels)} joint fits that changed most · {notes}"
    with style():
        parts = [(_heading(panel), _legend(panel), panel.columns()) for panel in shown]
        heads = [_LINE * (2 + text.count("\n") + _legend_lines(handles)) for text, handles, _ in parts]
        bodies = [_HEIGHTS[len(columns)] * (len(columns) - 1) for _, _, columns in parts]
        heights = [head + body for head, body in zip(heads, bodies, strict=True)]
        figure = new_figure(sum(heights) + 0.5 * len(heights))
        outer = figure.add_gridspec(len(shown), 1, height_ratios=heights)
        for place, (panel, (text, handles, columns)) in enumerate(zip(shown, parts, strict=True)):
            _draw_panel(figure, outer[place, 0], panel, text, handles, columns, heads[place])
        return finish(figure, label, notes, _styles(shown[0].names), columns=2)


def _styles(names: tuple[str, str]) -> list[Artist]:
    """The legend of what is not a component."""
    old, new = (wrap(name, 24, 1) for name in names)
    return [
        Line2D([], [], color=NOTE_COLOUR, linestyle="--", marker="o", markerfacecolor="white", label=f"{old}"),
        Line2D([], [], color=NOTE_COLOUR, marker="o", label=f"{new}"),
        Line2D([], [], color=DATA_COLOUR, linestyle="", marker=".", markersize=3.0, label=f"rows of {new}"),
        Line2D([], [], color=NOTE_COLOUR, linestyle="", marker=r"$\rightarrow$", markersize=9.0, label="shifted mean"),
    ]


def _heading(panel: JointPanel) -> str:
    """The verdict with its evidence, and what has changed in numbers."""
    comparison, rows = panel.comparison, panel.comparison.rows
    parts = [
        f"M {comparison.old.n_components} → {comparison.new.n_components}",
        f"distance {comparison.distance:.2g}",
        f"{rows.n_old:,} → {plural(rows.n_new, 'row')}",
    ]
    if math.isfinite(rows.n_common):
        parts[2] = f"rows +{rows.n_added:,.0f} −{rows.n_dropped:,.0f}"
        parts += [f"{rows.n_revised:,.0f} revised"] * (rows.n_revised > 0)
    n_dims = len(panel.units)
    if n_dims > _MOST_COLUMNS:
        parts.append(f"{_MOST_COLUMNS} of {n_dims} columns")
    name = wrap(f"{panel.label}: {comparison.verdict}", _WIDTH)
    return "\n".join(
        [
            name,
            wrap(comparison.judgement.basis, _WIDTH, 2),
            wrap(" · ".join(parts), _WIDTH, 2),
        ]
    )


def _entries(comparison: Comparison) -> list[_Entry]:
    """The components, matched ones once, each with a colour."""
    found = sorted(comparison.pairs, key=lambda pair: pair[1])
    places: list[tuple[int | None, int | None]] = [
        *found,
        *((None, k) for k in comparison.appeared),
        *((j, None) for j in comparison.vanished),
    ]
    n_colours = len(COMPONENT_COLOURS)
    return [
        _Entry(old, new, COMPONENT_COLOURS[place % n_colours], _MARKERS[place // n_colours % len(_MARKERS)])
        for place, (old, new) in enumerate(places)
    ]


def _legend(panel: JointPanel) -> list[Line2D]:
    """A handle for each component, with the most significant thing that was found about it."""
    handles = []
    for entry in _entries(panel.comparison):
        if entry.old is None or entry.new is None:
            lone, word = (entry.new, "appeared") if entry.old is None else (entry.old, "vanished")
            text = f"{(lone or 0) + 1} {word}"
        else:
            text = f"{entry.old + 1} → {entry.new + 1}" if entry.old != entry.new else f"{entry.new + 1}"
            largest, finding = max(
                _findings(panel.comparison, entry), key=lambda pair: abs(pair[0].significance), default=(None, "")
            )
            if largest is not None:
                size = f"{largest.significance:+.1f}σ".replace("-", "−")
                text += f", {finding}: {_cut(largest.parameter, _HALF - len(text) - len(finding) - 10)} {size}"
        look: dict[str, Any] = {"color": entry.colour, "marker": entry.marker, "markersize": 3.5}
        if entry.new is None:
            look |= {"linestyle": "--", "markerfacecolor": "white"}
        handles.append(Line2D([], [], label=text, **look))
    return handles


def _findings(comparison: Comparison, entry: _Entry) -> list[tuple[Difference, str]]:
    """Differences of a matched component that are shifts, or without any those that are hints."""
    found = [
        (each, finding)
        for each, finding in zip(comparison.differences, comparison.judgement.findings, strict=True)
        if finding and (each.component_old - 1, each.component_new - 1) == (entry.old, entry.new)
    ]
    return [pair for pair in found if pair[1] == "shifted"] or found


def _legend_lines(handles: Sequence[Artist]) -> int:
    return math.ceil(len(handles) / 2)


def _draw_panel(
    figure: Figure,
    place: SubplotSpec,
    panel: JointPanel,
    text: str,
    handles: list[Line2D],
    columns: list[int],
    head: float,
) -> None:
    """Draw a joint fit: text and legend, and below them the lower triangle of pairs of columns."""
    size = len(columns) - 1
    inner = place.subgridspec(size + 1, size, height_ratios=[head, *[_HEIGHTS[len(columns)]] * size])
    top = figure.add_subplot(inner[0, :])
    top.set_axis_off()
    top.text(0.0, 1.0, text, va="top", fontsize=7.0, linespacing=1.3, parse_math=False, transform=top.transAxes)
    legend = top.legend(
        handles=handles, loc="lower left", ncols=2, borderaxespad=0.0, borderpad=0.0, handlelength=1.8, fontsize=6.5
    )
    legend.set_in_layout(False)
    limits = [_limits(panel, column) for column in columns]
    axes: dict[tuple[int, int], Axes] = {}
    for one, two in combinations(range(len(columns)), 2):
        first = axes.get((0, two)) if one else None
        axes[one, two] = figure.add_subplot(inner[two, one], sharey=first)
        _draw_pair(axes[one, two], panel, columns[one], columns[two])
        axes[one, two].set_xlim(limits[one])
        axes[one, two].set_ylim(limits[two])
        _label(axes[one, two], panel, (columns[one], columns[two]), is_left=one == 0, is_lowest=two == size, size=size)


def _label(axes: Axes, panel: JointPanel, pair: tuple[int, int], *, is_left: bool, is_lowest: bool, size: int) -> None:
    """Name the axes of a pair at the edge of the triangle."""
    small = size > 2
    axes.tick_params(labelsize=6.0 if small else 7.0, labelbottom=is_lowest, labelleft=is_left)
    for axis, column, outer in ((axes.xaxis, pair[0], is_lowest), (axes.yaxis, pair[1], is_left)):
        axis.set_major_locator(MaxNLocator(3 if small else 5))
        if not outer:
            continue
        name = quantity_text(panel.axis_names[column], panel.units[column])
        text = in_tex(name) if is_tex(name) else wrap(name, 16 if small else 24, 2)
        axis.set_label_text(text, fontsize=6.5 if small else 8.0)
        axis.label.set_parse_math(is_tex(name))


def _cut(text: str, width: int) -> str:
    """Text of at most `width` characters, cut with an ellipsis."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _limits(panel: JointPanel, column: int) -> tuple[float, float]:
    """The range of a column: that of the ellipses, as far as these do not lie far beyond the rows."""
    means = np.concatenate([fit.mixture.means[:, column] for fit in panel.fits])
    sigmas = np.concatenate([fit.mixture.sigmas[:, column] for fit in panel.fits])
    low, high = float((means - _REACH * sigmas).min()), float((means + _REACH * sigmas).max())
    values = panel.x[:, column][~np.isnan(panel.x[:, column])]
    if values.size:
        first, last = np.quantile(values, [0.01, 0.99]).tolist()
        width = last - first
        low = max(low, min(first - _BEYOND * width, float(means.min())))
        high = min(high, max(last + _BEYOND * width, float(means.max())))
        low, high = min(low, first), max(high, last)
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_pair(axes: Axes, panel: JointPanel, a: int, b: int) -> None:
    """Draw the rows, the ellipses and the shifts of two columns."""
    x = panel.x[:, [a, b]]
    x = x[~np.isnan(x).any(axis=1)]
    n_pairs = max(1, len(panel.columns()) * (len(panel.columns()) - 1) // 2)
    x = x[:: -(-len(x) * n_pairs // _POINTS) or 1]
    axes.plot(x[:, 0], x[:, 1], linestyle="", marker=".", markersize=1.2, color=DATA_COLOUR, alpha=0.6, zorder=1)
    names = panel.fits[1].names
    # Lines and markers of the smaller panels are finer.
    scale = 1.0 if len(panel.columns()) <= 3 else 0.75
    for entry in _entries(panel.comparison):
        for fit, index, dashes, face in (
            (panel.fits[0], entry.old, "--", "white"),
            (panel.fits[1], entry.new, "-", entry.colour),
        ):
            if index is None:
                continue
            mean = fit.mixture.means[index, [a, b]]
            outline = _outline(fit.mixture.covariances[index][np.ix_([a, b], [a, b])])
            for reach, width in ((1.0, 1.1), (2.0, 0.7)):
                points = mean[:, None] + reach * outline
                look: dict[str, Any] = {"color": entry.colour, "linestyle": dashes, "linewidth": width * scale}
                axes.plot(points[0], points[1], zorder=2, **look)
            axes.plot(
                *mean[:, None],
                marker=entry.marker,
                markersize=2.8 * scale,
                color=entry.colour,
                markerfacecolor=face,
                markeredgewidth=0.7,
                zorder=3,
            )
        moved = {each.parameter for each, word in _findings(panel.comparison, entry) if word == "shifted"}
        if entry.old is not None and entry.new is not None and moved & {f"mean_{names[a]}", f"mean_{names[b]}"}:
            start, end = (fit.mixture.means[:, [a, b]] for fit in panel.fits)
            _draw_arrow(axes, start[entry.old], end[entry.new], 7.0 * scale)


def _outline(covariance: Array) -> Array:
    """The ellipse of one sigma around the origin, shape (2, n); a line where there is no width."""
    roots, axes = np.linalg.eigh(covariance)
    return np.asarray((axes * np.sqrt(np.maximum(roots, 0.0))) @ _CIRCLE)


def _draw_arrow(axes: Axes, start: Array, end: Array, size: float) -> None:
    axes.annotate(
        "",
        xy=end.tolist(),
        xytext=start.tolist(),
        arrowprops={
            "arrowstyle": "-|>",
            "color": "black",
            "linewidth": 0.9,
            "mutation_scale": size,
            "shrinkA": 0.0,
            "shrinkB": 0.0,
        },
        zorder=4,
    )
