"""The pass that counts rows by their probability integral transform.

Like every file of kernels, this one is self-contained: it imports only math, numpy and numba.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# Rows whose sides are computed together, which stay in the first-level cache.
_BLOCK = 256
_ROOT_HALF = math.sqrt(0.5)
_TINY = 2.2250738585072014e-308
# Beyond this erfc(y) is not a normal number.
_FARTHEST = 26.5

_MAGIC = 6755399441055744.0  # 1.5 * 2^52
_LOG2E = 1.4426950408889634
_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10
_SQRT2 = math.sqrt(2.0)
_EXP_MIN = -708.0

_HELPER = {"forceinline": True, "error_model": "numpy", "fastmath": {"contract"}, "cache": True}


@intrinsic
def _bits(typingctx, value):
    """The 64 bits of a float as an integer."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), codegen


@intrinsic
def _from_bits(typingctx, value):
    """The float with these 64 bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.int64), codegen


@njit(**_HELPER)
def _exp(x):
    """exp(x) for x <= 0, without branches: x = k ln 2 + r, and the Taylor polynomial of degree 11 in r (1e-14)."""
    x = max(x, _EXP_MIN)
    shifted = x * _LOG2E + _MAGIC
    k = shifted - _MAGIC
    r = (x - k * _LN2_HI) - k * _LN2_LO
    p = 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * _from_bits((_bits(shifted) + 1023) << 52)


@njit(**_HELPER)
def _log(x):
    """ln x of a positive normal number, without branches: x = 2^e m, and the series of 2 artanh((m - 1) / (m + 1))."""
    bits = _bits(x)
    m = _from_bits((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    e = _from_bits(((bits >> 52) & 0x7FF) + 0x4338000000000000) - _MAGIC - 1023.0
    large = m > _SQRT2
    m = 0.5 * m if large else m
    e = e + 1.0 if large else e
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    p = 1.0 / 19.0
    p = p * t + 1.0 / 17.0
    p = p * t + 1.0 / 15.0
    p = p * t + 1.0 / 13.0
    p = p * t + 1.0 / 11.0
    p = p * t + 1.0 / 9.0
    p = p * t + 1.0 / 7.0
    p = p * t + 1.0 / 5.0
    p = p * t + 1.0 / 3.0
    return e * _LN2_HI + (2.0 * s + (2.0 * s * t * p + e * _LN2_LO))


@njit(**_HELPER)
def _half_erfc(y):
    """erfc(y) / 2 for 0 <= y <= 26.5, without branches, to 2e-12.

    With t = 1 / (1 + y / 2), ln(erfc(y) exp(y^2) / t) is nearly a polynomial in s = 2 t - 1: its interpolation at the
    Chebyshev points of degree 18.
    """
    t = 2.0 / (2.0 + y)
    s = 2.0 * t - 1.0
    p = -9.436255966552141e-07
    p = p * s + 1.6431424324094366e-07
    p = p * s + 7.407344224032526e-06
    p = p * s - 4.423597231020959e-06
    p = p * s - 2.8727204661855034e-05
    p = p * s + 3.5914890738964496e-05
    p = p * s + 7.039286379040277e-05
    p = p * s - 0.00017672318712283036
    p = p * s - 9.33268641285161e-05
    p = p * s + 0.0006745609687459981
    p = p * s - 0.00014634264246535098
    p = p * s - 0.0023460060782865932
    p = p * s + 0.0017589456459763632
    p = p * s + 0.008824961966626861
    p = p * s - 0.00987269005682335
    p = p * s - 0.046895611535287464
    p = p * s + 0.04734330685342801
    p = p * s + 0.6726432239992137
    p = p * s - 0.671794084056692
    return 0.5 * t * _exp(p - y * y)


@njit(**_HELPER)
def _sides(x, err, shift, start, stop, weights, means, variances, below, above):
    """Probabilities below and above the values of some rows, moved by `shift`, each accurate in its own tail."""
    below[:] = 0.0
    above[:] = 0.0
    for j in range(weights.size):
        weight, mean, variance = weights[j], means[j] - shift, variances[j]
        for i in range(start, stop):
            offset = x[i] - mean
            total = math.sqrt(variance + err[i] * err[i])
            y = min(_ROOT_HALF * abs(offset) / total, _FARTHEST) if total > 0.0 else _FARTHEST
            tail = _half_erfc(y)
            rest = 1.0 - tail
            below[i - start] += weight * (tail if offset < 0.0 else rest)
            above[i - start] += weight * (rest if offset < 0.0 else tail)


@njit(**_HELPER)
def _bin_of(below, above, per_unit, n_bins):
    """The bin of a transform: bins are evenly spaced in the inverse hyperbolic sine of its logit."""
    logit = _log(max(below, _TINY) / max(above, _TINY))
    size = abs(logit)
    place = int(_log(size + math.sqrt(size * size + 1.0)) * per_unit)
    half = n_bins // 2
    return min(half + place, n_bins - 1) if logit >= 0.0 else max(half - 1 - place, 0)


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
    below, above, a, above_a, b, above_b = np.empty((6, _BLOCK))
    bins = np.empty(_BLOCK, dtype=np.int64)
    for start in range(0, x.size, _BLOCK):
        stop = min(start + _BLOCK, x.size)
        _sides(x, err, 0.0, start, stop, weights, means, variances, below, above)
        for i in range(stop - start):
            bins[i] = _bin_of(below[i], above[i], per_unit, n_bins)
        if half_step > 0.0:
            _sides(x, err, -half_step, start, stop, weights, means, variances, a, above_a)
            _sides(x, err, half_step, start, stop, weights, means, variances, b, above_b)
        for i in range(stop - start):
            share = shares[start + i if shares.size > 1 else 0]
            if half_step > 0.0 and b[i] - a[i] > narrowest:
                slope = share * unit / (b[i] - a[i])
                lower, upper = _bin_of(a[i], above_a[i], per_unit, n_bins), _bin_of(b[i], above_b[i], per_unit, n_bins)
                slopes[lower] += np.int64(slope)
                slopes[upper] -= np.int64(slope)
                offsets[lower] -= np.int64(slope * a[i])
                offsets[upper] += np.int64(slope * a[i]) + np.int64(share * unit)
            else:
                counts[bins[i]] += share


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
