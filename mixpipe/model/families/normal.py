"""Functions of the standard normal that keep their relative accuracy in the tails."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx

from mixpipe.base.arrays import Array

LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)

# The closed forms of `tail_integral` lose a factor u^2 or u^4 of precision to cancellation. From this u on, the
# divergent series reaches rounding precision before its terms grow.
_SERIES_FROM = 12.0
_SERIES_TERMS = 20


def log1mexp(a: Array) -> Array:
    """``log(1 - exp(a))`` for a <= 0 (Maechler 2012)."""
    with np.errstate(divide="ignore"):
        return np.where(a > -math.log(2.0), np.log(-np.expm1(a)), np.log1p(-np.exp(a)))


def mills(u: Array) -> Array:
    """Mills' ratio: the probability above `u` over the density at `u`; infinite below -37."""
    return math.sqrt(math.pi / 2.0) * erfcx(u / math.sqrt(2.0))


def tail_integral(n: int, u: Array) -> Array:
    """``I_n(u)``, the integral of ``t**n exp(-u t - t**2 / 2)`` over t > 0, for n = 1 or 2.

    ``I_0`` is Mills' ratio R, ``I_1 = 1 - u R`` and ``I_2 = (1 + u^2) R - u``. For u >= -37.
    """
    near = np.minimum(u, _SERIES_FROM)
    closed = 1.0 - near * mills(near) if n == 1 else (1.0 + near * near) * mills(near) - near
    far = u > _SERIES_FROM
    if not far.any():
        return closed
    # sum over k of (-1)^k (n + 2k)! / (2^k k!) / u^(n + 2k + 1), by Horner's rule from the smallest term
    inverse = 1.0 / u[far]
    series = np.ones_like(inverse)
    for k in range(_SERIES_TERMS, 0, -1):
        series = 1.0 - (n + 2 * k) * (n + 2 * k - 1) / (2.0 * k) * inverse**2 * series
    closed[far] = math.factorial(n) * inverse ** (n + 1) * series
    return closed


def tail_moments(u: Array) -> tuple[Array, Array]:
    """Mean excess over `u` of a standard normal above `u`, and its variance."""
    above = np.maximum(u, -37.0)
    mass = mills(above)
    excess = tail_integral(1, above) / mass
    # Far below zero the excess is nearly -u, since the truncation has no effect.
    low = 1.0 / mass - u
    variance = tail_integral(2, above) / mass - excess**2
    return np.where(u < 0.0, low, excess), np.where(u < 0.0, 1.0 - low / mass, variance)
