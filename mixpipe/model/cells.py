"""Cells, the only kind of data that engines accept: values with errors and weights, in frozen read-only arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixpipe.base.arrays import Array, frozen
from mixpipe.model.resolution import NO_RESOLUTION, Resolution, find_resolution
from mixpipe.model.window import Window

if TYPE_CHECKING:
    pass

# Meaning of the row weights: numbers of rows, or shares of the population, whose overall scale is arbitrary.
WEIGHT_KINDS = ("auto", "counts", "importance")

# Width that a sketch resolves by default, as a fraction of the range of the central 80 % of the values.
_DEFAULT_BASE = 1 / 256


@dataclass(frozen=True, eq=False)
class Cells:
    """Weighted values with errors: rows of a catalog, points that stand for many rows, or bins of a histogram.

    Parameters
    ----------
    x : array_like, shape (n_cells,)
        Values; the centres of bins.
    err : array_like, shape (n_cells,)
        One-sigma Gaussian errors, >= 0, in the unit of `x`.
    weights : array_like, shape (n_cells,)
        Number of rows that each cell stands for, >= 0; their sum is `n_data`.
    resolution : Resolution
        The lower bound that the grain of the values sets on the sigmas, and its cause.
    limits : array_like of int, shape (n_cells,), or None
        -1 where `x` is an upper limit, 1 where it is a lower limit, 0 where it is a value; None if all are values.
    window : Window or None
        Where, and with which probability, an observed value had to lie to enter the sample.
    weight_kind : str
        ``counts`` if the weight of a cell is the number of rows that it stands for, or ``importance`` if each cell is
        one row that represents a larger or smaller share of the population than others do.
    edges : array_like, shape (n_cells, 2), or None
        Lower and upper edge of each bin, between which the observed values lie; None if the cells are not bins.
    memberships : array_like, shape (n_cells, n_known + 1), or None
        Prior probabilities, up to a factor, of belonging to each of the components with known members, and last that of
        belonging to any one of the others; None if nothing is known.
    labels : tuple of str
        Names of the components with known members.
    n_uninformative : int
        Number of rows with infinite errors, which carry no information and have weight zero.

    Raises
    ------
    ValueError
        For arrays of unequal length, no positive weight, values that are not finite, or values outside the window.
    """

    x: Array
    err: Array
    weights: Array
    resolution: Resolution = NO_RESOLUTION
    limits: NDArray[np.int8] | None = None
    window: Window | None = None
    weight_kind: str = "counts"
    edges: Array | None = None
    n_uninformative: int = 0
    memberships: Array | None = None
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("x", "err", "weights"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        if not (self.x.ndim == 1 and self.x.shape == self.err.shape == self.weights.shape):
            raise ValueError(
                f"x, err and weights must be one-dimensional and of one length, "
                f"found shapes {self.x.shape}, {self.err.shape}, {self.weights.shape}"
            )
        for name, smallest in (("x", -np.inf), ("err", 0.0), ("weights", 0.0)):
            array = getattr(self, name)
            bad = np.flatnonzero(~(np.isfinite(array) & (array >= smallest)))
            if bad.size:
                wanted = "finite values" if name == "x" else "finite values >= 0"
                raise ValueError(
                    f"{name} has {bad.size} bad values, the first at index {bad[0]} ({array[bad[0]]}); expected "
                    f"{wanted}"
                )
        if not self.weights.sum() > 0:
            raise ValueError("no data: expected at least one value with a positive weight")
        if self.weight_kind not in ("counts", "importance"):
            raise ValueError(f"unknown weight_kind {self.weight_kind!r}: expected counts or importance")
        self._check_limits()
        self._check_window()
        self._check_edges()
        self._check_memberships()

    def _check_limits(self) -> None:
        if self.limits is None:
            return
        limits = np.array(self.limits, dtype=np.int8)
        if limits.shape != self.x.shape or not np.array_equal(limits, self.limits) or np.any(abs(limits) > 1):
            raise ValueError("limits must be -1, 0 or 1, one for each value")
        limits.flags.writeable = False
        object.__setattr__(self, "limits", limits if limits.any() else None)

    def _check_window(self) -> None:
        if self.window is None:
            return
        if self.limits is not None:
            raise ValueError("limits and a window together: expected one of them")
        if self.window.by_row and len(self.window) != self.x.size:
            raise ValueError(f"the window has bounds for {len(self.window)} rows, expected {self.x.size}")
        outside = np.flatnonzero(self.window.probability(self.x) == 0.0)
        if outside.size:
            low, high = self.window.ends
            raise ValueError(
                f"{outside.size} values lie outside the window from {low} to {high}, or where nothing is detected, the "
                f"first at index {outside[0]} ({self.x[outside[0]]})"
            )

    def _check_edges(self) -> None:
        if self.edges is None:
            return
        edges = frozen(self.edges)
        object.__setattr__(self, "edges", edges)
        if self.limits is not None or self.window is not None:
            raise ValueError("bins with limits or a window: expected bins alone")
        if edges.shape != (self.x.size, 2) or not np.all(np.isfinite(edges)):
            raise ValueError(f"edges must be two finite numbers for each bin, found shape {edges.shape}")
        empty = np.flatnonzero(~(edges[:, 0] < edges[:, 1]))
        if empty.size:
            low, high = edges[empty[0]]
            raise ValueError(f"the lower edge of bin {empty[0] + 1}, {low:g}, is not below its upper edge, {high:g}")

    def _check_memberships(self) -> None:
        if self.memberships is None:
            return
        given = frozen(self.memberships)
        object.__setattr__(self, "memberships", given)
        if given.ndim != 2 or given.shape[0] != self.x.size or given.shape[1] < 2:
            raise ValueError(f"memberships must be one row for each value, found shape {given.shape}")
        if not self.labels:
            object.__setattr__(self, "labels", tuple(str(j + 1) for j in range(given.shape[1] - 1)))
        bad = np.flatnonzero(~np.all(np.isfinite(given) & (given >= 0.0), axis=1) | ~np.any(given > 0.0, axis=1))
        if bad.size:
            raise ValueError(
                f"memberships has {bad.size} bad rows, the first at index {bad[0]} ({given[bad[0]]}); expected "
                "probabilities, not all zero"
            )

    @property
    def are_values(self) -> bool:
        """Whether every cell is a measured value, the sample is not truncated, and no memberships are known."""
        return self.limits is None and self.window is None and self.edges is None and self.memberships is None

    @property
    def squared_weights(self) -> Array:
        """Weights in the variance of a sum over rows: the weights if they count rows, and otherwise their squares."""
        return self.weights if self.weight_kind == "counts" else self.weights**2

    @classmethod
    def from_rows(
        cls,
        x: ArrayLike,
        err: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        *,
        limits: ArrayLike | None = None,
        truncated: Any = None,
        detection: Any = None,
        weight_kind: str = "auto",
        memberships: Array | None = None,
        labels: tuple[str, ...] = (),
    ) -> Cells:
        """One cell per row.

        Parameters
        ----------
        x : array_like, shape (n_data,)
            Values.
        err : array_like, shape (n_data,), float or None
            One-sigma errors; a scalar means equal errors, None no errors. A row with an infinite error carries no
            information, and its weight becomes zero.
        weights : array_like, shape (n_data,), or None
            Row weights; 1 for each row if None. Rows of weight zero are ignored.
        limits, memberships, labels
            As in `Cells`.
        truncated, detection
            The window of the sample, as in `mixpipe.model.window.Window.of`.
        weight_kind : str
            ``counts``: each row stands for as many equal rows as its weight says. ``importance``: a weight is the share
            of the population that the row represents, such as an inverse selection probability; the overall scale is
            arbitrary, and the weights are scaled to sum to the effective number of rows, ``(sum w)^2 / sum w^2`` (Kish
            1965). ``auto``: counts if all weights are whole numbers, importance otherwise.

        Examples
        --------
        >>> Cells.from_rows([1.0, 2.0], err=0.1).n_data
        2.0
        >>> Cells.from_rows([1.0, 2.0, 3.0], weights=[0.02, 0.02, 0.01]).weights
        array([1.11111111, 1.11111111, 0.55555556])
        """
        values = np.atleast_1d(np.asarray(x, dtype=np.float64))

        def like_values(given: ArrayLike | None, default: float) -> Array:
            array = np.asarray(default if given is None else given, dtype=np.float64)
            # The class itself checks the lengths of arrays, and names those that do not agree.
            return np.broadcast_to(array, values.shape) if array.size == 1 else array

        errors, shares = like_values(err, 0.0), like_values(weights, 1.0)
        unknown = np.isposinf(errors)
        if unknown.any() and errors.shape == shares.shape:
            errors, shares = np.where(unknown, 0.0, errors), np.where(unknown, 0.0, shares)
        shares, kind = with_kind(shares, weight_kind)
        flags = None if limits is None else np.asarray(limits)
        n_unknown = int(np.count_nonzero(unknown))
        window = Window.of(truncated, detection, values, values.size)
        rows = cls(values, errors, shares, NO_RESOLUTION, flags, window, kind, None, n_unknown, memberships, labels)
        return replace(rows, resolution=rows.resolved())

    def resolved(self) -> Resolution:
        """The resolution of the values. Limits and bins have none: their likelihood is bounded without a floor."""
        if self.edges is not None:
            return NO_RESOLUTION
        counts = self.weights if self.weight_kind == "counts" else (self.weights > 0.0).astype(np.float64)
        return find_resolution(self.x, self.err, counts if self.limits is None else counts * (self.limits == 0))

    @classmethod
    def from_histogram(cls, edges: ArrayLike, counts: ArrayLike, err: ArrayLike | None = None) -> Cells:
        """One cell per bin of a histogram.

        The likelihood of a bin is the integral of the density over the bin, raised to the power of its count. This is
        exact for bins of any width.

        Parameters
        ----------
        edges : array_like, shape (n_bins + 1,) or (n_bins, 2)
            Increasing edges, or the lower and the upper edge of each bin.
        counts : array_like, shape (n_bins,)
            Number of rows in each bin.
        err : array_like, shape (n_bins,), float or None
            One-sigma errors of the values that were counted in each bin.

        Raises
        ------
        ValueError
            For edges that do not increase, or whose number does not match that of the counts.

        Examples
        --------
        >>> Cells.from_histogram([0, 1, 2], [3, 4]).n_data
        7.0
        """
        bounds = np.asarray(edges, dtype=np.float64)
        if bounds.ndim == 1:
            if bounds.size != np.size(counts) + 1 or not np.all(np.diff(bounds) > 0):
                raise ValueError("edges must increase and be one more than counts")
            bounds = np.stack([bounds[:-1], bounds[1:]], axis=1)
        if bounds.ndim != 2 or bounds.shape != (np.size(counts), 2):
            raise ValueError(f"edges must be one more than counts, or two for each, found shape {bounds.shape}")
        centres = bounds.mean(axis=1)
        errors = np.broadcast_to(np.asarray(0.0 if err is None else err, dtype=np.float64), centres.shape)
        return cls(centres, errors, np.asarray(counts), edges=bounds)

    @classmethod
    def sketch(
        cls,
        x: ArrayLike,
        err: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        *,
        base: float | None = None,
        fineness: float = 0.5,
    ) -> Cells:
        """A few weighted points that stand for many rows.

        Rows are sorted into boxes by error (four steps per octave) and value, and the rows of a box are replaced by at
        most four points with the same means, variances and covariance of ``x`` and ``err**2``. Sums of smooth functions
        over the points equal those over the rows to third order in the width of the boxes.

        Parameters
        ----------
        x, err, weights
            As in `from_rows`.
        base : float or None
            Smallest total width that has to be resolved, in the unit of `x`; 1/256 of the range of the central 80 % of
            the values by default.
        fineness : float
            Largest width of a box in units of the total width ``hypot(base, err)``.

        Examples
        --------
        >>> x = np.linspace(-1, 1, 10_000)
        >>> sketch = Cells.sketch(x, 0.3, base=0.1)
        >>> len(sketch), round(sketch.n_data)
        (33, 10000)
        """
        rows = cls.from_rows(x, err, weights)
        if base is None:
            low, high = np.quantile(rows.x, (0.1, 0.9))
            base = float(high - low or np.ptp(rows.x) or 1.0) * _DEFAULT_BASE
        return rows.sketched(base, fineness)

    def sketched(self, base: float, fineness: float = 0.5, *, within: bool = False) -> Cells:
        """The sketch of these cells; see `sketch`.

        Bins, which are few already, rows with memberships, and rows of a window that is not one interval for all stay
        as they are.

        With `within`, no point lies outside the range of the cells, where a background may end.
        """
        if self.edges is not None or self.memberships is not None:
            return self
        if self.window is not None and not self.window.is_interval:
            return self
        if self.limits is not None and np.any(self.limits != self.limits[0]):
            present = np.unique(self.limits[self.weights > 0.0])
            kinds = [self.of_kind(kind).sketched(base, fineness) for kind in present]
            points = reduce(add, kinds)
            return replace(points, x=np.clip(points.x, self.x.min(), self.x.max())) if within else points
        # Importing Numba takes a quarter of a second, which tables and figures need not wait for.
        from mixpipe.model.sketch import Grid, Sketch

        # Positions are measured from one of the values, so that the boxes resolve as much as double precision does.
        anchor = float(self.x[np.argmin(np.abs(self.x - np.mean(self.x)))])
        grid = Grid(float(base), float(fineness), anchor)
        x, err, weights = Sketch.of(grid, self.x, self.err, self.weights).points(joined_bins=4)
        if self.window is not None:
            x = np.clip(x, *self.window.ends)
        if within:
            x = np.clip(x, self.x.min(), self.x.max())
        limits = None if self.limits is None else np.full(x.size, self.limits[0])
        return replace(self, x=x, err=err, weights=weights, limits=limits)

    def with_errors(self, err: Array) -> Cells:
        """The same cells with other errors, and the resolution that follows from them."""
        other = replace(self, err=err)
        if self.resolution.cause == "given":
            return other
        return replace(other, resolution=other.resolved())

    def of_kind(self, kind: int) -> Cells:
        """The cells whose limit is `kind`; see `Cells`."""
        flags = np.zeros(len(self), dtype=np.int8) if self.limits is None else self.limits
        return self[flags == kind]

    def __getitem__(self, index: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Cells:
        """Some of the cells."""
        parts: dict[str, Any] = {name: getattr(self, name)[index] for name in ("x", "err", "weights")}
        for name in ("limits", "edges", "memberships"):
            parts[name] = None if getattr(self, name) is None else getattr(self, name)[index]
        parts["window"] = None if self.window is None else self.window[index]
        return replace(self, **parts)

    def __add__(self, other: Cells) -> Cells:
        """The cells of both operands, with the coarser of their resolutions."""
        if self.weight_kind != other.weight_kind:
            raise ValueError(f"the cells differ in weight_kind: {self.weight_kind} and {other.weight_kind}")
        if (self.window is None) != (other.window is None):
            raise ValueError("cells with and without a window do not add")
        window = self.window
        if window is not None and other.window is not None:
            window = window.joined(other.window, (len(self), len(other)))
        if (self.edges is None) != (other.edges is None):
            raise ValueError("bins and values do not add")
        limits = None
        if self.limits is not None or other.limits is not None:
            flags = [np.zeros(len(cells), np.int8) if cells.limits is None else cells.limits for cells in (self, other)]
            limits = np.concatenate(flags)
        edges = None
        if self.edges is not None and other.edges is not None:
            edges = np.concatenate([self.edges, other.edges])
        x, err, weights = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("x", "err", "weights")
        )
        resolution = max(self.resolution, other.resolution, key=lambda each: each.floor)
        together = Cells(x, err, weights, resolution, limits, window, self.weight_kind, edges)
        if self.memberships is None or other.memberships is None:
            if self.memberships is not other.memberships:
                raise ValueError("cells with and without memberships do not add")
            return together
        if self.labels != other.labels:
            raise ValueError(
                f"cells with members of {', '.join(self.labels)} and of {', '.join(other.labels)} do not add"
            )
        return replace(together, memberships=np.concatenate([self.memberships, other.memberships]), labels=self.labels)

    def as_points(self) -> Cells:
        """Bins as measurements at their centres, whose errors include the standard deviation of a uniform density over
        each bin.

        For the moments of a smooth density this is Sheppard's correction.
        """
        if self.edges is None:
            return self
        widths = np.diff(self.edges, axis=1).ravel() / math.sqrt(12.0)
        return replace(self, err=np.hypot(self.err, widths), edges=None)

    @property
    def n_data(self) -> float:
        """Number of rows that the cells stand for: the sum of the weights."""
        return float(self.weights.sum())

    def __len__(self) -> int:
        return self.x.size


def with_kind(weights: Array, weight_kind: str) -> tuple[Array, str]:
    """Weights in the form that `Cells` stores, and their kind."""
    if weight_kind not in WEIGHT_KINDS:
        raise ValueError(f"unknown weight_kind {weight_kind!r}: expected one of {', '.join(WEIGHT_KINDS)}")
    # The class itself checks the weights, and names those that are invalid.
    if not np.all(np.isfinite(weights)):
        return weights, "counts"
    fractions = np.flatnonzero(weights % 1.0)
    if weight_kind == "counts" and fractions.size:
        raise ValueError(
            f"weight_kind counts with weights that are no whole numbers, the first at index {fractions[0]} "
            f"({weights[fractions[0]]}); expected numbers of rows, or weight_kind importance"
        )
    if weight_kind == "counts" or (weight_kind == "auto" and not fractions.size):
        return weights, "counts"
    # A power of two, which rounds nothing, keeps the squares of very large or small weights within range.
    scaled = np.ldexp(weights, -int(np.frexp(weights.max())[1]))
    squares = math.fsum(scaled**2)
    return (scaled * (math.fsum(scaled) / squares) if squares > 0.0 else weights), "importance"
