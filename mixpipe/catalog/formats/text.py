"""Delimited text with a header line: CSV and its relatives."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pandas as pd
from astropy.table import Table

from mixpipe.base.errors import ConfigError, excerpt
from mixpipe.base.presentation import plural
from mixpipe.catalog.formats.arrays import as_column, as_text, is_number
from mixpipe.catalog.source import Source

# A line with ten thousand columns has about 100 kB.
_LONGEST_LINE = 1 << 24

_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "whitespace": " ", r"\s+": " ", "comma": ","}
# Delimiters in the order in which they are tried on the header line; a blank stands for any white space.
_DELIMITERS = (",", "\t", ";", "|", " ")

# Texts that mark a missing value among numbers.
_NOT_AVAILABLE = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip


@dataclass(frozen=True)
class _Layout:
    """Column names, number of lines before the data, and the delimiter."""

    names: tuple[str, ...]
    n_skip: int
    delimiter: str


def columns(source: Source) -> dict[str, str | None]:
    """Names from the header line; there are no units."""
    layout = _layout(source)
    return dict.fromkeys(source.choose(layout.names, None))


def blocks(source: Source, names: Sequence[str] | None, rows: int) -> Iterator[Table]:
    """Read these columns, or all, in blocks of rows."""
    layout = _layout(source)
    wanted = source.choose(layout.names, names)
    indices = [layout.names.index(name) for name in wanted]
    # An additional field after the last name receives surplus cells.
    surplus = len(layout.names)
    frames = _parse(source, layout, [*indices, surplus], rows, {})
    first, second = next(frames), next(frames, None)
    types = _types(source, itertools.chain([first], [] if second is None else [second], frames), indices, surplus)
    texts = [index for index in indices if types[index] == "str"]
    if second is not None:
        frames = _parse(source, layout, indices, rows, types)
    else:
        if texts:
            first[texts] = next(_parse(source, layout, texts, rows, types))[texts]
        frames = iter([first])
    for frame in frames:
        yield Table(
            [as_column(name, _masked(frame[i], types[i])) for name, i in zip(wanted, indices, strict=True)], copy=False
        )


def _parse(
    source: Source, layout: _Layout, indices: Sequence[int], rows: int, types: Mapping[int, str]
) -> Iterator[pd.DataFrame]:
    """Read columns by their index, in blocks of rows; types are not determined here."""
    # With a header of numbers, pandas need not agree on quotes and blanks in names, and does not check the lengths of
    # rows.
    header = layout.delimiter.join(map(str, range(len(layout.names) + 1))).encode() + b"\n"
    words = [*_NOT_AVAILABLE, *(sentinel for sentinel in source.missing if isinstance(sentinel, str))]
    # NA and None are missing values among numbers but may well be names, so that text is taken literally; surplus cells
    # are surplus whatever they contain.
    missing = {str(index): [] if types.get(index) == "str" else words for index in indices}
    missing |= {str(len(layout.names)): [""]}
    with source.open() as stream:
        frames = pd.read_csv(
            io.BufferedReader(_Lines(itertools.chain([header], _rows(stream, source, layout)))),
            sep=r"\s+" if layout.delimiter == " " else layout.delimiter,
            usecols=[str(index) for index in indices],
            index_col=False,
            skipinitialspace=True,
            low_memory=False,
            chunksize=rows,
            dtype={str(index): kind for index, kind in types.items() if kind in ("str", "float64")},
            dtype_backend="numpy_nullable",
            na_values=missing,
            keep_default_na=False,
            encoding_errors="backslashreplace",
        )
        for frame in frames:
            yield frame.rename(columns=int)


def _types(source: Source, frames: Iterator[pd.DataFrame], indices: Sequence[int], n_fields: int) -> dict[int, str]:
    """The type of each column that can represent all of its rows."""
    kinds: dict[int, set[str]] = {index: set() for index in indices}
    n_rows, n_longer, first_longer = 0, 0, 0
    for frame in frames:
        longer = frame[n_fields].notna().to_numpy()
        if not n_longer and longer.any():
            first_longer = n_rows + int(longer.argmax()) + 1
        n_longer += int(longer.sum())
        n_rows += len(frame)
        for index in indices:
            kinds[index].add(_kind(frame[index]))
    if n_longer:
        raise source.error(
            f"{plural(n_longer, 'row')} with more fields than the header, the first is row {first_longer}",
            f"{n_fields} fields in each row, and quotes around text that has a delimiter in it",
        )
    return {index: _common(kinds[index]) for index in indices}


def _kind(series: pd.Series) -> str:
    """The type that pandas assigned to these rows."""
    if series.isna().all():
        return "nothing"
    kind = str(series.dtype)
    # A column with integers beyond the range of int64 is numeric only if none is negative or missing.
    return "natural" if kind == "Int64" and series.min() >= 0 and not series.hasnans else kind


def _common(kinds: set[str]) -> str:
    """The type that pandas would give to all rows together."""
    if kinds <= {"nothing", "natural", "Int64"}:
        return "int64"
    if kinds <= {"natural", "UInt64"}:
        return "uint64"
    if kinds <= {"nothing", "boolean"}:
        return "bool"
    is_number = kinds <= {"nothing", "natural", "Int64", "UInt64", "Float64"}
    return "float64" if is_number and "Float64" in kinds else "str"


def _rows(stream: BinaryIO, source: Source, layout: _Layout) -> Iterator[bytes]:
    """Lines after the header without comments; pandas would also cut lines at a marker inside them."""
    lines: Iterator[bytes] = itertools.islice(_lines(stream, source), layout.n_skip, None)
    if source.comment is not None:
        marker = source.comment.encode()
        lines = (line for line in lines if not line.lstrip().startswith(marker))
    return _complete(lines, source, len(layout.names)) if layout.delimiter == " " else lines


def _complete(lines: Iterator[bytes], source: Source, n_fields: int) -> Iterator[bytes]:
    """Refuse a row with a blank cell, which is invisible between white space, so that later cells would shift left."""
    n_rows = 0
    for line in lines:
        found = len(_split(line.decode(errors="replace"), " ") if b'"' in line else line.split())
        n_rows += found > 0
        if 0 < found < n_fields:
            raise source.error(
                f"row {n_rows} has {found} of {n_fields} fields",
                "no blank cell between white space, such as nan; `comment` tells which lines are no rows",
            )
        yield line


def _lines(stream: BinaryIO, source: Source) -> Iterator[bytes]:
    """Lines of bounded length, since a single line of a small gzipped file could fill the memory."""
    for number in itertools.count(1):
        line = stream.readline(_LONGEST_LINE + 1)
        if not line:
            return
        if len(line) > _LONGEST_LINE:
            raise source.error(f"line {number} has more than {_LONGEST_LINE:,} bytes", "a table in lines")
        yield line


def _masked(series: pd.Series, kind: str) -> np.ma.MaskedArray:
    """A masked array that keeps long integers exact even if cells are blank."""
    if kind == "str":
        return np.ma.MaskedArray(as_text(series.to_numpy(dtype=object, na_value="")))
    dtype = np.dtype(kind)
    return np.ma.MaskedArray(series.to_numpy(dtype=dtype, na_value=dtype.type(0)), mask=series.isna().to_numpy(bool))


class _Lines(io.RawIOBase):
    """A stream of lines."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = memoryview(b"".join(itertools.islice(self._lines, 1000)))
        n_bytes = min(len(buffer), len(self._rest))
        buffer[:n_bytes], self._rest = self._rest[:n_bytes], self._rest[n_bytes:]
        return n_bytes


