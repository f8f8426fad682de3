"""The corner figure of a joint fit: every pair of columns, and every column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from mixpipe.base.presentation import count, plural
from mixpipe.model.joint.results import JointFit
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array
from mixpipe.report.drawing import shown_height
from mixpipe.report.figures.joint_scene import JointScene
from mixpipe.report.figures.look import DEFAULT, NONE_SET, Look
from mixpipe.report.figures.mixture import draw_histogram
from mixpipe.report.figures.scene import Scene
from mixpipe.report.figures.style import (
    DATA_COLOUR,
    MODEL_COLOUR,
    NOTE_COLOUR,
    WIDE,
    WIDTH,
    component_style,
    finish,
    in_tex,
    is_tex,
    new_figure,
    style,
)
from mixpipe.report.typesetting import number_text, quantity_text, short, wrap

# Up to this many columns are drawn in a figure of the common width; more take a page of 174 mm.
_NARROW = 3
# Up to this many rows are drawn as points, more as a density; more than this many points are drawn as a bitmap.
_POINTS, _VECTORS = 1500, 1000
# The darkest cell of a density, so that lines are seen on it, and the lightest one, as parts of the way to black.
_DARKEST, _LIGHTEST = 0.6, 0.12
# Cells of the density, on a side; and those of a panel that has few rows.
_MOST_CELLS, _FEWEST_CELLS = 60, 36
# Markers at the means: of the components in the first cycle of colours, in the second, and in all later ones.
_MARKERS = ("o", "s", "^")
_DRAWN_GROUND = "#EEF3F8"
_OWN_COLOUR = "#6A3D9A"  # no colour of a component
# Width of a character of a label, in inches, and the margin around the panels.
_CHARACTER, _MARGIN = 0.068, 0.75


def draw_corner(
    fit: JointFit,
    scene: JointScene,
    own: Mapping[str, Mixture] | None = None,
    *,
    label: str,
    units: Sequence[str | None],
    n_rows: float | None = None,
    looks: Mapping[str, Look] = NONE_SET,
) -> Figure:
    """Draw every pair of columns below the diagonal, every column on it, and rows of the mixture above it.

    Parameters
    ----------
    fit : JointFit
        The fit to draw.
    scene : JointScene
        Its rows.
    own : mapping of str to Mixture, or None
        The mixtures that were fitted to single columns, by the names of these.
    label : str
        Title, ``catalog / release / fit``.
    units : sequence of str or None
        Unit of each column.
    n_rows : float or None
        Number of rows of which those of the scene are a part; None if these are all.
    looks : mapping of str to Look
        Those of columns whose `label` names their axes, by the names of these.

    Returns
    -------
    matplotlib.figure.Figure
        Ellipses contain 1 and 2 sigma of a component: solid with the errors removed, dashed as observed by rows with
        the typical errors of the component. Rows above the diagonal are drawn from the mixture with the errors and gaps
        of the data. Rows far from the bulk of the data are not shown, but counted in the heading.
    """
    size = scene.n_dims
    width = WIDTH if size <= _NARROW else WIDE
    panel = (width - _MARGIN) / size
    with style():
        figure = new_figure(size * panel + 0.4, width)
        grid = figure.subplots(size, size, squeeze=False)
        for a in range(size):
            _draw_column(grid[a, a], scene, a, (own or {}).get(scene.mixture.names[a]))
            for b in range(a):
                densities = _Density(scene, b, a)
                densities.draw(grid[a, b], scene.cells.x if scene.has_data else None)
                densities.draw(grid[b, a], scene.drawn, turned=True)
                grid[b, a].set_facecolor(_DRAWN_GROUND)
                _draw_components(grid[a, b], scene, b, a)
        names = [looks.get(name, DEFAULT).label or name for name in scene.mixture.names]
        labels = [quantity_text(name, unit) for name, unit in zip(names, units, strict=True)]
        _frame(grid, scene, labels, panel)
        notes = f"{corner_heading(fit, scene, n_rows)} · {_above(scene)}"
        return finish(figure, label, notes, _legend(fit, scene, own or {}), columns=4)


def _draw_column(axes: Axes, scene: JointScene, a: int, own: Mixture | None) -> None:
    """Draw the histogram of a column with the marginal of the mixture, and with the column's own fit."""
    column, marginal = scene.columns[a], scene.marginal(a)
    tallest = 0.0
    if scene.has_data:
        edges = column.edges(marginal)
        heights = column.histogram(edges)
        tallest = float(heights.max(initial=0.0))
        draw_histogram(axes, heights, edges)
    grid = column.grid(marginal)
    parts = column.observed(marginal, grid)
    for part, j in zip(parts, scene.component_order(a), strict=True):
        axes.plot(grid, part, color=component_style(int(j))[0], linewidth=0.6)
    total = parts.sum(axis=0)
    axes.plot(grid, total, color=MODEL_COLOUR, linewidth=1.1)
    curves = float(total.max(initial=0.0))
    if own is not None:
        points = column.grid(own)
        observed = column.observed(own, points).sum(axis=0)
        axes.plot(points, observed, color=_OWN_COLOUR, linestyle=":", linewidth=1.4)
        curves = max(curves, float(observed.max(initial=0.0)))
    axes.set_ylim(0.0, 1.08 * (shown_height(tallest, curves) if tallest else curves) or 1.0)
    if scene.has_gaps(a):
        axes.set_title(f"{count(column.n_data)} rows", loc="left", fontsize=6.5, pad=2.0)


