"""The type of a component family, and the separate treatment of rows with and without errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from mixpipe.base.arrays import Array
from mixpipe.model.noise import Noise

# An error or a width below this fraction of the other, or of the offset, counts as zero, so that no squared ratio
# overflows.
_NOTHING = 1e-100

# Rows that are computed at a time: some families use fifty numbers for each.
_BLOCK = 1 << 14

# A function of (x, err, mean, sigma, shape) with one-dimensional x and err.
RowFunction = Callable[[Array, Array, float, float, Any], Any]


class OfRows(Protocol):
    """A function of rows and of a component: one number for each row."""

    def __call__(
        self, x: ArrayLike, err: ArrayLike | Noise, mean: float, sigma: float, shape: float | None = None
    ) -> Array:
        """Evaluate for each row."""
        ...


class MomentsOfRows(Protocol):
    """A function of rows and of a component: a mean and a variance for each row."""

    def __call__(
        self, x: ArrayLike, err: ArrayLike | Noise, mean: float, sigma: float, shape: float | None = None
    ) -> tuple[Array, Array]:
        """Evaluate for each row."""
        ...


class SlopesOfRows(Protocol):
    """The log density of rows and its derivatives: six numbers for each row."""

    def __call__(self, x: ArrayLike, err: ArrayLike, mean: float, sigma: float, shape: float | None = None) -> Array:
        """Evaluate for each row."""
        ...


class Sampler(Protocol):
    """Draws of true values of a component."""

    def __call__(self, n: int, mean: float, sigma: float, shape: float | None, rng: np.random.Generator) -> Array:
        """Draw `n` values."""
        ...


@dataclass(frozen=True)
class Family:
    """A family of components observed with errors.

    In all functions `x` and `err` are arrays that broadcast; the functions of `FAMILIES`, other than the slopes, accept
    a `mixpipe.model.noise.Noise` in place of one-sigma Gaussian errors. The component's `mean`, `sigma` and `shape` are
    scalars, and ``err = 0`` gives the plain density. A component with ``sigma = 0`` is a point mass: observed values
    are distributed like the errors.

    Parameters
    ----------
    name : str
        Key in `FAMILIES`.
    shape_name : str or None
        Name of the third parameter; None if there is none, in which case `shape` is ignored.
    shape_bounds : tuple of float
        Smallest and largest shape for an optimiser.
    shape_starts : tuple of float
        Shapes at which an optimiser may start.
    positive : bool
        Whether true values, and so the mean, are positive.
    has_edge : bool
        Whether the density is discontinuous, so that the likelihood of rows without errors has no derivatives.
    has_cusp : bool
        Whether the density has a peak without a second derivative, so that the curvature of the likelihood of rows
        without errors is not the information on the mean.
    by_quadrature : bool
        Whether the convolution with the errors requires a quadrature for each row, which is slow.
    logpdf : callable
        ``logpdf(x, err, mean, sigma, shape)``, log of the density of observed values.
    logcdf, logsf : callable
        Log of the probability of an observed value below and above `x`, each accurate in its own tail.
    posterior : callable
        Mean and variance of the true value given each observed one; `x` and 0 where ``err = 0``.
    sample : callable
        ``sample(n, mean, sigma, shape, rng)``, `n` true values.
    slopes : callable or None
        The log density of observed values, its first derivatives with respect to the mean and to ln sigma, and the
        second ones (mean twice, mean and ln sigma, ln sigma twice), shape (6, n_rows); None if an optimiser has to use
        differences. With an edge or a cusp, errors must not be zero.
    """

    name: str
    shape_name: str | None
    shape_bounds: tuple[float, float]
    shape_starts: tuple[float, ...]
    positive: bool
    logpdf: OfRows
    logcdf: OfRows
    logsf: OfRows
    posterior: MomentsOfRows
    sample: Sampler
    has_edge: bool = False
    has_cusp: bool = False
    by_quadrature: bool = False
    slopes: SlopesOfRows | None = None

    @property
    def log_shape(self) -> bool:
        """Whether an optimiser varies the logarithm of the shape."""
        return self.shape_name is not None and self.shape_bounds[0] > 0.0


def of_rows(noisy: RowFunction, plain: RowFunction, point: RowFunction) -> OfRows:
    """Combine the functions for rows with an error, rows without, and the limit ``sigma = 0`` into one for all rows."""

    def function(x: ArrayLike, err: Any, mean: float, sigma: float, shape: float | None = None) -> Array:
        return _by_row(noisy, plain, point, x, err, (mean, sigma, shape))[0]

    return function


def slopes_of_rows(noisy: RowFunction, plain: RowFunction, point: RowFunction) -> SlopesOfRows:
    """As `of_rows`, for a log density and its derivatives."""

    def function(x: ArrayLike, err: Any, mean: float, sigma: float, shape: float | None = None) -> Array:
        return _by_row(noisy, plain, point, x, err, (mean, sigma, shape))

    return function


def moments_of_rows(noisy: RowFunction, point: RowFunction) -> MomentsOfRows:
    """As `of_rows`, for the mean and the variance of the true value; a value without error is the true value."""

    def known(x: Array, err: Array, mean: float, sigma: float, shape: float | None) -> tuple[Array, Array]:
        return x, np.zeros_like(x)

    def function(x: ArrayLike, err: Any, mean: float, sigma: float, shape: float | None = None) -> tuple[Array, Array]:
        true_mean, variance = _by_row(noisy, known, point, x, err, (mean, sigma, shape))
        return true_mean, variance

    return function


def _by_row(
    noisy: RowFunction, plain: RowFunction, point: RowFunction, x: ArrayLike, err: ArrayLike, component: tuple
) -> Array:
    """Evaluate for each row the function that applies to it; the first axis runs over the results."""
    values, errors = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(err, dtype=np.float64))
    rows, row_errors = values.ravel(), errors.ravel()
    blocks = [
        _block(noisy, plain, point, rows[first : first + _BLOCK], row_errors[first : first + _BLOCK], component)
        for first in range(0, max(rows.size, 1), _BLOCK)
    ]
    found = np.concatenate(blocks, axis=1)
    return found.reshape(len(found), *values.shape)


def _block(
    noisy: RowFunction, plain: RowFunction, point: RowFunction, rows: Array, row_errors: Array, component: tuple
) -> Array:
    mean, sigma, _ = component
    offset = np.abs(rows - mean)
    known = row_errors <= _NOTHING * np.maximum(sigma, offset)
    row_errors = np.where(known, 0.0, row_errors)
    wide = sigma > _NOTHING * np.maximum(row_errors, offset)
    out: Array | None = None
    for function, chosen in ((noisy, wide & ~known), (plain, wide & known), (point, ~wide)):
        if chosen.any():
            everything = bool(chosen.all())
            found = np.atleast_2d(
                function(rows, row_errors, *component)
                if everything
                else function(rows[chosen], row_errors[chosen], *component)
            )
            if out is None:
                out = np.empty((found.shape[0], rows.size))
            out[:, chosen] = found
    return np.empty((2, 0)) if out is None else out
