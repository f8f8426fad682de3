"""Families whose functions accept `mixpipe.model.noise.Noise` in place of one-sigma errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from mixpipe.base.arrays import Array
from mixpipe.model.families import gaussian, two_sided
from mixpipe.model.families.behind import with_two_sides
from mixpipe.model.families.family import Family, MomentsOfRows, OfRows
from mixpipe.model.noise import HeavyTailed, Noise, Samples, TwoSided

# Functions with a closed form for errors of two sides, by family.
_CLOSED: dict[str, dict[str, Callable[..., Any]]] = {
    "gaussian": {
        "logpdf": two_sided.logpdf,
        "logcdf": two_sided.logcdf,
        "logsf": two_sided.logsf,
        "posterior": two_sided.posterior,
    },
    "uniform": {
        "logpdf": two_sided.uniform_logpdf,
        "logcdf": two_sided.uniform_logcdf,
        "logsf": two_sided.uniform_logsf,
        "posterior": two_sided.uniform_posterior,
    },
}
# For the others, the results of the quadrature: which probability it is asked for, and which result is taken.
_BY_QUADRATURE = {"logpdf": (0, 0), "logcdf": (-1, 0), "logsf": (1, 0), "posterior": (0, 1)}
# A width below this fraction of the errors counts as zero.
_NO_WIDTH = 1e-100
# Slopes are those of a component at least as wide as this fraction of the smallest error.
_LEAST_WIDTH = 1e-6


def with_noise(family: Family) -> Family:
    """The family, whose functions accept noise in place of errors, too."""
    return replace(
        family,
        logpdf=_accepting(family, "logpdf"),
        logcdf=_accepting(family, "logcdf"),
        logsf=_accepting(family, "logsf"),
        posterior=_moments(family),
    )


def by_quadrature(family: Family, errors: Array | Noise) -> bool:
    """Whether the convolution of a family with these errors requires a quadrature for each row."""
    if isinstance(errors, Samples):
        return True
    return family.by_quadrature or (isinstance(errors, TwoSided) and family.name not in _CLOSED)


def _accepting(family: Family, name: str) -> OfRows:
    plain: OfRows = getattr(family, name)

    def function(x: ArrayLike, err: Any, mean: float, sigma: float, shape: float | None = None) -> Array:
        if isinstance(err, HeavyTailed | Samples):
            if isinstance(err, Samples) and name != "logpdf":
                raise ValueError("posteriors as errors do not go with limits, bounds and probabilities of values")
            return np.asarray(logsumexp(_by_scale(plain, x, err, mean, sigma, shape), axis=0))
        if isinstance(err, TwoSided):
            return np.asarray(_of_two_sides(family, name, x, err, (mean, sigma, shape))[0])
        return plain(x, err, mean, sigma, shape)

    return function


def _moments(family: Family) -> MomentsOfRows:
    plain, logpdf = family.posterior, family.logpdf

    def function(x: ArrayLike, err: Any, mean: float, sigma: float, shape: float | None = None) -> tuple[Array, Array]:
        if isinstance(err, HeavyTailed | Samples):
            logs = _by_scale(logpdf, x, err, mean, sigma, shape)
            shares = np.exp(logs - logsumexp(logs, axis=0))
            moments = [plain(at, own, mean, sigma, shape) for at, own, _ in _parts(x, err)]
            centres, variances = (np.stack(part) for part in zip(*moments, strict=True))
            centre = np.sum(shares * centres, axis=0)
            return centre, np.sum(shares * (variances + (centres - centre) ** 2), axis=0)
        if isinstance(err, TwoSided):
            centre, variance = _of_two_sides(family, "posterior", x, err, (mean, sigma, shape))
            return centre, variance
        return plain(x, err, mean, sigma, shape)

    return function


def _by_scale(
    function: OfRows, x: ArrayLike, err: HeavyTailed | Samples, mean: float, sigma: float, shape: float | None
) -> Array:
    """The logarithm for each Gaussian of the errors, with the log of its share; the first axis runs over these."""
    return np.stack([share + function(at, own, mean, sigma, shape) for at, own, share in _parts(x, err)])


def _parts(x: ArrayLike, err: HeavyTailed | Samples) -> Iterator[tuple[Array, Array, Any]]:
    """The Gaussians whose mixture the errors are: where they are for each value, their widths, and log shares."""
    values = np.asarray(x, dtype=np.float64)
    if isinstance(err, Samples):
        for k in range(err.offsets.shape[1]):
            yield values + err.offsets[:, k], err.spreads[:, k], err.log_shares[:, k]
    else:
        for scale, share in zip(err.scales, np.log(err.shares), strict=True):
            yield values, scale * err.err, share


def _of_two_sides(family: Family, name: str, x: ArrayLike, noise: TwoSided, component: tuple) -> Array:
    """A function of rows with errors of two sides; the first axis runs over its results."""
    shape = np.broadcast_shapes(np.shape(x), noise.shape)
    rows = np.broadcast_to(np.asarray(x, dtype=np.float64), shape).ravel()
    errors = noise.mapped(lambda array: np.broadcast_to(array, shape).ravel())
    exact = errors.typical == 0.0
    function = _function(family, name, component[1])
    if not exact.any():
        found = np.atleast_2d(function(rows, errors, *component))
    else:
        known = np.atleast_2d(getattr(family, name)(rows[exact], 0.0, *component))
        found = np.empty((len(known), rows.size))
        found[:, exact] = known
        if not exact.all():
            found[:, ~exact] = function(rows[~exact], errors[~exact], *component)
    return found.reshape(len(found), *shape)


def _function(family: Family, name: str, sigma: float) -> Callable[..., Any]:
    """The function for rows that have an error."""
    if sigma <= _NO_WIDTH:
        return lambda x, noise, mean, sigma, shape: _CLOSED["gaussian"][name](x, noise, mean, 0.0)
    if family.name in _CLOSED:
        return _CLOSED[family.name][name]
    beyond, taken = _BY_QUADRATURE[name]
    return lambda *arguments: partial(with_two_sides, family, beyond=beyond)(*arguments)[taken]


def gaussian_slopes(x: Array, noise: Noise, mean: float, sigma: float) -> Array:
    """Log density of a Gaussian component and its derivatives, as `Family.slopes`, shape (6, n_rows); for sigma > 0."""
    if isinstance(noise, TwoSided):
        # A width that is very much smaller than the errors has the slopes of one that can still be squared.
        typical = noise.typical
        least = _LEAST_WIDTH * float(np.min(typical, where=typical > 0.0, initial=np.inf))
        return _slopes_of_two_sides(x, noise, mean, max(sigma, least if np.isfinite(least) else 0.0))
    if not isinstance(noise, HeavyTailed | Samples):
        raise TypeError(f"no slopes for {type(noise).__name__}")
    found = [(gaussian.slopes(at, own, mean, sigma), share) for at, own, share in _parts(x, noise)]
    parts = np.stack([slopes for slopes, _ in found])
    logs = np.stack([slopes[0] + share for slopes, share in found])
    total = logsumexp(logs, axis=0)
    shares = np.exp(logs - total)
    mean_1, width_1 = (np.sum(shares * parts[:, k], axis=0) for k in (1, 2))
    seconds = [
        np.sum(shares * (parts[:, k] + parts[:, a] * parts[:, b]), axis=0)
        for k, a, b in ((3, 1, 1), (4, 1, 2), (5, 2, 2))
    ]
    return np.stack(
        [
            total,
            mean_1,
            width_1,
            seconds[0] - mean_1**2,
            seconds[1] - mean_1 * width_1,
            seconds[2] - width_1**2,
        ]
    )


def _slopes_of_two_sides(x: Array, noise: TwoSided, mean: float, sigma: float) -> Array:
    exact = noise.typical == 0.0
    if not exact.any():
        return two_sided.slopes(x, noise, mean, sigma)
    out = np.empty((6, x.size))
    out[:, exact] = gaussian.slopes(x[exact], np.zeros(int(exact.sum())), mean, sigma)
    out[:, ~exact] = two_sided.slopes(x[~exact], noise[~exact], mean, sigma)
    return out
