"""Text formats that carry units and are read whole by Astropy: ECSV, VOTable and machine-readable tables."""

from __future__ import annotations

import io
import itertools
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from astropy.io import ascii as text_tables
from astropy.io.votable import parse
from astropy.io.votable.exceptions import W30, W51
from astropy.io.votable.exceptions import conf as votable_options
from astropy.table import Column, MaskedColumn, Table

from mixpipe.base.errors import excerpt
from mixpipe.base.presentation import plural
from mixpipe.catalog.formats.arrays import (
    MISSING_WORDS,
    as_column,
    decoded,
    is_number,
    is_unit,
    parse_unit,
    row_ranges,
    unit_text,
)
from mixpipe.catalog.formats.lines import Watch, split
from mixpipe.catalog.source import Source


def columns(source: Source) -> dict[str, str | None]:
    """Names and units, which requires reading the whole table."""
    table = _whole(source)
    source.choose(table.colnames, None)
    return {name: unit_text(table[name].unit) for name in table.colnames if isinstance(table[name], Column)}


def blocks(source: Source, names: Sequence[str] | None, rows: int) -> Iterator[Table]:
    """These columns, or all, in blocks of rows; the whole table is in memory."""
    whole = _whole(source, names or ())
    table = Table()
    if names is None:
        # Times and coordinates are no numbers, and nobody asked for them.
        names = [name for name in whole.colnames if isinstance(whole[name], Column)]
    for name in source.choose(whole.colnames, names):
        column = whole[name]
        if not isinstance(column, Column):
            raise source.error(f"column {name!r} holds {type(column).__name__}", "plain numbers or text")
        table.add_column(as_column(name, column.data, column.unit), copy=False)
    for start, stop in row_ranges(len(table), rows):
        yield table[start:stop]


def _whole(source: Source, names: Sequence[str] = ()) -> Table:
    content = source.content()
    table = _votable(source, content, names) if source.format == "votable" else _text_table(source, decoded(content))
    _check_underscores(source, content, table, names)
    return table


# What Python takes for a number though it has underscores.
_UNDERSCORED = re.compile(rb"(?<![\w.])[-+]?\d[\d.]*(?:_\d+)+[\d.]*(?:[eE][-+]?\d+)?(?![\w.])")


def _cells(source: Source, content: bytes) -> bytes:
    """The file without descriptions, which may say anything."""
    if source.format == "votable":
        return b"\n".join(re.findall(rb"(?i)<TD\b[^>]*>([^<]*)<", content))
    if source.format == "mrt":
        # Another rule may end the rows.
        ends = [found.end() for found in re.finditer(rb"(?m)^[-=]{20,}[ \t\r]*$", content)]
        content = content[next((end for end in reversed(ends) if content[end:].strip()), 0) :]
    return b"\n".join(line for line in content.splitlines() if not line.startswith((b"#", b"|", b"\\")))


def _check_underscores(source: Source, content: bytes, table: Table, names: Sequence[str]) -> None:
    """Refuse numbers with underscores in some columns, such as 4_406, which Python reads, and doubt those of others."""
    words = {word.decode() for word in _UNDERSCORED.findall(_cells(source, content)) if word.count(b".") < 2}
    columns = [table[name] for name in table.colnames if words and isinstance(table[name], Column)]
    texts = {str(cell).strip() for column in columns if column.dtype.kind in "US" for cell in column}
    for word in sorted(words - texts):
        for column in columns:
            if column.dtype.kind not in "iuf":
                continue
            rows = np.flatnonzero(np.ma.getdata(column) == float(word))
            if not rows.size:
                continue
            what = f"column {column.name!r} has {word!r} in row {rows[0] + 1}"
            if column.name in names:
                raise source.error(what, "numbers without underscores")
            source.doubt(f"{source.path}: {what}, which is read as {float(word):g}")


