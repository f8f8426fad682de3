"""Numbers for readers, with only their significant digits."""

from __future__ import annotations

import math
from typing import Any

from mixpipe.base.presentation import count, measured, probability, rounded, typeset


def missing(value: Any) -> bool:
    """Whether a value is missing, so that there is no number to show."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def rows(value: float | None) -> str:
    """Format a number of rows, or a sum of their weights.

    >>> rows(12345.0), rows(2.5), rows(None)
    ('12,345', '2.5', '–')
    """
    return "–" if value is None or missing(value) else count(value)


def decimal(value: float | None, places: int) -> str:
    """Format a number with this many decimal places, or as a dash if it is missing.

    >>> decimal(1234.567, 2), decimal(float("nan"), 2), decimal(-0.5, 1), decimal(-0.01, 1)
    ('1,234.57', '–', '−0.5', '0.0')
    """
    if value is None or missing(value):
        return "–"
    text = f"{value:,.{places}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0.0 else text.replace("-", "−")


def pvalue(value: float | None, floor: float | None = None, sign: str = "") -> str:
    """Format a probability with two digits, or as a bound if it is very small or the lowest that simulations can give.

    `sign` is put in front of a value that is not a bound.

    >>> pvalue(0.1234), pvalue(1e-9), pvalue(0.01, 0.01), pvalue(0.2, 0.01, "= "), pvalue(None)
    ('0.12', '< 0.0001', '≤ 0.010', '= 0.20', '–')
    """
    return "–" if value is None or missing(value) else probability(value, floor, sign, "#.2g")


def significant(value: float | None, unc: float | None) -> str:
    """Format a value to two digits of its uncertainty, or with five digits if there is none.

    >>> significant(-1.345678, 0.0123), significant(8.27e8, 8.6e7), significant(1.345678, None), significant(None, 1.0)
    ('−1.346', '8.27e8', '1.3457', '–')
    """
    return "–" if value is None or missing(value) else typeset(rounded(value, math.nan if unc is None else unc))


def with_unc(value: float | None, unc: float | None) -> str:
    """Format a value and its uncertainty, both to two digits of the latter.

    >>> with_unc(1.345678, 0.0123), with_unc(0.0, float("nan")), with_unc(1.0, 0.0)
    ('1.346 ± 0.012', '0', '1')
    """
    return "–" if value is None or missing(value) else typeset(measured(value, math.nan if unc is None else unc))
