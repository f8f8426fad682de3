"""Names of the correlations of errors in Gaia's catalogs."""

from __future__ import annotations

# Names of the five parameters in their order, in the archive and in VizieR, and how a correlation is named after two.
_ARCHIVE = {name: name for name in ("ra", "dec", "parallax", "pmra", "pmdec")}
_VIZIER = {"RA_ICRS": "RA", "DE_ICRS": "DE", "Plx": "Plx", "pmRA": "pmRA", "pmDE": "pmDE"}


def gaia_correlation(first: str, second: str) -> str | None:
    """The column with the correlation of the errors of two columns; None if these are not Gaia's.

    >>> gaia_correlation("pmdec", "parallax"), gaia_correlation("pmRA", "pmDE"), gaia_correlation("pmra", "mass")
    ('parallax_pmdec_corr', 'pmRApmDEcor', None)
    """
    for names, joined in ((_ARCHIVE, "{}_{}_corr"), (_VIZIER, "{}{}cor")):
        order = list(names)
        if first in names and second in names and first != second:
            return joined.format(*(names[name] for name in sorted((first, second), key=order.index)))
    return None
