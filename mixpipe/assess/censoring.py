"""Limits for simulated catalogs: a value beyond its row's limit is known as a limit only.

A catalog says where a row's limit lies only if the value is beyond it. Limits are taken to be independent of the
values, as the likelihood has it, and of the errors. Where they lie for rows whose value is known follows from the
distribution of all limits, estimated with the parts of limit and value exchanged (Kaplan & Meier 1958; Efron 1981):
a known value says that its row's limit is not beyond it.
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
        Values, or limits.
    limited : ndarray of bool, shape (n_rows,)
        Where `x` is an upper limit.
    weights : ndarray, shape (n_rows,)
        Row weights.

    Examples
    --------
    The limit of the second row is at 2; that of the first is not above 1, and those of the others may be the same 2:

    >>> limits = UpperLimits(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, False]), np.ones(4))
    >>> limits.at, limits.below
    (array([2.]), array([0.5, 1. ]))
    """

    def __init__(self, x: Array, limited: NDArray[np.bool_], weights: Array) -> None:
        self.x, self.limited = x, limited
        order = np.argsort(x, kind="stable")
        self.at = np.unique(x[limited])
        # Rows whose limit is known to be no higher, and those whose limit is there.
        at_risk = np.cumsum(weights[order])[np.searchsorted(x[order], self.at, side="right") - 1]
        there = np.bincount(np.searchsorted(self.at, x[limited]), weights[limited], minlength=self.at.size)
        steps = np.maximum(1.0 - there / at_risk, 0.0)
        # Probability of a limit below all, and of one up to each: what all higher ones leave.
        self.below = np.append(np.cumprod(steps[::-1])[::-1], 1.0)

    def draw(self, rng: np.random.Generator) -> Array:
        """A limit for each row: its own where that is known, one that allows its value elsewhere."""
        limits = np.append(-np.inf, self.at)
        share = self.below[np.searchsorted(self.at, self.x, side="right")]
        drawn = limits[np.searchsorted(self.below, share * rng.random(self.x.size))]
        return np.where(self.limited, self.x, drawn)


def censored(
    values: Array, x: Array, limits: NDArray[np.int8], weights: Array, rng: np.random.Generator
) -> tuple[Array, NDArray[np.int8]]:
    """Simulated values as a catalog would have them: values and limits, and which is which.

    Parameters
    ----------
    values : ndarray, shape (n_rows,)
        Simulated observed values.
    x, limits, weights : ndarray, shape (n_rows,)
        The catalog: values or limits, -1 for upper and 1 for lower limits, row weights.
    rng : numpy.random.Generator
        Source of randomness.
    """
    upper = UpperLimits(x, limits == -1, weights).draw(rng)
    # A lower limit is an upper one of the mirror image.
    lower = -UpperLimits(-x, limits == 1, weights).draw(rng)
    flags = np.where(values < upper, -1, np.where(values > lower, 1, 0)).astype(np.int8)
    return np.where(flags < 0, upper, np.where(flags > 0, lower, values)), flags
