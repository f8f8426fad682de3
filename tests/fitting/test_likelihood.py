"""Log-likelihood and derivatives against the slow oracle, against finite differences, and their invariances."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.fitting.kernels.passes import CHUNK
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests import reference as ref

# The fast path equals the slow one to this, relative to the sum of the absolute contributions of the rows.
TWIN = 1e-12


@dataclass
class Problem:
    """Data and a mixture; `origin` is a number that all values are close to, subtracted exactly for the oracle."""

    x: np.ndarray
    err: np.ndarray
    weights: np.ndarray | None
    mixture: Mixture
    origin: float = 0.0

    @property
    def cells(self):
        rows = Cells.from_rows(self.x, self.err)
        return rows if self.weights is None else replace(rows, weights=self.weights)

    @property
    def rows(self):
        return (self.x - self.origin).tolist(), self.err.tolist()

    @property
    def row_weights(self):
        return None if self.weights is None else self.weights.tolist()

    @property
    def parameters(self):
        m = self.mixture
        return m.weights.tolist(), (m.means - self.origin).tolist(), m.sigmas.tolist()


def draw(n, mixture, rng, err):
    z = mixture.sample(n, rng)
    return z + err * rng.standard_normal(n)


def problems():
    rng = np.random.default_rng(20)
    three = Mixture([0.2, 0.5, 0.3], [-2.0, 0.3, 4.0], [0.7, 1.4, 0.3])
    err = 0.4 * np.exp(0.5 * rng.standard_normal(60))
    base = draw(60, three, rng, err)
    made = {
        "plain": Problem(base, err, None, three),
        "one component": Problem(base, err, None, Mixture([1.0], [0.4], [1.2])),
        "row weights": Problem(base, err, rng.uniform(0.0, 3.0, 60) * (rng.random(60) < 0.8), three),
        "no errors": Problem(base, np.zeros(60), None, three),
        "some errors zero": Problem(base, np.where(rng.random(60) < 0.5, 0.0, err), None, three),
        "a sigma of zero": Problem(base, err, None, Mixture([0.2, 0.5, 0.3], [-2.0, 0.3, 4.0], [0.7, 0.0, 0.3])),
        "all sigmas zero": Problem(base, err, None, Mixture([0.6, 0.4], [0.0, 4.0], [0.0, 0.0])),
        "a row at 1e6 sigma": Problem(np.append(base, 1e6), np.append(err, 1.0), None, three),
        "a tiny weight": Problem(base, err, None, Mixture([1e-12, 1.0 - 1e-12], [0.0, 1.0], [1.0, 2.0])),
        "more than one block": Problem(np.tile(base, 9), np.tile(err, 9), None, three),
    }
    wild = 10.0 ** rng.uniform(-6.0, 3.0, 60)
    made["errors over nine decades"] = Problem(draw(60, three, rng, wild), wild, None, three)
    step = 1e-6 * Mixture([0.7, 0.3], [0.0, 6.0], [1.0, 0.5]).sample(60, rng)
    tiny = 1e-6 * np.exp(0.3 * rng.standard_normal(60))
    origin = 2459000.5
    mixture = Mixture([0.6, 0.4], [origin, origin + 5e-6], [1e-6, 7e-7])
    made["values 2459000.5 +- 1e-6"] = Problem(origin + step, tiny, None, mixture, origin)
    made["values of 1e-40"] = Problem(
        1e-40 * base, 1e-40 * err, None, Mixture(three.weights, 1e-40 * three.means, 1e-40 * three.sigmas)
    )
    return made


PROBLEMS = problems()
each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS.keys())


def in_data_units(likelihood, derivatives, size):
    """Gradient and Hessian with respect to (ln w, m, s^2), in the oracle's order: by parameter, then component."""
    unit = np.tile([1.0, 1.0 / likelihood.scale, 1.0 / likelihood.scale**2], size)
    order = np.arange(3 * size).reshape(size, 3).T.ravel()
    gradient = derivatives.gradient * unit
    hessian = derivatives.hessian * np.outer(unit, unit)
    return gradient[order], hessian[np.ix_(order, order)]


def oracle_derivatives(problem):
    """Gradient and Hessian of the oracle, and the sums over rows of the absolute contributions to them."""
    x, err = problem.rows
    w, m, s = problem.parameters
    v = [sj * sj for sj in s]
    alpha = [math.log(wj) for wj in w]
    counts = ref.row_counts(x, problem.row_weights)
    gradient, hessian = ref.gradient_and_hessian(x, err, alpha, m, v, problem.row_weights)
    absolute_gradient, absolute_hessian = np.zeros(3 * len(w)), np.zeros((3 * len(w), 3 * len(w)))
    for xi, ei, ci in zip(x, err, counts, strict=True):
        if ci > 0.0:
            g, h = ref.gradient_and_hessian([xi], [ei], alpha, m, v, [ci])
            absolute_gradient += np.abs(g)
            # Both codes subtract products of scores, which may be far larger than what they leave.
            absolute_hessian += np.abs(h) + np.abs(np.outer(g, g)) / ci
    return np.array(gradient), np.array(hessian), absolute_gradient, absolute_hessian


