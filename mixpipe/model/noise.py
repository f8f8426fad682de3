"""Measurement errors that are not symmetric Gaussians: families and mixtures accept them in place of `err`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr, logsumexp

from mixpipe.base.arrays import Array, frozen

# The names of the error models of a column.
ERROR_MODELS = ("two_sided", "symmetric", "student_t")
SMALLEST_DOF = 1.0

# Number of Gaussians that make up a heavy-tailed error, the step of the sum in units that depend on the degrees of
# freedom, and the logarithm of the weights at which it begins.
_N_SCALES, _STEP, _CUTOFF = 40, 1.15, 20.0


@dataclass(frozen=True, eq=False)
class Noise:
    """The errors of some values, one for each; the arrays of a noise have the shape of the values."""

    @property
    def model(self) -> tuple[str, float | None]:
        """The name of the error model, and its degrees of freedom if it has any."""
        raise NotImplementedError

    @property
    def arrays(self) -> dict[str, Array]:
        """The arrays with a number for each value, by name."""
        raise NotImplementedError

    @property
    def typical(self) -> Array:
        """The symmetric one-sigma error that stands for each, where a single number is needed."""
        raise NotImplementedError

    @property
    def widths(self) -> tuple[Array, ...]:
        """Widths of the distribution of errors, from the narrowest to the widest of its parts."""
        return tuple(self.arrays.values())

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw an observed value minus the true one for each value."""
        raise NotImplementedError

    def log_beyond(self, side: int, z: Array, x: Array) -> Array:
        """Log probability of an observed value below (`side` -1) or above (1) `x` if the true value is `z`."""
        raise NotImplementedError

    def scaled(self, factor: float) -> Self:
        """The errors of the values times a factor, which may be negative."""
        return self.mapped(lambda array: array * abs(factor))

    def mapped(self, function: Callable[[Array], Array]) -> Self:
        """The noise with a function applied to each array."""
        return replace(self, **{name: function(array) for name, array in self.arrays.items()})

    def joined(self, others: Sequence[Self]) -> Self:
        """The errors of these values and of others, in order."""
        parts = [self, *others]
        return replace(self, **{name: np.concatenate([part.arrays[name] for part in parts]) for name in self.arrays})

    def __getitem__(self, index: Any) -> Self:
        return self.mapped(lambda array: array[index])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.typical.shape


