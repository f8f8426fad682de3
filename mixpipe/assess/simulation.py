"""P-values from catalogs simulated from a fit: of its quality, and of the test of M components against M + 1."""

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
from mixpipe.model.constraints import NO_CONSTRAINTS, Constraints
from mixpipe.model.families import FAMILIES
from mixpipe.model.families.noisy import by_quadrature
from mixpipe.model.mixture import Mixture
from mixpipe.model.regimes import MOST_SIMULATED_ROWS, SIMULATED_ROWS, SIMULATED_ROWS_QUADRATURE
from mixpipe.model.results import Array, FitResult

# Precision of twice a difference of log-likelihoods; smaller differences are indistinguishable from no gain.
SAME_LOGLIK = 1e-3


@dataclass(frozen=True)
class LikelihoodRatio:
    """Outcome of the test of M components against M + 1.

    Parameters
    ----------
    statistic : float
        Twice the difference in log-likelihood.
    p_value : float
        Probability of at least this statistic if there are M components.
    n_draws : int
        Number of simulated catalogs.
    """

    statistic: float
    p_value: float
    n_draws: int


def p_value(observed: float, simulated: Array) -> float:
    """The share of catalogs, including the observed one, that deviate at least as much (Davison & Hinkley 1997)."""
    return (1 + int(np.count_nonzero(simulated >= observed))) / (simulated.size + 1)


