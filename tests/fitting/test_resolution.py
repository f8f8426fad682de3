"""No population from nothing: the grain of the data, components on few rows, bins, weights, edges, samples cut short.

Expected values are closed forms, SciPy's optimisers on likelihoods written out here, the slow oracle, or the truth.
"""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit, xlogy
from scipy.stats import binom, norm

import mixpipe
from benchmarks.conditions import Draw, conditions
from mixpipe.assess.profile import sigma_upper_limit
from mixpipe.assess.simulation import quality_pvalues
from mixpipe.fitting.gaussian.em import Ascent
from mixpipe.fitting.gaussian.likelihood import Params
from mixpipe.fitting.gaussian.search import never_falling
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.resolution import find_resolution
from tests import reference as ref
from tests.campaign import campaign, mostly_campaign

PARTS = ("weights", "means", "sigmas")


def log_uniform(rng, low, high, n):
    return 10.0 ** rng.uniform(low, high, n)


def observed(rng, truth, err):
    """Values of a mixture, seen with these errors."""
    return truth.sample(err.size, rng) + err * rng.standard_normal(err.size)


def chosen(x, err=None, **options):
    return mixpipe.choose_n_components(x, err, **{"max_components": 4, **options}).best.n_components


def same_fit(one, other, rtol=1e-6):
    """Two fits with the same numbers, but for rounding."""
    assert one.n_components == other.n_components
    assert one.loglik == pytest.approx(other.loglik, rel=1e-9, abs=1e-6)
    assert one.bic == pytest.approx(other.bic, rel=1e-9, abs=1e-6)
    for name in PARTS:
        np.testing.assert_allclose(getattr(one.mixture, name), getattr(other.mixture, name), rtol=rtol, atol=1e-7)
        found, expected = getattr(one.uncertainties, name), getattr(other.uncertainties, name)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)
    return True


# A few rows with small errors


def is_one_population(x, err):
    best = mixpipe.choose_n_components(x, err, max_components=3).best
    assert best.n_components == 1
    exact = np.flatnonzero(err == 0.0)
    assert (best.resolution.n_rows, best.resolution.first) == (exact.size, exact[0])
    # The grain, for the smallest error is zero: some 2 + ln 501 values as close as they lie by chance.
    assert 0.0 < best.sigma_floor == pytest.approx(best.resolution.grain, rel=5e-7)  # seven digits
    assert best.sigma_floor < 0.05
    note = best.resolution.note()
    assert f"errors are zero (smaller than {best.resolution.grain:.3g} in 1 row" in note
    assert f"the first is row {exact[0] + 1}" in note
    # The row changes the fit by what one of 501 may.
    without = mixpipe.fit_mixture(x[err > 0.0], err[err > 0.0], n_components=1)
    for name in ("means", "sigmas"):
        change = getattr(best.mixture, name) - getattr(without.mixture, name)
        assert abs(change[0]) < 0.2 * getattr(without.uncertainties, name)[0]


@pytest.mark.parametrize("seed", range(3))
def test_one_exact_row_is_no_population(seed):
    rng = np.random.default_rng(seed)
    x = np.append(rng.normal(0.0, math.hypot(1.0, 0.3), 500), 0.5)
    is_one_population(x, np.append(np.full(500, 0.3), 0.0))


def test_the_exact_row_of_the_shared_catalog_is_no_population(catalogs):
    path = catalogs.parent / "cases/truth/one_exact_row.csv"
    if not path.is_file():
        pytest.skip("the shared cases are not available")
    data = pd.read_csv(path, comment="#")
    assert np.count_nonzero(data.e == 0.0) == 1
    is_one_population(data.x.to_numpy(), data.e.to_numpy())


@pytest.mark.parametrize(
    ("n", "samples", "wrong"),
    [(60, 8, 2), pytest.param(200, 6, 1, marks=campaign), pytest.param(1000, 3, 0, marks=campaign)],
)
def test_errors_over_six_decades_make_no_populations(n, samples, wrong):
    """As with regular errors, where BIC errs in up to one of ten at N = 60."""
    found = []
    for seed in range(samples):
        rng = np.random.default_rng(100 + seed)
        err = log_uniform(rng, -7, -1, n)
        found.append(chosen(observed(rng, Mixture([1.0], [0.0], [1.0]), err), err))
    assert np.count_nonzero(np.array(found) != 1) <= wrong, found


def test_two_populations_with_tiny_errors_are_found():
    truth = Mixture([0.5, 0.5], [0.0, 4.0], [1.0, 1.0])
    err = np.full(200, 1e-4)
    found = [chosen(observed(np.random.default_rng(seed), truth, err), err) for seed in range(5)]
    assert found == [2] * 5


def test_a_narrow_population_of_many_rows_is_found():
    """Thirty of 1000 rows within .002: more than lie there by chance."""
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0.0, 1.0, 970), rng.normal(0.4, 0.002, 30)])
    best = mixpipe.choose_n_components(x, 0.001, max_components=3).best
    assert best.n_components == 2
    narrow = int(np.argmin(best.mixture.sigmas))
    assert best.mixture.means[narrow] == pytest.approx(0.4, abs=0.002)
    assert best.mixture.weights[narrow] == pytest.approx(0.03, abs=0.01)


