"""Gaussian mixtures for tabulated densities: constrained least squares with the weights eliminated, and the search for
starts.

This module imports only math, numpy and numba, and relies on its caller to pass finite, C-contiguous float64 arrays. It
is self-contained because Numba's on-disk cache does not notice edits in another module that a kernel calls.

Notation: t_k is the grid, root_k is the square root of the width of cell k, and y_k = root_k f_k is the density, whose
integral sum_k root_k y_k is one. Component j is the vector c_jk proportional to root_k N(t_k | m_j, s_j^2) or, where
the table is a histogram, to the integral of the Gaussian over bin k divided by root_k. It is divided by its own
integral over the grid, so that the model is truncated at the ends of the grid.

The shares v_j >= 0 of the components sum to one, and the mean of the model is that of the table. The residual is
therefore r = sum_j v_j (y - c_j), and the difference of the means is one more residual, with a large weight: column j
is c_j - y, followed by the weighted difference of the means. The means of values at points are sums over the grid; that
of a histogram takes its bins as flat, and that of the model beside it is exact. For given means and sigmas the shares
are those for which the weighted sum of the columns is shortest, so that it depends only on means and sigmas (variable
projection; Golub & Pereyra 1973). A fit is an array of shape (3, n_components): shares, means, sigmas.

Functions that round by a magic number must not be compiled with `reassoc`, which deletes the rounding silently;
functions that only compute sums need this flag in order to vectorise. Each function has the flags that it needs.
"""

import math
from collections import namedtuple

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# Smallest sigma in units of the grid step at the component's mean. A component of this width that is centred on a point
# has 1 % of its height at the adjacent points. A narrower one would contribute to only a single value, which does not
# determine both weight and sigma, and between two points it would hardly contribute at all, whatever its weight.
FLOOR_STEPS = 1.0 / 3.0
# A mean may lie outside the grid by this many sigmas: the part of a Gaussian that is cut off may include its peak, but
# at least a sixth of each component lies on the grid.
BEYOND = 1.0
OK, NEGATIVE, ALL_ZERO, NOT_FINITE, TOLERANCE, MEAN = 0, 1, 2, 3, 4, 5
# The mean of the mixture has to agree with that of the table to this fraction of the table's standard deviation.
MEAN_KEPT = 1e-3
# A fit has converged when an undamped step is predicted to lower the squared error by less than this fraction, so that
# the model would change by 1 % of its residual.
CONVERGED = 1e-4

_MAGIC = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, held in the low bits
_LOG2E = 1.4426950408889634
_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10
# Outside this range the result of exp() is not a normal number.
_EXP_MIN = -708.0
_EXP_MAX = 709.0
# Exponents below this are raised to it: the Gaussian is negligible, but its square is still a normal number, since
# arithmetic with subnormal numbers is a hundred times slower.
_FAINTEST = -300.0
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)

# A column whose component outside the span of the others is smaller than this counts as linearly dependent, and columns
# whose difference is smaller than this as the same.
_DEPENDENT = 1e-9
_SAME = 1e-4
# A sum or an integral this close to one is taken as one.
_UNITY = 0.01
# A descent ends when the sum of squares is below this fraction of that of the density; the second number, for the
# thorough search, is just above what rounding leaves.
_NOTHING, _NOTHING_LEFT = 1e-20, 1e-24
# A difference of the means of one standard deviation counts as much as a residual of this many times the density. The
# means of table and mixture then agree to about 4e-5 standard deviations where the residual is a tenth of the density.
_MEAN_WEIGHT = 50.0
# A component whose share is below this is left out: it changes no probability in the sixth digit.
_NO_SHARE = 1e-6
# Where no number of components reaches the tolerance, the smallest one is taken whose largest difference exceeds the
# best one by less than this factor.
_HARDLY_WORSE = 1.25
# If the largest difference of a fit exceeds the tolerance by less than this factor, so many more starts are continued.
_NEAR_MISS = 4.0
_SECOND_CHANCES = 4
# A fit whose largest difference is between these multiples of the tolerance is taken to its minimum before it is
# compared with the tolerance: where the search stops, the difference may be wrong by a tenth and more.
_WITHIN, _OUTSIDE = 0.5, 1.5
# Where a fit leaves more than this fraction of the squared density, the table is noisy, and the sum of squares has many
# minima. If the cumulative distributions, whose sum of squares has few minima, can be brought nearer than this multiple
# of the tolerance with one component fewer, this many starts over the whole table look for a fit that is close enough,
# with these sigmas in units of the table's standard deviation. A single component has hardly more than one minimum. A
# descent goes on only if it comes near; the last number is the tolerance until then.
_NOISY = 0.01
_CAN_BE_NEAR = 1.3
_SPREAD_STARTS, _SPREAD_STARTS_OF_ONE = 192, 8
_SPREAD_SIGMAS = (0.05, 1.5)
_ROUGHLY = 1e-2
# Components are added only while the sum of squares exceeds this fraction of that of the density. The root mean square
# of the residual is then 1e-5 of that of the density.
_DESCRIBED = 1e-10
# The two levels of effort of a search: the number of fits kept of each size, of insertions tried for each, and of times
# going up; the number of evaluations from each start, from the best starts, and in the last descent; and the tolerance
# of the last descent.
_QUICK = (1, 2, 1, 4, 100, 1)
_THOROUGH = (4, 8, 4, 8, 40, 500)
_QUICK_END, _THOROUGH_END = CONVERGED, 1e-10
# Longest step of a descent, in units of sigma for the means, and in ln sigma.
_LONGEST = 1.5
_LARGEST_DAMPING = 1e10

_EXACT = {"contract"}

# A table on its grid.
#
# t, root, steps, y : arrays of shape (n_grid,): grid, or centres of the bins; square roots of the widths of the cells;
#     grid steps for `lowest_sigma`; root times the density.
# edges : array of shape (n_grid + 1,) with the edges of a histogram, or (0,) for values at points.
# lever : array of shape (n_grid,), whose product with a component is the weighted difference of its mean from that of
#     the table; used for values at points.
# pull : array of shape (2,) with the weight of a difference of the means, and the mean of the table.
# cumulative : whether the residuals are those of the cumulative distributions.
Table = namedtuple("Table", "t edges root steps y lever pull cumulative", defaults=(False,))
_SUMS = {"contract", "reassoc", "nsz", "arcp"}


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


