"""Units as LaTeX."""

from __future__ import annotations

from typing import Any

from mixpipe.base.latex import latex_text
from mixpipe.catalog.formats.arrays import parse_unit


def latex_unit(unit: Any) -> str:
    r"""A unit, or its text, as LaTeX; text that is no unit is escaped.

    >>> print(latex_unit("Msun"), latex_unit("mas / yr"), latex_unit("dex(Msun)"), latex_unit("my_unit"))
    $\mathrm{M_{\odot}}$ $\mathrm{mas\,yr^{-1}}$ $\mathrm{dex\left(M_{\odot}\right)}$ my\_unit
    """
    from astropy.units import UnrecognizedUnit

    parsed = parse_unit(unit)
    if parsed is None:
        return ""
    if isinstance(parsed, UnrecognizedUnit):
        return latex_text(str(unit))
    return str(parsed.to_string("latex_inline"))