def test_the_grain_is_measured_where_rows_lie_closest():
    """Of 1000 even steps of 1/1000 nine, 2 + ln 1000 rounded up, span 8 steps: a uniform density of this width."""
    x = np.arange(1000) / 1000.0 * math.pi  # no multiples of a power of ten
    resolution = find_resolution(x, 1e-6)
    assert resolution.cause == "crowding"
    assert resolution.grain == pytest.approx(8e-3 * math.pi / math.sqrt(12.0), rel=1e-9)
    assert resolution.floor == pytest.approx(resolution.grain, rel=1e-6)
    assert find_resolution(x, 1.01 * resolution.grain).floor == 0.0


# Rounded values


@pytest.mark.parametrize(
    ("step", "n", "err"),
    [(0.1, 10_000, 0.0289), (0.1, 1000, 0.01), (0.2, 1000, 0.02), (0.25, 1000, 0.01), (0.1, 30_000, 1e-4)],
)
def test_rounded_values_with_small_errors_are_one_population(step, n, err):
    x = step * np.rint(np.random.default_rng(n).normal(0.0, 1.0, n) / step)
    best = mixpipe.choose_n_components(x, err, max_components=4).best
    assert best.n_components == 1
    assert best.resolution.cause == "grid"
    assert best.resolution.step == pytest.approx(step)
    assert best.sigma_floor == pytest.approx(math.sqrt((0.6 * step) ** 2 - err**2), rel=1e-6)
    assert any(f"values are multiples of {step:g} but errors are as small as {err:.3g}" in w for w in best.warnings)
    assert best.mixture.means[0] == pytest.approx(x.mean(), abs=1e-4)
    assert best.mixture.sigmas[0] == pytest.approx(math.sqrt(x.var() - err**2), rel=1e-4)


def test_rounded_values_with_larger_errors_have_no_floor():
    x = np.random.default_rng(1).normal(0.0, 1.0, 1000).round(1)
    resolution = Cells.from_rows(x, 0.061).resolution
    assert (resolution.floor, resolution.cause, resolution.step) == (0.0, "errors", pytest.approx(0.1))
    assert resolution.note() == ""


@pytest.mark.parametrize("factor", [1e-8, 1.0, 1e5])
def test_rounding_is_seen_in_any_unit_and_with_an_outlier(factor):
    x = np.append(np.random.default_rng(2).normal(0.0, 1.0, 1000).round(1), 1e4)
    resolution = find_resolution(factor * x, 0.01 * factor)
    assert resolution.cause == "grid"
    assert resolution.floor == pytest.approx(factor * math.sqrt(0.06**2 - 0.01**2), rel=1e-6)


def test_values_that_are_not_rounded_have_no_step_whatever_their_errors_and_outliers():
    rng = np.random.default_rng(6)
    x = rng.normal(-1.0, 0.5, 155)
    for values in (x, np.append(x, 1e5), np.append(x, 1e9), x * 1e-7, 1e5 + x):
        resolution = find_resolution(values, 1e-6)
        assert resolution.step == 0.0
        # Eight of 155 values lie within some 8 / (155 * 0.8) = 0.065 at the centre.
        assert 0.0 < resolution.grain < 0.065 * (1e-7 if abs(values).max() < 1e-3 else 1.0)


def test_a_few_values_that_are_quoted_alike_are_no_grid():
    """Sixteen of 27 rows are no multiples of 5."""
    for seed in range(3):
        others = np.random.default_rng(seed).normal(0.0, 6.0, 16)
        resolution = find_resolution(np.concatenate([np.repeat([0.0, -5.0, 7.0], [5, 4, 2]), others]), 0.4)
        assert resolution.step == 0.0
        # Six of 27 values lie within 4 at the centre, if no closer: 27 * 4 / (6 sqrt(2 pi)) = 7.
        assert resolution.grain < 4.0 / math.sqrt(12.0)


@pytest.mark.parametrize("family", ["laplace", "student_t", "lognormal"])
def test_other_families_have_the_same_floor(family):
    x = np.random.default_rng(3).normal(20.0, 2.0, 150).round(0)
    fit = mixpipe.fit_mixture(x, 0.1, n_components=1, family=family)
    assert fit.sigma_floor == pytest.approx(math.sqrt(0.36 - 0.01), rel=1e-6)
    assert any("multiples of 1 but errors are as small as 0.1" in warning for warning in fit.warnings)


def test_whole_velocities_of_which_a_few_are_exact():
    """27 of 3809 with an error of zero: the floor is the grain of all of them, not what these 27 resolve."""
    rng = np.random.default_rng(4)
    truth = Mixture([0.5, 0.5], [5000.0, 6800.0], [270.0, 299.0])
    err = 50.0 * np.exp(0.3 * rng.standard_normal(3809))
    err[rng.choice(3809, 27, replace=False)] = 0.0
    x = np.rint(observed(rng, truth, err))
    best = mixpipe.choose_n_components(x, err, max_components=3).best
    assert best.n_components == 2
    # Thirteen values are some thirteen km/s apart where they lie closest.
    assert 0.5 < best.sigma_floor < 13.0
    assert (best.resolution.n_rows, best.resolution.first) == (27.0, int(np.argmin(err)))
    for name in PARTS:
        miss = np.abs(getattr(best.mixture, name) - getattr(truth, name))
        np.testing.assert_array_less(miss, 4.0 * getattr(best.uncertainties, name))


def test_a_floor_that_is_asked_for_is_kept_and_said():
    x = np.random.default_rng(5).normal(0.0, 1.0, 300)
    for fit in mixpipe.choose_n_components(x, 1e-3, max_components=2, sigma_floor=0.5).fits:
        assert (fit.sigma_floor, fit.resolution.cause) == (0.5, "given")
        assert fit.mixture.sigmas.min() >= 0.5
        assert any("sigmas below 0.5 are not resolved: this sigma_floor was asked for" in w for w in fit.warnings)