@each_problem
def test_loglik_equals_the_oracle_on_all_three_paths(problem):
    x, err = problem.rows
    expected = ref.loglik(x, err, *problem.parameters, problem.row_weights)
    size = sum(
        c * abs(lp)
        for c, lp in zip(
            ref.row_counts(x, problem.row_weights), ref.log_density(x, err, *problem.parameters), strict=True
        )
    )
    likelihood = Likelihood(problem.cells, 1)
    params = likelihood.scaled(problem.mixture)
    for got in (
        likelihood.sums(params).loglik,
        likelihood.logpdf(params)[1],
        likelihood.derivatives(params).loglik,
    ):
        assert abs(got - expected) <= TWIN * size


@each_problem
def test_entropy_equals_the_oracle(problem):
    x, err = problem.rows
    expected = ref.entropy(x, err, *problem.parameters, problem.row_weights)
    likelihood = Likelihood(problem.cells, 1)
    # Round-off in the exponents of far rows, some 1e-15 times their chi^2, enters the small responsibilities.
    assert likelihood.logpdf(likelihood.scaled(problem.mixture))[2] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@each_problem
def test_gradient_and_hessian_equal_the_oracle(problem):
    likelihood = Likelihood(problem.cells, 1)
    params = likelihood.scaled(problem.mixture)
    gradient, hessian = in_data_units(likelihood, likelihood.derivatives(params), params.n_components)
    expected_gradient, expected_hessian, gradient_size, hessian_size = oracle_derivatives(problem)
    assert np.all(np.abs(gradient - expected_gradient) <= TWIN * gradient_size)
    # Off-diagonal entries may cancel inside a row: measured against the diagonal, as a correlation is.
    root = np.sqrt(np.diag(hessian_size))
    assert np.all(np.abs(hessian - expected_hessian) <= TWIN * np.maximum(hessian_size, np.outer(root, root)))


@pytest.mark.parametrize("name", ["plain", "row weights", "some errors zero", "more than one block"])
def test_derivatives_are_those_of_the_loglik(name):
    """Central differences: truncation of order h^2, round-off of 1e-13 / h in the loglik; h = 1e-5 balances them."""
    likelihood = Likelihood(PROBLEMS[name].cells, 1)
    params = likelihood.scaled(PROBLEMS[name].mixture)
    size = params.n_components
    theta = np.stack([np.log(params.weights), params.means, params.variances], axis=1).ravel()

    def at(values):
        log_w, means, variances = values.reshape(size, 3).T
        return likelihood.derivatives(Params(np.exp(log_w), means.copy(), variances.copy()))

    here = at(theta)
    h = 1e-5
    for k in range(theta.size):
        shift = np.zeros(theta.size)
        shift[k] = h
        up, down = at(theta + shift), at(theta - shift)
        slope = (up.loglik - down.loglik) / (2 * h)
        assert slope == pytest.approx(here.gradient[k], rel=1e-6, abs=1e-6 * np.abs(here.gradient).max())
        row = (up.gradient - down.gradient) / (2 * h)
        np.testing.assert_allclose(row, here.hessian[k], atol=1e-6 * np.abs(here.hessian).max())


@each_problem
def test_gradient_function_equals_the_oracle(problem):
    x, err = problem.rows
    likelihood = Likelihood(problem.cells, 1)
    params = likelihood.scaled(problem.mixture)
    logp = likelihood.logpdf(params)[0]
    candidates = Mixture(
        [0.25] * 4,
        problem.mixture.means[0] + problem.mixture.sigmas.max() * np.array([-1.0, 0.0, 0.5, 2.0]) + 0.0,
        np.full(4, problem.mixture.sigmas.max() or 0.5),
    )
    points = likelihood.scaled(candidates)
    gradient, curvature = likelihood.gradient_function(logp, points.means, points.variances)
    w, m, s = problem.parameters
    for g in range(4):
        mean, sigma = candidates.means[g] - problem.origin, candidates.sigmas[g]
        if problem.x.max() > 1e5 and problem.origin == 0:
            # At 1e6 sigma the exponents carry round-off of 1e12 * 1e-16 each: only the size is certain.
            assert np.isfinite(gradient[g])
            continue
        expected = ref.gradient_function(x, err, w, m, s, mean, sigma, problem.row_weights)
        assert gradient[g] == pytest.approx(expected, rel=1e-9, abs=1e-10 * likelihood.n_data)
        ratios = [
            math.exp(ref.log_normal(xi - mean, sigma**2 + ei**2) - lp) - 1.0
            for xi, ei, lp in zip(x, err, ref.log_density(x, err, w, m, s), strict=True)
        ]
        square = sum(c * r * r for c, r in zip(ref.row_counts(x, problem.row_weights), ratios, strict=True))
        assert curvature[g] == pytest.approx(square, rel=1e-9)


