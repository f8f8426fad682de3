"""The configuration as frozen value types, whose names, meanings and defaults are defined in config.schema.yaml."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from mixpipe.base.errors import ConfigError
from mixpipe.base.words import keyword
from mixpipe.config.gaia import gaia_correlation
from mixpipe.config.lines import DEEPEST, Lines, read_yaml
from mixpipe.config.schema import KeyPath, Where, check, defaults, with_keywords

# In a folder of results: what a run works in where its working folder cannot be written.
RECORDS = ".mixpipe/work"


def _default(section: str, key: str) -> Any:
    """A field with the default of the schema; lists become tuples."""
    value = defaults(section)[key]
    return field(default=tuple(value) if isinstance(value, list) else value)


@dataclass(frozen=True)
class ColumnSettings:
    """Settings by which one entry of a catalog's `columns` becomes values, errors and weights.

    For a histogram, `bins` are the columns with the lower edges, the upper edges and the numbers of rows. `value` is
    then the first of these, whose unit is that of the values. `constraints` has the keys ``fixed``, ``tied``, ``known``
    and ``equal_sigmas``, and `start` those of `mixpipe.model.starts.as_start`, as in the file. `truncated` is a pair of
    bounds, or several of them; a bound is a number, infinite on an open side, or a column. `detection` has values and
    their probabilities.
    """

    name: str
    value: str
    error: str | tuple[str, str] | float | None = _default("column", "error")
    error_kind: str = _default("column", "error_kind")
    error_model: str | None = _default("column", "error_model")
    error_dof: float | None = _default("column", "error_dof")
    error_scale: float | str = _default("column", "error_scale")
    error_floor: float = _default("column", "error_floor")
    sigma_floor: float | None = _default("column", "sigma_floor")
    rounding: float | str = _default("column", "rounding")
    weight: str | None = _default("column", "weight")
    weight_kind: str = _default("column", "weight_kind")
    bins: tuple[str, str, str] | None = _default("column", "bins")
    transform: str = _default("column", "transform")
    unit: str | None = _default("column", "unit")
    file_unit: str | None = _default("column", "file_unit")
    limit_flag: str | None = _default("column", "limit_flag")
    upper_limit: str | None = _default("column", "upper_limit")
    lower_limit: str | None = _default("column", "lower_limit")
    truncated: tuple[Any, Any] | tuple[tuple[Any, Any], ...] | None = _default("column", "truncated")
    detection: tuple[tuple[float, ...], tuple[float, ...]] | None = _default("column", "detection")
    families: tuple[str, ...] = _default("column", "families")
    background: str | tuple[float, float] | None = _default("column", "background")
    mixed: tuple[str, ...] = _default("column", "mixed")
    constraints: Mapping[str, Any] | None = _default("column", "constraints")
    start: Mapping[str, Any] | None = _default("column", "start")
    prior: Mapping[str, float] | None = _default("column", "prior")
    kind: str = _default("column", "kind")
    sample_prior: str | None = _default("column", "sample_prior")
    membership: str | tuple[str, ...] | None = _default("column", "membership")
    max_components: int = _default("settings", "max_components")
    estimators: tuple[str, ...] = _default("settings", "estimators")

    @property
    def intervals(self) -> tuple[tuple[Any, Any], ...]:
        """The pairs of bounds between which an observed value had to lie; none if there are no bounds."""
        if self.truncated is None:
            return ()
        pairs: tuple[Any, ...] = self.truncated
        return pairs if isinstance(pairs[0], tuple) else ((pairs[0], pairs[1]),)

    @property
    def bound_columns(self) -> tuple[str, ...]:
        """The columns that hold bounds."""
        return tuple(bound for pair in self.intervals for bound in pair if isinstance(bound, str))

    @property
    def is_selected(self) -> bool:
        """Whether not every value could be observed."""
        return self.truncated is not None or self.detection is not None

    @property
    def is_rounded(self) -> bool:
        """Whether the values are said to be rounded, and in which way."""
        return self.rounding not in ("auto", "none")

    @property
    def error_factor(self) -> float:
        """Factor of the errors as they are read; 1 if it is fitted."""
        return 1.0 if isinstance(self.error_scale, str) else self.error_scale

    @property
    def found_model(self) -> str:
        """The error model: the one that is set, or the default for these errors."""
        if self.kind == "samples":
            return "samples"
        return self.error_model or ("two_sided" if isinstance(self.error, tuple) and not self.bins else "symmetric")


@dataclass(frozen=True)
class DensitySettings:
    """One entry of a catalog's `columns` whose rows are tabulated densities."""

    name: str
    value: str
    grid: str | tuple[float, ...] | tuple[str, ...]
    unit: str | None = _default("column", "unit")
    n_components: int | None = _default("column", "n_components")
    max_components: int = _default("settings", "max_components")
    tolerance: float = _default("column", "tolerance")


