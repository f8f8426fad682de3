"""The slow oracle: the mathematics of a mixture with per-row errors, written out for reading.

Plain loops over rows and components, `math` and `math.fsum`; nothing here shares code with the package. Data
are sequences ``x``, ``err`` (1 sigma, 0 allowed) and ``row_weights`` (None means one each); a mixture is
three sequences ``w``, ``m``, ``s``: weights, means, intrinsic sigmas. ``q_ij`` are responsibilities, ``c_i``
row weights, ``T_ij = s_j^2 + e_i^2``, ``d_ij = x_i - m_j`` and ``N = sum_i c_i``. Only `maximise` uses NumPy.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from threadpoolctl import threadpool_limits

Row = Sequence[float]
Parameters = tuple[list[float], list[float], list[float]]


def row_counts(x: Row, row_weights: Row | None) -> list[float]:
    """The weight of each row."""
    return [1.0] * len(x) if row_weights is None else [float(c) for c in row_weights]


def log_normal(offset: float, variance: float) -> float:
    """ln N(offset | 0, variance); a variance of zero is a point mass."""
    if variance == 0.0:
        if offset == 0.0:
            raise ValueError("infinite likelihood: a component without width on a row without error")
        return -math.inf
    return -0.5 * (offset * offset / variance + math.log(2.0 * math.pi * variance))


def log_sum_exp(terms: Row) -> float:
    """ln sum exp(terms), the largest term taken out."""
    largest = max(terms)
    if largest == -math.inf:
        return -math.inf
    return largest + math.log(math.fsum(math.exp(t - largest) for t in terms))


def log_joint(xi: float, ei: float, w: Row, m: Row, s: Row) -> list[float]:
    """ln(w_j N(x_i | m_j, T_ij)) for every component j."""
    return [
        math.log(wj) + log_normal(xi - mj, sj * sj + ei * ei) if wj > 0.0 else -math.inf
        for wj, mj, sj in zip(w, m, s, strict=True)
    ]


def log_density(x: Row, err: Row, w: Row, m: Row, s: Row) -> list[float]:
    """ln p(x_i) for every row."""
    return [log_sum_exp(log_joint(xi, ei, w, m, s)) for xi, ei in zip(x, err, strict=True)]


def loglik(x: Row, err: Row, w: Row, m: Row, s: Row, row_weights: Row | None = None) -> float:
    """sum_i c_i ln p(x_i)."""
    counts = row_counts(x, row_weights)
    return math.fsum(c * lp for c, lp in zip(counts, log_density(x, err, w, m, s), strict=True))


def responsibilities(x: Row, err: Row, w: Row, m: Row, s: Row) -> list[list[float]]:
    """q[i][j], each row summing to one."""
    result = []
    for xi, ei in zip(x, err, strict=True):
        terms = log_joint(xi, ei, w, m, s)
        total = log_sum_exp(terms)
        result.append([math.exp(t - total) for t in terms])
    return result


def entropy(x: Row, err: Row, w: Row, m: Row, s: Row, row_weights: Row | None = None) -> float:
    """-sum_ij c_i q_ij ln q_ij, never negative."""
    counts = row_counts(x, row_weights)
    q = responsibilities(x, err, w, m, s)
    return math.fsum(-c * qij * math.log(qij) for c, qi in zip(counts, q, strict=True) for qij in qi if qij > 0.0)


def criteria(value: float, entropy_value: float, n_params: int, n_data: float) -> dict[str, float]:
    """BIC, AIC and ICL of a log-likelihood; lower is better."""
    bic = n_params * math.log(n_data) - 2.0 * value
    return {"bic": bic, "aic": 2.0 * n_params - 2.0 * value, "icl": bic + 2.0 * entropy_value}


def lagrangian(x: Row, err: Row, alpha: Row, m: Row, v: Row, row_weights: Row | None = None) -> float:
    """F = sum_i c_i ln sum_j exp(alpha_j) N(x_i | m_j, v_j + e_i^2) - N (sum_j exp(alpha_j) - 1)."""
    w = [math.exp(a) for a in alpha]
    n = math.fsum(row_counts(x, row_weights))
    return loglik(x, err, w, m, [math.sqrt(vj) for vj in v], row_weights) - n * (math.fsum(w) - 1.0)


def gradient_and_hessian(
    x: Row, err: Row, alpha: Row, m: Row, v: Row, row_weights: Row | None = None
) -> tuple[list[float], list[list[float]]]:
    """First and second derivatives of `lagrangian`; order: all alphas, all means, all variances.

    With l_ij = alpha_j + ln N_ij, its first derivatives u and its second derivatives h,
        dF   = sum_i c_i q_ij u_ij^a
        d2F  = sum_i c_i (delta_jk q_ij (u_ij^a u_ij^b + h_ij^ab) - q_ij u_ij^a q_ik u_ik^b).
    """
    size = len(alpha)
    counts = row_counts(x, row_weights)
    w = [math.exp(a) for a in alpha]
    first: list[list[float]] = [[] for _ in range(3 * size)]
    second: list[list[list[float]]] = [[[] for _ in range(3 * size)] for _ in range(3 * size)]
    for xi, ei, ci, qi in zip(x, err, counts, responsibilities(x, err, w, m, [math.sqrt(vj) for vj in v]), strict=True):
        score = [0.0] * (3 * size)
        for j in range(size):
            t, d = v[j] + ei * ei, xi - m[j]
            u = (1.0, d / t, 0.5 * (d * d / t**2 - 1.0 / t))
            h = (
                (0.0, 0.0, 0.0),
                (0.0, -1.0 / t, -d / t**2),
                (0.0, -d / t**2, 0.5 / t**2 - d * d / t**3),
            )
            for a in range(3):
                score[a * size + j] = qi[j] * u[a]
                for b in range(3):
                    second[a * size + j][b * size + j].append(ci * qi[j] * (u[a] * u[b] + h[a][b]))
        for a in range(3 * size):
            first[a].append(ci * score[a])
            for b in range(3 * size):
                second[a][b].append(-ci * score[a] * score[b])
    n = math.fsum(counts)
    for j in range(size):
        first[j].append(-n * w[j])
        second[j][j].append(-n * w[j])
    return [math.fsum(terms) for terms in first], [[math.fsum(terms) for terms in line] for line in second]


def gradient_function(
    x: Row, err: Row, w: Row, m: Row, s: Row, mean: float, sigma: float, row_weights: Row | None = None
) -> float:
    """D(mean, sigma) = sum_i c_i N(x_i | mean, sigma^2 + e_i^2) / p(x_i) - N."""
    counts = row_counts(x, row_weights)
    terms = [
        ci * math.exp(log_normal(xi - mean, sigma * sigma + ei * ei) - lp)
        for xi, ei, ci, lp in zip(x, err, counts, log_density(x, err, w, m, s), strict=True)
    ]
    return math.fsum(terms) - math.fsum(counts)


# One pass of expectation maximisation, in four variants


def _soft_counts(
    x: Row, err: Row, w: Row, m: Row, s: Row, row_weights: Row | None
) -> tuple[list[list[float]], list[float]]:
    """For each component the list of c_i q_ij, and the new weights."""
    counts = row_counts(x, row_weights)
    q = responsibilities(x, err, w, m, s)
    columns = [[c * qi[j] for c, qi in zip(counts, q, strict=True)] for j in range(len(w))]
    n = math.fsum(counts)
    return columns, [math.fsum(column) / n for column in columns]


def _weighted_mean(x: Row, err: Row, q: Row, variance: float) -> float:
    """sum (q x / T) / sum (q / T)."""
    top = math.fsum(qi * xi / (variance + ei * ei) for xi, ei, qi in zip(x, err, q, strict=True))
    return top / math.fsum(qi / (variance + ei * ei) for ei, qi in zip(err, q, strict=True))


def best_variance(x: Row, err: Row, q: Row, mean: float | None = None, floor: float = 0.0) -> float:
    """The v >= floor that maximises sum_i q_i ln N(x_i | mean, v + e_i^2).

    ``mean=None`` takes the best mean for every v, which leaves the derivative as it is (envelope theorem).
    There may be several maxima: all sign changes of the derivative on a fine grid of v are bisected, and the
    best of these points and of the lower limit is the answer. Above the largest squared offset the derivative
    is negative.
    """

    def mean_at(v: float) -> float:
        return _weighted_mean(x, err, q, v) if mean is None else mean

    def slope(v: float) -> float:
        centre = mean_at(v)
        return math.fsum(
            qi * ((xi - centre) ** 2 / (v + ei * ei) ** 2 - 1.0 / (v + ei * ei))
            for xi, ei, qi in zip(x, err, q, strict=True)
        )

    def value(v: float) -> float:
        centre = mean_at(v)
        return math.fsum(qi * log_normal(xi - centre, v + ei * ei) for xi, ei, qi in zip(x, err, q, strict=True))

    top = max((xi - end) ** 2 for xi in x for end in ((min(x), max(x)) if mean is None else (mean,)))
    grid = sorted(v for v in (top * 10.0 ** (-k / 8.0) for k in range(97)) if v > floor)
    candidates = []
    if floor > 0.0 or min(err) > 0.0:
        grid.insert(0, floor)
        candidates.append(floor)
    slopes = [slope(v) for v in grid]
    for k in range(len(grid) - 1):
        if slopes[k] > 0.0 >= slopes[k + 1]:
            low, high = grid[k], grid[k + 1]
            while low < 0.5 * (low + high) < high:
                middle = 0.5 * (low + high)
                low, high = (middle, high) if slope(middle) > 0.0 else (low, middle)
            candidates.append(high)
    return max(candidates, key=value)


def em_exact(
    x: Row,
    err: Row,
    w: Row,
    m: Row,
    s: Row,
    row_weights: Row | None = None,
    joint: bool = True,
    sigma_floor: float = 0.0,
) -> Parameters:
    """The exact M-step: mean and s^2 >= sigma_floor^2 that maximise sum_i q_ij ln N(x_i | m, s^2 + e_i^2).

    Both together; or with ``joint=False`` first the mean, at the old width, and then the width at that mean.
    """
    columns, new_w = _soft_counts(x, err, w, m, s, row_weights)
    new_m, new_s = [], []
    for q, sj in zip(columns, s, strict=True):
        mean = _weighted_mean(x, err, q, sj * sj)
        v = best_variance(x, err, q, None if joint else mean, sigma_floor**2)
        new_m.append(_weighted_mean(x, err, q, v) if joint else mean)
        new_s.append(math.sqrt(v))
    return new_w, new_m, new_s


def em_fixed_point(x: Row, err: Row, w: Row, m: Row, s: Row, row_weights: Row | None = None) -> Parameters:
    """Labels only: the mean at the old T, then s^2 times [sum q d^2 / T^2] / [sum q / T], d at the new mean.

    Never lowers the likelihood: with A = sum q / T and B = sum q d^2 / T^2 the bound v A + v_old^2 B / v has
    the same value at v = v_old B / A as at v = v_old, and its minimum at the geometric mean of the two.
    """
    columns, new_w = _soft_counts(x, err, w, m, s, row_weights)
    new_m, new_s = [], []
    for q, sj in zip(columns, s, strict=True):
        mean = _weighted_mean(x, err, q, sj * sj)
        top = math.fsum(qi * (xi - mean) ** 2 / (sj * sj + ei * ei) ** 2 for xi, ei, qi in zip(x, err, q, strict=True))
        bottom = math.fsum(qi / (sj * sj + ei * ei) for ei, qi in zip(err, q, strict=True))
        new_m.append(mean)
        new_s.append(sj * math.sqrt(top / bottom))
    return new_w, new_m, new_s


def em_xd(x: Row, err: Row, w: Row, m: Row, s: Row, row_weights: Row | None = None) -> Parameters:
    """Extreme deconvolution: labels and true values missing (Bovy, Hogg & Roweis 2011)."""
    columns, new_w = _soft_counts(x, err, w, m, s, row_weights)
    new_m, new_s = [], []
    for q, mj, sj in zip(columns, m, s, strict=True):
        # Posterior of the true value given the row and the component: mean mj + b, variance big_b.
        b = [sj * sj * (xi - mj) / (sj * sj + ei * ei) for xi, ei in zip(x, err, strict=True)]
        big_b = [sj * sj * ei * ei / (sj * sj + ei * ei) for ei in err]
        total = math.fsum(q)
        shift = math.fsum(qi * bi for qi, bi in zip(q, b, strict=True)) / total
        spread = math.fsum(qi * ((bi - shift) ** 2 + vi) for qi, bi, vi in zip(q, b, big_b, strict=True))
        new_m.append(mj + shift)
        new_s.append(math.sqrt(spread / total))
    return new_w, new_m, new_s


def em_plain(x: Row, w: Row, m: Row, s: Row, row_weights: Row | None = None) -> Parameters:
    """The textbook: no errors."""
    columns, new_w = _soft_counts(x, [0.0] * len(x), w, m, s, row_weights)
    new_m, new_s = [], []
    for q in columns:
        total = math.fsum(q)
        mean = math.fsum(qi * xi for qi, xi in zip(q, x, strict=True)) / total
        new_m.append(mean)
        new_s.append(math.sqrt(math.fsum(qi * (xi - mean) ** 2 for qi, xi in zip(q, x, strict=True)) / total))
    return new_w, new_m, new_s


def equal_errors_limit(w: Row, m: Row, s: Row, error: float) -> Parameters:
    """A fit of the bare values turned into the fit for equal errors: s* = sqrt(max(0, s^2 - error^2))."""
    return list(w), list(m), [math.sqrt(max(0.0, sj * sj - error * error)) for sj in s]


# Integrals over the true value z, by composite Simpson


def _true_values(xi: float, ei: float, w: Row, m: Row, s: Row, upper: float = math.inf) -> list[tuple[float, float]]:
    """Pairs (z, ln of the prior mass at z) below `upper`: Simpson nodes, and the components of zero width.

    Panels end at every centre + k * width of the components and of the measurement, |k| <= 40, and at x; a
    row more than 40 widths from everything is out of reach.
    """
    points = [(mj, math.log(wj)) for wj, mj, sj in zip(w, m, s, strict=True) if sj == 0.0 and mj <= upper]
    wide = [(wj, mj, sj) for wj, mj, sj in zip(w, m, s, strict=True) if sj > 0.0]
    if not wide:
        return points
    edges = {xi} | {mj + k * sj for _, mj, sj in wide for k in range(-40, 41)} | {xi + k * ei for k in range(-40, 41)}
    ordered = sorted(edge for edge in edges if edge <= upper)
    steps = 80
    grid = []
    for left, right in itertools.pairwise(ordered):
        step = (right - left) / steps
        for k in range(steps + 1):
            factor = 1.0 if k in (0, steps) else 4.0 if k % 2 else 2.0
            z = left + k * step
            prior = log_sum_exp([math.log(wj) + log_normal(z - mj, sj * sj) for wj, mj, sj in wide])
            grid.append((z, math.log(factor * step / 3.0) + prior))
    return grid + points


def true_posterior(x: Row, err: Row, w: Row, m: Row, s: Row) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of p(z | x_i), by integrating prior times N(x_i | z, e_i^2) over z."""
    means, sds = [], []
    for xi, ei in zip(x, err, strict=True):
        if ei == 0.0:
            means.append(float(xi))
            sds.append(0.0)
            continue
        terms = [(z, log_mass + log_normal(xi - z, ei * ei)) for z, log_mass in _true_values(xi, ei, w, m, s)]
        largest = max(t for _, t in terms)
        masses = [(z, math.exp(t - largest)) for z, t in terms]
        total = math.fsum(p for _, p in masses)
        mean = math.fsum(z * p for z, p in masses) / total
        means.append(mean)
        sds.append(math.sqrt(math.fsum((z - mean) ** 2 * p for z, p in masses) / total))
    return means, sds


