"""The figure of a fit that the Python interface returns: with its data, or of the mixture alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mixpipe.base.arrays import joined_bins
from mixpipe.base.presentation import count
from mixpipe.model.cells import Cells
from mixpipe.model.inputs import cells_of_fit
from mixpipe.model.noise import Samples
from mixpipe.model.results import FitResult, Selection
from mixpipe.model.truncated import TruncatedMixture
from mixpipe.report.figures.fit import drawn_rows
from mixpipe.report.figures.mixture import (
    component_entries,
    component_key,
    component_texts,
    density_label,
    draw_densities,
    draw_mixture,
    peaks_key,
)
from mixpipe.report.figures.scene import Scene
from mixpipe.report.figures.selection import draw_selection
from mixpipe.report.figures.style import MODEL_COLOUR, component_style, finish, name_axis, new_figure, style

if TYPE_CHECKING:
    from mixpipe.model.joint.results import JointFit

# Without data, the extent to which the mixture is drawn, in sigmas, and the smallest width that is drawn, as a fraction
# of the picture.
_REACH, _NARROWEST = 4.0, 1.0 / 300.0


def plot_fit(
    fit: FitResult,
    x: Any = None,
    err: Any = None,
    weights: Any = None,
    *,
    label: str = "x",
    ax: Axes | None = None,
    cov: Any = None,
    limits: Any = None,
    truncated: Any = None,
    detection: Any = None,
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
    ax : matplotlib.axes.Axes or None
        Axes to draw a fit of one column into, for a figure of several panels.
    cov : array_like or None
        Covariances of the errors of several columns, instead of `err`.
    limits, truncated, detection
        Of the rows of one column, as for `fit_mixture`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        For data that do not fit to the columns of the fit, for `cov` with a fit of one column, and for `ax` with one of
        several.
    """
    # What is for several columns loads kernels, which the figures of a column do not need.
    from mixpipe.model.joint.results import JointFit

    if isinstance(fit, JointFit):
        if ax is not None:
            raise ValueError("ax was given for a fit of several columns, whose figure has panels of its own")
        return _draw_columns(fit, x, err, weights, cov, label)
    if cov is not None:
        raise ValueError("cov was given for a fit of one column; expected err")
    unit = None if fit.unit is None else str(fit.unit)
    if x is None:
        if ax is None:
            return _draw_alone(fit, label, unit)
        handles, components = _mixture_alone(ax, fit, label, unit)
        return _draw_beside(ax, handles + components)
    cells = cells_of_fit(fit, x, err, weights, limits=limits, truncated=truncated, detection=detection)
    counts = cells.weights if weights is not None or isinstance(x, Cells) else None
    bins = joined_bins(cells.edges, cells.weights) if cells.are_rounded and cells.edges is not None else cells.edges
    # Posteriors are drawn by the values and widths that stand for them.
    errors = cells.err if isinstance(cells.noise, Samples) else cells.errors
    rows, share = drawn_rows(fit.mixture, (cells.x, errors, counts), cells.window)
    seen: dict[str, Any] = {"share": share, "window": cells.window, "bins": bins, "limits": cells.limits}
    if ax is None:
        return draw_mixture(fit, *rows, label=label, unit=unit, **seen)
    scene = Scene.of(fit.mixture, *rows, **seen)
    with style():
        handles = draw_densities(ax, fit, scene)
        scene.frame(ax)
        name_axis(ax, label, unit)
        ax.set_ylabel(density_label(unit, scene), parse_math=False)
        handles += [*peaks_key([ax]), *component_entries(fit, scene, unit)]
    return _draw_beside(ax, handles)


def plot_selection(selection: Selection, *, label: str = "") -> Figure:
    """Draw the criteria of a selection above their minimum, against the number of components.

    Parameters
    ----------
    selection : Selection
        The fits, from `mixpipe.choose_n_components`.
    label : str
        Title.

    Returns
    -------
    matplotlib.figure.Figure
    """
    return draw_selection(selection.table(), selection.criterion, label=label or "number of components")


def _draw_beside(axes: Axes, handles: Sequence[Artist]) -> Figure:
    """Give axes that others have made a legend, and return their figure."""
    axes.legend(handles=[*handles], fontsize="small", frameon=False)
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("ax belongs to no figure")
    return figure


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
    with style():
        figure = new_figure(2.5)
        handles, components = _mixture_alone(figure.subplots(), fit, label, unit)
        notes = f"N = {count(fit.n_data)}, M = {fit.n_components}"
        return finish(figure, label, notes, handles, components=components)


def _mixture_alone(axes: Axes, fit: FitResult, label: str, unit: str | None) -> tuple[list[Artist], list[Artist]]:
    """Draw the mixture and its components into axes; the entries of a legend for the mixture and for these."""
    mixture = fit.mixture
    ends = np.concatenate([mixture.means + side * _REACH * mixture.sigmas for side in (-1.0, 1.0)])
    margin = 0.05 * float(np.ptp(ends)) or 1.0
    low, high = float(ends.min()) - margin, float(ends.max()) + margin
    inside = 1.0
    if fit.truncated is not None:
        low, high = max(low, fit.truncated[0]), min(high, fit.truncated[1])
        inside = TruncatedMixture(mixture, *fit.truncated).inside
    grid = np.unique(np.concatenate([np.linspace(low, high, 1001), np.clip(mixture.means, low, high)]))
    broad = mixture.sigmas > _NARROWEST * (high - low)
    total = np.zeros(grid.size)
    scene = Scene(mixture.means, np.zeros(1), np.ones(1), low, high)
    texts = component_texts(fit, scene, unit)
    components: list[Artist] = component_key(fit, unit)
    handles: list[Artist] = []
    with style():
        for j in range(mixture.n_components):
            colour, dashes, _ = component_style(j)
            if broad[j]:
                density = mixture.weights[j] * mixture.component(j).pdf(grid) / inside
                total += density
                axes.plot(grid, density, color=colour, linestyle=dashes)
            else:
                axes.axvline(mixture.means[j], color=colour, linestyle=dashes)
            components.append(Line2D([], [], color=colour, linestyle=dashes, label=texts[j]))
        if broad.any():
            axes.plot(grid, total, color=MODEL_COLOUR, linestyle=":")
            handles.append(Line2D([], [], color=MODEL_COLOUR, linestyle=":", label="mixture, errors removed"))
        axes.set_xlim(low, high)
        axes.set_ylim(bottom=0.0)
        name_axis(axes, label, unit)
        axes.set_ylabel(density_label(unit), parse_math=False)
    return handles, components