@dataclass(frozen=True, eq=False)
class TwoSided(Noise):
    """Errors of two sides: the likelihood of the true value falls like a Gaussian of another width on either side.

    For a measurement ``x +upper -lower``, the likelihood of the true value z is ``A exp(-(z - x)^2 / 2 sigma^2)`` with
    sigma = `upper` above x, `lower` below it, and ``A = 2 / (sqrt(2 pi) (upper + lower))``. As a function of x this is
    a density, that of z plus noise, which falls like a Gaussian of width `upper` below z and `lower` above it.
    Simulated values are drawn from this density, and transforms of probability integrals are with respect to it.

    Parameters
    ----------
    lower, upper : ndarray
        One-sigma errors >= 0 towards smaller and larger values.

    Examples
    --------
    >>> noise = TwoSided(np.array([0.1]), np.array([0.3]))
    >>> noise.typical.round(2).tolist(), np.exp(noise.log_beyond(-1, np.zeros(1), np.zeros(1))).round(2).tolist()
    ([0.2], [0.75])
    """

    lower: Array
    upper: Array

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            object.__setattr__(self, name, frozen(array))

    @property
    def model(self) -> tuple[str, None]:
        """The name of the error model."""
        return "two_sided", None

    @property
    def arrays(self) -> dict[str, Array]:
        """Both sides."""
        return {"lower": self.lower, "upper": self.upper}

    @cached_property
    def typical(self) -> Array:
        """The mean of both sides, half the length of the 68 % interval."""
        return 0.5 * (self.lower + self.upper)

    @property
    def is_symmetric(self) -> bool:
        """Whether both sides are equal everywhere."""
        return bool(np.array_equal(self.lower, self.upper))

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw an observed value minus the true one for each value."""
        below = rng.random(self.shape) * (self.lower + self.upper) < self.upper
        return np.where(below, -self.upper, self.lower) * np.abs(rng.standard_normal(self.shape))

    def log_beyond(self, side: int, z: Array, x: Array) -> Array:
        """Log probability of an observed value below (`side` -1) or above (1) `x` if the true value is `z`."""
        from mixpipe.model.families.two_sided import log_noise_below

        if side < 0:
            return log_noise_below(x - z, self.lower, self.upper)
        return log_noise_below(z - x, self.upper, self.lower)

    def scaled(self, factor: float) -> TwoSided:
        """The errors of the values times a factor; a negative one exchanges the sides."""
        sides = (self.lower, self.upper) if factor > 0.0 else (self.upper, self.lower)
        return TwoSided(*(side * abs(factor) for side in sides))


@dataclass(frozen=True, eq=False)
class HeavyTailed(Noise):
    """Errors whose distribution is Student's t with some degrees of freedom, scaled by the stated error.

    Student's t is a mixture of Gaussians whose squared widths are those of the error divided by a gamma variate. The
    integral over its logarithm is a sum over a fixed number of `scales`, by the trapezoid rule.

    Parameters
    ----------
    err : ndarray
        Scale of the distribution, >= 0: for many degrees of freedom, the one-sigma error.
    dof : float
        Degrees of freedom, >= 1.

    Examples
    --------
    >>> noise = HeavyTailed(np.ones(3), 4.0)
    >>> round(float(noise.shares @ noise.scales**2), 3)  # the variance, dof / (dof - 2)
    2.0
    """

    err: Array
    dof: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "err", frozen(self.err))

    @property
    def model(self) -> tuple[str, float]:
        """The name of the error model, and its degrees of freedom."""
        return "student_t", self.dof

    @property
    def arrays(self) -> dict[str, Array]:
        """The scale."""
        return {"err": self.err}

    @property
    def typical(self) -> Array:
        """The stated errors."""
        return self.err

    @property
    def widths(self) -> tuple[Array, ...]:
        """The scale, and larger ones for the tails."""
        return self.err, 8.0 * self.err, 64.0 * self.err

    @property
    def scales(self) -> Array:
        """Widths of the Gaussians, in units of the errors."""
        return _scales_of(self.dof)[0]

    @property
    def shares(self) -> Array:
        """Weights of the Gaussians."""
        return _scales_of(self.dof)[1]

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw an observed value minus the true one for each value."""
        return self.err * rng.standard_t(self.dof, self.shape)

    def log_beyond(self, side: int, z: Array, x: Array) -> Array:
        """Log probability of an observed value below (`side` -1) or above (1) `x` if the true value is `z`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            score = side * (z - x) / self.err
        logs = [np.log(share) + log_ndtr(score / scale) for scale, share in zip(self.scales, self.shares, strict=True)]
        return np.asarray(logsumexp(np.stack(logs), axis=0))


@dataclass(frozen=True, eq=False)
class Samples(Noise):
    """Posteriors of the true values, each a mixture of a few Gaussians around the value that stands for the row.

    The likelihood of a row is the mean, over its posterior, of the density of the mixture divided by the prior under
    which the posterior was found (Hogg, Myers & Bovy 2010). There is no observed value, so that neither catalogs nor
    transforms of probability integrals can be made from it.

    Parameters
    ----------
    offsets, spreads, log_shares : ndarray, shape (n, n_parts)
        Mean of each Gaussian minus the value, its width, and the logarithm of its share.

    Examples
    --------
    >>> noise = samples_noise(np.linspace(1.0, 3.0, 21)[None, :])[1]
    >>> noise.offsets.shape, noise.typical.round(3).tolist()
    ((1, 4), [0.606])
    """

    offsets: Array
    spreads: Array
    log_shares: Array

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            object.__setattr__(self, name, frozen(array))

    @property
    def model(self) -> tuple[str, None]:
        """The name of the error model."""
        return "samples", None

    @property
    def arrays(self) -> dict[str, Array]:
        """All three."""
        return {"offsets": self.offsets, "spreads": self.spreads, "log_shares": self.log_shares}

    @cached_property
    def typical(self) -> Array:
        """The standard deviation of each posterior."""
        shares = np.exp(self.log_shares)
        mean = np.sum(shares * self.offsets, axis=1)
        second = np.sum(shares * (self.offsets**2 + self.spreads**2), axis=1)
        return np.sqrt(np.maximum(second - mean**2, 0.0))

    @property
    def widths(self) -> tuple[Array, ...]:
        """The standard deviations."""
        return (self.typical,)

    def draw(self, rng: np.random.Generator) -> Array:
        """Not possible."""
        raise ValueError("catalogs cannot be simulated from posteriors: they have no observed values")

    def log_beyond(self, side: int, z: Array, x: Array) -> Array:
        """Not possible."""
        raise ValueError("posteriors have no probability beyond a value: they have no observed values")

    def scaled(self, factor: float) -> Samples:
        """Wider posteriors around the same values."""
        return replace(self, offsets=factor * self.offsets, spreads=abs(factor) * self.spreads)


# Samples of a posterior are replaced by at most so many Gaussians, each of which stands for at least so many of them.
_MOST_PARTS, FEWEST_SAMPLES = 40, 5


def samples_noise(samples: ArrayLike, prior: ArrayLike | None = None) -> tuple[Array, Samples]:
    """Values and errors from samples of the posterior of each true value.

    The sorted samples of a row are divided into groups of equal weight, each of which becomes a Gaussian with its mean
    and variance. Mean and variance of the posterior are kept exactly.

    Parameters
    ----------
    samples : array_like, shape (n, n_samples)
        Samples; nan where a row has fewer than others.
    prior : array_like, shape (n, n_samples), or None
        Density of the prior under which the samples were drawn, up to a factor, at each sample; constant if None.

    Returns
    -------
    x : ndarray, shape (n,)
        Mean of each posterior.
    noise : Samples

    Raises
    ------
    ValueError
        For rows of fewer than `FEWEST_SAMPLES` samples, or a prior that is not positive.
    """
    z = np.array(samples, dtype=np.float64)
    if z.ndim != 2:
        raise ValueError(f"samples of shape {z.shape}: expected (n_rows, n_samples)")
    known = np.isfinite(z)
    few = np.flatnonzero(known.sum(axis=1) < FEWEST_SAMPLES)
    if few.size:
        raise ValueError(
            f"{few.size} rows have fewer than {FEWEST_SAMPLES} samples, the first at index {few[0]} "
            f"({int(known[few[0]].sum())}); expected more in each row"
        )
    weights = known.astype(np.float64)
    if prior is not None:
        density = np.broadcast_to(np.asarray(prior, dtype=np.float64), z.shape)
        bad = np.flatnonzero(np.any(known & ~(density > 0.0), axis=1))
        if bad.size:
            raise ValueError(f"prior has {bad.size} rows that are not positive, the first at index {bad[0]}")
        weights = np.where(known, 1.0 / np.where(known, density, 1.0), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    x = np.sum(weights * np.where(known, z, 0.0), axis=1)
    away = np.where(known, z - x[:, None], np.inf)
    order = np.argsort(away, axis=1, kind="stable")
    away, weights = np.take_along_axis(away, order, axis=1), np.take_along_axis(weights, order, axis=1)
    away = np.where(np.isfinite(away), away, 0.0)
    n_parts = min(max(int(known.sum(axis=1).min()) // FEWEST_SAMPLES, 1), _MOST_PARTS)
    # The middle of each sample on the axis of cumulative weight says to which group it belongs.
    middle = np.cumsum(weights, axis=1) - 0.5 * weights
    group = np.minimum((middle * n_parts).astype(np.intp), n_parts - 1) + n_parts * np.arange(len(z))[:, None]

    def summed(terms: Array) -> Array:
        sums = np.bincount(group.ravel(), terms.ravel(), n_parts * len(z))
        return np.asarray(sums.reshape(len(z), n_parts), dtype=np.float64)

    share = summed(weights)
    safe = np.where(share > 0.0, share, 1.0)
    centre = summed(weights * away) / safe
    variance = np.maximum(summed(weights * away**2) / safe - centre**2, 0.0)
    with np.errstate(divide="ignore"):
        log_shares = np.log(share)
    return x, Samples(centre, np.sqrt(variance), np.maximum(log_shares, -1e3))


@cache
def _scales_of(dof: float) -> tuple[Array, Array]:
    """Widths and weights of the Gaussians that make up Student's t with a width of one."""
    half = 0.5 * dof
    step = _STEP / math.sqrt(half + 5.5)
    step *= 1.0 + 0.5 / dof**2  # heavier tails need larger scales
    # The sum covers the peak; far out on the left the tail of very large errors falls like a power.
    high = math.log1p(math.sqrt(2.0 * _CUTOFF / half) + 2.0 * _CUTOFF / half)
    y = high - step * np.arange(_N_SCALES)
    log_weight = half * (y - np.expm1(y))
    weights = np.exp(log_weight - log_weight.max())
    scales, weights = np.exp(-0.5 * y), weights / weights.sum()
    for array in (scales, weights):
        array.flags.writeable = False
    return scales, weights


