"""Resolution of the paths and patterns of a configuration to files."""

from __future__ import annotations

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

    Names that begin with an underscore or a point belong to metadata, as in a HATS catalog.

    Raises
    ------
    ConfigError
        For a folder without Parquet files.
    """
    if not os.path.isdir(path):
        return (path,)
    parts = [
        part
        for part in path.rglob("*.parquet")
        if part.is_file()
        and part.name != _THUMBNAIL
        and not any(name.startswith(("_", ".")) for name in part.relative_to(path).parts)
    ]
    if not parts:
        what = f"{path.name} is a folder without Parquet files"
        raise ConfigError(what, _folder(path), "a file, or a pattern such as folder/*.fits")
    return tuple(sorted(parts, key=_natural))


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