@pytest.mark.parametrize("options", [{"family": "laplace"}, {"truncated": (-4.0, 4.0)}, {"background": (-5.0, 5.0)}])
def test_a_floor_that_is_asked_for_is_kept_by_every_likelihood(options):
    x = np.clip(np.random.default_rng(5).normal(0.0, 0.5, 200), -4.0, 4.0)
    fit = mixpipe.fit_mixture(x, 0.01, 2, sigma_floor=1.0, **options)
    own = [name != "uniform" for name in fit.mixture.families]
    assert fit.sigma_floor == 1.0
    np.testing.assert_allclose(fit.mixture.sigmas[own], 1.0)
    assert fit.boundary[own].all()


# Given sigmas and factors of the errors below the grain


@pytest.mark.parametrize(
    "given",
    [{"known": [{"mean": 0.0, "sigma": 1e-6}]}, {"known": [{"sigma": 1e-6}]}, {"fixed": {"sigmas": [1e-6]}}],
)
def test_a_given_sigma_below_the_grain_is_fitted_as_the_floor_and_said(given):
    x = np.round(np.random.default_rng(1).normal(0.0, 1.0, 2000), 1)
    selection = mixpipe.choose_n_components(x, 0.01, max_components=2, **given)
    best = selection.best
    floor = math.sqrt(0.06**2 - 0.01**2)
    spike = int(np.argmin(best.mixture.sigmas))
    assert best.mixture.sigmas[spike] == pytest.approx(floor, rel=1e-6)
    # No more rows than chance puts there, and no gain over one normal of the same rows.
    assert best.mixture.weights[spike] < 0.02
    assert best.bic > mixpipe.fit_mixture(x, 0.01, n_components=1).bic
    said = [text for text in best.warnings if "the given sigma 1e-06 is smaller" in text]
    assert len(said) == 1 and "fitted as 0.0592" in said[0] and "sigma_floor of 1e-06" in said[0]
    assert sum("in 2,000 rows, the first is row 1" in text for text in best.warnings) == 1
    # The way out: what was given is kept.
    kept = mixpipe.fit_mixture(x, 0.01, n_components=2, sigma_floor=1e-6, **given)
    assert kept.mixture.sigmas.min() == 1e-6
    assert not any("given sigma" in text for text in kept.warnings)


def test_several_given_sigmas_are_counted():
    x = np.round(np.random.default_rng(2).normal(0.0, 1.0, 500), 1)
    fit = mixpipe.fit_mixture(x, n_components=4, fixed={"sigmas": [0.01, 0.02, 0.5]})
    np.testing.assert_allclose(np.sort(fit.mixture.sigmas)[:2], 0.06, rtol=1e-6)
    assert np.any(fit.mixture.sigmas == 0.5)
    assert any(text.startswith("2 given sigmas, 0.01, 0.02, are smaller") for text in fit.warnings)


def test_a_given_sigma_where_it_is_known_to_lie_meets_few_rows_by_chance():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0.0, 1.0, 300), np.full(1, 0.25)])
    fit = mixpipe.fit_mixture(x, 1e-5, n_components=2, known=[{"mean": 0.5, "sigma": 1e-6}])
    assert fit.mixture.sigmas.min() == 1e-6
    # Where it lies is fitted: one of 301 rows would be the most likely place.
    free = mixpipe.fit_mixture(x, 1e-5, n_components=2, known=[{"sigma": 1e-6}])
    assert free.sigma_floor > 1e-3
    assert free.mixture.sigmas.min() == pytest.approx(free.sigma_floor)
    # Errors that are larger than the grain need no floor, and a spike keeps its width.
    coarse = x + rng.normal(0.0, 0.3, x.size)
    assert mixpipe.fit_mixture(coarse, 0.3, n_components=2, known=[{"sigma": 1e-6}]).mixture.sigmas.min() == 1e-6


def test_a_factor_of_errors_that_the_rounding_decides_is_said():
    # A sigma that is known, and errors of a hundredth of the step: the variance that is left over is that of rounding.
    rng = np.random.default_rng(4)
    err = 0.001 * 10.0 ** rng.uniform(-0.2, 0.2, 10_000)
    x = np.round(rng.normal(0.0, 0.1, err.size) + err * rng.standard_normal(err.size), 1)
    fit = mixpipe.fit_mixture(x, err, n_components=1, error_scale="fit", fixed={"sigmas": [0.1]})
    rounding = math.sqrt(0.1**2 / 12.0 / np.mean(err**2))
    assert abs(fit.error_scale - rounding) < 4.0 * fit.error_scale_unc < rounding
    (said,) = [text for text in fit.warnings if text.startswith("error_scale is not determined")]
    assert "0.06 that the values resolve in 10,000 rows" in said and f"times {fit.error_scale:.3g}" in said
    # Errors that are larger than the grain determine it.
    err = 0.1 * 10.0 ** rng.uniform(-0.2, 0.6, err.size)
    x = np.round(rng.normal(0.0, 0.3, err.size) + err * rng.standard_normal(err.size), 2)
    fit = mixpipe.fit_mixture(x, 0.5 * err, n_components=1, error_scale="fit")
    assert abs(fit.error_scale - 2.0) < 4.0 * fit.error_scale_unc < 0.4
    assert not any("error_scale" in text for text in fit.warnings)


