"""Profile likelihood: closed forms for one component, an independent optimiser for two, edges and coverage."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit, logit
from scipy.stats import chi2, norm
from scipy.stats import t as student_t

import mixpipe
from mixpipe.assess.intervals import Intervals
from mixpipe.assess.profile import profile_intervals, sigma_upper_limit, worth_in_rows
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Uncertainties

PARTS = ("weights", "means", "sigmas")
# Ends are found to 1e-4 of their distance from the estimate.
END = 2e-4


def two(n=80, seed=1):
    rng = np.random.default_rng(seed)
    err = 0.4 * np.exp(0.5 * rng.standard_normal(n))
    return Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7]).sample(n, rng) + err * rng.standard_normal(n), err


def fall(total, variance, n):
    """Twice the fall of the log-likelihood of n values with this variance from total = variance, mean at its best."""
    return n * (math.log(total / variance) + variance / total - 1.0)


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_one_component_with_equal_errors_in_closed_form(level):
    n, err = 60, 0.7
    x = np.random.default_rng(1).normal(3.0, 2.0, n)
    cells = Cells.from_rows(x, err)
    found = profile_intervals(cells, mixpipe.fit_mixture(cells, n_components=1), level, calibrated=False)
    quantile, variance = chi2.ppf(level, 1), x.var()
    # At the mean x.mean() + d the best total variance is variance + d^2: the fall is n ln(1 + d^2 / variance) / 2.
    d = math.sqrt(variance * math.expm1(quantile / n))
    np.testing.assert_allclose(found.means.ravel(), [x.mean() - d, x.mean() + d], atol=END * d)
    ends = [
        math.sqrt(brentq(lambda t: fall(t, variance, n) - quantile, *bracket) - err**2)
        for bracket in ((0.1 * variance, variance), (variance, 10.0 * variance))
    ]
    np.testing.assert_allclose(found.sigmas.ravel(), ends, rtol=END)
    assert found.weights.ravel().tolist() == [1.0, 1.0]


def best_loglik(x, err, fit, part, component, value):
    """The largest log-likelihood with one parameter held, by Nelder-Mead and BFGS on this test's own likelihood."""
    mixture = fit.mixture
    size = mixture.n_components
    rest = np.arange(size) != component

    def unpack(p):
        weights, means, sigmas = np.exp(p[:size] - p[:size].max()), p[size : 2 * size].copy(), np.exp(p[2 * size :])
        weights /= weights.sum()
        if part == "weights":
            weights[rest] *= (1.0 - value) / weights[rest].sum()
        {"weights": weights, "means": means, "sigmas": sigmas}[part][component] = value
        return weights, means, sigmas

    def minus_loglik(p):
        weights, means, sigmas = unpack(p)
        total = np.hypot(sigmas, err[:, None])
        return -np.log(norm.pdf(x[:, None], means, total) @ weights).sum()

    start = np.concatenate([np.log(mixture.weights), mixture.means, np.log(mixture.sigmas)])
    for method, options in (("Nelder-Mead", {"maxiter": 4000, "fatol": 1e-7}), ("BFGS", {"gtol": 1e-6})):
        start = minimize(minus_loglik, start, method=method, options=options).x
    return -minus_loglik(start)


@pytest.mark.parametrize("part", PARTS)
def test_at_the_ends_of_two_components_an_independent_optimiser_finds_the_fall(part):
    x, err = two()
    cells = Cells.from_rows(x, err)
    fit = mixpipe.fit_mixture(cells, n_components=2)
    intervals = getattr(profile_intervals(cells, fit, 0.9, calibrated=False), part)
    assert np.all(intervals[0] < getattr(fit.mixture, part))
    assert np.all(getattr(fit.mixture, part) < intervals[1])
    for component in (0, 1):
        for end in intervals[:, component]:
            drop = 2.0 * (fit.loglik - best_loglik(x, err, fit, part, component, end))
            # An error of 2e-4 in the end is one of 4e-4 in the drop, and the optimiser stops within 1e-4.
            assert drop == pytest.approx(chi2.ppf(0.9, 1), rel=2e-3)


def test_three_components_hold_the_proportions_free():
    """The held weight of one of three: the other two are climbed, not only scaled."""
    rng = np.random.default_rng(3)
    err = np.full(120, 0.3)
    x = Mixture([0.4, 0.3, 0.3], [0.0, 2.5, 5.0], [0.8, 0.8, 0.8]).sample(120, rng) + err * rng.standard_normal(120)
    cells = Cells.from_rows(x, err)
    fit = mixpipe.fit_mixture(cells, n_components=3)
    ends = profile_intervals(cells, fit, 0.5, calibrated=False).weights
    for component in range(3):
        for end in ends[:, component]:
            drop = 2.0 * (fit.loglik - best_loglik(x, err, fit, "weights", component, end))
            # Nelder-Mead in nine parameters stops within some 1e-3.
            assert drop == pytest.approx(chi2.ppf(0.5, 1), abs=3e-3)


