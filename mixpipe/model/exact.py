"""Sums of many doubles without rounding, which do not depend on the order or the blocks in which the numbers arrive."""

from __future__ import annotations

import numpy as np

from mixpipe.base.arrays import Array

# A double is an integer, the mantissa, times a power of two. The mantissa is split in two, so that the sums of many
# parts are integers below 2^53, which doubles represent exactly.
_MANTISSA, _LOWER = 52, 27
# The smallest positive double is 2^-_SMALLEST.
_SMALLEST = 1074
# Numbers that are added at a time: few enough to fit into the processor's cache.
_BLOCK = 1 << 16


class ExactSum:
    """The exact sum of finite doubles >= 0, held as an integer multiple of the smallest double.

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
        """Add an array of numbers."""
        # The sign bit of a negative zero would be taken for part of the exponent.
        bits = np.abs(np.ascontiguousarray(numbers, dtype=np.float64)).view(np.int64)
        for start in range(0, bits.size, _BLOCK):
            part = bits[start : start + _BLOCK]
            exponents = part >> _MANTISSA
            # Subnormal numbers (exponent zero) have no implicit leading bit, and the same power of two as exponent one.
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
        """The quotient of the two sums, each rounded first, as for sums computed by `math.fsum`."""
        return float(self) / float(other)