class _Density:
    """The rows in a pair of columns, as points or as a density with one scale for the data and the drawn rows."""

    def __init__(self, scene: JointScene, a: int, b: int) -> None:
        self.pair = (a, b)
        self.ends = (scene.columns[a], scene.columns[b])
        self.weights = scene.cells.weights
        self.many = len(scene.cells) > _POINTS
        n_cells = int(np.clip(0.35 * math.sqrt(len(scene.cells)), _FEWEST_CELLS, _MOST_CELLS))
        self.edges = tuple(_even_edges(column, n_cells) for column in self.ends)
        if self.many:
            counts = np.concatenate([self._counts(x).ravel() for x in (scene.cells.x, scene.drawn)])
            self.norm = _greys(counts[counts > 0.0])
        self.rasterized = scene.n_dims * (scene.n_dims - 1) * len(scene.cells) > _VECTORS

    def _counts(self, x: Array) -> Array:
        a, b = self.pair
        both = ~np.isnan(x[:, [a, b]]).any(axis=1)
        return np.histogram2d(x[both, a], x[both, b], self.edges, weights=self.weights[both])[0]

    def draw(self, axes: Axes, x: Array | None, *, turned: bool = False) -> None:
        """Draw rows; `turned` exchanges the axes."""
        if x is None:
            return
        a, b = self.pair[::-1] if turned else self.pair
        if np.isnan(x[:, [a, b]]).any(axis=1).all():
            axes.text(0.5, 0.04, "no row has both", ha="center", va="bottom", fontsize=7, transform=axes.transAxes)
            return
        if not self.many:
            size, alpha = (3.0, 0.6) if len(x) <= 300 else (1.4, 0.45)
            area = np.clip(size * self.weights / self.weights.mean(), 0.1 * size, 6.0 * size)
            axes.scatter(
                x[:, a], x[:, b], area, color=NOTE_COLOUR, alpha=alpha, linewidths=0.0, rasterized=self.rasterized
            )
            return
        counts = self._counts(x)
        first, second = self.edges[::-1] if turned else self.edges
        shown = np.ma.masked_equal(counts if turned else counts.T, 0.0)
        axes.pcolormesh(first, second, shown, cmap="Greys", norm=self.norm, rasterized=True)


def _greys(counts: Array) -> LogNorm:
    """The logarithmic scale from the lightest to the darkest cell."""
    low, high = (float(counts.min()), float(counts.max())) if counts.size else (1.0, 1.0)
    decade = math.log(max(high / low, 10.0)) / (_DARKEST - _LIGHTEST)
    return LogNorm(low * math.exp(-_LIGHTEST * decade), low * math.exp((1.0 - _LIGHTEST) * decade))


def _even_edges(column: Scene, n_cells: int) -> Array:
    even = np.geomspace if column.log else np.linspace
    return np.asarray(even(column.low, column.high, n_cells + 1))


def _draw_components(axes: Axes, scene: JointScene, a: int, b: int) -> None:
    """Draw the ellipses of the components in a pair of columns; with many components, they are thinner."""
    thick, size = (1.0, 3.2) if scene.mixture.n_components <= 4 else (0.75, 2.6)
    # The heaviest components are drawn first, so that they do not cover the others.
    for j in np.argsort(-scene.mixture.weights, kind="stable").tolist():
        colour = component_style(j)[0]
        for n_sigma in (1.0, 2.0):
            axes.plot(*scene.ellipse(j, a, b, n_sigma, observed=False), color=colour, linewidth=thick, zorder=3)
            if scene.has_errors:
                dashed = scene.ellipse(j, a, b, n_sigma, observed=True)
                axes.plot(*dashed, color=colour, linestyle=(0, (3, 1.5)), linewidth=0.8 * thick, zorder=3)
        mean = scene.mixture.means[j, [a, b]]
        axes.plot(*mean, **_marker(j, size), zorder=4)