@njit(fastmath=_EXACT, inline="always", cache=True)
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


@njit(fastmath=_SUMS, forceinline=True, cache=True)
def _dot(a, b):
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@njit(fastmath=_SUMS, forceinline=True, cache=True)
def _add(a, factor, out):
    for k in range(a.size):
        out[k] += factor * a[k]


@njit(fastmath=_EXACT, forceinline=True, cache=True)
def _points(t, root, mean, sigma, out):
    """root N(t | mean, sigma^2)."""
    inv = 1.0 / sigma
    height = _INV_SQRT_2PI * inv
    for k in range(t.size):
        z = (t[k] - mean) * inv
        out[k] = height * root[k] * fast_exp(max(-0.5 * (z * z), _FAINTEST))


@njit(cache=True)
def _bins(edges, root, mean, sigma, out):
    """Integrals of N(mean, sigma^2) between the edges, as differences in the nearer tail, divided by root."""
    inv = math.sqrt(0.5) / sigma
    z_low = (edges[0] - mean) * inv
    tail_low = 0.5 * math.erfc(abs(z_low))
    for k in range(root.size):
        z_high = (edges[k + 1] - mean) * inv
        tail_high = 0.5 * math.erfc(abs(z_high))
        if z_low >= 0.0:
            inside = tail_low - tail_high
        elif z_high <= 0.0:
            inside = tail_high - tail_low
        else:
            inside = 1.0 - tail_low - tail_high
        out[k] = inside / root[k]
        z_low, tail_low = z_high, tail_high


@njit(cache=True)
def _mean_of_bins(edges, mean, sigma):
    """Mean of a Gaussian that is truncated at the first and the last edge, and its derivatives with respect to mean in
    units of sigma, and to ln sigma.
    """
    low, high = (edges[0] - mean) / sigma, (edges[-1] - mean) / sigma
    inside = 0.5 * (math.erfc(low * math.sqrt(0.5)) - math.erfc(high * math.sqrt(0.5)))
    bell_low = _INV_SQRT_2PI * fast_exp(-0.5 * (low * low)) / inside
    bell_high = _INV_SQRT_2PI * fast_exp(-0.5 * (high * high)) / inside
    shift = bell_low - bell_high
    by_mean = 1.0 + low * bell_low - high * bell_high - shift * shift
    by_sigma = shift + low * low * bell_low - high * high * bell_high - shift * (low * bell_low - high * bell_high)
    return mean + sigma * shift, sigma * by_mean, sigma * by_sigma


@njit(cache=True)
def _component(table, mean, sigma, out):
    """A component before it is divided by its integral over the grid, which is returned."""
    if table.edges.size > 0:
        _bins(table.edges, table.root, mean, sigma, out)
    else:
        _points(table.t, table.root, mean, sigma, out)
    return _dot(table.root, out)


@njit(cache=True)
def _view(table, cumulative):
    """The same table with residuals of the densities or of the cumulative distributions."""
    return Table(table.t, table.edges, table.root, table.steps, table.y, table.lever, table.pull, cumulative)


@njit(cache=True)
def _cumulate(root, part):
    """Replace densities times `root` by cumulative distributions times `root`."""
    total = 0.0
    for k in range(part.size):
        total += root[k] * part[k]
        part[k] = root[k] * total


@njit(cache=True)
def _column(table, mean, sigma, out):
    """A column: the component minus the table, and the weighted difference of their means."""
    n = table.t.size
    part = out[:n]
    inv = 1.0 / _component(table, mean, sigma, part)
    y = table.y
    for k in range(n):
        part[k] = part[k] * inv - y[k]
    if table.edges.size > 0:
        out[n] = table.pull[0] * (_mean_of_bins(table.edges, mean, sigma)[0] - table.pull[1])
    else:
        out[n] = _dot(table.lever, part)
    if table.cumulative:
        _cumulate(table.root, part)


@njit(fastmath=_SUMS, forceinline=True, cache=True)
def _slope_of_points(t, y, mean, sigma, column, of_sigma, out):
    inv = 1.0 / sigma
    if of_sigma:
        for k in range(t.size):
            z = (t[k] - mean) * inv
            out[k] = (column[k] + y[k]) * (z * z)
    else:
        for k in range(t.size):
            out[k] = (column[k] + y[k]) * ((t[k] - mean) * inv)


@njit(cache=True)
def _slope_of_bins(edges, root, mean, sigma, of_sigma, out):
    inv = 1.0 / sigma
    z = (edges[0] - mean) * inv
    first = math.erfc(z * math.sqrt(0.5))
    low = fast_exp(-0.5 * (z * z)) * (z if of_sigma else 1.0)
    for k in range(root.size):
        z = (edges[k + 1] - mean) * inv
        high = fast_exp(-0.5 * (z * z)) * (z if of_sigma else 1.0)
        out[k] = (low - high) / root[k]
        low = high
    scale = _INV_SQRT_2PI / (0.5 * (first - math.erfc(z * math.sqrt(0.5))))
    for k in range(root.size):
        out[k] *= scale


@njit(cache=True)
def _slope(table, mean, sigma, column, of_sigma, out):
    """Derivative of a column with respect to its mean in units of sigma, or to ln sigma."""
    n = table.t.size
    part = out[:n]
    if table.cumulative:
        column = np.empty(n + 1)
        _column(_view(table, False), mean, sigma, column)
    if table.edges.size > 0:
        _slope_of_bins(table.edges, table.root, mean, sigma, of_sigma, part)
    else:
        _slope_of_points(table.t, table.y, mean, sigma, column, of_sigma, part)
    # The integral stays one.
    total = _dot(table.root, part)
    _add(column[:n], -total, part)
    _add(table.y, -total, part)
    if table.edges.size > 0:
        _, by_mean, by_sigma = _mean_of_bins(table.edges, mean, sigma)
        out[n] = table.pull[0] * (by_sigma if of_sigma else by_mean)
    else:
        out[n] = _dot(table.lever, part)
    if table.cumulative:
        _cumulate(table.root, part)


# Loops are used because assignments to slices take long to compile.
@njit(cache=True)
def _copy(a, out):
    for k in range(a.size):
        out[k] = a[k]


@njit(cache=True)
def _copy_fit(fit, out):
    """Copy a fit into the first columns of `out`."""
    for row in range(3):
        for j in range(fit.shape[1]):
            out[row, j] = fit[row, j]


