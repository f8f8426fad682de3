"""Upper limits on the improvement by any mixture: the maximum of the gradient function, and a bound on the
log-likelihood.

With r(m, v) = N(x | m, v + err^2) / p(x), the gradient function D(m, v) = sum (r - 1) is the rate at which a component
of mean m and variance v raises the log-likelihood of p. The log-likelihood is concave in the mixing distribution, so
that no mixture of any number of components exceeds that of p by more than
``n_data ln(1 + max D / n_data) <= max D`` (Lindsay 1983).

A wide component is a mixture of narrow ones: D(m, v) is an average of D(., v') for each v' < v. The maximum of D is
therefore that of the narrowest components that are allowed, a function of m alone. It is bounded from above by
subdividing the range of the values until the bounds of all intervals are close to the highest value that was found.

The bound on the log-likelihood is tightest at the best mixing distribution of all, which is found by adding components
at the peaks of D and solving for all weights at once (the constrained Newton method of Wang 2007). It starts from a
single component, so that it does not depend on the fits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixpipe.fitting.gaussian.candidates import Candidates
from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.fitting.gaussian.search import moments_start
from mixpipe.fitting.kernels import passes
from mixpipe.model.results import Array

# The maximum of D is known to within _CLOSE_TOP nats, or to this fraction of it.
_CLOSE_TOP, _CLOSE_TOP_FRACTION = 0.01, 1e-3
# Number of intervals of the first division, and largest number of terms to compute for one maximum, which takes a
# second.
_FIRST_INTERVALS = 64
_MAX_TERMS = 2e8
# Number of peaks that are added to the mixing distribution in a round.
_N_PEAKS = 20
# The bound is tight enough when it exceeds the log-likelihood of its mixing distribution by less than this (nats).
_CLOSE_BOUND = 0.2
_MAX_ROUNDS = 40
# Mixing distributions with more points than this occur for data whose likelihood is hardly bounded.
_MAX_POINTS = 150
# Largest number of densities to keep at a time, which take 50 megabytes.
_MAX_DENSITIES = 6e6
# Largest number of densities to compute, which takes a few seconds.
_MAX_WORK = 3e9
_MIN_ROUNDS = 8
# Components with less weight than this in the best mixing distribution are dropped from it.
_NO_WEIGHT = 1e-12


@dataclass(frozen=True, eq=False)
class _Peaks:
    """The maximum of the gradient function of a mixture over components of the smallest variance.

    Parameters
    ----------
    bound : float
        Upper bound on the maximum, in nats, which exceeds it by little unless the data are too many; at least zero,
        the value at a maximum likelihood.
    means, heights : ndarray
        Places of peaks, and the gradient function there.
    """

    bound: float
    means: Array
    heights: Array


def highest(likelihood: Likelihood, params: Params, floor: float) -> float:
    """The maximum of the gradient function of a mixture over all components whose variances are at least `floor`."""
    return _highest(likelihood, likelihood.logpdf(params)[0], floor).bound


def _highest(likelihood: Likelihood, logp: Array, floor: float) -> _Peaks:
    low, high = float(likelihood.x.min()), float(likelihood.x.max())
    edges = np.linspace(low, high, _FIRST_INTERVALS + 1)
    centres, halves = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    # Rounding must leave no gaps between intervals.
    halves *= 1.0 + 1e-9
    means, heights = np.empty(0), np.empty(0)
    settled, n_terms = 0.0, 0.0
    while True:
        values, bounds = likelihood.bounds_of_gradient(logp, floor, centres, halves)
        means, heights = np.concatenate([means, centres]), np.concatenate([heights, values])
        n_terms += likelihood.x.size * centres.size
        top = max(float(heights.max()), 0.0)
        unsettled = bounds > top + max(_CLOSE_TOP, _CLOSE_TOP_FRACTION * top)
        settled = max(settled, float(bounds[~unsettled].max(initial=0.0)))
        if not unsettled.any() or n_terms > _MAX_TERMS:
            break
        quarter = 0.5 * halves[unsettled]
        centres = np.concatenate([centres[unsettled] - quarter, centres[unsettled] + quarter])
        halves = np.concatenate([quarter, quarter])
    peaks = _local_maxima(means, heights)[:_N_PEAKS]
    return _Peaks(max(settled, float(bounds.max()), 0.0), means[peaks], heights[peaks])


def _local_maxima(means: Array, heights: Array) -> NDArray[np.intp]:
    """Indices of the positive heights that exceed those at the neighbouring means, highest first."""
    order = np.argsort(means, kind="stable")
    level = np.concatenate([[-np.inf], heights[order], [-np.inf]])
    top = order[(level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:]) & (level[1:-1] > 0.0)]
    return top[np.lexsort((means[top], -heights[top]))]


@dataclass(frozen=True, eq=False)
class Bound:
    """An upper bound on the log-likelihood of any mixture, and the mixing distribution from which it follows.

    Parameters
    ----------
    loglik : float
        The bound.
    params : Params
        The best mixing distribution that was found, in scaled units.
    """

    loglik: float
    params: Params


def loglik_bound(likelihood: Likelihood, floor: float, grid: Candidates, start: Params | None = None) -> Bound:
    """An upper bound on the log-likelihood of all mixtures whose variances are at least `floor`.

    Parameters
    ----------
    likelihood : Likelihood
        Data.
    floor : float
        Lower bound on the variances, in scaled units.
    grid : Candidates
        Components to add to the mixing distribution.
    start : Params or None
        A mixing distribution that is nearly the best; by default, the search for it starts from one component.

    Returns
    -------
    Bound
        The smallest bound found. It is valid after any number of rounds, and tightens with their number.
    """
    params = start or moments_start(likelihood)
    params = replace(params, variances=np.maximum(params.variances, floor))
    bound = math.inf
    work = likelihood.x.size * grid.means.size
    most = min(_MAX_POINTS, int(_MAX_DENSITIES / likelihood.x.size))
    for _ in range(min(_MAX_ROUNDS, max(_MIN_ROUNDS, int(_MAX_WORK / work)))):
        logp, loglik, _ = likelihood.logpdf(params)
        narrow = _highest(likelihood, logp, floor)
        bound = min(bound, loglik + _excess(likelihood, narrow.bound))
        if params.n_components > most or bound - loglik < _CLOSE_BOUND:
            break
        gradient, _ = likelihood.gradient_function(logp, grid.means, grid.variances)
        wide = grid.peaks(gradient)[:_N_PEAKS]
        means = np.concatenate([grid.means[wide], narrow.means])
        variances = np.concatenate([grid.variances[wide], np.full(narrow.means.size, floor)])
        heights = np.concatenate([gradient[wide], narrow.heights])
        new = heights > 0.01 * narrow.bound
        # A row far from all components must get one now, because the log-likelihood cannot be expanded around p = 0.
        new_weight = min(1.0 / likelihood.n_data, 0.5 / max(int(new.sum()), 1))
        share = np.where(heights[new] > 10.0 * likelihood.n_data, new_weight, 0.0)
        wider = Params(
            np.concatenate([params.weights * (1.0 - share.sum()), share]),
            np.concatenate([params.means, means[new]]),
            np.concatenate([params.variances, variances[new]]),
        )
        if share.any():
            logp = likelihood.logpdf(wider)[0]
        better = _best_weights(likelihood, logp, wider)
        if better is None and not share.any():
            break
        params = better or wider
    return Bound(bound, params)


def _excess(likelihood: Likelihood, top: float) -> float:
    """Largest difference in log-likelihood to a mixture whose gradient function has the maximum `top`."""
    return likelihood.n_data * math.log1p(max(top, 0.0) / likelihood.n_data)


def _best_weights(likelihood: Likelihood, logp: Array, params: Params) -> Params | None:
    """One constrained Newton step in the weights of given components; None if it does not raise the log-likelihood."""
    total = params.variances[:, None] + likelihood.var
    exponent = -0.5 * (likelihood.x - params.means[:, None]) ** 2 / total - 0.5 * np.log(2.0 * np.pi * total) - logp
    # The squares of the ratios are summed; a largest exponent of 300 keeps them finite.
    ratios = np.exp(np.minimum(exponent, 300.0))
    # The log-likelihood minus n_data (sum w - 1), to second order around weights with sum w r = 1.
    gram = passes.weighted_gram(ratios, likelihood.counts)
    target = 2.0 * (ratios * likelihood.counts).sum(axis=1) - likelihood.n_data
    weights = nonnegative_maximum(gram, target, params.weights)
    if not (np.all(np.isfinite(weights)) and weights.sum() > 0.0):
        return None
    weights = np.maximum(weights, 0.0) / np.maximum(weights, 0.0).sum()
    with np.errstate(divide="ignore"):
        before = float((likelihood.counts * np.log(params.weights @ ratios)).sum())
        # Take the best of the halved steps rather than the first that gains: a full step may remove the component that
        # a distant row needs.
        best, highest = params.weights, 0.0
        for halving in range(12):
            mixed = params.weights + 0.5**halving * (weights - params.weights)
            gain = float((likelihood.counts * np.log(mixed @ ratios)).sum()) - before
            if gain > highest:
                best, highest = mixed, gain
            elif highest > 0.0:
                break
    if not highest > 0.0:
        return None
    keep = best > _NO_WEIGHT
    return Params(best[keep] / best[keep].sum(), params.means[keep], params.variances[keep])


def nonnegative_maximum(gram: Array, target: Array, start: Array) -> Array:
    """The w >= 0 that maximises ``target w - w gram w / 2``, by an active-set method (Bro & de Jong 1997).

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        Positive semidefinite.
    target : ndarray, shape (n,)
    start : ndarray, shape (n,)
        Where to start; not negative. The nearer the maximum, the fewer systems are solved.

    Returns
    -------
    ndarray, shape (n,)
    """
    w = start.copy()
    passive = start > 0.0
    # The division of weight between nearly equal components is undetermined; a small ridge settles it.
    diagonal = np.diag(gram)
    ridged = gram + np.diag(1e-10 * diagonal + 1e-14 * max(float(diagonal.max()), 1e-300))
    negligible = 1e-10 * (np.abs(target) + 1e-300)
    for _ in range(4 * target.size):
        while passive.any():
            index = np.flatnonzero(passive)
            solution = _solved(ridged[np.ix_(index, index)], target[index])
            if solution is None:
                return w
            if solution.min() > 0.0:
                w[:] = 0.0
                w[index] = solution
                break
            # Go back to the point where the first weight reaches zero.
            old = w[index]
            falling = (solution <= 0.0) & (old > solution)
            fraction = np.min(old[falling] / (old[falling] - solution[falling]), initial=1.0)
            mixed = old + fraction * (solution - old)
            gone = (mixed <= 1e-300) | ((solution <= 0.0) & (mixed <= 1e-14))
            w[index] = np.where(gone, 0.0, mixed)
            passive[index[gone]] = False
        slope = target - gram @ w
        rising = ~passive & (slope > negligible)
        if not rising.any():
            break
        passive[np.argmax(np.where(rising, slope, -np.inf))] = True
    return w


def _solved(matrix: Array, vector: Array) -> Array | None:
    """The solution of a system whose matrix is positive definite; None if it is not safely so."""
    try:
        lower = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    if not np.all(np.diag(lower) ** 2 > 1e-12 * np.diag(matrix)):
        return None
    return np.asarray(np.linalg.solve(matrix, vector))
