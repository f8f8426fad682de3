"""The content of a figure: rows, a range that outliers do not stretch, bins, and typical errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike, NDArray

from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import Noise, with_sides
from mixpipe.model.results import Array
from mixpipe.model.window import Window
from mixpipe.report.figures.look import DEFAULT, Look

# The core of the figure is the middle 90 % of the rows. Rows within _NEAR_FEW or _NEAR_MANY core widths of it are
# shown; beyond that, the range is extended only to components that contain _SHARE of the rows, up to _FAR core widths.
_TAIL, _SHARE, _FAR = 0.05, 0.01, 10.0
_FEW = 200  # rows that can be drawn one by one
_NEAR_FEW, _NEAR_MANY = 3.0, 1.0
# The axis is logarithmic if the values span a ratio of more than _RATIO and their middle half takes less than _CROWDED
# of a linear axis. It then shows all rows but a fraction _BEYOND on either side.
_RATIO, _CROWDED, _BEYOND = 10.0**2.5, 0.1, 0.001
_MAX_BINS = 120
_SLOW_REPRESENTATIVES = 16  # where each needs a quadrature
_REPRESENTATIVES, _SAMPLE = 256, 1 << 16  # errors that represent all, and rows from which they are derived
_PLAIN = (1e-4, 1e5)  # a logarithmic axis within this range has plain numbers
_SELECTED, _NODES = 1 << 13, 8  # rows that represent the windows of all, and points of a bin
_PIXELS = 1000  # finest detail of a figure, as a fraction of its width
_LIMITS = 2000  # limits that represent all
_LEAST = 1e-200  # probabilities below this are taken as zero
# Bins are finer within _AROUND sigmas of a component with _RESOLVED rows or more, down to a part _PER_SIGMA of its
# sigma, if they are wider than this sigma elsewhere.
_RESOLVED, _AROUND, _PER_SIGMA = 15.0, 4.0, 3.0
# A component whose sigma is below _UNSEEN of the finest details is enlarged, out to _ENLARGED sigmas.
_UNSEEN, _ENLARGED, _MOST_ENLARGED = 4.0, 6.0, 2


@dataclass(frozen=True, eq=False)
class Scene:
    """Rows of positive weight and the range [low, high] in which they are drawn, on a linear or a logarithmic axis.

    Densities are per unit of x, or per decade if the axis is logarithmic. `share` is the fraction of the mixture's rows
    that these are: less than one if others were not seen through the `window`. Rows may be bins of a histogram, where
    `x` are their centres and `bins` their edges; this histogram is then drawn as it is. Where `limits` is -1 or 1, `x`
    is an upper or a lower limit.
    """

    x: Array
    err: Array
    weights: Array
    low: float
    high: float
    log: bool = False
    share: float = 1.0
    window: Window | None = None
    bins: Array | None = None
    noise: Noise | None = None
    limits: NDArray[np.int8] | None = None
    look: Look = DEFAULT

    @classmethod
    def of(
        cls,
        mixture: Mixture,
        x: ArrayLike,
        err: ArrayLike | Noise | None,
        weights: ArrayLike | None,
        share: float = 1.0,
        window: Window | None = None,
        bins: ArrayLike | None = None,
        limits: ArrayLike | None = None,
        look: Look = DEFAULT,
    ) -> Scene:
        """The scene for a mixture and its data; `err` and `weights` may be None or scalars."""
        values = np.atleast_1d(np.asarray(x, dtype=np.float64))
        given = with_sides(values, 0.0 if err is None else err)
        noise = given if isinstance(given, Noise) else None
        errors = np.broadcast_to(given if noise is None else noise.typical, values.shape)
        shares = np.broadcast_to(np.asarray(1.0 if weights is None else weights, dtype=np.float64), values.shape)
        edges = None if bins is None else np.asarray(bins, dtype=np.float64)
        flags = None if limits is None else np.asarray(limits, dtype=np.int8)
        flags = None if flags is None or not flags.any() else flags
        if weights is not None and not np.all(shares > 0.0):
            edges = None if edges is None else edges[shares > 0.0]
            noise = None if noise is None else noise[shares > 0.0]
            window = None if window is None else window[shares > 0.0]
            flags = None if flags is None else flags[shares > 0.0]
            values, errors, shares = (a[shares > 0.0] for a in (values, errors, shares))
        if not values.size:
            raise ValueError("no data: expected at least one value with a positive weight")
        if edges is None:
            known = slice(None) if flags is None or flags.all() else flags == 0
            place = _range(mixture, values[known], errors[known], shares[known])
        else:
            place = _range(mixture, edges.ravel(), errors.repeat(2), shares.repeat(2))
        if look.range is not None:
            low, high = look.range
            place = (low, high, place[2] and low > 0.0)
        return cls(values, errors, shares, *place, share, window, edges, noise, flags, look)

    @cached_property
    def known(self) -> Any:
        """The rows with a value, as an index: those that are no limits."""
        return slice(None) if self.limits is None else self.limits == 0

    def n_limits(self, side: int) -> float:
        """Number of upper (-1) or lower (1) limits."""
        return 0.0 if self.limits is None else float(self.weights[self.limits == side].sum())

    @property
    def errors(self) -> Array | Noise:
        """The errors as the functions of a mixture take them."""
        return self.err if self.noise is None else self.noise

    @property
    def n_data(self) -> float:
        """Number of rows, or the sum of their weights."""
        return float(self.weights.sum())

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value that any row could have."""
        return (-math.inf, math.inf) if self.window is None else self.window.ends

    @property
    def bounds(self) -> list[float]:
        """The bounds of the sample that are the same for all rows, some of which may be infinite."""
        if self.window is None or self.window.by_row:
            return []
        return sorted({*self.window.low[0].tolist(), *self.window.high[0].tolist()})

    @property
    def width(self) -> float:
        """Width of the picture in the unit of x."""
        return self.high - self.low

    def finest(self, at: ArrayLike) -> Array:
        """Width of the finest visible detail at a value."""
        inside = np.clip(at, self.low, self.high)
        width = inside * math.log(self.high / self.low) if self.log else np.full_like(inside, self.width)
        return np.asarray(width / _PIXELS)

    def frame(self, axes: Axes) -> None:
        """Set the range of the axes to that of the figure."""
        if self.log:
            axes.set_xscale("log")
            if _PLAIN[0] < self.low and self.high < _PLAIN[1]:
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlim(self.low, self.high)

    def middles(self, edges: Array) -> Array:
        """The middle of each bin on the axis."""
        return np.asarray(np.sqrt(edges[1:] * edges[:-1]) if self.log else 0.5 * (edges[1:] + edges[:-1]))

    def place(self, values: ArrayLike) -> Array:
        """Positions of values along the axis, from 0 to 1."""
        scale = np.log if self.log else np.asarray
        low, high = float(scale(self.low)), float(scale(self.high))
        return np.asarray((scale(values) - low) / (high - low))

    def at(self, places: ArrayLike) -> Array:
        """Values at positions along the axis, from 0 to 1."""
        if self.log:
            return np.asarray(self.low * (self.high / self.low) ** np.asarray(places))
        return np.asarray(self.low + np.asarray(places) * self.width)

    def stretch(self, grid: Array) -> Array:
        """The factor from a density per unit of x to one per unit of the axis, a decade if it is logarithmic."""
        return math.log(10.0) * grid if self.log else np.ones_like(grid)

    def histogram(self, edges: Array) -> Array:
        """Density of the rows with a value in each bin."""
        return self.density(self.counts(edges), edges)

    def density(self, counts: Array, edges: Array) -> Array:
        """The density of so many rows in each bin."""
        return self.share * counts / (self.n_data * self.widths(edges))

    def widths(self, edges: Array) -> Array:
        """Widths of bins on the axis, in decades if it is logarithmic."""
        return np.diff(np.log10(edges) if self.log else edges)

    @cached_property
    def median_err(self) -> float:
        """Median error of the rows with a value."""
        err = self.err[self.known]
        return float(np.median(err if err.size else self.err))

    @property
    def drawn_singly(self) -> bool:
        """Whether the rows are few and similar enough to be drawn individually."""
        return self.x.size <= _FEW and self.equal and self.bins is None

    @property
    def equal(self) -> bool:
        """Whether no weights were given."""
        return self.weights.strides == (0,)

    def outside(self) -> tuple[int, int]:
        """Numbers of rows to the left and right of the figure."""
        if self.bins is not None:
            first, last = min(self.bins.min(), self.low), max(self.bins.max(), self.high)
            left, _, right = spread(self.weights, self.bins, np.array([first, self.low, self.high, last]))
            return round(float(left)), round(float(right))
        return int(np.count_nonzero(self.x < self.low)), int(np.count_nonzero(self.x > self.high))

    def edges(self, mixture: Mixture) -> Array:
        """Bin edges by the rule of Freedman & Diaconis (1981), within the bounds and never finer than rounded values
        allow.

        If the data are bins, their edges are used, cut at the ends of the figure; gaps between them are bins without
        rows. The rule is for a single peak; if there are several, it is applied to each component that contains enough
        rows, and the finest bins are used.
        """
        if self.bins is not None:
            ends = np.unique(np.clip(self.bins, self.low, self.high))
            return ends if ends.size > 1 else np.array([self.low, self.high])
        x, weights = self.x[self.known], self.weights[self.known]
        inside = (x >= self.low) & (x <= self.high)
        x, n_rows = x[inside], float(weights[inside].sum())
        if self.look.bins is not None:
            return np.asarray((np.geomspace if self.log else np.linspace)(self.low, self.high, self.look.bins + 1))
        most = int(min(max(3.0 * math.sqrt(n_rows), 8.0), _MAX_BINS))
        if self.log:
            return self._even_ratios(x, n_rows, most)
        steps = [
            2.0 * 1.349 * math.hypot(sigma, self.median_err) / (weight * n_rows) ** (1.0 / 3.0)
            for weight, sigma in zip(mixture.weights, mixture.sigmas, strict=True)
            if weight * n_rows >= max(10.0, 0.05 * n_rows)
        ]
        step = max(min(steps, default=0.0), self.width / _PIXELS)
        # The number of bins is odd, so that the middle of the figure, where a single value lies, is not an edge.
        n_bins = min(max(math.ceil(self.width / step), 8), most) | 1
        distinct = np.unique(x)
        if distinct.size > 1 and 3 * distinct.size < n_rows:
            grain = float(np.diff(distinct).min())
            size = max(1, round(self.width / n_bins / grain)) * grain
            if size < self.width / 3.0:
                first = distinct[0] - grain / 2.0
                first -= math.ceil((first - self.low) / size) * size
                even = first + size * np.arange(math.ceil((self.high - first) / size) + 1)
                return self._refined(even, mixture, grain)
        first, last = max(self.low, self.ends[0]), min(self.high, self.ends[1])
        if (first, last) != (self.low, self.high):
            n_bins = max(round(n_bins * (last - first) / self.width), 4)
        return self._refined(np.linspace(first, last, n_bins + 1), mixture)

    def _refined(self, edges: Array, mixture: Mixture, grain: float = 0.0) -> Array:
        """Bin edges with finer bins around components that the others would hide, each wide enough to be seen.

        Values that were rounded have a `grain`, whole numbers of which are in each bin.
        """
        step, fine = float(edges[1] - edges[0]), []
        for weight, mean, sigma in zip(mixture.weights, mixture.means, mixture.sigmas, strict=True):
            width = math.hypot(sigma, self.median_err)
            expected = weight * self.n_data
            if not (edges[0] < mean < edges[-1] and width < step and expected >= _RESOLVED):
                continue
            own = max(2.698 * width / expected ** (1.0 / 3.0), width / _PER_SIGMA, 2.0 * self.width / _PIXELS)
            own = max(round(own / grain), 1) * grain if grain else own
            if own < step / 1.5:
                n_bins = math.ceil(_AROUND * width / own)
                start = mean - own * (n_bins + 0.5)
                start = edges[0] + round((start - edges[0]) / grain) * grain if grain else start
                fine.append((own, start, 2 * n_bins + 2))
        # The finest ones come last, so that they stay where components overlap.
        for own, start, n_edges in sorted(fine, reverse=True):
            new = start + own * np.arange(n_edges)
            beside = (edges < new[0] - 0.5 * own) | (edges > new[-1] + 0.5 * own)
            edges = np.sort(np.concatenate([edges[beside], new[(new > edges[0]) & (new < edges[-1])]]))
        return edges

    def _even_ratios(self, x: Array, n_rows: float, most: int) -> Array:
        """Bin edges on a logarithmic axis, by the same rule for the logarithms."""
        if not x.size:
            return np.geomspace(self.low, self.high, most + 1)
        quartiles = np.log(np.quantile(x, [0.25, 0.75]))
        step = 2.0 * float(np.diff(quartiles)[0]) / n_rows ** (1.0 / 3.0)
        distinct = np.unique(x)
        if 3 * distinct.size < n_rows:
            step = max(step, math.log1p(float(np.diff(distinct).min()) / distinct[0]))
        first, last = max(self.low, self.ends[0]), min(self.high, self.ends[1])
        n_bins = min(max(round(math.log(last / first) / max(step, 1e-9)), 8), most)
        return np.geomspace(first, last, n_bins + 1)

    def counts(self, edges: Array) -> Array:
        """Number of rows with a value, or sum of their weights, in each bin."""
        if self.bins is not None:
            return spread(self.weights, self.bins, edges)
        found = np.histogram(self.x[self.known], edges, weights=self.weights[self.known])[0]
        return np.asarray(found, dtype=np.float64)

    def expected_limits(self, mixture: Mixture, edges: Array) -> Array:
        """Number of rows with a limit in each bin, as the mixture spreads their values below or above their limits.

        For many limits it is that of some, evenly spaced in their order.
        """
        found = np.zeros(edges.size - 1)
        if self.limits is None:
            return found
        for side in (-1, 1):
            rows = np.flatnonzero(self.limits == side)
            rows = rows[np.argsort(self.x[rows], kind="stable")]
            some = rows[:: -(-rows.size // _LIMITS) or 1]
            if not some.size:
                continue
            weights = self.weights[some] * (self.weights[rows].sum() / self.weights[some].sum())
            x, errors = self.x[some], self.errors[some]
            ends = np.maximum(edges[:, None], x) if side > 0 else np.minimum(edges[:, None], x)
            window = None if self.window is None else self.window[some]
            below = _below(mixture, ends, errors, window)
            at = _below(mixture, x[None], errors, window)[0]
            beyond = 1.0 - at if side > 0 else at
            # Of a limit that the mixture does not reach, the value is next to it.
            at_limit = (edges[:-1, None] <= x) & (x < edges[1:, None])
            shares = np.where(beyond > _LEAST, np.diff(below, axis=0) / np.maximum(beyond, _LEAST), at_limit)
            found += shares @ weights
        return found

    def enlarged(self, mixture: Mixture) -> list[tuple[Scene, list[int]]]:
        """Small parts of the range, with the components in them that are too narrow for it to show."""
        widths = np.hypot(mixture.sigmas, self.median_err)
        narrow = (widths < _UNSEEN * self.finest(mixture.means)) & (mixture.means > self.low)
        narrow &= (mixture.means < self.high) & (mixture.weights * self.n_data >= _RESOLVED)
        least = np.maximum(widths, 1e-13 * np.abs(mixture.means))
        groups: list[tuple[float, float, list[int]]] = []
        for j in np.flatnonzero(narrow & (least > 0.0)).tolist():
            low, high = (float(mixture.means[j] + side * _ENLARGED * least[j]) for side in (-1.0, 1.0))
            if groups and low < groups[-1][1]:
                low, high = min(low, groups[-1][0]), max(high, groups[-1][1])
                groups[-1] = (low, high, [*groups[-1][2], j])
            else:
                groups.append((low, high, [j]))
        heaviest = sorted(groups, key=lambda group: -float(mixture.weights[group[2]].sum()))[:_MOST_ENLARGED]
        look = replace(self.look, range=None, bins=None)
        return [
            (replace(self, low=low, high=high, log=False, look=look), members)
            for low, high, members in sorted(heaviest)
            if high - low < 0.3 * self.width
        ]

    def typical_errors(self, mixture: Mixture) -> tuple[Array | Noise, Array]:
        """A few errors that represent all of them, and the share of the rows of each component that has each of them.

        Rows are grouped by error, and each group is replaced by its root mean square error. Averaging the mixture over
        the errors then costs the same for a hundred rows as for ten million. Each row counts for a component with its
        probability of belonging to it, since errors often grow with the values.
        """
        if self.err.strides == (0,) or self.err.size == 1:
            return np.asarray(self.err[:1]), np.ones((1, mixture.n_components))
        order = np.argsort(self.err, kind="stable")[:: -(-self.err.size // _SAMPLE)]
        errors, rows = self.errors[order], self.weights[order]
        members = rows[:, None] * mixture.responsibilities(self.x[order], errors)
        starts = np.unique(np.linspace(0, order.size, self._n_representatives(mixture) + 1).astype(int)[:-1])
        totals = np.add.reduceat(rows, starts)
        # A component without rows, far outside, is given the errors of all rows.
        shares = np.add.reduceat(members, starts) + 1e-12 * totals[:, None]

        def typical(array: Array) -> Array:
            return np.asarray(np.sqrt(np.add.reduceat(rows * array**2, starts) / totals))

        means = errors.mapped(typical) if isinstance(errors, Noise) else typical(errors)
        return means, shares / shares.sum(axis=0)

    def _n_representatives(self, mixture: Mixture) -> int:
        slow = self.noise is not None and not mixture.is_gaussian
        return _SLOW_REPRESENTATIVES if slow else _REPRESENTATIVES

    def grid(self, mixture: Mixture) -> Array:
        """Abscissae of curves, evenly spaced, and closer where a component is narrow."""
        widths = np.clip(mixture.sigmas, self.finest(mixture.means), 0.05 * self.width)
        near = (mixture.means + widths * np.linspace(-5.0, 5.0, 41)[:, None]).ravel()
        even = np.geomspace if self.log else np.linspace
        points = np.concatenate([even(self.low, self.high, 400), near])
        return np.unique(points[(points >= self.low) & (points <= self.high)])

    def intrinsic(self, mixture: Mixture, grid: Array) -> Array:
        """Weighted density of each component, one row each, with the errors removed."""
        parts = [mixture.weights[j] * mixture.component(j).pdf(grid) for j in range(mixture.n_components)]
        return np.array(parts) * self.stretch(grid)

    def observed(self, mixture: Mixture, grid: Array) -> Array:
        """Weighted density of the observed values of each component, one row each, averaged over the errors of its
        rows.

        The density is never sharper than the figure can show, so that a component without width and errors still has a
        finite curve. It includes the selection of the sample, except that one interval for all rows is not cut off.
        """
        errors, shares = self.typical_errors(mixture)
        finest = 0.3 * self.finest(grid)[:, None]
        blurred: Array | Noise
        if isinstance(errors, Noise):
            blurred = errors.mapped(lambda array: np.hypot(array, finest))
        else:
            blurred = np.hypot(errors, finest)
        parts = [
            mixture.weights[j] * (mixture.component(j).pdf(grid[:, None], blurred) @ shares[:, j])
            for j in range(mixture.n_components)
        ]
        return np.array(parts) * self.stretch(grid) * self._selected(mixture, grid)

    def observed_cdf(self, mixture: Mixture, grid: Array) -> Array:
        """Probability of an observed value below each point, averaged in the same way."""
        errors, shares = self.typical_errors(mixture)
        parts = [
            mixture.weights[j] * (mixture.component(j).cdf(grid[:, None], errors) @ shares[:, j])
            for j in range(mixture.n_components)
        ]
        return np.sum(parts, axis=0)

    def observed_shares(self, mixture: Mixture, edges: Array) -> Array:
        """Share of the mixture's rows that are observed in each bin.

        The probability of detection is averaged over some points of the bin, by the density there.
        """
        shares = np.diff(self.observed_cdf(mixture, edges))
        if self.window is None or self.window.is_interval:
            return shares
        nodes, by_node = np.polynomial.legendre.leggauss(_NODES)
        at = (0.5 * (edges[1:] + edges[:-1])[:, None] + 0.5 * np.diff(edges)[:, None] * nodes).ravel()
        density = mixture.pdf(at, np.hypot(self.median_err, self.finest(at))) + np.finfo(np.float64).tiny
        density = by_node * density.reshape(-1, _NODES)
        seen = np.sum(density * self._selected(mixture, at).reshape(density.shape), axis=1) / density.sum(axis=1)
        return np.asarray(shares * seen)

    def in_bins(self, mixture: Mixture, edges: Array) -> Array | None:
        """Density of the mixture in each bin, if the data are bins wider than a component, so that curves do not tell.

        None if they are not.
        """
        narrowest = float(np.hypot(mixture.sigmas, self.median_err).min())
        if self.bins is None or not np.any(np.diff(edges) > narrowest):
            return None
        return self.density(self.n_data / self.share * self.observed_shares(mixture, edges), edges)

    def _selected(self, mixture: Mixture, at: Array) -> Array:
        """Mean probability that a value is seen; one for the interval of a cut, which is drawn as such."""
        if self.window is None or self.window.is_interval:
            return np.ones_like(at)
        some = slice(None, None, -(-self.x.size // _SELECTED))
        return self.window[some].mean_probability(mixture, self.err[some], self.weights[some], at)


def _below(mixture: Mixture, x: Array, errors: Array | Noise, window: Window | None) -> Array:
    """Probability of a seen value below each of some values, one row for each set of them."""
    if window is None:
        return np.asarray(mixture.cdf(x, errors))
    return np.array([window.below(mixture, row, errors) for row in x])


def spread(counts: Array, bins: Array, edges: Array) -> Array:
    """Rows between edges if the rows of each bin are spread evenly over it; those of a bin without width lie at its
    position.

    >>> spread(np.array([4.0, 6.0]), np.array([[0.0, 2.0], [2.0, 5.0]]), np.array([0.0, 1.0, 5.0]))
    array([2., 8.])
    """
    low, high = bins.T
    wide = high > low
    below = np.zeros(edges.size)
    # The number of rows below x is a sum of n (clip(x, low, high) - low) / (high - low), whose terms change at the
    # edges of bins.
    slopes = counts[wide] / (high[wide] - low[wide])
    for ends, sign in ((low[wide], 1.0), (high[wide], -1.0)):
        order = np.argsort(ends, kind="stable")
        at = np.searchsorted(ends[order], edges)
        rise, weighted = (np.append(0.0, np.cumsum(part[order]))[at] for part in (slopes, slopes * (ends - edges[0])))
        below += sign * (rise * (edges - edges[0]) - weighted)
    found = np.maximum(np.diff(below), 0.0)
    return np.asarray(found + np.histogram(low[~wide], edges, weights=counts[~wide])[0])


def _range(mixture: Mixture, x: Array, err: Array, weights: Array) -> tuple[float, float, bool]:
    """First and last value of the figure, and whether its axis is logarithmic."""
    low, high = _even_range(mixture, x, err, weights)
    if x.min() > 0.0:
        shares = [_BEYOND, 0.25, 0.75, 1.0 - _BEYOND]
        first, lower, upper, last = (float(q) for q in _quantiles(x, shares, weights))
        if last > _RATIO * first and upper - lower < _CROWDED * (high - low):
            margin = (last / first) ** 0.04
            return first / margin, last * margin, True
    return low, high, False


def _even_range(mixture: Mixture, x: Array, err: Array, weights: Array) -> tuple[float, float]:
    median_err = float(np.median(err))
    reaches = 2.0 * np.hypot(mixture.sigmas, median_err)
    low, high = _core(mixture, reaches, x, weights)
    # If values are all equal, or indistinguishable numerically, leave room for the errors, or for the axis itself.
    least = max(6.0 * median_err, 1e-11 * max(abs(low), abs(high)) if high > low else 0.2 * abs(low) or 2.0)
    if high - low < least:
        low, high = 0.5 * (low + high - least), 0.5 * (low + high + least)
    core = high - low
    near = core * (_NEAR_FEW if x.size <= _FEW else _NEAR_MANY)
    shown = x[(x >= low - near) & (x <= high + near)]
    first, last = min(low, float(shown.min(initial=low))), max(high, float(shown.max(initial=high)))
    for weight, mean, reach in zip(mixture.weights, mixture.means, reaches, strict=True):
        if weight >= max(_SHARE, 3.0 / x.size) and low - _FAR * core < mean < high + _FAR * core:
            first, last = min(first, mean - min(reach, core)), max(last, mean + min(reach, core))
    margin = 0.04 * (last - first)
    return float(first - margin), float(last + margin)


def _core(mixture: Mixture, reaches: Array, x: Array, weights: Array) -> tuple[float, float]:
    """The middle 90 % of the rows, but no more than the range of most rows of the fit if errors spread the others."""
    tail = max(_TAIL, 1.01 / x.size) if x.size >= 5 else 0.0
    low, high = (float(q) for q in _quantiles(x, [tail, 1.0 - tail], weights))
    heavy = mixture.weights >= _TAIL
    first = float((mixture.means - reaches)[heavy].min(initial=np.inf))
    last = float((mixture.means + reaches)[heavy].max(initial=-np.inf))
    first, last = first - (last - first), last + (last - first)
    if x.size >= 5 and np.mean((x >= first) & (x <= last)) > 0.5:
        low, high = max(low, first), min(high, last)
    return low, high


def _quantiles(x: Array, shares: list[float], weights: Array) -> Array:
    by_weight = None if weights.strides == (0,) else weights
    return np.asarray(np.quantile(x, shares, method="inverted_cdf", weights=by_weight))