def test_intervals_end_where_the_parameters_do():
    """A group of rows that one component explains nearly as well: its weight may be zero, its mean anywhere."""
    x = np.append(np.random.default_rng(4).normal(0.0, 1.0, 60), [3.1, 3.2, 3.3, 3.4])
    cells = Cells.from_rows(x, 0.3)
    fit = mixpipe.fit_mixture(cells, n_components=2)
    assert fit.mixture.weights[1] < 0.1
    one = mixpipe.fit_mixture(cells, n_components=1)
    level = float(chi2.cdf(2.0 * (fit.loglik - one.loglik) + 2.0, 1))  # so that no second component is not excluded
    found = profile_intervals(cells, fit, level)
    assert found.weights[0, 1] == 0.0
    assert found.weights[1, 0] == 1.0
    assert np.isinf(found.means[:, 1]).any()


def test_a_sigma_of_zero_has_an_interval_from_zero():
    x = 0.5 * np.linspace(-1.0, 1.0, 50)
    cells = Cells.from_rows(x, 1.0)
    fit = mixpipe.fit_mixture(cells, n_components=1)
    assert fit.boundary.tolist() == [True]
    low, high = profile_intervals(cells, fit, 0.9, calibrated=False).sigmas.ravel()
    assert low == 0.0
    # At the boundary the two-sided 90 % end is the one-sided 95 % limit.
    assert high == pytest.approx(sigma_upper_limit(cells, fit, 0, 0.95, calibrated=False), rel=END)
    # T = 1 + s^2; twice the fall from s = 0 is 50 (ln T + (1 / T - 1) v).
    expected = brentq(lambda t: 50 * (math.log(t) + (1.0 / t - 1.0) * x.var()) - norm.ppf(0.95) ** 2, 1.0, 3.0)
    assert high == pytest.approx(math.sqrt(expected - 1.0), rel=END)


@pytest.mark.parametrize(("sigma", "most"), [(0.3, 1.0), (2.0, 0.95 + 3 * math.sqrt(0.05 * 0.95 / 400))])
def test_the_upper_limit_of_sigma_covers(sigma, most):
    """400 catalogs of 50 rows with an error of 1: 0.95 +- 0.011 where sigma is resolved, more where it is not."""
    rng = np.random.default_rng(5)
    below, limits = 0, []
    for _ in range(400):
        cells = Cells.from_rows(rng.normal(0.0, math.hypot(sigma, 1.0), 50), 1.0)
        limits.append(sigma_upper_limit(cells, mixpipe.fit_mixture(cells, n_components=1), 0))
        below += limits[-1] >= sigma
    assert 0.95 - 3 * math.sqrt(0.05 * 0.95 / 400) <= below / 400 <= most
    # s^2 has an uncertainty of T sqrt(2 / 50) = 0.2 T: the limit says something.
    assert np.median(limits) < math.sqrt(sigma**2 + 3 * 0.2 * (sigma**2 + 1.0))


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e3, -5e4)])
def test_intervals_go_with_the_unit(scale, shift):
    x, err = two(60)
    cells, other = Cells.from_rows(x, err), Cells.from_rows(scale * x + shift, scale * err)
    one = profile_intervals(cells, mixpipe.fit_mixture(cells, n_components=2))
    two_ = profile_intervals(other, mixpipe.fit_mixture(other, n_components=2))
    widths = np.diff(one.means, axis=0)
    np.testing.assert_allclose(two_.weights, one.weights, atol=1e-4)
    np.testing.assert_allclose((two_.means - shift) / scale, one.means, atol=1e-3 * widths.min())
    np.testing.assert_allclose(two_.sigmas / scale, one.sigmas, rtol=1e-3)


def test_intervals_from_small_uncertainties_are_symmetric_and_large_ones_stay_possible():
    mixture = Mixture([0.7, 0.3], [0.0, 1.0], [1.0, 2.0])
    small = Intervals.from_uncertainties(mixture, Uncertainties([1e-4] * 2, [1e-4] * 2, [1e-4] * 2), 0.95)
    for part in PARTS:
        estimate = getattr(mixture, part)
        expected = estimate + np.array([[-1.0], [1.0]]) * norm.ppf(0.975) * 1e-4
        # The scales bend by the square of the uncertainty.
        np.testing.assert_allclose(getattr(small, part), expected, atol=1e-7)
    large = Intervals.from_uncertainties(mixture, Uncertainties([0.3] * 2, [1.0] * 2, [3.0] * 2), 0.95)
    assert np.all((large.weights > 0.0) & (large.weights < 1.0))
    assert np.all(large.sigmas > 0.0)
    assert large.weights[0, 1] == pytest.approx(expit(logit(0.3) - norm.ppf(0.975) * 0.3 / 0.21))


