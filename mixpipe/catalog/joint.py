"""Conversion of a table, by the settings of a joint entry, to values of several columns with covariances."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.errors import CatalogError
from mixpipe.base.presentation import plural
from mixpipe.catalog.columns import ColumnData, name_row, prepare_column
from mixpipe.catalog.doubts import with_files
from mixpipe.catalog.files import place
from mixpipe.catalog.limits import VALUE
from mixpipe.catalog.source import expected_name
from mixpipe.config.settings import ColumnSettings, JointSettings

if TYPE_CHECKING:
    from astropy.table import Table

    from mixpipe.model.joint.cells import JointCells

# Reasons why a row is not used; a row with several reasons counts under the first of them.
JOINT_REASONS = (
    "cut",
    "no_value",
    "missing_value",
    "missing_correlation",
    "bad_correlation",
    "bad_covariance",
    "missing_weight",
    "bad_weight",
    "zero_weight",
)
# Of more rows than this, evenly spaced ones are looked at for their grain before a fit.
_LOOKED_AT = 200_000
# A correlation of numbers in single precision may exceed 1 by so much.
_ROUNDED = 1e-6


@dataclass(frozen=True, eq=False)
class JointAccount:
    """What became of the rows of a joint entry; see `mixpipe.catalog.columns.Account`.

    Parameters
    ----------
    names : tuple of str
        What is fitted: columns, or their combinations.
    n_read, n_used : int
    dropped : mapping of str to int
        Rows for each of `JOINT_REASONS`.
    unusable : mapping of str to mapping of str to int
        For each column, its values that count as missing, by reason: those of a column, and ``limit``.
    patterns : mapping of tuple of str to int
        Rows that were used, by those of `names` that they have.
    first : mapping of str to str
        The first row for each reason.
    weighted : bool
    n_fractional : int
        Rows whose weight is no whole number.
    weight_kind : str
    units : tuple of str or None
    """

    names: tuple[str, ...]
    n_read: int
    n_used: int
    dropped: Mapping[str, int]
    unusable: Mapping[str, Mapping[str, int]]
    patterns: Mapping[tuple[str, ...], int]
    first: Mapping[str, str]
    weighted: bool
    n_fractional: int
    weight_kind: str
    units: tuple[str | None, ...]

    @property
    def found_kind(self) -> str:
        """The kind of the weights, ``counts`` or ``importance``."""
        if self.weight_kind == "auto":
            return "importance" if self.n_fractional else "counts"
        return self.weight_kind

    def __add__(self, other: JointAccount) -> JointAccount:
        """The account of the rows of both."""
        return replace(
            self,
            n_read=self.n_read + other.n_read,
            n_used=self.n_used + other.n_used,
            dropped={reason: number + other.dropped[reason] for reason, number in self.dropped.items()},
            unusable={
                name: dict(Counter(found) + Counter(other.unusable[name])) for name, found in self.unusable.items()
            },
            patterns=dict(Counter(self.patterns) + Counter(other.patterns)),
            first={**other.first, **self.first},
            weighted=self.weighted or other.weighted,
            n_fractional=self.n_fractional + other.n_fractional,
        )

    def dropped_counts(self) -> str:
        """The dropped rows as text: ``40 cut, 2 bad_correlation``, or ``none``."""
        return ", ".join(f"{count} {reason}" for reason, count in self.dropped.items() if count) or "none"

    def check_usable(self, where: str) -> None:
        """Refuse an entry to which nothing can be fitted.

        Raises
        ------
        CatalogError
            If no row can be used, or a column has no value.
        """
        if not self.n_read:
            raise CatalogError("the table has no rows", where, "a header and rows")
        if not self.n_used:
            what = f"no row of {self.n_read} can be used (dropped: {self.dropped_counts()})"
            positive = " of positive weight" if self.dropped["zero_weight"] else ""
            raise CatalogError(what, where, f"at least one row{positive}")
        seen = {name for names in self.patterns for name in names}
        lacking = next((name for name in self.names if name not in seen), None)
        if lacking is None:
            return
        if lacking not in self.unusable:
            raise CatalogError(
                f"combination {lacking!r} has no value that can be used", where, "rows with all of its columns"
            )
        found = ", ".join(f"{number} {reason}" for reason, number in self.unusable[lacking].items())
        raise CatalogError(f"column {lacking!r} has no value that can be used ({found})", where, "a column with some")

    def doubts(self) -> Iterator[str]:
        """What a reader has to know of the rows, in words."""
        for reason in ("bad_correlation", "bad_covariance", "missing_correlation"):
            number = self.dropped.get(reason, 0)
            if number:
                words = {
                    "bad_correlation": "a correlation outside [-1, 1]",
                    "bad_covariance": "errors and correlations that are no covariance",
                    "missing_correlation": "a missing correlation",
                }[reason]
                rows = plural(number, "row")
                yield f"{rows} with {words}: left out, the first is {self.first[reason]}"
        for name, found in self.unusable.items():
            bad = {reason: number for reason, number in found.items() if reason != "missing_value"}
            if bad:
                words = ", ".join(f"{number} {reason}" for reason, number in bad.items())
                yield f"{name}: values that cannot be used count as missing ({words})"


@dataclass(frozen=True, eq=False)
class JointData:
    """Values of several columns of the usable rows, with the covariances of their errors.

    Parameters
    ----------
    names : tuple of str
        Columns, or their combinations.
    x : ndarray, shape (n_used, n_dims)
        Values; nan where missing.
    cov : ndarray, shape (n_used, n_dims, n_dims)
    weights : ndarray, shape (n_used,)
    rows : ndarray of int, shape (n_used,)
        Positions in the table.
    sigma_floor : ndarray, shape (n_dims,)
        Lower bounds on the widths that are set; nan where none is.
    account : JointAccount
    files : sequence of mapping
        As in `ColumnData`.
    """

    names: tuple[str, ...]
    x: Array
    cov: Array
    weights: Array
    rows: NDArray[np.intp]
    sigma_floor: Array
    account: JointAccount
    files: Sequence[Mapping[str, Any]] = ()

    def __len__(self) -> int:
        return len(self.x)

    def check_floors(self, where: str) -> None:
        """Refuse a floor of zero if an error of the same column is zero; see `ColumnData.check_floor`.

        Raises
        ------
        CatalogError
            For the first value whose error is zero; `where` describes the fit.
        """
        for a, name in enumerate(self.names):
            exact = (self.cov[:, a, a] == 0.0) & ~np.isnan(self.x[:, a])
            if self.sigma_floor[a] == 0.0 and exact.any():
                row = name_row(self.files, int(self.rows[np.argmax(exact)]))
                raise CatalogError(
                    f"sigma_floor 0 for {name!r} with an error of zero in {row}",
                    where,
                    "errors > 0 in every row, or a sigma_floor > 0",
                )

    def grain(self) -> Iterator[str]:
        """What the values of each column resolve, in words, where errors are smaller; of many rows, by some of them."""
        every = -(-len(self) // _LOOKED_AT) or 1
        some = replace(self, x=self.x[::every], cov=self.cov[::every], weights=self.weights[::every])
        for name, resolution in zip(self.names, some.cells(self.account.found_kind).resolutions, strict=True):
            if resolution.cause != "crowding" and (note := resolution.note()):
                yield f"{name}: {note}"

    def cells(self, kind: str, *, resolve: bool = True) -> JointCells:
        """The rows as cells; the kind of the weights is that of all rows. Without `resolve`, no grain is looked for."""
        from mixpipe.model.joint.cells import JointCells

        cells = JointCells.from_rows(
            self.x,
            cov=self.cov,
            weights=self.weights,
            weight_kind=kind,
            names=self.names,
            sigma_floor=self.sigma_floor,
            resolve=resolve,
        )
        # The position among the usable rows is not the number of a row of the catalog.
        return replace(cells, resolutions=tuple(replace(one, first=-1) for one in cells.resolutions))


@dataclass(eq=False)
class JointReader:
    """The rows of a joint entry, block by block.

    Parameters
    ----------
    tables : callable
        Each call reads all rows, as tables with the required columns.
    settings : JointSettings
    where : str or None
        Row cut.
    catalog, release, place : str
        For error messages.
    tell : callable or None
        Called with the account of the rows as soon as it is known.
    """

    tables: Callable[[], Iterator[Table]]
    settings: JointSettings
    where: str | None
    catalog: str
    release: str
    place: str
    tell: Callable[[JointAccount], None] | None = None
    account: JointAccount | None = field(default=None, init=False)
    _files: dict[str, Mapping[str, Any]] = field(default_factory=dict, init=False)

    @property
    def files(self) -> list[Mapping[str, Any]]:
        """The files that have been read."""
        return list(self._files.values())

    @property
    def known(self) -> JointAccount:
        """The account of the rows, once they have been read."""
        if self.account is None:
            raise ValueError("the rows have not been read yet")
        return self.account

    def blocks(self) -> Iterator[tuple[Table, JointData, int]]:
        """Each table, its usable data, and the number of rows before it.

        Raises
        ------
        CatalogError
            For a floor of zero where an error is zero, and at the end of the first pass, if nothing can be fitted.
        """
        n_before, account = 0, None
        for table in self.tables():
            data = prepare_joint(table, self.settings, self.where, self.catalog, self.release)
            data.check_floors(self.place)
            account = data.account if account is None else account + data.account
            self._files = with_files(self._files, data.files)
            yield table, data, n_before
            n_before += len(table)
        if self.account is None and account is not None:
            if self.tell is not None:
                self.tell(account)
            account.check_usable(self.place)
            self.account = account


def prepare_joint(
    table: Table, settings: JointSettings, where: str | None = None, catalog: str = "", release: str = ""
) -> JointData:
    """Values and covariances of the usable rows.

    Each column is prepared as by itself (`prepare_column`). What cannot be used of it counts as missing, with its
    reason.

    Parameters
    ----------
    table : Table
        With the `required_columns` of the entry.
    settings : JointSettings
    where : str or None
        Row cut.
    catalog, release : str
        For error messages.

    Raises
    ------
    CatalogError
        For columns that do not exist, hold no numbers, or have units that cannot be converted.
    """

    def read(column: ColumnSettings) -> ColumnData:
        return prepare_column(table, column, where=where, catalog=catalog, release=release)

    if settings.covariance is None:
        # Errors of several columns are Gaussian: those of a pair of error columns are the mean of both.
        columns = [read(replace(column, error_model="symmetric")) for column in settings.columns]
    else:
        # An error of 1 becomes the derivative of what is fitted by what the file has.
        columns = [read(replace(column, error=1.0, error_model=None)) for column in settings.columns]
    n_rows, n_dims = len(table), len(columns)
    x, err = np.full((2, n_rows, n_dims), np.nan)
    unusable: dict[str, dict[str, int]] = {}
    for a, data in enumerate(columns):
        values = data.limits == VALUE
        rows = data.rows[values]
        x[rows, a], err[rows, a] = data.x[values], data.err[values]
        found = {reason: number for reason, number in data.dropped.items() if number and reason != "cut"}
        if rows.size < len(data):
            found["limit"] = len(data) - rows.size
        unusable[data.name] = found
    reasons = np.full(n_rows, -1, dtype=np.int8)

    def drop(reason: str, which: NDArray[np.bool_]) -> None:
        reasons[which & (reasons < 0)] = JOINT_REASONS.index(reason)

    kept = np.ones(n_rows, dtype=bool)
    if where is not None:
        from mixpipe.catalog.expressions import Expression

        kept = Expression.parse(where).evaluate(table)
    drop("cut", ~kept)
    cov = np.zeros((n_rows, n_dims, n_dims))
    # A column that is reversed has correlations of the other sign.
    signs = np.array([-1.0 if data.is_reversed else 1.0 for data in columns])
    filled = np.where(np.isnan(err), 0.0, err) * signs
    if settings.covariance is None:
        cov[:, range(n_dims), range(n_dims)] = filled**2
        for first, second, given in settings.correlation:
            a, b = (next(k for k, data in enumerate(columns) if data.name == name) for name in (first, second))
            correlation = np.full(n_rows, given) if isinstance(given, float) else _numbers(read, given, n_rows)
            both = ~(np.isnan(x[:, a]) | np.isnan(x[:, b]))
            drop("missing_correlation", both & np.isnan(correlation))
            drop("bad_correlation", both & (np.abs(correlation) > 1.0 + _ROUNDED))
            cov[:, a, b] = np.where(both, np.clip(correlation, -1.0, 1.0) * filled[:, a] * filled[:, b], 0.0)
            cov[:, b, a] = cov[:, a, b]
    else:
        lower = [(a, b) for a in range(n_dims) for b in range(a + 1)]
        if len(settings.covariance) == 1:
            entries = _triangle(table, settings.covariance[0], lower)
        else:
            entries = [_numbers(read, name, n_rows) for name in settings.covariance]
        for (a, b), entry in zip(lower, entries, strict=True):
            both = ~(np.isnan(x[:, a]) | np.isnan(x[:, b]))
            drop("missing_correlation", both & np.isnan(entry))
            cov[:, a, b] = cov[:, b, a] = np.where(both & ~np.isnan(entry), entry * filled[:, a] * filled[:, b], 0.0)
    names = settings.names
    units: tuple[str | None, ...] = tuple(data.unit for data in columns)
    if settings.linear is not None:
        matrix = np.array([coefficients for _, coefficients in settings.linear])
        lacking = np.isnan(x) @ (matrix != 0.0).T.astype(float) > 0.0
        x = np.where(lacking, np.nan, np.where(np.isnan(x), 0.0, x) @ matrix.T)
        cov = np.where(lacking[:, :, None] | lacking[:, None, :], 0.0, matrix @ cov @ matrix.T)
        units = tuple(_common_unit(units, row) for row in matrix)
    missing = np.isnan(x)
    drop("no_value", missing.all(axis=1))
    if settings.missing == "drop":
        drop("missing_value", missing.any(axis=1))
    weights = np.ones(n_rows)
    if settings.weight is not None:
        found_weights = read(_plain(settings.weight))
        weights = np.full(n_rows, np.nan)
        weights[found_weights.rows] = found_weights.x
        drop("missing_weight", np.isnan(weights))
        drop("bad_weight", weights < 0.0)
        drop("zero_weight", weights == 0.0)
    from mixpipe.model.joint.cells import are_covariances

    drop("bad_covariance", ~are_covariances(cov, reasons < 0))
    used = np.flatnonzero(reasons < 0)
    files = table.meta.get("files", ())
    account = JointAccount(
        names=names,
        n_read=n_rows,
        n_used=used.size,
        dropped={reason: int(np.count_nonzero(reasons == code)) for code, reason in enumerate(JOINT_REASONS)},
        unusable=unusable,
        patterns=_patterns(missing[used], names),
        first={
            reason: name_row(files, int(np.argmax(reasons == code)))
            for code, reason in enumerate(JOINT_REASONS)
            if np.any(reasons == code)
        },
        weighted=settings.weight is not None and bool(np.any(weights[used] != 1.0)),
        n_fractional=int(np.count_nonzero(weights[used] % 1.0)),
        weight_kind=settings.weight_kind,
        units=units,
    )
    floors = [math.nan if column.sigma_floor is None else column.sigma_floor for column in settings.columns]
    return JointData(
        names,
        x[used],
        cov[used],
        weights[used],
        used,
        np.array(floors) if settings.linear is None else np.full(len(names), math.nan),
        account,
        files,
    )


def _plain(name: str) -> ColumnSettings:
    return ColumnSettings(name=name, value=name)


def _numbers(read: Callable[[ColumnSettings], ColumnData], name: str, n_rows: int) -> Array:
    """A column of numbers; nan where there is none."""
    data = read(_plain(name))
    numbers = np.full(n_rows, np.nan)
    numbers[data.rows] = data.x
    return numbers


def _triangle(table: Table, name: str, lower: Sequence[tuple[int, int]]) -> list[Array]:
    """The lower triangle of covariances in a column of arrays, which are whole matrices or the triangle, row by row."""
    n_dims = lower[-1][0] + 1
    if name not in table.colnames:
        raise CatalogError(f"no column {name!r}", place(table), expected_name(name, table.colnames))
    stored = table[name]
    rows = np.ma.filled(np.ma.asarray(stored, dtype=np.float64), np.nan) if stored.dtype.kind in "iuf" else np.empty(0)
    flat = rows.reshape(len(table), math.prod(rows.shape[1:])) if rows.ndim > 1 else np.empty((len(table), 0))
    if flat.shape[1] not in (len(lower), n_dims**2):
        held = f"arrays of {flat.shape[1]} numbers" if flat.shape[1] else "no arrays of numbers of one length"
        expected = f"{n_dims} x {n_dims} covariances, or the {len(lower)} of their lower triangle"
        raise CatalogError(f"column {name!r} holds {held}", place(table), expected)
    places = [a * n_dims + b for a, b in lower] if flat.shape[1] == n_dims**2 else range(len(lower))
    return [flat[:, k] for k in places]


def _common_unit(units: Sequence[str | None], coefficients: Array) -> str | None:
    """The unit of a combination: that of its columns, if they have the same."""
    found = {unit for unit, coefficient in zip(units, coefficients, strict=True) if coefficient}
    return found.pop() if len(found) == 1 else None


def _patterns(missing: NDArray[np.bool_], names: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    """Rows by the columns that they have, most first."""
    kinds, numbers = np.unique(~missing, axis=0, return_counts=True)
    order = np.argsort(-numbers, kind="stable")
    return {tuple(np.array(names)[kinds[k]].tolist()): int(numbers[k]) for k in order}
