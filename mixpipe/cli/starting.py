"""The command `mixpipe init`: a configuration for catalog files, by what their columns are called and hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

from mixpipe.catalog import expected_name, list_columns
from mixpipe.catalog.arrays import mask_sentinels, parse_unit, unit_text
from mixpipe.cli.grouping import Group, group_files, safe_name
from mixpipe.cli.samples import Numbers, as_numbers, find_densities, find_tables, first_rows
from mixpipe.cli.sentinels import common_sentinels, forget_sentinels
from mixpipe.cli.yaml_text import config_text, one_line, remark
from mixpipe.columns import ColumnData, prepare_column
from mixpipe.config import ColumnSettings
from mixpipe.errors import CatalogError, ConfigError, MixpipeError
from mixpipe.files import write_file
from mixpipe.recognition import (
    Measurement,
    find_measurements,
    is_coordinate,
    is_identifier,
    unit_in,
)

_FEWEST_ROWS = 5

# Why an entry is where it is, in the order of the file.
_FIT = "to be fitted"
_NO_ERRORS = "no errors were found for these: their sigmas will have the errors in them"
_COORDINATE = "coordinates"
_IDENTIFIER = "names and numbers of objects"
_PROBLEM = "cannot be fitted as they are"
_REASONS = (_FIT, _NO_ERRORS, _COORDINATE, _IDENTIFIER, _PROBLEM)


@dataclass(frozen=True)
class Suggestion:
    """An entry below `columns`: its name, its keys, and a remark."""

    name: str
    keys: dict[str, Any]
    why: str


@dataclass(frozen=True)
class Findings:
    """What there is to say about a catalog.

    Parameters
    ----------
    group : Group
        Its name and files.
    lines : list of str
        Keys of the catalog other than `releases` and `columns`, as lines of YAML.
    note : str
        What is to be known of all that is fitted, or nothing.
    fitted : list of Suggestion
        What is to be fitted.
    left_out : dict
        Other entries, by the reason why they are left out.
    not_fitted : dict
        Columns that cannot be fitted, by the reason, ready to be printed.
    """

    group: Group
    lines: list[str]
    note: str
    fitted: list[Suggestion]
    left_out: dict[str, list[Suggestion]]
    not_fitted: dict[str, list[str]]


def start_config(
    files: Sequence[str],
    *,
    out: str | None = None,
    force: bool = False,
    results: str = "results",
    column: Sequence[str] = (),
) -> str | None:
    """A configuration that fits the columns of some files, with comments that say why.

    Parameters
    ----------
    files : sequence of str
        The catalog files.
    out : str, optional
        Where to write it.
    force : bool
        Whether a file that is there may be written over.
    results : str
        The folder for results.
    column : sequence of str
        The columns to fit; by default all that have errors, or all if none has.

    Returns
    -------
    str or None
        The text, None if it was written to a file.

    Raises
    ------
    MixpipeError
        For files that cannot be read or have nothing to fit, and an `out` that exists.
    """
    target = Path(out) if out is not None else None
    if target is not None and target.exists() and not force:
        raise ConfigError(f"{target} exists", "in option --out", "a new name, or --force to write over it")
    paths = [Path(file) for file in files]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is given twice", "on the command line", "each file once")
    groups = group_files(paths, lambda path: tuple(list_columns(path)))
    catalogs = [_Catalog(group, column).findings() for group in groups]
    text = config_text(catalogs, results)
    if target is None:
        return text
    try:
        write_file(target, lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        what = f"cannot write {target} ({error.strerror or error})"
        raise ConfigError(what, "in option --out", "a place that can be written") from error
    return None


class _Catalog:
    """Looks at the files of one catalog."""

    def __init__(self, group: Group, asked: Sequence[str]) -> None:
        self.group, self.asked = group, asked
        self.first = next(iter(group.releases.values()))[0]
        self.hdus = find_tables(self.first)
        reading = {"hdu": self.hdus.hdu}
        headers = [list(list_columns(file, **reading)) for files in group.releases.values() for file in files]
        every = dict.fromkeys(name for header in headers for name in header)
        self.names = [name for name in every if all(name in header for header in headers)]
        self.partial = [name for name in every if name not in self.names]
        for name in asked:
            if name not in self.names:
                raise self._error(f"no column {name!r}", expected_name(name, self.names))
        self.tables = {release: first_rows(files[0], **reading) for release, files in group.releases.items()}
        self.taken: set[str] = set()

    def findings(self) -> Findings:
        """What there is to say.

        Raises
        ------
        CatalogError
            If nothing can be fitted, or not what was asked for.
        """
        numbers = {name: self._numbers(name) for name in self.names}
        sentinels = forget_sentinels(numbers)
        found, others = find_measurements(numbers)
        used = [name for entry in found if not is_identifier(entry.value) for name in _columns_of(entry)]
        missing = common_sentinels(sentinels, {name: numbers[name] for name in used})
        for table in self.tables.values():
            for column in table.itercols():
                mask_sentinels(column, list(missing))

        entries: dict[str, list[Suggestion]] = {reason: [] for reason in _REASONS}
        densities = dict(self._densities())
        entries[_FIT] += densities.values()
        for entry in self._wanted(found, densities):
            suggestion, reason = self._suggest(entry)
            if self.asked and reason == _PROBLEM:
                raise self._error(f"column {entry.value!r} cannot be fitted: {suggestion.why}", "a column with values")
            entries[_FIT if self.asked else reason].append(suggestion)
        fitted = entries.pop(_FIT)
        note = "" if fitted else _NO_ERRORS
        fitted = fitted or entries.pop(_NO_ERRORS)
        if not fitted:
            raise self._error("no column that can be fitted", f"a column with {_FEWEST_ROWS} different numbers or more")
        return Findings(
            group=self.group,
            lines=[*self._reading(), *self._key(), *_missing_lines(missing)],
            note=note,
            fitted=fitted,
            left_out={reason: listed for reason, listed in entries.items() if listed},
            not_fitted={} if self.asked else self._rest(found, [*others.items()], numbers, densities),
        )

    def _error(self, what: str, expected: str) -> CatalogError:
        return CatalogError(what, f"in {self.first}", expected)

    def _wanted(self, found: Sequence[Measurement], densities: Collection[str]) -> list[Measurement]:
        """What was found, or what was asked for, be it the error of something."""
        if not self.asked:
            return list(found)
        known = {entry.value: entry for entry in found}
        return [known.get(name, Measurement(name)) for name in dict.fromkeys(self.asked) if name not in densities]

    def _densities(self) -> Iterator[tuple[str, Suggestion]]:
        """Columns with a tabulated density a row."""
        for name, grid, file in find_densities(self.first, next(iter(self.tables.values())), self.hdus):
            if name in self.names and (not self.asked or name in self.asked):
                entry = safe_name(name, self.taken)
                keys = {"kind": "densities", "value": name, "grid": grid}
                why = f"a density a row on {file.grid.size} points from {file.grid[0]:.3g} to {file.grid[-1]:.3g}"
                yield name, Suggestion(entry, _short(entry, keys), why)

    def _reading(self) -> Iterator[str]:
        if self.hdus.hdu is not None:
            others = ", ".join(map(str, self.hdus.others))
            yield f"hdu: {one_line(self.hdus.hdu)}{remark(f'the table with the most columns; others: {others}')}"

    def _numbers(self, name: str) -> Numbers | None:
        """The sampled numbers of all releases, NaN where one is missing; None for a column of anything else."""
        parts = [as_numbers(table[name]) for table in self.tables.values()]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None

    def _suggest(self, entry: Measurement) -> tuple[Suggestion, str]:
        """An entry, and why it is left out, `_FIT` if it is not."""
        name = safe_name(entry.value, self.taken)
        units = (unit_text(table[entry.value].unit) for table in self.tables.values())
        unit = next((unit for unit in units if unit is not None), None) or _known_unit(unit_in(entry.value))
        limits = {"limit_flag": entry.flag, "upper_limit": entry.upper_limit, "lower_limit": entry.lower_limit}
        keys = {"value": entry.value, "error": entry.error, "error_kind": entry.kind, "unit": unit, **limits}
        problem = ""
        # A flag may mark something else, and a unit be one that cannot be converted to itself, as ABmag.
        for dropped in ((), tuple(limits), (*limits, "unit")):
            kept: dict[str, Any] = {
                key: value for key, value in keys.items() if key not in dropped and value is not None
            }
            try:
                data = [self._prepare(ColumnSettings(name=name, **kept), release) for release in self.tables]
            except MixpipeError as error:
                problem = problem or error.what
                continue
            if not any(each.n_upper_limits + each.n_lower_limits for each in data):
                kept = {key: value for key, value in kept.items() if key not in limits}
            return Suggestion(name, _short(name, kept), _described(entry, data)), _reason(entry)
        kept = {key: value for key, value in keys.items() if value is not None}
        return Suggestion(name, _short(name, kept), problem), _PROBLEM

    def _prepare(self, settings: ColumnSettings, release: str) -> ColumnData:
        data = prepare_column(self.tables[release], settings)
        where = f" in release {release}" if len(self.tables) > 1 else ""
        if len(data) < _FEWEST_ROWS:
            raise self._error(f"only {len(data)} of {data.n_read:,} rows can be used{where}", f"{_FEWEST_ROWS} or more")
        if not np.ptp(data.x) > 0.0:
            raise self._error(f"all values are {data.x[0]:g}{where}", "values that differ")
        return data

    def _key(self) -> Iterator[str]:
        """The first column with a name for each row, and those in front of it that have one twice."""
        for name in filter(is_identifier, self.names):
            columns = [table[name] for table in self.tables.values()]
            if any(column.ndim > 1 or column.dtype.kind not in "iuU" for column in columns):
                continue
            spare = sum(len(column) - len(np.unique(column.compressed())) for column in columns)
            if not spare:
                yield f"key: {one_line(name)} # no two rows have the same"
                return
            yield f"# key: {one_line(name)} # in {spare:,} rows missing, or that of an earlier row"

    def _rest(
        self,
        found: Sequence[Measurement],
        others: Sequence[tuple[str, str]],
        numbers: Mapping[str, Numbers | None],
        densities: Collection[str],
    ) -> dict[str, list[str]]:
        """Columns that no entry mentions, by the reason."""
        used = {name for entry in found for name in _columns_of(entry)} | set(densities)
        about = {name: what for name, what in others if name not in used}
        text = [name for name in self.names if numbers[name] is None and name not in used and name not in about]
        rest = {
            "about other columns": [f"{one_line(name)} ({what})" for name, what in about.items()],
            "text, or more than one number a row": [one_line(name) for name in text],
            "not in each of the files": [one_line(name) for name in self.partial],
        }
        return {reason: names for reason, names in rest.items() if names}


def _reason(entry: Measurement) -> str:
    if is_coordinate(entry.value):
        return _COORDINATE
    if is_identifier(entry.value):
        return _IDENTIFIER
    return _NO_ERRORS if entry.error is None else _FIT


def _missing_lines(missing: Mapping[float, Sequence[str]]) -> Iterator[str]:
    if missing:
        values = [int(value) if value.is_integer() and abs(value) < 1e9 else value for value in missing]
        columns = list(dict.fromkeys(name for names in missing.values() for name in names))
        shown = ", ".join(columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
        yield f"missing: {one_line(values)}{remark(f'far from all other values of {shown}')}"


def _columns_of(entry: Measurement) -> list[str]:
    errors = [entry.error] if isinstance(entry.error, str) else list(entry.error or ())
    return [entry.value, *errors, *filter(None, (entry.flag, entry.upper_limit, entry.lower_limit))]


def _known_unit(text: str | None) -> str | None:
    unit = parse_unit(text)
    return None if unit is None or isinstance(unit, u.UnrecognizedUnit) else unit_text(unit)


def _short(name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Keys without those that say what holds anyway."""
    short = {key: list(value) if isinstance(value, tuple) else value for key, value in keys.items()}
    if short["value"] == name:
        del short["value"]
    if short.get("error_kind") == "sigma":
        del short["error_kind"]
    return short


def _described(entry: Measurement, data: Sequence[ColumnData]) -> str:
    """What the numbers are like, for who decides whether the errors belong to the values."""
    x, err = (np.concatenate([getattr(each, name) for each in data]) for name in ("x", "err"))
    values = f"{x.min():.3g} to {x.max():.3g} in {x.size:,} rows"
    n_limits = sum(each.n_upper_limits + each.n_lower_limits for each in data)
    limits = f", {n_limits:,} of them limits" if n_limits else ""
    return f"{values}{limits}" + (f"; median error {np.median(err):.2g}" if entry.error is not None else "")