def _text_table(source: Source, text: str) -> Table:
    # As long as before, since columns may have fixed places.
    text = _DOUBLE.sub(r"\1e\2", text)
    if source.format == "ecsv":
        return _ecsv(source, text)
    if source.format == "ipac":
        return _ipac(source, text)
    if source.format == "daophot":
        return text_tables.read(text, format="daophot")
    if source.format == "latex":
        return _latex(source, text)
    return _machine_readable(source, text.replace("\r\n", "\n"))


# Numbers as Fortran writes them in double precision.
_DOUBLE = re.compile(r"(?<![\w.])([-+]?(?:\d+\.\d*|\.\d+))[dD]([-+]\d{2,3})(?![\w.])")


def _ecsv(source: Source, text: str) -> Table:
    lines = text.encode().splitlines(keepends=True)
    header = next((i for i, line in enumerate(lines) if not line.startswith(b"#")), len(lines))
    if header < len(lines):
        delimiter = re.search(r"(?m)^# delimiter: ['\"]?([^'\"\n])", text)
        names = split(lines[header].decode(), delimiter[1] if delimiter else " ")
        watch = Watch(source, names, delimiter[1] if delimiter else " ", "#")
        lines[header + 1 :] = watch.rows(lines[header + 1 :], header + 2)
    # The columns may be quantities; Gaia writes null for a missing value.
    missing = [("", "0"), ("null", "0")]
    return Table(text_tables.read(b"".join(lines).decode(), format="ecsv", fill_values=missing), copy=False)


def _with_texts(text: str, read: Callable[[str], Table], as_text: Callable[[str, str], str]) -> Table:
    """The table, in which columns of numbers that hold anything else are text, which matters only where they are used.

    Parameters
    ----------
    text : str
        Description and rows.
    read : callable
        Reads these.
    as_text : callable
        Takes the whole and the name of a column; returns it with a description of this column as text.
    """
    while True:
        try:
            return read(text)
        except ValueError as error:
            found = re.match(r"Column (.+) failed to convert", str(error))
            described = as_text(text, found[1]) if found else text
            if described == text:
                raise
            text = described


def _ipac_text(text: str, name: str) -> str:
    """The table with the type of a column as text."""
    lines = text.split("\n")
    first, second, *_ = (i for i, line in enumerate(lines) if line.startswith("|"))
    cells = lines[second].split("|")
    place = [cell.strip() for cell in lines[first].split("|")].index(name)
    cells[place] = "char".ljust(len(cells[place]))
    lines[second] = "|".join(cells)
    return "\n".join(lines)


def _ipac(source: Source, text: str) -> Table:
    _check_ipac_rows(source, text.splitlines())

    def read(text: str) -> Table:
        return text_tables.read(text, format="ipac", fill_values=[("null", "0"), ("", "0")])

    table = _with_texts(text, read, _ipac_text)
    head = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    # The fourth line has the marks of missing values, which are numbers where the columns are.
    for name, null in zip(head[0], head[3] if len(head) > 3 else (), strict=False):
        if name.strip() in table.colnames and is_number(null.strip()):
            _mask(table, name.strip(), null.strip())
    return table


def _check_ipac_rows(source: Source, lines: Sequence[str]) -> None:
    """Refuse a second head among the rows and letters under the bars, and say which rows a backslash leaves out."""
    first = next((i for i, line in enumerate(lines) if line.startswith("|")), 0)
    begin = next((i for i in range(first, len(lines)) if not lines[i].startswith("|")), len(lines))
    bars = [place for place, letter in enumerate(lines[first]) if letter == "|"] if lines else []
    n_columns = len(bars) - 1
    struck = []
    for i in range(begin, len(lines)):
        if lines[i].startswith("|"):
            raise source.error(f"a second head in line {i + 1}", "one table in a file; save each in one")
        if not lines[i].startswith("\\"):
            for place in bars:
                # A letter there may belong to the column on either side.
                if lines[i][place : place + 1].strip():
                    what = f"line {i + 1} has {lines[i][place]!r} under a bar of the head, at place {place + 1}"
                    raise source.error(what, "blanks under the bars, which divide the columns")
            continue
        cells = lines[i][1:].split()
        if len(cells) == n_columns and any(map(is_number, cells)):
            struck.append(i + 1)
    if struck:
        rows = plural(len(struck), "row")
        source.doubt(f"{source.path}: {rows} left out as commented out with \\, the first in line {struck[0]}")