def with_sides(x: ArrayLike, err: Any) -> Any:
    """Errors as functions of families take them: those of shape (2, n) for n values become `TwoSided`.

    Equal sides are symmetric errors.

    Examples
    --------
    >>> with_sides([1.0, 2.0, 3.0], [[0.1, 0.1, 0.1], [0.2, 0.1, 0.1]]).upper.tolist()
    [0.2, 0.1, 0.1]
    >>> with_sides([1.0, 2.0], [[0.1, 0.2], [0.1, 0.2]]).tolist()
    [0.1, 0.2]
    """
    if isinstance(err, Noise):
        return err
    errors, shape = np.asarray(err, dtype=np.float64), np.shape(x)
    if not shape or errors.shape != (2, *shape):
        return errors
    noise = TwoSided(errors[0], errors[1])
    return noise.lower if noise.is_symmetric else noise


def noise_of(err: Any, shape: tuple[int, ...], model: str | None = None, dof: float | None = None) -> Array | Noise:
    """The errors of values of some shape by the name of their model.

    Parameters
    ----------
    err : array_like
        A number, a number for each value, or those of the lower and the upper side, shape (2, n).
    shape : tuple of int
        Shape of the values.
    model : str or None
        One of `ERROR_MODELS`; by default ``two_sided`` for two sides, and otherwise ``symmetric``.
    dof : float or None
        Degrees of freedom for ``student_t``.

    Raises
    ------
    ValueError
        For an unknown model, degrees of freedom that are missing, out of place or smaller than one, or sides that are
        not finite numbers >= 0.
    """
    errors = np.asarray(err, dtype=np.float64)
    sided = errors.ndim == 2 and errors.shape == (2, *shape)
    model = model or ("two_sided" if sided else "symmetric")
    if model not in ERROR_MODELS:
        raise ValueError(f"unknown error_model {model!r}: expected one of {', '.join(ERROR_MODELS)}")
    if (dof is not None) != (model == "student_t"):
        found = "is missing" if dof is None else f"is {dof:g} with error_model {model!r}"
        raise ValueError(f"error_dof {found}; expected degrees of freedom with error_model 'student_t', and only there")
    if model == "two_sided" and not sided:
        raise ValueError(
            f"error_model 'two_sided' with err of shape {errors.shape}; expected lower and upper errors, shape (2, n)"
        )
    if sided and model == "student_t":
        raise ValueError("error_model 'student_t' with two sides; expected one error for each value")
    if sided:
        bad = np.flatnonzero(~(errors.min(axis=0) >= 0.0))
        if bad.size:
            raise ValueError(
                f"err has {bad.size} bad values, the first at index {bad[0]} ({errors[0, bad[0]]:g}, "
                f"{errors[1, bad[0]]:g}); expected lower and upper errors >= 0"
            )
        noise = TwoSided(errors[0], errors[1])
        return noise if model == "two_sided" and not noise.is_symmetric else noise.typical
    # The cells themselves check the lengths of arrays, and name those that do not agree.
    errors = np.broadcast_to(errors, shape) if errors.size == 1 else errors
    if dof is None:
        return errors
    if not SMALLEST_DOF <= dof < np.inf:
        raise ValueError(f"error_dof is {dof:g}; expected a finite number >= {SMALLEST_DOF:g}")
    return HeavyTailed(errors, float(dof))


def raised(err: Array | Noise, least: float) -> Array | Noise:
    """The errors, with those of zero replaced by `least`."""
    if not isinstance(err, Noise):
        return np.where(err > 0.0, err, least)
    if isinstance(err, Samples):
        return replace(err, spreads=np.where(err.spreads > 0.0, err.spreads, least))
    typical = err.typical
    return err.mapped(lambda array: np.where(typical > 0.0, array, least))


def draw_noise(err: Array | Noise, rng: np.random.Generator) -> Array:
    """Draw an observed value minus the true one for each value."""
    return err.draw(rng) if isinstance(err, Noise) else err * rng.standard_normal(err.shape)
