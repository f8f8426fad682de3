"""The pass that sorts rows into the boxes of a sketch.

Like every file of kernels, this one is self-contained: it imports only math, numpy and numba.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# Sums kept for each box: the sum of the weights, and the weighted sums of u, u^2, t, t^2 and u t. Here u is the offset
# from the left edge of the box in units of its width, and t is err^2 in units of the lower end of the box's bin, minus
# one. The sums are integers in units of 2^-FRACTION_BITS, so that they do not depend on the order of the rows. A box
# can hold 2^33 rows.
N_SUMS = 6
FRACTION_BITS = 30
# Bins divide the total variance of a component that is far narrower than the boxes have to resolve, with this part of
# the base as sigma, in units of its own variance: they consist of the high bits of the double, STEPS evenly spaced ones
# to a factor of two. The first bin contains the rows whose errors are much smaller than such a component.
_NARROWEST = 0.125
_STEP_BITS = 3
STEPS = 1 << _STEP_BITS
_FIRST_BIN = 1023 * STEPS
_N_BINS = 2048 * STEPS
# Errors that are larger, in units of this sigma, count as this large, lest their squares overflow.
_LARGEST_ERROR = 2.0**500
_POSITION_BITS = 44
_LEVEL_BITS = 4
# Values that are too far out for _POSITION_BITS go into boxes that are wider by this factor for each level.
_LEVEL_FACTOR = 256.0
_LAST_LEVEL = 15
# Squared offsets and offsets of err^2 below these count as zero, since their sums are rounded to 1e-9.
_NO_SPREAD = 1e-8
_NO_CROSS = 1e-4
# Largest number of rows in a sample.
SAMPLE_ROWS = 1 << 15
# Keys are uniform; of distinct rows, at least SAMPLE_ROWS of so many times their number are below the expected place.
_AMPLE = 1.25
_EMPTY = np.int64(-(2**63) + 1)
_MAGIC = 6755399441055744.0  # 1.5 * 2^52
_MAGIC_BITS = np.int64(0x4338000000000000)
_MAGIC_LIMIT = 2.0**51


@intrinsic
def _bits(typingctx, value):
    """The 64 bits of a float as an integer."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), codegen


@njit(forceinline=True, cache=True)
def _rounded(value):
    """The nearest integer, which adding the magic number leaves in the low bits."""
    if abs(value) < _MAGIC_LIMIT:
        return _bits(value + _MAGIC) - _MAGIC_BITS
    return np.int64(value)


@njit(forceinline=True, cache=True)
def _find(keys, key):
    """Slot that holds a key in an open-addressing table whose size is a power of two, or a free slot for it."""
    mask = keys.size - 1
    slot = (key ^ (key >> 29)) * np.int64(0x1E3779B97F4A7C15)
    slot = (slot ^ (slot >> 32)) & mask
    while keys[slot] != key and keys[slot] != _EMPTY:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True)
def box_geometry(variance_bin, level, base, fineness):
    """The lower end of a bin of total variances, and its box width at a level: a power of two."""
    exponent = variance_bin // STEPS - 1023.0
    lower = 2.0**exponent * (1.0 + (variance_bin % STEPS) / STEPS)
    reference = _NARROWEST * base * math.sqrt(lower - 1.0)
    width = 2.0 ** math.floor(math.log2(fineness * math.hypot(base, reference)))
    return lower, width * _LEVEL_FACTOR**level


@njit(cache=True)
def _free_boxes(capacity):
    """Free boxes, each in a line of the processor's cache: the key, the sums and a word that is not used."""
    words = np.zeros(8 * capacity + 8, dtype=np.int64)
    start = -(words.ctypes.data >> 3) & 7
    boxes = words[start : start + 8 * capacity].reshape(capacity, 8)
    boxes[:, 0] = _EMPTY
    return boxes


@njit(cache=True)
def empty_table():
    """An empty table for `sketch_rows`: boxes and the number of those in use."""
    return _free_boxes(1 << 12), 0


@njit(cache=True)
def _larger(boxes):
    """The same boxes in four times the capacity."""
    larger = _free_boxes(4 * boxes.shape[0])
    for k in range(boxes.shape[0]):
        if boxes[k, 0] != _EMPTY:
            larger[_find(larger[:, 0], boxes[k, 0])] = boxes[k]
    return larger


