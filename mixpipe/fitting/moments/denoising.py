"""Point masses with given moments, and the largest normal noise that can be taken out of moments before.

The two steps of the denoised method of moments (Wu & Yang 2020), for moments about their mean with unit variance.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh_tridiagonal, solve_triangular

from mixpipe.model.results import Array


def largest_variance(values: Array, size: int) -> float | None:
    """The largest common variance that leaves the moments 0 ... 2 `size` those of a density.

    The matrix of the sharpened moments m_{j+k} is positive definite below the first root of its determinant (Wu & Yang
    2020, algorithm 2), a lower bound of which is also one of all larger variances: bisection. None where it is not
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
    # The values have unit variance.
    low, high = 0.0, 1.0
    while low < 0.5 * (low + high) < high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if positive(middle) else (low, middle)
    return low


def atoms(values: Array, variance: float, size: int) -> tuple[Array, Array] | None:
    """`quadrature` of the distribution that has these moments when it is convolved with a normal one.

    Parameters
    ----------
    values : ndarray, shape (order,)
        Moments 1, 2, ...; `order` is at least 2 `size` - 1.
    variance : float
        Of the normal density.
    size : int
        Number of point masses.
    """
    return quadrature(_sharpened(values, variance), size)


def quadrature(moments: Array, size: int) -> tuple[Array, Array] | None:
    """The point masses that have the first moments (Golub & Welsch 1969).

    Parameters
    ----------
    moments : ndarray, shape (n_moments,)
        Moments 0 ... 2 `size` - 1, and more that are not looked at.
    size : int
        Number of point masses.

    Returns
    -------
    nodes, weights : ndarray, shape (size,)
        None where no such distribution has these moments.
    """
    index = np.arange(size)[:, None] + np.arange(size)
    try:
        lower = np.linalg.cholesky(moments[index])
    except np.linalg.LinAlgError:
        return None
    last = solve_triangular(lower, moments[size : 2 * size], lower=True)
    diagonal = np.diag(lower)
    # Ratios of neighbouring entries of the Cholesky factor, the last of them in the column that follows it.
    ratios = np.append(np.diag(lower, -1), last[-1]) / diagonal
    nodes, vectors = eigh_tridiagonal(np.diff(ratios, prepend=0.0), diagonal[1:] / diagonal[:-1])
    return np.asarray(nodes), np.asarray(vectors[0] ** 2)


def _sharpened(values: Array, variance: float) -> Array:
    """Moments 0, 1, ... of the density that gives these when it is convolved with a normal one."""
    order = values.size
    polynomials = np.zeros((order + 1, order + 1))
    polynomials[0, 0] = 1.0
    for k in range(order):
        polynomials[k + 1, 1:] = polynomials[k, :-1]
        polynomials[k + 1] -= k * variance * polynomials[k - 1]
    return np.asarray(polynomials @ np.concatenate([[1.0], values]))
