"""Recognition of the columns with errors, bounds or limits of other columns, from naming conventions in astronomy."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# Parts of names. A side of a single letter counts only if it is separated from the name of the value.
_GAP, _GAPS = r"[\s_.-]*", r"[\s_.-]+"
_ERROR = r"(?:errors?|errs?|uncert(?:ainty|ainties)?|unc|sigma|std(?:dev|err)?|stdev)"
_IVAR, _VARIANCE = r"(?:ivar|inv_?var|inverse_?variance)", r"(?:variance|var)"
_SIDES = {
    "upper": (r"\+", r"(?:upp?(?:er)?|hi(?:gh)?|plus|pos(?:itive)?)", r"(?:max|u|p|h|1)"),
    "lower": (r"-", r"(?:low(?:er)?|lo|down|dn|minus|neg(?:ative)?)", r"(?:min|l|m|n|2)"),
}
_BOUNDS = {"upper": r"(?:max|[pq]?84|ub)", "lower": r"(?:min|[pq]?16|lb)"}
_LIMITS = {"upper": r"(?:ul|(?:up(?:per)?|hi(?:gh)?)_?lim(?:it)?)", "lower": r"(?:ll|lo(?:w|wer)?_?lim(?:it)?)"}

_ERRORS = ("upper", "lower", "sigma", "ivar", "variance")
_ROLES = {
    "upper": "upper error",
    "lower": "lower error",
    "sigma": "error",
    "ivar": "inverse variance",
    "flag": "limit flag",
}
# A unit that follows a name, as in `mass [Msun]`; the brackets of [Fe/H] and e_[Fe/H] are part of the name.
_BRACKETS = re.compile(r"(?<=[\w.%)\]])(?<!_)\s*[\[(]([^\[\]()]*)[\])]\s*$")
# A unit that ends a name, perhaps in front of a word for errors, as in flux_mJy and flux_mJy_err; bands and sides of
# errors are no units, so that those of one letter but seconds do not count, nor do min and pm.
_UNIT_WORDS = (
    "[nuMm]?Jy", "muJy", "[um]as", "muas", "arcsec", "arcmin", "deg", "m?mag", "dex", "k?m/s", "km_s", "kms",
    "[kMG]?pc", "[MRL]sun", "[MR]jup", "[MR]earth", "[kMGT]?eV", "[MG]yr", "AU", "au", "micron", "[unmk]m", "[kMG]?Hz",
    "[mun]?s",
)  # fmt: skip
_SUFFIX = re.compile(
    rf"(?<=[\w.%)\]])[\s_.-]+({'|'.join(_UNIT_WORDS)})"
    rf"(?P<rest>(?:[\s_.-]+(?i:e|{_ERROR}|{_IVAR}|{'|'.join('|'.join(words[1:]) for words in _SIDES.values())}))*)$"
)
# An s may also be a star or a source, and a magnitude is a quantity beside a flux.
_SECONDS, _MAGNITUDES = ("s", "ms", "us", "ns"), ("mag", "mmag")
# SIMBAD: plx_err beside plx_value.
_VALUE = re.compile(r"(?i)(?<=\w)_val(?:ue)?$")
_UNIT_SPELLINGS = {"kms": "km/s", "km_s": "km/s", "muJy": "uJy", "muas": "uas"}
# E_B-V is not an error of B-V.
_COLOUR_EXCESS = re.compile(r"E[_(](?:[A-Za-z]{1,3}|[A-Z]\d?)-[A-Za-z]{1,3}[_)]?")
_COORDINATE = re.compile(
    r"_?(?:ra|de|dec|decl|alpha|delta|[ge]l(?:on|at)|s[lb]at|s?lon|s?lat|ecl_l(?:on|at)|ll|bb|l|b|sg_?[xyz]{2}|sg[lb])"
    r"(?:_?(?:deg|icrs|j?2000|b?1950|rad|ep\d+))*_?",
    re.IGNORECASE,
)
_GALACTIC = {"l": "b", "b": "l", "L": "B", "B": "L"}
_IDENTIFIER = re.compile(
    r"(?:[a-z0-9]+_)*(?:source|obj|object|star|spec|photo|main|gaia|target|tic|kep|kic)*_?"
    r"(?:id|identifier|name|designation|key|rec_?no|source|object|star|target|hip|hd|tic|kic|epic|2mass|number|index)",
    re.IGNORECASE,
)
_COUNT = re.compile(
    r"(?:n|num|number|counts?|freq|frequency|frequencies)(?:_?(?:obs|rows|stars|objects|times|of_\w+))?", re.IGNORECASE
)
_BOUND_LIMIT = re.compile("(?:hi|lo)(?:gh|w)?_?lim(?:it)?$", re.IGNORECASE)
_VELOCITY = re.compile("v(?:el|r|rad|los|helio|lsr|bary|cmb|hel)(?:avg|mean)?")
# Weights as errors are inverse variances.
_WEIGHT = re.compile(rf"(.+){_GAPS}(?:w|wt|weight)|(?:w|wt|weight){_GAPS}(.+)", re.IGNORECASE)
_BARE_ERROR = re.compile(f"e|{_ERROR}", re.IGNORECASE)
_BANDS_OF = {role: re.compile(form, re.IGNORECASE) for role, form in (("sigma", _ERROR), ("ivar", _IVAR))}
_BAND = re.compile("(?P<quantity>.+)_(?P<band>[A-Za-z][A-Za-z0-9]?)")
# Thresholds for the mean sign (0.8 if 90 % of the rows have the same sign), and for a share of rows.
_ONE_SIGN, _NEARLY_ALL = 0.8, 0.95


@dataclass(frozen=True)
class Measurement:
    """A column that can be fitted, with the columns of its errors and limits.

    Parameters
    ----------
    value : str
        Column with the values.
    error : str, tuple of (str, str) or None
        Column of errors, or columns of upper and lower errors.
    kind : str
        Kind of the errors: ``sigma``, ``variance`` or ``ivar``.
    flag, upper_limit, lower_limit : str or None
        Columns that define limits.
    """

    value: str
    error: str | tuple[str, str] | None = None
    kind: str = "sigma"
    flag: str | None = None
    upper_limit: str | None = None
    lower_limit: str | None = None


@dataclass(frozen=True)
class _Habit:
    """A naming convention: the role for column `x` of a column with a name of this form."""

    form: re.Pattern[str]
    role: str
    # The name is also common for other quantities, so that the numbers must look like errors of these values.
    weak: bool = False
    # The name of the value must match exactly, including capitals and separators.
    exact: bool = False


@dataclass(frozen=True)
class _Reading:
    """The role of a column for another one, and the rank of the naming convention that implies it."""

    value: str
    role: str
    weak: bool
    rank: int


def _habits() -> Iterator[_Habit]:
    def habit(role: str, *forms: str, case: bool = False, weak: bool = False, exact: bool = False) -> Iterator[_Habit]:
        for form in forms:
            yield _Habit(re.compile(form, re.DOTALL | (0 if case else re.IGNORECASE)), role, weak, exact)

    x, rest = "(?P<x>.+?)", "(?P<rest>.+)"
    yield from habit("flag", f"{x}{_GAP}lim(?:it)?(?:{_GAP}flag)?", f"l_{x}")
    for side, limit in _LIMITS.items():
        yield from habit(f"{side} limit", f"{x}{_GAPS}{limit}")
    for side, (sign, word, letter) in _SIDES.items():
        either = f"(?:{sign}|{word}|{letter})"
        yield from habit(
            side,
            f"{sign}{_GAP}{x}{_GAP}{_ERROR}",  # +x_err
            f"{sign}{_GAP}(?:{_ERROR}|e){_GAPS}{x}",  # +e_x
            f"{x}{_GAP}{_ERROR}{_GAP}{either}",  # x_err_up, xerr1
            f"{x}(?:{_GAP}{word}|{_GAPS}{letter}){_GAP}{_ERROR}",  # x_upper_err, x_uerr
            f"(?:{_ERROR}|e){_GAP}{either}{_GAPS}{x}",  # err_up_x, ep_x
            f"{word}{_GAP}{_ERROR}{_GAPS}{x}",  # upper_err_x
            f"(?:{_ERROR}|er?){_GAPS}{x}{_GAPS}{either}",  # e_x_up
            f"{x}{_GAPS}e{_GAP}{either}",  # x_ep, x_e_up
        )
    yield from habit("ivar", f"{x}{_GAP}{_IVAR}", f"{_IVAR}{_GAPS}{x}")
    yield from habit("variance", f"{x}{_GAPS}{_VARIANCE}", f"{_VARIANCE}{_GAPS}{x}")
    # The distances of supernovae: MU_SH0ES_ERR_DIAG, and MUERR_FINAL beside MU.
    yield from habit("sigma", f"{x}{_GAP}{_ERROR}_(?:diag|final|tot(?:al)?)", exact=True)
    yield from habit("sigma", f"{x}{_GAP}{_ERROR}", f"{_ERROR}{_GAPS}{x}", f"er?_{x}", f"sig{_GAPS}{x}")
    # errX, eTeff: the capital distinguishes them from words that begin with these letters.
    yield from habit("sigma", r"(?:[Ee]rr|[Ss]igma|[Ss]ig|e)(?P<x>[A-Z].*)", case=True)
    # SDSS psfMagErr_g, SExtractor MAGERR_AUTO, DESI FLUX_IVAR_G.
    yield from habit("sigma", f"{x}{_ERROR}{rest}")
    yield from habit("ivar", f"{x}{_IVAR}{rest}")
    # WISE w1sigmpro, 2MASS j_msigcom. A plain suffix _sig is just as often a significance.
    yield from habit("sigma", r"(?P<x>.*[a-z0-9])sigcom", r"(?P<x>.*[a-z0-9])sig(?P<rest>[a-z]+)")
    for side, bound in _BOUNDS.items():
        yield from habit(f"{side} bound", f"{x}{_GAPS}{bound}", f"{bound}{_GAPS}{x}")
    # VizieR: b_x and B_x are the ends of an interval.
    yield from habit("upper bound", f"B_{x}", case=True, exact=True)
    yield from habit("lower bound", f"b_{x}", case=True, exact=True)
    yield from habit("sigma", f"{x}{_GAPS}e", weak=True)
    yield from habit("sigma", f"d_?{x}", case=True, weak=True, exact=True)
    for side, (sign, word, _) in _SIDES.items():
        yield from habit(side, f"{x}(?:{_GAP}{sign}|{_GAPS}{word})", weak=True)


_HABITS = tuple(_habits())


def find_measurements(columns: Mapping[str, Numbers | None]) -> tuple[list[Measurement], dict[str, str]]:
    """Find values with their errors, from the names of the columns and a sample of their numbers.

    Parameters
    ----------
    columns : mapping of str to (ndarray or None)
        Names in the order of the file, each with the numbers of the same rows, which are NaN where missing, or None for
        a column that does not contain numbers.

    Returns
    -------
    measurements : list of Measurement
        All columns of numbers that do not describe another column.
    others : dict
        Role of each of the other columns: ``error of x``, ``upper bound of x``, ...

    Examples
    --------
    >>> plx, error = np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.1, 0.2])
    >>> found, others = find_measurements({"Plx": plx, "e_Plx": error, "Plx_max": plx + error, "Plx_min": plx - error})
    >>> [(entry.value, entry.error) for entry in found]
    [('Plx', 'e_Plx')]
    >>> others
    {'e_Plx': 'error of Plx', 'Plx_max': 'upper bound of Plx', 'Plx_min': 'lower bound of Plx'}
    """
    names = _Names(columns)
    # The first interpretation of a name may fail because it lacks a partner; the next one is then tried.
    possible = {name: list(_readings(name, columns, names)) for name in columns}
    for bands in _errors_by_band(columns):
        # sigma_x and sigma_y beside x, y, v_x and v_y are errors of x and y.
        if not all(possible[name] for name in bands):
            for name, reading in bands.items():
                possible[name].insert(0, reading)
    while alone := _without_partner({name: readings[0] for name, readings in possible.items() if readings}):
        for name in alone:
            possible[name].pop(0)
    about = {name: readings[0] for name, readings in possible.items() if readings}
    _tell_bounds(about, columns)
    _tell_limits(about, columns)
    # A column that has an error is itself a measurement: vlos_sigma next to vlos_sigma_err is a dispersion.
    for value in {reading.value for reading in about.values() if reading.role in _ERRORS}:
        about.pop(value, None)
    roles: dict[str, dict[str, list[str]]] = {}
    for name, reading in sorted(about.items(), key=lambda item: item[1].rank):
        roles.setdefault(reading.value, {}).setdefault(reading.role, []).append(name)
    found = [
        _measurement(name, roles.get(name, {}))
        for name, numbers in columns.items()
        if numbers is not None and name not in about
    ]
    found, bare = _bare_error(found, columns)
    others = {name: f"{_ROLES.get(reading.role, reading.role)} of {reading.value}" for name, reading in about.items()}
    return found, others | bare


def _bare_error(
    found: list[Measurement], columns: Mapping[str, Numbers | None]
) -> tuple[list[Measurement], dict[str, str]]:
    """A column called just `e` or `error` contains the errors of the only other column, if there is only one."""
    errors = [entry.value for entry in found if _BARE_ERROR.fullmatch(entry.value) and entry.error is None]
    rest = [
        entry
        for entry in found
        if entry.value not in errors and not is_identifier(entry.value) and not is_coordinate(entry.value, columns)
    ]
    if len(errors) != 1 or len(rest) != 1 or rest[0].error is not None:
        return found, {}
    (error,), (entry,) = errors, rest
    if not _plausible("sigma", columns[error], columns[entry.value], weak=True):
        return found, {}
    paired = replace(entry, error=error)
    return [paired if each is entry else each for each in found if each.value != error], {
        error: f"error of {entry.value}"
    }


def is_coordinate(name: str, names: Collection[str]) -> bool:
    """Whether a name among these denotes a position on the sky; a letter alone needs the other one, l or b.

    >>> is_coordinate("RA_ICRS", []), is_coordinate("radius", [])
    (True, False)
    >>> is_coordinate("b", ["l", "b"]), is_coordinate("B", ["B", "V"])
    (True, False)
    """
    if (partner := _GALACTIC.get(name)) is not None:
        return partner in names
    return _COORDINATE.fullmatch(name) is not None


def is_identifier(name: str) -> bool:
    """Whether a name denotes a column that identifies the object of a row.

    >>> is_identifier("source_id"), is_identifier("Gmag")
    (True, False)
    """
    return _IDENTIFIER.fullmatch(name) is not None


def is_count(name: str) -> bool:
    """Whether a name denotes how often something occurs.

    >>> is_count("count"), is_count("N_obs"), is_count("nu")
    (True, True, False)
    """
    return _COUNT.fullmatch(name) is not None


def unit_in(name: str, *, seconds: bool = True) -> str | None:
    """The unit that follows a name, in brackets or as one of the units that are common there.

    `seconds` is whether these are among the latter.

    >>> unit_in("mass [Msun]"), unit_in("[Fe/H]"), unit_in("flux_mJy_err"), unit_in("rv_kms"), unit_in("mag_g")
    ('Msun', None, 'mJy', 'km/s', None)
    """
    found = _BRACKETS.search(name)
    if found is None and (found := _SUFFIX.search(name)) is not None:
        if found[1] in _SECONDS and not seconds:
            return None
        return _UNIT_SPELLINGS.get(found[1], found[1])
    return found[1].strip() if found else None


def _without_unit(name: str) -> str:
    """A name without the unit that ends it.

    >>> _without_unit("flux_mJy"), _without_unit("flux_mJy_err"), _without_unit("flux")
    ('flux', 'flux_err', 'flux')
    """
    found = None if _BRACKETS.search(name) else _SUFFIX.search(name)
    if found is None or found[1] in (*_SECONDS, *_MAGNITUDES):
        return name
    return name[: found.start()] + found["rest"]


class _Names:
    """A lookup of columns by name, or by a name that differs only in capitals, separators or a unit in brackets."""

    def __init__(self, columns: Mapping[str, Numbers | None]) -> None:
        self.values = {name for name, numbers in columns.items() if numbers is not None}
        self.texts = set(columns) - self.values
        self._spellings: list[dict[str, set[str]]] = [{}, {}, {}]
        self._stems: dict[str, set[str]] = {}
        for name in self.values:
            for spelling, key in zip(self._spellings, _spelled(name), strict=True):
                spelling.setdefault(key, set()).add(name)
            self._stems.setdefault(_spelled(_VALUE.sub("", _without_unit(name)))[2], set()).add(name)

    def find(self, name: str, exact: bool) -> str | None:
        """The column with this name, of numbers if there is one."""
        if name in self.values or exact:
            return name if name in self.values else None
        if name in self.texts:
            return name
        for spelling, key in zip(self._spellings, _spelled(name), strict=True):
            if len(spelling.get(key, ())) == 1:
                return next(iter(spelling[key]))
        return None

    def find_in_unit(self, name: str) -> str | None:
        """The only column of numbers that is called so but for its end: flux_Jy for flux or flux_mJy, x_value for x."""
        fitting = self._stems.get(_spelled(_without_unit(name))[2], set())
        return next(iter(fitting)) if len(fitting) == 1 else None

    def find_longer(self, name: str, other: str) -> str | None:
        """The only column of numbers whose name ends with this one, as aveVel with vel; V begins velocities."""
        short = _spelled(name)[2]
        fitting = [
            each
            for each in self.values - {other}
            if (len(short) > 2 and _spelled(each)[2].endswith(short))
            or (short == "v" and _VELOCITY.fullmatch(_spelled(each)[2]))
        ]
        return fitting[0] if len(fitting) == 1 else None


def _spelled(name: str) -> tuple[str, str, str]:
    bare = _BRACKETS.sub("", name)
    return name.casefold(), bare.casefold(), re.sub(r"[\s_.\[\]()-]+", "", bare.casefold())


def _readings(name: str, columns: Mapping[str, Numbers | None], names: _Names) -> Iterator[_Reading]:
    """Possible roles of a column for other columns, the most specific naming convention first."""
    for rank, habit in enumerate(_HABITS):
        for text in dict.fromkeys((name, _BRACKETS.sub("", name))):
            found = habit.form.fullmatch(text)
            if found is None or _COLOUR_EXCESS.fullmatch(text):
                continue
            parts = found.groupdict()
            value = names.find(parts["x"] + parts.get("rest", ""), habit.exact)
            role, weak = habit.role, habit.weak
            if value is None and not habit.exact:
                value = names.find_in_unit(parts["x"] + parts.get("rest", ""))
            if value is None and role in _ERRORS and not weak:
                value, weak = names.find_longer(parts["x"], name), True
            if value is None or value == name:
                continue
            # In VizieR, E_x is the upper and e_x is the lower of two errors.
            if role == "sigma" and text[:2] in ("E_", "e_") and text[0].swapcase() + text[1:] in columns:
                role = "upper" if text[0] == "E" else "lower"
            # A value of text cannot be fitted, but its error is no value for that.
            if columns[value] is None or _plausible(role, columns[name], columns[value], weak):
                yield _Reading(value, role, habit.weak, rank)


def named_roles(value: str, others: Mapping[str, Numbers], values: Numbers) -> dict[str, str]:
    """What columns are for a value by their names: ``sigma``, ``variance``, ``ivar``, ``upper``, ``lower``.

    Parameters
    ----------
    value : str
        Name of the column with the values.
    others : mapping of str to ndarray
        Columns that are thought to be about it, with their numbers.
    values : ndarray
        The values.

    Returns
    -------
    dict
        The role of each of the columns whose names tell one.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 4.0])
    >>> named_roles("vel", {"vel_var": x, "vel_err_up": x, "error": x}, x)
    {'vel_var': 'variance', 'vel_err_up': 'upper'}
    """
    columns = {value: values, **others}
    names = _Names(columns)
    found = {name: next((r.role for r in _readings(name, columns, names) if r.value == value), None) for name in others}
    for name in others:
        weight = _WEIGHT.fullmatch(name)
        if weight is not None and _spelled(weight[1] or weight[2]) == _spelled(value):
            found[name] = "ivar"
    return {name: role for name, role in found.items() if role is not None}


def find_flags(names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """The value of which each column marks limits by its name, for those that do.

    >>> find_flags(["l_logNH", "logNH", "masslim", "limb"], ["logNH", "mass"])
    {'l_logNH': 'logNH', 'masslim': 'mass'}
    """
    spelled = {_spelled(value)[2]: value for value in values}
    flags = {}
    for name in names:
        found = [habit.form.fullmatch(name) for habit in _HABITS if habit.role == "flag"]
        about = [spelled.get(_spelled(each["x"])[2]) for each in found if each is not None]
        if value := next(filter(None, about), None):
            flags[name] = value
    return flags


def _errors_by_band(columns: Mapping[str, Numbers | None]) -> Iterator[dict[str, _Reading]]:
    """Errors whose names share their ends with one other quantity: ivar_u and ivar_g next to flux_u and flux_g."""
    named: dict[str, dict[str, str]] = {}
    for name, numbers in columns.items():
        if (found := _BAND.fullmatch(name)) and numbers is not None:
            named.setdefault(found["quantity"], {})[found["band"]] = name
    for quantity, errors in named.items():
        role = next((role for role, form in _BANDS_OF.items() if form.fullmatch(quantity)), None)
        others = [values for other, values in named.items() if other != quantity and len(values.keys() & errors) > 1]
        if role is None or len(others) != 1:
            continue
        pairs = {errors[band]: value for band, value in others[0].items() if band in errors}
        if all(_plausible(role, columns[error], columns[value]) for error, value in pairs.items()):
            yield {error: _Reading(value, role, weak=False, rank=0) for error, value in pairs.items()}


def _plausible(role: str, numbers: Numbers | None, values: Numbers | None, weak: bool = False) -> bool:
    """Whether the numbers of a column are consistent with its name; if the name is weak, they must support the role."""
    if role == "flag":
        return numbers is None or bool(np.all(np.isin(numbers[np.isfinite(numbers)], (-1.0, 0.0, 1.0))))
    if numbers is None or values is None:
        return False
    # The two ends of an interval are checked together.
    if role not in _ERRORS or (weak and role in _SIDES):
        return True
    finite = numbers[np.isfinite(numbers)]
    signs = np.sign(finite[finite != 0.0])
    if not signs.size:
        return not finite.size and not weak
    # A few bad rows are not a reason to doubt a name.
    if abs(signs.mean()) < _ONE_SIGN or (role not in _SIDES and signs.mean() < 0.0):
        return False
    known = values[np.isfinite(values)]
    return not weak or (known.size > 0 and bool(np.median(np.abs(finite)) <= np.ptp(known)))


def _ends(about: Mapping[str, _Reading]) -> dict[tuple[str, str, bool], dict[str, str]]:
    """Columns that are one of two ends, by value, kind of end, and whether the name is weak; then by side."""
    ends: dict[tuple[str, str, bool], dict[str, str]] = {}
    for name, reading in about.items():
        side, _, kind = reading.role.partition(" ")
        if side in _SIDES and kind != "limit":
            ends.setdefault((reading.value, kind, reading.weak), {}).setdefault(side, name)
    return ends


def _without_partner(about: Mapping[str, _Reading]) -> list[str]:
    """Upper ends without a lower end, and lower ends without an upper end."""
    return [name for sides in _ends(about).values() if len(sides) == 1 for name in sides.values()]


def _tell_bounds(about: dict[str, _Reading], columns: Mapping[str, Numbers | None]) -> None:
    """If names do not show whether two ends are errors or bounds, decide by whether the values lie between them."""
    for (value, kind, weak), sides in _ends(about).items():
        if not weak or kind:
            continue
        bounds = _enclose(columns[value], columns[sides["lower"]], columns[sides["upper"]])
        errors = all(_plausible("upper", columns[name], columns[value]) for name in sides.values())
        for side, name in sides.items():
            if bounds:
                about[name] = replace(about[name], role=f"{side} bound")
            elif not errors:
                del about[name]


def _tell_limits(about: dict[str, _Reading], columns: Mapping[str, Numbers | None]) -> None:
    """Two columns called limits between which the values lie are the ends of an interval: x_lolim and x_hilim."""
    limits: dict[str, dict[str, str]] = {}
    for name, reading in about.items():
        side, _, kind = reading.role.partition(" ")
        if kind == "limit" and _BOUND_LIMIT.search(name):
            limits.setdefault(reading.value, {})[side] = name
    for value, sides in limits.items():
        if len(sides) == 2 and _enclose(columns[value], columns[sides["lower"]], columns[sides["upper"]]):
            for side, name in sides.items():
                about[name] = replace(about[name], role=f"{side} bound")


def _enclose(values: Numbers | None, lower: Numbers | None, upper: Numbers | None) -> bool:
    """Whether nearly all values lie between the corresponding lower and upper ones."""
    if values is None or lower is None or upper is None:
        return False
    known = np.isfinite(values) & np.isfinite(lower) & np.isfinite(upper)
    return bool(known.any()) and bool(np.mean(((lower <= values) & (values <= upper))[known]) >= _NEARLY_ALL)


def _measurement(value: str, roles: Mapping[str, Sequence[str]]) -> Measurement:
    error: str | tuple[str, str] | None = None
    kind = next((kind for kind in ("sigma", "ivar", "variance") if kind in roles), "sigma")
    if "upper" in roles and "lower" in roles:
        error, kind = (roles["upper"][0], roles["lower"][0]), "sigma"
    elif kind in roles:
        error = roles[kind][0]
    others = {role: roles[role][0] for role in ("flag", "upper limit", "lower limit") if role in roles}
    return Measurement(value, error, kind, others.get("flag"), others.get("upper limit"), others.get("lower limit"))
