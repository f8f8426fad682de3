"""Some files of a release into one Parquet file with only the columns that its fits need."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from astropy.table import Table

from mixpipe.catalog.files import unchanged
from mixpipe.catalog.hashes import catalog_hash
from mixpipe.catalog.reading import read_blocks
from mixpipe.catalog.store import write_blocks
from mixpipe.pipeline.plan.texts import IngestPlan, check_data, open_ingest_plan

# Seconds between two lines on how far the reading has come.
_EVERY = 5.0


def ingest_release(plan: str, columns: str) -> None:
    """Read files of a release and write the needed columns, some rows at a time.

    Parameters
    ----------
    plan : str
        Text of an `IngestPlan`.
    columns : str
        Parquet file to write; it remembers the files with their row counts and hashes.

    Raises
    ------
    CatalogError
        For files that cannot be read, or that changed after the plan was made.
    """
    todo = open_ingest_plan(plan)
    for file, planned in todo.files.items():
        check_data("the file", catalog_hash(Path(file)), planned, file)
    path = Path(columns)
    files = {file: {"sha256": planned} for file, planned in todo.files.items()}
    write_blocks(_blocks(todo), path, files, todo.arrays)


def _blocks(todo: IngestPlan) -> Iterator[Table]:
    """All rows of the files, with a line in the log now and then."""
    start = last = time.monotonic()
    n_rows = 0
    for number, file in enumerate(todo.files, start=1):
        place = f"catalog {todo.catalog}, release {todo.release}"
        with unchanged(Path(file)):
            for table in read_blocks(file, list(todo.columns), **todo.reading, where_from=place):
                yield table
                n_rows += len(table)
                now = time.monotonic()
                if now - last > _EVERY:
                    last = now
                    print(f"{n_rows:,} rows, file {number} of {len(todo.files)}, {n_rows / (now - start):,.0f} rows/s")
    print(f"{n_rows:,} rows of {len(todo.files)} files in {time.monotonic() - start:.1f} s")
