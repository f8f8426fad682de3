"""What fit.json says of a column, as types. No other module writes it, reads it or spells its keys.

A column has one of these records: of a fit to its values, of the fits to its tabulated densities, of a fit to several
columns jointly, or of why nothing could be fitted. The attributes have the names of the keys, and hold what JSON can
hold: a number that is not finite is None. The file begins with the version of its format. A file without one was
written before there were versions; it is read if it has what is needed. A file of a later version is refused, since
what its keys mean is not known here.

Imports are light: every stage of the workflow reads records, and few of them depend on the numerics.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from mixpipe.base.decoding import DecodeError, decode, shown
from mixpipe.base.errors import CatalogError
from mixpipe.base.files import json_text, strict, write_json

# The version of the format: one larger whenever a key is added, is given up or changes its meaning.
VERSION = 2
_VERSION_KEY = "record"

FILE = "fit.json"
# What was expected of a file that is no record, or none of a fit to values; the way out is the same.
EXPECTED = f"the fit.json of a fit (version {VERSION} of its format), or its folder: run the fit again"
_EXPECTED_FIT = "the fit.json of a fit to a column of values, or its folder"
_EXPECTED_JOINT = "the fit.json of a joint fit, or its folder"
EXPECTED_VALUES = EXPECTED.replace("a fit (", "a fit to a column of values (")


class RecordError(CatalogError):
    """A fit.json that is there and cannot be used: damaged, or of another version. Running the fit again mends it."""


class LaterRecordError(RecordError):
    """A fit.json of a later version than is known here."""


@dataclass(frozen=True)
class _Part:
    """A part of a record: its fields are keys of the file, in the same order."""

    def __post_init__(self) -> None:
        values = vars(self)
        for name, value in values.items():
            plain = strict(value)
            values[name] = tuple(plain) if isinstance(plain, list) else plain

    def _keys(self) -> Iterable[str]:
        """The keys that the file has."""
        return (each.name for each in fields(self))

    def contents(self) -> dict[str, Any]:
        """The part as plain values for JSON."""
        return {name: _plain(getattr(self, name)) for name in self._keys()}


def _without_unset(part: _Part, names: Iterable[str], *optional: str) -> Iterable[str]:
    """The keys without those of the optional ones that are not set."""
    return (name for name in names if name not in optional or getattr(part, name) is not None)


def _plain(value: Any) -> Any:
    if isinstance(value, _Part):
        return value.contents()
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


@dataclass(frozen=True, kw_only=True)
class SourceFile(_Part):
    """A file that the rows come from."""

    path: str
    n_rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Failure(_Part):
    """Why nothing could be fitted: the parts of a `MixpipeError`."""

    what: str
    where: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class ComponentRecord(_Part):
    """A component of the chosen fit, as in components.csv, with the rows that its mean and sigma rest on."""

    weight: float
    weight_unc: float | None
    mean: float
    mean_unc: float | None
    sigma: float
    sigma_unc: float | None
    boundary: bool
    sigma_upper: float | None
    family: str
    shape: float | None
    shape_unc: float | None
    effective_rows: float | None = None
    constraint: dict[str, Any] | None = None

    def _keys(self) -> Iterable[str]:
        return _without_unset(self, super()._keys(), "constraint")


@dataclass(frozen=True, kw_only=True)
class StartComponent(_Part):
    """A component of the mixture that a fit was climbed from."""

    weight: float
    mean: float
    sigma: float
    family: str
    shape: float | None
    constraint: dict[str, Any] | None = None

    def _keys(self) -> Iterable[str]:
        return _without_unset(self, super()._keys(), "constraint")


@dataclass(frozen=True, kw_only=True)
class StartRecord(_Part):
    """The fit of another release that was climbed from beside the search.

    Parameters
    ----------
    release : str
        That release.
    won : bool
        Whether the search alone found less.
    gain : float, optional
        By how many nats, if it has won.
    components : tuple of StartComponent, optional
        The mixture, if it has won.
    """

    release: str
    won: bool
    gain: float | None = None
    components: tuple[StartComponent, ...] = ()

    def _keys(self) -> Iterable[str]:
        return ("release", "won", "gain", "components") if self.won else ("release", "won")


@dataclass(frozen=True, kw_only=True)
class ResolutionRecord(_Part):
    """What the values resolve; see `mixpipe.model.resolution.Resolution`."""

    floor: float
    cause: str
    grain: float
    step: float
    smallest_error: float
    n_rows: float
    n_repeated: float
    first_row: str | None
    finest: float | None = None

    def _keys(self) -> Iterable[str]:
        return _without_unset(self, super()._keys(), "finest")


@dataclass(frozen=True, kw_only=True)
class SelectionRow(_Part):
    """One of the fits that were chosen from, as in selection.csv."""

    n_components: int
    n_params: int
    loglik: float | None
    bic: float | None
    aic: float | None
    icl: float | None
    delta_bic: float | None
    converged: bool
    selected: bool
    gradient_max: float | None
    loglik_bound: float | None
    bound_sigma: float | None
    family: str
    bic_weight: float | None
    exact: bool
    occam: float | None


@dataclass(frozen=True, kw_only=True)
class QualityRecord(_Part):
    """How well the chosen fit describes the data; see `mixpipe.assess.quality.Quality`."""

    ks: float | None
    ks_pvalue: float | None
    ad: float | None
    ad_pvalue: float | None
    verdict: str


@dataclass(frozen=True, kw_only=True)
class EstimateRow(_Part):
    """A component as an estimator finds it, as in estimators.csv, without the seconds, which never come again.

    The uncertainty of the mean is there if it is known.
    """

    estimator: str
    component: int
    weight: float
    mean: float
    sigma: float
    loglik: float | None
    mean_unc: float | None = None

    def _keys(self) -> Iterable[str]:
        return _without_unset(self, super()._keys(), "mean_unc")


@dataclass(frozen=True, kw_only=True)
class IntervalRow(_Part):
    """An interval of a parameter, as in intervals.csv."""

    method: str
    component: int
    parameter: str
    estimate: float | None
    level: float
    lower: float | None
    upper: float | None
    preferred: bool = True


@dataclass(frozen=True, kw_only=True)
class BimodalityRecord(_Part):
    """Evidence for two populations; see `mixpipe.assess.bimodality.Bimodality`."""

    n_selected: int
    family: str
    separation: float | None
    separation_unc: float | None
    likelihood_ratio: float | None
    likelihood_ratio_pvalue: float | None
    n_draws: int
    dip: float | None
    dip_pvalue: float | None
    kurtosis: float | None
    kurtosis_intrinsic: float | None
    n_values: int


@dataclass(frozen=True, kw_only=True)
class WindowRecord(_Part):
    """A window that is not one interval for all rows; see `mixpipe.model.window.Window`.

    Intervals of rows with bounds of their own are in members.parquet, and those here are of the first row. An infinite
    bound is None.
    """

    by_row: bool
    intervals: tuple[tuple[float | None, float | None], ...]
    values: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Spread(_Part):
    """A number that every row of a column of densities has: its median and its largest value."""

    median: float | None
    largest: float | None


@dataclass(frozen=True, kw_only=True)
class ExampleRecord(_Part):
    """A tabulated density and its mixture: the ``best``, ``median`` or ``worst`` fit of a column.

    The density that was fitted is the mixture truncated at the bounds `truncated`. Histograms have `edges`.
    """

    which: str
    row: Any
    ks: float
    weights: tuple[float, ...]
    means: tuple[float, ...]
    sigmas: tuple[float, ...]
    grid: tuple[float, ...]
    density: tuple[float | None, ...]
    truncated: tuple[float, float] | None = None
    edges: tuple[float, ...] | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds at which the mixture is truncated; older files have none."""
        return (-math.inf, math.inf) if self.truncated is None else self.truncated


