"""EM steps by name, and the Newton ascent: against the oracle, closed forms and each other."""

import math

import numpy as np
import pytest

import mixpipe
from mixpipe.fitting.gaussian.em import CONVERGED_GAIN, EM_STEPS, ascend, iterate
from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests import reference as ref

ORACLE_STEPS = {
    "exact": lambda *args: ref.em_exact(*args, joint=False),
    "fixed_point": ref.em_fixed_point,
    "xd": ref.em_xd,
}
each_step = pytest.mark.parametrize("name", sorted(EM_STEPS))

TRUTH = Mixture([0.35, 0.5, 0.15], [-1.0, 0.0, 3.0], [1.5, 1.0, 0.5])
POOR_START = Mixture([0.3, 0.3, 0.4], [-2.0, 0.5, 1.5], [0.8, 2.0, 1.0])


def draw(n, mixture, seed, error=None):
    """Values and errors: lognormal with median 0.4, or all equal."""
    rng = np.random.default_rng(seed)
    err = 0.4 * np.exp(0.5 * rng.standard_normal(n)) if error is None else np.full(n, error)
    return mixture.sample(n, rng) + err * rng.standard_normal(n), err


def one_step(name, x, err, mixture, weights=None, floor=0.0):
    """A step in the units of the data; also the log-likelihood before it and after."""
    likelihood = Likelihood(Cells.from_rows(x, err, weights), 1)
    params, before = EM_STEPS[name](likelihood, likelihood.scaled(mixture), (floor / likelihood.scale) ** 2)
    return likelihood.mixture(params), before, likelihood.sums(params).loglik


def oracle_step(name, x, err, mixture, weights=None):
    args = (list(x), list(err), mixture.weights.tolist(), mixture.means.tolist(), mixture.sigmas.tolist())
    return Mixture(*ORACLE_STEPS[name](*args, None if weights is None else list(weights)))


def assert_same(got, expected, tolerance):
    np.testing.assert_allclose(got.weights, expected.weights, atol=tolerance)
    np.testing.assert_allclose(got.means, expected.means, atol=tolerance)
    np.testing.assert_allclose(got.sigmas, expected.sigmas, atol=tolerance)


# Steps


@each_step
@pytest.mark.parametrize("seed", range(4))
def test_step_equals_the_oracle(name, seed):
    x, err = draw(80, TRUTH, seed)
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, 80) if seed % 2 else None
    got, _, _ = one_step(name, x, err, POOR_START, weights)
    # The root of the exact step is found where a score with round-off 1e-14 changes sign; the others are sums.
    assert_same(got, oracle_step(name, x, err, POOR_START, weights), 1e-10 if name == "exact" else 1e-12)


@each_step
def test_step_with_some_exact_rows_equals_the_oracle(name):
    x, err = draw(80, TRUTH, 5)
    err[::3] = 0.0
    assert_same(one_step(name, x, err, POOR_START, floor=1e-6)[0], oracle_step(name, x, err, POOR_START), 1e-10)


@each_step
def test_step_without_errors_is_the_textbook_step(name):
    x, _ = draw(80, TRUTH, 6)
    got, _, _ = one_step(name, x, np.zeros(80), POOR_START, floor=1e-6)
    plain = ref.em_plain(x.tolist(), *(list(v) for v in (POOR_START.weights, POOR_START.means, POOR_START.sigmas)))
    assert_same(got, Mixture(*plain), 1e-12)


@each_step
@pytest.mark.parametrize("exact_rows", [0, 3])
def test_loglik_never_falls(name, exact_rows):
    x, err = draw(300, TRUTH, 7)
    err[:exact_rows] = 0.0
    mixture = POOR_START
    for _ in range(40):
        mixture, before, after = one_step(name, x, err, mixture, floor=0.05 if exact_rows else 0.0)
        # Round-off of a sum of 300 terms of order one.
        assert after >= before - 1e-11


# One nearly exact row and ten at +-5: the best variance is near 23, but the score at zero is negative as well, since
# the exact row prefers the narrowest component.
CORE_AND_WINGS = (np.array([0.0] + [5.0, -5.0] * 5), np.array([0.01] + [1.0] * 10))


