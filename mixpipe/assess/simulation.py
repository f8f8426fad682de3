"""Catalogs simulated from a fit: p-values of its quality, and the test of M components against M + 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mixpipe.assess.bootstrap import repeat
from mixpipe.assess.catalogs import draw_catalog
from mixpipe.assess.empirical import limit_statistics
from mixpipe.assess.quality import Quality, assess
from mixpipe.fitting.contract import Demands, Problem
from mixpipe.fitting.engine import engine_for
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array, FitResult

# Up to this many rows catalogs are simulated for p-values; beyond, their limit for many rows serves.
SIMULATED_ROWS = 4000
# And where the convolution of a family takes a quadrature for each row.
_SIMULATED_ROWS_QUADRATURE = 1000


# Rows of a catalog that is simulated for a likelihood ratio.
MOST_ROWS = 10_000_000
# Twice a difference of log-likelihoods is known to this: no gain at all is as likely as any other such.
_SAME = 1e-3
# A mixture with less than this between the bounds of a sample is not drawn from: it is a tail.
_MIN_SHARE = 1e-3


@dataclass(frozen=True)
class LikelihoodRatio:
    """Outcome of the test of M components against M + 1.

    Parameters
    ----------
    statistic : float
        Twice the difference in log-likelihood.
    p_value : float
        Probability of a larger one if there are M components.
    n_draws : int
        Simulated catalogs.
    """

    statistic: float
    p_value: float
    n_draws: int


def _p_value(observed: float, simulated: Array) -> float:
    """The share of catalogs that deviate at least as much, the observed one among them (Davison & Hinkley 1997)."""
    return (1 + int(np.count_nonzero(simulated >= observed))) / (simulated.size + 1)


def _one_by_one(cells: Cells, most: int) -> tuple[Cells, int]:
    """The rows that a simulated catalog has, in an order of their own where cells stand for several, and how many.

    Cells that stand for more than `most` rows are left as they are.

    Each row has one value. Counts stand for as many rows, which have been rounded to the same value; but values that
    are repeated more often than rounding explains are one row each, whose weight says how often it was counted, as
    those of a catalog that was joined with itself. So rows and their counts are the same.
    """
    cells = cells[cells.weights > 0.0]
    single = cells.edges is not None or cells.weight_kind == "importance" or bool(np.all(cells.weights == 1.0))
    if single and cells.resolution.n_repeated == 0.0:
        return cells, len(cells)
    flags = np.zeros(len(cells)) if cells.limits is None else cells.limits
    _, first, inverse = np.unique(
        np.stack([cells.x, cells.err, flags], axis=1), axis=0, return_index=True, return_inverse=True
    )
    times = np.bincount(inverse.ravel(), cells.weights).astype(np.float64)
    merged = cells[first]
    if cells.resolution.n_repeated > 0.0:
        return replace(merged, weights=times, weight_kind="importance"), len(merged)
    n_rows = round(float(times.sum()))
    if n_rows > most:
        return cells, n_rows
    rows = merged[np.repeat(np.arange(first.size), np.rint(times).astype(np.int64))]
    return replace(rows, weights=np.ones(n_rows)), n_rows


def _share_inside(mixture: Mixture, cells: Cells) -> float:
    """Which part of the mixture's values would lie within the bounds of the sample."""
    if cells.truncated is None:
        return 1.0
    low, high = cells.truncated
    return float(np.mean(mixture.share_between(low, cells.x, high, cells.err)[1]))


def quality_pvalues(
    fit: FitResult,
    cells: Cells,
    n_draws: int = 199,
    seed: int = 1,
    *,
    observed: Callable[[], Quality] | None = None,
    n_threads: int | None = None,
) -> tuple[float, float]:
    """p-values of the Kolmogorov-Smirnov and Anderson-Darling statistics of a fit.

    The share of catalogs, simulated from the fitted mixture with the errors and weights of the data and fitted again,
    that deviate at least as much. Above 4000 rows, or 1000 if the convolution of a family is a quadrature, the
    statistics of these catalogs are drawn from their limit for many rows (`mixpipe.assess.empirical.limit_statistics`),
    at a cost that does not grow with the rows.

    Parameters
    ----------
    fit : FitResult
        A fit.
    cells : Cells
        The rows that were fitted.
    n_draws : int
        Simulated catalogs; the smallest possible p-value is ``1 / (n_draws + 1)``.
    seed : int
        Seed of the random streams.
    observed : callable or None
        Gives the quality of the fit, if it is known, and is called last: it may be worked on meanwhile.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    ks_pvalue, ad_pvalue : float
        Nan where there are none: where rows are limits, where a sample is the far tail of the fit, and where more than
        4000 rows without errors have exponential components, whose edge the first of them fixes.

    Raises
    ------
    ValueError
        For no draws.

    Examples
    --------
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> cells = Cells.from_rows(np.linspace(-1.0, 1.0, 300) ** 9, err=0.01)
    >>> max(quality_pvalues(fit_mixture(cells), cells)) < 0.01
    True
    """
    families = [FAMILIES[name] for name in fit.mixture.families]
    most = _SIMULATED_ROWS_QUADRATURE if any(family.by_quadrature for family in families) else SIMULATED_ROWS
    rows, n_rows = _one_by_one(cells, most)
    if cells.limits is not None or _share_inside(fit.mixture, cells) < _MIN_SHARE:
        return math.nan, math.nan
    exact = np.any(cells.err[cells.weights > 0] == 0.0)
    if n_rows > most and exact and any(family.has_edge for family in families):
        return math.nan, math.nan
    if n_rows > most:
        ks, ad = limit_statistics(fit, rows, n_draws, np.random.default_rng(seed))
    else:
        ks, ad = simulated_statistics(fit, rows, n_draws, seed, n_threads=n_threads)
    quality = assess(fit.mixture, cells) if observed is None else observed()
    return _p_value(quality.ks, ks), _p_value(quality.ad, ad)