def observed_pdf(xi: float, ei: float, w: Row, m: Row, s: Row) -> float:
    """Density of an observed value: the integral of p(z) N(x | z, e^2); e = 0 gives p(x) itself."""
    if ei == 0.0:
        return math.exp(log_sum_exp(log_joint(xi, 0.0, w, m, s)))
    return math.fsum(math.exp(lp + log_normal(xi - z, ei * ei)) for z, lp in _true_values(xi, ei, w, m, s))


def observed_cdf(xi: float, ei: float, w: Row, m: Row, s: Row) -> float:
    """Probability of an observed value below x: the integral of p(z) P(z + noise < x)."""
    if ei == 0.0:
        return math.fsum(math.exp(lp) for _, lp in _true_values(xi, 0.0, w, m, s, upper=xi))
    return math.fsum(
        math.exp(lp) * 0.5 * math.erfc((z - xi) / (ei * math.sqrt(2.0))) for z, lp in _true_values(xi, ei, w, m, s)
    )


# Moments


def intrinsic_moments(x: Row, err: Row, order: int, row_weights: Row | None = None) -> list[float]:
    """E z, E z^2, ..., E z^order: means of H_k(x, e), with H_{k+1} = x H_k - k e^2 H_{k-1}."""
    counts = row_counts(x, row_weights)
    terms: list[list[float]] = [[] for _ in range(order)]
    for xi, ei, ci in zip(x, err, counts, strict=True):
        previous, current = 0.0, 1.0
        for k in range(order):
            previous, current = current, xi * current - k * ei * ei * previous
            terms[k].append(ci * current)
    return [math.fsum(column) / math.fsum(counts) for column in terms]


