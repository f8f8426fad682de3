"""Gaussian mixtures for tabulated densities: least squares with the weights eliminated, and the search for starts.

This module imports only math, numpy and numba, and relies on its caller to pass finite, C-contiguous float64 arrays. It
is self-contained because Numba's on-disk cache does not notice edits in another module that a kernel calls.

Notation: t_k is the grid, root_k is the square root of the width of cell k, y_k = root_k f_k is the density, and column
j is phi_jk = root_k N(t_k | m_j, s_j^2). For given means and sigmas the weights are those of non-negative least
squares, so that the residual r = y - sum_j w_j phi_j depends only on means and sigmas (variable projection; Golub &
Pereyra 1973). A fit is an array of shape (3, n_components): weights, means, sigmas.

Functions that round by a magic number must not be compiled with `reassoc`, which deletes the rounding silently;
functions that only compute sums need this flag in order to vectorise. Each function has the flags that it needs.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# Smallest sigma in units of the grid step at the component's mean. A component of this width that is centred on a point
# has 1 % of its height at the adjacent points. A narrower one would contribute to only a single value, which does not
# determine both weight and sigma, and between two points it would hardly contribute at all, whatever its weight.
FLOOR_STEPS = 1.0 / 3.0
OK, NEGATIVE, ALL_ZERO, NOT_FINITE = 0, 1, 2, 3
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

# A column whose component outside the span of the others is smaller than this counts as linearly dependent.
_DEPENDENT = 1e-9
# A sum of squared residuals below this, relative to that of the density, consists of rounding errors.
_NOTHING = 1e-25
# The two levels of effort of a search: the number of fits kept of each size, of insertions tried for each, and of times
# going up; the number of evaluations from each start, from the best starts, and in the last descent; and the tolerance
# of the last descent.
_QUICK = (1, 2, 1, 4, 12, 100)
_THOROUGH = (4, 8, 4, 8, 40, 500)
_QUICK_END, _THOROUGH_END = CONVERGED, 1e-10
# Longest step of a descent, in units of sigma for the means, and in ln sigma.
_LONGEST = 1.5
_LARGEST_DAMPING = 1e10

_EXACT = {"contract"}
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


@njit(fastmath=_EXACT, forceinline=True, cache=True)
def _column(t, root, mean, sigma, out):
    """A column: root N(t | mean, sigma^2)."""
    inv = 1.0 / sigma
    height = _INV_SQRT_2PI * inv
    for k in range(t.size):
        z = (t[k] - mean) * inv
        out[k] = height * root[k] * fast_exp(max(-0.5 * (z * z), _FAINTEST))


@njit(fastmath=_SUMS, forceinline=True, cache=True)
def _slope(t, mean, sigma, column, of_sigma, out):
    """Derivative of a column with respect to its mean in units of sigma, or to ln sigma."""
    inv = 1.0 / sigma
    if of_sigma:
        for k in range(t.size):
            z = (t[k] - mean) * inv
            out[k] = column[k] * (z * z - 1.0)
    else:
        for k in range(t.size):
            out[k] = column[k] * ((t[k] - mean) * inv)


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
    """Orthonormal basis of the active columns by the Gram-Schmidt process, with columns = upper^T basis.

    Returns the index of the first column that depends linearly on those before it, or -1.
    """
    for a in range(active.size):
        vector = basis[a]
        _copy(columns[active[a]], vector)
        before = math.sqrt(_dot(vector, vector))
        whole = before
        for b in range(a):
            upper[b, a] = 0.0
        # Repeat the projection if the previous one has cancelled digits.
        for _ in range(3):
            for b in range(a):
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
def project(columns, y, weights, active, basis, upper, residual):
    """Non-negative least squares for the weights (Lawson & Hanson 1974), starting with all columns active.

    Parameters
    ----------
    columns : ndarray, shape (n_components, n_grid)
    y : ndarray, shape (n_grid,)
    weights, active, basis, upper, residual : ndarray
        Overwritten by the weights, the columns with a positive weight, an orthonormal basis of these and its upper
        triangular factor, and y minus the weighted columns.

    Returns
    -------
    n_active : int
    square : float
        Sum of the squared residuals.
    """
    size = weights.size
    free = np.empty(size, dtype=np.bool_)
    barred = np.empty(size, dtype=np.bool_)
    solution = np.empty(size)
    for j in range(size):
        free[j] = True
        barred[j] = False
        weights[j] = 0.0
    n_active = 0
    added = -1
    for _ in range(10 * size):
        n_active = 0
        for j in range(size):
            if free[j]:
                active[n_active] = j
                n_active += 1
        dependent = _basis(columns, active[:n_active], basis, upper)
        if dependent >= 0:
            free[active[dependent]] = False
            barred[active[dependent]] = True
            weights[active[dependent]] = 0.0
            continue
        _copy(y, residual)
        for a in range(n_active):
            part = _dot(basis[a], residual)
            solution[a] = part
            _add(basis[a], -part, residual)
        for a in range(n_active - 1, -1, -1):
            for b in range(a + 1, n_active):
                solution[a] -= upper[a, b] * solution[b]
            solution[a] /= upper[a, a]
        # Step towards the solution only as far as all weights stay positive.
        step = 1.0
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
            else:
                weights[j] += step * (solution[a] - held)
        if dropped:
            continue
        # A column that was dropped is added again if it lowers the sum of squares.
        best = -1
        steepest = 0.0
        for j in range(size):
            if not free[j] and not barred[j]:
                norm = math.sqrt(_dot(columns[j], columns[j]) * _dot(y, y))
                slope = _dot(columns[j], residual)
                if slope > steepest and slope > 1e-12 * norm:
                    steepest = slope
                    best = j
        if best < 0:
            break
        free[best] = True
        added = best
    return n_active, _dot(residual, residual)


@njit(cache=True)
def evaluate(t, root, y, fit, active, work, upper):
    """Best weights for the means and sigmas of a fit; see `project` for the arrays that are overwritten and the
    results.

    `work` contains the columns in its first n_components rows, then the basis, then two rows of the Jacobian for each
    component, and finally the residual.
    """
    size = fit.shape[1]
    for j in range(size):
        _column(t, root, fit[1, j], fit[2, j], work[j])
    return project(work[:size], y, fit[0], active, work[size : 2 * size], upper, work[4 * size])


@njit(cache=True)
def jacobian(t, fit, active, n_active, work, upper, gradient):
    """Derivatives of the residual with respect to means in units of sigma, and ln sigma (Golub & Pereyra 1973, eq.
    4.8).

    Must be called after `evaluate`. With the projector P onto the complement of the span of the columns, and row b_j of
    their pseudo-inverse, dr = -w_j P dphi_j - (dphi_j . r) b_j. The derivatives are zero for components without weight.

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
        for k in range(t.size):
            rows[a, k] = 0.0
    for a in range(n_active):
        j = active[a]
        weight = fit[0, j]
        # b_j = basis^T inverse, where upper^T inverse is unit vector a.
        for b in range(n_active):
            if b < a:
                inverse[b] = 0.0
                continue
            inverse[b] = 1.0 if b == a else 0.0
            for c in range(a, b):
                inverse[b] -= upper[c, b] * inverse[c]
            inverse[b] /= upper[b, b]
        for p in range(2):
            row = rows[2 * j + p]
            _slope(t, fit[1, j], fit[2, j], work[j], p == 1, row)
            along = _dot(row, residual)
            gradient[2 * j + p] = -weight * along
            for b in range(n_active):
                _add(basis[b], -_dot(basis[b], row), row)
            for k in range(row.size):
                row[k] *= -weight
            for b in range(a, n_active):
                _add(basis[b], -along * inverse[b], row)


