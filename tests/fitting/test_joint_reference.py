"""The oracle for several columns against facts that it does not contain.

These are the oracle for one column, closed forms, exact rational arithmetic, finite differences, integrals, other
libraries and published fits.
"""

import csv
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from tests import joint_reference as joint
from tests import reference as ref
from tests.campaign import campaign, mostly_campaign
from tests.joint_reference import Mixture

TRUTH = Mixture(
    np.array([0.55, 0.45]),
    np.array([[0.0, 1.0], [2.5, -1.0]]),
    np.array([[[1.0, 0.6], [0.6, 0.8]], [[0.5, -0.3], [-0.3, 0.7]]]),
)
# Away from any maximum.
OTHER = Mixture(
    np.array([0.3, 0.7]),
    np.array([[-0.4, 0.7], [1.8, -0.3]]),
    np.array([[[1.4, 0.2], [0.2, 0.5]], [[0.9, 0.3], [0.3, 1.1]]]),
)
KINDS = ["complete", "missing", "projected"]


def random_covariances(rng, n, n_dims, size=1.0, least=0.05):
    roots = rng.normal(0.0, size, (n, n_dims, n_dims))
    return roots @ roots.transpose(0, 2, 1) / n_dims + least * size**2 * np.eye(n_dims)


def random_mixture(rng, n_components, n_dims):
    weights = rng.dirichlet(np.full(n_components, 5.0))
    return Mixture(weights, rng.normal(0, 2, (n_components, n_dims)), random_covariances(rng, n_components, n_dims))


def draw(n, mixture, seed, kind="complete", missing=0.3):
    """x, S and R of n rows; `missing` columns are absent, or R_i is a random matrix with 1 to d rows."""
    rng = np.random.default_rng(seed)
    n_dims = mixture.means.shape[1]
    labels = rng.choice(len(mixture.weights), size=n, p=mixture.weights)
    true = np.array([rng.multivariate_normal(mixture.means[j], mixture.covariances[j]) for j in labels])
    S = random_covariances(rng, n, n_dims, 0.4)
    if kind == "projected":
        R = [rng.normal(size=(rng.integers(1, n_dims + 1), n_dims)) for _ in range(n)]
        S = [Si[: len(Ri), : len(Ri)] for Si, Ri in zip(S, R, strict=True)]
        return [rng.multivariate_normal(Ri @ v, Si) for v, Si, Ri in zip(true, S, R, strict=True)], S, R
    x = np.array([rng.multivariate_normal(v, Si) for v, Si in zip(true, S, strict=True)])
    if kind == "complete":
        return x, S, None
    x[rng.random(x.shape) < missing] = np.nan
    x[np.isnan(x).all(axis=1), 0] = 0.5
    return joint.from_missing(x, S)


