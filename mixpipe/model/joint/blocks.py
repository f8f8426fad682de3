"""Rows of several columns as the kernels take them: by pattern of missing values, in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.threads import available_threads
from mixpipe.model.kernels import joint
from mixpipe.model.regimes import THREADED_DENSITIES

# Largest number of numbers that one batch of `Blocks.slots` holds.
_BATCH = 1 << 21
_T = TypeVar("_T")
# The kernels for each number of values.
_SUMS, _SLOTS, _PROMISES = (
    {n_values: getattr(joint, f"{name}_{n_values}") for n_values in range(1, joint.UNROLLED + 1)}
    for name in ("sums", "slots", "promises")
)


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


def unpack(triangles: Array, n_dims: int) -> Array:
    """Symmetric matrices from their lower triangles."""
    matrices = np.empty((*triangles.shape[:-1], n_dims, n_dims))
    row, column = lower_triangle(n_dims)
    matrices[..., row, column] = triangles
    matrices[..., column, row] = triangles
    return matrices


@cache
def halves(n_dims: int) -> Array:
    """Factors of a triangle in a derivative: 1/2 on the diagonal, since other entries of a matrix occur twice."""
    row, column = lower_triangle(n_dims)
    return np.where(row == column, 0.5, 1.0)


def parameter_places(columns: NDArray[np.intp], n_dims: int) -> NDArray[np.intp]:
    """Positions of the parameters (1, u, triangle) of a component in some columns among those in all of them."""
    row, column = lower_triangle(columns.size)
    triangle = columns[row] * (columns[row] + 1) // 2 + columns[column]
    return np.concatenate([[0], 1 + columns, 1 + n_dims + triangle])


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

    def _arguments(self, at: Parameters) -> tuple[NDArray[np.intp], Array, Array, Array]:
        # The kernels are compiled for arrays without gaps.
        return self.columns, at.weights, np.ascontiguousarray(at.means), np.ascontiguousarray(at.covariances)

    def add_sums(
        self, at: Parameters, sums: Sums, run: Callable[[Callable[[int, int], None], int, int], None]
    ) -> float:
        """Add the sums of one pass over the rows of the group to others; returns their log-likelihood."""
        n_chunks = -(-self.rows.shape[0] // joint.CHUNK_BLOCKS)
        out = np.empty((n_chunks, 1 + at.n_components * (self.n_slots - 1)))
        arguments = self._arguments(at)
        n_densities = self.members.size * at.n_components
        if self._is_unrolled:
            kernel = _SUMS[self.n_values]
            run(lambda first, last: kernel(self.rows, *arguments, first, last, out), n_chunks, n_densities)
        else:
            given = (self.rows, self.projections, *arguments, self.n_values, self.width)
            run(lambda first, last: joint.sums_by_loops(*given, first, last, out), n_chunks, n_densities)
        return float(joint.collect(out, self.columns, sums.q, sums.slopes, sums.curls))

    def promises(self, means: Array, covariances: Array, logs: Array, tried: Array, out: Array) -> None:
        """Add what the rows gain from one component more, for candidates and weights; see `Blocks.promises`."""
        padded = np.zeros((self.rows.shape[0], self.width))
        padded.ravel()[: self.members.size] = logs[self.members]
        given = self.columns, np.ascontiguousarray(means), np.ascontiguousarray(covariances)
        if self._is_unrolled:
            _PROMISES[self.n_values](self.rows, *given, padded, tried, out)
        else:
            joint.promises_by_loops(self.rows, self.projections, *given, self.n_values, self.width, padded, tried, out)

    def slots(self, at: Parameters) -> Iterator[Slots]:
        """The numbers of each row, in batches."""
        for first, last in self.bounds(at.n_components):
            yield self.batch(at, first, last)

    def bounds(self, n_components: int) -> list[tuple[int, int]]:
        """First and last block of each batch."""
        step = max(1, _BATCH // (n_components * self.n_slots * self.width))
        return [(first, first + step) for first in range(0, self.rows.shape[0], step)]

    def batch(self, at: Parameters, first: int, last: int) -> Slots:
        """The numbers of the rows of some blocks."""
        part, rows = self.rows[first:last], slice(first * self.width, last * self.width)
        shape = (part.shape[0], at.n_components, self.n_slots, self.width)
        slots, logs = np.empty((shape[0], math.prod(shape[1:]))), np.empty((shape[0], self.width))
        arguments = self._arguments(at)
        if self._is_unrolled:
            _SLOTS[self.n_values](part, *arguments, 0, shape[0], slots, logs)
        else:
            given = (part, self.projections[rows], *arguments, self.n_values, self.width)
            joint.slots_by_loops(*given, 0, shape[0], slots, logs)
        return Slots(slots.reshape(shape), logs, part[:, -self.width :], self.members[rows])


class Blocks:
    """Rows in groups and blocks, and the passes over them.

    Parameters
    ----------
    x, cov, weights, projections
        As in `mixpipe.model.joint.cells.JointCells`.
    n_threads : int or None
        Number of threads; all cores by default. No sum depends on it.
    """

    def __init__(
        self,
        x: Array,
        cov: Array,
        weights: Array,
        projections: Array | None = None,
        *,
        n_threads: int | None = None,
    ) -> None:
        self.n_dims = x.shape[1] if projections is None else projections.shape[2]
        self.n_threads = n_threads or available_threads()
        self._workers: ThreadPoolExecutor | None = None
        self.groups = list(_groups(x, cov, weights, projections))

    def _run(self, task: Callable[[int, int], None], n_chunks: int, n_densities: int) -> None:
        n_threads = min(self.n_threads, n_chunks) if n_densities > THREADED_DENSITIES else 1
        if n_threads == 1:
            task(0, n_chunks)
            return
        self._workers = self._workers or ThreadPoolExecutor(self.n_threads)
        bounds = np.linspace(0, n_chunks, n_threads + 1).astype(int).tolist()
        list(self._workers.map(task, bounds[:-1], bounds[1:]))

    def map_batches(self, group: Group, at: Parameters, task: Callable[[Group, Slots], _T]) -> Iterator[_T]:
        """What a task finds in each batch of a group, in their order."""
        bounds = group.bounds(at.n_components)
        if self.n_threads == 1 or len(bounds) == 1:
            return (task(group, group.batch(at, *each)) for each in bounds)
        self._workers = self._workers or ThreadPoolExecutor(self.n_threads)
        return self._workers.map(lambda each: task(group, group.batch(at, *each)), bounds)

    def sums(self, at: Parameters) -> Sums:
        """One pass: the log-likelihood and the sums of a step."""
        size, n_dims = at.means.shape
        found = Sums(0.0, np.zeros(size), np.zeros((size, n_dims)), np.zeros((size, n_dims, n_dims)))
        loglik = sum(group.add_sums(at, found, self._run) for group in self.groups)
        return Sums(loglik, found.q, found.slopes, found.curls)

    def promises(self, means: Array, covariances: Array, logs: Array, tried: Array) -> Array:
        """Gains ``sum c ln(1 + w (N / p - 1))`` from one component more.

        Parameters
        ----------
        means : ndarray, shape (n_candidates, n_dims)
        covariances : ndarray, shape (n_candidates, n_dims, n_dims)
        logs : ndarray, shape (n_rows,)
            ln p of the rows.
        tried : ndarray, shape (n_weights,)
            Weights w of the component.

        Returns
        -------
        ndarray, shape (n_candidates, n_weights)
        """
        found = np.zeros((len(means), tried.size))
        for group in self.groups:
            group.promises(means, covariances, logs, tried, found)
        return found


def _groups(x: Array, cov: Array, weights: Array, projections: Array | None) -> Iterator[Group]:
    if projections is not None:
        columns = np.arange(projections.shape[2])
        yield _group(x, cov, weights, projections, columns, np.arange(len(x)))
        return
    missing = np.isnan(x)
    if not missing.any():
        yield _group(x, cov, weights, None, np.arange(x.shape[1]), np.arange(len(x)))
        return
    patterns, which = np.unique(missing, axis=0, return_inverse=True)
    for k, pattern in enumerate(patterns):
        rows, columns = np.flatnonzero(which.ravel() == k), np.flatnonzero(~pattern)
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