@dataclass(frozen=True)
class JointSettings:
    """One entry of a catalog's `joint`: columns that are fitted jointly.

    Parameters
    ----------
    name : str
    columns : tuple of ColumnSettings
        The columns as they are read.
    correlation : tuple of (str, str, str or float)
        Two columns, and the column or the number with the correlation of their errors.
    covariance : tuple of str or None
        Columns of the file with the lower triangle of the covariances of the errors, or one column of arrays.
    linear : tuple of (str, tuple of float) or None
        Names of the combinations that are fitted, and their coefficients, one for each column.
    given, predicted : tuple of str
        Columns that are taken as known, and those that are predicted from them.
    missing, weight, weight_kind, structure, max_components
        As in the configuration.
    """

    name: str
    columns: tuple[ColumnSettings, ...]
    correlation: tuple[tuple[str, str, str | float], ...] = ()
    covariance: tuple[str, ...] | None = None
    missing: str = _default("joint", "missing")
    weight: str | None = _default("joint", "weight")
    weight_kind: str = _default("joint", "weight_kind")
    structure: str = _default("joint", "structure")
    linear: tuple[tuple[str, tuple[float, ...]], ...] | None = None
    max_components: int = _default("settings", "max_components")
    given: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is fitted: the columns, or their combinations."""
        if self.linear is not None:
            return tuple(name for name, _ in self.linear)
        return tuple(column.name for column in self.columns)


# Keys of a column, about its rows, that a joint fit cannot respect.
_NOT_JOINT = (
    "bins",
    "limit_flag",
    "upper_limit",
    "lower_limit",
    "truncated",
    "detection",
    "weight",
    "constraints",
    "start",
    "prior",
    "membership",
)

# Keys of a column about its figures, which do not change the fit.
_LOOK_KEYS = ("label", "figure")
# Keys that define how densities are read and fitted, and keys that apply only to densities.
_DENSITY_KEYS = ("kind", "value", "grid", "unit", "n_components", "max_components", "tolerance", "label")
_ONLY_DENSITY_KEYS = ("grid", "n_components", "tolerance")
# Keys of the columns of a histogram.
BINS = ("low", "high", "count")
# Keys that a histogram cannot have, since its bins already define the values and their numbers.
_NOT_OF_BINS = (
    "value",
    "weight",
    "weight_kind",
    "limit_flag",
    "upper_limit",
    "lower_limit",
    "truncated",
    "detection",
    "membership",
    "rounding",
)


@dataclass(frozen=True)
class CatalogSettings:
    """One entry of `catalogs`; releases map a name to files and patterns, oldest release first.

    The `columns` of values, the `densities` and the `joints` are separate, each in the order of the file. The `looks`
    are what is set for the figures of a column, by its name, with the keys of `mixpipe.report.figures.look.Look`.
    """

    name: str
    releases: dict[str, tuple[Path, ...]]
    columns: tuple[ColumnSettings, ...]
    densities: tuple[DensitySettings, ...] = ()
    joints: tuple[JointSettings, ...] = ()
    key: str | None = _default("catalog", "key")
    format: str = _default("catalog", "format")
    hdu: int | str | None = _default("catalog", "hdu")
    path: str | None = _default("catalog", "path")
    comment: str | None = _default("catalog", "comment")
    delimiter: str | None = _default("catalog", "delimiter")
    decimal: str | None = _default("catalog", "decimal")
    missing: tuple[float | str, ...] = _default("catalog", "missing")
    where: str | None = _default("catalog", "where")
    looks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def column(self, name: str) -> ColumnSettings:
        """The column of values with this name."""
        return next(column for column in self.columns if column.name == name)

    def joint(self, name: str) -> JointSettings:
        """The joint entry with this name."""
        return next(joint for joint in self.joints if joint.name == name)

    def density(self, name: str) -> DensitySettings:
        """The column of densities with this name."""
        return next(column for column in self.densities if column.name == name)


@dataclass(frozen=True)
class Settings:
    """The `settings` section, which applies to all fits of a run."""

    max_components: int = _default("settings", "max_components")
    criterion: str = _default("settings", "criterion")
    estimators: tuple[str, ...] = _default("settings", "estimators")
    bootstrap: int = _default("settings", "bootstrap")
    quality_draws: int = _default("settings", "quality_draws")
    profile: bool | str = _default("settings", "profile")
    likelihood_ratio: int = _default("settings", "likelihood_ratio")
    exact_finish: bool = _default("settings", "exact_finish")
    fits_members: bool = _default("settings", "fits_members")
    seed: int = _default("settings", "seed")
    style: str | None = _default("settings", "style")


@dataclass(frozen=True)
class Config:
    """The configuration of a whole run."""

    results: Path
    catalogs: tuple[CatalogSettings, ...]
    settings: Settings

    def catalog(self, name: str) -> CatalogSettings:
        """The catalog with this name."""
        return next(catalog for catalog in self.catalogs if catalog.name == name)


def load_config(path: str | Path, results: str | None = None) -> Config:
    """Read a configuration file.

    Parameters
    ----------
    path : str or Path
        A YAML file.
    results : str or None
        Folder of results in place of that in the file.

    Raises
    ------
    ConfigError
        For a file that cannot be read, or for the first key that is unknown, missing, given twice or has an invalid
        value.
    """
    mapping = read_yaml(Path(path))[0]
    config = parse_config(mapping, [path])
    if results is None:
        return config

    def where(path: KeyPath, key: str | None = None) -> str:
        return "in option --results"

    check(with_keywords(_with_text_keys({**mapping, "results": results}, (), where)), where)
    return replace(config, results=_results(results, lambda key: where((), key)))


def parse_config(mapping: object, files: Sequence[str | Path] = ()) -> Config:
    """Check a configuration that has been loaded already.

    Parameters
    ----------
    mapping : mapping
        Nested keys and values, as from YAML.
    files : sequence of str or Path
        The files from which it was loaded, so that errors can name the line of a mistake. If several files set the same
        key, the last one counts; files without any of the keys are ignored.

    Raises
    ------
    ConfigError
        See `load_config`.

    Examples
    --------
    >>> stars = {"releases": {2018: "stars.csv"}, "columns": {"mass": None}}
    >>> config = parse_config({"catalogs": {"stars": stars}})
    >>> config.catalogs[0].releases
    {'2018': (PosixPath('stars.csv'),)}
    >>> parse_config({"catalogs": {"stars": {**stars, "colums": {}}}})
    Traceback (most recent call last):
    mixpipe.base.errors.ConfigError: unknown key 'colums', in the configuration (catalogs.stars), expected one of
    releases, columns, joint, key, format, hdu, path, comment, delimiter, decimal, missing, where (did you mean
    'columns'?)
    """
    lines: Lines = {}
    shown: list[str] = []
    for file in (_shown(Path(file)) for file in files):
        content, found = read_yaml(file)
        if not (isinstance(content, Mapping) and isinstance(mapping, Mapping)) or content.keys() & mapping.keys():
            shown.append(str(file))
            lines |= found

    template = lines.get(("__use_yte__",))
    if template and isinstance(mapping, Mapping) and "__use_yte__" not in mapping:
        # Snakemake removes this key after it has acted on it.
        expected = "no such key: `mixpipe check` refuses such a file before anything in it runs"
        raise ConfigError("key '__use_yte__' has let Python run that stands in the file", f"in {template}", expected)

    def where(path: KeyPath, key: str | None = None) -> str:
        full = path if key is None else (*path, key)
        nearest = (lines[full[:size]] for size in range(len(full), 0, -1) if full[:size] in lines)
        place = next(nearest, shown[-1] if shown else "the configuration")
        section = ".".join(map(str, path))
        return f"in {place} ({section})" if section else f"in {place}"

    checked = with_keywords(_with_text_keys(mapping, (), where))
    check(checked, where)
    given = {**defaults("run"), **checked}
    settings = _settings(given["settings"] or {})
    _distinct(given["catalogs"], ("catalogs",), where)
    return Config(
        results=_results(given["results"], partial(where, ())),
        catalogs=tuple(_catalog(name, entry, settings, where) for name, entry in given["catalogs"].items()),
        settings=settings,
    )


def _results(given: str, where: Callable[[str], str]) -> Path:
    """The folder of results, which must not contain anything else, as the working folder would."""
    path = Path(given).expanduser()
    full = Path(os.path.realpath(path))
    if Path.cwd().is_relative_to(full) and Path.cwd() != full / RECORDS:
        raise ConfigError(
            f"found {given}, the working folder or one around it", where("results"), "a folder of its own"
        )
    return path


def _settings(given: Mapping[str, Any]) -> Settings:
    keys = {**defaults("settings"), **given}
    return Settings(
        max_components=int(keys["max_components"]),
        criterion=keys["criterion"],
        estimators=tuple(keys["estimators"]),
        bootstrap=int(keys["bootstrap"]),
        quality_draws=int(keys["quality_draws"]),
        profile=keys["profile"],
        likelihood_ratio=int(keys["likelihood_ratio"]),
        exact_finish=keys["exact_finish"],
        fits_members=keys["fits_members"],
        seed=int(keys["seed"]),
        style=keys["style"],
    )


def _catalog(name: str, given: Mapping[str, Any], settings: Settings, where: Where) -> CatalogSettings:
    keys = {**defaults("catalog"), **given}
    for part in ("releases", "columns"):
        _distinct(keys[part], ("catalogs", name, part), where)
    _distinct({**keys["columns"], **keys["joint"]}, ("catalogs", name, "joint"), where)
    if not keys["columns"] and not keys["joint"]:
        expected = "columns: The columns to fit; or joint: groups of columns to fit jointly"
        raise ConfigError("no key 'columns'", where(("catalogs", name)), expected)
    releases = {
        release: tuple(Path(file) for file in ([files] if isinstance(files, str) else files))
        for release, files in keys.pop("releases").items()
    }
    compared = Counter(comparison_name(*pair) for pair in pairwise(releases))
    twice = next((folder for folder, number in compared.items() if number > 1), None)
    if twice is not None:
        what = f"releases of which two pairs are compared in one folder, {twice!r}"
        raise ConfigError(what, where(("catalogs", name, "releases")), "other names")
    columns, densities, looks = [], [], {}
    entries = keys.pop("columns")
    for column, entry in entries.items():
        place = partial(where, ("catalogs", name, "columns", column))
        look = _look(entry or {}, place)
        if look:
            looks[column] = look
        if (entry or {}).get("kind") == "densities":
            densities.append(_density(column, entry, settings, place))
        else:
            columns.append(_column(column, entry or {}, settings, place))
    joints = []
    for joint, entry in keys.pop("joint").items():
        place = partial(where, ("catalogs", name, "joint", joint))
        if joint in entries:
            raise ConfigError(f"{joint!r} is an entry of `columns`, too", place(), "another name")
        joints.append(_joint(joint, entry, columns, settings, place))
        _check_names_of_combinations(joints[-1], {*entries, *entry["columns"]}, place)
    missing = keys["missing"] if isinstance(keys["missing"], list) else [keys["missing"]]
    keys["missing"] = tuple(value if isinstance(value, str) else float(value) for value in missing)
    return CatalogSettings(
        name=name,
        releases=releases,
        columns=tuple(columns),
        densities=tuple(densities),
        joints=tuple(joints),
        looks=looks,
        **keys,
    )


def _joint(
    name: str,
    given: Mapping[str, Any],
    entries: Sequence[ColumnSettings],
    settings: Settings,
    where: Callable[..., str],
) -> JointSettings:
    keys = {**defaults("joint"), **given}
    known = {column.name: column for column in entries}
    names = keys["columns"]
    for column in keys["error"]:
        if column not in names:
            raise ConfigError(f"an error of {column!r}", where("error"), f"one of {', '.join(names)}")
        if column in known:
            raise ConfigError(f"{column!r} is an entry of `columns`", where("error"), "its error there")
    columns = tuple(
        known[column]
        if column in known
        else _column(column, {"error": keys["error"].get(column)}, settings, partial(_inner, where, "error"))
        for column in names
    )
    for column in columns:
        _check_joint(column, where)
    covariance = keys["covariance"]
    if covariance is not None:
        if keys["correlation"] or any(column.error is not None or column.error_floor for column in columns):
            raise ConfigError("errors beside `covariance`", where("covariance"), "one or the other")
        covariance = (covariance,) if isinstance(covariance, str) else tuple(covariance)
        n_packed = len(names) * (len(names) + 1) // 2
        if len(covariance) not in (1, n_packed):
            expected = f"one of arrays, or {n_packed} for {len(names)} columns"
            raise ConfigError(f"{len(covariance)} columns of covariances", where("covariance"), expected)
    predict = keys["predict"] or {"given": (), "of": ()}
    joint = JointSettings(
        name=name,
        columns=columns,
        correlation=_correlations(keys["correlation"], columns, where),
        covariance=covariance,
        missing=keys["missing"],
        weight=keys["weight"],
        weight_kind=keys["weight_kind"],
        structure=keys["structure"],
        linear=None if keys["linear"] is None else _combinations(keys["linear"], columns, where),
        max_components=int(keys["max_components"] or settings.max_components),
        given=tuple(predict["given"]),
        predicted=tuple(predict["of"]),
    )
    wrong = next((column for column in (*joint.given, *joint.predicted) if column not in joint.names), None)
    if wrong is not None:
        raise ConfigError(f"{wrong!r} is not fitted", where("predict"), f"one of {', '.join(joint.names)}")
    both = next((column for column in joint.predicted if column in joint.given), None)
    if both is not None:
        raise ConfigError(f"{both!r} is given and predicted", where("predict"), "one or the other")
    twice = next(_repeated(joint.names), None)
    if twice is not None:
        what = f"names that lead to two columns {twice!r} in the tables of results"
        raise ConfigError(what, where("columns" if joint.linear is None else "linear"), "other names")
    return joint


def comparison_name(old: str, new: str) -> str:
    """The folder of a comparison of two releases."""
    return f"{old}_to_{new}"


def _repeated(names: Sequence[str]) -> Iterator[str]:
    """Names that two columns would have in a table of a joint fit, in which names are joined by underscores."""
    pairs = [f"{first}_{second}" for first, second in combinations(names, 2)]
    for of_columns, of_pairs in (
        (("mean_{}", "mean_{}_unc", "sigma_{}", "sigma_{}_unc", "unit_{}"), ("corr_{}", "corr_{}_unc")),
        (("value_{}", "err_{}", "true_mean_{}", "true_unc_{}"), ("err_corr_{}", "true_corr_{}")),
        (("mean_{}", "unc_{}"), ("corr_{}",)),
    ):
        counts = Counter(form.format(name) for name in names for form in of_columns)
        counts.update(form.format(pair) for pair in pairs for form in of_pairs)
        yield from (name for name, number in counts.items() if number > 1)


def _inner(where: Callable[..., str], outer: str, key: str | None = None) -> str:
    del key
    return where(outer)


def _check_joint(column: ColumnSettings, where: Callable[..., str]) -> None:
    """Refuse a column of which a joint fit would have to leave something out."""
    if column.error_model not in (None, "symmetric"):
        what = f"column {column.name!r} has error_model {column.error_model}, but errors of a joint fit are Gaussian"
        raise ConfigError(what, where("columns"), "error_model symmetric, or none: the mean of a pair of errors")
    if column.kind != "values":
        what = f"column {column.name!r} is of kind {column.kind}, but a joint fit takes values and Gaussian errors"
        raise ConfigError(what, where("columns"), "columns of values")
    key = next(
        (key for key in _NOT_JOINT if getattr(column, key) is not None), "rounding" if column.is_rounded else None
    )
    if column.error_scale == "fit":
        raise ConfigError(f"column {column.name!r} has error_scale fit", where("columns"), "a number in a joint fit")
    if key is not None:
        what = f"column {column.name!r} has {key}, which a joint fit does not respect"
        other = "`weight` of the joint entry" if key == "weight" else "a column without it"
        raise ConfigError(what, where("columns"), other)


def _correlations(
    given: Any, columns: Sequence[ColumnSettings], where: Callable[..., str]
) -> tuple[tuple[str, str, str | float], ...]:
    names = [column.name for column in columns]
    if given == "gaia":
        found = [
            (first.name, second.name, gaia_correlation(first.value, second.value))
            for place, first in enumerate(columns)
            for second in columns[place + 1 :]
        ]
        known = tuple((first, second, name) for first, second, name in found if name is not None)
        if not known:
            expected = "two of ra, dec, parallax, pmra, pmdec, or of RA_ICRS, DE_ICRS, Plx, pmRA, pmDE; or a list"
            raise ConfigError(f"no correlations of Gaia's for {', '.join(names)}", where("correlation"), expected)
        return known
    pairs: dict[frozenset[str], tuple[str, str, str | float]] = {}
    for first, second, value in given:
        for column in (first, second):
            if column not in names:
                raise ConfigError(f"a correlation of {column!r}", where("correlation"), f"one of {', '.join(names)}")
        pair = frozenset((first, second))
        if len(pair) == 1 or pair in pairs:
            what = f"a correlation of {first!r} and {second!r}" + (" given twice" if pair in pairs else "")
            raise ConfigError(what, where("correlation"), "each pair of different columns at most once")
        pairs[pair] = (first, second, value if isinstance(value, str) else float(value))
    return tuple(pairs.values())


def _combinations(
    given: Mapping[str, Mapping[str, float]], columns: Sequence[ColumnSettings], where: Callable[..., str]
) -> tuple[tuple[str, tuple[float, ...]], ...]:
    names = [column.name for column in columns]
    for combination, coefficients in given.items():
        wrong = next((column for column in coefficients if column not in names), None)
        if wrong is not None:
            raise ConfigError(f"{combination!r} is of {wrong!r}", where("linear"), f"columns among {', '.join(names)}")
    floored = next((column.name for column in columns if column.sigma_floor is not None), None)
    if floored is not None:
        raise ConfigError(f"column {floored!r} has a sigma_floor", where("linear"), "none beside `linear`")
    return tuple((name, tuple(float(of.get(column, 0.0)) for column in names)) for name, of in given.items())


def _check_names_of_combinations(joint: JointSettings, taken: Collection[str], where: Callable[..., str]) -> None:
    """Refuse a combination that has the name of a column and is another quantity: results are known by their names."""
    names = [column.name for column in joint.columns]
    for name, coefficients in joint.linear or ():
        if name in taken and coefficients != tuple(float(column == name) for column in names):
            what = f"combination {name!r} has the name of a column and is not that column"
            alone = f", or {{{name}: 1}}" if name in names else ""
            raise ConfigError(what, where("linear"), f"another name{alone}")


def _look(given: Mapping[str, Any], where: Callable[[str], str]) -> dict[str, Any]:
    """What is set for the figures of a column."""
    keys = {"label": given.get("label"), **(given.get("figure") or {})}
    ends = keys.get("range")
    if ends is not None and not ends[0] < ends[1]:
        raise ConfigError(f"range {ends} of a figure", where("figure"), "two increasing numbers")
    return {key: value for key, value in keys.items() if value is not None}


def _column(name: str, given: Mapping[str, Any], settings: Settings, where: Callable[[str], str]) -> ColumnSettings:
    for key in _ONLY_DENSITY_KEYS:
        if key in given:
            raise ConfigError(f"key {key!r} for a column of values", where(key), "`kind: densities` beside it")
    keys = {**defaults("column"), **given}
    for key in (*_ONLY_DENSITY_KEYS, *_LOOK_KEYS):
        del keys[key]
    _check_samples(keys, given, where)
    if keys["bins"] is not None:
        _check_alone(given, where)
        keys["bins"] = tuple(keys["bins"][part] for part in BINS)
        keys["value"] = keys["bins"][0]
    keys["value"] = keys["value"] or name
    error = keys["error"]
    if isinstance(error, list):
        keys["error"] = tuple(error)
    elif isinstance(error, int | float):
        keys["error"] = float(error)
    elif isinstance(error, str) and keyword(error) == "none":
        keys["error"] = None
    keys["error_dof"] = None if keys["error_dof"] is None else float(keys["error_dof"])
    _check_error_model(keys, where)
    keys["error_floor"] = float(keys["error_floor"])
    if keys["error_scale"] != "fit":
        keys["error_scale"] = float(keys["error_scale"])
    elif keys["error"] is None and not keys["error_floor"]:
        raise ConfigError("error_scale fit without errors", where("error_scale"), "error: the column with the errors")
    keys["sigma_floor"] = None if keys["sigma_floor"] is None else float(keys["sigma_floor"])
    keys["truncated"] = _truncation(keys["truncated"], where)
    keys["detection"] = _detection(keys["detection"], where)
    background = keys["background"]
    keys["background"] = None if background == "none" else background
    if isinstance(background, list):
        keys["background"] = _bounds(background, "background", where)
    keys["families"], keys["mixed"] = tuple(keys["families"]), tuple(keys["mixed"])
    if isinstance(keys["membership"], list):
        keys["membership"] = tuple(keys["membership"])
    keys["max_components"] = int(keys["max_components"] or settings.max_components)
    keys["estimators"] = tuple(keys["estimators"] or settings.estimators)
    if keys["sigma_floor"] is not None and "em" not in keys["estimators"]:
        raise ConfigError("a sigma_floor without maximum likelihood", where("sigma_floor"), "em among the estimators")
    _check_rounding(keys, where)
    for key in ("constraints", "start"):
        _check_components(keys[key], key, where)
    return ColumnSettings(name=name, **keys)


# Keys that samples of posteriors cannot have: they are values and errors in one, and have no observed value.
_NOT_OF_SAMPLES = (
    "bins",
    "error",
    "error_kind",
    "error_model",
    "error_dof",
    "error_scale",
    "error_floor",
    "limit_flag",
    "upper_limit",
    "lower_limit",
    "truncated",
    "membership",
    "rounding",
)


def _check_samples(keys: Mapping[str, Any], given: Mapping[str, Any], where: Callable[[str], str]) -> None:
    """Refuse keys that samples cannot have, and a prior of samples where there are none."""
    if keys["kind"] != "samples":
        if keys["sample_prior"] is not None:
            raise ConfigError("sample_prior without samples", where("sample_prior"), "`kind: samples` beside it")
        return
    other = next((key for key in _NOT_OF_SAMPLES if given.get(key) is not None), None)
    if other is not None:
        what = f"key {other!r} with kind samples"
        raise ConfigError(what, where(other), f"samples without {', '.join(_NOT_OF_SAMPLES)}")


# Keys that rounded values cannot have, since their likelihood is that of intervals.
_NOT_OF_ROUNDED = ("bins", "limit_flag", "upper_limit", "lower_limit", "truncated", "detection")


def _check_rounding(keys: dict[str, Any], where: Callable[[str], str]) -> None:
    """Refuse keys that values which are said to be rounded cannot have."""
    if isinstance(keys["rounding"], str):
        if keys["rounding"] in ("auto", "none"):
            return
    else:
        keys["rounding"] = float(keys["rounding"])
    other = next((key for key in _NOT_OF_ROUNDED if keys[key] is not None), None)
    if other is not None:
        raise ConfigError(f"key {other!r} beside `rounding`", where(other), f"none of {', '.join(_NOT_OF_ROUNDED)}")
    if keys["error_model"] == "student_t" or (isinstance(keys["error"], tuple) and keys["error_model"] != "symmetric"):
        what = "errors that are not symmetric Gaussians beside `rounding`"
        raise ConfigError(what, where("rounding"), "one error for each row, or error_model symmetric")
    if "em" not in keys["estimators"]:
        raise ConfigError("rounding without maximum likelihood", where("rounding"), "em among the estimators")


def _check_components(given: Mapping[str, Any] | None, key: str, where: Callable[[str], str]) -> None:
    """Refuse constraints and starts that no mixture can have, before anything is read."""
    if given is None:
        return
    # Imported here, since most configurations have neither.
    from mixpipe.model.constraints import as_constraints, check_start

    try:
        as_constraints(**given) if key == "constraints" else check_start(given)
    except ValueError as error:
        raise ConfigError(str(error).partition(", expected")[0], where(key), _expected(error)) from error


def _expected(error: ValueError) -> str:
    return str(error).partition("expected ")[2] or "numbers that a mixture can have"


def _check_error_model(keys: Mapping[str, Any], where: Callable[[str], str]) -> None:
    """Refuse an error model that the errors of a column do not have."""
    model, pair = keys["error_model"], isinstance(keys["error"], tuple)
    if model == "two_sided" and not pair:
        raise ConfigError("error_model two_sided without a pair of errors", where("error_model"), "error: [UP, LO]")
    if model == "student_t" and (pair or keys["error"] is None):
        what = "error_model student_t with " + ("a pair of errors" if pair else "no errors")
        raise ConfigError(what, where("error_model"), "one error for each row")
    if (model == "student_t") != (keys["error_dof"] is not None):
        what = "error_model student_t without error_dof" if model == "student_t" else "error_dof without student_t"
        expected = "both: error_model student_t, and error_dof for its degrees of freedom"
        raise ConfigError(what, where("error_dof" if keys["error_dof"] is not None else "error_model"), expected)
    if keys["bins"] is not None and model not in (None, "symmetric"):
        raise ConfigError(f"error_model {model} for a histogram", where("error_model"), "error_model symmetric")


def _check_alone(given: Mapping[str, Any], where: Callable[[str], str]) -> None:
    """Refuse keys that a histogram cannot have."""
    other = next((key for key in _NOT_OF_BINS if given.get(key) is not None), None)
    if other is not None:
        raise ConfigError(
            f"key {other!r} beside `bins`", where(other), f"a histogram without {', '.join(_NOT_OF_BINS)}"
        )


def _density(name: str, given: Mapping[str, Any], settings: Settings, where: Callable[..., str]) -> DensitySettings:
    other = next((key for key in given if key not in _DENSITY_KEYS), None)
    if other is not None:
        expected = f"one of {', '.join(_DENSITY_KEYS)}"
        raise ConfigError(f"key {other!r} for a column of densities", where(other), expected)
    keys = {**defaults("column"), **given}
    grid = keys["grid"]
    if grid is None:
        raise ConfigError("no key 'grid' for a column of densities", where(), "grid: where their abscissae are")
    if isinstance(grid, list):
        n_names = sum(isinstance(entry, str) for entry in grid)
        if n_names and not n_names == len(grid) == 2:
            expected = "numbers, or the columns with the lower and the upper edges of bins"
            raise ConfigError("a grid that is no list of numbers", where("grid"), expected)
        grid = tuple(grid if n_names else map(float, grid))
        if not n_names and any(after <= before for before, after in pairwise(grid)):
            raise ConfigError("the grid does not increase", where("grid"), "increasing numbers")
    return DensitySettings(
        name=name,
        value=keys["value"] or name,
        grid=grid,
        unit=keys["unit"],
        n_components=keys["n_components"],
        max_components=int(keys["max_components"] or settings.max_components),
        tolerance=float(keys["tolerance"]),
    )


def _truncation(given: list[Any] | None, where: Callable[[str], str]) -> tuple[Any, ...] | None:
    """A pair of bounds, or several; numbers increase, and columns are left for the rows."""
    if given is None:
        return None
    pairs = given if isinstance(given[0], list) else [given]
    ends = (-math.inf, math.inf)
    found = tuple(
        tuple(
            bound if isinstance(bound, str) else end if bound is None else float(bound)
            for bound, end in zip(pair, ends, strict=True)
        )
        for pair in pairs
    )
    numbers = [bound for pair in found for bound in pair if not isinstance(bound, str)]
    unknown = any(math.isnan(bound) for bound in numbers)
    shared = [after == before for (_, before), (after, _) in pairwise(found)]
    if (
        unknown
        or any(not before <= after for before, after in pairwise(numbers))
        or any(low == high for low, high in found if not isinstance(low, str))
    ):
        expected = "two increasing numbers, at most one of them null"
        if len(found) > 1:
            expected = "pairs of increasing numbers, in order, of which only the first and the last may be null"
        raise ConfigError(f"found {given}", where("truncated"), expected)
    if found == (ends,) or any(shared):
        what = "two increasing numbers, at most one of them null"
        raise ConfigError(f"found {given}", where("truncated"), what if len(found) == 1 else "a hole between pairs")
    return found[0] if len(found) == 1 else found


def _detection(
    given: Mapping[str, list[float]] | None, where: Callable[[str], str]
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Values and their probabilities."""
    if given is None:
        return None
    values, probabilities = (tuple(map(float, given[name])) for name in ("value", "probability"))
    if len(values) != len(probabilities):
        what = f"{len(values)} values and {len(probabilities)} probabilities"
        raise ConfigError(what, where("detection"), "one probability for each value")
    if not all(map(math.isfinite, values)) or any(after <= before for before, after in pairwise(values)):
        raise ConfigError("values that are not finite or do not increase", where("detection"), "increasing values")
    if not all(0.0 <= probability <= 1.0 for probability in probabilities):
        raise ConfigError("a probability that is none", where("detection"), "probabilities from 0 to 1")
    if not any(probabilities):
        raise ConfigError("a probability of zero everywhere", where("detection"), "at least one probability > 0")
    return values, probabilities