def _one_by_one(cells: Cells, most: int) -> tuple[Cells, int]:
    """The rows of a simulated catalog, in a different order if cells stand for several rows, and their number.

    Cells that stand for more than `most` rows in total are returned unchanged.

    Each row has one value. Counts stand for as many rows, which were rounded to the same value. However, values that
    are repeated more often than rounding explains, such as those of a catalog that was joined with itself, are one row
    each, whose weight is the number of repetitions. Repeated rows and counted rows are thus treated alike.
    """
    cells = cells[cells.weights > 0.0]
    if cells.are_rounded:
        return cells, round(cells.n_data) if cells.weight_kind == "counts" else len(cells)
    single = cells.edges is not None or cells.weight_kind == "importance" or bool(np.all(cells.weights == 1.0))
    if single and cells.resolution.n_repeated == 0.0:
        return cells, len(cells)
    flags = np.zeros(len(cells)) if cells.limits is None else cells.limits
    errors = [cells.err] if cells.noise is None else list(cells.noise.arrays.values())
    rows_alike = [cells.x, *errors, flags]
    if cells.window is not None and cells.window.by_row:
        rows_alike += [*cells.window.low.T, *cells.window.high.T]
    if cells.memberships is not None:
        rows_alike += [*cells.memberships.T]
    _, first, inverse = np.unique(np.stack(rows_alike, axis=1), axis=0, return_index=True, return_inverse=True)
    times = np.bincount(inverse.ravel(), cells.weights).astype(np.float64)
    merged = cells[first]
    if cells.resolution.n_repeated > 0.0:
        return replace(merged, weights=times, weight_kind="importance"), len(merged)
    n_rows = round(float(times.sum()))
    if n_rows > most:
        return cells, n_rows
    rows = merged[np.repeat(np.arange(first.size), np.rint(times).astype(np.int64))]
    return replace(rows, weights=np.ones(n_rows)), n_rows


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

    A p-value is the share of simulated catalogs that deviate at least as much. The catalogs are drawn from the fitted
    mixture with the errors and weights of the data, and are fitted again. Above 4000 rows, or 1000 if the convolution
    of a family requires a quadrature, the statistics of these catalogs are drawn from their limit for many rows
    (`mixpipe.assess.empirical.limit_statistics`), at a cost that does not grow with the number of rows.

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
        Function that returns the quality of the fit, if it is computed elsewhere; it is called last, so that it can be
        computed concurrently.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    ks_pvalue, ad_pvalue : float
        The p-values; nan if they cannot be computed: if more than 4000 rows without errors are fitted by exponential
        components, whose edge the first row fixes, or something is known of the memberships of as many rows.

    Raises
    ------
    ValueError
        If `n_draws` is not positive.

    Examples
    --------
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> cells = Cells.from_rows(np.linspace(-1.0, 1.0, 300) ** 9, err=0.01)
    >>> max(quality_pvalues(fit_mixture(cells, n_components=1), cells)) < 0.01
    True
    """
    families = [FAMILIES[name] for name in fit.mixture.families]
    most = (
        SIMULATED_ROWS_QUADRATURE if any(by_quadrature(family, cells.errors) for family in families) else SIMULATED_ROWS
    )
    rows, n_rows = _one_by_one(cells, most)
    exact = np.any(cells.err[cells.weights > 0] == 0.0)
    if n_rows > most and exact and any(family.has_edge for family in families):
        return math.nan, math.nan
    if n_rows > most and cells.memberships is not None:
        # The limit for many rows is that of rows which have the same weights.
        return math.nan, math.nan
    if n_rows > most:
        ks, ad = limit_statistics(fit, rows, n_draws, np.random.default_rng(seed))
    else:
        ks, ad = simulated_statistics(fit, rows, n_draws, seed, n_threads=n_threads)
    quality = assess(fit.mixture, cells) if observed is None else observed()
    return p_value(quality.ks, ks), p_value(quality.ad, ad)


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
    refit = engine_for(Demands.of_fit(cells, fit)).refit(cells, fit)

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
    constraints: Constraints = NO_CONSTRAINTS,
    mixed: tuple[str, ...] = (),
    n_draws: int = 99,
    seed: int = 1,
    n_threads: int | None = None,
) -> LikelihoodRatio:
    """Test M components against M + 1 by the parametric bootstrap (McLachlan 1987).

    Twice the gain in log-likelihood does not follow a chi-squared distribution here, since the parameters of the extra
    component are undefined if there are only M. Catalogs are simulated from the best fit with M, with the errors and
    weights of the data, and the deterministic search finds the best fits with M and with M + 1 for each of them, as for
    the data.

    In a truncated sample, values outside the bounds are drawn again. If rows are limits, a simulated value that lies
    beyond the limit of its row becomes a limit, too; see `mixpipe.assess.censoring` for the limits of rows whose value
    is known.

    Parameters
    ----------
    cells : Cells
        Rows.
    n_components : int
        Number of components M, including a background.
    family : str
        Family of the components.
    background : tuple of (float, float) or None
        Range of a uniform background.
    constraints : Constraints
        What is given of the components or shared by them, with either number.
    mixed : tuple of str
        Families among which each component is chosen; empty if all are of `family`.
    n_draws : int
        Simulated catalogs; the smallest possible p-value is ``1 / (n_draws + 1)``.
    seed : int
        Seed of the random streams.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    LikelihoodRatio
        The result of the test.

    Raises
    ------
    ValueError
        If `n_draws` is not positive, or if the mixtures cannot be fitted to these cells.

    Examples
    --------
    >>> x = np.concatenate([np.linspace(-1, 1, 40) ** 3, 9 + np.linspace(-1, 1, 40) ** 3])
    >>> likelihood_ratio_test(Cells.from_rows(x, 0.2), 1, n_draws=19).p_value
    0.05
    """
    engine = engine_for(Problem(cells, family, background, constraints, mixed).demands)

    def gain(catalog: Cells, n_threads: int | None) -> tuple[Mixture, float]:
        """The best mixture with M components, and twice the gain in log-likelihood by one more."""
        problem = Problem(catalog, family, background, constraints, mixed, n_threads=n_threads)
        (mixture, fewer), (_, more) = engine.fits(problem, n_components + 1, last=2).maxima
        return mixture, 2.0 * (more - fewer)

    mixture, observed = gain(cells, n_threads)
    rows = _one_by_one(cells, MOST_SIMULATED_ROWS)[0]
    statistics = np.array(
        repeat(lambda rng: gain(draw_catalog(mixture, rows, rng), 1)[1], n_draws, seed, n_threads), dtype=np.float64
    )
    return LikelihoodRatio(observed, p_value(observed - SAME_LOGLIK, statistics), n_draws)