def _layout(source: Source) -> _Layout:
    """Find the header, which is the first line that is neither blank nor a comment."""
    marker = source.comment or "#"
    comment, n_skip = "", 0
    with source.open() as stream:
        for raw in _lines(stream, source):
            line = raw.decode("utf-8", "backslashreplace").removeprefix("\ufeff").strip("\r\n")
            if "\r" in line:
                raise source.error("lines end with a carriage return alone", "line ends of Unix or Windows")
            if "\0" in line:
                raise source.error("the file is no text", "text with a header line")
            if line.strip() and not line.lstrip().startswith(marker):
                break
            comment = line.lstrip()[len(marker) :] if line.strip() else comment
            n_skip += 1
        else:
            raise source.error("the file has nothing but comments", "a header line and rows")
    delimiter = _delimiter(source, line)
    fields, names = _split(line, delimiter), _split(comment, delimiter)
    # NumPy and TOPCAT write the names in the last comment line, after which a line with numbers is the first row.
    if any(map(is_number, fields)) and len(names) == len(fields) and not any(map(is_number, names)):
        return _Layout(_named(names), n_skip, delimiter)
    if all(field == "" or is_number(field) for field in fields):
        raise source.error(f"no header line, the first line is {excerpt(line)!r}", "a line of column names")
    return _Layout(_named(fields), n_skip + 1, delimiter)


def _delimiter(source: Source, header: str) -> str:
    if source.delimiter is None:
        return next((mark for mark in _DELIMITERS if mark in header.strip()), ",")
    delimiter = _NAMED_DELIMITERS.get(source.delimiter, source.delimiter)
    if len(delimiter) != 1:
        raise ConfigError(f"delimiter {source.delimiter!r}", source.place, "one character, whitespace or tab")
    return delimiter


def _split(line: str, delimiter: str) -> list[str]:
    text = re.sub(r"\s+", " ", line.strip()) if delimiter == " " else line
    return [field.strip() for field in next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])]


def _named(fields: Sequence[str]) -> tuple[str, ...]:
    """A name for each field: pandas writes an index without a name, and lines may end with a delimiter."""
    return tuple(field or f"unnamed_{number}" for number, field in enumerate(fields, start=1))
