"""Numbers and small tables as text and HTML for readers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

# Largest number of integer digits that may be rounded to zero, and of decimal places; beyond these, powers of ten are
# used.
_ROUNDED, _PLACES = 3, 7
# Numbers from here on may have an offset.
_LARGE = 1e5


def count(number: float) -> str:
    """Format a number of rows, or a sum of their weights.

    >>> count(12345.0), count(2.5), count(2000003.0000000002)
    ('12,345', '2.5', '2,000,003')
    """
    return f"{number:,.0f}" if number == round(number) or abs(number) >= 1e6 else f"{number:,.6g}"


def plural(number: float, noun: str) -> str:
    """A counted noun.

    >>> plural(1, "row"), plural(2, "row")
    ('1 row', '2 rows')
    """
    return f"{count(number)} {noun}" + ("" if number == 1 else "s")


def describe_dropped(dropped: Mapping[str, int]) -> str:
    """Rows that were left out, by reason.

    >>> describe_dropped({"missing_value": 2, "missing_error": 1, "cut": 0})
    '2 rows (missing value), 1 row (missing error)'
    """
    return ", ".join(
        f"{plural(number, 'row')} ({reason.replace('_', ' ')})" for reason, number in dropped.items() if number
    )


def rounded(value: float, unc: float) -> str:
    """Format a value to the second significant digit of its uncertainty, or with five digits if there is none.

    Large values without an uncertainty have ten, since they often have an offset, such as dates.

    >>> rounded(1.345678, 0.0123), rounded(1.345678, float("nan")), rounded(2459000.12347, 0.001)
    ('1.346', '1.3457', '2459000.1235')
    >>> rounded(5652.3, 2090.1), rounded(1.345678, 0.0996), rounded(8.27e8, 8.6e7)
    ('5700', '1.35', '8.27e+08')
    >>> rounded(2459000.3, float("nan")), rounded(0.0, 1e-9)
    ('2459000.3', '0.0')
    """
    if not (math.isfinite(unc) and unc > 0.0):
        text = f"{value:.5g}" if abs(value) < _LARGE else f"{value:.10g}"
    else:
        places = second_digit(unc)
        text = f"{round(value, places):.{max(places, 0)}f}"
        if decimal_places(unc) is None:
            digits = places + int(f"{value:e}".partition("e")[2])
            text = f"{value:.{min(max(digits, 1), 15)}e}" if value else "0.0"
    return text if float(text) else text.lstrip("-")


def decimal_places(unc: float) -> int | None:
    """Decimal places of the second significant digit of an uncertainty; None where powers of ten are used instead.

    >>> decimal_places(0.0123), decimal_places(2090.1), decimal_places(8.6e7)
    (3, -2, None)
    """
    places = second_digit(unc)
    return places if -_ROUNDED <= places <= _PLACES else None


def second_digit(unc: float) -> int:
    """Decimal places of the second significant digit of an uncertainty.

    >>> second_digit(0.0123), second_digit(0.0996), second_digit(8.6e7)
    (3, 2, -6)
    """
    # The exponent is that of the rounded uncertainty: 0.0996 rounds to 0.10, and has its first digit where 0.1 has it.
    return 1 - int(f"{unc:.1e}".partition("e")[2])


def measured(value: float, unc: float) -> str:
    """Format a value and its uncertainty, both to the second significant digit of the uncertainty.

    >>> measured(1.34567, 0.01234), measured(1.34567, float("nan")), measured(6.6743e12, 1.5e8)
    ('1.346 ± 0.012', '1.3457', '6.67430e+12 ± 1.5e+08')
    >>> measured(-0.001, 0.14)
    '0.00 ± 0.14'
    """
    text = rounded(value, unc)
    return f"{text} ± {rounded(unc, unc)}" if math.isfinite(unc) and unc > 0.0 else text


def chance(p_value: float, n_draws: int = 0) -> str:
    """Format a p-value to follow ``p``, as a bound if it is very small or the lowest that `n_draws` simulations can
    give.

    >>> f"p {chance(0.1234)}", f"p {chance(0.005, 199)}", f"p {chance(1e-9)}"
    ('p = 0.12', 'p ≤ 0.005', 'p < 0.0001')
    """
    return probability(p_value, 1.0 / (n_draws + 1) if n_draws else None, "= ", ".2g")


def probability(p_value: float, floor: float | None, sign: str, form: str) -> str:
    """Format a p-value with a sign in front of it, or as a bound if it is very small or the lowest that can be found.

    >>> probability(0.2, 0.01, "", "#.2g"), probability(0.01, 0.01, "", "#.2g")
    ('0.20', '≤ 0.010')
    """
    if floor is not None and math.isclose(p_value, floor):
        return f"≤ {p_value:{form}}"
    return f"{sign}{p_value:{form}}" if p_value >= 1e-4 else "< 0.0001"


def typeset(text: str) -> str:
    """Replace hyphens before numbers by minus signs, and simplify exponents.

    >>> typeset("-1.5e-07 ± 2.0e+03 of NS-WD, pm-2"), typeset("1.50(32)e-12")
    ('−1.5e−7 ± 2.0e3 of NS-WD, pm-2', '1.50(32)e−12')
    """
    text = re.sub(r"(?<=[\d)])e([+-])0*(\d+)", lambda found: f"e{found[1].strip('+')}{found[2]}", text)
    return re.sub(r"(?<![\w)])-(?=\d)|(?<=[\d)]e)-(?=\d)", "−", text)


def as_text(title: str, table: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Lay out as text a title, a table of numbers with a header row and a last column for remarks, and notes below.

    >>> print(as_text("two", [("", "mean", ""), ("1", "0.5", "narrow"), ("2", "10", "")], ["done"]))
    two
       mean
    1   0.5  narrow
    2    10
    done
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    lines = (
        "  ".join([*(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]).rstrip()
        for row in table
    )
    return "\n".join([title, *lines, *notes])


def as_html(title: str, table: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Lay out the same as HTML for a notebook, with all text escaped.

    >>> as_html("a < b", [("mean",), ("0.5",)])
    '<table><caption>a &lt; b</caption><tr><th>mean</th></tr><tr><td>0.5</td></tr></table>'
    """
    kinds = ["th", *["td"] * (len(table) - 1)]
    body = "".join(
        "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in row) + "</tr>"
        for kind, row in zip(kinds, table, strict=True)
    )
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f"<table><caption>{escape(title)}</caption>{body}</table>{below}"
