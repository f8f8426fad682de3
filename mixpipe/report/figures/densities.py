"""The figure of tabulated densities and their mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mixpipe.base.arrays import Array, histogram_heights
from mixpipe.base.presentation import count
from mixpipe.model.truncated import TruncatedMixture
from mixpipe.report.figures.look import DEFAULT, Look
from mixpipe.report.figures.style import (
    DATA_COLOUR,
    DATA_FILL,
    MODEL_COLOUR,
    component_style,
    finish,
    name_axis,
    new_figure,
    style,
)
from mixpipe.report.typesetting import density_text

# The range in which the density exceeds _FAINT of its peak is shown, with margins of _MARGIN of this range on either
# side.
_FAINT, _MARGIN = 1e-3, 0.15
_POINTS = 400
# Heights, in inches, of a panel and of the axis labels below the last one.
_PANEL_HEIGHT, _AXIS_HEIGHT = 1.4, 0.4


@dataclass(frozen=True, eq=False)
class Example:
    """A tabulated density and its mixture.

    Parameters
    ----------
    title : str
        Text above the panel.
    grid, density : ndarray
        Grid and density, in any normalisation.
    fitted : TruncatedMixture
        The mixture that was fitted to the density, truncated at the ends of the grid.
    edges : ndarray or None
        Edges of the bins if the density is a histogram.
    """

    title: str
    grid: Array
    density: Array
    fitted: TruncatedMixture
    edges: Array | None = None

    @property
    def heights(self) -> Array:
        """The density, divided by its integral."""
        if self.edges is None:
            return np.asarray(self.density / np.trapezoid(self.density, self.grid))
        return histogram_heights(self.edges, self.density)


def example_title(word: str, name: object, n_components: int, ks: float) -> str:
    """The text above an example.

    >>> example_title("best", "row 7", 2, 0.0123)
    'best: row 7, M = 2, KS = 0.012'
    """
    return f"{word}: {name}, M = {n_components}, KS = {ks:.2g}"


def draw_examples(
    examples: Sequence[Example],
    notes: str,
    *,
    label: str,
    unit: str | None,
    abscissa: str | None = None,
    look: Look = DEFAULT,
) -> Figure:
    """Draw densities with their mixtures and components.

    Parameters
    ----------
    examples : sequence of Example
        Examples, one panel each, one below the other.
    notes : str
        Text below the title; see `heading`.
    label : str
        Title, ``catalog / release / column``.
    unit : str or None
        Unit of the grid.
    abscissa : str or None
        Name of the axis; by default, that of the column.
    look : Look
        Its `label` names the axis in place of both.
    """
    with style():
        figure = new_figure(_PANEL_HEIGHT * len(examples) + _AXIS_HEIGHT)
        panels = figure.subplots(len(examples), 1, squeeze=False)[:, 0]
        for axes, example in zip(panels, examples, strict=True):
            _draw(axes, example)
            axes.set_title(example.title, loc="left", parse_math=False)
            axes.set_ylabel(density_text(unit), parse_math=False)
        name_axis(panels[-1], abscissa or label, unit, look)
        handles: list[Artist] = [
            Patch(facecolor=DATA_FILL, edgecolor=DATA_COLOUR, label="tabulated density"),
            Line2D([], [], color=MODEL_COLOUR, linewidth=1.3, label="mixture"),
            Line2D([], [], color=component_style(0)[0], label="its components"),
        ]
        return finish(figure, label, notes, handles)


def heading(n_fitted: int, median_ks: float, n_rejected: int) -> str:
    """The number of densities, and how well they are fitted.

    >>> heading(12345, 0.0123, 1)
    '12,345 densities, median KS 0.012 · 1 rejected'
    """
    text = f"{count(n_fitted)} densit{'y' if n_fitted == 1 else 'ies'}, median KS {median_ks:.2g}"
    return f"{text} · {count(n_rejected)} rejected" if n_rejected else text


def _draw(axes: Axes, example: Example) -> None:
    t, density, fitted = example.grid, example.heights, example.fitted
    mixture = fitted.mixture
    edges = t if example.edges is None else example.edges
    seen = t[density > _FAINT * density.max()]
    margin = max(_MARGIN * (seen[-1] - seen[0]), 2.0 * float(np.diff(edges).max()))
    low, high = max(seen[0] - margin, edges[0]), min(seen[-1] + margin, edges[-1])
    fine = np.linspace(low, high, _POINTS)
    if example.edges is None:
        axes.fill_between(t, density, color=DATA_FILL, linewidth=0.0)
        axes.plot(t, density, color=DATA_COLOUR, linewidth=0.6, marker=".", markersize=2.5)
    else:
        axes.stairs(density, edges, fill=True, color=DATA_FILL, linewidth=0.0)
        axes.stairs(density, edges, color=DATA_COLOUR, linewidth=0.6)
    if mixture.n_components > 1:
        for j in range(mixture.n_components):
            colour, dashes, _ = component_style(j)
            part = mixture.weights[j] * mixture.component(j).pdf(fine) / fitted.inside
            axes.plot(fine, part, color=colour, linestyle=dashes, linewidth=1.0)
    axes.plot(fine, fitted.pdf(fine), color=MODEL_COLOUR, linewidth=1.3)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0.0)
