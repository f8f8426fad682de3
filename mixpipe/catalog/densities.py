"""Tabulated densities in catalog files: one array per row on a common grid, read in pieces if the format allows it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy import units as u
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from mixpipe.base.arrays import bin_edges
from mixpipe.base.errors import excerpt
from mixpipe.catalog.formats import fits as fits_tables
from mixpipe.catalog.formats import hdf5 as hdf5_tables
from mixpipe.catalog.formats.arrays import as_column, kind_of, mask_sentinels, parse_unit, unit_text
from mixpipe.catalog.reading import list_columns, read_catalog
from mixpipe.catalog.source import Source, expected_name

# Rows in memory at a time: about 30 MB for a grid of 200 points.
BLOCK_ROWS = 1 << 14
_FEWEST_POINTS = 3
# The words by which the names of columns tell the lower edge, the centre and the upper edge of a bin.
_EDGES, _CENTRE = ("low", "high"), "mid"

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DensityFile:
    """The densities of one file.

    Parameters
    ----------
    source : Source
        The file.
    value : str
        Column with one array per row, or with one number per row, which together form a single density.
    grid : ndarray, shape (n_grid,)
        Increasing abscissae, in `unit`; the centres of the bins of histograms.
    unit : str or None
        Unit of the grid.
    is_one : bool
        Whether the file is a single density, whose rows are the points of the grid.
    edges : ndarray, shape (n_grid + 1,), or None
        Edges of the bins; None for densities at points.
    """

    source: Source
    value: str
    grid: Array
    unit: str | None
    is_one: bool
    edges: Array | None = None

    @property
    def abscissae(self) -> Array:
        """The grid as the fits take it: points, or the two edges of each bin."""
        return self.grid if self.edges is None else np.column_stack([self.edges[:-1], self.edges[1:]])

    def blocks(self) -> Iterator[Array]:
        """Read the densities in pieces of shape (n, n_grid), in the order of the file; missing values are nan.

        Raises
        ------
        CatalogError
            For arrays whose length differs from that of the grid.
        """
        first = 0
        for piece in _pieces(self.source, self.value):
            if self.is_one:
                yield piece[None]
                continue
            if not piece.shape[1]:  # no row of these has an array
                piece = np.full((len(piece), self.grid.size), np.nan)
            if piece.shape[1] != self.grid.size:
                raise self.source.error(
                    f"column {self.value!r} has arrays of {piece.shape[1]} values, the first in row {first + 1}",
                    f"arrays of {self.grid.size} values, one for each point of the grid",
                )
            first += len(piece)
            yield piece


def open_densities(
    path: str | Path, value: str, grid: str | Sequence[float | str], *, unit: str | None = None, **options: Any
) -> DensityFile:
    """Open a file with densities, and read their grid.

    Parameters
    ----------
    path : str or Path
        The file.
    value : str
        Column with one array per row. It may have one number per row if the grid is another column of the same table;
        the file is then a single density.
    grid : str, sequence of float, or (str, str)
        Location of the abscissae (see `find_grid`), or the first and the last abscissa of an even grid, or all
        abscissae. The values are those of a histogram if `grid` has the locations of the lower and of the upper edges,
        if it has a number more than there are values, and if the names of columns beside it say so: ``Z_MID`` has the
        centres of bins if there are ``Z_LOW`` and ``Z_HIGH``.
    unit : str, optional
        Unit of the abscissae, to which they are converted; only a label if the file gives none.
    **options
        How the file is read: `format` and what follows it in `read_catalog`.

    Raises
    ------
    CatalogError
        For a column that does not contain arrays, and for a grid that does not exist, is not the same for all rows,
        does not increase, or differs in length from the arrays.
    """
    source = Source(Path(path), **options).resolved()
    source.choose(list(list_columns(path, **options)), [value])
    first = next((piece for piece in _pieces(source, value) if piece.shape[-1]), None)
    if first is None:
        raise source.error(f"column {value!r} holds nothing", "at least one density")
    place, stored, points = _locate(source, path, grid, first.shape[-1], options)
    if first.ndim == 1 and place != source:
        raise source.error(
            f"column {value!r} holds one number a row", "an array in each row, or the grid in a column beside it"
        )
    n_points = len(points) - (points.ndim == 1 and _are_edges(grid, points.size, first.shape[-1]))
    if first.shape[-1] != n_points:
        raise source.error(
            f"the grid has {n_points} points, and column {value!r} {first.shape[-1]} values for them",
            "a value for each point",
        )
    factor, label = _conversion(source, stored, unit)
    if points.ndim == 1 and n_points == points.size:
        _check_grid(source, points)
        return DensityFile(source, value, factor * points, label, first.ndim == 1)
    edges = points
    if points.ndim == 2:
        try:
            edges = bin_edges(points)
        except ValueError as error:
            raise source.error(f"the edges do not form a histogram: {error}", "adjacent bins") from None
    _check_grid(source, edges)
    edges = factor * edges
    return DensityFile(source, value, 0.5 * (edges[1:] + edges[:-1]), label, first.ndim == 1, edges)


def _are_edges(grid: str | Sequence[float | str], n_points: int, n_values: int) -> bool:
    """Whether a list of numbers has the edges of bins."""
    return not isinstance(grid, str) and n_points == n_values + 1


def _locate(
    source: Source, path: str | Path, grid: str | Sequence[float | str], n_values: int, options: dict[str, Any]
) -> tuple[Source | None, str | None, Array]:
    """The table that contains the abscissae, their unit there, and the abscissae, or the two edges of each bin."""
    if not isinstance(grid, str) and not all(isinstance(entry, str) for entry in grid):
        numbers = np.array(grid, dtype=np.float64)
        return None, None, np.linspace(numbers[0], numbers[1], n_values) if numbers.size == 2 else numbers
    names = [grid] if isinstance(grid, str) else [str(entry) for entry in grid]
    places = [find_grid(path, name, **options) for name in names]
    place, name = places[0]
    there = list_columns(path, **{**options, "hdu": place.hdu, "path_in_file": place.path_in_file})
    if len(places) == 1 and (edges := bin_columns(name, there)):
        places = [(place, edge) for edge in edges]
    columns = [_one_grid(*each) for each in places]
    if len(columns) == 1:
        return place, there[name], columns[0]
    if columns[0].shape != columns[1].shape:
        raise source.error(f"{columns[0].size} lower and {columns[1].size} upper edges", "two edges for each bin")
    return place, there[name], np.column_stack(columns)


def bin_columns(name: str, names: Iterable[str]) -> tuple[str, str] | None:
    """The columns with the edges of the bins of which a column has the centres, or one of the edges.

    >>> bin_columns("Z_MID", ["Z_LOW", "Z_MID", "Z_HIGH", "BIN1"]), bin_columns("z", ["z", "z_low", "z_high"])
    (('Z_LOW', 'Z_HIGH'), None)
    """
    there = set(names)
    for word in (_CENTRE, *_EDGES):
        for found in re.finditer(word, name, re.IGNORECASE):
            edges = [
                name[: found.start()] + (edge.upper() if found[0].isupper() else edge) + name[found.end() :]
                for edge in _EDGES
            ]
            if there.issuperset(edges):
                return edges[0], edges[1]
    return None


def find_grid(path: str | Path, grid: str, **options: Any) -> tuple[Source, str]:
    """Find the abscissae.

    Parameters
    ----------
    path : str or Path
        The file.
    grid : str
        A column of the table of densities, which contains either the abscissae as its numbers or the same array in each
        row; or ``HDU:COLUMN`` in FITS, with the number or the name of another HDU; or the path of a dataset in HDF5.
    **options
        How the file is read: `format` and what follows it in `read_catalog`.

    Returns
    -------
    source, column
        The table that contains the abscissae, and their column in it.

    Raises
    ------
    CatalogError
        If there is no such column.
    """
    source = Source(Path(path), **options).resolved()
    names = list(list_columns(path, **options))
    if grid in names:
        return source, grid
    if source.format == "fits" and ":" in grid:
        hdu, _, name = grid.partition(":")
        place = {"hdu": hdu}
    elif source.format == "hdf5" and grid.strip("/"):
        parent, _, name = grid.rpartition("/")
        place = {"path_in_file": parent or "/"}
    else:
        other = ", or HDU:COLUMN" if source.format == "fits" else ""
        raise source.error(f"no column {grid!r} with the grid", f"{expected_name(grid, names)}{other}")
    there = list(list_columns(path, **{**options, **place}))
    if name not in there:
        raise source.error(f"no column {grid!r} with the grid", expected_name(name, there))
    return replace(source, **place), name  # type: ignore[arg-type]


def _one_grid(source: Source, name: str) -> Array:
    """All numbers of a column, or its arrays if they are the same in each row."""
    pieces = list(_grids(source, name))
    if not pieces:
        raise source.error(f"column {name!r} with the grid has no rows", "the abscissae")
    return np.concatenate(pieces) if pieces[0].ndim == 1 else pieces[0][0]


def _grids(source: Source, name: str) -> Iterator[Array]:
    """Numbers, or the first of several arrays, after checking that the others are the same."""
    first, n_rows = None, 0
    for piece in _pieces(source, name):
        if piece.ndim == 1:
            yield piece
            continue
        if first is None:
            first = piece[:1]
            yield first
        if piece.shape[1] != first.shape[1]:
            raise source.error(
                f"the grids in column {name!r} have {first.shape[1]} points in row 1, {piece.shape[1]} in row "
                f"{n_rows + 1}",
                "one grid for all rows",
            )
        other = np.flatnonzero(np.any(piece != first, axis=1))
        if other.size:
            raise source.error(
                f"the grid in column {name!r} is another in row {n_rows + int(other[0]) + 1}", "one grid for all rows"
            )
        n_rows += len(piece)


def _check_grid(source: Source, grid: Array) -> None:
    if grid.size < _FEWEST_POINTS:
        raise source.error(f"the grid has {grid.size} points", f"at least {_FEWEST_POINTS}")
    bad = np.flatnonzero(~np.isfinite(grid))
    if bad.size:
        raise source.error(f"point {bad[0] + 1} of the grid is no number", "finite abscissae")
    # The check uses offsets from the middle, as the fits do, in which points that differ only in the last digit
    # coincide.
    bad = np.flatnonzero(~(np.diff(grid - (0.5 * grid[0] + 0.5 * grid[-1])) > 0.0))
    if bad.size:
        before, after = grid[bad[0] : bad[0] + 2].tolist()
        raise source.error(
            f"the grid does not increase: point {bad[0] + 2} is {after!r}, the one before {before!r}",
            "increasing abscissae",
        )


def _conversion(source: Source, stored: str | None, wanted: str | None) -> tuple[float, str | None]:
    """The factor by which to multiply the abscissae, and their unit after this."""
    have, want = parse_unit(stored), parse_unit(wanted)
    if have is None and isinstance(want, u.UnrecognizedUnit):
        raise source.error(f"unknown unit {excerpt(str(wanted))!r}", "a unit that Astropy knows, such as Mpc or km/s")
    if have is None or want is None or have == want:
        return 1.0, wanted or unit_text(have)
    try:
        return float(have.to(want)), wanted
    except (u.UnitsError, ValueError, TypeError):
        raise source.error(f"the grid has the unit {have}, which cannot be converted to {want}", str(want)) from None


def _pieces(source: Source, name: str) -> Iterator[Array]:
    """Read a column in pieces, of shape (n,) for numbers and (n, n_values) for arrays; missing values are nan.

    A table with numbers is a single piece.
    """
    read = {"fits": _from_fits, "hdf5": _from_hdf5, "parquet": _from_parquet}.get(source.format, _from_table)
    numbers, n_rows, width = [], 0, 0
    with source.parsing():
        for values in read(source, name):
            piece = _as_numbers(source, name, values, n_rows, width)
            n_rows += len(piece)
            if piece.ndim == 1:
                numbers.append(piece)
            elif len(piece):
                width = piece.shape[1]
                yield piece
        if numbers:
            yield np.concatenate(numbers)


def _from_fits(source: Source, name: str) -> Iterator[Any]:
    with fits.open(source.path, memmap=True) as hdus:
        with warnings.catch_warnings(action="ignore", category=AstropyWarning):
            hdu = fits_tables.find(hdus, source)
            data, column = hdu.data, hdu.columns[name]
        for start in range(0, len(data), BLOCK_ROWS):
            part = data[start : start + BLOCK_ROWS]
            yield fits_tables.values_of(part, column, isinstance(hdu, fits.TableHDU), source)


def _from_hdf5(source: Source, name: str) -> Iterator[Any]:
    with source.open() as stream, h5py.File(stream, "r") as file:
        node = hdf5_tables.find(file, source)
        is_group = isinstance(node, h5py.Group)
        column = node[name] if is_group else node.fields(name)
        for start in range(0, len(column), BLOCK_ROWS):
            stored = column[start : start + BLOCK_ROWS]
            yield hdf5_tables.by_convention(np.ma.MaskedArray(stored), column) if is_group else stored


def _from_parquet(source: Source, name: str) -> Iterator[Any]:
    with source.open() as stream, pq.ParquetFile(stream) as file:
        for batch in file.iter_batches(BLOCK_ROWS, columns=[name]):
            column = batch.column(name)
            kind = column.type
            if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
                yield _from_lists(source, name, column)
            else:
                yield column.to_numpy(zero_copy_only=False)


def _from_lists(source: Source, name: str, column: pa.Array) -> NDArray[Any]:
    """Lists stacked into an array, or as separate arrays if their lengths differ."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    values = column.flatten().to_numpy(zero_copy_only=False)
    there = lengths > 0
    found = np.unique(lengths[there])
    if found.size != 1:
        rows = np.empty(len(column), dtype=object)
        rows[:] = [values[end - length : end] for end, length in zip(np.cumsum(lengths), lengths, strict=True)]
        return rows
    table = np.full((len(column), found[0]), np.nan)
    table[there] = values.reshape(-1, found[0])
    return table


