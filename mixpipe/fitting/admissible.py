"""Penalties on components that rest on a few rows or on the grain, for the choice of the number of components.

BIC approximates the logarithm of a Bayes factor and presumes that the information on each parameter grows with the
number of rows N: a parameter costs ``ln(N) / 2`` nats. If a component rests on one row with a tiny error, or on two
rows that lie close together, the information on its mean is unbounded, and so is the likelihood. BIC then omits the
Occam factor of the component: the fraction of the prior range R, here the overall width of the data, to which its
location and its width are confined, ``(sqrt(T) / R)^2`` for a total variance T.

A group of more rows that is hardly wider than the grain of the values may also be due to chance, because it could have
occurred at so many places. BIC takes the information on its location to be that of all rows, ``N / R^2``, whereas it is
``w N / T``; the missing term is ``ln(w R^2 / T) / 2``.

A component on fewer than three rows has to gain, in addition to its Occam factor, the BIC penalty of a component a
second time. This leaves such components only for rows that are far from all others.

Importance weights are scaled so that the log-likelihood varies as that of as many rows as the weights sum to. Where the
weights are larger than elsewhere it varies more, by the factor ``sum w^2 q / sum w q`` for the rows of a component, and
so does the gain by a component of chance. Its parameters cost as much more, and those of the others less.
"""

from __future__ import annotations

import math

import numpy as np

from mixpipe.base.arrays import Array

# Components that rest on fewer than three effective rows are not regular: two rows always have a width, and with three
# rows the gain can still be due to chance. The limit is slightly below three because rows belong to a component almost,
# but not quite, entirely: two rows and nine tenths of a third are enough.
ALMOST = 0.01
MIN_ROWS = 3.0 - ALMOST
# While a component climbs it may still gain rows, and is penalised only below this number.
CLIMBING_ROWS = 2.9
# Number of parameters of a component of one column.
_PARAMS = 3
# Components narrower than this many times the grain count as hardly wider than it.
NEAR_GRAIN = 3.0
_TINY = float(np.finfo(np.float64).tiny)
# Weights are scaled to within this, as a fraction.
_ROUNDING = 1e-9


def count_effective(first: Array, second: Array) -> Array:
    """Effective number of rows, from the sums of a_i and of a_i^2 over the rows; 0 where there are none.

    >>> count_effective(np.array([3.0, 1.0, 0.0]), np.array([3.0, 1.0, 0.0]))
    array([3., 1., 0.])
    """
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.divide(first**2, second, out=np.zeros_like(first), where=second > 0.0))


def occam_nats(rows: Array, total_var: Array, spread: float, n_data: float, least: float = MIN_ROWS) -> float:
    """Penalty, in nats, on components that rest on fewer than three effective rows, for the comparison of fits.

    Parameters
    ----------
    rows, total_var : ndarray, shape (n_components,)
        Effective number of rows of each component, and its typical total variance for these rows.
    spread : float
        Overall variance of the data.
    n_data : float
        Number of rows.
    least : float
        Effective rows from which on a component is regular.

    Examples
    --------
    >>> occam_nats(np.array([99.0, 1.0]), np.array([1.0, 1e-4]), 1.0, 100.0).__round__(6)
    16.118096
    """
    few = rows < least
    if not few.any():
        return 0.0
    price = _PARAMS * 0.5 * math.log(max(n_data, 1.0))
    return float(np.sum(np.maximum(_log_ratio(spread, total_var[few]), 0.0) + price))


def location_nats(weights: Array, rows: Array, total_var: Array, spread: float, grain: float | Array) -> float:
    """Penalty, in nats, on the other components that are hardly wider than the grain, for the choice of their number.

    Parameters
    ----------
    weights, rows, total_var, spread
        Weights of the components; the others as in `occam_nats`.
    grain : float or ndarray
        Square of the smallest total width that the values resolve, at each component, if errors are smaller than it;
        otherwise 0.

    Examples
    --------
    >>> location_nats(np.array([0.9, 0.1]), np.array([90.0, 10.0]), np.array([1.0, 1e-4]), 1.0, 1e-4).__round__(6)
    3.453878
    """
    near = (rows >= MIN_ROWS) & (total_var < NEAR_GRAIN**2 * grain) & (weights > 0.0)
    return float(np.sum(np.maximum(0.5 * (_log_ratio(spread, total_var[near]) + np.log(weights[near])), 0.0)))


def importance_nats(held: Array, squared: Array, n_data: float, n_params: int = _PARAMS) -> float:
    """Penalty, in nats, on components of rows with larger weights than others, for the choice of their number.

    Parameters
    ----------
    held, squared : ndarray, shape (n_components,)
        Sums over the rows of their shares in each component, times their scaled weights and the squares of these.
    n_data : float
        Effective number of rows, to which the weights are scaled.
    n_params : int
        Number of parameters of a component.

    Examples
    --------
    >>> importance_nats(np.array([90.0, 10.0]), np.array([63.0, 30.0]), 100.0).__round__(6)
    11.743184
    """
    inflation = np.divide(squared, held, out=np.ones_like(held), where=held > 0.0)
    excess = float(np.sum(inflation - 1.0))
    return n_params * 0.5 * math.log(max(n_data, 1.0)) * excess if excess > _ROUNDING else 0.0


def _log_ratio(spread: float, total_var: Array) -> Array:
    return np.asarray(np.log(max(spread, _TINY)) - np.log(np.maximum(total_var, _TINY)))
