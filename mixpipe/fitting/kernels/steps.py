"""Steps of an ascent for several columns between two passes: EM, coordinates around a mixture, L-BFGS.

Each of these is a few small matrices for each component, on which NumPy takes longer than a pass over some thousand
rows. See `mixpipe.fitting.joint.chart` for the coordinates. Lower triangles are packed row by row. Like every file of
kernels, this one imports only math, numpy and numba, and trusts its callers.
"""

import math

import numpy as np
from numba import njit

# A pivot below this part of its diagonal element may be rounding.
_ROUNDING = 1e-13

_KERNEL = {"no_cfunc_wrapper": True, "error_model": "numpy", "cache": True}
_HELPER = {"no_cpython_wrapper": True, **_KERNEL}


@njit(**_HELPER)
def _exceeds(matrix, least, work):
    """Whether a matrix less a diagonal one is positive definite beyond rounding; False if it is not finite."""
    n_dims = least.size
    for a in range(n_dims):
        for b in range(a):
            total = matrix[a, b]
            for c in range(b):
                total -= work[a, c] * work[b, c]
            work[a, b] = total / work[b, b]
        total = matrix[a, a] - least[a]
        for c in range(a):
            total -= work[a, c] * work[a, c]
        if not (total > _ROUNDING * matrix[a, a] and total < math.inf):
            return False
        work[a, a] = math.sqrt(total)
    return True


@njit(**_KERNEL)
def exceed(matrices, least):
    """Which of the matrices (M, d, d), less the diagonal matrices (M, d), are positive definite beyond rounding."""
    found = np.empty(matrices.shape[0], dtype=np.bool_)
    work = np.empty(matrices.shape[1:])
    for j in range(found.size):
        found[j] = _exceeds(matrices[j], least[j], work)
    return found


@njit(**_KERNEL)
def em_step(weights, means, covariances, shares, slopes, curls, floor, least_weight):
    """The step of extreme deconvolution (Bovy, Hogg & Roweis 2011, equation 16) from the sums of a pass.

    Parameters
    ----------
    weights, means, covariances : ndarray, shapes (M,), (M, d) and (M, d, d)
    shares, slopes, curls : ndarray, shapes (M,), (M, d) and (M, d, d)
        Sums of c q, c q u and c q G.
    floor : ndarray, shape (d,)
    least_weight : float

    Returns
    -------
    weights, means, covariances : ndarray
    exceeds : bool
        Whether all covariances exceed the floor in all directions.
    """
    size, n_dims = means.shape
    new_weights, new_means, new_covs = np.empty(size), means.copy(), covariances.copy()
    step, half, work = np.empty(n_dims), np.empty((n_dims, n_dims)), np.empty((n_dims, n_dims))
    total, exceeds = shares.sum(), True
    for j in range(size):
        new_weights[j] = max(shares[j] / total, least_weight)
        cov, new = covariances[j], new_covs[j]
        # A component without rows stays where it is.
        if shares[j] > 1e-12:
            inverse = 1.0 / shares[j]
            for a in range(n_dims):
                step[a] = 0.0
                for b in range(n_dims):
                    step[a] += cov[a, b] * slopes[j, b] * inverse
                    half[a, b] = 0.0
                    for c in range(n_dims):
                        half[a, b] += cov[a, c] * curls[j, c, b]
            for a in range(n_dims):
                new_means[j, a] += step[a]
                for b in range(a + 1):
                    inner = 0.0
                    for c in range(n_dims):
                        inner += half[a, c] * cov[c, b]
                    new[a, b] += inner * inverse - step[a] * step[b]
                    new[b, a] = new[a, b]
        exceeds = _exceeds(new, floor, work) and exceeds
    return new_weights, new_means, new_covs, exceeds