def mixture_moments(w: Row, m: Row, s: Row, order: int) -> list[float]:
    """E z, ..., E z^order of a mixture: mu_{k+1} = m mu_k + k s^2 mu_{k-1} for each component."""
    total: list[list[float]] = [[] for _ in range(order)]
    for wj, mj, sj in zip(w, m, s, strict=True):
        previous, current = 0.0, 1.0
        for k in range(order):
            previous, current = current, mj * current + k * sj * sj * previous
            total[k].append(wj * current)
    return [math.fsum(column) for column in total]


# Components on few rows


def effective_rows(
    x: Row, err: Row, w: Row, m: Row, s: Row, row_weights: Row | None = None
) -> tuple[list[float], list[float]]:
    """Rows that each component rests on, (sum c a)^2 / sum c a^2 with a = q / T, and their T, sum c q / sum c a."""
    counts = row_counts(x, row_weights)
    q = responsibilities(x, err, w, m, s)
    rows, typical = [], []
    for j, sj in enumerate(s):
        a = [qi[j] / (sj * sj + ei * ei) for qi, ei in zip(q, err, strict=True)]
        total = math.fsum(c * ai for c, ai in zip(counts, a, strict=True))
        rows.append(total**2 / math.fsum(c * ai * ai for c, ai in zip(counts, a, strict=True)))
        typical.append(math.fsum(c * qi[j] for c, qi in zip(counts, q, strict=True)) / total)
    return rows, typical


