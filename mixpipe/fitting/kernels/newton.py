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


@njit(cache=True)
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
    """
    size = weights.size
    gradient = np.empty(3 * size)
    hessian = np.empty((3 * size, 3 * size))
    total = np.empty(size)
    for a in range(3 * size):
        for b in range(a + 1):
            hessian[a, b] = -outer[a, b]
            hessian[b, a] = -outer[a, b]
    for j in range(size):
        q, q_inv, q_d, q_dd, q_inv2, q_d_inv, q_dd_inv, q_d3, q_d4 = sums[j]
        k = 3 * j
        gradient[k] = q - n_data * weights[j]
        gradient[k + 1] = q_d
        gradient[k + 2] = 0.5 * (q_dd - q_inv)
        mixed = 0.5 * q_d3 - 1.5 * q_d_inv
        hessian[k, k] += gradient[k]
        hessian[k, k + 1] += q_d
        hessian[k + 1, k] += q_d
        hessian[k, k + 2] += gradient[k + 2]
        hessian[k + 2, k] += gradient[k + 2]
        hessian[k + 1, k + 1] += q_dd - q_inv
        hessian[k + 1, k + 2] += mixed
        hessian[k + 2, k + 1] += mixed
        hessian[k + 2, k + 2] += 0.25 * q_d4 - 1.5 * q_dd_inv + 0.75 * q_inv2
        # A component to which no row can belong has no such scale; that of the data, which is of order one, is used
        # instead.
        total[j] = max(math.sqrt(q / q_inv2) if q > 0.0 and q_inv2 > 0.0 else 1.0, variances[j])
    return gradient, hessian, total


@njit(cache=True)
def _solve_definite(matrix, vector):
    """Solve a positive definite system by Cholesky's method; False if the matrix is not safely definite."""
    n = vector.size
    lower = np.empty((n, n))
    solution = np.empty(n)
    for i in range(n):
        for k in range(i + 1):
            rest = matrix[i, k]
            for m in range(k):
                rest -= lower[i, m] * lower[k, m]
            if k < i:
                lower[i, k] = rest / lower[k, k]
            elif rest > 1e-12 * abs(matrix[i, i]):
                lower[i, i] = math.sqrt(rest)
            else:
                return False, solution
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
    return True, solution


@njit(cache=True)
def nonnegative_maximum(gram, target):
    """The w >= 0 that maximises ``target w - w gram w / 2``, by an active-set method (Bro & de Jong 1997).

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        Positive semidefinite.
    target : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n,)
    """
    n = target.size
    passive = np.zeros(n, dtype=np.bool_)
    w = np.zeros(n)
    scale = max(np.max(np.diag(gram)), 1e-300)
    for _ in range(4 * n):
        slope = target - gram @ w
        best = -1
        for k in range(n):
            if not passive[k] and slope[k] > 1e-10 * (abs(target[k]) + 1e-300) and (best < 0 or slope[k] > slope[best]):
                best = k
        if best < 0:
            break
        passive[best] = True
        while True:
            index = np.flatnonzero(passive)
            part = np.empty((index.size, index.size))
            for a in range(index.size):
                for b in range(index.size):
                    part[a, b] = gram[index[a], index[b]]
                # The division of weight between nearly equal components is undetermined; a small ridge settles it.
                part[a, a] += 1e-10 * part[a, a] + 1e-14 * scale
            definite, solution = _solve_definite(part, target[index])
            if not definite:
                passive[best] = False
                return w
            if np.min(solution) > 0.0:
                w[:] = 0.0
                w[index] = solution
                break
            # Go back to the point where the first weight reaches zero.
            fraction = 1.0
            for a in range(index.size):
                if solution[a] <= 0.0 and w[index[a]] > solution[a]:
                    fraction = min(fraction, w[index[a]] / (w[index[a]] - solution[a]))
            for a in range(index.size):
                k = index[a]
                w[k] += fraction * (solution[a] - w[k])
                if w[k] <= 1e-300 or (solution[a] <= 0.0 and w[k] <= 1e-14):
                    w[k] = 0.0
                    passive[k] = False
            if not np.any(passive):
                break
    return w


@njit(cache=True)
def _norm(vector):
    return math.sqrt(np.sum(vector * vector))


