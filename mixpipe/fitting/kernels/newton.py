"""The jitted trust-region Newton step: small dense linear algebra between two passes over the data.

Like every file of kernels, this one is self-contained, because Numba's on-disk cache does not notice edits in another
module. It imports only math, numpy and numba, and trusts its callers.

The variables of a step are, for each component, ln w, the mean in units of the component's total width, and
u = ln(s^2 + c) / 2, where c is the typical error variance of the component's rows. At s = 0 the likelihood is smooth in
u, and u is at a bound.
"""

import math

import numpy as np
from numba import njit

# Elements of a Hessian whose squares are below this are nothing next to one nat; smaller squares would lose digits.
_NO_SQUARE = 1e-280

# Each wrapper, of which the one for C is not used and the one for Python not for helpers, would take as long to compile
# as a small function. Rewriting is for expressions with whole arrays, of which there are none.
_KERNEL = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "no_rewrites": True, "cache": True}
_HELPER = {"no_cpython_wrapper": True, **_KERNEL}


@njit(**_KERNEL)
def derivatives(sums, outer, weights, variances, n_data):
    """Gradient, Hessian and typical total variances from the sums of a Newton pass.

    Parameters
    ----------
    sums : ndarray, shape (n_components, 9)
        Sums over the data of q, q / T, q d / T, q d^2 / T^2, q / T^2, q d / T^2, q d^2 / T^3, q d^3 / T^3, q d^4 / T^4.
    outer : ndarray, shape (3 n_components, 3 n_components)
        Sums of products of the scores; the lower triangle is used.
    weights, variances : ndarray, shape (n_components,)
    n_data : float

    Returns
    -------
    gradient : ndarray, shape (3 n_components,)
        With respect to (ln w, m, s^2) of the first component, of the second, and so on, of the log-likelihood
        minus ``n_data (sum w - 1)``.
    hessian : ndarray, shape (3 n_components, 3 n_components)
    total : ndarray, shape (n_components,)
        Typical total variance of each component: sqrt(sum q / sum(q / T^2)).
    fewest : float
        Lower bound on the effective number of rows of every component, ``(sum q / T)^2 / sum(q^2 / T^2)``, for rows
        that count as many equal ones.
    """
    size = weights.size
    gradient = np.empty(3 * size)
    hessian = np.empty((3 * size, 3 * size))
    total = np.empty(size)
    fewest = math.inf
    for a in range(3 * size):
        for b in range(a + 1):
            # Not -x, which may be a negative zero.
            hessian[a, b] = 0.0 - outer[a, b]
    for j in range(size):
        part = sums[j]
        q = part[0]
        q_inv = part[1]
        q_d = part[2]
        q_dd = part[3]
        q_inv2 = part[4]
        slope_w = q - n_data * weights[j]
        slope_v = 0.5 * (q_dd - q_inv)
        k = 3 * j
        gradient[k] = slope_w
        gradient[k + 1] = q_d
        gradient[k + 2] = slope_v
        hessian[k, k] += slope_w
        hessian[k + 1, k] += q_d
        hessian[k + 2, k] += slope_v
        hessian[k + 1, k + 1] += q_dd - q_inv
        hessian[k + 2, k + 1] += 0.5 * part[7] - 1.5 * part[5]
        hessian[k + 2, k + 2] += 0.25 * part[8] - 1.5 * part[6] + 0.75 * q_inv2
        # A component to which no row can belong has no such scale; that of the data, which is of order one, is used
        # instead.
        total[j] = max(math.sqrt(q / q_inv2) if q > 0.0 and q_inv2 > 0.0 else 1.0, variances[j])
        # No q exceeds one.
        fewest = min(fewest, q_inv * (q_inv / q_inv2) if q_inv2 > 0.0 else 0.0)
    for a in range(3 * size):
        for b in range(a):
            hessian[b, a] = hessian[a, b]
    return gradient, hessian, total, fewest


@njit(**_HELPER)
def _norm(vector):
    total = 0.0
    for k in range(vector.size):
        total += vector[k] * vector[k]
    return math.sqrt(total)