# A catalog that was joined with itself


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_repeat_are_counted_and_said(seed):
    x = np.repeat(np.random.default_rng(seed).normal(0.0, 1.0, 200), 2)
    assert Cells.from_rows(x).resolution.n_repeated == 200.0
    best = mixpipe.choose_n_components(x, max_components=4).best
    assert any("200" in warning and "repeat" in warning for warning in best.warnings)


def test_rounded_values_do_not_count_as_repeated_rows():
    for decimals in (0, 1, 2):
        x = np.random.default_rng(7).normal(0.0, 1.0, 1000).round(decimals)
        assert Cells.from_rows(x, 0.01).resolution.n_repeated == 0.0


# Bins


def bin_shares(edges, err, weights, means, sigmas):
    """Probability of each bin, values being seen with one error in each."""
    total = np.hypot(np.asarray(sigmas), np.broadcast_to(err, edges.size - 1)[:, None])
    z_low, z_high = (edges[:-1, None] - means) / total, (edges[1:, None] - means) / total
    # From the side on which the tails are small.
    flip = z_low > 0.0
    z_low, z_high = np.where(flip, -z_high, z_low), np.where(flip, -z_low, z_high)
    return (norm.cdf(z_high) - norm.cdf(z_low)) @ np.asarray(weights)


def best_of_bins(edges, counts, err, start):
    """The largest multinomial log-likelihood of one or two normals by SciPy, and where it is."""
    size = (len(start) + 1) // 3

    def unpack(p):
        first = expit(p[0]) if size == 2 else 1.0
        weights = [first, 1.0 - first][:size]
        return weights, p[size - 1 : 2 * size - 1], np.exp(p[2 * size - 1 :])

    def minus_loglik(p):
        return -float(xlogy(counts, np.maximum(bin_shares(edges, err, *unpack(p)), 1e-300)).sum())

    p = np.array(start)
    for method, options in (("Nelder-Mead", {"maxiter": 4000, "xatol": 1e-7, "fatol": 1e-8}), ("BFGS", {})):
        p = minimize(minus_loglik, p, method=method, options=options).x
    return -minus_loglik(p), Mixture(*unpack(p))


@pytest.mark.parametrize("err", [0.0, 0.5, "by bin"])
@pytest.mark.parametrize("width", [0.05, 0.3, 1.0, 2.0, 3.0])
def test_one_normal_in_bins_of_any_width(width, err):
    rng = np.random.default_rng(round(100 * width))
    edges = np.arange(-9.0, 9.0 + width, width) + 0.1
    if err == "by bin":
        err = 0.1 + 0.5 * rng.random(edges.size - 1)
    counts, _ = np.histogram(rng.normal(0.2, math.hypot(1.0, np.mean(err)), 10_000), edges)
    assert counts.sum() == 10_000
    selection = mixpipe.choose_n_components(Cells.from_histogram(edges, counts, err), max_components=2)
    one = selection.fits[0]
    loglik, mixture = best_of_bins(edges, counts, err, [0.1, 0.1])
    assert one.loglik == pytest.approx(loglik, abs=1e-5)
    # Where 1e-6 nats are left, parameters are within 1.4e-3 of their errors.
    assert one.mixture.means[0] == pytest.approx(mixture.means[0], abs=3e-3 * one.uncertainties.means[0])
    assert one.mixture.sigmas[0] == pytest.approx(mixture.sigmas[0], abs=3e-3 * one.uncertainties.sigmas[0])
    if np.ndim(err) == 0:
        assert selection.best is one
        # No density at all exceeds the shares of the counts themselves.
        bound = float(xlogy(counts, counts / 10_000).sum())
        assert all(fit.loglik <= bound for fit in selection.fits)


def test_two_normals_in_bins_of_two():
    truth = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7])
    edges = np.arange(-9.3, 13.0, 2.0)
    counts, _ = np.histogram(truth.sample(10_000, np.random.default_rng(8)), edges)
    assert counts.sum() == 10_000
    best = mixpipe.choose_n_components(Cells.from_histogram(edges, counts), max_components=3).best
    assert best.n_components == 2
    loglik, mixture = best_of_bins(edges, counts, 0.0, [logit(0.6), 0.0, 4.0, 0.0, math.log(0.7)])
    assert best.loglik == pytest.approx(loglik, abs=1e-4)
    for name in PARTS:
        unc = getattr(best.uncertainties, name)
        found = getattr(best.mixture, name)
        np.testing.assert_array_less(np.abs(found - getattr(mixture, name)), 0.02 * unc)
        np.testing.assert_array_less(np.abs(found - getattr(truth, name)), 4.0 * unc)


# Components on few rows


@pytest.mark.parametrize("seed", range(4))
def test_the_regular_maximum_is_preferred_to_a_spike(seed):
    rng = np.random.default_rng(20 + seed)
    x = Mixture([0.6, 0.4], [0.0, 2.5], [1.0, 1.0]).sample(200, rng)
    fit = mixpipe.fit_mixture(x, None, 2)
    m = fit.mixture
    rows, _ = ref.effective_rows(x.tolist(), [0.0] * 200, m.weights.tolist(), m.means.tolist(), m.sigmas.tolist())
    np.testing.assert_allclose(fit.effective_rows, rows, rtol=1e-6)
    assert min(rows) >= 3.0
    best, _ = ref.maximise(x, np.zeros(200), 2, 30, rng, sigma_floor=fit.sigma_floor, regular=True)
    assert fit.loglik >= best - 0.01


