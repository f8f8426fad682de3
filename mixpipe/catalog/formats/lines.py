"""Lines of delimited text below the header: which of them are rows, and which may not be what they seem."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from mixpipe.base.errors import excerpt
from mixpipe.base.presentation import plural
from mixpipe.catalog.formats.arrays import MISSING_WORDS, is_number
from mixpipe.catalog.source import Source

# Marks with which rows are struck out; two dashes alone are a missing value.
_STRIKE = re.compile(rb"%|!|//|;|--(?=\w)")
# Rows with too few fields are mistakes if they are a smaller share than this, and otherwise how the file is written.
_FEW = 0.2
# Names of rows at the end of a table that sum up the others.
_SUMMARIES = {"mean", "average", "avg", "median", "std", "stddev", "total", "sum", "min", "max", "count"}
_LAST_ROWS = 8
# The sign of a typesetter.
MINUS = "\u2212"


def split(line: str, delimiter: str) -> list[str]:
    """The fields of a line; a blank stands for any white space."""
    text = re.sub(r"\s+", " ", line.strip()) if delimiter == " " else line
    return [field.strip() for field in next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])]


def is_struck_out(text: str, names: Sequence[str], delimiter: str) -> bool:
    """Whether the text behind the marker of a comment looks like a row, rather than like a header or an explanation."""
    fields = split(text, delimiter)
    numbered = [str(number) for number in range(1, len(fields) + 1)]
    return len(fields) == len(names) > 1 and fields != list(names) and fields != numbered


class Watch:
    """Lets rows pass, leaves out comments and repeated headers, and refuses a second table.

    Doubted are rows behind a marker of comments that was not given, rows behind another mark, rows with too few fields,
    and rows below a blank line.

    Parameters
    ----------
    source : Source
        The file, which collects the doubts.
    names : sequence of str
        Names of the columns.
    delimiter : str
        What stands between two fields, a blank for any white space.
    marker : str or None
        What comments begin with.
    struck : sequence of int
        Numbers of lines in front of the rows that look like rows behind the marker.
    """

    def __init__(
        self, source: Source, names: Sequence[str], delimiter: str, marker: str | None, struck: Sequence[int] = ()
    ) -> None:
        self._source, self._names, self._delimiter = source, list(names), delimiter
        self._marker = None if marker is None else marker.encode()
        self._start, self._mark = names[0].encode(), delimiter.encode()
        # Rows that are too short between white space are refused elsewhere.
        self._fewest = 0 if delimiter == " " else len(names) - 1
        self._struck, self._repeated, self._short, self._below, self._quoted = (_Found() for _ in range(5))
        self._last_rows: deque[tuple[int, bytes]] = deque(maxlen=_LAST_ROWS)
        self._is_delimited = False
        self._marked: dict[bytes, _Found] = {}
        self._numeric: list[int] = []
        self._n_rows = self._blank = self._void = self._last_short = 0
        for number in struck:
            self._struck.add(number)

    def rows(self, lines: Iterable[bytes], first: int) -> Iterator[bytes]:
        """The lines that are to be read; `first` is the number of the first line."""
        is_quoted, quotes = False, _Quotes(self._delimiter)
        for number, line in enumerate(lines, start=first):
            text = line.strip()
            if self._marker is not None and text.startswith(self._marker):
                self._look_at_comment(number, text)
                continue
            self._is_delimited = self._is_delimited or self._mark in line
            # A line may end within quotes.
            was_quoted = is_quoted
            is_quoted = quotes.are_open(line, is_quoted)
            if was_quoted:
                if text and 0 < self._fewest == text.count(self._mark):
                    self._quoted.add(number)
            elif not self._look_at(number, line, is_quoted):
                continue
            yield line
        self._tell()

    def _look_at_comment(self, number: int, text: bytes) -> None:
        if self._source.comment is None and self._marker is not None:
            bare = text.lstrip(self._marker).decode(errors="replace")
            if is_struck_out(bare, self._names, self._delimiter):
                self._struck.add(number)

    def _look_at(self, number: int, line: bytes, is_open: bool) -> bool:
        """Note what is odd about a line, which may end within quotes; whether it is to be read."""
        text = line.strip()
        if not text.strip(self._mark):
            # Only marks are a row without values, or what a spreadsheet makes of a blank line.
            if text or (self._delimiter != " " and self._mark in line):
                self._void = number
            else:
                self._blank = self._blank or number
            return True
        if self._blank or self._void or text.lstrip(b'"').startswith(self._start) or not self._n_rows:
            fields = split(text.decode(errors="replace"), self._delimiter)
            if fields == self._names:
                self._repeated.add(number)
                self._blank = self._void = 0
                return False
            self._look_below(number, fields)
        self._n_rows += 1
        self._last_rows.append((number, text))
        # A row may go on in the next line, within quotes.
        if line.count(self._mark) < self._fewest and not is_open:
            self._short.add(number)
            self._last_short = self._n_rows
        strike = _STRIKE.match(text) if text[0] in b"%!/;-" and self._source.comment is None else None
        if strike is not None and strike[0] != self._mark:
            self._marked.setdefault(strike[0], _Found()).add(number)
        return True

    def _look_below(self, number: int, fields: Sequence[str]) -> None:
        """Refuse a second header, with text wherever the first row has numbers, and doubt rows below a blank line."""
        if not self._n_rows:
            self._numeric = [i for i, field in enumerate(fields) if is_number(field) and field not in MISSING_WORDS]
        elif self._blank or self._void or fields[:1] == self._names[:1]:
            cells = [fields[i] for i in self._numeric if i < len(fields)]
            are_words = self._blank or fields[:1] == self._names[:1] or all(map(_LETTER.search, cells))
            if cells and are_words and not any(_may_be_value(cell) for cell in cells):
                shown = excerpt(self._delimiter.join(fields))
                below = ", below a blank line," if self._blank else ", below an empty row," if self._void else ""
                raise self._source.error(
                    f"a second table begins in line {number}{below} with the header {shown!r}",
                    "one table in a file; save each in a file of its own",
                )
            # A table has more than one row.
            if self._blank and self._n_rows > 1:
                self._below.add(self._blank)
        self._blank = self._void = 0

    def _tell(self) -> None:
        """Say what was found."""
        doubt, path = self._source.doubt, self._source.path
        if self._n_rows and self._fewest > 0 and not self._is_delimited:
            raise self._source.error(
                f"no row has the delimiter {self._delimiter!r}, which cuts the header into {len(self._names)} names",
                "one delimiter for the header and the rows",
            )
        if self._quoted.count:
            doubt(
                f"{path}: {plural(self._quoted.count, 'line')} within quotes, {self._quoted}, that look like rows: is "
                "a quote missing? They are read as part of one cell"
            )
        summaries = _Found()
        for number, text in self._last_rows:
            first = split(text.decode(errors="replace"), self._delimiter)[:1]
            if first and first[0].casefold() in _SUMMARIES:
                summaries.add(number)
        if 0 < summaries.count < self._n_rows:
            rows = plural(summaries.count, "row")
            doubt(f"{path}: {rows} called like a mean or a total, {summaries}: used as the others")
        if self._struck.count:
            rows = plural(self._struck.count, "row")
            doubt(f"{path}: {rows} left out as commented out with {(self._marker or b'').decode()}, {self._struck}")
        if self._repeated.count:
            doubt(
                f"{path}: the header is repeated in {plural(self._repeated.count, 'line')}, {self._repeated}: "
                "were files joined? These lines are left out"
            )
        if self._below.count:
            lines = plural(self._below.count, "blank line")
            doubt(f"{path}: rows follow {lines}, {self._below}: is that another table? If so, save it in another file")
        # A file that was cut short ends within a row.
        if self._short.count and (self._short.count < _FEW * self._n_rows or self._last_short == self._n_rows > 1):
            doubt(
                f"{path}: {plural(self._short.count, 'row')} with fewer fields than the header, {self._short}: is the "
                "file cut short? Cells at the end of these are taken as missing"
            )
        for mark, found in self._marked.items():
            if 2 * found.count < self._n_rows:
                doubt(
                    f"{path}: {plural(found.count, 'row')} beginning with {mark.decode()}, {found}, used like the "
                    "others: if they are struck out, `comment` leaves them out"
                )


class _Found:
    """The number of lines of a kind, and which is the first."""

    def __init__(self) -> None:
        self.count = self.first = 0

    def add(self, number: int) -> None:
        self.count, self.first = self.count + 1, self.first or number

    def __str__(self) -> str:
        return f"the first in line {self.first}"


class _Quotes:
    """Whether lines end within quotes; only at the beginning of a field does a quote open any.

    >>> quotes = _Quotes(",")
    >>> [quotes.are_open(line, False) for line in (b'a,"b', b'a,"b""c","d"', b'a,5" b', b'"a" "b,')]
    [True, False, False, False]
    >>> [quotes.are_open(line, True) for line in (b'a,b', b'a",b', b'a",b,"c')]
    [True, False, True]
    """

    def __init__(self, delimiter: str) -> None:
        begin = rb"(^|\s)" if delimiter == " " else b"(^|" + re.escape(delimiter.encode()) + b")"
        self._whole = re.compile(begin + rb'\s*"(?:[^"]|"")*"')
        self._opening = re.compile(begin + rb'\s*"')
        self._end = re.compile(rb'(?:[^"]|"")*"(?!")')

    def are_open(self, line: bytes, inside: bool) -> bool:
        """Whether a line ends within quotes, by whether it begins within some."""
        if b'"' not in line:
            return inside
        if inside:
            end = self._end.match(line)
            if end is None:
                return True
            line = b"x" + line[end.end() :]
        return self._opening.search(self._whole.sub(rb"\1x", line)) is not None


_LETTER = re.compile(r"[^\W\d_]")


def _may_be_value(cell: str) -> bool:
    """Whether a cell may stand in a column of numbers: a number, a limit, or a word for a missing value."""
    return cell in MISSING_WORDS or is_like_number(cell)


def is_like_number(cell: str) -> bool:
    """Whether a cell is a number or a limit, perhaps with a comma for the point or a typesetter's minus."""
    return is_number(cell.lstrip("<>~≤≥").lstrip("= ").replace(",", ".").replace(MINUS, "-"))
