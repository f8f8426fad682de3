"""The root of a function of one variable, without the start-up time of SciPy's optimisers."""

from __future__ import annotations

import math
from collections.abc import Callable

# Relative precision of a root beyond the one that is asked for, and largest number of steps.
_RTOL = 4.0 * 2.0**-52
_MAX_STEPS = 100


def bracketed_root(function: Callable[[float], float], first: float, second: float, xtol: float) -> float:
    """The root of a function between two points at which its signs differ, by Brent's method (1973, chapter 4).

    The steps are those of `scipy.optimize.brentq`.

    Parameters
    ----------
    function : callable
        Takes and returns a float.
    first, second : float
        The two points, in any order.
    xtol : float
        Absolute precision of the root.

    Examples
    --------
    >>> round(bracketed_root(lambda x: x**2 - 2.0, 0.0, 2.0, 1e-12), 12)
    1.414213562373
    """
    last, here, beyond = first, second, first
    f_last, f_here = function(last), function(here)
    f_beyond = f_last
    if f_last == 0.0:
        return last
    if f_here * f_last > 0.0:
        raise ValueError(f"signs of the function at {first} and {second}: expected different ones")
    before = step = 0.0
    for _ in range(_MAX_STEPS):
        # The root lies between `here`, the best estimate, and `beyond`.
        if f_last != 0.0 and f_here != 0.0 and (f_last < 0.0) != (f_here < 0.0):
            beyond, f_beyond = last, f_last
            before = step = here - last
        if abs(f_beyond) < abs(f_here):
            last, here, beyond = here, beyond, here
            f_last, f_here, f_beyond = f_here, f_beyond, f_here
        precision = 0.5 * (xtol + _RTOL * abs(here))
        half = 0.5 * (beyond - here)
        if f_here == 0.0 or abs(half) < precision:
            return here
        trial = math.inf
        if abs(before) > precision and abs(f_here) < abs(f_last):
            if last == beyond:
                trial = -f_here * (here - last) / (f_here - f_last)
            else:
                slope, slope_beyond = (f_last - f_here) / (last - here), (f_beyond - f_here) / (beyond - here)
                trial = -f_here * (f_beyond * slope_beyond - f_last * slope)
                trial /= slope_beyond * slope * (f_beyond - f_last)
        if 2.0 * abs(trial) < min(abs(before), 3.0 * abs(half) - precision):
            before, step = step, trial
        else:
            before = step = half
        last, f_last = here, f_here
        here += step if abs(step) > precision else math.copysign(precision, half)
        f_here = function(here)
    return here