def test_gaussians_by_the_general_likelihood_have_the_same_intervals():
    """A window that cuts nothing: another likelihood, other variables, the same profiles."""
    x, err = two()
    cells, whole = Cells.from_rows(x, err), Cells.from_rows(x, err, truncated=(-1e9, 1e9))
    one = profile_intervals(cells, mixpipe.fit_mixture(cells, n_components=2), 0.9)
    other = profile_intervals(whole, mixpipe.fit_mixture(whole, n_components=2), 0.9)
    for part in PARTS:
        widths = np.diff(getattr(one, part), axis=0).min()
        np.testing.assert_allclose(getattr(other, part), getattr(one, part), atol=2 * END * widths)


def test_ends_of_a_censored_normal_by_an_independent_optimiser():
    rng = np.random.default_rng(6)
    x, limit = rng.normal(0.0, math.hypot(1.0, 0.3), 80), rng.normal(-0.3, 0.5, 80)
    hidden = x < limit
    x = np.where(hidden, limit, x)
    cells = Cells.from_rows(x, 0.3, limits=np.where(hidden, -1, 0))
    fit = mixpipe.fit_mixture(cells, n_components=1)

    def loglik(mean, sigma):
        total = math.hypot(sigma, 0.3)
        return norm.logpdf(x[~hidden], mean, total).sum() + norm.logcdf(x[hidden], mean, total).sum()

    def best(function, bounds):
        found = minimize_scalar(lambda v: -function(v), bounds=bounds, method="bounded", options={"xatol": 1e-8})
        return -found.fun

    found = profile_intervals(cells, fit, 0.95, calibrated=False)
    for end in found.means[:, 0]:
        drop = 2.0 * (fit.loglik - best(lambda sigma, end=end: loglik(end, sigma), (1e-3, 5.0)))
        # An error of 1e-4 in the distance of the end is one of 2e-4 in the drop.
        assert drop == pytest.approx(chi2.ppf(0.95, 1), rel=1e-3)
    for end in found.sigmas[:, 0]:
        drop = 2.0 * (fit.loglik - best(lambda mean, end=end: loglik(mean, end), (-5.0, 5.0)))
        assert drop == pytest.approx(chi2.ppf(0.95, 1), rel=1e-3)


def test_ends_of_a_shape_by_an_independent_optimiser():
    x = student_t.ppf((np.arange(150) + 0.5) / 150, 4)
    cells = Cells.from_rows(x, 1e-6)
    fit = mixpipe.fit_mixture(cells, n_components=1, family="student_t")
    found = profile_intervals(cells, fit, 0.68, calibrated=False)
    for end in found.shapes[:, 0]:
        drop = minimize(
            lambda p, end=end: -student_t.logpdf(x, end, p[0], math.exp(p[1])).sum(), [0.0, 0.0], options={"gtol": 1e-7}
        )
        assert 2.0 * (fit.loglik + drop.fun) == pytest.approx(chi2.ppf(0.68, 1), rel=2e-3)


def test_a_background_has_a_weight_and_no_more():
    x = np.append(two(120)[0], np.linspace(-9.5, 9.5, 40))
    cells = Cells.from_rows(x, 0.3)
    fit = mixpipe.fit_mixture(cells, n_components=3, background=(-10.0, 10.0))
    found = profile_intervals(cells, fit, calibrated=False)
    j = fit.mixture.families.index("uniform")
    assert np.isnan(found.means[:, j]).all() and np.isnan(found.sigmas[:, j]).all() and np.isnan(found.shapes).all()
    assert found.weights[0, j] < fit.mixture.weights[j] < found.weights[1, j]

    def loglik(weight, ratio, means, sigmas):
        others = (1.0 - weight) * np.array([ratio, 1.0 - ratio])
        flat = (norm.cdf(x, -10.0, 0.3) - norm.cdf(x, 10.0, 0.3)) / 20.0
        return np.log(weight * flat + norm.pdf(x[:, None], means, np.hypot(sigmas, 0.3)) @ others).sum()

    rest = np.delete(np.arange(3), j)
    mixture = fit.mixture
    start = [logit(mixture.weights[rest[0]] / mixture.weights[rest].sum()), *mixture.means[rest]]
    start += list(np.log(mixture.sigmas[rest]))
    for end in found.weights[:, j]:
        best = minimize(
            lambda p, end=end: -loglik(end, expit(p[0]), p[1:3], np.exp(p[3:])), start, options={"gtol": 1e-7}
        )
        assert 2.0 * (fit.loglik + best.fun) == pytest.approx(chi2.ppf(0.68, 1), rel=2e-3)