@pytest.mark.parametrize(("err", "n"), [pytest.param(1e-6, 800, marks=campaign), (0.0, 300)])
def test_a_lone_fit_and_a_choice_give_the_same_fits(err, n):
    rng = np.random.default_rng(30)
    x = Mixture([0.2] * 5, [0.0, 3.0, 6.0, 9.0, 13.0], [1.0, 0.8, 1.0, 0.7, 1.5]).sample(n, rng)
    fits = mixpipe.choose_n_components(x, err or None, max_components=5).fits
    for fit in fits:
        assert same_fit(mixpipe.fit_mixture(x, err or None, fit.n_components), fit)
    for size in (2, 5):
        best, _ = ref.maximise(x, np.full(n, err), size, 20, rng, sigma_floor=fits[0].sigma_floor, regular=True)
        assert fits[size - 1].loglik >= best - 0.01


# Weights


def test_whole_weights_are_repeated_rows():
    rng = np.random.default_rng(9)
    x = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7]).sample(90, rng)
    weights = rng.integers(1, 5, 90)
    weights[7] = 0
    for err in (None, 0.05 + 0.5 * rng.random(90)):
        counted = Cells.from_rows(x, err, weights)
        repeated = Cells.from_rows(np.repeat(x, weights), None if err is None else np.repeat(err, weights))
        for name in ("floor", "grain", "step", "cause", "n_repeated", "n_rows"):
            assert getattr(counted.resolution, name) == getattr(repeated.resolution, name)
        one, other = (mixpipe.choose_n_components(cells, max_components=3) for cells in (counted, repeated))
        assert one.best.n_components == other.best.n_components
        for fit, twin in zip(one.fits, other.fits, strict=True):
            assert fit.sigma_floor == twin.sigma_floor
            assert fit.loglik == pytest.approx(twin.loglik, abs=1e-6)
            assert fit.bic == pytest.approx(twin.bic, abs=1e-6)
            assert fit.occam == pytest.approx(twin.occam, abs=1e-6)
            np.testing.assert_allclose(fit.mixture.means, twin.mixture.means, atol=1e-4)
            np.testing.assert_allclose(fit.effective_rows, twin.effective_rows, rtol=1e-3)
        pair = zip((one.fits[1], other.fits[1]), (counted, repeated), strict=True)
        found, expected = (quality_pvalues(fit, cells, n_draws=39) for fit, cells in pair)
        assert found == expected


@pytest.mark.parametrize("scale", mostly_campaign([1e-3, 0.1, 10.0, "sum of one"], 10.0, "sum of one"))
def test_the_scale_of_importance_weights_means_nothing(scale):
    rng = np.random.default_rng(10)
    x = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7]).sample(400, rng)
    weights = rng.uniform(0.2, 3.0, 400)
    factor = 1.0 / weights.sum() if scale == "sum of one" else scale
    for err in (None, 0.3):
        one = mixpipe.choose_n_components(x, err, weights=weights, max_components=4)
        other = mixpipe.choose_n_components(x, err, weights=factor * weights, max_components=4)
        assert one.best.n_components == other.best.n_components == 2
        assert one.best.n_data == pytest.approx(weights.sum() ** 2 / np.sum(weights**2), rel=1e-12)
        assert same_fit(one.best, other.best, rtol=1e-5)


def test_a_sandwich_for_one_component_in_closed_form():
    rng = np.random.default_rng(11)
    x, weights = rng.normal(2.0, 1.5, 300), rng.uniform(0.1, 4.0, 300)
    fit = mixpipe.fit_mixture(x, n_components=1, weights=weights)
    mean = np.average(x, weights=weights)
    square = np.average((x - mean) ** 2, weights=weights)
    assert fit.mixture.means[0] == pytest.approx(mean, abs=1e-5)
    assert fit.mixture.sigmas[0] == pytest.approx(math.sqrt(square), rel=1e-5)
    of_mean = math.sqrt(np.sum(weights**2 * (x - mean) ** 2)) / weights.sum()
    of_square = math.sqrt(np.sum(weights**2 * ((x - mean) ** 2 - square) ** 2)) / weights.sum()
    assert fit.uncertainties.means[0] == pytest.approx(of_mean, rel=1e-4)
    assert fit.uncertainties.sigmas[0] == pytest.approx(of_square / (2.0 * math.sqrt(square)), rel=1e-4)


def test_uncertainties_of_inverse_selection_probabilities_are_the_scatter_of_samples():
    """Faint values are seldom selected: each row counts by one over its probability."""
    rng = np.random.default_rng(12)
    found, stated, naive = [], [], []
    for _ in range(200):
        z = rng.normal(0.0, 1.0, 1500)
        selected = 0.02 + 0.98 * expit(3.0 * (z - 0.5))
        seen = rng.random(1500) < selected
        fit = mixpipe.fit_mixture(z[seen], weights=1.0 / selected[seen], start=Mixture([1.0], [0.0], [1.0]))
        found.append([fit.mixture.means[0], fit.mixture.sigmas[0]])
        stated.append([fit.uncertainties.means[0], fit.uncertainties.sigmas[0]])
        naive.append(fit.mixture.sigmas[0] / math.sqrt(seen.sum()))
    # The scatter of 200 samples is known to 5 %; the sandwich of heavy weights is some 5 % too small.
    scatter = np.std(found, axis=0)
    np.testing.assert_allclose(np.mean(stated, axis=0), scatter, rtol=0.2)
    # What it would be if each row counted as one.
    assert np.mean(naive) < 0.6 * scatter[0]
    # And without a bias of the mean: the population is the whole one, not the selected one.
    assert abs(np.mean(found, axis=0)[0]) < 4.0 * scatter[0] / math.sqrt(200) + 0.02


