"""The pass that sorts rows into the cells of a sketch.

Complete in itself, like the other files of kernels. Imports math, numpy and numba only.
"""

import math

import numpy as np
from numba import njit

# Sums per cell: of weights, and weighted of u, u^2, t, t^2 and u t, where u is the offset from the cell's left edge in
# units of its width, and t = err^2 in units of the square of the cell's reference error, less one. Whole numbers, in
# units of 2^-FRACTION_BITS: their sums do not depend on the order of the rows. 2^33 rows fit into a cell.
N_SUMS = 6
FRACTION_BITS = 30
# Bin of the rows without errors: below that of the smallest double.
_NO_ERROR = -5000
_POSITION_BITS = 44
_LEVEL_BITS = 4
# Values too far out for the positions have cells that are wider by this factor for each level.
_LEVEL_FACTOR = 256.0
_LAST_LEVEL = 15
# Squared offsets below this, and offsets of err^2, are none: their sums are rounded to 1e-9.
_NO_SPREAD = 1e-8
_NO_CROSS = 1e-4
_EMPTY = np.int64(-(2**63) + 1)


@njit(cache=True)
def _find(keys, key):
    """Slot of a key in an open-addressing table whose size is a power of two: the key's own or a free one."""
    mask = keys.size - 1
    slot = (key ^ (key >> 29)) * np.int64(0x1E3779B97F4A7C15)
    slot = (slot ^ (slot >> 32)) & mask
    while keys[slot] != key and keys[slot] != _EMPTY:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True)
def cell_geometry(error_bin, level, base, fineness, octave):
    """Reference error of an error bin, and the width of its cells at a level: a power of two."""
    reference = 0.0 if error_bin == _NO_ERROR else 2.0 ** (error_bin / octave)
    width = 2.0 ** math.floor(math.log2(fineness * math.hypot(base, reference)))
    return reference, width * _LEVEL_FACTOR**level


@njit(nogil=True, cache=True)
def sketch_rows(x, err, weights, base, fineness, octave):
    """Sort rows into cells on a grid that does not depend on them.

    Parameters
    ----------
    x, err, weights : ndarray, shape (n_data,)
    base : float
        Smallest total width that the cells have to resolve, in the unit of `x`; > 0.
    fineness : float
        Largest width of a cell in units of the total width ``hypot(base, err)``.
    octave : int
        Error bins for each factor of two.

    Returns
    -------
    keys : ndarray of int64, shape (n_cells,)
        Sorted; error bin, level and position, from the high bits to the low ones.
    sums : ndarray of int64, shape (n_cells, N_SUMS)
    """
    capacity = 1 << 12
    keys = np.full(capacity, _EMPTY)
    sums = np.zeros((capacity, N_SUMS), dtype=np.int64)
    used = 0
    half = np.int64(1) << (_POSITION_BITS - 1)
    limit = 2.0 ** (_POSITION_BITS - 1) - 1.0
    unit = 2.0**FRACTION_BITS
    last_bin = _NO_ERROR - 1
    reference = 0.0
    narrow = 1.0
    for i in range(x.size):
        error_bin = _NO_ERROR if err[i] == 0.0 else math.floor(math.log2(err[i]) * octave)
        if error_bin != last_bin:
            reference, narrow = cell_geometry(error_bin, 0, base, fineness, octave)
            last_bin = error_bin
        width = narrow
        level = 0
        while abs(x[i]) >= limit * width and level < _LAST_LEVEL:
            width *= _LEVEL_FACTOR
            level += 1
        position = math.floor(min(max(x[i] / width, -limit), limit))
        head = ((np.int64(error_bin) - _NO_ERROR) << _LEVEL_BITS) | level
        key = (head << _POSITION_BITS) | (np.int64(position) + half)
        slot = _find(keys, key)
        if keys[slot] == _EMPTY:
            if 2 * used >= capacity:
                old_keys, old_sums = keys, sums
                capacity *= 4
                keys = np.full(capacity, _EMPTY)
                sums = np.zeros((capacity, N_SUMS), dtype=np.int64)
                for k in range(old_keys.size):
                    if old_keys[k] != _EMPTY:
                        place = _find(keys, old_keys[k])
                        keys[place] = old_keys[k]
                        sums[place] = old_sums[k]
                slot = _find(keys, key)
            keys[slot] = key
            used += 1
        w = weights[i] * unit
        u = min(max(x[i] / width - position, 0.0), 1.0)
        t = (err[i] / reference) ** 2 - 1.0 if reference > 0.0 else 0.0
        row = sums[slot]
        row[0] += np.int64(math.floor(w + 0.5))
        row[1] += np.int64(math.floor(w * u + 0.5))
        row[2] += np.int64(math.floor(w * u * u + 0.5))
        row[3] += np.int64(math.floor(w * t + 0.5))
        row[4] += np.int64(math.floor(w * t * t + 0.5))
        row[5] += np.int64(math.floor(w * u * t + 0.5))
    filled = np.flatnonzero(keys != _EMPTY)
    order = filled[np.argsort(keys[filled])]
    return keys[order], sums[order]