@njit(cache=True)
def _basis(columns, active, basis, upper):
    """Orthonormal basis, by the Gram-Schmidt process, of the differences of the active columns from the first of them,
    which are upper^T basis. Row and column 0 of both are not used.

    Returns the index of the first column that depends linearly on those before it, or -1.
    """
    first = columns[active[0]]
    for a in range(1, active.size):
        vector = basis[a]
        _copy(columns[active[a]], vector)
        size = math.sqrt(_dot(vector, vector))
        _add(first, -1.0, vector)
        before = math.sqrt(_dot(vector, vector))
        whole = max(before, _SAME * size)
        for b in range(1, a):
            upper[b, a] = 0.0
        # Repeat the projection if the previous one has cancelled digits.
        after = before
        for _ in range(3):
            for b in range(1, a):
                part = _dot(basis[b], vector)
                upper[b, a] += part
                _add(basis[b], -part, vector)
            after = math.sqrt(_dot(vector, vector))
            if after > 0.5 * before:
                break
            before = after
        if after <= _DEPENDENT * whole:
            return a
        upper[a, a] = after
        scale = 1.0 / after
        for k in range(vector.size):
            vector[k] *= scale
    return -1


@njit(cache=True)
def project(columns, weights, active, basis, upper, residual):
    """Weights >= 0 that sum to one and minimise the length of the weighted sum of the columns (Wolfe 1976), starting
    with all columns active.

    Parameters
    ----------
    columns : ndarray, shape (n_components, n)
    weights, active, basis, upper, residual : ndarray
        Overwritten by the weights; the columns with a positive weight, the shortest one first; an orthonormal basis of
        the differences from this one and its upper triangular factor, see `_basis`; and minus the weighted sum.

    Returns
    -------
    n_active : int
    square : float
        Squared length of the sum.
    """
    size = weights.size
    free = np.empty(size, dtype=np.bool_)
    barred = np.empty(size, dtype=np.bool_)
    lengths = np.empty(size)
    solution = np.empty(size)
    for j in range(size):
        free[j] = True
        barred[j] = False
        weights[j] = 0.0
        lengths[j] = math.sqrt(_dot(columns[j], columns[j]))
    n_active = 0
    added = -1
    feasible = False
    for _ in range(10 * size):
        n_active = 0
        shortest = 0
        for j in range(size):
            if free[j]:
                active[n_active] = j
                if lengths[j] < lengths[active[shortest]]:
                    shortest = n_active
                n_active += 1
        active[0], active[shortest] = active[shortest], active[0]
        dependent = _basis(columns, active[:n_active], basis, upper)
        if dependent >= 0:
            j = active[dependent]
            free[j] = False
            barred[j] = True
            if weights[j] > 0.0:
                # The shares of the others are found anew.
                weights[:] = 0.0
                feasible = False
            continue
        for k in range(residual.size):
            residual[k] = -columns[active[0], k]
        for a in range(1, n_active):
            part = _dot(basis[a], residual)
            solution[a] = part
            _add(basis[a], -part, residual)
        solution[0] = 1.0
        for a in range(n_active - 1, 0, -1):
            for b in range(a + 1, n_active):
                solution[a] -= upper[a, b] * solution[b]
            solution[a] /= upper[a, a]
            solution[0] -= solution[a]
        # Step towards the solution only as far as all weights stay positive; before there are any, drop what is not.
        step = 1.0
        if feasible:
            for a in range(n_active):
                if solution[a] <= 0.0:
                    held = weights[active[a]]
                    step = min(step, held / (held - solution[a]) if held > 0.0 else 0.0)
        dropped = False
        for a in range(n_active):
            j = active[a]
            held = weights[j]
            if solution[a] <= 0.0 and held <= step * (1.0 + 1e-12) * (held - solution[a]):
                weights[j] = 0.0
                free[j] = False
                dropped = True
                # The slope of the added column was positive only by rounding.
                barred[j] = barred[j] or j == added
            elif feasible:
                weights[j] += step * (solution[a] - held)
        if dropped:
            continue
        if not feasible:
            feasible = True
            for a in range(n_active):
                weights[active[a]] = solution[a]
        # A column that was dropped is added again if it shortens the sum.
        square = _dot(residual, residual)
        best = -1
        steepest = 0.0
        for j in range(size):
            if not free[j] and not barred[j]:
                slope = square + _dot(columns[j], residual)
                if slope > steepest and slope > 1e-12 * lengths[j] * math.sqrt(square):
                    steepest = slope
                    best = j
        if best < 0:
            break
        free[best] = True
        added = best
    return n_active, _dot(residual, residual)


@njit(cache=True)
def evaluate(table, fit, active, work, upper):
    """Best shares for the means and sigmas of a fit; see `project` for the arrays that are overwritten and the
    results.

    `work`, whose rows have n_grid + 1 elements, contains the columns in its first n_components rows, then the basis,
    then two rows of the Jacobian for each component, and finally the residual.
    """
    size = fit.shape[1]
    for j in range(size):
        _column(table, fit[1, j], fit[2, j], work[j])
    return project(work[:size], fit[0], active, work[size : 2 * size], upper, work[4 * size])


@njit(cache=True)
def jacobian(table, fit, active, n_active, work, upper, gradient):
    """Derivatives of the residual with respect to means in units of sigma, and ln sigma (Golub & Pereyra 1973, eq.
    4.8).

    Must be called after `evaluate`. With the projector P onto the complement of the span of the differences of the
    columns, dr = -v_j P dc_j - (dc_j . r) b_j, where b_j is row j of the pseudo-inverse of these differences; for the
    first active column, whose share is one minus the others, it is minus the sum of the other rows. The derivatives are
    zero for components without weight.

    Parameters
    ----------
    gradient : ndarray, shape (2 n_components,)
        Overwritten by half the derivative of the sum of squares with respect to mean and ln sigma of each component in
        turn.
    """
    size = fit.shape[1]
    basis = work[size : 2 * size]
    rows = work[2 * size : 4 * size]
    residual = work[4 * size]
    inverse = np.empty(n_active)
    for a in range(2 * size):
        gradient[a] = 0.0
        for k in range(residual.size):
            rows[a, k] = 0.0
    for a in range(n_active):
        j = active[a]
        weight = fit[0, j]
        # b_j = basis^T inverse, where upper^T inverse is unit vector a, or minus one everywhere.
        for b in range(1, n_active):
            inverse[b] = -1.0 if a == 0 else (1.0 if b == a else 0.0)
            for c in range(1, b):
                inverse[b] -= upper[c, b] * inverse[c]
            inverse[b] /= upper[b, b]
        for p in range(2):
            row = rows[2 * j + p]
            _slope(table, fit[1, j], fit[2, j], work[j], p == 1, row)
            along = _dot(row, residual)
            gradient[2 * j + p] = -weight * along
            for b in range(1, n_active):
                _add(basis[b], -_dot(basis[b], row), row)
            for k in range(row.size):
                row[k] *= -weight
            for b in range(1, n_active):
                _add(basis[b], -along * inverse[b], row)