@njit(**_HELPER)
def _triangle(full, j, size, n_dims, root, out):
    """The matrix E - I of a component, from the coordinates of all."""
    k = size * (1 + n_dims) + j * (n_dims * (n_dims + 1) // 2)
    for a in range(n_dims):
        for b in range(a + 1):
            out[a, b] = full[k] / root
            if a == b:
                out[a, b] *= math.sqrt(0.5)
            else:
                out[b, a] = 0.0
            k += 1


@njit(**_KERNEL)
def place(full, log_weights, means, roots, mean_factors, factors, floor, least_weight):
    """The mixture at the coordinates `full` of a chart: weights, means and covariances."""
    size, n_dims = means.shape
    weights, new_means = np.empty(size), np.empty((size, n_dims))
    covs = np.empty((size, n_dims, n_dims))
    shape, half = np.empty((n_dims, n_dims)), np.zeros((n_dims, n_dims))
    highest = -math.inf
    for j in range(size):
        weights[j] = log_weights[j] + full[j] / roots[j]
        highest = max(highest, weights[j])
    total = 0.0
    for j in range(size):
        weights[j] = math.exp(weights[j] - highest)
        total += weights[j]
    for j in range(size):
        weights[j] = max(weights[j] / total, least_weight)
        root, mu = roots[j], full[size + j * n_dims : size + (j + 1) * n_dims]
        _triangle(full, j, size, n_dims, root, shape)
        for a in range(n_dims):
            shape[a, a] += 1.0
        for a in range(n_dims):
            new_means[j, a] = means[j, a]
            for b in range(a + 1):
                new_means[j, a] += mean_factors[j, a, b] * mu[b] / root
                total_ab = 0.0
                for c in range(b, a + 1):
                    total_ab += factors[j, a, c] * shape[c, b]
                half[a, b] = total_ab
        for a in range(n_dims):
            for b in range(a + 1):
                value = floor[a] if a == b else 0.0
                for c in range(b + 1):
                    value += half[a, c] * half[b, c]
                covs[j, a, b] = covs[j, b, a] = value
    return weights, new_means, covs


@njit(**_KERNEL)
def slope(full, weights, shares, slopes, curls, roots, mean_factors, factors):
    """The gradient of the log-likelihood in the coordinates `full` of a chart, from the sums of a pass there."""
    size, n_dims = slopes.shape
    n_triangle = n_dims * (n_dims + 1) // 2
    found = np.empty(size * (1 + n_dims + n_triangle))
    shape, half, turned = np.empty((n_dims, n_dims)), np.zeros((n_dims, n_dims)), np.empty((n_dims, n_dims))
    total = shares.sum()
    for j in range(size):
        root = roots[j]
        found[j] = (shares[j] - total * weights[j]) / root
        _triangle(full, j, size, n_dims, root, shape)
        for a in range(n_dims):
            shape[a, a] += 1.0
        for a in range(n_dims):
            change = 0.0
            for c in range(a, n_dims):
                change += slopes[j, c] * mean_factors[j, c, a]
            found[size + j * n_dims + a] = change / root
            for b in range(a + 1):
                half[a, b] = 0.0
                for c in range(b, a + 1):
                    half[a, b] += factors[j, a, c] * shape[c, b]
        # C' G C E, of which the lower triangle counts.
        for a in range(n_dims):
            for b in range(n_dims):
                turned[a, b] = 0.0
                for c in range(b, n_dims):
                    turned[a, b] += curls[j, a, c] * half[c, b]
        k = size * (1 + n_dims) + j * n_triangle
        for a in range(n_dims):
            for b in range(a + 1):
                change = 0.0
                for c in range(a, n_dims):
                    change += factors[j, c, a] * turned[c, b]
                found[k] = change / root * (math.sqrt(0.5) if a == b else 1.0)
                k += 1
    return found


@njit(**_KERNEL)
def length(full, roots, n_dims):
    """The largest change of a component: of its mean or its shape in units of its width, or of its ln w."""
    size, n_triangle = roots.size, n_dims * (n_dims + 1) // 2
    longest = 0.0
    for j in range(size):
        root, square = roots[j], 0.0
        longest = max(longest, abs(full[j]) / root)
        for a in range(n_dims):
            square += full[size + j * n_dims + a] ** 2
        longest = max(longest, math.sqrt(square) / root)
        k = size * (1 + n_dims) + j * n_triangle
        for a in range(n_dims):
            for b in range(a + 1):
                longest = max(longest, abs(full[k]) / root * (math.sqrt(0.5) if a == b else 1.0))
                k += 1
    return longest


@njit(**_HELPER)
def _dot(x, y):
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@njit(**_KERNEL)
def reduced(gradient, steps, changes, products, n_pairs):
    """The first half of the recursion of L-BFGS (Nocedal 1980): the direction, and the shares of the pairs.

    The last of `n_pairs` pairs is at ``(n_pairs - 1) % len(products)``, and those before it precede it in the ring.
    """
    direction, size = gradient.copy(), products.size
    shares = np.zeros(size)
    for back in range(min(n_pairs, size)):
        k = (n_pairs - 1 - back) % size
        shares[k] = _dot(steps[k], direction) / products[k]
        for i in range(direction.size):
            direction[i] -= shares[k] * changes[k, i]
    return direction, shares


@njit(**_KERNEL)
def extended(direction, shares, steps, changes, products, n_pairs):
    """The second half: the pairs are added to a direction, in place."""
    size = products.size
    for k0 in range(max(0, n_pairs - size), n_pairs):
        k = k0 % size
        share = shares[k] - _dot(changes[k], direction) / products[k]
        for i in range(direction.size):
            direction[i] += share * steps[k, i]
