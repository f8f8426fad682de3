"""Resolution of the paths and patterns of a configuration to files."""

from __future__ import annotations

import csv
import errno
import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mixpipe.base.errors import ConfigError, PassingError, excerpt

if TYPE_CHECKING:
    from astropy.table import Table


# A sample of the rows that HATS keeps beside them.
_THUMBNAIL = "data_thumbnail.parquet"
_PARQUET = (".parquet", ".parq", ".pq")
# Files that describe a HATS catalog, a collection of such catalogs, and the partitions of one.
_PROPERTIES, _COLLECTION = ("properties", "hats.properties", "catalog_info.json"), "collection.properties"
_PARTITIONS = "partition_info.csv"


def expand_files(patterns: str | Path | Sequence[str | Path], base: Path) -> tuple[Path, ...]:
    """The files to which a path, a glob pattern or a list of both refers.

    Parameters
    ----------
    patterns : str, Path or sequence of these
        Paths, absolute or relative to `base`; ``*``, ``?``, ``[...]`` and ``**`` match files. A folder stands for the
        Parquet files in it, as of a HATS catalog.
    base : Path
        Folder to which relative paths refer.

    Returns
    -------
    tuple of Path
        Files in the order of the list; the matches of a glob pattern are sorted with numbers by value (``part2`` before
        ``part10``).

    Raises
    ------
    ConfigError
        For a path or pattern without a file, a folder without Parquet files, or a file that is named twice.
    """
    entries = [patterns] if isinstance(patterns, str | Path) else list(patterns)
    if any("\0" in str(entry) for entry in entries):
        raise ConfigError("a NUL in the name of a file", f"in {_shown(entries)!r}", "a name that a file can have")
    if not entries:
        raise ConfigError("an empty list of files", f"below {base}", "at least one file or glob")
    try:
        files = [file for entry in entries for file in _matches(entry, base)]
    except OSError as error:
        what = f"the file system refuses the name of a file ({error.strerror})"
        raise ConfigError(what, f"in {excerpt(_shown(entries))}", "a file that exists") from error
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(os.path.realpath(file), file)
        if other is not file:
            also = "" if other == file else f", also as {other}"
            raise ConfigError(f"file {file} is named twice{also}", f"in {_shown(entries)}", "each file once")
    return tuple(files)


def folder_files(path: Path) -> tuple[Path, ...]:
    """The files of a catalog that is a folder: all Parquet files in it but those about others; else the file itself.

    Names that begin with an underscore or a point belong to metadata, as in a HATS catalog. Of a collection of these
    the primary one is read.

    Raises
    ------
    ConfigError
        For a folder without Parquet files, with several HATS catalogs, or with one that lacks a partition.
    """
    if not os.path.isdir(path):
        return (path,)
    primary = _primary_table(path)
    if primary is not None:
        return folder_files(path / primary)
    every = list(path.rglob("*"))
    parts = [
        part
        for part in every
        if part.suffix.lower() in _PARQUET
        and part.is_file()
        and part.name != _THUMBNAIL
        and not any(name.startswith(("_", ".")) for name in part.relative_to(path).parts)
    ]
    if (path / "_delta_log").is_dir() or any((path / "metadata").glob("*.metadata.json")):
        what = f"{path.name} is a table of Delta Lake or Iceberg, in which files of former versions remain"
        raise ConfigError(what, _folder(path), "a folder to which its present rows are exported")
    if not parts:
        what = f"{path.name} is a folder without Parquet files"
        raise ConfigError(what, _folder(path), "a file, or a pattern such as folder/*.fits")
    catalogs = sorted({str(other.parent.relative_to(path)) for other in every if other.name in _PROPERTIES})
    if len(catalogs) > 1:
        what = f"{path.name} is a folder with {len(catalogs)} catalogs"
        raise ConfigError(what, _folder(path), f"one of {', '.join(catalogs)} in it")
    _check_partitions(path, parts)
    return tuple(sorted(parts, key=_natural))


def _primary_table(path: Path) -> str | None:
    """The folder of the primary catalog of a HATS collection; None if this is no collection."""
    try:
        text = (path / _COLLECTION).read_text("utf-8", "replace")
    except OSError:
        return None
    found = re.search(r"(?m)^\s*hats_primary_table_url\s*=\s*(\S+)", text)
    return found[1].strip("/") if found and (path / found[1].strip("/")).is_dir() else None


def _check_partitions(path: Path, parts: Sequence[Path]) -> None:
    """Refuse a HATS catalog that lacks a partition of its list."""
    try:
        text = (path / _PARTITIONS).read_text("utf-8-sig", "replace")
    except OSError:
        return
    rows = csv.DictReader((line.strip() for line in text.splitlines()), skipinitialspace=True)
    keys = [{(name or "").strip().lower(): value for name, value in row.items()} for row in rows]
    listed = {(row["norder"], row["npix"]) for row in keys if row.get("norder") and row.get("npix")}
    places = (re.search(r"Norder=(\d+)\b.*\bNpix=(\d+)", str(part.relative_to(path))) for part in parts)
    missing = sorted(listed - {(found[1], found[2]) for found in places if found})
    if missing:
        order, pixel = missing[0]
        raise ConfigError(
            f"{path.name} lacks {len(missing)} of {len(listed)} partitions, the first is Norder={order}, Npix={pixel}",
            _folder(path),
            f"those that {_PARTITIONS} lists; a pattern such as {path.name}/**/*.parquet reads those that are there",
        )


def place(table: Table) -> str:
    """The file or files of a table, for error messages."""
    files = [entry["path"] for entry in table.meta.get("files", [])]
    return f"in {files[0]}" + (f" and {len(files) - 1} more" if len(files) > 1 else "") if files else "in a table"


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Refuse a file that changes while it is read in this context.

    Raises
    ------
    PassingError
        If the file changed.
    """
    before = _state(path)
    yield
    if _state(path) != before:
        raise PassingError("the file changed while it was read", f"in {path}", "a file that stays as it is")


def _state(path: Path) -> tuple[int, ...] | None:
    """A state that changes with the file; None if there is no file, for which reading it gives a better message."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino


def _matches(entry: str | Path, base: Path) -> list[Path]:
    text = os.path.expanduser(entry)
    path = base / text
    if path.is_symlink() and _is_loop(path):
        raise ConfigError(f"{path.name} is a link that leads back to itself", _folder(path), "a file that exists")
    if path.is_dir():
        return list(folder_files(path))
    # A name with brackets may itself be a file, so check for this before interpreting it as a pattern.
    if path.exists():
        return [path]
    if not glob.has_magic(text):
        raise ConfigError(f"no such file {path.name}", _folder(path), "a file that exists")
    pattern = text if os.path.isabs(text) else os.path.join(glob.escape(str(base)), text)
    found = sorted((Path(name) for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)), key=_natural)
    # A thumbnail repeats some of the rows.
    found = [file for file in found if file.name != _THUMBNAIL] or found
    if not found:
        raise ConfigError(f"no file matches {path.name}", _folder(path), "a pattern that matches at least one file")
    return found


def _folder(path: Path) -> str:
    """Full path of the folder that was searched, since a relative path may not start where its author thinks."""
    return f"in {path.parent.absolute()}"


def _is_loop(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that treats runs of digits as numbers; the plain text breaks ties such as 1 and 01."""
    parts = [part for part in re.split(r"([0-9]+)", str(path)) if part]
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], str(path)


def _shown(entries: Sequence[str | Path], most: int = 5) -> str:
    return ", ".join(str(entry) for entry in entries[:most]) + (", ..." if len(entries) > most else "")
