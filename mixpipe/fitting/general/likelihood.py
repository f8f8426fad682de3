"""The likelihood for components that are not Gaussian, rows that are limits or bins, and samples truncated at known
bounds.

Row i contributes ``ln sum_j w_j f_j(x_i)``, with f_j the density of component j convolved with the row's error for a
value, the probability below x_i for an upper limit, that above it for a lower limit, that between the edges for a bin,
and the mean density there for a rounded value. If the sample is selected by a window (`mixpipe.model.window`), the
logarithm of the probability of detection is added, ``ln S(x_i)``, and ``ln sum_j w_j P_j`` is subtracted, where P_j is
the probability that a value of component j with this row's error is seen.

The derivatives of each ln f_j and ln P_j with respect to the parameters of component j are computed in closed form for
Gaussian components, and by central differences for the others. The gradient and Hessian of the log-likelihood are
composed exactly from these derivatives.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixpipe.fitting.admissible import (
    CLIMBING_ROWS,
    MIN_ROWS,
    NEAR_GRAIN,
    count_effective,
    importance_nats,
    location_nats,
    occam_nats,
)
from mixpipe.fitting.general.closed import Slopes, of_density, of_noisy_probability, of_probability, of_window
from mixpipe.fitting.held import WEIGHT_FLOOR
from mixpipe.model.cells import Cells
from mixpipe.model.constraints import FREE, PARTS, Constraint, satisfied
from mixpipe.model.families import FAMILIES, Family, log_between
from mixpipe.model.families.noisy import gaussian_slopes
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import Noise, raised
from mixpipe.model.results import Array

T = TypeVar("T")

# Terms of sums over the rows, shape (n_terms, n_rows), of some rows of a likelihood.
Terms: TypeAlias = "Callable[[GeneralLikelihood, slice], Array]"

# Step of the differences, in the units of `GeneralLikelihood.units`. The relative truncation error of a gradient is
# about 1e-8, and the rounding error of a curvature about 1e-7.
_STEP = 2e-4
# Step of the logarithm of the factor of all errors.
_SCALE_STEP = 1e-3
# Log densities are raised to at least this, which is practically impossible but finite, as are the squares of its
# derivatives.
_IMPOSSIBLE = -1e100
# A width below _SMALL_SHARE of the smallest errors, defined by the quantile _SMALL_QUANTILE, cannot be distinguished
# from zero.
_SMALL_SHARE = 0.02
_SMALL_QUANTILE = 0.01
# At the end of an interval, such a width still matters; this fraction of the errors does not.
_SMALL_AT_ENDS = 0.002
# If no row has an error and none needs a floor, widths below this fraction of the range count as zero.
_NOTHING = 2e-8
# Width of a lognormal component, as a fraction of its mean, below which derivatives are differences.
_NARROW = 1e-6
# Errors below this fraction of the width of a component do not blunt its cusp or edge, at which there are no slopes; of
# one that is below this fraction of the errors, slopes in closed form lose their digits.
_BLUNT = 0.01
# The means for a truncated sample are searched for up to this many of its widths beyond its bounds; the tail of a
# Gaussian farther out is an exponential to a tenth of a per cent.
_REACH = 10.0
# Rows that are computed at a time.
_BLOCK = 1 << 14


@dataclass(frozen=True, eq=False)
class Point:
    """A mixture of components of any families; each array has shape (n_components,), in the units of the data.

    Parameters
    ----------
    families : tuple of Family
        Family of each component.
    fixed : tuple of bool
        Whether each component keeps its mean, sigma and shape.
    weights, means, sigmas, shapes : ndarray
        Parameters; a shape is nan where the family has none.
    constraints : tuple of Constraint
        What is given of each component or shared with others; empty if nothing is.
    error_scale : float
        Factor of all errors.
    """

    families: tuple[Family, ...]
    fixed: tuple[bool, ...]
    weights: Array
    means: Array
    sigmas: Array
    shapes: Array
    constraints: tuple[Constraint, ...] = ()
    error_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.constraints:
            object.__setattr__(self, "constraints", (FREE,) * len(self.families))

    @classmethod
    def of(cls, mixture: Mixture) -> Point:
        """A mixture as a point; uniform components keep their range."""
        return cls(
            tuple(FAMILIES[name] for name in mixture.families),
            tuple(name == "uniform" for name in mixture.families),
            np.maximum(mixture.weights, WEIGHT_FLOOR),
            mixture.means,
            mixture.sigmas,
            mixture.shapes,
            mixture.constraints,
        )

    def mixture(self) -> Mixture:
        """The mixture at this point."""
        names = tuple(family.name for family in self.families)
        return Mixture(self.weights, self.means, self.sigmas, names, self.shapes, self.constraints)

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.families)

    @property
    def is_constrained(self) -> bool:
        """Whether anything is given of a component or shared with others."""
        return not all(constraint.is_free for constraint in self.constraints)

    @property
    def weights_given(self) -> NDArray[np.bool_]:
        """Whether the weight of each component is given."""
        return np.array([constraint.is_given("weights") for constraint in self.constraints])

    def has(self, part: str, index: int) -> bool:
        """Whether a component has a parameter that is fitted, alone or with others."""
        if self.constraints[index].is_given(part):
            return False
        if part == "weights":
            return True
        return not self.fixed[index] and (part != "shapes" or self.families[index].shape_name is not None)

    @property
    def n_params(self) -> int:
        """Number of free parameters of components: theirs, and all weights but one that are not given."""
        distinct = {
            (part, (self.constraints[j].tie(part) or (str(j),))[0])
            for part in PARTS
            for j in range(self.n_components)
            if self.has(part, j)
        }
        return len(distinct) - any(part == "weights" for part, _ in distinct)

    def satisfied(self, floor: float) -> Point:
        """The nearest mixture that satisfies the constraints and whose other sigmas are not below the floor."""
        parts = {part: getattr(self, part) for part in PARTS}
        found: dict[str, Any] = satisfied(parts, self.constraints, floor, WEIGHT_FLOOR)
        return replace(self, **found)

    def without(self, index: int) -> Point:
        """The mixture without one component."""
        keep = np.arange(self.n_components) != index
        return Point(
            tuple(family for k, family in enumerate(self.families) if k != index),
            tuple(fixed for k, fixed in enumerate(self.fixed) if k != index),
            self.weights[keep] / self.weights[keep].sum(),
            self.means[keep],
            self.sigmas[keep],
            self.shapes[keep],
            tuple(constraint for k, constraint in enumerate(self.constraints) if k != index),
            self.error_scale,
        )

    def with_component(
        self,
        family: Family,
        weight: float,
        mean: float,
        sigma: float,
        shape: float,
        constraint: Constraint = FREE,
    ) -> Point:
        """The mixture with one more component, which comes first, and the weights of the others reduced."""
        return Point(
            (family, *self.families),
            (False, *self.fixed),
            np.concatenate([[weight], self.weights * (1.0 - weight)]),
            np.concatenate([[mean], self.means]),
            np.concatenate([[sigma], self.sigmas]),
            np.concatenate([[shape], self.shapes]),
            (constraint, *self.constraints),
            self.error_scale,
        )


@dataclass(frozen=True, eq=False)
class Expansion:
    """The log-likelihood to second order in the variables, which are in the units of `GeneralLikelihood.units`.

    With a prior it is that of the rows plus the logarithm of the prior, which is `log_prior`.
    """

    loglik: float
    gradient: Array
    hessian: Array
    log_prior: float = 0.0


@dataclass(frozen=True, eq=False)
class _Component:
    """One component for all rows: a logarithm, and its first and second derivatives in (ln w, variables)."""

    value: Array
    first: Array
    second: Array


class GeneralLikelihood:
    """Log-likelihood of mixtures of any family on cells with limits or a window.

    Parameters
    ----------
    cells : Cells
        The data, in any units. They are not shifted, since families of positive values have a natural zero.
    smooth : bool
        Give rows without errors an error as large as the resolution of the data, without which the likelihood of a
        density with an edge has no derivatives.
    fits_scale : bool
        Whether one factor of all errors is fitted, too. It is the last variable.
    prior_rows : float
        Number of rows that each component is given beforehand; see `prior`.
    n_threads : int
        Number of threads, on which no result depends.
    """

    def __init__(
        self,
        cells: Cells,
        *,
        smooth: bool = False,
        fits_scale: bool = False,
        prior_rows: float = 0.0,
        n_threads: int = 1,
    ) -> None:
        self.smooth, self.fits_scale, self.prior_rows = smooth, fits_scale, prior_rows
        self.n_threads = n_threads
        self.weight_kind = cells.weight_kind
        self.resolution = cells.resolution
        self._hold(cells)
        self.n_data = float(self.counts.sum())
        # The lowest and the highest value, and the ends of the window.
        self.extremes = float(self.x.min()), float(self.x.max())
        self.ends = (-math.inf, math.inf) if self.window is None else self.window.ends
        known = self.widths[self.widths > 0]
        self.typical_err = float(np.median(known)) if known.size else 0.0
        # A width below this counts as zero, since the component appears as wide as the errors.
        smallest = float(np.quantile(known, _SMALL_QUANTILE)) if known.size else 0.0
        nothing = _NOTHING * (self.extent or 1.0)
        self.floor = max(cells.resolution.floor, _SMALL_SHARE * smallest) or nothing
        self.n_passes = 0

    def _hold(self, cells: Cells) -> None:
        """Take the rows of some cells."""
        used = cells.weights > 0
        self._last_shares: tuple[Point, Array] | None = None
        self.x, self.err, self.counts = cells.x[used], cells.err[used], cells.weights[used]
        self.blocks = _blocks(self.x.size)
        if self.smooth:
            self.err = np.where(self.err > 0, self.err, self.resolution.floor)
        # What the functions of families take: the errors, or noise that is not a symmetric Gaussian.
        self.errors: Array | Noise = self.err if cells.noise is None else cells.noise[used]
        if self.smooth:
            self.errors = raised(self.errors, self.resolution.floor)
        self.squares = cells.squared_weights[used]
        self.limits = np.zeros(self.x.size, dtype=np.int8) if cells.limits is None else cells.limits[used]
        self.window = None if cells.window is None else cells.window[used]
        self.log_detected = None
        if self.window is not None and self.window.points.size:
            self.log_detected = np.log(self.window.probability(self.x))
        self.log_memberships = None if cells.memberships is None else _log_memberships(cells.memberships[used])
        self.edges = None if cells.edges is None else cells.edges[used]
        if self.edges is not None and cells.are_rounded:
            # Rounded values have the mean density of their interval, so that likelihoods of values compare with it.
            self.log_detected = -np.log(np.diff(self.edges, axis=1).ravel())
        # The precision to which each row is known: its error, combined with the width of its bin.
        self.widths = self.err
        if self.edges is not None:
            self.widths = np.hypot(self.err, np.diff(self.edges, axis=1).ravel() / math.sqrt(12.0))

    def __len__(self) -> int:
        return self.x.size

    def part(self, cells: Cells) -> GeneralLikelihood:
        """The likelihood of some of the rows; what is measured of all rows stays as it is."""
        other = copy.copy(self)
        other._last_shares = None
        other._hold(cells)
        return other

    @property
    def extent(self) -> float:
        """Distance from the lowest to the highest value."""
        return self.extremes[1] - self.extremes[0]

    @property
    def none(self) -> float:
        """Largest sigma that counts as zero; -inf if the grain of the values does not allow such small sigmas."""
        return -math.inf if self.resolution.floor > 0.0 else self.floor * (1.0 + 1e-6)

    def for_ends(self) -> GeneralLikelihood:
        """The same likelihood for components at the end of an interval, where rows tell them from none by their errors
        alone, however wide the interval is.
        """
        errors = self.err[self.err > 0.0]
        if self.edges is None or not errors.size:
            return self
        other = copy.copy(self)
        smallest = _SMALL_AT_ENDS * float(np.quantile(errors, _SMALL_QUANTILE))
        other.floor = max(self.resolution.floor, min(self.floor, smallest))
        return other

    def bounds_of_means(self) -> tuple[float, float]:
        """The range in which the means are searched for.

        If a truncated sample is only the tail of a component, the likelihood may increase with the distance of its mean
        without reaching a maximum.
        """
        if self.window is None:
            return -math.inf, math.inf
        low, high = self.ends
        reach = _REACH * (high - low if math.isfinite(high - low) else self.extent or 1.0)
        return max(low, self.extremes[0]) - reach, min(high, self.extremes[1]) + reach

    def reweighted(self, counts: Array) -> GeneralLikelihood:
        """The likelihood of the same rows with other weights; quantities measured from the rows are unchanged."""
        other = copy.copy(self)
        other._last_shares = None
        used = counts > 0
        other.x, other.err, other.limits = self.x[used], self.err[used], self.limits[used]
        other.edges = None if self.edges is None else self.edges[used]
        other.errors, other.widths = self.errors[used], self.widths[used]
        other.window = None if self.window is None else self.window[used]
        if self.log_detected is not None:
            other.log_detected = self.log_detected[used]
        if self.log_memberships is not None:
            other.log_memberships = self.log_memberships[used]
        other.counts = counts[used]
        other.squares = other.counts if self.weight_kind == "counts" else other.counts**2
        other.blocks = _blocks(other.x.size)
        other.n_data = float(counts.sum())
        other.n_passes = 0
        return other

    def scaled(self, factor: float) -> GeneralLikelihood:
        """The likelihood of the same rows with all errors multiplied by a factor, which is not fitted."""
        if factor == 1.0 and not self.fits_scale:
            return self
        other = copy.copy(self)
        other._last_shares = None
        other.fits_scale = False
        other.err = factor * self.err
        other.errors = self.errors.scaled(factor) if isinstance(self.errors, Noise) else other.err
        other.widths = other.err
        if self.edges is not None:
            other.widths = np.hypot(other.err, np.diff(self.edges, axis=1).ravel() / math.sqrt(12.0))
        return other

    def without_prior(self) -> GeneralLikelihood:
        """The likelihood of the same rows without a prior."""
        other = copy.copy(self)
        other._last_shares = None
        other.prior_rows = 0.0
        return other

    def prior(self, point: Point) -> tuple[float, Array, Array, Array]:
        """The logarithm of the prior, and its derivatives by ln w (first), and by ln sigma (first and second).

        Each component has `prior_rows` rows more, which scatter as the data would if they were divided evenly among
        the components: ``m (ln w_j - ln(T_j) / 2 - V / (2 T_j))`` with T_j = sigma_j^2 + e^2, the typical error e and
        ``V = var(x) / M^2``. The conjugate prior of Fraley & Raftery (2007), with T instead of sigma^2, so that a width
        that the errors do not resolve is left to the data.
        """
        m = self.prior_rows
        spread = self._mean_square(0.0) / point.n_components**2
        own = np.where(point.fixed, 0.0, m)
        squares = point.sigmas**2
        total = np.maximum(squares + self.typical_err**2, np.finfo(np.float64).tiny)
        slope = own * (spread / total - 1.0) / total
        value = float(m * np.log(point.weights).sum() + np.sum(own * -0.5 * (np.log(total) + spread / total)))
        curvature = own * (0.5 - spread / total) / total**2 * 4.0 * squares**2 + 2.0 * squares * slope
        return value, m * (1.0 - point.n_components * point.weights), slope * squares, curvature

    def _mean_square(self, more: Array | float) -> float:
        """Variance of the values, plus the mean of another square."""
        share = self.counts / self.counts.sum()
        return float(share @ ((self.x - float(share @ self.x)) ** 2 + more))

    def unselected(self) -> GeneralLikelihood:
        """The likelihood of the same rows as if all values were seen."""
        other = copy.copy(self)
        other._last_shares = None
        other.window = other.log_detected = None
        return other

    # ----- one component

    def component(self, point: Point, index: int, rows: slice, *, inside: bool = False) -> Array:
        """Log of the density (or of the probability of being seen) of rows in one component."""
        family = point.families[index]
        parameters = point.means[index], point.sigmas[index], point.shapes[index]
        x, err, limits = self.x[rows], self.errors[rows], self.limits[rows]
        if inside and self.window is not None:
            return np.maximum(self.window[rows].log_seen(family, err, *parameters), _IMPOSSIBLE)
        if self.edges is not None:
            return np.maximum(log_between(family, (*self.edges[rows].T,), err, *parameters), _IMPOSSIBLE)
        if not limits.any():
            return np.maximum(family.logpdf(x, err, *parameters), _IMPOSSIBLE)
        out = np.empty_like(x)
        for limit, function in ((0, family.logpdf), (-1, family.logcdf), (1, family.logsf)):
            selected = limits == limit
            if selected.any():
                out[selected] = function(x[selected], err[selected], *parameters)
        return np.maximum(out, _IMPOSSIBLE)

    # ----- the mixture

    def log_rows(self, point: Point) -> Array:
        """The contribution of each row to the log-likelihood."""
        self.n_passes += 1
        if point.error_scale != 1.0:
            return self.scaled(point.error_scale).log_rows(replace(point, error_scale=1.0))
        return np.concatenate(self._over_blocks(lambda rows: self._log_block(point, rows)))

    def loglik(self, point: Point) -> float:
        """The log-likelihood, without that of a prior."""
        if point.error_scale != 1.0:
            return self.scaled(point.error_scale).loglik(replace(point, error_scale=1.0))
        self.n_passes += 1
        return float(self._summed(lambda part, rows: part.counts[rows] * part._log_block(point, rows)[None])[0])

    def _summed(self, terms: Terms) -> Array:
        """Sums over the rows of some terms of each, shape (n_terms,)."""
        return np.asarray(np.sum(self._over_blocks(lambda rows: terms(self, rows).sum(axis=1)), axis=0))

    def _log_block(self, point: Point, rows: slice) -> Array:
        total = self._mixed(point, rows, inside=False)[0]
        return total if self.window is None else total - self._mixed(point, rows, inside=True)[0]

    def entropy(self, point: Point) -> float:
        """Entropy of the responsibilities, -sum q ln q."""
        return float(self._of_shares(point)[0])

    def _of_shares(self, point: Point) -> Array:
        """Sums of -q ln q over rows and components, and over the rows of a, a^2, q, and q with the squared weights.

        See `effective_rows`.
        """
        if self._last_shares is not None and self._last_shares[0] is point:
            return self._last_shares[1]
        if point.error_scale != 1.0:
            found = self.scaled(point.error_scale)._of_shares(replace(point, error_scale=1.0))
        else:
            self.n_passes += 1
            found = self._summed(partial(self._shares, point))
        self._last_shares = point, found
        return found

    def _shares(self, point: Point, part: GeneralLikelihood, rows: slice) -> Array:
        q = part._mixed(point, rows, inside=False)[1]
        a = q / (np.maximum(point.sigmas, self.floor)[:, None] ** 2 + part.widths[rows] ** 2)
        counts = part.counts[rows]
        entropy = -counts * _sum_over_components(q * np.log(np.maximum(q, 1e-300)))
        squares = part.squares[rows]
        return np.concatenate([entropy[None], a * counts, a**2 * squares, q * counts, q * squares])

    def _mixed(self, point: Point, rows: slice, *, inside: bool) -> tuple[Array, Array]:
        """Log of the sum over the components, and the share of each component, shape (n_components, n_rows)."""
        parts = [self.component(point, j, rows, inside=inside) for j in range(point.n_components)]
        logs = np.log(point.weights)[:, None] + np.stack(parts)
        if not inside and (self.log_memberships is not None or self.log_detected is not None):
            logs += np.stack([self.evidence(point, j, rows) for j in range(point.n_components)])
        total = _log_sum(logs)
        return total, np.exp(logs - total)

    def evidence(self, point: Point, index: int, rows: slice) -> Array | float:
        """Log of what multiplies a component: the membership and detection of rows, the widths of their intervals."""
        detected = 0.0 if self.log_detected is None else self.log_detected[rows]
        if self.log_memberships is None:
            return detected
        return detected + self.log_memberships[rows, point.constraints[index].members]

    def _over_blocks(self, task: Callable[[slice], T]) -> list[T]:
        """The results of a task for each block of rows, in their order."""
        if self.n_threads == 1 or len(self.blocks) == 1:
            return [task(rows) for rows in self.blocks]
        with ThreadPoolExecutor(self.n_threads) as pool:
            return list(pool.map(task, self.blocks))

    def effective_rows(self, point: Point) -> tuple[Array, Array]:
        """Effective number of rows of each component, ``(sum a)^2 / sum a^2`` with a = q / T, and their typical T."""
        first, second, held, _ = self._of_shares(point)[1:].reshape(4, -1)
        total_var = np.divide(held, first, out=np.full_like(first, np.inf), where=first > 0.0)
        return count_effective(first, second), total_var

    def occam(self, point: Point, *, choosing: bool = False, climbing: bool = False) -> float:
        """Penalty, in nats, on components on few rows and, if `choosing`, on those hardly wider than the grain, and on
        those of rows with large weights.
        """
        rows, total_var = self.effective_rows(point)
        spread = self._mean_square(self.widths**2)
        # A component with a given mean or sigma is there whether or not rows are.
        given = [constraint.is_given("means") or constraint.is_given("sigmas") for constraint in point.constraints]
        movable = ~(np.array(point.fixed) | given)
        least = CLIMBING_ROWS if climbing else MIN_ROWS
        nats = occam_nats(rows[movable], total_var[movable], spread, self.n_data, least)
        grain = self.grains(point)
        if choosing and grain.any():
            nats += location_nats(point.weights[movable], rows[movable], total_var[movable], spread, grain[movable])
        if choosing and self.weight_kind == "importance":
            held, squared = self._of_shares(point)[1:].reshape(4, -1)[2:]
            nats += importance_nats(held[movable], squared[movable], self.n_data)
        return nats

    def grains(self, point: Point) -> Array:
        """Square of the total width that the values resolve at each component; 0 if this is no matter.

        Rounded values resolve all that is wider than their interval, whose own variance is part of the total width.
        """
        if point.error_scale != 1.0:
            return self.scaled(point.error_scale).grains(replace(point, error_scale=1.0))
        found = np.full(point.n_components, self.resolution.grain**2 if self.resolution.floor > 0.0 else 0.0)
        if self.edges is None or self.resolution.cause != "rounding":
            return found
        shares = np.concatenate([self._mixed(point, rows, inside=False)[1] for rows in self.blocks], axis=1)
        held = np.maximum(shares @ self.counts, np.finfo(np.float64).tiny)
        widths = shares @ (self.counts * np.diff(self.edges, axis=1).ravel() ** 2) / held
        return np.maximum(found, (1.0 + 1.0 / 12.0) * widths / NEAR_GRAIN**2)

    def score_products(self, point: Point) -> Array:
        """Sum over the rows of products of their scores times the squared weight: the covariance of the total score."""

        def block(rows: slice) -> Array:
            scores = self.scores(point, rows)
            return (scores * self.squares[rows]) @ scores.T

        return np.asarray(np.sum(self._over_blocks(block), axis=0))

    def scores(self, point: Point, rows: slice) -> Array:
        """Derivatives of the log-likelihoods of rows by the variables in their `units`, shape (n_variables, n_rows)."""
        units = self.units(point)
        scores = self._scores(point, units, rows, inside=False)[1]
        if self.window is not None:
            return scores - self._scores(point, units, rows, inside=True)[1]
        if not point.weights_given.any():
            scores[places(units)] -= point.weights[:, None]
        return scores

    # ----- derivatives

    def units(self, point: Point) -> list[Array]:
        """For each component, the change of (ln w, mean, ln sigma, shape) that one unit of its variables stands for."""
        units = []
        for family, fixed, sigma in zip(point.families, point.fixed, point.sigmas, strict=True):
            component_units = [] if fixed else [math.hypot(sigma, self.typical_err), 1.0]
            if not fixed and family.shape_name is not None:
                component_units.append(1.0)
            units.append(np.array([1.0, *component_units]))
        return units

    def moved(self, point: Point, index: int, change: Array) -> Point:
        """The mixture with one component changed by `change` in (mean, ln sigma, shape or its logarithm)."""
        family = point.families[index]
        means, sigmas, shapes = point.means.copy(), point.sigmas.copy(), point.shapes.copy()
        if change.size:
            means[index] += change[0]
            if family.positive:
                means[index] = max(means[index], 1e-3 * point.means[index])
            sigmas[index] *= math.exp(change[1])
        if change.size > 2:
            shapes[index] = shapes[index] * math.exp(change[2]) if family.log_shape else shapes[index] + change[2]
        return replace(point, means=means, sigmas=sigmas, shapes=shapes)

    def _differentiated(self, point: Point, index: int, unit: Array, rows: slice, *, inside: bool) -> _Component:
        n = unit.size - 1
        closed = self._closed(point, index, rows, inside=inside) if n else None
        if closed is not None:
            first, second = np.ones((n + 1, closed[0].size)), np.zeros((n + 1, n + 1, closed[0].size))
            first[1], first[2] = closed[1] * unit[1], closed[2]
            second[1, 1], second[2, 2] = closed[3] * unit[1] ** 2, closed[5]
            second[1, 2] = second[2, 1] = closed[4] * unit[1]
            return _Component(closed[0], first, second)
        value = self.component(point, index, rows, inside=inside)
        first = np.ones((n + 1, value.size))
        second = np.zeros((n + 1, n + 1, value.size))
        if n and point.families[index].name == "gaussian":
            slopes = self._slopes(point, index, rows, value, inside=inside)
            first[1], first[2] = slopes.mean * unit[1], slopes.width
            second[1, 1], second[2, 2] = slopes.mean_mean * unit[1] ** 2, slopes.width_width
            second[1, 2] = second[2, 1] = slopes.mean_width * unit[1]
            return _Component(value, first, second)
        step = _STEP * unit[1:]
        # What is given does not vary, and at the ends of a given range there are no derivatives.
        axes = [a for a in range(n) if not point.constraints[index].is_given(PARTS[a + 1])]

        def at(*signs: tuple[int, int]) -> Array:
            change = np.zeros(n)
            for axis, sign in signs:
                change[axis] += sign * step[axis]
            return self.component(self.moved(point, index, change), index, rows, inside=inside)

        sides = {a: (at((a, 1)), at((a, -1))) for a in axes}
        first[1:] = 0.0
        for a, (up, down) in sides.items():
            first[a + 1] = (up - down) / (2.0 * _STEP)
            second[a + 1, a + 1] = (up - 2.0 * value + down) / _STEP**2
        for a in axes:
            for b in axes[: axes.index(a)]:
                # The mixed difference is computed from two corners and the four sides.
                both = at((a, 1), (b, 1)) + at((a, -1), (b, -1))
                mixed = (both - sum(sides[a]) - sum(sides[b]) + 2.0 * value) / (2.0 * _STEP**2)
                second[a + 1, b + 1] = second[b + 1, a + 1] = mixed
        return _Component(value, first, second)

    def _closed(self, point: Point, index: int, rows: slice, *, inside: bool) -> Array | None:
        """Log density of a component and its derivatives, for families that have them and rows that are values."""
        family, sigma = point.families[index], float(point.sigmas[index])
        if isinstance(self.errors, Noise):
            return self._closed_noisy(point, index, rows, inside=inside) if family.name == "gaussian" else None
        if family.slopes is None or inside or self.edges is not None or self.limits[rows].any():
            return None
        # Narrower components are Gaussian to the last digits.
        if sigma < _NARROW * point.means[index]:
            return None
        err = self.err[rows]
        if (family.has_cusp or family.has_edge) and not (_BLUNT * sigma < err.min() and err.max() < sigma / _BLUNT):
            return None
        return family.slopes(self.x[rows], err, float(point.means[index]), sigma)

    def _closed_noisy(self, point: Point, index: int, rows: slice, *, inside: bool) -> Array:
        """As `_closed`, for a Gaussian component and errors that are not symmetric Gaussians."""
        noise = self.errors[rows]
        if not isinstance(noise, Noise):
            raise TypeError("expected errors that are not symmetric Gaussians")
        parameters = float(point.means[index]), float(point.sigmas[index])
        value = self.component(point, index, rows, inside=inside)
        x, limits = self.x[rows], self.limits[rows]
        if inside and self.window is not None:
            window = self.window[rows]
            low, high = (np.broadcast_to(end[:, 0], x.shape) for end in (window.low, window.high))
            return of_noisy_probability(low, high, noise, *parameters, value)
        out = gaussian_slopes(x, noise, *parameters)
        out[0] = value
        if limits.any():
            low, high = np.where(limits > 0, x, -np.inf), np.where(limits < 0, x, np.inf)
            out = np.where(limits == 0, out, of_noisy_probability(low, high, noise, *parameters, value))
        return out

    def _slopes(self, point: Point, index: int, rows: slice, value: Array, *, inside: bool) -> Slopes:
        """Derivatives of a Gaussian component in closed form."""
        x, err, limits = self.x[rows], self.err[rows], self.limits[rows]
        parameters = float(point.means[index]), float(point.sigmas[index])
        if inside and self.window is not None:
            return of_window(self.window[rows], err, *parameters, value)
        if self.edges is not None:
            low, high = self.edges[rows].T
            return of_probability(low, high, err, *parameters, value)
        slopes = of_density(x, err, *parameters)
        if limits.any():
            low, high = np.where(limits > 0, x, -np.inf), np.where(limits < 0, x, np.inf)
            behind = of_probability(low, high, err, *parameters, value)
            slopes = Slopes(
                *(np.where(limits == 0, *pair) for pair in zip(astuple(slopes), astuple(behind), strict=True))
            )
        return slopes

    def expansion(self, point: Point, *, rough: bool = False) -> Expansion:
        """Value, gradient and Hessian in the variables (ln w, mean, ln sigma, shape), each in its unit.

        The likelihood itself does not depend on the sum of the weights, which enters through
        ``n_data ln(sum w) - n_data (sum w - 1)``, so that the Hessian has no null direction; where weights are given,
        the sum of the others enters by a multiplier, and the Hessian holds along it. A rough expansion takes a
        third of the time: it uses one-sided differences, and the outer products of the rows' gradients instead of the
        Hessian.
        """
        if self.fits_scale:
            return self._with_scale(point, rough)
        self.n_passes += 1
        units = self.units(point)
        if rough:
            return self._rough(point, units)
        loglik, gradient, hessian = self._derivatives(point, units)
        logs = places(units)
        log_prior = self._add_prior(point, units, gradient, hessian) if self.prior_rows else 0.0
        loglik += log_prior
        if point.weights_given.any():
            return Expansion(loglik, *_with_given_weights(gradient, hessian, logs, point), log_prior)
        gradient[logs] -= self.n_data * point.weights
        hessian[logs, logs] -= self.n_data * point.weights
        if self.window is not None:
            share = point.weights / point.weights.sum()
            gradient[logs] += self.n_data * share
            hessian[np.ix_(logs, logs)] += self.n_data * (np.diag(share) - np.outer(share, share))
        return Expansion(loglik, gradient, hessian, log_prior)

    def _add_prior(self, point: Point, units: list[Array], gradient: Array, hessian: Array) -> float:
        """Add the derivatives of the prior to those of the likelihood, and return its logarithm."""
        value, by_weight, by_sigma, twice = self.prior(point)
        logs = places(units)
        share = self.prior_rows * point.n_components * point.weights
        gradient[logs] += by_weight
        hessian[np.ix_(logs, logs)] -= np.diag(share) - np.outer(share, point.weights)
        for j, unit in enumerate(units):
            if unit.size > 2:
                gradient[logs[j] + 2] += by_sigma[j]
                hessian[logs[j] + 2, logs[j] + 2] += twice[j]
        return value

    def _with_scale(self, point: Point, rough: bool) -> Expansion:
        """The expansion in the other variables and, by differences, in the logarithm of the factor of the errors."""
        bare = replace(point, error_scale=1.0)
        low, here, high = (
            self.scaled(point.error_scale * math.exp(step)).expansion(bare, rough=rough)
            for step in (-_SCALE_STEP, 0.0, _SCALE_STEP)
        )
        self.n_passes += 3
        first = (high.loglik - low.loglik) / (2.0 * _SCALE_STEP)
        second = (high.loglik - 2.0 * here.loglik + low.loglik) / _SCALE_STEP**2
        mixed = (high.gradient - low.gradient) / (2.0 * _SCALE_STEP)
        hessian = np.block([[here.hessian, mixed[:, None]], [mixed[None, :], np.array([[second]])]])
        return Expansion(here.loglik, np.append(here.gradient, first), hessian, here.log_prior)

    def _derivatives(self, point: Point, units: list[Array]) -> tuple[float, Array, Array]:
        """Log-likelihood, gradient and Hessian, with the weights taken as independent."""
        loglik, gradient, hessian = self._sums(point, units, inside=False)
        if self.window is None:
            return loglik, gradient, hessian
        inside = self._sums(point, units, inside=True)
        return loglik - inside[0], gradient - inside[1], hessian - inside[2]

    def _sums(self, point: Point, units: list[Array], *, inside: bool) -> tuple[float, Array, Array]:
        def block(rows: slice) -> tuple[float, Array, Array]:
            total, q, parts = self._expanded(point, units, rows, inside=inside)
            counts = self.counts[rows]
            q *= counts
            scores = np.concatenate([q[j] * part.first for j, part in enumerate(parts)])
            hessian = -(scores / counts) @ scores.T
            start = 0
            for j, part in enumerate(parts):
                variables = slice(start, start + part.first.shape[0])
                hessian[variables, variables] += (part.first * q[j]) @ part.first.T + part.second @ q[j]
                start = variables.stop
            return float(counts @ total), scores.sum(axis=1), hessian

        logliks, gradients, hessians = zip(*self._over_blocks(block), strict=True)
        return math.fsum(logliks), np.sum(gradients, axis=0), np.sum(hessians, axis=0)

    def _expanded(
        self, point: Point, units: list[Array], rows: slice, *, inside: bool
    ) -> tuple[Array, Array, list[_Component]]:
        """Log of the sum over the components, the share of each, and their derivatives."""
        parts = [self._differentiated(point, j, units[j], rows, inside=inside) for j in range(point.n_components)]
        own = [0.0 if inside else self.evidence(point, j, rows) for j in range(len(parts))]
        logs = np.stack([math.log(point.weights[j]) + part.value + own[j] for j, part in enumerate(parts)])
        total = _log_sum(logs)
        return total, np.exp(logs - total), parts

    def _rough(self, point: Point, units: list[Array]) -> Expansion:
        logs = places(units)
        given = bool(point.weights_given.any())

        def block(rows: slice) -> tuple[float, Array, Array]:
            total, scores = self._scores(point, units, rows, inside=False)
            if self.window is not None:
                total_inside, scores_inside = self._scores(point, units, rows, inside=True)
                total, scores = total - total_inside, scores - scores_inside
            elif not given:
                scores[logs] -= point.weights[:, None]
            counts = self.counts[rows]
            return float(counts @ total), scores @ counts, -(scores * counts) @ scores.T

        logliks, gradients, hessians = zip(*self._over_blocks(block), strict=True)
        hessian = np.sum(hessians, axis=0)
        if not given:
            hessian[np.ix_(logs, logs)] -= self.n_data * np.outer(point.weights, point.weights)
        loglik, gradient = math.fsum(logliks), np.sum(gradients, axis=0)
        log_prior = self._add_prior(point, units, gradient, hessian) if self.prior_rows else 0.0
        return Expansion(loglik + log_prior, gradient, hessian, log_prior)

    def _scores(self, point: Point, units: list[Array], rows: slice, *, inside: bool) -> tuple[Array, Array]:
        """Log of the sum over the components, and its derivatives, shape (n_variables, n_rows)."""
        values, slopes = [], []
        for j, unit in enumerate(units):
            log_weight = math.log(point.weights[j]) + (0.0 if inside else self.evidence(point, j, rows))
            exact = self._closed(point, j, rows, inside=inside) if unit.size > 1 else None
            if exact is not None:
                values.append(log_weight + exact[0])
                slopes.append(np.stack([np.ones_like(exact[0]), exact[1] * unit[1], exact[2]]))
                continue
            value = self.component(point, j, rows, inside=inside)
            values.append(log_weight + value)
            slope = np.ones((unit.size, value.size))
            if unit.size > 1 and point.families[j].name == "gaussian":
                closed = self._slopes(point, j, rows, value, inside=inside)
                slope[1], slope[2] = closed.mean * unit[1], closed.width
                slopes.append(slope)
                continue
            for a in range(1, unit.size):
                if point.constraints[j].is_given(PARTS[a]):
                    slope[a] = 0.0
                    continue
                change = np.zeros(unit.size - 1)
                change[a - 1] = _STEP * unit[a]
                side = self.component(self.moved(point, j, change), j, rows, inside=inside)
                slope[a] = (side - value) / _STEP
            slopes.append(slope)
        total = _log_sum(np.stack(values))
        return total, np.concatenate(
            [np.exp(value - total) * slope for value, slope in zip(values, slopes, strict=True)]
        )


def _blocks(n_rows: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, n_rows, _BLOCK)]


def _sum_over_components(parts: Array) -> Array:
    """The sum over the first axis, one after the other: it does not depend on the place of a row among others."""
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def _log_sum(logs: Array) -> Array:
    """Log of the sum of the exponentials over the first axis."""
    top = logs.max(axis=0)
    return np.asarray(top + np.log(_sum_over_components(np.exp(logs - top))))


def _with_given_weights(gradient: Array, hessian: Array, logs: NDArray[np.intp], point: Point) -> tuple[Array, Array]:
    """Derivatives of the Lagrangian in which the sum of the weights that are not given has a multiplier.

    Along directions in which this sum does not change, its Hessian is that of the log-likelihood on the constraint.
    """
    free = ~point.weights_given
    chosen, weights = logs[free], point.weights[free]
    multiplier = float(gradient[chosen].sum() / weights.sum()) if weights.size else 0.0
    gradient[chosen] -= multiplier * weights
    hessian[chosen, chosen] -= multiplier * weights
    return gradient, hessian


def _log_memberships(memberships: Array) -> Array:
    """Logarithms of the columns, and of the rest, the prior of all components without known members, as the last."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(memberships), _IMPOSSIBLE)


def places(units: list[Array]) -> NDArray[np.intp]:
    """Indices of the ln w among the variables."""
    return np.cumsum([0, *(unit.size for unit in units[:-1])])