def _marker(j: int, size: float = 3.2) -> dict[str, Any]:
    colour = component_style(j)[0]
    return {
        "color": colour,
        "marker": _MARKERS[min(j // 6, 2)],
        "markersize": size,
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
    }


def _frame(grid: Array, scene: JointScene, labels: Sequence[str], panel: float) -> None:
    """Set the ranges of all panels, and put numbers and names on the outer ones."""
    size = len(labels)
    n_ticks = 4 if panel > 1.3 else 3
    for row in range(size):
        for place in range(size):
            axes = grid[row, place]
            axes.spines[["top", "right"]].set_visible(row != place)
            axes.tick_params(labelsize=6.5, length=2.0, labelbottom=row == size - 1, pad=2.0)
            offset = _set_axis(axes, "x", scene.columns[place], n_ticks)
            if row == size - 1:
                axes.set_xlabel(_name(labels[place], offset, panel), fontsize=7.5, parse_math=is_tex(labels[place]))
            axes.xaxis.offsetText.set_visible(False)
            if row == place:
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
                continue
            offset = _set_axis(axes, "y", scene.columns[row], n_ticks)
            right = place > row and place == size - 1
            axes.tick_params(labelleft=place == 0, labelright=right, left=place < row, right=place > row)
            axes.yaxis.offsetText.set_visible(False)
            if place == 0 or right:
                axes.yaxis.set_label_position("right" if right else "left")
                axes.set_ylabel(_name(labels[row], offset, panel), fontsize=7.5, parse_math=is_tex(labels[row]))


def _set_axis(axes: Axes, which: Literal["x", "y"], column: Scene, n_ticks: int) -> str:
    """Set range and ticks of an axis; returns the part that all its numbers have in common, as text."""
    axis: Axis = getattr(axes, f"{which}axis")
    if column.log:
        getattr(axes, f"set_{which}scale")("log")
        axis.set_major_locator(LogLocator(numticks=n_ticks + 1))
        axis.set_minor_locator(NullLocator())
        if 1e-4 < column.low and column.high < 1e5:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        getattr(axes, f"set_{which}lim")(column.low, column.high)
        return ""
    formatter = ScalarFormatter()
    formatter.set_powerlimits((-3, 5))
    axis.set_major_locator(MaxNLocator(n_ticks, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(formatter)
    getattr(axes, f"set_{which}lim")(column.low, column.high)
    ticks = [tick for tick in axis.get_majorticklocs() if column.low <= tick <= column.high]
    formatter.set_locs(ticks)
    offset = formatter.get_offset()
    return f"×{offset}" if offset[:1].isdigit() else offset


def _name(label: str, offset: str, panel: float) -> str:
    """The name of an axis, in lines that fit along a panel."""
    text = f"{label} {offset}".strip()
    return in_tex(text) if is_tex(label) else wrap(text, max(int(panel / _CHARACTER), 10))


def corner_heading(fit: JointFit, scene: JointScene, n_rows: float | None = None) -> str:
    """The line below the title: N, M, and what the figure does not show."""
    parts = [f"N = {count(fit.n_data)}, M = {fit.n_components}"]
    if not fit.converged:
        parts.append("not converged")
    if scene.has_data and n_rows is not None and n_rows > len(scene.cells):
        parts.append(f"{count(len(scene.cells))} of {count(n_rows)} rows drawn")
    outside, hidden = scene.outside(), scene.hidden()
    if scene.has_data and outside:
        parts.append(f"{plural(outside, 'row')} outside the picture")
    if hidden:
        parts.append(f"{plural(hidden, 'component')} outside the picture")
    return " · ".join(parts)


def _above(scene: JointScene) -> str:
    """What the panels above the diagonal show."""
    words = ["errors"] * scene.has_errors + ["gaps"] * any(map(scene.has_gaps, range(scene.n_dims)))
    what = f" with the {' and '.join(words)} of the data" if words else ""
    return f"above the diagonal: rows drawn from the mixture{what}"


def _legend(fit: JointFit, scene: JointScene, own: Mapping[str, Mixture]) -> list[Artist]:
    handles: list[Artist] = []
    if scene.has_data:
        handles.append(Patch(facecolor=DATA_COLOUR, alpha=0.5, label="data"))
    handles.append(Line2D([], [], color=MODEL_COLOUR, label="mixture of the column"))
    if any(name in own for name in scene.mixture.names):
        handles.append(Line2D([], [], color=_OWN_COLOUR, linestyle=":", linewidth=1.4, label="column fitted alone"))
    handles.append(Line2D([], [], color=NOTE_COLOUR, label="1σ, 2σ, errors removed" if scene.has_errors else "1σ, 2σ"))
    if scene.has_errors:
        handles.append(Line2D([], [], color=NOTE_COLOUR, linestyle=(0, (3, 1.5)), linewidth=0.8, label="as observed"))
    for j in range(fit.n_components):
        weight, unc = float(fit.mixture.weights[j]), float(fit.uncertainties.weights[j])
        text = f"{j + 1}: weight {number_text(weight, unc) if unc > 0.0 else short(weight)}"
        if np.size(fit.rank) and fit.rank[j] < scene.n_dims:
            text += f", rank {fit.rank[j]} of {scene.n_dims}"
        handles.append(Line2D([], [], linewidth=1.0, **_marker(j), label=text))
    return handles
