"""Components that rest on a few rows or on the grain, and what the choice of the number of components takes off for
them.

BIC approximates the logarithm of a Bayes factor, and presumes that the information on each parameter grows with the
number of rows N: a parameter costs ``ln(N) / 2`` nats. That on the mean of a component on one row with a tiny error, or
on two that lie close together, is larger without limit, and so is the likelihood. What BIC leaves out is the Occam
factor of such a component: the part of the prior range R, here the overall width of the data, that its location and its
width are confined to, ``(sqrt(T) / R)^2`` for a total variance T. And a group of more rows that is hardly wider than
the grain of the values may be chance: there are so many places for it. BIC takes the information on its location for
that of all rows, ``N / R^2``, where it is ``w N / T``; what is missing is ``ln(w R^2 / T) / 2``. A component on fewer
than three rows has to gain, beside its Occam factor, once more what BIC takes for a component: what is left to it are
rows far from all others.
"""

from __future__ import annotations

import math

import numpy as np

from mixpipe.base.arrays import Array

# Components that rest on fewer than three effective rows are not regular: two rows always have a width, and three tie
# with chance. Of three rows that belong to a component nearly as a whole a little is missing.
MIN_ROWS = 2.9
# Parameters of a component.
_PARAMS = 3
# Components of less than so many times the grain are hardly wider than it.
NEAR_GRAIN = 3.0


def count_effective(first: Array, second: Array) -> Array:
    """Effective rows from the sums of a_i and of a_i^2 over the rows; 0 where there are none.

    >>> count_effective(np.array([3.0, 1.0, 0.0]), np.array([3.0, 1.0, 0.0]))
    array([3., 1., 0.])
    """
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.divide(first**2, second, out=np.zeros_like(first), where=second > 0.0))


def occam_nats(rows: Array, total_var: Array, spread: float, n_data: float) -> float:
    """Nats to be taken off for components on fewer than three effective rows, where fits are compared.

    Parameters
    ----------
    rows, total_var : ndarray, shape (n_components,)
        Effective rows of each component, and the total variance that it has for these.
    spread : float
        Overall variance of the data.
    n_data : float
        Rows.

    Examples
    --------
    >>> occam_nats(np.array([99.0, 1.0]), np.array([1.0, 1e-4]), 1.0, 100.0).__round__(6)
    16.118096
    """
    few = rows < MIN_ROWS
    price = _PARAMS * 0.5 * math.log(max(n_data, 1.0))
    return float(np.sum(np.maximum(_log_ratio(spread, total_var[few]), 0.0) + price))


def location_nats(weights: Array, rows: Array, total_var: Array, spread: float, grain: float) -> float:
    """Nats to be taken off for other components that are hardly wider than the grain, where their number is chosen.

    Parameters
    ----------
    weights, rows, total_var, spread
        Weights of the components, and as in `occam_nats`.
    grain : float
        Square of the smallest total width that the values resolve, where errors are smaller; 0 elsewhere.

    Examples
    --------
    >>> location_nats(np.array([0.9, 0.1]), np.array([90.0, 10.0]), np.array([1.0, 1e-4]), 1.0, 1e-4).__round__(6)
    3.453878
    """
    near = (rows >= MIN_ROWS) & (total_var < NEAR_GRAIN**2 * grain) & (weights > 0.0)
    return float(np.sum(np.maximum(0.5 * (_log_ratio(spread, total_var[near]) + np.log(weights[near])), 0.0)))


def _log_ratio(spread: float, total_var: Array) -> Array:
    tiny = np.finfo(np.float64).tiny
    return np.asarray(np.log(max(spread, tiny)) - np.log(np.maximum(total_var, tiny)))