def _bounds(given: list[float | None] | None, key: str, where: Callable[[str], str]) -> tuple[float, float] | None:
    """Two bounds, infinite where they are left open."""
    if given is None:
        return None
    low = -math.inf if given[0] is None else float(given[0])
    high = math.inf if given[1] is None else float(given[1])
    if not low < high or (low, high) == (-math.inf, math.inf):
        raise ConfigError(f"found {given}", where(key), "two increasing numbers, at most one of them null")
    return low, high


def _distinct(names: Mapping[str, Any], path: KeyPath, where: Where) -> None:
    """Refuse names that differ only in case, since they become folders, which some file systems do not distinguish."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise ConfigError(
                f"{name!r} and {other!r} differ in capitals only",
                where(path, name),
                "names that differ otherwise",
            )


def _with_text_keys(value: Any, path: KeyPath, where: Where) -> Any:
    """Plain mappings whose keys are text; YAML reads a release called 2018 as a number."""
    if len(path) > DEEPEST:  # a YAML alias may contain itself
        raise ConfigError("keys are nested too deeply", where(path[:DEEPEST]), f"at most {DEEPEST} levels")
    if isinstance(value, Mapping):
        result = {}
        for key, entry in value.items():
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise ConfigError(f"key {key} is not text to YAML", where(path), "quotes around it")
            if str(key) in result:
                raise ConfigError(f"key {str(key)!r} is given twice", where(path, str(key)), "each key once")
            result[str(key)] = _with_text_keys(entry, (*path, str(key)), where)
        return result
    if isinstance(value, list | tuple):
        return [_with_text_keys(entry, (*path, index), where) for index, entry in enumerate(value)]
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ConfigError("half of a character (a surrogate) in a text", where(path), "whole characters")
    return value


def _shown(path: Path) -> Path:
    """The path relative to the working directory if it is below it, since Snakemake makes all paths absolute."""
    full = path.absolute()
    return full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else path
