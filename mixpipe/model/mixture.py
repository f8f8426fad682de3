"""The mixture that describes the true values, and what it implies for observed values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, ndtr

from mixpipe.base.arrays import Array, frozen
from mixpipe.base.presentation import as_html
from mixpipe.model.constraints import FREE, Constraint
from mixpipe.model.families import FAMILIES
from mixpipe.model.families.behind import behind_limit
from mixpipe.model.noise import Noise, with_sides

# A value whose error is this many times the width of the mixture carries no information at double precision.
_VERY_MUCH = 1e8
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def _normalised(log_joint: Array) -> Array:
    """Responsibilities from ln(w_j N_j); a value that coincides with point masses belongs to these alone.

    A value that is impossible, because it lies outside all components and these are bounded, belongs to all of them
    equally.
    """
    infinite = log_joint == np.inf
    if infinite.any():
        log_joint = np.where(infinite.any(axis=-1, keepdims=True), np.where(infinite, 0.0, -np.inf), log_joint)
    impossible = np.all(log_joint == -np.inf, axis=-1, keepdims=True)
    if impossible.any():
        log_joint = np.where(impossible, 0.0, log_joint)
    return np.asarray(np.exp(log_joint - logsumexp(log_joint, axis=-1, keepdims=True)))


@dataclass(frozen=True, eq=False)
class Mixture:
    """A one-dimensional mixture that describes the true values, with the measurement errors removed.

    Components are sorted by mean on construction.

    Parameters
    ----------
    weights : array_like, shape (n_components,)
        Fractions >= 0 that sum to one.
    means : array_like, shape (n_components,)
        Component means.
    sigmas : array_like, shape (n_components,)
        Intrinsic widths >= 0, in the unit of the means. A component of width zero has no intrinsic scatter.
    families : sequence of str, shape (n_components,)
        Names from `mixpipe.model.families.FAMILIES`, which define the meaning of means and sigmas; all Gaussian by
        default.
    shapes : array_like, shape (n_components,)
        Third parameters; nan where a family has none.
    constraints : tuple of Constraint
        What is given of each component or shared with others when the mixture is fitted again; nothing by default.

    Raises
    ------
    ValueError
        For unequal lengths, negative widths, unknown families, or weights that do not sum to one within 1e-6.

    Examples
    --------
    >>> mixture = Mixture([0.8, 0.2], [15.0, 20.0], [1.0, 1.0])
    >>> round(float(mixture.pdf(15.0)), 6)
    0.319154
    """

    weights: Array
    means: Array
    sigmas: Array
    families: tuple[str, ...] = ()
    shapes: Array = field(default_factory=lambda: np.empty(0))
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        weights, means, sigmas = (
            np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (self.weights, self.means, self.sigmas)
        )
        if not (weights.ndim == 1 and weights.shape == means.shape == sigmas.shape and weights.size > 0):
            raise ValueError("weights, means and sigmas must be one-dimensional and of one length")
        if not (np.all(np.isfinite(means)) and np.all(np.isfinite(sigmas)) and np.all(sigmas >= 0)):
            raise ValueError("means must be finite and sigmas finite and >= 0")
        if not (np.all(weights >= 0) and abs(weights.sum() - 1.0) < 1e-6):
            raise ValueError(f"weights must be >= 0 and sum to one, found a sum of {weights.sum()}")
        families = tuple(self.families) or ("gaussian",) * means.size
        shapes = np.asarray(self.shapes, dtype=np.float64) if np.size(self.shapes) else np.full(means.size, np.nan)
        constraints = tuple(self.constraints) or (FREE,) * means.size
        if not len(families) == means.size == shapes.size == len(constraints):
            raise ValueError("families, shapes and constraints must have the length of the means")
        for name in families:
            if name not in FAMILIES:
                raise ValueError(f"unknown family {name!r}: expected one of {', '.join(FAMILIES)}")
        for name, mean, shape in zip(families, means, shapes, strict=True):
            if FAMILIES[name].shape_name is not None and not np.isfinite(shape):
                raise ValueError(f"family {name} needs a shape, the {FAMILIES[name].shape_name}; found {shape}")
            if FAMILIES[name].positive and not mean > 0.0:
                raise ValueError(f"family {name} needs means > 0, found {mean}")
        order = np.lexsort((sigmas, means))
        object.__setattr__(self, "weights", frozen(weights[order] / weights.sum()))
        object.__setattr__(self, "means", frozen(means[order]))
        object.__setattr__(self, "sigmas", frozen(sigmas[order]))
        object.__setattr__(self, "families", tuple(families[k] for k in order))
        object.__setattr__(self, "shapes", frozen(shapes[order]))
        object.__setattr__(self, "constraints", tuple(constraints[k] for k in order))

    def __repr__(self) -> str:
        with np.printoptions(precision=3, suppress=True, floatmode="maxprec"):
            others = "" if self.is_gaussian else f", families={self.families}, shapes={self.shapes}"
            return f"Mixture(weights={self.weights}, means={self.means}, sigmas={self.sigmas}{others})"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, ...]] = [("", "weight", "mean", "sigma")]
        for j, parameters in enumerate(zip(self.weights, self.means, self.sigmas, strict=True), start=1):
            rows.append((str(j), *(f"{parameter:.5g}" for parameter in parameters)))
        return as_html(f"mixture, {self.family}", rows)

    @property
    def n_components(self) -> int:
        """Number of components, M."""
        return self.weights.size

    def doubled(self) -> Mixture:
        """The same mixture with its heaviest component, other than a background, split into two equal halves."""
        heaviest = int(np.argmax(np.where([name == "uniform" for name in self.families], 0.0, self.weights)))
        weights = np.where(np.arange(self.n_components) == heaviest, 0.5 * self.weights, self.weights)
        chosen = [*range(self.n_components), heaviest]
        families = tuple(self.families[j] for j in chosen)
        # The first half keeps the constraints.
        rules = (*self.constraints, FREE)
        return Mixture(weights[chosen], self.means[chosen], self.sigmas[chosen], families, self.shapes[chosen], rules)

    @property
    def is_constrained(self) -> bool:
        """Whether anything is given of a component or shared with others."""
        return not all(constraint.is_free for constraint in self.constraints)

    @property
    def is_gaussian(self) -> bool:
        """Whether all components are Gaussian."""
        return all(name == "gaussian" for name in self.families)

    @property
    def family(self) -> str:
        """The distinct families of the components, such as ``gaussian+uniform``."""
        return "+".join(sorted(set(self.families)))

    def component(self, index: int) -> Mixture:
        """One component as a mixture by itself."""
        one = slice(index, index + 1)
        return Mixture(np.ones(1), self.means[one], self.sigmas[one], self.families[one], self.shapes[one])

    def _log_joint(self, x: ArrayLike, err: ArrayLike | Noise) -> Array:
        """ln(w_j f_j(x)); the last axis runs over the components."""
        err = with_sides(x, err)
        if not self.is_gaussian or isinstance(err, Noise):
            with np.errstate(divide="ignore"):
                return np.asarray(np.log(self.weights) + self._of_families("logpdf", x, err))
        total_var, offset = self._gaussian_terms(x, err)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_joint = np.log(self.weights) - 0.5 * offset**2 / total_var - 0.5 * np.log(total_var) - _LOG_SQRT_2PI
        # A component of zero width observed without error is a point mass: infinite at its mean and zero elsewhere.
        point = total_var == 0.0
        if point.any():
            log_joint = np.where(point, np.where(offset == 0.0, np.inf, -np.inf), log_joint)
        return np.asarray(log_joint)

    def _gaussian_terms(self, x: ArrayLike, err: ArrayLike) -> tuple[Array, Array]:
        """Total variances and offsets; the last axis runs over the components."""
        values, errors = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(err, dtype=np.float64))
        return self.sigmas**2 + errors[..., None] ** 2, values[..., None] - self.means

    def _of_families(self, name: str, x: ArrayLike, err: ArrayLike | Noise) -> Array:
        """Evaluate a function of each component's family; the last axis runs over the components."""
        parameters = zip(self.families, self.means, self.sigmas, self.shapes, strict=True)
        return np.stack([getattr(FAMILIES[f], name)(x, err, *others) for f, *others in parameters], axis=-1)

    def shares(self, memberships: Array) -> Array:
        """The weights of the components for rows with prior memberships, of shape (n_rows, n_components).

        They are proportional to ``w_j pi_ij``, where pi_ij is the prior of row i for component j; see
        `mixpipe.model.cells.Cells`.
        """
        priors = self.weights * memberships[:, [rule.members for rule in self.constraints]]
        total = priors.sum(axis=1, keepdims=True)
        # A row that no component of the mixture may have is like any other.
        return np.where(total > 0.0, priors / np.where(total > 0.0, total, 1.0), self.weights)

    def logpdf(self, x: ArrayLike, err: ArrayLike | Noise = 0.0) -> Array:
        """Natural log of the density of observed values: the mixture convolved with the errors.

        Parameters
        ----------
        x : array_like
            Observed values.
        err : array_like or Noise
            One-sigma Gaussian errors, broadcast against `x`; 0 gives the intrinsic density. Errors of shape (2, n) for
            n values are the lower and the upper ones. For other errors, those of `Cells`.
        """
        return np.asarray(logsumexp(self._log_joint(x, err), axis=-1))

    def pdf(self, x: ArrayLike, err: ArrayLike | Noise = 0.0) -> Array:
        """Density of observed values; see `logpdf`."""
        return np.exp(self.logpdf(x, err))

    def _scores(self, x: ArrayLike, err: ArrayLike) -> Array:
        """(x - m_j) / sqrt(T_j); the last axis runs over the components."""
        total_var, offset = self._gaussian_terms(x, err)
        total = np.sqrt(total_var)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(total > 0.0, offset / total, np.where(offset >= 0.0, np.inf, -np.inf))

    def cdf(self, x: ArrayLike, err: ArrayLike | Noise = 0.0, memberships: Array | None = None) -> Array:
        """Probability of an observed value below `x`; see `logpdf` for the arguments, and `shares` for the last."""
        err = with_sides(x, err)
        if self.is_gaussian and not isinstance(err, Noise):
            below = ndtr(self._scores(x, err))
        else:
            below = np.exp(self._of_families("logcdf", x, err))
        return self._mixed(below, memberships)

    def sf(self, x: ArrayLike, err: ArrayLike | Noise = 0.0, memberships: Array | None = None) -> Array:
        """Probability of an observed value above `x`: ``1 - cdf``, but accurate in the upper tail."""
        err = with_sides(x, err)
        if self.is_gaussian and not isinstance(err, Noise):
            above = ndtr(-self._scores(x, err))
        else:
            above = np.exp(self._of_families("logsf", x, err))
        return self._mixed(above, memberships)

    def _mixed(self, parts: Array, memberships: Array | None) -> Array:
        """The sum over the components, each with its weight or its share of the row."""
        if memberships is None:
            return np.asarray(parts @ self.weights)
        return np.asarray(np.sum(parts * self.shares(memberships), axis=-1))

    def share_between(
        self, low: float, x: ArrayLike, high: float, err: ArrayLike | Noise = 0.0, memberships: Array | None = None
    ) -> tuple[Array, Array]:
        """Probabilities of an observed value between `low` and `x`, and between `low` and `high`.

        Each is a difference of tail probabilities, taken in the tail where these are small.
        """
        err = with_sides(x, err)
        none_below = self.cdf(low, err, memberships) if np.isfinite(low) else np.zeros(np.shape(err))
        none_above = self.sf(high, err, memberships) if np.isfinite(high) else np.zeros(np.shape(err))
        beyond_low = self.sf(low, err, memberships) if np.isfinite(low) else np.ones(np.shape(err))
        within_high = self.cdf(high, err, memberships) if np.isfinite(high) else np.ones(np.shape(err))
        left = none_below < none_above
        inside = np.where(left, within_high - none_below, beyond_low - none_above)
        below = np.where(left, self.cdf(x, err, memberships) - none_below, beyond_low - self.sf(x, err, memberships))
        return below, np.maximum(inside, np.finfo(np.float64).tiny)

    def responsibilities(
        self,
        x: ArrayLike,
        err: ArrayLike | Noise = 0.0,
        limits: NDArray[np.int8] | None = None,
        memberships: Array | None = None,
    ) -> Array:
        """Probability that each value belongs to each component, given its own error.

        Parameters
        ----------
        x, err : array_like
            As in `logpdf`. A value with an infinite error carries no information: its responsibilities are the weights.
        limits : ndarray of int or None
            -1 where `x` is an upper limit, 1 where it is a lower limit, 0 where it is a value.
        memberships : ndarray or None
            Prior memberships of the rows; see `mixpipe.model.cells.Cells`.

        Returns
        -------
        ndarray, shape (..., n_components)
            Responsibilities, which sum to one over the last axis.

        Examples
        --------
        >>> Mixture([0.5, 0.5], [0.0, 4.0], [1.0, 1.0]).responsibilities(2.0)
        array([0.5, 0.5])
        """
        given, known = self._with_finite_errors(x, err)
        if limits is None:
            log_joint = self._log_joint(given, known)
        else:
            values, kinds = np.broadcast_arrays(given, limits)
            errors = known if isinstance(known, Noise) else np.broadcast_to(known, values.shape)
            log_joint = np.empty((*values.shape, self.n_components))
            for kind, function in ((0, self._log_joint), (-1, self._log_below), (1, self._log_above)):
                of_kind = kinds == kind
                if of_kind.any():
                    log_joint[of_kind] = function(values[of_kind], errors[of_kind])
        if memberships is not None:
            with np.errstate(divide="ignore"):
                log_joint = log_joint + np.log(memberships[:, [rule.members for rule in self.constraints]])
        return _normalised(log_joint)

    def _with_finite_errors(self, x: ArrayLike, err: ArrayLike | Noise) -> tuple[Array, Array | Noise]:
        """Values and errors, with each infinite error replaced by one that is very much wider than the mixture."""
        err = with_sides(x, err)
        typical = err.typical if isinstance(err, Noise) else np.asarray(err, dtype=np.float64)
        values, errors = np.broadcast_arrays(np.asarray(x, dtype=np.float64), typical)
        unknown = np.isposinf(errors)
        if not unknown.any():
            return values, err if isinstance(err, Noise) else errors
        middle = float(self.weights @ self.means)
        width = _VERY_MUCH * (float(np.max(np.hypot(self.sigmas, self.means - middle))) or abs(middle) or 1.0)
        values = np.where(unknown, middle, values)
        if isinstance(err, Noise):
            return values, err.mapped(lambda array: np.where(unknown, width, array))
        return values, np.where(unknown, width, errors)

    def _log_below(self, x: Array, err: Array | Noise) -> Array:
        with np.errstate(divide="ignore"):
            return np.log(self.weights) + self._of_families("logcdf", x, err)

    def _log_above(self, x: Array, err: Array | Noise) -> Array:
        with np.errstate(divide="ignore"):
            return np.log(self.weights) + self._of_families("logsf", x, err)

    def posterior(
        self,
        x: ArrayLike,
        err: ArrayLike | Noise,
        limits: NDArray[np.int8] | None = None,
        memberships: Array | None = None,
    ) -> tuple[Array, Array]:
        """Mean and standard deviation of the true value behind each observed one.

        Bovy, Hogg & Roweis (2011), equations 23 to 25: within component j the true value is normal with mean
        ``m_j + s_j^2 (x - m_j) / T_j`` and variance ``s_j^2 err^2 / T_j``. With errors of two sides it is one of two
        such normal variates, truncated at x. For a limit, the moments are those of the true value given that the
        observed one lies beyond the limit.

        Parameters
        ----------
        x, err, limits, memberships
            As in `responsibilities`.

        Returns
        -------
        true_mean, true_unc : ndarray
            Mean and standard deviation, in the broadcast shape of `x` and `err`.

        Examples
        --------
        >>> mean, unc = Mixture([1.0], [0.0], [1.0]).posterior(2.0, 1.0)
        >>> float(mean), round(float(unc), 6)
        (1.0, 0.707107)
        """
        values, errors = self._with_finite_errors(x, err)
        if limits is None:
            mean, variance = self._mixed_moments(values, errors, 0, memberships)
            return mean, np.sqrt(variance)
        kinds = np.broadcast_to(limits, values.shape)
        mean, variance = np.empty(values.shape), np.empty(values.shape)
        for kind in (-1, 0, 1):
            of_kind = kinds == kind
            if of_kind.any():
                priors = None if memberships is None else memberships[of_kind]
                mean[of_kind], variance[of_kind] = self._mixed_moments(values[of_kind], errors[of_kind], kind, priors)
        return mean, np.sqrt(variance)

    def _mixed_moments(self, x: Array, err: Array | Noise, kind: int, memberships: Array | None) -> tuple[Array, Array]:
        """Mean and variance of the true values for rows of one kind."""
        resp = self.responsibilities(x, err, np.full(x.shape, kind), memberships)
        if kind == 0 and self.is_gaussian and not isinstance(err, Noise):
            total_var, offset = self._gaussian_terms(x, err)
            shrink = np.divide(self.sigmas**2, total_var, out=np.ones_like(total_var), where=total_var > 0.0)
            centres = self.means + shrink * offset
            spread = shrink * err[..., None] ** 2
        else:
            parameters = zip(self.families, self.means, self.sigmas, self.shapes, strict=True)
            moments = [
                behind_limit(FAMILIES[family], x, err, mean, sigma, shape, kind)
                if kind
                else FAMILIES[family].posterior(x, err, mean, sigma, shape)
                for family, mean, sigma, shape in parameters
            ]
            centres, spread = (np.stack(part, axis=-1) for part in zip(*moments, strict=True))
        # A component to which a row cannot belong may have no finite moments there.
        centres, spread = (np.where(resp > 0.0, part, 0.0) for part in (centres, spread))
        mean = np.sum(resp * centres, axis=-1)
        return np.asarray(mean), np.asarray(np.sum(resp * (spread + (centres - mean[..., None]) ** 2), axis=-1))

    def sample(self, n: int, rng: np.random.Generator, memberships: Array | None = None) -> Array:
        """Draw `n` true values.

        Parameters
        ----------
        n : int
            Number of values.
        rng : numpy.random.Generator
            Source of randomness.
        memberships : ndarray or None
            Prior memberships of the rows for which the values are drawn; see `shares`.
        """
        if memberships is None:
            component = rng.choice(self.n_components, size=n, p=self.weights)
        else:
            cumulative = np.cumsum(self.shares(memberships), axis=1)
            component = np.argmax(cumulative >= rng.random((n, 1)) * cumulative[:, -1:], axis=1)
        if self.is_gaussian:
            return self.means[component] + self.sigmas[component] * rng.standard_normal(n)
        values = np.empty(n)
        for j, family in enumerate(self.families):
            rows = component == j
            values[rows] = FAMILIES[family].sample(int(rows.sum()), self.means[j], self.sigmas[j], self.shapes[j], rng)
        return values
