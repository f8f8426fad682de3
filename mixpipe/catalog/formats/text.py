"""Delimited text with a header line: CSV and its relatives."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mixpipe.base.errors import ConfigError, excerpt
from mixpipe.base.presentation import plural
from mixpipe.catalog.formats.arrays import MISSING_WORDS, as_masked, as_text, is_number, is_unit, unit_text
from mixpipe.catalog.formats.lines import MINUS, Watch, is_like_number, is_struck_out, split
from mixpipe.catalog.formats.plain import read_plain
from mixpipe.catalog.light import LightTable
from mixpipe.catalog.source import Source

if TYPE_CHECKING:
    import pandas as pd

# A line with ten thousand columns has about 100 kB.
_LONGEST_LINE = 1 << 24
# Files up to this size, in bytes, take less time to read line by line than pandas takes to import.
_SMALL = 1 << 18

_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "whitespace": " ", r"\s+": " ", "comma": ","}
# Delimiters in the order in which they are tried on the header line; a blank stands for any white space.
_DELIMITERS = (",", "\t", ";", "|", " ")

# Types of columns that pandas has to read as text.
_AS_TEXT = ("str", "spelled", "limits")
# The end of a file of DOS, Ctrl-Z.
_END_OF_DOS = b"\x1a"
# Numbers as Fortran writes them in double precision, with a point: 12D7 may be a name.
_D_EXPONENT = re.compile(r"([+-]?(?:\d+\.\d*|\.\d+))[dD]([+-]?\d+)")
# Lines below the header that say whether those that begin with # are rows.
_LOOKED_AT = 200
# Rows that have to agree with the header on the number of fields.
_FEW_LINES = 20
# Second line of an RDB table, and third line of a table of VizieR.
_RDB_TYPE, _DASHES = re.compile(r"(?i)[<>]?\d*(?:\.\d+)?[SNM][<>]?"), re.compile("-+")
# Cells over numbers in a line of types.
_TYPE = re.compile(r"(?i)(?:float|double|real|int|integer|long|short|number|numeric|decimal|[iu]?int|f|i)(?:_?\d+)?")
# Cells in a line of units below names without one.
_NO_UNIT = ("", "-", "--", "---", "none", "n/a", "unitless", "dimensionless", "string")
# The first line of a file for Excel.
_SEPARATOR = re.compile('(?i)"?sep=(.)"?')
# A line in front of a table whose columns are numbered, by SExtractor or by hand ("Column 2: mass [Msun]"): number,
# name, and perhaps a description and a unit.
_NUMBERED = re.compile(
    r"(?i)\s*(?:(?:col(?:umn)?|field)\.?\s*)?[(\[]?(\d+)[)\]]?\s*[:.=-]?\s*"
    r"([a-z]\S*?)[,;:]?(?:\s.*?)?(?:\[([^\]]+)\])?\s*"
)
# Marks of a comment in front of the names, other than #.
_OTHER_MARK = re.compile(r"(%|!|//|;|\\)\1*(?=\s|$)")


@dataclass(frozen=True)
class _Layout:
    """Column names and units, number of lines before the data, the delimiter, and what marks a line that is no row."""

    names: tuple[str, ...]
    n_skip: int
    delimiter: str
    units: tuple[str | None, ...] = ()
    marker: str | None = None
    # Numbers of lines in front of the data that look like rows behind a marker.
    struck: tuple[int, ...] = ()

    def unit(self, index: int) -> str | None:
        """The unit of a column; None if the file gives none."""
        return self.units[index] if self.units else None


def columns(source: Source) -> dict[str, str | None]:
    """Names from the header, and units if it has them."""
    layout = _layout(source)
    names = source.choose(layout.names, None)
    return {name: unit_text(layout.unit(layout.names.index(name))) for name in names}


def blocks(source: Source, names: Sequence[str] | None, rows: int) -> Iterator[LightTable]:
    """Read these columns, or all, in blocks of rows."""
    layout = _layout(source)
    wanted = source.choose(layout.names, names)
    indices = [layout.names.index(name) for name in wanted]
    plain = _plain(source, layout, indices, rows)
    if plain is not None:
        yield LightTable(dict(zip(wanted, plain, strict=True)))
        return
    # An additional field after the last name receives surplus cells.
    surplus = len(layout.names)
    frames = _parse(source, layout, [*indices, surplus], rows, {})
    first, second = next(frames), next(frames, None)
    frames = itertools.chain([first], [] if second is None else [second], frames)
    types = _types(source, layout, frames, indices, rows)
    texts = [index for index in indices if types[index] in _AS_TEXT]
    if second is not None:
        frames = _parse(source, layout, indices, rows, types)
    else:
        if texts:
            first[texts] = next(_parse(source, layout, texts, rows, types))[texts]
        frames = iter([first])
    for frame in frames:
        arrays = [_masked(frame[index], types[index], source) for index in indices]
        yield _table(wanted, arrays, [layout.unit(index) for index in indices])


def _table(names: Sequence[str], arrays: Sequence[np.ma.MaskedArray], units: Sequence[str | None]) -> LightTable:
    return LightTable(dict(zip(names, map(as_masked, arrays), strict=True)), dict(zip(names, units, strict=True)))


def _plain(source: Source, layout: _Layout, indices: Sequence[int], rows: int) -> list[np.ma.MaskedArray] | None:
    """The columns of a small table of plain numbers without units; None for any other, which pandas has to read."""
    is_small = not source.is_gzipped() and source.path.stat().st_size <= _SMALL
    respelled = source.decimal == "," or any(isinstance(word, str) for word in source.missing)
    if not is_small or respelled or layout.units or not layout.delimiter.isascii():
        return None
    with source.open() as stream:
        columns = read_plain(_rows(stream, source, layout), layout.delimiter, len(layout.names), indices)
    return columns if columns and len(columns[0]) <= rows else None


def _parse(
    source: Source, layout: _Layout, indices: Sequence[int], rows: int, types: Mapping[int, str]
) -> Iterator[pd.DataFrame]:
    """Read columns by their index, in blocks of rows; types are not determined here."""
    # With a header of numbers, pandas need not agree on quotes and blanks in names, and does not check the lengths of
    # rows.
    header = layout.delimiter.join(map(str, range(len(layout.names) + 1))).encode() + b"\n"
    words = [*MISSING_WORDS, *(sentinel for sentinel in source.missing if isinstance(sentinel, str))]
    # NA and None are missing values among numbers but may well be names, so that text is taken literally; surplus cells
    # are surplus whatever they contain.
    missing = {str(index): [] if types.get(index) in _AS_TEXT else words for index in indices}
    missing |= {str(len(layout.names)): [""]}
    import pandas as pd

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
                str(index): "str" if kind in _AS_TEXT else kind
                for index, kind in types.items()
                if kind in (*_AS_TEXT, "float64")
            },
            dtype_backend="numpy_nullable",
            na_values=missing,
            keep_default_na=False,
            encoding_errors="backslashreplace",
        )
        for frame in frames:
            yield frame.rename(columns=int)


def _types(
    source: Source, layout: _Layout, frames: Iterator[pd.DataFrame], indices: Sequence[int], rows: int
) -> dict[int, str]:
    """The type of each column that can represent all of its rows."""
    n_fields = len(layout.names)
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
    types = {index: _common(kinds[index]) for index in indices}
    if source.decimal == ",":
        _check_marks(source, layout, [index for index in indices if types[index] in ("float64", *_AS_TEXT)], rows)
    return types


# Numbers with marks of thousands, and those that need none.
_GROUPED, _SHORT = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+"), re.compile(r"[-+]?\d{1,3}")


def _check_marks(source: Source, layout: _Layout, indices: Sequence[int], rows: int) -> None:
    """Refuse numbers with a point where the decimal mark is a comma: it may be that of thousands, as may the comma.

    The comma is doubted where all numbers from a thousand on have one, and none below.
    """
    n_rows = 0
    grouped: dict[int, str] = {}
    short: set[int] = set()
    decimal: set[int] = set()
    for frame in _parse(source, layout, indices, rows, dict.fromkeys(indices, "str")) if indices else ():
        for index in indices:
            cells = [str(cell).strip() for cell in frame[index].to_numpy(dtype=object, na_value="")]
            row = next((i for i, cell in enumerate(cells) if "." in cell), None)
            if row is not None and all(cell in MISSING_WORDS or is_number(re.sub("[.,]", "", cell)) for cell in cells):
                cell = excerpt(cells[row])
                raise source.error(
                    f"column {layout.names[index]!r} has {cell!r} in row {n_rows + row + 1}, with a point",
                    "a comma as the decimal mark, as `decimal` says, and no points",
                )
            for cell in cells:
                if _GROUPED.fullmatch(cell):
                    grouped.setdefault(index, cell)
                elif _SHORT.fullmatch(cell):
                    short.add(index)
                elif cell not in MISSING_WORDS:
                    decimal.add(index)
        n_rows += len(frame)
    for index in short.intersection(grouped) - decimal:
        source.doubt(
            f"{source.path}: all numbers with a comma in column {layout.names[index]!r} look like thousands, such as "
            f"{grouped[index]}, and others have none: is the comma a decimal mark, as `decimal` says?"
        )


def _kind(series: pd.Series, source: Source) -> str:
    """The type that pandas assigned to these rows; ``spelled`` for texts that are numbers all the same."""
    if series.isna().all():
        return "nothing"
    kind = str(series.dtype)
    if kind == "string":
        numbers, respelled = _spelled_numbers(series, source)
        # Whole numbers that no type holds stay text.
        if numbers is not None and respelled:
            return "spelled"
        return "limits" if source.decimal == "," and numbers is None and _with_points(series) is not None else kind
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
    if "limits" in kinds and kinds <= {*numbers, "spelled", "limits"}:
        return "limits"
    return "spelled" if kinds <= {*numbers, "spelled"} and "spelled" in kinds else "str"


def _spelled_numbers(series: pd.Series, source: Source) -> tuple[np.ma.MaskedArray | None, bool]:
    """Numbers from texts with blanks around them, a D for the exponent, a typesetter's minus or a decimal comma.

    None if any is none. Only cells that are empty or mark a missing value are masked. The second is whether any cell is
    spelled in this way.
    """
    texts = series.to_numpy(dtype=object, na_value="")
    values, missing = np.zeros(texts.size), np.zeros(texts.size, dtype=bool)
    known: dict[str, float | None] = dict.fromkeys(
        [*MISSING_WORDS, *(word.strip() for word in source.missing if isinstance(word, str))]
    )
    respelled = False
    for i, text in enumerate(texts):
        word = text.strip()
        if word in known:
            missing[i] = True
            respelled |= bool(word)
            continue
        word = _D_EXPONENT.sub(r"\1e\2", word).replace(MINUS, "-")
        if source.decimal == ",":
            if "." in word:
                # It would be that of thousands.
                return None, False
            word = word.replace(",", ".")
        if not is_number(word):
            return None, False
        respelled |= word != text
        values[i] = float(word)
    return np.ma.MaskedArray(values, mask=missing), respelled and not missing.all()


def _with_points(series: pd.Series) -> list[str] | None:
    """Cells with numbers and limits, such as ``<0,0017``, with a point for the comma; None if there is any other."""
    texts = [str(text).strip() for text in series.to_numpy(dtype=object, na_value="")]
    pointed = [text.replace(",", ".") for text in texts]
    fits = all(text in MISSING_WORDS or ("." not in text and is_like_number(text)) for text in texts)
    return pointed if fits else None


def _rows(stream: BinaryIO, source: Source, layout: _Layout) -> Iterator[bytes]:
    """Lines after the header without comments; pandas would also cut lines at a marker inside them."""
    watch = Watch(source, layout.names, layout.delimiter, layout.marker, layout.struck)
    lines = watch.rows(itertools.islice(_lines(stream, source), layout.n_skip, None), layout.n_skip + 1)
    return _complete(lines, source, len(layout.names)) if layout.delimiter == " " else lines


def _complete(lines: Iterator[bytes], source: Source, n_fields: int) -> Iterator[bytes]:
    """Refuse a row with a blank cell, which is invisible between white space, so that later cells would shift left."""
    n_rows = 0
    for line in lines:
        found = len(split(line.decode(errors="replace"), " ") if b'"' in line else line.split())
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
        if line.strip() == _END_OF_DOS:
            continue
        if len(line) > _LONGEST_LINE:
            raise source.error(f"line {number} has more than {_LONGEST_LINE:,} bytes", "a table in lines")
        yield line


def _masked(series: pd.Series, kind: str, source: Source) -> np.ma.MaskedArray:
    """A masked array that keeps long integers exact even if cells are blank."""
    if kind == "spelled":
        numbers, _ = _spelled_numbers(series, source)
        if numbers is None:
            raise ValueError("a column of numbers has text")
        return numbers
    if kind == "limits":
        pointed = _with_points(series)
        if pointed is None:
            raise ValueError("a column of numbers and limits has text")
        return np.ma.MaskedArray(as_text(np.array(pointed, dtype=object)))
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
    front = _Front(source)
    lines = front.lines
    mark = _delimiter(source, front.delimiter, lines)
    # Below the header, lines are comments if some of them begin with the marker and not nearly all.
    begin = sum(line.lstrip().startswith(front.marker) for line in lines[1:])
    marker = source.comment or (front.marker if 2 * begin < max(len(lines) - 1, 1) else None)
    fields = split(lines[0], mark)
    n_skip = front.numbers[0] - 1
    comments = [text for _, text in front.comments]
    units: tuple[str | None, ...]
    named = _named_in_comments(comments, fields, mark)
    if named is not None:
        names, units, last = named
        struck = tuple(_struck_out(front.comments[last + 1 :], fields, mark))
        return _Layout(names, n_skip, mark, units, marker, struck)
    _check_header(source, fields, split(lines[1], mark) if len(lines) > 1 else [], lines[0], mark)
    n_header = 1
    units = ()
    below = [split(line, mark) for line in lines[1:3]]
    if len(below) == 2 and _are_dashes(below[1], len(fields)):
        # VizieR writes units and dashes below the names.
        units = tuple(field or None for field in _padded(below[0], len(fields)))
        n_header = 3
    elif below and _are_dashes(below[0], len(fields)) and "---" in lines[1]:
        # The line of units may be blank.
        n_header = 2
    elif mark == "\t" and below and len(below[0]) == len(fields) and all(map(_RDB_TYPE.fullmatch, below[0])):
        n_header = 2
    elif len(lines) > 2:
        over = _over_numbers(below[0], [split(line, mark) for line in lines[2:]], len(fields))
        are_types = bool(over) and all(map(_TYPE.fullmatch, over))
        # Units, which are slow to import, come last.
        if are_types or any(map(is_unit, filter(None, map(_bare_unit, over)))):
            units = () if are_types else tuple(_bare_unit(field) or None for field in below[0])
            n_header = 2
            what = "types" if are_types else "units"
            source.doubt(f"{source.path}: line {front.numbers[1]} has the {what} of the columns, and is no row")
    return _Layout(_named(fields), front.numbers[n_header - 1], mark, units, marker)


class _Front:
    """The comments and the first lines of a file, with their numbers; the first of these lines is the header or a row.

    `marker` is what the comments begin with, `delimiter` what was given or is told by a first line for Excel.
    """

    def __init__(self, source: Source) -> None:
        self.marker, self.delimiter = source.comment or "#", source.delimiter
        self.comments: list[tuple[int, str]] = []
        self.lines: list[str] = []
        self.numbers: list[int] = []
        with source.open() as stream:
            for number, raw in enumerate(_lines(stream, source), start=1):
                line = raw.decode("utf-8", "backslashreplace").removeprefix("\ufeff").strip("\r\n")
                if "\r" in line:
                    raise source.error("lines end with a carriage return alone", "line ends of Unix or Windows")
                if "\0" in line:
                    raise source.error("the file is no text", "text with a header line")
                if self.lines or not self._is_in_front(number, line, source.comment):
                    self._add(number, line)
                if len(self.lines) > _LOOKED_AT:
                    break
        for _, text in self.comments:
            source.check_query(text)
        if not self.lines:
            raise source.error("the file has nothing but comments", "a header line and rows")

    def _add(self, number: int, line: str) -> None:
        if line.strip():
            self.lines.append(line)
            self.numbers.append(number)

    def _is_in_front(self, number: int, line: str, given: str | None) -> bool:
        """Whether a line stands in front of the header, in which case it is looked at here."""
        separator = _SEPARATOR.fullmatch(line.strip(" ")) if number == 1 else None
        if separator is not None:
            self.delimiter = self.delimiter or separator[1]
            return True
        text = line.lstrip()
        other = _OTHER_MARK.match(text) if given is None and not self.comments else None
        if other is not None and text.count(other[1]) == len(other[0]) // len(other[1]):
            self.marker = other[1]
        if text.startswith(self.marker):
            self.comments.append((number, text[len(self.marker) :]))
            return True
        return line.startswith("NVAR:")


def _are_dashes(fields: Sequence[str], size: int) -> bool:
    return len(fields) == size > 1 and all(map(_DASHES.fullmatch, fields))


def _bare_unit(field: str) -> str:
    """A unit without brackets around it, nothing for a word that says that there is none."""
    bare = field.strip("[]() ")
    return "" if bare.lower() in _NO_UNIT else bare


def _over_numbers(fields: Sequence[str], rows: Sequence[Sequence[str]], size: int) -> list[str]:
    """What a line below the names has over the columns of numbers; nothing if that is a number anywhere."""
    columns = [[row[i] for row in rows if i < len(row) and row[i] not in MISSING_WORDS] for i in range(size)]
    over = [fields[i] for i in range(min(size, len(fields))) if columns[i] and all(map(is_like_number, columns[i]))]
    return [] if len(fields) != size or any(map(is_like_number, filter(_bare_unit, over))) else over


def _struck_out(comments: Sequence[tuple[int, str]], fields: Sequence[str], delimiter: str) -> Iterator[int]:
    """Numbers of the lines below the names that are rows behind a marker, with numbers where a row has some."""
    numeric = [i for i, field in enumerate(fields) if is_number(field)]
    for number, text in comments:
        cells = split(text.lstrip("#"), delimiter)
        if is_struck_out(text.lstrip("#"), fields, delimiter) and all(is_number(cells[i]) for i in numeric):
            yield number


def _named_in_comments(
    comments: Sequence[str], fields: Sequence[str], delimiter: str
) -> tuple[tuple[str, ...], tuple[str | None, ...], int] | None:
    """Names and units from the comments in front of a first line that is a row, and the last comment that gives them.

    None if the first line is the header.
    """
    if not any(map(is_number, fields)):
        return None
    numbered = [(i, found) for i, found in enumerate(map(_NUMBERED.fullmatch, comments)) if found]
    numbers = [int(found[1]) for _, found in numbered]
    # A single one of several columns has all names in it.
    if numbers and len(numbers) >= min(len(fields), 2) and numbers == sorted(set(numbers)):
        names: list[str] = []
        units: list[str | None] = []
        ends = [*(int(found[1]) for _, found in numbered[1:]), len(fields) + 1]
        for (_, found), end in zip(numbered, ends, strict=True):
            # An array has the number of its first column.
            for k in range(end - int(found[1])):
                names.append(found[2] if not k else f"{found[2]}_{k}")
                units.append(found[3])
        if len(names) == len(fields) and numbers[0] == 1:
            return tuple(names), tuple(units), numbered[-1][0]
    # NumPy, TOPCAT and many hands write the names in a comment, perhaps with the units in the next one.
    candidates: list[tuple[int, tuple[str, ...], tuple[str | None, ...]]] = []
    for i, comment in enumerate(comments):
        for mark in dict.fromkeys((delimiter, *_DELIMITERS)):
            names = _without_numbers(split(comment.lstrip("#!%"), mark))
            if len(names) == len(fields) and all(map(_may_be_name, names)):
                candidates.append((i, tuple(names), ()))
                break
        else:
            # Between white space, a unit in brackets is a word of its own.
            names, units = _with_units(comment.lstrip("#!%").split())
            if len(names) == len(fields) and all(map(_may_be_name, names)):
                candidates.append((i, tuple(names), tuple(units)))
    if not candidates:
        return None
    last, words, found_units = candidates[-1]
    if len(candidates) > 1 and all(word in ("-", "--", "---") or is_unit(word.strip("[]()")) for word in words):
        return candidates[-2][1], tuple(None if word.startswith("-") else word.strip("[]()") for word in words), last
    return words, found_units, last


def _with_units(words: Sequence[str]) -> tuple[list[str], list[str | None]]:
    """Names, each with the unit in brackets that follows it, if one does.

    >>> _with_units(["name", "vel", "[km/s]", "e_vel", "(m/s)"])
    (['name', 'vel', 'e_vel'], [None, 'km/s', 'm/s'])
    """
    names: list[str] = []
    units: list[str | None] = []
    for word in words:
        if names and re.fullmatch(r"\[.*\]|\(.*\)", word):
            units[-1] = _bare_unit(word) or None
        else:
            names.append(word)
            units.append(None)
    return names, units


def _without_numbers(names: Sequence[str]) -> list[str]:
    """Names without their numbers, if all have one in front, in order.

    >>> _without_numbers(["[1]name", "[2]mass"]), _without_numbers(["2mass", "x"])
    (['name', 'mass'], ['2mass', 'x'])
    """
    found = [re.fullmatch(r"[\[(]?(\d+)[\])]?[:.]?([A-Za-z].*)", name) for name in names]
    numbered = [each[2] for number, each in enumerate(found, start=1) if each is not None and int(each[1]) == number]
    return numbered if len(numbered) == len(names) else list(names)


def _may_be_name(word: str) -> bool:
    """Whether a word of a comment may be the name of a column, or its unit.

    >>> [_may_be_name(word) for word in ("mass", "-", "2:", "=", "1.5", "mass,")]
    [True, True, False, False, False, False]
    """
    return word != "" and word != "=" and not is_number(word) and not word.endswith((",", ";", ":"))


def _check_header(source: Source, fields: Sequence[str], row: Sequence[str], line: str, delimiter: str) -> None:
    """Refuse a first line that is a row, and doubt one that looks like one."""
    if delimiter != ",":
        # The decimal mark may be a comma.
        fields, row = ([field.replace(",", ".") for field in listed] for listed in (fields, row))
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
        f"{source.path}: the names of {plural(len(numbers), 'column')} are numbers, the first is {numbers[0]!r}: is "
        "this a row? If so, write a line with names above it"
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
    fitting = [mark for mark in present if {len(split(line, mark)) for line in rows} == {len(split(lines[0], mark))}]
    if fitting[:1] == [","] and ";" in fitting:
        # The commas are decimal marks.
        return ";"
    return (fitting or present or [","])[0]


def _named(fields: Sequence[str]) -> tuple[str, ...]:
    """A name for each field: pandas writes an index without a name, and lines may end with a delimiter."""
    return tuple(field or f"unnamed_{number}" for number, field in enumerate(fields, start=1))