def _from_table(source: Source, name: str) -> Iterator[Any]:
    """Read a column in a format that is read whole."""
    table = read_catalog(
        source.path,
        [name],
        format=source.format,
        comment=source.comment,
        delimiter=source.delimiter,
        decimal=source.decimal,
    )
    column = table[name].data
    for start in range(0, len(column), BLOCK_ROWS):
        yield column[start : start + BLOCK_ROWS]


def _as_numbers(source: Source, name: str, values: Any, n_before: int, width: int) -> Array:
    """A piece as numbers, with nan for missing values; `width` is that of earlier arrays, 0 if it is not known."""
    if np.asarray(values).dtype.kind == "O":
        values = _stacked(source, name, values, n_before, width)
    column = as_column(name, values)
    if column.ndim > 2 or column.dtype.kind not in "iuf":
        held = f"arrays of {column.ndim - 1} dimensions" if column.ndim > 2 else kind_of(column)
        raise source.error(f"column {name!r} holds {held}", "an array of numbers in each row")
    mask_sentinels(column, source.missing)
    return np.ascontiguousarray(np.ma.asarray(column.data, dtype=np.float64).filled(np.nan))


def _stacked(source: Source, name: str, values: Any, n_before: int, width: int) -> Any:
    """Stack arrays; a row without an array becomes nan. Values that are not arrays are returned unchanged."""
    data, masked = np.ma.getdata(values), np.ma.getmaskarray(values)
    rows = [None if hidden else row for row, hidden in zip(data, masked, strict=True)]
    if not all(row is None or np.ndim(row) for row in rows):
        return data
    lengths = np.array([0 if row is None else len(row) for row in rows])
    expected = width or next((length for length in lengths if length), 0)
    ragged = np.flatnonzero((lengths != expected) & (lengths > 0))
    if ragged.size:
        raise source.error(
            f"column {name!r} has arrays of different lengths, {expected} values and, first in row "
            f"{n_before + int(ragged[0]) + 1}, {lengths[ragged[0]]}",
            "as many values in each row as the grid has points",
        )
    missing = np.full(expected, np.nan)
    return np.array([row if length else missing for row, length in zip(rows, lengths, strict=True)], dtype=np.float64)
