"""Read a catalog, or only its header, whatever its format."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from astropy.table import MaskedColumn, Table
from astropy.utils.exceptions import AstropyWarning

from mixpipe.catalog.arrays import kind_of, mask_sentinels
from mixpipe.catalog.source import Source

# Each format's libraries are imported when a file of that format is met.
_READERS = {
    "fits": "mixpipe.catalog.fits",
    "csv": "mixpipe.catalog.text",
    "ecsv": "mixpipe.catalog.markup",
    "votable": "mixpipe.catalog.markup",
    "mrt": "mixpipe.catalog.markup",
    "parquet": "mixpipe.catalog.parquet",
    "hdf5": "mixpipe.catalog.hdf5",
}


class _Reader(Protocol):
    """What each format's module offers."""

    def columns(self, source: Source) -> dict[str, str | None]:
        """Names and units, from the header."""

    def read(self, source: Source, names: Sequence[str] | None) -> Table:
        """These columns, or all."""


def read_catalog(
    path: str | Path | Sequence[str | Path],
    columns: Sequence[str] | None = None,
    *,
    format: str = "auto",
    hdu: int | str | None = None,
    path_in_file: str | None = None,
    comment: str | None = None,
    delimiter: str | None = None,
    missing: Sequence[float | str] = (),
    where_from: str = "",
) -> Table:
    """Read a catalog from one file, or from the files that it is spread over.

    Parameters
    ----------
    path : str, Path or sequence of these
        The file, or the shards of one release, whose rows are joined in the order given.
    columns : sequence of str, optional
        Names of the columns to read, exactly as in the header; all if None.
    format : str
        ``fits``, ``csv`` (any delimited text with a header line), ``ecsv``, ``votable``, ``mrt`` (machine-readable
        tables of the CDS and the AAS), ``parquet`` or ``hdf5``; ``auto`` finds out. Gzipped files are read as they are.
    hdu : int or str, optional
        FITS: number or EXTNAME of the table; the first table if None.
    path_in_file : str, optional
        HDF5: a compound dataset, or a group with a dataset per column; not needed if there is only one.
    comment : str, optional
        CSV: lines that start with this are skipped. Without it, lines that start with ``#`` in front of the header are.
    delimiter : str, optional
        CSV: one character, or ``whitespace`` or ``tab``; found out from the header line if None.
    missing : sequence of float or str
        Sentinels: cells that hold one of these are masked.
    where_from : str
        Which catalog and release this is, for error messages.

    Returns
    -------
    astropy.table.Table
        Masked columns with units and the values as stored. NaN, blanks, nulls and sentinels are masked.
        ``meta["files"]`` lists ``{"path", "n_rows"}`` of each file.

    Raises
    ------
    CatalogError
        For a file that is not there, not readable, not of its format, or lacks a column.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise ValueError("path must name at least one file")
    tables, sources = [], []
    for file in paths:
        source = Source(
            Path(file), format, hdu, path_in_file, comment, delimiter, tuple(missing), where_from
        ).resolved()
        with _quiet(), source.parsing():
            table = _reader(source).read(source, columns)
        for column in table.itercols():
            mask_sentinels(column, source.missing)
        # Shards need the same columns whether or not they were asked for by name.
        columns = table.colnames if columns is None else columns
        tables.append(table)
        sources.append(source)
    joined = tables[0] if len(tables) == 1 else _join(tables, sources)
    joined.meta = {"files": [{"path": str(s.path), "n_rows": len(t)} for s, t in zip(sources, tables, strict=True)]}
    return joined


def list_columns(path: str | Path, **options: Any) -> dict[str, str | None]:
    """Column names and units of one file, from its header.

    Cheap however large the file, except for VOTable, ECSV and machine-readable tables, which are read whole.

    Parameters
    ----------
    path : str or Path
        The file.
    **options
        How it is read: `format` and what follows it in `read_catalog`.

    Returns
    -------
    dict
        Unit of each column, None where the file gives none, in the file's order.
    """
    source = Source(Path(path), **options).resolved()
    with _quiet(), source.parsing():
        return _reader(source).columns(source)


def _reader(source: Source) -> _Reader:
    return cast(_Reader, importlib.import_module(_READERS[source.format]))


def _quiet() -> warnings.catch_warnings:
    """Silence Astropy's remarks on headers; what matters is raised or shows in the counts of dropped rows."""
    return warnings.catch_warnings(action="ignore", category=AstropyWarning)


def _join(tables: Sequence[Table], sources: Sequence[Source]) -> Table:
    """Rows of all tables; what a column holds, and its unit, must be the same in each."""
    joined = Table()
    for name in tables[0].colnames:
        parts = [table[name] for table in tables]
        first = next((i for i, part in enumerate(parts) if len(part) and kind_of(part) != "nothing"), 0)
        for part, source in zip(parts, sources, strict=True):
            if len(part) and kind_of(part) not in ("nothing", kind_of(parts[first])):
                raise source.error(
                    f"column {name!r} holds {kind_of(part)}",
                    f"{kind_of(parts[first])} as in {sources[first].path}",
                )
            if part.unit != parts[first].unit:
                raise source.error(
                    f"column {name!r} has the unit {part.unit}", f"{parts[first].unit} as in {sources[first].path}"
                )
        # A shard without a single value may have been taken for another type.
        arrays = [
            part.data if kind_of(part) != "nothing" else np.ma.masked_all(part.shape, dtype=parts[first].dtype)
            for part in parts
        ]
        joined[name] = MaskedColumn(np.ma.concatenate(arrays), name=name, unit=parts[first].unit)
    return joined
