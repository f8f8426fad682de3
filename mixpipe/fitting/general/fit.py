"""Fits of the general likelihood: a search on few points, a climb on all rows, and results with uncertainties."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.presentation import plural
from mixpipe.fitting.gains import CONVERGED_GAIN
from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point, places
from mixpipe.fitting.general.points import are_few_for_search, for_all, most_for_search, sampled, search_points
from mixpipe.fitting.general.row_likelihood import RowsLikelihood
from mixpipe.fitting.general.search import GeneralAscent, GeneralSearch, ascend_general, never_falling
from mixpipe.fitting.remarks import with_remarks
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.constraints import ALL, NO_CONSTRAINTS, Constraints, Slot
from mixpipe.model.covariance import parameter_covariance
from mixpipe.model.families import FAMILIES, RANGED, Family
from mixpipe.model.families.noisy import by_quadrature
from mixpipe.model.mixture import Mixture
from mixpipe.model.regimes import FINISHED_ROWS
from mixpipe.model.results import FitResult, Uncertainties

# Families that users can request. Others have a range, which is given separately.
NAMES = tuple(name for name in FAMILIES if name not in RANGED)
# Fits of many rows are finished on them if their criterion is within this of the best.
_CLOSE = 30.0
# A sketch with more points than this fraction of the rows, all of which are in the sample, is not searched: they are.
_FEWER = 0.7
# Ratio of the smallest to the largest curvature below which the likelihood counts as flat, and relative uncertainty of
# the factor of all errors from which on it counts as undetermined.
_FLAT, _DETERMINED = 1e-10, 0.5
# Rows show a cusp if their errors are below this fraction of a sigma, and if they are more than this share of all.
_SHARP = 0.01


def fit_family(
    cells: Cells | CellBlocks,
    family: str,
    max_components: int,
    *,
    last: int = 0,
    criterion: str = "bic",
    background: tuple[float, float] | None = None,
    constraints: Constraints = NO_CONSTRAINTS,
    mixed: tuple[str, ...] = (),
    fits_scale: bool = False,
    prior_rows: float = 0.0,
    n_threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[FitResult]:
    """The best fit found for each number of components of a family.

    Parameters
    ----------
    cells : Cells or CellBlocks
        The data, which may include limits and a window.
    family : str
        One of `NAMES`.
    max_components : int
        Largest number of components, including the background.
    last : int
        Number of fits that are wanted, those with most components; 0 for all, to choose among them.
    criterion : str
        Criterion that will choose among the fits.
    background : tuple of (float, float) or None
        Range of a uniform background; the smallest fit then has the background and one other component.
    constraints : Constraints
        What is given of the components or shared by them; the smallest fit has those that are constrained.
    mixed : tuple of str
        Families among which each component is chosen; empty if all are of `family`.
    fits_scale : bool
        Whether one factor of all errors is fitted, too.
    prior_rows : float
        Number of rows that each component is given beforehand.
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
        For an unknown family, a background or constraints for which `max_components` leaves no room, or values outside
        the range of the family.
    """
    for name in (family, *mixed):
        if name not in NAMES:
            raise ValueError(f"unknown family {name!r}: expected one of {', '.join(NAMES)}")
    for slot in constraints.slots:
        if slot.family is not None and slot.family not in FAMILIES:
            raise ValueError(
                f"unknown family {slot.family!r} of a known component: expected one of {', '.join(FAMILIES)}"
            )
    if background is not None and not background[0] < background[1]:
        raise ValueError(f"the range of a background must be two increasing bounds, found {background}")
    if background is not None and max_components < 2:
        raise ValueError("a background counts as a component: expected at least 2 components")
    constraints = completed(constraints, max_components, background)
    used = [FAMILIES[name] for name in (*(mixed or (family,)), *(slot.family or family for slot in constraints.slots))]
    if isinstance(cells, CellBlocks) and cells.survey.n_impossible and any(each.positive for each in used):
        name = next(each.name for each in used if each.positive)
        raise ValueError(f"family {name}: expected positive values where there is no error")
    *fewer, rows = likelihoods(cells, used, fits_scale=fits_scale, prior_rows=prior_rows, n_threads=n_threads)
    rough = any(each.by_quadrature and each.slopes is None for each in used)
    points = fewer[0] if fewer else rows
    search = GeneralSearch(
        points,
        family,
        background,
        constraints=constraints,
        mixed=mixed,
        rough=rough,
        criterion="" if last else criterion,
        progress=progress,
    )
    ascents = search.run(max_components)
    for sample in fewer[1:]:
        ascents = [_ascended(sample, ascent) for ascent in ascents]
    if fewer:
        # Without a sketch, the points do not say which of the fits are close.
        is_sketch = len(fewer) == 1 and not (isinstance(cells, Cells) and cells.are_rounded)
        wanted = _Wanted(last, criterion, is_sketch, not isinstance(cells, CellBlocks) or cells.exact)
        found = _finished(fewer[-1], rows, ascents, wanted)
    elif any(by_quadrature(each, rows.errors) for each in used):
        found = [(rows, _ascended(rows, ascent)) for ascent in ascents]
    else:
        found = [(rows, ascent) for ascent in ascents]
    if len(mixed) < 2:
        found = never_falling(found, constraints.of_others)
    return [_result(likelihood, ascent, exact=likelihood is rows) for likelihood, ascent in found[-last:]]


def likelihoods(
    cells: Cells | CellBlocks,
    families: Collection[Family],
    *,
    fits_scale: bool = False,
    prior_rows: float = 0.0,
    n_threads: int = 1,
) -> list[GeneralLikelihood]:
    """The likelihood of all rows, and before it, where they are many, those of points that stand for them.

    The first has the fewest points. If there is no sketch, that of a larger sample is between them.
    """
    options: dict[str, Any] = {
        "smooth": any(each.has_edge for each in families),
        "fits_scale": fits_scale,
        "prior_rows": prior_rows,
    }
    if isinstance(cells, Cells):
        cells = cells.merged()
        few = are_few_for_search(cells, families)
        if few or cells.edges is not None:
            fewer = [] if few or not cells.are_rounded else [sampled(cells, most_for_search(cells, families))]
            return [GeneralLikelihood(each, **options, n_threads=n_threads) for each in (*fewer, cells)]
    rows = cells if isinstance(cells, CellBlocks) else CellBlocks.of(cells, n_threads)
    sample = rows.survey.sample
    points, is_sketch = search_points(rows, families)
    chosen = [points]
    if is_sketch and len(points) > _FEWER * len(sample) >= _FEWER * rows.survey.n_rows:
        chosen = [sample]
    elif not is_sketch and len(points) < len(sample):
        chosen.append(for_all(rows.survey))
    before = [GeneralLikelihood(each, **options, n_threads=n_threads) for each in chosen]
    return [*before, RowsLikelihood(rows, before[-1], **options)]


@dataclass(frozen=True)
class _Wanted:
    """Which fits are to be finished on all rows.

    Parameters
    ----------
    last : int
        Number of fits that are wanted, those with most components; 0 to choose among all.
    criterion : str
        Criterion that will choose.
    judged : bool
        Whether the points say which fits are close.
    exact : bool
        Whether to finish fits where the points are a sketch.
    """

    last: int
    criterion: str
    judged: bool
    exact: bool


def _finished(
    points: GeneralLikelihood, rows: GeneralLikelihood, ascents: list[GeneralAscent], wanted: _Wanted
) -> list[tuple[GeneralLikelihood, GeneralAscent]]:
    """The fits that may be chosen after a climb on all rows, and the others as they are on the points."""
    found = [(points, ascent) for ascent in ascents]
    if wanted.judged and not wanted.exact:
        return found
    while True:
        values = [_criterion(*each, wanted.criterion) for each in found]
        near = [not wanted.judged or len(rows) <= FINISHED_ROWS or value < min(values) + _CLOSE for value in values]
        if wanted.last:
            near = [k >= len(found) - wanted.last for k in range(len(found))]
        todo = [k for k, (own, _) in enumerate(found) if near[k] and own is points]
        if not todo:
            return found
        for k in todo:
            found[k] = (rows, _ascended(rows, ascents[k]))


def _criterion(likelihood: GeneralLikelihood, ascent: GeneralAscent, criterion: str) -> float:
    """What fits are compared by; see `Selection.judged`."""
    n_params = ascent.point.n_params + likelihood.fits_scale
    price = 2.0 * n_params if criterion == "aic" else n_params * math.log(max(likelihood.n_data, 1.0))
    entropy = likelihood.entropy(ascent.point) if criterion == "icl" else 0.0
    return price - 2.0 * ascent.score_of_rows + 2.0 * entropy


def _ascended(likelihood: GeneralLikelihood, ascent: GeneralAscent) -> GeneralAscent:
    """The maximum near that of other points."""
    ascent = ascend_general(likelihood, ascent.point)
    return replace(ascent, occam=likelihood.occam(ascent.point))


def completed(
    constraints: Constraints, max_components: int, background: tuple[float, float] | None = None
) -> Constraints:
    """The constraints, with one more component if the given weights leave a rest that no other component has.

    Raises
    ------
    ValueError
        If there is no room for the constrained components, a uniform one has no range, or all weights are given and do
        not sum to one.
    """
    for slot in constraints.slots:
        given = slot.constraint
        if slot.family in RANGED and not (given.is_given("means") and given.is_given("sigmas")):
            raise ValueError(f"a known component of family {slot.family} without a range: expected low and high")
        if slot.family == "power_law" and not given.mean > math.sqrt(3.0) * given.sigma > 0.0:
            raise ValueError("a power law needs a range of positive values: expected 0 < low < high")
    weights = [slot.constraint.weight for slot in constraints.slots if slot.constraint.is_given("weights")]
    alone = bool(weights) and len(weights) == len(constraints.slots) and background is None
    if alone and not math.isclose(sum(weights), 1.0, abs_tol=1e-9):
        constraints = replace(constraints, slots=(*constraints.slots, Slot(None, constraints.of_others)))
    size = len(constraints.slots) + (background is not None)
    if size > max_components:
        beside = " beside a background" if background is not None else ""
        rest = f", whose weights sum to {sum(weights):g}" if len(constraints.slots) > len(weights) == size - 1 else ""
        raise ValueError(
            f"constraints on the components{beside}{rest}: expected at least {size} components, found {max_components}"
        )
    return constraints


def climb(
    cells: Cells | CellBlocks,
    start: Mixture,
    constraints: Constraints = NO_CONSTRAINTS,
    fits_scale: bool = False,
    prior_rows: float = 0.0,
    n_threads: int = 1,
) -> FitResult:
    """The maximum reached from a start.

    Parameters
    ----------
    cells : Cells or CellBlocks
        The data, which may include limits and a window.
    start : Mixture
        Mixture of components of any family; uniform ones keep their range.
    constraints : Constraints
        What is given of the components or shared by them. The components that they describe are those of the start to
        which they fit best.
    fits_scale : bool
        Whether one factor of all errors is fitted, too.
    prior_rows : float
        Number of rows that each component is given beforehand.
    n_threads : int
        Number of threads, on which no result depends.

    Returns
    -------
    FitResult
    """
    families = [*start.families, *(slot.family for slot in constraints.slots if slot.family is not None)]
    used = [FAMILIES[name] for name in families]
    likelihood = likelihoods(cells, used, fits_scale=fits_scale, prior_rows=prior_rows, n_threads=n_threads)[-1]
    points = [Point.of(start)]
    if constraints.slots or constraints.equal_sigmas:
        family = next((name for name in start.families if name != "uniform"), "gaussian")
        constraints = completed(constraints, start.n_components)
        points = GeneralSearch(likelihood, family, constraints=constraints).constrained(points[0])
    ascents = [ascend_general(likelihood, point.satisfied(likelihood.floor)) for point in points]
    return _result(likelihood, max(ascents, key=lambda ascent: ascent.loglik))


def loglik_of(mixture: Mixture, cells: Cells | CellBlocks) -> float:
    """Log-likelihood of any mixture on any cells."""
    if isinstance(cells, Cells):
        return GeneralLikelihood(cells).loglik(Point.of(mixture))
    families = [FAMILIES[name] for name in mixture.families]
    return likelihoods(cells, families, n_threads=cells.n_threads)[-1].loglik(Point.of(mixture))


def _narrowed(likelihood: GeneralLikelihood, ascent: GeneralAscent) -> tuple[GeneralLikelihood, GeneralAscent]:
    """The maximum nearby with narrower components, if some that are at the end of an interval gain by it."""
    finer = likelihood.for_ends()
    if finer.floor >= likelihood.floor or not np.any(ascent.point.sigmas <= likelihood.floor * (1.0 + 1e-6)):
        return likelihood, ascent
    narrower = _ascended(finer, ascent)
    return (finer, narrower) if narrower.loglik > ascent.loglik + CONVERGED_GAIN else (likelihood, ascent)


def _at_floor(
    likelihood: GeneralLikelihood, point: Point, loglik: float, boundary: NDArray[np.bool_]
) -> tuple[Point, float]:
    """The mixture, with its log-likelihood, whose sigmas at the boundary are zero or that of the grain.

    The search ends where a width cannot be told from these. But a component at the end of an interval has rows on
    either side as long as it has any width: those that lose by it keep theirs.
    """
    floor = likelihood.resolution.floor
    together = boundary & (point.sigmas > floor)
    alone = [] if point.is_constrained else [np.arange(together.size) == k for k in np.flatnonzero(together)]
    for chosen in (together, *alone):
        if np.any(point.sigmas[chosen] > floor):
            narrowest = replace(point, sigmas=np.where(chosen, floor, point.sigmas))
            value = likelihood.loglik(narrowest)
            if value > loglik - CONVERGED_GAIN:
                point, loglik = narrowest, value
    return point, loglik


def _result(likelihood: GeneralLikelihood, ascent: GeneralAscent, *, exact: bool = True) -> FitResult:
    likelihood, ascent = _narrowed(likelihood, ascent)
    point = ascent.point
    order = np.lexsort((point.sigmas, point.means))
    fixed = np.array(point.fixed)
    given = np.array([constraint.is_given("sigmas") for constraint in point.constraints])
    boundary = (point.sigmas <= likelihood.floor * (1.0 + 1e-6)) & ~fixed & ~given
    loglik = ascent.loglik
    warnings = list(_about_scale(likelihood, ascent))
    if likelihood.prior_rows:
        loglik, effect = _without_prior(likelihood, ascent)
        warnings.append(effect)
    point, loglik = _at_floor(likelihood, point, loglik, boundary)
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
    mixture = point.mixture()
    uncertainties, covariance = _uncertainties(likelihood, ascent, order)
    fit = FitResult(
        mixture=mixture,
        estimator="em",
        loglik=loglik,
        entropy=likelihood.entropy(point),
        n_data=likelihood.n_data,
        n_params=point.n_params + likelihood.fits_scale,
        error_scale=point.error_scale,
        error_scale_unc=_scale_uncertainty(likelihood, ascent),
        prior_rows=likelihood.prior_rows,
        log_prior=ascent.expansion.log_prior,
        converged=ascent.remaining_gain < CONVERGED_GAIN and not runaway.any(),
        remaining_gain=ascent.remaining_gain,
        n_passes=likelihood.n_passes,
        sigma_floor=likelihood.resolution.floor,
        exact=exact,
        boundary=boundary[order],
        uncertainties=uncertainties,
        covariance=parameter_covariance(covariance, order, mixture, uncertainties),
        warnings=tuple(warnings),
        resolution=likelihood.resolution,
        has_equal_sigmas=all(rule.tie("sigmas") == (ALL, 1.0) for rule in point.constraints),
        effective_rows=likelihood.effective_rows(point)[0][order],
        occam=math.inf if runaway.any() else likelihood.occam(point, choosing=True),
    )
    # In a truncated sample, weights are shares of the population, not of the rows.
    counted = likelihood.window is None
    return with_remarks(fit, likelihood.extent, has_errors=bool(likelihood.err.any()), counted=counted)


def _runaway(likelihood: GeneralLikelihood, point: Point) -> NDArray[np.bool_]:
    """Whether the mean of each component of a truncated sample is at the bound of the search, far from the sample."""
    low, high = likelihood.bounds_of_means()
    with np.errstate(invalid="ignore"):
        near = 1e-3 * (high - low)
        given = np.array([constraint.is_given("means") for constraint in point.constraints])
        return ((point.means <= low + near) | (point.means >= high - near)) & ~np.array(point.fixed) & ~given


def _shows_cusps(likelihood: GeneralLikelihood, point: Point) -> bool:
    """Whether rows show the cusp of a component, where the information is that of the scores (Huber 1967)."""
    sigmas = [sigma for sigma, family in zip(point.sigmas, point.families, strict=True) if family.has_cusp]
    given = likelihood.edges is not None or likelihood.window is not None or bool(point.weights_given.any())
    if not sigmas or given or likelihood.weight_kind == "importance":
        return False
    sharp = likelihood.err < _SHARP * max(sigmas)
    return bool(likelihood.counts[sharp].sum() > _SHARP * likelihood.n_data)


def _covariance(likelihood: GeneralLikelihood, ascent: GeneralAscent) -> Array | None:
    """The covariance of the variables, nan for those that do not vary; None if the likelihood is flat somewhere."""
    free = ascent.directions
    information = -ascent.expansion.hessian
    if _shows_cusps(likelihood, ascent.point):
        logs = places(likelihood.units(ascent.point))
        information = likelihood.score_products(ascent.point)
        # The weights sum to one.
        information[np.ix_(logs, logs)] += likelihood.n_data * np.outer(ascent.point.weights, ascent.point.weights)
    curvature, basis = np.linalg.eigh(free.T @ information @ free)
    if curvature.size and not curvature[0] > _FLAT * curvature[-1]:
        return None
    covariance = (basis / curvature) @ basis.T
    if likelihood.weight_kind == "importance":
        covariance = covariance @ free.T @ likelihood.score_products(ascent.point) @ free @ covariance
    covariance = free @ covariance @ free.T
    held = ~free.any(axis=1)
    covariance[held], covariance[:, held] = np.nan, np.nan
    return covariance


def _scale_uncertainty(likelihood: GeneralLikelihood, ascent: GeneralAscent) -> float:
    """The uncertainty of the factor of all errors; nan if it is not fitted, not determined or at a bound."""
    covariance = _covariance(likelihood, ascent) if likelihood.fits_scale else None
    return math.nan if covariance is None else ascent.point.error_scale * math.sqrt(covariance[-1, -1])


def _without_prior(likelihood: GeneralLikelihood, ascent: GeneralAscent) -> tuple[float, str]:
    """The log-likelihood of a fit with a prior, and what the prior has changed, in words."""
    plain = likelihood.without_prior()
    point = ascent.point
    loglik = plain.loglik(point)
    there = ascend_general(plain, point)
    unc = _uncertainties(likelihood, ascent, np.arange(point.n_components))[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        shifts = [
            np.abs(getattr(there.point, part) - getattr(point, part)) / getattr(unc, part)
            for part in ("weights", "means", "sigmas")
        ]
    known = np.concatenate(shifts)
    known = known[np.isfinite(known)]
    most = f"and no parameter differs by more than {known.max():.2g} uncertainties" if known.size else ""
    if 0 < known.size < 3 * point.n_components:
        most += ", where these are known"
    return loglik, (
        f"a prior of {likelihood.prior_rows:g} rows for each component: the log-likelihood is "
        f"{max(there.loglik - loglik, 0.0):.2g} nats below its maximum nearby, "
        f"{most or 'but the uncertainties of the parameters are not known'}"
    )


def _about_scale(likelihood: GeneralLikelihood, ascent: GeneralAscent) -> Iterator[str]:
    """Warnings about a factor of all errors that the data do not determine."""
    if not likelihood.fits_scale:
        return
    unc, scale = _scale_uncertainty(likelihood, ascent), ascent.point.error_scale
    resolution = likelihood.resolution
    n_small = float(likelihood.counts[scale * likelihood.err < resolution.grain].sum())
    # A floor that the user asked for says nothing of the grain.
    if resolution.floor > 0.0 and resolution.cause in ("grid", "crowding") and n_small > 0.5 * likelihood.n_data:
        yield (
            f"error_scale is not determined: errors times {scale:.3g} are smaller than the {resolution.grain:.3g} that "
            f"the values resolve in {plural(n_small, 'row')}, so that their grain decides the factor; give a number, "
            "or `rounding` if the values were rounded"
        )
    elif not unc < _DETERMINED * scale:
        yield (
            "error_scale is not determined: errors that hardly differ cannot be told from the widths of the "
            "components; fix the sigma of one, or give a number"
        )


def _uncertainties(
    likelihood: GeneralLikelihood, ascent: GeneralAscent, order: NDArray[np.intp]
) -> tuple[Uncertainties, Array]:
    """One-sigma uncertainties in this order from the inverse of the negative Hessian, and the covariance of (weight,
    mean, sigma, shape) by component in the order of the ascent; nan for parameters that are fixed or at a bound.

    For weights that do not count rows, the covariance is A^-1 B A^-1, where A is the negative Hessian and B is the sum
    of products of the scores with squared weights.
    """
    point = ascent.point
    size = point.n_components
    weighted = likelihood.weight_kind == "importance"
    covariance = _covariance(likelihood, ascent)
    if covariance is None:
        return Uncertainties.unknown(size), np.full((size, 4, size, 4), np.nan)
    variances = np.diag(covariance)
    result = np.full((4, size), np.nan)
    full = np.full((len(covariance) + 1,) * 2, np.nan)
    full[:-1, :-1] = covariance
    # Where each parameter is in the Hessian, past its end for those that are not, and its change by one unit there.
    index, slope = np.full((size, 4), len(covariance)), np.full((size, 4), np.nan)
    # The term of the Hessian that constrains the sum of the weights adds 1 / n_data to the variance of each ln w.
    held = 0.0 if weighted or point.weights_given.any() else 1.0 / likelihood.n_data
    start = 0
    for j, unit in enumerate(likelihood.units(point)):
        component_unc = np.sqrt(variances[start : start + unit.size]) * unit
        result[0, j] = point.weights[j] * math.sqrt(max(component_unc[0] ** 2 - held, 0.0)) if size > 1 else 0.0
        if unit.size > 1:
            result[1, j], result[2, j] = component_unc[1], point.sigmas[j] * component_unc[2]
        if unit.size > 3:
            result[3, j] = component_unc[3] * (point.shapes[j] if point.families[j].log_shape else 1.0)
        by_log = [point.weights[j] if size > 1 else 0.0, 1.0, point.sigmas[j]]
        by_log.append(point.shapes[j] if point.families[j].log_shape else 1.0)
        index[j, : unit.size] = start + np.arange(unit.size)
        slope[j, : unit.size] = unit * by_log[: unit.size]
        start += unit.size
    by_component = full[np.ix_(index.ravel(), index.ravel())].reshape(size, 4, size, 4)
    by_component[:, 0, :, 0] -= held
    with np.errstate(over="ignore", invalid="ignore"):
        by_component *= slope[:, :, None, None] * slope
    weights, means, sigmas, shapes = result[:, order]
    return Uncertainties(weights, means, sigmas, shapes), by_component
