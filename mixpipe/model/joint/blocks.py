"""Rows of several columns as the kernels take them: by pattern of missing values, in blocks, in an order of their own.

The order of the rows is that of a hash of their contents, so that no sum depends on the order in which they came, and
the first rows are a random sample that depends on the contents alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.threads import available_threads
from mixpipe.model.kernels import joint
from mixpipe.model.regimes import THREADED_DENSITIES

# Largest number of numbers that one batch of `Blocks.slots` holds.
_BATCH = 1 << 22


@dataclass(frozen=True, eq=False)
class Parameters:
    """A mixture as the kernels take it: weights (M,), means (M, d) and covariances (M, d, d)."""

    weights: Array
    means: Array
    covariances: Array

    @property
    def n_components(self) -> int:
        """Number of components, M."""
        return self.weights.size

    @property
    def n_dims(self) -> int:
        """Number of columns, d."""
        return self.means.shape[1]

    def component(self, j: int) -> Parameters:
        """One component as a mixture by itself."""
        one = slice(j, j + 1)
        return Parameters(np.ones(1), self.means[one], self.covariances[one])


@dataclass(frozen=True, eq=False)
class Sums:
    """Log-likelihood and, for each component, sums over the rows with c the weight of a row and q the responsibility.

    Parameters
    ----------
    loglik : float
    q : ndarray, shape (n_components,)
        Sums of c q.
    slopes : ndarray, shape (n_components, n_dims)
        Sums of c q u with u = R' T^-1 (x - R m).
    curls : ndarray, shape (n_components, n_dims, n_dims)
        Sums of c q (u u' - R' T^-1 R).
    """

    loglik: float
    q: Array
    slopes: Array
    curls: Array

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.loglik + other.loglik, self.q + other.q, self.slopes + other.slopes, self.curls + other.curls
        )


@dataclass(frozen=True, eq=False)
class Slots:
    """The numbers of a batch of rows of a group, in blocks.

    Parameters
    ----------
    numbers : ndarray, shape (n_blocks, n_components, n_slots, width)
        For each component c q, det T, u and the triangle of u u' - R' T^-1 R.
    logs, weights : ndarray, shape (n_blocks, width)
        c ln p and c of each row.
    members : ndarray of int
        Positions of the rows in the table; the last lanes of the last block are empty.
    """

    numbers: Array
    logs: Array
    weights: Array
    members: NDArray[np.intp]


@cache
def lower_triangle(n_dims: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the entries of a packed matrix."""
    row, column = np.tril_indices(n_dims)
    return row, column


def pack(matrices: Array) -> Array:
    """Lower triangles of symmetric matrices, row by row, along the last axis."""
    row, column = lower_triangle(matrices.shape[-1])
    return np.ascontiguousarray(matrices[..., row, column])


def unpack(triangles: Array, n_dims: int) -> Array:
    """Symmetric matrices from their lower triangles."""
    matrices = np.empty((*triangles.shape[:-1], n_dims, n_dims))
    row, column = lower_triangle(n_dims)
    matrices[..., row, column] = triangles
    matrices[..., column, row] = triangles
    return matrices


