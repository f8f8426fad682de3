"""Block-wise passes over rows of several columns, with a covariance of the errors for each row.

Rows lie in blocks of LANES rows, one row a lane: ``rows[block, slot, lane]`` has the D values of a row in its first
slots, then the lower triangle of its error covariance S, row by row, and then its weight, which is zero for rows that
only fill up a block. The code for a component is straight-line code over the lanes and exists once for each D up to
`UNROLLED`: it is written out by `_unrolled`, since Numba does not unroll loops over small matrices. Any D, and rows
with a projection, are served by loops.

Notation: T = V + S (or R V R' + S with a projection R), r = x - m (x - R m), P = T^-1 (R' T^-1 R), u = T^-1 r
(R' T^-1 r), and q is the responsibility w N(r | 0, T) / p. Symmetric matrices are packed as lower triangles.

The sums over a chunk of `CHUNK_BLOCKS` blocks are written to one row of `out`, and the caller adds these in order, so
that no bit depends on the threads. Functions that round by a magic number must not be compiled with `reassoc`, which
deletes the rounding; functions that compute sums need it. This module imports only math, numpy and numba, because
Numba's on-disk cache does not notice edits in another module that a kernel calls.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

UNROLLED = 6
CHUNK_BLOCKS = 16
_LOG_2PI = math.log(2.0 * math.pi)
_MAGIC = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, held in the low bits
_LOG2E = 1.4426950408889634
_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10
_SQRT2 = math.sqrt(2.0)
_EXP_MIN, _EXP_MAX = -708.0, 709.0
# A pivot below this part of its variance is rounding: the covariance is singular there.
_SINGULAR = 1e-15
# Largest logarithm of the ratio of the density of a further component to that of the others.
_LARGEST_GAIN = 600.0

_EXACT = {"contract"}
_SUMS = {"contract", "reassoc", "nsz", "arcp"}
# A loop in which a division by zero is an exception cannot be vectorised.
_SHARED = {"error_model": "numpy", "no_cfunc_wrapper": True, "cache": True}
_KERNEL = {"nogil": True, **_SHARED}
_HELPER = {"forceinline": True, "no_cpython_wrapper": True, **_SHARED}


def lanes(n_values):
    """Number of rows of a block; its numbers for one component stay in the second-level cache."""
    return 128 if n_values <= 3 else 64


def packed(n_values):
    """Number of entries of the lower triangle of a matrix."""
    return n_values * (n_values + 1) // 2


@intrinsic
def _bits(typingctx, value):
    """The 64 bits of a float as an integer."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), codegen