def test_the_upper_limit_of_a_sigma_among_limits():
    """Half of the rows are upper limits far above all values: they say nothing, and the closed form is that without."""
    x = 0.5 * np.linspace(-1.0, 1.0, 50)
    cells = Cells.from_rows(np.append(x, np.full(50, 30.0)), 1.0, limits=np.append(np.zeros(50), np.full(50, -1)))
    fit = mixpipe.fit_mixture(cells, n_components=1)
    assert fit.boundary.tolist() == [True]
    total = brentq(lambda t: 50 * (math.log(t) + (1.0 / t - 1.0) * x.var()) - norm.ppf(0.95) ** 2, 1.0, 3.0)
    # The general likelihood has a width of 0.02 errors in place of none: 4e-4 in a variance of 0.06.
    assert sigma_upper_limit(cells, fit, 0, 0.95, calibrated=False) == pytest.approx(math.sqrt(total - 1.0), rel=4e-3)
    assert profile_intervals(cells, fit, 0.9, calibrated=False).sigmas[0, 0] == 0.0


def test_intervals_of_a_single_gaussian_without_errors_are_exact():
    """Those of Student and of chi-squared, however few the rows; the plain ones are shorter."""
    x = np.random.default_rng(2).normal(3.0, 2.0, 6)
    cells = Cells.from_rows(x)
    fit = mixpipe.fit_mixture(cells, n_components=1)
    for level in (0.68, 0.95):
        found, plain = profile_intervals(cells, fit, level), profile_intervals(cells, fit, level, calibrated=False)
        half = student_t.ppf(0.5 + 0.5 * level, 5) * x.std(ddof=1) / math.sqrt(6)
        np.testing.assert_allclose(found.means.ravel(), [x.mean() - half, x.mean() + half], atol=END * half)
        sums = chi2.ppf([0.5 + 0.5 * level, 0.5 - 0.5 * level], 5)
        np.testing.assert_allclose(found.sigmas.ravel(), np.sqrt(6 * x.var() / sums), rtol=END)
        assert np.ptp(plain.means) < np.ptp(found.means)
    limit = math.sqrt(6 * x.var() / chi2.ppf(0.1, 5))
    assert sigma_upper_limit(cells, fit, 0, 0.9) == pytest.approx(limit, rel=END)


def test_a_component_rests_on_as_many_rows_as_its_width_is_known_by():
    x, err = two()
    cells = Cells.from_rows(x, err)
    fit = mixpipe.fit_mixture(cells, n_components=2)
    worth = worth_in_rows(cells, fit)
    # Errors, and neighbours, leave less than the rows of each.
    assert np.all(worth < fit.mixture.weights * x.size)
    assert np.all(worth > 0.3 * fit.mixture.weights * x.size)
    exact = Cells.from_rows(np.concatenate([norm.ppf((np.arange(40) + 0.5) / 40), 50.0 + x[:30]]))
    np.testing.assert_allclose(worth_in_rows(exact, mixpipe.fit_mixture(exact, n_components=2)), [40, 30], rtol=1e-6)


def test_the_interval_survives_maxima_beside_the_held_one():
    """Ten and ten rows, of which the profile has several maxima: each end is found, and none lies inside out."""
    rng = np.random.default_rng(20)
    for _ in range(15):
        x = np.where(rng.random(20) < 0.6, rng.normal(0.0, 1.0, 20), rng.normal(4.0, 0.7, 20))
        cells = Cells.from_rows(x + 0.3 * rng.standard_normal(20), 0.3)
        fit = mixpipe.fit_mixture(cells, n_components=2)
        found = profile_intervals(cells, fit, 0.95)
        for part in PARTS:
            low, high = getattr(found, part)
            assert np.all(low <= getattr(fit.mixture, part) + 1e-9)
            assert np.all(high >= getattr(fit.mixture, part) - 1e-9)


def test_mistakes_are_named():
    x, err = two(40)
    cells = Cells.from_rows(x, err)
    fit = mixpipe.fit_mixture(cells, n_components=2)
    with pytest.raises(ValueError, match="level must be between 0 and 1, found 68"):
        profile_intervals(cells, fit, 68)
    with pytest.raises(ValueError, match="component must be 0 to 1, found 2"):
        sigma_upper_limit(cells, fit, 2)
    with pytest.raises(ValueError, match=r"at least 0\.5"):
        sigma_upper_limit(cells, fit, 0, 0.05)