@njit(nogil=True, cache=True)
def sketch_rows(x, err, weights, anchor, base, fineness, boxes, used):
    """Sort rows into boxes on a grid that does not depend on them, and add them to a table.

    Parameters
    ----------
    x, err : ndarray, shape (n_data,)
    weights : ndarray, shape (n_data,) or (1,)
        A single weight for all rows, or one for each row.
    anchor : float
        Value from which positions are counted.
    base : float
        Smallest total width that the boxes have to resolve, in the unit of `x`; > 0.
    fineness : float
        Largest width of a box in units of the total width ``hypot(base, err)``.
    boxes, used
        A table from `empty_table` or from an earlier call; it is overwritten.

    Returns
    -------
    boxes : ndarray of int64, shape (capacity, 8)
        Of each box the variance bin, level and position in the bits of one number, from the high ones to the low ones,
        and the N_SUMS sums.
    used : int
    """
    half = np.int64(1) << (_POSITION_BITS - 1)
    limit = 2.0 ** (_POSITION_BITS - 1) - 1.0
    unit = 2.0**FRACTION_BITS
    # For each variance bin that has occurred: the width of its boxes, and the inverses of this width and of its lower
    # end.
    geometry = np.zeros((_N_BINS, 3))
    per_narrowest = 1.0 / (_NARROWEST * base)
    each = 0 if weights.size == 1 else 1
    for i in range(x.size):
        error = min(err[i] * per_narrowest, _LARGEST_ERROR)
        square = error * error
        variance_bin = _bits(1.0 + square) >> (52 - _STEP_BITS)
        if geometry[variance_bin, 0] == 0.0:
            lower, width = box_geometry(variance_bin, 0, base, fineness)
            geometry[variance_bin] = width, 1.0 / width, 1.0 / lower
        offset = x[i] - anchor
        place = offset * geometry[variance_bin, 1]
        level = 0
        if not abs(place) < limit:
            width = geometry[variance_bin, 0]
            while abs(offset) >= limit * width and level < _LAST_LEVEL:
                width *= _LEVEL_FACTOR
                level += 1
            place = min(max(offset / width, -limit), limit)
        position = math.floor(place)
        head = (variance_bin << _LEVEL_BITS) | level
        key = (head << _POSITION_BITS) | (np.int64(position) + half)
        slot = _find(boxes[:, 0], key)
        if boxes[slot, 0] == _EMPTY:
            if 2 * used >= boxes.shape[0]:
                boxes = _larger(boxes)
                slot = _find(boxes[:, 0], key)
            boxes[slot, 0] = key
            used += 1
        w = weights[i * each] * unit
        u = place - position
        t = square * geometry[variance_bin, 2] - 1.0
        wu, wt = w * u, w * t
        if w < _MAGIC_LIMIT:
            # No term exceeds the weight.
            boxes[slot, 1] += _bits(w + _MAGIC) - _MAGIC_BITS
            boxes[slot, 2] += _bits(wu + _MAGIC) - _MAGIC_BITS
            boxes[slot, 3] += _bits(wu * u + _MAGIC) - _MAGIC_BITS
            boxes[slot, 4] += _bits(wt + _MAGIC) - _MAGIC_BITS
            boxes[slot, 5] += _bits(wt * t + _MAGIC) - _MAGIC_BITS
            boxes[slot, 6] += _bits(wu * t + _MAGIC) - _MAGIC_BITS
        else:
            for k, term in enumerate((w, wu, wu * u, wt, wt * t, wu * t)):
                boxes[slot, k + 1] += _rounded(term)
    return boxes, used


@njit(cache=True)
def _empty_sample(threshold):
    """An empty table for `sample_rows`: keys, contents, the number of rows in it, and the largest key to be kept."""
    return np.full(4 * SAMPLE_ROWS, _EMPTY), np.empty((4 * SAMPLE_ROWS, 4)), 0, np.int64(threshold)


def new_sample(x, err, weights):
    """A table for `sample_rows` with the first rows; the arguments and what is returned are those of that function."""
    # If these rows are distinct, so many have keys below this that others need not enter the table.
    share = _AMPLE * SAMPLE_ROWS / max(x.size, 1)
    if share < 1.0:
        table = sample_rows(x, err, weights, *_empty_sample(int(share * 2.0**63)))
        if table[2] >= SAMPLE_ROWS:
            return table
    return sample_rows(x, err, weights, *_empty_sample(2**63 - 1))


