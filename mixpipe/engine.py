"""The best fits for 1, 2, ... components: small data on the rows, large data on a sketch and then on the rows.

The search climbs from many starts, and each climb walks over the data in every step. On many rows it therefore works
on a sketch of some thousand points, and only the fits that it ends with are finished on the rows: what is reported is
the maximum over all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixpipe.candidates import candidates
from mixpipe.certificate import loglik_bound, steepest
from mixpipe.estimators.em import NEGLIGIBLE_GAIN, Ascent, ascend
from mixpipe.likelihood import Likelihood, Params
from mixpipe.model import Cells, bic
from mixpipe.search import Search, doubled

# Up to this many rows the search works on the rows themselves.
SEARCH_ROWS = 20_000
# Up to this many rows the certificate is that of the rows.
CERTIFICATE_ROWS = 4_000
# The first sketch resolves widths down to this fraction of the range of the central 80 % of the values; the next ones
# a fraction of that of the one before.
_FIRST_BASE = 1 / 64
_FINER = 1 / 16
_N_SKETCHES = 4
# Width of the cells of the sketch that is searched on, in total widths.
_COARSE = 1.0
# Fits that the choice may fall on are finished on the rows to the end: those within this of the best BIC on the sketch.
_CLOSE_BIC = 30.0
# The others stop when a step promises less than this (nats), well below what `converged` asks for.
_SMALL_GAIN = 1e-4


@dataclass(frozen=True, eq=False)
class Certificate:
    """What a better mixture could still gain, in nats.

    Parameters
    ----------
    gradient_max : list of float
        Maximum of the gradient function of each fit.
    loglik_bound : float
        No mixture of any number of components has a higher log-likelihood.
    """

    gradient_max: list[float]
    loglik_bound: float


def certify(cells: Cells, likelihood: Likelihood, floor: float, ascents: list[Ascent]) -> Certificate:
    """The certificate of some fits; above `CERTIFICATE_ROWS` rows it is that of a sketch, see `docs/method.md`."""
    if len(cells) <= CERTIFICATE_ROWS:
        data, data_floor = likelihood, floor
    else:
        base = _first_base(cells, likelihood)
        sketched = cells.sketched(base, _COARSE)
        data = Likelihood(sketched, likelihood.n_threads)
        data_floor = max(floor * (likelihood.scale / data.scale) ** 2, (0.5 * base / data.scale) ** 2)
    grid = candidates(data, data_floor)
    fits = [data.scaled(likelihood.mixture(ascent.params)) for ascent in ascents]
    slopes = [steepest(data, fit, data_floor, grid) for fit in fits]
    bound = loglik_bound(data, fits[-1], data_floor, grid)
    # On a sketch the bound is how far above the largest fit it lies.
    return Certificate(slopes, bound + ascents[-1].loglik - data.logpdf(fits[-1])[1])


def best_fits(
    cells: Cells,
    likelihood: Likelihood,
    floor: float,
    max_components: int,
    *,
    equal_sigmas: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[Ascent]:
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
    progress : callable or None
        Called with a number of components whenever that fit has been found.
    """
    if len(cells) <= SEARCH_ROWS:
        return Search(likelihood, floor, equal_sigmas=equal_sigmas, progress=progress).run(max_components)
    base = _first_base(cells, likelihood)
    for _ in range(_N_SKETCHES):
        sketched = cells.sketched(base, _COARSE)
        if len(sketched) > len(cells) / 2:
            return Search(likelihood, floor, equal_sigmas=equal_sigmas, progress=progress).run(max_components)
        on_sketch = Likelihood(sketched, likelihood.n_threads)
        # Narrower than half the base, a component on the sketch would only follow its points.
        sketch_floor = max(floor * (likelihood.scale / on_sketch.scale) ** 2, (0.5 * base / on_sketch.scale) ** 2)
        found = Search(on_sketch, sketch_floor, equal_sigmas=equal_sigmas, progress=progress).run(max_components)
        criteria = [bic(fit.loglik, 3 * fit.params.n_components - 1, cells.n_data) for fit in found]
        chosen = found[int(np.argmin(criteria))]
        if _resolved(on_sketch, chosen.params, base) or (0.5 * base / likelihood.scale) ** 2 <= floor:
            break
        base *= _FINER
    # From the coarse points to finer ones, which cost little, and from there to the rows.
    on_points = Likelihood(cells.sketched(base), likelihood.n_threads)
    point_floor = max(floor * (likelihood.scale / on_points.scale) ** 2, (0.5 * base / on_points.scale) ** 2)
    finished: list[Ascent] = []
    for fit, criterion in zip(found, criteria, strict=True):
        start = on_points.scaled(on_sketch.mixture(fit.params))
        finer = ascend(on_points, start, point_floor, equal_sigmas=equal_sigmas, n_em=0)
        start = likelihood.scaled(on_points.mixture(finer.params))
        variances = np.where(start.variances <= 1.001 * (0.5 * base / likelihood.scale) ** 2, floor, start.variances)
        close = criterion < min(criteria) + _CLOSE_BIC
        ascent = ascend(
            likelihood,
            Params(start.weights, start.means, variances),
            floor,
            equal_sigmas=equal_sigmas,
            gain=NEGLIGIBLE_GAIN if close else _SMALL_GAIN,
            n_em=0,
        )
        if finished and ascent.loglik < finished[-1].loglik:
            smaller = finished[-1]
            ascent = Ascent(doubled(smaller.params), smaller.loglik, smaller.remaining_gain)
        finished.append(ascent)
    return finished


def _first_base(cells: Cells, likelihood: Likelihood) -> float:
    """The width that the first sketch resolves, in the unit of the values."""
    low, high = np.quantile(cells.x, (0.1, 0.9))
    return (float(high - low) or likelihood.scale) * _FIRST_BASE


def _resolved(likelihood: Likelihood, params: Params, base: float) -> bool:
    """Whether the points of a sketch lie densely within the narrowest component as it is observed."""
    total = likelihood.derivatives(params).total_var
    return bool(np.sqrt(total.min()) * likelihood.scale >= 1.5 * base)
