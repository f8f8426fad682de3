"""Entries below `joint` that `mixpipe init` suggests: columns that belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from mixpipe.cli.init.grouping import safe_name
from mixpipe.cli.init.suggestions import Suggestion
from mixpipe.config.gaia import gaia_correlation

# How a column with the correlation of the errors of A and B is called, in lower case.
_FORMS = ("{}_{}_corr", "{}_{}_correlation", "{}{}cor", "{}{}corr", "corr_{}_{}", "rho_{}_{}", "{}_{}_rho", "c_{}_{}")
# Columns that are fitted jointly by custom: the name of the entry, and a pattern for each of its columns.
_GROUPS = (
    ("astrometry", ("plx|parallax", "pm_?ra(_?cosdec)?|pmra.*|pm_?l(on)?", "pm_?de(c)?|pm_?b|pm_?lat")),
    ("proper_motion", ("pm_?ra(_?cosdec)?|pmra.*|pm_?l(on)?", "pm_?de(c)?|pm_?b|pm_?lat")),
    ("velocity", ("u|vx|v_x|ulsr|uvel", "v|vy|v_y|vlsr|vvel", "w|vz|v_z|wlsr|wvel")),
)
# A colour: two bands with a sign between.
_COLOUR = re.compile(r"\(?([a-z]{1,2}p?[0-9]?)[-_]([a-z]{1,2}p?[0-9]?)\)?0?", re.IGNORECASE)
_BANDS = re.compile(r"[ubvrigzyjhkw]|bp|rp|ks|nuv|fuv|w[1-4]|[ugriz]p", re.IGNORECASE)
_MOST = 6
_LIMITS = ("limit_flag", "upper_limit", "lower_limit", "kind")


def suggest_joints(
    fitted: Sequence[Suggestion], names: Sequence[str], taken: set[str]
) -> tuple[list[Suggestion], list[Suggestion]]:
    """Joint entries for columns that are fitted.

    Parameters
    ----------
    fitted : sequence of Suggestion
        The entries below `columns`.
    names : sequence of str
        All columns of the file.
    taken : set of str
        Names that other entries have; those of the new ones are added.

    Returns
    -------
    correlated, customary : list of Suggestion
        Entries whose errors are known to be correlated, and others of the field's groups.

    Examples
    --------
    >>> fitted = [Suggestion(name, {"error": f"{name}_error"}, "") for name in ("parallax", "pmra", "pmdec")]
    >>> [entry.keys for entry in suggest_joints(fitted, ["pmra_pmdec_corr"], set())[0]]
    [{'columns': ['pmra', 'pmdec'], 'correlation': 'gaia'}]
    >>> [entry.name for entry in suggest_joints(fitted, [], set())[1]]
    ['astrometry']
    """
    usable = [entry for entry in fitted if not any(key in entry.keys for key in _LIMITS)]
    values = {entry.name: str(entry.keys.get("value", entry.name)) for entry in usable}
    pairs = dict(_correlated(values, names))
    correlated = []
    for group in _connected(list(values), list(pairs)):
        own = {pair: name for pair, name in pairs.items() if set(pair) <= set(group)}
        known = [gaia_correlation(values[a], values[b]) for a, b in combinations(group, 2)]
        is_gaia = set(own.values()) == {name for name in known if name is not None}
        triples = [[a, b, name] for (a, b), name in own.items()]
        keys = {"columns": group, "correlation": "gaia" if is_gaia else triples}
        name = _name_of(group, values)
        correlated.append(Suggestion(safe_name(name, taken), keys, f"correlations: {', '.join(own.values())}"))
    seen = {frozenset(entry.keys["columns"]) for entry in correlated}
    customary = []
    for name, group in _customary(values):
        if not any(set(group) <= other for other in seen):
            seen.add(frozenset(group))
            customary.append(Suggestion(safe_name(name, taken), {"columns": group}, "often fitted together"))
    return correlated, customary


def _correlated(values: dict[str, str], names: Sequence[str]) -> Iterator[tuple[tuple[str, str], str]]:
    """Pairs of entries, and the column with the correlation of their errors."""
    lower = {name.lower(): name for name in names}
    for first, second in combinations(values, 2):
        a, b = values[first].lower(), values[second].lower()
        gaia = gaia_correlation(values[first], values[second])
        forms = [form.format(*pair) for form in _FORMS for pair in ((a, b), (b, a))]
        found = next((lower[form] for form in [*filter(None, [gaia and gaia.lower()]), *forms] if form in lower), None)
        if found is not None:
            yield (first, second), found


def _connected(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
    """Groups of names that pairs connect, each in the order of the names."""
    left = [name for name in names if any(name in pair for pair in pairs)]
    while left:
        group = {left[0]}
        while more := {name for pair in pairs if set(pair) & group for name in pair} - group:
            group |= more
        yield [name for name in names if name in group][:_MOST]
        left = [name for name in left if name not in group]


def _customary(values: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    for name, patterns in _GROUPS:
        found = [
            next((entry for entry, value in values.items() if re.fullmatch(pattern, value, re.IGNORECASE)), None)
            for pattern in patterns
        ]
        group = [entry for entry in found if entry is not None]
        if len(group) == len(patterns):
            yield name, group
    colours = [entry for entry, value in values.items() if _is_colour(value)]
    if len(colours) > 1:
        yield "colours", colours[:_MOST]


def _is_colour(value: str) -> bool:
    match = _COLOUR.fullmatch(value)
    return match is not None and all(_BANDS.fullmatch(band) for band in match.groups())


def _name_of(group: Sequence[str], values: dict[str, str]) -> str:
    custom = next((name for name, found in _customary(values) if set(found) == set(group)), None)
    return custom or "_".join(group)
