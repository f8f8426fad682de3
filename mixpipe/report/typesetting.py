"""Names, units and measured numbers as the figures have them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from mixpipe.base.presentation import measured, rounded, typeset

_RAISED = str.maketrans("0123456789+-.", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻·")
# Symbols of units, for the names that catalogs and Astropy have for them.
_SYMBOLS = {
    **{f"{quantity}{sun}": f"{quantity}☉" for quantity in "MLR" for sun in ("sun", "_sun", "Sun", "_Sun", "sol")},
    **{"solMass": "M☉", "solLum": "L☉", "solRad": "R☉", "Angstrom": "Å", "angstrom": "Å", "AA": "Å"},
    **{"um": "µm", "micron": "µm", "uJy": "µJy", "uas": "µas", "us": "µs", "deg_C": "°C"},
}
_WORD = re.compile(r"(?<![\w.])(?P<name>[A-Za-z_µÅ°☉]+)(?:(?:\*\*|\^)?\(?(?P<power>[+-]?\d+(?:\.\d+)?)\)?)?(?!\w)")
_FACTOR = re.compile(r"(?<![\w.])(?:(?P<digits>\d+(?:\.\d+)?)e|10\*\*)\(?(?P<power>[+-]?\d+)\)?")
_TRANSFORMED = re.compile(r"(?P<function>log10|ln)\((?P<unit>.*)\)")
_FUNCTIONS = {"log10": "log₁₀", "ln": "ln"}
_LONGEST_UNIT = 40
# Text is broken behind these, and anywhere if they are too far apart.
_BREAKS = re.compile(r"\S*?[_/]+(?=\w)|\S+")


def unit_text(unit: str) -> str:
    """A unit with raised exponents and the usual symbols; what is not known stays as it is.

    >>> unit_text("Msun"), unit_text("km s-1"), unit_text("1e-17 erg / (Angstrom cm2 s)"), unit_text("mag/arcsec**2")
    ('M☉', 'km s⁻¹', '10⁻¹⁷ erg / (Å cm² s)', 'mag/arcsec²')
    """

    def word(found: re.Match[str]) -> str:
        name = _SYMBOLS.get(found["name"], found["name"])
        return name + ("" if found["power"] is None else found["power"].lstrip("+").translate(_RAISED))

    def factor(found: re.Match[str]) -> str:
        digits = "" if found["digits"] in (None, "1", "1.0") else f"{found['digits']}·"
        return f"{digits}10{found['power'].lstrip('+').translate(_RAISED)}"

    return _FACTOR.sub(factor, _WORD.sub(word, unit))


def quantity_text(name: str, unit: str | None) -> str:
    """A name with its unit, for an axis.

    >>> quantity_text("mass", "Msun"), quantity_text("[Fe/H]", "dex"), quantity_text("index", None)
    ('mass [M☉]', '[Fe/H] [dex]', 'index')
    >>> quantity_text("T90", "log10(s)"), quantity_text("T90", "ln()")
    ('log₁₀(T90 / s)', 'ln(T90)')
    """
    transformed = _TRANSFORMED.fullmatch(unit or "")
    if transformed:
        inner = unit_text(transformed["unit"])
        divided = f"({inner})" if re.search(r"[\s/*]", inner) else inner
        return f"{_FUNCTIONS[transformed['function']]}({name}{f' / {divided}' if inner else ''})"
    return f"{name} [{unit_text(unit)}]" if unit else name


def value_unit(unit: str | None) -> str:
    """The unit that stands behind a value, with a space before it; empty for what has none, or one too long for a line.

    >>> value_unit("Msun"), value_unit("log10(s)"), value_unit("ln(s)"), value_unit(None)
    (' M☉', ' dex', '', '')
    """
    text = _value_unit(unit)
    return f" {text}" if 0 < len(text) <= _LONGEST_UNIT else ""


def _value_unit(unit: str | None) -> str:
    transformed = _TRANSFORMED.fullmatch(unit or "")
    if transformed:
        return "dex" if transformed["function"] == "log10" else ""
    return unit_text(unit or "")


def density_text(unit: str | None) -> str:
    """The label of a density of values in this unit.

    >>> density_text("dex"), density_text("Msun"), density_text("km/s"), density_text("log10(s)"), density_text(None)
    ('density [dex⁻¹]', 'density [M☉⁻¹]', 'density [(km/s)⁻¹]', 'density [dex⁻¹]', 'density')
    """
    text = _value_unit(unit)
    if not text:
        return "density"
    return f"density [{text}⁻¹]" if re.fullmatch(r"[A-Za-zµÅ°☉]+", text) else f"density [({text})⁻¹]"


def number_text(value: float, unc: float, width: float = math.nan) -> str:
    """A value with its uncertainty, both to two digits of the latter, or with the digits that matter in a figure of
    this width if it has none.

    >>> number_text(-1.345678, 0.0123), number_text(6.6743e12, 1.5e8), number_text(2459000.12345, math.nan, 0.5)
    ('−1.346 ± 0.012', '6.67430e12 ± 1.5e8', '2459000.1234')
    """
    return typeset(measured(value, unc) if unc > 0.0 else value_text(value, width))


def compact_text(value: float, unc: float, width: float = math.nan) -> str:
    """The same with the uncertainty in parentheses, in units of the last digit.

    >>> compact_text(-1.345678, 0.0123), compact_text(0.0, 2.1), compact_text(5652.3, 2090.1)
    ('−1.346(12)', '0.0(2.1)', '5700(2100)')
    >>> compact_text(3.1234e40, 8.3e37), compact_text(1.5, math.nan, 1.0)
    ('3.1234(83)e40', '1.500')
    """
    if not (unc > 0.0 and math.isfinite(unc)):
        return typeset(value_text(value, width))
    text, power = rounded(value, unc), ""
    if "e" in text:
        text, exponent = text.split("e")
        power, unc = f"e{int(exponent)}", unc / 10.0 ** int(exponent)
    places = len(text.partition(".")[2])
    spread = f"{round(unc * 10.0**places)}" if unc < 1.0 and places else rounded(unc, unc)
    return typeset(f"{text}({spread}){power}")


def value_text(value: float, width: float) -> str:
    """Format `value` with the digits that matter in a figure that is `width` wide.

    >>> value_text(1.3456789, 2.0), value_text(2459000.12345, 0.01), value_text(1.5e-12, 1e-9)
    ('1.346', '2459000.12345', '1.500e−12')
    """
    if not (0.0 < width < math.inf and math.isfinite(value)):
        return typeset(f"{value:.4g}")
    decimals = 3 - math.floor(math.log10(width))
    if decimals > 7 or abs(value) >= 1e8:
        digits = 3 if value == 0 else math.floor(math.log10(abs(value))) + decimals
        return typeset(f"{value:.{min(max(digits, 3), 12)}e}")
    text = f"{value:.{max(decimals, 0)}f}"
    return typeset(text if float(text) else text.lstrip("-"))


def short(value: float) -> str:
    """Format a number with three digits.

    >>> short(0.012345), short(1874.4), short(3.571e6), short(-2e-7)
    ('0.0123', '1874', '3.57e6', '−2e−7')
    """
    return typeset(f"{value:.0f}" if 1e3 <= abs(value) < 1e5 else f"{value:.3g}")


def wrap(text: str, width: int, lines: int = 99) -> str:
    """Break a text into lines, between words and behind underscores and the like; an ellipsis takes the place of what
    is left after so many lines.

    >>> print(wrap("the_metallicity_of_the_brightest member", 16))
    the_metallicity_
    of_the_brightest
    member
    >>> wrap("one two three", 7, 1)
    'one …'
    """
    broken = [""]
    for part, is_behind_space in _parts(text, width):
        joined = f"{broken[-1]} {part}" if broken[-1] and is_behind_space else broken[-1] + part
        if len(joined) <= width:
            broken[-1] = joined
        else:
            broken.append(part)
    if len(broken) > lines:
        last = broken[lines - 1]
        cut = last[: width - 2].rsplit(" ", 1)[0] if len(last) > width - 2 else last
        broken[lines - 1 :] = [f"{cut} …"]
    return "\n".join(broken)


def _parts(text: str, width: int) -> Iterator[tuple[str, bool]]:
    """What must not be broken, none of it wider than this, and whether it stands behind a space."""
    for word in text.split():
        is_first = True
        for part in _BREAKS.findall(word):
            for start in range(0, len(part), width):
                yield part[start : start + width], is_first
                is_first = False
