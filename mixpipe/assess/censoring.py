"""Limits for simulated catalogs, in which a value beyond the limit of its row is known only as a limit.

A catalog states the limit of a row only if its value is beyond the limit. Limits are assumed to be independent of the
values, as in the likelihood, and of the errors. For rows whose value is known, the limits are drawn from the
distribution of all limits, which is estimated with the roles of limits and values exchanged (Kaplan & Meier 1958; Efron
1981): a known value implies that the limit of its row is not beyond it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array


class UpperLimits:
    """The distribution of upper limits behind a catalog.

    Parameters
    ----------
    x : ndarray, shape (n_rows,)
        Values or limits.
    limited : ndarray of bool, shape (n_rows,)
        Whether each `x` is an upper limit.
    weights : ndarray, shape (n_rows,)
        Row weights.

    Examples
    --------
    The limit of the second row is 2; that of the first is at most 1, and those of the others may also be 2:

    >>> limits = UpperLimits(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, False]), np.ones(4))
    >>> limits.at, limits.below
    (array([2.]), array([0.5, 1. ]))
    """

    def __init__(self, x: Array, limited: NDArray[np.bool_], weights: Array) -> None:
        self.x, self.limited = x, limited
        order = np.argsort(x, kind="stable")
        self.at = np.unique(x[limited])
        # Weights of the rows whose limits are at most each limit, and of those whose limit it is.
        at_risk = np.cumsum(weights[order])[np.searchsorted(x[order], self.at, side="right") - 1]
        at_limit = np.bincount(np.searchsorted(self.at, x[limited]), weights[limited], minlength=self.at.size)
        steps = np.maximum(1.0 - at_limit / at_risk, 0.0)
        # Probability of a limit below all those known, and of one up to each of them, as the product of the steps at
        # all higher limits.
        self.below = np.append(np.cumprod(steps[::-1])[::-1], 1.0)

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw a limit for each row: the known limit if there is one, or else one that is consistent with the value."""
        limits = np.append(-np.inf, self.at)
        share = self.below[np.searchsorted(self.at, self.x, side="right")]
        drawn = limits[np.searchsorted(self.below, share * rng.random(self.x.size))]
        return np.where(self.limited, self.x, drawn)


def censored(
    values: Array, x: Array, limits: NDArray[np.int8], weights: Array, rng: np.random.Generator
) -> tuple[Array, NDArray[np.int8]]:
    """Turn simulated values into the values and limits of a catalog, with flags that distinguish them.

    Parameters
    ----------
    values : ndarray, shape (n_rows,)
        Simulated observed values.
    x, limits, weights : ndarray, shape (n_rows,)
        The catalog: values or limits, flags that are -1 for upper and 1 for lower limits, and row weights.
    rng : numpy.random.Generator
        Source of randomness.
    """
    upper = UpperLimits(x, limits == -1, weights).draw(rng)
    # A lower limit is an upper limit of the negated values.
    lower = -UpperLimits(-x, limits == 1, weights).draw(rng)
    flags = np.where(values < upper, -1, np.where(values > lower, 1, 0)).astype(np.int8)
    return np.where(flags < 0, upper, np.where(flags > 0, lower, values)), flags
