"""Awkward data through the public fits: too few rows, ties, rounding, extreme errors and weights, many rows at once.

Expected values are closed forms, the truth that was drawn from, or the same data in another form.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import ndtr

import mixpipe
from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.fitting.gaussian.search import Search
from mixpipe.model.cells import Cells
from mixpipe.model.criteria import bic
from mixpipe.model.mixture import Mixture
from mixpipe.model.regimes import SEARCH_ROWS
from mixpipe.model.rounding import find_intervals
from tests.campaign import mostly_campaign, mostly_study, mostly_study_pairs

LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
ONE = Mixture([1.0], [-1.4], [0.5])
TWO = Mixture([0.6, 0.4], [-1.6, -0.5], [0.3, 0.2])
STEPS = [0.05, 0.1, 0.25, 0.5]
SIZES = mostly_study([155, 3000], 155)


def draw(truth, n, rng, err=0.0):
    return truth.sample(n, rng) + err * rng.standard_normal(n)


def log_uniform(rng, low, high, n):
    return 10.0 ** rng.uniform(low, high, n)


def choose(x, err=None, **options):
    """A selection, after a look at whether it holds together."""
    selection = mixpipe.choose_n_components(x, err, **{"max_components": 5, **options})
    values = np.asarray(x, dtype=np.float64)
    errors = np.broadcast_to(np.asarray(0.0 if err is None else err, dtype=np.float64), values.shape)
    weights = np.asarray(options.get("weights", 1.0))
    for fit in selection.fits:
        m = fit.mixture
        assert np.all(np.isfinite([m.weights, m.means, m.sigmas]))
        assert m.weights.sum() == pytest.approx(1.0)
        assert m.sigmas.min() >= fit.sigma_floor * (1.0 - 1e-9)
        slack = 1e-9 * np.ptp(values) + 1e-15 * max(1.0, np.abs(values).max())
        assert values.min() - slack <= m.means.min() <= m.means.max() <= values.max() + slack
        assert fit.converged
        # Where values are huge against their errors, a mean in double precision cannot say more.
        if np.abs(values).max() < 1e6 * max(np.ptp(values), errors.min()):
            expected = np.sum(weights * m.logpdf(values, errors))
            if fit.resolution.cause == "rounding":
                low, high = find_intervals(values, np.ones(values.size), errors)
                np.testing.assert_allclose(0.5 * (low + high), values, atol=fit.resolution.step)
                assert (high - low).max() == pytest.approx(fit.resolution.step)
                expected = np.sum(weights * np.log((m.cdf(high, errors) - m.cdf(low, errors)) / (high - low)))
            assert fit.loglik == pytest.approx(expected, rel=1e-8, abs=1e-6)
    logliks = [fit.loglik for fit in selection.fits]
    assert np.all(np.diff(logliks) >= -1e-9 * np.abs(logliks[:-1]))
    return selection


def is_truth(fit, truth, extra_var=0.0, n_sigma=4.5):
    """All parameters within some standard errors of the truth; `extra_var` is that of rounding."""
    m, unc = fit.mixture, fit.uncertainties
    sigmas = np.sqrt(truth.sigmas**2 + extra_var)
    np.testing.assert_array_less(np.abs(m.weights - truth.weights), n_sigma * unc.weights + 1e-12)
    np.testing.assert_array_less(np.abs(m.means - truth.means), n_sigma * unc.means)
    np.testing.assert_array_less(np.abs(m.sigmas - sigmas), n_sigma * unc.sigmas)
    return True


# Too few rows


@pytest.mark.parametrize("sigma_floor", [None, 0.0])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_to_three_rows_are_one_component(n, sigma_floor):
    """A component on one row or two costs more than it gains: more components are one, counted several times."""
    x, err = np.array([1.0, 10.0, 30.0])[:n], 0.1
    selection = choose(x, err, sigma_floor=sigma_floor)
    total = max(x.std(), err)
    expected = -n * (math.log(total) + LOG_SQRT_2PI + 0.5 * x.var() / total**2)
    assert [fit.loglik for fit in selection.fits] == pytest.approx([expected] * 5, abs=1e-6)
    assert selection.best.n_components == 1


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_component_for_each_row_is_a_maximum(n):
    x, err = np.array([1.0, 10.0, 30.0, 54.0, 100.0])[:n], 0.1
    start = Mixture(np.full(n, 1.0 / n), x, np.full(n, err))
    fit = mixpipe.fit_mixture(x, err, n, start=start, sigma_floor=0.0)
    # One point for each row, with the weight 1 / n.
    assert fit.loglik == pytest.approx(-n * (math.log(n) + math.log(err) + LOG_SQRT_2PI), abs=1e-6)
    np.testing.assert_allclose(fit.mixture.means, x, rtol=1e-9)
    assert fit.boundary.all()
    np.testing.assert_allclose(fit.effective_rows, 1.0, rtol=1e-6)


@pytest.mark.parametrize("n", [2, 3])
def test_few_rows_without_errors_stay_one_component(n):
    x = np.array([1.0, 10.0, 30.0])[:n]
    best = choose(x).best
    assert best.n_components == 1
    assert (best.mixture.means[0], best.mixture.sigmas[0]) == pytest.approx((x.mean(), x.std()))
    assert best.loglik == pytest.approx(-n * (math.log(x.std()) + LOG_SQRT_2PI + 0.5))


def test_one_row_without_error_is_its_own_mean():
    best = choose([7.3]).best
    assert (best.n_components, best.mixture.means[0]) == (1, 7.3)
    assert best.mixture.sigmas[0] < 1e-14
    assert best.boundary.all()


def test_ten_components_for_five_rows():
    x = np.array([1.0, 2.0, 4.0, 8.0, 9.0])
    exact = choose(x, max_components=10)
    assert exact.best.n_components == 1
    # No density exceeds that of the narrowest component at its mean.
    assert exact.fits[-1].loglik <= -5 * (math.log(exact.best.sigma_floor) + LOG_SQRT_2PI)
    # The same with errors; five points, of a fifth of the rows each, would be the highest maximum.
    for sigma_floor in (None, 0.0):
        fits = choose(x, 0.1, max_components=10, sigma_floor=sigma_floor).fits
        one = -5 * (math.log(x.std()) + LOG_SQRT_2PI + 0.5)
        assert fits[0].loglik == pytest.approx(one, abs=1e-6)
        assert one - 1e-6 <= fits[-1].loglik <= -5 * (math.log(5 * 0.1) + LOG_SQRT_2PI) + 1e-6


# Ties and rounding


@pytest.mark.parametrize("n", mostly_campaign([20, 30_000], 20))
@pytest.mark.parametrize("value", [0.0, -7.3, 2459000.5])
def test_all_values_equal(n, value):
    best = choose(np.full(n, value)).best
    assert best.n_components == 1
    assert best.mixture.means[0] == pytest.approx(value, rel=1e-15, abs=1e-15)
    assert best.mixture.sigmas[0] <= 1e-15 * max(abs(value), 1.0)
    err = np.geomspace(0.01, 10.0, n)
    selection = choose(np.full(n, value), err)
    assert selection.best.n_components == 1
    assert selection.best.mixture.means[0] == pytest.approx(value, rel=1e-15, abs=1e-15)
    assert selection.best.mixture.sigmas[0] == 0.0
    expected = -np.sum(np.log(err)) - n * LOG_SQRT_2PI
    assert [fit.loglik for fit in selection.fits] == pytest.approx([expected] * 5, rel=1e-9)


@pytest.mark.parametrize(
    ("step", "n"), mostly_study_pairs(STEPS, [155, 3000], [(0.5, 155)], [(step, 155) for step in STEPS])
)
def test_rounded_values_without_errors_make_no_spikes(n, step):
    """Rounding adds the variance of a uniform density over the step; a component is no narrower than 0.6 steps."""
    for truth in (ONE, TWO):
        if step > 0.25 and truth is TWO:
            continue  # two or three distinct values for each component say nothing about its width
        for seed in range(3 if n < 1000 else 1):
            x = step * np.rint(draw(truth, n, np.random.default_rng(seed)) / step)
            assert choose(x, max_components=4).best.n_components == truth.n_components
            best = choose(x, max_components=4, rounding="none").best
            assert best.n_components == truth.n_components
            assert best.sigma_floor == pytest.approx(0.6 * step)
            if not best.boundary.any():
                assert is_truth(best, truth, step**2 / 12.0)


@pytest.mark.parametrize("n", SIZES)
def test_whole_numbers_without_errors_make_no_spikes(n):
    rng = np.random.default_rng(1)
    for x in (np.rint(rng.normal(100.0, 15.0, n)), np.rint(rng.normal(0.0, 2.0, n)), rng.binomial(400, 0.5, n)):
        best = choose(x, max_components=4).best
        assert best.n_components == 1
        found = best.mixture.means[0], best.mixture.sigmas[0]
        # Where the variance of the rounding shows among this many rows, the density is integrated over the steps.
        if n / 4.0 * (1.0 / 12.0 / x.var()) ** 2 > 0.125:
            assert found == pytest.approx(normal_of_intervals(x), abs=1e-3 * x.std() / math.sqrt(n))
        else:
            assert found == pytest.approx((x.mean(), x.std()), rel=1e-6)


def normal_of_intervals(x):
    """Mean and sigma of the most likely normal distribution of whole numbers that were rounded from it."""

    def lost(parameters):
        mean, sigma = parameters
        return -np.log(ndtr((x + 0.5 - mean) / sigma) - ndtr((x - 0.5 - mean) / sigma)).sum()

    found = minimize(lost, (x.mean(), x.std()), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9})
    return tuple(found.x)


def test_two_distinct_values_are_at_most_two_components():
    x = np.repeat([0.0, 1.0], [40, 60])
    best = choose(x).best
    assert best.n_components == 2
    np.testing.assert_allclose(best.mixture.means, [0.0, 1.0], atol=0.02)
    np.testing.assert_allclose(best.mixture.weights, [0.4, 0.6], atol=0.02)


@pytest.mark.parametrize("release", ["v1.0.0", "v1.0.5"])
@pytest.mark.parametrize("decimals", [None, 1])
def test_metallicities_of_globular_clusters_without_errors(catalogs, release, decimals):
    x = pd.read_csv(catalogs / f"local_volume/gc_harris_{release}.csv")["metallicity_spectroscopic"].dropna()
    x = (x if decimals is None else x.round(decimals)).to_numpy()
    best = choose(x, max_components=10).best
    assert best.n_components == 1
    assert (best.mixture.means[0], best.mixture.sigmas[0]) == pytest.approx((x.mean(), x.std()), rel=1e-6)


def test_one_value_that_is_not_rounded_makes_no_spikes_of_the_others():
    x = draw(ONE, 3000, np.random.default_rng(0)).round(1)
    x[0] = -1.21
    assert choose(x).best.n_components == 1


@pytest.mark.parametrize("n", SIZES)
def test_rounding_to_two_precisions_makes_no_spikes(n):
    rng = np.random.default_rng(0)
    x = draw(ONE, n, rng)
    x = np.where(rng.random(n) < 0.9, x.round(1), x.round(2))
    assert choose(x).best.n_components == 1


@pytest.mark.parametrize("decimals", [1, None])
def test_single_precision_is_as_good_as_double(decimals):
    x = draw(TWO, 500, np.random.default_rng(2))
    x = x if decimals is None else x.round(decimals)
    single, double = (choose(x.astype(kind), max_components=3).best for kind in (np.float32, np.float64))
    assert single.n_components == double.n_components == 2
    assert single.sigma_floor == pytest.approx(double.sigma_floor, rel=1e-3)
    for name in ("weights", "means", "sigmas"):
        np.testing.assert_allclose(getattr(single.mixture, name), getattr(double.mixture, name), rtol=1e-4)


@pytest.mark.parametrize("n", SIZES)
def test_half_of_the_rows_exactly_zero_are_a_point(n):
    rng = np.random.default_rng(3)
    is_zero = rng.random(n) < 0.5
    z = np.where(is_zero, 0.0, rng.normal(1.0, 1.0, n))
    best = choose(z, max_components=4).best
    assert best.n_components == 2
    point = int(np.argmin(best.mixture.sigmas))
    assert best.boundary.tolist() == [j == point for j in range(2)]
    # The point also takes the few continuous values within its width.
    assert best.mixture.weights[point] == pytest.approx(is_zero.mean(), abs=0.01)
    assert best.mixture.means[point] == pytest.approx(0.0, abs=1e-3)
    rest = z[~is_zero]
    other = 1 - point
    assert best.mixture.means[other] == pytest.approx(rest.mean(), abs=0.3 * best.uncertainties.means[other])
    assert best.mixture.sigmas[other] == pytest.approx(rest.std(), abs=0.3 * best.uncertainties.sigmas[other])
    # Seen with errors it is a point as well, and its width zero or not to be told from it.
    noisy = choose(z + 0.1 * rng.standard_normal(n), 0.1, max_components=4).best
    assert noisy.n_components == 2
    point = int(np.argmin(noisy.mixture.sigmas))
    assert noisy.boundary[point] or noisy.mixture.sigmas[point] < 4 * noisy.uncertainties.sigmas[point]
    assert noisy.mixture.weights[point] == pytest.approx(0.5, abs=4.5 * noisy.uncertainties.weights[point])


# Errors, offsets and weights of all sizes


@pytest.mark.parametrize("n", SIZES)
def test_a_julian_date_is_as_good_as_zero(n):
    rng = np.random.default_rng(4)
    truth = Mixture([0.5, 0.5], [0.0, 6e-6], [1e-6, 2e-6])
    x = 2459000.5 + draw(truth, n, rng, 1e-6)
    shifted = x - 2459000.5  # exact
    far, near = choose(x, 1e-6, max_components=3).fits, choose(shifted, 1e-6, max_components=3).fits
    for one, other in zip(far[:2], near[:2], strict=True):
        assert one.loglik == pytest.approx(other.loglik, abs=1e-3)
        unc = other.uncertainties
        np.testing.assert_array_less(np.abs(one.mixture.weights - other.mixture.weights), 1e-3 * unc.weights + 1e-12)
        np.testing.assert_array_less(np.abs(one.mixture.sigmas - other.mixture.sigmas), 1e-3 * unc.sigmas)
        # A mean is known to the spacing of doubles.
        offset = np.abs(one.mixture.means - 2459000.5 - other.mixture.means)
        np.testing.assert_array_less(offset, 1e-3 * unc.means + np.spacing(2459000.5))
    assert is_truth(near[1], truth)


def test_two_components_with_errors_over_nine_decades():
    rng = np.random.default_rng(5)
    truth = Mixture([0.4, 0.6], [0.0, 3.0], [0.01, 0.5])
    err = log_uniform(rng, -8, 1, 3000)
    fit = mixpipe.fit_mixture(draw(truth, 3000, rng, err), err, 2)
    assert fit.converged
    assert is_truth(fit, truth)


def points_and_noise(n, seed):
    """Three components, one without width, with errors over nine decades."""
    rng = np.random.default_rng(seed)
    component = rng.choice(3, n, p=[0.2, 0.3, 0.5])
    err = log_uniform(rng, -9, 0, n)
    z = np.array([0.0, 1.0, 3.0])[component] + np.array([0.0, 0.1, 1.0])[component] * rng.standard_normal(n)
    return z + err * rng.standard_normal(n), err


def test_a_point_seen_with_errors_over_nine_decades():
    fit = mixpipe.fit_mixture(*points_and_noise(300, 6), 3)
    assert fit.converged
    assert np.all(np.isfinite([fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas]))


@pytest.mark.parametrize("n", mostly_study([155, 30_000], 155))
def test_one_row_a_million_sigma_away_takes_one_component_and_changes_nothing_else(n):
    rng = np.random.default_rng(6)
    err = rng.uniform(0.05, 0.2, n)
    x = draw(TWO, n, rng, err)
    clean = choose(x[1:], err[1:], max_components=3).best
    x[0] = 1e6 * err[0]
    best = choose(x, err, max_components=4).best
    assert (clean.n_components, best.n_components) == (2, 3)
    assert best.mixture.weights[2] == pytest.approx(1.0 / n, rel=1e-6)
    assert (best.mixture.means[2], best.mixture.sigmas[2]) == (pytest.approx(x[0]), 0.0)
    np.testing.assert_allclose(best.mixture.means[:2], clean.mixture.means, atol=1e-3 * clean.uncertainties.means.min())
    np.testing.assert_allclose(
        best.mixture.sigmas[:2], clean.mixture.sigmas, atol=1e-3 * clean.uncertainties.sigmas.min()
    )
    # ln p of the others falls by ln((n - 1) / n); the row itself has its own weight and density.
    expected = clean.loglik + (n - 1) * math.log((n - 1) / n) - math.log(n * err[0]) - LOG_SQRT_2PI
    assert best.loglik == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("distance", [100.0, 1e6])
def test_one_component_for_rows_that_need_two(distance):
    x = np.append(np.random.default_rng(0).normal(0.0, 1.0, 1000), distance)
    selection = choose(x, 0.1, max_components=1)
    assert selection.best.mixture.means[0] == pytest.approx(x.mean(), rel=1e-6)
    assert selection.loglik_bound >= choose(x, 0.1, max_components=3).fits[-1].loglik


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_half_of_the_rows_rounded_gives_no_warnings_of_the_arithmetic():
    rng = np.random.default_rng(1)
    x = draw(ONE, 155, rng)
    choose(np.where(rng.random(155) < 0.5, x.round(1), x), max_components=6)


@pytest.mark.parametrize("err", [None, 0.1])
def test_row_weights_over_six_decades_count_as_rows(err):
    """Means, and without errors also sigmas, are averages over responsibilities times weights."""
    rng = np.random.default_rng(7)
    x = draw(Mixture([0.5, 0.5], [0.0, 5.0], [0.3, 0.5]), 400, rng, err or 0.0)
    weights = log_uniform(rng, -3, 3, 400)
    rows = Cells.from_rows(x, err)
    fit = mixpipe.fit_mixture(replace(rows, weights=weights), n_components=2)
    assert fit.converged
    assert fit.n_data == pytest.approx(weights.sum())
    share = fit.mixture.responsibilities(x, err or 0.0) * weights[:, None]
    np.testing.assert_allclose(fit.mixture.weights, share.sum(axis=0) / weights.sum(), rtol=1e-6)
    means = share.T @ x / share.sum(axis=0)
    np.testing.assert_allclose(fit.mixture.means, means, rtol=1e-5, atol=1e-6)
    spread = np.array([np.average((x - mean) ** 2, weights=q) for mean, q in zip(means, share.T, strict=True)])
    np.testing.assert_allclose(fit.mixture.sigmas**2, spread - (err or 0.0) ** 2, rtol=1e-5)
    # A common factor changes the likelihood alone.
    scaled = mixpipe.fit_mixture(replace(rows, weights=1e-3 * weights), n_components=2)
    assert scaled.loglik == pytest.approx(1e-3 * fit.loglik, rel=1e-6)
    np.testing.assert_allclose(scaled.mixture.means, fit.mixture.means, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", SIZES)
def test_two_identical_components_are_one(n):
    truth = Mixture([0.5, 0.5], [2.0, 2.0], [1.0, 1.0])
    rng = np.random.default_rng(8)
    err = rng.uniform(0.1, 1.0, n)
    best = choose(draw(truth, n, rng, err), err, max_components=3).best
    assert best.n_components == 1
    assert is_truth(best, Mixture([1.0], [2.0], [1.0]))


@pytest.mark.parametrize("n", SIZES)
def test_some_rows_with_errors_and_some_without(n):
    rng = np.random.default_rng(9)
    truth = Mixture([0.5, 0.5], [0.0, 6.0], [1.0, 0.5])
    err = np.where(rng.random(n) < 0.5, 0.0, log_uniform(rng, -3, 0, n))
    best = choose(draw(truth, n, rng, err), err, max_components=3).best
    assert best.n_components == 2
    assert best.sigma_floor > 0.0
    assert is_truth(best, truth)


# Many rows: the sketch against the search on the rows themselves

N_LARGE = 30_000
OVERLAP = Mixture([0.35, 0.5, 0.15], [-1.0, 0.0, 3.0], [1.5, 1.0, 0.5])


def overlapping(rng):
    err = np.exp(rng.normal(math.log(0.4), 0.5, N_LARGE))
    return draw(OVERLAP, N_LARGE, rng, err), err


def ten_times_narrower_than_the_errors(rng):
    err = np.exp(rng.normal(math.log(0.4), 0.3, N_LARGE))
    return draw(Mixture([0.4, 0.3, 0.3], [0.0, 1.0, 3.0], [0.04, 0.04, 1.0]), N_LARGE, rng, err), err


def a_point_below_a_wide_component(rng):
    err = np.exp(rng.normal(math.log(0.4), 0.3, N_LARGE))
    return draw(Mixture([0.4, 0.6], [0.0, 1.0], [0.0, 1.0]), N_LARGE, rng, err), err


def errors_over_two_decades(rng):
    err = log_uniform(rng, -2, 0, N_LARGE)
    return draw(Mixture([0.2, 0.3, 0.5], [0.0, 1.0, 3.0], [0.05, 0.1, 1.0]), N_LARGE, rng, err), err


def rounded_to_a_tenth(rng):
    return draw(TWO, N_LARGE, rng).round(1), None


def rounded_to_a_hundredth(rng):
    return draw(TWO, N_LARGE, rng).round(2), None


def single_precision(rng):
    return draw(TWO, N_LARGE, rng).astype(np.float32), None


def one_per_cent_far_out(rng):
    x = draw(Mixture([0.6, 0.4], [-1.6, 1.5], [0.3, 0.4]), N_LARGE, rng, 0.3)
    return np.where(rng.random(N_LARGE) < 0.01, x + 100.0 * rng.standard_cauchy(N_LARGE), x), 0.3


def each_row_ten_times(rng):
    x, err = overlapping(rng)
    return np.tile(x[: N_LARGE // 10], 10), np.tile(err[: N_LARGE // 10], 10)


def errors_for_half_of_the_rows(rng):
    err = np.where(rng.random(N_LARGE) < 0.5, 0.0, 0.3)
    return draw(Mixture([0.5, 0.5], [0.0, 4.0], [1.0, 0.5]), N_LARGE, rng, err), err


def a_julian_date(rng):
    truth = Mixture([0.5, 0.5], [0.0, 4e-6], [1e-6, 0.5e-6])
    return 2459000.5 + draw(truth, N_LARGE, rng, 1e-6), 1e-6


def small_integers(rng):
    return rng.poisson(5.0, N_LARGE).astype(float), None


def each_exact_row_ten_times(rng):
    return np.tile(draw(OVERLAP, N_LARGE // 10, rng), 10), None


LARGE = [
    overlapping,
    ten_times_narrower_than_the_errors,
    a_point_below_a_wide_component,
    errors_over_two_decades,
    rounded_to_a_tenth,
    rounded_to_a_hundredth,
    single_precision,
    one_per_cent_far_out,
    each_row_ten_times,
    errors_for_half_of_the_rows,
    a_julian_date,
    small_integers,
    each_exact_row_ten_times,
]


@pytest.mark.parametrize("data", mostly_campaign(LARGE, overlapping, rounded_to_a_tenth))
def test_many_rows_are_fitted_as_well_as_by_a_search_on_the_rows(data):
    x, err = data(np.random.default_rng(5))
    assert N_LARGE > SEARCH_ROWS
    selection = mixpipe.choose_n_components(x, err, max_components=4, rounding="none")
    cells = Cells.from_rows(x, err)
    likelihood = Likelihood(cells)
    on_rows = Search(likelihood, (cells.resolution.floor / likelihood.scale) ** 2).run(4)
    criteria = [bic(fit.score, 3 * size - 1, N_LARGE) for size, fit in enumerate(on_rows, 1)]
    best = selection.best
    assert best.converged
    assert best.n_components == int(np.argmin(criteria)) + 1
    expected = on_rows[best.n_components - 1]
    assert best.loglik >= expected.loglik - 1e-3
    if best.loglik < expected.loglik + 1e-3:  # the same maximum, not a better one
        mixture, unc = likelihood.mixture(expected.params), best.uncertainties
        # Double precision cannot place a mean closer.
        spacing = np.spacing(np.abs(mixture.means))
        for name, slack in (("weights", 1e-12), ("means", spacing), ("sigmas", 0.0)):
            allowed = 1e-3 * np.nan_to_num(getattr(unc, name), nan=1e-9) + slack
            offset = np.abs(getattr(best.mixture, name) - getattr(mixture, name))
            np.testing.assert_array_less(offset, np.maximum(allowed, 1e-12), err_msg=name)