@njit(nogil=True, cache=True)
def sample_rows(x, err, weights, keys, contents, used, threshold):
    """Add rows to a table that keeps those whose contents have the smallest hashes, whatever the order of the rows.

    Parameters
    ----------
    x, err : ndarray, shape (n_data,)
    weights : ndarray, shape (n_data,) or (1,)
    keys, contents, used, threshold
        A table from `new_sample` or from an earlier call; it is overwritten.

    Returns
    -------
    keys : ndarray of int64, shape (4 * SAMPLE_ROWS,)
        Hashes, from 0 to 2^63 - 1.
    contents : ndarray, shape (4 * SAMPLE_ROWS, 4)
        x, err, weight, and the number of rows with these contents.
    used, threshold : int
    """
    each = 0 if weights.size == 1 else 1
    for i in range(x.size):
        # Adding zero turns -0 into +0. The mixing is that of splitmix64 (Steele, Lea & Flood 2014).
        h = np.uint64(_bits(x[i] + 0.0)) * np.uint64(0x9E3779B97F4A7C15)
        h = (h ^ (h >> np.uint64(32))) + np.uint64(_bits(err[i] + 0.0))
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) + np.uint64(_bits(weights[i * each]))
        h = (h ^ (h >> np.uint64(31))) * np.uint64(0x94D049BB133111EB)
        key = np.int64((h ^ (h >> np.uint64(31))) >> np.uint64(1))
        if key > threshold:
            continue
        slot = _find(keys, key)
        if keys[slot] == key:
            contents[slot, 3] += 1.0
            continue
        keys[slot] = key
        contents[slot, 0] = x[i]
        contents[slot, 1] = err[i]
        contents[slot, 2] = weights[i * each]
        contents[slot, 3] = 1.0
        used += 1
        if used == 2 * SAMPLE_ROWS:
            keys, contents, used, threshold = _smallest(keys, contents)
    return keys, contents, used, threshold


@njit(cache=True)
def _smallest(keys, contents):
    """A table of the `SAMPLE_ROWS` smallest keys of another table."""
    # The largest key to be kept, 16 bits at a time.
    threshold, rank = np.int64(0), SAMPLE_ROWS
    for shift in (48, 32, 16, 0):
        counts = np.zeros(1 << 16, dtype=np.int64)
        for key in keys:
            if key != _EMPTY and (key >> shift) >> 16 == threshold:
                counts[(key >> shift) & 0xFFFF] += 1
        digit = 0
        while rank > counts[digit]:
            rank -= counts[digit]
            digit += 1
        threshold = (threshold << 16) | digit
    new_keys = np.full(keys.size, _EMPTY)
    new_contents = np.empty(contents.shape)
    for k in range(keys.size):
        if _EMPTY < keys[k] <= threshold:
            slot = _find(new_keys, keys[k])
            new_keys[slot] = keys[k]
            new_contents[slot] = contents[k]
    return new_keys, new_contents, SAMPLE_ROWS, threshold


def sampled_rows(tables):
    """Contents of the at most `SAMPLE_ROWS` rows of samples, in the order of their keys.

    A table holds all rows added to it whose keys are among the `SAMPLE_ROWS` smallest of these, and thus all that are
    among the smallest of all tables.
    """
    keys = np.concatenate([table[0][table[0] != _EMPTY] for table in tables])
    contents = np.concatenate([table[1][table[0] != _EMPTY] for table in tables])
    order = np.argsort(keys, kind="stable")
    keys, contents = keys[order], contents[order]
    starts = np.flatnonzero(np.diff(keys, prepend=_EMPTY))
    counts = np.add.reduceat(contents[:, 3], starts) if starts.size else np.empty(0)
    return np.column_stack([contents[starts, :3], counts])[:SAMPLE_ROWS]


def filled_boxes(boxes):
    """Keys and sums of the boxes of a table that are in use, sorted by key.

    NumPy does the sorting: a sort that Numba had compiled and cached was observed to leave the keys in the order of the
    table.
    """
    filled = boxes[boxes[:, 0] != _EMPTY]
    filled = filled[np.argsort(filled[:, 0])]
    return np.ascontiguousarray(filled[:, 0]), np.ascontiguousarray(filled[:, 1 : 1 + N_SUMS])


