"""The figure of a fit that the Python interface returns: with its data, or of the mixture alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mixpipe.base.arrays import joined_bins
from mixpipe.base.presentation import count
from mixpipe.model.cells import Cells
from mixpipe.model.inputs import as_cells, in_unit
from mixpipe.model.results import FitResult
from mixpipe.report.figures.mixture import density_label, draw_mixture
from mixpipe.report.figures.style import MODEL_COLOUR, axis_label, component_style, finish, new_figure, style

if TYPE_CHECKING:
    from mixpipe.model.joint.results import JointFit

# Without data, the extent to which the mixture is drawn, in sigmas, and the smallest width that is drawn, as a fraction
# of the picture.
_REACH, _NARROWEST = 4.0, 1.0 / 300.0


def plot_fit(
    fit: FitResult, x: Any = None, err: Any = None, weights: Any = None, *, label: str = "x", cov: Any = None
) -> Figure:
    """Draw a fit.

    Parameters
    ----------
    fit : FitResult
        The fit.
    x, err, weights
        The data that were fitted, as for `fit_mixture`. Without them, only the mixture is drawn.
    label : str
        Name of the values, for the title and the axis; the title alone for several columns.
    cov : array_like or None
        Covariances of the errors of several columns, instead of `err`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        For data that do not fit to the columns of the fit, and for `cov` with a fit of one column.
    """
    # What is for several columns loads kernels, which the figures of a column do not need.
    from mixpipe.model.joint.results import JointFit

    if isinstance(fit, JointFit):
        return _draw_columns(fit, x, err, weights, cov, label)
    if cov is not None:
        raise ValueError("cov was given for a fit of one column; expected err")
    unit = None if fit.unit is None else str(fit.unit)
    if x is None:
        return _draw_alone(fit, label, unit)
    cells = in_unit(as_cells(x, err, weights), x, fit.unit)
    counts = cells.weights if weights is not None or isinstance(x, Cells) else None
    if fit.resolution.cause == "rounding" and cells.edges is None:
        cells = cells.rounded()
    bins = joined_bins(cells.edges, cells.weights) if cells.are_rounded and cells.edges is not None else cells.edges
    return draw_mixture(fit, cells.x, cells.errors, counts, label=label, unit=unit, bins=bins)


def _draw_columns(fit: JointFit, x: Any, err: Any, weights: Any, cov: Any, label: str) -> Figure:
    """Draw a fit of several columns, in its units."""
    from mixpipe.model.joint.inputs import as_joint_cells
    from mixpipe.report.figures.corner import draw_corner
    from mixpipe.report.figures.joint_scene import JointScene

    cells = None
    if x is not None:
        cells, units = as_joint_cells(x, err, cov, weights)
        if cells.projections is not None:
            raise ValueError("x has projections of the columns, which cannot be drawn; expected their values")
        if cells.n_dims != len(fit.names) or (cells.names != fit.names and set(cells.names) == set(fit.names)):
            raise ValueError(f"x has the columns {', '.join(cells.names)}; expected {', '.join(fit.names)}")
        factors = np.array([_factor(given, unit) for given, unit in zip(units, fit.units, strict=True)])
        cells = replace(cells, x=cells.x * factors, cov=cells.cov * np.outer(factors, factors))
    words = [None if unit is None else str(unit) for unit in fit.units]
    return draw_corner(fit, JointScene.of(fit.mixture, cells), label=label, units=words)


def _factor(given: Any, unit: Any) -> float:
    return 1.0 if given is None or unit is None or given == unit else float(given.to(unit))


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
