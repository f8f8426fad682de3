"""Catalog files as their settings have them read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from astropy.table import Table

from mixpipe.catalog import read_catalog
from mixpipe.columns import ColumnData, prepare_column, required_columns
from mixpipe.config import CatalogSettings, ColumnSettings
from mixpipe.errors import CatalogError


def read_files(
    files: Sequence[Path], settings: CatalogSettings, columns: Sequence[ColumnSettings], where_from: str = ""
) -> Table:
    """The columns that these entries need, from the files of one release.

    Parameters
    ----------
    files : sequence of Path
        The files.
    settings : CatalogSettings
        How they are read.
    columns : sequence of ColumnSettings
        The entries.
    where_from : str
        Which catalog and release this is, for error messages.
    """
    return read_catalog(
        list(files),
        required_columns(columns, settings.where, settings.key),
        format=settings.format,
        hdu=settings.hdu,
        path_in_file=settings.path,
        comment=settings.comment,
        delimiter=settings.delimiter,
        missing=settings.missing,
        where_from=where_from,
    )


def usable_rows(
    table: Table, column: ColumnSettings, settings: CatalogSettings, place: str, catalog: str = "", release: str = ""
) -> ColumnData:
    """The rows of a column that can be fitted.

    Raises
    ------
    CatalogError
        As `prepare_column`, and if there is none with a positive weight.
    """
    data = prepare_column(table, column, where=settings.where, catalog=catalog, release=release)
    if not data.weights.sum() > 0:
        counts = ", ".join(f"{count} {reason}" for reason, count in data.dropped.items() if count) or "none"
        raise CatalogError(
            f"no row of {data.n_read} can be used (dropped: {counts})", place, "at least one row of positive weight"
        )
    return data
