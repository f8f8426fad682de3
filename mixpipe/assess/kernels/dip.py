"""Hartigan's dip of a distribution function that rises in jumps.

Like every file of kernels, this one is self-contained: it imports only math, numpy and numba.
"""

import numpy as np
from numba import njit

# Each wrapper, of which the one for C is not used and the one for Python not for helpers, would take as long to compile
# as a small function. Rewriting is for expressions with whole arrays, of which there are none.
_KERNEL = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "no_rewrites": True, "cache": True}
_HELPER = {"no_cpython_wrapper": True, **_KERNEL}


@njit(**_HELPER)
def _hull(x, y, first, last, sign, vertices):
    """Indices of the vertices of the convex minorant (sign 1) or concave majorant (-1) of points, and their number."""
    size = 0
    for k in range(first, last + 1):
        while size > 1:
            i, j = vertices[size - 2], vertices[size - 1]
            if sign * ((y[j] - y[i]) * (x[k] - x[i]) - (y[k] - y[i]) * (x[j] - x[i])) < 0.0:
                break
            size -= 1
        vertices[size] = k
        size += 1
    return size


@njit(**_HELPER)
def _chord(x, y, i, j, at):
    """The straight line through the points i and j."""
    return y[i] if i == j else y[i] + (y[j] - y[i]) * ((at - x[i]) / (x[j] - x[i]))


@njit(**_HELPER)
def _widest(x, low, high, convex, n_convex, concave, n_concave):
    """The largest distance of the two hulls, and the vertices on either side of where it is reached."""
    widest, left, right = -1.0, convex[0], convex[n_convex - 1]
    j = 0
    for i in range(n_convex):
        k = convex[i]
        while j < n_concave - 2 and concave[j + 1] <= k:
            j += 1
        distance = _chord(x, high, concave[j], concave[j + 1], x[k]) - low[k]
        if distance > widest:
            widest, left, right = distance, k, k if concave[j] == k else concave[j + 1]
    i = 0
    for j in range(n_concave):
        k = concave[j]
        while i < n_convex - 2 and convex[i + 1] <= k:
            i += 1
        distance = high[k] - _chord(x, low, convex[i], convex[i + 1], x[k])
        if distance >= widest:
            widest, left, right = distance, k if convex[i + 1] == k else convex[i], k
    return widest, left, right


@njit(**_KERNEL)
def dip(x, low, high):
    """The dip: the smallest largest distance of a distribution function from a unimodal one (Hartigan & Hartigan 1985).

    The modal interval shrinks as in Hartigan (1985, AS 217) to the vertices around the largest distance of the convex
    minorant and the concave majorant, until what has been cut off is as far from its hull. A jump at the mode costs
    nothing.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Increasing values at which the function jumps.
    low, high : ndarray, shape (n,)
        The function just below each value, and at it.
    """
    n = x.size
    convex, concave = np.empty(n, np.int64), np.empty(n, np.int64)
    # A literal would be a type of its own.
    first, last, found = np.int64(0), n - 1, 0.0
    while first < last:
        n_convex = _hull(x, low, first, last, 1.0, convex)
        n_concave = _hull(x, high, first, last, -1.0, concave)
        widest, left, right = _widest(x, low, high, convex, n_convex, concave, n_concave)
        if widest <= found:
            break
        for i in range(n_convex - 1):
            if convex[i] < left:
                for k in range(convex[i], convex[i + 1]):
                    found = max(found, high[k] - _chord(x, low, convex[i], convex[i + 1], x[k]))
        for j in range(n_concave - 1):
            if concave[j] >= right:
                for k in range(concave[j] + 1, concave[j + 1] + 1):
                    found = max(found, _chord(x, high, concave[j], concave[j + 1], x[k]) - low[k])
        first, last = left, right
    return 0.5 * found
