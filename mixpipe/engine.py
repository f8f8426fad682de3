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
from mixpipe.estimators.em import NEGLIGIBLE_GAIN, Ascent, ascend
from mixpipe.likelihood import Likelihood, Params
from mixpipe.model import Cells
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
# The others stop when a step promises less than this (nats), half of what `converged` asks for.
_SMALL_GAIN = 5e-4


@dataclass(frozen=True, eq=False)
class Certificate:
    """What a better mixture could still gain, in nats.

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


@dataclass(frozen=True, eq=False)
class Found:
    """The best fit for each number of components, on all rows, and what was searched on.

    Parameters
    ----------
    ascents : list of Ascent
        In order of their number of components.
    points : Likelihood
        Of the rows, or of a sketch of many rows.
    floor : float
        Lower bound on the variances there, in its scaled units.
    grid : Candidates
        Components that were inserted there.
    """

    ascents: list[Ascent]
    points: Likelihood
    floor: float
    grid: Candidates


def certify(likelihood: Likelihood, found: Found) -> Certificate:
    """The certificate of some fits, from the rows or from a sketch of them; see `docs/method.md`.

    Parameters
    ----------
    likelihood : Likelihood
        Of the rows.
    found : Found
        The fits.
    """
    points, floor, grid = found.points, found.floor, found.grid
    fits = [points.scaled(likelihood.mixture(ascent.params)) for ascent in found.ascents]
    slopes = [steepest(points, fit, floor, grid) for fit in fits]
    bound = loglik_bound(points, fits[-1], floor, grid)
    # On a sketch the bound is how far above the largest fit it lies.
    bound += found.ascents[-1].loglik - points.logpdf(fits[-1])[1]
    return Certificate(slopes, bound, math.sqrt(floor) * points.scale)


def best_fits(
    cells: Cells,
    likelihood: Likelihood,
    floor: float,
    max_components: int,
    *,
    equal_sigmas: bool = False,
    criterion: str = "bic",
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
    progress : callable or None
        Called with a number of components whenever that fit has been found.
    """

    def search(points: Likelihood, its_floor: float, grid: Candidates) -> list[Ascent]:
        finder = Search(points, its_floor, grid, equal_sigmas=equal_sigmas, criterion=criterion, progress=progress)
        return finder.run(max_components)

    crowds = find_crowds(likelihood.x, likelihood.counts)
    if len(cells) <= CERTIFICATE_ROWS:
        on_rows = candidates(likelihood, floor, crowds)
        return Found(search(likelihood, floor, on_rows), likelihood, floor, on_rows)
    means, sigmas = likelihood.centre + likelihood.scale * crowds[0], likelihood.scale * crowds[1]
    low, high = np.quantile(cells.x, (0.1, 0.9))
    first = (float(high - low) or likelihood.scale) * _FIRST_BASE
    # The points have to resolve the narrowest group of rows that may be a component.
    base = min(first, 0.5 * max(float(sigmas.min(initial=np.inf)), math.sqrt(floor) * likelihood.scale))
    for _ in range(_N_SKETCHES):
        coarse, coarse_floor = _points(cells, likelihood, floor, base, _COARSE)
        if len(cells) <= SEARCH_ROWS or coarse.x.size > len(cells) / 2:
            few, few_floor = _points(cells, likelihood, floor, first, _COARSE)
            few_grid = candidates(few, few_floor, few.scaled_groups(means, sigmas))
            found = search(likelihood, floor, candidates(likelihood, floor, crowds))
            return Found(found, few, few_floor, few_grid)
        grid = candidates(coarse, coarse_floor, coarse.scaled_groups(means, sigmas))
        found = search(coarse, coarse_floor, grid)
        values = criteria(found, cells.n_data, criterion)
        chosen = found[int(np.argmin(values))]
        if _resolved(coarse, chosen.params, base) or (0.5 * base / likelihood.scale) ** 2 <= floor:
            break
        base *= _FINER
    # From the coarse points to finer ones, which cost little, and from there to the rows.
    fine, fine_floor = _points(cells, likelihood, floor, base, _FINE)
    finished: list[Ascent] = []
    for fit, value in zip(found, values, strict=True):
        start = fine.scaled(coarse.mixture(fit.params))
        finer = ascend(fine, start, fine_floor, equal_sigmas=equal_sigmas, n_em=0)
        start = likelihood.scaled(fine.mixture(finer.params))
        at_floor = start.variances <= 1.001 * (0.5 * base / likelihood.scale) ** 2
        start = Params(start.weights, start.means, np.where(at_floor, floor, start.variances))
        close = value < min(values) + _CLOSE
        gain = NEGLIGIBLE_GAIN if close else _SMALL_GAIN
        ascent = ascend(likelihood, start, floor, equal_sigmas=equal_sigmas, gain=gain, n_em=0)
        if not close:
            ascent = replace(ascent, entropy=fine.logpdf(finer.params)[2])
        finished.append(ascent)
    return Found(never_falling(finished), coarse, coarse_floor, grid)


def _points(
    cells: Cells, likelihood: Likelihood, floor: float, base: float, fineness: float
) -> tuple[Likelihood, float]:
    """A sketch of the rows, and the lower bound on the variances for it.

    Narrower than half the width that the points resolve, a component would only follow the points.
    """
    points = Likelihood(cells.sketched(base, fineness), likelihood.n_threads)
    return points, max(floor * (likelihood.scale / points.scale) ** 2, (0.5 * base / points.scale) ** 2)


def _resolved(likelihood: Likelihood, params: Params, base: float) -> bool:
    """Whether the points of a sketch lie densely within the narrowest component as it is observed."""
    total = likelihood.derivatives(params).total_var
    return bool(np.sqrt(total.min()) * likelihood.scale >= 1.5 * base)
