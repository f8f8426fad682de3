"""Fewer points for rows that lie alone, such as a wide background around a narrow core.

A sketch has boxes of the width of the narrowest component that is plausible anywhere. Rows of a background a million
times as wide each have a box of their own, and would make up nearly all points of the sketch.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array

# Number of neighbouring points that are replaced by two.
_N_JOINED = 32
# Points are not joined where the gap of this rank (from the shortest) is shorter than this fraction of the mean gap:
# some of them lie closer together than chance allows, and may be a component. Among points that are spread evenly
# this happens once in a hundred times.
_RANK, _SHORT = 5, 0.05
# Points with more rows than this, which may be equal, are not joined.
_MOST_ROWS = 2.0
# Distance, in errors of joined points, beyond which a dense group of other points does not matter to them.
_REACH = 8.0


def join_lone_points(x: Array, err: Array, weights: Array, width: float) -> tuple[Array, Array, Array]:
    """Replace groups of points that lie alone by two points each, with the same weight, mean and total variance.

    Half of the variance of a group lies between its two points, and half is an additional error of both, without which
    a component of no width would fit each of them far better than it fits the rows.

    Parameters
    ----------
    x, err, weights : ndarray, shape (n_points,)
        Points of a sketch.
    width : float
        Total width that the sketch resolves where there is no error. Points lie alone if the mean gap between them is
        larger than both this width and their errors.

    Returns
    -------
    x, err, weights : ndarray
        Fewer points, sorted by value.
    """
    order = np.lexsort((weights, err, x))
    x, err, weights = x[order], err[order], weights[order]
    lone = weights <= _MOST_ROWS
    # Groups are consecutive points that may all be joined.
    run = np.cumsum(np.concatenate([[True], lone[1:] != lone[:-1]]))
    place = np.arange(x.size) - np.searchsorted(run, run)
    last = np.searchsorted(run, run, side="right") - 1
    first = np.flatnonzero(lone & (place % _N_JOINED == 0) & (np.arange(x.size) + _N_JOINED - 1 <= last))
    groups = first[:, None] + np.arange(_N_JOINED)
    gaps = np.diff(x[groups], axis=1)
    mean_gap = gaps.mean(axis=1)
    apart = mean_gap > np.hypot(width, err[groups].max(axis=1))
    even = np.partition(gaps, _RANK, axis=1)[:, _RANK] > _SHORT * mean_gap
    groups = groups[apart & even]
    groups = groups[_far_from_others(x, groups)]
    kept = np.ones(x.size, dtype=bool)
    kept[groups.ravel()] = False

    w = weights[groups]
    total = w.sum(axis=1)
    mean = (w * x[groups]).sum(axis=1) / total
    half = 0.5 * (w * (x[groups] - mean[:, None]) ** 2).sum(axis=1) / total
    error = np.sqrt((w * err[groups] ** 2).sum(axis=1) / total + half)
    offset = np.sqrt(half)
    return (
        np.concatenate([x[kept], mean - offset, mean + offset]),
        np.concatenate([err[kept], error, error]),
        np.concatenate([weights[kept], 0.5 * total, 0.5 * total]),
    )


def _far_from_others(x: Array, groups: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether no point outside all groups is so close to a group that the errors of its two points would reach it."""
    other = np.ones(x.size, dtype=bool)
    other[groups.ravel()] = False
    places = np.concatenate([[-np.inf], x[other], [np.inf]])
    low, high = x[groups[:, 0]], x[groups[:, -1]]
    after = np.searchsorted(places, low)
    reach = _REACH * math.sqrt(0.5) * x[groups].std(axis=1)
    return (low - places[after - 1] > reach) & (places[after] - high > reach)