@njit(**_HELPER)
def _solve_definite(matrix, vector, lower, solution):
    """Solve a positive definite system by Cholesky's method; False if the matrix is not safely definite.

    `lower` receives the factor.
    """
    n = vector.size
    for i in range(n):
        line = lower[i]
        for k in range(i + 1):
            above = lower[k]
            rest = matrix[i, k]
            for m in range(k):
                rest -= line[m] * above[m]
            if k < i:
                line[k] = rest / above[k]
            elif rest > 1e-12 * abs(matrix[i, i]):
                line[i] = math.sqrt(rest)
            else:
                return False
    for i in range(n):
        rest = vector[i]
        for m in range(i):
            rest -= lower[i, m] * solution[m]
        solution[i] = rest / lower[i, i]
    for i in range(n - 1, -1, -1):
        rest = solution[i]
        for m in range(i + 1, n):
            rest -= lower[m, i] * solution[m]
        solution[i] = rest / lower[i, i]
    return True


@njit(**_HELPER)
def _tridiagonal(matrix, mirrors, halves, beside, product):
    """Make a symmetric matrix tridiagonal by Householder's reflections (Golub & Van Loan 2013, section 8.3.1).

    The diagonal of `matrix` becomes the new one. The rows of `mirrors` receive the vectors of the reflections, whose
    k-th begins at k + 1, `halves` half the squared length of each, or 0 where nothing is reflected, and `beside` the
    elements next to the diagonal, with a 0 at the end. What is in `product` is overwritten.
    """
    n = beside.size
    beside[n - 1] = 0.0
    for k in range(n - 1):
        mirror = mirrors[k]
        for i in range(k + 1, n):
            mirror[i] = matrix[i, k]
        below = 0.0
        for i in range(k + 2, n):
            below += mirror[i] * mirror[i]
        first = mirror[k + 1]
        halves[k] = 0.0
        beside[k] = first
        if not below > _NO_SQUARE:
            continue
        length = math.sqrt(below + first * first)
        half = length * (length + abs(first))
        reflected = -math.copysign(length, first)
        halves[k] = half
        beside[k] = reflected
        mirror[k + 1] = first - reflected
        for i in range(k + 1, n):
            product[i] = 0.0
        for j in range(k + 1, n):
            line = matrix[j]
            v = mirror[j] / half
            for i in range(k + 1, n):
                product[i] += v * line[i]
        along = 0.0
        for i in range(k + 1, n):
            along += mirror[i] * product[i]
        along *= 0.5 / half
        for i in range(k + 1, n):
            product[i] -= along * mirror[i]
        for j in range(k + 1, n):
            line = matrix[j]
            v = mirror[j]
            p = product[j]
            for i in range(k + 1, n):
                line[i] -= v * product[i] + p * mirror[i]


@njit(**_HELPER)
def _reflect(mirrors, halves, k, vector):
    """Apply the k-th of the reflections of `_tridiagonal` to a vector."""
    half = halves[k]
    if half > 0.0:
        mirror = mirrors[k]
        along = 0.0
        for i in range(k + 1, vector.size):
            along += mirror[i] * vector[i]
        along /= half
        for i in range(k + 1, vector.size):
            vector[i] -= along * mirror[i]


@njit(**_HELPER)
def _shifted_length(diagonal, beside, shift, vector, ratios, solution):
    """Solve a tridiagonal system with `shift` added to the diagonal, and return the length of the solution.

    The length is infinite, and there is no solution, if the shifted matrix is not positive definite.
    """
    n = vector.size
    ratio = 0.0
    before = 0.0
    last = 0.0
    for k in range(n):
        pivot = diagonal[k] + shift - ratio * before
        if not pivot > 0.0:
            return math.inf
        last = (vector[k] - before * last) / pivot
        before = beside[k]
        ratio = before / pivot
        ratios[k] = ratio
        solution[k] = last
    for k in range(n - 2, -1, -1):
        solution[k] -= ratios[k] * solution[k + 1]
    return _norm(solution)


