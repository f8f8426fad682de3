"""The array type, and read-only arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def frozen(values: ArrayLike) -> Array:
    """A read-only float64 copy, so that changing an array that was passed in or returned cannot alter a result."""
    array = np.array(values, dtype=np.float64, copy=True, order="C")
    array.flags.writeable = False
    return array
