"""The best fits for 1, 2, ... components: of small data on the rows, and of large data on a sketch and then on the
rows.

The search climbs from many starts, and every step of a climb is a pass over the data. For many rows the search
therefore works on a sketch of some thousand points, and only the fits that may be chosen are finished on the rows,
which takes one or two passes. The reported fit is the maximum over all rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixpipe.fitting.admissible import importance_nats, occam_nats
from mixpipe.fitting.contract import SketchUse
from mixpipe.fitting.gaussian.candidates import Candidates, candidates, find_crowds
from mixpipe.fitting.gaussian.certificate import highest, loglik_bound
from mixpipe.fitting.gaussian.em import Ascent, ascend
from mixpipe.fitting.gaussian.likelihood import Likelihood, Params, score_products
from mixpipe.fitting.gaussian.row_likelihood import RowLikelihood
from mixpipe.fitting.gaussian.search import Search, criteria, never_falling
from mixpipe.fitting.gaussian.sparse import join_lone_points
from mixpipe.model.cells import Cells
from mixpipe.model.regimes import (
    CERTIFICATE_ROWS,
    COARSE_POINTS,
    CROWDED_POINTS,
    FINE_POINTS,
    FINISHED_ROWS,
    SEARCH_ROWS,
    UNSKETCHED_ROWS,
)
from mixpipe.model.resolution import NO_RESOLUTION, Resolution
from mixpipe.model.results import Array
from mixpipe.model.rows import Rows, Survey, concatenated
from mixpipe.model.sketch import Grid, Sketch, weight_unit

# The first sketch resolves widths down to at most this fraction of the range of the central 80 % of the values; each
# following one resolves _FINER of the width of the one before.
_FIRST_BASE = 1 / 256
_FINER = 1 / 16
_N_SKETCHES = 4
# Widths of the boxes of the sketch, and of the coarser ones on which the search works, in total widths.
_FINE = 0.25
_COARSE = 1.0
# Positions are counted from a multiple of this many bases, which is zero unless the values are far from it.
_ANCHOR_STEP = 2.0**20
# Number of variance bins that are joined for the search; boxes and bins are then joined further until the points are
# few enough.
_JOINED_BINS = 8
_MOST_JOINED = 8
# Rows that are closer together than this fraction of the base are one point in every sketch.
_COINCIDING = 1e-4
# Fits are finished on the rows if they may be chosen: if their criterion on the sketch is within this of the best.
_CLOSE = 30.0
# A step on the rows whose predicted gain is below this (nats) is taken without another pass; what remains is less than
# a thousandth of an uncertainty.
_LAST_GAIN = 1e-4


@dataclass(frozen=True, eq=False)
class Certificate:
    """Upper limits on the gain by a better mixture, in nats; nan where unknown.

    Parameters
    ----------
    gradient_max : list of float
        Maximum of the gradient function of each fit.
    loglik_bound : float
        Upper bound on the log-likelihood of mixtures of any number of components.
    bound_sigma : float
        Smallest sigma of those mixtures, in the unit of the data; the points of a sketch contain no information on
        narrower components.
    """

    gradient_max: list[float]
    loglik_bound: float
    bound_sigma: float


def _unknown(ascents: list[Ascent]) -> Certificate:
    return Certificate([math.nan] * len(ascents), math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class Found:
    """The best fit for each number of components.

    Parameters
    ----------
    likelihood : Likelihood
        Likelihood of the rows, or of the points of their sketch.
    ascents : list of Ascent
        Ascents in order of their number of components.
    certificate : Certificate
        The certificate; nan where it was not requested.
    finished : list of bool
        Whether each fit is a maximum over all rows rather than over the sketch.
    sketch : SketchUse or None
        The precision of the sketch, if one was used.
    points : Cells or None
        The points of the sketch.
    survey : Survey or None
        Summary of the rows.
    floor : float
        Lower bound on the variances, in the scaled units of `likelihood`.
    resolution : Resolution
        The cause of this bound.
    """

    likelihood: Likelihood
    ascents: list[Ascent]
    certificate: Certificate
    finished: list[bool]
    sketch: SketchUse | None = None
    points: Cells | None = None
    survey: Survey | None = None
    floor: float = 0.0
    resolution: Resolution = NO_RESOLUTION


def best_fits(
    cells: Cells,
    likelihood: Likelihood,
    max_components: int,
    *,
    criterion: str = "bic",
    certified: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Found:
    """The best fit found for each number of components, by a search on all cells.

    Parameters
    ----------
    cells : Cells
        The data.
    likelihood : Likelihood
        Likelihood of these cells.
    max_components : int
        Largest number of components.
    criterion : str
        Criterion that will choose among the fits.
    certified : bool
        Whether to compute the certificate, too.
    progress : callable or None
        Called with the number of components whenever a fit has been found.
    """
    floor = (cells.resolution.floor / likelihood.scale) ** 2
    crowds = find_crowds(likelihood.x, likelihood.counts)
    grid = candidates(likelihood, floor, crowds)
    finder = Search(likelihood, floor, grid, criterion=criterion, progress=progress)
    ascents = finder.run(max_components)
    judge = _Judge(likelihood, floor, grid)
    if certified and len(cells) > CERTIFICATE_ROWS:
        low, high = np.quantile(likelihood.x, (0.1, 0.9))
        base = (float(high - low) or 1.0) * _FIRST_BASE
        points = Likelihood(cells.sketched(base * likelihood.scale, 1.0), likelihood.n_threads, like=likelihood)
        judge = _judge(points, floor, base, crowds)
    few = len(cells) <= SEARCH_ROWS
    certificate = judge.certificate(likelihood, ascents, few=few) if certified else _unknown(ascents)
    return Found(likelihood, ascents, certificate, [True] * len(ascents), floor=floor, resolution=cells.resolution)


def best_fits_of_rows(
    rows: Rows,
    sigma_floor: float | None,
    max_components: int,
    *,
    criterion: str = "bic",
    n_last: int = 0,
    exact: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Found:
    """The best fit found for each number of components, by a search on a sketch.

    The rows are read once for the sketch, again for a finer sketch if a component proves to be narrower than the first
    one resolves, and once or twice for each fit that may be chosen.

    Parameters
    ----------
    rows : Rows
        The data.
    sigma_floor : float or None
        Lower bound on the sigmas, in the unit of the data; by default that of a sample of the rows.
    max_components, criterion, progress
        As in `best_fits`.
    n_last : int
        Number of fits that are wanted, those with most components. If 0, one will be chosen among all fits, which get a
        certificate unless there are more than `FINISHED_ROWS` rows.
    exact : bool
        Whether to finish fits on the rows; otherwise all results are those of the sketch.
    """
    looks: list[_Look] = []

    def grid_for(survey: Survey) -> Grid:
        looks.append(_Look.at(survey, sigma_floor))
        return looks[-1].grid()

    survey, sketch = rows.survey(grid_for)
    # The last look is based on the survey of all rows.
    sample, crowds, resolution = looks[-1].sample, looks[-1].crowds, looks[-1].resolution
    floor = (resolution.floor / sample.scale) ** 2
    if resolution.floor > 0.0 and resolution.cause != "given":
        n_rows, first = rows.count_below(resolution.grain)
        resolution = replace(resolution, n_rows=n_rows, first=first)
    for attempt in range(_N_SKETCHES):
        base = sketch.grid.base / sample.scale
        points, _ = _points(sketch, 0, 1, FINE_POINTS, FINE_POINTS)
        wide, width = _points(sketch, round(math.log2(_COARSE / _FINE)), _JOINED_BINS, CROWDED_POINTS, COARSE_POINTS)
        points, wide = (replace(cells, resolution=resolution) for cells in (points, wide))
        fine, coarse = (Likelihood(cells, rows.n_threads, like=sample) for cells in (points, wide))
        if coarse.x.size > survey.n_rows / 2 and survey.n_rows <= UNSKETCHED_ROWS:
            cells = replace(concatenated(rows.blocks(), rows.weight_kind), resolution=resolution)
            likelihood = Likelihood(cells, rows.n_threads)
            small = best_fits(
                cells,
                likelihood,
                max_components,
                criterion=criterion,
                certified=n_last == 0,
                progress=progress,
            )
            return replace(small, survey=survey)
        judge = _judge(coarse, floor, width * base, crowds)
        finder = Search(
            coarse,
            judge.floor,
            judge.grid,
            criterion=criterion,
            lean=True,
            progress=progress,
        )
        ascents = finder.run(max_components)
        chosen = ascents[-1] if n_last else ascents[int(np.argmin(criteria(ascents, coarse.n_data, criterion)))]
        resolved = _resolved(coarse, chosen.params, base) or (0.5 * base) ** 2 <= floor
        if resolved or attempt == _N_SKETCHES - 1:
            break
        sketch = rows.sketch(replace(sketch.grid, base=_FINER * sketch.grid.base))

    def finish() -> tuple[list[Ascent], list[bool], SketchUse]:
        with ThreadPoolExecutor(rows.n_threads) as pool:
            # A fit with two equal components is a saddle, from which a climb takes long and gains little; if nothing
            # better is found, the next smaller fit is split on the fine points, too.
            pools = finder.settled[: len(ascents)]
            fits = list(pool.map(lambda pool: _on_fine(fine, pool, judge, floor, base), pools))
        on_sketch = list(fits)
        on_rows = [False] * len(fits)
        likelihood = RowLikelihood(rows, fine, survey)
        scatter = RowLikelihood(rows.squared(), fine, survey) if rows.weight_kind == "importance" else None
        while True:
            judged = zip(criteria(fits, fine.n_data, criterion), fits, strict=True)
            values = [value + 2.0 * fit.uneven for value, fit in judged]
            best = len(values) - 1 if n_last else int(np.argmin(values))
            near = [value < values[best] + _CLOSE or survey.n_rows <= FINISHED_ROWS for value in values]
            wanted = [k > best - n_last if n_last else near[k] for k in range(len(fits))]
            todo = [k for k in range(len(fits)) if wanted[k] and not on_rows[k]]
            if not (exact and todo):
                break
            for k in todo:
                start = _off_floor(fits[k].params, judge.floor, floor)
                ascent = ascend(likelihood, start, floor, n_em=0, trusted=_LAST_GAIN)
                # At a maximum, means are weighted averages of values, so that they lie within the range of the values;
                # the points are accurate only to 2^-31 of a box.
                means = np.clip(ascent.params.means, *(np.array([survey.low, survey.high]) - fine.centre) / fine.scale)
                params = replace(ascent.params, means=means)
                ascent = replace(ascent, params=params, occam=fits[k].occam)
                if scatter is not None:
                    squared = scatter.component_sums(params)
                    uneven = importance_nats(fine.n_data * params.weights, squared.sums[:, 0], fine.n_data)
                    products = score_products(squared, params)
                    held = likelihood.held_sums(params)
                    occam = occam_nats(*fine.effective_rows(params, held), fine.spread, fine.n_data)
                    ascent = replace(ascent, products=products, uneven=uneven, held=held, occam=occam)
                fits[k] = ascent
                on_rows[k] = True
        fine.count_passes(likelihood.n_passes)
        rough = on_sketch[best] if exact else ascents[best]
        error = float(abs(fits[best].loglik - rough.loglik))
        shift = _shift(fits[best], rough)
        return fits, on_rows, SketchUse(len(sketch), len(points), sketch.grid.base, resolved, error, shift)

    if n_last or survey.n_rows > FINISHED_ROWS:
        finished, on_rows, use = finish()
        finished = _never_falling(finished, on_rows)
        return Found(fine, finished, _unknown(ascents), on_rows, use, points, survey, floor, resolution)
    # The certificate concerns the points, and its gradient functions those of the fits to them.
    (finished, on_rows, use), certificate = fine.together(finish, lambda: judge.certificate(fine, ascents, few=False))
    finished = _never_falling(finished, on_rows)
    return Found(fine, finished, certificate, on_rows, use, points, survey, floor, resolution)


def _never_falling(fits: list[Ascent], on_rows: list[bool]) -> list[Ascent]:
    """As `never_falling`, for fits to the rows and to their sketch, whose log-likelihoods differ."""
    kept = fits[:1]
    for fit, was, now in zip(fits[1:], on_rows, on_rows[1:], strict=False):
        kept.append(never_falling([kept[-1], fit])[-1] if was == now else fit)
    return kept


@dataclass(frozen=True, eq=False)
class _Look:
    """Information from a sample of the rows: its likelihood, narrow groups of rows, and a lower bound on the sigmas."""

    sample: Likelihood
    crowds: tuple[Array, Array]
    resolution: Resolution
    weight_unit: float

    @classmethod
    def at(cls, survey: Survey, sigma_floor: float | None) -> _Look:
        """The information from the sample of a survey."""
        sample = Likelihood(survey.sample, 1)
        resolution = survey.sample.resolution
        if sigma_floor is not None:
            resolution = replace(resolution, floor=sigma_floor, cause="given")
        unit = weight_unit(survey.n_rows * survey.largest_weight)
        return cls(sample, find_crowds(sample.x, sample.counts), resolution, unit)

    def grid(self) -> Grid:
        """A grid whose boxes resolve all plausible components.

        Its widths are powers of two, so that almost any sample of the same rows gives the same grid.
        """
        sample = self.sample
        low, centre, high = _quantiles(sample, (0.1, 0.5, 0.9))
        # The narrowest group of rows that may be a component.
        crowd = max(float(self.crowds[1].min(initial=np.inf)), self.resolution.floor / sample.scale)
        base = min((high - low or float(np.ptp(sample.x)) or 1.0) * _FIRST_BASE, 0.5 * crowd)
        base = 2.0 ** math.floor(math.log2(base * sample.scale))
        step = _ANCHOR_STEP * base
        anchor = step * round((sample.centre + sample.scale * centre) / step)
        return Grid(base, _FINE, anchor, weight_unit=self.weight_unit)


def _points(sketch: Sketch, joined_boxes: int, joined_bins: int, crowded: int, most: int) -> tuple[Cells, float]:
    """Points of a sketch that are at least as coarse as requested, and at most `most`, and how much coarser they are.

    If there are more than `crowded` points, those that lie alone are joined before the boxes are. Weights that do not
    count rows sum to the effective number of rows, and so do the weights of the points.
    """
    may_join = True
    requested = joined_boxes
    while True:
        points = sketch.points(joined_boxes, joined_bins)
        n_points = points[0].size
        if may_join and n_points > crowded:
            points = join_lone_points(*points, sketch.grid.base)
            # If none lie alone, none will in wider boxes.
            may_join = points[0].size < n_points
        if points[0].size <= most or joined_boxes > _MOST_JOINED:
            return Cells(*points), 2.0 ** (joined_boxes - requested)
        # Each step at most halves the number of points.
        for _ in range(1 if may_join else math.ceil(math.log2(n_points / most))):
            if joined_bins < _JOINED_BINS:
                joined_bins *= 2
            else:
                joined_boxes = min(joined_boxes + 1, _MOST_JOINED + 1)


def _quantiles(likelihood: Likelihood, shares: tuple[float, ...]) -> list[float]:
    """Quantiles of weighted values, each of which is one of the values."""
    order = np.argsort(likelihood.x, kind="stable")
    cumulative = np.cumsum(likelihood.counts[order])
    at = np.searchsorted(cumulative, np.array(shares) * cumulative[-1])
    return [float(value) for value in likelihood.x[order][np.minimum(at, order.size - 1)]]


def _on_fine(fine: Likelihood, fits: list[Ascent], judge: _Judge, floor: float, base: float) -> Ascent:
    """The best of some fits on coarse points after a climb on the finer points, where nearly equal maxima may swap."""

    def climb(start: Params, lowest: float) -> Ascent:
        ascent = ascend(fine, start, lowest, n_em=0)
        return replace(ascent, occam=fine.occam(ascent.params, ascent.fewest))

    best = max((climb(fit.params, judge.floor) for fit in fits), key=lambda ascent: ascent.score)
    lowered = _off_floor(best.params, judge.floor, floor)
    at_floor = lowered.variances < best.params.variances
    # Rows that coincide do so on the points, too, and are as narrow there as the rows allow.
    if at_floor.any() and np.all(_coinciding(fine, best.params, base)[at_floor]):
        best = climb(lowered, floor)
    return best


def _off_floor(params: Params, points_floor: float, floor: float) -> Params:
    """Make components at the floor of the points as narrow as the rows allow."""
    at_floor = params.variances <= 1.001 * points_floor
    return replace(params, variances=np.where(at_floor, floor, params.variances))


def _shift(fit: Ascent, other: Ascent) -> float:
    """Distance between two fits: the largest difference of a parameter, in standard errors."""
    if fit.hessian is None or fit.params.n_components != other.params.n_components:
        return math.nan
    curvature = -np.diag(fit.hessian).reshape(-1, 3)
    difference = np.stack(
        [
            np.log(fit.params.weights / other.params.weights),
            fit.params.means - other.params.means,
            fit.params.variances - other.params.variances,
        ],
        axis=1,
    )
    # Standard errors from the diagonal of the information are too small, which overestimates the distance.
    return float(np.sqrt(np.max(difference**2 * np.maximum(curvature, 0.0))))


@dataclass(frozen=True, eq=False)
class _Judge:
    """The ingredients of certificates: rows or points of a sketch, the lower bound on the variances, and candidates."""

    points: Likelihood
    floor: float
    grid: Candidates

    def certificate(self, rows: Likelihood, ascents: list[Ascent], *, few: bool) -> Certificate:
        """The certificate of a list of fits, for the log-likelihood of rows or of finer points.

        The best mixing distribution is first found on the points. Unless the rows are few, it is not improved on them:
        the gradient function is that of the points, and only the log-likelihood is that of the rows.
        """
        points, floor = self.points, self.floor
        bound = loglik_bound(points, floor, self.grid)
        loglik, judged = bound.loglik, points
        if not few:
            loglik += rows.logpdf(bound.params)[1] - points.logpdf(bound.params)[1]
        elif rows is not points:
            loglik, judged = loglik_bound(rows, floor, self.grid, bound.params).loglik, rows
        slopes = [highest(judged, ascent.params, floor) for ascent in ascents]
        return Certificate(slopes, loglik, math.sqrt(floor) * points.scale)


def _judge(points: Likelihood, floor: float, base: float, crowds: tuple[Array, Array]) -> _Judge:
    # A component narrower than half the width that the points resolve would only follow individual points.
    points_floor = max(floor, (0.5 * base) ** 2)
    return _Judge(points, points_floor, candidates(points, points_floor, crowds))


def _resolved(likelihood: Likelihood, params: Params, base: float) -> bool:
    """Whether the points of a sketch lie densely within the observed width of each component.

    A component whose rows coincide is the same on every sketch.
    """
    narrow = likelihood.derivatives(params).total_var < (1.5 * base) ** 2
    return not narrow.any() or bool(np.all(_coinciding(likelihood, params, base)[narrow]))


def _coinciding(likelihood: Likelihood, params: Params, base: float) -> NDArray[np.bool_]:
    """Whether all rows of each component are at the same place."""
    sums = likelihood.sums(params)
    held = sums.q_inv > 0.0
    inverse = np.divide(1.0, sums.q_inv, out=np.zeros_like(sums.q), where=held)
    # The mean of d^2 with weights q / T^2, over that of 1 / T: the variance about the mean in units of T.
    return np.asarray(held & (np.sqrt(sums.q * sums.q_dd) * inverse < _COINCIDING * base))
