"""Rows of several columns: values with gaps, a covariance of the errors for each row, and weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixpipe.base.arrays import Array, frozen, hash_rows
from mixpipe.base.presentation import plural
from mixpipe.model.cells import with_kind
from mixpipe.model.resolution import NO_RESOLUTION, Resolution, find_resolution

# An eigenvalue of a covariance below minus this part of the largest is no rounding.
_INDEFINITE = 1e-10
# An eigenvalue of the correlations of errors below this is zero: some combination of the values has no error.
_SINGULAR = 1e-12


@dataclass(frozen=True, eq=False)
class JointCells:
    """Rows of several columns, the data of a joint fit; see `from_rows`.

    Parameters
    ----------
    x : ndarray, shape (n_data, n_values)
        Values; nan where a value is missing.
    cov : ndarray, shape (n_data, n_values, n_values)
        Covariances of the errors; what belongs to missing values is not used.
    weights : ndarray, shape (n_data,)
        Row weights, which sum to `n_data`.
    names : tuple of str
        Names of the columns, of length n_dims.
    projections : ndarray, shape (n_data, n_values, n_dims), or None
        The matrix that projects the true values of each row onto what was observed; None if the columns themselves
        were observed.
    resolutions : tuple of Resolution
        The resolution of the values of each column.
    dropped : dict of str to int
        Rows that were left out, by reason.
    n_data : float
        Number of rows, or the sum of their counts, or the effective number of rows of importance weights.
    weight_kind : str
        ``counts`` or ``importance``.
    used : ndarray of int
        Positions of the rows that were given and used.
    n_repeated : int
        Number of rows that repeat another row exactly, where that is known; see `ordered`.
    """

    x: Array
    cov: Array
    weights: Array
    names: tuple[str, ...]
    projections: Array | None
    resolutions: tuple[Resolution, ...]
    dropped: dict[str, int]
    n_data: float
    weight_kind: str
    used: NDArray[np.intp]
    n_repeated: int = 0

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def n_dims(self) -> int:
        """Number of columns of the mixture."""
        return len(self.names)

    @property
    def floors(self) -> Array:
        """Lower bound on the width of every component in each column."""
        return np.array([resolution.floor for resolution in self.resolutions])

    @property
    def squared_weights(self) -> Array:
        """Weights in the variance of a sum over rows: the weights if they count rows, and otherwise their squares."""
        return self.weights if self.weight_kind == "counts" else self.weights**2

    def subset(self, rows: NDArray[np.intp]) -> JointCells:
        """Some rows, with the resolution of all, and as many rows of data as these are."""
        part = {name: getattr(self, name)[rows] for name in ("x", "cov", "weights", "used")}
        projections = None if self.projections is None else self.projections[rows]
        n_data = self.n_data * float(part["weights"].sum() / self.weights.sum())
        return replace(self, **part, projections=projections, n_data=n_data)

    def ordered(self) -> JointCells:
        """The same rows in an order that depends on their contents alone, that of a hash.

        No sum then depends on the order in which they came, and the first rows are a random sample.
        """
        order, n_repeated = content_order(self.x, self.cov, self.weights, self.projections)
        return replace(self.subset(order), n_data=self.n_data, n_repeated=n_repeated)

    def reweighted(self, weights: Array) -> JointCells:
        """The same rows with other weights; rows of weight zero are left out."""
        used = np.flatnonzero(weights > 0.0)
        part = self.subset(used)
        return replace(part, weights=weights[used], n_data=float(weights.sum()))

    def with_common_floor(self) -> JointCells:
        """The same rows with the largest floor of the columns in all of them."""
        largest = max(self.resolutions, key=lambda resolution: resolution.floor)
        return replace(self, resolutions=(largest,) * self.n_dims)

    @classmethod
    def from_rows(
        cls,
        x: ArrayLike,
        err: ArrayLike | None = None,
        cov: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        *,
        weight_kind: str = "auto",
        names: Sequence[str] | None = None,
        projections: ArrayLike | None = None,
        sigma_floor: ArrayLike | None = None,
        resolve: bool = True,
    ) -> JointCells:
        """Check rows of several columns.

        Parameters
        ----------
        x : array_like, shape (n_data, n_values)
            Values; nan where a value is missing.
        err : array_like, shape (n_data, n_values), (n_values,) or scalar, or None
            One-sigma errors without correlations.
        cov : array_like, shape (n_data, n_values, n_values) or (n_values, n_values), or None
            Covariances of the errors; instead of `err`.
        weights : array_like, shape (n_data,), or None
            Row weights.
        weight_kind : str
            ``counts``, ``importance`` or ``auto``: counts if all weights are whole numbers.
        names : sequence of str or None
            Names of the columns of the mixture; x0, x1, ... by default.
        projections : array_like, shape (n_data, n_values, n_dims), or None
            What was observed as linear combinations of the columns of the mixture.
        sigma_floor : array_like, shape (n_dims,), scalar or None
            Lower bound on the width of every component in each column; by default, and for columns where it is nan,
            that of `mixpipe.model.resolution.find_resolution`, and 0 with projections.
        resolve : bool
            Without it, no resolution is determined where `sigma_floor` does not give one: for blocks of rows.

        Raises
        ------
        ValueError
            For shapes that do not fit, infinite values, negative errors or weights, or no usable row. Rows without any
            value and rows whose `cov` is no covariance are counted in `dropped`.

        Examples
        --------
        >>> cells = JointCells.from_rows([[1.0, 2.0], [3.0, np.nan], [np.nan, np.nan]], err=0.1, names=["a", "b"])
        >>> len(cells), cells.dropped
        (2, {'no value in any column': 1})
        """
        values = np.array(x, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] == 0:
            raise ValueError(f"x must have shape (n_data, n_dims), found {values.shape}")
        n_data, n_values = values.shape
        covs = error_covariances(err, cov, n_data, n_values)
        project = None if projections is None else np.array(projections, dtype=np.float64)
        if project is not None and (project.ndim != 3 or project.shape[:2] != (n_data, n_values)):
            raise ValueError(f"projections must have shape ({n_data}, {n_values}, n_dims), found {project.shape}")
        if project is not None and not np.all(np.isfinite(project)):
            raise ValueError("projections must be finite")
        n_dims = n_values if project is None else project.shape[2]
        labels = tuple(f"x{k}" for k in range(n_dims)) if names is None else tuple(map(str, names))
        if len(labels) != n_dims or len(set(labels)) != n_dims:
            raise ValueError(f"names must be {n_dims} different names, found {labels}")
        infinite = np.argwhere(np.isinf(values))
        if infinite.size:
            row, column = infinite[0]
            raise ValueError(
                f"column {labels[column] if project is None else column} must be finite or nan; {len(infinite)} values "
                f"are infinite, the first in row {row}"
            )
        counts = _row_weights(weights, n_data)
        missing = np.isnan(values)
        unknown = _unknown_errors(covs, missing)
        if project is None and unknown.any():
            # A value with an infinite error says nothing.
            values[unknown] = np.nan
            missing |= unknown
        keep, dropped = _usable(covs, missing, counts)
        if not keep.any():
            raise ValueError(f"no usable row among {n_data}" + "".join(f"; {k}: {v}" for k, v in dropped.items()))
        if project is not None and missing[keep].any():
            raise ValueError("rows with projections must have all their values; expected no nan")
        used = np.flatnonzero(keep)
        values, covs = values[used], covs[used]
        counts, kind = (counts[used], "counts") if weights is None else with_kind(counts[used], weight_kind, used)
        project = None if project is None else project[used]
        return cls(
            frozen(values),
            frozen(covs),
            frozen(counts),
            labels,
            project,
            _resolutions(
                values, covs, counts if kind == "counts" else np.ones(len(used)), labels, project, sigma_floor, resolve
            ),
            dropped,
            float(counts.sum()),
            kind,
            used,
        )


def error_covariances(err: ArrayLike | None, cov: ArrayLike | None, n_data: int, n_values: int) -> Array:
    """Covariances of the errors of rows, from errors or covariances that were given."""
    if err is not None and cov is not None:
        raise ValueError("err and cov were given; expected one of them")
    if cov is not None:
        given = np.array(cov, dtype=np.float64)
        if given.shape not in ((n_data, n_values, n_values), (n_values, n_values)):
            raise ValueError(f"cov must have shape ({n_data}, {n_values}, {n_values}), found {given.shape}")
        return np.array(np.broadcast_to(given, (n_data, n_values, n_values)))
    errors = np.zeros((n_data, n_values))
    if err is not None:
        given = np.array(err, dtype=np.float64)
        if given.shape not in ((), (n_values,), (n_data, n_values)):
            raise ValueError(f"err must have shape ({n_data}, {n_values}), found {given.shape}")
        errors[:] = given
    negative = np.argwhere(errors < 0.0)
    if negative.size:
        row, column = negative[0]
        raise ValueError(f"err must be >= 0; {len(negative)} are negative, the first in row {row}, column {column}")
    covs = np.zeros((n_data, n_values, n_values))
    covs[:, np.arange(n_values), np.arange(n_values)] = errors**2
    return covs


def _row_weights(weights: ArrayLike | None, n_data: int) -> Array:
    if weights is None:
        return np.ones(n_data)
    counts = np.array(weights, dtype=np.float64)
    if counts.shape != (n_data,):
        raise ValueError(f"weights must have shape ({n_data},), found {counts.shape}")
    bad = np.flatnonzero(~(np.isfinite(counts) & (counts >= 0.0)))
    if bad.size:
        raise ValueError(
            f"weights must be finite and >= 0; {bad.size} are not, the first is {counts[bad[0]]} in row {bad[0]}"
        )
    return counts


def _unknown_errors(covs: Array, missing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    variances = np.diagonal(covs, axis1=1, axis2=2)
    return np.isposinf(variances) & ~missing


def _usable(covs: Array, missing: NDArray[np.bool_], counts: Array) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Rows that can be used, and the number of others for each reason; entries of missing values become zero."""
    for a in range(missing.shape[1]):
        gap = missing[:, a]
        if gap.any():
            covs[gap, a, :] = 0.0
            covs[gap, :, a] = 0.0
    keep = np.ones(len(counts), dtype=bool)
    dropped: dict[str, int] = {}

    def drop(reason: str, rows: Any) -> None:
        number = int(np.count_nonzero(rows & keep))
        if number:
            dropped[reason] = number
        keep[rows] = False

    drop("no value in any column", missing.all(axis=1))
    drop("error that is missing or not finite", ~np.isfinite(covs).all(axis=(1, 2)))
    drop("errors without a valid covariance", keep & ~are_covariances(covs, keep))
    keep &= counts > 0.0
    return keep, dropped