def simulated_statistics(
    fit: FitResult, cells: Cells, n_draws: int, seed: int, *, n_threads: int | None = None
) -> tuple[Array, Array]:
    """Kolmogorov-Smirnov and Anderson-Darling statistics of catalogs simulated from a fit and fitted again.

    Parameters
    ----------
    fit, cells, n_draws, seed, n_threads
        As in `quality_pvalues`.

    Returns
    -------
    ks, ad : ndarray, shape (n_draws,)
    """
    refit = engine_for(Demands.of(cells, fit.mixture)).refit(cells, fit)

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        catalog = draw_catalog(fit.mixture, cells, rng)
        quality = assess(refit.again(catalog), catalog)
        return quality.ks, quality.ad

    ks, ad = np.array(repeat(draw, n_draws, seed, n_threads)).T
    return ks, ad


def likelihood_ratio_test(
    cells: Cells,
    n_components: int,
    *,
    family: str = "gaussian",
    background: tuple[float, float] | None = None,
    n_draws: int = 99,
    seed: int = 1,
    n_threads: int | None = None,
) -> LikelihoodRatio:
    """Test M components against M + 1 by a parametric bootstrap (McLachlan 1987).

    Twice the gain in log-likelihood has no chi-squared distribution here, since the extra component has no parameters
    where there are M. Catalogs are simulated from the best fit with M, with the errors and weights of the data, and
    the deterministic search finds the best fits with M and with M + 1 for each of them, as for the data.

    In a truncated sample values outside the bounds are drawn again. Where rows are limits, simulated values are, too,
    where they fall beyond the limit of their row; see `mixpipe.assess.censoring` for the limits of the rows
    whose value is known.

    Parameters
    ----------
    cells : Cells
        Rows.
    n_components : int
        M, a background included.
    family : str
        Of the components.
    background : tuple of (float, float) or None
        Range of a uniform background.
    n_draws : int
        Simulated catalogs; the smallest possible p-value is ``1 / (n_draws + 1)``.
    seed : int
        Seed of the random streams.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    LikelihoodRatio
        With a p-value of nan where a sample is the far tail of the fit, which cannot be drawn from.

    Raises
    ------
    ValueError
        For no draws, and as `mixpipe.fitting.general.fit.best_fits`.

    Examples
    --------
    >>> x = np.concatenate([np.linspace(-1, 1, 40) ** 3, 9 + np.linspace(-1, 1, 40) ** 3])
    >>> likelihood_ratio_test(Cells.from_rows(x, 0.2), 1, n_draws=19).p_value
    0.05
    """
    engine = engine_for(Problem(cells, family, background).demands)

    def gain(catalog: Cells, n_threads: int | None) -> tuple[Mixture, float]:
        """The best mixture with M components, and twice the gain of one more."""
        problem = Problem(catalog, family, background, n_threads=n_threads)
        (mixture, fewer), (_, more) = engine.fits(problem, n_components + 1, last=2).maxima
        return mixture, 2.0 * (more - fewer)

    mixture, observed = gain(cells, n_threads)
    if _share_inside(mixture, cells) < _MIN_SHARE:
        return LikelihoodRatio(observed, math.nan, 0)
    rows = _one_by_one(cells, MOST_ROWS)[0]
    statistics = np.array(
        repeat(lambda rng: gain(draw_catalog(mixture, rows, rng), 1)[1], n_draws, seed, n_threads), dtype=np.float64
    )
    return LikelihoodRatio(observed, _p_value(observed - _SAME, statistics), n_draws)
