"""Text formats that carry units and are read whole by Astropy: ECSV, VOTable and machine-readable tables."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from astropy.io import ascii as text_tables
from astropy.io.votable import parse
from astropy.table import Column, Table

from mixpipe.catalog.formats.arrays import as_column, row_ranges, unit_text
from mixpipe.catalog.source import Source


def columns(source: Source) -> dict[str, str | None]:
    """Names and units, which requires reading the whole table."""
    table = _whole(source)
    source.choose(table.colnames, None)
    return {name: unit_text(table[name].unit) for name in table.colnames if isinstance(table[name], Column)}


def blocks(source: Source, names: Sequence[str] | None, rows: int) -> Iterator[Table]:
    """These columns, or all, in blocks of rows; the whole table is in memory."""
    whole = _whole(source)
    table = Table()
    for name in source.choose(whole.colnames, names):
        column = whole[name]
        if not isinstance(column, Column):
            raise source.error(f"column {name!r} holds {type(column).__name__}", "plain numbers or text")
        table.add_column(as_column(name, column.data, column.unit), copy=False)
    for start, stop in row_ranges(len(table), rows):
        yield table[start:stop]


def _whole(source: Source) -> Table:
    if source.format == "votable":
        document = parse(io.BytesIO(source.content()), verify="ignore")
        tables = [table for table in document.iter_tables() if len(table.fields)]
        if not tables:
            raise source.error("the file has no table", "a VOTable with a TABLE element; was the query answered?")
        full = [table for table in tables if len(table.array)]
        if len(full) > 1:
            raise source.error(f"the file has {len(full)} tables with rows", "a VOTable with one; save each in a file")
        table = (full or tables)[0]
        source.choose([field.name for field in table.fields], None)
        return table.to_table(use_names_over_ids=True)
    text = source.content().decode("utf-8", "backslashreplace").removeprefix("\ufeff")
    if source.format == "ecsv":
        # The columns may be quantities.
        return Table(text_tables.read(text, format="ecsv"), copy=False)
    try:
        return text_tables.read(text, format="mrt")
    except text_tables.InconsistentTableError:
        return text_tables.read(text, format="cds")
