"""A mixture that is truncated at two bounds: the density that was fitted to a table that ends there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from mixpipe.base.arrays import Array
from mixpipe.model.mixture import Mixture

# Halvings of the interval between the bounds, after which it is as short as the rounding of its ends.
_HALVINGS = 60
_SQRT_2PI = math.sqrt(2.0 * math.pi)


@dataclass(frozen=True, eq=False)
class TruncatedMixture:
    """The density of a Gaussian mixture between two bounds, where its integral is one, and zero elsewhere.

    Parameters
    ----------
    mixture : Mixture
        The mixture without the truncation, to which weights, means and sigmas refer.
    low, high : float
        The bounds.

    Examples
    --------
    >>> half = TruncatedMixture(Mixture([1.0], [0.0], [1.0]), 0.0, np.inf)
    >>> [round(float(number), 4) for number in (half.pdf(0.0), half.cdf(1.0), half.ppf(0.5), half.mean, half.std)]
    [0.7979, 0.6827, 0.6745, 0.7979, 0.6028]
    """

    mixture: Mixture
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.mixture.is_gaussian:
            raise ValueError(f"a truncated mixture has to be Gaussian, found {self.mixture.family}")
        if not self.low < self.high:
            raise ValueError(f"bounds must increase, found {self.low} and {self.high}")

    @property
    def inside(self) -> float:
        """Probability of the mixture without the truncation between the bounds."""
        return float(self.mixture.share_between(self.low, self.high, self.high)[1])

    def pdf(self, x: ArrayLike) -> Array:
        """Density, which is zero outside the bounds."""
        x = np.asarray(x, dtype=np.float64)
        return np.asarray(np.where(self._is_inside(x), self.mixture.pdf(x) / self.inside, 0.0))

    def logpdf(self, x: ArrayLike) -> Array:
        """Natural log of the density, which is minus infinity outside the bounds."""
        x = np.asarray(x, dtype=np.float64)
        return np.asarray(np.where(self._is_inside(x), self.mixture.logpdf(x) - math.log(self.inside), -np.inf))

    def cdf(self, x: ArrayLike) -> Array:
        """Probability of values below `x`."""
        below, inside = self.mixture.share_between(self.low, np.clip(x, self.low, self.high), self.high)
        return np.asarray(np.clip(below / inside, 0.0, 1.0))

    def ppf(self, q: ArrayLike) -> Array:
        """Quantiles: the values below which the probability is `q`; nan unless 0 <= q <= 1."""
        q = np.asarray(q, dtype=np.float64)
        reach = 40.0 * self.mixture.sigmas
        low = np.full(q.shape, max(self.low, float(np.min(self.mixture.means - reach))))
        high = np.full(q.shape, min(self.high, float(np.max(self.mixture.means + reach))))
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            above = self.cdf(middle) >= q
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        found = np.where(q <= 0.0, self.low, np.where(q >= 1.0, self.high, 0.5 * (low + high)))
        return np.asarray(np.where((q >= 0.0) & (q <= 1.0), found, np.nan))

    @property
    def mean(self) -> float:
        """Mean of the truncated density."""
        return self._moments()[0]

    @property
    def std(self) -> float:
        """Standard deviation of the truncated density."""
        return self._moments()[1]

    def _is_inside(self, x: Array) -> Array:
        return np.asarray((x >= self.low) & (x <= self.high))

    def _moments(self) -> tuple[float, float]:
        """Mean and standard deviation, from those of the truncated components."""
        means, sigmas = self.mixture.means, self.mixture.sigmas
        ends = (np.array([[self.low], [self.high]]) - means) / sigmas
        # The tails are taken on the side where they are small.
        mirrored = np.where(ends[0] > 0.0, -1.0, 1.0)
        inside = np.abs(np.subtract(*ndtr(mirrored * ends)))
        bell = np.exp(-0.5 * ends**2) / _SQRT_2PI
        slope = np.where(np.isfinite(ends), ends, 0.0) * bell
        shift = (bell[0] - bell[1]) / inside
        centres = means + sigmas * shift
        variances = sigmas**2 * (1.0 + (slope[0] - slope[1]) / inside - shift**2)
        shares = self.mixture.weights * inside / np.sum(self.mixture.weights * inside)
        mean = float(shares @ centres)
        return mean, math.sqrt(float(shares @ (variances + (centres - mean) ** 2)))
