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
from mixpipe.catalog.formats.arrays import as_column, as_text, is_number, is_unit, unit_text
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
    "-", "--", "---", "..", "...", "\u2026", "INDEF", r"\nodata",
)  # fmt: skip
# Numbers as Fortran writes them in double precision, with a point: 12D7 may be a name.
_D_EXPONENT = re.compile(r"([+-]?(?:\d+\.\d*|\.\d+))[dD]([+-]?\d+)")
# Lines below the header that say whether those that begin with # are rows.
_LOOKED_AT = 200
# Rows that have to agree with the header on the number of fields.
_FEW_LINES = 20
# Second line of an RDB table, and third line of a table of VizieR.
_RDB_TYPE, _DASHES = re.compile(r"\d*[SNM][<>]?"), re.compile("-+")
# A line in front of a SExtractor catalog: number, name, and perhaps a description and a unit.
_NUMBERED = re.compile(r"\s*(\d+)\s+([A-Za-z]\S*)(?:\s.*?)?(?:\[([^\]]+)\])?\s*")


@dataclass(frozen=True)
class _Layout:
    """Column names and units, number of lines before the data, the delimiter, and what marks a line that is no row."""

    names: tuple[str, ...]
    n_skip: int
    delimiter: str
    units: tuple[str | None, ...] = ()
    marker: str | None = None

    def unit(self, index: int) -> str | None:
        """The unit of a column; None if the file gives none."""
        return self.units[index] if self.units else None


