"""Search for the best mixtures of a family: a trust-region Newton ascent, and a deterministic search over M."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, permutations, product

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.fitting.general.directions import BOUNDS_OF_SCALE, directions
from mixpipe.fitting.general.likelihood import Expansion, GeneralLikelihood, Point
from mixpipe.fitting.general.seeds import gaussian_seeds
from mixpipe.fitting.held import WEIGHT_FLOOR
from mixpipe.fitting.kernels.newton import trust_region
from mixpipe.model.constraints import FREE, NO_CONSTRAINTS, Constraint, Constraints
from mixpipe.model.families import FAMILIES, RANGED, Family

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
# Number of insertions among the starts with one more component, and of starts that are climbed to the end.
_N_INSERTIONS = 6
_N_FINALISTS = 2
# Candidates to insert have means at this many quantiles, and widths that are these fractions of the overall width.
_N_MEANS = 24
_WIDTHS = (0.5, 0.2, 0.08, 0.03)
# Factors of the width of a component.
_NARROWER, _WIDER = 0.15, 3.0
# A component narrower than the latter part of this fraction of its interval is tried with this fraction of it.
_OF_INTERVAL, _NARROW = 0.4, 0.3
# Orders in which components of a start take the places of the constrained ones: that are looked at, and that are tried.
_MAX_ORDERS, _N_ORDERS = 50_000, 12
_SAME = 1e-3
# A start this many nats below the best start is dropped, since it will not overtake it.
_FAR_BEHIND = 20.0


@dataclass(frozen=True, eq=False)
class GeneralAscent:
    """The end of an ascent, with the expansion at this point and the predicted gain of a further step."""

    point: Point
    expansion: Expansion
    # Columns are directions in which the mixture may change.
    directions: Array
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

    @property
    def score_of_rows(self) -> float:
        """The score without a prior, which depends on the number of components: what compares different numbers."""
        return self.score - self.expansion.log_prior


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
    point = start.satisfied(likelihood.floor)
    here = likelihood.expansion(point, rough=rough)
    radius = 0.5
    promised = math.inf
    for _ in range(max_steps):
        basis = directions(likelihood, point, here)
        step = basis @ trust_region(
            np.ascontiguousarray(basis.T @ here.hessian @ basis), basis.T @ here.gradient, radius
        )
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
    return GeneralAscent(point, here, directions(likelihood, point, here), max(promised, 0.0))


def _stepped(likelihood: GeneralLikelihood, point: Point, step: Array) -> Point:
    """The mixture after a step in the variables."""
    weights = point.weights.copy()
    start = 0
    for j, unit in enumerate(likelihood.units(point)):
        change = step[start : start + unit.size] * unit
        weights[j] *= math.exp(min(max(change[0], -30.0), 30.0))
        point = likelihood.moved(point, j, np.clip(change[1:], *_largest(unit)))
        start += unit.size
    bounds = np.array([family.shape_bounds for family in point.families])
    scale = point.error_scale
    if likelihood.fits_scale:
        scale = min(max(scale * math.exp(min(max(step[-1], -1.0), 1.0)), BOUNDS_OF_SCALE[0]), BOUNDS_OF_SCALE[1])
    moved = replace(
        point,
        error_scale=scale,
        weights=np.maximum(weights, WEIGHT_FLOOR),
        means=np.clip(point.means, *likelihood.bounds_of_means()),
        shapes=np.clip(point.shapes, bounds[:, 0], bounds[:, 1]),
    )
    return moved.satisfied(likelihood.floor)


def _largest(unit: Array) -> tuple[Array, Array]:
    """Largest change of the variables of one component in one step."""
    most = _MAX_RADIUS * unit[1:]
    return -most, most


class GeneralSearch:
    """Best mixtures of 1, 2, ... components, with a fixed background and constrained components if these are given.

    Parameters
    ----------
    likelihood : GeneralLikelihood
        Data.
    family : str
        A key of `mixpipe.model.families.FAMILIES`.
    background : tuple of (float, float) or None
        Range of a uniform background.
    constraints : Constraints
        What is given of the components or shared by them.
    mixed : tuple of str
        Families among which each component is chosen; empty if all are of `family`.
    rough : bool
        Use rough expansions during the race, and stop climbs at a remaining gain of a thousandth of a nat, for slow
        families.
    criterion : str
        Criterion that will choose among the fits; empty if the last one was asked for.
    progress : callable or None
        Called with the number of components whenever a fit has been found.
    """

    def __init__(
        self,
        likelihood: GeneralLikelihood,
        family: str,
        background: tuple[float, float] | None = None,
        *,
        constraints: Constraints = NO_CONSTRAINTS,
        mixed: tuple[str, ...] = (),
        rough: bool = False,
        criterion: str = "",
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.likelihood = likelihood
        self.criterion = criterion
        self.progress = progress
        self.family = FAMILIES[family]
        self.families = tuple(FAMILIES[name] for name in mixed) or (self.family,)
        self.background = background
        self.slots = [
            (self.family if slot.family is None else FAMILIES[slot.family], slot.constraint)
            for slot in constraints.slots
        ]
        self.of_others = constraints.of_others
        self.rough = rough
        x, counts = likelihood.x, likelihood.counts
        if any(each.positive for each in self.families) and np.any(
            (x <= 0) & (likelihood.err == 0) & (likelihood.limits <= 0)
        ):
            name = next(each.name for each in self.families if each.positive)
            raise ValueError(f"family {name}: expected positive values where there is no error")
        values = likelihood.limits == 0 if np.any(likelihood.limits == 0) else np.ones(x.size, dtype=bool)
        order = np.argsort(x[values], kind="stable")
        self.sorted_x = x[values][order]
        self.cumulative = np.cumsum(counts[values][order]) / counts[values].sum()
        low, middle, high = self._quantiles(np.array([0.16, 0.5, 0.84]))
        self.middle = float(middle)
        self.width = max(0.5 * float(high - low), likelihood.floor) or 1.0

    def run(self, max_components: int) -> list[GeneralAscent]:
        """The best fit found for each number of components, including the background, in order.

        The first fit has the constrained components, or a single component if there are none, apart from the
        background. Each of the others uses the way back down from the next number of components, of which a short climb
        is enough, and nothing beyond, so that it does not depend on the largest number that is tried; but a last one
        that the criterion does not prefer is left as it is.
        """
        n_first = (len(self.slots) or 1) + (self.background is not None)
        n_ahead = 0 if self.slots or max_components == n_first else 1
        seeds = self._seeds(max_components + n_ahead)
        fits = [self._settled(self._finalists(self._first_starts() + self._with_untruncated(seeds[0])))]
        self._tell(fits)
        for n_components in range(n_first + 1, max_components + n_ahead + 1):
            if n_components > max_components and not self._is_wanted(fits):
                break
            finalists = self._finalists(self._larger(fits[-1].point) + self._with_untruncated(seeds[len(fits)]))
            if n_components - 1 > n_first:
                fits[-1] = self._revised(fits[-1], finalists[0].point)
            if n_components <= max_components:
                fits.append(self._settled(finalists))
                self._tell(fits)
        return fits

    def _is_wanted(self, fits: list[GeneralAscent]) -> bool:
        """Whether the last fit was asked for, or is that which the criterion chooses so far."""
        if not self.criterion:
            return True
        price = 1.0 if self.criterion == "aic" else 0.5 * math.log(max(self.likelihood.n_data, 1.0))
        values = [fit.score_of_rows - price * fit.point.n_params for fit in fits]
        return max(values) == values[-1]

    def _revised(self, fit: GeneralAscent, larger: Point) -> GeneralAscent:
        """The fit, or a better one that is reached from a larger mixture without one of its components."""
        starts = [larger.without(j) for j in range(larger.n_components) if self._is_other(larger, j)]
        better = self._best(starts)
        return better if better.score > fit.score + _SAME else fit

    def _seeds(self, max_components: int) -> list[list[Point]]:
        """Starts from Gaussian mixtures for each number of components, in order."""
        seeds = gaussian_seeds(self.likelihood, self.family, max_components - (self.background is not None))
        if self.slots or not self.of_others.is_free or len(self.families) > 1:
            seeds = [
                [variant for point in points for variant in self._variants(self.constrained(point))]
                for points in seeds[max(len(self.slots), 1) - 1 :]
            ]
        seeds = [[self._with_background(point) for point in points] for points in seeds]
        return seeds + [[] for _ in range(max_components - len(seeds))]

    def _with_untruncated(self, points: list[Point]) -> list[Point]:
        """The starts and, in a truncated sample, the best fit from these that ignores the truncation.

        A component may run away until the sample is only its tail, and take all larger fits with it.
        """
        if self.likelihood.window is None or not points:
            return points
        search = copy.copy(self)
        search.likelihood = self.likelihood.unselected()
        return [*points, search._best(points).point]

    def _is_other(self, point: Point, index: int) -> bool:
        """Whether a component is neither the background nor one of those that are known to be there."""
        constraint = point.constraints[index]
        return not point.fixed[index] and (constraint.is_free or constraint == self.of_others)

    def constrained(self, point: Point) -> list[Point]:
        """The mixture with each of its components, in the likeliest of all orders, put in the place of the slots."""
        free = replace(point, constraints=tuple(FREE if fixed else self.of_others for fixed in point.fixed))
        if not self.slots:
            return [free]

        def misfit(chosen: tuple[int, ...]) -> float:
            away = 0.0
            for j, (_, constraint) in zip(chosen, self.slots, strict=True):
                if constraint.is_given("means"):
                    away += abs(point.means[j] - constraint.mean) / (point.sigmas[j] + self.likelihood.typical_err)
                if constraint.is_given("weights"):
                    away += abs(point.weights[j] - constraint.weight)
            return away

        orders = islice(permutations(range(point.n_components), len(self.slots)), _MAX_ORDERS)
        return [
            point_in_slots
            for chosen in sorted(orders, key=misfit)[:_N_ORDERS]
            if (point_in_slots := self._in_slots(free, chosen)) is not None
        ]

    def _in_slots(self, point: Point, chosen: tuple[int, ...]) -> Point | None:
        """The mixture whose chosen components are those of the slots, in their order; None if they cannot be."""
        families, constraints = list(point.families), list(point.constraints)
        fixed, shapes = list(point.fixed), point.shapes.copy()
        for j, (family, constraint) in zip(chosen, self.slots, strict=True):
            families[j], constraints[j], fixed[j] = family, constraint, family.name == "uniform"
            if family is not point.families[j]:
                shapes[j] = family.shape_starts[0] if family.shape_starts else math.nan
            if family.positive and not (point.means[j] > 0.0 or constraint.mean > 0.0):
                return None
        changed = replace(
            point, families=tuple(families), constraints=tuple(constraints), fixed=tuple(fixed), shapes=shapes
        )
        return changed.satisfied(self.likelihood.floor)

    def _variants(self, points: list[Point]) -> list[Point]:
        """The mixtures, and those in which one of the other components is of another family."""
        found = list(points)
        for point in points:
            for j in range(point.n_components):
                if self._is_other(point, j):
                    found += [
                        self._with_family(point, j, family)
                        for family in self.families
                        if family is not point.families[j] and not (family.positive and point.means[j] <= 0.0)
                    ]
        return found

    def _with_family(self, point: Point, index: int, family: Family) -> Point:
        shapes = point.shapes.copy()
        shapes[index] = family.shape_starts[0] if family.shape_starts else math.nan
        families = tuple(family if k == index else each for k, each in enumerate(point.families))
        return replace(point, families=families, shapes=shapes)

    def _tell(self, fits: list[GeneralAscent]) -> None:
        if self.progress is not None:
            self.progress(fits[-1].point.n_components)

    def _quantiles(self, fractions: Array) -> Array:
        return np.interp(fractions, self.cumulative, self.sorted_x)

    def _first_starts(self) -> list[Point]:
        if self.slots:
            return [self._with_background(point) for point in self._of_slots()]
        starts = []
        for family, scale in product(self.families, (1.0, 0.5)):
            for shape in family.shape_starts or (math.nan,):
                mean = max(self.middle, 0.1 * self.width) if family.positive else self.middle
                point = Point(
                    (family,),
                    (False,),
                    np.ones(1),
                    np.array([mean]),
                    np.array([scale * self.width]),
                    np.array([shape]),
                    (self.of_others,),
                )
                starts.append(self._with_background(point))
        return starts

    def _of_slots(self) -> list[Point]:
        """Starts with the components of the slots alone, where their members are or side by side."""
        size = len(self.slots)
        starts = []
        for scale in (1.0, 0.4):
            quantiles = self._quantiles((np.arange(size) + 0.5) / size)
            means, sigmas = np.array(quantiles), np.full(size, scale * self.width)
            for j, (_, constraint) in enumerate(self.slots):
                if constraint.members >= 0:
                    means[j], sigmas[j] = self._of_members(constraint.members, means[j], sigmas[j])
            family = FAMILIES["gaussian"]
            point = Point(
                (family,) * size,
                (False,) * size,
                np.full(size, 1.0 / size),
                means,
                sigmas,
                np.full(size, math.nan),
                (self.of_others,) * size,
            )
            if any(each.positive for each, _ in self.slots):
                point = replace(point, means=np.maximum(point.means, 0.1 * self.width))
            # Side by side in every order, if these are few.
            for order in islice(permutations(range(size)), _N_ORDERS):
                if (start := self._in_slots(point, order)) is not None:
                    starts.append(start)
        return starts

    def _of_members(self, column: int, mean: float, sigma: float) -> tuple[float, float]:
        """Mean and width of the rows that are known to belong to a component."""
        likelihood = self.likelihood
        if likelihood.log_memberships is None:
            return mean, sigma
        log_own, log_rest = likelihood.log_memberships[:, column], likelihood.log_memberships.min(axis=1)
        share = likelihood.counts * np.exp(log_own) * (log_rest < log_own)
        total = float(share.sum())
        if not total > 0.0:
            return mean, sigma
        mean = float(share @ likelihood.x) / total
        variance = float(share @ ((likelihood.x - mean) ** 2 - likelihood.widths**2)) / total
        return mean, math.sqrt(max(variance, (0.1 * self.width) ** 2, likelihood.floor**2))

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
            (*point.constraints, FREE),
            point.error_scale,
        )

    def _merit(self, ascent: GeneralAscent) -> float:
        """The score; of mixtures of different families, less what BIC takes for their parameters."""
        if len(self.families) == 1:
            return ascent.score
        return ascent.score - 0.5 * ascent.point.n_params * math.log(max(self.likelihood.n_data, 1.0))

    def _settled(self, finalists: list[GeneralAscent]) -> GeneralAscent:
        """The best of some starts and, in intervals, of what it becomes with components much narrower or wider.

        A component within an interval and one of about its width are maxima of their own.
        """
        best = self._finished(finalists)
        edges = self.likelihood.edges
        while edges is not None:
            other = self._best([best.point, *self._rescaled(best.point, edges)])
            if not self._merit(other) > self._merit(best) + _SAME:
                break
            best = other
        return best

    def _rescaled(self, point: Point, edges: Array) -> Iterator[Point]:
        """The mixture with one component narrower, and then lighter, or wider, or about as wide as its interval."""
        widths = _OF_INTERVAL * (edges[:, 1] - edges[:, 0])
        for j in range(point.n_components):
            if point.fixed[j]:
                continue
            sigma, width = point.sigmas[j], widths[np.argmin(np.abs(self.likelihood.x - point.means[j]))]
            wider = [_WIDER * sigma, width] if sigma < _NARROW * width else [_WIDER * sigma]
            for new, lighter in [(_NARROWER * sigma, math.sqrt(_NARROWER)), *((new, 1.0) for new in wider)]:
                own = np.arange(point.n_components) == j
                weights = point.weights * np.where(own, lighter, 1.0)
                sigmas = np.where(own, new, point.sigmas)
                yield replace(point, weights=weights / weights.sum(), sigmas=sigmas)

    def _best(self, starts: list[Point]) -> GeneralAscent:
        """The highest maximum that is reached from some starts."""
        return self._finished(self._finalists(starts))

    def _finalists(self, starts: list[Point]) -> list[GeneralAscent]:
        """Climb a little from all starts; the best few that differ."""
        ahead: list[GeneralAscent] = []
        merit = self._merit
        race = self._raced(starts, _FIRST_STEPS)
        race = [ascent for ascent in race if merit(ascent) > merit(race[0]) - _FAR_BEHIND]
        climbing = [ascent.point for ascent in race if ascent.remaining_gain >= _QUICK_GAIN]
        race = [ascent for ascent in race if ascent.remaining_gain < _QUICK_GAIN]
        race += self._raced(climbing[:_N_RUNNERS], _QUICK_STEPS)
        for ascent in sorted(race, key=lambda ascent: -merit(ascent)):
            behind = merit(ahead[0]) - merit(ascent) if ahead else 0.0
            same = any(abs(ascent.loglik - other.loglik) <= _SAME for other in ahead)
            if len(ahead) < _N_FINALISTS and behind < _FAR_BEHIND and not same:
                ahead.append(ascent)
        return ahead

    def _finished(self, finalists: list[GeneralAscent]) -> GeneralAscent:
        """Climb to the end from these; the best."""
        gain = _SAME if self.rough else _SMALL_GAIN
        ascents = [self._weighed(ascend_general(self.likelihood, each.point, gain=gain)) for each in finalists]
        return max(ascents, key=self._merit)

    def _weighed(self, ascent: GeneralAscent, *, climbing: bool = False) -> GeneralAscent:
        return replace(ascent, occam=self.likelihood.occam(ascent.point, climbing=climbing))

    def _raced(self, starts: list[Point], max_steps: int) -> list[GeneralAscent]:
        """Climb a few steps from each start; the best comes first, and starts that have met are one."""
        race = [
            ascend_general(self.likelihood, start, gain=_QUICK_GAIN, max_steps=max_steps, rough=self.rough)
            for start in starts
        ]
        distinct: list[GeneralAscent] = []
        for ascent in sorted(race, key=lambda ascent: -ascent.loglik):
            if all(abs(ascent.loglik - other.loglik) > _SAME for other in distinct):
                distinct.append(ascent)
        weighed = [self._weighed(ascent, climbing=True) for ascent in distinct]
        return sorted(weighed, key=lambda ascent: -self._merit(ascent))

    def _larger(self, point: Point) -> list[Point]:
        """Starts with one more component: inserted where the gradient function is largest, or made by splitting."""
        starts = [start for family in self.families for start in self._insertions(point, family)]
        for j in range(point.n_components):
            if point.fixed[j]:
                continue
            sigma = max(point.sigmas[j], self.likelihood.floor)
            for offset, factors in ((0.8, (0.6, 0.6)), (0.0, (0.5, 1.5))):
                split = self._split(point, j, offset * sigma, (factors[0] * sigma, factors[1] * sigma))
                starts += [split, *self._other_shapes(split)]
        if len(self.families) > 1:
            starts += [self._with_family(start, 0, each) for start in starts for each in self._others(start)]
        return starts

    def _other_shapes(self, split: Point) -> list[Point]:
        """A component that has been split with the halves of different shapes; they are the first and the last."""
        starts = split.families[0].shape_starts
        if split.families[0] is not split.families[-1]:
            return []
        found = []
        for pair in permutations(starts, 2):
            shapes = split.shapes.copy()
            shapes[[0, -1]] = pair
            found.append(replace(split, shapes=shapes))
        return found

    def _others(self, point: Point) -> list[Family]:
        """Families that the first component of a start may have instead of its own."""
        if not self._is_other(point, 0):
            return []
        return [
            family
            for family in self.families
            if family is not point.families[0] and not (family.positive and point.means[0] <= 0.0)
        ]

    def _split(self, point: Point, j: int, offset: float, sigmas: tuple[float, float]) -> Point:
        """The mixture whose component j is split; the half that is new comes first, and has no other constraints."""
        family, mean, shape, weight = point.families[j], point.means[j], point.shapes[j], point.weights[j]
        means = (mean - offset, mean + offset)
        if family.positive:
            means = (max(means[0], 0.1 * mean), means[1])
        keep = [j, *(k for k in range(point.n_components) if k != j)]
        weights = point.weights[keep]
        weights[0] = 0.5 * weight
        first = Point(
            tuple(point.families[k] for k in keep),
            tuple(point.fixed[k] for k in keep),
            weights / (1.0 - 0.5 * weight),
            np.concatenate([means[:1], point.means[keep[1:]]]),
            np.concatenate([sigmas[:1], point.sigmas[keep[1:]]]),
            point.shapes[keep],
            tuple(point.constraints[k] for k in keep),
            point.error_scale,
        )
        other = family if family in self.families else self.family
        if other is not family:
            shape = other.shape_starts[0] if other.shape_starts else math.nan
        return first.with_component(other, 0.5 * weight, means[1], sigmas[1], shape, self.of_others)

    def _insertions(self, point: Point, family: Family) -> list[Point]:
        """Starts with one more component of the family, placed by the gradient function of Gaussian candidates."""
        likelihood = self.likelihood
        log_rows = likelihood.log_rows(point)
        means = np.unique(self._quantiles((np.arange(_N_MEANS) + 0.5) / _N_MEANS))
        candidates: list[tuple[float, float, float, float]] = []
        for width in _WIDTHS:
            sigma = max(width * self.width * 2.0, likelihood.floor)
            for mean in means:
                candidate = Point(
                    (_GAUSSIAN,),
                    (False,),
                    np.ones(1),
                    np.array([mean]),
                    np.array([sigma]),
                    np.array([math.nan]),
                    error_scale=point.error_scale,
                )
                ratio = np.exp(np.minimum(likelihood.log_rows(candidate) - log_rows, 300.0)) - 1.0
                slope = float(likelihood.counts @ ratio)
                curvature = float(likelihood.counts @ ratio**2)
                weight = min(max(slope / max(curvature, 1e-300), 0.0), 0.5)
                candidates.append((slope * weight - 0.5 * curvature * weight**2, float(mean), sigma, weight))
        starts: list[Point] = []
        kept: list[tuple[float, float]] = []
        for gain, mean, sigma, weight in sorted(candidates, key=lambda entry: (-entry[0], entry[1], entry[2])):
            if gain <= 0.0 or len(kept) == _N_INSERTIONS:
                break
            if family.positive and mean <= 0.0:
                continue
            if any(abs(mean - m) < sigma + s and 0.3 < sigma / s < 3.0 for m, s in kept):
                continue
            kept.append((mean, sigma))
            starts += [
                point.with_component(family, weight, mean, sigma, shape, self.of_others)
                for shape in family.shape_starts or (math.nan,)
            ]
        return starts


def never_falling(
    fits: list[tuple[GeneralLikelihood, GeneralAscent]], of_others: Constraint = FREE
) -> list[tuple[GeneralLikelihood, GeneralAscent]]:
    """The fits, each worse than the one before replaced by that with its heaviest component split in two.

    Only fits to the same points are compared, and none with a prior, which depends on the number of components.
    """
    kept: list[tuple[GeneralLikelihood, GeneralAscent]] = []
    for likelihood, ascent in fits:
        comparable = bool(kept) and kept[-1][0] is likelihood and not likelihood.prior_rows
        if comparable and ascent.score < kept[-1][1].score:
            last = kept[-1][1]
            movable = [
                not fixed
                and family.name not in RANGED
                and not constraint.is_given("weights")
                and constraint.tie("weights") is None
                for family, fixed, constraint in zip(
                    last.point.families, last.point.fixed, last.point.constraints, strict=True
                )
            ]
            heaviest = int(np.argmax(np.where(movable, last.point.weights, -1.0)))
            if movable[heaviest]:
                ascent = _halved(likelihood, last, heaviest, of_others)
        kept.append((likelihood, ascent))
    return kept


def _halved(likelihood: GeneralLikelihood, last: GeneralAscent, index: int, constraint: Constraint) -> GeneralAscent:
    """The fit with one component split in two equal halves, the first of which has other constraints."""
    chosen = [index, *range(last.point.n_components)]
    weights = last.point.weights[chosen]
    weights[[0, 1 + index]] *= 0.5
    point = Point(
        tuple(last.point.families[k] for k in chosen),
        tuple(last.point.fixed[k] for k in chosen),
        weights,
        last.point.means[chosen],
        last.point.sigmas[chosen],
        last.point.shapes[chosen],
        (constraint, *last.point.constraints),
        last.point.error_scale,
    )
    here = likelihood.expansion(point)
    return GeneralAscent(point, here, directions(likelihood, point, here), last.remaining_gain, last.occam)


_GAUSSIAN: Family = FAMILIES["gaussian"]