def occam(x: Row, err: Row, w: Row, m: Row, s: Row, row_weights: Row | None = None) -> float:
    """Nats that are taken off where fits are compared, for each component on fewer than three rows.

    They are ln(spread / T), and the price 3/2 ln N of a component again. Two rows and most of a third are three.
    """
    spread, n = overall_variance(x, err, row_weights), math.fsum(row_counts(x, row_weights))
    return math.fsum(
        max(math.log(spread / typical), 0.0) + 1.5 * math.log(n)
        for rows, typical in zip(*effective_rows(x, err, w, m, s, row_weights), strict=True)
        if rows < 2.99
    )


def location_nats(x: Row, err: Row, w: Row, m: Row, s: Row, grain: float, row_weights: Row | None = None) -> float:
    """Nats that the choice takes off besides: ln(w spread / T) / 2 for other components with sqrt(T) < 3 grain."""
    spread = overall_variance(x, err, row_weights)
    return math.fsum(
        max(0.5 * math.log(wj * spread / typical), 0.0)
        for wj, rows, typical in zip(w, *effective_rows(x, err, w, m, s, row_weights), strict=True)
        if rows >= 2.99 and typical < 9.0 * grain**2
    )


def overall_variance(x: Row, err: Row, row_weights: Row | None = None) -> float:
    """Variance of all values, their errors included."""
    counts = row_counts(x, row_weights)
    n = math.fsum(counts)
    mean = math.fsum(c * xi for c, xi in zip(counts, x, strict=True)) / n
    return math.fsum(c * ((xi - mean) ** 2 + ei * ei) for c, xi, ei in zip(counts, x, err, strict=True)) / n