def _votable(source: Source, content: bytes, names: Sequence[str]) -> Table:
    if _ELSEWHERE.search(content):
        expected = "a VOTable with its rows in it, or the file that has them"
        raise source.error("the rows of the table are in another place (href)", expected)
    content = _FORTRAN.sub(rb"\1e\2", content)
    # Of all that Astropy warns of, only what changes numbers is kept.
    with warnings.catch_warnings(record=True) as said, votable_options.set_temp("max_warnings", sys.maxsize):
        warnings.simplefilter("ignore")
        for kind in _CHANGED:
            warnings.simplefilter("always", kind)
        document = parse(io.BytesIO(content), verify="warn")
    for info in (*document.infos, *_infos(document.resources)):
        _check_info(source, str(info.name), str(info.value), (info.content or "").strip())
    tables = [table for table in document.iter_tables() if len(table.fields)]
    if not tables:
        raise source.error("the file has no table", "a VOTable with a TABLE element; was the query answered?")
    full = [table for table in tables if len(table.array)]
    if len(full) > 1:
        raise source.error(f"the file has {len(full)} tables with rows", "a VOTable with one; save each in a file")
    table = (full or tables)[0]
    fields = [field.name for field in table.fields]
    wanted = source.choose(fields, names or None)
    _check_cells(source, content, said, fields, names)
    _doubt_fewer(source, content, len(table.array))
    found = table.to_table(use_names_over_ids=True)
    # Astropy gives a number to names that are repeated.
    return Table([found.columns[fields.index(name)] for name in wanted], names=wanted, copy=False)


# Rows that Astropy would fetch from another place, and take for what the header says.
_ELSEWHERE = re.compile(rb"<(?:\w+:)?(?:BINARY2?|FITS)\b[^>]*>\s*<(?:\w+:)?STREAM\b[^>]*\bhref=")
# Cells with a number as Fortran writes it in double precision.
_FORTRAN = re.compile(rb"(<TD[^>]*>\s*[-+]?(?:\d+\.\d*|\.\d+))[dD]([-+]?\d+\s*</TD>)")
# A row is looked for so many bytes before a cell.
_LONGEST_ROW = 1 << 16
# What Astropy warns of: a text in a column of numbers, which it takes as missing, and a number beyond the range of the
# column, which it replaces by the end of the range.
_CHANGED = {W30: "is no number", W51: "is beyond the range of its numbers"}


def _check_cells(
    source: Source, content: bytes, said: Sequence[warnings.WarningMessage], fields: Sequence[str], names: Sequence[str]
) -> None:
    """Refuse cells of some columns that are not what Astropy makes of them, and doubt those of the others."""
    starts = [0, *itertools.accumulate(map(len, content.splitlines(keepends=True)))] if said else []
    doubted: set[str] = set()
    for each in said:
        # Line and column of the cell, and the cell itself.
        found = re.search(r"(?s)(\d+):(\d+): W\d+: .*?'(.*?)'", str(each.message))
        if found is None or found[3].strip() in MISSING_WORDS:
            continue
        line, text = int(found[1]), found[3].strip()
        end = starts[line - 1] + int(found[2])
        row = re.split(rb"<(?:\w+:)?TR\b", content[max(end - _LONGEST_ROW, 0) : end])[-1]
        column = len(re.findall(rb"<(?:\w+:)?TD\b", row)) - 1
        name = fields[column] if 0 <= column < len(fields) else ""
        what = f"the cell {excerpt(text)!r} of column {name!r} in line {line} {_CHANGED[type(each.message)]}"
        if name in names:
            raise source.error(what, "numbers that the column can hold, or an empty cell for a missing one")
        if name not in doubted:
            source.doubt(f"{source.path}: {what}")
            doubted.add(name)