@pytest.mark.parametrize(
    "name",
    ["exact", "fixed_point", "xd"],
)
def test_loglik_never_falls_where_the_variance_has_two_maxima(name):
    x, err = CORE_AND_WINGS
    _, before, after = one_step(name, x, err, Mixture([1.0], [0.0], [5.0]))
    assert after >= before - 1e-11


def test_one_component_takes_the_higher_of_two_maxima_of_the_variance():
    fit = mixpipe.fit_mixture(*CORE_AND_WINGS, 1)
    best = ref.best_variance(*(v.tolist() for v in CORE_AND_WINGS), [1.0] * 11)
    assert best > 10.0
    assert fit.mixture.sigmas[0] ** 2 == pytest.approx(best, rel=1e-4)


@each_step
def test_steps_stay_at_the_maximum(name):
    x, err = draw(400, Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7]), 8)
    fit = mixpipe.fit_mixture(x, err, 2)
    moved, _, _ = one_step(name, x, err, fit.mixture)
    unc = fit.uncertainties
    # The fit stops where less than 1e-9 nats are left: sqrt(2e-9) = 4.5e-5 standard errors.
    for part in ("weights", "means", "sigmas"):
        assert np.all(np.abs(getattr(moved, part) - getattr(fit.mixture, part)) < 5e-5 * getattr(unc, part))


@each_step
def test_variance_keeps_to_its_floor(name):
    x = np.array([0.0, 0.0, 0.0, 10.0, 10.1, 9.9])
    got, _, _ = one_step(name, x, np.zeros(6), Mixture([0.5, 0.5], [0.0, 10.0], [0.5, 0.5]), floor=0.2)
    np.testing.assert_allclose(got.sigmas, [0.2, 0.2], rtol=1e-12)


# Plain EM to its end


@each_step
def test_plain_em_reaches_the_newton_maximum(name):
    x, err = draw(500, Mixture([0.6, 0.4], [0.0, 6.0], [1.0, 0.8]), 9)
    start = Mixture([0.5, 0.5], [-1.0, 5.0], [2.0, 2.0])
    best = mixpipe.fit_mixture(x, err, 2)
    fit = mixpipe.fit_mixture(x, err, 2, start=start, algorithm=name)
    assert fit.converged
    # Both are converged: what is left is below CONVERGED_GAIN, and the parameters within sqrt(2e-3) of their errors.
    assert best.loglik - CONVERGED_GAIN < fit.loglik < best.loglik + 1e-9
    assert np.all(np.abs(fit.mixture.means - best.mixture.means) < 0.05 * best.uncertainties.means)


def test_plain_em_that_was_stopped_early_says_so_and_how_much_is_left():
    x, err = draw(2000, Mixture([0.6, 0.4], [0.0, 3.0], [1.0, 0.7]), 10)
    likelihood = Likelihood(Cells.from_rows(x, err))
    start = likelihood.scaled(Mixture([0.5, 0.5], [0.5, 3.0], [1.0, 1.0]))
    best = ascend(likelihood, start, 0.0)
    gains = []
    for n_steps in (20, 40, 80):
        stopped = iterate(likelihood, start, 0.0, "xd", max_steps=n_steps)
        left = best.loglik - stopped.loglik
        assert stopped.converged == (stopped.remaining_gain < CONVERGED_GAIN)
        # Half the squared Newton decrement is exact to third order in the distance, which is below one error here.
        assert left < 0.5
        assert stopped.remaining_gain == pytest.approx(left, rel=0.3)
        gains.append(left)
    assert gains[0] > CONVERGED_GAIN
    assert gains == sorted(gains, reverse=True)


@each_step
def test_plain_em_that_says_converged_is_converged_where_components_overlap(name):
    x, err = draw(1000, TRUTH, 11)
    start = Mixture([0.35, 0.5, 0.15], [-1.2, 0.2, 2.8], [1.3, 1.1, 0.6])
    fit = mixpipe.fit_mixture(x, err, 3, start=start, algorithm=name)
    best = mixpipe.fit_mixture(x, err, 3, start=fit.mixture)
    assert fit.converged
    assert best.loglik - fit.loglik < 2 * CONVERGED_GAIN


# Newton ascent


