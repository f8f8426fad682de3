"""Entries below `columns` that `mixpipe init` suggests, and why some are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from mixpipe.base.arrays import describe_decades
from mixpipe.base.errors import CatalogError, MixpipeError
from mixpipe.catalog.columns import ColumnData, kind_by_unit, prepare_column
from mixpipe.catalog.formats.arrays import parse_unit, unit_text
from mixpipe.catalog.recognition import Measurement, is_coordinate, is_identifier, unit_in
from mixpipe.cli.display import describe_rows
from mixpipe.cli.init.grouping import safe_name
from mixpipe.config.settings import ColumnSettings

FEWEST_ROWS = 5

# Why an entry is where it is, in the order of the file.
FIT = "to be fitted"
NO_ERRORS = "no errors were found for these: their sigmas will have the errors in them"
WHOLE = "whole numbers without errors: flags, classes, counts"
COORDINATE = "coordinates"
IDENTIFIER = "names and numbers of objects"
PROBLEM = "cannot be fitted as they are"
REASONS = (FIT, NO_ERRORS, WHOLE, COORDINATE, IDENTIFIER, PROBLEM)


@dataclass(frozen=True)
class Suggestion:
    """An entry below `columns`: its name, its keys, and a remark."""

    name: str
    keys: dict[str, Any]
    why: str


class Suggestions:
    """Makes entries, each with a name of its own.

    Parameters
    ----------
    file : Path
        The catalog, for messages.
    tables : mapping of str to Table
        The first rows of each release.
    taken : set of str
        Names that other entries have.
    """

    def __init__(self, file: Path, tables: Mapping[str, Table], taken: set[str]) -> None:
        self._file, self._tables, self._taken = file, tables, taken

    def suggest(self, entry: Measurement) -> tuple[Suggestion, str]:
        """An entry for a measurement, and why it is left out, `FIT` if it is not."""
        name = safe_name(entry.value, self._taken)
        units = (unit_text(table[entry.value].unit) for table in self._tables.values())
        named = _known_unit(unit_in(entry.value, seconds=False))
        unit = next((unit for unit in units if unit is not None), None) or named
        limits = {"limit_flag": entry.flag, "upper_limit": entry.upper_limit, "lower_limit": entry.lower_limit}
        kind = self._kind(entry)
        keys = {"value": entry.value, "error": entry.error, "error_kind": kind, "unit": unit, **limits}
        problem = ""
        # A flag may mark something else, and a unit be one that cannot be converted to itself, as ABmag.
        for dropped in ((), tuple(limits), (*limits, "unit")):
            kept: dict[str, Any] = {
                key: value for key, value in keys.items() if key not in dropped and value is not None
            }
            try:
                data = [self._prepare(ColumnSettings(name=name, **kept), release) for release in self._tables]
            except MixpipeError as error:
                problem = problem or error.what
                continue
            if not any(each.n_upper_limits + each.n_lower_limits for each in data):
                kept = {key: value for key, value in kept.items() if key not in limits}
            rows = next(filter(None, map(list, map(describe_rows, data))), [])
            why = "; ".join([_described(entry, data), *self._converted(entry), *rows])
            return Suggestion(name, short_keys(name, kept), why), self._reason(entry, data)
        kept = {key: value for key, value in keys.items() if value is not None}
        return Suggestion(name, short_keys(name, kept), problem), PROBLEM

    def _kind(self, entry: Measurement) -> str:
        """The kind of the errors, by their unit if that tells it, otherwise by their name."""
        table = next(iter(self._tables.values()))
        if not isinstance(entry.error, str):
            return entry.kind
        return kind_by_unit(table[entry.error].unit, table[entry.value].unit) or entry.kind

    def _converted(self, entry: Measurement) -> Iterator[str]:
        """Say that the unit in the name of an error column is not that in the name of the values."""
        errors = [entry.error] if isinstance(entry.error, str) else entry.error or ()
        if any(table[entry.value].unit is not None for table in self._tables.values()):
            return
        units = dict.fromkeys(filter(None, map(unit_in, errors)))
        own = unit_in(entry.value)
        if own is not None and any(parse_unit(unit) != parse_unit(own) for unit in units):
            yield f"errors in {', '.join(units)} by their names, converted"

    def _prepare(self, settings: ColumnSettings, release: str) -> ColumnData:
        data = prepare_column(self._tables[release], settings)
        where = f" in release {release}" if len(self._tables) > 1 else ""
        if len(data) < FEWEST_ROWS:
            used = f"only {len(data)} of {data.n_read:,} rows" if len(data) else "no row"
            raise CatalogError(f"{used} can be used{where}", f"in {self._file}", f"{FEWEST_ROWS} rows or more")
        if not np.ptp(data.x) > 0.0:
            raise CatalogError(f"all values are {data.x[0]:g}{where}", f"in {self._file}", "values that differ")
        return data

    def _reason(self, entry: Measurement, data: Sequence[ColumnData]) -> str:
        if is_coordinate(entry.value, next(iter(self._tables.values())).colnames):
            return COORDINATE
        if is_identifier(entry.value):
            return IDENTIFIER
        if entry.error is not None:
            return FIT
        return WHOLE if all(np.all(each.x == np.round(each.x)) for each in data) else NO_ERRORS


def _known_unit(text: str | None) -> str | None:
    unit = parse_unit(text)
    return None if unit is None or isinstance(unit, u.UnrecognizedUnit) else unit_text(unit)


def short_keys(name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
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
    values = f"{x.min():.4g} to {x.max():.4g} in {x.size:,} rows"
    n_limits = sum(each.n_upper_limits + each.n_lower_limits for each in data)
    limits = f", {n_limits:,} of them limits" if n_limits else ""
    decades = describe_decades(x)
    limits += f"; {decades}: consider transform: log10" if decades else ""
    return f"{values}{limits}" + (f"; median error {np.median(err):.2g}" if entry.error is not None else "")
