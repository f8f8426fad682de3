"""The slow oracle for several columns: extreme deconvolution, written out from the paper for reading.

Bovy, Hogg & Roweis (2011), Annals of Applied Statistics 5, 1657 (arXiv:0905.2979). Row i has the values ``x[i]``
(d_i numbers), the covariance ``S[i]`` of their errors (d_i x d_i) and the projection ``R[i]`` (d_i x d) of the true
values v_i (d numbers) to what was observed: x_i = R_i v_i + noise. ``R=None`` means that all d columns are observed in
all rows; `from_missing` makes such lists of a table with NaN. A mixture is three arrays, ``weights`` (M), ``means``
(M, d) and ``covariances`` (M, d, d): w_j, m_j and V_j. ``row_weights`` are c_i (None means one each), and

    T_ij = R_i V_j R_i' + S_i        r_ij = x_i - R_i m_j        p_i = sum_j w_j N(r_ij | 0, T_ij).

Nothing here shares code with the package. The first part has plain loops over rows and components. The second part
has the same log-likelihood and gradient for all rows at once, and an optimiser that knows nothing of the EM step.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import OptimizeResult, minimize
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

Arrays = Sequence[np.ndarray] | np.ndarray
Counts = Sequence[float] | np.ndarray | None


class Mixture(NamedTuple):
    """A mixture, or derivatives by its parameters."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


# Data


def from_missing(x: Arrays, S: Arrays) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Values, covariances of errors and projections of the observed columns; NaN in `x` is missing.

    R_i has the rows of the identity that belong to the observed columns. What `S` says of others is not used.
    """
    values, noise, projections = [], [], []
    for xi, Si in zip(x, S, strict=True):
        seen = np.flatnonzero(~np.isnan(xi))
        values.append(np.asarray(xi, dtype=float)[seen])
        noise.append(np.asarray(Si, dtype=float)[np.ix_(seen, seen)])
        projections.append(np.eye(len(xi))[seen])
    return values, noise, projections


def rows(x: Arrays, S: Arrays, R: Arrays | None, n_dims: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(x_i, S_i, R_i) of every row. Shapes are checked, because broadcasting would hide a mistake."""
    R = [np.eye(n_dims)] * len(x) if R is None else R
    for i, (xi, Si, Ri) in enumerate(zip(x, S, R, strict=True)):
        if np.shape(Si) != (len(xi), len(xi)) or np.shape(Ri) != (len(xi), n_dims):
            raise ValueError(f"row {i}: {len(xi)} values, S of shape {np.shape(Si)}, R of shape {np.shape(Ri)}")
        if not (np.isfinite(xi).all() and np.isfinite(Si).all()):
            raise ValueError(f"row {i}: a value is not finite; use from_missing for missing values")
        yield np.asarray(xi, dtype=float), np.asarray(Si, dtype=float), np.asarray(Ri, dtype=float)


def row_counts(x: Arrays, row_weights: Counts) -> np.ndarray:
    """The weight of each row."""
    return np.ones(len(x)) if row_weights is None else np.asarray(row_weights, dtype=float)


