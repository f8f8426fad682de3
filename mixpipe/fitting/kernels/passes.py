"""Block-wise passes over cells (`x`, `var` = err^2, `counts`) for a Gaussian mixture.

This module imports only math, numpy and numba, and relies on its caller to pass finite, C-contiguous float64 arrays
with `var` >= 0, `counts` >= 0, weights > 0, and `variances + var` > 0 for each component and cell. It is self-contained
because Numba's on-disk cache does not notice edits in another module that a kernel calls.

Notation: T = v_j + var_i is the total variance, d = x_i - m_j is the offset, and q is the responsibility w_j N(x_i |
m_j, T) / p(x_i).

The sums over each chunk of `CHUNK` cells are written to one row of `out`, and the caller adds the rows in the order of
the chunks, so that not a single bit depends on which thread computes which chunk. Within a chunk, the work is done in
blocks of `BLOCK` cells that stay in the first-level cache.

Functions that round by a magic number must not be compiled with `reassoc`, which deletes the rounding silently;
functions that only compute sums need this flag in order to vectorise. Each function has the flags that it needs.

Helpers are always inlined. Otherwise each kernel would contain a separate copy of them, compiled in its context, and
the linker would use the first copy that it finds, so that last digits would depend on whether a kernel was just
compiled or was loaded from the cache.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

BLOCK = 256
# Blocks of `gradient_pass`, most of which are out of the reach of most candidates.
_SHORT_BLOCK = 64
CHUNK = 64 * BLOCK
# `whole_pass` adds terms of at most 2^WHOLE_BITS units, and products of two scores of at most 2^SCORE_BITS units each,
# over chunks of WHOLE_CHUNK rows, whose sums stay below 2^52 and are exact. Sums over WHOLE_ROWS rows fit into 64 bits.
WHOLE_CHUNK = 16 * BLOCK
WHOLE_BITS = 40
SCORE_BITS = 20
WHOLE_ROWS = 1 << 20
_EXACT_LIMIT = 2.0**52

# Sums per component in `em_pass`: of q, q / T, q d / T and q d^2 / T^2.
N_EM = 4
# Further sums per component in `newton_pass`: of q / T^2, q d / T^2, q d^2 / T^3, q d^3 / T^3 and q d^4 / T^4.
N_NEWTON = 5
# Sums per component in `held_pass`: counts times q and q / T, and squares times q^2 / T^2.
N_HELD = 3
# Scores of a component: derivatives of the log-likelihood of a row.
N_SCORES = 3
# Kinds of passes that `_pass` makes.
_EM, _NEWTON, _HELD, _LOGPDF = range(4)

_LOG_2PI = math.log(2.0 * math.pi)
_MAGIC = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, held in the low bits
_LOG2E = 1.4426950408889634
_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10
_SQRT2 = math.sqrt(2.0)
# Outside this range the result of exp() is not a normal number.
_EXP_MIN = -708.0
_EXP_MAX = 709.0

# A component whose exponent in a cell is below that of the highest one by more than this is absent there. It would
# change no sum, but its terms would be subnormal numbers, with which arithmetic is up to a hundred times slower.
_FAINTEST = -300.0

# Numbers whose logarithm is below this are nothing next to one.
_NOTHING = -40.0

_EXACT = {"contract"}
_SUMS = {"contract", "reassoc", "nsz", "arcp"}
_MAXIMA = {"contract", "nnan", "nsz"}
# A loop in which a division by zero is an exception cannot be vectorised. Each wrapper, of which the one for C is not
# used and the one for Python not for helpers, would take as long to compile as a small function. Rewriting is for
# expressions with whole arrays, of which there are none.
_SHARED = {"error_model": "numpy", "no_cfunc_wrapper": True, "no_rewrites": True, "cache": True}
_KERNEL = {"nogil": True, **_SHARED}
_HELPER = {"forceinline": True, "no_cpython_wrapper": True, **_SHARED}


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


@njit(fastmath=_EXACT, **_HELPER)
def fast_exp(x):
    """exp(x) for -708 <= x <= 709 (clipped beyond), without branches, to about 2e-16 relative.

    x = k ln 2 + r with |r| <= ln(2) / 2, and the Taylor polynomial of degree 13 in r.
    """
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


@njit(fastmath=_EXACT, **_HELPER)
def fast_log(x):
    """Natural log of a positive normal number, without branches, to about 2e-16 (absolute near 1).

    x = 2^e m with m in [1/sqrt 2, sqrt 2), and the series of 2 artanh((m - 1) / (m + 1)).
    """
    bits = _bits(x)
    m = _from_bits((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    # The exponent is converted to a float by the same magic number, since integer to float conversion is not vectorised
    # on all processors.
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


@njit(fastmath=_EXACT, **_HELPER)
def _densities(x, var, weights, means, variances, inv_var, joint, shift, total):
    """For one block: 1/T, w_j N(x | m_j, T) sqrt(2 pi) exp(-shift), the shift, and the sum over components."""
    n = x.size
    for i in range(n):
        shift[i] = -np.inf
        total[i] = 0.0
    for j in range(means.size):
        m = means[j]
        v = variances[j]
        inv_j = inv_var[j]
        joint_j = joint[j]
        for i in range(n):
            inv = 1.0 / (v + var[i])
            d = x[i] - m
            exponent = -0.5 * (d * d * inv)
            inv_j[i] = inv
            joint_j[i] = exponent
            shift[i] = max(shift[i], exponent)
    for j in range(means.size):
        w = weights[j]
        inv_j = inv_var[j]
        joint_j = joint[j]
        for i in range(n):
            exponent = joint_j[i] - shift[i]
            f = w * math.sqrt(inv_j[i]) * fast_exp(exponent) if exponent > _FAINTEST else 0.0
            joint_j[i] = f
            total[i] += f


@njit(fastmath=_EXACT, **_HELPER)
def _logs(n, total, shift, logp):
    """For one block of n cells: ln p(x) from the shifted sum."""
    for i in range(n):
        logp[i] = shift[i] + fast_log(total[i]) - 0.5 * _LOG_2PI


@njit(fastmath=_SUMS, **_HELPER)
def _dot(a, b):
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(fastmath=_SUMS, **_HELPER)
def _em_sums(x, m, joint, inv_var, scale, out, at):
    """For one block and component: the N_EM sums from `at`; `scale` is counts / sum of the joint densities."""
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    s3 = 0.0
    for i in range(x.size):
        q = joint[i] * scale[i]
        d = (x[i] - m) * inv_var[i]
        s0 += q
        s1 += q * inv_var[i]
        s2 += q * d
        s3 += q * d * d
    for s in (s0, s1, s2, s3):
        out[at] += s
        at += 1


@njit(fastmath=_SUMS, **_HELPER)
def _newton_sums(x, m, joint, inv_var, scale, root, score, out, at):
    """For one block and component: the N_EM + N_NEWTON sums from `at`, and the scores times sqrt(counts)."""
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    s3 = 0.0
    s4 = 0.0
    s5 = 0.0
    s6 = 0.0
    s7 = 0.0
    s8 = 0.0
    for i in range(x.size):
        q = joint[i] * scale[i]
        inv = inv_var[i]
        d = (x[i] - m) * inv
        qi = q * inv
        qd = q * d
        d2 = d * d
        qd2 = q * d2
        s0 += q
        s1 += qi
        s2 += qd
        s3 += qd2
        s4 += qi * inv
        s5 += qd * inv
        s6 += qd2 * inv
        s7 += qd2 * d
        s8 += qd2 * d2
        score[0, i] = q * root[i]
        score[1, i] = qd * root[i]
        score[2, i] = 0.5 * (qd2 - qi) * root[i]
    for s in (s0, s1, s2, s3, s4, s5, s6, s7, s8):
        out[at] += s
        at += 1


@njit(fastmath=_SUMS, forceinline=True, **_SHARED)
def _outer(score, n, out):
    """Add the sums of products of all pairs of rows of `score` to the lower triangle of `out`, 2 x 2 rows at a time."""
    rows = len(score)
    for a in range(0, rows - 1, 2):
        p = score[a]
        q = score[a + 1]
        for b in range(0, a + 1, 2):
            r = score[b]
            s = score[b + 1]
            pr = 0.0
            ps = 0.0
            qr = 0.0
            qs = 0.0
            for i in range(n):
                pr += p[i] * r[i]
                ps += p[i] * s[i]
                qr += q[i] * r[i]
                qs += q[i] * s[i]
            out[a, b] += pr
            out[a, b + 1] += ps
            out[a + 1, b] += qr
            out[a + 1, b + 1] += qs
    if rows % 2 == 1:
        p = score[rows - 1]
        for b in range(rows):
            r = score[b]
            total = 0.0
            for i in range(n):
                total += p[i] * r[i]
            out[rows - 1, b] += total


def weighted_gram(columns, counts):
    """Sums over cells of counts times the products of all pairs of rows of `columns`, which has shape (n, n_cells)."""
    n, n_cells = columns.shape
    roots = np.sqrt(counts)
    out = np.zeros((n, n))
    for start in range(0, n_cells, BLOCK):
        block = columns[:, start : start + BLOCK] * roots[start : start + BLOCK]
        _outer(block, block.shape[1], out)
    return np.tril(out) + np.tril(out, -1).T


@njit(fastmath=_SUMS, **_HELPER)
def _held_sums(joint, inv_var, total, counts, squares, out, at):
    """For one block and component: the N_HELD sums from `at`."""
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    for i in range(counts.size):
        q = joint[i] / total[i]
        a = q * inv_var[i]
        s0 += counts[i] * q
        s1 += counts[i] * a
        s2 += squares[i] * a * a
    for s in (s0, s1, s2):
        out[at] += s
        at += 1


@njit(fastmath=_EXACT, **_HELPER)
def _entropies(joint, total, entropy):
    """For one block and component: subtract q ln q, which is 0 for q = 0."""
    for i in range(entropy.size):
        q = joint[i] / total[i]
        entropy[i] -= q * fast_log(max(q, 1e-300))


@njit(**_KERNEL)
def _pass(kind, x, var, counts, squares, weights, means, variances, first, last, out, outer, logp, entropy):
    """One of the passes below, which have the densities of a block in common: these take longest to compile.

    Arrays that are of no use to a kind of pass are empty.
    """
    n_components = means.size
    n_sums = N_EM + N_NEWTON
    inv_var = np.empty((n_components, BLOCK))
    joint = np.empty((n_components, BLOCK))
    score = np.empty((3 * n_components, BLOCK))
    shift = np.empty(BLOCK)
    total = np.empty(BLOCK)
    work = np.empty(BLOCK)
    root = np.empty(BLOCK)
    for chunk in range(first, last):
        row = out[chunk]
        square = outer[chunk]
        for k in range(row.size):
            row[k] = 0.0
        for a in range(len(square)):
            for b in range(len(square)):
                square[a, b] = 0.0
        end = min((chunk + 1) * CHUNK, x.size)
        for start in range(chunk * CHUNK, end, BLOCK):
            stop = min(start + BLOCK, end)
            xs = x[start:stop]
            cs = counts[start:stop]
            n = xs.size
            _densities(xs, var[start:stop], weights, means, variances, inv_var, joint, shift, total)
            if kind == _HELD:
                ss = squares[start:stop]
                for j in range(n_components):
                    _held_sums(joint[j], inv_var[j], total, cs, ss, row, N_HELD * j)
                continue
            _logs(n, total, shift, work)
            if kind == _LOGPDF:
                logs = logp[start:stop]
                mixed = entropy[start:stop]
                for i in range(n):
                    logs[i] = work[i]
                    mixed[i] = 0.0
                for j in range(n_components):
                    _entropies(joint[j], total, mixed)
                continue
            row[0] += _dot(cs, work)
            for i in range(n):
                work[i] = cs[i] / total[i]
            if kind == _EM:
                for j in range(n_components):
                    _em_sums(xs, means[j], joint[j], inv_var[j], work, row, 1 + N_EM * j)
                continue
            for i in range(n):
                # The scores carry counts * q; their products need counts * q * q.
                root[i] = 1.0 / math.sqrt(cs[i]) if cs[i] > 0.0 else 0.0
            for j in range(n_components):
                scores = score[3 * j : 3 * j + 3]
                _newton_sums(xs, means[j], joint[j], inv_var[j], work, root, scores, row, 1 + n_sums * j)
            _outer(score, n, square)


def em_pass(x, var, counts, weights, means, variances, first, last, out):
    """Log-likelihood and the sums of an EM step, for the chunks `first` to `last` - 1.

    Parameters
    ----------
    x, var, counts : ndarray, shape (n_cells,)
    weights, means, variances : ndarray, shape (n_components,)
    first, last : int
        Range of chunks.
    out : ndarray, shape (n_chunks, 1 + N_EM * n_components)
        The row of each chunk is overwritten by loglik and the N_EM sums of each component.
    """
    none, outer = np.empty(0), np.empty((last, 0, 0))
    _pass(_EM, x, var, counts, none, weights, means, variances, first, last, out, outer, none, none)


def newton_pass(x, var, counts, weights, means, variances, first, last, out, outer):
    """Log-likelihood, sums of an EM step, and sums for the Hessian, for the chunks `first` to `last` - 1.

    Parameters
    ----------
    x, var, counts, weights, means, variances, first, last
        As in `em_pass`.
    out : ndarray, shape (n_chunks, 1 + (N_EM + N_NEWTON) * n_components)
        The row of each chunk is overwritten by loglik and the sums of each component.
    outer : ndarray, shape (n_chunks, 3 * n_components, 3 * n_components)
        Overwritten, in 2 x 2 tiles on and below the diagonal, by sums of products of the scores q (1, d / T, (d^2 / T^2
        - 1 / T) / 2), in the order of the components.
    """
    none = np.empty(0)
    _pass(_NEWTON, x, var, counts, none, weights, means, variances, first, last, out, outer, none, none)


def held_pass(x, var, counts, squares, weights, means, variances, first, last, out):
    """Sums over the rows that each component rests on, for the chunks `first` to `last` - 1.

    Parameters
    ----------
    x, var, counts, weights, means, variances, first, last
        As in `em_pass`.
    squares : ndarray, shape (n_cells,)
        Squared weights of the rows, summed over the rows of each cell.
    out : ndarray, shape (n_chunks, N_HELD * n_components)
        The row of each chunk is overwritten by the N_HELD sums of each component.
    """
    none, outer = np.empty(0), np.empty((last, 0, 0))
    _pass(_HELD, x, var, counts, squares, weights, means, variances, first, last, out, outer, none, none)


def logpdf_pass(x, var, weights, means, variances, first, last, logp, entropy):
    """ln p(x) of each cell and the entropy -sum_j q_j ln q_j of its responsibilities, chunks `first` to `last` - 1."""
    none, out, outer = np.empty(0), np.empty((last, 0)), np.empty((last, 0, 0))
    _pass(_LOGPDF, x, var, none, none, weights, means, variances, first, last, out, outer, logp, entropy)


@njit(fastmath=_EXACT, **_HELPER)
def _scaled_block(x, err, counts, centre, per_scale, xs, var, cs):
    """One block of rows in scaled units, padded with rows of zero counts."""
    n = x.size
    for i in range(n):
        xs[i] = (x[i] - centre) * per_scale
        e = err[i] * per_scale
        var[i] = e * e
    if counts.size == 1:
        cs[:n] = counts[0]
    else:
        cs[:n] = counts
    xs[n:] = 0.0
    var[n:] = 1.0
    cs[n:] = 0.0


@njit(fastmath=_EXACT, **_HELPER)
def _round_logs(logp, counts, magic, out):
    """For one block: counts times ln p, rounded."""
    for i in range(logp.size):
        out[i] = (counts[i] * logp[i] + magic) - magic


@njit(fastmath=_EXACT, **_HELPER)
def _round_terms(x, m, joint, inv_var, scale, root, magic, score_magic, terms, score):
    """For one block and component: the terms of `_newton_sums`, rounded to the units that the magic numbers imply."""
    for i in range(x.size):
        q = joint[i] * scale[i]
        inv = inv_var[i]
        d = (x[i] - m) * inv
        qi = q * inv
        qd = q * d
        d2 = d * d
        qd2 = q * d2
        terms[0, i] = (q + magic[0]) - magic[0]
        terms[1, i] = (qi + magic[1]) - magic[1]
        terms[2, i] = (qd + magic[2]) - magic[2]
        terms[3, i] = (qd2 + magic[3]) - magic[3]
        terms[4, i] = (qi * inv + magic[4]) - magic[4]
        terms[5, i] = (qd * inv + magic[5]) - magic[5]
        terms[6, i] = (qd2 * inv + magic[6]) - magic[6]
        terms[7, i] = (qd2 * d + magic[7]) - magic[7]
        terms[8, i] = (qd2 * d2 + magic[8]) - magic[8]
        score[0, i] = (q * root[i] + score_magic[0]) - score_magic[0]
        score[1, i] = (qd * root[i] + score_magic[1]) - score_magic[1]
        score[2, i] = (0.5 * (qd2 - qi) * root[i] + score_magic[2]) - score_magic[2]


@njit(fastmath=_SUMS, **_HELPER)
def _sum(a):
    total = 0.0
    for i in range(a.size):
        total += a[i]
    return total


@njit(**_HELPER)
def _collect(sums, units, out, exceeds):
    """Add sums as integer multiples of their units, and note which of them are too large to be exact."""
    for k in range(sums.size):
        whole = sums[k] / units[k]
        if not abs(whole) < _EXACT_LIMIT:
            exceeds[k] = True
        else:
            out[k] += np.int64(whole)


@njit(**_KERNEL)
def whole_pass(
    x, err, counts, centre, per_scale, weights, means, variances, units, score_units, out, outer, exceeds, outer_exceeds
):
    """The sums of `newton_pass` over rows, as integers, which do not depend on the order of the rows.

    Each term is rounded to a multiple of a unit, and only so many terms are added as doubles that the sums are exact.

    Parameters
    ----------
    x, err : ndarray, shape (n_data,)
        In the unit of the data; at most `WHOLE_ROWS` rows.
    counts : ndarray, shape (n_data,) or (1,)
    centre, per_scale : float
        Shift, and the inverse of the scale, which is a power of two.
    weights, means, variances : ndarray, shape (n_components,)
        In scaled units.
    units : ndarray, shape (1 + (N_EM + N_NEWTON) * n_components,)
        Powers of two: 2^-WHOLE_BITS times a bound on the terms of ln p and of each of the sums.
    score_units : ndarray, shape (3 * n_components,)
        Powers of two: 2^-SCORE_BITS times a bound on the scores.
    out : ndarray of int64, as `units`
        The sums in these units are added to it.
    outer : ndarray of int64, shape (3 * n_components, 3 * n_components)
        The sums of products of the scores, in the products of their units, are added to it on and below the diagonal.
    exceeds, outer_exceeds : ndarray of bool, as `out` and `outer`
        Set to True for sums that were too large for their units, and are invalid.
    """
    n_components = means.size
    n_sums = N_EM + N_NEWTON
    inv_var = np.empty((n_components, BLOCK))
    joint = np.empty((n_components, BLOCK))
    score = np.empty((3 * n_components, BLOCK))
    terms = np.empty((n_sums, BLOCK))
    xs = np.empty(BLOCK)
    var = np.empty(BLOCK)
    cs = np.empty(BLOCK)
    shift = np.empty(BLOCK)
    total = np.empty(BLOCK)
    work = np.empty(BLOCK)
    root = np.empty(BLOCK)
    sums = np.empty(1 + n_sums * n_components)
    square = np.empty((3 * n_components, 3 * n_components))
    products = score_units.reshape(-1, 1) * score_units
    magic = _MAGIC * units
    score_magic = _MAGIC * score_units
    for first in range(0, x.size, WHOLE_CHUNK):
        sums[:] = 0.0
        square[:] = 0.0
        last = min(first + WHOLE_CHUNK, x.size)
        for start in range(first, last, BLOCK):
            stop = min(start + BLOCK, last)
            _scaled_block(
                x[start:stop],
                err[start:stop],
                counts if counts.size == 1 else counts[start:stop],
                centre,
                per_scale,
                xs,
                var,
                cs,
            )
            _densities(xs, var, weights, means, variances, inv_var, joint, shift, total)
            _logs(BLOCK, total, shift, work)
            _round_logs(work, cs, magic[0], shift)
            sums[0] += _sum(shift)
            for i in range(BLOCK):
                work[i] = cs[i] / total[i]
                root[i] = 1.0 / math.sqrt(cs[i]) if cs[i] > 0.0 else 0.0
            for j in range(n_components):
                begin = 1 + n_sums * j
                _round_terms(
                    xs,
                    means[j],
                    joint[j],
                    inv_var[j],
                    work,
                    root,
                    magic[begin : begin + n_sums],
                    score_magic[3 * j : 3 * j + 3],
                    terms,
                    score[3 * j : 3 * j + 3],
                )
                for k in range(n_sums):
                    sums[begin + k] += _sum(terms[k])
            _outer(score, BLOCK, square)
        _collect(sums, units, out, exceeds)
        _collect(square.ravel(), products.ravel(), outer.ravel(), outer_exceeds.ravel())


@njit(fastmath=_MAXIMA, **_HELPER)
def _largest(x, m, joint, inv_var, total, offset, rounding, out):
    """For one block and component: the largest of each term of `newton_pass`, and of each score, of rows near a point.

    Rows lie around their point, and their distance from a mean may be smaller than the rounding of doubles.
    """
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    s3 = 0.0
    s4 = 0.0
    s5 = 0.0
    s6 = 0.0
    s7 = 0.0
    s8 = 0.0
    s9 = 0.0
    for i in range(x.size):
        q = joint[i] / total[i]
        inv = inv_var[i]
        d = (abs(x[i] - m) + rounding * (offset + abs(x[i]))) * inv + 0.5 * math.sqrt(inv)
        qi = q * inv
        qd = q * d
        qd2 = qd * d
        s0 = max(s0, q)
        s1 = max(s1, qi)
        s2 = max(s2, qd)
        s3 = max(s3, qd2)
        s4 = max(s4, qi * inv)
        s5 = max(s5, qd * inv)
        s6 = max(s6, qd2 * inv)
        s7 = max(s7, qd2 * d)
        s8 = max(s8, qd2 * d * d)
        s9 = max(s9, 0.5 * (qd2 + qi))
    for k, largest in enumerate((s0, s1, s2, s3, s4, s5, s6, s7, s8, s0, s2, s9)):
        out[k] = max(out[k], largest)


@njit(**_KERNEL)
def largest_pass(x, var, weights, means, variances, offset, rounding, out):
    """The largest |ln p(x)|, terms of the sums of `newton_pass` and scores among the rows that points stand for.

    Parameters
    ----------
    x, var, weights, means, variances
        As in `em_pass`.
    offset, rounding : float
        A value is uncertain by `rounding` times the sum of `offset` and its size.
    out : ndarray, shape (1 + (N_EM + N_NEWTON + N_SCORES) * n_components,)
        Overwritten.
    """
    n_components = means.size
    n_largest = N_EM + N_NEWTON + N_SCORES
    inv_var = np.empty((n_components, BLOCK))
    joint = np.empty((n_components, BLOCK))
    shift = np.empty(BLOCK)
    total = np.empty(BLOCK)
    work = np.empty(BLOCK)
    out[:] = 0.0
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        n = stop - start
        xs = x[start:stop]
        _densities(xs, var[start:stop], weights, means, variances, inv_var, joint, shift, total)
        _logs(n, total, shift, work)
        for i in range(n):
            out[0] = max(out[0], abs(work[i]))
        for j in range(n_components):
            row = out[1 + n_largest * j : 1 + n_largest * (j + 1)]
            _largest(xs, means[j], joint[j], inv_var[j], total, offset, rounding, row)


@njit(fastmath=_EXACT, **_HELPER)
def _ratio_scales(var, logp, variance, inv_var, log_scale):
    """For one block: 1/T and ln(1 / (sqrt(2 pi T) p)) for candidates of equal variance."""
    for i in range(var.size):
        inv = 1.0 / (variance + var[i])
        inv_var[i] = inv
        log_scale[i] = 0.5 * (fast_log(inv) - _LOG_2PI) - logp[i]


@njit(fastmath=_EXACT, **_HELPER)
def _ratios(x, mean, inv_var, log_scale, ratio):
    """For one block: N(x | mean, T) / p(x)."""
    for i in range(x.size):
        d = x[i] - mean
        # The squares of the ratios are summed; a largest exponent of 300 keeps them finite.
        ratio[i] = fast_exp(min(log_scale[i] - 0.5 * (d * d * inv_var[i]), 300.0))


@njit(fastmath=_SUMS, **_HELPER)
def _ratio_sums(ratio, counts, out):
    first = 0.0
    second = 0.0
    for i in range(counts.size):
        r = ratio[i] - 1.0
        first += counts[i] * r
        second += counts[i] * r * r
    out[0] += first
    out[1] += second


@njit(**_KERNEL)
def gradient_pass(x, var, counts, logp, means, variances, first, last, out):
    """Gradient function at the candidate components `first` to `last` - 1.

    Parameters
    ----------
    x, var, counts : ndarray, shape (n_cells,)
    logp : ndarray, shape (n_cells,)
        ln p(x) of the current mixture.
    means, variances : ndarray, shape (n_candidates,)
        Candidates; the pass is fastest if those of equal variance follow each other.
    first, last : int
        Range of candidates.
    out : ndarray, shape (n_candidates, 2)
        Overwritten by the sums over cells of counts (r - 1) and counts (r - 1)^2, where r = N(x | m, v + var) / p(x).
    """
    ratio = np.empty(_SHORT_BLOCK)
    inv_var = np.empty(_SHORT_BLOCK)
    log_scale = np.empty(_SHORT_BLOCK)
    for g in range(first, last):
        out[g, 0] = 0.0
        out[g, 1] = 0.0
    for start in range(0, x.size, _SHORT_BLOCK):
        stop = min(start + _SHORT_BLOCK, x.size)
        xs = x[start:stop]
        cs = counts[start:stop]
        n = xs.size
        low = np.inf
        high = -np.inf
        held = 0.0
        for i in range(n):
            low = min(low, xs[i])
            high = max(high, xs[i])
            held += cs[i]
        widest = 0.0
        highest = 0.0
        for g in range(first, last):
            if g == first or variances[g] != variances[g - 1]:
                _ratio_scales(var[start:stop], logp[start:stop], variances[g], inv_var, log_scale)
                widest = np.inf
                highest = -np.inf
                for i in range(n):
                    widest = min(widest, inv_var[i])
                    highest = max(highest, log_scale[i])
            gap = max(max(low - means[g], means[g] - high), 0.0)
            if highest - 0.5 * gap * gap * widest < _NOTHING:
                # The candidate does not reach these cells: each r - 1 is -1.
                out[g, 0] -= held
                out[g, 1] += held
            else:
                _ratios(xs, means[g], inv_var, log_scale, ratio)
                _ratio_sums(ratio, cs, out[g])


@njit(**_KERNEL)
def exact_variances(x, var, counts, weights, means, variances, new_means, floor, out):
    """Variances of the exact M-step, with responsibilities at the old parameters and offsets from `new_means`.

    The variance v >= `floor` of each component maximises -sum q (ln T + d^2 / T) / 2. There may be several maxima; the
    best point of a grid in ln v is bracketed by its neighbours, between which the root of the score is found by
    bisection.
    """
    n = x.size
    n_components = means.size
    n_grid = 64
    joint = np.empty((n_components, n))
    inv_var = np.empty((n_components, n))
    shift = np.empty(n)
    total = np.empty(n)
    grid = np.empty(n_grid + 2)
    _densities(x, var, weights, means, variances, inv_var, joint, shift, total)
    for j in range(n_components):
        high = floor
        smallest = np.inf
        for i in range(n):
            d = x[i] - new_means[j]
            high = max(high, d * d)
            smallest = min(smallest, var[i] + floor)
        # Below the smallest total variance the score hardly changes; if an error is zero, the floor is positive.
        lowest = max(1e-6 * smallest, floor, 1e-30 * high)
        grid[0] = floor
        for k in range(n_grid):
            grid[k + 1] = lowest * (max(high, lowest) / lowest) ** (k / (n_grid - 1.0))
        grid[n_grid + 1] = max(variances[j], floor)
        grid.sort()
        best = 0
        highest = -np.inf
        for k in range(n_grid + 2):
            value = 0.0
            for i in range(n):
                variance = grid[k] + var[i]
                d = x[i] - new_means[j]
                value -= counts[i] * joint[j, i] / total[i] * (math.log(variance) + d * d / variance)
            if value > highest:
                highest = value
                best = k
        low = grid[max(best - 1, 0)]
        high = grid[min(best + 1, n_grid + 1)]
        for _ in range(200):
            v = 0.5 * (low + high)
            score = 0.0
            for i in range(n):
                inv = 1.0 / (v + var[i])
                d = x[i] - new_means[j]
                score += counts[i] * joint[j, i] / total[i] * inv * (d * d * inv - 1.0)
            if score > 0.0:
                low = v
            else:
                high = v
            if high - low <= 1e-15 * high:
                break
        out[j] = floor if best == 0 and low == grid[0] else 0.5 * (low + high)