@pytest.mark.parametrize("weights", [[1.0, 2.0, 3.0], [0.5, 1.0, 2.5]], ids=["whole", "shares"])
@campaign
def test_pvalues_of_weighted_rows_are_uniform(weights):
    """60 samples: more than so many p-values of at most .1 have a probability below .001."""
    truth = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7])
    pvalues = []
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        err = np.full(60, 0.3)
        cells = Cells.from_rows(observed(rng, truth, err), err, rng.choice(weights, 60))
        fit = mixpipe.fit_mixture(cells, n_components=2)
        pvalues.append(quality_pvalues(fit, cells, n_draws=19, seed=seed, n_threads=1))
    most = binom.ppf(0.999, 60, 0.1)
    for name, values in zip(("KS", "AD"), np.array(pvalues).T, strict=True):
        assert np.count_nonzero(values <= 0.1) <= most, name
        assert np.count_nonzero(values > 0.9) <= most, name
        # The mean of 60 uniform values is known to 0.037.
        assert np.mean(values) == pytest.approx(0.525, abs=0.13), name


# Infinite errors


def test_an_infinite_error_says_nothing():
    mixture = Mixture([0.3, 0.7], [0.0, 5.0], [1.0, 2.0])
    np.testing.assert_allclose(mixture.responsibilities(1.0, np.inf), [0.3, 0.7], rtol=1e-14)
    mean, unc = mixture.posterior(1.0, np.inf)
    assert float(mean) == pytest.approx(3.5)
    # Variance of the mixture: .3 (1 + 3.5^2) + .7 (4 + 1.5^2).
    assert float(unc) == pytest.approx(math.sqrt(0.3 * 13.25 + 0.7 * 6.25))
    both = mixture.responsibilities([1.0, 1.0], [np.inf, 0.5])
    np.testing.assert_allclose(both[0], [0.3, 0.7], rtol=1e-14)
    np.testing.assert_allclose(both[1], mixture.responsibilities(1.0, 0.5), rtol=1e-14)
    # The limit of large errors.
    np.testing.assert_allclose(mixture.responsibilities(1.0, 1e12), [0.3, 0.7], rtol=1e-9)
    np.testing.assert_allclose(mixture.posterior(1.0, 1e9)[1], unc, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"family": "laplace"}, {"truncated": (-20.0, 20.0)}])
def test_rows_with_infinite_errors_change_nothing(options):
    rng = np.random.default_rng(13)
    err = np.full(120, 0.3)
    x = observed(rng, Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7]), err)
    alone = mixpipe.fit_mixture(x, err, 2, **options)
    beside = mixpipe.fit_mixture(np.append(x, [17.0, 0.0]), np.append(err, [np.inf, np.inf]), 2, **options)
    assert beside.n_data == alone.n_data == 120.0
    assert same_fit(beside, alone)
    assert any("2 rows with infinite errors" in warning for warning in beside.warnings)


# Samples cut at bounds, of which there is no maximum


def supremum(x, low, high):
    """Of one truncated normal without end: an exponential density between the bounds, whatever the errors."""

    def minus_loglik(rate):
        # The integral of exp(rate x) from low to high, without the factor at the end where it is largest.
        width, end = high - low, max(rate * low, rate * high)
        log_integral = end + math.log(-math.expm1(-abs(rate) * width) / abs(rate)) if rate else math.log(width)
        return x.size * log_integral - rate * x.sum()

    return -minimize_scalar(minus_loglik, bounds=(-10.0, 10.0), method="bounded", options={"xatol": 1e-10}).fun


def truncated_loglik(x, err, low, high, mean, sigma):
    total = np.hypot(sigma, err)
    a, b = (low - mean) / total, (high - mean) / total
    # From the side on which the tails are small.
    a, b = np.where(a > 0.0, -b, a), np.where(a > 0.0, -a, b)
    log_inside = norm.logcdf(b) + np.log1p(-np.exp(norm.logcdf(a) - norm.logcdf(b)))
    return float(np.sum(norm.logpdf(x, mean, total) - log_inside))


def is_without_maximum(x, err, low, high):
    highest = supremum(x, low, high)
    fit = mixpipe.fit_mixture(x, err, n_components=1, truncated=(low, high))
    assert not fit.converged
    assert any("no maximum" in warning for warning in fit.warnings)
    # It rises towards the supremum, and has come near: the bend that is left at ten widths is worth some nats.
    assert highest - 5.0 < fit.loglik < highest
    m = fit.mixture
    assert fit.loglik == pytest.approx(truncated_loglik(x, err, low, high, m.means[0], m.sigmas[0]), rel=1e-6)
    assert not low - (high - low) < m.means[0] < high + (high - low)
    # The same mean divided by the variance, farther out: higher.
    rate, middle = (m.means[0] - 0.5 * (low + high)) / m.sigmas[0] ** 2, 0.5 * (low + high)
    far = [
        truncated_loglik(x, err, low, high, middle + k * (m.means[0] - middle), math.sqrt(k) * m.sigmas[0])
        for k in (1.0, 3.0, 10.0)
    ]
    assert np.all(np.diff(far) > 0.0), (far, rate)
    return fit