def _doubt_fewer(source: Source, content: bytes, n_rows: int) -> None:
    """Say that a TABLE states more rows than it has; Astropy does not keep what it states."""
    stated = [int(number) for number in re.findall(rb"<(?:\w+:)?TABLE\b[^>]*\bnrows=[\"'](\d+)", content)]
    if len(stated) == 1 and stated[0] != n_rows:
        source.doubt(f"{source.path}: {plural(n_rows, 'row')}, but the table states {stated[0]:,}: is the file whole?")


def _infos(resources: Iterable[Any]) -> Iterator[Any]:
    """The INFO elements of resources and of all in them, before and behind their tables."""
    for resource in resources:
        yield from resource.infos
        for table in resource.tables:
            yield from table.infos
        yield from _infos(resource.resources)


def _check_info(source: Source, name: str, value: str, content: str) -> None:
    """Refuse what the server says was an error, and doubt what it warns of."""
    source.check_query(f"{name}={value} {content}")
    said = excerpt(" ".join(filter(None, (value, content))))
    if name.lower() == "error":
        raise source.error(f"the server answered with an error ({said})", "the table of a query that succeeded")
    warned = name.lower() == "warning" or "truncated" in f"{name} {said}".lower()
    if warned and name.upper() != "QUERY_STATUS" and value.lower() != "false":
        source.doubt(f"{source.path}: the server warned of the table: {said if len(said) > len(name) else name}")


# Cells of a table in LaTeX: a number, perhaps with one error or two.
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_WITH_ERROR = re.compile(rf"({_NUMBER})\s*(?:\\pm|±)\s*({_NUMBER})")
_WITH_ERRORS = re.compile(rf"({_NUMBER})\s*\^\{{\+?({_NUMBER})\}}\s*_\{{-?({_NUMBER})\}}")
_ERRORS_BELOW = re.compile(rf"({_NUMBER})\s*(_\{{-?{_NUMBER}\}})\s*(\^\{{\+?{_NUMBER}\}})")
_WITHOUT_ERROR = re.compile(rf"\s*|[<>]?\s*{_NUMBER}")
# Marks of notes, which are no days, hours, minutes or seconds, and blanks as wide as a digit or a sign.
_NO_CONTENT = re.compile(
    r"\\(?:tablenotemark|tablefootmark|tnote|phm|h?phantom|footnotemark)(?:\{[^{}]*\}|\[[^\[\]]*\])|\\ph[nds](?![a-zA-Z])|"
    r"\{\}|^(?:\\[,;:! ])+|(?:\\[,;:!])+$|(?<=\d)\s*\^(?:[abcefg*]|\{[abcefg*](?:,\s*[abcefg*])*\})$"
)