def columns(source: Source) -> dict[str, str | None]:
    """Names from the header, and units if it has them."""
    layout = _layout(source)
    names = source.choose(layout.names, None)
    return {name: unit_text(layout.unit(layout.names.index(name))) for name in names}


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
    texts = [index for index in indices if types[index] in ("str", "spelled")]
    if second is not None:
        frames = _parse(source, layout, indices, rows, types)
    else:
        if texts:
            first[texts] = next(_parse(source, layout, texts, rows, types))[texts]
        frames = iter([first])
    for frame in frames:
        yield Table(
            [
                as_column(name, _masked(frame[i], types[i], source), layout.unit(i))
                for name, i in zip(wanted, indices, strict=True)
            ],
            copy=False,
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
    missing = {str(index): [] if types.get(index) in ("str", "spelled") else words for index in indices}
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
            dtype={
                str(index): "str" if kind == "spelled" else kind
                for index, kind in types.items()
                if kind in ("str", "spelled", "float64")
            },
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
            kinds[index].add(_kind(frame[index], source))
    if n_longer:
        raise source.error(
            f"{plural(n_longer, 'row')} with more fields than the header, the first is row {first_longer}",
            f"{n_fields} fields in each row, and quotes around text that has a delimiter in it",
        )
    return {index: _common(kinds[index]) for index in indices}


def _kind(series: pd.Series, source: Source) -> str:
    """The type that pandas assigned to these rows; ``spelled`` for texts that are numbers all the same."""
    if series.isna().all():
        return "nothing"
    kind = str(series.dtype)
    if kind == "string":
        return kind if _spelled_numbers(series, source) is None else "spelled"
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
    numbers = {"nothing", "natural", "Int64", "UInt64", "Float64"}
    if kinds <= numbers and "Float64" in kinds:
        return "float64"
    return "spelled" if kinds <= {*numbers, "spelled"} and "spelled" in kinds else "str"


def _spelled_numbers(series: pd.Series, source: Source) -> np.ma.MaskedArray | None:
    """Numbers from texts with blanks around them, with D for the exponent or with a decimal comma; None if any is none.

    Only cells that are empty or mark a missing value are masked.
    """
    texts = series.to_numpy(dtype=object, na_value="")
    values, missing = np.zeros(texts.size), np.zeros(texts.size, dtype=bool)
    known: dict[str, float | None] = dict.fromkeys(
        [*_NOT_AVAILABLE, *(word.strip() for word in source.missing if isinstance(word, str))]
    )
    respelled = False
    for i, text in enumerate(texts):
        word = text.strip()
        if word in known:
            missing[i] = True
            respelled |= bool(word)
            continue
        word = _D_EXPONENT.sub(r"\1e\2", word)
        word = word.replace(",", ".") if source.decimal == "," else word
        if not is_number(word):
            return None
        respelled |= word != text
        values[i] = float(word)
    # Whole numbers that no type holds stay text.
    return None if missing.all() or not respelled else np.ma.MaskedArray(values, mask=missing)


def _rows(stream: BinaryIO, source: Source, layout: _Layout) -> Iterator[bytes]:
    """Lines after the header without comments; pandas would also cut lines at a marker inside them."""
    lines: Iterator[bytes] = itertools.islice(_lines(stream, source), layout.n_skip, None)
    if layout.marker is not None:
        lines = _without_comments(lines, source, layout)
    return _complete(lines, source, len(layout.names)) if layout.delimiter == " " else lines


def _without_comments(lines: Iterator[bytes], source: Source, layout: _Layout) -> Iterator[bytes]:
    """Leave out lines that begin with a comment marker, and doubt those that look like rows unless it was given."""
    marker = str(layout.marker).encode()
    n_rows, first = 0, 0
    for number, line in enumerate(lines, start=layout.n_skip + 1):
        if not line.lstrip().startswith(marker):
            yield line
            continue
        text = line.lstrip().removeprefix(marker).decode(errors="replace")
        if source.comment is None and len(_split(text, layout.delimiter)) == len(layout.names) > 1:
            n_rows, first = n_rows + 1, first or number
    if n_rows:
        source.doubt(
            f"{source.path}: {plural(n_rows, 'row')} left out as commented out with {layout.marker}, the first in line "
            f"{first}"
        )


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


def _masked(series: pd.Series, kind: str, source: Source) -> np.ma.MaskedArray:
    """A masked array that keeps long integers exact even if cells are blank."""
    if kind == "spelled":
        numbers = _spelled_numbers(series, source)
        return np.ma.masked_all(len(series)) if numbers is None else numbers
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
    """Find the header, which is the first line that is neither blank nor a comment, or a comment in front of it."""
    given = source.comment or "#"
    comments: list[str] = []
    lines: list[str] = []
    n_skip, delimiter = 0, source.delimiter
    with source.open() as stream:
        for raw in _lines(stream, source):
            line = raw.decode("utf-8", "backslashreplace").removeprefix("\ufeff").strip("\r\n")
            if "\r" in line:
                raise source.error("lines end with a carriage return alone", "line ends of Unix or Windows")
            if "\0" in line:
                raise source.error("the file is no text", "text with a header line")
            if not lines:
                separator = re.fullmatch(r"sep=(.)", line.strip()) if not n_skip else None
                if separator is not None:
                    delimiter = delimiter or separator[1]
                elif line.lstrip().startswith(given):
                    comments.append(line.lstrip()[len(given) :])
                elif line.strip() and not line.startswith("NVAR:"):
                    lines.append(line)
                n_skip += not lines
            elif line.strip():
                lines.append(line)
            if len(lines) > _LOOKED_AT:
                break
    if not lines:
        raise source.error("the file has nothing but comments", "a header line and rows")
    mark = _delimiter(source, delimiter, lines)
    # Below the header, lines are comments if some of them begin with # and not nearly all.
    begin = sum(line.lstrip().startswith("#") for line in lines[1:])
    marker = source.comment or ("#" if 2 * begin < max(len(lines) - 1, 1) else None)
    fields = _split(lines[0], mark)
    named = _named_in_comments(comments, fields, mark)
    if named is not None:
        return _Layout(*named[:1], n_skip, mark, named[1], marker)
    _check_header(source, fields, _split(lines[1], mark) if len(lines) > 1 else [], lines[0])
    units: tuple[str | None, ...] = ()
    below = [_split(line, mark) for line in lines[1:3]]
    if len(below) == 2 and len(below[1]) == len(fields) > 1 and all(map(_DASHES.fullmatch, below[1])):
        # VizieR writes units, which may all be blank, and dashes below the names.
        units = tuple(field or None for field in _padded(below[0], len(fields)))
        n_skip += 2
    elif mark == "\t" and below and len(below[0]) == len(fields) and all(map(_RDB_TYPE.fullmatch, below[0])):
        n_skip += 1
    return _Layout(_named(fields), n_skip + 1, mark, units, marker)


def _named_in_comments(
    comments: Sequence[str], fields: Sequence[str], delimiter: str
) -> tuple[tuple[str, ...], tuple[str | None, ...]] | None:
    """Names and units from the comments in front of a first line that is a row; None if it is the header."""
    if not any(map(is_number, fields)):
        return None
    numbered = [found for found in map(_NUMBERED.fullmatch, comments) if found]
    if numbered and [int(found[1]) for found in numbered] == sorted({int(found[1]) for found in numbered}):
        names: list[str] = []
        units: list[str | None] = []
        ends = [*(int(found[1]) for found in numbered[1:]), len(fields) + 1]
        for found, end in zip(numbered, ends, strict=True):
            # An array has the number of its first column.
            for k in range(end - int(found[1])):
                names.append(found[2] if not k else f"{found[2]}_{k}")
                units.append(found[3])
        if len(names) == len(fields) and int(numbered[0][1]) == 1:
            return tuple(names), tuple(units)
    # NumPy, TOPCAT and many hands write the names in a comment, perhaps with the units in the next one.
    candidates = []
    for comment in comments:
        for mark in dict.fromkeys((delimiter, *_DELIMITERS)):
            names = _split(comment.lstrip("#"), mark)
            words = all(names) and not any(is_number(name) or name.endswith((",", ";")) for name in names)
            if len(names) == len(fields) and words:
                candidates.append(tuple(names))
                break
    if not candidates:
        return None
    if len(candidates) > 1 and all(
        word in ("-", "--", "---") or is_unit(word.strip("[]()")) for word in candidates[-1]
    ):
        units_below = tuple(None if word.startswith("-") else word.strip("[]()") for word in candidates[-1])
        return candidates[-2], units_below
    return candidates[-1], ()


def _check_header(source: Source, fields: Sequence[str], row: Sequence[str], line: str) -> None:
    """Refuse a first line that is a row, and doubt one that looks like one."""
    numbers = [field for field in fields if is_number(field)]
    if all(field == "" or is_number(field) for field in fields):
        raise source.error(f"no header line, the first line is {excerpt(line)!r}", "a line of column names")
    if not numbers:
        return
    alike = len(row) == len(fields) and all(is_number(row[i]) for i, field in enumerate(fields) if is_number(field))
    # Years and wavelengths may be names; numbers with a decimal point above others with one are not.
    if alike and any(re.search(r"[.eE]", field) for field in numbers):
        raise source.error(
            f"no header line: the first line looks like a row, {excerpt(line)!r}",
            "a line of column names, or a comment with them in front",
        )
    source.doubt(
        f"{source.path}: the names of {len(numbers)} columns are numbers, the first is {numbers[0]!r}: is this a row?"
    )


def _padded(fields: Sequence[str], size: int) -> list[str]:
    return [*fields, *[""] * (size - len(fields))][:size]


def _delimiter(source: Source, given: str | None, lines: Sequence[str]) -> str:
    """The delimiter that was given, or the first that cuts the header and the rows into as many fields."""
    if given is not None:
        delimiter = _NAMED_DELIMITERS.get(given, given)
        if len(delimiter) != 1:
            raise ConfigError(f"delimiter {source.delimiter!r}", source.place, "one character, whitespace or tab")
        return delimiter
    present = [mark for mark in _DELIMITERS if mark in lines[0].strip()]
    rows = [line for line in lines[1:] if not line.lstrip().startswith("#")][:_FEW_LINES]
    for mark in present:
        sizes = {len(_split(line, mark)) for line in rows}
        if sizes == {len(_split(lines[0], mark))}:
            return mark
    return present[0] if present else ","


def _split(line: str, delimiter: str) -> list[str]:
    text = re.sub(r"\s+", " ", line.strip()) if delimiter == " " else line
    return [field.strip() for field in next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])]


def _named(fields: Sequence[str]) -> tuple[str, ...]:
    """A name for each field: pandas writes an index without a name, and lines may end with a delimiter."""
    return tuple(field or f"unnamed_{number}" for number, field in enumerate(fields, start=1))