def two_sided(seed=14, n=84):
    """Values that pile up at both ends of a sample between -3 and 3: no normal bends upwards."""
    rng = np.random.default_rng(seed)
    x = 3.0 * np.cos(np.pi * rng.random(n) * 0.97)
    return x + 0.0, 0.1 + 0.5 * rng.random(n)


def test_a_truncated_sample_without_a_maximum_is_said_to_have_none():
    x, err = two_sided()
    fit = is_without_maximum(x, err, -3.0, 3.0)
    # In any order of the rows.
    order = np.random.default_rng(0).permutation(x.size)
    again = mixpipe.fit_mixture(x[order], err[order], n_components=1, truncated=(-3.0, 3.0))
    assert again.loglik == pytest.approx(fit.loglik, abs=1e-6)
    np.testing.assert_allclose(again.mixture.means, fit.mixture.means, rtol=1e-6)
    np.testing.assert_allclose(again.mixture.sigmas, fit.mixture.sigmas, rtol=1e-4)


def test_a_fit_without_maximum_is_not_chosen():
    """Two populations within the bounds, away from these: one normal cannot bend upwards between them, two can."""
    rng = np.random.default_rng(16)
    err = np.full(100, 0.2)
    x = observed(rng, Mixture([0.5, 0.5], [-1.8, 1.8], [0.3, 0.3]), err)
    assert np.all(np.abs(x) < 3.0)
    is_without_maximum(x, err, -3.0, 3.0)
    selection = mixpipe.choose_n_components(x, err, truncated=(-3.0, 3.0), max_components=2)
    runaway = [any("no maximum" in warning for warning in fit.warnings) for fit in selection.fits]
    assert runaway == [True, False]
    assert selection.best is selection.fits[1]
    assert selection.best.converged
    # Where there is no other, it comes with its warning.
    alone = mixpipe.choose_n_components(x, err, truncated=(-3.0, 3.0), max_components=1).best
    assert not alone.converged


def test_the_shared_truncated_sample_has_no_maximum(catalogs):
    path = catalogs.parent / "cases/truth/truncated_no_maximum.csv"
    if not path.is_file():
        pytest.skip("the shared cases are not available")
    low, high = (float(part) for part in path.read_text().splitlines()[0].split("(")[1].rstrip(")").split(","))
    data = pd.read_csv(path, comment="#", names=["x", "err"])
    assert supremum(data.x, low, high) == pytest.approx(-149.079, abs=1e-3)
    is_without_maximum(data.x.to_numpy(), data.err.to_numpy(), low, high)


def test_a_truncated_sample_with_a_maximum_has_none_of_this():
    rng = np.random.default_rng(15)
    x = rng.normal(0.0, 1.0, 400)
    x = x[np.abs(x) < 1.5]
    fit = mixpipe.fit_mixture(x, 1e-6, n_components=1, truncated=(-1.5, 1.5), sigma_floor=0.0)
    assert fit.converged
    assert not any("no maximum" in warning for warning in fit.warnings)
    best = minimize(
        lambda p: -truncated_loglik(x, 1e-6, -1.5, 1.5, p[0], math.exp(p[1])), [0.0, 0.0], options={"gtol": 1e-8}
    )
    assert fit.loglik == pytest.approx(-best.fun, abs=1e-5)


# Sigmas at their boundary


TEN = np.array([-1.1, -1.7, -0.7, -1.6, -1.9, -1.0, -1.2, -1.7, -1.1, -0.8])


def best_of_ten(sigmas=None):
    """The largest log-likelihood of two components with an error of .2 by SciPy; some sigmas may be given."""

    def minus_loglik(p):
        widths = np.exp(p[3:]) if sigmas is None else np.asarray(sigmas)
        weights = np.array([expit(p[0]), 1.0 - expit(p[0])])
        return -np.log(norm.pdf(TEN[:, None], p[1:3], np.hypot(widths, 0.2)) @ weights).sum()

    start = [0.0, -1.7, -1.0] + ([-2.0, -2.0] if sigmas is None else [])
    return minimize(minus_loglik, start, method="Nelder-Mead", options={"maxiter": 20_000, "fatol": 1e-11})


def test_sigmas_that_converge_towards_zero_end_there():
    fit = mixpipe.fit_mixture(TEN, 0.2, 2, sigma_floor=0.0)
    assert fit.converged
    # Nothing is gained by any width.
    assert -best_of_ten().fun == pytest.approx(-best_of_ten((0.0, 0.0)).fun, abs=1e-4)
    assert fit.loglik == pytest.approx(-best_of_ten((0.0, 0.0)).fun, abs=1e-6)
    np.testing.assert_array_equal(fit.mixture.sigmas, 0.0)
    assert fit.boundary.all()
    assert np.all(np.isfinite([fit.uncertainties.weights, fit.uncertainties.means]))
    assert np.all(np.isnan(fit.uncertainties.sigmas))
    assert np.all(fit.uncertainties.means < np.ptp(TEN))
    cells = Cells.from_rows(TEN, 0.2)
    for component in (0, 1):
        limit = sigma_upper_limit(cells, fit, component)
        assert 0.0 < limit < np.ptp(TEN)