@njit(**_KERNEL)
def bounded_step(hessian, gradient, bound, radius):
    """The p that maximises ``gradient p + p hessian p / 2`` within ``|p| <= radius`` and at or above a lower bound.

    Without the bound, p solves ``(shift - hessian) p = gradient`` at the edge of the region, where `shift` makes the
    matrix positive definite and p as long as the radius (Moré & Sorensen 1983). The matrix is made tridiagonal first,
    so that each trial of a shift takes few operations. Variables that pass their bound stop there, and the others are
    solved for again.

    Functions that are called by others are compiled again as a part of these; this one is long, but compiled once.

    Parameters
    ----------
    hessian : ndarray, shape (n, n)
    gradient, bound : ndarray, shape (n,)
    radius : float

    Returns
    -------
    step : ndarray, shape (n,)
    gain : float
        Gain predicted by the quadratic model.
    length : float
        Length of the step.
    """
    n_variables = gradient.size
    step = np.empty(n_variables)
    # The variables that are free to move come first in `order`; the others are at their bounds.
    order = np.empty(n_variables, np.int64)
    n = 0
    for k in range(n_variables):
        step[k] = 0.0
        if bound[k] <= -1e-10 or gradient[k] > 0.0:
            order[n] = k
            n += 1
    while True:
        # The quadratic model in the free variables, with the others fixed at their values in `step`.
        g = np.empty(n)
        p = np.empty(n)
        matrix = np.empty((n, n))
        mirrors = np.empty((n, n))
        used = 0.0
        for k in range(n_variables):
            used += step[k] * step[k]
        reach = math.sqrt(max(radius * radius - used, 1e-4 * radius * radius))
        for a in range(n):
            line = hessian[order[a]]
            row = matrix[a]
            slope = gradient[order[a]]
            for k in range(n_variables):
                slope += line[k] * step[k]
            g[a] = slope
            for b in range(n):
                row[b] = -line[order[b]]
        definite = _solve_definite(matrix, g, mirrors, p)
        if not definite or _norm(p) > reach:
            halves = np.empty(n)
            beside = np.empty(n)
            ratios = np.empty(n)
            diagonal = np.empty(n)
            _tridiagonal(matrix, mirrors, halves, beside, ratios)
            for k in range(n - 1):
                _reflect(mirrors, halves, k, g)
            # The eigenvalues lie between these bounds (Gershgorin), and the lowest one is at most the lowest diagonal
            # element.
            low_bound = math.inf
            high_bound = -math.inf
            lowest = math.inf
            before = 0.0
            for k in range(n):
                here = matrix[k, k]
                after = abs(beside[k])
                around = after + before
                before = after
                low_bound = min(low_bound, here - around)
                high_bound = max(high_bound, here + around)
                lowest = min(lowest, here)
                diagonal[k] = here
            largest = max(max(abs(low_bound), abs(high_bound)), 1.0)
            tiny = 1e-14 * largest
            low = 0.0
            if not definite:
                while lowest - low_bound > 1e-15 * largest:
                    middle = 0.5 * (low_bound + lowest)
                    if _shifted_length(diagonal, beside, -middle, g, ratios, p) < math.inf:
                        low_bound = middle
                    else:
                        lowest = middle
                low = max(0.0, -low_bound)
            least = low
            if _shifted_length(diagonal, beside, low + tiny, g, ratios, p) > reach:
                high = low + _norm(g) / reach + tiny
                for _ in range(60):
                    middle = 0.5 * (low + high)
                    if _shifted_length(diagonal, beside, middle, g, ratios, p) > reach:
                        low = middle
                    else:
                        high = middle
                    if high - low <= 1e-3 * (high - least):
                        break
                _shifted_length(diagonal, beside, high, g, ratios, p)
            elif low > tiny:
                # At a saddle whose gradient has no component along the direction of largest curvature, step along this
                # direction to the edge of the region. The shift nearly cancels the lowest eigenvalue, so that a single
                # inverse iteration gives the direction, from a start that is orthogonal to no vector of simple form.
                start = np.empty(n)
                direction = np.empty(n)
                for k in range(n):
                    start[k] = 1.0 / (1.0 + k)
                length = _shifted_length(diagonal, beside, low + tiny, start, ratios, direction)
                along = 0.0
                slope = 0.0
                for k in range(n):
                    direction[k] /= length
                    along += direction[k] * p[k]
                    slope += direction[k] * g[k]
                used = 0.0
                for k in range(n):
                    p[k] -= along * direction[k]
                    used += p[k] * p[k]
                rest = math.copysign(math.sqrt(max(reach * reach - used, 0.0)), slope)
                for k in range(n):
                    p[k] += rest * direction[k]
            for k in range(n - 2, -1, -1):
                _reflect(mirrors, halves, k, p)
        n_inside = 0
        for a in range(n):
            k = order[a]
            if p[a] < bound[k]:
                step[k] = bound[k]
            else:
                order[n_inside] = k
                n_inside += 1
        if n_inside == n:
            break
        n = n_inside
    for a in range(n):
        step[order[a]] = p[a]
    gain = 0.0
    for a in range(n_variables):
        line = hessian[a]
        curved = 0.0
        for b in range(n_variables):
            curved += line[b] * step[b]
        gain += step[a] * (gradient[a] + 0.5 * curved)
    return step, gain, _norm(step)