def are_covariances(covs: Array, rows: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Which of the rows asked for have symmetric matrices without a negative eigenvalue, but for rounding."""
    if rows is None:
        rows = np.ones(len(covs), dtype=bool)
    valid = np.ones(len(covs), dtype=bool)
    n_values = covs.shape[1]
    diagonal = np.diagonal(covs, axis1=1, axis2=2)
    off = covs.copy()
    off[:, np.arange(n_values), np.arange(n_values)] = 0.0
    correlated = rows & np.any(off != 0.0, axis=(1, 2))
    valid[rows & np.any(diagonal < 0.0, axis=1)] = False
    scale = np.sqrt(np.maximum(diagonal, 0.0))
    scale = np.where(scale > 0.0, scale, 1.0)
    for block in np.array_split(np.flatnonzero(correlated), max(1, int(correlated.sum()) // 100_000)):
        if not block.size:
            continue
        matrix = covs[block] / (scale[block, :, None] * scale[block, None, :])
        symmetric = np.all(np.abs(matrix - np.swapaxes(matrix, 1, 2)) <= 1e-6, axis=(1, 2))
        roots = np.linalg.eigvalsh(0.5 * (matrix + np.swapaxes(matrix, 1, 2)))
        valid[block] &= symmetric & (roots[:, 0] >= -_INDEFINITE * np.maximum(roots[:, -1], 1.0))
    return valid


def _without_error(covs: Array) -> NDArray[np.bool_]:
    """Values in combinations that have no error: those with correlated errors in rows with a singular matrix."""
    n_values = covs.shape[1]
    index = np.arange(n_values)
    off = covs.copy()
    off[:, index, index] = 0.0
    linked = np.any(off != 0.0, axis=2)
    rows = np.flatnonzero(linked.any(axis=1))
    # What is not linked to anything has the eigenvalue 1.
    variances = np.diagonal(covs[rows], axis1=1, axis2=2)
    scale = np.sqrt(np.where(linked[rows] & (variances > 0.0), variances, 1.0))
    correlations = off[rows] / (scale[:, :, None] * scale[:, None, :])
    correlations[:, index, index] = 1.0
    # A determinant is faster than eigenvalues, and no larger than the least of them times e.
    rows, correlations = (part[np.linalg.det(correlations) < math.e * _SINGULAR] for part in (rows, correlations))
    singular = rows[np.linalg.eigvalsh(correlations)[:, 0] < _SINGULAR]
    found = np.zeros_like(linked)
    found[singular] = linked[singular]
    return found


def _resolutions(
    values: Array,
    covs: Array,
    counts: Array,
    labels: tuple[str, ...],
    projections: Array | None,
    sigma_floor: ArrayLike | None,
    resolve: bool,
) -> tuple[Resolution, ...]:
    variances = np.array(np.diagonal(covs, axis1=1, axis2=2))
    if projections is None:
        # Some combination of values without an error is as bad as one value without any.
        variances[_without_error(covs)] = 0.0
    floors = np.full(len(labels), np.nan)
    if sigma_floor is not None:
        given = np.asarray(sigma_floor, dtype=np.float64)
        if given.shape not in ((), (len(labels),)):
            raise ValueError(
                f"sigma_floor must be one number or one for each of {len(labels)} columns, found {sigma_floor}"
            )
        floors[:] = given
        if np.any(np.isinf(floors) | (floors < 0.0)):
            raise ValueError(f"sigma_floor must be finite and >= 0, found {sigma_floor}")
    found = []
    for a, name in enumerate(labels):
        if not np.isnan(floors[a]):
            exact = np.zeros(0) if projections is not None else variances[~np.isnan(values[:, a]), a] == 0.0
            if floors[a] == 0.0 and exact.any():
                raise ValueError(
                    f"sigma_floor must be > 0 where an error is zero, as in {plural(exact.sum(), 'row')} of {name}"
                )
            found.append(Resolution(floor=float(floors[a]), cause="given"))
            continue
        if projections is not None and np.any(variances == 0.0):
            rows = np.any(variances == 0.0, axis=1)
            raise ValueError(
                f"an error is zero in {plural(rows.sum(), 'row')}, the first of them row {np.argmax(rows)}: with "
                "projections no smallest width follows from the values; give sigma_floor"
            )
        seen = np.zeros(0, dtype=bool) if projections is not None else ~np.isnan(values[:, a])
        if resolve and seen.any():
            found.append(find_resolution(values[seen, a], np.sqrt(variances[seen, a]), counts[seen]))
        else:
            found.append(NO_RESOLUTION)
    return tuple(found)


def content_order(
    x: Array, cov: Array, weights: Array, projections: Array | None = None
) -> tuple[NDArray[np.intp], int]:
    """The order of a hash of the contents of the rows, and the number of rows that repeat another one."""
    state = content_hash(x, cov, weights, projections)
    order = np.argsort(state, kind="stable")
    return order, int(np.count_nonzero(np.diff(state[order]) == 0))


def content_hash(x: Array, cov: Array, weights: Array, projections: Array | None = None) -> NDArray[np.uint64]:
    """A hash of the contents of each row."""
    n_values = x.shape[1]
    lower = zip(*np.tril_indices(n_values), strict=True)
    columns = [x[:, a] for a in range(n_values)] + [cov[:, a, b] for a, b in lower] + [weights]
    if projections is not None:
        columns += list(projections.reshape(len(x), -1).T)
    return hash_rows(columns)
