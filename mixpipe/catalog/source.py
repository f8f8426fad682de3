"""A catalog file: its path, its format, and its error messages."""

from __future__ import annotations

import difflib
import fnmatch
import gzip
import io
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

from mixpipe.base.errors import CatalogError, ConfigError, excerpt
from mixpipe.base.presentation import plural

FORMATS = ("fits", "csv", "ecsv", "votable", "mrt", "ipac", "daophot", "latex", "parquet", "hdf5")

_EXTENSIONS = {
    ".fits": "fits", ".fit": "fits", ".fts": "fits",
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".dat": "csv",
    ".ecsv": "ecsv",
    ".vot": "votable", ".votable": "votable", ".xml": "votable",
    ".mrt": "mrt", ".cds": "mrt",
    ".tex": "latex",
    ".parquet": "parquet", ".pq": "parquet",
    ".h5": "hdf5", ".hdf5": "hdf5", ".hdf": "hdf5",
}  # fmt: skip

_MAGIC = {b"SIMPLE  =": "fits", b"PAR1": "parquet", b"\x89HDF\r\n\x1a\n": "hdf5", b"# %ECSV": "ecsv"}
_BOM = b"\xef\xbb\xbf"
_BOM_16 = re.compile(rb"\xff\xfe|\xfe\xff")
_XML_IN_UTF_16 = re.compile(r"""(?i)(\A\s*<\?xml[^>]*encoding=["'])utf-16""")

