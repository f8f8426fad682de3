"""The selection of a sample: where, and with which probability, a value had to lie to be observed.

The density of an observed value x is ``f(x) S(x) / P``, where S is the probability that a value at x is detected, and P
is the integral of f S: the probability that any value of this density is seen. S is zero outside the bounds of a sample
and in its holes, and linear between the points of a table; it consists of pieces on each of which it is linear.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from mixpipe.base.arrays import Array, frozen
from mixpipe.model.families import FAMILIES, Family, log_between, log_difference, sides
from mixpipe.model.noise import Noise

if TYPE_CHECKING:
    from mixpipe.model.mixture import Mixture

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
# Steps into which the range of a table is divided for components that are not Gaussian, and the nodes of the
# Gauss-Legendre rule in each of them; pieces much shorter than a step have fewer nodes.
_STEPS, _NODES, _FEW_NODES = 24, 8, 3
# The probability is interpolated between errors with this step in arsinh(err / e0), where e0 is this fraction of the
# range of the table.
_ERROR_STEP, _SMALL_ERROR = 0.05, 1e-3
# A Gaussian is nearly exponential across a piece that is narrower than _SHORT and on which its logarithm changes by
# less than _FLAT: the mean of the piece is then known from a series, where the closed form has lost its digits.
_SHORT, _FLAT = 1e-3, 1e-2
# A function is tabulated from _FAR ranges of the values below them to as many above. It begins with _FIRST_POINTS, and
# steps are halved until straight lines agree with it to _AGREEMENT of its maximum, but not more than _HALVINGS times.
_FAR, _FIRST_POINTS, _AGREEMENT, _HALVINGS = 5.0, 221, 1e-4, 8


@dataclass(frozen=True, eq=False)
class Piece:
    """A range on which the probability of detection is linear: its ends, and the probability at each of them.

    They are numbers, or arrays with one number for each row. A range without end has a constant probability.
    """

    low: Any
    high: Any
    at_low: Any
    at_high: Any

    @property
    def slope(self) -> Any:
        """Change of the probability for each unit of the value."""
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = (np.asarray(self.at_high) - self.at_low) / (np.asarray(self.high) - self.low)
        return np.where(np.isfinite(slope), slope, 0.0)

    @property
    def is_flat(self) -> bool:
        """Whether the probability is the same at both ends."""
        return bool(np.all(self.at_low == self.at_high))


@dataclass(frozen=True, eq=False)
class Window:
    """The intervals in which a value could be observed, and the probability of its detection there.

    Parameters
    ----------
    low, high : array_like, shape (1, n_intervals) or (n_rows, n_intervals)
        Ends of the intervals, in increasing order: the same for all rows, or those of each row. They may be infinite.
    points, probabilities : array_like, shape (n_points,)
        The probability of detection: linear between values that increase, `points`, and constant beyond them. Without
        any it is one.

    Raises
    ------
    ValueError
        For intervals that do not increase, values that do not increase, or probabilities that are none.

    Examples
    --------
    >>> window = Window.of([(None, 3.0), (5.0, None)], ([0.0, 10.0], [0.0, 1.0]))
    >>> window.probability([2.0, 4.0, 6.0])
    array([0.2, 0. , 0.6])
    """

    low: Array
    high: Array
    points: Array = field(default_factory=lambda: np.empty(0))
    probabilities: Array = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        for name in ("low", "high", "points", "probabilities"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        if self.low.ndim != 2 or self.low.shape != self.high.shape or not self.low.shape[1]:
            raise ValueError(f"truncated must be pairs of bounds, found shapes {self.low.shape} and {self.high.shape}")
        self._check_bounds()
        self._check_detection()

    def _check_bounds(self) -> None:
        missing = np.flatnonzero(np.any(np.isnan(self.low) | np.isnan(self.high), axis=1))
        if missing.size:
            raise ValueError(
                f"truncated has {missing.size} missing bounds, the first at index {missing[0]}; expected numbers, "
                "infinite where there is no bound"
            )
        bad = np.flatnonzero(~self.ordered(self.low, self.high))
        if not bad.size:
            return
        if self.low.shape == (1, 1):
            raise ValueError(
                f"truncated must be two increasing numbers, found {(float(self.low[0, 0]), float(self.high[0, 0]))}"
            )
        pairs = [(float(low), float(high)) for low, high in zip(self.low[bad[0]], self.high[bad[0]], strict=True)]
        where = f" at index {bad[0]}" if self.by_row else ""
        raise ValueError(f"truncated must be increasing intervals that do not overlap, found {pairs}{where}")

    @staticmethod
    def ordered(low: Array, high: Array) -> NDArray[np.bool_]:
        """Whether the intervals of each row increase and do not overlap."""
        return np.asarray(np.all(low < high, axis=1) & np.all(high[:, :-1] <= low[:, 1:], axis=1))

    def _check_detection(self) -> None:
        values, probabilities = self.points, self.probabilities
        if values.shape != probabilities.shape or values.ndim != 1:
            raise ValueError(
                f"detection must be as many values as probabilities, found {values.size} and {probabilities.size}"
            )
        if values.size and not (np.all(np.isfinite(values)) and np.all(np.diff(values) > 0.0)):
            raise ValueError("detection must have finite values that increase")
        bad = np.flatnonzero(~((probabilities >= 0.0) & (probabilities <= 1.0)))
        if bad.size:
            raise ValueError(
                f"detection has a probability of {probabilities[bad[0]]:g} at {values[bad[0]]:g}; expected 0 to 1"
            )
        if values.size and not probabilities.any():
            raise ValueError("detection has a probability of zero everywhere; expected at least one above zero")

    @classmethod
    def of(cls, truncated: Any, detection: Any = None, x: ArrayLike = (), n_rows: int | None = None) -> Window | None:
        """The window that users describe; None if there is none.

        Parameters
        ----------
        truncated : tuple, list of tuple, Window or None
            Lower and upper bound, each a number, an array with one number for each row, or None if it is open; or a
            list of such pairs, between which are holes.
        detection : tuple of (array_like, array_like), callable or None
            Values, and the probability of detection at each of them; or a function, which is tabulated at points
            between which it is linear to 1e-4 of its maximum.
        x : array_like
            The values, over whose range a function is tabulated.
        n_rows : int or None
            The number of rows that bounds have to have.
        """
        if isinstance(truncated, Window):
            if detection is not None:
                raise ValueError("a Window has its own detection: expected one of them")
            return truncated
        if truncated is None and detection is None:
            return None
        low, high = _bounds(truncated, n_rows)
        values, probabilities = _points(detection, np.asarray(x, dtype=np.float64))
        return cls(low, high, values, probabilities)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Window):
            return NotImplemented
        names = ("low", "high", "points", "probabilities")
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]

    @property
    def by_row(self) -> bool:
        """Whether rows have bounds of their own."""
        return self.low.shape[0] > 1

    @property
    def is_interval(self) -> bool:
        """Whether the window is one interval, the same for all rows, in which all values are detected."""
        return self.low.shape == (1, 1) and not self.points.size

    @property
    def has_one_interval(self) -> bool:
        """Whether each row has one interval, in which all values are detected."""
        return self.low.shape[1] == 1 and not self.points.size

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value that any row could have."""
        low, high = float(self.low.min()), float(self.high.max())
        if self.points.size:
            seen = np.flatnonzero(self.probabilities > 0.0)
            first, last = seen[0] - 1, seen[-1] + 1
            low = low if first < 0 else max(low, float(self.points[first]))
            high = high if last == self.points.size else min(high, float(self.points[last]))
        return low, high

    def __getitem__(self, rows: Any) -> Window:
        """The window of some of the rows."""
        return replace(self, low=self.low[rows], high=self.high[rows]) if self.by_row else self

    def __len__(self) -> int:
        return self.low.shape[0]

    def joined(self, other: Window, n_rows: tuple[int, int]) -> Window:
        """The window of the rows of both."""
        if self == other and not self.by_row:
            return self
        same = np.array_equal(self.points, other.points) and np.array_equal(self.probabilities, other.probabilities)
        if not same or self.low.shape[1] != other.low.shape[1]:
            raise ValueError("the cells differ in their windows: expected the same detection and number of intervals")
        both = list(zip((self, other), n_rows, strict=True))
        low, high = (
            np.concatenate([np.broadcast_to(getattr(each, name), (n, each.low.shape[1])) for each, n in both])
            for name in ("low", "high")
        )
        return replace(self, low=low, high=high)

    def scaled(self, factor: float, shift: float = 0.0) -> Window:
        """The window in another unit: times a positive `factor`, plus `shift`."""
        names = ("low", "high", "points")
        return replace(self, **{name: getattr(self, name) * factor + shift for name in names})

    def up_to(self, x: Array) -> Window:
        """The part of each row's window that is below its value; intervals above it are empty."""
        window = object.__new__(Window)
        top = np.maximum(self.low, np.minimum(self.high, x[:, None]))
        low = np.broadcast_to(self.low, top.shape)
        for name, value in (("low", low), ("high", top), ("points", self.points)):
            object.__setattr__(window, name, value)
        object.__setattr__(window, "probabilities", self.probabilities)
        return window

    def probability(self, x: ArrayLike) -> Array:
        """Probability that a value at `x` is observed; rows with bounds of their own have one value each.

        With a second axis of `x`, each row has several values.
        """
        values = np.asarray(x, dtype=np.float64)
        low, high = (part[:, None, :] if values.ndim > 1 else part for part in (self.low, self.high))
        inside = np.any((values[..., None] >= low) & (values[..., None] <= high), axis=-1)
        if not self.points.size:
            return inside.astype(np.float64)
        return np.where(inside, np.interp(values, self.points, self.probabilities), 0.0)

    def may_see(self, value: float) -> bool:
        """Whether any row could have this value."""
        return bool(np.any(self.probability(np.full(len(self), value)) > 0.0))

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The pieces of the window that are not empty."""
        return tuple(self._pieces())

    def _pieces(self) -> Iterator[Piece]:
        values, p = self.points, self.probabilities
        segments = [(-math.inf, math.inf, 1.0, 1.0)]
        if values.size:
            ends = [-math.inf, *values.tolist(), math.inf]
            at = [p[0], *p, p[-1]]
            segments = [(*pair, *both) for pair, both in zip(pairwise(ends), pairwise(at), strict=True)]
        for k in range(self.low.shape[1]):
            for first, last, at_first, at_last in segments:
                low = np.maximum(self.low[:, k], first)
                high = np.maximum(np.minimum(self.high[:, k], last), low)
                if not np.any(low < high) or at_first == at_last == 0.0:
                    continue
                if at_first == at_last:
                    at_low, at_high = np.full_like(low, at_first), np.full_like(low, at_first)
                else:
                    slope = (at_last - at_first) / (last - first)
                    at_low, at_high = at_first + slope * (low - first), at_last - slope * (last - high)
                parts = (low, high, at_low, at_high)
                yield Piece(*parts) if self.by_row or low.size > 1 else Piece(*(float(part[0]) for part in parts))

    # ----- the probability of being seen

    def log_seen(self, family: Family, err: Array | Noise, mean: float, sigma: float, shape: float) -> Array:
        """Log of the probability that a value of a component with each row's error is observed."""
        own = mean, sigma, shape
        if all(piece.is_flat for piece in self.pieces):
            parts = [_log_flat(family, piece, err, own) for piece in self.pieces]
            return parts[0] if len(parts) == 1 else _log_sum(parts)
        if isinstance(err, Noise):
            raise TypeError("no probability of detection for errors that are not symmetric Gaussians")

        def exactly(errors: Array) -> Array:
            if family.name == "gaussian":
                parts = _log_linear(family, *self.together(errors), own)
                return np.asarray(logsumexp(parts.reshape(-1, errors.size), axis=0))
            return self._log_seen_by_steps(family, errors, own)

        return self.between_errors(err, exactly)

    def together(self, err: Array) -> tuple[Piece, Array]:
        """All pieces for rows with these errors, one piece after the other, and the errors as often."""
        names = ("low", "high", "at_low", "at_high")
        parts = ([np.broadcast_to(getattr(piece, name), err.shape) for piece in self.pieces] for name in names)
        return Piece(*map(np.concatenate, parts)), np.tile(err, len(self.pieces))

    def between_errors(self, err: Array, function: Callable[[Array], Array]) -> Array:
        """What is a smooth and even function of the errors alone, such as the probability of being seen, for each row.

        With a table of probabilities that is the same for all rows it is interpolated between some errors, which do not
        depend on the rows that are computed together. Values of `function` have the errors on their last axis.
        """
        if self.by_row or self.points.size < 2:
            return function(err)
        unit = _SMALL_ERROR * float(np.ptp(self.points))
        at = np.arcsinh(err / unit) / _ERROR_STEP
        whole = np.floor(at).astype(np.intp)
        # Polynomials of the fifth degree through the three nodes on either side.
        around = np.arange(-2, 4)
        nodes, inverse = np.unique(whole[:, None] + around, return_inverse=True)
        errors = np.abs(unit * np.sinh(_ERROR_STEP * nodes))
        table = np.maximum(function(errors), -1e100)[..., inverse.reshape(-1, around.size)]
        away = (at - whole)[:, None] - around
        out = np.zeros(table.shape[:-1])
        for k in range(around.size):
            others = np.arange(around.size) != k
            out += table[..., k] * np.prod(away[:, others], axis=1) / np.prod(around[k] - around[others])
        return out

    def _log_seen_by_steps(self, family: Family, err: Array, own: tuple[float, float, float]) -> Array:
        """The probability by quadrature over the points of the pieces, all of whose terms are positive.

        On a piece, S is the smaller of the probabilities at its ends, plus an integral of steps: its contribution is
        that of a mean of probabilities between a point and the end where S is larger.
        """
        return _log_sum(
            [
                _log_flat(family, piece, err, own) if piece.is_flat else self._log_by_steps(family, piece, err, own)
                for piece in self.pieces
            ]
        )

    def _log_by_steps(self, family: Family, piece: Piece, err: Array, own: tuple[float, float, float]) -> Array:
        low, high, at_low, at_high = (
            np.atleast_1d(part) for part in (piece.low, piece.high, piece.at_low, piece.at_high)
        )
        longest = float(np.max(high - low)) / float(np.ptp(self.points))
        at, shares = _rule(max(1, math.ceil(_STEPS * longest)), _NODES if _STEPS * longest > 0.5 else _FEW_NODES)
        rising = at_high > at_low
        with np.errstate(divide="ignore"):
            least, rise = np.log(np.minimum(at_low, at_high)), np.log(np.abs(at_high - at_low))
        first, last = sides(family, low, err, *own), sides(family, high, err, *own)
        inner = sides(family, low + (high - low) * at[:, None], err, *own)
        # Between the point and the end where more is detected.
        lower = np.where(rising, inner[0], first[0]), np.where(rising, inner[1], first[1])
        upper = np.where(rising, last[0], inner[0]), np.where(rising, last[1], inner[1])
        steps = logsumexp(log_difference(lower, upper), axis=0, b=shares[:, None])
        return np.logaddexp(least + log_difference(first, last), rise + steps)

    def seen(self, mixture: Mixture, err: Array | Noise, memberships: Array | None = None) -> Array:
        """Probability that a value of the mixture with each row's error is observed."""
        components = zip(mixture.families, mixture.means, mixture.sigmas, mixture.shapes, strict=True)
        parts = np.stack([np.exp(self.log_seen(FAMILIES[name], err, *own)) for name, *own in components], axis=-1)
        weights = mixture.weights if memberships is None else mixture.shares(memberships)
        return np.maximum(np.sum(parts * weights, axis=-1), np.finfo(np.float64).tiny)

    def below(self, mixture: Mixture, x: Array, err: Array | Noise, memberships: Array | None = None) -> Array:
        """Probability of an observed value below each of `x`, given that it is observed."""
        part = self.up_to(x).seen(mixture, err, memberships)
        return np.clip(part / self.seen(mixture, err, memberships), 0.0, 1.0)

    def mean_probability(self, mixture: Mixture, err: Array | Noise, weights: Array, at: Array) -> Array:
        """Mean over the population of the probability that a row with a value `at` is observed.

        Each row stands for as many rows, seen or not, as the inverse of its probability of being seen.
        """
        if not self.by_row:
            return self.probability(at)
        parents = weights / self.seen(mixture, err)
        return np.array([parents @ self.probability(np.full(err.shape, value)) for value in at]) / parents.sum()


