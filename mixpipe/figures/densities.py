"""The picture of a batch of tabulated densities: the best, the median and the worst of its fits."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from mixpipe.estimators.tabulated import DensityTable
from mixpipe.figures.style import (
    DATA_COLOUR,
    DATA_FILL,
    MODEL_COLOUR,
    axis_label,
    component_style,
    count,
    finish,
    new_figure,
    style,
)
from mixpipe.model import Array, Mixture

# Shown is where the density is above this part of its peak, and a margin of this part of that on either side.
_FAINT, _MARGIN = 1e-3, 0.15
_POINTS = 400


def draw_densities(
    table: DensityTable, grid: ArrayLike, densities: ArrayLike, *, label: str, unit: str | None
) -> Figure:
    """Densities with their mixtures and components, for the smallest, the median and the largest discrepancy.

    Parameters
    ----------
    table : DensityTable
        The fits, from `fit_densities`.
    grid, densities : array_like
        What was fitted.
    label : str
        Title, ``catalog / release / column``; its last part names the axis.
    unit : str or None
        Unit of the grid.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels, one above the other.

    Raises
    ------
    ValueError
        If no row could be fitted.
    """
    fitted = np.flatnonzero(table.status == 0)
    if not fitted.size:
        raise ValueError("no density was fitted: there is nothing to draw")
    order = fitted[np.argsort(table.ks[fitted], kind="stable")]
    t = np.asarray(grid, dtype=np.float64)
    rows = {"best": order[0], "median": order[order.size // 2], "worst": order[-1]}
    with style():
        figure = new_figure(4.6)
        for axes, (word, row) in zip(figure.subplots(3, 1), rows.items(), strict=True):
            density = np.asarray(np.asarray(densities)[row], dtype=np.float64)
            _draw(axes, t, density / np.trapezoid(density, t), table.mixture(row))
            axes.set_title(f"{word}: row {row}, M = {table.n_components[row]}, KS = {table.ks[row]:.2g}", loc="left")
            axes.set_ylabel("density")
        axes.set_xlabel(axis_label(label, unit), parse_math=False)
        handles: list[Artist] = [
            Patch(facecolor=DATA_FILL, edgecolor=DATA_COLOUR, label="tabulated density"),
            Line2D([], [], color=MODEL_COLOUR, linewidth=1.3, label="mixture"),
            Line2D([], [], color=component_style(0)[0], label="its components"),
        ]
        return finish(figure, label, _heading(table, fitted), handles)


def _heading(table: DensityTable, fitted: NDArray[np.intp]) -> str:
    number = f"{count(fitted.size)} densit{'y' if fitted.size == 1 else 'ies'}"
    text = f"{number}, median KS {np.median(table.ks[fitted]):.2g}"
    rejected = len(table) - fitted.size
    return f"{text} · {count(rejected)} rejected" if rejected else text


def _draw(axes: Axes, t: Array, density: Array, mixture: Mixture) -> None:
    seen = t[density > _FAINT * density.max()]
    margin = max(_MARGIN * (seen[-1] - seen[0]), 2.0 * float(np.diff(t).max()))
    low, high = max(seen[0] - margin, t[0]), min(seen[-1] + margin, t[-1])
    fine = np.linspace(low, high, _POINTS)
    axes.fill_between(t, density, color=DATA_FILL, linewidth=0.0)
    axes.plot(t, density, color=DATA_COLOUR, linewidth=0.6, marker=".", markersize=2.5)
    if mixture.n_components > 1:
        for j in range(mixture.n_components):
            colour, dashes, _ = component_style(j)
            alone = Mixture(np.ones(1), mixture.means[j : j + 1], mixture.sigmas[j : j + 1])
            axes.plot(fine, mixture.weights[j] * alone.pdf(fine), color=colour, linestyle=dashes, linewidth=1.0)
    axes.plot(fine, mixture.pdf(fine), color=MODEL_COLOUR, linewidth=1.3)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0.0)
