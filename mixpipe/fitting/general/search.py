"""Search for the best mixtures of a family: a trust-region Newton ascent, and a deterministic search over M."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.fitting.general.likelihood import Expansion, GeneralLikelihood, Point, places
from mixpipe.fitting.general.seeds import gaussian_seeds
from mixpipe.fitting.held import WEIGHT_FLOOR
from mixpipe.fitting.kernels.newton import trust_region
from mixpipe.model.families import FAMILIES, Family

# Predicted gain of a step (nats) below which an ascent ends, and below which a climb ends while the best start is
# sought.
_SMALL_GAIN = 1e-6
_QUICK_GAIN = 0.02
_MAX_STEPS = 100
_FIRST_STEPS, _QUICK_STEPS = 4, 12
# Number of starts that go on after the first steps.
_N_RUNNERS = 5
# Longest step, in the units of the variables.
_MAX_RADIUS = 2.0
# A component whose weight is below this contains no data.
_NO_WEIGHT = 1e-12
# Number of insertions among the starts with one more component, and of starts that are climbed to the end.
_N_INSERTIONS = 6
_N_FINALISTS = 2
# Candidates to insert have means at this many quantiles, and widths that are these fractions of the overall width.
_N_MEANS = 24
_WIDTHS = (0.5, 0.2, 0.08, 0.03)
_SAME = 1e-3
# A start this many nats below the best start is dropped, since it will not overtake it.
_FAR_BEHIND = 20.0


@dataclass(frozen=True, eq=False)
class GeneralAscent:
    """The end of an ascent, with the expansion at this point and the predicted gain of a further step."""

    point: Point
    expansion: Expansion
    free: NDArray[np.bool_]
    remaining_gain: float
    # Penalty, in nats, for the comparison of fits; see `mixpipe.fitting.admissible`.
    occam: float = 0.0

    @property
    def loglik(self) -> float:
        """Total log-likelihood."""
        return self.expansion.loglik

    @property
    def score(self) -> float:
        """The log-likelihood minus the penalty on irregular components."""
        return self.loglik - self.occam


def ascend_general(
    likelihood: GeneralLikelihood,
    start: Point,
    *,
    gain: float = _SMALL_GAIN,
    max_steps: int = _MAX_STEPS,
    rough: bool = False,
) -> GeneralAscent:
    """Climb to the local maximum by Newton steps within a trust region.

    Parameters
    ----------
    likelihood : GeneralLikelihood
        Data.
    start : Point
        Mixture from which to climb.
    gain : float
        Stop when the predicted gain of a further step is smaller, in nats of total log-likelihood.
    max_steps : int
        Largest number of steps.
    rough : bool
        Use rough expansions; see `GeneralLikelihood.expansion`.
    """
    point = replace(start, sigmas=np.maximum(start.sigmas, likelihood.floor))
    here = likelihood.expansion(point, rough=rough)
    radius = 0.5
    promised = math.inf
    for _ in range(max_steps):
        free = _free(likelihood, point, here)
        step = np.zeros(free.size)
        step[free] = trust_region(np.ascontiguousarray(here.hessian[np.ix_(free, free)]), here.gradient[free], radius)
        promised = float(here.gradient @ step + 0.5 * step @ here.hessian @ step)
        if promised < gain and (radius > 0.05 or promised < 1e-3 * gain):
            break
        trial = _stepped(likelihood, point, step)
        trial_expansion = likelihood.expansion(trial, rough=rough)
        achieved = trial_expansion.loglik - here.loglik
        length = float(np.linalg.norm(step))
        if not achieved >= 0.25 * promised:
            radius = 0.3 * min(length, radius)
        elif achieved > 0.75 * promised and length > 0.8 * radius:
            radius = min(2.0 * radius, _MAX_RADIUS)
        if achieved > 0.0:
            point, here = trial, trial_expansion
        elif radius < 1e-9:
            break
    return GeneralAscent(point, here, _free(likelihood, point, here), max(promised, 0.0))


def _free(likelihood: GeneralLikelihood, point: Point, here: Expansion) -> NDArray[np.bool_]:
    """Variables that may change: not a sigma at the floor that would shrink, nor any of an empty component."""
    free = np.ones(here.gradient.size, dtype=bool)
    start = 0
    for j, unit in enumerate(likelihood.units(point)):
        variables = slice(start, start + unit.size)
        if point.weights[j] < _NO_WEIGHT:
            free[variables] = False
        elif unit.size > 2:
            at_floor = point.sigmas[j] <= likelihood.floor * (1.0 + 1e-9)
            free[start + 2] = not (at_floor and here.gradient[start + 2] <= 0.0)
            if unit.size > 3:
                low, high = point.families[j].shape_bounds
                rises = here.gradient[start + 3] > 0.0
                free[start + 3] = not ((point.shapes[j] >= high and rises) or (point.shapes[j] <= low and not rises))
        start = variables.stop
    low, high = likelihood.bounds_of_means()
    if math.isfinite(low):
        for j, k in enumerate(places(likelihood.units(point))):
            if not point.fixed[j]:
                rises = here.gradient[k + 1] > 0.0
                free[k + 1] &= not ((point.means[j] >= high and rises) or (point.means[j] <= low and not rises))
    return free


def _stepped(likelihood: GeneralLikelihood, point: Point, step: Array) -> Point:
    """The mixture after a step in the variables."""
    weights = point.weights.copy()
    start = 0
    for j, unit in enumerate(likelihood.units(point)):
        change = step[start : start + unit.size] * unit
        weights[j] *= math.exp(min(max(change[0], -30.0), 30.0))
        point = likelihood.moved(point, j, np.clip(change[1:], *_largest(unit)))
        start += unit.size
    weights = np.maximum(weights, WEIGHT_FLOOR)
    bounds = np.array([family.shape_bounds for family in point.families])
    return replace(
        point,
        weights=weights / weights.sum(),
        means=np.clip(point.means, *likelihood.bounds_of_means()),
        sigmas=np.maximum(point.sigmas, likelihood.floor),
        shapes=np.clip(point.shapes, bounds[:, 0], bounds[:, 1]),
    )


def _largest(unit: Array) -> tuple[Array, Array]:
    """Largest change of the variables of one component in one step."""
    most = _MAX_RADIUS * unit[1:]
    return -most, most


class GeneralSearch:
    """Best mixtures of 1, 2, ... components of one family, with a fixed background if one is given.

    Parameters
    ----------
    likelihood : GeneralLikelihood
        Data.
    family : str
        A key of `mixpipe.model.families.FAMILIES`.
    background : tuple of (float, float) or None
        Range of a uniform background.
    rough : bool
        Use rough expansions during the race, and stop climbs at a remaining gain of a thousandth of a nat, for slow
        families.
    progress : callable or None
        Called with the number of components whenever a fit has been found.
    """

    def __init__(
        self,
        likelihood: GeneralLikelihood,
        family: str,
        background: tuple[float, float] | None = None,
        *,
        rough: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.likelihood = likelihood
        self.progress = progress
        self.family = FAMILIES[family]
        self.background = background
        self.rough = rough
        x, counts = likelihood.x, likelihood.counts
        if self.family.positive and np.any((x <= 0) & (likelihood.err == 0) & (likelihood.limits <= 0)):
            raise ValueError(f"family {family}: expected positive values where there is no error")
        values = likelihood.limits == 0 if np.any(likelihood.limits == 0) else np.ones(x.size, dtype=bool)
        order = np.argsort(x[values], kind="stable")
        self.sorted_x = x[values][order]
        self.cumulative = np.cumsum(counts[values][order]) / counts[values].sum()
        low, middle, high = self._quantiles(np.array([0.16, 0.5, 0.84]))
        self.middle = float(middle)
        self.width = max(0.5 * float(high - low), likelihood.floor) or 1.0

    def run(self, max_components: int) -> list[GeneralAscent]:
        """The best fit found for each number of components, including the background, in order.

        The first fit has a single component, apart from the background.
        """
        seeds = self._seeds(max_components)
        fits = [self._best(self._first_starts() + seeds[0])]
        self._tell(fits)
        while fits[-1].point.n_components < max_components:
            fits.append(self._best(self._larger(fits[-1].point) + seeds[len(fits)]))
            self._tell(fits)
            # Go back down: removing a component from a larger fit may lead to a better smaller fit.
            for size in range(len(fits) - 2, -1, -1):
                larger = fits[size + 1].point
                starts = [larger.without(j) for j in range(larger.n_components) if not larger.fixed[j]]
                better = self._best(starts)
                if better.score <= fits[size].score + _SAME:
                    break
                fits[size] = better
        return fits

    def _seeds(self, max_components: int) -> list[list[Point]]:
        """Starts from Gaussian mixtures for each number of components, in order.

        In a truncated sample, a component may run away until the sample is only its tail, and take all larger fits with
        it; the starts therefore include fits that ignore the truncation.
        """
        seeds = gaussian_seeds(self.likelihood, self.family, max_components - (self.background is not None))
        seeds = [[self._with_background(point) for point in points] for points in seeds]
        if self.likelihood.truncated is None:
            return seeds
        search = copy.copy(self)
        search.likelihood = self.likelihood.untruncated()
        return [points + ([search._best(points).point] if points else []) for points in seeds]

    def _tell(self, fits: list[GeneralAscent]) -> None:
        if self.progress is not None:
            self.progress(fits[-1].point.n_components)

    def _quantiles(self, fractions: Array) -> Array:
        return np.interp(fractions, self.cumulative, self.sorted_x)

    def _first_starts(self) -> list[Point]:
        starts = []
        for scale in (1.0, 0.5):
            for shape in self.family.shape_starts or (math.nan,):
                mean = max(self.middle, 0.1 * self.width) if self.family.positive else self.middle
                point = Point(
                    (self.family,),
                    (False,),
                    np.ones(1),
                    np.array([mean]),
                    np.array([scale * self.width]),
                    np.array([shape]),
                )
                starts.append(self._with_background(point))
        return starts

    def _with_background(self, point: Point) -> Point:
        if self.background is None:
            return point
        low, high = self.background
        middle = 0.5 * (low + high)
        # Rounding must not make the background narrower, since a value at its very edge belongs to it.
        sigma = max(high - middle, middle - low) / math.sqrt(3.0) * (1.0 + 4.0 * np.finfo(np.float64).eps)
        return Point(
            (*point.families, FAMILIES["uniform"]),
            (*point.fixed, True),
            np.append(0.9 * point.weights, 0.1),
            np.append(point.means, middle),
            np.append(point.sigmas, sigma),
            np.append(point.shapes, math.nan),
        )

    def _best(self, starts: list[Point]) -> GeneralAscent:
        """Climb a little from all starts, and to the end from the best."""
        ahead: list[GeneralAscent] = []
        race = self._raced(starts, _FIRST_STEPS)
        race = [ascent for ascent in race if ascent.loglik > race[0].loglik - _FAR_BEHIND]
        climbing = [ascent.point for ascent in race if ascent.remaining_gain >= _QUICK_GAIN]
        race = [ascent for ascent in race if ascent.remaining_gain < _QUICK_GAIN]
        race += self._raced(climbing[:_N_RUNNERS], _QUICK_STEPS)
        for ascent in sorted(race, key=lambda ascent: -ascent.loglik):
            behind = ahead[0].loglik - ascent.loglik if ahead else 0.0
            same = any(abs(ascent.loglik - other.loglik) <= _SAME for other in ahead)
            if len(ahead) < _N_FINALISTS and behind < _FAR_BEHIND and not same:
                ahead.append(ascent)
        finals = [
            ascend_general(self.likelihood, ascent.point, gain=_SAME if self.rough else _SMALL_GAIN) for ascent in ahead
        ]
        finals = [replace(ascent, occam=self.likelihood.occam(ascent.point)) for ascent in finals]
        return max(finals, key=lambda ascent: ascent.score)

    def _raced(self, starts: list[Point], max_steps: int) -> list[GeneralAscent]:
        """Climb a few steps from each start; the highest comes first, and starts that have met are one."""
        race = [
            ascend_general(self.likelihood, start, gain=_QUICK_GAIN, max_steps=max_steps, rough=self.rough)
            for start in starts
        ]
        distinct: list[GeneralAscent] = []
        for ascent in sorted(race, key=lambda ascent: -ascent.loglik):
            if all(abs(ascent.loglik - other.loglik) > _SAME for other in distinct):
                distinct.append(ascent)
        return distinct

    def _larger(self, point: Point) -> list[Point]:
        """Starts with one more component: inserted where the gradient function is largest, or made by splitting."""
        starts = self._insertions(point)
        for j in range(point.n_components):
            if point.fixed[j]:
                continue
            sigma = max(point.sigmas[j], self.likelihood.floor)
            rest = point.without(j) if point.n_components > 1 else None
            for offset, factors in ((0.8, (0.6, 0.6)), (0.0, (0.5, 1.5))):
                starts.append(self._split(point, j, rest, offset * sigma, (factors[0] * sigma, factors[1] * sigma)))
        return starts

    def _split(self, point: Point, j: int, rest: Point | None, offset: float, sigmas: tuple[float, float]) -> Point:
        mean, shape, weight = point.means[j], point.shapes[j], point.weights[j]
        means = (mean - offset, mean + offset)
        if self.family.positive:
            means = (max(means[0], 0.1 * mean), means[1])
        one = Point((self.family,), (False,), np.ones(1), np.array(means[:1]), np.array(sigmas[:1]), np.array([shape]))
        if rest is None:
            return one.with_component(self.family, 0.5, means[1], sigmas[1], shape)
        first = rest.with_component(self.family, 0.5 * weight, means[0], sigmas[0], shape)
        return first.with_component(self.family, 0.5 * weight, means[1], sigmas[1], shape)

    def _insertions(self, point: Point) -> list[Point]:
        """Starts with one more component of the family, placed by the gradient function of Gaussian candidates."""
        likelihood = self.likelihood
        log_rows = likelihood.log_rows(point)
        means = np.unique(self._quantiles((np.arange(_N_MEANS) + 0.5) / _N_MEANS))
        candidates: list[tuple[float, float, float, float]] = []
        for width in _WIDTHS:
            sigma = max(width * self.width * 2.0, likelihood.floor)
            for mean in means:
                candidate = Point(
                    (_GAUSSIAN,), (False,), np.ones(1), np.array([mean]), np.array([sigma]), np.array([math.nan])
                )
                ratio = np.exp(np.minimum(likelihood.log_rows(candidate) - log_rows, 300.0)) - 1.0
                slope = float(likelihood.counts @ ratio)
                curvature = float(likelihood.counts @ ratio**2)
                weight = min(max(slope / max(curvature, 1e-300), 0.0), 0.5)
                candidates.append((slope * weight - 0.5 * curvature * weight**2, float(mean), sigma, weight))
        starts: list[Point] = []
        kept: list[tuple[float, float]] = []
        for gain, mean, sigma, weight in sorted(candidates, key=lambda entry: (-entry[0], entry[1], entry[2])):
            if gain <= 0.0 or len(starts) == _N_INSERTIONS:
                break
            if self.family.positive and mean <= 0.0:
                continue
            if any(abs(mean - m) < sigma + s and 0.3 < sigma / s < 3.0 for m, s in kept):
                continue
            kept.append((mean, sigma))
            shape = self.family.shape_starts[0] if self.family.shape_starts else math.nan
            starts.append(point.with_component(self.family, weight, mean, sigma, shape))
        return starts


def never_falling(likelihood: GeneralLikelihood, fits: list[GeneralAscent]) -> list[GeneralAscent]:
    """The fits, each worse than the one before replaced by that with its heaviest component split in two."""
    kept: list[GeneralAscent] = []
    for ascent in fits:
        if kept and ascent.score < kept[-1].score:
            last = kept[-1]
            movable_weights = np.where(last.point.fixed, 0.0, last.point.weights)
            places_of = [int(np.argmax(movable_weights)), *range(last.point.n_components)]
            weights = last.point.weights[places_of]
            weights[[0, 1 + places_of[0]]] *= 0.5
            point = Point(
                tuple(last.point.families[k] for k in places_of),
                tuple(last.point.fixed[k] for k in places_of),
                weights,
                *(part[places_of] for part in (last.point.means, last.point.sigmas, last.point.shapes)),
            )
            here = likelihood.expansion(point)
            ascent = GeneralAscent(point, here, _free(likelihood, point, here), last.remaining_gain, last.occam)
        kept.append(ascent)
    return kept


_GAUSSIAN: Family = FAMILIES["gaussian"]