def test_simulated_populations_without_width_end_at_zero_or_away_from_it():
    """No sigma of a millionth of its uncertainty, and nothing uncertain by more than the data's range unsaid."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        err = np.full(30, 0.2)
        x = observed(rng, Mixture([0.5, 0.5], [0.0, 1.0], [0.0, 0.0]), err)
        fit = mixpipe.fit_mixture(x, err, 2, sigma_floor=0.0)
        tiny = (fit.mixture.sigmas > 0.0) & (fit.mixture.sigmas < 1e-4)
        assert not tiny.any()
        np.testing.assert_array_equal(fit.boundary, fit.mixture.sigmas == 0.0)
        with np.errstate(invalid="ignore"):
            wide = (fit.uncertainties.means > np.ptp(x)) | (fit.uncertainties.sigmas > np.ptp(x))
        assert not wide.any() or any("uncertain by more than the range" in warning for warning in fit.warnings)


def test_a_step_that_is_no_power_of_ten_is_found_among_many_values():
    rng = np.random.default_rng(41)
    x = np.concatenate([rng.normal(0.0, 1.0, 979), rng.normal(0.5, 0.01, 21)])
    found = find_resolution(np.round(x / 0.0025) * 0.0025, 0.00025)
    # Counted once, the few distinct values of the narrow group would be taken for the grain.
    assert found.cause == "grid"
    assert found.step == pytest.approx(0.0025)
    assert found.grain == pytest.approx(0.6 * 0.0025)


def test_many_exact_rows_of_one_population_are_one_population():
    """Components far narrower than the points of the sketch have to gain on the rows what they cost."""
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal(60_000)
        selection = mixpipe.choose_n_components(x, 1e-6, max_components=4)
        assert selection.best.n_components == 1
        logliks = [fit.loglik for fit in selection.fits]
        assert logliks[0] < logliks[-1] < logliks[0] + 40.0


def test_many_rows_resolve_what_their_sample_does_in_memory_and_in_any_order():
    """The sample says where rows lie closest; rows with smaller errors are counted among all of them."""
    rng = np.random.default_rng(43)
    n = 100_000
    x, err = rng.standard_normal(n), log_uniform(rng, -7, -1, n)
    found, shuffled = Cells.from_rows(x, err).resolution, rng.permutation(n)
    assert found.cause == "crowding"
    assert found.smallest_error == err.min()
    assert (found.n_rows, found.first) == (np.sum(err < found.grain), np.argmax(err < found.grain))
    assert Cells.from_rows(x[shuffled], err[shuffled]).resolution.floor == found.floor
    fit = mixpipe.fit_mixture(x, err, n_components=1)
    for name in ("floor", "cause", "grain", "smallest_error", "n_rows", "first"):
        assert getattr(fit.resolution, name) == getattr(found, name)
    # Weights and infinite errors are looked at, too.
    counts = np.where(np.arange(n) < 10, 0.0, 2.0)
    weighted = Cells.from_rows(x, np.where(np.arange(n) == 10, np.inf, err), counts).resolution
    small = np.flatnonzero(err[11:] < weighted.grain)
    assert (weighted.n_rows, weighted.first) == (2.0 * small.size, 11 + small[0])


@pytest.mark.parametrize(
    ("name", "n_rows", "sample"),
    [("overlapping", 10_000, 5), pytest.param("overlapping", 10_000, 7, marks=campaign), ("separated", 100_000, 4)],
)
def test_large_importance_weights_make_no_populations(name, n_rows, sample):
    """Where rows stand for many, the log-likelihood varies more than that of as many rows as the weights sum to.

    BIC alone takes the rows in the tail, with weights of up to ten, for a third population.
    """
    wanted = f"{name}: importance weights, 1 / selection"
    condition = next(each for each in conditions() if each.name == wanted)
    observed = condition.observe(Draw(condition.population, n_rows, sample))
    found = mixpipe.choose_n_components(
        observed.x, observed.err, weights=observed.weights, weight_kind="importance", max_components=3
    )
    assert min(found.fits, key=lambda fit: fit.bic).n_components == 3
    assert found.best.n_components == 2
    assert found.best.exact
    # Weights that do not differ cost nothing, nor does their scale matter.
    again = mixpipe.choose_n_components(
        observed.x, observed.err, weights=1e-3 * observed.weights, weight_kind="importance", max_components=3
    )
    assert again.best.n_components == 2
    assert [fit.occam for fit in again.fits] == pytest.approx([fit.occam for fit in found.fits], rel=1e-6)
    assert found.fits[0].occam == again.fits[0].occam == 0.0


def test_a_component_split_in_two_owes_what_its_weights_do():
    """Where no more components are found, the fit before stands in for them, and is judged no better."""
    x = np.concatenate([np.linspace(-0.2, 0.2, 120), np.linspace(4.9, 5.1, 4)])
    weights = np.concatenate([np.ones(120), np.full(4, 9.0)])
    found = mixpipe.choose_n_components(x, 0.5, weights=weights, weight_kind="importance", max_components=4)
    logliks = [fit.loglik for fit in found.fits]
    assert logliks[1] == pytest.approx(logliks[2], abs=1e-9) == pytest.approx(logliks[3], abs=1e-9)
    assert found.fits[1].occam > 0.0
    assert found.fits[2].occam > 0.0
    assert found.judged(found.fits[1]) < found.judged(found.fits[2]) < found.judged(found.fits[3])
    one = Params(np.ones(1), np.zeros(1), np.ones(1))
    pair = [Ascent(one, -1.0, 0.0, uneven=3.0), Ascent(one, -2.0, 0.0)]
    assert [fit.uneven for fit in never_falling(pair)] == [3.0, 3.0]