def _latex(source: Source, text: str) -> Table:
    """A table of AASTeX or LaTeX; a value with its errors in one cell becomes columns x, e_x, or x, E_x and e_x."""
    _refuse_several(source, text)
    text = _with_units_below(text)
    found = re.search(r"\\begin\{deluxetable\*?\}", text)
    table = text_tables.read(text.replace("deluxetable*", "deluxetable"), format="aastex" if found else "latex")
    columns: dict[str, Any] = {}
    first = [_bare_unit(str(table[name][0])).strip("-") for name in table.colnames] if len(table) > 1 else []
    # Units stand in a line of their own below the names.
    has_units = any(first) and all(word == "" or is_unit(word) for word in first)
    units = first if has_units else []
    table = table[1:] if has_units else table
    bare = [_NO_CONTENT.sub("", name).strip() for name in table.colnames]
    if len({*bare, ""}) > len(bare):
        table.rename_columns(table.colnames, bare)
    for name in table.colnames:
        cells = [_NO_CONTENT.sub("", str(cell).replace("$", "").replace("~", " ").strip()) for cell in table[name]]
        cells = [cell.strip() for cell in cells]
        cells = ["" if cell in MISSING_WORDS else _ERRORS_BELOW.sub(r"\1\3\2", cell) for cell in cells]
        columns[name] = cells
        for pattern, parts in ((_WITH_ERROR, (name, f"e_{name}")), (_WITH_ERRORS, (name, f"E_{name}", f"e_{name}"))):
            matches = [pattern.fullmatch(cell) for cell in cells]
            if any(matches) and all(
                match or _WITHOUT_ERROR.fullmatch(cell) for match, cell in zip(matches, cells, strict=True)
            ):
                columns[name] = [match[1] if match else cell for match, cell in zip(matches, cells, strict=True)]
                for k, part in enumerate(parts[1:], start=2):
                    if part in table.colnames:
                        taken, part = part, f"{part}_2"
                        what = f"column {name!r} has errors in its cells, called {part} beside column {taken!r}"
                        source.doubt(f"{source.path}: {what}")
                    columns[part] = [match[k] if match else "" for match in matches]
                break
    _doubt_struck_out(source, text, len(table.colnames))
    found_table = Table({name: _as_numbers(cells) for name, cells in columns.items()})
    for name, unit in zip(table.colnames, units, strict=False):
        found_table[name].unit = parse_unit(unit or None)
    return found_table


def _refuse_several(source: Source, text: str) -> None:
    """Refuse a file with several tables, of which Astropy reads the first."""
    bare = re.sub(r"(?m)(?<!\\)%.*$", "", text)
    n_tables, depth = 0, 0
    for found in re.finditer(r"\\(begin|end)\{(?:deluxetable|tabular)\*?\}", bare):
        n_tables += found[1] == "begin" and depth == 0
        depth += 1 if found[1] == "begin" else -1
    if n_tables > 1:
        raise source.error(f"the file has {n_tables} tables", "one table in a file; save each in one")


def _with_units_below(text: str) -> str:
    """The table with the further lines of its head, of which the first may have units, as the first lines of data."""
    head = re.search(r"(?s)\\tablehead\{(.*?)\}\s*\\startdata", text)
    lines = re.split(r"\\\\", head[1]) if head else []
    below = [re.sub(r"\\colhead\{(.*?)\}(?=\s*(?:&|$))", r"\1", line.strip()) for line in lines[1:]]
    if head is None or not any(below):
        return text
    data = "".join(f"{line} \\\\\n" for line in below if line)
    return f"{text[: head.start()]}\\tablehead{{{lines[0]}}}\n\\startdata\n{data}{text[head.end() :]}"


def _doubt_struck_out(source: Source, text: str, n_columns: int) -> None:
    """Say which rows of a table in LaTeX are left out since they are comments."""
    struck = [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if re.match(r"\s*%.*\\\\\s*$", line) and line.count("&") == n_columns - 1
    ]
    if struck:
        rows = plural(len(struck), "row")
        source.doubt(f"{source.path}: {rows} left out as commented out with %, the first in line {struck[0]}")


# Units as LaTeX writes them.
_SYMBOLS = {r"_{\odot}": "sun", r"_\odot": "sun", r"{}^{\circ}": "deg", r"^{\circ}": "deg", r"\,": " ", "~": " "}


def _bare_unit(cell: str) -> str:
    r"""A unit without the marks of LaTeX around it.

    >>> _bare_unit(r"$\mathrm{km\,s^{-1}}$"), _bare_unit(r"(M$_\odot$)")
    ('km s-1', 'Msun')
    """
    text = cell.replace("$", "")
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, word)
    text = re.sub(r"\^\{(-?\d+)\}", r"\1", text)
    return re.sub(r"\\(?:mathrm|rm|text)\s*\{([^{}]*)\}", r"\1", text).strip("[]() ")