@njit(cache=True)
def _solve(matrix, damping, vector, lower, out):
    """Solve (matrix + damping diag(matrix)) out = vector by Cholesky's method; False if that is not definite."""
    n = vector.size
    for i in range(n):
        rest = vector[i]
        for k in range(i + 1):
            value = matrix[i, k]
            if i == k:
                value *= 1.0 + damping
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
def lowest_sigma(t, steps, mean):
    """Lower bound on sigma: `FLOOR_STEPS` grid steps, interpolated to the mean."""
    k = 0
    end = t.size - 1
    while end - k > 1:
        middle = (k + end) // 2
        if t[middle] <= mean:
            k = middle
        else:
            end = middle
    part = (mean - t[k]) / (t[k + 1] - t[k])
    return FLOOR_STEPS * ((1.0 - part) * steps[k] + part * steps[k + 1])


@njit(cache=True)
def _clip(t, steps, fit, j):
    """Clip the mean to the grid, and sigma to between the floor and the length of the grid."""
    fit[1, j] = min(max(fit[1, j], t[0]), t[-1])
    fit[2, j] = min(max(fit[2, j], lowest_sigma(t, steps, fit[1, j])), t[-1] - t[0])


@njit(cache=True)
def _normal_equations(t, steps, fit, rows, gradient, matrix):
    """Products of the rows of the Jacobian; variables that would cross a bound at which they are, are removed."""
    n = gradient.size
    for a in range(n):
        for b in range(a + 1):
            matrix[a, b] = _dot(rows[a], rows[b])
    for a in range(n):
        j = a // 2
        mean, sigma = fit[1, j], fit[2, j]
        if a % 2 == 0:
            held = (mean <= t[0] and gradient[a] > 0.0) or (mean >= t[-1] and gradient[a] < 0.0)
        else:
            low = lowest_sigma(t, steps, mean)
            held = (sigma <= low * (1.0 + 1e-12) and gradient[a] > 0.0) or (sigma >= t[-1] - t[0] and gradient[a] < 0.0)
        if held or not matrix[a, a] > 0.0:
            for b in range(n):
                matrix[max(a, b), min(a, b)] = 1.0 if b == a else 0.0
            gradient[a] = 0.0


