"""The best fits for 1, 2, ... components: small data on the rows, large data on a sketch and then on the rows.

The search climbs from many starts, and each climb walks over the data in every step. On many rows it therefore works
on a sketch of some thousand points, and only the fits that it ends with are finished on the rows: what is reported is
the maximum over all rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mixpipe.candidates import Candidates, candidates, find_crowds
from mixpipe.certificate import loglik_bound, steepest
from mixpipe.estimators.em import Ascent, ascend
from mixpipe.likelihood import Likelihood, Params
from mixpipe.model import Array, Cells
from mixpipe.search import Search, criteria, never_falling

# Up to this many rows the search works on the rows themselves.
SEARCH_ROWS = 20_000
# Up to this many rows the certificate is that of the rows.
CERTIFICATE_ROWS = 4_000
# The first sketch resolves widths down to this fraction of the range of the central 80 % of the values; the next ones
# a fraction of that of the one before.
_FIRST_BASE = 1 / 256
_FINER = 1 / 16
_N_SKETCHES = 4
# Width of the cells of the sketch that is searched on, in total widths.
_COARSE = 1.0
# And of the one between it and the rows.
_FINE = 0.5
# Fits that the choice may fall on are finished on the rows to the end: those whose criterion
# comes within this of the best on the sketch.
_CLOSE = 30.0
# The others stop when a step promises less than this (nats), half of what `converged` asks for, and may take so many
# steps with the curvature of the points.
_SMALL_GAIN = 5e-4
_CHORD_STEPS = 4


@dataclass(frozen=True, eq=False)
class Certificate:
    """What a better mixture could still gain, in nats; nan where unknown.

    Parameters
    ----------
    gradient_max : list of float
        Maximum of the gradient function of each fit.
    loglik_bound : float
        No mixture of any number of components has a higher log-likelihood.
    bound_sigma : float
        The sigmas of those mixtures are at least this, in the unit of the data: points of a sketch say nothing of
        narrower components.
    """

    gradient_max: list[float]
    loglik_bound: float
    bound_sigma: float


def _unknown(ascents: list[Ascent]) -> Certificate:
    return Certificate([math.nan] * len(ascents), math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class Found:
    """The best fit for each number of components, on all rows, and their certificate: nan where not asked for."""

    ascents: list[Ascent]
    certificate: Certificate


def best_fits(
    cells: Cells,
    likelihood: Likelihood,
    floor: float,
    max_components: int,
    *,
    equal_sigmas: bool = False,
    criterion: str = "bic",
    certified: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Found:
    """The best fit found for each number of components, on all rows.

    Parameters
    ----------
    cells : Cells
        The data.
    likelihood : Likelihood
        Of these cells.
    floor : float
        Lower bound on the variances, in the scaled units of `likelihood`.
    max_components : int
        Largest number of components.
    equal_sigmas : bool
        Give all components one width.
    criterion : str
        What will choose among the fits.
    certified : bool
        Find out, too, how much better any mixture could be.
    progress : callable or None
        Called with a number of components whenever that fit has been found.
    """

    def searcher(points: Likelihood, its_floor: float, grid: Candidates) -> Search:
        return Search(points, its_floor, grid, equal_sigmas=equal_sigmas, criterion=criterion, progress=progress)

    if len(cells) <= CERTIFICATE_ROWS:
        grid = candidates(likelihood, floor)
        found = searcher(likelihood, floor, grid).run(max_components)
        return Found(found, _Judge(likelihood, floor, grid).certificate(found) if certified else _unknown(found))
    low, high = np.quantile(likelihood.x, (0.1, 0.9))
    first = (float(high - low) or 1.0) * _FIRST_BASE

    def sketch(base: float, fineness: float) -> Likelihood:
        points = cells.sketched(base * likelihood.scale, fineness)
        return Likelihood(points, likelihood.n_threads, like=likelihood)

    (crowds, coarse), fine = likelihood.together(
        lambda: (find_crowds(likelihood.x, likelihood.counts), sketch(first, _COARSE)), lambda: sketch(first, _FINE)
    )
    first_coarse = coarse
    # The points have to resolve the narrowest group of rows that may be a component.
    base = min(first, 0.5 * max(float(crowds[1].min(initial=np.inf)), math.sqrt(floor)))
    for attempt in range(_N_SKETCHES):
        if base < first:
            coarse, fine = sketch(base, _COARSE), sketch(base, _FINE)
        if len(cells) <= SEARCH_ROWS or coarse.x.size > len(cells) / 2:
            found = searcher(likelihood, floor, candidates(likelihood, floor, crowds)).run(max_components)
            judge = _judge(first_coarse, floor, first, crowds)
            return Found(found, judge.certificate(found) if certified else _unknown(found))
        judge = _judge(coarse, floor, base, crowds)
        finder = searcher(coarse, judge.floor, judge.grid)
        found = finder.run(max_components)
        values = criteria(found, cells.n_data, criterion)
        chosen = found[int(np.argmin(values))]
        if _resolved(coarse, chosen.params, base) or (0.5 * base) ** 2 <= floor or attempt == _N_SKETCHES - 1:
            break
        base *= _FINER

    def finish() -> list[Ascent]:
        return [
            _finished(
                likelihood, fine, [fit, *rivals[1:]], floor, judge.floor, equal_sigmas, value < min(values) + _CLOSE
            )
            for fit, rivals, value in zip(found, finder.pools, values, strict=False)
        ]

    if not certified:
        return Found(never_falling(finish()), _unknown(found))
    # The certificate is about the points and may start from the fits on them.
    finished, certificate = likelihood.together(finish, lambda: judge.certificate(found))
    finished = never_falling(finished)
    bound = certificate.loglik_bound - found[-1].loglik + finished[-1].loglik
    return Found(finished, replace(certificate, loglik_bound=bound))


def _finished(
    likelihood: Likelihood,
    fine: Likelihood,
    fits: list[Ascent],
    floor: float,
    points_floor: float,
    equal_sigmas: bool,
    close: bool,
) -> Ascent:
    """Fits on coarse points, brought to the finer ones, which costs little, and the best of them to the rows."""
    # The coarse points may rank two maxima of almost equal height wrongly.
    on_fine = [ascend(fine, fit.params, points_floor, equal_sigmas=equal_sigmas, n_em=0) for fit in fits]
    finer = max(on_fine, key=lambda ascent: ascent.loglik)
    at_floor = finer.params.variances <= 1.001 * points_floor
    start = replace(finer.params, variances=np.where(at_floor, floor, finer.params.variances))
    if not close:
        # The gradient on the rows, with the curvature of the points.
        ascent = ascend(
            likelihood,
            start,
            floor,
            equal_sigmas=equal_sigmas,
            gain=_SMALL_GAIN,
            n_em=0,
            max_steps=_CHORD_STEPS,
            hessian=finer.hessian,
        )
        if ascent.remaining_gain < _SMALL_GAIN:
            return replace(ascent, entropy=fine.logpdf(finer.params)[2])
        start = ascent.params
    return ascend(likelihood, start, floor, equal_sigmas=equal_sigmas, n_em=0)


@dataclass(frozen=True, eq=False)
class _Judge:
    """What certificates are made from: rows or points, the lower bound on the variances, and candidates."""

    points: Likelihood
    floor: float
    grid: Candidates

    def certificate(self, ascents: list[Ascent]) -> Certificate:
        """The certificate of some fits; on a sketch the bound is how far above the largest fit it lies."""
        points, floor, grid = self.points, self.floor, self.grid
        bound = loglik_bound(points, ascents[-1].params, floor, grid)
        bound += ascents[-1].loglik - points.logpdf(ascents[-1].params)[1]
        slopes = [steepest(points, ascent.params, floor, grid) for ascent in ascents]
        return Certificate(slopes, bound, math.sqrt(floor) * points.scale)


def _judge(points: Likelihood, floor: float, base: float, crowds: tuple[Array, Array]) -> _Judge:
    # Narrower than half the width that the points resolve, a component would only follow the points.
    points_floor = max(floor, (0.5 * base) ** 2)
    return _Judge(points, points_floor, candidates(points, points_floor, crowds))


def _resolved(likelihood: Likelihood, params: Params, base: float) -> bool:
    """Whether the points of a sketch lie densely within the narrowest component as it is observed."""
    return bool(np.sqrt(likelihood.derivatives(params).total_var.min()) >= 1.5 * base)
