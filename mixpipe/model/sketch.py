"""Sketches: rows sorted into the boxes of a fixed grid. Sketches of shards can be added, and kept in files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.files import write_file
from mixpipe.model.kernels import sketching

# Key of the grid in the metadata of a file.
_METADATA = b"mixpipe_sketch"
_VERSION = 2
_SUMS = ("n", "u", "uu", "t", "tt", "ut")


# Largest sum of weights, in units of that of a grid, for which no sum over a box exceeds 64 bits.
_MOST_WEIGHT = 2.0**32


def weight_unit(total: float) -> float:
    """The power of two by which weights have to be divided whose sum is no more than this.

    >>> weight_unit(1e8), weight_unit(1e12)
    (1.0, 256.0)
    """
    return float(2.0 ** max(0, math.ceil(math.log2(max(total, 1.0) / _MOST_WEIGHT))))


@dataclass(frozen=True)
class Grid:
    """The boundaries of the boxes, which are the same for all shards, whatever rows they contain.

    Parameters
    ----------
    base : float
        Smallest total width that the boxes have to resolve, in the unit of the values.
    fineness : float
        Largest width of a box in units of the total width ``hypot(base, err)``.
    anchor : float
        Value from which positions are counted. It has to be near the values if these need more digits than double
        precision leaves at their distance from zero.
    halvings : int
        Number of times that boxes have been joined in pairs.
    weight_unit : float
        Power of two by which weights are divided; see `weight_unit`.

    Raises
    ------
    ValueError
        For a base or fineness that is not positive, or an anchor that is not finite.
    """

    base: float
    fineness: float = 0.5
    anchor: float = 0.0
    halvings: int = 0
    weight_unit: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.base) and self.base > 0 and math.isfinite(self.fineness) and self.fineness > 0):
            raise ValueError(f"base and fineness must be positive, found {self.base} and {self.fineness}")
        if not math.isfinite(self.anchor):
            raise ValueError(f"the anchor must be finite, found {self.anchor}")

    def with_rows(self, block: tuple[Array, Array, Array], table: tuple[Any, int]) -> tuple[Any, int]:
        """A table of `mixpipe.model.kernels.sketching` with the values, errors and weights of a block in its boxes."""
        x, err, weights = block
        shares = weights if self.weight_unit == 1.0 else weights / self.weight_unit
        return sketching.sketch_rows(x, err, shares, self.anchor, self.base, self.fineness, *table)


@dataclass(frozen=True, eq=False)
class Sketch:
    """Counts and moments of the rows in each box of a grid.

    The sums are integers, so that those of shards add up to the same bits in any order. Weights are counted in units of
    2^-30 of that of the grid, of which a box can hold up to 2^33.

    Parameters
    ----------
    grid : Grid
        Where the boxes are.
    keys : ndarray of int64, shape (n_boxes,)
        Keys of the boxes that contain rows, sorted.
    sums : ndarray of int64, shape (n_boxes, 6)
        Sums over the rows of each box; see `mixpipe.model.kernels.sketching`.
    """

    grid: Grid
    keys: NDArray[np.int64]
    sums: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("keys", "sums"):
            array = np.array(getattr(self, name), dtype=np.int64, order="C")
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def of(cls, grid: Grid, x: ArrayLike, err: ArrayLike | None = None, weights: ArrayLike | None = None) -> Sketch:
        """Sort rows into the boxes of a grid.

        Examples
        --------
        >>> grid = Grid(base=0.1)
        >>> x = np.linspace(0.0, 1.0, 1000)
        >>> whole = Sketch.of(grid, x)
        >>> parts = Sketch.of(grid, x[700:]) + Sketch.of(grid, x[:700])
        >>> len(whole), np.array_equal(whole.sums, parts.sums)
        (33, True)
        """
        values = np.ascontiguousarray(x, dtype=np.float64)
        errors = np.ascontiguousarray(np.broadcast_to(0.0 if err is None else np.asarray(err, float), values.shape))
        counts = np.ones(1) if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
        return cls.of_blocks(grid, [(values, errors, counts)])

    @classmethod
    def of_blocks(cls, grid: Grid, blocks: Iterable[tuple[Array, Array, Array]]) -> Sketch:
        """Sort rows that arrive in blocks into the boxes of a grid.

        Parameters
        ----------
        grid : Grid
            Where the boxes are.
        blocks : iterable of (x, err, weights)
            Contiguous arrays of doubles; `weights` has a single entry for all rows or one entry for each row.
        """
        table = sketching.empty_table()
        for block in blocks:
            table = grid.with_rows(block, table)
        return cls(grid, *sketching.filled_boxes(table[0]))

    def __len__(self) -> int:
        return self.keys.size

    @property
    def n_data(self) -> float:
        """Number of rows, or the sum of their weights."""
        return float(self.sums[:, 0].sum()) * 2.0**-sketching.FRACTION_BITS * self.grid.weight_unit

    def __add__(self, other: Sketch) -> Sketch:
        """The sketch of the rows of both operands.

        Raises
        ------
        ValueError
            For sketches on different grids.
        """
        if self.grid != other.grid:
            raise ValueError(f"sketches on different grids do not add: {self.grid} and {other.grid}")
        return self._merged(np.concatenate([self.keys, other.keys]), np.concatenate([self.sums, other.sums]), self.grid)

    @classmethod
    def _merged(cls, keys: NDArray[np.int64], sums: NDArray[np.int64], grid: Grid) -> Sketch:
        if not keys.size:
            return cls(grid, keys, sums)
        order = np.argsort(keys, kind="stable")
        keys, sums = keys[order], sums[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        return cls(grid, keys[starts], np.add.reduceat(sums, starts, axis=0))

    def coarser(self) -> Sketch:
        """The same rows in boxes twice as wide.

        The result equals to the last bit that of sketching the rows on the wider boxes, except for the rounding of each
        row, which is that of the narrower boxes.
        """
        keys, odd = sketching.halved(self.keys)
        n, u, uu, t, tt, ut = self.sums.T
        shift = odd << self.grid.halvings
        sums = np.stack([n, u + shift * n, uu + 2 * shift * u + shift * shift * n, t, tt, ut + shift * t], axis=1)
        return self._merged(keys, sums, replace(self.grid, halvings=self.grid.halvings + 1))

    def points(self, joined_boxes: int = 0, joined_bins: int = 1) -> tuple[Array, Array, Array]:
        """Values, errors and weights of the points that stand for the rows of the boxes.

        Parameters
        ----------
        joined_boxes : int
            For fewer points, join boxes into ones that are wider by this many factors of two.
        joined_bins : int
            Number of neighbouring bins of the total variance to join.
        """
        grid = self.grid
        x, err, weights = sketching.box_points(
            self.keys, self.sums, grid.base, grid.fineness, grid.halvings, joined_boxes, joined_bins
        )
        return grid.anchor + x, err, grid.weight_unit * weights

    def save(self, path: str | Path) -> None:
        """Write a Parquet file, with the grid in its metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {"key": self.keys, **dict(zip(_SUMS, self.sums.T, strict=True))}
        table = pa.table({name: pa.array(np.ascontiguousarray(values)) for name, values in columns.items()})
        table = table.replace_schema_metadata({_METADATA: json.dumps({"version": _VERSION, **asdict(self.grid)})})
        write_file(Path(path), lambda temporary: pq.write_table(table, temporary, compression="zstd"))

    @classmethod
    def load(cls, path: str | Path) -> Sketch:
        """Read a sketch that `save` wrote.

        Raises
        ------
        ValueError
            For a file that is not a sketch, or is one of another version.
        """
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        metadata = (table.schema.metadata or {}).get(_METADATA)
        if metadata is None:
            raise ValueError(f"{path} is no sketch: expected a file that Sketch.save wrote")
        grid = json.loads(metadata)
        if grid.pop("version") != _VERSION:
            raise ValueError(f"{path} is a sketch of another version: expected {_VERSION}")
        sums = np.stack([table[name].to_numpy() for name in _SUMS], axis=1)
        return cls(Grid(**grid), table["key"].to_numpy(), sums)