@dataclass(frozen=True, kw_only=True)
class AccountRecord(_Part):
    """What became of the rows of a column.

    Parameters
    ----------
    column : str
        The column.
    n_read, n_used : int
        Rows of the files, and those that were used.
    dropped : dict of str to int
        Rows that were not, for each reason.
    n_upper_limits, n_lower_limits : int
        Limits among the rows that were used.
    weight_kind : str or None
        ``counts`` or ``importance``; None without weights.
    n_effective : float or None
        N of the fit; None where it is the number of rows.
    normalisation : str or None
        What densities were normalised to; None for values.
    unit : str or None
        Unit of the values.
    value, error : str, float, tuple of str or None
        Columns of the files, or numbers.
    files : tuple of SourceFile
        The files.
    """

    column: str
    n_read: int
    n_used: int
    dropped: dict[str, int]
    n_upper_limits: int = 0
    n_lower_limits: int = 0
    weight_kind: str | None = None
    n_effective: float | None = None
    normalisation: str | None = None
    unit: str | None
    value: Any
    error: Any
    files: tuple[SourceFile, ...]

    @property
    def n_dropped(self) -> int:
        """Rows that were not used, for any reason."""
        return sum(self.dropped.values())


# Keys of the account that all records have, and where in the file those stand that only some have.
_READ = ("column", "n_read", "n_used", "dropped")
_LIMITS = ("n_upper_limits", "n_lower_limits")
_NAMES = ("unit", "value", "error", "files")


