"""Bounds on the gradient function between the points at which it is evaluated.

Like every file of kernels, this one is self-contained: it imports only math and numba.
"""

import math

from numba import njit

# Terms whose logarithm is below this are zero next to a sum of order one.
_NOTHING = -60.0

# The wrapper for C is not used, and would take long to compile. Rewriting is for expressions with whole arrays, of
# which there are none.
_KERNEL = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "no_rewrites": True, "cache": True}


@njit(inline="always", **_KERNEL)
def _largest_cubic(a, b, c):
    """The largest value of ``a t + b t^2 / 2 + c t^3 / 6`` for -1 <= t <= 1."""
    largest = max(max(a + 0.5 * b + c / 6.0, -a + 0.5 * b - c / 6.0), 0.0)
    root = b * b - 2.0 * a * c
    if root >= 0.0:
        # The form of the two roots of a + b t + c t^2 / 2 that loses no digits.
        q = -(b + math.copysign(math.sqrt(root), b))
        for numerator, denominator in ((q, c), (2.0 * a, q)):
            if abs(numerator) < abs(denominator):
                t = numerator / denominator
                largest = max(largest, t * (a + t * (0.5 * b + t * c / 6.0)))
    return largest


@njit(**_KERNEL)
def interval_pass(x, inv_sigma, log_height, centres, halves, first, last, out):
    """Bounds on ``f(m) = sum_i exp(log_height_i - (x_i - m)^2 / (2 sigma_i^2))`` in intervals `first` to `last` - 1.

    Around the centre of an interval, f is expanded to third order. What remains is bounded by the fourth derivative,
    ``exp(-u^2 / 2) (u^4 - 6 u^2 + 3) / sigma^4`` with u = (x - m) / sigma for each row, whose modulus is largest where
    the exponential is largest and the polynomial, with positive signs, is largest. In long intervals, the sum of the
    largest values of all terms is a better bound.

    Parameters
    ----------
    x, inv_sigma, log_height : ndarray, shape (n_cells,)
    centres, halves : ndarray, shape (n_intervals,)
        Centre and half of the length of each interval.
    first, last : int
        Range of intervals.
    out : ndarray, shape (n_intervals, 2)
        Overwritten by f at the centre and by its upper bound in the interval.
    """
    for k in range(first, last):
        s0 = 0.0
        s1 = 0.0
        s2 = 0.0
        s3 = 0.0
        rest = 0.0
        crude = 0.0
        for i in range(x.size):
            u = (x[i] - centres[k]) * inv_sigma[i]
            h = halves[k] * inv_sigma[i]
            near = max(abs(u) - h, 0.0)
            exponent = log_height[i] - 0.5 * near * near
            if exponent < _NOTHING:
                continue
            highest = math.exp(exponent)
            crude += highest
            if h < 1.0:
                far = abs(u) + h
                far *= far
                e = math.exp(log_height[i] - 0.5 * u * u)
                s0 += e
                s1 += e * h * u
                s2 += e * h * h * (u * u - 1.0)
                s3 += e * h * h * h * u * (u * u - 3.0)
                rest += highest * h * h * h * h * (far * far + 6.0 * far + 3.0)
            else:
                # The interval is longer than this term is wide: only the crude bound holds.
                s0 += math.exp(log_height[i] - 0.5 * u * u)
                rest = math.inf
        out[k, 0] = s0
        fine = s0 + _largest_cubic(s1, s2, s3) + rest / 24.0 if rest < math.inf else math.inf
        out[k, 1] = min(crude, fine)