def _as_numbers(cells: Sequence[str]) -> MaskedColumn | Column:
    """Numbers, if all cells that are not empty are."""
    if not all(cell == "" or is_number(cell) for cell in cells):
        return Column(list(cells))
    return MaskedColumn([float(cell or 0.0) for cell in cells], mask=[cell == "" for cell in cells])


# A line of a byte-by-byte description: label, and the explanation with limits and the mark of missing values in front.
_LINE = re.compile(r"^\s*(?:\d+\s*-\s*)?\d+\s+[AIFEDG]\d*(?:\.\d+)?\s+\S+\s+(?P<label>\S+)\s+(?P<rest>\S.*)$")
# Hands put a number of a note, a star or blanks around it.
_MARK = re.compile(
    r"^(?:\(\w+\)\s*)?(?P<limits>[\[\]][^\[\]?]*[\[\]]\s*)?[*]?\[?\?(?P<order>[-+]*)(?:\s*=\s*[\"']?(?P<null>[^\s;,\"'\[\]]+)[\"']?)?"
    r"[;,]?"
)
# Or they write it further back.
_LATE_MARK = re.compile(rf"(?:\?[-+]*=|(?<!\w)\?[-+]*\s=|\bnull\s?=)\s?(?P<null>{_NUMBER})")


def _machine_readable(source: Source, text: str) -> Table:
    """A machine-readable table of the AAS or the CDS, with the description in front or in a ReadMe beside it."""
    text = re.sub("(?i)byte-per-byte description", "Byte-by-byte Description", text)
    described = re.findall(r"(?im)^Byte-by-byte Description", text)
    if len(described) > 1:
        raise source.error(f"the file describes {len(described)} tables", "one table in a file; save each in one")
    if not described:
        description = source.readme()
        if description is None:
            raise source.error(
                "no byte-by-byte description", "one in front of the rows, or in a ReadMe beside the file"
            )
        text = re.sub("(?i)byte-per-byte description", "Byte-by-byte Description", description) + text
    # Another rule may end the rows.
    text = re.sub(r"\n[-=]{20,}\s*\Z", "\n", text) if re.search(r"\n[^-=\s][^\n]*\n[-=]{20,}\s*\Z", text) else text
    rules = list(re.finditer(r"(?m)^[-=]{20,}[ \t]*$", text))
    end = rules[-1].end() if rules else 0
    header, nulls = _without_order_signs(text[:end])
    rows = "\n".join(_by_bytes(line, header) for line in text[end:].split("\n"))
    _doubt_fixed_rows(source, header, rows, text.count("\n", 0, end) if described else 0)
    missing = [(word, "0") for word in MISSING_WORDS if not re.search(r"\w", word)]
    # Astropy takes blank lines for rows.
    text = header + "\n" + "".join(f"{line}\n" for line in rows.split("\n") if line.strip(_BLANK))

    def read(text: str) -> Table:
        try:
            return text_tables.read(text, format="mrt", fill_values=missing)
        except text_tables.InconsistentTableError:
            return text_tables.read(text, format="cds", fill_values=missing)

    table = _with_texts(text, read, _machine_text)
    for name, null in nulls.items():
        if name in table.colnames:
            _mask(table, name, null)
    stated = None if described else source.stated_rows()
    if stated is not None and stated != len(table):
        source.doubt(
            f"{source.path}: {plural(len(table), 'row')}, but the ReadMe states {stated:,}: is the file whole?"
        )
    return table


def _machine_text(text: str, name: str) -> str:
    """The table with the format of a column as text."""
    line = rf"(?m)^(\s*(?:\d+\s*-\s*)?\d+\s+)[IFEDG](\d*)(?:\.\d+)?(\s+\S+\s+{re.escape(name)}\s)"
    return re.sub(line, r"\1A\2\3", text, count=1)


# Bytes of a column in a description, and what may stand between columns.
_BYTES = re.compile(r"(?m)^\s*(?:(\d+)\s*-\s*)?(\d+)\s+[AIFEDG]\d")
_BETWEEN = " |,;&\t\r"
# A file of DOS may end with Ctrl-Z.
_BLANK = " \t\r\f\v\x1a"