@njit(cache=True)
def descend(t, root, y, steps, fit, work, tolerance, max_steps):
    """Levenberg-Marquardt descent over means and sigmas, with the weights eliminated.

    Parameters
    ----------
    fit : ndarray, shape (3, n_components)
        Starting means and sigmas; overwritten by the fit.
    work : ndarray, shape (4 n_components + 1, n_grid)
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
    step = np.empty(n)
    trial = np.empty((3, size))
    for j in range(size):
        _clip(t, steps, fit, j)
    n_active, square = evaluate(t, root, y, fit, active, work, upper)
    nothing = _NOTHING * _dot(y, y)
    damping = 1e-3
    growth = 2.0
    moved = True
    promised = np.inf
    n_steps = 1
    while True:
        if moved:
            if square <= nothing:
                return square, True, n_steps
            jacobian(t, fit, active, n_active, work, upper, gradient)
            _normal_equations(t, steps, fit, work[2 * size : 4 * size], gradient, matrix)
            promised = np.inf
            if _solve(matrix, 1e-12, gradient, lower, step):
                promised = _dot(step, gradient)
            if promised <= tolerance * square:
                return square, True, n_steps
        if n_steps >= max_steps or damping > _LARGEST_DAMPING:
            return square, promised <= CONVERGED * square, n_steps
        if not _solve(matrix, damping, gradient, lower, step):
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
            expected += step[a] * ((2.0 - shorten) * gradient[a] + damping * matrix[a, a] * step[a])
        for j in range(size):
            trial[1, j] = fit[1, j] - step[2 * j] * fit[2, j]
            trial[2, j] = fit[2, j] * math.exp(-step[2 * j + 1])
            _clip(t, steps, trial, j)
        n_trial, square_trial = evaluate(t, root, y, trial, active, work, upper)
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
                _column(t[first:last], root[first:last], t[k], sigma, part)
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
def _starts_above(t, root, y, steps, fit, work, n_insertions, starts):
    """Starts with one more component, from insertions and from components split in two; returns their number."""
    n_starts = 0
    size = fit.shape[1]
    if size == 0:
        residual = y
    else:
        evaluate(t, root, y, fit, np.empty(size, dtype=np.int64), work, np.empty((size, size)))
        residual = work[4 * size]
    found = np.empty((n_insertions, 2))
    for i in range(insertions(t, root, steps, residual, found)):
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
def _race(t, root, y, steps, starts, work, laps, max_steps, fits, squares):
    """Take a few steps from each start and continue with the best; better fits than those known of that size replace
    them.

    `fits`, of shape (n_kept, 3, n_components), and `squares` are sorted and contain only distinct fits.

    Returns the number of evaluations.
    """
    n_starts = len(starts)
    n_kept = squares.size
    n_total = 0
    reached = np.empty(n_starts)
    for i in range(n_starts):
        reached[i], _, n_steps = descend(t, root, y, steps, starts[i], work, CONVERGED, laps)
        n_total += n_steps
    for _ in range(min(n_starts, n_kept)):
        best = 0
        for i in range(n_starts):
            if reached[i] < reached[best]:
                best = i
        reached[best] = np.inf
        start = starts[best]
        square, _, n_steps = descend(t, root, y, steps, start, work, CONVERGED, max_steps)
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
def largest_difference(t, cdf, fit):
    """Largest difference on the grid between a cumulative distribution and that of a normalised fit."""
    largest = 0.0
    for k in range(t.size):
        model = 0.0
        for j in range(fit.shape[1]):
            model += 0.5 * fit[0, j] * math.erfc((fit[1, j] - t[k]) / (math.sqrt(2.0) * fit[2, j]))
        largest = max(largest, abs(model - cdf[k]))
    return largest


@njit(cache=True)
def _normalised(fit):
    """The components with a positive weight, with weights divided by their sum, and this sum."""
    size = fit.shape[1]
    total = 0.0
    n_present = 0
    for j in range(size):
        total += fit[0, j]
        n_present += fit[0, j] > 0.0
    present = np.empty((3, n_present))
    a = 0
    for j in range(size):
        if fit[0, j] > 0.0:
            b = a
            while b > 0 and present[1, b - 1] > fit[1, j]:
                for row in range(3):
                    present[row, b] = present[row, b - 1]
                b -= 1
            present[0, b] = fit[0, j] / total
            present[1, b] = fit[1, j]
            present[2, b] = fit[2, j]
            a += 1
    return present, total


@njit(cache=True)
def squared_error(t, root, y, fit, work):
    """Integrated squared error of a fit whose weights are not normalised."""
    residual = work[0]
    _copy(y, residual)
    for j in range(fit.shape[1]):
        _column(t, root, fit[1, j], fit[2, j], work[1])
        _add(work[1], -fit[0, j], residual)
    return _dot(residual, residual)


@njit(cache=True)
def _kept(store, n_kept, size):
    """View of the fits with `size` components in the array of fits of all sizes."""
    first = n_kept * 3 * size * (size - 1) // 2
    return store[first : first + n_kept * 3 * size].reshape((n_kept, 3, size))


@njit(cache=True)
def search(t, root, steps, y, cdf, n_components, enough, thorough, work):
    """The best fit with `n_components` components, or the smallest fit whose distribution is close enough.

    Parameters
    ----------
    t, root, steps : ndarray, shape (n_grid,)
        Grid, square roots of the widths of its cells, and grid steps for `lowest_sigma`.
    y, cdf : ndarray, shape (n_grid,)
        root times the density, and the cumulative distribution.
    n_components : int
    enough : float
        The search ends when the cumulative distributions differ by less than this; 0 for exactly `n_components`.
    thorough : bool
        Go one component further, keep several fits of each size, and go down and up again until nothing changes.
        Requires `enough` = 0.
    work : ndarray, shape (4 n_components + 5, n_grid)
        Overwritten.

    Returns
    -------
    fit : ndarray, shape (3, n_found)
        Components with a positive weight, sorted by mean; the weights sum to one.
    mass : float
        Sum of the weights before normalisation.
    difference : float
        Largest difference of the cumulative distributions.
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
    nothing = _NOTHING * _dot(y, y)
    n_steps = 0
    chosen = n_components
    closest = np.inf
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
                n_steps += _race(t, root, y, steps, starts[:n_starts], work, laps, between, fits, squares[size])
        for size in range(1, top + 1):
            starts = np.empty((n_kept * (n_insertions + 4 * size), 3, size))
            n_starts = 0
            if size == 1:
                n_starts = _starts_above(t, root, y, steps, np.empty((3, 0)), work, n_insertions, starts)
            else:
                below = _kept(store, n_kept, size - 1)
                for p in range(n_kept):
                    if squares[size - 1, p] < np.inf:
                        n_starts += _starts_above(t, root, y, steps, below[p], work, n_insertions, starts[n_starts:])
            fits = _kept(store, n_kept, size)
            if n_starts > 0:
                n_steps += _race(t, root, y, steps, starts[:n_starts], work, laps, between, fits, squares[size])
            if squares[size, 0] == np.inf:
                # No component is left to add.
                chosen = min(chosen, size - 1)
                break
            if enough > 0.0:
                difference = largest_difference(t, cdf, _normalised(fits[0])[0])
                if difference < closest:
                    closest = difference
                    chosen = size
                if difference < enough:
                    break
            if squares[size, 0] <= nothing:
                chosen = min(chosen, size)
                break
        if not squares[n_components, 0] < before * (1.0 - 1e-6):
            break
    fit = _kept(store, n_kept, chosen)[0]
    tolerance = _THOROUGH_END if thorough else _QUICK_END
    _, converged, made = descend(t, root, y, steps, fit, work, tolerance, most)
    present, mass = _normalised(fit)
    return present, mass, largest_difference(t, cdf, present), converged, n_steps + made


