"""Sums of many doubles without rounding: the same for any order and any blocks that the numbers come in."""

from __future__ import annotations

import numpy as np

from mixpipe.base.arrays import Array

# A double is a whole number, the mantissa, times a power of two; the mantissa is cut in two, so that the sums of many
# parts are whole numbers below 2^53, which doubles hold.
_MANTISSA, _LOWER = 52, 27
# The smallest double is 2 to the power of minus this.
_SMALLEST = 1074
# Numbers that are added up at a time, few enough for the cache of a processor.
_BLOCK = 1 << 16


class ExactSum:
    """The sum of finite doubles >= 0, as a whole number of the smallest ones.

    Examples
    --------
    >>> total = ExactSum()
    >>> total.add(np.array([1e16, 1.0, 1e-300]))
    >>> total.add(np.array([1.0]))
    >>> float(total)
    1.0000000000000002e+16
    """

    def __init__(self) -> None:
        self._units = 0

    def add(self, numbers: Array) -> None:
        """Add some numbers."""
        # Zeros have a sign, which would be taken for an exponent.
        bits = np.abs(np.ascontiguousarray(numbers, dtype=np.float64)).view(np.int64)
        for start in range(0, bits.size, _BLOCK):
            part = bits[start : start + _BLOCK]
            exponents = part >> _MANTISSA
            # Numbers with the exponent zero have no leading bit that is left out, and the power of those with one.
            whole = (part & ((1 << _MANTISSA) - 1)) | ((exponents > 0).astype(np.int64) << _MANTISSA)
            places = np.maximum(exponents - 1, 0)
            first = int(places.min())
            for half, shift in ((whole >> _LOWER, _LOWER), (whole & ((1 << _LOWER) - 1), 0)):
                sums = np.bincount(places - first, half)
                for place in np.flatnonzero(sums):
                    self._units += int(sums[place]) << (first + int(place) + shift)

    def __float__(self) -> float:
        return self._units / (1 << _SMALLEST)

    def __truediv__(self, other: ExactSum) -> float:
        """The quotient of the two sums, each rounded first: as of sums by `math.fsum`."""
        return float(self) / float(other)
