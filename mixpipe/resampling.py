"""Bootstrap: uncertainties by resampling rows, p-values of the fit quality, and M components against M + 1.

Each draw has a random stream of its own, so that no number depends on the order or the threads in which draws are done.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtr, ndtri

from mixpipe.empirical import limit_statistics
from mixpipe.engine import SEARCH_ROWS, best_fits
from mixpipe.estimators.em import CONVERGED_GAIN, ascend
from mixpipe.likelihood import Likelihood, Params, available_threads
from mixpipe.model import Array, Cells, FitResult, Mixture, Uncertainties
from mixpipe.profile import Intervals, check_gaussian, check_level
from mixpipe.quality import assess

# Draws are climbed until a step promises less than this (nats): 0.014 standard errors from the maximum.
_GAIN = 1e-4
# Resampling sketches: their points resolve this fraction of the narrowest component as it is observed.
_BASE = 0.5
# Row weights within this factor share a sketch.
_WEIGHT_CLASS = math.sqrt(2.0)
# Up to this many rows catalogs are simulated for p-values; beyond, their limit for many rows serves.
SIMULATED_ROWS = 4000
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Draws:
    """Mixtures fitted to resampled rows.

    Parameters
    ----------
    mixture : Mixture
        The fit of the rows themselves.
    weights, means, sigmas : ndarray, shape (n_draws, n_components)
        Parameters of each draw; components in the order of `mixture`, whatever their means.
    n_unconverged : int
        Draws that did not converge; they are among the others, where they ended.
    """

    mixture: Mixture
    weights: Array
    means: Array
    sigmas: Array
    n_unconverged: int

    def uncertainties(self) -> Uncertainties:
        """Standard deviations of the draws.

        A sigma on the boundary gets one, too: how far from it the resampled rows put it.
        """
        return Uncertainties(*(np.std(part, axis=0, ddof=1) for part in (self.weights, self.means, self.sigmas)))

    def intervals(self, level: float = 0.68) -> Intervals:
        """Bias-corrected percentiles of the draws (Efron 1981).

        Plain percentiles where half of the draws are below the estimate. Where more are, the estimate itself is likely
        to be below the truth by as much, and both ends move up: resampled sigmas are on average smaller than the one
        that was fitted, as that one is smaller than the true one.

        Parameters
        ----------
        level : float
            Probability of each interval.
        """
        z = check_level(level) * np.array([-1.0, 1.0])
        return Intervals(
            *(
                np.stack([_percentiles(draws, value, z) for draws, value in zip(part.T, estimate, strict=True)], axis=1)
                for part, estimate in (
                    (self.weights, self.mixture.weights),
                    (self.means, self.mixture.means),
                    (self.sigmas, self.mixture.sigmas),
                )
            )
        )


def _percentiles(draws: Array, estimate: float, z: Array) -> Array:
    """Bias-corrected percentiles for some normal quantiles."""
    # Draws equal to the estimate, such as a sigma of zero, are half below it. Of none or all below half a draw is the
    # other side.
    below = np.mean(draws < estimate) + 0.5 * np.mean(draws == estimate)
    bias = ndtri(np.clip(below, 0.5 / draws.size, 1.0 - 0.5 / draws.size))
    return np.asarray(np.quantile(draws, ndtr(2.0 * bias + z), method="weibull"))


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


def _draws(task: Callable[[np.random.Generator], _T], n_draws: int, seed: int, n_threads: int | None) -> list[_T]:
    """A task done `n_draws` times, each with a random stream of its own."""
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1, found {n_draws}")
    streams = [np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(n_draws)]
    n_threads = n_threads or available_threads()
    if n_threads == 1:
        return [task(stream) for stream in streams]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(task, streams))


def _p_value(observed: float, simulated: Array) -> float:
    """The share of catalogs that deviate at least as much, the observed one among them (Davison & Hinkley 1997)."""
    return (1 + int(np.count_nonzero(simulated >= observed))) / (simulated.size + 1)


def _has_equal_sigmas(fit: FitResult) -> bool:
    return fit.n_params != 3 * fit.n_components - 1


@dataclass(frozen=True, eq=False)
class _Resampled:
    """What is drawn from: points, the rows that each stands for, and the weight of each of those rows."""

    points: Cells
    counts: Array
    row_weights: Array


def _resampled(cells: Cells, fit: FitResult) -> _Resampled:
    used = cells.weights > 0
    x, err, weights = cells.x[used], cells.err[used], cells.weights[used]
    # Points of sketches stand for quarters of whole numbers of rows.
    counted = bool(np.all(weights * 4.0 % 1.0 == 0.0))
    if x.size > SEARCH_ROWS:
        likelihood = Likelihood(cells)
        total = likelihood.derivatives(likelihood.scaled(fit.mixture)).total_var
        base = _BASE * likelihood.scale * math.sqrt(float(total.min()))
        classes = np.zeros(x.size) if counted else np.floor(np.log(weights) / math.log(_WEIGHT_CLASS))
        found = []
        for label in np.unique(classes):
            own = classes == label
            sketch = Cells(x[own], err[own], weights[own]).sketched(base)
            # With this weight for each the sum of squared weights, and so the scatter of a draw, is that of the rows.
            row_weight = 1.0 if counted else float(np.sum(weights[own] ** 2) / np.sum(weights[own]))
            found.append(_Resampled(sketch, sketch.weights / row_weight, np.full(len(sketch), row_weight)))
        if sum(len(part.points) for part in found) < 0.5 * x.size:
            return _Resampled(
                sum((part.points for part in found[1:]), found[0].points),
                np.concatenate([part.counts for part in found]),
                np.concatenate([part.row_weights for part in found]),
            )
    counts, row_weights = (weights, np.ones_like(weights)) if counted else (np.ones_like(weights), weights)
    return _Resampled(Cells(x, err, weights), counts, row_weights)


def matched(reference: Params, params: Params, total_var: Array) -> list[int]:
    """For each component of a mixture the index of the component of another one that corresponds to it.

    The pairs have the smallest sum of squared differences in weight, mean and sigma, each in units of its uncertainty
    for a component that stands alone: ``w (1 - w)``, ``T / w`` and ``T / 2 w``, over the number of rows.

    Parameters
    ----------
    reference, params : Params
        Two mixtures with one number of components, in one unit.
    total_var : ndarray, shape (n_components,)
        Observed variances T of the components of `reference`.
    """
    w, v = reference.weights[:, None], total_var[:, None]
    shifts = (reference.means[:, None] - params.means) ** 2
    shifts += 2.0 * (np.sqrt(reference.variances)[:, None] - np.sqrt(params.variances)) ** 2
    changes = (w - params.weights) ** 2 / np.maximum(w * (1.0 - w), np.finfo(np.float64).tiny)
    return linear_sum_assignment(w * shifts / v + changes)[1].tolist()


def bootstrap(cells: Cells, fit: FitResult, n_draws: int, seed: int, *, n_threads: int | None = None) -> Draws:
    """Fit the mixture again to rows that are drawn with replacement (Efron 1979).

    Weights that are whole numbers count rows: a draw is multinomial, as if each of the rows were there by itself. With
    other weights, as many rows as there are are drawn, and keep their weights. Above 20,000 rows the points of a
    sketch are drawn in place of the rows that they stand for, so that a draw costs the same for any number of rows.
    Each draw is climbed from the fit, not searched for its highest maximum.

    Parameters
    ----------
    cells : Cells
        The data that were fitted.
    fit : FitResult
        Their fit.
    n_draws : int
        How often.
    seed : int
        Seed of the random streams.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    Draws

    Raises
    ------
    ValueError
        For no draws, or cells or a mixture that `mixpipe.profile.check_gaussian` refuses.

    Examples
    --------
    >>> from mixpipe.selection import fit_mixture
    >>> cells = Cells.from_rows(np.linspace(-1.0, 1.0, 100), err=0.1)
    >>> unc = bootstrap(cells, fit_mixture(cells), n_draws=400, seed=1).uncertainties()
    >>> bool(abs(unc.means[0] - cells.x.std() / 10.0) < 0.01)
    True
    """
    check_gaussian(cells, fit.mixture)
    rows = _resampled(cells, fit)
    likelihood = Likelihood(rows.points, 1)
    start = likelihood.scaled(fit.mixture)
    floor = (fit.sigma_floor / likelihood.scale) ** 2
    total_var = likelihood.derivatives(start).total_var
    n_rows, shares = round(float(rows.counts.sum())), rows.counts / rows.counts.sum()
    equal_sigmas = _has_equal_sigmas(fit)

    def draw(rng: np.random.Generator) -> tuple[Array, bool]:
        weights = rng.multinomial(n_rows, shares) * rows.row_weights
        drawn = Likelihood(Cells(rows.points.x, rows.points.err, weights), 1, like=likelihood)
        ascent = ascend(drawn, start, floor, equal_sigmas=equal_sigmas, gain=_GAIN, n_em=0)
        params = ascent.params
        order = matched(start, params, total_var)
        parts = params.weights, params.means, np.sqrt(params.variances)
        return np.stack([part[order] for part in parts]), ascent.remaining_gain < CONVERGED_GAIN

    found = _draws(draw, n_draws, seed, n_threads)
    weights, means, sigmas = np.stack([parts for parts, _ in found], axis=1)
    return Draws(
        fit.mixture,
        weights,
        likelihood.centre + likelihood.scale * means,
        likelihood.scale * sigmas,
        sum(not converged for _, converged in found),
    )


def _counts_rows(weights: Array) -> bool:
    """Whether weights are numbers of rows."""
    return bool(np.all(weights % 1.0 == 0.0))


def _simulator(mixture: Mixture, cells: Cells) -> Callable[[np.random.Generator], Cells]:
    """Draws catalogs of a mixture with the errors and weights of some cells."""
    used = cells.weights > 0
    err, weights = cells.err[used], cells.weights[used]
    if _counts_rows(weights):
        err = np.repeat(err, weights.astype(np.int64))
        weights = np.ones_like(err)
    return lambda rng: Cells(mixture.sample(err.size, rng) + err * rng.standard_normal(err.size), err, weights)


def quality_pvalues(
    fit: FitResult, cells: Cells, n_draws: int = 199, seed: int = 1, *, n_threads: int | None = None
) -> tuple[float, float]:
    """p-values of the Kolmogorov-Smirnov and Anderson-Darling statistics of a fit.

    The share of catalogs, simulated from the fitted mixture with the errors and weights of the data and fitted again,
    that deviate at least as much. Above 4000 rows the statistics of these catalogs are drawn from their limit for many
    rows (`mixpipe.empirical.limit_statistics`), at a cost that does not grow with the rows.

    Parameters
    ----------
    fit : FitResult
        A fit.
    cells : Cells
        The rows that were fitted. Weights that are whole numbers count rows.
    n_draws : int
        Simulated catalogs; the smallest possible p-value is ``1 / (n_draws + 1)``.
    seed : int
        Seed of the random streams.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    ks_pvalue, ad_pvalue : float

    Raises
    ------
    ValueError
        As `bootstrap`.

    Examples
    --------
    >>> from mixpipe.selection import fit_mixture
    >>> cells = Cells.from_rows(np.linspace(-1.0, 1.0, 300) ** 9, err=0.01)
    >>> max(quality_pvalues(fit_mixture(cells), cells)) < 0.01
    True
    """
    check_gaussian(cells, fit.mixture)
    observed = assess(fit.mixture, cells)
    n_rows = cells.n_data if _counts_rows(cells.weights) else np.count_nonzero(cells.weights)
    if n_rows > SIMULATED_ROWS:
        ks, ad = limit_statistics(fit, cells, n_draws, np.random.default_rng(seed))
    else:
        ks, ad = simulated_statistics(fit, cells, n_draws, seed, n_threads=n_threads)
    return _p_value(observed.ks, ks), _p_value(observed.ad, ad)


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
    simulate = _simulator(fit.mixture, cells)
    equal_sigmas = _has_equal_sigmas(fit)

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        catalog = simulate(rng)
        likelihood = Likelihood(catalog, 1)
        floor = (fit.sigma_floor / likelihood.scale) ** 2
        start = likelihood.scaled(fit.mixture)
        ascent = ascend(likelihood, start, floor, equal_sigmas=equal_sigmas, gain=_GAIN, n_em=0)
        quality = assess(likelihood.mixture(ascent.params), catalog)
        return quality.ks, quality.ad

    ks, ad = np.array(_draws(draw, n_draws, seed, n_threads)).T
    return ks, ad


def likelihood_ratio_test(
    cells: Cells, n_components: int, *, n_draws: int = 99, seed: int = 1, n_threads: int | None = None
) -> LikelihoodRatio:
    """Test M components against M + 1 by a parametric bootstrap (McLachlan 1987).

    Twice the gain in log-likelihood has no chi-squared distribution here, since the extra component has no parameters
    where there are M. Catalogs are simulated from the best fit with M, with the errors and weights of the data, and
    the deterministic search finds the best fits with M and with M + 1 for each of them, as for the data.

    Parameters
    ----------
    cells : Cells
        Rows. Weights that are whole numbers count rows.
    n_components : int
        M.
    n_draws : int
        Simulated catalogs; the smallest possible p-value is ``1 / (n_draws + 1)``.
    seed : int
        Seed of the random streams.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Returns
    -------
    LikelihoodRatio

    Raises
    ------
    ValueError
        As `bootstrap`.

    Examples
    --------
    >>> x = np.concatenate([np.linspace(-1, 1, 40) ** 3, 9 + np.linspace(-1, 1, 40) ** 3])
    >>> likelihood_ratio_test(Cells.from_rows(x, 0.2), 1, n_draws=19).p_value
    0.05
    """
    likelihood, found, observed = _gain(cells, n_components, cells.resolution, n_threads)
    mixture = likelihood.mixture(found)
    check_gaussian(cells, mixture)
    simulate = _simulator(mixture, cells)

    def draw(rng: np.random.Generator) -> float:
        return _gain(simulate(rng), n_components, cells.resolution, 1)[2]

    statistics = np.array(_draws(draw, n_draws, seed, n_threads))
    return LikelihoodRatio(observed, _p_value(observed, statistics), n_draws)


def _gain(
    cells: Cells, n_components: int, sigma_floor: float, n_threads: int | None
) -> tuple[Likelihood, Params, float]:
    """The likelihood, its best fit with M components, and twice the gain of one more."""
    likelihood = Likelihood(cells, n_threads)
    floor = (sigma_floor / likelihood.scale) ** 2
    fewer, more = best_fits(cells, likelihood, floor, n_components + 1).ascents[-2:]
    return likelihood, fewer.params, 2.0 * (more.loglik - fewer.loglik)
