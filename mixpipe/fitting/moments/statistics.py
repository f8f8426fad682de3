"""Moments of the true values behind noisy ones: unbiased, with their sampling covariance, and mergeable."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import comb

from mixpipe.model.cells import Cells
from mixpipe.model.results import Array

# A variance that is negative by less than this fraction of the whole is a zero with rounding errors.
ROUNDING = 1e-9
# Smallest eigenvalue of the correlation matrix of the moments, relative to the largest, that is taken at its word: high
# moments are nearly functions of each other, and a matrix estimated from rows is too sure of how.
_RIDGE = 1e-4
# Rows at a time: the polynomials of a block stay in the cache.
_BLOCK = 8192


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over rows that give the moments of the true values, measurement errors taken out.

    With ``x = z + e eps`` and ``eps`` standard normal, the polynomials ``H_{k+1} = x H_k - k e^2 H_{k-1}`` with
    ``H_0 = 1`` and ``H_1 = x`` have the expectation ``E H_k = E z^k``: their means over rows are unbiased whatever the
    errors are. The sums are held about a fixed centre and scale, so that merging two sets of rows is addition.

    Rows may count by their precision p, which depends on their error alone: the means are then still unbiased as long
    as errors do not depend on the true values, and rows with large errors do not drown the others.

    Parameters
    ----------
    centre, scale : float
        The sums are those of ``(x - centre) / scale`` and ``e / scale``.
    n_data : float
        Number of rows, or the sum of their weights.
    sums : array_like, shape (order + 1,)
        Weighted sums of p H_0, p H_1, p H_2, ...
    products : array_like, shape (order + 1, order + 1)
        Weighted sums of p^2 H_j H_k; nan where they are not known.
    width : float
        That the precisions were made with, in the unit of `scale`; infinite where all rows count the same.

    Raises
    ------
    ValueError
        For shapes that do not fit together, a scale or a number of rows that is not positive.

    Examples
    --------
    >>> moments = Moments.of(Cells.from_rows([-2.0, 0.0, 2.0, 4.0], err=1.0), order=2)
    >>> moments.raw
    array([1., 5.])
    """

    centre: float
    scale: float
    n_data: float
    sums: Array
    products: Array
    width: float = math.inf

    def __post_init__(self) -> None:
        for name in ("sums", "products"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.sums.ndim != 1 or self.sums.size < 2 or self.products.shape != (self.sums.size, self.sums.size):
            raise ValueError(f"sums and products do not fit: shapes {self.sums.shape} and {self.products.shape}")
        if not (np.isfinite(self.centre) and np.isfinite(self.scale) and self.scale > 0 and self.n_data > 0):
            raise ValueError(
                f"centre must be finite, scale and n_data positive, found {self.centre}, {self.scale}, {self.n_data}"
            )

    @classmethod
    def of(
        cls,
        cells: Cells,
        order: int,
        centre: float | None = None,
        scale: float | None = None,
        width: float = math.inf,
    ) -> Moments:
        """Moments of the true values behind cells.

        Parameters
        ----------
        cells : Cells
            Values, errors and row weights.
        order : int
            Highest moment.
        centre, scale : float or None
            Fixed for all parts that are to be merged. By default the value nearest to the mean, and the root mean
            square of values and errors about it.
        width : float
            Of the population, roughly: rows count by ``p = (1 + e^2 / width^2)^(-order / 2)``, and all the same by
            default. Fixed for all parts that are to be merged.
        """
        if order < 1:
            raise ValueError(f"order must be at least 1, found {order}")
        used = cells.weights > 0
        x, err, counts = cells.x[used], cells.err[used], cells.weights[used]
        if centre is None:
            centre = float(x[np.argmin(np.abs(x - np.average(x, weights=counts)))])
        if scale is None:
            size = np.hypot(x - centre, err)
            largest = float(size.max())
            scale = largest * float(np.sqrt(np.average((size / largest) ** 2, weights=counts))) if largest else 1.0
        sums, products = np.zeros(order + 1), np.zeros((order + 1, order + 1))
        for first in range(0, x.size, _BLOCK):
            block = slice(first, first + _BLOCK)
            powers = _hermite((x[block] - centre) / scale, (err[block] / scale) ** 2, order)
            precise = powers * (1.0 + (err[block] / width) ** 2) ** (-0.5 * order)
            weighted = precise * counts[block]
            sums += weighted.sum(axis=1)
            products += weighted @ precise.T
        return cls(centre, scale, float(counts.sum()), sums, products, width / scale)

    @classmethod
    def from_raw(cls, raw: ArrayLike) -> Moments:
        """Given moments ``[E z, E z^2, ...]``, without covariance; they count as one row.

        Examples
        --------
        >>> Moments.from_raw([1.0, 5.0, 13.0]).central
        array([0., 4., 0.])
        """
        sums = np.concatenate([[1.0], np.atleast_1d(np.asarray(raw, dtype=np.float64))])
        if not np.all(np.isfinite(sums)):
            raise ValueError(f"moments must be finite, found {sums[1:]}")
        return cls(0.0, 1.0, 1.0, sums, np.full((sums.size, sums.size), np.nan))

    def __add__(self, other: Moments) -> Moments:
        """The moments of the rows of both."""
        mine, theirs = ((part.centre, part.scale, part.order, part.width) for part in (self, other))
        if mine != theirs:
            raise ValueError(
                f"moments merge only with the same centre, scale, order and width, found {mine} and {theirs}"
            )
        if not (self.has_covariance and other.has_covariance):
            raise ValueError("moments given without covariance do not merge: their numbers of rows are not known")
        return Moments(
            self.centre,
            self.scale,
            self.n_data + other.n_data,
            self.sums + other.sums,
            self.products + other.products,
            self.width,
        )

    @property
    def order(self) -> int:
        """Highest moment."""
        return self.sums.size - 1

    @property
    def has_covariance(self) -> bool:
        """Whether the moments come from rows."""
        return bool(np.all(np.isfinite(self.products)))

    @property
    def mean(self) -> float:
        """Mean of the true values."""
        return self.centre + self.scale * self._mean

    @property
    def raw(self) -> Array:
        """E z, E z^2, ..., shape (order,)."""
        return self.about(0.0)

    @property
    def central(self) -> Array:
        """Moments about the mean, the first of them zero; shape (order,)."""
        return self._moved(self._mean, self.scale)

    def about(self, centre: float, scale: float = 1.0) -> Array:
        """Moments ``E ((z - centre) / scale)^k``, k = 1 ... order."""
        return self._moved((centre - self.centre) / self.scale, self.scale / scale)

    def covariance(self, centre: float = 0.0, scale: float = 1.0) -> Array:
        """Sampling covariance of `about`, shape (order, order), for a centre and scale that are fixed numbers.

        That of independent rows, each counted as often as its weight says; nan for given moments.
        """
        return self._moved_covariance((centre - self.centre) / self.scale, self.scale / scale)

    def standardised(self, order: int | None = None) -> Standardised:
        """The moments up to an order, all by default, about their mean and in units of their standard deviation.

        Errors can make the estimate of the variance negative: then the unit is `scale`. The mean is not rounded to what
        a number of its size resolves.
        """
        order = self.order if order is None else order
        variance = float(self._moved(self._mean, 1.0)[1]) if self.order > 1 else 0.0
        unit = math.sqrt(variance) if variance > 0.0 else 1.0
        frame = self._mean, 1.0 / unit
        if self.has_covariance:
            covariance = self._moved_covariance(*frame)
        else:
            normal = mixture_moments(np.ones(1), np.zeros(1), np.ones(1), 2 * self.order)[0]
            k = np.arange(self.order)
            covariance = normal[k[:, None] + k + 1] - np.outer(normal[k], normal[k])
        return Standardised(
            self.mean,
            self.scale * unit,
            self._moved(*frame)[:order],
            covariance[:order, :order],
            self.has_covariance,
        )

    @property
    def _mean(self) -> float:
        return float(self.sums[1] / self.sums[0])

    def _moved(self, offset: float, ratio: float) -> Array:
        """Moments of ``ratio (u - offset)``, u the variable of the sums."""
        shift = _binomial(self.order, offset, ratio)
        return np.asarray(shift @ (self.sums / self.sums[0]))

    def _moved_covariance(self, offset: float, ratio: float) -> Array:
        shift = _binomial(self.order, offset, ratio)
        means = self.sums / self.sums[0]
        # Of p (H - mean), row by row: the mean of H_0 is one, and without scatter.
        cross = np.outer(self.products[:, 0], means)
        within = (self.products - cross - cross.T + self.products[0, 0] * np.outer(means, means)) / self.sums[0] ** 2
        return np.asarray(shift @ within @ shift.T)


@dataclass(frozen=True, eq=False)
class Standardised:
    """Moments about their mean, in units of their standard deviation.

    Parameters
    ----------
    centre, scale : float
        The mean, and the unit.
    values : ndarray, shape (order,)
        E u, E u^2, ... of ``u = (z - centre) / scale``.
    covariance : ndarray, shape (order, order)
        Sampling covariance of `values`.
    sampled : bool
        Whether the covariance is that of rows. For given moments it is that of one normal value, and only sets their
        relative weights.
    """

    centre: float
    scale: float
    values: Array
    covariance: Array
    sampled: bool

    @property
    def order(self) -> int:
        """Highest moment."""
        return self.values.size

    def whitening(self, order: int) -> Array:
        """L with L' L the regularised inverse of the covariance of the first moments."""
        covariance = self.covariance[:order, :order]
        # Values that are all +-1 have a second moment without scatter: that of the mean is a unit as good as any.
        squares = np.diag(covariance)
        errors = np.sqrt(np.where(squares > ROUNDING * squares[0], squares, squares[0] or 1.0))
        curvature, basis = np.linalg.eigh(covariance / np.outer(errors, errors))
        return np.asarray(basis.T / np.sqrt(np.maximum(curvature, _RIDGE * max(curvature[-1], 1.0)))[:, None] / errors)


def _binomial(order: int, offset: float, ratio: float) -> Array:
    """The matrix from the powers 0 ... order of u to the powers 1 ... order of ``ratio (u - offset)``."""
    k, j = np.arange(1, order + 1)[:, None], np.arange(order + 1)
    return np.asarray(comb(k, j) * (-offset) ** np.maximum(k - j, 0) * ratio**k)


def _hermite(x: Array, variances: Array, order: int) -> Array:
    """H_0 ... H_order of each row, shape (order + 1, n_rows)."""
    powers = np.empty((order + 1, x.size))
    powers[0], powers[1] = 1.0, x
    for k in range(1, order):
        powers[k + 1] = x * powers[k] - k * variances * powers[k - 1]
    return powers


def mixture_moments(weights: Array, means: Array, variances: Array, order: int) -> tuple[Array, Array]:
    """Moments of a Gaussian mixture and their derivatives.

    A normal component has ``mu_{k+1} = m mu_k + k s^2 mu_{k-1}``, so that ``d mu_k / d m = k mu_{k-1}`` and
    ``d mu_k / d s^2 = k (k - 1) mu_{k-2} / 2``.

    Returns
    -------
    moments : ndarray, shape (order,)
    jacobian : ndarray, shape (order, 3, n_components)
        Derivatives by the weights, the means and the variances, each component's own.

    Examples
    --------
    >>> mixture_moments(np.array([1.0]), np.array([0.0]), np.array([4.0]), 4)[0]
    array([ 0.,  4.,  0., 48.])
    """
    each = np.empty((order + 1, np.size(means)))
    each[0], each[1] = 1.0, means
    for k in range(1, order):
        each[k + 1] = means * each[k] + k * variances * each[k - 1]
    degree = np.arange(1, order + 1)[:, None]
    twice = np.vstack([np.zeros_like(each[:1]), each[:-2]])
    jacobian = np.stack([each[1:], weights * degree * each[:-1], weights * 0.5 * degree * (degree - 1) * twice], axis=1)
    return each[1:] @ weights, jacobian
