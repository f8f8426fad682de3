"""Delimited text with a header line: CSV and its relatives."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from astropy.table import Table

from mixpipe.catalog.arrays import as_column, is_number
from mixpipe.catalog.source import Source
from mixpipe.errors import ConfigError

_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "whitespace": " ", r"\s+": " ", "comma": ","}
# Tried in this order on the header line; a blank stands for any white space.
_DELIMITERS = (",", "\t", ";", "|", " ")


@dataclass(frozen=True)
class _Layout:
    """Column names, lines in front of the data, and the delimiter."""

    names: tuple[str, ...]
    n_skip: int
    delimiter: str


def columns(source: Source) -> dict[str, str | None]:
    """Names from the header line; there are no units."""
    layout = _layout(source)
    return dict.fromkeys(source.choose(layout.names, None))


def read(source: Source, names: Sequence[str] | None) -> Table:
    """These columns, or all."""
    layout = _layout(source)
    wanted = source.choose(layout.names, names)
    indices = [layout.names.index(name) for name in wanted]
    surplus = len(layout.names)
    texts = [sentinel for sentinel in source.missing if isinstance(sentinel, str)]
    frame = _parse(source, layout, [*indices, surplus], na_values=texts)
    longer = frame[surplus].notna().to_numpy()
    if longer.any():
        raise source.error(
            f"{longer.sum()} rows have more fields than the header, the first is row {longer.argmax() + 1}",
            f"{len(layout.names)} fields in each row, and quotes around text that has a delimiter in it",
        )
    # NA and None are missing among numbers but may well be names, so text is taken as it stands.
    words = [i for i in indices if pd.api.types.is_string_dtype(frame[i]) and frame[i].notna().any()]
    if words:
        frame[words] = _parse(source, layout, words, dtype=str, keep_default_na=False)[words]
    return Table([as_column(name, _masked(frame[i])) for name, i in zip(wanted, indices, strict=True)])


def _parse(source: Source, layout: _Layout, indices: Sequence[int], **options: Any) -> pd.DataFrame:
    """Columns by their place in a row; one place behind the last name holds what is too much."""
    # With a header of numbers pandas need not agree on quotes and blanks in names, and checks no row's length.
    header = layout.delimiter.join(map(str, range(len(layout.names) + 1))).encode() + b"\n"
    with source.open() as stream:
        frame = pd.read_csv(
            io.BufferedReader(_Lines(itertools.chain([header], _rows(stream, source, layout)))),
            sep=r"\s+" if layout.delimiter == " " else layout.delimiter,
            usecols=[str(index) for index in indices],
            index_col=False,
            skipinitialspace=True,
            low_memory=False,
            dtype_backend="numpy_nullable",
            encoding_errors="backslashreplace",
            **options,
        )
    return frame.rename(columns=int)


def _rows(stream: BinaryIO, source: Source, layout: _Layout) -> Iterator[bytes]:
    """Lines behind the header without comments; pandas would also cut a line in two at the marker."""
    lines = itertools.islice(stream, layout.n_skip, None)
    if source.comment is None:
        return lines
    marker = source.comment.encode()
    return (line for line in lines if not line.lstrip().startswith(marker))


def _masked(series: pd.Series) -> np.ma.MaskedArray:
    """A masked array that keeps long integers exact beside blanks."""
    missing = series.isna().to_numpy(dtype=bool)
    if pd.api.types.is_bool_dtype(series) or pd.api.types.is_numeric_dtype(series):
        dtype = np.dtype(series.dtype.numpy_dtype)  # type: ignore[union-attr]
        return np.ma.MaskedArray(series.to_numpy(dtype=dtype, na_value=dtype.type(0)), mask=missing)
    if missing.all():
        return np.ma.masked_all(len(series))
    return np.ma.MaskedArray(series.to_numpy(dtype=object, na_value="").astype(np.str_), mask=missing)


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
    """Look for the header: the first line that is neither blank nor a comment."""
    marker = source.comment or "#"
    comment, n_skip = "", 0
    with source.open() as stream:
        for raw in stream:
            line = raw.decode("utf-8", "backslashreplace").removeprefix("\ufeff").strip("\r\n")
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
    # NumPy and TOPCAT write the names as the last comment; a line with numbers in it is then the first row.
    if any(map(is_number, fields)) and len(names) == len(fields) and not any(map(is_number, names)):
        return _Layout(_named(names), n_skip, delimiter)
    if all(field == "" or is_number(field) for field in fields):
        raise source.error(f"no header line, the first line is {line[:60]!r}", "a line of column names")
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
    """A name for each field: pandas writes an index without one, and lines may end with a delimiter."""
    return tuple(field or f"unnamed_{number}" for number, field in enumerate(fields, start=1))
