"""Reading of a catalog, or of its header only, in any format."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from mixpipe.base.errors import CatalogError
from mixpipe.base.presentation import plural
from mixpipe.catalog.files import folder_files
from mixpipe.catalog.source import Source

if TYPE_CHECKING:
    from astropy.table import Table

    from mixpipe.catalog.light import LightTable

# A block has a megabyte for each column of numbers.
BLOCK_ROWS = 1 << 17

# The libraries of a format are imported only when a file of that format is read.
_READERS = {
    "fits": "mixpipe.catalog.formats.fits",
    "csv": "mixpipe.catalog.formats.text",
    "ecsv": "mixpipe.catalog.formats.markup",
    "votable": "mixpipe.catalog.formats.markup",
    "mrt": "mixpipe.catalog.formats.markup",
    "ipac": "mixpipe.catalog.formats.markup",
    "daophot": "mixpipe.catalog.formats.markup",
    "latex": "mixpipe.catalog.formats.markup",
    "parquet": "mixpipe.catalog.formats.parquet",
    "hdf5": "mixpipe.catalog.formats.hdf5",
}


class _Reader(Protocol):
    """The functions that the module of each format has."""

    def columns(self, source: Source) -> dict[str, str | None]:
        """Names and units, from the header."""

    def blocks(self, source: Source, names: Sequence[str] | None, rows: int) -> Iterator[Table | LightTable]:
        """These columns, or all, at most `rows` rows at a time; at least one table, if an empty one."""


def read_catalog(
    path: str | Path | Sequence[str | Path],
    columns: Sequence[str] | None = None,
    *,
    format: str = "auto",
    hdu: int | str | None = None,
    path_in_file: str | None = None,
    comment: str | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    missing: Sequence[float | str] = (),
    where_from: str = "",
) -> Table:
    """Read a catalog from one file, or from several files over which it is distributed.

    Parameters
    ----------
    path : str, Path or sequence of these
        The file, the folder of a Parquet or HATS catalog, or the shards of one release, whose rows are joined in the
        given order.
    columns : sequence of str, optional
        Names of the columns to read, exactly as in the header; all if None.
    format : str
        ``fits``, ``csv`` (any delimited text with a header, also of SExtractor, RDB and VizieR), ``ecsv``, ``votable``,
        ``mrt`` (machine-readable tables of the CDS and the AAS), ``ipac``, ``daophot``, ``latex`` (AASTeX too),
        ``parquet`` or ``hdf5``; ``auto`` determines the format. Gzipped files can be read directly.
    hdu : int or str, optional
        FITS: number or EXTNAME of the table; the first table if None.
    path_in_file : str, optional
        HDF5: path of a compound dataset, or of a group with a dataset per column; not needed if there is only one.
    comment : str, optional
        CSV: lines that start with this are skipped. Without it, lines that start with ``#`` before the header are
        skipped.
    delimiter : str, optional
        CSV: one character, or ``whitespace`` or ``tab``; determined from the header line if None.
    decimal : str, optional
        CSV: the decimal mark, ``,`` for numbers such as 9,81; a point by default.
    missing : sequence of float or str
        Sentinels: cells that contain one of these are masked.
    where_from : str
        Description of the catalog and release for error messages.

    Returns
    -------
    astropy.table.Table
        Masked columns with units and the values as stored. NaN, blanks, nulls and sentinels are masked.
        ``meta["files"]`` lists ``{"path", "n_rows"}`` of each file, with ``doubts``, texts about what was found in it,
        if there are any, and ``repeated``, the names of several columns, which are left out.

    Raises
    ------
    CatalogError
        For a file that does not exist, cannot be read, is not of its format, or lacks a column.
    """
    from mixpipe.catalog.light import as_astropy

    paths = list(folder_files(Path(path)) if isinstance(path, str | Path) else path)
    if not paths:
        raise ValueError("path must name at least one file")
    tables, sources, entries = [], [], []
    for file in paths:
        source = Source(
            Path(file), format, hdu, path_in_file, comment, delimiter, decimal, tuple(missing), where_from
        ).resolved()
        parts = [as_astropy(table) for table in _blocks(source, columns, sys.maxsize)]
        # Shards must have the same columns whether or not these were requested by name.
        columns = parts[0].colnames if columns is None else columns
        tables += parts
        sources += [source] * len(parts)
        entries.append(_entry(source, sum(map(len, parts))))
    joined = tables[0] if len(tables) == 1 else join(tables, sources)
    joined.meta = {"files": entries}
    return joined


def read_blocks(
    path: str | Path, columns: Sequence[str] | None = None, *, rows: int = BLOCK_ROWS, **options: Any
) -> Iterator[Table | LightTable]:
    """Read a catalog file in blocks of rows, with only one block in memory.

    FITS, Parquet and HDF5 files are read once. Delimited text of more than one block is read twice, because the type of
    a column may become apparent only in its last row. VOTable, ECSV and machine-readable tables are held in memory as a
    whole.

    Parameters
    ----------
    path : str or Path
        The file.
    columns : sequence of str, optional
        Names of the columns to read, exactly as in the header; all if None.
    rows : int
        Largest number of rows of a block; blocks of wide tables have fewer.
    **options
        How it is read: `format` and what follows it in `read_catalog`.

    Yields
    ------
    astropy.table.Table or LightTable
        The next rows, as `read_catalog` returns them, except that texts are only as wide as those of the block. There
        is at least one table, which is empty for a file without rows. ``meta["files"]`` has one entry,
        ``{"path", "n_rows", "first_row"}``: the number of rows of the block, and the number of rows of the file before
        it.

    Raises
    ------
    CatalogError
        When the block is requested, as for `read_catalog`.
    """
    if rows < 1:
        raise ValueError(f"rows must be positive, not {rows}")

    def tables() -> Iterator[Table | LightTable]:
        for file in folder_files(Path(path)):
            source = Source(file, **options).resolved()
            first = 0
            for table in _blocks(source, columns, rows):
                table.meta = {"files": [{**_entry(source, len(table)), "first_row": first}]}
                first += len(table)
                yield table

    return alike(tables())


def alike(tables: Iterable[Any]) -> Iterator[Any]:
    """The same blocks of rows, which may be of several files.

    Raises
    ------
    CatalogError
        When a block is requested in which a column contains text instead of numbers, or has another unit than before.
    """
    before = _Before()
    for table in tables:
        source = Source(Path(table.meta["files"][0]["path"] if table.meta["files"] else ""))
        for name in table.colnames:
            before.check(name, table[name], source)
        yield table


class _Before:
    """The kinds of content and the units that columns have had, each with the first file that has it."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, Path]] = {}
        self._units: dict[str, tuple[Any, Path]] = {}

    def check(self, name: str, column: Any, source: Source) -> None:
        """Refuse a column whose content is of another kind, or that has another unit.

        Raises
        ------
        CatalogError
            If it is.
        """
        from mixpipe.catalog.formats.arrays import kind_of

        known = self._kinds.get(name, ("", source.path))[0]
        # Of numbers among numbers it does not matter whether all are missing.
        kind = known if known == "numbers" and column.dtype.kind in "iuf" else kind_of(column)
        if kind != "nothing":
            found, first = self._kinds.setdefault(name, (kind, source.path))
            if kind != found:
                raise source.error(f"column {name!r} holds {kind}", f"{found} as in {first}")
        unit, first = self._units.setdefault(name, (column.unit, source.path))
        if column.unit != unit:
            raise source.error(f"column {name!r} has the unit {column.unit}", f"{unit} as in {first}")