@pytest.mark.parametrize("seed", range(5))
def test_remaining_gain_is_what_a_longer_run_gains(seed):
    x, err = draw(1000, TRUTH, 20 + seed)
    likelihood = Likelihood(Cells.from_rows(x, err))
    start = likelihood.scaled(POOR_START)
    end = ascend(likelihood, start, 0.0, gain=1e-12)
    assert end.converged
    for gain in (1e-2, 1e-3, 1e-5):
        stopped = ascend(likelihood, start, 0.0, gain=gain)
        assert stopped.remaining_gain < gain
        # At least the promised gain is left (round-off of the loglik 1e-12), and less than twice the tolerance.
        assert end.loglik - stopped.loglik < 2 * gain
    early = ascend(likelihood, start, 0.0, max_steps=1)
    assert not early.converged
    assert end.loglik - early.loglik > CONVERGED_GAIN


@pytest.mark.parametrize("n", [3, 10, 100, 10_000, 100_000])
def test_one_component_converges_to_the_closed_form_at_any_size(n):
    x = np.random.default_rng(n).normal(3.0, 2.0, n)
    fit = mixpipe.fit_mixture(x, 0.5, 1)
    assert fit.converged
    # 1e-9 nats are left at most: 4.5e-5 standard errors.
    assert abs(fit.mixture.means[0] - x.mean()) < 5e-5 * 2.1 / math.sqrt(n)
    assert abs(fit.mixture.sigmas[0] - math.sqrt(x.var() - 0.25)) < 5e-5 * 2.1 / math.sqrt(n)
    assert fit.loglik == pytest.approx(-0.5 * n * (math.log(2 * math.pi * x.var()) + 1.0), rel=1e-10)


@pytest.mark.parametrize("n", [30, 1000, 100_000])
def test_three_overlapping_components_converge_at_any_size(n):
    x, err = draw(n, TRUTH, 30)
    fit = mixpipe.fit_mixture(x, err, 3, start=TRUTH)
    assert fit.converged
    likelihood = Likelihood(Cells.from_rows(x, err))
    params = likelihood.scaled(fit.mixture)
    gradient = likelihood.derivatives(params).gradient.reshape(3, 3)
    # The score vanishes in the unit sqrt(n) of its own scatter, but for s^2 at the boundary, where it is <= 0.
    assert np.all(np.abs(gradient[:, :2]) < 1e-3 * math.sqrt(n))
    assert np.all(np.abs(gradient[~fit.boundary, 2]) < 1e-3 * math.sqrt(n))
    assert np.all(gradient[fit.boundary, 2] <= 0.0)


def test_one_component_is_at_zero_width_exactly_where_the_score_there_is_negative():
    outcomes = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        err = rng.uniform(0.5, 1.0, 25)
        x = err * rng.standard_normal(25)
        mean = np.sum(x / err**2) / np.sum(1 / err**2)
        at_zero = bool(np.sum((x - mean) ** 2 / err**4 - 1 / err**2) <= 0)
        fit = mixpipe.fit_mixture(x, err, 1)
        assert fit.converged
        assert (fit.mixture.sigmas[0] == 0.0) == at_zero
        assert fit.boundary[0] == at_zero
        if at_zero:
            assert fit.mixture.means[0] == pytest.approx(mean, abs=1e-5)
        outcomes.add(at_zero)
    assert outcomes == {True, False}


@pytest.mark.parametrize("seed", range(6))
def test_boundary_of_two_components_is_where_the_oracle_finds_it(seed):
    x, err = draw(150, Mixture([0.6, 0.4], [0.0, 5.0], [1.0, 0.0]), 40 + seed)
    fit = mixpipe.fit_mixture(x, err, 2)
    value, (_, _, sigmas) = ref.maximise(x, err, 2, 8, np.random.default_rng(seed))
    # The oracle searches ln s down to 1e-7 of the spread: its loglik there is that of zero to 1e-10.
    assert fit.loglik == pytest.approx(value, abs=1e-5)
    np.testing.assert_array_equal(fit.boundary, np.array(sigmas) < 1e-3)
    assert np.all(fit.mixture.sigmas[fit.boundary] == 0.0)