@intrinsic
def _from_bits(typingctx, value):
    """The float with these 64 bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.int64), codegen


@njit(fastmath=_EXACT, inline="always", error_model="numpy", cache=True)
def _exp(x):
    """exp(x), clipped beyond the range of doubles, without branches; see `passes.fast_exp`."""
    x = min(max(x, _EXP_MIN), _EXP_MAX)
    shifted = x * _LOG2E + _MAGIC
    k = shifted - _MAGIC
    r = (x - k * _LN2_HI) - k * _LN2_LO
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * _from_bits((_bits(shifted) + 1023) << 52)


@njit(fastmath=_EXACT, inline="always", error_model="numpy", cache=True)
def _log(x):
    """Natural log of a positive normal number, without branches; see `passes.fast_log`."""
    bits = _bits(x)
    m = _from_bits((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    e = _from_bits(((bits >> 52) & 0x7FF) + 0x4338000000000000) - _MAGIC - 1023.0
    large = m > _SQRT2
    m = 0.5 * m if large else m
    e = e + 1.0 if large else e
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    p = 1.0 / 23.0
    p = p * t + 1.0 / 21.0
    p = p * t + 1.0 / 19.0
    p = p * t + 1.0 / 17.0
    p = p * t + 1.0 / 15.0
    p = p * t + 1.0 / 13.0
    p = p * t + 1.0 / 11.0
    p = p * t + 1.0 / 9.0
    p = p * t + 1.0 / 7.0
    p = p * t + 1.0 / 5.0
    p = p * t + 1.0 / 3.0
    return e * _LN2_HI + (2.0 * s + (2.0 * s * t * p + e * _LN2_LO))


# One component over the rows of a block: r' T^-1 r, det T, u and G = u u' - P, in consecutive slots of `store`.


def _unrolled(n_values):
    """Source of the function for `n_values` values: an LDL' factorisation of T and its inverse, without loops."""
    d, width = n_values, lanes(n_values)
    tri = [(a, b) for a in range(d) for b in range(a + 1)]
    slot = {pair: k for k, pair in enumerate(tri)}
    lines = []

    def emit(text):
        lines.append(f"        {text}")

    def dot(start, terms):
        return " - ".join([start, *terms])

    for a, b in tri:
        emit(f"t{a}{b} = v{a}{b} + rows[{(d + slot[a, b]) * width} + i]")
    for a in range(d):
        # e is L times the pivots.
        for b in range(a):
            emit(f"e{a}{b} = " + dot(f"t{a}{b}", [f"e{a}{c} * l{b}{c}" for c in range(b)]))
        for b in range(a):
            emit(f"l{a}{b} = e{a}{b} * n{b}")
        emit(f"d{a} = max(" + dot(f"t{a}{a}", [f"e{a}{b} * l{a}{b}" for b in range(a)]) + f", {_SINGULAR!r} * t{a}{a})")
        emit(f"n{a} = 1.0 / d{a}")
    for a in range(d):
        emit(f"y{a} = " + dot(f"rows[{a * width} + i] - m{a}", [f"l{a}{b} * y{b}" for b in range(a)]))
    for a in range(d):
        emit(f"z{a} = y{a} * n{a}")
    emit("store[i] = " + " + ".join(f"y{a} * z{a}" for a in range(d)))
    emit(f"store[{width} + i] = " + " * ".join(f"d{a}" for a in range(d)))
    for a in reversed(range(d)):
        emit(f"u{a} = " + dot(f"z{a}", [f"l{c}{a} * u{c}" for c in range(a + 1, d)]))
        emit(f"store[{(2 + a) * width} + i] = u{a}")
    # k is the inverse of L, and P = k' diag(n) k.
    for a in range(d):
        for b in reversed(range(a)):
            terms = [f"l{a}{c} * k{c}{b}" for c in range(b + 1, a)]
            emit(f"k{a}{b} = -(" + " + ".join([f"l{a}{b}", *terms]) + ")")
    for a, b in tri:
        terms = [f"n{a} * k{a}{b}" if a != b else f"n{a}"]
        terms += [f"n{c} * k{c}{a} * k{c}{b}" for c in range(a + 1, d)]
        emit(f"store[{(2 + d + slot[a, b]) * width} + i] = u{a} * u{b} - (" + " + ".join(terms) + ")")
    head = [f"def _component_{d}(rows, columns, mean, var, store):"]
    head += [f"    m{a} = mean[columns[{a}]]" for a in range(d)]
    head += [f"    v{a}{b} = var[columns[{a}], columns[{b}]]" for a, b in tri]
    return "\n".join([*head, f"    for i in range({width}):", *lines, ""])


@njit(fastmath=_SUMS, **_HELPER)
def _factorise(matrix, residual, solution, n):
    """Cholesky factor of a matrix, in place, and its solution; returns r' T^-1 r and det T."""
    det, maha = 1.0, 0.0
    for a in range(n):
        for b in range(a):
            total = matrix[a, b]
            for c in range(b):
                total -= matrix[a, c] * matrix[b, c]
            matrix[a, b] = total / matrix[b, b]
        total = matrix[a, a]
        least = _SINGULAR * total
        for c in range(a):
            total -= matrix[a, c] * matrix[a, c]
        total = max(total, least)
        matrix[a, a] = math.sqrt(total)
        det *= total
        step = residual[a]
        for c in range(a):
            step -= matrix[a, c] * solution[c]
        solution[a] = step / matrix[a, a]
        maha += solution[a] * solution[a]
    for a in range(n - 1, -1, -1):
        step = solution[a]
        for c in range(a + 1, n):
            step -= matrix[c, a] * solution[c]
        solution[a] = step / matrix[a, a]
    return maha, det