@njit(cache=True)
def _solve(matrix, damping, scales, vector, lower, out):
    """Solve (matrix + damping diag(scales)) out = vector by Cholesky's method; False if that is not definite."""
    n = vector.size
    for i in range(n):
        rest = vector[i]
        for k in range(i + 1):
            value = matrix[i, k]
            if i == k:
                value += damping * scales[i]
            for m in range(k):
                value -= lower[i, m] * lower[k, m]
            if k < i:
                lower[i, k] = value / lower[k, k]
            else:
                if not value > 1e-15 * matrix[i, i]:
                    return False
                lower[i, i] = math.sqrt(value)
        for k in range(i):
            rest -= lower[i, k] * out[k]
        out[i] = rest / lower[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            out[i] -= lower[k, i] * out[k]
        out[i] /= lower[i, i]
    return True


@njit(cache=True)
def _interval(t, mean):
    """Index of the grid point below the mean, of the first or the last interval for a mean outside the grid."""
    k = 0
    end = t.size - 1
    while end - k > 1:
        middle = (k + end) // 2
        if t[middle] <= mean:
            k = middle
        else:
            end = middle
    return k


@njit(cache=True)
def lowest_sigma(t, steps, mean):
    """Lower bound on sigma: `FLOOR_STEPS` grid steps, interpolated to the mean."""
    k = _interval(t, mean)
    part = min(max((mean - t[k]) / (t[k + 1] - t[k]), 0.0), 1.0)
    return FLOOR_STEPS * ((1.0 - part) * steps[k] + part * steps[k + 1])


@njit(cache=True)
def _slope_of_lowest_sigma(t, steps, mean):
    """Derivative of `lowest_sigma` with respect to the mean."""
    if not t[0] < mean < t[-1]:
        return 0.0
    k = _interval(t, mean)
    return FLOOR_STEPS * (steps[k + 1] - steps[k]) / (t[k + 1] - t[k])


@njit(cache=True)
def _length(table):
    """Length of the grid, which is the largest sigma."""
    if table.edges.size > 0:
        return table.edges[-1] - table.edges[0]
    return table.t[-1] - table.t[0]


@njit(cache=True)
def _clip(table, fit, j):
    """Clip sigma to between the floor and the length of the grid, and the mean to `BEYOND` sigmas around the grid."""
    t = table.t
    fit[2, j] = min(max(fit[2, j], lowest_sigma(t, table.steps, fit[1, j])), _length(table))
    reach = BEYOND * fit[2, j]
    fit[1, j] = min(max(fit[1, j], t[0] - reach), t[-1] + reach)


@njit(cache=True)
def _normal_equations(table, fit, rows, gradient, matrix, scales, removed, follows):
    """Products of the rows of the Jacobian, and those of each row with itself without the difference of the means,
    whose weight is not a reason for short steps.

    A variable that would cross a bound at which it is, is removed. If the bound depends on the other variable of the
    component, the removed one follows it along the bound: `follows` is overwritten by the derivatives of the removed
    variables with respect to the others, and the rows and the gradient of the others include them.
    """
    t, longest = table.t, _length(table)
    n = gradient.size
    for a in range(n):
        j = a // 2
        mean, sigma = fit[1, j], fit[2, j]
        removed[a] = False
        follows[a] = 0.0
        if a % 2 == 0:
            reach = BEYOND * sigma * (1.0 - 1e-12)
            if mean <= t[0] - reach and gradient[a] > 0.0:
                removed[a], follows[a] = True, -BEYOND
            elif mean >= t[-1] + reach and gradient[a] < 0.0:
                removed[a], follows[a] = True, BEYOND
        elif sigma <= lowest_sigma(t, table.steps, mean) * (1.0 + 1e-12) and gradient[a] > 0.0:
            removed[a], follows[a] = True, _slope_of_lowest_sigma(t, table.steps, mean)
        elif sigma >= longest and gradient[a] < 0.0:
            removed[a] = True
    for a in range(n):
        other = a ^ 1
        if follows[a] != 0.0:
            if removed[other]:
                follows[a] = 0.0
            else:
                _add(rows[a], follows[a], rows[other])
                gradient[other] += follows[a] * gradient[a]
    for a in range(n):
        for b in range(a + 1):
            matrix[a, b] = _dot(rows[a], rows[b])
        scales[a] = max(matrix[a, a] - rows[a, t.size] ** 2, 1e-9 * matrix[a, a])
    for a in range(n):
        if removed[a] or not matrix[a, a] > 0.0:
            for b in range(n):
                matrix[max(a, b), min(a, b)] = 1.0 if b == a else 0.0
            scales[a] = 1.0
            gradient[a] = 0.0


@njit(cache=True)
def descend(table, fit, work, tolerance, max_steps):
    """Levenberg-Marquardt descent over means and sigmas, with the weights eliminated.

    Parameters
    ----------
    fit : ndarray, shape (3, n_components)
        Starting means and sigmas; overwritten by the fit.
    work : ndarray, shape (4 n_components + 1, n_grid + 1)
        Overwritten as in `evaluate`, with the values of the last trial, which need not be the fit.
    tolerance : float
        The descent ends when an undamped step is predicted to lower the sum of squares by less than this fraction.

    Returns
    -------
    square : float
        Sum of squared residuals.
    converged : bool
    n_steps : int
        Evaluations.
    """
    size = fit.shape[1]
    n = 2 * size
    active = np.empty(size, dtype=np.int64)
    upper = np.empty((size, size))
    gradient = np.empty(n)
    matrix = np.empty((n, n))
    lower = np.empty((n, n))
    scales = np.empty(n)
    removed = np.empty(n, dtype=np.bool_)
    follows = np.empty(n)
    step = np.empty(n)
    trial = np.empty((3, size))
    for j in range(size):
        _clip(table, fit, j)
    n_active, square = evaluate(table, fit, active, work, upper)
    nothing = (_NOTHING_LEFT if tolerance < CONVERGED else _NOTHING) * _dot(table.y, table.y)
    damping = 1e-3
    growth = 2.0
    moved = True
    promised = np.inf
    n_steps = 1
    while True:
        if moved:
            if square <= nothing:
                return square, True, n_steps
            jacobian(table, fit, active, n_active, work, upper, gradient)
            _normal_equations(table, fit, work[2 * size : 4 * size], gradient, matrix, scales, removed, follows)
            promised = np.inf
            if _solve(matrix, 1e-12, scales, gradient, lower, step):
                promised = _dot(step, gradient)
            if promised <= tolerance * square:
                return square, True, n_steps
        if n_steps >= max_steps or damping > _LARGEST_DAMPING:
            return square, promised <= CONVERGED * square, n_steps
        if not _solve(matrix, damping, scales, gradient, lower, step):
            damping *= 10.0
            moved = False
            continue
        longest = 0.0
        for a in range(n):
            longest = max(longest, abs(step[a]))
        shorten = min(1.0, _LONGEST / longest) if longest > 0.0 else 1.0
        expected = 0.0
        for a in range(n):
            step[a] *= shorten
            expected += step[a] * ((2.0 - shorten) * gradient[a] + damping * scales[a] * step[a])
        for j in range(size):
            trial[1, j] = fit[1, j] - step[2 * j] * fit[2, j]
            trial[2, j] = fit[2, j] * math.exp(-step[2 * j + 1])
            # A variable that follows a bound stays on it.
            if follows[2 * j] != 0.0:
                end = table.t[0] if follows[2 * j] < 0.0 else table.t[-1]
                trial[1, j] = end + follows[2 * j] * trial[2, j]
            elif follows[2 * j + 1] != 0.0:
                trial[2, j] = lowest_sigma(table.t, table.steps, trial[1, j])
            _clip(table, trial, j)
        n_trial, square_trial = evaluate(table, trial, active, work, upper)
        n_steps += 1
        moved = square_trial < square
        if moved:
            # The damping depends on how well the linear model predicted the decrease (Nielsen 1999).
            ratio = (square - square_trial) / max(expected, 1e-300)
            damping = max(damping * max(0.1, 1.0 - (2.0 * min(ratio, 1.0) - 1.0) ** 3), 1e-12)
            growth = 2.0
            _copy_fit(trial, fit)
            square = square_trial
            n_active = n_trial
        else:
            damping *= growth
            growth *= 2.0


@njit(cache=True)
def insertions(t, root, steps, residual, out):
    """Components that best match the residual: the peaks of (phi . r)^2 / (phi . phi) over means and sigmas.

    Parameters
    ----------
    out : ndarray, shape (n_wanted, 2)
        Overwritten by mean and sigma of each component, the best first.

    Returns
    -------
    n_found : int
    """
    n = t.size
    length = t[-1] - t[0]
    sigma = steps.min()
    n_widths = 1 + math.floor(math.log2(length / sigma))
    peaks = np.empty((n_widths * (n // 2 + 1), 3))
    n_peaks = 0
    column = np.empty(n)
    for _ in range(n_widths):
        first = last = 0
        # Gains at the last two points; a peak is recognised when the next point is lower.
        gain_before = gain = -1.0
        place = -1
        k = 0
        while k <= n:
            gain_next = -1.0
            # A useful component has its mean where the residual is positive.
            if k < n and residual[k] > 0.0 and sigma >= FLOOR_STEPS * steps[k]:
                while t[first] < t[k] - 3.0 * sigma:
                    first += 1
                while last < n and t[last] <= t[k] + 3.0 * sigma:
                    last += 1
                part = column[: last - first]
                _points(t[first:last], root[first:last], t[k], sigma, part)
                match = _dot(part, residual[first:last])
                gain_next = match * match / _dot(part, part) if match > 0.0 else 0.0
            if gain > 0.0 and gain > gain_before and gain >= gain_next:
                peaks[n_peaks, 0] = gain
                peaks[n_peaks, 1] = t[place]
                peaks[n_peaks, 2] = sigma
                n_peaks += 1
            gain_before, gain, place = gain, gain_next, k
            if k >= n:
                break
            target = t[k] + 0.5 * sigma
            k += 1
            while k < n and t[k] < target:
                k += 1
        sigma *= 2.0
    n_found = 0
    while n_found < out.shape[0]:
        best = -1
        for p in range(n_peaks):
            if peaks[p, 0] > 0.0 and (best < 0 or peaks[p, 0] > peaks[best, 0]):
                best = p
        if best < 0:
            break
        mean, sigma = peaks[best, 1], peaks[best, 2]
        out[n_found, 0] = mean
        out[n_found, 1] = sigma
        n_found += 1
        # The same peak at half, the same or twice the width is a single candidate.
        for p in range(n_peaks):
            if abs(peaks[p, 1] - mean) < max(sigma, peaks[p, 2]) and 0.4 < peaks[p, 2] / sigma < 2.5:
                peaks[p, 0] = 0.0
    return n_found


@njit(cache=True)
def _starts_above(table, fit, work, n_insertions, starts):
    """Starts with one more component, from insertions and from components split in two; returns their number."""
    n_starts = 0
    size = fit.shape[1]
    n = table.t.size
    if size == 0:
        residual = table.y
    else:
        evaluate(table, fit, np.empty(size, dtype=np.int64), work, np.empty((size, size)))
        residual = work[4 * size][:n]
    found = np.empty((n_insertions, 2))
    for i in range(insertions(table.t, table.root, table.steps, residual, found)):
        start = starts[n_starts]
        _copy_fit(fit, start)
        start[1, size] = found[i, 0]
        start[2, size] = found[i, 1]
        n_starts += 1
    for j in range(size):
        mean, sigma = fit[1, j], fit[2, j]
        for offset, first, second in ((0.8, 0.6, 0.6), (0.0, 0.5, 1.4), (0.5, 0.5, 1.0), (-0.5, 0.5, 1.0)):
            start = starts[n_starts]
            _copy_fit(fit, start)
            start[1, j] = mean - offset * sigma
            start[2, j] = first * sigma
            start[1, size] = mean + (offset if first == second else 0.0) * sigma
            start[2, size] = second * sigma
            n_starts += 1
    return n_starts


@njit(cache=True)
def _starts_below(fit, starts):
    """Starts with one component fewer, each removed in turn; returns their number."""
    size = fit.shape[1]
    for j in range(size):
        start = starts[j]
        for i in range(size - 1):
            start[1, i] = fit[1, i + (i >= j)]
            start[2, i] = fit[2, i + (i >= j)]
    return size


@njit(cache=True)
def _lowest(values):
    best = 0
    for i in range(values.size):
        if values[i] < values[best]:
            best = i
    return best


@njit(cache=True)
def _race(table, starts, work, laps, max_steps, fits, squares, reached):
    """Take a few steps from each start and continue with the best; better fits than those known of that size replace
    them.

    `fits`, of shape (n_kept, 3, n_components), and `squares` are sorted and contain only distinct fits. `reached` is
    overwritten by the sum of squares of each start after these steps, infinite for those that were continued.

    Returns the number of evaluations.
    """
    n_starts = len(starts)
    n_kept = squares.size
    n_total = 0
    for i in range(n_starts):
        reached[i], _, n_steps = descend(table, starts[i], work, CONVERGED, laps)
        n_total += n_steps
    for _ in range(min(n_starts, n_kept)):
        best = _lowest(reached)
        reached[best] = np.inf
        start = starts[best]
        square, _, n_steps = descend(table, start, work, CONVERGED, max_steps)
        n_total += n_steps
        place = n_kept
        while place > 0 and square < squares[place - 1] * (1.0 - 1e-6):
            place -= 1
        if place == n_kept or (place > 0 and square <= squares[place - 1] * (1.0 + 1e-6)):
            continue
        for p in range(n_kept - 1, place, -1):
            _copy_fit(fits[p - 1], fits[p])
            squares[p] = squares[p - 1]
        _copy_fit(start, fits[place])
        squares[place] = square
    return n_total


@njit(cache=True)
def _below(x, fit):
    """Probability of values below x of a fit that is not truncated."""
    below = 0.0
    for j in range(fit.shape[1]):
        below += 0.5 * fit[0, j] * math.erfc((fit[1, j] - x) / (math.sqrt(2.0) * fit[2, j]))
    return below


@njit(cache=True)
def largest_difference(points, cdf, fit):
    """Largest difference at the points between a cumulative distribution and that of a finished fit, which is
    truncated at the first and the last point.
    """
    low = _below(points[0], fit)
    inside = _below(points[-1], fit) - low
    largest = 0.0
    for k in range(points.size):
        largest = max(largest, abs((_below(points[k], fit) - low) / inside - cdf[k]))
    return largest


@njit(cache=True)
def _n_present(fit):
    """Number of components with a share."""
    total = 0.0
    for j in range(fit.shape[1]):
        total += fit[0, j]
    n_present = 0
    for j in range(fit.shape[1]):
        n_present += fit[0, j] > _NO_SHARE * total
    return n_present


@njit(cache=True)
def _present(fit, out):
    """Copy the components that have a share."""
    total = 0.0
    for j in range(fit.shape[1]):
        total += fit[0, j]
    a = 0
    for j in range(fit.shape[1]):
        if fit[0, j] > _NO_SHARE * total:
            for row in range(3):
                out[row, a] = fit[row, j]
            a += 1


@njit(cache=True)
def _finished(table, fit, work):
    """The components with a share, sorted by mean, with the weights that they have without the truncation.

    These weights sum to one. The truncated density is the sum of the weighted components over the integral of this sum
    between the ends of the grid.
    """
    present = np.empty((3, _n_present(fit)))
    _present(fit, present)
    total = 0.0
    for j in range(present.shape[1]):
        present[0, j] /= _component(table, present[1, j], present[2, j], work[0][: table.t.size])
        total += present[0, j]
    ordered = np.empty_like(present)
    for a in range(present.shape[1]):
        b = a
        while b > 0 and ordered[1, b - 1] > present[1, a]:
            for row in range(3):
                ordered[row, b] = ordered[row, b - 1]
            b -= 1
        ordered[0, b] = present[0, a] / total
        ordered[1, b] = present[1, a]
        ordered[2, b] = present[2, a]
    return ordered


@njit(cache=True)
def judge(table, fit, work):
    """Integrated squared error of a finished fit, and the difference of its mean from that of the table in units of
    the table's standard deviation.
    """
    n = table.t.size
    residual, column = work[0], work[1]
    total = 0.0
    for k in range(n + 1):
        residual[k] = 0.0
    for j in range(fit.shape[1]):
        share = fit[0, j] * _component(table, fit[1, j], fit[2, j], column[:n])
        _column(table, fit[1, j], fit[2, j], column)
        _add(column, share, residual)
        total += share
    for k in range(n + 1):
        residual[k] /= total
    shift = residual[n] / (_MEAN_WEIGHT * math.sqrt(_dot(table.y, table.y)))
    return _dot(residual[:n], residual[:n]), shift


@njit(cache=True)
def _kept(store, n_kept, size):
    """View of the fits with `size` components in the array of fits of all sizes."""
    first = n_kept * 3 * size * (size - 1) // 2
    return store[first : first + n_kept * 3 * size].reshape((n_kept, 3, size))


@njit(cache=True)
def _choose(differences):
    """The smallest number of components whose largest difference is close to the smallest one; `differences` begins
    with one component.
    """
    best = differences[0]
    for difference in differences:
        best = min(best, difference)
    for size in range(differences.size):
        if differences[size] <= _HARDLY_WORSE * best:
            return size + 1
    return 1


@njit(cache=True)
def _distance(table, points, cdf, enough, fit, work):
    """Largest difference between the cumulative distributions of a fit, which is taken to its minimum if this decides
    whether it is close enough.

    Returns the difference and the number of evaluations.
    """
    difference = largest_difference(points, cdf, _finished(table, fit, work))
    if not _WITHIN * enough < difference < _OUTSIDE * enough:
        return difference, 0
    _, _, n_steps = descend(table, fit, work, _THOROUGH_END, _THOROUGH[-1])
    return largest_difference(points, cdf, _finished(table, fit, work)), n_steps


@njit(cache=True)
def _closest(table, points, cdf, enough, starts, reached, work, max_steps, fit):
    """Largest difference between the cumulative distributions of the best fit of a race, or of another one that
    replaces it because it is close enough.

    The sum of squares has several minima where the table is noisy, and the lowest one may belong to a fit of the noise.
    If it just misses what is enough, the next best starts of the race are continued, too.

    Returns the difference and the number of evaluations.
    """
    difference, n_total = _distance(table, points, cdf, enough, fit, work)
    if enough <= difference < _NEAR_MISS * enough:
        for _ in range(min(_SECOND_CHANCES, reached.size)):
            best = _lowest(reached)
            if reached[best] == np.inf:
                break
            reached[best] = np.inf
            start = starts[best]
            _, _, n_steps = descend(table, start, work, CONVERGED, max_steps)
            other, made = _distance(table, points, cdf, enough, start, work)
            n_total += n_steps + made
            if other < enough:
                _copy_fit(start, fit)
                return other, n_total
    return difference, n_total


@njit(cache=True)
def _quantile(points, cdf, probability):
    """Inverse of a cumulative distribution, which is linear between the points."""
    k = 1
    while k < points.size - 1 and cdf[k] < probability:
        k += 1
    step = cdf[k] - cdf[k - 1]
    part = (probability - cdf[k - 1]) / step if step > 0.0 else 0.5
    return points[k - 1] + min(max(part, 0.0), 1.0) * (points[k] - points[k - 1])


@njit(cache=True)
def _spread(points, cdf, std, number, start):
    """Start number 1, 2, ... of a sequence that fills the space of means and sigmas evenly (Roberts 2018): means by the
    probability below them, and sigmas by their logarithms.
    """
    size = start.shape[1]
    ratio = 2.0
    for _ in range(30):
        ratio = (1.0 + ratio) ** (1.0 / (2 * size + 1))
    low, high = math.log(_SPREAD_SIGMAS[0]), math.log(_SPREAD_SIGMAS[1])
    for j in range(size):
        start[1, j] = _quantile(points, cdf, (0.5 + number * ratio ** -(2 * j + 1)) % 1.0)
        start[2, j] = std * math.exp(low + (high - low) * ((0.5 + number * ratio ** -(2 * j + 2)) % 1.0))


@njit(cache=True)
def _any_within(table, points, cdf, enough, work, max_steps, fit):
    """Look for a fit that is close enough from many starts, if there can be one; the first one overwrites `fit`.

    Returns whether there is one, and the number of evaluations.
    """
    # The first start is the least-squares fit of the cumulative distribution.
    start = fit.copy()
    _, _, n_total = descend(_view(table, True), start, work, CONVERGED, max_steps)
    if largest_difference(points, cdf, _finished(table, start, work)) > _CAN_BE_NEAR * enough:
        return False, n_total
    # The weight of a difference of the means is in units of this.
    std = _MEAN_WEIGHT * math.sqrt(_dot(table.y, table.y)) / table.pull[0]
    n_starts = _SPREAD_STARTS if fit.shape[1] > 1 else _SPREAD_STARTS_OF_ONE
    for number in range(n_starts + 1):
        if number > 0:
            _spread(points, cdf, std, number, start)
        for tolerance in (_ROUGHLY, CONVERGED):
            _, _, n_steps = descend(table, start, work, tolerance, max_steps)
            difference, made = _distance(table, points, cdf, enough, start, work)
            n_total += n_steps + made
            if difference < enough:
                _copy_fit(start, fit)
                return True, n_total
            if difference > _OUTSIDE * enough:
                break
    return False, n_total


@njit(cache=True)
def search(table, points, cdf, n_components, enough, thorough, work):
    """The best fit with `n_components` components, or the smallest fit whose distribution is close enough.

    Each size starts from the fit with one component fewer and an insertion, among others, and that fit has converged:
    more components never have a larger sum of squares.

    Parameters
    ----------
    table : Table
    points, cdf : ndarray, shape (n_grid,) or, for a histogram, (n_grid + 1,)
        The grid or the edges, and the cumulative distribution there.
    n_components : int
    enough : float
        The search ends when the cumulative distributions differ by less than this; 0 for exactly `n_components`.
    thorough : bool
        Go one component further, keep several fits of each size, and go down and up again until nothing changes.
        Requires `enough` = 0.
    work : ndarray, shape (4 n_components + 5, n_grid + 1)
        Overwritten.

    Returns
    -------
    fit : ndarray, shape (3, n_found)
        See `_finished`.
    converged : bool
    n_steps : int
        Evaluations.
    """
    n_kept, n_insertions, n_rounds, laps, between, most = _THOROUGH if thorough else _QUICK
    top = n_components + 1 if thorough else n_components
    store = np.empty(n_kept * 3 * top * (top + 1) // 2)
    squares = np.empty((top + 1, n_kept))
    for size in range(top + 1):
        for p in range(n_kept):
            squares[size, p] = np.inf
    described = _DESCRIBED * _dot(table.y, table.y)
    n_steps = 0
    chosen = n_components
    differences = np.empty(top)
    n_tried = 0
    for turn in range(n_rounds):
        before = squares[n_components, 0]
        if turn > 0:
            for size in range(top - 1, 0, -1):
                starts = np.empty((n_kept * (size + 1), 3, size))
                n_starts = 0
                above = _kept(store, n_kept, size + 1)
                for p in range(n_kept):
                    if squares[size + 1, p] < np.inf:
                        n_starts += _starts_below(above[p], starts[n_starts:])
                fits = _kept(store, n_kept, size)
                reached = np.empty(n_starts)
                n_steps += _race(table, starts[:n_starts], work, laps, between, fits, squares[size], reached)
        for size in range(1, top + 1):
            starts = np.empty((n_kept * (n_insertions + 4 * size), 3, size))
            n_starts = 0
            if size == 1:
                n_starts = _starts_above(table, np.empty((3, 0)), work, n_insertions, starts)
            else:
                below = _kept(store, n_kept, size - 1)
                for p in range(n_kept):
                    if squares[size - 1, p] < np.inf:
                        n_starts += _starts_above(table, below[p], work, n_insertions, starts[n_starts:])
            fits = _kept(store, n_kept, size)
            reached = np.empty(n_starts)
            if n_starts > 0:
                n_steps += _race(table, starts[:n_starts], work, laps, between, fits, squares[size], reached)
            if squares[size, 0] == np.inf:
                # No component is left to add.
                chosen = min(chosen, size - 1)
                break
            if enough > 0.0:
                differences[size - 1], made = _closest(
                    table, points, cdf, enough, starts, reached, work, between, fits[0]
                )
                n_steps += made
                n_tried = size
                if differences[size - 1] < enough:
                    break
            if squares[size, 0] <= described:
                chosen = min(chosen, size)
                break
        if not squares[n_components, 0] < before * (1.0 - 1e-6):
            break
    if n_tried > 0:
        chosen = _choose(differences[:n_tried])
        if differences[n_tried - 1] < enough:
            # The search for fewer components may have stopped at a local minimum.
            chosen = n_tried
            while chosen > 1:
                starts = np.empty((chosen, 3, chosen - 1))
                _starts_below(_kept(store, n_kept, chosen)[0], starts)
                fits = _kept(store, n_kept, chosen - 1)
                reached = np.empty(chosen)
                n_steps += _race(table, starts, work, laps, between, fits, squares[chosen - 1], reached)
                difference, made = _closest(table, points, cdf, enough, starts, reached, work, between, fits[0])
                n_steps += made
                within = difference < enough
                noisy = squares[chosen, 0] > _NOISY * _dot(table.y, table.y)
                if noisy and enough <= difference < _NEAR_MISS * enough:
                    within, made = _any_within(table, points, cdf, enough, work, between, fits[0])
                    n_steps += made
                if not within:
                    break
                chosen -= 1
    fit = _kept(store, n_kept, chosen)[0]
    n_present = _n_present(fit)
    if n_present < chosen:
        # Without the components that have no share, the rest is a fit by itself.
        starts = np.empty((1, 3, n_present))
        _present(fit, starts[0])
        fits = _kept(store, n_kept, n_present)
        n_steps += _race(table, starts, work, laps, between, fits, squares[n_present], np.empty(1))
        fit = fits[0]
    tolerance = _THOROUGH_END if thorough else _QUICK_END
    _, converged, made = descend(table, fit, work, tolerance, most)
    return _finished(table, fit, work), converged, n_steps + made


@njit(cache=True)
def _prepare(density, widths, table, cdf):
    """Status, sum and integral of a tabulated density; writes its normalised copies into the arrays of `table`.

    The values of a histogram whose sum is one, and whose integral is not, are the shares of its bins; others are
    densities.
    """
    t, y, lever = table.t, table.y, table.lever
    is_histogram = table.edges.size > 0
    n = t.size
    peak = 0.0
    status = OK
    for value in density:
        if not math.isfinite(value):
            return NOT_FINITE, np.nan, np.nan
        if value < 0.0:
            status = NEGATIVE
        peak = max(peak, value)
    if status == NEGATIVE:
        return status, np.nan, np.nan
    if peak == 0.0:
        return ALL_ZERO, np.nan, np.nan
    total = 0.0
    integral = 0.0
    for k in range(n):
        # Dividing by the peak first keeps the sums of very large and very small numbers finite and positive.
        y[k] = density[k] / peak
        total += y[k]
        integral += widths[k] * y[k]
    if is_histogram and abs(total * peak - 1.0) <= _UNITY < abs(integral * peak - 1.0):
        for k in range(n):
            y[k] /= widths[k]
        whole = total
    else:
        whole = integral
    mean = 0.0
    square = 0.0
    cdf[0] = 0.0
    for k in range(n):
        y[k] /= whole
        mean += widths[k] * y[k] * t[k]
        if is_histogram:
            cdf[k + 1] = cdf[k] + widths[k] * y[k]
        elif k > 0:
            cdf[k] = cdf[k - 1] + 0.5 * (t[k] - t[k - 1]) * (y[k] + y[k - 1])
    var = (FLOOR_STEPS * table.steps.min()) ** 2
    for k in range(n):
        var += widths[k] * y[k] * (t[k] - mean) ** 2
        square += widths[k] * y[k] * y[k]
    unit = math.sqrt(square)
    table.pull[0] = _MEAN_WEIGHT * unit / math.sqrt(var)
    table.pull[1] = mean
    for k in range(n):
        root = table.root[k]
        lever[k] = table.pull[0] * root * (t[k] - mean)
        y[k] *= root
    return OK, total * peak, integral * peak


@njit(nogil=True, cache=True)
def fit_rows(t, edges, widths, steps, densities, n_components, enough, tolerance, thorough, fits, numbers, codes):
    """Fit each row of `densities`; see `search`.

    Parameters
    ----------
    t, widths, steps : ndarray, shape (n_grid,)
        Grid, or centres of the bins; widths of the cells; and grid steps for `lowest_sigma`.
    edges : ndarray, shape (n_grid + 1,) or (0,)
        Edges of the bins of a histogram; empty for values at points.
    densities : ndarray, shape (n, n_grid)
    tolerance : float
        Largest difference of the cumulative distributions for the status `OK`.
    fits : ndarray, shape (n, 3, n_components)
        Overwritten by weights, means and sigmas of the components that are found; see `_finished`.
    numbers : ndarray, shape (n, 6)
        Overwritten, where there is a fit, by the sum and integral of the density, the integral of the mixture without
        the truncation if it is one with it, the integrated squared error, the largest difference of the cumulative
        distributions, and the number of evaluations.
    codes : ndarray of int64, shape (n, 3)
        Overwritten by the status and, where there is a fit, the number of components found and whether it converged.
    """
    n = t.size
    points = edges if edges.size > 0 else t
    work = np.empty((4 * n_components + 5, n + 1))
    table = Table(t, edges, np.sqrt(widths), steps, np.empty(n), np.empty(n), np.empty(2), False)
    cdf = np.empty(points.size)
    for i in range(densities.shape[0]):
        status, total, integral = _prepare(densities[i], widths, table, cdf)
        codes[i, 0] = status
        if status != OK:
            continue
        fit, converged, n_steps = search(table, points, cdf, n_components, enough, thorough, work)
        square, shift = judge(table, fit, work)
        difference = largest_difference(points, cdf, fit)
        _copy_fit(fit, fits[i])
        numbers[i, 0] = total
        numbers[i, 1] = integral
        numbers[i, 2] = 1.0 / (_below(points[-1], fit) - _below(points[0], fit))
        numbers[i, 3] = square
        numbers[i, 4] = difference
        numbers[i, 5] = n_steps
        if not difference < tolerance:
            codes[i, 0] = TOLERANCE
        elif not abs(shift) < MEAN_KEPT:
            codes[i, 0] = MEAN
        codes[i, 1] = fit.shape[1]
        codes[i, 2] = converged