def assert_close(found, expected, rtol):
    """Parts of two mixtures, or of two gradients, relative to the largest element of each part."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max())


def as_columns(mixture):
    """The three lists of tests/reference.py, of a mixture of one column."""
    return mixture.weights.tolist(), mixture.means[:, 0].tolist(), np.sqrt(mixture.covariances[:, 0, 0]).tolist()


# One column


@pytest.fixture
def one_column():
    """x, S and row weights, and x, err and row weights for the other oracle; a mixture of three."""
    rng = np.random.default_rng(1)
    x, err, counts = rng.normal(0, 2, 40), 10 ** rng.uniform(-2, 0.5, 40), rng.integers(1, 4, 40).astype(float)
    mixture = Mixture(
        np.array([0.2, 0.5, 0.3]), np.array([[-2.0], [0.3], [1.9]]), np.array([0.9, 0.4, 1.7]).reshape(3, 1, 1)
    )
    data = (x[:, None], (err**2).reshape(-1, 1, 1), None)
    return data, (x.tolist(), err.tolist()), counts, mixture


def test_one_column_has_the_likelihood_and_step_of_the_other_oracle(one_column):
    data, rows, counts, mixture = one_column
    columns = as_columns(mixture)
    np.testing.assert_allclose(joint.log_densities(*data, *mixture), ref.log_density(*rows, *columns), rtol=1e-13)
    assert joint.loglik(*data, *mixture, counts) == pytest.approx(ref.loglik(*rows, *columns, counts), rel=1e-13)
    np.testing.assert_allclose(
        joint.responsibilities(*data, *mixture), ref.responsibilities(*rows, *columns), rtol=1e-12, atol=1e-300
    )
    step = joint.em_step(*data, *mixture, counts)
    np.testing.assert_allclose(as_columns(step), ref.em_xd(*rows, *columns, counts), rtol=1e-13)


def test_one_column_has_the_posterior_integrated_by_the_other_oracle(one_column):
    data, rows, _, mixture = one_column
    x, S, _ = data
    means, covariances = joint.posterior(x[:6], S[:6], None, *mixture)
    expected_means, expected_sigmas = ref.true_posterior(*(column[:6] for column in rows), *as_columns(mixture))
    # The error of Simpson's rule there.
    np.testing.assert_allclose(means[:, 0], expected_means, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(covariances[:, 0, 0]), expected_sigmas, rtol=1e-7)


def test_one_column_has_the_derivatives_of_the_other_oracle(one_column):
    data, rows, counts, mixture = one_column
    weights = mixture.weights
    logs = (np.log(weights).tolist(), mixture.means[:, 0].tolist(), mixture.covariances[:, 0, 0].tolist())
    slopes, curvature = ref.gradient_and_hessian(*rows, *logs, counts)
    by = joint.gradient(*data, *mixture, counts)
    # The other oracle differentiates by ln w, and takes off n times the sum of the weights.
    found = np.concatenate([weights * (by.weights - counts.sum()), by.means.ravel(), by.covariances.ravel()])
    np.testing.assert_allclose(found, slopes, rtol=1e-11, atol=1e-11)
    # ln w_j = a_j - ln(1 + sum_k exp(a_k)). Second derivatives of that do not count, since the slopes by ln w sum to 0.
    tie = np.zeros((9, 8))
    tie[:3, :2] = np.eye(3)[:, :2] - weights[:2]
    tie[3:, 2:] = np.eye(6)
    expected = tie.T @ np.array(curvature) @ tie
    np.testing.assert_allclose(
        joint.hessian(*data, *mixture, counts), expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max()
    )


def test_one_column_has_the_maximum_of_the_other_oracle(one_column):
    data, rows, counts, _ = one_column
    value, fit = joint.fit_by_optimiser(*data, 2, 20, np.random.default_rng(2), counts, floor=[0.2])
    # A floor adds to the variance here, and is the least width there: a fit above it is a fit of both.
    expected_value, expected = ref.maximise(*rows, 2, 20, np.random.default_rng(3), 0.2, counts.tolist())
    assert value == pytest.approx(expected_value, abs=1e-7)
    np.testing.assert_allclose(as_columns(fit), expected, rtol=1e-4)
    assert min(expected[2]) > 0.25


# Likelihood


def test_densities_are_those_of_another_library():
    mixture = random_mixture(np.random.default_rng(4), 3, 3)
    x, S, _ = draw(30, mixture, 5)
    expected = [
        logsumexp([math.log(w) + multivariate_normal(m, V + Si).logpdf(xi) for w, m, V in zip(*mixture, strict=True)])
        for xi, Si in zip(x, S, strict=True)
    ]
    np.testing.assert_allclose(joint.log_densities(x, S, None, *mixture), expected, rtol=1e-12)


def test_density_of_a_row_with_a_missing_column_is_the_marginal_one():
    x, S, R = joint.from_missing([[0.7, math.nan], [math.nan, -0.2]], [np.array([[0.04, 0.03], [0.03, 0.25]])] * 2)
    w, m, V = TRUTH
    found = joint.log_densities(x, S, R, *TRUTH)
    for i, (value, error) in enumerate([(0.7, 0.2), (-0.2, 0.5)]):
        marginal = (w.tolist(), m[:, i].tolist(), np.sqrt(V[:, i, i]).tolist())
        assert found[i] == pytest.approx(ref.log_density([value], [error], *marginal)[0], rel=1e-14)


def test_columns_that_are_not_observed_may_have_any_noise():
    x, S, R = joint.from_missing(
        [[math.nan, 1.0, 2.0]], [np.array([[math.nan] * 3, [math.nan, 4, 1], [math.nan, 1, 9]])]
    )
    np.testing.assert_array_equal(x[0], [1.0, 2.0])
    np.testing.assert_array_equal(S[0], [[4.0, 1.0], [1.0, 9.0]])
    np.testing.assert_array_equal(R[0], [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def test_a_row_that_sees_one_direction_is_a_row_of_one_column():
    direction = np.array([0.8, -1.5])
    w, m, V = TRUTH
    seen = (w.tolist(), (m @ direction).tolist(), [math.sqrt(direction @ Vj @ direction) for Vj in V])
    found = joint.log_densities([np.array([0.4])], [np.array([[0.09]])], [direction[None]], *TRUTH)
    assert found[0] == pytest.approx(ref.log_density([0.4], [0.3], *seen)[0], rel=1e-14)


def test_one_projection_for_all_rows_is_a_change_of_variables():
    turn = np.array([[1.0, -1.0], [0.3, 2.0]])
    x, S, _ = draw(20, TRUTH, 6)
    direct = joint.log_densities(x, S, None, *TRUTH)
    projected = joint.log_densities(x @ turn.T, [turn @ Si @ turn.T for Si in S], [turn] * 20, *TRUTH)
    np.testing.assert_allclose(projected, direct - math.log(2.3), rtol=1e-12)


def test_a_row_a_million_sigma_away_stays_finite():
    far = np.array([[1e6, 0.0]])
    w, m, V = TRUTH
    joint_terms = [
        math.log(wj) - 0.5 * (far[0] - mj) @ np.linalg.solve(Vj + np.eye(2), far[0] - mj)
        for wj, mj, Vj in zip(w, m, V, strict=True)
    ]
    assert joint.log_densities(far, [np.eye(2)], None, *TRUTH)[0] == pytest.approx(max(joint_terms), rel=1e-11)
    np.testing.assert_array_equal(joint.responsibilities(far, [np.eye(2)], None, *TRUTH), [[1.0, 0.0]])


def test_mistakes_in_shapes_are_refused():
    with pytest.raises(ValueError, match="row 1: 2 values"):
        joint.loglik(np.zeros((2, 2)), [np.eye(2), np.ones(2)], None, *TRUTH)
    with pytest.raises(ValueError, match="row 0: a value is not finite"):
        joint.loglik([np.array([1.0, math.nan])], [np.eye(2)], None, *TRUTH)
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        joint.loglik(np.zeros((1, 2)), np.zeros((1, 2, 2)), None, TRUTH.weights, TRUTH.means, np.zeros((2, 2, 2)))


# Exact arithmetic


def rational(array):
    return np.vectorize(Fraction, otypes=[object])(array)


def exact_inverse(T):
    """Inverse and determinant of a positive definite matrix of fractions."""
    n = len(T)
    work, det = np.concatenate([T, rational(np.eye(n))], axis=1), Fraction(1)
    for k in range(n):
        det *= work[k, k]
        work[k] = work[k] / work[k, k]
        for other in range(n):
            if other != k:
                work[other] = work[other] - work[other, k] * work[k]
    return work[:, n:], det


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_dims", range(1, 7))
def test_one_component_is_that_of_exact_arithmetic(n_dims, kind):
    # With one component everything but a logarithm is rational. The noise spans nine decades.
    rng = np.random.default_rng(n_dims)
    mixture = random_mixture(rng, 1, n_dims)
    x, S, R = draw(8, mixture, n_dims, kind)
    sizes = [10 ** rng.uniform(-6, 3, len(xi)) for xi in x]
    S = [Si * np.outer(size, size) for Si, size in zip(S, sizes, strict=True)]
    x = [xi + size * rng.normal(size=len(xi)) for xi, size in zip(x, sizes, strict=True)]
    m, V = rational(mixture.means[0]), rational(mixture.covariances[0])
    densities, u, curvature, b, B = [], [], [], [], []
    for xi, Si, Ri in joint.rows(x, S, R, n_dims):
        Ri, ri = rational(Ri), rational(xi) - rational(Ri) @ m
        inverse, det = exact_inverse(Ri @ V @ Ri.T + rational(Si))
        densities.append(-0.5 * (float(ri @ inverse @ ri) + math.log(det) + len(xi) * math.log(2 * math.pi)))
        u.append(Ri.T @ inverse @ ri)
        P = Ri.T @ inverse @ Ri
        curvature.append((np.outer(u[-1], u[-1]) - P) / 2)
        b.append(m + V @ u[-1])
        B.append(V - V @ P @ V)
    mean = sum(b) / len(x)
    spread = sum(np.outer(bi - mean, bi - mean) + Bi for bi, Bi in zip(b, B, strict=True)) / len(x)
    # Relative to the sum of the absolute values, since terms cancel.
    scale_u = np.abs(np.array(u, dtype=float)).sum()
    scale_curvature = np.abs(np.array(curvature, dtype=float)).sum()
    np.testing.assert_allclose(joint.log_densities(x, S, R, *mixture), densities, rtol=1e-13)
    by = joint.gradient(x, S, R, *mixture)
    np.testing.assert_allclose(by.means[0], sum(u).astype(float), rtol=0, atol=1e-13 * scale_u)
    np.testing.assert_allclose(by.covariances[0], sum(curvature).astype(float), rtol=0, atol=1e-13 * scale_curvature)
    _, new_mean, new_covariance = joint.em_step(x, S, R, *mixture)
    size = math.sqrt(float(np.trace(spread)))
    np.testing.assert_allclose(new_mean[0], mean.astype(float), rtol=0, atol=1e-13 * size)
    np.testing.assert_allclose(new_covariance[0], spread.astype(float), rtol=0, atol=1e-13 * size**2)


# Derivatives


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_agrees_with_central_differences(kind):
    mixture = random_mixture(np.random.default_rng(7), 3, 3)
    x, S, R = draw(25, mixture, 8, kind)
    counts = 0.5 + 0.1 * (np.arange(25) % 7)
    # Weights that do not sum to one.
    mixture = Mixture(mixture.weights * [1.3, 0.9, 1.1], *mixture[1:])
    found = joint.gradient(x, S, R, *mixture, counts)

    def slope(part, *places):
        h = 1e-5
        ends = []
        for sign in (1, -1):
            moved = Mixture(*(a.copy() for a in mixture))
            for place in set(places):
                moved[part][place] += sign * h
            ends.append(joint.loglik(x, S, R, *moved, counts))
        return (ends[0] - ends[1]) / (2 * h)

    # The error is of order h^2 times a third derivative, and that of rounding 1e-15 loglik / h.
    for j in range(3):
        assert found.weights[j] == pytest.approx(slope(0, j), rel=1e-6, abs=1e-6)
        for a in range(3):
            assert found.means[j, a] == pytest.approx(slope(1, (j, a)), rel=1e-6, abs=1e-6)
            for b in range(a + 1):
                both = (1 if a == b else 2) * found.covariances[j, a, b]
                assert both == pytest.approx(slope(2, (j, a, b), (j, b, a)), rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(found.covariances, found.covariances.transpose(0, 2, 1), rtol=1e-12)


@pytest.mark.parametrize("n_dims", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_all_rows_at_once_are_the_rows_one_by_one(n_dims, kind):
    rng = np.random.default_rng(9)
    mixture = random_mixture(rng, 3, n_dims)
    x, S, R = draw(30, mixture, 10, kind)
    sizes = [10 ** rng.uniform(-3, 3, len(xi)) for xi in x]
    S = [Si * np.outer(size, size) for Si, size in zip(S, sizes, strict=True)]
    counts = rng.uniform(0.5, 2.0, 30)
    value, by = joint.loglik_and_gradient(joint.batches(x, S, R, n_dims, counts), mixture)
    assert value == pytest.approx(joint.loglik(x, S, R, *mixture, counts), rel=1e-12)
    assert_close(by, joint.gradient(x, S, R, *mixture, counts), 1e-10)


def test_hessian_at_the_maximum_of_one_component_is_minus_the_fisher_information():
    # With one S for all rows it is n T^-1 for the mean and n D' (T^-1 x T^-1) D / 2 for V, where D repeats what is off
    # the diagonal.
    rng = np.random.default_rng(11)
    x = rng.multivariate_normal(np.zeros(3), random_covariances(rng, 1, 3)[0], 50)
    S = 0.1 * np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 1.0]])
    T = np.cov(x.T, ddof=0)
    maximum = (np.ones(1), x.mean(axis=0)[None], (T - S)[None])
    found = joint.hessian(x, [S] * 50, None, *maximum)
    duplication = np.zeros((9, 6))
    for column, (a, b) in enumerate(zip(*np.tril_indices(3), strict=True)):
        duplication[3 * a + b, column] = duplication[3 * b + a, column] = 1.0
    inverse = np.linalg.inv(T)
    expected = np.zeros((9, 9))
    expected[:3, :3] = -50 * inverse
    expected[3:, 3:] = -25 * duplication.T @ np.kron(inverse, inverse) @ duplication
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_hessian_agrees_with_second_differences_of_the_loglik(kind):
    x, S, R = draw(20, TRUTH, 12, kind)
    theta, h = joint.coordinates(OTHER), 1e-3
    found = joint.hessian(x, S, R, *OTHER)

    def value(*moves):
        moved = theta.copy()
        for k, shift in moves:
            moved[k] += shift
        return joint.loglik(x, S, R, *joint.from_coordinates(moved, 2, 2))

    # One of each kind of pair: logit, means, and elements of V on and off the diagonal.
    for k, other in [(0, 0), (0, 2), (1, 4), (0, 6), (2, 5), (3, 8), (5, 5), (6, 6), (6, 9), (7, 10)]:
        corners = [
            sign * other_sign * value((k, sign * h), (other, other_sign * h))
            for sign in (1, -1)
            for other_sign in (1, -1)
        ]
        assert found[k, other] == pytest.approx(sum(corners) / (4 * h * h), rel=1e-4, abs=1e-4)


def test_coordinates_are_those_of_the_mixture():
    np.testing.assert_allclose(
        joint.coordinates(TRUTH),
        [math.log(0.55 / 0.45), 0.0, 1.0, 2.5, -1.0, 1.0, 0.6, 0.8, 0.5, -0.3, 0.7],
        rtol=1e-15,
    )
    assert_close(joint.from_coordinates(joint.coordinates(TRUTH), 2, 2), TRUTH, 1e-15)


# Expectation maximisation


def test_step_without_noise_is_that_of_another_library():
    start = random_mixture(np.random.default_rng(13), 3, 3)
    x = np.random.default_rng(14).normal(0, 2, (60, 3))
    other = GaussianMixture(
        3, max_iter=1, reg_covar=0.0, weights_init=start.weights, means_init=start.means,
        precisions_init=np.linalg.inv(start.covariances),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other.fit(x)
    step = joint.em_step(x, np.zeros((60, 3, 3)), None, *start)
    assert_close(step, (other.weights_, other.means_, other.covariances_), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_step_is_a_step_along_the_gradient(kind):
    # Delta m = V g / Q and Delta V = 2 V G V / Q - (Delta m)(Delta m)', with Q = w dloglik/dw.
    x, S, R = draw(40, TRUTH, 15, kind)
    counts = 0.5 + 0.25 * (np.arange(40) % 5)
    by = joint.gradient(x, S, R, *OTHER, counts)
    expected = []
    for w, m, V, slope, g, G in zip(*OTHER, *by, strict=True):
        total = w * slope
        move = V @ g / total
        expected.append((total / counts.sum(), m + move, V + 2 * V @ G @ V / total - np.outer(move, move)))
    assert_close(
        joint.em_step(x, S, R, *OTHER, counts), [np.array(part) for part in zip(*expected, strict=True)], 1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_steps_never_lower_the_loglik(kind):
    rng = np.random.default_rng(16)
    mixture, start = random_mixture(rng, 2, 3), random_mixture(rng, 2, 3)
    fit, logliks = joint.fit_by_em(*draw(40, mixture, 17, kind), start, 25)
    assert len(logliks) == 26
    # Rounding, where the steps have converged.
    assert np.diff(logliks).min() > -1e-11
    assert logliks[-1] - logliks[0] > 10.0
    assert np.linalg.eigvalsh(fit.covariances).min() > 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_two_equal_rows_are_one_of_weight_two(kind):
    x, S, R = draw(15, TRUTH, 18, kind)
    twice = [None if part is None else [row for row in part for _ in range(2)] for part in (x, S, R)]
    counts = np.full(15, 2.0)
    assert joint.loglik(x, S, R, *OTHER, counts) == pytest.approx(joint.loglik(*twice, *OTHER), rel=1e-14)
    assert_close(joint.gradient(x, S, R, *OTHER, counts), joint.gradient(*twice, *OTHER), 1e-13)
    assert_close(joint.em_step(x, S, R, *OTHER, counts), joint.em_step(*twice, *OTHER), 1e-13)
    single, double = joint.hessian(x, S, R, *OTHER, counts), joint.hessian(*twice, *OTHER)
    np.testing.assert_allclose(single, double, rtol=1e-8, atol=1e-9 * np.abs(double).max())


def test_unequal_weights_are_repetitions():
    x, S, _ = draw(6, TRUTH, 19)
    repeats = [1, 3, 2, 1, 4, 2]
    many = (np.repeat(x, repeats, axis=0), np.repeat(S, repeats, axis=0), None)
    assert_close(joint.em_step(x, S, None, *OTHER, repeats), joint.em_step(*many, *OTHER), 1e-13)


# Maxima in closed form


def test_maximum_of_one_component_with_equal_noise_is_the_covariance_less_the_noise():
    # The values have the mean (1, -2) and the covariance T = [[5/2, 2], [2, 5/2]], whose determinant is 9/4.
    x = np.array([[3.0, -1.0], [-1.0, -3.0], [2.0, 0.0], [0.0, -4.0]])
    S = [np.diag([0.5, 0.3])] * 4
    maximum = Mixture(np.ones(1), np.array([[1.0, -2.0]]), np.array([[[2.0, 2.0], [2.0, 2.2]]]))
    highest = -2.0 * (2.0 * math.log(2.0 * math.pi) + math.log(2.25) + 2.0)
    assert joint.loglik(x, S, None, *maximum) == pytest.approx(highest, rel=1e-14)
    by = joint.gradient(x, S, None, *maximum)
    np.testing.assert_allclose(by.means, 0.0, atol=1e-14)
    np.testing.assert_allclose(by.covariances, 0.0, atol=1e-14)
    start = Mixture(np.ones(1), np.array([[0.5, -0.3]]), np.eye(2)[None])
    by_em, _ = joint.fit_by_em(x, S, None, start, 1500)
    assert_close(by_em, maximum, 1e-9)
    value, by_optimiser = joint.fit_by_optimiser(x, S, None, 1, 2, np.random.default_rng(20))
    assert value == pytest.approx(highest, rel=1e-13)
    assert_close(by_optimiser, maximum, 1e-6)


def test_maximum_with_a_column_that_ends_early_is_that_of_the_regression():
    # Anderson (1957): the first column of all rows, and the regression of the second one on it where both are there.
    first = np.array([0.3, -1.2, 2.2, 0.9, -0.4, 1.7, 3.1, -2.0])
    second = np.array([0.9, -1.9, 2.3, 0.2, 0.5, 2.6, math.nan, math.nan])
    both = np.cov(first[:6], second[:6], ddof=0)
    slope = both[0, 1] / both[0, 0]
    variance = first.var()
    mean = [first.mean(), second[:6].mean() + slope * (first.mean() - first[:6].mean())]
    off = slope * variance
    T = np.array([[variance, off], [off, both[1, 1] + slope**2 * (variance - both[0, 0])]])
    S = np.array([[0.09, 0.03], [0.03, 0.04]])
    x, noise, R = joint.from_missing(np.column_stack([first, second]), [S] * 8)
    maximum = Mixture(np.ones(1), np.array([mean]), (T - S)[None])
    by = joint.gradient(x, noise, R, *maximum)
    np.testing.assert_allclose(by.means, 0.0, atol=1e-12)
    np.testing.assert_allclose(by.covariances, 0.0, atol=1e-12)
    value, fit = joint.fit_by_optimiser(x, noise, R, 1, 2, np.random.default_rng(21))
    assert value == pytest.approx(joint.loglik(x, noise, R, *maximum), rel=1e-13)
    assert_close(fit, maximum, 1e-6)


# True values


def test_posterior_of_a_row_with_a_missing_column_by_hand():
    # One component, the first column observed: T = 2 + 1 = 3 and r = 4 - 1 = 3, so that b = m + (2, 1) 3 / 3.
    x, S, R = joint.from_missing([[4.0, math.nan]], [np.eye(2)])
    one = (np.ones(1), np.array([[1.0, -1.0]]), np.array([[[2.0, 1.0], [1.0, 5.0]]]))
    means, covariances = joint.posterior(x, S, R, *one)
    np.testing.assert_allclose(means, [[3.0, 0.0]], rtol=0, atol=1e-14)
    np.testing.assert_allclose(covariances, [[[2 - 4 / 3, 1 - 2 / 3], [1 - 2 / 3, 5 - 1 / 3]]], rtol=1e-14)


def test_posterior_of_a_row_without_values_is_the_mixture():
    x, S, R = joint.from_missing([[math.nan, math.nan]], [np.eye(2)])
    means, covariances = joint.posterior(x, S, R, *TRUTH)
    w, m, V = TRUTH
    centre = w @ m
    np.testing.assert_allclose(means[0], centre, rtol=1e-14)
    between = sum(wj * np.outer(mj - centre, mj - centre) for wj, mj in zip(w, m, strict=True))
    np.testing.assert_allclose(covariances[0], w[0] * V[0] + w[1] * V[1] + between, rtol=1e-14)
    assert joint.loglik(x, S, R, *TRUTH) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_posterior_is_the_integral_over_the_true_values(kind):
    # The trapezoidal rule on a fine grid is exact to rounding for functions that vanish at its ends.
    x, S, R = draw(4, TRUTH, 22, kind)
    axis = np.linspace(-10.0, 12.0, 601)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    prior = sum(w * multivariate_normal(m, V).pdf(grid) for w, m, V in zip(*TRUTH, strict=True))
    means, covariances = joint.posterior(x, S, R, *TRUTH)
    for i, (xi, Si, Ri) in enumerate(joint.rows(x, S, R, 2)):
        mass = prior * multivariate_normal(np.zeros(len(xi)), Si).pdf(xi - grid @ Ri.T)
        mean = mass @ grid / mass.sum()
        np.testing.assert_allclose(means[i], mean, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            covariances[i], (grid - mean).T @ ((grid - mean) * mass[:, None]) / mass.sum(), rtol=1e-9, atol=1e-9
        )
        area = (axis[1] - axis[0]) ** 2
        assert math.exp(joint.log_densities(x, S, R, *TRUTH)[i]) == pytest.approx(mass.sum() * area, rel=1e-9)


# The optimiser


@pytest.mark.parametrize("kind", mostly_campaign(KINDS, "missing"))
def test_optimiser_ends_where_em_stays_and_no_lower_than_em_from_the_truth(kind):
    x, S, R = draw(60, TRUTH, 23, kind)
    value, fit = joint.fit_by_optimiser(x, S, R, 2, 12, np.random.default_rng(24))
    assert value == pytest.approx(joint.loglik(x, S, R, *fit), rel=1e-12)
    assert_close(joint.em_step(x, S, R, *fit), fit, 1e-5)
    _, logliks = joint.fit_by_em(x, S, R, TRUTH, 20)
    assert value > logliks[-1] - 1e-9


@campaign
def test_optimiser_and_em_end_at_one_maximum():
    x, S, _ = draw(60, TRUTH, 23)
    value, fit = joint.fit_by_optimiser(x, S, None, 2, 6, np.random.default_rng(24))
    by_em, logliks = joint.fit_by_em(x, S, None, TRUTH, 120)
    assert value == pytest.approx(logliks[-1], abs=1e-9)
    assert_close(fit, by_em, 1e-5)


@pytest.mark.parametrize(
    ("n_dims", "n_components"),
    [(2, 4), *(pytest.param(*each, marks=campaign) for each in [(3, 3), (5, 2)])],
)
def test_optimiser_ends_at_a_maximum_within_the_limits_of_v(n_dims, n_components):
    rng = np.random.default_rng(25)
    mixture = random_mixture(rng, n_components, n_dims)
    # A component without width in one direction: its V is singular, or nearly so.
    mixture.covariances[0] = mixture.covariances[0] @ np.diag([0.0] + [1.0] * (n_dims - 1)) @ mixture.covariances[0]
    x, S, R = draw(200, mixture, 26, "missing", 0.15)
    value, fit = joint.fit_by_optimiser(x, S, R, n_components, 8, np.random.default_rng(27))
    assert value > joint.loglik(x, S, R, *mixture)
    by = joint.gradient(x, S, R, *fit)
    np.testing.assert_allclose(by.weights, 200.0, rtol=1e-5)
    for V, g, G in zip(fit.covariances, by.means, by.covariances, strict=True):
        assert np.linalg.eigvalsh(V).min() > -1e-12
        size = np.linalg.cholesky(V + 1e-12 * np.eye(n_dims))
        np.testing.assert_allclose(size.T @ g, 0.0, atol=1e-3)
        np.testing.assert_allclose(size.T @ G @ size, 0.0, atol=1e-3)
        # No direction gains: neither one with a width nor one without (Kuhn and Tucker).
        assert np.linalg.eigvalsh(G).max() < 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_objective_of_the_optimiser_has_its_gradient(kind):
    x, S, R = draw(20, TRUTH, 35, kind)
    data = joint.batches(x, S, R, 2, np.full(20, 1.5))
    space = joint.Space(np.array([1.0, 2.0]), np.array([2.0, 0.5]), np.array([0.01, 0.04]))
    theta, h = np.random.default_rng(36).normal(size=12), 1e-5
    _, found = joint.objective(theta, data, space, 2)
    moves = h * np.eye(12)
    up, down = ([joint.objective(theta + sign * move, data, space, 2)[0] for move in moves] for sign in (1, -1))
    np.testing.assert_allclose(found, (np.array(up) - down) / (2 * h), rtol=1e-6, atol=1e-8)


def test_optimiser_opens_a_direction_that_began_without_width(monkeypatch):
    # With C = 0 there is no slope by C, and L-BFGS-B stays there.
    x, S, _ = draw(80, TRUTH, 37)
    value, _ = joint.fit_by_optimiser(x, S, None, 1, 1, np.random.default_rng(38))
    monkeypatch.setattr(joint, "random_start", lambda *args: np.zeros(6))
    flat_value, fit = joint.fit_by_optimiser(x, S, None, 1, 1, np.random.default_rng(38))
    assert flat_value == pytest.approx(value, rel=1e-12)
    assert np.linalg.eigvalsh(fit.covariances[0]).min() > 0.1


def test_optimiser_does_not_depend_on_units():
    x, S, R = draw(100, TRUTH, 28, "missing")
    units = np.array([1e-4, 1e6])
    value, fit = joint.fit_by_optimiser(x, S, R, 2, 4, np.random.default_rng(29))
    scaled = [Ri @ units * xi for xi, Ri in zip(x, R, strict=True)]
    noise = [Si * np.outer(Ri @ units, Ri @ units) for Si, Ri in zip(S, R, strict=True)]
    other_value, other = joint.fit_by_optimiser(scaled, noise, R, 2, 4, np.random.default_rng(29))
    lost = sum(math.log(factor) for Ri in R for factor in Ri @ units)
    assert other_value == pytest.approx(value - lost, rel=1e-10)
    assert_close((other.weights, other.means / units, other.covariances / np.outer(units, units)), fit, 1e-5)


def test_optimiser_needs_a_floor_where_there_is_no_noise():
    x = np.random.default_rng(30).normal(size=(20, 2))
    S = [np.diag([0.1, 0.0])] + [np.eye(2)] * 19
    with pytest.raises(ValueError, match="floor"):
        joint.fit_by_optimiser(x, S, None, 1, 1, np.random.default_rng(31))
    # Values on a line, without noise: the floor is what remains across it.
    line = np.column_stack([x[:, 0], 2.0 * x[:, 0]])
    _, fit = joint.fit_by_optimiser(line, np.zeros((20, 2, 2)), None, 1, 2, np.random.default_rng(32), floor=[0.1, 0.1])
    across = np.array([2.0, -1.0]) / math.sqrt(5.0)
    assert across @ fit.covariances[0] @ across == pytest.approx(0.01, rel=1e-6)
    assert np.trace(fit.covariances[0]) - 0.01 == pytest.approx(5.0 * x[:, 0].var(), rel=1e-6)


# The Tully-Fisher relation

BANDS = ["B", "V", "R", "I", "H"]
# Slope, its error, the magnitude at logW20 = 2.5 and its error, published with the reference code of extreme
# deconvolution (examples/TF.tex there; data of Sakai et al. 2000, ApJ 529, 698, table 2), and the highest loglik.
TULLY_FISHER = {
    "B": (-8.04, 0.63, -19.77, 0.11, 5.0454),
    "V": (-8.86, 0.57, -20.33, 0.08, 9.2780),
    "R": (-8.79, 0.50, -20.64, 0.07, 8.9312),
    "I": (-9.26, 0.57, -21.12, 0.07, 7.2742),
    "H": (-11.03, 0.75, -21.73, 0.07, 4.9927),
}


def galaxies(catalogs, columns):
    """x, S and R of the columns, of galaxies with all or with some of them."""
    with open(catalogs / "tully_fisher" / "sakai2000.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))

    def numbers(prefix):
        return np.array([[float(row[prefix + name] or "nan") for name in columns] for row in table])

    return joint.from_missing(numbers(""), [np.diag(e * e) for e in numbers("e_")])


def line(mean, covariance):
    """Slope, and ordinate at 2.5, of the line through the mean along the long axis."""
    long_axis = np.linalg.eigh(covariance)[1][:, -1]
    slope = long_axis[1] / long_axis[0]
    return slope, mean[1] + slope * (2.5 - mean[0])


@pytest.mark.parametrize("band", BANDS)
def test_tully_fisher_relation_of_one_band(catalogs, band):
    # Galaxies without this magnitude were left out of the published fits.
    complete = [row for row in zip(*galaxies(catalogs, ["logW20", band]), strict=True) if len(row[0]) == 2]
    x, S, R = zip(*complete, strict=True)
    value, fit = joint.fit_by_optimiser(x, S, R, 1, 4, np.random.default_rng(33))
    slope, ordinate = line(fit.means[0], fit.covariances[0])
    expected_slope, _, expected_ordinate, _, expected_value = TULLY_FISHER[band]
    # The published fits stopped when EM gained less than 1e-5, which is slow at a singular covariance.
    assert slope == pytest.approx(expected_slope, abs=0.02)
    assert ordinate == pytest.approx(expected_ordinate, abs=0.01)
    assert value == pytest.approx(expected_value, abs=5.1e-5)
    thin, long_axis = np.linalg.eigh(fit.covariances[0])
    if band == "B":
        assert thin[0] > 1e-4
    else:
        assert thin[0] < 1e-12
        # Width along the thin axis would lower the likelihood.
        across = long_axis[:, 0]
        assert across @ joint.gradient(x, S, R, *fit).covariances[0] @ across < 0.0


def test_tully_fisher_relation_of_all_bands_with_missing_magnitudes(catalogs):
    x, S, R = galaxies(catalogs, ["logW20", *BANDS])
    assert sum(len(xi) for xi in x) == 21 * 6 - 5
    _, fit = joint.fit_by_optimiser(x, S, R, 1, 6, np.random.default_rng(34))
    by = joint.gradient(x, S, R, *fit)
    assert np.linalg.eigvalsh(by.covariances[0] * np.outer(fit.means[0], fit.means[0])).max() < 1e-2
    for k, band in enumerate(BANDS, start=1):
        pair = np.ix_([0, k], [0, k])
        slope, ordinate = line(fit.means[0, [0, k]], fit.covariances[0][pair])
        expected_slope, slope_error, expected_ordinate, error, _ = TULLY_FISHER[band]
        assert slope == pytest.approx(expected_slope, abs=slope_error)
        assert ordinate == pytest.approx(expected_ordinate, abs=error)