def sum_over_rows(terms: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of arrays of one shape, without an error of rounding in the sum."""
    stacked = np.array(terms)
    return np.array([math.fsum(column) for column in stacked.reshape(len(terms), -1).T]).reshape(stacked.shape[1:])


# Likelihood


def log_normal(r: np.ndarray, T: np.ndarray) -> float:
    """ln N(r | 0, T); nothing observed has density one."""
    root = np.linalg.cholesky(T)
    z = solve_triangular(root, r, lower=True)
    return float(-0.5 * (z @ z) - np.log(np.diag(root)).sum() - 0.5 * len(r) * math.log(2.0 * math.pi))


def log_normals(
    x: Arrays, S: Arrays, R: Arrays | None, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    """ln N(r_ij | 0, T_ij) for every row i and component j; the weights are not used."""
    result = np.empty((len(x), len(weights)))
    for i, (xi, Si, Ri) in enumerate(rows(x, S, R, np.shape(means)[1])):
        for j, (mj, Vj) in enumerate(zip(means, covariances, strict=True)):
            result[i, j] = log_normal(xi - Ri @ mj, Ri @ Vj @ Ri.T + Si)
    return result


def log_joint(
    x: Arrays, S: Arrays, R: Arrays | None, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    """ln(w_j N(r_ij | 0, T_ij)) for every row i and component j."""
    with np.errstate(divide="ignore"):
        return np.log(weights) + log_normals(x, S, R, weights, means, covariances)


def log_densities(
    x: Arrays, S: Arrays, R: Arrays | None, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    """ln p_i for every row."""
    return logsumexp(log_joint(x, S, R, weights, means, covariances), axis=1)


def loglik(
    x: Arrays,
    S: Arrays,
    R: Arrays | None,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    row_weights: Counts = None,
) -> float:
    """sum_i c_i ln p_i."""
    return math.fsum(row_counts(x, row_weights) * log_densities(x, S, R, weights, means, covariances))


def responsibilities(
    x: Arrays, S: Arrays, R: Arrays | None, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    """q[i, j] = w_j N(r_ij | 0, T_ij) / p_i; each row sums to one."""
    joint = log_joint(x, S, R, weights, means, covariances)
    return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))


def gradient(
    x: Arrays,
    S: Arrays,
    R: Arrays | None,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    row_weights: Counts = None,
) -> Mixture:
    """Derivatives of `loglik` by w_j, m_j and V_j; no parameter is tied to another.

    d/dw_j = sum_i c_i N_ij / p_i (the weights are free, their sum need not be one); d/dm_j = sum_i c_i q_ij u_ij with
    u_ij = R_i' T_ij^-1 r_ij; d/dV_j = sum_i c_i q_ij (u_ij u_ij' - R_i' T_ij^-1 R_i) / 2. The last one is the symmetric
    matrix G with d loglik = sum_ab G_ab dV_ab: if V_ab and V_ba change together, the slope is 2 G_ab.
    """
    counts = row_counts(x, row_weights)
    normals = log_normals(x, S, R, weights, means, covariances)
    densities = log_densities(x, S, R, weights, means, covariances)
    by_weight, by_mean, by_covariance = [], [], []
    for j in range(len(weights)):
        terms = []
        for i, (xi, Si, Ri) in enumerate(rows(x, S, R, np.shape(means)[1])):
            T = cho_factor(Ri @ covariances[j] @ Ri.T + Si)
            u = Ri.T @ cho_solve(T, xi - Ri @ means[j])
            ratio = counts[i] * math.exp(normals[i, j] - densities[i])
            curvature = np.outer(u, u) - Ri.T @ cho_solve(T, Ri)
            terms.append((ratio, ratio * weights[j] * u, ratio * weights[j] * curvature / 2.0))
        by_weight.append(math.fsum(t[0] for t in terms))
        by_mean.append(sum_over_rows([t[1] for t in terms]))
        by_covariance.append(sum_over_rows([t[2] for t in terms]))
    return Mixture(np.array(by_weight), np.array(by_mean), np.array(by_covariance))


# Expectation maximisation


def true_values(
    x: Arrays, S: Arrays, R: Arrays | None, means: np.ndarray, covariances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean b[i, j] and covariance B[i, j] of the true values of row i if it belongs to component j.

    b_ij = m_j + V_j R_i' T_ij^-1 r_ij and B_ij = V_j - V_j R_i' T_ij^-1 R_i V_j.
    """
    n_components, n_dims = np.shape(means)
    b = np.empty((len(x), n_components, n_dims))
    B = np.empty((len(x), n_components, n_dims, n_dims))
    for i, (xi, Si, Ri) in enumerate(rows(x, S, R, n_dims)):
        for j, (mj, Vj) in enumerate(zip(means, covariances, strict=True)):
            T = cho_factor(Ri @ Vj @ Ri.T + Si)
            b[i, j] = mj + Vj @ Ri.T @ cho_solve(T, xi - Ri @ mj)
            B[i, j] = Vj - Vj @ Ri.T @ cho_solve(T, Ri @ Vj)
    return b, B


def em_step(
    x: Arrays,
    S: Arrays,
    R: Arrays | None,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    row_weights: Counts = None,
) -> Mixture:
    """The step of the paper, with q_ij replaced by c_i q_ij where it sums over rows.

    w_j = sum_i q_ij / N, m_j = sum_i q_ij b_ij / q_j and, with this new mean,
    V_j = sum_i q_ij [(m_j - b_ij)(m_j - b_ij)' + B_ij] / q_j.
    """
    counts = row_counts(x, row_weights)
    q = responsibilities(x, S, R, weights, means, covariances)
    b, B = true_values(x, S, R, means, covariances)
    new_weights, new_means, new_covariances = [], [], []
    for j in range(len(weights)):
        soft_counts = counts * q[:, j]
        total = math.fsum(soft_counts)
        mean = sum_over_rows([c * bi for c, bi in zip(soft_counts, b[:, j], strict=True)]) / total
        spread = [
            c * (np.outer(mean - bi, mean - bi) + Bi) for c, bi, Bi in zip(soft_counts, b[:, j], B[:, j], strict=True)
        ]
        new_weights.append(total / math.fsum(counts))
        new_means.append(mean)
        new_covariances.append(sum_over_rows(spread) / total)
    return Mixture(np.array(new_weights), np.array(new_means), np.array(new_covariances))


def fit_by_em(
    x: Arrays, S: Arrays, R: Arrays | None, start: Mixture, n_steps: int, row_weights: Counts = None
) -> tuple[Mixture, list[float]]:
    """The mixture after `n_steps` steps, and the log-likelihoods of the start and after each step."""
    mixture = Mixture(*start)
    logliks = [loglik(x, S, R, *mixture, row_weights)]
    for _ in range(n_steps):
        mixture = em_step(x, S, R, *mixture, row_weights)
        logliks.append(loglik(x, S, R, *mixture, row_weights))
    return mixture, logliks


def posterior(
    x: Arrays, S: Arrays, R: Arrays | None, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (N, d) and covariance (N, d, d) of the true values of each row: the moments of its mixture of b_ij, B_ij."""
    q = responsibilities(x, S, R, weights, means, covariances)
    b, B = true_values(x, S, R, means, covariances)
    centres, spreads = [], []
    for qi, bi, Bi in zip(q, b, B, strict=True):
        centre = sum(qij * bij for qij, bij in zip(qi, bi, strict=True))
        centres.append(centre)
        spreads.append(
            sum(qij * (Bij + np.outer(bij - centre, bij - centre)) for qij, bij, Bij in zip(qi, bi, Bi, strict=True))
        )
    return np.array(centres), np.array(spreads)


# The same log-likelihood and gradient for all rows at once


class Batch(NamedTuple):
    """All rows with the same number d_i of values; rows are the last axis."""

    x: np.ndarray  # (d_i, n)
    S: np.ndarray  # (d_i, d_i, n)
    R: np.ndarray  # (d_i, n, d)
    counts: np.ndarray  # (n)
    K: np.ndarray  # (d_i, d_i, n, d, d): (R V R')_ab = sum_de K_abde V_de


def batches(x: Arrays, S: Arrays, R: Arrays | None, n_dims: int, row_weights: Counts = None) -> list[Batch]:
    """The rows, sorted by their number of values."""
    table = list(zip(*zip(*rows(x, S, R, n_dims), strict=True), row_counts(x, row_weights), strict=True))
    result = []
    for size in sorted({len(row[0]) for row in table}):
        xs, Ss, Rs, counts = (np.array(part) for part in zip(*(r for r in table if len(r[0]) == size), strict=True))
        K = np.einsum("nad,nbe->abnde", Rs, Rs)
        result.append(Batch(xs.T, np.moveaxis(Ss, 0, 2), np.moveaxis(Rs, 0, 1), counts, np.ascontiguousarray(K)))
    return result


def inverse_and_log_det(T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverses and ln det of positive definite matrices (d, d, ...), by Gauss-Jordan sweeps of all pivots."""
    T, log_det = T.copy(), np.zeros(T.shape[2:])
    for k in range(len(T)):
        pivot = T[k, k].copy()
        log_det += np.log(pivot)
        column = T[:, k].copy()
        T -= column[:, None] * column / pivot
        T[:, k] = T[k] = column / pivot
        T[k, k] = -1.0 / pivot
    return -T, log_det


def loglik_and_gradient(data: list[Batch], mixture: Mixture) -> tuple[float, Mixture]:
    """`loglik` and `gradient` of all rows at once; weights must be positive."""
    weights, means, covariances = mixture
    value, by = 0.0, Mixture(np.zeros_like(weights), np.zeros_like(means), np.zeros_like(covariances))
    for x, S, R, counts, K in data:
        inverse, log_det = inverse_and_log_det(np.tensordot(K, covariances, ([3, 4], [1, 2])) + S[..., None])
        r = x[..., None] - np.tensordot(R, means, ([2], [1]))
        z = (inverse * r).sum(axis=1)
        normals = -0.5 * ((z * r).sum(axis=0) + log_det + len(x) * math.log(2.0 * math.pi))
        densities = logsumexp(np.log(weights) + normals, axis=1, keepdims=True)
        ratio = counts[:, None] * np.exp(normals - densities)
        q = ratio * weights
        value += counts @ densities[:, 0]
        by.weights[:] += ratio.sum(axis=0)
        by.means[:] += np.tensordot(q * z, R, ([0, 1], [0, 1]))
        by.covariances[:] += np.tensordot(0.5 * q * (z[:, None] * z - inverse), K, ([0, 1, 2], [0, 1, 2]))
    return float(value), by


# Second derivatives


def coordinates(mixture: Mixture) -> np.ndarray:
    """Free parameters: ln(w_j / w_M) for j < M, then all means, then the lower triangles of all V_j, row by row."""
    weights, means, covariances = (np.asarray(part, dtype=float) for part in mixture)
    lower = np.tril_indices(means.shape[1])
    logits = np.log(weights[:-1] / weights[-1])
    return np.concatenate([logits, means.ravel(), *(V[lower] for V in covariances)])


def from_coordinates(theta: np.ndarray, n_components: int, n_dims: int) -> Mixture:
    """The mixture with these `coordinates`."""
    logits, means, lowers = np.split(theta, [n_components - 1, n_components - 1 + n_components * n_dims])
    odds = np.append(logits, 0.0)
    rows_, columns = np.tril_indices(n_dims)
    covariances = np.empty((n_components, n_dims, n_dims))
    covariances[:, rows_, columns] = covariances[:, columns, rows_] = lowers.reshape(n_components, -1)
    return Mixture(np.exp(odds - logsumexp(odds)), means.reshape(n_components, n_dims), covariances)


def gradient_in_coordinates(data: list[Batch], theta: np.ndarray, n_components: int, n_dims: int) -> np.ndarray:
    """Derivatives of the log-likelihood by `coordinates`."""
    mixture = from_coordinates(theta, n_components, n_dims)
    _, by = loglik_and_gradient(data, mixture)
    by_logit = mixture.weights * (by.weights - mixture.weights @ by.weights)
    # Off the diagonal, two elements of V change together.
    twice = (2.0 - np.eye(n_dims))[np.tril_indices(n_dims)]
    lower = [twice * G[np.tril_indices(n_dims)] for G in by.covariances]
    return np.concatenate([by_logit[:-1], by.means.ravel(), *lower])


def hessian(
    x: Arrays,
    S: Arrays,
    R: Arrays | None,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    row_weights: Counts = None,
) -> np.ndarray:
    """Second derivatives of `loglik` by `coordinates`, from central differences of the gradient.

    At a maximum the inverse of minus this matrix is the covariance of the estimates. Steps are a thousandth of the
    least width at which a row sees a component while all else is held, (R_i' T_ij^-1 R_i)_aa^-1/2. From steps h and
    2 h the error in h^2 is eliminated, so that rounding remains: some 1e-11 of the largest elements.
    """
    n_components, n_dims = np.shape(means)
    data = batches(x, S, R, n_dims, row_weights)
    theta = coordinates(Mixture(weights, means, covariances))
    sharpest = np.zeros((n_components, n_dims))
    for _, Si, Ri in rows(x, S, R, n_dims):
        for j, Vj in enumerate(covariances):
            sharpest[j] = np.maximum(sharpest[j], np.diag(Ri.T @ np.linalg.solve(Ri @ Vj @ Ri.T + Si, Ri)))
    width = 1.0 / np.sqrt(sharpest)
    area = [np.outer(side, side)[np.tril_indices(n_dims)] for side in width]
    steps = 1e-3 * np.concatenate([np.ones(n_components - 1), width.ravel(), *area])

    def slope(k: int, shift: float) -> np.ndarray:
        moved = theta.copy()
        moved[k] += shift
        return gradient_in_coordinates(data, moved, n_components, n_dims)

    lines = []
    with threadpool_limits(1):
        for k, h in enumerate(steps):
            near, far = (slope(k, m * h) - slope(k, -m * h) for m in (1, 2))
            lines.append((8.0 * near - far) / (12.0 * h))
    return 0.5 * (np.array(lines) + np.array(lines).T)


# An optimiser that knows nothing of the EM step


class Space(NamedTuple):
    """v = centre + scale z: the optimiser works on z, whose rows are of order one. The noise and x keep their units."""

    centre: np.ndarray
    scale: np.ndarray
    variances: np.ndarray  # the floor of the variances of z

    def mixture(self, theta: np.ndarray, n_components: int) -> Mixture:
        """Mixture of z: w = softmax of logits, V = floor + C C' with lower triangular C, which may be singular."""
        n_dims = len(self.centre)
        logits, means, lowers = np.split(theta, [n_components, n_components * (1 + n_dims)])
        C = np.zeros((n_components, n_dims, n_dims))
        C[(slice(None), *np.tril_indices(n_dims))] = lowers.reshape(n_components, -1)
        covariances = C @ C.transpose(0, 2, 1) + np.diag(self.variances)
        return Mixture(np.exp(logits - logsumexp(logits)), means.reshape(n_components, n_dims), covariances)

    def unscaled(self, mixture: Mixture) -> Mixture:
        """Mixture of v, sorted by the mean of its first column."""
        order = np.argsort(mixture.means[:, 0])
        weights, means, covariances = (part[order] for part in mixture)
        return Mixture(weights, self.centre + self.scale * means, covariances * np.outer(self.scale, self.scale))


def space_of(table: list[tuple[np.ndarray, np.ndarray, np.ndarray]], counts: np.ndarray, floor: np.ndarray) -> Space:
    """Centre by least squares, and scale as the rms of the residuals in each column."""
    n_dims = len(floor)
    normal = sum(c * R.T @ R for (_, _, R), c in zip(table, counts, strict=True))
    pull = sum(c * R.T @ x for (x, _, R), c in zip(table, counts, strict=True))
    centre = np.linalg.lstsq(normal, pull, rcond=None)[0]
    squares = sum(c * (R.T @ (x - R @ centre)) ** 2 for (x, _, R), c in zip(table, counts, strict=True))
    seen = np.diag(normal)
    scale = np.sqrt(np.where((seen > 0.0) & (squares > 0.0), squares, 1.0) / np.where(seen > 0.0, seen, 1.0))
    return Space(centre, scale, np.broadcast_to(floor / scale, n_dims) ** 2)


def objective(theta: np.ndarray, data: list[Batch], space: Space, n_components: int) -> tuple[float, np.ndarray]:
    """Minus the mean log-likelihood per row and its gradient; theta = (logits, means, lower triangles of C)."""
    n, n_dims = sum(batch.counts.sum() for batch in data), len(space.centre)
    mixture = space.mixture(theta, n_components)
    value, by = loglik_and_gradient(data, mixture)
    C = np.zeros((n_components, n_dims, n_dims))
    lower = (slice(None), *np.tril_indices(n_dims))
    C[lower] = theta[n_components * (1 + n_dims) :].reshape(n_components, -1)
    by_logit = mixture.weights * (by.weights - n)
    # d(C C') = dC C' + C dC', and G is symmetric.
    by_factor = (2.0 * by.covariances @ C)[lower]
    return -value / n, -np.concatenate([by_logit, by.means.ravel(), by_factor.ravel()]) / n


def random_start(z: np.ndarray, counts: np.ndarray, n_components: int, rng: np.random.Generator) -> np.ndarray:
    """Means at rows far from each other, and covariances from 10 to 50 % of that of all rows.

    After the first one, a row is drawn with the probability of its squared distance from the nearest one drawn so far
    (Arthur & Vassilvitskii 2007).
    """
    n_dims = z.shape[1]
    overall = np.cov(z.T, aweights=counts, ddof=0).reshape(n_dims, n_dims)
    root = np.linalg.cholesky(overall + 1e-3 * np.eye(n_dims))
    white = np.linalg.solve(root, z.T).T
    drawn = [rng.choice(len(z), p=counts / counts.sum())]
    while len(drawn) < n_components:
        squares = counts * np.min([((white - white[k]) ** 2).sum(axis=1) for k in drawn], axis=0)
        drawn.append(rng.choice(len(z), p=squares / squares.sum()))
    logits = np.log(rng.dirichlet(np.full(n_components, 2.0)) + 1e-3)
    sizes = rng.uniform(0.3, 0.7, size=n_components)
    return np.concatenate([logits, z[drawn].ravel(), np.outer(sizes, root[np.tril_indices(n_dims)]).ravel()])


def is_singular(S: np.ndarray) -> bool:
    """Whether a direction is without noise, whatever the units of the columns."""
    sigma = np.sqrt(np.diag(S))
    return not sigma.all() or np.linalg.matrix_rank(S / np.outer(sigma, sigma), hermitian=True) < len(S)


def climb(
    theta: np.ndarray,
    data: list[Batch],
    space: Space,
    n_components: int,
    tolerance: float,
    hold_weights: bool = False,
) -> OptimizeResult:
    """A run of L-BFGS-B."""
    logit_bounds = [(a, a) if hold_weights else (-50.0, 50.0) for a in theta[:n_components]]
    # In units of the rms no maximum is out there: these only keep trial steps from overflow.
    shape_bounds = [(-1e3, 1e3)] * (len(theta) - n_components)
    options = {"maxiter": 3000, "maxfun": 6000, "maxcor": 20, "ftol": tolerance, "gtol": tolerance}
    args, bounds = (data, space, n_components), logit_bounds + shape_bounds
    # On a busy machine the threads of BLAS wait for each other far longer than these small matrices take.
    with threadpool_limits(1):
        return minimize(objective, theta, args, method="L-BFGS-B", jac=True, bounds=bounds, options=options)


def fit_by_optimiser(
    x: Arrays,
    S: Arrays,
    R: Arrays | None,
    n_components: int,
    starts: int,
    rng: np.random.Generator,
    row_weights: Counts = None,
    floor: Sequence[float] | None = None,
) -> tuple[float, Mixture]:
    """The highest log-likelihood of `starts` random runs of L-BFGS-B, and its mixture, sorted by the first mean.

    The covariances are V_j = diag(floor^2) + C_j C_j', so that singular ones (without a floor) are reached exactly. A
    floor is needed where a row has a direction without noise: the likelihood is unbounded there without one.
    """
    n_dims = len(x[0]) if R is None else np.shape(R[0])[1]
    table, counts = list(rows(x, S, R, n_dims)), row_counts(x, row_weights)
    floors = np.zeros(n_dims) if floor is None else np.asarray(floor, dtype=float)
    if not floors.all() and any(is_singular(Si) for _, Si, _ in table):
        raise ValueError("rows without noise need a floor: the likelihood is unbounded")
    space = space_of(table, counts, floors)
    centred = [xi - Ri @ space.centre for xi, _, Ri in table]
    scaled = [Ri * space.scale for _, _, Ri in table]
    data = batches(centred, [Si for _, Si, _ in table], scaled, n_dims, counts)
    z = np.array([np.linalg.pinv(Ri) @ xi for xi, Ri in zip(centred, scaled, strict=True)])

    def run() -> OptimizeResult:
        # A component that starts at a bad place would otherwise lose its weight before it has moved.
        placed = climb(random_start(z, counts, n_components, rng), data, space, n_components, 1e-6, hold_weights=True)
        return climb(placed.x, data, space, n_components, 1e-9)

    best = min((run() for _ in range(starts)), key=lambda result: result.fun)
    # A direction in which C vanishes has no slope, be it a maximum or not: a nudge opens it.
    diagonal = np.tile(np.eye(n_dims)[np.tril_indices(n_dims)], n_components)
    nudge = np.concatenate([np.zeros(n_components * (1 + n_dims)), 1e-2 * diagonal])
    for change in (0.0, nudge, 0.0):
        again = climb(best.x + change, data, space, n_components, 1e-15)
        best = again if again.fun <= best.fun else best
    mixture = space.unscaled(space.mixture(best.x, n_components))
    return float(-best.fun * counts.sum()), mixture