@njit(cache=True)
def halved(keys):
    """Keys of boxes twice as wide, and whether each narrow box is the right half of its wide box."""
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
def box_points(keys, sums, base, fineness, halvings, joined_boxes, joined_bins):
    """Weighted points with the same means, variances and covariance of x and err^2 as the rows of boxes.

    A box gives one point if it contains one row, two points if its errors are equal, and otherwise four: one on either
    side along each of two conjugate directions. Third moments vanish, so that sums over the points equal sums over the
    rows to third order in the width of the boxes.

    Parameters
    ----------
    keys, sums, base, fineness, halvings
        A sketch.
    joined_boxes : int
        For fewer points, join boxes into ones that are wider by this many factors of two.
    joined_bins : int
        Number of neighbouring variance bins to join.

    Returns
    -------
    x, err, weights : ndarray, shape (n_points,)
    """
    half = np.int64(1) << (_POSITION_BITS - 1)
    mask = (np.int64(1) << _POSITION_BITS) - 1
    levels = (np.int64(1) << _LEVEL_BITS) - 1
    unit = 2.0**-FRACTION_BITS
    wider = 2.0**halvings
    n_boxes = keys.size
    # For each box: the group that it joins, given by its bin, level and position in units of the group's width.
    group = np.empty((n_boxes, 3), dtype=np.int64)
    moments = np.zeros((n_boxes, N_SUMS))
    scales = np.empty((n_boxes, 3))
    slots = np.full(4 * (1 << max(4, math.ceil(math.log2(n_boxes + 1)))), np.int64(-1))
    n_groups = 0
    for c in range(n_boxes):
        count = sums[c, 0] * unit
        if not count > 0.0:
            continue
        head = keys[c] >> _POSITION_BITS
        variance_bin = head >> _LEVEL_BITS
        level = head & levels
        lower, width = box_geometry(variance_bin, level, base, fineness)
        width *= wider
        place = (keys[c] & mask) - half
        joined = variance_bin - (variance_bin - _FIRST_BIN) % joined_bins
        _, joint_width = box_geometry(joined, level, base, fineness)
        joint_width *= wider * 2.0**joined_boxes
        # Widths are powers of two, so that each box lies within one group; a box that is wider than its group widens
        # the group.
        joint_width = max(joint_width, width)
        position = np.int64(math.floor(place * (width / joint_width)))
        slot = (position * np.int64(0x1E3779B97F4A7C15) ^ (joined * 31 + level) * np.int64(0x3F58476D1CE4E5B9)) >> 7
        slot &= slots.size - 1
        while slots[slot] >= 0 and not (
            group[slots[slot], 0] == joined
            and group[slots[slot], 1] == level
            and group[slots[slot], 2] == position
            and scales[slots[slot], 1] == joint_width
        ):
            slot = (slot + 1) & (slots.size - 1)
        g = slots[slot]
        if g < 0:
            g = n_groups
            slots[slot] = g
            group[g] = (joined, level, position)
            scales[g, 0], scales[g, 1], scales[g, 2] = lower, joint_width, float(position)
            n_groups += 1
        # Means and second moments of the box in the units of the group.
        ratio = width / joint_width
        square = lower / scales[g, 0]
        u = sums[c, 1] * unit / wider / count
        t = sums[c, 3] * unit / count
        # The smallest variances are the rounding errors of their sums.
        uu = max(sums[c, 2] * unit / wider / wider / count - u * u, 0.0) * ratio * ratio
        tt = max(sums[c, 4] * unit / count - t * t, 0.0) * square * square
        ut = (sums[c, 5] * unit / wider / count - u * t) * ratio * square
        u = (place * ratio - position) + u * ratio
        t = (1.0 + t) * square
        moments[g, 0] += count
        moments[g, 1] += count * u
        moments[g, 2] += count * (uu + u * u)
        moments[g, 3] += count * t
        moments[g, 4] += count * (tt + t * t)
        moments[g, 5] += count * (ut + u * t)
    x = np.empty(4 * n_groups)
    var = np.empty(4 * n_groups)
    weights = np.empty(4 * n_groups)
    n = 0
    narrowest = (_NARROWEST * base) ** 2
    for g in range(n_groups):
        lower, width, position = scales[g]
        count = moments[g, 0]
        u = moments[g, 1] / count
        t = moments[g, 3] / count
        uu = max(moments[g, 2] / count - u * u, 0.0)
        tt = max(moments[g, 4] / count - t * t, 0.0)
        ut = moments[g, 5] / count - u * t
        centre = (position + u) * width
        square = t * lower * narrowest
        along = ut / math.sqrt(uu) if uu > _NO_SPREAD else 0.0
        across = math.sqrt(max(tt - along * along, 0.0))
        dx = math.sqrt(uu) * width
        dv = along * lower * narrowest
        dw = across * lower * narrowest
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
                n += 1
            # Two points with the mean and the variance of err^2; the nearer one to zero may not be below it.
            below = min(root * dw, square)
            share = 2.0 * dw * dw / (2.0 * dw * dw + below * below)
            x[n], var[n], weights[n] = centre, square - below, 0.5 * share * count
            x[n + 1], var[n + 1], weights[n + 1] = centre, square + 2.0 * dw * dw / below, 0.5 * (1.0 - share) * count
            n += 2
    return x[:n], np.sqrt(np.maximum(var[:n], 0.0)), weights[:n]
