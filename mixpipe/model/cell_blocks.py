"""Cells of any kind that are read in blocks as often as needed, so that they need not fit into memory.

Nothing here depends on the order of the rows, on their division into blocks, or on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import add
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array, hash_rows
from mixpipe.base.threads import available_threads, over_all
from mixpipe.model.cells import Cells
from mixpipe.model.exact import ExactSum
from mixpipe.model.regimes import SAMPLED_ROWS
from mixpipe.model.resolution import NO_RESOLUTION, Resolution, find_resolution

T = TypeVar("T")

# Rows that are worked on at a time: where each has many numbers, and where it has few.
_PIECE_ROWS, LARGE_PIECE_ROWS = 1 << 14, 1 << 18


@dataclass(frozen=True, eq=False)
class CellSurvey:
    """Summary of all rows from one pass over them.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_data : float
        Sum of their weights.
    largest_weight : float
        Largest weight of a row.
    low, high : float
        Smallest and largest value.
    lowest_positive : float
        Smallest value above zero; infinite if there is none.
    ends : tuple of (float, float)
        The lowest and the highest value that any row could have.
    has_errors, has_limits : bool
        Whether any row has an error, and whether any is a limit.
    n_impossible : int
        Number of rows without an error whose values are not positive, where a family of positive values has none.
    sample : Cells
        A sample of distinct rows, chosen by a hash of their contents, each weighted with the number of its duplicates;
        all of the data if these have at most `SAMPLED_ROWS` distinct rows. Its resolution is that of the rows.
    """

    n_rows: int
    n_data: float
    largest_weight: float
    low: float
    high: float
    lowest_positive: float
    ends: tuple[float, float]
    has_errors: bool
    has_limits: bool
    n_impossible: int
    sample: Cells


@dataclass(frozen=True, eq=False)
class CellBlocks:
    """Cells that can be read repeatedly.

    Parameters
    ----------
    read : callable
        Each call reads all rows as cells of one kind, in blocks of any size.
    weight_kind : str
        Meaning of the weights; see `mixpipe.model.cells.Cells`.
    sigma_floor : float or None
        Lower bound on the sigmas that was asked for; by default that of the resolution of the values.
    n_threads : int
        Number of threads that work on blocks; one thread reads them.
    exact : bool
        Whether fits are to be finished on the rows; otherwise they are those of a sketch, where there is one.

    Examples
    --------
    >>> cells = Cells.from_rows(np.arange(9.0), 0.5, limits=[-1, 0, 0] * 3)
    >>> blocks = CellBlocks(lambda: iter([cells[:4], cells[4:]]))
    >>> blocks.survey.n_rows, len(blocks.survey.sample), blocks.survey.has_limits
    (9, 9, True)
    """

    read: Callable[[], Iterator[Cells]]
    weight_kind: str = "counts"
    sigma_floor: float | None = None
    n_threads: int = field(default_factory=available_threads)
    exact: bool = True

    @classmethod
    def of(cls, cells: Cells, n_threads: int | None = None) -> CellBlocks:
        """Cells that are held in memory."""
        floor = cells.resolution.floor if cells.resolution.cause == "given" else None
        return cls(lambda: iter([cells]), cells.weight_kind, floor, n_threads or available_threads())

    def __len__(self) -> int:
        return self.survey.n_rows

    @property
    def n_data(self) -> float:
        """Sum of the weights."""
        return self.survey.n_data

    @property
    def n_uninformative(self) -> int:
        """Number of rows with infinite errors, which are left out of blocks."""
        return 0

    @property
    def resolution(self) -> Resolution:
        """What the values resolve."""
        return self.survey.sample.resolution

    @property
    def are_values(self) -> bool:
        """Whether every cell is a measured value, the sample is not truncated, and no memberships are known."""
        return self.survey.sample.are_values and not self.survey.has_limits

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the components with known members."""
        return self.survey.sample.labels

    @property
    def has_errors(self) -> bool:
        """Whether any row has an error."""
        return self.survey.has_errors

    @property
    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.survey.low, self.survey.high

    @property
    def has_noise(self) -> bool:
        """Whether the errors are not symmetric Gaussians."""
        return self.survey.sample.noise is not None

    def floored(self, sigma_floor: float | None) -> CellBlocks:
        """The same rows with the lower bound on the sigmas that is asked for, if any."""
        same = sigma_floor is None or sigma_floor == self.sigma_floor
        return self if same else replace(self, sigma_floor=sigma_floor)

    def pieces(self, size: int = _PIECE_ROWS) -> Iterator[Cells]:
        """The rows with positive weights, at most `size` of them at a time."""
        for block in self.read():
            cells = block if np.all(block.weights > 0.0) else block[block.weights > 0.0]
            for start in range(0, len(cells), size):
                yield cells[start : start + size]

    def each(self, task: Callable[[Cells], T], size: int = _PIECE_ROWS) -> Iterator[T]:
        """Apply a task to each piece, on all threads, with only a few pieces in memory at a time."""
        return over_all(task, self.pieces(size), self.n_threads)

    def with_scaled_errors(self, factor: float) -> CellBlocks:
        """The same rows with all errors multiplied by a factor."""
        if factor == 1.0:
            return self

        def scaled(cells: Cells) -> Cells:
            noise = None if cells.noise is None else cells.noise.scaled(factor)
            return replace(cells, err=factor * cells.err, noise=noise)

        return replace(self, read=lambda: map(scaled, self.read()))

    @cached_property
    def survey(self) -> CellSurvey:
        """The summary of the rows.

        Raises
        ------
        ValueError
            If there are no rows.
        """
        sampler, total = _Sampler(), ExactSum()
        n_rows, n_impossible, largest, smallest_error = 0, 0, 0.0, math.inf
        low, high, lowest_positive = math.inf, -math.inf, math.inf
        first, last = math.inf, -math.inf
        has_errors = has_limits = False
        for cells in self.pieces(LARGE_PIECE_ROWS):
            sampler.add(cells)
            total.add(cells.weights)
            n_rows += len(cells)
            largest = max(largest, float(cells.weights.max()))
            low, high = min(low, float(cells.x.min())), max(high, float(cells.x.max()))
            lowest_positive = min(lowest_positive, float(cells.x.min(where=cells.x > 0.0, initial=math.inf)))
            ends = (-math.inf, math.inf) if cells.window is None else cells.window.ends
            first, last = min(first, ends[0]), max(last, ends[1])
            known = _are_values(cells)
            smallest_error = min(smallest_error, float(cells.err.min(where=known, initial=math.inf)))
            has_errors |= bool(cells.err.any())
            has_limits |= cells.limits is not None
            below = (cells.limits if cells.limits is not None else np.zeros(len(cells), np.int8)) <= 0
            n_impossible += int(np.count_nonzero(below & (cells.x <= 0.0) & (cells.err == 0.0)))
        if not n_rows:
            raise ValueError("no data: expected at least one value with a positive weight")
        rows, counts = sampler.rows()
        times = counts * rows.weights if self.weight_kind == "counts" else counts
        resolution = NO_RESOLUTION
        if rows.edges is None and smallest_error < math.inf:
            resolution = find_resolution(rows.x, rows.err, times * _are_values(rows), smallest_error)
            resolution = self._counted(resolution)
        if self.sigma_floor is not None:
            resolution = replace(resolution, floor=self.sigma_floor, cause="given")
        sample = replace(rows, weights=rows.weights * counts, resolution=resolution)
        return CellSurvey(
            n_rows,
            float(total),
            largest,
            low,
            high,
            lowest_positive,
            (first, last),
            has_errors,
            has_limits,
            n_impossible,
            sample,
        )

    def _counted(self, resolution: Resolution) -> Resolution:
        """The resolution with the number of rows that have smaller errors than the grain, and the first of them."""
        if resolution.floor == 0.0 or self.sigma_floor is not None:
            return resolution
        total, first, n_before = ExactSum(), -1, 0
        for cells in self.pieces(LARGE_PIECE_ROWS):
            small = (cells.err < resolution.grain) & _are_values(cells)
            total.add(cells.weights[small] if self.weight_kind == "counts" else small.astype(np.float64))
            if first < 0 and small.any():
                first = n_before + int(np.argmax(small))
            n_before += len(cells)
        return replace(resolution, n_rows=float(total), first=first)