def _entry(source: Source, n_rows: int) -> dict[str, Any]:
    """What is known of a file that was read."""
    said = {"doubts": list(source.doubts), "repeated": list(source.repeated)}
    return {"path": str(source.path), "n_rows": n_rows} | {key: listed for key, listed in said.items() if listed}


def idle_options(path: str | Path, **options: Any) -> dict[str, str]:
    """Options that do not apply to the format of this file, each with the format to which it applies.

    Parameters
    ----------
    path : str or Path
        The file.
    **options
        How it is read: `format` and what follows it in `read_catalog`.
    """
    return Source(folder_files(Path(path))[0], **options).resolved().idle()


def list_columns(path: str | Path, **options: Any) -> dict[str, str | None]:
    """Column names and units of one file, from its header.

    This is fast for files of any size, except for VOTable, ECSV and machine-readable tables, which are read whole.

    Parameters
    ----------
    path : str or Path
        The file.
    **options
        How it is read: `format` and what follows it in `read_catalog`.

    Returns
    -------
    dict
        Unit of each column, or None if the file gives none, in the order of the file.
    """
    source = Source(folder_files(Path(path))[0], **options).resolved()
    with _quiet(), source.parsing():
        return _reader(source).columns(source)


def _reader(source: Source) -> _Reader:
    return cast(_Reader, importlib.import_module(_READERS[source.format]))


