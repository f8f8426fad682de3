"""Unbiased moments of the true values from noisy ones, with their sampling covariance; they can be merged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import comb

from mixpipe.model.cells import Cells
from mixpipe.model.results import Array

# A variance that is negative by less than this fraction of the total is zero within rounding errors.
ROUNDING = 1e-9
# Smallest eigenvalue of the correlation matrix of the moments, relative to the largest, that is trusted. High moments
# are nearly functions of each other, and a matrix that is estimated from rows overstates how precisely.
_RIDGE = 1e-4
# Rows that are computed at a time, few enough for their polynomials to stay in the cache.
_BLOCK = 8192


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over rows that yield the moments of the true values, free of the measurement errors.

    With ``x = z + e eps`` and ``eps`` standard normal, the polynomials ``H_{k+1} = x H_k - k e^2 H_{k-1}`` with
    ``H_0 = 1`` and ``H_1 = x`` have the expectation ``E H_k = E z^k``: their means over rows are unbiased for any
    errors. The sums refer to a fixed centre and scale, so that two sets of rows are merged by addition.

    Rows may be weighted by their precision p, which depends only on their errors. The means are then still unbiased as
    long as errors do not depend on the true values, and rows with large errors do not dominate the others.

    Parameters
    ----------
    centre, scale : float
        The sums are computed from ``(x - centre) / scale`` and ``e / scale``.
    n_data : float
        Number of rows, or the sum of their weights.
    sums : array_like, shape (order + 1,)
        Weighted sums of p H_0, p H_1, p H_2, ...
    products : array_like, shape (order + 1, order + 1)
        Weighted sums of p^2 H_j H_k; nan if they are not known.
    width : float
        Width from which the precisions were computed, in the unit of `scale`; infinite if all rows have equal
        precision.

    Raises
    ------
    ValueError
        For inconsistent shapes, and for a scale or a number of rows that is not positive.

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
        """Moments of the true values of cells.

        Parameters
        ----------
        cells : Cells
            Values, errors and row weights.
        order : int
            Highest moment.
        centre, scale : float or None
            Centre and scale, which must be the same for all parts that are to be merged. By default, the value nearest
            to the mean, and the root mean square of values and errors about it.
        width : float
            Approximate width of the population. Rows have the precision ``p = (1 + e^2 / width^2)^(-order / 2)``, which
            is equal for all by default. It must be the same for all parts that are to be merged.
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
        """Moments that are given as ``[E z, E z^2, ...]``, without a covariance; they count as one row.

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
        """The moments of the rows of both operands."""
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
        """Whether the covariance is known, because the moments come from rows."""
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
        """Moments about the mean, the first of which is zero; shape (order,)."""
        return self._moved(self._mean, self.scale)

    def about(self, centre: float, scale: float = 1.0) -> Array:
        """Moments ``E ((z - centre) / scale)^k`` for k = 1 ... order."""
        return self._moved((centre - self.centre) / self.scale, self.scale / scale)

    def covariance(self, centre: float = 0.0, scale: float = 1.0) -> Array:
        """Sampling covariance of `about`, shape (order, order), for a fixed centre and scale.

        The rows are taken as independent, and each counts as often as its weight says; nan for given moments.
        """
        return self._moved_covariance((centre - self.centre) / self.scale, self.scale / scale)

    def standardised(self, order: int | None = None) -> Standardised:
        """The moments up to an order, all by default, about the mean and in units of the standard deviation.

        Errors can make the estimate of the variance negative, in which case the unit is `scale`. The mean is not
        rounded to the resolution of a number of its size.
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
        """Moments of ``ratio (u - offset)``, where u is the variable of the sums."""
        shift = _binomial(self.order, offset, ratio)
        return np.asarray(shift @ (self.sums / self.sums[0]))

    def _moved_covariance(self, offset: float, ratio: float) -> Array:
        shift = _binomial(self.order, offset, ratio)
        means = self.sums / self.sums[0]
        # Covariance of p (H - mean) over the rows; H_0 is always one and has no scatter.
        cross = np.outer(self.products[:, 0], means)
        within = (self.products - cross - cross.T + self.products[0, 0] * np.outer(means, means)) / self.sums[0] ** 2
        return np.asarray(shift @ within @ shift.T)


@dataclass(frozen=True, eq=False)
class Standardised:
    """Moments about the mean, in units of the standard deviation.

    Parameters
    ----------
    centre, scale : float
        The mean, and the unit.
    values : ndarray, shape (order,)
        Moments E u, E u^2, ... of ``u = (z - centre) / scale``.
    covariance : ndarray, shape (order, order)
        Sampling covariance of `values`.
    sampled : bool
        Whether the covariance comes from rows. For given moments it is that of one normal value, and only sets their
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
        """A matrix L such that L' L is the regularised inverse of the covariance of the first moments."""
        covariance = self.covariance[:order, :order]
        # If all values are +-1, the second moment has no scatter, and that of the mean is used as its unit.
        squares = np.diag(covariance)
        errors = np.sqrt(np.where(squares > ROUNDING * squares[0], squares, squares[0] or 1.0))
        curvature, basis = np.linalg.eigh(covariance / np.outer(errors, errors))
        return np.asarray(basis.T / np.sqrt(np.maximum(curvature, _RIDGE * max(curvature[-1], 1.0)))[:, None] / errors)


def _binomial(order: int, offset: float, ratio: float) -> Array:
    """The matrix that maps the powers 0 ... order of u to the powers 1 ... order of ``ratio (u - offset)``."""
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
        Derivatives with respect to the weight, the mean and the variance of each component.

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
