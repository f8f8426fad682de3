"""The pass that counts rows by their probability integral transform.

Like every file of kernels, this one is self-contained: it imports only math, numpy and numba.
"""

import math

import numpy as np
from numba import njit

_ROOT_HALF = math.sqrt(0.5)
_TINY = 2.2250738585072014e-308


@njit(forceinline=True, cache=True)
def _sides(x, variance, weights, means, variances):
    """Probabilities below and above an observed value, each accurate in its own tail."""
    below, above = 0.0, 0.0
    for j in range(weights.size):
        total = math.sqrt(variances[j] + variance)
        z = (x - means[j]) / total if total > 0.0 else math.copysign(math.inf, x - means[j])
        tail = 0.5 * math.erfc(_ROOT_HALF * abs(z))
        if z < 0.0:
            below += weights[j] * tail
            above += weights[j] * (1.0 - tail)
        else:
            below += weights[j] * (1.0 - tail)
            above += weights[j] * tail
    return below, above


@njit(forceinline=True, cache=True)
def _bin_of(below, above, per_unit, n_bins):
    """The bin of a transform: bins are evenly spaced in the inverse hyperbolic sine of its logit."""
    logit = math.log(max(below, _TINY) / max(above, _TINY))
    place = math.log(abs(logit) + math.sqrt(logit * logit + 1.0)) * per_unit
    half = n_bins // 2
    return min(half + int(place), n_bins - 1) if logit >= 0.0 else max(half - 1 - int(place), 0)


@njit(nogil=True, cache=True)
def count_transforms(
    x, err, shares, half_step, weights, means, variances, per_unit, narrowest, unit, counts, slopes, offsets
):
    """Add the shares of rows, whole numbers, to the bins of their transforms.

    A value that was rounded, from within `half_step` on either side, is spread evenly between the transforms a and b
    of both ends: the part of it that lies below t is ``share (t - a) / (b - a)`` for t between a and b. `slopes` sums
    the slopes of this line over the ends in each bin, positive at a and negative at b, and `offsets` its offsets, both
    in units of 1 / `unit` of a share. Intervals narrower than `narrowest`, and values that were not rounded, are steps,
    which `counts` sums. `shares` is one number for all rows or one for each.
    """
    n_bins = counts.size
    for i in range(x.size):
        share = shares[i if shares.size > 1 else 0]
        variance = err[i] * err[i]
        below, above = _sides(x[i], variance, weights, means, variances)
        if half_step > 0.0:
            a, above_a = _sides(x[i] - half_step, variance, weights, means, variances)
            b, above_b = _sides(x[i] + half_step, variance, weights, means, variances)
            if b - a > narrowest:
                slope = share * unit / (b - a)
                lower, upper = _bin_of(a, above_a, per_unit, n_bins), _bin_of(b, above_b, per_unit, n_bins)
                slopes[lower] += np.int64(slope)
                slopes[upper] -= np.int64(slope)
                offsets[lower] -= np.int64(slope * a)
                offsets[upper] += np.int64(slope * a) + np.int64(share * unit)
                continue
        counts[_bin_of(below, above, per_unit, n_bins)] += share


@njit(nogil=True, cache=True)
def count_intervals(shares, ends, per_unit, narrowest, unit, counts, slopes, offsets):
    """Add the shares of rows whose transforms are known; see `count_transforms`.

    `ends` has the probabilities below and above the lower end of each row's interval, and below and above its upper
    end; they are the same for a value.
    """
    n_bins = counts.size
    for i in range(shares.size):
        below_a, above_a, below_b, above_b = ends[0, i], ends[1, i], ends[2, i], ends[3, i]
        lower, upper = _bin_of(below_a, above_a, per_unit, n_bins), _bin_of(below_b, above_b, per_unit, n_bins)
        if below_b - below_a > narrowest:
            slope = shares[i] * unit / (below_b - below_a)
            slopes[lower] += np.int64(slope)
            slopes[upper] -= np.int64(slope)
            offsets[lower] -= np.int64(slope * below_a)
            offsets[upper] += np.int64(slope * below_a) + np.int64(shares[i] * unit)
        else:
            counts[upper] += shares[i]
