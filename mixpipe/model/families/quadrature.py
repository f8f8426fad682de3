"""Gauss-Legendre nodes, and the trapezoid rule with a separate window for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array

# Integrands are followed down to exp(-CUTOFF) of their peak.
CUTOFF = 40.0
# Values in one block of rows and nodes: half a megabyte, so that a block and its intermediate results stay in cache.
_BLOCK = 1 << 16
# There are so many numbers of nodes to a factor of two.
_SIZES = 4

# Log of the integrand at the nodes of a subset of rows: (rows, nodes) -> array of the shape of the nodes, (n_rows,
# n_nodes).
LogIntegrand = Callable[[NDArray[np.intp], Array], Array]


@cache
def legendre(n: int) -> tuple[Array, Array]:
    """Nodes and weights of the Gauss-Legendre rule on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (1.0 + nodes), 0.5 * weights


def log_integral(log_integrand: LogIntegrand, low: Array, high: Array, step: Array) -> Array:
    """Log of an integral from `low` to `high` for each row, computed by the trapezoid rule.

    The rule converges exponentially for analytic integrands that vanish at both ends.
    """
    out = np.empty_like(low)
    for rows, nodes, spacing in _blocks(low, high, step):
        log_values = log_integrand(rows, nodes)
        peak = log_values.max(axis=1)
        out[rows] = peak + np.log(spacing * np.exp(log_values - peak[:, None]).sum(axis=1))
    return out


def moments(
    log_integrand: LogIntegrand, value: LogIntegrand, low: Array, high: Array, step: Array
) -> tuple[Array, Array]:
    """Mean and variance of a quantity weighted by the integrand, for each row."""
    mean, variance = np.empty_like(low), np.empty_like(low)
    for rows, nodes, _ in _blocks(low, high, step):
        log_values = log_integrand(rows, nodes)
        weights = np.exp(log_values - log_values.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        values = value(rows, nodes)
        centre = (weights * values).sum(axis=1)
        mean[rows], variance[rows] = centre, (weights * (values - centre[:, None]) ** 2).sum(axis=1)
    return mean, variance


def log_integral_and_moments(
    log_integrand: LogIntegrand, value: LogIntegrand, low: Array, high: Array, step: Array
) -> tuple[Array, Array]:
    """Log of an integral, and the mean and central moments of orders 2 to 4 of a quantity weighted by the integrand.

    Returns
    -------
    log_integral : ndarray, shape (n_rows,)
    moments : ndarray, shape (4, n_rows)
    """
    out, moments_of_value = np.empty_like(low), np.empty((4, low.size))
    for rows, nodes, spacing in _blocks(low, high, step):
        log_values = log_integrand(rows, nodes)
        peak = log_values.max(axis=1)
        weights = np.exp(log_values - peak[:, None])
        total = weights.sum(axis=1)
        out[rows] = peak + np.log(spacing * total)
        weights /= total[:, None]
        values = value(rows, nodes)
        mean = (weights * values).sum(axis=1)
        away = values - mean[:, None]
        moments_of_value[0, rows] = mean
        for order in (1, 2, 3):
            weights *= away
            if order == 1:
                weights *= away
            moments_of_value[order, rows] = weights.sum(axis=1)
    return out, moments_of_value


def _blocks(low: Array, high: Array, step: Array) -> Iterator[tuple[NDArray[np.intp], Array, Array]]:
    """Blocks of rows with equal numbers of nodes, one of a few that do not depend on the other rows."""
    n_nodes = np.ceil((high - low) / step) + 1.0
    n_nodes = np.ceil(2.0 ** (np.ceil(_SIZES * np.log2(n_nodes)) / _SIZES)).astype(np.intp)
    order = np.argsort(-n_nodes, kind="stable")
    first = 0
    while first < order.size:
        size = n_nodes[order[first]]
        same = first + int(np.searchsorted(-n_nodes[order[first:]], -size, side="right"))
        rows = order[first : min(first + max(1, _BLOCK // size), same)]
        spacing = (high[rows] - low[rows]) / (size - 1)
        yield rows, low[rows, None] + spacing[:, None] * np.arange(size), spacing
        first += rows.size
