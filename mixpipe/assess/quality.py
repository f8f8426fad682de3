"""The agreement of a mixture with the data: statistics of the probability integral transform."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.resolution import rounded_from
from mixpipe.model.results import Array

_BLOCK = 1 << 16
# Above this transform, the probability above a value is computed directly, since one minus that below has lost its
# digits.
_UPPER_TAIL = 0.999
# Intervals of the transform that are narrower than this count as steps; and the logits at which the integral is
# truncated.
_STEP_WIDTH = 1e-9
_LOGITS = np.linspace(-25.0, 25.0, 201)
# A fit is rejected if the probability that a catalog drawn from it deviates as much is at most this.
REJECTED = 0.01


@dataclass(frozen=True)
class Quality:
    """Distance between data and model.

    Parameters
    ----------
    ks : float
        Kolmogorov-Smirnov statistic of the probability integral transform: 0 is perfect, 1 the worst.
    ks_pvalue : float
        Probability of at least this value under the fitted model; nan if it was not computed. The textbook p-value is
        not valid here, since the parameters were fitted to the same data.
    ad : float
        Anderson-Darling statistic of the transform, which is more sensitive in the tails.
    ad_pvalue : float
        As `ks_pvalue`.
    """

    ks: float
    ks_pvalue: float
    ad: float
    ad_pvalue: float = math.nan

    @property
    def verdict(self) -> str:
        """``ok`` or ``rejected`` according to the p-values, or ``untested`` if there are none.

        >>> Quality(0.02, 0.4, 0.3, 0.002).verdict
        'rejected'
        """
        lowest = min(self.ks_pvalue, self.ad_pvalue)
        return "untested" if math.isnan(lowest) else "rejected" if lowest <= REJECTED else "ok"


def pit(mixture: Mixture, cells: Cells) -> Array:
    """Probability integral transform: the probability, under the model, of a value below each one, given its error.

    The transform is uniform between 0 and 1 if the model is correct. In a truncated sample, it is conditional on the
    value being between the bounds.

    Examples
    --------
    >>> pit(Mixture([1.0], [0.0], [1.0]), Cells.from_rows([0.0], 0.5))
    array([0.5])
    """
    if cells.truncated is None:
        return _by_blocks(mixture.cdf, cells)
    low, high = cells.truncated

    def within(x: Array, err: Array) -> Array:
        below, inside = mixture.share_between(low, x, high, err)
        return np.clip(below / inside, 0.0, 1.0)

    return _by_blocks(within, cells)


def _by_blocks(function: Callable[[Array, Array], Array], cells: Cells) -> Array:
    """Evaluate a function of values and errors in blocks, since its intermediate arrays have an axis of components."""
    starts = range(0, len(cells), _BLOCK)
    return np.concatenate([function(cells.x[a : a + _BLOCK], cells.err[a : a + _BLOCK]) for a in starts])


def assess(mixture: Mixture, cells: Cells) -> Quality:
    """Kolmogorov-Smirnov and Anderson-Darling statistics of the weighted probability integral transform.

    With sorted values u_k and cumulative weight fractions F_k, KS is the largest distance of F from u, and AD is
    ``N integral (F - u)^2 / (u (1 - u)) du`` (Anderson & Darling 1954), which is integrated exactly between the steps.
    Both are nan if some rows are limits, because it is unknown which values might have been limits, too. Values that
    were rounded to a grid, and bins, represent intervals; F is then the mean over the rows of the distribution
    functions that are uniform between the transforms of both ends (Czado, Gneiting & Held 2009).

    Examples
    --------
    >>> assess(Mixture([1.0], [0.0], [1.0]), Cells.from_rows([0.0], 0.5)).ks
    0.5
    """
    if cells.limits is not None:
        return Quality(math.nan, math.nan, math.nan)
    if cells.edges is not None or cells.resolution.step > 0.0:
        return _assess_intervals(mixture, cells)
    u = pit(mixture, cells)
    tail = u > (_UPPER_TAIL if cells.truncated is None else 1.0)
    upper = _by_blocks(mixture.sf, cells[tail]) if tail.any() else np.empty(0)
    weights, n_data = cells.weights, cells.n_data
    if np.all(weights == weights[0]):
        # The arrays may be sorted independently, which is much faster than sorting rows.
        u, upper = np.sort(u), np.sort(upper)[::-1]
    else:
        below, last = np.argsort(u[~tail], kind="stable"), np.lexsort((-upper, u[tail]))
        u, weights = (np.concatenate([array[~tail][below], array[tail][last]]) for array in (u, weights))
        upper = upper[last]
    # The probability above stays accurate in the upper tail.
    above = 1.0 - u
    above[u.size - upper.size :] = upper
    after = np.minimum(np.cumsum(weights) / n_data, 1.0)
    ks, area, tiny = 0.0, [], np.finfo(np.float64).tiny
    for start in range(0, u.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        high = after[part]
        low = np.append(after[start - 1] if start else 0.0, high[:-1])
        ks = max(ks, float(np.max(high - u[part])), float(np.max(u[part] - low)))
        log_below, log_above = (np.log(np.maximum(side[part], tiny)) for side in (u, above))
        logs = (high + low) * log_below + (2.0 - high - low) * log_above
        area.append(float(np.sum((high - low) * logs)))
    # Between steps F is constant, and the integrand has the antiderivative F^2 ln u - (1 - F)^2 ln(1 - u) - u.
    ad = n_data * (-math.fsum(area) - 1.0)
    return Quality(ks, float("nan"), ad)


def _assess_intervals(mixture: Mixture, cells: Cells) -> Quality:
    """The statistics of values each of which is known to lie in an interval."""
    cells = cells[cells.weights > 0.0]
    if cells.edges is not None:
        low, high = cells.edges.T
    else:
        distinct, inverse = np.unique(cells.x, return_inverse=True)
        low, high = (side[inverse] for side in rounded_from(distinct, cells.resolution.step))
        if cells.truncated is not None:
            low, high = np.clip(low, *cells.truncated), np.clip(high, *cells.truncated)
    below, above = (pit(mixture, replace(cells, x=side, edges=None)) for side in (low, high))
    # Intervals that are narrower than this are treated as steps.
    above = np.maximum(above, below + _STEP_WIDTH)
    pairs, inverse = np.unique(np.stack([below, above], axis=1), axis=0, return_inverse=True)
    shares = np.bincount(inverse.ravel(), cells.weights) / cells.n_data
    slopes = shares / (pairs[:, 1] - pairs[:, 0])
    order = np.argsort(pairs.T.ravel(), kind="stable")
    u = pairs.T.ravel()[order]
    slope = np.cumsum(np.concatenate([slopes, -slopes])[order])
    cumulative = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(u))])
    ks = float(np.max(np.abs(cumulative - np.minimum(u, 1.0))))
    # The Anderson-Darling integral over ln(u / (1 - u)), in which the integrand is (F - u)^2, between the ends of the
    # intervals.
    ends = np.unique(np.concatenate([_LOGITS, logit(u[(u > expit(_LOGITS[0])) & (u < expit(_LOGITS[-1]))])]))
    nodes, weights = np.polynomial.legendre.leggauss(4)
    half = 0.5 * np.diff(ends)
    at = expit(0.5 * (ends[1:] + ends[:-1])[:, None] + half[:, None] * nodes)
    distance = np.interp(at, u, cumulative, left=0.0, right=1.0) - at
    return Quality(ks, math.nan, cells.n_data * float(np.sum(half[:, None] * weights * distance**2)))


def assess_sample(mixture: Mixture, sample: Cells) -> Quality:
    """The statistics, with p-values, of a small sample of the rows that were fitted.

    Parameters that were fitted to many more rows are practically known, so that the textbook p-values for many rows
    hold, with the effective number of rows of the weights.

    Examples
    --------
    >>> from scipy.special import ndtri
    >>> quantiles = Cells.from_rows(ndtri((np.arange(1000) + 0.5) / 1000))
    >>> assess_sample(Mixture([1.0], [0.0], [1.0]), quantiles).verdict
    'ok'
    """
    from scipy.special import kolmogorov

    quality = assess(mixture, sample)
    worth = sample.n_data**2 / float(sample.weights @ sample.weights)
    ad = quality.ad * worth / sample.n_data
    return Quality(quality.ks, float(kolmogorov(math.sqrt(worth) * quality.ks)), ad, _anderson_darling_tail(ad))


def _anderson_darling_tail(statistic: float) -> float:
    """Tail probability of the statistic for many values of a known distribution, to 2e-6 (Marsaglia & Marsaglia 2004).

    >>> round(_anderson_darling_tail(2.492), 4)  # the 5 % point of the tables
    0.05
    """
    z = statistic
    if z < 2.0:
        series = 2.00012 + z * (0.247105 - z * (0.0649821 - z * (0.0347962 - z * (0.0116720 - z * 0.00168691))))
        return 1.0 - math.exp(-1.2337141 / z) / math.sqrt(z) * series if z > 0.0 else 1.0
    exponent = 1.0776 - z * (2.30695 - z * (0.43424 - z * (0.082433 - z * (0.008056 - z * 0.0003146))))
    # Beyond the range of the series, the tail falls like exp(-z).
    return -math.expm1(-math.exp(exponent)) if z < 8.0 else _anderson_darling_tail(7.999) * math.exp(7.999 - z)