class _Record(_Part):
    """What is common to the records of a column."""

    catalog: str
    release: str
    column: str
    unit: str | None
    account: AccountRecord
    plan: dict[str, Any]

    @property
    def unit_text(self) -> str:
        """The unit as tables have it: nothing without one."""
        return self.unit or ""

    def contents(self) -> dict[str, Any]:
        """The record as plain values for JSON, with the version of the format in front."""
        account = self.account.contents()
        account["files"] = [{name: file[name] for name in self._file_keys()} for file in account["files"]]
        contents = super().contents() | {"account": {name: account[name] for name in self._account_keys()}}
        return {_VERSION_KEY: VERSION, **contents}

    def _account_keys(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _file_keys(self) -> Iterable[str]:
        return ("path", "n_rows", "sha256")

    def to_json(self) -> str:
        """The text of the file."""
        return json_text(self.contents()) + "\n"

    def write(self, path: Path) -> None:
        """Write the file."""
        write_json(self.contents(), path)

    @property
    def label(self) -> str:
        """Catalog, release and column, as far as they have names."""
        return " / ".join(filter(None, (self.catalog, self.release, self.column)))

    @property
    def key(self) -> str | None:
        """Column of the catalog that identifies a row."""
        found: str | None = self.plan["key"]
        return found

    @property
    def transform(self) -> str:
        """Transform of the values."""
        return str(self.plan["column"]["transform"])

    @property
    def error_dof(self) -> float | None:
        """Degrees of freedom of the errors, where they are those of Student's t."""
        found: float | None = self.plan.get("column", {}).get("error_dof")
        return found

    @property
    def effort(self) -> dict[str, Any]:
        """What was to be found out about the chosen fit; nothing of tabulated densities."""
        return dict(self.plan.get("effort", {}))

    @property
    def quality_draws(self) -> int:
        """Catalogs that were drawn for the p-values."""
        return int(self.effort.get("quality_draws", 0))

    @property
    def settings(self) -> dict[str, Any]:
        """How the column was read and fitted: what is set of it, and the key and the cut of its catalog."""
        given = {**self.plan["column"], **{name: self.plan.get(name) for name in ("key", "where")}}
        return {name: value for name, value in given.items() if name != "name" and value is not None}


@dataclass(frozen=True, kw_only=True)
class FitRecord(_Record):
    """The fit of a mixture to a column of values.

    Parameters
    ----------
    catalog, release, column : str
        What was fitted.
    n_data, estimator, n_components, n_params, loglik, entropy, bic, aic, icl, converged, remaining_gain, n_passes, \
    sigma_floor, warnings
        As in `mixpipe.model.results.FitResult`.
    error_scale, error_scale_unc : float or None
        Factor of all errors, and its uncertainty, where it was fitted.
    prior_rows : float or None
        Number of rows that a prior gave each component, if any.
    unit : str or None
        Unit of the values.
    criterion : str
        What chose the number of components.
    resolution : ResolutionRecord or None
        What the values resolve; None in files that were written before this was recorded.
    components : tuple of ComponentRecord
        The chosen mixture, sorted by mean.
    selection : tuple of SelectionRow
        The fits that it was chosen from.
    quality : QualityRecord
        How well it describes the data.
    start : StartRecord or None
        The fit of another release that was climbed from.
    sketch, likelihood_ratio : dict or None
        The sketch of many rows, and the test of one component more.
    estimators : tuple of EstimateRow
        The mixture as each estimator finds it.
    intervals : tuple of IntervalRow
        Intervals of the parameters.
    truncated : tuple of (float or None, float or None), or None
        The lowest and the highest value that any row of the sample could have; an infinite one is None.
    window : WindowRecord or None
        The selection of the sample, unless it is one interval for all rows.
    covariance : tuple of tuple of float, or None
        Covariance of the parameters in the order of `FitResult.parameter_names`; None in files of version 1.
    bimodality : BimodalityRecord or None
        Evidence for two populations; None without a fit with two components.
    account : Account
        What became of the rows.
    plan : dict
        What the fit was made from, as the planning of the run has it.
    command : str or None
        The command that asked for it.
    options : dict or None
        What was given on the command line of `mixpipe fit`.
    versions : dict of str to str
        Versions of the libraries.
    """

    kind: ClassVar[str] = "values"

    catalog: str
    release: str
    column: str
    status: str = "fitted"
    n_data: float
    unit: str | None
    estimator: str
    criterion: str
    n_components: int
    n_params: int
    loglik: float | None
    entropy: float | None
    bic: float | None
    aic: float | None
    icl: float | None
    converged: bool
    remaining_gain: float | None
    n_passes: int
    sigma_floor: float | None
    error_scale: float | None = None
    error_scale_unc: float | None = None
    prior_rows: float | None = None
    resolution: ResolutionRecord | None = None
    components: tuple[ComponentRecord, ...]
    selection: tuple[SelectionRow, ...]
    quality: QualityRecord
    warnings: tuple[str, ...]
    start: StartRecord | None = None
    sketch: dict[str, Any] | None
    estimators: tuple[EstimateRow, ...]
    intervals: tuple[IntervalRow, ...]
    likelihood_ratio: dict[str, Any] | None
    truncated: tuple[float | None, float | None] | None
    window: WindowRecord | None = None
    covariance: tuple[tuple[float | None, ...], ...] | None = None
    bimodality: BimodalityRecord | None = None
    account: AccountRecord
    plan: dict[str, Any]
    command: str | None
    options: dict[str, Any] | None = None
    versions: dict[str, str]

    def _keys(self) -> Iterable[str]:
        return _without_unset(self, super()._keys(), "options", "error_scale", "error_scale_unc", "prior_rows")

    def _account_keys(self) -> tuple[str, ...]:
        return (*_READ, *_LIMITS, "weight_kind", "n_effective", *_NAMES)

    def _file_keys(self) -> Iterable[str]:
        # A run has them from the Parquet files that it has read the catalog into.
        return sorted(super()._file_keys()) if self.options is None else super()._file_keys()

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Bounds of the sample as numbers."""
        if self.truncated is None:
            return None
        low, high = self.truncated
        return -math.inf if low is None else low, math.inf if high is None else high

    @property
    def n_asked(self) -> int | None:
        """The number of components that was asked for; None if it was chosen."""
        found: int | None = (self.options or {}).get("n_components")
        return found

    def differences(self, other: FitRecord) -> Iterator[str]:
        """The keys of numbers, and of words about them, that another record of the fit has otherwise.

        Not those of the making: plan, versions, command, options, and what the files are called. Nor the start, unless
        it has won: otherwise the numbers do not come from it.
        """
        yield from _differences(self, other, {"start"} if self.start is None or not self.start.won else set())


def _differences(one: _Record, other: _Record, left_out: set[str]) -> Iterator[str]:
    making = {"plan", "versions", "command", "options", "account"} | left_out
    for name in sorted({each.name for each in fields(one)} - making):
        if getattr(one, name) != getattr(other, name):
            yield name
    accounts = [each.account.contents() | {"files": None} for each in (one, other)]
    if accounts[0] != accounts[1]:
        yield "account"


@dataclass(frozen=True, kw_only=True)
class DensityRecord(_Record):
    """The fits of mixtures to the rows of a column of tabulated densities.

    Parameters
    ----------
    catalog, release, column, unit, criterion, account, plan, command, versions
        As in `FitRecord`.
    n_data : int
        Rows with a mixture.
    n_components : int
        The largest number of components.
    n_rows : dict of str to int
        Rows with each number of components.
    ks, l2 : Spread
        Largest difference of the cumulative distributions, and integrated squared error.
    normalisation : str
        What most densities were normalised to.
    converged : bool
        Whether all fits have converged.
    n_not_converged : int
        Those that have not.
    warnings : tuple of str
        What a reader has to know.
    examples : tuple of ExampleRecord
        The best, the median and the worst fit.
    truncated : tuple of float or None
        Bounds at which the mixtures are truncated, the ends of the grid; None if the files have several grids.
    means : tuple of float or None
        Quantiles over the rows, 5, 50 and 95 %, of the mean of the heaviest component.
    """

    kind: str = "densities"
    catalog: str
    release: str
    column: str
    status: str = "fitted"
    unit: str | None
    n_data: int
    criterion: str
    n_components: int
    n_rows: dict[str, int]
    ks: Spread
    l2: Spread
    normalisation: str
    converged: bool
    n_not_converged: int
    warnings: tuple[str, ...]
    examples: tuple[ExampleRecord, ...]
    account: AccountRecord
    plan: dict[str, Any]
    command: str | None
    versions: dict[str, str]
    truncated: tuple[float, float] | None = None
    means: tuple[float, float, float] | None = None

    @property
    def abscissa(self) -> str | None:
        """The name of the column or dataset with the grid; None if it is given by numbers or has two columns."""
        grid = self.plan["column"].get("grid")
        return re.split(r"[:/]", grid)[-1] if isinstance(grid, str) else None

    def _account_keys(self) -> tuple[str, ...]:
        return (*_READ, "normalisation", *_NAMES)


@dataclass(frozen=True, kw_only=True)
class JointComponentRecord(_Part):
    """A component of several columns: numbers by column, and matrices as rows.

    Parameters
    ----------
    weight, weight_unc : float
    means, means_unc, sigmas, sigmas_unc : tuple of float
    correlations, correlations_unc, covariances : tuple of tuple of float
        Correlations with a column in which the component has no width are None.
    rank : int
        Directions in which the component has a width.
    null_directions : tuple of tuple of float
        Unit vectors along which it has none.
    null_limits : tuple of float
        Upper limits at 95 % of the widths along them.
    effective_rows : float
    """

    weight: float
    weight_unc: float | None
    means: tuple[float, ...]
    means_unc: tuple[float | None, ...]
    sigmas: tuple[float, ...]
    sigmas_unc: tuple[float | None, ...]
    correlations: tuple[tuple[float | None, ...], ...]
    correlations_unc: tuple[tuple[float | None, ...], ...]
    covariances: tuple[tuple[float, ...], ...]
    rank: int
    null_directions: tuple[tuple[float, ...], ...]
    null_limits: tuple[float | None, ...]
    effective_rows: float | None


@dataclass(frozen=True, kw_only=True)
class PatternRecord(_Part):
    """Rows that have the same columns."""

    columns: tuple[str, ...]
    n_rows: int


@dataclass(frozen=True, kw_only=True)
class JointQualityRecord(_Part):
    """How well a joint fit describes one projection of the data; see `mixpipe.assess.joint_quality`."""

    name: str
    n_rows: int
    ks: float | None
    ks_pvalue: float | None


@dataclass(frozen=True, kw_only=True)
class JointRecord(_Record):
    """The fit of a mixture to several columns jointly.

    Parameters
    ----------
    catalog, release, column, n_data, criterion, n_components, n_params, loglik, entropy, bic, aic, icl, converged, \
    remaining_gain, n_passes, warnings, intervals, likelihood_ratio, account, plan, command, options, versions
        As in `FitRecord`.
    names, units : tuple
        Columns, and the unit of each.
    structure : str
        Of the covariances of the components.
    n_params_by_rank : int
        Parameters if a singular covariance counts those of its rank.
    components : tuple of JointComponentRecord
    parameter_names : tuple of str
        Parameters of the covariance.
    covariance : tuple of tuple of float
        Covariance of the parameters.
    resolutions : tuple of ResolutionRecord
        What the values of each column resolve.
    selection : tuple of SelectionRow
    quality : tuple of JointQualityRecord
    patterns : tuple of PatternRecord
        Rows by the columns that they have.
    unusable : dict of str to dict of str to int
        For each column, its values that count as missing, by reason.
    """

    catalog: str
    release: str
    column: str
    kind: str = "joint"
    status: str = "fitted"
    names: tuple[str, ...]
    units: tuple[str | None, ...]
    unit: str | None = None
    structure: str
    n_data: float
    criterion: str
    n_components: int
    n_params: int
    n_params_by_rank: int
    loglik: float | None
    entropy: float | None
    bic: float | None
    aic: float | None
    icl: float | None
    converged: bool
    remaining_gain: float | None
    n_passes: int
    components: tuple[JointComponentRecord, ...]
    parameter_names: tuple[str, ...]
    covariance: tuple[tuple[float | None, ...], ...]
    resolutions: tuple[ResolutionRecord, ...]
    selection: tuple[SelectionRow, ...]
    quality: tuple[JointQualityRecord, ...]
    warnings: tuple[str, ...]
    intervals: tuple[IntervalRow, ...]
    likelihood_ratio: dict[str, Any] | None
    patterns: tuple[PatternRecord, ...]
    unusable: dict[str, dict[str, int]]
    account: AccountRecord
    plan: dict[str, Any]
    command: str | None
    options: dict[str, Any] | None = None
    versions: dict[str, str]

    def _keys(self) -> Iterable[str]:
        return (name for name in super()._keys() if name != "options" or self.options is not None)

    def _account_keys(self) -> tuple[str, ...]:
        return (*_READ, "weight_kind", "n_effective", *_NAMES)

    @property
    def n_asked(self) -> int | None:
        """The number of components that was asked for; None if it was chosen."""
        found: int | None = (self.options or {}).get("n_components")
        return found

    @property
    def unit_text(self) -> str:
        """The units of the columns; nothing if none has one."""
        return "; ".join(unit or "" for unit in self.units) if any(self.units) else ""

    @property
    def worst_column(self) -> JointQualityRecord | None:
        """The quality of the column that the mixture describes least well; None if there is none."""
        known = [one for one in self.quality if one.name in self.names and one.ks is not None]
        return max(known, key=lambda one: one.ks or 0.0, default=None)

    @property
    def lowest_pvalue(self) -> float:
        """The lowest p-value of all projections; nan if there is none."""
        return min((one.ks_pvalue for one in self.quality if one.ks_pvalue is not None), default=math.nan)

    def differences(self, other: JointRecord) -> Iterator[str]:
        """The keys of numbers, and of words about them, that another record has otherwise; see `FitRecord`."""
        yield from _differences(self, other, set())


@dataclass(frozen=True, kw_only=True)
class FailedRecord(_Record):
    """A column of any kind that nothing could be fitted to: a record in the place of a fit.

    Parameters
    ----------
    catalog, release, column, criterion, start, account, plan, command, versions
        As in `FitRecord`.
    failure : Failure
        Why.
    kind : str
        ``values``, ``densities`` or ``joint``.
    unit, n_data, n_components, converged, warnings
        As of a fit to nothing.
    """

    catalog: str
    release: str
    column: str
    status: str = "failed"
    failure: Failure
    unit: str | None = None
    n_data: int = 0
    n_components: int = 0
    converged: bool = False
    warnings: tuple[str, ...] = ()
    account: AccountRecord
    plan: dict[str, Any]
    command: str | None
    versions: dict[str, str]
    kind: str = "values"
    criterion: str
    start: StartRecord | None = None

    def _keys(self) -> Iterable[str]:
        left_out = "kind" if self.kind == "values" else "start"
        return (name for name in super()._keys() if name != left_out)

    def _account_keys(self) -> tuple[str, ...]:
        return (*_READ, *_NAMES, *{"values": _LIMITS, "densities": ("normalisation",)}.get(self.kind, ()))

    def _file_keys(self) -> Iterable[str]:
        return sorted(super()._file_keys()) if self.kind == "values" else super()._file_keys()

    @property
    def error(self) -> CatalogError:
        """Why nothing could be fitted."""
        return CatalogError(self.failure.what, self.failure.where, self.failure.expected)


Record = FitRecord | DensityRecord | JointRecord | FailedRecord


def load_record(path: str | Path, expected: str = EXPECTED) -> Record:
    """Read a fit.json.

    Parameters
    ----------
    path : path
        The file.
    expected : str
        What was expected, for the message.

    Raises
    ------
    RecordError
        For a file that is damaged, or of a later version.
    CatalogError
        For one that is not there or cannot be read.
    """
    text = _read_text(Path(path), expected)
    record, end = _parse(text, 0, Path(path), expected)
    if end < len(text):
        raise RecordError("no fit (not JSON)", f"in {path}", expected)
    return record


def load_records(path: str | Path) -> Iterator[Record]:
    """Read a file that has several fit.json in a row; the errors are those of `load_record`."""
    text, place = _read_text(Path(path), EXPECTED), 0
    while place < len(text):
        record, place = _parse(text, place, Path(path), EXPECTED)
        yield record


def find_record(path: Path) -> Record | None:
    """Read a fit.json; None if there is none that can be used."""
    try:
        return load_record(path)
    except CatalogError:
        return None


def open_fit(path: str | Path) -> tuple[Path, FitRecord]:
    """Read the record of a fit to a column of values.

    Parameters
    ----------
    path : path
        A fit.json, or the folder that holds it.

    Returns
    -------
    file : Path
        The fit.json.
    record : FitRecord
        What it says.

    Raises
    ------
    CatalogError
        For what `load_record` refuses, a column without a fit, and records of other kinds.
    """
    file, record = open_mixture(path)
    if isinstance(record, JointRecord):
        raise CatalogError("a fit to several columns jointly", f"in {file}", _EXPECTED_FIT)
    return file, record


def open_joint_fit(path: str | Path) -> tuple[Path, JointRecord]:
    """As `open_fit`, for a fit to several columns jointly."""
    file, record = open_mixture(path)
    if isinstance(record, FitRecord):
        raise CatalogError("a fit to one column of values", f"in {file}", _EXPECTED_JOINT)
    return file, record


def open_mixture(path: str | Path) -> tuple[Path, FitRecord | JointRecord]:
    """As `open_fit`, for a fit to a column of values or to several columns jointly."""
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    record = load_record(file, EXPECTED_VALUES)
    if isinstance(record, FailedRecord):
        what = f"no fit, the column failed: {record.failure.what}"
        raise CatalogError(what, f"in {file}", _EXPECTED_FIT)
    if isinstance(record, DensityRecord):
        what = "fits to tabulated densities, one mixture for each row"
        raise CatalogError(what, f"in {file}", _EXPECTED_FIT)
    return file, record


def _read_text(file: Path, expected: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"no fit ({error.strerror})", f"in {file}", expected) from error
    except UnicodeDecodeError as error:
        raise RecordError("no fit (not JSON)", f"in {file}", expected) from error


def _parse(text: str, place: int, file: Path, expected: str) -> tuple[Record, int]:
    """The record that begins at a place in a text, and where the next one begins."""
    try:
        document, end = _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError) as error:
        raise RecordError("no fit (not JSON)", f"in {file}", expected) from error
    while end < len(text) and text[end].isspace():
        end += 1
    return _decode(document, file, expected), end


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _decode(document: Any, file: Path, expected: str) -> Record:
    """A record from what JSON makes of its text."""
    if not isinstance(document, dict):
        raise RecordError("no fit (JSON, but not an object)", f"in {file}", expected)
    # Without a version it was written before there were any, with the keys of the first.
    version = document.get(_VERSION_KEY, 0)
    try:
        if type(version) is not int or version < 0:
            raise DecodeError(f"is {shown(version)}, not a version", _VERSION_KEY)
        if version > VERSION:
            later = f"version {VERSION} of its format: run the fit again, or update mixpipe"
            raise LaterRecordError(f"a fit.json of version {version}, by a later mixpipe", f"in {file}", later)
        record: Record = decode(_type_of(document), document)
        _check_plan(record)
    except DecodeError as error:
        which = f"of version {version}" if _VERSION_KEY in document else "without a version"
        raise RecordError(f"no fit, or a damaged one {which}: {error}", f"in {file}", expected) from None
    return record


def _type_of(document: dict[str, Any]) -> type[Record]:
    """The type of a record, by the keys that say it."""
    for key, words in (("status", ("fitted", "failed")), ("kind", ("values", "densities", "joint"))):
        if document.get(key, words[0]) not in words:
            raise DecodeError(f"is {shown(document[key])}, not one of {', '.join(words)}", key)
    if document.get("status") == "failed":
        return FailedRecord
    kinds: dict[str, type[Record]] = {"densities": DensityRecord, "joint": JointRecord}
    return kinds.get(document.get("kind", "values"), FitRecord)


def _check_plan(record: Record) -> None:
    """Make sure that a plan has what every reader of records asks it for."""
    if "key" not in record.plan:
        raise DecodeError("is missing", "plan", "key")
    column = record.plan.get("column")
    if not isinstance(column, dict):
        raise DecodeError("is missing", "plan", "column")
    if record.kind == "values" and "transform" not in column:
        raise DecodeError("is missing", "plan", "column", "transform")