def _are_values(cells: Cells) -> NDArray[np.bool_]:
    """Whether each cell is a value rather than a limit."""
    return np.ones(len(cells), dtype=bool) if cells.limits is None else cells.limits == 0


def _contents(cells: Cells) -> list[Array]:
    """All that is known of each row, in columns."""
    limits = np.zeros(len(cells)) if cells.limits is None else cells.limits.astype(np.float64)
    columns = [cells.x, cells.err, cells.weights, limits]
    arrays = [] if cells.noise is None else list(cells.noise.arrays.values())
    arrays += [array for array in (cells.edges, cells.memberships) if array is not None]
    if cells.window is not None:
        arrays += [np.broadcast_to(end, (len(cells), end.shape[1])) for end in (cells.window.low, cells.window.high)]
    return columns + [column for array in arrays for column in array.reshape(len(cells), -1).T]


class _Sampler:
    """Keeps the distinct rows whose contents have the smallest hashes, and counts how often each occurs."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[np.uint64], Array, Cells]] = []
        self._n_kept, self._most = 0, np.uint64(2**64 - 1)

    def add(self, cells: Cells) -> None:
        """Take account of some rows."""
        keys = hash_rows(_contents(cells))
        near = np.flatnonzero(keys <= self._most)
        if not near.size:
            return
        distinct, first, counts = np.unique(keys[near], return_index=True, return_counts=True)
        self._parts.append((distinct, counts.astype(np.float64), cells[near[first]]))
        self._n_kept += distinct.size
        if self._n_kept > 4 * SAMPLED_ROWS:
            self._thin_out()

    def rows(self) -> tuple[Cells, Array]:
        """The rows in the order of their hashes, and the number of rows with the contents of each."""
        self._thin_out()
        _, counts, cells = self._parts[0]
        return cells, counts

    def _thin_out(self) -> None:
        keys = np.concatenate([part[0] for part in self._parts])
        counts = np.concatenate([part[1] for part in self._parts])
        cells = reduce(add, [part[2] for part in self._parts])
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        counts = np.bincount(inverse.ravel(), counts).astype(np.float64)
        chosen = slice(0, SAMPLED_ROWS)
        self._parts = [(distinct[chosen], counts[chosen], cells[first[chosen]])]
        self._n_kept = min(distinct.size, SAMPLED_ROWS)
        if distinct.size >= SAMPLED_ROWS:
            self._most = distinct[SAMPLED_ROWS - 1]
