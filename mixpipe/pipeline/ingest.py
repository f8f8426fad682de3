"""The files of one release into one Parquet file with only the columns that its fits need."""

from __future__ import annotations

from pathlib import Path

from mixpipe.catalog import read_catalog, write_columns
from mixpipe.pipeline.plan import check_data, open_ingest_plan
from mixpipe.provenance import sha256


def ingest_release(plan: str, columns: str) -> None:
    """Read all files of a release and write the needed columns.

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
    table = read_catalog(
        [Path(file) for file in todo.files],
        list(todo.columns),
        **todo.reading,
        where_from=f"catalog {todo.catalog}, release {todo.release}",
    )
    for entry, (file, planned) in zip(table.meta["files"], todo.files.items(), strict=True):
        check_data("the file", sha256(Path(file)), planned, file)
        entry["sha256"] = planned
    path = Path(columns)
    write_columns(table, path)
    # What was read from other contents of the files serves nobody any more.
    content = path.stem.split("-")[0]
    for old in path.parent.glob("*.parquet"):
        if old.stem.split("-")[0] != content:
            old.unlink()
