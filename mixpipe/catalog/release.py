"""A release that was stored in several files, with its rows in the order of the original files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixpipe.base.errors import CatalogError, PassingError
from mixpipe.catalog.doubts import with_files
from mixpipe.catalog.reading import alike, join
from mixpipe.catalog.source import Source

if TYPE_CHECKING:
    from astropy.table import Table


@dataclass(frozen=True)
class _Run:
    """Rows of a stored file, from `start` to `stop`."""

    part: Path
    start: int
    stop: int


class StoredRelease:
    """The rows of a release, from files that `write_blocks` wrote.

    Parameters
    ----------
    parts : sequence of Path
        Stored files, which together contain all files of the release, and possibly others.
    files : mapping of str to str
        The release's files in order, each with the SHA-256 of its content.
    place : str
        Description of the release for error messages.

    Raises
    ------
    PassingError
        If a file of the release, with this content, is not in any of the parts.
    """

    def __init__(self, parts: Sequence[Path], files: Mapping[str, str], place: str) -> None:
        from mixpipe.catalog.store import stored_files

        held: dict[tuple[str, str], tuple[_Run, dict[str, Any]]] = {}
        for part in parts:
            n_before = 0
            for entry in stored_files(part):
                run = _Run(part, n_before, n_before + entry["n_rows"])
                held.setdefault((entry["path"], entry["sha256"]), (run, entry))
                n_before = run.stop
        missing = [path for path, digest in files.items() if (path, digest) not in held]
        if missing:
            raise PassingError(
                f"{len(missing)} of {len(files)} files changed after this job was planned, the first is {missing[0]}",
                f"in {place}",
                "files that stay as they are during a run: start the pipeline again",
            )
        self._runs = list(_joined_runs([held[item][0] for item in files.items()]))
        self.files = [held[item][1] for item in files.items()]

    def blocks(self, columns: Sequence[str]) -> Iterator[Table]:
        """Read these columns in blocks of rows, with ``meta["files"]`` as in `stored_blocks`.

        Raises
        ------
        CatalogError
            For a column that could not be stored, or that contains text in one file and numbers in another, or has
            different units.
        PassingError
            If a part cannot be read.
        """
        from mixpipe.catalog.store import check_stored

        for part in dict.fromkeys(run.part for run in self._runs):
            check_stored(part, columns)
        yield from alike(self._tables(columns))

    def _tables(self, columns: Sequence[str]) -> Iterator[Table]:
        from mixpipe.catalog.store import stored_blocks

        for run in self._runs:
            try:
                yield from stored_blocks(run.part, columns, start=run.start, stop=run.stop)
            except CatalogError as error:
                raise PassingError(error.what, error.where, error.expected) from error


def joined(tables: Sequence[Table]) -> Table:
    """Join blocks of rows into one table, with the numbers of rows of each file added up.

    Raises
    ------
    CatalogError
        If a column contains text in one file and numbers in another, or has different units.
    """
    entries = [entry for table in tables for entry in table.meta["files"]]
    files = []
    for _, same in groupby(entries, key=lambda entry: entry["path"]):
        parts = list(same)
        (entry,) = with_files({}, parts).values()
        kept = {key: value for key, value in entry.items() if key != "first_row"}
        files.append({**kept, "n_rows": sum(part["n_rows"] for part in parts)})
    sources = [Source(Path(table.meta["files"][0]["path"] if table.meta["files"] else "")) for table in tables]
    whole = tables[0] if len(tables) == 1 else join(tables, sources)
    whole.meta = {"files": files}
    return whole


def _joined_runs(runs: Sequence[_Run]) -> Iterator[_Run]:
    current: _Run | None = None
    for run in runs:
        if current is not None and run.part == current.part and run.start == current.stop:
            current = _Run(run.part, current.start, run.stop)
            continue
        if current is not None:
            yield current
        current = run
    if current is not None:
        yield current