def trust_region(hessian, gradient, radius):
    """The p that maximises ``gradient p + p hessian p / 2`` within ``|p| <= radius``."""
    step, _, _ = bounded_step(hessian, gradient, np.full(gradient.size, -np.inf), radius)
    return step


@njit(**_KERNEL)
def _model(gradient, hessian, total, variances, floor):
    """Derivatives with respect to the variables of a step, first all ln w, then all means, then all u; their bounds."""
    size = variances.size
    n_variables = 3 * size
    # The parameter of each variable, and its unit.
    place = np.empty(n_variables, np.int64)
    unit = np.empty(n_variables)
    for j in range(size):
        for part in range(3):
            place[part * size + j] = 3 * j + part
        unit[j] = 1.0
        unit[size + j] = math.sqrt(total[j])
        unit[2 * size + j] = 2.0 * total[j]
    g = np.empty(n_variables)
    h = np.empty((n_variables, n_variables))
    # Lower bound on the change of each u in this step.
    bound = np.empty(n_variables)
    for a in range(n_variables):
        line = hessian[place[a]]
        row = h[a]
        scale = unit[a]
        g[a] = gradient[place[a]] * scale
        bound[a] = -math.inf
        for b in range(n_variables):
            row[b] = line[place[b]] * scale * unit[b]
    for j in range(size):
        a = 2 * size + j
        h[a, a] += 2.0 * unit[a] * gradient[place[a]]
        below = min((floor - variances[j]) / total[j], 0.0)
        bound[a] = 0.5 * math.log1p(max(below, -1.0 + 1e-15))
    return g, h, bound


@njit(**_KERNEL)
def _moved(step, bound, total, weights, means, variances, floor):
    """Weights, means and variances after a step."""
    size = weights.size
    new_weights = np.empty(size)
    new_means = np.empty(size)
    new_variances = np.empty(size)
    sum_weights = 0.0
    for j in range(size):
        a = 2 * size + j
        w = weights[j] * math.exp(min(max(step[j], -50.0), 50.0))
        sum_weights += w
        new_weights[j] = w
        new_means[j] = means[j] + math.sqrt(total[j]) * step[size + j]
        u = step[a]
        new_variances[j] = floor if u <= bound[a] else max(variances[j] + total[j] * math.expm1(2.0 * u), floor)
    for j in range(size):
        new_weights[j] /= sum_weights
    return new_weights, new_means, new_variances


def newton_step(gradient, hessian, total, weights, means, variances, floor, radius):
    """The best step within the trust region, with each variance at or above its lower bound.

    Parameters
    ----------
    gradient, hessian, total
        As `derivatives` returns them.
    weights, means, variances : ndarray, shape (n_components,)
        Parameters from which the step is taken.
    floor : float
        Lower bound on the variances.
    radius : float
        Largest length of the step, in the variables of this module.

    Returns
    -------
    weights, means, variances : ndarray, shape (n_components,)
        Parameters after the step; the weights sum to one.
    gain : float
        Gain predicted by the quadratic model.
    length : float
        Length of the step.
    """
    g, h, bound = _model(gradient, hessian, total, variances, floor)
    step, gain, length = bounded_step(h, g, bound, radius)
    return *_moved(step, bound, total, weights, means, variances, floor), gain, length