@njit(cache=True)
def trust_region(hessian, gradient, radius):
    """The p that maximises ``gradient p + p hessian p / 2`` within ``|p| <= radius`` (Moré & Sorensen 1983)."""
    definite, p = _solve_definite(-hessian, gradient)
    if definite and _norm(p) <= radius:
        return p
    curvature, basis = np.linalg.eigh(-hessian)
    g = np.zeros(gradient.size)
    for k in range(g.size):
        g[k] = np.sum(basis[:, k] * gradient)
    tiny = 1e-14 * max(1.0, abs(curvature[-1]))
    low = max(0.0, -curvature[0])
    z = g / np.maximum(curvature + low, tiny)
    if _norm(z) > radius:
        lowest = low
        high = low + _norm(g) / radius + tiny
        for _ in range(60):
            middle = 0.5 * (low + high)
            if _norm(g / np.maximum(curvature + middle, tiny)) > radius:
                low = middle
            else:
                high = middle
            if high - low <= 1e-3 * (high - lowest):
                break
        z = g / np.maximum(curvature + high, tiny)
    elif curvature[0] < -tiny:
        # At a saddle whose gradient has no component along the direction of largest curvature, step along this
        # direction to the edge of the region.
        z[0] = 0.0
        z[0] = math.copysign(math.sqrt(max(radius * radius - np.sum(z * z), 0.0)), g[0])
    p = np.zeros(g.size)
    for k in range(g.size):
        p += basis[:, k] * z[k]
    return p


@njit(cache=True)
def newton_step(gradient, hessian, total, weights, means, variances, floor, radius, equal_sigmas):
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
    equal_sigmas : bool
        Whether all components have the same variance.

    Returns
    -------
    weights, means, variances : ndarray, shape (n_components,)
        Parameters after the step; the weights sum to one.
    gain : float
        Gain predicted by the quadratic model.
    length : float
        Length of the step.
    """
    size = weights.size
    # Index of the variable of each parameter of the mixture; a common width is a single variable.
    n_variables = 2 * size + 1 if equal_sigmas else 3 * size
    slot = np.empty(3 * size, dtype=np.int64)
    unit = np.ones(3 * size)
    shared_total = np.max(total)
    for j in range(size):
        slot[3 * j] = j
        slot[3 * j + 1] = size + j
        slot[3 * j + 2] = 2 * size if equal_sigmas else 2 * size + j
        width = shared_total if equal_sigmas else total[j]
        unit[3 * j + 1] = math.sqrt(width)
        unit[3 * j + 2] = 2.0 * width
    g = np.zeros(n_variables)
    h = np.zeros((n_variables, n_variables))
    for a in range(3 * size):
        g[slot[a]] += gradient[a] * unit[a]
        for b in range(3 * size):
            h[slot[a], slot[b]] += hessian[a, b] * unit[a] * unit[b]
    # Lower bound on the change of each u in this step.
    bound = np.full(n_variables, -np.inf)
    for j in range(size):
        a = 3 * j + 2
        h[slot[a], slot[a]] += 2.0 * unit[a] * gradient[a]
        width = 0.5 * unit[a]
        below = min((floor - variances[j]) / width, 0.0)
        bound[slot[a]] = 0.5 * math.log1p(max(below, -1.0 + 1e-15))

    step = np.zeros(n_variables)
    free = np.ones(n_variables, dtype=np.bool_)
    for k in range(2 * size, n_variables):
        if bound[k] > -1e-10 and g[k] <= 0.0:
            free[k] = False
    while True:
        n_free = np.sum(free)
        index = np.flatnonzero(free)
        # The quadratic model in the free variables, with the others fixed at their values in `step`.
        slope = g + h @ step
        part_g = np.empty(n_free)
        part_h = np.empty((n_free, n_free))
        used = 0.0
        for k in range(n_variables):
            if not free[k]:
                used += step[k] * step[k]
        for a in range(n_free):
            part_g[a] = slope[index[a]]
            for b in range(n_free):
                part_h[a, b] = h[index[a], index[b]]
        p = trust_region(part_h, part_g, math.sqrt(max(radius * radius - used, 1e-4 * radius * radius)))
        outside = False
        for a in range(n_free):
            k = index[a]
            if p[a] < bound[k]:
                # Stop at the bound, and solve again for the other variables.
                free[k] = False
                step[k] = bound[k]
                outside = True
        if not outside:
            for a in range(n_free):
                step[index[a]] = p[a]
            break
    gain = np.sum(g * step) + 0.5 * np.sum(step * (h @ step))
    new_weights = np.empty(size)
    new_means = np.empty(size)
    new_variances = np.empty(size)
    for j in range(size):
        a = 3 * j
        new_weights[j] = weights[j] * math.exp(min(max(step[slot[a]], -50.0), 50.0))
        new_means[j] = means[j] + unit[a + 1] * step[slot[a + 1]]
        width = 0.5 * unit[a + 2]
        u = step[slot[a + 2]]
        new_variances[j] = floor if u <= bound[slot[a + 2]] else max(variances[j] + width * math.expm1(2.0 * u), floor)
    new_weights /= np.sum(new_weights)
    return new_weights, new_means, new_variances, gain, _norm(step)