# The best of many random restarts


def objective(
    theta: np.ndarray, x: np.ndarray, variance: np.ndarray, counts: np.ndarray, n_components: int
) -> tuple[float, np.ndarray]:
    """Minus the mean log-likelihood per row and its gradient; theta = (logits, means, ln sigmas)."""
    logits, means, log_sigmas = theta.reshape(3, n_components)
    log_w = logits - logits.max()
    log_w = log_w - math.log(np.exp(log_w).sum())
    squares = np.exp(2.0 * log_sigmas)
    inverse = 1.0 / (squares[:, None] + variance)
    offset = x - means[:, None]
    pull = offset * inverse
    joint = log_w[:, None] + 0.5 * (np.log(inverse) - offset * pull - math.log(2.0 * math.pi))
    highest = joint.max(axis=0)
    q = np.exp(joint - highest)
    norm = q.sum(axis=0)
    n = counts.sum()
    value = counts @ (highest + np.log(norm))
    q *= counts / norm
    gradient = np.concatenate(
        [
            q.sum(axis=1) - n * np.exp(log_w),
            (q * pull).sum(axis=1),
            squares * (q * (pull * pull - inverse)).sum(axis=1),
        ]
    )
    return -value / n, -gradient / n


def maximise(
    x: Row,
    err: Row,
    n_components: int,
    starts: int,
    rng: np.random.Generator,
    sigma_floor: float = 0.0,
    row_weights: Row | None = None,
    regular: bool = False,
) -> tuple[float, Parameters]:
    """The highest log-likelihood of `starts` random runs of L-BFGS-B, and its mixture, sorted by mean.

    A floor is needed where a row has no error. Without one the sigmas stop at 1e-7 of the spread of x. Among
    regular maxima the run with the highest log-likelihood less `occam` is taken, and that difference returned.
    """
    values = np.asarray(x, dtype=float)
    errors = np.asarray(err, dtype=float)
    counts = np.asarray(row_counts(x, row_weights), dtype=float)
    if sigma_floor <= 0.0 and errors.min() == 0.0:
        raise ValueError("rows without error need a sigma_floor: the likelihood is unbounded")
    n = counts.sum()
    centre = counts @ values / n
    scale = math.sqrt(counts @ (values - centre) ** 2 / n)
    data = ((values - centre) / scale, (errors / scale) ** 2, counts, n_components)
    lowest = math.log(sigma_floor / scale) if sigma_floor > 0.0 else math.log(1e-7)
    # At the maximum means and widths are averages over rows: nothing is lost, and no trial step overflows.
    ends = (data[0].min(), data[0].max())
    widest = math.log(ends[1] - ends[0])
    bounds = [(-50.0, 50.0)] * n_components + [ends] * n_components + [(lowest, widest)] * n_components

    def climb(theta: np.ndarray, tolerance: float) -> OptimizeResult:
        options = {"maxiter": 3000, "maxfun": 6000, "maxcor": 20, "ftol": tolerance, "gtol": tolerance}
        # On a busy machine the threads of BLAS wait for each other far longer than these small matrices take.
        with threadpool_limits(1):
            return minimize(objective, theta, data, method="L-BFGS-B", jac=True, bounds=bounds, options=options)

    runs = []
    for _ in range(starts):
        logits = np.log(rng.dirichlet(np.full(n_components, 2.0)) + 1e-3)
        means = rng.choice(data[0], size=n_components, p=counts / n)
        log_sigmas = np.maximum(rng.uniform(math.log(0.05), 0.0, size=n_components), lowest)
        runs.append(climb(np.concatenate([logits, means, log_sigmas]), 1e-9))

    def mixture(theta: np.ndarray) -> Parameters:
        logits, means, log_sigmas = theta.reshape(3, n_components)
        weights = np.exp(logits - logits.max())
        order = np.argsort(means)
        return (
            (weights / weights.sum())[order].tolist(),
            (centre + scale * means)[order].tolist(),
            (scale * np.exp(log_sigmas))[order].tolist(),
        )

    def nats(theta: np.ndarray) -> float:
        return occam(values.tolist(), errors.tolist(), *mixture(theta), counts.tolist()) if regular else 0.0

    best = min(runs, key=lambda run: float(run.fun * n + nats(run.x)))
    for _ in range(3):
        again = climb(best.x, 1e-15)
        best = again if again.fun <= best.fun else best
    return float(-best.fun * n - n * math.log(scale)) - nats(best.x), mixture(best.x)