@dataclass(frozen=True, eq=False)
class Group:
    """Rows with the same columns observed.

    Parameters
    ----------
    columns : ndarray of int
        Columns of the mixture that concern these rows.
    rows : ndarray, shape (n_blocks, slots)
        Their numbers; see `mixpipe.model.kernels.joint`.
    projections : ndarray, shape (n_blocks * width or 0, n_values, n_dims)
    members : ndarray of int
        Position of each row in the table.
    n_values, width : int
        Number of values of a row, and rows of a block.
    """

    columns: NDArray[np.intp]
    rows: Array
    projections: Array
    members: NDArray[np.intp]
    n_values: int
    width: int

    @property
    def _is_unrolled(self) -> bool:
        return self.projections.shape[0] == 0 and self.n_values <= joint.UNROLLED

    @property
    def n_dims(self) -> int:
        """Number of columns of the mixture that concern these rows."""
        return self.columns.size

    @property
    def n_slots(self) -> int:
        """Numbers of a row and component: c q, det T, u and the triangle of u u' - P."""
        return 2 + self.n_dims + joint.packed(self.n_dims)

    def _arguments(self, at: Parameters) -> tuple[Array, Array, Array]:
        if self.n_dims == at.n_dims:
            return at.weights, np.ascontiguousarray(at.means), pack(at.covariances)
        means = np.ascontiguousarray(at.means[:, self.columns])
        return at.weights, means, pack(at.covariances[:, self.columns[:, None], self.columns])

    def sums(self, at: Parameters, run: Callable[[Callable[[int, int], None], int, int], None]) -> Sums:
        """One pass over the rows of the group."""
        n_chunks = -(-self.rows.shape[0] // joint.CHUNK_BLOCKS)
        out = np.empty((n_chunks, 1 + at.n_components * (self.n_slots - 1)))
        arguments = self._arguments(at)
        n_densities = self.members.size * at.n_components
        if self._is_unrolled:
            kernel = getattr(joint, f"sums_{self.n_values}")
            run(lambda first, last: kernel(self.rows, *arguments, first, last, out), n_chunks, n_densities)
        else:
            given = (self.rows, self.projections, *arguments, self.n_values, self.width)
            run(lambda first, last: joint.sums_by_loops(*given, first, last, out), n_chunks, n_densities)
        total = out.sum(axis=0)
        parts = total[1:].reshape(at.n_components, -1)
        if self.n_dims == at.n_dims:
            triangles = parts[:, 1 + self.n_dims :]
            return Sums(float(total[0]), parts[:, 0], parts[:, 1 : 1 + self.n_dims], unpack(triangles, self.n_dims))
        slopes = np.zeros((at.n_components, at.n_dims))
        curls = np.zeros((at.n_components, at.n_dims, at.n_dims))
        slopes[:, self.columns] = parts[:, 1 : 1 + self.n_dims]
        curls[:, self.columns[:, None], self.columns] = unpack(parts[:, 1 + self.n_dims :], self.n_dims)
        return Sums(float(total[0]), parts[:, 0].copy(), slopes, curls)

    def slots(self, at: Parameters) -> Iterator[Slots]:
        """The numbers of each row, in batches."""
        size = at.n_components * self.n_slots * self.width
        step = max(1, _BATCH // size)
        arguments = self._arguments(at)
        for first in range(0, self.rows.shape[0], step):
            part = self.rows[first : first + step]
            slots, logs = np.empty((part.shape[0], size)), np.empty((part.shape[0], self.width))
            if self._is_unrolled:
                getattr(joint, f"slots_{self.n_values}")(part, *arguments, 0, part.shape[0], slots, logs)
            else:
                projected = self.projections[first * self.width : (first + step) * self.width]
                given = (part, projected, *arguments, self.n_values, self.width)
                joint.slots_by_loops(*given, 0, part.shape[0], slots, logs)
            members = self.members[first * self.width : (first + step) * self.width]
            shape = (part.shape[0], at.n_components, self.n_slots, self.width)
            yield Slots(slots.reshape(shape), logs, part[:, -self.width :], members)


class Blocks:
    """Rows in groups and blocks, and the passes over them.

    Parameters
    ----------
    x, cov, weights, projections
        As in `mixpipe.model.joint.cells.JointCells`.
    n_threads : int or None
        Number of threads; all cores by default. No sum depends on it.
    keep_order : bool
        Keep the order of the rows of each group instead of that of their contents.

    Attributes
    ----------
    order : ndarray of int
        The rows in the order of their contents.
    n_repeated : int
        Number of rows that repeat another row exactly.
    """

    def __init__(
        self,
        x: Array,
        cov: Array,
        weights: Array,
        projections: Array | None = None,
        *,
        n_threads: int | None = None,
        keep_order: bool = False,
    ) -> None:
        self.n_dims = x.shape[1] if projections is None else projections.shape[2]
        self.n_threads = n_threads or available_threads()
        self._workers: ThreadPoolExecutor | None = None
        self.order, self.n_repeated = np.arange(len(x)), 0
        if not keep_order:
            self.order, self.n_repeated = content_order(x, cov, weights, projections)
        self.groups = list(_groups(x, cov, weights, projections, self.order))

    def _run(self, task: Callable[[int, int], None], n_chunks: int, n_densities: int) -> None:
        n_threads = min(self.n_threads, n_chunks) if n_densities > THREADED_DENSITIES else 1
        if n_threads == 1:
            task(0, n_chunks)
            return
        self._workers = self._workers or ThreadPoolExecutor(self.n_threads)
        bounds = np.linspace(0, n_chunks, n_threads + 1).astype(int).tolist()
        list(self._workers.map(task, bounds[:-1], bounds[1:]))

    def sums(self, at: Parameters) -> Sums:
        """One pass: the log-likelihood and the sums of a step."""
        parts = [group.sums(at, self._run) for group in self.groups]
        return sum(parts[1:], parts[0])


def content_order(
    x: Array, cov: Array, weights: Array, projections: Array | None = None
) -> tuple[NDArray[np.intp], int]:
    """The order of a hash of the contents of the rows, and the number of rows that repeat another one."""
    n_values = x.shape[1]
    state = np.full(len(x), 0x9E3779B97F4A7C15, dtype=np.uint64)
    lower = zip(*lower_triangle(n_values), strict=True)
    columns = [x[:, a] for a in range(n_values)] + [cov[:, a, b] for a, b in lower] + [weights]
    if projections is not None:
        columns += list(projections.reshape(len(x), -1).T)
    for column in columns:
        # Adding zero turns -0 into 0; all nan are one.
        bits = np.where(np.isnan(column), np.nan, column + 0.0).view(np.uint64)
        state = _stirred(state ^ bits)
    order = np.argsort(state, kind="stable")
    return order, int(np.count_nonzero(np.diff(state[order]) == 0))


def _stirred(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _groups(
    x: Array, cov: Array, weights: Array, projections: Array | None, order: NDArray[np.intp]
) -> Iterator[Group]:
    if projections is not None:
        columns = np.arange(projections.shape[2])
        yield _group(x[order], cov[order], weights[order], projections[order], columns, order)
        return
    missing = np.isnan(x)
    if not missing.any():
        yield _group(x[order], cov[order], weights[order], None, np.arange(x.shape[1]), order)
        return
    patterns, which = np.unique(missing, axis=0, return_inverse=True)
    which = which.ravel()[order]
    for k, pattern in enumerate(patterns):
        rows, columns = order[which == k], np.flatnonzero(~pattern)
        if columns.size:
            covs = cov[rows][:, columns[:, None], columns]
            yield _group(x[rows][:, columns], covs, weights[rows], None, columns, rows)


def _group(
    x: Array,
    cov: Array,
    weights: Array,
    projections: Array | None,
    columns: NDArray[np.intp],
    members: NDArray[np.intp],
) -> Group:
    n_rows, n_values = x.shape
    width = joint.lanes(n_values)
    n_blocks = -(-n_rows // width)
    numbers = np.zeros((n_values + joint.packed(n_values) + 1, n_blocks * width))
    numbers[:n_values, :n_rows] = x.T
    for k, (a, b) in enumerate(zip(*lower_triangle(n_values), strict=True)):
        numbers[n_values + k, :n_rows] = cov[:, a, b]
        numbers[n_values + k, n_rows:] = float(a == b)
    numbers[-1, :n_rows] = weights
    rows = np.ascontiguousarray(numbers.reshape(-1, n_blocks, width).swapaxes(0, 1)).reshape(n_blocks, -1)
    padded = np.zeros((0, n_values, columns.size))
    if projections is not None:
        padded = np.zeros((n_blocks * width, n_values, columns.size))
        padded[:n_rows] = projections
    return Group(columns, rows, padded, members, n_values, width)
