"""Deterministic global search for the maximum of the likelihood with 1, 2, ... components.

The likelihood usually has many local maxima. From the best fit with M components, the search makes starts with M + 1 by
inserting a component where, according to the gradient function, it raises the likelihood most, and by splitting each
component. It then goes back down by removing and merging components, and keeps the fits that are better than those
found on the way up. No random numbers are used.
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
from mixpipe.model.regimes import FULL_SEARCH_ROWS, THREADED_CELLS


@dataclass(frozen=True)
class Breadth:
    """The breadth of the search for one number of components.

    Parameters
    ----------
    n_insertions : int
        Number of insertions from which to climb, for each fit in the pool of the next smaller size.
    race : tuple of (int, int)
        For each round, the number of Newton steps and the number of starts that continue after them.
    n_pool : int
        Number of distinct fits to keep, from which larger and smaller fits are started.
    gain : float
        Predicted gain of a step, in nats, below which a climb ends.
    """

    n_insertions: int
    race: tuple[tuple[int, int], ...]
    n_pool: int
    gain: float


FULL = Breadth(n_insertions=10, race=((4, 12), (8, 6), (16, 4)), n_pool=3, gain=NEGLIGIBLE_GAIN)
# For many data, where good starts stand out.
LEAN = Breadth(n_insertions=8, race=((3, 8), (8, 4)), n_pool=2, gain=NEGLIGIBLE_GAIN)
# For many data and numbers of components beyond those that the criterion may still choose.
BRIEF = Breadth(n_insertions=4, race=((2, 5), (8, 2)), n_pool=1, gain=1e-4)
# Number of components above the criterion's choice up to which LEAN is used.
_BEYOND = 2

# How a component is split: shares of the halves, offsets in widths, factors of the variances.
Split = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
SPLITS: tuple[Split, ...] = (((0.5, 0.5), (-0.8, 0.8), (0.4, 0.4)), ((0.5, 0.5), (0.0, 0.0), (0.25, 2.0)))
# One half inside the other, for data in which other starts end on a few rows.
_NESTED: tuple[Split, ...] = tuple(
    ((share, 1.0 - share), (0.0, 0.0), factors)
    for share in (0.3, 0.6, 0.9)
    for factors in ((0.0, 1.5), (0.0, 3.0), (0.5, 1.5), (0.7, 4.0))
)

# Fits whose log-likelihoods end within this (nats) are the same; during the race, those within _MET are.
_SAME = 1e-3
_MET = 1e-2
# A start whose next step has a predicted gain below this (nats) is not advanced until the end of the race.
_QUICK_GAIN = 0.01
# A fit counts as better than another if its score is higher by more than this (nats).
_BETTER = 1e-4
# Largest number of rounds down and up again, and the number of additional components from which they begin.
_N_ROUNDS = 4
_AHEAD = 2
# Scores that differ by less than this differ only by rounding.
_ROUNDED = 1e-9


def moments_start(likelihood: Likelihood) -> Params:
    """One component with the mean and the error-corrected variance of the data."""
    counts = likelihood.counts / likelihood.n_data
    # Not computed by BLAS, whose last digits depend on its number of threads.
    mean = float(np.sum(counts * likelihood.x))
    variance = float(np.sum(counts * ((likelihood.x - mean) ** 2 - likelihood.var)))
    typical = float(np.sum(counts * likelihood.var))
    return Params(np.ones(1), np.array([mean]), np.array([max(variance, 0.01 * typical)]))


def criteria(ascents: list[Ascent], n_data: float, criterion: str) -> list[float]:
    """AIC or BIC of the scores of some fits; BIC also stands in for ICL, whose entropies are not yet known."""
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
        Components to insert; by default they are derived from the data.
    criterion : str
        Criterion that will choose among the fits; those that it cannot choose any more may get less effort.
    lean : bool
        Whether the cells are points of a sketch, in which case the data are many even if the cells are few.
    progress : callable or None
        Called with the number of components whenever a fit has been found.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        floor: float,
        grid: Candidates | None = None,
        *,
        criterion: str = "bic",
        lean: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.likelihood = likelihood
        self.floor = floor
        self.criterion = criterion
        self.lean = lean or likelihood.x.size > FULL_SEARCH_ROWS
        self.progress = progress or (lambda n_components: None)
        self.grid = grid or candidates(likelihood, floor)
        self.workers: ThreadPoolExecutor | None = None
        self.pools: list[list[Ascent]] = []
        # The pools at the time when the fits were taken from them.
        self.settled: list[list[Ascent]] = []
        # Fits from which starts have been made already; the same starts would lead to the same maxima.
        self.grown: set[Ascent] = set()
        self.reduced: set[Ascent] = set()

    def run(self, max_components: int) -> list[Ascent]:
        """The best fit found for each number of components, in order.

        Each of them uses the way back down from the next `_AHEAD` numbers of components, and nothing found beyond
        these. The fit for a number of components therefore does not depend on the largest number that is tried.
        """
        self.pools = [self._climb([moments_start(self.likelihood)], FULL)]
        self.progress(1)
        self.settled = []
        # With equal errors, the likelihood of a single component has only one maximum.
        ahead = 0 if max_components == 1 and np.ptp(self.likelihood.var) == 0.0 else _AHEAD
        for size in range(2, max_components + 1 + ahead):
            effort = self._effort(size)
            if effort is BRIEF:
                # Fits that the criterion cannot choose any more do not affect those before them.
                self.settled += self.pools[len(self.settled) :]
            if size > max_components and (effort is BRIEF or len(self.settled) >= max_components):
                break
            self.pools.append(self._climb(self._grown(size - 1, effort), effort))
            self._look_for_regular(size, effort)
            if effort is not BRIEF:
                self._settle(len(self.settled) + 1, size)
            if size - _AHEAD > len(self.settled):
                self.settled.append(self.pools[len(self.settled)])
            if size <= max_components:
                self.progress(size)
        self.settled += self.pools[len(self.settled) :]
        return never_falling([pool[0] for pool in self.settled[:max_components]])

    def _settle(self, first: int, last: int) -> None:
        """Go down from the last number of components to the first and up again, as long as any fit improves."""
        for _ in range(_N_ROUNDS):
            if not self._revise(list(range(first, last + 1))):
                break

    def _look_for_regular(self, size: int, effort: Breadth) -> None:
        """Where all climbs ended on a few rows, climb again from other ways to split."""
        smaller = self.pools[size - 2][0]
        if self.pools[size - 1][0].occam > smaller.occam and self.pools[size - 1][0].score < smaller.score:
            starts = splits(smaller.params, _NESTED)
            self._add(size, _distinct(self._ascend(starts, gain=effort.gain, n_em=2), FULL.n_pool, _SAME))

    def _effort(self, size: int) -> Breadth:
        if not self.lean:
            return FULL
        values = criteria([pool[0] for pool in self.pools], self.likelihood.n_data, self.criterion)
        return LEAN if size <= int(np.argmin(values)) + 1 + _BEYOND else BRIEF

    def _revise(self, sizes: list[int]) -> bool:
        """One round down and up among these numbers of components; returns whether any fit improved."""
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

    def _add(self, size: int, ascents: list[Ascent]) -> bool:
        """Add fits to a pool; returns whether its best fit improved."""
        pool = self.pools[size - 1]
        self.pools[size - 1] = _distinct([*pool, *ascents], FULL.n_pool, _SAME)
        return self.pools[size - 1][0].score > pool[0].score + _BETTER

    def _climb(self, starts: Iterable[Params], effort: Breadth) -> list[Ascent]:
        """Race the starts, a few steps at a time, and finish the best; returns distinct fits, highest first."""
        runners = list(starts)
        if not runners:
            return []
        n_em = 2
        for n_steps, n_kept in effort.race:
            ascents = self._ascend(runners, climbing=True, gain=_QUICK_GAIN, n_em=n_em, max_steps=n_steps)
            runners = [ascent.params for ascent in _distinct(ascents, n_kept, _MET)]
            n_em = 0
        return _distinct(self._ascend(runners, gain=effort.gain, n_em=0), effort.n_pool, _SAME)

    def _ascend(self, starts: list[Params], *, climbing: bool = False, **options: Any) -> list[Ascent]:
        """Climb from each start, to the end unless they go on climbing, on several threads if passes are worth it."""

        def climb(start: Params) -> Ascent:
            ascent = ascend(self.likelihood, start, self.floor, **options)
            occam = self.likelihood.occam(ascent.params, ascent.fewest, climbing=climbing)
            return replace(ascent, occam=occam)

        if self.likelihood.n_threads == 1 or self.likelihood.x.size < THREADED_CELLS or len(starts) == 1:
            return [climb(start) for start in starts]
        self.workers = self.workers or ThreadPoolExecutor(self.likelihood.n_threads)
        return list(self.workers.map(climb, starts))

    def _grown(self, size: int, effort: Breadth) -> list[Params]:
        """Starts with one more component than the fits with `size`."""
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
        """Starts with one component fewer than these fits."""
        starts: list[Params] = []
        for ascent in larger:
            if ascent not in self.reduced:
                starts += removed(ascent.params) + merged(ascent.params)
                self.reduced.add(ascent)
        return starts

    def _insertions(self, params: Params, n_insertions: int) -> list[Params]:
        """Starts with one more component, inserted at the peaks of the gradient function."""
        grid = self.grid
        logp, _, _ = self.likelihood.logpdf(params)
        gradient, curvature = self.likelihood.gradient_function(logp, grid.means, grid.variances)
        weight = np.clip(gradient / np.maximum(curvature, np.finfo(np.float64).tiny), 0.0, 0.5)
        gain = np.where(gradient > 0.0, gradient * weight - 0.5 * curvature * weight**2, 0.0)
        chosen = grid.apart(grid.peaks(gain), n_insertions)
        # All of the highest peaks may be hardly wider than the grain of the values.
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
    """The fits with the highest scores, without duplicates that reached the same maximum."""
    chosen: list[Ascent] = []
    for ascent in sorted(ascents, key=lambda ascent: -ascent.score):
        if len(chosen) < n_kept and all(abs(ascent.loglik - other.loglik) > apart for other in chosen):
            chosen.append(ascent)
    return chosen


def partitions(likelihood: Likelihood, size: int) -> list[Params]:
    """Starts that are independent of smaller fits: the sorted values divided into equal numbers, and at wide gaps."""
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


def splits(params: Params, ways: Iterable[Split] = SPLITS) -> list[Params]:
    """Starts with one more component: each component split into two, side by side or one inside the other."""
    starts = []
    for j in range(params.n_components):
        sigma = math.sqrt(params.variances[j])
        for shares, offsets, factors in ways:
            starts.append(
                Params(
                    np.append(np.delete(params.weights, j), params.weights[j] * np.array(shares)),
                    np.append(np.delete(params.means, j), params.means[j] + sigma * np.array(offsets)),
                    np.append(np.delete(params.variances, j), params.variances[j] * np.array(factors)),
                )
            )
    return starts


def removed(params: Params) -> list[Params]:
    """Starts with one component fewer: each component removed in turn."""
    starts = []
    for j in range(params.n_components):
        keep = np.arange(params.n_components) != j
        weights = params.weights[keep]
        if weights.sum() > 0:
            starts.append(Params(weights / weights.sum(), params.means[keep], params.variances[keep]))
    return starts


def merged(params: Params) -> list[Params]:
    """Starts with one component fewer: each pair of neighbours merged in turn."""
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
    """The fits for 1, 2, ... components, each worse than the one before replaced by that with a component split."""
    kept: list[Ascent] = []
    for ascent in ascents:
        falls = bool(kept) and ascent.loglik < kept[-1].loglik
        if kept and ascent.score < kept[-1].score + (_ROUNDED if falls else 0.0):
            last = kept[-1]
            params, gain = doubled(last.params), last.remaining_gain
            ascent = Ascent(params, last.loglik, gain, occam=last.occam, uneven=last.uneven)
        kept.append(ascent)
    return kept


def doubled(params: Params) -> Params:
    """The same mixture with its heaviest component split into two equal halves."""
    j = int(np.argmax(params.weights))
    weights = params.weights.copy()
    weights[j] *= 0.5
    return Params(
        np.append(weights, weights[j]),
        np.append(params.means, params.means[j]),
        np.append(params.variances, params.variances[j]),
    )
