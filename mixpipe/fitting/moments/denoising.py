"""Point masses with given moments, and the largest normal variance that can be removed from moments beforehand.

These are the two steps of the denoised method of moments (Wu & Yang 2020), for moments about the mean with unit
variance.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh_tridiagonal, solve_triangular

from mixpipe.model.results import Array


def largest_variance(values: Array, size: int) -> float | None:
    """The largest common variance after whose removal the moments 0 ... 2 `size` are still those of a density.

    The matrix of the sharpened moments m_{j+k} is positive definite up to the first root of its determinant (Wu & Yang
    2020, algorithm 2), and for no larger variance, so that the root is found by bisection. None if the matrix is not
    positive definite to begin with.

    Parameters
    ----------
    values : ndarray, shape (order,)
        Moments 1, 2, ... of mean 0 and variance 1; `order` is at least 2 `size`.
    size : int
        Number of components.
    """
    index = np.arange(size + 1)[:, None] + np.arange(size + 1)

    def positive(variance: float) -> bool:
        try:
            np.linalg.cholesky(_sharpened(values[: 2 * size], variance)[index])
        except np.linalg.LinAlgError:
            return False
        return True

    if not positive(0.0):
        return None
    # The values have unit variance, which is therefore an upper bound.
    low, high = 0.0, 1.0
    while low < 0.5 * (low + high) < high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if positive(middle) else (low, middle)
    return low


def atoms(values: Array, variance: float, size: int) -> tuple[Array, Array] | None:
    """Apply `quadrature` to the distribution that has these moments after a convolution with a normal one.

    Parameters
    ----------
    values : ndarray, shape (order,)
        Moments 1, 2, ...; `order` is at least 2 `size` - 1.
    variance : float
        Variance of the normal density.
    size : int
        Number of point masses.
    """
    return quadrature(_sharpened(values, variance), size)


def quadrature(moments: Array, size: int) -> tuple[Array, Array] | None:
    """The point masses that have the given first moments (Golub & Welsch 1969).

    Parameters
    ----------
    moments : ndarray, shape (n_moments,)
        Moments 0 ... 2 `size` - 1; any further ones are ignored.
    size : int
        Number of point masses.

    Returns
    -------
    nodes, weights : ndarray, shape (size,)
        Positions and weights of the point masses; None if no such distribution has these moments.
    """
    index = np.arange(size)[:, None] + np.arange(size)
    try:
        lower = np.linalg.cholesky(moments[index])
    except np.linalg.LinAlgError:
        return None
    last = solve_triangular(lower, moments[size : 2 * size], lower=True)
    diagonal = np.diag(lower)
    # Ratios of neighbouring entries of the Cholesky factor; the last one needs an entry of the following column.
    ratios = np.append(np.diag(lower, -1), last[-1]) / diagonal
    nodes, vectors = eigh_tridiagonal(np.diff(ratios, prepend=0.0), diagonal[1:] / diagonal[:-1])
    return np.asarray(nodes), np.asarray(vectors[0] ** 2)


def _sharpened(values: Array, variance: float) -> Array:
    """Moments 0, 1, ... of the density that has the given moments after a convolution with a normal one."""
    order = values.size
    polynomials = np.zeros((order + 1, order + 1))
    polynomials[0, 0] = 1.0
    for k in range(order):
        polynomials[k + 1, 1:] = polynomials[k, :-1]
        polynomials[k + 1] -= k * variance * polynomials[k - 1]
    return np.asarray(polynomials @ np.concatenate([[1.0], values]))
