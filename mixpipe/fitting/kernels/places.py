"""Distances between rows of several columns, in the metrics of components; see `mixpipe.fitting.joint.candidates`.

Like every file of kernels, this one imports only math, numpy and numba, and trusts its callers.
"""

import numpy as np
from numba import njit

_KERNEL = {"no_cfunc_wrapper": True, "error_model": "numpy", "cache": True}


@njit(**_KERNEL)
def distances(turned, components, rows):
    """Squared distances of all rows from some of them, each in the metric of a component.

    Parameters
    ----------
    turned : ndarray, shape (n_components, d, n)
        The rows, multiplied by H for each component with the metric H' H.
    components, rows : ndarray of int, shape (n_rows,)

    Returns
    -------
    ndarray, shape (n_rows, n)
    """
    found = np.zeros((rows.size, turned.shape[2]))
    for k in range(rows.size):
        for a in range(turned.shape[1]):
            line, here = turned[components[k], a], turned[components[k], a, rows[k]]
            for i in range(line.size):
                found[k, i] += (line[i] - here) ** 2
    return found


@njit(**_KERNEL)
def far_apart(turned, nearest, first, size):
    """Rows far from each other: each next one is that which is farthest from all before it.

    Parameters
    ----------
    turned : ndarray, shape (n_components, d, n)
        As in `distances`.
    nearest : ndarray of int, shape (n,)
        The component in the metric of which a row is measured.
    first : int
        The first row.
    size : int
        Number of rows; there are fewer if all others are equal to some of these.
    """
    n_dims, n_rows = turned.shape[1:]
    chosen = np.empty(size, dtype=np.int64)
    least, distance = np.full(n_rows, np.inf), np.empty(n_rows)
    mine = np.empty((n_dims, n_rows))
    for a in range(n_dims):
        for i in range(n_rows):
            mine[a, i] = turned[nearest[i], a, i]
    chosen[0] = first
    for k in range(1, size):
        distance[:] = 0.0
        for a in range(n_dims):
            for i in range(n_rows):
                distance[i] += (mine[a, i] - turned[nearest[i], a, chosen[k - 1]]) ** 2
        far = 0
        for i in range(n_rows):
            least[i] = min(least[i], distance[i])
            if least[i] > least[far]:
                far = i
        if least[far] <= 0.0:
            return chosen[:k]
        chosen[k] = far
    return chosen