@njit(cache=True)
def halved(keys):
    """Keys of cells twice as wide, and which of the narrow cells are the right halves of them."""
    half = np.int64(1) << (_POSITION_BITS - 1)
    mask = (np.int64(1) << _POSITION_BITS) - 1
    joined = np.empty_like(keys)
    odd = np.empty_like(keys)
    for c in range(keys.size):
        position = (keys[c] & mask) - half
        odd[c] = position & 1
        joined[c] = ((keys[c] >> _POSITION_BITS) << _POSITION_BITS) | ((position >> 1) + half)
    return joined, odd


@njit(cache=True)
def cell_points(keys, sums, base, fineness, octave, halvings):
    """Weighted points with the same means, variances and covariance of x and err^2 as the rows of each cell.

    Two points where the errors within a cell are equal, one where there is one row, and four otherwise: along each
    conjugate direction one on either side. Third moments vanish, so that sums over the points equal sums over the
    rows to third order in the width of the cells.

    Returns
    -------
    x, err, weights : ndarray, shape (n_points,)
    """
    half = np.int64(1) << (_POSITION_BITS - 1)
    mask = (np.int64(1) << _POSITION_BITS) - 1
    levels = (np.int64(1) << _LEVEL_BITS) - 1
    unit = 2.0**-FRACTION_BITS
    wider = 2.0**halvings
    x = np.empty(4 * keys.size)
    var = np.empty(4 * keys.size)
    weights = np.empty(4 * keys.size)
    n = 0
    for c in range(keys.size):
        count = sums[c, 0] * unit
        if not count > 0.0:
            continue
        head = keys[c] >> _POSITION_BITS
        error_bin = (head >> _LEVEL_BITS) + _NO_ERROR
        reference, width = cell_geometry(error_bin, head & levels, base, fineness, octave)
        width *= wider
        u = sums[c, 1] * unit / wider / count
        t = sums[c, 3] * unit / count
        # What is left of a variance is the rounding of its sums.
        uu = max(sums[c, 2] * unit / wider / wider / count - u * u, 0.0)
        tt = max(sums[c, 4] * unit / count - t * t, 0.0)
        ut = sums[c, 5] * unit / wider / count - u * t
        centre = ((keys[c] & mask) - half + u) * width
        square = (1.0 + t) * reference * reference
        along = ut / math.sqrt(uu) if uu > _NO_SPREAD else 0.0
        across = math.sqrt(max(tt - along * along, 0.0))
        dx = math.sqrt(uu) * width
        dv = along * reference * reference
        dw = across * reference * reference
        if uu <= _NO_SPREAD and across <= _NO_CROSS:
            x[n], var[n], weights[n] = centre, square, count
            n += 1
        elif across <= _NO_CROSS:
            for sign in (-1.0, 1.0):
                x[n], var[n], weights[n] = centre + sign * dx, square + sign * dv, 0.5 * count
                n += 1
        else:
            root = math.sqrt(2.0)
            for sign in (-1.0, 1.0):
                x[n], var[n], weights[n] = centre + sign * root * dx, square + sign * root * dv, 0.25 * count
                x[n + 1], var[n + 1], weights[n + 1] = centre, square + sign * root * dw, 0.25 * count
                n += 2
    # Errors of one cell differ by less than a factor of two: no point can come near zero but by rounding.
    return x[:n], np.sqrt(np.maximum(var[:n], 0.0)), weights[:n]