def _blocks(source: Source, columns: Sequence[str] | None, rows: int) -> Iterator[Table | LightTable]:
    """Blocks of one file, with sentinels masked."""
    from mixpipe.catalog.formats.arrays import mask_sentinels

    blocks = _reader(source).blocks(source, columns, rows)
    for number in itertools.count():
        # Only the reading of a block is wrapped, not what the caller does between two blocks.
        with _quiet(), source.parsing():
            table = next(blocks, None)
            if columns is not None and not number:
                _look_for_flags(source, columns, rows)
        if table is None:
            return
        for column in table.itercols():
            mask_sentinels(column, source.missing)
        yield table


def _look_for_flags(source: Source, columns: Sequence[str], rows: int) -> None:
    """Doubt a table of which columns that are not read mark limits among those that are, in the first block."""
    from mixpipe.catalog.limits import VALUE, read_flags
    from mixpipe.catalog.recognition import find_flags

    flags = find_flags([name for name in source.header if name not in columns], columns)
    for name, value in flags.items():
        with contextlib.suppress(CatalogError):
            # What is no flag after all is of no concern.
            marks = next(_reader(source).blocks(replace(source, doubts=[]), [name], rows))[name]
            marked = int(np.count_nonzero(read_flags(marks, name, source.error) != VALUE))
            if marked:
                source.doubt(
                    f"{source.path}: column {name!r} marks limits of {value!r} in {plural(marked, 'row')} and is not "
                    "used: `limit_flag` takes these as limits instead of values"
                )


def _quiet() -> warnings.catch_warnings:
    """Silence Astropy's warnings about headers; real problems raise errors or show in the counts of dropped rows."""
    from astropy.utils.exceptions import AstropyWarning

    return warnings.catch_warnings(action="ignore", category=AstropyWarning)


def join(tables: Sequence[Table], sources: Sequence[Source]) -> Table:
    """Join the rows of all tables; the kind of content and the unit of each column must be the same in all."""
    from astropy.table import MaskedColumn, Table

    from mixpipe.catalog.formats.arrays import kind_of

    whole, before = Table(), _Before()
    for name in tables[0].colnames:
        parts = [table[name] for table in tables]
        for part, source in zip(parts, sources, strict=True):
            before.check(name, part, source)
        kinds = [kind_of(part) for part in parts]
        first = next((i for i, kind in enumerate(kinds) if kind != "nothing"), 0)
        # Rows without a single value may have been assigned a different type.
        arrays = [
            np.ma.asarray(part) if kind != "nothing" else np.ma.masked_all(part.shape, dtype=parts[first].dtype)
            for part, kind in zip(parts, kinds, strict=True)
        ]
        kind_of_all = np.result_type(*arrays)
        if kind_of_all.kind == "f" and all(array.dtype.kind in "iu" for array in arrays):
            # Signed and unsigned integers beyond 2^53 have no common type but this one, or none.
            lost = next((k for k, array in enumerate(arrays) if array.dtype.kind == "i" and np.any(array < 0)), None)
            if lost is not None:
                raise sources[lost].error(
                    f"column {name!r} has negative numbers beside ones beyond 9223372036854775807 in another file",
                    "whole numbers of one type",
                )
            arrays = [array.astype(np.uint64) for array in arrays]
        column = MaskedColumn(np.ma.concatenate(arrays), name=name, unit=parts[first].unit)
        whole.add_column(column, copy=False)
    return whole
