"""Table columns from the arrays of the formats' libraries, with a uniform treatment of missing values and text."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy import units as u
    from astropy.table import Column, MaskedColumn

# Texts that mark a missing value among numbers.
MISSING_WORDS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "none", "null", "-nan(ind)",
    *("-" * k for k in range(1, 11)), *("." * k for k in range(1, 11)), "\u2013", "\u2014", "\u2212", "\u2026",
    "INDEF", r"\nodata", r"\ldots", r"$\ldots$", r"\cdots", r"$\cdots$", r"\dots",
)  # fmt: skip

# Stored bytes in memory at a time, which gives blocks of wide tables fewer rows.
_BLOCK_BYTES = 1 << 25
# Largest size of a block of texts in memory, which is determined by the longest text.
_MOST_TEXT_BYTES = 1 << 31


def row_ranges(n_rows: int, rows: int, row_bytes: int = 0) -> Iterator[tuple[int, int]]:
    """First row and end of each block, of at most `rows` rows and limited size; one empty block if there are no rows.

    >>> list(row_ranges(5, 2)), list(row_ranges(0, 2))
    ([(0, 2), (2, 4), (4, 5)], [(0, 0)])
    """
    step = min(rows, max(_BLOCK_BYTES // max(row_bytes, 1), 1))
    for start in range(0, max(n_rows, 1), step):
        yield start, min(start + step, n_rows)


def as_column(name: str, values: Any, unit: object = None) -> MaskedColumn:
    """A column in native byte order, with everything that is missing masked.

    Parameters
    ----------
    name : str
        Column name.
    values : array_like
        Values; masked cells stay masked, and NaN, None and blank text become masked.
    unit : str, astropy Unit or None
        Unit of the values.
    """
    from astropy.table import MaskedColumn

    return MaskedColumn(as_masked(values), name=name, unit=parse_unit(unit))


def as_masked(values: Any) -> np.ma.MaskedArray:
    """An array in native byte order, with everything that is missing masked.

    Parameters
    ----------
    values : array_like
        Values; masked cells stay masked, and NaN, None and blank text become masked.
    """
    array, mask = np.asarray(np.ma.getdata(values)), np.ma.getmask(values)
    if array.ndim > 1 and math.prod(array.shape[1:]) == 1:
        # An array of one element is a number.
        array, mask = array.reshape(len(array)), mask if mask is np.ma.nomask else np.reshape(mask, len(array))
    if array.dtype.kind == "O":
        array = _from_objects(array)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "backslashreplace")
    if array.dtype.kind in "UT":
        array = np.strings.rstrip(as_text(array))
    if array.dtype == np.float16:
        # NumPy's own fill value is beyond its range.
        array = array.astype(np.float32)
    # Copy the values, so that they do not depend on the memory of the reader.
    native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True)
    if native.dtype.kind == "U":
        missing = np.strings.strip(native) == ""
    elif native.dtype.kind in "fc":
        missing = np.isnan(native)
    elif native.dtype.kind in "mM":
        missing = np.isnat(native)
    elif native.dtype.kind == "O":
        missing = np.array([value is None for value in native.flat], dtype=bool).reshape(native.shape)
    else:
        missing = np.zeros(native.shape, dtype=bool)
    if mask is not np.ma.nomask or missing.any():
        mask = missing | mask
    return np.ma.MaskedArray(native, mask=mask)


def as_text(array: NDArray[Any]) -> NDArray[np.str_]:
    """Text of the same width for all cells, unless this requires more memory than is reasonable.

    Raises
    ------
    ValueError
        If the texts require too much memory.
    """
    if array.dtype.kind == "O":
        longest = max(map(len, array.flat), default=0)
        if 4 * longest * array.size > _MOST_TEXT_BYTES:
            raise ValueError(f"a text of {longest:,} characters in {array.size:,} rows")
    return array.astype(np.str_)


def _from_objects(array: NDArray[np.object_]) -> NDArray[np.generic]:
    """Convert an array of strings (or bytes) and None to text; anything else is returned unchanged."""
    present = np.array([value is not None and value is not np.ma.masked for value in array.flat], dtype=bool)
    present = present.reshape(array.shape)
    if array.size and not present.any():
        return np.full(array.shape, np.nan)
    for text, blank in ((str, ""), (bytes, b"")):
        if all(isinstance(value, text) for value in array[present]):
            filled = np.where(present, array, blank)
            return as_text(filled) if text is str else filled.astype(np.bytes_)
    return array


def decoded(text: bytes) -> str:
    r"""Text in UTF-8, else in Latin-1, which has one letter for each byte: columns may have fixed places.

    >>> decoded("µJy".encode()), decoded(b"\xb5Jy")
    ('µJy', 'µJy')
    """
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def parse_unit(unit: object) -> u.UnitBase | None:
    """An Astropy unit from a unit or its text in the usual spellings; unknown text is kept as it is, blank is None.

    >>> parse_unit("mas yr-1"), parse_unit("nanomaggies^(-2)"), parse_unit("degrees / year")
    (Unit("mas / yr"), Unit("1 / nmgy2"), Unit("deg / yr"))
    """
    return None if unit is None else _parsed(str(unit).strip())


# Words that surveys use for units, with the spelling that Astropy knows.
_SPELLINGS = {
    "ABmag": "mag(AB)", "AB mag": "mag(AB)", "mag_AB": "mag(AB)", "STmag": "mag(ST)",
    "mags": "mag", "magnitude": "mag", "magnitudes": "mag",
    "nanomaggies": "nmgy", "nanomaggy": "nmgy", "maggies": "mgy", "maggy": "mgy",
    "degree": "deg", "degrees": "deg", "arcsecond": "arcsec", "arcseconds": "arcsec", "arcsecs": "arcsec",
    "arcminute": "arcmin", "arcminutes": "arcmin", "radians": "rad", "hours": "h", "days": "d", "day": "d",
    "years": "yr", "year": "yr", "minutes": "min", "seconds": "s", "sec": "s", "secs": "s",
    "parsec": "pc", "parsecs": "pc", "Angstroms": "Angstrom", "angstroms": "Angstrom", "microns": "micron",
    "kelvin": "K", "Kelvin": "K", "solar masses": "Msun", "solar mass": "Msun", "M_sun": "Msun", "Msol": "Msun",
    "solar radii": "Rsun", "R_sun": "Rsun", "L_sun": "Lsun", "percent": "%",
    "microJy": "uJy", "microjansky": "uJy", "millijansky": "mJy", "milliJy": "mJy",
    "counts": "ct", "electrons": "electron",
}  # fmt: skip
_WORD = re.compile(
    "|".join(rf"(?<![A-Za-z_]){re.escape(word)}(?![A-Za-z_])" for word in sorted(_SPELLINGS, key=len)[::-1])
)


# Trying one spelling after the other is slow for a column of many blocks, so that results are cached.
@functools.cache
def _parsed(text: str) -> u.UnitBase | None:
    if not text or text == "---":
        return None
    from astropy import units as u

    # The logarithm of what has no unit is in dex.
    decimal = re.sub(r"^log(?:10)?\((.*)\)$", r"dex(\1)", text).replace("dex()", "dex")
    plain = re.sub(r"\^\{([^{}]*)\}", r"^\1", decimal)
    for words in (text, _WORD.sub(lambda found: _SPELLINGS[found[0]], plain)):
        for spelling in ("generic", "fits", "cds"):
            try:
                return u.Unit(words, format=spelling)
            except ValueError:
                continue
    return u.Unit(text, parse_strict="silent")


def unit_text(unit: object) -> str | None:
    """The text of a unit, None where there is none.

    >>> unit_text("mas yr-1")
    'mas / yr'
    """
    parsed = parse_unit(unit)
    return None if parsed is None else (parsed.to_string() or None)


def is_unit(text: str) -> bool:
    """Whether a text is a unit that is known, or a spelling of one; a number, which Astropy takes for a scale, is none.

    >>> is_unit("km/s"), is_unit("name"), is_unit(""), is_unit("5.0")
    (True, False, False, False)
    """
    unit = None if is_number(text) else parse_unit(text)
    return unit is not None and not is_unrecognized(unit)


def is_unrecognized(unit: u.UnitBase | None) -> bool:
    """Whether this is a unit that Astropy does not know.

    >>> is_unrecognized(parse_unit("furlong")), is_unrecognized(parse_unit("km")), is_unrecognized(None)
    (True, False, False)
    """
    if unit is None:
        return False
    from astropy.units import UnrecognizedUnit

    return isinstance(unit, UnrecognizedUnit)


def mask_sentinels(column: np.ma.MaskedArray, sentinels: Sequence[float | str]) -> None:
    """Mask cells that contain a sentinel, in place.

    Numbers are compared in the column's own precision, so that -9.99 is found in a single-precision column.
    """
    values = np.ma.getdata(column)
    if values.dtype.kind == "U":
        column.mask |= np.isin(np.strings.strip(values), sorted(_spellings(values, sentinels)))
    elif values.dtype.kind in "iuf":
        for sentinel in sentinels:
            try:
                column.mask |= values == float(sentinel)
            except ValueError:  # a text sentinel cannot occur among numbers
                continue
    elif values.dtype.kind == "O":
        numbers = [float(sentinel) for sentinel in sentinels if is_number(str(sentinel))]
        for row, cell in enumerate(values):
            if isinstance(cell, list | tuple | np.ndarray):
                array = np.asarray(cell)
                missing = np.any([array == number for number in numbers], axis=0)
                values[row] = np.where(missing, np.nan, array) if np.any(missing) else cell


def _spellings(texts: NDArray[np.str_], sentinels: Sequence[float | str]) -> set[str]:
    """The sentinels as written in these texts: -99 may be -99.00 if a limit turns numbers into text."""
    spellings = {sentinel.strip() for sentinel in sentinels if isinstance(sentinel, str)}
    numbers = {float(sentinel) for sentinel in sentinels if is_number(str(sentinel))}
    if numbers:
        stripped = np.strings.strip(texts)
        # Names, which are many and never numbers, are excluded by their first letter.
        candidates = np.unique(stripped[np.isin(stripped.astype("U1"), list("+-.0123456789"))]).tolist()
        spellings |= {text for text in candidates if is_number(text) and float(text) in numbers}
    return spellings


def kind_of(column: Column) -> str:
    """The content of a column in a word: ``numbers``, ``text``, ``nothing`` (no value), or the name of its type.

    >>> kind_of(as_column("x", [1, 2]))
    'numbers'
    """
    if bool(np.all(np.ma.getmaskarray(column))):
        return "nothing"
    kind = np.ma.getdata(column).dtype.kind
    return "numbers" if kind in "biuf" else "text" if kind in "US" else str(column.dtype)


def is_missing_word(texts: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which texts among numbers mark a missing value.

    >>> is_missing_word(np.array(["1.5", " ... ", "--", "see note"])).tolist()
    [False, True, True, False]
    """
    return np.isin(np.strings.strip(texts), MISSING_WORDS)


def is_number(text: str) -> bool:
    """Whether a text is a number; Python's underscores are not allowed, as 1_5 may be anything.

    >>> is_number("-1.5e3"), is_number("--"), is_number("1_5")
    (True, False, False)
    """
    if "_" in text:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True
