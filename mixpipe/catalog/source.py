"""One catalog file: where it is, what format it has, and how to say what is wrong with it."""

from __future__ import annotations

import difflib
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from mixpipe.errors import CatalogError, ConfigError

FORMATS = ("fits", "csv", "ecsv", "votable", "mrt", "parquet", "hdf5")

_EXTENSIONS = {
    ".fits": "fits", ".fit": "fits", ".fts": "fits",
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".dat": "csv",
    ".ecsv": "ecsv",
    ".vot": "votable", ".votable": "votable", ".xml": "votable",
    ".mrt": "mrt", ".cds": "mrt",
    ".parquet": "parquet", ".pq": "parquet",
    ".h5": "hdf5", ".hdf5": "hdf5", ".hdf": "hdf5",
}  # fmt: skip

_MAGIC = {b"SIMPLE  =": "fits", b"PAR1": "parquet", b"\x89HDF\r\n\x1a\n": "hdf5", b"# %ECSV": "ecsv"}
_BOM = b"\xef\xbb\xbf"

# Bytes looked at to tell a format: enough for the preamble of a machine-readable table.
_HEAD = 1 << 16

# Column names shown in an error message.
_SHOWN = 20


@dataclass(frozen=True)
class Source:
    """A catalog file and the settings that say how to read it; see `read_catalog` for each."""

    path: Path
    format: str = "auto"
    hdu: int | str | None = None
    path_in_file: str | None = None
    comment: str | None = None
    delimiter: str | None = None
    missing: tuple[float | str, ...] = ()
    where_from: str = ""

    @property
    def place(self) -> str:
        """Where an error is, for its message."""
        return f"in {self.where_from}, file {self.path}" if self.where_from else f"in {self.path}"

    def error(self, what: str, expected: str) -> CatalogError:
        """An error about this file."""
        return CatalogError(what, self.place, expected)

    def open(self) -> BinaryIO:
        """The file's bytes, decompressed if they are gzipped."""
        with self.path.open("rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
        return cast(BinaryIO, gzip.open(self.path)) if zipped else self.path.open("rb")

    def resolved(self) -> Source:
        """The same source with its format found out.

        The content decides where it has a signature, as extensions are often wrong; then the extension;
        text without either is CSV.

        Raises
        ------
        CatalogError
            For a file that cannot be opened, is empty, or is no table.
        """
        if self.format not in ("auto", *FORMATS):
            raise ConfigError(f"unknown format {self.format!r}", self.place, f"one of auto, {', '.join(FORMATS)}")
        try:
            with self.open() as stream:
                head = stream.read(_HEAD)
        except FileNotFoundError:
            raise self.error("no such file", "a catalog file") from None
        except (OSError, EOFError) as error:
            raise self.error(f"the file cannot be opened ({_reason(error)})", "a readable catalog file") from error
        if not head.strip():
            raise self.error("the file is empty", "a table")
        kind = _signature(head)
        if kind == "html":
            raise self.error("the file is a web page (HTML)", "a table; was an error page downloaded in its place?")
        if self.format == "auto":
            suffixes = [suffix.lower() for suffix in self.path.suffixes if suffix.lower() != ".gz"]
            kind = kind or _EXTENSIONS.get(suffixes[-1] if suffixes else "") or "csv"
            if kind == "csv" and b"\0" in head:
                raise self.error("the file is in no known format", f"one of {', '.join(FORMATS)}")
            return replace(self, format=kind)
        return self

    @contextmanager
    def parsing(self) -> Iterator[None]:
        """Turn what a format's library raises about a damaged file into a `CatalogError`."""
        try:
            yield
        except (CatalogError, ConfigError, MemoryError):
            raise
        # The libraries raise whatever a damaged file makes them stumble over: KeyError, TypeError, zlib.error, ...
        except Exception as error:
            raise self.error(
                f"the file cannot be read as {self.format} ({_reason(error)})",
                f"a whole file in {self.format} format; `format` sets another, one of {', '.join(FORMATS)}",
            ) from error

    def choose(self, available: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
        """Check names against the file's header.

        Parameters
        ----------
        available : sequence of str
            All names in the header.
        wanted : sequence of str or None
            Names to read, None for all.

        Returns
        -------
        tuple of str
            The names to read, each once.

        Raises
        ------
        CatalogError
            For a name that occurs twice in the header, or a wanted name that does not occur.
        """
        seen: set[str] = set()
        for name in available:
            if name in seen:
                raise self.error(f"the header names column {name!r} twice", "each column name once")
            seen.add(name)
        if wanted is None:
            return tuple(available)
        for name in wanted:
            if name not in seen:
                raise self.error(f"no column {name!r}", expected_name(name, available))
        return tuple(dict.fromkeys(wanted))


def expected_name(name: str, available: Sequence[str]) -> str:
    """What to say was expected in place of an unknown name: a part of the list, and near ones.

    >>> expected_name("plx", ["Plx", "e_Plx", "Gmag"])
    "one of Plx, e_Plx, Gmag (did you mean 'Plx' or 'e_Plx'?)"
    """
    folded: dict[str, str] = {}
    for other in available:
        folded.setdefault(other.lower(), other)
    near = [folded[key] for key in difflib.get_close_matches(name.lower(), list(folded), n=3)]
    listed = ", ".join(available[:_SHOWN]) + (f" and {len(available) - _SHOWN} more" if len(available) > _SHOWN else "")
    meant = f" (did you mean {' or '.join(repr(key) for key in near)}?)" if near else ""
    return f"one of {listed}{meant}" if listed else "a table with columns"


def _signature(head: bytes) -> str | None:
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    start = head.removeprefix(_BOM).lstrip()[:4096].lower()
    if start.startswith(b"<"):
        if b"<votable" in start:
            return "votable"
        if b"<html" in start or b"<!doctype html" in start:
            return "html"
    return "mrt" if b"Byte-by-byte Description" in head else None


def _reason(error: BaseException) -> str:
    """The first line of an exception's text, without the path, which is said elsewhere."""
    text = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
    first = text.strip().splitlines()[0]
    return first if len(first) <= 200 else first[:197] + "..."