# Files that users sometimes mistake for tables.
_NO_TABLES = (
    (rb"PK(\x03\x04|\x05\x06)", "a zip archive or a spreadsheet"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a spreadsheet"),
    (rb"BZh[1-9]\x31\x41\x59\x26\x53\x59", "compressed by bzip2"),
    (rb"\xfd7zXZ\x00", "compressed by xz"),
    (rb"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (rb"\x1f\x8b", "compressed by gzip twice"),
    (rb"(?s).{257}ustar", "a tar archive"),
    (rb"%PDF-", "a PDF"),
    (rb"\s*(\{|\[\s*[\[{\"])", "JSON"),
    (rb"\s*\|[^\n]*\|[ \t]*\r?\n\s*\|[-:|+ \t]+\|[ \t]*\r?\n", "a table in Markdown or Org"),
    (rb"\s*\+[-=+]{3,}\+[ \t]*\r?\n", "a table with drawn borders"),
    (rb"\s*={2,}( +={2,})+[ \t]*\r?\n", "a table in reStructuredText"),
    (rb"(?i)(?:[ \t]*(?:!.*)?\r?\n)*[ \t]*READ +[TS]ERR\b", "a table in QDP"),
)

# Settings that apply only to one format.
_ONLY_FOR = {"hdu": "fits", "path_in_file": "hdf5", "comment": "csv", "delimiter": "csv", "decimal": "csv"}

# Largest decompressed size, in bytes, of a gzipped file in a format that is read whole, since a small file could
# otherwise fill the memory.
_MOST_WHOLE = 1 << 30

_READMES = ("ReadMe", "README", "Readme", "readme", "ReadMe.txt", "README.txt", "readme.txt")
_DESCRIPTION = re.compile(r"(?im)^Byte-(?:by|per)-byte Description of file:([^\n]*)$")

# Bytes that are examined to recognise a format: enough for the preamble of a machine-readable table.
_HEAD = 1 << 16

# Largest number of column names in an error message.
_SHOWN = 20
# Names longer than this are not compared with others.
_LONG = 100


@dataclass(frozen=True)
class Source:
    """A catalog file and the settings with which it is read; see `read_catalog` for each.

    `doubts` collects what was found while reading that its owner should know, `repeated` the names of several
    columns, and `header` the names of all.
    """

    path: Path
    format: str = "auto"
    hdu: int | str | None = None
    path_in_file: str | None = None
    comment: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    missing: tuple[float | str, ...] = ()
    where_from: str = ""
    doubts: list[str] = field(default_factory=list, compare=False)
    repeated: list[str] = field(default_factory=list, compare=False)
    header: list[str] = field(default_factory=list, compare=False)

    @property
    def place(self) -> str:
        """The place of an error, for its message."""
        return f"in {self.where_from}, file {self.path}" if self.where_from else f"in {self.path}"

    def error(self, what: str, expected: str) -> CatalogError:
        """An error about this file."""
        return CatalogError(what, self.place, expected)

    def doubt(self, text: str) -> None:
        """Note something about the file that its owner should know; once, however often the file is read."""
        if text not in self.doubts:
            self.doubts.append(text)

    def check_query(self, text: str) -> None:
        """Refuse a table of a query that failed, and doubt one that was cut short, by a comment of the server."""
        found = re.search(r"(?i)QUERY_STATUS\W+(\w+)(.*)", text, re.DOTALL)
        if found is None or found[1].upper() in ("OK", "COMPLETED"):
            return
        said = excerpt(found[2].strip(" \t\r\n\"'=,;"))
        said = f" ({said})" if said else ""
        if found[1].upper() != "OVERFLOW":
            raise self.error(f"the query ended with status {found[1]}{said}", "the table of a query that succeeded")
        self.doubt(f"{self.path}: the table is cut short: the query reached its limit of rows (OVERFLOW){said}")

    def open(self) -> BinaryIO:
        """Open the file, decompressing it if it is gzipped, and as text in UTF-8 if it is text in UTF-16."""
        with self._stored() as stream:
            start = stream.read(2)
            content = stream.read(_MOST_WHOLE + 1) if _BOM_16.match(start) else None
        if content is None:
            return self._stored()
        if len(content) > _MOST_WHOLE:
            raise self.error(f"text in UTF-16 of more than {_MOST_WHOLE:,} bytes", "the table itself in UTF-8")
        text = content.decode("utf-16-le" if start == b"\xff\xfe" else "utf-16-be", "replace")
        return io.BytesIO(_XML_IN_UTF_16.sub(r"\1utf-8", text).encode())

    def _stored(self) -> BinaryIO:
        return cast(BinaryIO, gzip.open(self.path)) if self.is_gzipped() else self.path.open("rb")

    def is_gzipped(self) -> bool:
        """Whether the file is compressed, by its content."""
        with self.path.open("rb") as stream:
            return stream.read(2) == b"\x1f\x8b"

    def content(self) -> bytes:
        """All bytes of the file, for formats that are read whole."""
        with self.open() as stream:
            if not self.is_gzipped():
                return stream.read()
            content = stream.read(_MOST_WHOLE + 1)
        if len(content) > _MOST_WHOLE:
            raise self.error(
                f"the gzipped file has more than {_MOST_WHOLE:,} bytes, and {self.format} is read as a whole",
                "a smaller file, or one in fits, parquet, hdf5 or csv format, which are read in blocks",
            )
        return content

    def readme(self) -> str | None:
        """The description of this file in a ReadMe of the CDS beside it, with the bytes of its columns, if any."""
        text = self._readme()
        name = self.path.name.removesuffix(".gz")
        for found in _DESCRIPTION.finditer(text):
            if any(fnmatch.fnmatch(name, pattern) for pattern in re.split(r"[\s,]+", found[1].strip())):
                # The description ends with the third line of dashes.
                rules = list(re.finditer(r"(?m)^-{20,}[ \t]*$", text[found.start() :]))
                return text[found.start() : found.start() + rules[2].end()] + "\n" if len(rules) > 2 else None
        return None

    def stated_rows(self) -> int | None:
        """The number of rows that the file summary of a ReadMe beside the file states, if any."""
        name = re.escape(self.path.name.removesuffix(".gz"))
        found = re.search(rf"(?m)^\s*{name}(?:\.gz)?\s+\d+\s+(\d+)\s", self._readme())
        return None if found is None else int(found[1])

    def _readme(self) -> str:
        """The text of the ReadMe beside the file, however that is spelled."""
        for name in _READMES:
            try:
                return (self.path.parent / name).read_text("utf-8", "replace")
            except OSError:
                continue
        return ""

    def idle(self) -> dict[str, str]:
        """Settings that do not apply to the format of the file, each with the format to which it applies."""
        given = {name: only for name, only in _ONLY_FOR.items() if getattr(self, name) is not None}
        return {name: only for name, only in given.items() if only != self.format}

    def resolved(self) -> Source:
        """The same source with its format determined.

        A signature in the content takes precedence, since extensions are often wrong, followed by the extension; text
        without either is CSV.

        Raises
        ------
        CatalogError
            For a file that cannot be opened, is empty, or is not a table.
        """
        if self.format not in ("auto", *FORMATS):
            raise ConfigError(f"unknown format {self.format!r}", self.place, f"one of auto, {', '.join(FORMATS)}")
        try:
            mode = self.path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise self.error("a pipe or a device, which can be read only once", "a catalog file")
            with self.open() as stream:
                head = stream.read(_HEAD)
        except FileNotFoundError:
            raise self.error("no such file", "a catalog file") from None
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise self.error(f"the file cannot be opened ({_reason(error)})", "a readable catalog file") from error
        if not head.strip():
            raise self.error("the file is empty", "a table")
        kind = _signature(head)
        other = next((words for magic, words in _NO_TABLES if re.match(magic, head)), None)
        if other is not None:
            raise self.error(f"the file is {other}", f"the table itself, in one of {', '.join(FORMATS)}, or gzipped")
        if kind == "html":
            raise self.error("the file is a web page (HTML)", "a table; was an error page downloaded in its place?")
        if self.format == "auto":
            suffixes = [suffix.lower() for suffix in self.path.suffixes if suffix.lower() != ".gz"]
            kind = kind or _EXTENSIONS.get(suffixes[-1] if suffixes else "") or "csv"
            if kind == "csv" and self.readme() is not None:
                kind = "mrt"
            if kind == "csv" and b"\0" in head:
                line = head.count(b"\n", 0, head.index(b"\0")) + 1
                raise self.error(
                    f"the file is in no known format: line {line} has a NUL byte", f"one of {', '.join(FORMATS)}"
                )
            return replace(self, format=kind)
        return self

    @contextmanager
    def parsing(self) -> Iterator[None]:
        """Convert the exceptions that a format's library raises for a damaged file to `CatalogError`."""
        try:
            yield
        except (CatalogError, ConfigError):
            raise
        # A damaged file may claim any number of rows, and so cause this error, too.
        except MemoryError as error:
            what = "reading the file takes more memory than there is"
            raise self.error(what, "a whole file, or more memory") from error
        # For a damaged file, the libraries raise all kinds of exceptions: KeyError, TypeError, zlib.error, ...
        except Exception as error:
            raise self.error(
                f"the file cannot be read as {self.format} ({_reason(error)})",
                f"a whole file in {self.format} format; `format` sets another, one of {', '.join(FORMATS)}",
            ) from error

    def choose(self, available: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
        """Check column names against the header of the file.

        Parameters
        ----------
        available : sequence of str
            All names in the header.
        wanted : sequence of str or None
            Names to read, None for all that occur once; of others, a doubt is noted.

        Returns
        -------
        tuple of str
            The distinct names to read.

        Raises
        ------
        CatalogError
            For a wanted name that occurs twice in the header, or not at all, and if no name occurs once.
        """
        times = Counter(available)
        self.header[:] = times
        repeated = [name for name, count in times.items() if count > 1]
        if wanted is None and len(repeated) < len(times):
            if repeated:
                self.repeated[:] = repeated
                listed = ", ".join(repr(excerpt(name)) for name in repeated[:_SHOWN])
                self.doubt(
                    f"{self.path}: the header has {plural(len(repeated), 'name')} of several columns, {listed}: these "
                    "columns are left out; give each a name of its own to use it"
                )
            return tuple(name for name, count in times.items() if count == 1)
        wanted = available if wanted is None else wanted
        for name in wanted:
            if not times[name]:
                raise self.error(f"no column {excerpt(name)!r}", expected_name(name, available))
            if times[name] > 1:
                raise self.error(f"the header names column {excerpt(name)!r} twice", "each column name once")
        return tuple(dict.fromkeys(wanted))


def expected_name(name: str, available: Sequence[str]) -> str:
    """Describe what was expected instead of an unknown name: part of the list, and similar names.

    >>> expected_name("plx", ["Plx", "e_Plx", "Gmag"])
    "one of Plx, e_Plx, Gmag (did you mean 'Plx' or 'e_Plx'?)"
    """
    folded: dict[str, str] = {}
    for other in available:
        folded.setdefault(other.lower(), other)
    close = difflib.get_close_matches(excerpt(name).lower(), [key for key in folded if len(key) <= _LONG], n=3)
    near = [folded[key] for key in close]
    more = f" and {len(available) - _SHOWN} more" if len(available) > _SHOWN else ""
    listed = ", ".join(map(excerpt, available[:_SHOWN])) + more
    meant = f" (did you mean {' or '.join(repr(key) for key in near)}?)" if near else ""
    return f"one of {listed}{meant}" if listed else "a table with columns"


def _signature(head: bytes) -> str | None:
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    start = head.removeprefix(_BOM).lstrip()[:4096].lower()
    if start.startswith(b"<"):
        if re.search(rb"<(\w+:)?votable\b", head.lower()):
            return "votable"
        if b"<html" in start or b"<!doctype html" in start or start.startswith(b"<table"):
            return "html"
    text = head.decode("latin-1")
    if re.match(r"(\\[^\n]*\n)*\|[^\n]*\|\s*\n\|[^\n]*\|", text):
        return "ipac"
    if re.match(r"#K IRAF\b|(#[^\n]*\n)*#N [A-Z]", text):
        return "daophot"
    if re.search(r"\\begin\{(deluxetable\*?|tabular)\}", text[:4096]):
        return "latex"
    return "mrt" if _DESCRIPTION.search(text.replace("\r", "")) else None


def _reason(error: BaseException) -> str:
    """The first line of an exception's text without the path, which the message contains elsewhere."""
    text = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
    lines = text.strip().splitlines()
    return excerpt(lines[0], 200) if lines else type(error).__name__
