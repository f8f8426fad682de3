"""Upper limits on the improvement by any mixture: the maximum of the gradient function, and a bound on the
log-likelihood.

With r(m, s) = N(x | m, s^2 + err^2) / p(x), the gradient function D(m, s) = sum (r - 1) is the rate at which a
component at (m, s) raises the log-likelihood of p. The log-likelihood is concave in the mixing distribution, so no
mixture of any number of components exceeds that of p by more than ``n_data ln(1 + max D / n_data) <= max D``
(Lindsay 1983).
The bound is tightest at the best mixing distribution of all, which is found by adding components at the peaks of D and
solving for all weights at once (the constrained Newton method of Wang 2007).
"""

from __future__ import annotations

import math

import numpy as np

from mixpipe.fitting.gaussian.candidates import Candidates
from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.fitting.kernels import newton, passes
from mixpipe.model.results import Array

# Number of peaks that are followed from the candidates to their maxima between them: for the bound, where they are
# added to the mixing distribution, and when only the maximum is needed.
_N_PEAKS = 20
_N_HIGHEST = 5
# The bound is tight enough when it exceeds the log-likelihood of its mixing distribution by less than _CLOSE_BOUND
# nats, or by less than _CLOSE_FRACTION of the improvement that it allows.
_CLOSE_BOUND = 0.2
_CLOSE_FRACTION = 0.2
# If the candidates alone show that the bound exceeds this tolerance by more than this factor, no peaks are followed.
_FAR = 3.0
_MAX_ROUNDS = 40
# Mixing distributions with more points than this occur for data whose likelihood is hardly bounded.
_MAX_POINTS = 150
# Largest number of densities to compute, which takes a few seconds.
_MAX_WORK = 3e9
_MIN_ROUNDS = 8
# Components with less weight than this in the best mixing distribution are dropped from it.
_NO_WEIGHT = 1e-12


def _climbed(
    likelihood: Likelihood, logp: Array, grid: Candidates, gradient: Array, floor: float, n_peaks: int
) -> tuple[Array, Array, Array]:
    """The highest peaks of the gradient function, followed from the candidates to their maxima between them."""
    tops = grid.peaks(gradient)[:n_peaks]
    means, variances, heights = grid.means[tops], grid.variances[tops], gradient[tops]
    steps = grid.steps[tops]
    shifts, factors = (part.ravel() for part in np.meshgrid((-0.5, 0.0, 0.5), (-1.0, 0.0, 1.0)))
    for level in range(3):
        if not means.size:
            break
        # Around each peak, try means within half a step, and widths within a factor that shrinks with the steps.
        around = (means[:, None] + shifts * steps[:, None]).ravel()
        scales = np.maximum(variances, steps**2)[:, None]
        widths = np.maximum(variances[:, None] + scales * (4.0 ** (factors * 0.4**level) - 1.0), floor).ravel()
        values = likelihood.gradient_function(logp, around, widths)[0].reshape(means.size, -1)
        best = np.argmax(values, axis=1)
        rows = np.arange(means.size)
        better = values[rows, best] > heights
        flat = rows * shifts.size + best
        means = np.where(better, around[flat], means)
        variances = np.where(better, widths[flat], variances)
        heights = np.where(better, values[rows, best], heights)
        steps = 0.4 * steps
    return means, variances, heights


def steepest(likelihood: Likelihood, params: Params, floor: float, grid: Candidates) -> float:
    """The maximum of the gradient function of a mixture, in nats; at least zero, its value at a maximum likelihood."""
    logp, _, _ = likelihood.logpdf(params)
    gradient, _ = likelihood.gradient_function(logp, grid.means, grid.variances)
    heights = _climbed(likelihood, logp, grid, gradient, floor, _N_HIGHEST)[2]
    return float(max(heights.max(initial=0.0), gradient.max(initial=0.0)))


def loglik_bound(likelihood: Likelihood, start: Params, floor: float, grid: Candidates) -> float:
    """An upper bound on the log-likelihood of all mixtures whose variances are at least `floor`.

    Parameters
    ----------
    likelihood : Likelihood
        Data.
    start : Params
        The best mixture that is known, in scaled units.
    floor : float
        Lower bound on the variances, in scaled units.
    grid : Candidates
        Components at which the gradient function is evaluated; its peaks are followed between them.

    Returns
    -------
    float
        The smallest bound found. It is valid after any number of rounds, and tightens with their number.
    """
    params = start
    bound = math.inf
    first = math.nan
    work = likelihood.x.size * (grid.means.size + 27 * _N_PEAKS)
    for remaining in reversed(range(min(_MAX_ROUNDS, max(_MIN_ROUNDS, int(_MAX_WORK / work))))):
        logp, loglik, _ = likelihood.logpdf(params)
        gradient, _ = likelihood.gradient_function(logp, grid.means, grid.variances)
        first = loglik if math.isnan(first) else first
        wanted = max(_CLOSE_BOUND, _CLOSE_FRACTION * (bound - first))
        highest = likelihood.n_data * math.log1p(max(float(gradient.max()), 0.0) / likelihood.n_data)
        if highest > _FAR * wanted and remaining > 0:
            # This round does not yield a useful bound, so that the candidates need not be refined.
            tops = grid.peaks(gradient)[:_N_PEAKS]
            means, variances, heights = grid.means[tops], grid.variances[tops], gradient[tops]
            top = float(heights.max(initial=0.0))
        else:
            means, variances, heights = _climbed(likelihood, logp, grid, gradient, floor, _N_PEAKS)
            top = max(float(heights.max(initial=0.0)), 0.0)
            bound = min(bound, loglik + likelihood.n_data * math.log1p(top / likelihood.n_data))
        if params.n_components > _MAX_POINTS or bound - loglik < max(_CLOSE_BOUND, _CLOSE_FRACTION * (bound - first)):
            break
        new = heights > 0.01 * top
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
    return bound


def _best_weights(likelihood: Likelihood, logp: Array, params: Params) -> Params | None:
    """One constrained Newton step in the weights of given components; None if it does not raise the log-likelihood."""
    total = params.variances[:, None] + likelihood.var
    exponent = -0.5 * (likelihood.x - params.means[:, None]) ** 2 / total - 0.5 * np.log(2.0 * np.pi * total) - logp
    # The squares of the ratios are summed; a largest exponent of 300 keeps them finite.
    ratios = np.exp(np.minimum(exponent, 300.0))
    # The log-likelihood minus n_data (sum w - 1), to second order around weights with sum w r = 1.
    gram = passes.weighted_gram(ratios, likelihood.counts)
    weights = newton.nonnegative_maximum(gram, 2.0 * (ratios * likelihood.counts).sum(axis=1) - likelihood.n_data)
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
