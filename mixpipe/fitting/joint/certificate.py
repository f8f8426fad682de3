"""A bound on the log-likelihood of all mixtures of two columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.fitting.joint.ascent import Ascent
from mixpipe.fitting.joint.likelihood import Likelihood
from mixpipe.model.regimes import JOINT_CERTIFICATE_ROWS

_LEVELS = 18
_MOST_CELLS = 60_000
_CHUNK = 2_000
# The bound is refined until it is this close to a value that is reached.
_CLOSE = 1e-3


def loglik_bound(likelihood: Likelihood, ascent: Ascent) -> float:
    """Upper bound on the log-likelihood of all mixtures of any number of components; nan where none is known.

    The supremum is reached by point masses (Lindsay 1983), so that no mixture exceeds
    ``loglik + n ln(1 + max_m D(m) / n)`` with ``D(m) = sum_i c_i N(x_i | m, F + S_i) / p_i - n``. The maximum over m is
    bounded from above by branch and bound: over a rectangle, each term is no larger than at the point of the rectangle
    that is nearest to its row in a metric that is no larger than its own.
    """
    cells = likelihood.cells
    if cells.n_dims != 2 or cells.projections is not None or len(cells) > JOINT_CERTIFICATE_ROWS:
        return math.nan
    x, cov, _ = likelihood.scaling.rows(cells)
    if np.isnan(x).any():
        return math.nan
    total = cov + np.diag(likelihood.floor)
    det = total[:, 0, 0] * total[:, 1, 1] - total[:, 0, 1] ** 2
    if not np.all(det > 1e-12):
        return math.nan
    inverse = np.linalg.inv(total)
    logs = np.zeros(len(cells))
    for group, batch in likelihood.batches(ascent.at):
        del group
        rows = batch.members.size
        logs[batch.members] = batch.logs.ravel()[:rows] / batch.weights.ravel()[:rows]
    height: Array = np.log(cells.weights) - 0.5 * np.log(det) - math.log(2.0 * math.pi) - logs
    most = _highest(x, inverse, height)
    n_data = likelihood.n_data
    return ascent.loglik + n_data * math.log(max(most, n_data) / n_data)


def _highest(x: Array, inverse: Any, height: Any) -> float:
    """An upper bound on max over m of sum_i exp(height_i - (x_i - m)' inverse_i (x_i - m) / 2)."""
    low, high = x.min(axis=0), x.max(axis=0)
    reached = _at(x, inverse, height, x).max()
    # With correlated errors the maximum may lie outside the rectangle of the values, but not where all rows together
    # contribute less than is reached.
    margin = 1e-9 + 0.01 * float(np.max(high - low))
    least = np.linalg.eigvalsh(inverse)[:, 0]
    while np.exp(height - 0.5 * least * margin**2).sum() >= reached:
        margin *= 2.0
    boxes = np.array([np.concatenate([low - margin, high + margin])])
    bound = math.inf
    for _ in range(_LEVELS):
        upper = np.concatenate(
            [_over(x, inverse, height, part) for part in np.array_split(boxes, max(1, len(boxes) // _CHUNK))]
        )
        middles = 0.5 * (boxes[:, :2] + boxes[:, 2:])
        reached = max(reached, _at(x, inverse, height, middles).max())
        bound = min(bound, float(max(upper.max(), reached)))
        boxes = boxes[upper > reached * (1.0 + _CLOSE)]
        if not len(boxes):
            return float(reached * (1.0 + _CLOSE))
        if 4 * len(boxes) > _MOST_CELLS:
            return bound
        middle = 0.5 * (boxes[:, :2] + boxes[:, 2:])
        boxes = np.concatenate(
            [
                np.column_stack([boxes[:, 0], boxes[:, 1], middle[:, 0], middle[:, 1]]),
                np.column_stack([middle[:, 0], boxes[:, 1], boxes[:, 2], middle[:, 1]]),
                np.column_stack([boxes[:, 0], middle[:, 1], middle[:, 0], boxes[:, 3]]),
                np.column_stack([middle[:, 0], middle[:, 1], boxes[:, 2], boxes[:, 3]]),
            ]
        )
    return bound


def _at(x: Array, inverse: Array, height: Array, points: Array) -> Array:
    """The sum at some points."""
    found = []
    for part in np.array_split(points, max(1, len(points) * len(x) // 4_000_000)):
        dx, dy = (part[:, None, k] - x[:, k] for k in (0, 1))
        squares = inverse[:, 0, 0] * dx**2 + 2.0 * inverse[:, 0, 1] * dx * dy + inverse[:, 1, 1] * dy**2
        found.append(np.exp(height - 0.5 * squares).sum(axis=1))
    return np.concatenate(found)


def _over(x: Array, inverse: Array, height: Array, boxes: Array) -> Array:
    """Upper bounds of the sum over rectangles: each row by its own least distance to the rectangle."""
    found = []
    a, b, c = inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]
    for part in np.array_split(boxes, max(1, len(boxes) * len(x) // 1_000_000)):
        left, down = part[:, None, 0] - x[:, 0], part[:, None, 1] - x[:, 1]
        right, up = part[:, None, 2] - x[:, 0], part[:, None, 3] - x[:, 1]
        inside = (left <= 0.0) & (right >= 0.0) & (down <= 0.0) & (up >= 0.0)
        # On each edge the quadratic form has its minimum at a point that is clipped to the edge.
        squares = np.full(left.shape, np.inf)
        for dx in (left, right):
            dy = np.clip(-b * dx / c, down, up)
            squares = np.minimum(squares, a * dx**2 + 2.0 * b * dx * dy + c * dy**2)
        for dy in (down, up):
            dx = np.clip(-b * dy / a, left, right)
            squares = np.minimum(squares, a * dx**2 + 2.0 * b * dx * dy + c * dy**2)
        squares = np.where(inside, 0.0, squares)
        found.append(np.exp(height - 0.5 * squares).sum(axis=1))
    return np.concatenate(found)