@pytest.fixture(scope="module")
def large():
    rng = np.random.default_rng(3)
    mixture = Mixture([0.3, 0.7], [0.0, 3.0], [1.0, 0.4])
    err = rng.uniform(0.0, 1.0, 50_000)
    return Cells.from_rows(draw(50_000, mixture, rng, err), err, rng.uniform(0, 2, 50_000)), mixture


def test_threads_do_not_change_a_bit(large):
    cells, mixture = large
    one, two = Likelihood(cells, 1), Likelihood(cells, 2)
    assert two.n_chunks >= 3
    params = one.scaled(mixture)
    first, second = one.derivatives(params), two.derivatives(params)
    assert first.loglik == second.loglik
    assert first.gradient.tobytes() == second.gradient.tobytes()
    assert first.hessian.tobytes() == second.hessian.tobytes()
    assert [np.asarray(v).tobytes() for v in vars(one.sums(params)).values()] == [
        np.asarray(v).tobytes() for v in vars(two.sums(params)).values()
    ]
    (logp, loglik, entropy), (logp2, loglik2, entropy2) = one.logpdf(params), two.logpdf(params)
    assert logp.tobytes() == logp2.tobytes()
    assert (loglik, entropy) == (loglik2, entropy2)
    means, variances = np.linspace(-2, 4, 13), np.repeat([0.01, 1.0, 4.0], [4, 4, 5])
    for a, b in zip(
        one.gradient_function(logp, means, variances), two.gradient_function(logp, means, variances), strict=True
    ):
        assert a.tobytes() == b.tobytes()


def test_chunks_add_up_to_the_sum_over_rows(large):
    cells, mixture = large
    likelihood = Likelihood(cells, 2)
    assert len(cells) % CHUNK != 0
    direct = float(cells.weights @ mixture.logpdf(cells.x, cells.err))
    # Some 5e4 terms of order one: round-off of 1e-16 times the square root of their number, and a margin.
    assert likelihood.sums(likelihood.scaled(mixture)).loglik == pytest.approx(direct, rel=1e-12)


def test_order_of_rows_matters_to_round_off_only(large):
    cells, mixture = large
    order = np.random.default_rng(4).permutation(len(cells))
    shuffled = Cells(cells.x[order], cells.err[order], cells.weights[order], cells.resolution)
    a, b = Likelihood(cells), Likelihood(shuffled)
    assert (a.centre, a.scale) == (b.centre, b.scale)
    first, second = a.derivatives(a.scaled(mixture)), b.derivatives(b.scaled(mixture))
    assert first.loglik == pytest.approx(second.loglik, rel=1e-10)
    np.testing.assert_allclose(first.gradient, second.gradient, rtol=1e-10, atol=1e-10 * a.n_data)
    np.testing.assert_allclose(first.hessian, second.hessian, rtol=1e-10, atol=1e-10 * a.n_data)


def test_a_row_weight_of_two_is_the_row_twice():
    problem = PROBLEMS["plain"]
    weighted = Likelihood(Cells.from_rows(problem.x, problem.err, np.full(60, 2.0)))
    doubled = Likelihood(Cells.from_rows(np.tile(problem.x, 2), np.tile(problem.err, 2)))
    assert weighted.n_data == doubled.n_data == 120.0
    first = weighted.derivatives(weighted.scaled(problem.mixture))
    second = doubled.derivatives(doubled.scaled(problem.mixture))
    assert first.loglik == pytest.approx(second.loglik, rel=TWIN)
    np.testing.assert_allclose(first.gradient, second.gradient, rtol=TWIN, atol=TWIN * 120)
    np.testing.assert_allclose(first.hessian, second.hessian, rtol=TWIN, atol=TWIN * 120)


def test_rows_of_weight_zero_count_for_nothing():
    problem = PROBLEMS["plain"]
    extra = Cells.from_rows(
        np.append(problem.x, 1e9), np.append(problem.err, 5.0), np.append(np.ones(problem.x.size), 0.0)
    )
    with_it, without = Likelihood(extra), Likelihood(problem.cells)
    assert with_it.sums(with_it.scaled(problem.mixture)).loglik == without.sums(without.scaled(problem.mixture)).loglik


def test_scaling_and_its_inverse_give_the_same_mixture():
    problem = PROBLEMS["values 2459000.5 +- 1e-6"]
    likelihood = Likelihood(problem.cells)
    back = likelihood.mixture(likelihood.scaled(problem.mixture))
    np.testing.assert_array_equal(back.means, problem.mixture.means)
    np.testing.assert_allclose(back.sigmas, problem.mixture.sigmas, rtol=4 * np.finfo(float).eps)
    assert math.frexp(likelihood.scale)[0] == 0.5  # a power of two: scaling is exact
