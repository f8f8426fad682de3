"""Deterministic global search for the maximum of the likelihood with 1, 2, ... components.

Local maxima are the rule. From the best fit with M components the search starts M + 1 by inserting a component where
the gradient function says that it raises the likelihood most, and by splitting each component; then it goes back
down, removing and merging components, wherever that beats what the way up has found. No random number is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from mixpipe.fitting.admissible import NEAR_GRAIN
from mixpipe.fitting.gaussian.candidates import Candidates, candidates
from mixpipe.fitting.gaussian.em import NEGLIGIBLE_GAIN, Ascent, ascend
from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.model.criteria import aic, bic, n_params


@dataclass(frozen=True)
class Effort:
    """How widely to search for one number of components.

    Parameters
    ----------
    n_insertions : int
        Insertions that are climbed from, for each fit of the pool below.
    race : tuple of (int, int)
        So many Newton steps, after which so many starts go on.
    n_pool : int
        Different fits that are kept, to grow from and to reduce to.
    gain : float
        Climb until a step promises less than this, in nats.
    """

    n_insertions: int
    race: tuple[tuple[int, int], ...]
    n_pool: int
    gain: float


FULL = Effort(n_insertions=10, race=((4, 12), (8, 6), (16, 4)), n_pool=3, gain=NEGLIGIBLE_GAIN)
# Where the data are many: good starts stand out.
LEAN = Effort(n_insertions=8, race=((3, 8), (8, 4)), n_pool=2, gain=NEGLIGIBLE_GAIN)
# And there for numbers of components that the criterion has left behind.
BRIEF = Effort(n_insertions=4, race=((2, 5), (8, 2)), n_pool=1, gain=1e-4)
# Up to this many cells every number of components gets the full effort; beyond, those up to _BEYOND above the
# criterion's choice get the lean one, and the rest the brief one.
_FULL_EFFORT_CELLS = 3000
_BEYOND = 2

# From this many cells on, starts are climbed from on several threads.
_THREADED_CELLS = 2000
# Fits that end closer than this (nats) are the same one; on the way, those closer than _MET are.
_SAME = 1e-3
_MET = 1e-2
# A start whose next step promises less than this (nats) waits for the end of the race.
_QUICK_GAIN = 0.01
# A fit counts as better than another when it gains more than this (nats).
_BETTER = 1e-4
# Rounds of going back down and up again, at the most; and from how many more components they begin.
_N_ROUNDS = 4
_AHEAD = 2
# Scores that differ by less are equal but for rounding.
_ROUNDED = 1e-9


def moments_start(likelihood: Likelihood) -> Params:
    """One component with the mean and the error-corrected variance of the data."""
    counts = likelihood.counts / likelihood.n_data
    # Not by BLAS, whose last digits depend on its threads.
    mean = float(np.sum(counts * likelihood.x))
    variance = float(np.sum(counts * ((likelihood.x - mean) ** 2 - likelihood.var)))
    typical = float(np.sum(counts * likelihood.var))
    return Params(np.ones(1), np.array([mean]), np.array([max(variance, 0.01 * typical)]))


def criteria(ascents: list[Ascent], n_data: float, criterion: str) -> list[float]:
    """AIC of some fits, or else BIC, which goes for ICL before the entropies are known; of their scores."""
    sizes = [n_params(ascent.params.n_components) for ascent in ascents]
    if criterion == "aic":
        return [aic(ascent.score, size) for ascent, size in zip(ascents, sizes, strict=True)]
    return [bic(ascent.score, size, n_data) for ascent, size in zip(ascents, sizes, strict=True)]


class Search:
    """Best fits with 1 ... `max_components` components on fixed cells.

    Parameters
    ----------
    likelihood : Likelihood
        Data.
    floor : float
        Lower bound on the variances, in scaled units.
    grid : Candidates or None
        Components to insert; looked for in the data by default.
    equal_sigmas : bool
        Give all components one width.
    criterion : str
        What will choose among the fits; those that it leaves behind may get less effort.
    lean : bool
        The cells are points of a sketch: there are many data, however few cells.
    progress : callable or None
        Called with a number of components whenever that fit has been found.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        floor: float,
        grid: Candidates | None = None,
        *,
        equal_sigmas: bool = False,
        criterion: str = "bic",
        lean: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.likelihood = likelihood
        self.floor = floor
        self.equal_sigmas = equal_sigmas
        self.criterion = criterion
        self.lean = lean or likelihood.x.size > _FULL_EFFORT_CELLS
        self.progress = progress or (lambda n_components: None)
        self.grid = grid or candidates(likelihood, floor)
        self.workers: ThreadPoolExecutor | None = None
        self.pools: list[list[Ascent]] = []
        # The pools as they were when the fits were taken from them.
        self.settled: list[list[Ascent]] = []
        # Fits from which starts have been made: the same starts would end at the same places.
        self.grown: set[Ascent] = set()
        self.reduced: set[Ascent] = set()

    def run(self, max_components: int) -> list[Ascent]:
        """The best fit found for each number of components, in order.

        The way back down from the next `_AHEAD` numbers serves each of them, and nothing that is found beyond: the fit
        for a number of components does not depend on the largest one that is looked at.
        """
        self.pools = [self._climb([moments_start(self.likelihood)], FULL)]
        self.progress(1)
        self.settled = []
        # With equal errors a single component has one maximum.
        ahead = 0 if max_components == 1 and np.ptp(self.likelihood.var) == 0.0 else _AHEAD
        for size in range(2, max_components + 1 + ahead):
            effort = self._effort(size)
            if effort is BRIEF:
                # What the criterion has left behind changes nothing of what is before it.
                self.settled += self.pools[len(self.settled) :]
            if size > max_components and (effort is BRIEF or len(self.settled) >= max_components):
                break
            self.pools.append(self._climb(self._grown(size - 1, effort), effort))
            if effort is not BRIEF:
                self._settle(len(self.settled) + 1, size)
            if size - _AHEAD > len(self.settled):
                self.settled.append(self.pools[len(self.settled)])
            if size <= max_components:
                self.progress(size)
        self.settled += self.pools[len(self.settled) :]
        return never_falling([pool[0] for pool in self.settled[:max_components]])

    def _settle(self, first: int, last: int) -> None:
        """Go down from the last number of components to the first, and up again, while anything becomes better."""
        for _ in range(_N_ROUNDS):
            if not self._revise(list(range(first, last + 1))):
                break

    def _effort(self, size: int) -> Effort:
        if not self.lean:
            return FULL
        values = criteria([pool[0] for pool in self.pools], self.likelihood.n_data, self.criterion)
        return LEAN if size <= int(np.argmin(values)) + 1 + _BEYOND else BRIEF

    def _revise(self, sizes: list[int]) -> bool:
        """One round down and up among these numbers of components; whether anything became better."""
        fresh: set[int] = set()
        for size in reversed(sizes):
            effort = self._effort(size)
            larger = self.pools[size][: effort.n_pool] if size < len(self.pools) else []
            if self._add(size, self._climb(self._reduced(larger), effort)):
                fresh.add(size)
        for size in sizes[1:]:
            effort = self._effort(size)
            if size - 1 in fresh and self._add(size, self._climb(self._grown(size - 1, effort), effort)):
                fresh.add(size)
        return bool(fresh)

    def _add(self, size: int, found: list[Ascent]) -> bool:
        """Add fits to a pool; whether its best became better."""
        pool = self.pools[size - 1]
        self.pools[size - 1] = _distinct([*pool, *found], FULL.n_pool, _SAME)
        return self.pools[size - 1][0].score > pool[0].score + _BETTER

    def _climb(self, starts: Iterable[Params], effort: Effort) -> list[Ascent]:
        """Race the starts, a few steps at a time, and climb to the end with the best: distinct fits, highest first."""
        runners = list(starts)
        if not runners:
            return []
        n_em = 2
        for n_steps, n_kept in effort.race:
            ascents = self._ascend(runners, gain=_QUICK_GAIN, n_em=n_em, max_steps=n_steps)
            runners = [ascent.params for ascent in _distinct(ascents, n_kept, _MET)]
            n_em = 0
        return _distinct(self._ascend(runners, gain=effort.gain, n_em=0), effort.n_pool, _SAME)

    def _ascend(self, starts: list[Params], **options: Any) -> list[Ascent]:
        """Climb from each start; on several threads where a pass takes long enough to be worth it."""

        def climb(start: Params) -> Ascent:
            ascent = ascend(self.likelihood, start, self.floor, equal_sigmas=self.equal_sigmas, **options)
            return replace(ascent, occam=self.likelihood.occam(ascent.params, ascent.hessian))

        if self.likelihood.n_threads == 1 or self.likelihood.x.size < _THREADED_CELLS or len(starts) == 1:
            return [climb(start) for start in starts]
        self.workers = self.workers or ThreadPoolExecutor(self.likelihood.n_threads)
        return list(self.workers.map(climb, starts))

    def _grown(self, size: int, effort: Effort) -> list[Params]:
        """Starts with one component more than the fits with `size`."""
        starts: list[Params] = []
        if effort is FULL and not self.pools[size:]:
            starts += partitions(self.likelihood, size + 1)
        for ascent in self.pools[size - 1][: effort.n_pool]:
            if ascent not in self.grown:
                starts += self._insertions(ascent.params, effort.n_insertions)
                starts += splits(ascent.params)
                self.grown.add(ascent)
        return starts

    def _reduced(self, larger: list[Ascent]) -> list[Params]:
        """Starts with one component less than these fits."""
        starts: list[Params] = []
        for ascent in larger:
            if ascent not in self.reduced:
                starts += removed(ascent.params) + merged(ascent.params)
                self.reduced.add(ascent)
        return starts

    def _insertions(self, params: Params, n_insertions: int) -> list[Params]:
        """Starts with one component more, at the peaks of the gradient function."""
        grid = self.grid
        logp, _, _ = self.likelihood.logpdf(params)
        gradient, curvature = self.likelihood.gradient_function(logp, grid.means, grid.variances)
        weight = np.clip(gradient / np.maximum(curvature, np.finfo(np.float64).tiny), 0.0, 0.5)
        gain = np.where(gradient > 0.0, gradient * weight - 0.5 * curvature * weight**2, 0.0)
        chosen = grid.apart(grid.peaks(gain), n_insertions)
        # The highest peaks may all be hardly wider than the grain of the values.
        wide = grid.variances > NEAR_GRAIN**2 * self.likelihood.grain
        if not np.all(wide[chosen]):
            chosen += grid.apart(grid.peaks(np.where(wide, gain, 0.0)), n_insertions // 2)
        return [
            Params(
                np.append(params.weights * (1.0 - weight[g]), weight[g]),
                np.append(params.means, grid.means[g]),
                np.append(params.variances, grid.variances[g]),
            )
            for g in dict.fromkeys(chosen)
            if weight[g] > 0.0
        ]


def _distinct(ascents: Iterable[Ascent], n_kept: int, apart: float) -> list[Ascent]:
    """The fits with the highest scores, those that met at one place once."""
    chosen: list[Ascent] = []
    for ascent in sorted(ascents, key=lambda ascent: -ascent.score):
        if len(chosen) < n_kept and all(abs(ascent.loglik - other.loglik) > apart for other in chosen):
            chosen.append(ascent)
    return chosen


def partitions(likelihood: Likelihood, size: int) -> list[Params]:
    """Starts that know nothing of smaller fits: the sorted values cut into equal numbers, and at wide gaps."""
    order = np.argsort(likelihood.x, kind="stable")
    x, counts = likelihood.x[order], likelihood.counts[order]
    after = np.cumsum(counts)
    if x.size < 2 * size:
        return []
    equal = np.searchsorted(after, after[-1] * np.arange(1, size) / size, side="left") + 1
    # The widest gaps that leave at least three values on either side.
    gaps: list[int] = []
    for cut in (np.argsort(-np.diff(x), kind="stable") + 1).tolist():
        if len(gaps) < size - 1 and min(abs(cut - other) for other in (0, x.size, *gaps)) >= 3:
            gaps.append(cut)
    starts = []
    for cuts in [equal.tolist(), sorted(gaps)]:
        parts = list(pairwise([0, *cuts, x.size]))
        if len(parts) != size or any(first >= last for first, last in parts):
            continue
        weights = np.array([counts[first:last].sum() for first, last in parts])
        means = np.array([np.average(x[first:last], weights=counts[first:last]) for first, last in parts])
        variances = [
            np.average((x[first:last] - mean) ** 2, weights=counts[first:last])
            for (first, last), mean in zip(parts, means, strict=True)
        ]
        starts.append(Params(weights / weights.sum(), means, np.array(variances)))
    return starts


def splits(params: Params) -> list[Params]:
    """Starts with one component more: each component as two halves, side by side or one inside the other."""
    starts = []
    for j in range(params.n_components):
        sigma = math.sqrt(params.variances[j])
        for offsets, factors in (((-0.8, 0.8), (0.4, 0.4)), ((0.0, 0.0), (0.25, 2.0))):
            starts.append(
                Params(
                    np.append(np.delete(params.weights, j), np.full(2, 0.5 * params.weights[j])),
                    np.append(np.delete(params.means, j), params.means[j] + sigma * np.array(offsets)),
                    np.append(np.delete(params.variances, j), params.variances[j] * np.array(factors)),
                )
            )
    return starts


def removed(params: Params) -> list[Params]:
    """Starts with one component less: each one removed."""
    starts = []
    for j in range(params.n_components):
        keep = np.arange(params.n_components) != j
        weights = params.weights[keep]
        if weights.sum() > 0:
            starts.append(Params(weights / weights.sum(), params.means[keep], params.variances[keep]))
    return starts


def merged(params: Params) -> list[Params]:
    """Starts with one component less: each pair of neighbours merged."""
    starts = []
    order = np.argsort(params.means, kind="stable")
    for a, b in pairwise(order.tolist()):
        keep = ~np.isin(np.arange(params.n_components), (a, b))
        share = params.weights[[a, b]] / params.weights[[a, b]].sum()
        mean = float(share @ params.means[[a, b]])
        variance = float(share @ (params.variances[[a, b]] + (params.means[[a, b]] - mean) ** 2))
        starts.append(
            Params(
                np.append(params.weights[keep], params.weights[[a, b]].sum()),
                np.append(params.means[keep], mean),
                np.append(params.variances[keep], variance),
            )
        )
    return starts


def never_falling(ascents: list[Ascent]) -> list[Ascent]:
    """The fits for 1, 2, ... components; one below the smaller one is that one, with a component counted twice."""
    kept: list[Ascent] = []
    for ascent in ascents:
        falls = bool(kept) and ascent.loglik < kept[-1].loglik
        if kept and ascent.score < kept[-1].score + (_ROUNDED if falls else 0.0):
            last = kept[-1]
            ascent = Ascent(doubled(last.params), last.loglik, last.remaining_gain, occam=last.occam)
        kept.append(ascent)
    return kept


def doubled(params: Params) -> Params:
    """The same mixture with its heaviest component counted as two halves."""
    j = int(np.argmax(params.weights))
    weights = params.weights.copy()
    weights[j] *= 0.5
    return Params(
        np.append(weights, weights[j]),
        np.append(params.means, params.means[j]),
        np.append(params.variances, params.variances[j]),
    )
