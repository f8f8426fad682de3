"""Fits of the general likelihood: a search on few points, a climb on all rows, and results with uncertainties."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from mixpipe.fitting.gains import CONVERGED_GAIN
from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point
from mixpipe.fitting.general.points import sampled
from mixpipe.fitting.general.search import GeneralAscent, GeneralSearch, ascend_general, never_falling
from mixpipe.fitting.remarks import with_remarks
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES
from mixpipe.model.families.noisy import by_quadrature
from mixpipe.model.mixture import Mixture
from mixpipe.model.regimes import GENERAL_SEARCH_ROWS, QUADRATURE_SEARCH_ROWS
from mixpipe.model.results import FitResult, Uncertainties

# Families that users can request. A uniform component is a background, whose range is given separately.
NAMES = tuple(name for name in FAMILIES if name != "uniform")
# Width that the sketch resolves, as a fraction of the range of the central 80 % of the values, and width of its boxes
# in total widths.
_SKETCH = (1 / 64, 0.5)
_SKETCH_QUADRATURE = (1 / 8, 2.0)
# For values over decades: the width that the sketch resolves as a fraction of a value, and the share of the values that
# may be smaller than the lowest octave.
_SKETCH_OCTAVE = (1 / 16, 1.0)
_FEW = 0.001


def fit_family(
    cells: Cells,
    family: str,
    max_components: int,
    *,
    background: tuple[float, float] | None = None,
    n_threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[FitResult]:
    """The best fit found for each number of components of a family.

    Parameters
    ----------
    cells : Cells
        The data, which may include limits and a window.
    family : str
        One of `NAMES`.
    max_components : int
        Largest number of components, including the background.
    background : tuple of (float, float) or None
        Range of a uniform background; the smallest fit then has the background and one other component.
    n_threads : int
        Number of threads, on which no result depends.
    progress : callable or None
        Called with the number of components whenever a fit has been found.

    Returns
    -------
    list of FitResult
        Fits in order of their number of components.

    Raises
    ------
    ValueError
        For an unknown family, a background if `max_components` leaves no room for another component, or values outside
        the range of the family.
    """
    if family not in NAMES:
        raise ValueError(f"unknown family {family!r}: expected one of {', '.join(NAMES)}")
    if background is not None and not background[0] < background[1]:
        raise ValueError(f"the range of a background must be two increasing bounds, found {background}")
    if background is not None and max_components < 2:
        raise ValueError("a background counts as a component: expected at least 2 components")
    smooth = FAMILIES[family].has_edge
    rows = GeneralLikelihood(cells, smooth=smooth, n_threads=n_threads)
    slow = by_quadrature(FAMILIES[family], cells.errors)
    points = rows
    most = QUADRATURE_SEARCH_ROWS if slow else GENERAL_SEARCH_ROWS
    if len(cells) > most and cells.noise is not None:
        points = GeneralLikelihood(sampled(cells, most), smooth=smooth, n_threads=n_threads)
    elif len(cells) > most:
        base, fineness = _SKETCH_QUADRATURE if slow else _SKETCH
        low, high = np.quantile(cells.x, (0.1, 0.9))
        base *= float(high - low) or float(np.ptp(cells.x)) or 1.0
        sketch = _by_octaves(cells) if FAMILIES[family].positive else cells.sketched(base, fineness, within=True)
        if len(sketch) < 0.7 * len(cells):
            points = GeneralLikelihood(sketch, smooth=smooth, n_threads=n_threads)
    rough = slow and FAMILIES[family].slopes is None
    ascents = GeneralSearch(points, family, background, rough=rough, progress=progress).run(max_components)
    if points is not rows or slow:
        ascents = [ascend_general(rows, ascent.point) for ascent in ascents]
        ascents = [replace(ascent, occam=rows.occam(ascent.point)) for ascent in ascents]
    return [_result(rows, ascent) for ascent in never_falling(rows, ascents)]


def _by_octaves(cells: Cells) -> Cells:
    """The sketch of positive values, whose boxes are as wide as a fraction of the values.

    Values far below the others, or negative ones, belong to the lowest octave that has many rows.
    """
    cells = cells[cells.weights > 0.0]
    positive = cells.x[cells.x > 0.0]
    if positive.size == 0:
        return cells
    lowest, highest = np.log2(np.quantile(positive, (_FEW, 1.0)))
    octaves = np.floor(np.clip(np.log2(np.maximum(cells.x, 2.0**lowest)), lowest, highest))
    # Rows of the lowest octave need not be closer together than those of any other.
    parts = [
        cells[octaves == octave].sketched(_SKETCH_OCTAVE[0] * 2.0**octave, _SKETCH_OCTAVE[1], within=True)
        for octave in np.unique(octaves)
    ]
    return reduce(add, parts)


def climb(cells: Cells, start: Mixture, n_threads: int = 1) -> FitResult:
    """The maximum reached from a start.

    Parameters
    ----------
    cells : Cells
        The data, which may include limits and a window.
    start : Mixture
        Mixture of components of any family; uniform ones keep their range.
    n_threads : int
        Number of threads, on which no result depends.

    Returns
    -------
    FitResult
    """
    likelihood = GeneralLikelihood(
        cells, smooth=any(FAMILIES[name].has_edge for name in start.families), n_threads=n_threads
    )
    point = Point.of(start)
    return _result(
        likelihood, ascend_general(likelihood, replace(point, sigmas=np.maximum(point.sigmas, likelihood.floor)))
    )


def _result(likelihood: GeneralLikelihood, ascent: GeneralAscent) -> FitResult:
    point = ascent.point
    order = np.lexsort((point.sigmas, point.means))
    fixed = np.array(point.fixed)
    boundary = (point.sigmas <= likelihood.floor * (1.0 + 1e-6)) & ~fixed
    # At a floor that is not due to the grain, the likelihood is that of a component of zero width.
    none = boundary & (point.sigmas <= likelihood.none)
    loglik = ascent.loglik
    if none.any():
        point = replace(point, sigmas=np.where(none, 0.0, point.sigmas))
        loglik = float(likelihood.counts @ likelihood.log_rows(point))
    warnings = []
    runaway = _runaway(likelihood, point)
    if runaway.any():
        names = ", ".join(str(int(np.flatnonzero(order == k)[0]) + 1) for k in np.flatnonzero(runaway))
        warnings.append(
            f"no maximum: the log-likelihood rises as the mean of component {names} goes to infinity, of which the "
            "sample is the tail; this is where the search was ended"
        )
    for k in order:
        name = point.families[k].shape_name
        if name is not None and point.shapes[k] in point.families[k].shape_bounds:
            warnings.append(f"{name} of component {int(np.flatnonzero(order == k)[0]) + 1} is at its bound")
    if likelihood.resolution.floor > 0.0:
        point = replace(point, sigmas=np.where(boundary & ~none, likelihood.resolution.floor, point.sigmas))
    fit = FitResult(
        mixture=point.mixture(),
        estimator="em",
        loglik=loglik,
        entropy=likelihood.entropy(point),
        n_data=likelihood.n_data,
        n_params=point.n_params,
        converged=ascent.remaining_gain < CONVERGED_GAIN and not runaway.any(),
        remaining_gain=ascent.remaining_gain,
        n_passes=likelihood.n_passes,
        sigma_floor=likelihood.resolution.floor,
        boundary=boundary[order],
        uncertainties=_uncertainties(likelihood, ascent, order),
        warnings=tuple(warnings),
        resolution=likelihood.resolution,
        effective_rows=likelihood.effective_rows(point)[0][order],
        occam=math.inf if runaway.any() else likelihood.occam(point, choosing=True),
    )
    extent = float(np.ptp(likelihood.x))
    # In a truncated sample, weights are shares of the population, not of the rows.
    return with_remarks(fit, extent, has_errors=bool(likelihood.err.any()), counted=likelihood.truncated is None)


def _runaway(likelihood: GeneralLikelihood, point: Point) -> NDArray[np.bool_]:
    """Whether the mean of each component of a truncated sample is at the bound of the search, far from the sample."""
    low, high = likelihood.bounds_of_means()
    with np.errstate(invalid="ignore"):
        near = 1e-3 * (high - low)
        return ((point.means <= low + near) | (point.means >= high - near)) & ~np.array(point.fixed)


def _uncertainties(likelihood: GeneralLikelihood, ascent: GeneralAscent, order: NDArray[np.intp]) -> Uncertainties:
    """One-sigma uncertainties from the inverse of the negative Hessian; nan for parameters that are fixed or at a
    bound.

    For weights that do not count rows, the covariance is A^-1 B A^-1, where A is the negative Hessian and B is the sum
    of products of the scores with squared weights.
    """
    point = ascent.point
    size = point.n_components
    free = np.flatnonzero(ascent.free)
    information = -ascent.expansion.hessian[np.ix_(free, free)]
    curvature, basis = np.linalg.eigh(information)
    if not curvature[0] > 1e-10 * curvature[-1]:
        return Uncertainties.unknown(size)
    covariance = (basis / curvature) @ basis.T
    weighted = likelihood.weight_kind == "importance"
    if weighted:
        covariance = covariance @ likelihood.score_products(point)[np.ix_(free, free)] @ covariance
    variances = np.full(ascent.free.size, np.nan)
    variances[free] = np.diag(covariance)
    result = np.full((4, size), np.nan)
    start = 0
    for j, unit in enumerate(likelihood.units(point)):
        component_unc = np.sqrt(variances[start : start + unit.size]) * unit
        # The term of the Hessian that constrains the sum of the weights adds 1 / n_data to the variance of each ln w.
        held = 0.0 if weighted else 1.0 / likelihood.n_data
        result[0, j] = point.weights[j] * math.sqrt(max(component_unc[0] ** 2 - held, 0.0)) if size > 1 else 0.0
        if unit.size > 1:
            result[1, j], result[2, j] = component_unc[1], point.sigmas[j] * component_unc[2]
        if unit.size > 3:
            result[3, j] = component_unc[3] * (point.shapes[j] if point.families[j].log_shape else 1.0)
        start += unit.size
    weights, means, sigmas, shapes = result[:, order]
    return Uncertainties(weights, means, sigmas, shapes)