@njit(fastmath=_SUMS, **_HELPER)
def _component_by_loops(rows, projections, columns, mean, var, store, width, n_values):
    """As the unrolled functions, for any number of values; `projections` has R for each row, or no rows at all."""
    n_dims = columns.size
    total = np.empty((n_values, n_values))
    residual, solution = np.empty(n_values), np.empty(n_values)
    half = np.empty((n_values, n_dims))
    has_projection = projections.shape[0] > 0
    for i in range(width):
        for a in range(n_values):
            residual[a] = rows[a * width + i]
            for b in range(a + 1):
                total[a, b] = rows[(n_values + a * (a + 1) // 2 + b) * width + i]
        if has_projection:
            for a in range(n_values):
                for c in range(n_dims):
                    product = 0.0
                    for b in range(n_dims):
                        product += projections[i, a, b] * var[b, c]
                    half[a, c] = product
                    residual[a] -= projections[i, a, c] * mean[c]
                for b in range(a + 1):
                    for c in range(n_dims):
                        total[a, b] += half[a, c] * projections[i, b, c]
        else:
            for a in range(n_values):
                residual[a] -= mean[columns[a]]
                for b in range(a + 1):
                    total[a, b] += var[columns[a], columns[b]]
        maha, det = _factorise(total, residual, solution, n_values)
        store[i], store[width + i] = maha, det
        # half becomes L^-1 R.
        for c in range(n_dims):
            u = 0.0
            for a in range(n_values):
                entry = projections[i, a, c] if has_projection else (1.0 if a == c else 0.0)
                u += entry * solution[a]
                for b in range(a):
                    entry -= total[a, b] * half[b, c]
                half[a, c] = entry / total[a, a]
            store[(2 + c) * width + i] = u
        for a in range(n_dims):
            for b in range(a + 1):
                entry = store[(2 + a) * width + i] * store[(2 + b) * width + i]
                for c in range(n_values):
                    entry -= half[c, a] * half[c, b]
                store[(2 + n_dims + a * (a + 1) // 2 + b) * width + i] = entry


# All components of a block.


@njit(fastmath=_SUMS, **_HELPER)
def _sum(values, width):
    total = 0.0
    for i in range(width):
        total += values[i]
    return total


@njit(fastmath=_EXACT, **_HELPER)
def _mix(store, weights, counts, width, stride, n_values, low, total):
    """Turn r' T^-1 r in the first slot of each component into c q; returns the sum of c ln p."""
    n_components = weights.size
    for i in range(width):
        low[i] = store[i]
        total[i] = 0.0
    for j in range(1, n_components):
        part = store[j * stride :]
        for i in range(width):
            low[i] = min(low[i], part[i])
    for j in range(n_components):
        part = store[j * stride :]
        weight = weights[j]
        for i in range(width):
            density = weight / math.sqrt(part[width + i]) * _exp(0.5 * (low[i] - part[i]))
            part[i] = density
            total[i] += density
    for i in range(width):
        low[i] = counts[i] * (_log(total[i]) - 0.5 * low[i] - 0.5 * n_values * _LOG_2PI)
        total[i] = counts[i] / total[i]
    for j in range(n_components):
        part = store[j * stride :]
        for i in range(width):
            part[i] *= total[i]
    return _sum(low, width)


@njit(fastmath=_EXACT, **_HELPER)
def _promise(store, counts, logs, width, n_values, tried, work, out):
    """Add the gains in ln p of a further component with each of the weights `tried`, times c, to `out`."""
    for i in range(width):
        away = -0.5 * store[i] - 0.5 * n_values * _LOG_2PI - logs[i]
        store[i] = _exp(min(away, _LARGEST_GAIN)) / math.sqrt(store[width + i]) - 1.0
    for k in range(tried.size):
        for i in range(width):
            work[i] = counts[i] * _log(1.0 + tried[k] * store[i])
        out[k] += _sum(work, width)


@njit(fastmath=_SUMS, **_HELPER)
def _add(store, sums, n_components, width, stride):
    """Add the sums of c q, c q u and c q G of each component."""
    n_slots = stride // width
    for j in range(n_components):
        share = store[j * stride :]
        sums[1 + j * (n_slots - 1)] += _sum(share, width)
        for slot in range(2, n_slots):
            part = store[j * stride + slot * width :]
            total = 0.0
            for i in range(width):
                total += share[i] * part[i]
            sums[j * (n_slots - 1) + slot] += total


# Kernels. `columns` are those of the means (M, d) and covariances (M, d, d) that concern the rows. `out` has a row for
# each chunk: the log-likelihood, and then for each component the sums of c q, c q u and c q G. `slots` receives the
# numbers of each row instead, as `store` has them, and `logs` c ln p of each. `promises` of a further component are
# ``sum c ln(1 + w (N(x | m, T) / p - 1))`` for each candidate and weight w of `tried`, added to `out`; there `logs` has
# ln p of each row.

_KERNELS = """
@njit(fastmath=_SUMS, **_HELPER)
{component}

@njit(fastmath=_SUMS, **_KERNEL)
def sums_{d}(rows, columns, weights, means, covariances, first, last, out):
    n_components = weights.size
    store = np.empty(n_components * {stride})
    low, total = np.empty({width}), np.empty({width})
    for chunk in range(first, last):
        sums = out[chunk]
        sums[:] = 0.0
        for block in range(chunk * {chunk}, min((chunk + 1) * {chunk}, rows.shape[0])):
            given = rows[block]
            for j in range(n_components):
                _component_{d}(given, columns, means[j], covariances[j], store[j * {stride} :])
            sums[0] += _mix(store, weights, given[{weight_at} :], {width}, {stride}, {d}, low, total)
            _add(store, sums, n_components, {width}, {stride})


@njit(fastmath=_SUMS, **_KERNEL)
def slots_{d}(rows, columns, weights, means, covariances, first, last, slots, logs):
    n_components = weights.size
    total = np.empty({width})
    for block in range(first, last):
        given = rows[block]
        store = slots[block]
        for j in range(n_components):
            _component_{d}(given, columns, means[j], covariances[j], store[j * {stride} :])
        _mix(store, weights, given[{weight_at} :], {width}, {stride}, {d}, logs[block], total)


@njit(fastmath=_SUMS, **_KERNEL)
def promises_{d}(rows, columns, means, covariances, logs, tried, out):
    store, work = np.empty({stride}), np.empty({width})
    for block in range(rows.shape[0]):
        given = rows[block]
        for j in range(means.shape[0]):
            _component_{d}(given, columns, means[j], covariances[j], store)
            _promise(store, given[{weight_at} :], logs[block], {width}, {d}, tried, work, out[j])
"""


def _compile(d):
    width = lanes(d)
    source = _KERNELS.format(
        component=_unrolled(d),
        d=d,
        width=width,
        stride=(2 + d + packed(d)) * width,
        weight_at=(d + packed(d)) * width,
        chunk=CHUNK_BLOCKS,
    )
    # Compiled under the name of this file, beside which Numba keeps the kernels.
    exec(compile(source, __file__, "exec"), globals())  # noqa: S102


for _d in range(1, UNROLLED + 1):
    _compile(_d)


@njit(fastmath=_SUMS, **_KERNEL)
def sums_by_loops(rows, projections, columns, weights, means, covariances, n_values, width, first, last, out):
    """As ``sums_D`` for any number of values; `projections` has shape (n_rows or 0, n_values, n_dims)."""
    n_components, n_dims = weights.size, columns.size
    stride = (2 + n_dims + n_dims * (n_dims + 1) // 2) * width
    store = np.empty(n_components * stride)
    low, total = np.empty(width), np.empty(width)
    at = (n_values + n_values * (n_values + 1) // 2) * width
    for chunk in range(first, last):
        sums = out[chunk]
        sums[:] = 0.0
        for block in range(chunk * CHUNK_BLOCKS, min((chunk + 1) * CHUNK_BLOCKS, rows.shape[0])):
            given, projected = rows[block], projections[block * width : (block + 1) * width]
            for j in range(n_components):
                part = store[j * stride :]
                _component_by_loops(given, projected, columns, means[j], covariances[j], part, width, n_values)
            sums[0] += _mix(store, weights, given[at:], width, stride, n_values, low, total)
            _add(store, sums, n_components, width, stride)


@njit(fastmath=_SUMS, **_KERNEL)
def slots_by_loops(rows, projections, columns, weights, means, covariances, n_values, width, first, last, slots, logs):
    """As ``slots_D`` for any number of values, and rows with projections."""
    n_components, n_dims = weights.size, columns.size
    stride = (2 + n_dims + n_dims * (n_dims + 1) // 2) * width
    total = np.empty(width)
    at = (n_values + n_values * (n_values + 1) // 2) * width
    for block in range(first, last):
        given, projected = rows[block], projections[block * width : (block + 1) * width]
        store = slots[block]
        for j in range(n_components):
            part = store[j * stride :]
            _component_by_loops(given, projected, columns, means[j], covariances[j], part, width, n_values)
        _mix(store, weights, given[at:], width, stride, n_values, logs[block], total)


@njit(fastmath=_SUMS, **_KERNEL)
def promises_by_loops(rows, projections, columns, means, covariances, n_values, width, logs, tried, out):
    """As ``promises_D`` for any number of values, and rows with projections."""
    n_dims = columns.size
    store, work = np.empty((2 + n_dims + n_dims * (n_dims + 1) // 2) * width), np.empty(width)
    at = (n_values + n_values * (n_values + 1) // 2) * width
    for block in range(rows.shape[0]):
        given, projected = rows[block], projections[block * width : (block + 1) * width]
        for j in range(means.shape[0]):
            _component_by_loops(given, projected, columns, means[j], covariances[j], store, width, n_values)
            _promise(store, given[at:], logs[block], width, n_values, tried, work, out[j])


@njit(**_KERNEL)
def collect(out, columns, shares, slopes, curls):
    """Add the sums of all chunks, in order, to those of c q, c q u and c q G; returns the log-likelihood."""
    n_chunks, n_dims, n_slots = out.shape[0], columns.size, (out.shape[1] - 1) // shares.size
    total = np.zeros(out.shape[1])
    for chunk in range(n_chunks):
        for k in range(total.size):
            total[k] += out[chunk, k]
    for j in range(shares.size):
        part = total[1 + j * n_slots : 1 + (j + 1) * n_slots]
        shares[j] += part[0]
        k = 1 + n_dims
        for a in range(n_dims):
            slopes[j, columns[a]] += part[1 + a]
            for b in range(a + 1):
                curls[j, columns[a], columns[b]] += part[k]
                if a != b:
                    curls[j, columns[b], columns[a]] += part[k]
                k += 1
    return total[0]


@njit(fastmath=_SUMS, **_HELPER)
def _tile(scores, a, others, b, out):
    """Products of two rows with four, which share their loads."""
    p0 = p1 = p2 = p3 = r0 = r1 = r2 = r3 = 0.0
    x, y = scores[a], scores[a + 1]
    s, t, u, v = others[b], others[b + 1], others[b + 2], others[b + 3]
    for i in range(scores.shape[1]):
        p0 += x[i] * s[i]
        p1 += x[i] * t[i]
        p2 += x[i] * u[i]
        p3 += x[i] * v[i]
        r0 += y[i] * s[i]
        r1 += y[i] * t[i]
        r2 += y[i] * u[i]
        r3 += y[i] * v[i]
    out[a, b] += p0
    out[a, b + 1] += p1
    out[a, b + 2] += p2
    out[a, b + 3] += p3
    out[a + 1, b] += r0
    out[a + 1, b + 1] += r1
    out[a + 1, b + 2] += r2
    out[a + 1, b + 3] += r3


@njit(fastmath=_SUMS, **_HELPER)
def _one_product(x, y):
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@njit(fastmath=_SUMS, **_HELPER)
def _add_products(scores, others, weighted, shares, out, symmetric):
    """Add ``scores diag(shares) others'`` to `out`; rows are the last axis of the first two, `weighted` is for work.

    If `symmetric`, `others` equals `scores`, and what lies above the diagonal is not complete.
    """
    n_rows, n_columns = scores.shape[0], others.shape[0]
    for a in range(n_rows):
        for i in range(shares.size):
            weighted[a, i] = scores[a, i] * shares[i]
    whole_rows, whole_columns = n_rows - n_rows % 2, n_columns - n_columns % 4
    for a in range(0, whole_rows, 2):
        for b in range(0, min(whole_columns, a + 2) if symmetric else whole_columns, 4):
            _tile(weighted, a, others, b, out)
        for b in range(whole_columns, n_columns):
            out[a, b] += _one_product(weighted[a], others[b])
            out[a + 1, b] += _one_product(weighted[a + 1], others[b])
    for a in range(whole_rows, n_rows):
        for b in range(n_columns):
            out[a, b] += _one_product(weighted[a], others[b])


@njit(fastmath=_SUMS, **_KERNEL)
def products(scores, shares, out):
    """Add ``scores diag(shares) scores'`` to the lower triangle of `out`; rows are the last axis."""
    _add_products(scores, scores, np.empty_like(scores), shares, out, True)


@njit(fastmath=_SUMS, **_KERNEL)
def curvature_sums(slots, weights, n_dims, crossed, own, curved):
    """Add the sums of which the Hessian consists, over some blocks.

    With s the scores in (ln w, m, V), which are 1, u and the triangle of u u' - P with half its diagonal, these are: of
    (c q s) (c q s)' / c over all pairs of components, in `crossed`; of c q s s' of each component, in `own`; of c q
    times the triangle of P times (1, u, triangles of u u' and P), in `curved`. Only the lower triangles of the first
    two are complete.
    """
    n_blocks, n_components, n_slots, width = slots.shape
    n_scores, n_triangle = n_slots - 1, n_slots - 2 - n_dims
    scores = np.empty((n_components * n_scores, width))
    weighted = np.empty((n_components * n_scores, width))
    work = np.empty((n_components * n_scores, width))
    precision, factors = np.empty((n_triangle, width)), np.empty((1 + n_dims + 2 * n_triangle, width))
    inverse = np.empty(width)
    for block in range(n_blocks):
        for i in range(width):
            inverse[i] = 1.0 / weights[block, i] if weights[block, i] > 0.0 else 0.0
        for j in range(n_components):
            part, given = scores[j * n_scores : (j + 1) * n_scores], slots[block, j]
            share = given[0]
            for i in range(width):
                part[0, i] = factors[0, i] = 1.0
            for a in range(n_dims):
                for i in range(width):
                    part[1 + a, i] = factors[1 + a, i] = given[2 + a, i]
            k = 0
            for a in range(n_dims):
                for b in range(a + 1):
                    half = 0.5 if a == b else 1.0
                    for i in range(width):
                        square = given[2 + a, i] * given[2 + b, i]
                        inner = given[2 + n_dims + k, i]
                        part[1 + n_dims + k, i] = half * inner
                        factors[1 + n_dims + k, i] = square
                        precision[k, i] = square - inner
                        factors[1 + n_dims + n_triangle + k, i] = square - inner
                    k += 1
            for s in range(n_scores):
                for i in range(width):
                    weighted[j * n_scores + s, i] = part[s, i] * share[i]
            _add_products(part, part, work, share, own[j], True)
            _add_products(precision, factors, work, share, curved[j], False)
        _add_products(weighted, weighted, work, inverse, crossed, True)