@njit(cache=True)
def _prepare(density, t, widths, y, cdf):
    """Status, sum and integral of a tabulated density; writes the normalised copies for `search`."""
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
    for k in range(density.size):
        # Dividing by the peak first keeps the sums of very large and very small numbers finite and positive.
        y[k] = density[k] / peak
        total += y[k]
        integral += widths[k] * y[k]
    cdf[0] = 0.0
    for k in range(density.size - 1):
        cdf[k + 1] = cdf[k] + 0.5 * (t[k + 1] - t[k]) * (y[k] + y[k + 1]) / integral
    for k in range(density.size):
        y[k] = math.sqrt(widths[k]) * y[k] / integral
    return OK, total * peak, integral * peak


@njit(nogil=True, cache=True)
def fit_rows(t, widths, steps, densities, n_components, enough, thorough, fits, numbers, codes):
    """Fit each row of `densities`; see `search`.

    Parameters
    ----------
    t, widths, steps : ndarray, shape (n_grid,)
        Grid, widths of its cells, and grid steps for `lowest_sigma`.
    densities : ndarray, shape (n, n_grid)
    fits : ndarray, shape (n, 3, n_components)
        Overwritten by weights, means and sigmas of the components that are found.
    numbers : ndarray, shape (n, 6)
        Overwritten, for status `OK`, by the sum and integral of the density, the sum of the weights of the fit, the
        integrated squared error, the largest difference of the cumulative distributions, and the number of evaluations.
    codes : ndarray of int64, shape (n, 3)
        Overwritten by the status and, for status `OK`, the number of components found and whether the fit converged.
    """
    root = np.sqrt(widths)
    work = np.empty((4 * n_components + 5, t.size))
    y = np.empty(t.size)
    cdf = np.empty(t.size)
    for i in range(densities.shape[0]):
        status, total, integral = _prepare(densities[i], t, widths, y, cdf)
        codes[i, 0] = status
        if status != OK:
            continue
        numbers[i, 0] = total
        numbers[i, 1] = integral
        fit, mass, difference, converged, n_steps = search(t, root, steps, y, cdf, n_components, enough, thorough, work)
        found = fit.shape[1]
        _copy_fit(fit, fits[i])
        numbers[i, 2] = mass
        numbers[i, 3] = squared_error(t, root, y, fit, work)
        numbers[i, 4] = difference
        numbers[i, 5] = n_steps
        codes[i, 1] = found
        codes[i, 2] = converged