def _log_sum(parts: Sequence[Array]) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(logsumexp(np.stack(np.broadcast_arrays(*parts)), axis=0))


@cache
def _rule(n_steps: int, n_nodes: int) -> tuple[Array, Array]:
    """Points and weights of the Gauss-Legendre rule in each of some equal steps from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    at = (np.arange(n_steps)[:, None] + 0.5 + 0.5 * nodes) / n_steps
    return at.ravel(), np.tile(0.5 * weights / n_steps, n_steps)


def _log_flat(family: Family, piece: Piece, err: Array | Noise, own: tuple[float, float, float]) -> Array:
    inside = log_between(family, (piece.low, piece.high), err, *own)
    if np.all(np.equal(piece.at_low, 1.0)):
        return inside
    with np.errstate(divide="ignore"):
        return np.asarray(inside + np.log(piece.at_low))


def _log_linear(family: Family, piece: Piece, err: Array, own: tuple[float, float, float]) -> Array:
    """Log of the integral of a Gaussian and a linear function: the function at the mean of the truncated Gaussian."""
    inside = log_between(family, (piece.low, piece.high), err, *own)
    mean, sigma, _ = own
    total = np.maximum(np.hypot(sigma, err), np.finfo(np.float64).tiny)
    with np.errstate(all="ignore"):
        a, b = (np.asarray(piece.low) - mean) / total, (np.asarray(piece.high) - mean) / total
        density_a, density_b = (np.exp(-0.5 * end**2 - _LOG_SQRT_2PI - inside) for end in (a, b))
        share = (density_a - density_b - a) / (b - a)
        middle, width = 0.5 * (a + b), b - a
        series = (width < _SHORT) & (np.abs(middle * width) < _FLAT)
        share = np.where(series, 0.5 - middle * width / 12.0, share)
        share = np.clip(np.where(np.isnan(share), 0.5, share), 0.0, 1.0)
        return np.asarray(inside + np.log((1.0 - share) * piece.at_low + share * piece.at_high))


def _bounds(truncated: Any, n_rows: int | None) -> tuple[Array, Array]:
    """The ends of the intervals, shape (n_intervals,) or (n_rows, n_intervals)."""
    wrong = ValueError(f"truncated must be two increasing numbers, found {truncated!r}")
    if truncated is None:
        truncated = (None, None)
    try:
        given = list(truncated)
    except TypeError:
        raise wrong from None
    several = bool(given) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in given)
    sides: list[list[Array]] = [[], []]
    for pair in given if several else [given]:
        if len(pair) != 2:
            raise wrong
        for side, bound, open_end in zip(sides, pair, (-math.inf, math.inf), strict=True):
            try:
                side.append(np.asarray(open_end if bound is None else bound, dtype=np.float64))
            except (TypeError, ValueError):
                raise wrong from None
    lengths = {bound.shape for side in sides for bound in side if bound.ndim}
    rows = lengths.pop() if lengths else (1,)
    if lengths or len(rows) != 1 or (n_rows is not None and rows[0] not in (1, n_rows)):
        shape = "one for each row" if n_rows is None else f"{n_rows}"
        raise ValueError(f"truncated has bounds of shape {rows}, expected {shape}")
    low, high = (np.stack([np.broadcast_to(bound, rows) for bound in side], axis=1) for side in sides)
    return low, high


def _points(detection: Any, x: Array) -> tuple[Array, Array]:
    """The points of a table of probabilities."""
    if detection is None:
        return np.empty(0), np.empty(0)
    if callable(detection):
        return _tabulated(detection, x)
    try:
        values, probabilities = detection
        points = np.array(values, dtype=np.float64), np.array(probabilities, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("detection must be values and their probabilities, or a function") from None
    if points[0].ndim != 1 or points[0].size < 1:
        raise ValueError("detection must be values and their probabilities, at least one of each")
    return points


def _tabulated(function: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    """A function at points between which straight lines agree with it."""
    low, high = float(x.min()), float(x.max())
    reach = _FAR * (high - low or abs(low) or 1.0)

    def at(points: Array) -> Array:
        found = np.asarray(function(points), dtype=np.float64)
        if found.shape != points.shape or not np.all(np.isfinite(found)):
            raise ValueError("detection must give one finite probability for each value of an array")
        return found

    values = np.linspace(low - reach, high + reach, _FIRST_POINTS)
    probabilities = at(values)
    for _ in range(_HALVINGS):
        middles = 0.5 * (values[1:] + values[:-1])
        exact = at(middles)
        off = np.abs(exact - 0.5 * (probabilities[1:] + probabilities[:-1])) > _AGREEMENT * probabilities.max()
        if not off.any():
            break
        values, probabilities = np.append(values, middles[off]), np.append(probabilities, exact[off])
        order = np.argsort(values)
        values, probabilities = values[order], probabilities[order]
    # Points on a straight line between their neighbours are left out.
    slopes = np.diff(probabilities) / np.diff(values)
    bent = np.concatenate([[True], np.abs(np.diff(slopes)) * (high - low or 1.0) > 1e-9, [True]])
    return values[bent], probabilities[bent]
