"""The figure of a fit that the Python interface returns: with its data, or of the mixture alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mixpipe.base.presentation import count
from mixpipe.model.cells import Cells
from mixpipe.model.inputs import as_cells, in_unit
from mixpipe.model.results import FitResult
from mixpipe.report.figures.mixture import density_label, draw_mixture
from mixpipe.report.figures.style import MODEL_COLOUR, axis_label, component_style, finish, new_figure, style

# Without data, the extent to which the mixture is drawn, in sigmas, and the smallest width that is drawn, as a fraction
# of the picture.
_REACH, _NARROWEST = 4.0, 1.0 / 300.0


def plot_fit(fit: FitResult, x: Any = None, err: Any = None, weights: Any = None, *, label: str = "x") -> Figure:
    """Draw a fit.

    Parameters
    ----------
    fit : FitResult
        The fit.
    x, err, weights
        The data that were fitted, as for `fit_mixture`. Without them, only the mixture is drawn.
    label : str
        Name of the values, for the title and the axis.

    Returns
    -------
    matplotlib.figure.Figure
    """
    unit = None if fit.unit is None else str(fit.unit)
    if x is None:
        return _draw_alone(fit, label, unit)
    cells = in_unit(as_cells(x, err, weights), x, fit.unit)
    counts = cells.weights if weights is not None or isinstance(x, Cells) else None
    return draw_mixture(fit, cells.x, cells.err, counts, label=label, unit=unit, bins=cells.edges)


def _draw_alone(fit: FitResult, label: str, unit: str | None) -> Figure:
    """Draw the mixture with the errors removed, and its components; those without a width are lines at their means."""
    mixture = fit.mixture
    ends = np.concatenate([mixture.means + side * _REACH * mixture.sigmas for side in (-1.0, 1.0)])
    margin = 0.05 * float(np.ptp(ends)) or 1.0
    low, high = float(ends.min()) - margin, float(ends.max()) + margin
    grid = np.unique(np.concatenate([np.linspace(low, high, 1001), mixture.means]))
    broad = mixture.sigmas > _NARROWEST * (high - low)
    total = np.zeros(grid.size)
    handles = []
    with style():
        figure = new_figure(2.5)
        axes = figure.subplots()
        for j in range(mixture.n_components):
            colour, dashes, _ = component_style(j)
            if broad[j]:
                density = mixture.weights[j] * mixture.component(j).pdf(grid)
                total += density
                axes.plot(grid, density, color=colour, linestyle=dashes)
            else:
                axes.axvline(mixture.means[j], color=colour, linestyle=dashes)
            text = f"{j + 1}: weight {mixture.weights[j]:.3g}, mean {mixture.means[j]:.4g}, σ {mixture.sigmas[j]:.3g}"
            handles.append(Line2D([], [], color=colour, linestyle=dashes, label=text))
        if broad.any():
            axes.plot(grid, total, color=MODEL_COLOUR, linestyle=":")
            handles.append(Line2D([], [], color=MODEL_COLOUR, linestyle=":", label="mixture, errors removed"))
        axes.set_xlim(low, high)
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel(axis_label(label, unit), parse_math=False)
        axes.set_ylabel(density_label(unit), parse_math=False)
        return finish(figure, label, f"N = {count(fit.n_data)}, M = {fit.n_components}", handles, columns=2)
