"""From the options of `mixpipe fit` to the settings that a configuration file would give."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.catalog.expressions import Expression
from mixpipe.catalog.reading import idle_options
from mixpipe.cli.components import component_options
from mixpipe.config.schema import KeyPath, check, with_keywords
from mixpipe.config.settings import BINS, CatalogSettings, ColumnSettings, Settings, parse_config
from mixpipe.pipeline.plan.texts import FitPlan, effort_of, reading_options

# Options that a configuration has under the same name.
CATALOG_KEYS = ("format", "hdu", "path", "comment", "delimiter", "decimal", "missing", "where")
_COLUMN_KEYS = (
    "value",
    "error",
    "error_kind",
    "error_model",
    "error_dof",
    "error_scale",
    "error_floor",
    "sigma_floor",
    "rounding",
    "weight",
    "weight_kind",
    "bins",
    "transform",
    "unit",
    "file_unit",
    "limit_flag",
    "upper_limit",
    "lower_limit",
    "truncated",
    "detection",
    "families",
    "background",
    "mixed",
    "constraints",
    "start",
    "prior",
    "membership",
    "kind",
    "sample_prior",
)


@dataclass(frozen=True)
class Request:
    """What to fit in one file.

    Parameters
    ----------
    file : Path
        The catalog.
    catalog : CatalogSettings
        How the file is read.
    column : ColumnSettings
        How its values and errors are made; the name is that of the value column.
    settings : Settings
        Criterion and the like.
    n_components : int or None
        The number of components, None to choose it.
    given : dict
        The options that were given, under their names.
    """

    file: Path
    catalog: CatalogSettings
    column: ColumnSettings
    settings: Settings
    n_components: int | None
    given: dict[str, Any]

    @property
    def place(self) -> str:
        """Where an error is, for its message."""
        return f"in {self.file}, column {self.column.value}"

    def plan(self, catalog: str = "", sha256: str = "", code: str = "") -> FitPlan:
        """The plan that the pipeline would have, with the hashes of the file and of the code."""
        return FitPlan(
            catalog=catalog,
            release="",
            files=((str(self.file), sha256),),
            reading=reading_options(self.catalog),
            key=self.catalog.key,
            where=self.catalog.where,
            column=self.column,
            criterion=self.settings.criterion,
            effort=effort_of(self.settings),
            code=code,
        )


def read_request(file: str, options: Mapping[str, Any]) -> Request:
    """Check the options against the schema of the configuration.

    Parameters
    ----------
    file : str
        The catalog file.
    options : mapping
        Values by name, None or empty where an option is not given.

    Raises
    ------
    ConfigError
        For the first option that has a value which cannot be used.

    Examples
    --------
    >>> read_request("stars.csv", {"value": "mass", "error": 0.1}).column.error
    0.1
    >>> read_request("stars.csv", {"value": "mass", "error_scale": 0})
    Traceback (most recent call last):
    mixpipe.base.errors.ConfigError: found 0, in option --error-scale, expected a number > 0, or fit
    """
    given = given_options(options)
    for name in ("correlation", "structure"):
        if name in given:
            raise ConfigError(f"--{name} without --joint", "on the command line", "--joint A,B")
    if "value" not in given and "bins" not in given:
        raise ConfigError("no column to fit", "on the command line", "--value COL, or --bins LOW,HIGH,COUNT")
    if "bins" in given:
        given["bins"] = _bins(str(given["bins"]))
    given |= component_options(given)
    for name in ("truncated", "background"):
        if "," in str(given.get(name, "")):
            pairs = [_bounds(name, pair) for pair in _pairs(name, str(given[name]))]
            given[name] = pairs[0] if len(pairs) == 1 else pairs
    if "detection" in given:
        given["detection"] = _detection(str(given["detection"]))
    settings, fixed = run_settings(given, ("criterion", "bootstrap", "profile", "likelihood_ratio", "seed"))
    settings["estimators"] = [given.get("estimator", "em")]
    catalog = {name: given[name] for name in CATALOG_KEYS if name in given}
    catalog["releases"] = {"file": file}
    catalog["columns"] = {"value": {name: given[name] for name in _COLUMN_KEYS if name in given}}
    mapping = {"catalogs": {"file": catalog}, "settings": settings}

    def where(path: KeyPath, key: str | None = None) -> str:
        if "detection" in path:
            return option_named("detection")
        return option_named(key or [part for part in path if isinstance(part, str)][-1], fixed=fixed)

    mapping = with_keywords(mapping)
    check(mapping, where)
    try:
        config = parse_config(mapping)
    except ConfigError as error:
        raise ConfigError(error.what, "on the command line", error.expected) from error
    (catalog_settings,) = config.catalogs
    (column,) = catalog_settings.columns
    return Request(
        file=Path(file),
        catalog=catalog_settings,
        column=replace(column, name=column.value),
        settings=config.settings,
        n_components=column.max_components if fixed else None,
        given=given,
    )


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given; several values as a list."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value is not None and value != ()
    }


def run_settings(given: Mapping[str, Any], names: Iterable[str]) -> tuple[dict[str, Any], bool]:
    """The settings of a run that were given, and whether the number of components is fixed.

    Raises
    ------
    ConfigError
        For a number of components, and the largest one, too.
    """
    fixed = "n_components" in given
    if fixed and "max_components" in given:
        raise ConfigError("both --n-components and --max-components", "on the command line", "one of them")
    settings = {name: given[name] for name in names if name in given}
    size = given.get("n_components", given.get("max_components"))
    return settings if size is None else {"max_components": size, **settings}, fixed


def option_named(key: str, *, fixed: bool = False) -> str:
    """The place of a mistake in a key of the configuration on the command line."""
    names = {"estimators": "estimator", "max_components": "n_components" if fixed else "max_components"}
    return f"in option --{names.get(key, key).replace('_', '-')}" if key != "file" else "in argument FILE"


@contextmanager
def naming_options(where: str | None = None) -> Iterator[None]:
    """Errors that are raised here name the options of `mixpipe fit` for the keys of a configuration.

    What is no column may be text of the cut `where`, without its quotes.

    Examples
    --------
    >>> with naming_options("kind == NS"):
    ...     raise CatalogError("no column 'NS'", "in a.csv", "one of kind, mass")
    Traceback (most recent call last):
    mixpipe.base.errors.CatalogError: no column 'NS', in a.csv, expected one of kind, mass; text needs quotes, kind ==
    'NS'
    >>> with naming_options():
    ...     raise CatalogError("text", "in a.csv", "numbers; `missing` lists what stands for no value")
    Traceback (most recent call last):
    mixpipe.base.errors.CatalogError: text, in a.csv, expected numbers; --missing lists what stands for no value
    """

    def option(match: re.Match[str]) -> str:
        known = match[1] in (*CATALOG_KEYS, *_COLUMN_KEYS)
        return f"--{match[1].replace('_', '-')}" if known else match[0]

    try:
        yield
    except (CatalogError, ConfigError) as error:
        expected = re.sub("`([a-z_]+)`", option, error.expected)
        for name, quoted in Expression.parse(where).unquoted.items() if where and "quotes" not in expected else ():
            expected += f"; text needs quotes, {quoted}" if error.what == f"no column {name!r}" else ""
        raise type(error)(error.what, error.where, expected) from error


class _Asked(Protocol):
    @property
    def file(self) -> Path: ...

    @property
    def catalog(self) -> CatalogSettings: ...

    @property
    def given(self) -> dict[str, Any]: ...


def check_idle(request: _Asked) -> None:
    """Refuse options that say nothing about a file of this format.

    Raises
    ------
    ConfigError
        For the first one.
    """
    for name, only in idle_options(request.file, **reading_options(request.catalog)).items():
        option = "path" if name == "path_in_file" else name
        given = request.given[option]
        raise ConfigError(f"found {given!r} for {request.file}", f"in option --{option}", f"a file in {only} format")


def _bins(text: str) -> dict[str, str]:
    """The columns of a histogram."""
    names = [name.strip() for name in text.split(",")]
    if len(names) != len(BINS) or not all(names):
        raise ConfigError(f"found {text}", "in option --bins", "three columns with commas between: LOW,HIGH,COUNT")
    return dict(zip(BINS, names, strict=True))


def _bounds(name: str, text: str) -> list[float | str | None]:
    """Two bounds with a comma between; an empty one is open. Other text is left for the check against the schema."""

    def bound(part: str) -> float | str | None:
        try:
            return float(part) if part.strip() else None
        except ValueError:
            return part.strip()

    bounds = [bound(part) for part in text.split(",")]
    numbers = [number for number in bounds if isinstance(number, float)]
    if len(numbers) == 2 and not numbers[0] < numbers[1]:
        raise ConfigError(f"found {text}", f"in option --{name}", "two increasing numbers with a comma between")
    return bounds


def _pairs(name: str, text: str) -> list[str]:
    """The pairs of bounds, of which only a truncated sample may have several, with semicolons between."""
    return text.split(";") if name == "truncated" else [text]


def _detection(text: str) -> dict[str, list[float]]:
    """Probabilities of detection: V:P,V:P,... or a file with the columns value and probability, or with two columns."""
    place, expected = "in option --detection", "V:P,V:P,..., or a file with the columns value and probability"
    try:
        if ":" in text and not os.path.isfile(text):
            pairs = [tuple(map(float, pair.split(":"))) for pair in text.split(",")]
            values, probabilities = map(list, zip(*pairs, strict=True))
            return {"value": values, "probability": probabilities}
    except ValueError:
        raise ConfigError(f"found {text}", place, expected) from None
    if not os.path.isfile(text):
        raise ConfigError(f"no file {text}", place, expected)
    from mixpipe.catalog.reading import read_catalog

    table = read_catalog(text)
    names = ["value", "probability"]
    if not set(names) <= set(table.colnames):
        raise ConfigError(f"{text} has the columns {', '.join(table.colnames)}", place, expected)
    try:
        return {name: [float(number) for number in table[name]] for name in names}
    except (TypeError, ValueError):
        raise ConfigError(f"{text} has no numbers in some rows", place, expected) from None
