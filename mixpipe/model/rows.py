"""All rows of a column, read in blocks as often as needed, for data that need not fit into memory.

All results of this module are sums of integers, or rest on a sample that is determined by the contents of the rows.
They do not depend on the order of the rows, on their distribution over files, or on the number of threads.
"""

from __future__ import annotations

import math
import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.threads import available_threads, over_all
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.kernels import sketching
from mixpipe.model.resolution import find_resolution
from mixpipe.model.sketch import Grid, Sketch

T = TypeVar("T")

# Values, errors, and weights: one for all rows or one for each.
Block = tuple[Array, Array, Array]

# Rows in one call of a kernel; the sums of four times as many fit into 64 bits.
_PIECE_ROWS = 1 << 18


@dataclass(frozen=True, eq=False)
class Survey:
    """Summary of the rows from one pass over them.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    largest_weight : float
        Largest weight of a row.
    low, high : float
        Smallest and largest value.
    sample : Cells
        A sample of distinct rows, chosen by a hash of their contents, each weighted with the number of its duplicates.
        It contains all of the data if these have at most 32,768 distinct rows.
    complete : bool
        Whether the sample contains all rows.
    """

    n_rows: int
    largest_weight: float
    low: float
    high: float
    sample: Cells
    complete: bool


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that can be read repeatedly.

    Parameters
    ----------
    blocks : callable
        Each call reads all rows in blocks of any size. A block is ``(x, err, weights)``, arrays of contiguous finite
        doubles, with errors >= 0 and weights > 0; rows of weight zero are left out.
    n_threads : int
        Number of threads that work on blocks; one thread reads them.
    weight_kind : str
        Meaning of the weights; see `mixpipe.model.cells.Cells`.
    places : ndarray of int or None
        Indices of the rows among all, if others have been left out.
    """

    blocks: Callable[[], Iterator[Block]]
    n_threads: int = field(default_factory=available_threads)
    weight_kind: str = "counts"
    places: NDArray[np.intp] | None = None

    @classmethod
    def of(cls, cells: Cells, n_threads: int | None = None) -> Rows:
        """Rows of cells that are held in memory."""
        used = cells.weights > 0.0
        block = cells.columns(used)
        places = None if used.all() else np.flatnonzero(used)
        return cls(lambda: iter([block]), n_threads or available_threads(), cells.weight_kind, places)

    @classmethod
    def of_cells(cls, cells: CellBlocks) -> Rows:
        """The rows of cells that are read in blocks, which are plain values."""

        def blocks() -> Iterator[Block]:
            for each in cells.pieces(_PIECE_ROWS):
                yield each.x, each.err, each.weights

        return cls(blocks, cells.n_threads, cells.weight_kind)

    def squared(self) -> Rows:
        """The same rows with the squares of their weights."""

        def blocks() -> Iterator[Block]:
            for x, err, weights in self.blocks():
                yield x, err, weights**2

        return replace(self, blocks=blocks)

    def pieces(self) -> Iterator[Block]:
        """The blocks, cut into pieces that are small enough for one call of a kernel."""
        size = _PIECE_ROWS
        for x, err, weights in self.blocks():
            for start in range(0, x.size, size):
                part = slice(start, start + size)
                yield x[part], err[part], weights if weights.size == 1 else weights[part]

    def each(self, task: Callable[[Block], T], pieces: Iterable[Block] | None = None) -> Iterator[T]:
        """Apply a task to each piece, on all threads, with only a few pieces in memory at a time."""
        return over_all(task, self.pieces() if pieces is None else pieces, self.n_threads)

    def survey(self, grid_for: Callable[[Survey], Grid]) -> tuple[Survey, Sketch]:
        """Count the rows, of which there must be at least one, take a sample, and sketch them on the grid for this
        sample.

        One pass suffices where the first rows already determine the grid, which they do unless they differ from the
        others.
        """
        pieces = self.pieces()
        first = next(pieces)
        samplers = [_Sampler() for _ in range(self.n_threads)]
        samplers[0].add(first)
        grid = grid_for(_surveyed(samplers, self.weight_kind))

        def sample(thread: int, piece: Block) -> None:
            if piece is not first:
                samplers[thread].add(piece)

        sketch = self._sketched(grid, chain([first], pieces), sample)
        survey = _surveyed(samplers, self.weight_kind)
        right = grid_for(survey)
        return survey, sketch if grid == right else self.sketch(right)

    def sketch(self, grid: Grid) -> Sketch:
        """Sketch all rows on a grid, in one pass."""
        return self._sketched(grid, self.pieces())

    def count_below(self, err: float) -> tuple[float, int]:
        """Count, in one pass, the rows with errors below this, and find the index of the first; -1 if there is none."""
        total, first, n_before = 0.0, -1, 0
        for _, errors, weights in self.blocks():
            small = errors < err
            if self.weight_kind == "counts" and weights.size > 1:
                total += float(weights[small].sum())
            else:
                total += int(np.count_nonzero(small))
            if first < 0 and small.any():
                first = n_before + int(np.argmax(small))
            n_before += errors.size
        return total, first if first < 0 or self.places is None else int(self.places[first])

    def _sketched(
        self, grid: Grid, pieces: Iterable[Block], sample: Callable[[int, Block], None] = lambda *_: None
    ) -> Sketch:
        tables = [sketching.empty_table() for _ in range(self.n_threads)]
        free = deque(range(self.n_threads))

        def add(piece: Block) -> None:
            mine = free.popleft()
            sample(mine, piece)
            tables[mine] = grid.with_rows(piece, tables[mine])
            free.append(mine)

        for _ in self.each(add, pieces):
            pass
        parts = [Sketch(grid, *sketching.filled_boxes(boxes)) for boxes, _ in tables]
        return reduce(operator.add, parts)


class _Sampler:
    """A counter of rows that keeps those whose contents have the smallest hashes."""

    def __init__(self) -> None:
        self.table: tuple[Any, ...] = ()
        self.n_rows, self.largest = 0, 0.0
        self.low, self.high, self.smallest_error = math.inf, -math.inf, math.inf

    def add(self, piece: Block) -> None:
        """Take account of the rows of a piece."""
        x, err, weights = piece
        self.n_rows += x.size
        self.smallest_error = min(self.smallest_error, float(err.min(initial=math.inf)))
        self.low, self.high = min(self.low, x.min(initial=math.inf)), max(self.high, x.max(initial=-math.inf))
        self.largest = max(self.largest, float(weights.max(initial=0.0)))
        self.table = sketching.sample_rows(*piece, *self.table) if self.table else sketching.new_sample(*piece)


def _surveyed(samplers: Sequence[_Sampler], weight_kind: str) -> Survey:
    """The survey of the rows added to any of these so far."""
    x, err, weights, counts = sketching.sampled_rows([sampler.table for sampler in samplers if sampler.table]).T
    times = weights * counts if weight_kind == "counts" else counts
    resolution = find_resolution(x, err, times, min(sampler.smallest_error for sampler in samplers))
    n_rows = sum(sampler.n_rows for sampler in samplers)
    return Survey(
        n_rows,
        max(sampler.largest for sampler in samplers),
        min(sampler.low for sampler in samplers),
        max(sampler.high for sampler in samplers),
        Cells(x, err, weights * counts, resolution, weight_kind=weight_kind),
        bool(counts.sum() == n_rows),
    )


def concatenated(blocks: Iterable[Block], weight_kind: str = "counts") -> Cells:
    """All rows of some blocks as cells in memory."""
    parts = [(x, err, np.broadcast_to(weights, x.shape)) for x, err, weights in blocks]
    x, err, weights = (np.concatenate([part[k] for part in parts]) for k in range(3))
    rows = Cells(x, err, weights, weight_kind=weight_kind)
    return replace(rows, resolution=rows.resolved())
