"""The test of two releases for one population: are the rows of both those of one mixture, fitted to all of them?

One step of Newton's method, with the expected information, moves the parameters of the pooled fit to where the rows of
each release would have them (Rao's score test). The difference of the two steps is tested. Unlike the difference of two
fits it needs no matching of components, and its distribution is known well even for few rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr

from mixpipe.assess.comparison.influence import (
    Common,
    Influence,
    NoInfluence,
    Response,
    covariance_of_differences,
    has_response,
)
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.cells import Cells
from mixpipe.model.results import Array, FitResult

# Distance, in nats, of a fit from its maximum if its remaining gain is not known.
GAIN = 1e-6
# Directions in parameter space in which the variance of the difference is below this fraction of its variances are
# omitted, because the error of the linear response is larger there.
_FLAT = 1e-4
# Number of simulated differences. A p-value of 0.0025, which one column of 20 needs, is then known to a fifth of it.
DRAWS = 9_999
# If fewer rows than this are in only one of the releases, they are simulated, since a sum over few rows is not normal.
_FEW_ROWS = 100
# Number of simulated rows from which these sums are drawn, and of rows that are computed at a time.
_BANK = _BLOCK = 1 << 14


@dataclass(frozen=True)
class PooledTest:
    """The result of `pooled_test`.

    Parameters
    ----------
    pvalue : float
        Probability of differences as improbable as these if the population is the same.
    unc_ratio : float
        Geometric mean of the ratios of the new to the old uncertainties that the rows of each release would give one
        and the same mixture.
    """

    pvalue: float
    unc_ratio: float


def pooled_test(fits: tuple[FitResult, FitResult], cells: tuple[Cells, Cells], common: Common) -> PooledTest:
    """Test whether two releases are samples of one population.

    Parameters
    ----------
    fits : tuple of (FitResult, FitResult)
        The old and the new fit. The pooled fit has the larger of their numbers of components.
    cells : tuple of (Cells, Cells)
        The rows of each.
    common : Common
        Rows that both have.

    Raises
    ------
    NoInfluence
        If the response of the fits to their rows is not known.
    """
    apart = rows_apart(cells, common)
    fit = _pooled_fit(fits, cells, common)
    sides = old, new = Influence(fit, cells[0], expected=True), Influence(fit, cells[1], expected=True)
    covariance = covariance_of_differences(old, new, [(j, j) for j in range(fit.n_components)], common)
    by_release = [side.covariance(side.cells.squared_weights) for side in sides]
    # A fit that is g nats below its maximum is off by sqrt(2 g) uncertainties.
    covariance += 2.0 * max(fit.remaining_gain, GAIN) * (by_release[0] + by_release[1])
    free = np.ones((fit.n_components, 3), dtype=bool)
    free[:, 0], free[fit.boundary, 2] = fit.n_components > 1, False
    places = np.flatnonzero(free)
    differences = (step(new) - step(old))[None]
    if are_few(apart, cells):
        differences = np.vstack([differences, simulated_steps(sides, apart, covariance)])
    sizes = np.sqrt(np.diag(covariance)[places])
    correlation = covariance[np.ix_(places, places)] / np.outer(sizes, sizes)
    ratios = np.diag(by_release[1])[places] / np.diag(by_release[0])[places]
    return PooledTest(
        _pvalue(differences[:, places] / sizes, correlation), float(np.exp(0.5 * np.mean(np.log(ratios))))
    )


def rows_apart(cells: tuple[Any, Any], common: Common) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the rows that are in the old, or in the new release only."""
    return (
        np.setdiff1d(np.arange(len(cells[0])), common.old),
        np.setdiff1d(np.arange(len(cells[1])), common.new),
    )


def are_few(apart: tuple[NDArray[np.intp], NDArray[np.intp]], cells: tuple[Any, Any]) -> bool:
    """Whether so few rows are in only one of the releases that they are simulated."""
    return sum(rows.size for rows in apart) < _FEW_ROWS and all(np.all(each.weights == 1.0) for each in cells)


