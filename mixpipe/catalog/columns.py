"""Conversion of a table, by the settings of a column, to values with errors and counts of the dropped rows."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.errors import CatalogError, excerpt
from mixpipe.catalog.doubts import RELATIVE, RELATIVE_NAME, UNEVEN, Doubt
from mixpipe.catalog.expressions import Expression
from mixpipe.catalog.files import place
from mixpipe.catalog.formats.arrays import (
    as_masked,
    is_missing_word,
    is_number,
    is_unrecognized,
    parse_unit,
    unit_text,
)
from mixpipe.catalog.limits import LOWER, UPPER, VALUE, read_flags, split_limits
from mixpipe.catalog.odd_cells import numbers_expected
from mixpipe.catalog.recognition import named_roles, unit_in
from mixpipe.catalog.sentinels import are_sentinels, find_sentinels
from mixpipe.catalog.source import expected_name
from mixpipe.config.settings import ColumnSettings

if TYPE_CHECKING:
    from astropy import units as u
    from astropy.table import Table

    from mixpipe.model.cells import Cells
    from mixpipe.model.noise import Noise, Samples
    from mixpipe.model.resolution import Resolution
    from mixpipe.model.window import Window

# Reasons why a row is not used; a row with several reasons counts under the first of them.
DROP_REASONS = (
    "cut",
    "missing_value",
    "infinite_value",
    "missing_error",
    "bad_error",
    "missing_weight",
    "bad_weight",
    "empty_bin",
    "not_positive",
    "missing_bound",
    "outside",
)

# Squares of numbers between these limits are far from overflow and underflow.
_SMALLEST, _LARGEST = 1e-140, 1e140

# If there are more rows than this, the resolution of the values is determined before a fit from evenly spaced rows.
_LOOKED_AT = 200_000

# The error of a decimal logarithm in units of the relative error.
_PER_DECADE = 1.0 / math.log(10.0)

# Largest lower error under a logarithm, as a fraction of the value.
_LOWEST_END = 0.99

# Rows that show whether errors may be the square roots of the values, and how far the squares may be off.
_FIRST_ROWS, _ROOT = 100, 0.02

# Power of the value's unit in which an error of each kind is given.
_ERROR_POWERS = {"sigma": 1, "variance": 2, "ivar": -2}


@dataclass(frozen=True, eq=False)
class ColumnData:
    """Values and errors of the usable rows of a column, and counts of the others.

    Parameters
    ----------
    name : str
        Name of the column's entry in the configuration.
    unit : str or None
        Unit of `x` and `err`; None if unknown.
    x : ndarray, shape (n_used,)
        Values.
    err : ndarray, shape (n_used,)
        One-sigma errors, the mean of both sides if there are two; zero if the column has no errors.
    weights : ndarray, shape (n_used,)
        Row weights; one if there are no weights.
    rows : ndarray of int64, shape (n_used,)
        Indices of the used rows in the table.
    n_read : int
        Number of rows of the table.
    dropped : mapping of str to int
        Rows dropped for each of `DROP_REASONS`.
    has_errors : bool
        Whether the settings name an error or an error floor.
    limits : ndarray of int8, shape (n_used,)
        -1 where `x` is an upper limit, 1 where it is a lower limit, 0 where it is a value.
    window : Window or None
        Where, and with which probability, an observed value had to lie to enter the sample.
    weight_kind : str
        ``auto``, ``counts`` or ``importance``; see `mixpipe.model.cells.Cells.from_rows`.
    edges : ndarray, shape (n_used, 2), or None
        Edges of the bins of a histogram, in which case `x` are their centres and `weights` the numbers of rows in them.
    files : sequence of mapping
        ``path`` and ``n_rows`` of the files from which the table was read, and ``first_row`` if it begins later.
    doubtful : mapping of str to ndarray of bool
        For each kind of doubt (`mixpipe.catalog.doubts`), which of the used rows raise it.
    memberships : ndarray, shape (n_used, n_known + 1), or None
        Prior memberships of the rows; see `mixpipe.model.cells.Cells`.
    labels : tuple of str
        Names of the components with known members.
    posteriors : Samples or None
        Posteriors of the true values, where rows have samples of them.
    n_assumed : int
        Number of used limits without an error, which have the median error of the values.
    suspects : str
        Numbers that may stand for missing ones, with their columns, in words.
    sides : ndarray, shape (2, n_used), or None
        Lower and upper errors, where the error model has them.
    is_sided : bool
        Whether the stated lower and upper errors differ in any used row.
    is_reversed : bool
        Whether a larger value has become a smaller one, as from magnitudes to dex.
    error_dof : float or None
        Degrees of freedom of the errors, where they are those of Student's t.
    intervals : ndarray, shape (n_used, 2), or None
        Ends of the intervals from which the values were rounded, if the likelihood is that of these.
    """

    name: str
    unit: str | None
    x: Array
    err: Array
    weights: Array
    rows: NDArray[np.int64]
    n_read: int
    dropped: Mapping[str, int]
    has_errors: bool
    limits: NDArray[np.int8]
    window: Window | None = None
    weight_kind: str = "auto"
    edges: Array | None = None
    files: Sequence[Mapping[str, Any]] = ()
    doubtful: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    suspects: str = ""
    sides: Array | None = None
    error_dof: float | None = None
    memberships: Array | None = None
    labels: tuple[str, ...] = ()
    posteriors: Samples | None = None
    n_assumed: int = 0
    intervals: Array | None = None
    is_sided: bool = False
    is_reversed: bool = False

    def __post_init__(self) -> None:
        for array in (
            self.x,
            self.err,
            self.weights,
            self.rows,
            self.limits,
            self.edges,
            self.sides,
            self.memberships,
            self.intervals,
        ):
            if array is not None:
                array.flags.writeable = False
        object.__setattr__(self, "dropped", MappingProxyType(dict(self.dropped)))

    def __len__(self) -> int:
        return self.x.size

    def cells(self) -> Cells:
        """One cell per used row; needs at least one row with a positive weight."""
        from mixpipe.model.cells import Cells

        if self.edges is not None:
            return Cells.from_histogram(self.edges, self.weights, self.err)
        if self.posteriors is not None:
            return Cells.of_posteriors(self.x, self.posteriors, self.weights, weight_kind=self.weight_kind)
        cells = Cells.from_rows(
            self.x,
            self.err if self.sides is None else self.sides,
            self.weights,
            limits=self.limits,
            truncated=self.window,
            weight_kind=self.weight_kind,
            memberships=self.memberships,
            labels=self.labels,
            error_model=None if self.error_dof is None else "student_t",
            error_dof=self.error_dof,
        )
        return cells if self.intervals is None else cells.between(*self.intervals.T)

    def some_cells(self, scale: float = 1.0) -> Cells:
        """One cell per used row without the resolution, which a part of the rows does not show.

        Parameters
        ----------
        scale : float
            Factor of the weights.
        """
        from mixpipe.model.cells import Cells

        return Cells(
            self.x,
            self.err,
            self.weights if scale == 1.0 else scale * self.weights,
            limits=self.limits,
            window=self.window,
            weight_kind=self.account.found_kind if scale == 1.0 else "importance",
            edges=self.edges if self.intervals is None else self.intervals,
            noise=self.noise,
            memberships=self.memberships,
            labels=self.labels,
        )

    @property
    def noise(self) -> Noise | None:
        """The errors where they are not symmetric Gaussians."""
        from mixpipe.model.noise import HeavyTailed, TwoSided

        if self.posteriors is not None:
            return self.posteriors
        if self.sides is not None:
            return TwoSided(*self.sides)
        return None if self.error_dof is None else HeavyTailed(self.err, float(self.error_dof))

    def with_scaled_errors(self, factor: float) -> ColumnData:
        """The same rows with all errors multiplied by a factor."""
        if factor == 1.0:
            return self
        return replace(self, err=factor * self.err, sides=None if self.sides is None else factor * self.sides)

    def first_below(self, err: float) -> int:
        """Index of the first value of positive weight whose error is smaller than this; -1 if there is none."""
        small = (self.err < err) & (self.weights > 0.0) & (self.limits == VALUE)
        return int(np.argmax(small)) if small.any() else -1

    def row_name(self, position: int, several: bool | None = None) -> str:
        """Name of a used row, by its number in its file; empty for a negative position.

        The name includes the file if there are several, or as specified by `several`.
        """
        return name_row(self.files, int(self.rows[position]), several) if position >= 0 else ""

    @property
    def worth(self) -> float:
        """Effective number of the used rows: the sum of their counts, or ``(sum w)^2 / sum w^2``."""
        if self.account.found_kind == "counts":
            return float(self.weights.sum())
        return float(self.weights.sum() ** 2 / (self.weights @ self.weights))

    def resolution(self, sigma_floor: float | None = None) -> tuple[Resolution, float]:
        """The resolution of the values, and the number of rows from which it was determined.

        If there are many rows, evenly spaced ones are used, but errors that are too small are searched for among all
        rows.
        """
        from mixpipe.model.resolution import Resolution, find_resolution, of_intervals

        found, n_looked = Resolution(), 0.0
        known = (self.limits == VALUE) & (self.weights > 0.0)
        if self.intervals is not None and known.any():
            found, n_looked = of_intervals(np.diff(self.intervals[known], axis=1)), float(known.sum())
        elif self.edges is None and known.any():
            x, err = self.x[known], self.err[known]
            times = self.weights[known] if self.account.found_kind == "counts" else np.ones(x.size)
            every = -(-x.size // _LOOKED_AT)
            found = find_resolution(x[::every], err[::every], times[::every], float(err.min()))
            n_looked = float(times[::every].sum())
            if found.floor > 0.0:
                n_rows = float(times[err < found.grain].sum())
                found = replace(found, n_rows=n_rows, first=self.first_below(found.grain))
        if sigma_floor is not None:
            found = found.floored(sigma_floor)
        return found, n_looked

    @property
    def n_upper_limits(self) -> int:
        """Number of used rows whose value is an upper limit."""
        return int(np.count_nonzero(self.limits == UPPER))

    @property
    def n_lower_limits(self) -> int:
        """Number of used rows whose value is a lower limit."""
        return int(np.count_nonzero(self.limits == LOWER))

    def check_usable(self, where: str) -> None:
        """Refuse a column to which nothing can be fitted; see `Account.check_usable`."""
        self.account.check_usable(where)

    def check_floor(self, sigma_floor: float | None, where: str) -> None:
        """Refuse a floor of zero if an error is zero, since the likelihood would be unbounded.

        Raises
        ------
        CatalogError
            For the first value whose error is zero; `where` describes the column.
        """
        if sigma_floor != 0.0 or self.edges is not None or self.intervals is not None:
            return
        first = self.first_below(np.finfo(np.float64).smallest_subnormal)
        if first >= 0:
            raise CatalogError(
                f"sigma_floor 0 with an error of zero in {self.row_name(first, several=True)}",
                where,
                "errors > 0 in every row, or a sigma_floor > 0",
            )

    @property
    def account(self) -> Account:
        """What became of the rows."""
        one_each = self.weights.strides == (0,)  # without a column of weights
        return Account(
            n_read=self.n_read,
            n_used=len(self),
            total_weight=float(len(self) if one_each else self.weights.sum()),
            weighted=not one_each and bool(np.any(self.weights != 1.0)),
            dropped=self.dropped,
            n_upper_limits=self.n_upper_limits,
            n_lower_limits=self.n_lower_limits,
            unit=self.unit,
            has_errors=self.has_errors,
            truncated=None if self.window is None else self.window.ends,
            weight_kind=self.weight_kind,
            n_fractional=0 if one_each else int(np.count_nonzero(self.weights % 1.0)),
            are_bins=self.edges is not None,
            doubts={kind: self._doubt(kind, rows) for kind, rows in self.doubtful.items()},
        )

    def _doubt(self, kind: str, rows: NDArray[np.bool_]) -> Doubt:
        if not rows.any():
            return Doubt()
        shown = f" ({self.suspects})" if kind == "sentinels" else ""
        return Doubt(int(rows.sum()), self.row_name(int(np.argmax(rows))) + shown)


@dataclass(frozen=True, eq=False)
class Whole:
    """What no single block of the rows of a column shows.

    Parameters
    ----------
    negative : frozenset of str
        Those of a pair of error columns that contain negative numbers.
    sided : bool
        Whether lower and upper errors differ in any used row.
    typical_error : float
        Median error of the values, which limits without an error get.
    labels : tuple of str
        Names of the components with known members; empty if their columns hold probabilities.
    """

    negative: frozenset[str] = frozenset()
    sided: bool = True
    typical_error: float = 0.0
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Account:
    """What became of the rows of a column.

    Parameters
    ----------
    n_read, n_used : int
        Numbers of rows in the files and of rows that are fitted; for a histogram these are bins.
    total_weight : float
        Sum of the weights of the rows that are fitted.
    weighted : bool
        Whether any of these weights differs from one.
    dropped : mapping of str to int
        Rows dropped for each of `DROP_REASONS`.
    n_upper_limits, n_lower_limits : int
        Numbers of used rows whose value is a limit.
    unit, has_errors, weight_kind
        As in `ColumnData`.
    truncated : tuple of (float, float) or None
        The lowest and the highest value that any row could have.
    n_fractional : int
        Number of used rows whose weight is not a whole number.
    are_bins : bool
        Whether the rows are bins of a histogram.
    doubts : mapping of str to Doubt
        Rows that raise doubts, by kind.
    """

    n_read: int
    n_used: int
    total_weight: float
    weighted: bool
    dropped: Mapping[str, int]
    n_upper_limits: int
    n_lower_limits: int
    unit: str | None
    has_errors: bool
    truncated: tuple[float, float] | None
    weight_kind: str = "auto"
    n_fractional: int = 0
    are_bins: bool = False
    doubts: Mapping[str, Doubt] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.n_used

    @property
    def found_kind(self) -> str:
        """The kind of the weights, ``counts`` or ``importance``."""
        if self.weight_kind == "auto":
            return "importance" if self.n_fractional else "counts"
        return self.weight_kind

    def __add__(self, other: Account) -> Account:
        """The account of the rows of both operands."""
        ends = [each.truncated for each in (self, other) if each.truncated is not None and each.n_used]
        return replace(
            self,
            truncated=(min(low for low, _ in ends), max(high for _, high in ends)) if ends else self.truncated,
            n_read=self.n_read + other.n_read,
            n_used=self.n_used + other.n_used,
            total_weight=self.total_weight + other.total_weight,
            weighted=self.weighted or other.weighted,
            dropped={reason: self.dropped[reason] + other.dropped[reason] for reason in self.dropped},
            n_upper_limits=self.n_upper_limits + other.n_upper_limits,
            n_lower_limits=self.n_lower_limits + other.n_lower_limits,
            n_fractional=self.n_fractional + other.n_fractional,
            doubts={
                kind: self.doubts.get(kind, Doubt()) + other.doubts.get(kind, Doubt())
                for kind in {**self.doubts, **other.doubts}
            },
        )

    def dropped_counts(self) -> str:
        """The dropped rows as text: ``40 cut, 2 missing_value``, or ``none``."""
        return ", ".join(f"{count} {reason}" for reason, count in self.dropped.items() if count) or "none"

    def check_usable(self, where: str) -> None:
        """Refuse a column to which nothing can be fitted.

        Parameters
        ----------
        where : str
            Description of the column for the error message.

        Raises
        ------
        CatalogError
            If no row has a positive weight.
        """
        if not self.n_read:
            raise CatalogError("the table has no rows", where, "a header and rows")
        if not self.total_weight > 0:
            raise CatalogError(
                f"no row of {self.n_read} can be used (dropped: {self.dropped_counts()})",
                where,
                f"at least one row{' of positive weight' if self.weighted else ''}",
            )


def combine_errors(upper: Array, lower: Array) -> Array:
    """The symmetric error that stands for a pair where a single number is needed, the mean of the two.

    The mean preserves the length of the published 68 % interval; the root
    mean square and the geometric mean differ from it only to second order in ``(upper - lower) / (upper + lower)``.

    >>> combine_errors(np.array([0.3]), np.array([0.1])).tolist()
    [0.2]
    """
    return 0.5 * (upper + lower)


def prepare_column(
    table: Table,
    settings: ColumnSettings,
    *,
    where: str | None = None,
    catalog: str = "",
    release: str = "",
    whole: Whole | None = None,
    doubts: bool = True,
) -> ColumnData:
    """Compute values, errors and weights of the usable rows.

    The order is: cut; errors to one sigma in the target unit; `error_scale`; `error_floor` (in the target unit) added
    in quadrature; transform of value and error. With `error_model` two_sided each side of a pair is treated by itself,
    and the transform is that of both ends of the interval; otherwise the mean of both is taken, and the transform is to
    first order. Columns of text are interpreted as numbers
    if every cell that is not missing is a number, or a limit such as ``<0.0017``. An error that is exactly zero is
    allowed; a limit without an error gets the median error of the values.

    Parameters
    ----------
    table : astropy.table.Table
        Table with the `required_columns`, as returned by `read_catalog` or `read_columns`.
    settings : ColumnSettings
        The entry. An error that is a number is in the unit of the value column, as is an error column without a unit.
        If the file has a unit, or names end with one, values are converted to `unit`; otherwise `unit` is only a label.
    where : str, optional
        Row cut.
    catalog, release : str
        Names for error messages.
    whole : Whole, optional
        What is known of all rows, if the table has only some of them.
    doubts : bool
        Whether to look for what is doubtful, which takes as long as everything else.

    Returns
    -------
    ColumnData
        The usable rows; its arrays are empty if there are none.

    Raises
    ------
    CatalogError
        For columns that do not exist, do not contain numbers, or have units that cannot be converted, and for limits in
        a truncated sample.
    ConfigError
        For a cut that cannot be understood.
    """
    entry = _Entry(table, settings, catalog, release, whole)
    if settings.kind == "samples":
        return _prepare_samples(entry, where)
    edges = entry.edges()
    value, limits = entry.value() if edges is None else (edges.mean(axis=1), None)
    sigma, weights = entry.sigma(), entry.weights()
    sides = entry.sides if settings.found_model == "two_sided" else None
    everything = np.broadcast_to(True, len(table))
    unknown = everything if limits is None else (limits != VALUE) & np.isnan(sigma)
    if limits is not None:
        sigma = np.where(unknown, 0.0, sigma)
        sides = None if sides is None else np.where(unknown, 0.0, sides)
    stated = sides
    kept = None if where is None else Expression.parse(where).evaluate(table)
    positive = None if settings.transform == "none" or edges is not None else value > 0.0
    empty = None if edges is None else edges[:, 0] >= edges[:, 1]
    with np.errstate(all="ignore"):
        err = _scaled_error(sigma, settings)
        x, err = _transformed(value, err, settings.transform)
        counted = slice(None) if kept is None else kept
        differ = sides is not None and not np.array_equal(sides[0, counted], sides[1, counted], equal_nan=True)
        if sides is not None and (differ if whole is None else whole.sided):
            sides = _transformed_sides(value, _scaled_error(sides, settings), settings.transform)
            err = combine_errors(*sides)
        else:
            sides = None
        if edges is not None and settings.transform != "none":
            _check_edges(entry, edges, kept, empty)
            edges = _transformed(edges, np.zeros(2), settings.transform)[0]
            x = edges.mean(axis=1)
        selection, bounded, inside = _selection(settings, entry, x)

    # Most blocks of most catalogs have nothing to drop, and determining the reasons takes longer than everything else.
    everything_plain = (
        all(condition is None for condition in (limits, kept, positive, weights, selection, empty))
        and all(math.isfinite(_furthest(numbers)) for numbers in (x, err, sigma))
        and float(np.min(sigma, initial=0.0)) >= 0.0
    )
    usable = everything
    if not everything_plain:
        usable = np.isfinite(x)
        usable &= np.isfinite(err)
        usable &= np.isfinite(sigma) & (sigma >= 0.0)
        usable &= True if kept is None else kept
        usable &= True if positive is None else positive
        usable &= True if weights is None else np.isfinite(weights) & (weights >= 0.0)
        usable &= bounded & inside
        usable &= True if empty is None else ~empty
    n_assumed = 0 if limits is None else int(np.count_nonzero(usable & unknown))
    if n_assumed:
        typical = _typical_error(err[usable & (limits == VALUE)]) if whole is None else whole.typical_error
        err = np.where(unknown, typical, err)
        sides = None if sides is None else np.where(unknown, typical, sides)
    weights = np.broadcast_to(1.0, len(table)) if weights is None else weights
    limits = np.broadcast_to(np.int8(VALUE), len(table)) if limits is None else limits
    doubtful = dict(entry.doubtful(value)) if doubts else {}
    suspects = entry.suspects(limits) if doubts else {}
    if suspects:
        doubtful["sentinels"] = entry.are_suspects(suspects)
    if doubts and positive is not None:
        with np.errstate(invalid="ignore"):
            # The error of a natural logarithm is the relative one.
            doubtful["large_relative_errors"] = err > RELATIVE * (1.0 if settings.transform == "ln" else _PER_DECADE)
    plain = edges is None and settings.transform == "none"
    # The first rows show most of the columns of which this is not so.
    first = slice(_FIRST_ROWS)
    if doubts and plain and 2 * np.count_nonzero(_are_roots(value[first], sigma[first])) > value[first].size:
        doubtful["poisson_errors"] = _are_roots(value, sigma)
    used, dropped = everything, dict.fromkeys(DROP_REASONS, 0)
    if not usable.all():
        positive = everything if positive is None else positive
        reasons = {
            "cut": ~(everything if kept is None else kept),
            "missing_value": np.isnan(value),
            "infinite_value": np.isinf(value),
            "missing_error": np.isnan(sigma),
            # This includes errors that overflow when they are propagated.
            "bad_error": (sigma < 0.0) | np.isinf(sigma) | (positive & np.isinf(err)),
            "missing_weight": np.isnan(weights),
            "bad_weight": (weights < 0.0) | np.isinf(weights),
            "empty_bin": ~everything if empty is None else empty,
            "not_positive": ~positive,
            "missing_bound": ~bounded,
            "outside": ~inside,
        }
        for reason in DROP_REASONS:
            hit = used & reasons[reason]
            dropped[reason] = int(hit.sum())
            used = used & ~hit
        x, err, weights, limits = x[used], err[used], weights[used], limits[used]
        doubtful = {kind: rows[used] for kind, rows in doubtful.items()}
        edges = None if edges is None else edges[used]
        sides = None if sides is None else sides[:, used]
    window = None if selection is None else selection.window(used)
    rows = _all_rows(len(table)) if used is everything else np.flatnonzero(used)
    _check_size(entry, x, err)
    _check_weights(entry, weights, rows)
    memberships, labels = entry.memberships(rows)
    intervals = entry.intervals(value[rows], rows) if settings.is_rounded else None
    if whole is None and sides is not None and np.array_equal(*sides):
        sides = None
    n_limits = np.count_nonzero(limits)
    if n_limits and window is not None:
        key = "truncated" if settings.truncated else "detection"
        kind = "a truncated sample" if settings.truncated else "a sample that is incomplete by `detection`"
        raise entry.refuse(f"{n_limits} limits in {kind}", f"values only, or no `{key}`")
    if intervals is not None and n_limits:
        raise entry.refuse(f"{n_limits} limits among rounded values", "values only, or no `rounding`")
    return ColumnData(
        name=settings.name,
        unit=entry.unit,
        x=x,
        err=err,
        weights=weights,
        rows=rows,
        n_read=len(table),
        dropped=dropped,
        has_errors=settings.error is not None or settings.error_floor > 0.0,
        limits=limits,
        n_assumed=n_assumed,
        window=window,
        weight_kind="counts" if settings.bins is not None else settings.weight_kind,
        edges=edges,
        files=table.meta.get("files", ()),
        doubtful=doubtful,
        suspects=", ".join(f"{number:g} in {name}" for name, listed in suspects.items() for number in listed),
        memberships=memberships,
        labels=labels,
        sides=sides,
        error_dof=settings.error_dof,
        intervals=intervals,
        is_sided=stated is not None and not np.array_equal(stated[0, rows], stated[1, rows]),
        is_reversed=entry.factor < 0.0,
    )


@functools.lru_cache(maxsize=1)
def _all_rows(n_rows: int) -> NDArray[np.int64]:
    """Indices of all rows of a block; most blocks have the same number of them."""
    rows = np.arange(n_rows)
    rows.flags.writeable = False
    return rows


def _prepare_samples(entry: _Entry, where: str | None) -> ColumnData:
    """Values and posteriors of the usable rows of a column with samples; see `prepare_column`."""
    from mixpipe.model.noise import FEWEST_SAMPLES, samples_noise

    settings, n_rows = entry.settings, len(entry.table)
    samples = entry.samples(settings.value) * entry.factor
    prior = None if settings.sample_prior is None else entry.samples(settings.sample_prior)
    if prior is not None and prior.shape != samples.shape:
        found = f"{samples.shape[1]} samples and {prior.shape[1]} priors a row"
        raise entry.refuse(found, f"as many numbers in {settings.sample_prior!r} as in {settings.value!r}")
    weights = entry.weights()
    weights = np.broadcast_to(1.0, n_rows) if weights is None else weights
    kept = np.ones(n_rows, dtype=bool) if where is None else Expression.parse(where).evaluate(entry.table)
    known = np.isfinite(samples)
    with np.errstate(all="ignore"):
        negative = np.any(known & (samples <= 0.0), axis=1) & (settings.transform != "none")
        samples = _transformed(samples, np.zeros(1), settings.transform)[0]
        if prior is not None and settings.transform != "none":
            # The density of the logarithm is that of the value times the value.
            prior = prior * np.exp(samples * (1.0 if settings.transform == "ln" else 1.0 / _PER_DECADE))
        bad_prior = np.zeros(n_rows, bool) if prior is None else np.any(known & ~(prior > 0.0), axis=1)
    reasons = {
        "cut": ~kept,
        "missing_value": known.sum(axis=1) < FEWEST_SAMPLES,
        "not_positive": negative,
        "bad_error": bad_prior,
        "missing_weight": np.isnan(weights),
        "bad_weight": (weights < 0.0) | np.isinf(weights),
    }
    used, dropped = np.ones(n_rows, dtype=bool), dict.fromkeys(DROP_REASONS, 0)
    for reason, hit in reasons.items():
        dropped[reason] = int(np.count_nonzero(used & hit))
        used &= ~hit
    posteriors, x = None, np.empty(0)
    if used.any():
        x, posteriors = samples_noise(samples[used], None if prior is None else prior[used])
    err = np.empty(0) if posteriors is None else np.array(posteriors.typical)
    rows = np.flatnonzero(used)
    _check_size(entry, x, err)
    _check_weights(entry, weights[used], rows)
    return ColumnData(
        name=settings.name,
        unit=entry.unit,
        x=x,
        err=err,
        weights=weights[used],
        rows=rows,
        n_read=n_rows,
        dropped=dropped,
        has_errors=True,
        limits=np.zeros(x.size, dtype=np.int8),
        weight_kind=settings.weight_kind,
        files=entry.table.meta.get("files", ()),
        posteriors=posteriors,
    )


def _scaled_error(sigma: Array, settings: ColumnSettings) -> Array:
    """Errors times their scale, with the floor added in quadrature."""
    err = sigma if settings.error_factor == 1.0 else settings.error_factor * sigma
    return np.hypot(err, settings.error_floor) if settings.error_floor else err


def _check_edges(entry: _Entry, edges: Array, kept: NDArray[np.bool_] | None, empty: NDArray[np.bool_] | None) -> None:
    """Refuse bins that extend to where the logarithm is undefined, since their rows cannot be dropped silently."""
    low = edges[:, 0]
    bad = np.flatnonzero((low <= 0.0) & (True if kept is None else kept) & (True if empty is None else ~empty))
    if bad.size:
        raise entry.refuse(
            f"{bad.size} bins with edges that are not positive, the first from {low[bad[0]]:g} in "
            f"{entry.row(int(bad[0]))}",
            f"edges > 0 for transform {entry.settings.transform}; `where` can select them",
        )


def _check_weights(entry: _Entry, weights: Array, rows: NDArray[np.int64]) -> None:
    """Refuse numbers of rows that are not whole numbers, and weights whose squares exceed the range of doubles."""
    settings = entry.settings
    if weights.strides == (0,):
        return
    name = settings.weight if settings.bins is None else settings.bins[2]
    largest = float(np.max(weights, initial=0.0))
    if largest and not _SMALLEST < largest < _LARGEST:
        raise entry.refuse(
            f"column {name!r} has weights up to {largest:.3g}", f"numbers from {_SMALLEST:g} to {_LARGEST:g}"
        )
    if settings.bins is None and settings.weight_kind != "counts":
        return
    fractions = np.flatnonzero(weights % 1.0)
    if fractions.size:
        first = fractions[0]
        raise entry.refuse(
            f"column {name!r} has {fractions.size} numbers of rows that are no whole numbers, the first is "
            f"{weights[first]:g} in {entry.row(int(rows[first]))}",
            "whole numbers" if settings.bins is not None else "whole numbers, or `weight_kind` importance",
        )


def _check_size(entry: _Entry, x: Array, err: Array) -> None:
    """Refuse numbers whose squares exceed the range of double precision."""
    largest = max(_furthest(x), _furthest(err))
    if largest and not _SMALLEST < largest < _LARGEST:
        raise entry.refuse(
            f"column {entry.settings.value!r} has values or errors up to {largest:.3g}",
            f"numbers from {_SMALLEST:g} to {_LARGEST:g}; `missing` lists those that stand for no value",
        )


def _furthest(numbers: Array) -> float:
    """The largest absolute value; nan if there is any nan."""
    return max(-float(np.min(numbers, initial=0.0)), float(np.max(numbers, initial=0.0)))


def _typical_error(err: Array) -> float:
    """The error of a limit that has none: the median of the errors of the values, after a transform."""
    known = err[np.isfinite(err)]
    return float(np.median(known)) if known.size else 0.0


@dataclass(frozen=True, eq=False)
class _Selection:
    """The window of all rows of a table, some of which may have no bounds, or bounds in the wrong order.

    Parameters
    ----------
    low, high : ndarray, shape (1 or n_rows, n_intervals)
        Ends of the intervals, after the transform.
    points : tuple of (ndarray, ndarray) or None
        Values and probabilities of detection.
    """

    low: Array
    high: Array
    points: tuple[Array, Array] | None

    def window(self, used: NDArray[np.bool_]) -> Window:
        """The window of the rows that are used."""
        from mixpipe.model.window import Window

        by_row = self.low.shape[0] > 1 or self.low.shape[0] == used.size
        low, high = (part[used] if by_row else part for part in (self.low, self.high))
        if by_row and not low.size:
            low, high = np.full((1, 1), -np.inf), np.full((1, 1), np.inf)
        return Window(low, high) if self.points is None else Window(low, high, *self.points)


def _selection(
    settings: ColumnSettings, entry: _Entry, x: Array
) -> tuple[_Selection | None, NDArray[np.bool_], NDArray[np.bool_]]:
    """The window, transformed in the same way as the values; whether each row has all bounds, and lies within them."""
    everything = np.broadcast_to(True, x.size)
    if not settings.is_selected:
        return None, everything, everything
    # Imported here, since few columns have a window.
    from mixpipe.model.window import Window

    if settings.transform != "none":
        numbers = [bound for pair in settings.intervals for bound in pair if not isinstance(bound, str)]
        bad = [bound for bound in numbers if math.isfinite(bound) and bound <= 0.0]
        if bad:
            raise entry.refuse(f"truncated at {min(bad):g}", f"bounds > 0 for transform {settings.transform}")
        if settings.detection is not None and settings.detection[0][0] <= 0.0:
            what = f"detection at {settings.detection[0][0]:g}"
            raise entry.refuse(what, f"values > 0 for transform {settings.transform}")

    def transformed(bounds: Array) -> Array:
        if settings.transform != "none":
            bounds = np.maximum(bounds, 0.0)
        return _transformed(bounds, np.zeros(1), settings.transform)[0]

    pairs = settings.intervals or ((-math.inf, math.inf),)
    sides = [[transformed(entry.bound(pair[side])) for pair in pairs] for side in (0, 1)]
    rows = x.size if settings.bound_columns else 1
    low, high = (np.stack([np.broadcast_to(bound, rows) for bound in side], axis=1) for side in sides)
    bounded = ~np.any(np.isnan(low) | np.isnan(high), axis=1)
    inside = np.any((x[:, None] >= low) & (x[:, None] <= high), axis=1) & Window.ordered(low, high)
    points = None
    if settings.detection is not None:
        values, probabilities = map(np.array, settings.detection)
        points = transformed(values), probabilities
        inside &= np.interp(x, *points) > 0.0
    return _Selection(low, high, points), np.broadcast_to(bounded, x.shape), inside


def _are_roots(value: Array, sigma: Array) -> NDArray[np.bool_]:
    """Whether errors are the square roots of positive values, as printed."""
    with np.errstate(over="ignore"):
        return np.asarray((value > 0.0) & (np.abs(sigma**2 - value) <= _ROOT * np.maximum(value, 1.0)))


def _transformed(value: Array, err: Array, transform: str) -> tuple[Array, Array]:
    """Value and error, to first order, under a transform."""
    if transform == "none":
        return value, err
    if transform == "log10":
        return np.log10(value), err / value * _PER_DECADE
    return np.log(value), err / value


def _transformed_sides(value: Array, sides: Array, transform: str) -> Array:
    """Lower and upper errors under a transform: the distances to the transformed ends of the interval.

    Those of a multiplicative error are thus equal in the logarithm. A lower end that is not positive has no logarithm,
    and becomes one hundredth of the value.
    """
    if transform == "none":
        return sides
    relative = np.minimum(sides[0] / value, _LOWEST_END), sides[1] / value
    logs = np.stack([-np.log1p(-relative[0]), np.log1p(relative[1])])
    return logs if transform == "ln" else logs * _PER_DECADE


def _to_sigma(error: Array, kind: str) -> Array:
    """One-sigma errors; an invalid error becomes -1 if it is negative, and infinite if it is unbounded."""
    if kind == "sigma":
        return error
    with np.errstate(all="ignore"):
        sigma = np.sqrt(error) if kind == "variance" else 1.0 / np.sqrt(error)
    return np.where(error < 0.0, -1.0, np.where(np.isinf(error), np.inf, sigma))


def count_signs(column: Any) -> tuple[int, int]:
    """Count the negative numbers of a column, and the nonzero ones."""
    values = np.ma.filled(np.ma.asarray(column), 0)
    if values.dtype.kind == "U":
        values = np.array([float(text) if is_number(text) else 0.0 for text in values.tolist()])
    if values.dtype.kind not in "iuf":
        return 0, 0
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(values)
        return int(np.count_nonzero(finite & (values < 0))), int(np.count_nonzero(finite & (values != 0)))


def name_row(files: Sequence[Mapping[str, Any]], index: int, several: bool | None = None) -> str:
    """Name of a row by its number in its file, counted from one, with the file if there are several.

    >>> name_row([{"path": "a.csv", "n_rows": 3}, {"path": "b.csv", "n_rows": 2, "first_row": 10}], 4)
    'row 12 of b.csv'
    """
    named = len(files) > 1 if several is None else several
    for file in files:
        if index < file["n_rows"]:
            return f"row {index + file.get('first_row', 0) + 1}" + (f" of {file['path']}" if named else "")
        index -= file["n_rows"]
    return f"row {index + 1}"


class _Entry:
    """A reader of the columns of one entry as numbers in the target unit; missing values are NaN."""

    def __init__(
        self,
        table: Table,
        settings: ColumnSettings,
        catalog: str,
        release: str,
        whole: Whole | None = None,
    ) -> None:
        self.table, self.settings, self.whole = table, settings, whole
        # Numbers of each column as they are stored.
        self.stored: dict[str, Array] = {}
        self.uneven: NDArray[np.bool_] | None = None
        # Lower and upper errors, once a pair has been read.
        self.sides: Array | None = None
        named = (("catalog", catalog), ("release", release))
        self.where = ", ".join([f"{word} {name}" for word, name in named if name] + [place(table).removeprefix("in ")])
        given = settings.file_unit
        self.stored_unit = parse_unit(given or self._column(settings.value).unit)
        if given is not None and is_unrecognized(self.stored_unit):
            raise self.refuse(f"unknown file_unit {excerpt(given)!r}", "a unit that Astropy knows, such as Msun or mag")
        self.target_unit = parse_unit(settings.unit) or self.stored_unit
        if is_unrecognized(self.target_unit) and self.target_unit != self.stored_unit:
            raise self.refuse(
                f"unknown unit {excerpt(str(settings.unit))!r}",
                "a unit that Astropy knows, such as Msun, mas/yr or mag",
            )
        # A unit that is set for a file without units is only a label, unless names have one. For the value itself, the
        # unit must agree. The factor between magnitudes and dex is negative, so that upper limits become lower ones,
        # while errors stay positive.
        self.factor = self._factor(settings.value, self.stored_unit, self.target_unit)
        # Where the file states no unit, that in the name counts, if it is a multiple of what is asked for.
        self.named_unit = _named_unit(settings.value) if self.stored_unit is None else None
        target = _linear(self.target_unit)
        if self.named_unit is not None and target is not None and target.is_equivalent(self.named_unit):
            self.factor = float(self.named_unit.to(target))
        label = settings.unit or unit_text(self.stored_unit)
        # A logarithm says so in its unit: without a unit of the values, there is nothing between the brackets.
        self.unit = label if settings.transform == "none" else f"{settings.transform}({label or ''})"

    def memberships(self, rows: NDArray[np.int64]) -> tuple[Array | None, tuple[str, ...]]:
        """What is known of the component to which each used row belongs, and the names of such components."""
        given = self.settings.membership
        if given is None or not rows.size:
            return None, ()
        from mixpipe.model.memberships import as_memberships

        names = [given] if isinstance(given, str) else list(given)
        labels = None if self.whole is None else self.whole.labels
        try:
            if len(names) == 1:
                return as_memberships(self._column(names[0])[rows], rows.size, labels)
            return as_memberships(np.stack([self._numbers(name)[rows] for name in names], axis=1), rows.size)
        except ValueError as error:
            what, _, expected = str(error).partition("; expected ")
            raise self.refuse(f"{', '.join(names)}: {what}", expected or "labels, or probabilities") from error

    def samples(self, name: str) -> Array:
        """Several numbers a row, as an array of shape (n_rows, n_samples) with nan where a row has fewer."""
        column = self._column(name)
        values, mask = np.ma.getdata(column), np.ma.getmask(column)
        if values.dtype.kind == "O":
            try:
                parts = [np.atleast_1d(np.asarray([] if row is None else row, dtype=np.float64)) for row in values]
            except (TypeError, ValueError):
                raise self.refuse(
                    f"column {name!r} holds no lists of numbers", "samples: several numbers a row"
                ) from None
            padded = np.full((len(parts), max((part.size for part in parts), default=0)), np.nan)
            for row, part in zip(padded, parts, strict=True):
                row[: part.size] = part
            return padded
        if values.ndim != 2 or values.dtype.kind not in "iuf":
            raise self.refuse(f"column {name!r} holds one value a row", "samples: several numbers a row")
        numbers = values.astype(np.float64)
        numbers[np.broadcast_to(mask, numbers.shape)] = np.nan
        return numbers

    def value(self) -> tuple[Array, NDArray[np.int8] | None]:
        """Values, and flags of those that are limits; the flags are None if there cannot be any limits."""
        settings = self.settings
        values, limits = self._numbers_and_limits(settings.value)
        if limits is None and (settings.limit_flag, settings.upper_limit, settings.lower_limit) == (None, None, None):
            return values if self.factor == 1.0 else values * self.factor, None
        limits = np.zeros(values.size, dtype=np.int8) if limits is None else limits
        if settings.limit_flag is not None:
            flags = read_flags(self._column(settings.limit_flag), settings.limit_flag, self.refuse)
            limits = np.where(limits == VALUE, flags, limits).astype(np.int8)
        if self.factor != 1.0:
            values = values * self.factor
            limits = limits if self.factor > 0.0 else -limits
        for name, limit in ((settings.upper_limit, UPPER), (settings.lower_limit, LOWER)):
            if name is not None:
                factor = self._own_factor(name)
                given = self._numbers(name) * factor
                fill = np.isnan(values) & ~np.isnan(given)
                values = np.where(fill, given, values)
                limits = np.where(fill, limit if factor > 0.0 else -limit, limits).astype(np.int8)
        return values, limits

    def bound(self, given: str | float) -> Array:
        """A bound of the sample: a number in the unit of the results, or a column in its own unit, in the same."""
        if not isinstance(given, str):
            return np.array([given], dtype=np.float64)
        factor = self._own_factor(given)
        if factor < 0.0:
            what = f"column {given!r} of bounds changes its sign between {self.stored_unit} and {self.target_unit}"
            raise self.refuse(what, "bounds that are numbers, or a unit that keeps the sign")
        return self._numbers(given) * factor

    def _own_factor(self, name: str) -> float:
        """The factor that converts another column of values to the target unit, by its unit or that in its name."""
        unit = parse_unit(self._column(name).unit)
        # `file_unit` is that of all columns of values, whatever the file says.
        if unit is not None and self.settings.file_unit is None:
            return self._factor(name, unit, self.target_unit)
        return self.factor * self._named_factor(name)

    def _named_factor(self, name: str, power: int = 1) -> float:
        """The factor between the unit in the name of a column and that in the name of the values, if both have one."""
        unit = _named_unit(name)
        if unit is None or self.named_unit is None:
            return 1.0
        if unit.is_equivalent(self.named_unit):
            # A name has the unit of the values, be it that of their variance.
            return self._factor(name, unit, self.named_unit) ** power
        return self._factor(name, unit, self.named_unit, power)

    def edges(self) -> Array | None:
        """Lower and upper edge of each bin; None if the column is not a histogram."""
        if self.settings.bins is None:
            return None
        low, high, _ = self.settings.bins
        unit = parse_unit(self._column(high).unit)
        if self.settings.file_unit is None and (unit is None) != (self.stored_unit is None):
            raise self.refuse(
                f"column {low!r} has the unit {self.stored_unit} and column {high!r} has {unit}",
                "edges in one unit",
            )
        factors = self.factor, self._own_factor(high)
        edges = [self._numbers(name) * by for name, by in zip((low, high), factors, strict=True)]
        return np.stack(edges if self.factor > 0.0 else edges[::-1], axis=1)

    def intervals(self, value: Array, rows: NDArray[np.int64]) -> Array:
        """The ends of the intervals, after the transform, from which the values of these rows were rounded.

        Values are rounded in the unit and with the digits that they have in the file.
        """
        from mixpipe.model.rounding import Rounding

        rounding, transform = Rounding.of(self.settings.rounding), self.settings.transform
        stored = value / self.factor
        bad = np.flatnonzero(rounding.misfits(stored))
        if bad.size:
            raise self.refuse(
                f"{bad.size} of {value.size} values of column {self.settings.value!r} are not {rounding}, the first "
                f"is {stored[bad[0]]:.15g} in {self.row(int(rows[bad[0]]))}",
                "the `rounding` of all values, or auto",
            )
        low, high = rounding.ends(stored)
        ends = np.stack([low, high] if self.factor > 0.0 else [high, low], axis=1) * self.factor
        bad = np.flatnonzero(ends[:, 0] <= 0.0) if transform != "none" else bad
        if bad.size:
            raise self.refuse(
                f"{bad.size} values may have been zero or less before they were rounded, the first is "
                f"{stored[bad[0]]:g} in {self.row(int(rows[bad[0]]))}",
                f"intervals above zero for transform {transform}; `where` can select them",
            )
        return _transformed(ends, np.zeros(2), transform)[0]

    def weights(self) -> Array | None:
        """Row weights, or the numbers of rows in the bins; None if all are one."""
        name = self.settings.weight if self.settings.bins is None else self.settings.bins[2]
        return None if name is None else self._numbers(name)

    def sigma(self) -> Array:
        """One-sigma errors before scale and floor are applied; bad ones are negative or infinite."""
        error, kind = self.settings.error, self.settings.error_kind
        if error is None:
            return np.zeros(len(self.table))
        if isinstance(error, str):
            return _to_sigma(self._error(error), kind)
        if isinstance(error, int | float):
            return _to_sigma(np.full(len(self.table), error * abs(self.factor) ** _ERROR_POWERS[kind]), kind)
        upper, lower = (
            self._without_sign(name, self._error(name)) if kind == "sigma" else _to_sigma(self._error(name), kind)
            for name in error
        )
        bad = ((upper < 0.0) | (lower < 0.0)) & ~np.isnan(upper) & ~np.isnan(lower)
        with np.errstate(invalid="ignore"):  # of two infinite ones with different signs
            self.uneven = np.maximum(upper, lower) > UNEVEN * np.minimum(upper, lower)
            # A negative factor between the units of file and fit exchanges the sides.
            self.sides = np.stack([lower, upper] if self.factor > 0.0 else [upper, lower])
            return np.where(bad, -1.0, combine_errors(upper, lower))

    def doubtful(self, value: Array) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Kinds of doubts about the errors of these values, with the rows that raise them."""
        if self.uneven is not None and isinstance(self.settings.error, tuple):
            if self.settings.found_model == "symmetric":
                yield "uneven_errors", self.uneven
            upper, lower = (self.stored[name] * self.factor for name in self.settings.error)
            with np.errstate(invalid="ignore"):
                yield "bounds", (lower < upper) & (lower <= value) & (value <= upper)
        for kind in self._named_doubts():
            yield kind, np.ones(len(self.table), dtype=bool)

    def _named_doubts(self) -> Iterator[str]:
        """Kinds of doubts about the errors that their names raise."""
        names = self._error_names()
        if any(map(self._is_relative, names)):
            yield "relative_errors"
        if not names or self.settings.bins is not None:
            return
        value = self.settings.value
        roles = named_roles(value, {name: self.stored[name] for name in names}, self.stored[value])
        named = {roles.get(name) for name in names}
        for kind in ("variance", "ivar"):
            if kind in named and kind != self.settings.error_kind:
                yield f"{kind}_errors"
        if [roles.get(name) for name in names] == ["lower", "upper"]:
            yield "swapped_errors"

    def _is_relative(self, name: str) -> bool:
        """Whether the name or the unit of an error column says that it holds fractions of the values."""
        unit = parse_unit(self._column(name).unit)
        in_percent = unit is not None and unit == parse_unit("%") and self.stored_unit != unit
        return in_percent or RELATIVE_NAME.search(name) is not None

    def _error_names(self) -> tuple[str, ...]:
        error = self.settings.error
        return (error,) if isinstance(error, str) else error if isinstance(error, tuple) else ()

    def suspects(self, limits: NDArray[np.int8]) -> dict[str, list[float]]:
        """Numbers in the columns of values and errors that may stand for missing ones."""
        if self.settings.bins is not None:
            return {}
        found = {}
        for name in dict.fromkeys([self.settings.value, *self._error_names()]):
            numbers = self.stored[name]
            known = numbers[limits == VALUE] if limits.any() else numbers
            found[name] = find_sentinels(known, once=True)
        return {name: listed for name, listed in found.items() if listed}

    def are_suspects(self, suspects: Mapping[str, Sequence[float]]) -> NDArray[np.bool_]:
        """Rows with any of these numbers."""
        return np.any([are_sentinels(self.stored[name], listed) for name, listed in suspects.items()], axis=0)

    def _without_sign(self, name: str, error: Array) -> Array:
        """Lower (or upper) errors as positive numbers; some catalogs give them as offsets that are all negative."""
        if self.whole is None:
            below, signed = count_signs(error)
            return -error if 2 * below > signed else error
        return -error if name in self.whole.negative else error

    def _error(self, name: str) -> Array:
        """An error column in the power of the target unit that its kind implies."""
        power = _ERROR_POWERS[self.settings.error_kind]
        unit = parse_unit(self._column(name).unit) if self.settings.file_unit is None else None
        own = _linear(unit)
        target = _linear(self.target_unit) or self.named_unit
        self._refuse_per_cent(name, target)
        if own is None or target is None:
            factor = abs(self.factor) ** power
            if own is None:
                factor *= abs(self._named_factor(name, power))
            return self._numbers(name) if factor == 1.0 else self._numbers(name) * factor
        return self._numbers(name) * abs(self._factor(name, own, target, power))

    def _refuse_per_cent(self, name: str, target: u.UnitBase | None) -> None:
        """Refuse errors that are per cent by their unit, or by that in their name, of values in another unit."""
        unit = parse_unit(self._column(name).unit or unit_in(name))
        if self.settings.file_unit is None and unit == parse_unit("%") and target and not target.is_equivalent(unit):
            raise self.refuse(
                f"column {name!r} has errors in per cent, and the values are in {target}: each has to be multiplied by "
                "its value, over 100",
                f"a column of errors in {target}; `file_unit` overrides the units of the file",
            )

    def _factor(self, name: str, unit: u.UnitBase | None, target: u.UnitBase | None, power: int = 1) -> float:
        """The factor that converts numbers of column `name` from a power of `unit` to the same power of `target`."""
        if unit is None or target is None or (unit == target and power == 1):
            return 1.0
        from astropy import units as u

        expected = f"({target})^{power}" if power != 1 else str(target)
        way_out = "`file_unit` overrides the units of the file"
        try:
            if isinstance(unit, u.function.FunctionUnitBase) or isinstance(target, u.function.FunctionUnitBase):
                raise u.UnitConversionError
            return float(unit.to(target**power))
        # Units that Astropy does not know cannot be raised to powers or converted.
        except (u.UnitsError, ValueError, TypeError):
            kind = kind_by_unit(unit, target) if name in self._error_names() else None
            if kind is not None:
                way_out = f"`error_kind` {kind}, whose unit this is"
            raise self.refuse(
                f"column {name!r} has the unit {unit}, which cannot be converted to {expected}",
                f"a multiple of {expected}; {way_out}",
            ) from None

    def _column(self, name: str) -> Any:
        if name not in self.table.colnames:
            raise self.refuse(f"no column {name!r}", expected_name(name, self.table.colnames))
        return self.table[name]

    def _numbers(self, name: str) -> Array:
        numbers, limits = self._numbers_and_limits(name)
        if limits is not None and limits.any():
            row = self.row(int(np.flatnonzero(limits)[0]))
            raise self.refuse(f"column {name!r} has a limit in {row}", "numbers; limits belong into the value column")
        return numbers

    def _numbers_and_limits(self, name: str) -> tuple[Array, NDArray[np.int8] | None]:
        column = self._column(name)
        if not (isinstance(column, np.ma.MaskedArray) and column.dtype == np.float64):
            column = as_masked(column)
        values, missing = np.ma.getdata(column), np.ma.getmask(column)
        if values.ndim != 1 or values.dtype.kind not in "biufU":
            held = "several values a row" if values.ndim > 1 or values.dtype.kind == "O" else str(values.dtype)
            raise self.refuse(f"column {name!r} holds {held}", "one number a row")
        if values.dtype.kind != "U":
            numbers = np.asarray(values, dtype=np.float64)
            if np.any(missing):
                numbers = np.where(missing, np.nan, numbers)
            self.stored[name] = numbers
            return numbers, None
        numbers = np.full(len(values), np.nan)
        texts, limits = split_limits(values)
        missing = missing | is_missing_word(values)
        # Some words for a missing value begin with the sign of a limit.
        limits[missing] = VALUE
        try:
            if np.any(np.strings.find(texts[~missing], "_") >= 0):  # Python takes 1_5 for 15
                raise ValueError
            numbers[~missing] = texts[~missing].astype(np.float64)
        except ValueError:
            bad = [row for row in np.flatnonzero(~missing) if not is_number(texts[row])]
            raise self.refuse(
                f"column {name!r} has text in {len(bad)} of {len(values)} rows, the first is "
                f"{excerpt(str(values[bad[0]]))!r}"
                f" in {self.row(int(bad[0]))}",
                numbers_expected([str(texts[row]) for row in bad]),
            ) from None
        self.stored[name] = numbers
        return numbers, limits

    def row(self, index: int) -> str:
        """Name of a row of the table."""
        return name_row(self.table.meta.get("files", ()), index)

    def refuse(self, what: str, expected: str) -> CatalogError:
        """The error to raise for this entry."""
        return CatalogError(what, f"in {self.where}", expected)


def kind_by_unit(error: object, value: object) -> str | None:
    """The kind of the errors of values by the units of both; None if these fit none, or are not known.

    >>> kind_by_unit("Jy2", "mJy"), kind_by_unit("1/Jy2", "Jy"), kind_by_unit("Jy", "Jy"), kind_by_unit("K", "Jy")
    ('variance', 'ivar', 'sigma', None)
    """
    own, unit = _linear(parse_unit(error)), _linear(parse_unit(value))
    if own is None or unit is None or is_unrecognized(own) or is_unrecognized(unit):
        return None
    return next((kind for kind, power in _ERROR_POWERS.items() if own.is_equivalent(unit**power)), None)


def _named_unit(name: str) -> u.UnitBase | None:
    """The unit in brackets behind a name, for files that give none elsewhere; None for what is no unit with a size."""
    unit = parse_unit(unit_in(name))
    if unit is None or is_unrecognized(unit) or unit.is_equivalent(""):
        return None
    return _linear(unit)


def _linear(unit: u.UnitBase | None) -> u.UnitBase | None:
    """The unit of a difference: mag for mag(AB)."""
    return getattr(unit, "function_unit", unit)
