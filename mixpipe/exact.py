"""Sums of many doubles without rounding: the same for any order and any blocks that the numbers come in."""

from __future__ import annotations

import numpy as np

from mixpipe.arrays import Array

# Bits of a double's mantissa, and of its lower part where it is cut in two: the sums of a block's parts are whole
# numbers below 2^53.
_MANTISSA, _LOWER = 53, 27
# The smallest exponent that a finite double has as `frexp` gives it.
_SMALLEST = -1073
# Numbers that are added up at a time.
_BLOCK = 1 << 24


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
        for start in range(0, numbers.size, _BLOCK):
            mantissas, exponents = np.frexp(numbers[start : start + _BLOCK])
            whole = (mantissas * 2.0**_MANTISSA).astype(np.int64)
            places = exponents - _SMALLEST
            for part, shift in ((whole >> _LOWER, _LOWER), (whole & ((1 << _LOWER) - 1), 0)):
                sums = np.bincount(places, part.astype(np.float64))
                for place in np.flatnonzero(sums):
                    self._units += int(sums[place]) << (int(place) + shift)

    def __float__(self) -> float:
        return self._units / (1 << (_MANTISSA - _SMALLEST))

    def __truediv__(self, other: ExactSum) -> float:
        """The quotient of the two sums, each rounded first: as of sums by `math.fsum`."""
        return float(self) / float(other)
