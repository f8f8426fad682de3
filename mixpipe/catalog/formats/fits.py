"""FITS binary and ASCII tables, read in blocks of rows."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from mixpipe.base.errors import excerpt
from mixpipe.catalog.formats.arrays import as_masked, is_number, row_ranges, unit_text
from mixpipe.catalog.light import LightTable
from mixpipe.catalog.source import Source

# FITS files are padded to a multiple of this.
_RECORD = 2880
_START = b"SIMPLE  ="


def columns(source: Source) -> dict[str, str | None]:
    """Names and units, from the header."""
    with _opened(source) as hdus:
        table = find(hdus, source)
        return {name: unit_text(table.columns[name].unit) for name in source.choose(table.stated_names, None)}


def blocks(source: Source, names: Sequence[str] | None, rows: int) -> Iterator[LightTable]:
    """Read these columns, or all, in blocks of rows."""
    with _opened(source) as hdus:
        hdu = find(hdus, source)
        _check_elsewhere(hdus, hdu, names, source)
        wanted = [hdu.columns[name] for name in source.choose(hdu.stated_names, names)]
        _doubt_others(hdus, hdu, [column.name for column in wanted], source)
        is_native = all(map(_is_native, wanted)) and hdu.columns.dtype.itemsize == hdu.header["NAXIS1"]
        # Arrays of variable length are stored after the rows.
        if any(column.format.lstrip("0123456789").startswith(("P", "Q")) for column in wanted):
            records = _slices(hdu, rows)
        elif is_native and isinstance(hdu, fits.BinTableHDU):
            layout = hdu.columns.dtype.newbyteorder(">")
            records = (np.frombuffer(stored, dtype=layout) for stored in _stored(source, hdu, rows))
        else:
            records = _converted(source, hdu, rows)
        lies = _lies(hdu)
        units = {column.name: column.unit for column in wanted}
        for part in records:
            columns = {
                column.name: values_of(part, column, isinstance(hdu, fits.TableHDU), source) for column in wanted
            }
            if not lies:
                yield LightTable(columns, units)
                continue
            standing = {name: column.ravel() for name, column in columns.items()}
            for start, stop in row_ranges(len(next(iter(standing.values()))), rows):
                yield LightTable({name: column[start:stop] for name, column in standing.items()}, units)


def _opened(source: Source) -> fits.HDUList:
    with source.open() as stream:
        if stream.read(len(_START)) != _START:
            raise OSError("it does not begin as FITS files do")
    try:
        return fits.open(source.path, memmap=True)
    except OSError as error:
        # The text of this exception is advice to callers of Astropy.
        raise OSError("its first header is damaged or cut short") from error


def find(hdus: fits.HDUList, source: Source) -> fits.BinTableHDU | fits.TableHDU:
    """The table that `hdu` names, by default the first one."""
    if source.hdu is None:
        # HDUs are located only on demand, since locating them in a gzipped file requires reading up to them.
        first = next((i for i, hdu in enumerate(hdus) if _is_table(hdu)), None)
        if first is None:
            raise source.error("no HDU has a table", "a whole FITS file with a binary or ASCII table")
        if hdus[first].header["NAXIS2"] == 1 and not _lies(hdus[first]):
            # A single row is about the file; the catalog may follow.
            larger = next((i for i, hdu in enumerate(hdus) if _is_table(hdu) and hdu.header["NAXIS2"] > 1), None)
            if larger is not None:
                source.doubt(f"{source.path}: HDU {larger} is read, since the table in HDU {first} has a single row")
                first = larger
        return _checked(hdus[first], source)
    tables = [i for i, hdu in enumerate(hdus) if _is_table(hdu)]
    listed = ", ".join(f"{i} ({hdus[i].name})" if hdus[i].name else str(i) for i in tables) or "a file with a table"
    wanted, _, version = str(source.hdu).strip().upper().partition(",")
    named = [i for i in range(len(hdus)) if hdus[i].name and hdus[i].name.upper() == wanted.strip()]
    if version:
        named = [i for i in named if str(hdus[i].ver) == version.strip()]
    # Numbers from the command line are text.
    number = int(wanted) if wanted.isdecimal() and not version else -1
    index = named[0] if named else number
    if len(named) > 1:
        places = ", ".join(f"HDU {i} ({hdus[i].name},{hdus[i].ver})" for i in named)
        source.doubt(f"{source.path}: HDU {index} is read, the first of {len(named)} called {wanted}: {places}")
    if not 0 <= index < len(hdus):
        raise source.error(f"no HDU {source.hdu}", f"one of {listed}")
    if index not in tables:
        raise source.error(f"HDU {source.hdu} has no table", f"one of {listed}")
    return _checked(hdus[index], source)


def _place(index: int, hdu: Any) -> str:
    return f"HDU {index} ({hdu.name})" if hdu.name else f"HDU {index}"


def _check_elsewhere(
    hdus: fits.HDUList, read: fits.BinTableHDU | fits.TableHDU, names: Sequence[str] | None, source: Source
) -> None:
    """Say where columns are that are not in the table that is read by default."""
    absent = next((name for name in names or () if name not in read.columns.names), None)
    if absent is None or source.hdu is not None or source.is_gzipped():
        return
    others = [_place(i, hdu) for i, hdu in enumerate(hdus) if _is_table(hdu) and absent in hdu.columns.names]
    if others:
        raise source.error(
            f"no column {excerpt(absent)!r} in HDU {hdus.index(read)}, the first table",
            f"the `hdu` that has it: {', '.join(others)}",
        )


def _doubt_others(
    hdus: fits.HDUList, read: fits.BinTableHDU | fits.TableHDU, names: Sequence[str], source: Source
) -> None:
    """Say which other tables have the same columns, unless a table was chosen or finding them takes long."""
    if source.hdu is not None or source.is_gzipped() or not names:
        return
    others = [
        _place(i, hdu)
        for i, hdu in enumerate(hdus)
        if _is_table(hdu) and hdu is not read and hdu.header["NAXIS2"] > 1 and set(names) <= set(hdu.columns.names)
    ]
    if others:
        source.doubt(
            f"{source.path}: HDU {hdus.index(read)} is read; the same columns are in {', '.join(others)}, and `hdu` "
            "chooses"
        )


def _checked(hdu: fits.BinTableHDU | fits.TableHDU, source: Source) -> fits.BinTableHDU | fits.TableHDU:
    """A table in which every column has a name of its own, which the standard does not require.

    The names as they are in the file, some perhaps repeated, are in `stated_names`.
    """
    if hdu.header.get("ZTABLE"):
        raise source.error("the table is compressed by fpack", "a table that funpack has unpacked")
    _check_header(hdu, source)
    given = [str(hdu.header.get(f"TTYPE{k + 1}", "")).rstrip() for k in range(hdu.header["TFIELDS"])]
    hdu.stated_names = [name or f"col{number}" for number, name in enumerate(given, start=1)]
    times = Counter(hdu.stated_names)
    for number, (before, name) in enumerate(zip(given, hdu.stated_names, strict=True), start=1):
        if not before or times[name] > 1:
            hdu.header[f"TTYPE{number}"] = name if times[name] == 1 else f"column {number}, called {name}"
    return hdu


# Bytes of a column of each format of binary tables.
_BYTES = {"L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "E": 4, "K": 8, "D": 8, "C": 8, "P": 8, "M": 16, "Q": 16}


def _check_header(hdu: fits.BinTableHDU | fits.TableHDU, source: Source) -> None:
    """Turn numbers in texts, which Astropy leaves out, into numbers, and refuse rows of another width."""
    header, width = hdu.header, 0
    for number in range(1, header["TFIELDS"] + 1):
        form = re.match(r"\s*(\d*)\s*([A-Z])", str(header[f"TFORM{number}"]))
        is_whole = form is not None and form[2] in "BIJKPQ" and isinstance(hdu, fits.BinTableHDU)
        for key in (f"TNULL{number}", f"TSCAL{number}", f"TZERO{number}"):
            value = header.get(key)
            if not is_number(str(value)) or (key.startswith("TNULL") and not is_whole):
                continue
            as_float = float(value)
            if key.startswith("TNULL") and as_float.is_integer() and not isinstance(value, int):
                header[key] = int(as_float)
            elif isinstance(value, str):
                header[key] = as_float
        if form is not None:
            times = int(form[1] or 1)
            width += (times + 7) // 8 if form[2] == "X" else times * _BYTES.get(form[2], 0)
    if isinstance(hdu, fits.BinTableHDU) and width != header["NAXIS1"]:
        raise source.error(
            f"rows have {header['NAXIS1']} bytes, and their columns {width}", "rows as wide as their columns (NAXIS1)"
        )


def _lies(hdu: fits.BinTableHDU | fits.TableHDU) -> bool:
    """Whether a table lies on its side: its only row has an array for each column, all of one length (colfits)."""
    if hdu.header["NAXIS2"] != 1 or not isinstance(hdu, fits.BinTableHDU):
        return False
    formats = [re.match(r"\s*(\d*)([BIJKED])", str(hdu.header[f"TFORM{k + 1}"])) for k in range(hdu.header["TFIELDS"])]
    sizes = {int(found[1] or 1) if found else 0 for found in formats}
    return len(sizes) == 1 and sizes.pop() > 1


def _is_table(hdu: object) -> bool:
    return isinstance(hdu, fits.BinTableHDU | fits.TableHDU)


def _is_native(column: fits.Column) -> bool:
    """Whether the values equal the stored ones, except for TSCAL and TZERO."""
    return column.dim is None and re.fullmatch("([1-9][0-9]*)?[BIJKEDA]", column.format) is not None


def _stored(source: Source, hdu: fits.BinTableHDU | fits.TableHDU, rows: int) -> Iterator[memoryview]:
    """Rows as stored in the file, read without a memory map, whose used pages would stay in memory.

    All blocks are read into the same memory.
    """
    width, n_rows = hdu.header["NAXIS1"], hdu.header["NAXIS2"]
    ranges = list(row_ranges(n_rows, rows, width))
    # None is longer than the first one.
    memory = memoryview(bytearray(ranges[0][1] * width))
    with source.open() as stream:
        stream.seek(hdu.fileinfo()["datLoc"])
        for start, stop in ranges:
            stored = memory[: (stop - start) * width]
            n_bytes = cast(io.BufferedIOBase, stream).readinto(stored)
            if n_bytes != len(stored):
                raise OSError(f"it ends in row {start + n_bytes // width + 1} of {n_rows}")
            yield stored


def _converted(source: Source, hdu: fits.BinTableHDU | fits.TableHDU, rows: int) -> Iterator[fits.FITS_rec]:
    """Rows as Astropy converts them, from a table that contains only these rows."""
    header, width = hdu.header.copy(), hdu.header["NAXIS1"]
    header["PCOUNT"] = 0
    for stored in _stored(source, hdu, rows):
        header["NAXIS2"] = len(stored) // width
        table = b"".join([header.tostring().encode("ascii"), stored, bytes(-len(stored) % _RECORD)])
        yield type(hdu).fromstring(table, uint=True).data


def _slices(hdu: fits.BinTableHDU | fits.TableHDU, rows: int) -> Iterator[fits.FITS_rec]:
    """Rows of the memory-mapped table."""
    for start, stop in row_ranges(len(hdu.data), rows, hdu.header["NAXIS1"]):
        yield hdu.data[start:stop]


def values_of(records: NDArray[Any], column: fits.Column, is_ascii: bool, source: Source) -> np.ma.MaskedArray:
    """The cells of a column with the scale that the header states, of which those marked as null are masked."""
    stored = records.view(np.ndarray)[column.name]
    # Nulls are marked in the stored values, before TSCAL and TZERO are applied.
    null = _nulls(column, stored, is_ascii)
    if is_ascii and null is not None and "A" not in column.format:
        _check_texts(column, np.strings.strip(stored[~null]), source)
    # Text is handled as bytes, since Astropy rejects a whole column because of one letter that is not ASCII.
    if stored.dtype.kind == "S" and "A" in column.format:
        values = stored
    elif isinstance(records, fits.FITS_rec) and (is_ascii or not _is_native(column)):
        values = np.asarray(records.field(column.name))
    else:
        values = _scaled(stored, column)
    # Astropy writes the null value of an unsigned column as the number itself rather than as it is stored.
    if null is not None and values.dtype.kind == "u" and stored.dtype.kind == "i" and column.null >= 0:
        null |= values == column.null
    # An array of one element at most, as the header says, is a number.
    if values.dtype.kind == "O" and re.search(r"\([01]\)$", column.format):
        known = np.array([np.size(value) for value in values], dtype=bool)
        numbers = [np.ravel(value)[0] if size else 0 for value, size in zip(values, known, strict=True)]
        return as_masked(np.ma.MaskedArray(np.array(numbers), mask=~known))
    if values.ndim > 1 and math.prod(values.shape[1:]) == 1:
        values, null = values.reshape(len(values)), None if null is None else np.reshape(null, len(values))
    if values.dtype.kind != "O" and null is not None:
        values = np.ma.MaskedArray(values, mask=np.broadcast_to(null, values.shape))
    return as_masked(values)


def _scaled(stored: NDArray[Any], column: fits.Column) -> NDArray[Any]:
    """Apply TSCAL and TZERO; unsigned integers, which are stored with an offset of half their range, stay integers.

    Astropy is not used here, because it fails for scaled 64-bit integers and for offsets that are written with a
    decimal point.
    """
    scale = 1.0 if column.bscale in (None, "") else column.bscale
    zero = 0.0 if column.bzero in (None, "") else column.bzero
    if scale == 1.0 and zero == 0.0:
        return stored
    half = 1 << (8 * stored.dtype.itemsize - 1)
    # If it is written with a decimal point, the offset of 64-bit integers does not have all of its digits.
    if stored.dtype.kind == "i" and scale == 1.0 and math.isclose(zero, half, rel_tol=1e-12):
        bits = stored.astype(f"=i{stored.dtype.itemsize}").view(f"=u{stored.dtype.itemsize}")
        # In two's complement, an offset of half the range flips the highest bit.
        return bits ^ bits.dtype.type(half)
    return stored.astype(np.float64) * scale + zero


def _check_texts(column: fits.Column, texts: NDArray[np.bytes_], source: Source) -> None:
    """Refuse texts of a numeric column that are no numbers, and doubt those that lack a point which the format implies.

    Fortran, and some libraries, put that point in front of the last digits; Astropy does not.
    """
    words = [text.decode("ascii", "replace") for text in np.unique(texts)]
    bad = next((word for word in words if not is_number(word.replace("D", "E"))), None)
    if bad is not None:
        raise source.error(f"column {column.name!r} has {bad!r} in its format {column.format}", "numbers, or TNULL")
    decimals = re.fullmatch(r"[FED]\d+\.([1-9]\d*)", column.format)
    whole = next((word for word in words if re.fullmatch(r"[-+]?\d+", word)), None)
    if decimals is not None and whole is not None:
        source.doubt(
            f"{source.path}: column {column.name!r} has numbers without a point, such as {whole}: used as written, "
            f"though its format {column.format} may mean that {decimals[1]} of their digits are decimals"
        )


def _nulls(column: fits.Column, stored: NDArray[Any], is_ascii: bool) -> NDArray[np.bool_] | None:
    """Cells that the file marks as null; None if the format has no such mark for this column."""
    if is_ascii:
        text = np.strings.strip(stored)
        mark = str(column.null).strip() if column.null is not None else ""
        marks = {"", mark}
        if is_number(mark) and not column.format.startswith("A"):
            # Perhaps with other digits, as -99.0 for -99.
            texts = [each.decode("ascii", "replace") for each in np.unique(text)]
            marks |= {each for each in texts if is_number(each) and float(each) == float(mark)}
        return np.isin(text, [each.encode("ascii", "replace") for each in marks])
    if stored.dtype.kind == "i" and column.format.endswith("L"):
        return stored == 0
    if stored.dtype.kind in "iu" and isinstance(column.null, int):
        return stored == column.null
    return None