def _gaps(header: str) -> list[tuple[int, int]]:
    """Starts and ends of what is between the columns of a description."""
    spans = sorted((int(found[1] or found[2]) - 1, int(found[2])) for found in _BYTES.finditer(header))
    return [(end, start) for (_, end), (start, _) in itertools.pairwise([(0, 0), *spans]) if start > end]


def _is_shifted(line: str, gaps: Sequence[tuple[int, int]]) -> bool:
    return any(line[start:end].strip(_BETWEEN) for start, end in gaps)


def _by_bytes(line: str, header: str) -> str:
    """A row in which each letter is as wide as its bytes in UTF-8, if it fits its description in this way only."""
    if line.isascii() or not _is_shifted(line, gaps := _gaps(header)):
        return line
    wide = "".join(letter + " " * (len(letter.encode()) - 1) for letter in line)
    return line if _is_shifted(wide, gaps) else wide


def _doubt_fixed_rows(source: Source, header: str, rows: str, n_before: int) -> None:
    """Say which rows have text between the columns, which may be shifted, or begin like comments."""
    lines = rows.split("\n")
    gaps = _gaps(header)
    shifted = [i for i, line in enumerate(lines) if _is_shifted(line, gaps)]
    marked = [i for i, line in enumerate(lines) if line.startswith("#")]
    if shifted:
        source.doubt(
            f"{source.path}: {plural(len(shifted), 'row')} with text between the columns of the description, the first "
            f"in line {n_before + shifted[0] + 1}: are they shifted?"
        )
    if 0 < 2 * len(marked) < len(lines):
        source.doubt(
            f"{source.path}: {plural(len(marked), 'row')} beginning with #, the first in line "
            f"{n_before + marked[0] + 1}, used like the others: if they are struck out, delete them"
        )


def _without_order_signs(header: str) -> tuple[str, dict[str, str]]:
    """The description with plain marks of missing values, as ``?=-9.99`` for ``?=-9.99+``, and these marks by column.

    A sign of the standard says that the column is sorted, and is no part of the mark.
    """
    lines = header.split("\n")
    nulls: dict[str, str] = {}
    label: str | None = None
    for i, line in enumerate(lines):
        found = _LINE.match(line)
        mark = _MARK.match(found["rest"]) if found else None
        if found is not None:
            label = found["label"]
        elif not line.startswith(" "):
            label = None
        late = _LATE_MARK.search(line)
        if late is not None and label is not None:
            nulls.setdefault(label, late["null"])
        if found is None or mark is None:
            continue
        null = mark["null"]
        number = None if null is None else re.match(_NUMBER, null)
        if (
            null is not None
            and number is not None
            and not is_number(null)
            and not re.search(r"\w", null[number.end() :])
        ):
            null = number[0]
        plain = f"{mark['limits'] or ''}?" + ("" if null is None else f"={null}")
        lines[i] = f"{line[: found.start('rest')]}{plain} {found['rest'][mark.end() :].lstrip()}"
        if null is not None:
            nulls[found["label"]] = null
    return "\n".join(lines), nulls


def _mask(table: Table, name: str, null: str) -> None:
    """Mask the cells of a column that have the mark, compared as numbers among numbers."""
    column = table[name]
    if column.dtype.kind in "iuf" and is_number(null):
        missing = np.ma.getdata(column) == float(null)
    elif column.dtype.kind == "U":
        cells = [cell.strip() for cell in np.ma.getdata(column).tolist()]
        number = float(null) if is_number(null) else None
        missing = np.array([cell == null or (is_number(cell) and float(cell) == number) for cell in cells], dtype=bool)
    else:
        return
    if missing.any():
        values = np.ma.MaskedArray(np.ma.getdata(column), mask=np.ma.getmaskarray(column) | missing)
        table.replace_column(name, MaskedColumn(values, name=name, unit=column.unit))
