"""Cells, the only kind of data that engines accept: values with errors and weights, in frozen read-only arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixpipe.base.arrays import Array, frozen
from mixpipe.model.kernels import sketching
from mixpipe.model.noise import Noise, Samples, TwoSided, noise_of, samples_noise
from mixpipe.model.regimes import SAMPLED_ROWS
from mixpipe.model.resolution import NO_RESOLUTION, Resolution, crowd_of_intervals, find_resolution, of_intervals
from mixpipe.model.rounding import Rounding, find_intervals, has_digits
from mixpipe.model.window import Window

# Meaning of the row weights: numbers of rows, or shares of the population, whose overall scale is arbitrary.
WEIGHT_KINDS = ("auto", "counts", "importance")

# Width that a sketch resolves by default, as a fraction of the range of the central 80 % of the values.
_DEFAULT_BASE = 1 / 256
# The fourth power of larger errors, in units of the values, is beyond the range of doubles.
_LARGEST_RATIO = 1e70
# Rows need no floor beyond their intervals and errors for this part of their variance.
_NO_MORE = 1e-3


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
        -1 where `x` is an upper limit, 1 where it is a lower limit, 0 where it is a value, the reverse of a file's
        `limit_flag`; None if all are values.
    window : Window or None
        Where, and with which probability, an observed value had to lie to enter the sample.
    weight_kind : str
        ``counts`` if the weight of a cell is the number of rows that it stands for, or ``importance`` if each cell is
        one row that represents a larger or smaller share of the population than others do.
    edges : array_like, shape (n_cells, 2), or None
        Lower and upper edge of each bin, or of the interval from which each value was rounded, between which the
        observed values lie; None if the values are what was observed.
    memberships : array_like, shape (n_cells, n_known + 1), or None
        Prior probabilities, up to a factor, of belonging to each of the components with known members, and last that of
        belonging to any one of the others; None if nothing is known.
    labels : tuple of str
        Names of the components with known members.
    n_uninformative : int
        Number of rows with infinite errors, which carry no information and have weight zero.
    noise : Noise or None
        The errors if they are not symmetric Gaussians; `err` is then the typical error, whatever is passed.

    Raises
    ------
    ValueError
        For arrays of unequal length, values that are not finite, or values outside the window.
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
    noise: Noise | None = None
    memberships: Array | None = None
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.noise is not None:
            object.__setattr__(self, "err", self.noise.typical)
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
        extent = max(float(np.ptp(self.x)), float(self.err.min())) if self.err.size else 0.0
        if extent > 0.0 and self.err.max() > _LARGEST_RATIO * extent:
            largest = int(np.argmax(self.err))
            raise ValueError(
                f"err has {self.err[largest]:g} at index {largest}, where values or errors are of the order of "
                f"{extent:g}; expected at most {_LARGEST_RATIO:g} times as much, or inf for a row that says nothing"
            )
        if self.weight_kind not in ("counts", "importance"):
            raise ValueError(f"unknown weight_kind {self.weight_kind!r}: expected counts or importance")
        self._check_limits()
        self._check_window()
        self._check_edges()
        self._check_memberships()
        if isinstance(self.noise, Samples) and (self.limits is not None or self.window is not None):
            raise ValueError("samples of posteriors with limits or a window: expected samples alone")
        if self.noise is not None and self.window is not None and not self.window.has_one_interval:
            raise ValueError(
                "errors of two sides or with heavy tails, with holes or detection; expected one interval "
                "for each row, or error_model symmetric"
            )

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
        if self.noise is not None:
            raise ValueError("bins with errors that are not symmetric Gaussians; expected one symmetric error for each")
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
    def are_rounded(self) -> bool:
        """Whether the edges are those of the intervals from which values were rounded, and not of bins."""
        return self.edges is not None and self.resolution.cause == "rounding"

    @property
    def are_values(self) -> bool:
        """Whether every cell is a measured value, the sample is not truncated, and no memberships are known."""
        return self.limits is None and self.window is None and self.edges is None and self.memberships is None

    @property
    def has_errors(self) -> bool:
        """Whether any row has an error."""
        return bool(np.any(self.err[self.weights > 0.0] > 0.0))

    @property
    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest value of the rows that count."""
        ends = (self.x if self.edges is None else self.edges)[self.weights > 0.0]
        return float(ends.min()), float(ends.max())

    @property
    def has_noise(self) -> bool:
        """Whether the errors are not symmetric Gaussians."""
        return self.noise is not None

    @property
    def errors(self) -> Array | Noise:
        """The errors as the functions of mixtures and families take them: symmetric ones, or the noise."""
        return self.err if self.noise is None else self.noise

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
        error_model: str | None = None,
        error_dof: float | None = None,
        memberships: Array | None = None,
        labels: tuple[str, ...] = (),
    ) -> Cells:
        """One cell per row.

        Parameters
        ----------
        x : array_like, shape (n_data,)
            Values.
        err : array_like, shape (n_data,) or (2, n_data), float or None
            One-sigma errors; a scalar means equal errors, None no errors. Two rows are the lower and the upper errors,
            as for error bars of Matplotlib. A row with an infinite error carries no information, and its weight
            becomes zero.
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
        error_model : str or None
            ``symmetric``: Gaussian errors, and the mean of lower and upper ones. ``two_sided``, the default for lower
            and upper errors: the likelihood of the true value has both widths; see `mixpipe.model.noise.TwoSided`. If
            the sides are equal in every row, the errors are symmetric. ``student_t``: errors with the tails of
            Student's t for `error_dof` degrees of freedom; see `mixpipe.model.noise.HeavyTailed`.
        error_dof : float or None
            Degrees of freedom, for ``student_t`` only.

        Examples
        --------
        >>> Cells.from_rows([1.0, 2.0], err=0.1).n_data
        2.0
        >>> Cells.from_rows([1.0, 2.0, 3.0], weights=[0.02, 0.02, 0.01]).weights
        array([1.11111111, 1.11111111, 0.55555556])
        >>> Cells.from_rows([1.0, 2.0], err=[[0.1, 0.1], [0.3, 0.1]]).err.round(2).tolist()
        [0.2, 0.1]
        """
        values = np.atleast_1d(np.asarray(x, dtype=np.float64))

        shares = np.asarray(1.0 if weights is None else weights, dtype=np.float64)
        # The class itself checks the lengths of arrays, and names those that do not agree.
        shares = np.broadcast_to(shares, values.shape) if shares.size == 1 else shares
        given = noise_of(0.0 if err is None else err, values.shape, error_model, error_dof)
        noise = given if isinstance(given, Noise) else None
        errors = noise.typical if noise is not None else np.asarray(given)
        unknown = np.isposinf(errors)
        if unknown.any() and errors.shape == shares.shape:
            errors, shares = np.where(unknown, 0.0, errors), np.where(unknown, 0.0, shares)
            noise = None if noise is None else noise.mapped(lambda array: np.where(unknown, 0.0, array))
        shares, kind = with_kind(shares, weight_kind)
        flags = None if limits is None else np.asarray(limits)
        n_unknown = int(np.count_nonzero(unknown))
        window = Window.of(truncated, detection, values, values.size)
        rows = cls(
            values,
            errors,
            shares,
            NO_RESOLUTION,
            flags,
            window,
            kind,
            n_uninformative=n_unknown,
            noise=noise,
            memberships=memberships,
            labels=labels,
        )
        return replace(rows.with_data(), resolution=rows.resolved())

    @classmethod
    def from_samples(
        cls,
        samples: ArrayLike,
        prior: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        *,
        weight_kind: str = "auto",
    ) -> Cells:
        """One cell per row, whose measurement is given by samples of the posterior of its true value.

        Parameters
        ----------
        samples : array_like, shape (n_data, n_samples)
            Samples; nan where a row has fewer than others.
        prior : array_like, shape (n_data, n_samples), or None
            Density of the prior under which the samples were drawn, up to a factor, at each sample; constant if None.
        weights, weight_kind
            As in `from_rows`.

        Raises
        ------
        ValueError
            For rows of fewer than five samples, or a prior that is not positive.

        Examples
        --------
        >>> cells = Cells.from_samples(np.linspace(1.0, 3.0, 21) + np.array([[0.0], [4.0]]))
        >>> cells.x.round(6).tolist(), cells.err.round(3).tolist()
        ([2.0, 6.0], [0.606, 0.606])
        """
        return cls.of_posteriors(*samples_noise(samples, prior), weights, weight_kind=weight_kind)

    @classmethod
    def of_posteriors(
        cls, x: Array, noise: Samples, weights: ArrayLike | None = None, *, weight_kind: str = "auto"
    ) -> Cells:
        """One cell per row, from what `samples_noise` makes of samples."""
        shares = np.ones(x.size) if weights is None else np.asarray(weights, dtype=np.float64)
        shares, kind = with_kind(shares, weight_kind)
        rows = cls(x, noise.typical, shares, weight_kind=kind, noise=noise).with_data()
        return replace(rows, resolution=rows.resolved())

    def with_data(self) -> Cells:
        """The cells, at least one of which counts.

        Raises
        ------
        ValueError
            If none has a positive weight. Some of the cells may have none.
        """
        if not self.weights.sum() > 0.0:
            raise ValueError("no data: expected at least one value with a positive weight")
        return self

    def resolved(self) -> Resolution:
        """The resolution of the values, of many values that of a sample, as where they are read in blocks.

        Limits and bins have none: their likelihood is bounded without a floor.
        """
        if self.edges is not None:
            return self.resolution
        known = (self.weights > 0.0) & (True if self.limits is None else self.limits == 0)
        if np.count_nonzero(known) <= SAMPLED_ROWS:
            counts = self.weights if self.weight_kind == "counts" else 1.0
            return find_resolution(self.x, self.err, counts * known)
        rows = self.columns(known)
        x, err, weights, counts = sketching.sampled_rows([sketching.new_sample(*rows)]).T
        counted = self.weight_kind == "counts"
        found = find_resolution(x, err, weights * counts if counted else counts, float(rows[1].min()))
        if found.floor == 0.0:
            return found
        small = known & (self.err < found.grain)
        n_rows = float(self.weights[small].sum()) if counted else float(np.count_nonzero(small))
        return replace(found, n_rows=n_rows, first=int(np.argmax(small)))

    def columns(self, used: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
        """Values, errors and weights of some rows; a single weight if it is 1 for all."""
        x, err, weights = (array if used.all() else array[used] for array in (self.x, self.err, self.weights))
        return x, err, np.ones(1) if np.all(weights == 1.0) else weights

    def rounded(self, rounding: float | str | Rounding | None = None) -> Cells:
        """The same values, whose likelihood is that of the intervals from which they were rounded.

        Parameters
        ----------
        rounding : float, str or Rounding, or None
            The step, or the number of significant digits, such as ``2 digits``, to which the values were rounded, or
            both, such as ``2 digits, step 1``; by default what is found from the values, or nothing if these are on no
            grid.

        Raises
        ------
        ValueError
            For values that are not rounded in this way, and for limits, a window, or errors that are not symmetric
            Gaussians.

        Examples
        --------
        >>> Cells.from_rows([9.9, 10.0, 11.0]).rounded("2 digits").edges.round(2).tolist()
        [[9.85, 9.95], [9.95, 10.5], [10.5, 11.5]]
        """
        plain = self.limits is None and self.window is None and self.noise is None and self.edges is None
        used = self.weights > 0.0
        if rounding is None:
            times = self.weights if self.weight_kind == "counts" else used.astype(np.float64)
            x = self.x[used]
            if not plain or not (self.resolution.step > 0.0 or self._may_have_steps(x, times[used]) or has_digits(x)):
                return self
            found = find_intervals(x, times[used], self.err[used])
            return self if found is None else self.between(*found, used)
        if not plain:
            raise ValueError(
                "rounding with limits, a window, bins, or errors that are not symmetric Gaussians; expected values "
                "alone"
            )
        meant = rounding if isinstance(rounding, Rounding) else Rounding.of(rounding)
        bad = np.flatnonzero(used)[meant.misfits(self.x[used])]
        if bad.size:
            raise ValueError(
                f"rounding: {bad.size} of {int(used.sum())} values are not {meant}, the first at index {bad[0]} "
                f"({self.x[bad[0]]:g})"
            )
        return self.between(*meant.ends(self.x[used]), used)

    def _may_have_steps(self, x: Array, counts: Array) -> bool:
        """Whether rows that seem to be repeated may have several steps, by some of them if they are many."""
        some = slice(None, None, -(-x.size // SAMPLED_ROWS))
        if self.resolution.n_repeated == 0.0:
            return False
        return x.size <= SAMPLED_ROWS or find_intervals(x[some], counts[some]) is not None

    def between(self, low: Array, high: Array, used: NDArray[np.bool_] | None = None) -> Cells:
        """The same values, rounded from intervals with these ends; those that are not used keep hardly any width."""
        ends = np.stack([self.x, np.nextafter(self.x, np.inf)], axis=1)
        ends[slice(None) if used is None else used] = np.stack([low, high], axis=1)
        counted = self.weights > 0.0 if used is None else used
        times = self.weights[counted] if self.weight_kind == "counts" else np.ones(np.count_nonzero(counted))
        # Rows that are close together by chance, but not within an interval, need a floor whatever the likelihood.
        crowd = crowd_of_intervals(ends[counted, 0], ends[counted, 1], times)
        widths = (ends[:, 1] - ends[:, 0])[counted]
        squared = crowd**2 - float(widths.min()) ** 2 / 12.0 - float(self.err[counted].min()) ** 2
        # That of rows within one interval is nothing but rounding.
        floor = float(f"{math.sqrt(squared):.6e}") if squared > _NO_MORE * crowd**2 else 0.0
        found = replace(of_intervals(widths), floor=floor, grain=crowd, smallest_error=self.resolution.smallest_error)
        # Without a step, equal values seemed to be repeated rows.
        n_repeated = self.resolution.n_repeated if self.resolution.step > 0.0 else 0.0
        return replace(self, edges=ends, resolution=replace(found, n_repeated=n_repeated))

    def as_values(self) -> Cells:
        """Rounded values as if they had been observed."""
        if not self.are_rounded:
            return self
        values = replace(self, edges=None, resolution=NO_RESOLUTION)
        return replace(values, resolution=values.resolved())

    def merged(self) -> Cells:
        """Bins and rounded values that are equal in everything as one, which stands for all of them."""
        if self.edges is None or self.weight_kind != "counts":
            return self
        known = [] if self.memberships is None else list(self.memberships.T)
        # Equal edges belong to equal values.
        keys = np.stack([*self.edges.T, self.err, *known], axis=1)
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        if first.size == len(self):
            return self
        return replace(self[first], weights=np.bincount(inverse.ravel(), self.weights).astype(np.float64))

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
            One-sigma errors of the values that were counted in each bin, which are symmetric.

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
        return cls(centres, errors, np.asarray(counts), edges=bounds).with_data()

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
        if rows.noise is not None:
            raise ValueError("a sketch of errors with two sides; expected one symmetric error for each value")
        if base is None:
            low, high = np.quantile(rows.x, (0.1, 0.9))
            base = float(high - low or np.ptp(rows.x) or 1.0) * _DEFAULT_BASE
        return rows.sketched(base, fineness)

    def sketched(self, base: float, fineness: float = 0.5, *, within: bool = False) -> Cells:
        """The sketch of these cells; see `sketch`.

        Rows with memberships, rows of a window that is not one interval for all, and rows whose errors are not
        symmetric Gaussians stay as they are: the points of a sketch have one error each. Bins stay as they are but for
        equal ones, which are merged.

        With `within`, no point lies outside the range of the cells, where a background may end.
        """
        if self.edges is not None:
            return self.merged()
        if self.noise is not None or self.memberships is not None:
            return self
        if self.window is not None and not self.window.is_interval:
            return self
        if self.limits is not None and np.any(self.limits != self.limits[0]):
            present = np.unique(self.limits[self.weights > 0.0])
            kinds = [self.of_kind(kind).sketched(base, fineness) for kind in present]
            points = reduce(add, kinds)
            return replace(points, x=np.clip(points.x, self.x.min(), self.x.max())) if within else points
        # Importing Numba takes a quarter of a second, which tables and figures need not wait for.
        from mixpipe.model.sketch import Grid, Sketch, weight_unit

        # Positions are measured from one of the values, so that the boxes resolve as much as double precision does.
        anchor = float(self.x[np.argmin(np.abs(self.x - np.mean(self.x)))])
        grid = Grid(float(base), float(fineness), anchor, weight_unit=weight_unit(self.n_data))
        x, err, weights = Sketch.of(grid, self.x, self.err, self.weights).points(joined_bins=4)
        if self.window is not None:
            x = np.clip(x, *self.window.ends)
        if within:
            x = np.clip(x, self.x.min(), self.x.max())
        limits = None if self.limits is None else np.full(x.size, self.limits[0])
        return replace(self, x=x, err=err, weights=weights, limits=limits)

    def with_scaled_errors(self, factor: float) -> Cells:
        """The same cells with all errors multiplied by a factor, and the resolution that follows from them."""
        if factor == 1.0:
            return self
        noise = None if self.noise is None else self.noise.scaled(factor)
        other = replace(self, err=factor * self.err, noise=noise)
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
        parts["noise"] = None if self.noise is None else self.noise[index]
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
        noise = _joined_noise(self, other)
        together = Cells(x, err, weights, resolution, limits, window, self.weight_kind, edges, noise=noise)
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


def _joined_noise(first: Cells, second: Cells) -> Noise | None:
    """The noise of two sets of cells together; symmetric errors are two equal sides."""
    noises = [cells.noise for cells in (first, second)]
    if noises == [None, None]:
        return None
    if any(isinstance(noise, TwoSided) for noise in noises):
        noises = [TwoSided(cells.err, cells.err) if cells.noise is None else cells.noise for cells in (first, second)]
    one, other = noises
    if one is None or other is None or type(one) is not type(other) or one.model != other.model:
        raise ValueError("the cells differ in their error model, or in its degrees of freedom")
    return one.joined([other])


def with_kind(weights: Array, weight_kind: str, positions: NDArray[np.intp] | None = None) -> tuple[Array, str]:
    """Weights in the form that `Cells` stores, and their kind; `positions` are their indices for the user."""
    if weight_kind not in WEIGHT_KINDS:
        raise ValueError(f"unknown weight_kind {weight_kind!r}: expected one of {', '.join(WEIGHT_KINDS)}")
    # The class itself checks the weights, and names those that are invalid.
    if not np.all(np.isfinite(weights)):
        return weights, "counts"
    fractions = np.flatnonzero(weights % 1.0)
    if weight_kind == "counts" and fractions.size:
        first = fractions[0]
        place = first if positions is None else positions[first]
        raise ValueError(
            f"weight_kind counts with weights that are no whole numbers, the first at index {place} "
            f"({weights[first]}); expected numbers of rows, or weight_kind importance"
        )
    if weight_kind == "counts" or (weight_kind == "auto" and not fractions.size):
        return weights, "counts"
    # A power of two, which rounds nothing, keeps the squares of very large or small weights within range.
    scaled = np.ldexp(weights, -int(np.frexp(weights.max())[1]))
    squares = math.fsum(scaled**2)
    return (scaled * (math.fsum(scaled) / squares) if squares > 0.0 else weights), "importance"