def test_two_identical_components_do_not_trap_the_ascent():
    """The start is a saddle: by symmetry the gradient has no part that would separate the components."""
    x, err = draw(500, Mixture([0.6, 0.4], [0.0, 6.0], [1.0, 1.0]), 50)
    fit = mixpipe.fit_mixture(x, err, 2, start=Mixture([0.5, 0.5], [1.0, 1.0], [2.0, 2.0]))
    assert fit.converged
    assert fit.loglik == pytest.approx(mixpipe.fit_mixture(x, err, 2).loglik, abs=1e-3)


@pytest.mark.parametrize("error", [0.3, 0.8])
def test_equal_errors_add_to_the_variances_of_a_fit_without_them(error):
    x, _ = draw(400, Mixture([0.6, 0.4], [0.0, 6.0], [1.5, 1.2]), 51, error)
    with_err = mixpipe.fit_mixture(x, error, 2)
    without = mixpipe.fit_mixture(x, None, 2)
    expected = np.sqrt(without.mixture.sigmas**2 - error**2)
    assert with_err.loglik == pytest.approx(without.loglik, abs=1e-8)
    np.testing.assert_allclose(with_err.mixture.sigmas, expected, atol=2e-5)
    np.testing.assert_allclose(with_err.mixture.means, without.mixture.means, atol=2e-5)


def test_equal_errors_larger_than_the_scatter_leave_nothing():
    x = np.random.default_rng(52).normal(0.0, 1.0, 100)
    fit = mixpipe.fit_mixture(x, 1.2 * x.std(), 1)
    assert fit.mixture.sigmas[0] == 0.0
    assert fit.mixture.means[0] == pytest.approx(x.mean(), abs=1e-5)


def test_equal_sigmas_are_equal_and_at_their_maximum():
    x, err = draw(400, Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 1.0]), 53)
    fit = mixpipe.fit_mixture(x, err, 2, equal_sigmas=True)
    assert fit.converged
    assert fit.n_params == 4
    assert np.ptp(fit.mixture.sigmas) == 0.0
    w, m, s = (v.tolist() for v in (fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas))
    here = ref.loglik(x, err, w, m, s)
    assert fit.loglik == pytest.approx(here, rel=1e-12)
    for shift in (-0.01, 0.01):  # a step of some 0.2 standard errors in each free parameter lowers the loglik
        assert ref.loglik(x, err, w, m, [s[0] + shift] * 2) < here
        assert ref.loglik(x, err, w, [m[0] + shift, m[1]], s) < here
        assert ref.loglik(x, err, w, [m[0], m[1] + shift], s) < here
        assert ref.loglik(x, err, [w[0] + shift, w[1] - shift], m, s) < here


def test_equal_sigmas_can_all_be_zero():
    err = np.full(60, 1.0)
    x = np.concatenate([np.linspace(-0.5, 0.5, 30), 8.0 + np.linspace(-0.5, 0.5, 30)])
    fit = mixpipe.fit_mixture(x, err, 2, equal_sigmas=True)
    assert fit.converged
    np.testing.assert_array_equal(fit.mixture.sigmas, [0.0, 0.0])
    np.testing.assert_allclose(fit.mixture.means, [0.0, 8.0], atol=1e-4)


@pytest.mark.parametrize(
    "algorithm",
    ["newton", *sorted(EM_STEPS)],
)
def test_a_start_with_a_width_of_zero_on_exact_rows_is_lifted_to_the_floor(algorithm):
    x = np.random.default_rng(54).normal(0.0, 1.0, 50)
    fit = mixpipe.fit_mixture(x, None, 1, start=Mixture([1.0], [0.0], [0.0]), algorithm=algorithm)
    assert fit.mixture.sigmas[0] == pytest.approx(x.std(), rel=1e-3)


@pytest.mark.parametrize("algorithm", ["newton", *sorted(EM_STEPS)])
def test_a_start_without_weight_is_no_obstacle(algorithm):
    x = np.random.default_rng(0).normal(size=300)
    fit = mixpipe.fit_mixture(x, 0.1, 2, start=Mixture([1.0, 0.0], [0.0, 100.0], [1.0, 1.0]), algorithm=algorithm)
    one = mixpipe.fit_mixture(x, 0.1, 1)
    # The second component is out of reach: what is left is the best single one.
    assert fit.loglik == pytest.approx(one.loglik, abs=1e-3)