def _pooled_fit(fits: tuple[FitResult, FitResult], cells: tuple[Cells, Cells], common: Common) -> FitResult:
    """The maximum for the rows of both releases, to which the fit with more components leads.

    Common rows count once, and revised ones with both of their values.
    """
    old, new = cells
    if not all(map(has_response, fits, cells)) or old.weight_kind != new.weight_kind:
        raise NoInfluence("available for Gaussian components fitted to values by maximum likelihood only")
    added = np.ones(len(old), dtype=bool)
    added[common.old] = common.revised(old, new)
    try:
        rows = new + old[added] if added.any() else new
    except ValueError as error:
        raise NoInfluence(str(error)) from error
    # What one release does not resolve, both together do not.
    floor = max(fit.sigma_floor for fit in fits)
    for start in sorted(fits, key=lambda fit: (fit.n_components, fit.n_data), reverse=True):
        fit = fit_mixture(rows, n_components=start.n_components, start=start.mixture, sigma_floor=floor, n_threads=1)
        # All rows together may have no place for a component that few rows of one release called for.
        if fit.mixture.weights.min() * fit.n_data >= 1.0:
            return fit
    raise NoInfluence("a component has no rows")


def step(side: Response) -> Array:
    """The change of the parameters of the pooled fit to which the rows of a release lead."""
    total: Array = np.zeros(())
    for start in range(0, len(side.cells), _BLOCK):
        part = slice(start, start + _BLOCK)
        total = total + side.cells.weights[part] @ side.of(part)
    return total


def simulated_steps(
    sides: tuple[Response, Response], apart: tuple[NDArray[np.intp], NDArray[np.intp]], covariance: Array
) -> Array:
    """Differences of the steps, with the rows that are in only one release drawn from the mixture."""
    rng = np.random.default_rng(0)
    rest, drawn = covariance, np.zeros((DRAWS, len(covariance)))
    for sign, side, rows in zip((-1.0, 1.0), sides, apart, strict=True):
        counts = np.zeros(len(side.cells))
        counts[rows] = 1.0
        rest = rest - side.covariance(counts)
        if rows.size:
            drawn += sign * _sums_of_rows(side, rows, rng)
    # What common rows contribute is normal.
    return drawn + normal_draws(rest, rng)


def normal_draws(covariance: Array, rng: np.random.Generator) -> Array:
    """Normal numbers with a covariance that is positive but for rounding."""
    sizes, basis = np.linalg.eigh(0.5 * (covariance + covariance.T))
    return rng.standard_normal((DRAWS, len(covariance))) @ (basis * np.sqrt(np.maximum(sizes, 0.0))).T


def _sums_of_rows(side: Response, rows: NDArray[np.intp], rng: np.random.Generator) -> Array:
    """What as many rows with the errors of these rows change if they are drawn from the mixture, for each draw."""
    bank = side.of_drawn(rows, _BANK, rng)
    total = np.zeros((DRAWS, bank.shape[1]))
    for _ in range(rows.size):
        total += bank[rng.integers(_BANK, size=DRAWS)]
    return total


def _pvalue(scaled: Array, correlation: Array) -> float:
    """An upper bound on the probability of the first of these differences, which are in units of their uncertainties.

    It is twice the smaller of two probabilities: that of chi-square of all parameters together, which sees what lies in
    a direction of its own, and that of the largest difference with Bonferroni's bound, which sees the change of one of
    several parameters. Each is that of normal differences, or the share of the others that are as large if that is
    larger.
    """
    return min(1.0, 2.0 * min(_calibrated(each) for each in probabilities(scaled, correlation)))


def probabilities(scaled: Array, correlation: Array) -> tuple[Array, Array]:
    """Probabilities of normal differences, in units of their uncertainties: by chi-square, and of the largest one."""
    sizes, basis = np.linalg.eigh(correlation)
    kept = sizes > _FLAT
    n_directions = int(kept.sum())
    together = chdtrc(n_directions, np.sum((scaled @ (basis[:, kept] / np.sqrt(sizes[kept]))) ** 2, axis=1))
    largest = n_directions * 2.0 * ndtr(-np.abs(scaled).max(axis=1))
    return together, largest


def _calibrated(probabilities: Array) -> float:
    """The first of these probabilities, or the share of the others that are as small if that is larger."""
    found, drawn = probabilities[0], probabilities[1:]
    n_reached = int(np.count_nonzero(drawn <= found))
    return max(float(found), (1 + n_reached) / (1 + drawn.size)) if n_reached else float(found)
