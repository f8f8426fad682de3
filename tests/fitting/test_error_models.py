"""Fits to values whose errors have two sides, or heavy tails."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

import mixpipe
from mixpipe.assess.bootstrap import bootstrap
from mixpipe.assess.comparison.influence import Influence
from mixpipe.assess.quality import pit
from mixpipe.assess.simulation import likelihood_ratio_test, quality_pvalues
from mixpipe.catalog.columns import prepare_column
from mixpipe.config.settings import ColumnSettings
from mixpipe.fitting.general.fit import loglik_of
from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point
from mixpipe.fitting.general.points import sampled
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import HeavyTailed, TwoSided, draw_noise
from tests.campaign import mostly_campaign, mostly_study, study

TWO = Mixture([0.6, 0.4], [0.0, 4.0], [0.7, 0.5])


def sides_of(n, rng, ratio=4.0):
    """Lower and upper errors that differ by this factor, half of the rows to the one and half to the other side."""
    small, turned = 0.2 * np.exp(0.3 * rng.standard_normal(n)), rng.random(n) < 0.5
    return np.where(turned, ratio, 1.0) * small, np.where(turned, 1.0, ratio) * small


def sample(mixture, noise, rng):
    return mixture.sample(noise.shape[0], rng) + draw_noise(noise, rng)


@pytest.mark.parametrize("kind", ["values", "limits", "window"])
@pytest.mark.parametrize("noise", ["two_sided", "student_t"])
def test_gradient_and_hessian_are_the_differences_of_the_loglikelihood(noise, kind):
    rng = np.random.default_rng(1)
    lower, upper = sides_of(60, rng)
    errors = {"err": [lower, upper]} if noise == "two_sided" else {"err": lower, "error_model": noise, "error_dof": 3.0}
    x = sample(TWO, TwoSided(lower, upper), rng)
    limits = rng.integers(-1, 2, 60) if kind == "limits" else None
    cells = Cells.from_rows(x, **errors, limits=limits, truncated=(-9.0, 9.0) if kind == "window" else None)
    likelihood = GeneralLikelihood(cells)
    point = Point.of(Mixture([0.5, 0.5], [0.3, 3.5], [0.6, 0.8]))
    here, units, step = likelihood.expansion(point), likelihood.units(point), 1e-4

    def at(*changes):
        moved = point
        for index, axis, size in changes:
            change = np.zeros(2)
            change[axis] = size * units[index][1 + axis]
            moved = likelihood.moved(moved, index, change)
        return float(likelihood.counts @ likelihood.log_rows(moved))

    # The variables of a component are (ln w, mean, ln sigma).
    variables = [(index, axis) for index in (0, 1) for axis in (0, 1)]
    places = [3 * index + 1 + axis for index, axis in variables]
    for a, one in zip(places, variables, strict=True):
        slope = (at((*one, step)) - at((*one, -step))) / (2.0 * step)
        assert here.gradient[a] == pytest.approx(slope, abs=1e-5)
        for b, other in zip(places, variables, strict=True):
            corners = [i * j * at((*one, i * step), (*other, j * step)) for i in (1, -1) for j in (1, -1)]
            # Rounding of 1e-13 in a sum of a hundred nats, over 4e-8.
            assert here.hessian[a, b] == pytest.approx(sum(corners) / (4.0 * step**2), abs=2e-4, rel=1e-5)


def test_equal_sides_give_the_same_bits_as_symmetric_errors():
    rng = np.random.default_rng(2)
    err = 0.2 * np.exp(0.3 * rng.standard_normal(200))
    x = sample(TWO, TwoSided(err, err), rng)
    plain, sided = (mixpipe.choose_n_components(x, given, max_components=3) for given in (err, [err, err]))
    assert [fit.loglik for fit in plain.fits] == [fit.loglik for fit in sided.fits]
    assert plain.best.mixture.means.tolist() == sided.best.mixture.means.tolist()
    lower = 0.5 * err
    mean, symmetric = (
        mixpipe.fit_mixture(x, 0.75 * err, n_components=2),
        mixpipe.fit_mixture(x, [lower, err], n_components=2, error_model="symmetric"),
    )
    assert symmetric.loglik == pytest.approx(mean.loglik, rel=1e-14)


@pytest.mark.parametrize("family", ["gaussian", "laplace"])
def test_a_fit_is_a_maximum_with_as_much_as_the_formula_says(family):
    rng = np.random.default_rng(3)
    lower, upper = sides_of(150, rng)
    x = sample(Mixture([1.0], [0.0], [0.7]), TwoSided(lower, upper), rng)
    fit = mixpipe.fit_mixture(x, [lower, upper], n_components=1, family=family)
    assert fit.converged
    assert fit.loglik == pytest.approx(float(fit.mixture.logpdf(x, [lower, upper]).sum()), abs=1e-9)
    cells = Cells.from_rows(x, [lower, upper])
    mean, sigma = fit.mixture.means[0], fit.mixture.sigmas[0]
    for change in ((0.01, 1.0), (-0.01, 1.0), (0.0, 1.02), (0.0, 0.98)):
        assert loglik_of(Mixture([1.0], [mean + change[0]], [sigma * change[1]], (family,)), cells) < fit.loglik


def test_two_populations_come_back_and_the_mean_of_the_sides_misses_them():
    rng = np.random.default_rng(4)
    # All rows have the longer side above, as where a population is seen through a mask.
    lower, upper = np.full(1000, 0.1), np.full(1000, 1.2)
    x = sample(TWO, TwoSided(lower, upper), rng)
    sided = mixpipe.choose_n_components(x, [lower, upper], max_components=3).best
    assert sided.n_components == 2
    unc = sided.uncertainties
    for part in ("weights", "means", "sigmas"):
        # Four uncertainties of six parameters.
        assert np.all(np.abs(getattr(sided.mixture, part) - getattr(TWO, part)) < 4.0 * getattr(unc, part))
    mean = mixpipe.fit_mixture(x, [lower, upper], n_components=2, error_model="symmetric")
    assert np.all((mean.mixture.means - TWO.means) / mean.uncertainties.means < -4.0)


def test_limits_a_window_and_a_background_are_fitted_with_two_sides():
    rng = np.random.default_rng(5)
    lower, upper = sides_of(800, rng)
    x = sample(Mixture([1.0], [2.0], [1.0]), TwoSided(lower, upper), rng)
    limits = np.where(x < 1.5, -1, 0)
    censored = mixpipe.fit_mixture(np.maximum(x, 1.5), [lower, upper], n_components=1, limits=limits)
    seen = x > 1.0
    cut = mixpipe.fit_mixture(x[seen], [lower[seen], upper[seen]], n_components=1, truncated=(1.0, None))
    x[:200] = rng.uniform(-20.0, 20.0, 200)
    mixed = mixpipe.fit_mixture(x, [lower, upper], n_components=2, background=(-20.0, 20.0))
    for fit, j in ((censored, 0), (cut, 0), (mixed, mixed.mixture.families.index("gaussian"))):
        unc = fit.uncertainties
        assert fit.converged
        assert abs(fit.mixture.means[j] - 2.0) < 4.0 * unc.means[j]
        assert abs(fit.mixture.sigmas[j] - 1.0) < 4.0 * unc.sigmas[j]
    assert abs(mixed.mixture.weights[j] - 0.75) < 4.0 * mixed.uncertainties.weights[j]


def test_outlying_errors_widen_a_gaussian_and_not_students_t():
    rng = np.random.default_rng(6)
    err = np.full(600, 0.5)
    x = sample(Mixture([1.0], [1.0], [0.5]), HeavyTailed(err, 2.0), rng)
    fits = [
        mixpipe.fit_mixture(x, err, n_components=1, **options)
        for options in ({"error_model": "student_t", "error_dof": 2.0}, {})
    ]
    assert abs(fits[0].mixture.sigmas[0] - 0.5) < 4.0 * fits[0].uncertainties.sigmas[0]
    assert fits[1].mixture.sigmas[0] - 0.5 > 10.0 * fits[1].uncertainties.sigmas[0]
    assert fits[0].loglik > fits[1].loglik + 50.0


def test_many_rows_are_searched_on_some_of_them_whatever_their_order():
    rng = np.random.default_rng(7)
    lower, upper = sides_of(3500, rng)
    x = sample(TWO, TwoSided(lower, upper), rng)
    cells = Cells.from_rows(x, [lower, upper])
    some, order = sampled(cells, 500), rng.permutation(3500)
    assert (len(some), some.n_data) == (500, pytest.approx(3500.0))
    np.testing.assert_array_equal(some.noise.upper, sampled(cells[order], 500).noise.upper)
    fit = mixpipe.fit_mixture(cells, n_components=2)
    assert fit.converged
    # The rows, and not only some of them, were climbed.
    assert fit.loglik == pytest.approx(loglik_of(fit.mixture, cells), abs=1e-8)
    other = mixpipe.fit_mixture(cells[order], n_components=2)
    np.testing.assert_allclose(other.mixture.means, fit.mixture.means, atol=1e-6)


def measured(n, seed, dof):
    """A catalog of two populations, with two-sided errors or, with degrees of freedom, heavy-tailed ones."""
    rng = np.random.default_rng(seed)
    lower, upper = sides_of(n, rng)
    noise = TwoSided(lower, upper) if dof is None else HeavyTailed(lower, dof)
    x = sample(TWO, noise, rng)
    given = [lower, upper] if dof is None else lower
    return x, noise, Cells.from_rows(x, given, error_model=None if dof is None else "student_t", error_dof=dof)


@pytest.mark.parametrize("dof", mostly_campaign([None, 3.0], None))
def test_what_follows_from_a_fit_has_the_same_errors(dof):
    x, noise, cells = measured(120, 8, dof)
    fit = mixpipe.fit_mixture(cells, n_components=2)
    transform = pit(fit.mixture, cells)
    np.testing.assert_array_equal(transform, fit.mixture.cdf(x, noise))
    assert np.all((transform > 0.0) & (transform < 1.0))
    # The model is right: of 19 simulated catalogs one deviates as much, at least.
    assert min(quality_pvalues(fit, cells, n_draws=19, n_threads=1)) > 0.05
    if dof is None:
        assert likelihood_ratio_test(cells, 1, n_draws=19, n_threads=1).p_value == 0.05
    draws = bootstrap(cells, fit, 30, 1, n_threads=1)
    unc = np.std(draws.means, axis=0)
    # The scatter of 30 draws is known to 13 %.
    assert np.all((unc > 0.5 * fit.uncertainties.means) & (unc < 2.0 * fit.uncertainties.means))


@pytest.mark.parametrize("dof", [None, 3.0])
def test_the_response_to_a_row_is_that_of_a_fit_without_it(dof):
    _, _, cells = measured(400, 9, dof)
    fit = mixpipe.fit_mixture(cells, n_components=2)
    influence = Influence(fit, cells)
    inverse = influence.covariance(cells.weights)
    expected = np.stack([getattr(fit.uncertainties, part) for part in ("weights", "means", "sigmas")], axis=1).ravel()
    np.testing.assert_allclose(np.sqrt(np.diag(inverse)), expected, rtol=1e-4)
    rest = np.arange(400) != 17
    without = mixpipe.fit_mixture(cells[rest], n_components=2, start=fit.mixture)
    change = np.stack(
        [getattr(fit.mixture, p) - getattr(without.mixture, p) for p in ("weights", "means", "sigmas")], 1
    )
    # The linear response leaves out what is quadratic in 1/400.
    np.testing.assert_allclose(influence.of(np.array([17]))[0], change.ravel(), atol=0.05 * expected.max())


def test_wishes_that_no_engine_has_are_refused():
    x, sides = np.arange(5.0), np.array([[0.1] * 5, [0.3] * 5])
    with pytest.raises(ValueError, match="expected one interval"):
        mixpipe.fit_mixture(x, sides, n_components=1, detection=([0.0, 4.0], [0.5, 1.0]))
    with pytest.raises(ValueError, match="error_model is for one column"):
        mixpipe.fit_mixture(np.ones((5, 2)), np.ones((5, 2)), n_components=1, error_model="student_t", error_dof=3)
    with pytest.raises(ValueError, match="cells carry their own errors"):
        mixpipe.fit_mixture(Cells.from_rows(x, sides), n_components=1, error_model="symmetric")


@pytest.mark.parametrize("fraction", mostly_study([0.1, 0.2, 0.3, 0.5], campaigns=[0.2]))
def test_multiplicative_errors_give_back_the_population(fraction):
    """100 catalogs of 200 stars of 10 +- 1, with errors of a fraction of the value: x +x (e^f - 1) -x (1 - e^-f).

    In the logarithm, such errors are Gaussians: the population comes back to 2 %. On the linear scale, two half
    Gaussians are only similar to the likelihood of such a value, but far closer to it than one Gaussian.
    """
    in_logs, sided, of_mean = [], [], []
    for seed in range(100):
        rng = np.random.default_rng([int(10 * fraction), seed])
        x = (10.0 + rng.standard_normal(200)) * np.exp(fraction * rng.standard_normal(200))
        table = Table({"x": x, "up": x * math.expm1(fraction), "lo": -x * math.expm1(-fraction)})
        column = ColumnSettings("x", "x", ("up", "lo"))
        logs, linear = (prepare_column(table, replace(column, transform=name)).cells() for name in ("ln", "none"))
        in_logs.append(np.exp(mixpipe.fit_mixture(logs, n_components=1).mixture.means[0]))
        sided.append(mixpipe.fit_mixture(linear, n_components=1).mixture.means[0])
        mean = Cells.from_rows(x, linear.err)
        of_mean.append(mixpipe.fit_mixture(mean, n_components=1).mixture.means[0])
    assert np.mean(in_logs) == pytest.approx(10.0, rel=0.02)
    biases = 10.0 - np.mean([sided, of_mean], axis=1)
    assert biases[0] < 0.55 * biases[1]
    assert biases[1] > 0.1
    assert biases[0] < 0.2 or fraction > 0.1


@pytest.mark.parametrize("fraction", mostly_study([0.1, 0.2, 0.3, 0.5], campaigns=[0.5]))
def test_sides_that_grow_with_the_value_give_back_the_population(fraction):
    """100 catalogs of 200 stars of 10 +- 1, whose values have the errors +f x -f x / 2: to 2 %, and 68 % of intervals.

    The likelihood of the true value z is two half Gaussians of z / x, so that x = z / t with the density of t the same
    two halves over t.
    """
    t = np.linspace(0.02, 1.0 + 8.0 * fraction, 20_000)
    below = np.cumsum(np.exp(-0.5 * ((t - 1.0) / np.where(t > 1.0, fraction, 0.5 * fraction)) ** 2) / t)
    sided, of_mean, inside = [], [], []
    for seed in range(100):
        rng = np.random.default_rng([13, int(10 * fraction), seed])
        x = (10.0 + rng.standard_normal(200)) / np.interp(rng.random(200), below / below[-1], t)
        fit = mixpipe.fit_mixture(x, [0.5 * fraction * x, fraction * x], n_components=1)
        sided.append(fit.mixture.means[0])
        inside.append(abs(sided[-1] - 10.0) < fit.uncertainties.means[0])
        of_mean.append(mixpipe.fit_mixture(x, 0.75 * fraction * x, n_components=1).mixture.means[0])
    assert np.mean(sided) == pytest.approx(10.0, rel=0.02)
    assert np.mean(of_mean) < 10.0 - 3.0 * fraction
    # 100 catalogs, of which 68 give or take 4.7.
    assert abs(np.mean(inside) - 0.683) < 0.15


@study
def test_intervals_with_two_sides_hold_as_often_as_they_say():
    """200 catalogs, with sides that do not depend on the value: 68 % of them, give or take 3.3 %."""
    pulls = []
    truth = Mixture([1.0], [10.0], [1.0])
    for seed in range(200):
        rng = np.random.default_rng([11, seed])
        lower, upper = sides_of(200, rng, ratio=6.0)
        fit = mixpipe.fit_mixture(sample(truth, TwoSided(lower, upper), rng), [lower, upper], n_components=1)
        unc = fit.uncertainties
        pulls.append([(fit.mixture.means[0] - 10.0) / unc.means[0], (fit.mixture.sigmas[0] - 1.0) / unc.sigmas[0]])
    share = np.mean(np.abs(pulls) < 1.0, axis=0)
    assert np.all(np.abs(share - 0.683) < 4.0 * 0.033), share
    # The mean of 200 pulls is known to 0.07; that of a sigma is biased to first order in 1/N.
    assert abs(np.mean(pulls, axis=0)[0]) < 0.28
