"""Rounded values as the intervals from which they were rounded.

Expected values are closed forms, SciPy's optimisers on likelihoods written out here, or the truth.
"""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import kstest, norm

import mixpipe
from mixpipe.assess.bootstrap import bootstrap
from mixpipe.assess.catalogs import draw_catalog
from mixpipe.assess.simulation import quality_pvalues
from mixpipe.fitting.general.fit import loglik_of
from mixpipe.fitting.rounded import doubts_of_sample, integrated
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Selection
from mixpipe.model.rounding import Rounding, find_intervals
from tests.campaign import campaign, mostly_campaign, mostly_study, study


def to_digits(values, digits):
    return np.array([float(f"{value:.{digits - 1}e}") for value in values])


def about_ten(seed, n):
    """A normal of mean 10 and width 2, to two digits: steps of .1 below ten and of 1 above."""
    return to_digits(10.0 + 2.0 * np.random.default_rng(seed).standard_normal(n), 2)


def minus_loglik(p, low, high, err, counts):
    """Of the mean densities of the intervals."""
    total = np.hypot(math.exp(p[1]), err)
    shares = norm.cdf((high - p[0]) / total) - norm.cdf((low - p[0]) / total)
    return -counts @ np.log(shares / (high - low))


# Intervals


def test_ends_of_digits_are_where_decimal_rounding_turns():
    rounding = Rounding(digits=2)
    values = np.array([0.0098, 0.0099, 0.01, 0.011, 9.9, 10.0, 11.0, 99.0, 100.0, 110.0, -10.0, -9.9])
    low, high = rounding.ends(values)
    # Just inside both ends numbers are printed like that, and just outside they are not.
    for value, lower, upper in zip(values, low, high, strict=True):
        assert lower < value < upper
        inside = to_digits([lower + 1e-9 * abs(value), upper - 1e-9 * abs(value)], 2)
        outside = to_digits([lower - 1e-9 * abs(value), upper + 1e-9 * abs(value)], 2)
        np.testing.assert_allclose(inside, value, rtol=1e-12)
        assert np.all(np.abs(outside - value) > 1e-3 * abs(value))
    assert not rounding.misfits(values).any()
    np.testing.assert_array_equal(rounding.misfits(np.array([0.0, 1.23, 12.0, 123.0])), [True, True, False, True])


@pytest.mark.parametrize("given", [0.0, -1.0, math.inf, math.nan, True, "two", "0 digits", "2.5 digits", None, [1.0]])
def test_what_is_no_rounding(given):
    with pytest.raises(ValueError, match="expected auto, none, a step > 0, or digits such as '2 digits'"):
        Rounding.of(given)


def test_intervals_are_found_on_even_grids_digits_and_logarithms():
    rng = np.random.default_rng(1)
    ones = np.ones(3000)
    x = np.round(rng.standard_normal(3000) / 0.25) * 0.25
    for values in (x, x + 0.1, 1e6 + x):
        low, high = find_intervals(values, ones)
        np.testing.assert_allclose(high - low, 0.25, rtol=1e-6)
        np.testing.assert_allclose(0.5 * (low + high), values, rtol=1e-12)
    digits = about_ten(2, 3000)
    np.testing.assert_allclose(np.stack(find_intervals(digits, ones)), Rounding(digits=2).ends(digits))
    whole = np.maximum(np.round(10.0 ** (1.5 + 0.4 * rng.standard_normal(3000))), 1.0)
    for take in (np.log10, np.log):
        low, high = find_intervals(take(whole), ones)
        np.testing.assert_allclose([low, high], [take(whole - 0.5), take(whole + 0.5)], rtol=1e-9, atol=1e-12)


def test_no_intervals_where_values_are_on_no_grid():
    ones = np.ones(3000)
    x = np.random.default_rng(3).standard_normal(3000)
    for values in (x, np.exp(x), np.full(3000, 2.5), np.repeat(x[:1500], 2)):
        assert find_intervals(values, ones) is None
    assert find_intervals(np.empty(0), np.empty(0)) is None


# Fits


@pytest.mark.parametrize("scale", mostly_study([1e-12, 1.0, 1e12], 1.0))
def test_values_that_are_not_rounded_have_no_intervals_in_any_unit(scale):
    for seed in range(40):
        rng = np.random.default_rng([7, seed])
        # Weights that count rows vary more than numbers of rows do.
        x, counts = rng.normal(3.0, 2.0, 1000), rng.integers(1, 4, 1000).astype(float)
        assert find_intervals(scale * x, counts) is None
        low, high = find_intervals(scale * np.round(x, 1), np.ones(1000))
        np.testing.assert_allclose(high - low, 0.1 * scale, rtol=1e-9)


def test_values_close_to_one_number_have_not_been_rounded_to_it():
    """Julian dates of a few minutes are all near the same multiple of a thousand, of which they have four digits."""
    dates = np.round(2459000.5 + 1e-4 * np.random.default_rng(8).standard_normal(3000), 6)
    assert Rounding(digits=4).misfits(dates).all()
    assert find_intervals(dates, np.ones(3000)) is None
    with pytest.raises(ValueError, match=r"rounding: 3000 of 3000 values are not rounded to 4 digits"):
        mixpipe.fit_mixture(dates, n_components=1, rounding="4 digits")
    # Numbers that differ only as singles and doubles do are the same multiple.
    tenths = np.round(np.random.default_rng(9).normal(20.0, 1.0, 500), 1)
    mixed = np.where(np.arange(500) % 2, tenths, tenths.astype(np.float32))
    assert not Rounding(0.1).misfits(mixed).any()
    # Nor are those of other decades.
    decades = np.concatenate([scale * np.array([1.0, 1.1, 1.2, 9.8]) for scale in (-1e3, -10.0, 1e-3, 1.0, 10.0, 1e4)])
    assert not Rounding(digits=2).misfits(decades).any()


@pytest.mark.parametrize("err", [0.0, 0.3])
def test_the_likelihood_is_that_of_the_intervals(err):
    rng = np.random.default_rng(4)
    errors = err * 10.0 ** rng.uniform(-0.5, 0.5, 400)
    x = 2.0 * np.round(rng.normal(0.3, 0.8, 400) + errors * rng.standard_normal(400))
    errors *= 2.0
    fit = mixpipe.fit_mixture(x, errors if err else None, n_components=1, rounding=2)
    args = (x - 1.0, x + 1.0, errors, np.ones(400))
    best = minimize(minus_loglik, [0.0, 0.0], args, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    assert fit.loglik == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose([fit.mixture.means[0], math.log(fit.mixture.sigmas[0])], best.x, atol=1e-4)
    assert fit.resolution.cause == "rounding" and fit.sigma_floor == 0.0
    assert fit.resolution.note() == "values are taken as the intervals, 2 wide, from which they were rounded"


def test_rows_that_are_equal_count_once_and_give_the_same():
    x = np.round(np.random.default_rng(5).normal(0.0, 1.0, 500))
    distinct, counts = np.unique(x, return_counts=True)
    rows = mixpipe.fit_mixture(x, 0.1, n_components=2, rounding=1)
    counted = mixpipe.fit_mixture(distinct, 0.1, n_components=2, weights=counts, rounding=1)
    assert rows.loglik == pytest.approx(counted.loglik, rel=1e-12)
    np.testing.assert_allclose(rows.mixture.means, counted.mixture.means, rtol=1e-9)
    cells = Cells.from_rows(x, 0.1).rounded(1.0)
    assert len(cells.merged()) == distinct.size and cells.merged().n_data == 500.0
    # Rows with other errors, or memberships, are others.
    err = np.where(np.arange(500) < 250, 0.1, 0.2)
    pairs = np.unique(np.stack([x, err]), axis=1)
    assert len(Cells.from_rows(x, err).rounded(1.0).merged()) == pairs.shape[1]
    weighted = Cells.from_rows(x, weights=np.full(500, 0.5), weight_kind="importance").rounded(1.0)
    assert weighted.merged() is weighted


@campaign
def test_uneven_grids_of_many_rows_are_one_population():
    rng = np.random.default_rng(6)
    x = about_ten(7, 50_000)
    whole = np.maximum(np.round(10.0 ** (1.5 + 0.4 * rng.standard_normal(50_000))), 1.0)
    for values, mean, sigma in ((x, 10.0, 2.0), (np.log10(whole), 1.5, 0.4)):
        best = mixpipe.choose_n_components(values, max_components=3).best
        assert best.n_components == 1 and best.resolution.cause == "rounding"
        for part, truth in (("means", mean), ("sigmas", sigma)):
            assert abs(getattr(best.mixture, part)[0] - truth) < 4.0 * getattr(best.uncertainties, part)[0]
        # Without the intervals the grain shows.
        assert mixpipe.choose_n_components(values, max_components=3, rounding="none").best.n_components > 1


def test_intervals_are_used_only_where_they_matter():
    def cause(n, step, err=None):
        x = np.round(np.random.default_rng(8).standard_normal(n) / step) * step
        return mixpipe.fit_mixture(x, err, n_components=1).resolution.cause

    # The variance is too large by step^2 / 12, which moves sigma by half its uncertainty at 5000 rows for a step of .4
    # (.16 / 24 = .5 / sqrt(2 N)).
    assert cause(2500, 0.4) == "grid"
    assert cause(10_000, 0.4) == "rounding"
    # Errors of step / sqrt 12 say that they include the rounding.
    assert cause(10_000, 0.4, 0.4 / math.sqrt(12.0)) == "grid"
    assert cause(10_000, 0.4, 0.01) == "rounding"


def test_rows_that_are_close_by_chance_keep_a_floor_if_the_step_is_fine():
    # 300 values with nine decimals are as good as any that were not rounded: pairs within an interval win otherwise.
    x = np.round(np.random.default_rng(17).standard_normal(300), 9)
    fine, plain = (mixpipe.choose_n_components(x, max_components=3, rounding=how).best for how in (1e-9, "none"))
    assert fine.n_components == plain.n_components == 1
    assert fine.sigma_floor == pytest.approx(plain.sigma_floor, rel=1e-3) and fine.sigma_floor > 1e-3
    # A difference of probabilities over a step of 1e-9 has seven digits.
    assert fine.loglik == pytest.approx(plain.loglik, abs=300 * 1e-7)
    # A step that holds many rows needs none.
    assert mixpipe.fit_mixture(np.round(x), n_components=1, rounding=1).sigma_floor == 0.0


def test_what_users_say_of_the_grain_is_kept():
    x = np.round(np.random.default_rng(9).standard_normal(10_000))
    assert mixpipe.fit_mixture(x, n_components=1, rounding="none").resolution.cause == "grid"
    assert mixpipe.fit_mixture(x, n_components=1, sigma_floor=0.1).resolution.cause == "given"
    assert mixpipe.fit_mixture(Cells.from_rows(x), n_components=1).resolution.cause == "grid"
    both = mixpipe.fit_mixture(x, n_components=1, rounding=1, sigma_floor=2.0)
    assert both.sigma_floor == both.mixture.sigmas[0] == 2.0
    assert "sigmas below 2 are not resolved; values are taken as the intervals" in both.resolution.note()


def test_narrow_components_are_bounded_by_their_interval():
    rng = np.random.default_rng(10)
    x = np.concatenate([np.round(rng.normal(0.0, 2.0, 600), 0), np.full(60, 3.0)])
    # A spike inside one interval has the probability one there, be it ever so narrow.
    wide, narrow = (
        mixpipe.fit_mixture(x, n_components=2, rounding=1, known=[{"mean": 3.0, "sigma": sigma}])
        for sigma in (1e-3, 1e-6)
    )
    assert wide.loglik == pytest.approx(narrow.loglik, abs=1e-6)
    assert narrow.mixture.sigmas.min() == 1e-6
    spike = int(np.argmin(narrow.mixture.sigmas))
    assert abs(narrow.mixture.weights[spike] - 60.0 / 660.0) < 4.0 * narrow.uncertainties.weights[spike]


def test_rows_on_either_side_of_an_end_have_a_component_there():
    # 20 and 4 equal rows in neighbouring intervals, and others with errors that pull the mean beyond their common end:
    # the narrower the component, the closer its mean may be to the end, but without any width it loses one side.
    rng = np.random.default_rng(11)
    noisy = np.round(rng.normal(0.03, 0.1, 50) / 0.005) * 0.005
    far = np.round(rng.normal(100.0, 10.0, 300) / 0.005) * 0.005
    x = np.concatenate([np.full(20, 0.0), np.full(4, 0.005), noisy, far])
    cells = Cells.from_rows(x, np.repeat([0.0, 0.1, 0.0], [24, 50, 300])).between(x - 0.0025, x + 0.0025)
    fit = mixpipe.fit_mixture(cells, n_components=2)
    own = 20.0 * math.log(20.0 / 24.0) + 4.0 * math.log(4.0 / 24.0) - 24.0 * math.log(0.005)
    around = norm.logpdf(noisy, 0.0025, 0.1).sum()
    rest = -150.0 * (math.log(2.0 * math.pi * far.var()) + 1.0)
    shares = 74.0 * math.log(74.0 / 374.0) + 300.0 * math.log(300.0 / 374.0)
    assert fit.loglik == pytest.approx(own + around + rest + shares, abs=0.02)
    assert fit.loglik == pytest.approx(loglik_of(fit.mixture, cells), abs=1e-9)
    assert 0.0 < fit.mixture.sigmas[0] < 0.002
    assert fit.mixture.means[0] == pytest.approx(0.0025, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"rounding": 0.5},
            r"rounding: 2 of 4 values are not multiples of one step of 0.5, the first at index 1 \(0.3\)",
        ),
        ({"rounding": "1 digit"}, r"1 of 4 values are not rounded to 1 digits, the first at index 3 \(1.7\)"),
        ({"rounding": "coarse"}, "rounding 'coarse': expected auto, none, a step > 0"),
        ({"rounding": 0.1, "limits": [0, 0, 1, 0]}, "rounding with limits, a window, bins, or errors"),
        ({"rounding": 0.1, "truncated": (0.0, None)}, "rounding with limits, a window, bins, or errors"),
        ({"rounding": 0.1, "err": [[0.1] * 4, [0.2] * 4]}, "rounding with limits, a window, bins, or errors"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mixpipe.fit_mixture([0.5, 0.3, 1.0, 1.7], n_components=1, **options)


def test_several_columns_have_no_rounding():
    x = np.random.default_rng(11).standard_normal((50, 2))
    with pytest.raises(ValueError, match="rounding is for one column"):
        mixpipe.fit_mixture(x, 0.1, n_components=1, rounding=0.5)


def test_too_many_rows_with_errors_of_their_own_are_said(monkeypatch):
    rng = np.random.default_rng(12)
    x = np.round(rng.standard_normal(3000))
    err = 0.1 * 10.0 ** rng.uniform(-1.0, 0.0, x.size)
    cells = Cells.from_rows(x, err)
    fit = mixpipe.fit_mixture(cells, n_components=1)
    exact, remark = integrated(cells, Selection((fit,)))
    assert exact.are_rounded and not remark
    monkeypatch.setattr("mixpipe.fitting.rounded.FINISHED_ROWS", 2000)
    exact, remark = integrated(cells, Selection((fit,)))
    assert exact is None
    assert "rounded to steps of up to 1," in remark and "3,000 rows that differ in their errors" in remark
    assert remark in mixpipe.fit_mixture(x, err, n_components=1).warnings
    (doubt,) = doubts_of_sample(cells, fit)
    assert "`rounding` with one step" in doubt
    fine = Cells.from_rows(np.round(x + rng.standard_normal(3000), 2), err)
    assert doubts_of_sample(fine, mixpipe.fit_mixture(fine, n_components=1)) == []


def test_a_factor_of_errors_is_that_of_the_errors_alone():
    rng = np.random.default_rng(13)
    err = 0.3 * 10.0 ** rng.uniform(-0.5, 0.5, 4000)
    x = np.round(rng.normal(0.0, 0.5, err.size) + err * rng.standard_normal(err.size))
    fit = mixpipe.fit_mixture(x, 0.5 * err, n_components=1, error_scale="fit", fixed={"sigmas": [0.5]}, rounding=1)
    assert abs(fit.error_scale - 2.0) < 4.0 * fit.error_scale_unc < 0.6
    assert not any("error_scale" in text for text in fit.warnings)


# What is known of such fits


def test_simulated_rows_are_rounded_like_the_data():
    x = about_ten(14, 4000)
    cells = Cells.from_rows(x).rounded()
    mixture = Mixture([1.0], [10.0], [2.0])
    drawn = draw_catalog(mixture, cells.merged(), np.random.default_rng(1))
    assert drawn.n_data == 4000.0 and drawn.are_rounded
    low, high = drawn.edges.T
    inside = (low > 6.0) & (high < 14.0)
    # Intervals of two digits: .1 wide below 9.95, one of .55, and 1 above 10.5.
    np.testing.assert_allclose(np.unique(np.round((high - low)[inside], 6)), [0.1, 0.55, 1.0])
    counts = np.array([np.count_nonzero(np.isclose(low, edge)) for edge in (9.95, 10.5, 11.5)])
    expected = 4000.0 * np.diff(norm.cdf([9.95, 10.5, 11.5, 12.5], 10.0, 2.0))
    np.testing.assert_array_less(np.abs(counts - expected), 4.0 * np.sqrt(expected))


@study
def test_pvalues_of_rounded_values_are_uniform():
    ks, ad = [], []
    for seed in range(100):
        x = np.round(np.random.default_rng(seed).normal(0.0, 1.3, 80))
        cells = Cells.from_rows(x).rounded(1.0)
        found = quality_pvalues(mixpipe.fit_mixture(cells, n_components=1), cells, n_draws=99, seed=seed)
        ks.append(found[0])
        ad.append(found[1])
    # A share of 100 equal steps.
    assert min(kstest(ks, "uniform").pvalue, kstest(ad, "uniform").pvalue) > 1e-3


def test_a_wrong_mixture_of_rounded_values_is_rejected():
    rng = np.random.default_rng(15)
    x = np.round(np.concatenate([rng.normal(-3.0, 1.0, 300), rng.normal(3.0, 1.0, 300)]))
    cells = Cells.from_rows(x).rounded(1.0)
    right, wrong = (mixpipe.fit_mixture(cells, n_components=m) for m in (2, 1))
    assert max(quality_pvalues(wrong, cells, n_draws=99)) <= 0.02
    assert min(quality_pvalues(right, cells, n_draws=99)) > 0.02


def test_bootstrap_of_rounded_values():
    x = np.round(np.random.default_rng(16).normal(0.0, 1.5, 1000))
    cells = Cells.from_rows(x).rounded(1.0)
    fit = mixpipe.fit_mixture(cells, n_components=1)
    draws = bootstrap(cells, fit, 100, seed=1)
    # Of the variance of rounded values; that of 100 draws has 7 %.
    expected = math.sqrt((1.5**2 + 1.0 / 12.0) / 1000.0)
    assert draws.means.std() == pytest.approx(expected, rel=0.3)
    assert fit.uncertainties.means[0] == pytest.approx(expected, rel=0.1)


# Values of which some are rounded more than others


@pytest.mark.parametrize(
    ("mean", "width", "digits", "widths"),
    [(9.5, 1.5, 2, [0.1, 0.55, 1.0]), (95.0, 15.0, 2, [1.0, 5.5, 10.0]), (-95.0, 15.0, 2, [1.0, 5.5, 10.0])],
)
def test_digits_are_found_where_one_step_fits_all_values_too(mean, width, digits, widths):
    """All are multiples of the finer step, of which those above a power of ten are tenth ones."""
    for seed in range(3):
        before = np.random.default_rng(seed).normal(mean, width, 300)
        x = to_digits(before, digits)
        low, high = find_intervals(x, np.ones(x.size))
        assert np.all((low <= before) & (before <= high))
        assert set(np.unique(np.round(high - low, 6))) <= set(widths)
        assert mixpipe.choose_n_components(x, max_components=3).best.n_components == 1


def test_digits_of_few_values_are_found_without_a_step():
    """Of a hundred values about ten, half have tenths and half have not, and no step is that of most."""
    chosen = []
    for seed in range(20):
        x = about_ten(seed, 100)
        found = mixpipe.choose_n_components(x, max_components=3).best
        chosen.append(found.n_components)
        if found.resolution.cause == "rounding":
            assert not any("repeat another row" in text for text in found.warnings)
            low, high = find_intervals(x, np.ones(x.size))
            assert set(np.unique(np.round(high - low, 6))) <= {0.1, 0.55, 1.0}
    # As of a normal without rounding, for which BIC errs in about two per cent.
    assert sum(number > 1 for number in chosen) <= 1
    # Values with more digits are left as they are.
    assert find_intervals(np.random.default_rng(1).normal(10.0, 2.0, 100), np.ones(100)) is None


@pytest.mark.parametrize(
    "values",
    [np.arange(1.0, 40.0), np.arange(0.1, 10.0, 0.1).round(1), np.arange(0.5, 30.0, 0.5), np.arange(90.0, 121.0)],
)
def test_one_step_remains_one_step(values):
    x = np.repeat(values, 5)
    low, high = find_intervals(x, np.ones(x.size))
    np.testing.assert_allclose(high - low, np.min(np.diff(values)), rtol=1e-9)


def heaped(rng, n, fine, coarse, share, mean=10.0, width=1.0):
    """A normal of which this share is rounded to the coarser step."""
    before = rng.normal(mean, width, n)
    steps = np.where(rng.random(n) < share, coarse, fine)
    return before, steps * np.round(before / steps)


@pytest.mark.parametrize(
    ("n", "fine", "coarse", "share", "mean", "width"),
    [(300, 0.1, 1.0, 0.2, 10.0, 1.0), (1000, 0.1, 0.5, 0.3, 10.0, 1.0), (300, 1.0, 5.0, 0.6, 50.0, 4.0),
     (1000, 0.1, 1.0, 0.1, 10.0, 1.0)],
)  # fmt: skip
def test_heaped_values_of_one_population_are_one_population(n, fine, coarse, share, mean, width):
    for seed in range(3):
        before, x = heaped(np.random.default_rng(seed), n, fine, coarse, share, mean, width)
        low, high = find_intervals(np.round(x, 6), np.ones(n))
        # Between the multiples of the coarser step, values lie in the interval of the finer one.
        at = np.abs(x / coarse - np.round(x / coarse)) < 1e-6
        np.testing.assert_allclose((high - low)[~at], fine)
        assert np.all(((low - 1e-9 <= before) & (before <= high + 1e-9))[~at])
        # As many rows have the coarser step as were rounded to it, to within those that are there by chance.
        wide = np.isclose(high - low, coarse)
        assert np.all(np.isclose(high - low, fine) | wide) and not np.any(wide & ~at)
        by_chance = (1.0 - share) * fine / coarse
        assert abs(np.mean(wide) - share) < 5.0 * math.sqrt((share * (1.0 - share) + by_chance) / n)
        found = mixpipe.choose_n_components(np.round(x, 6), max_components=3).best
        assert found.n_components == 1
        # The truth, to within four standard errors and what the intervals hide.
        assert abs(found.mixture.sigmas[0] - width) < 4.0 * width / math.sqrt(2.0 * n) + 0.02 * width


@pytest.mark.parametrize(("n", "least"), [(60, 40), (100, 60), (300, 95)])
def test_heaps_of_few_rows_are_found_more_often_than_by_their_nearest_neighbours(n, least):
    """Of 100 samples; by two neighbours on either side 30, 41 and 92."""
    found = 0
    for seed in range(100):
        x = np.round(heaped(np.random.default_rng([5, seed]), n, 0.1, 1.0, 0.2)[1], 6)
        ends = find_intervals(x, np.ones(n))
        found += ends is not None and bool(np.any(np.isclose(ends[1] - ends[0], 1.0)))
    assert found >= least


def test_two_narrow_populations_at_whole_numbers_are_no_heap():
    """Of 60 samples of 100 rows; by the nearest neighbours alone 38 have another step, by more of them 56."""
    others = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 100])
        x, of = rng.normal(6.5, 1.5, 100), rng.random(100)
        for place, mean in enumerate((5.0, 8.0)):
            x = np.where((of >= 0.2 * place) & (of < 0.2 * (place + 1)), rng.normal(mean, 0.03, 100), x)
        ends = find_intervals(np.round(x, 1), np.ones(100))
        others += ends is not None and bool(np.any(ends[1] - ends[0] > 0.15))
    assert others <= 10


def test_values_that_are_not_heaped_have_one_step():
    """One population in forty has an excess of four standard deviations somewhere, if at all."""
    widened = 0
    for seed in range(40):
        x = np.round(np.random.default_rng(seed).normal(10.0, 1.0, 300), 1)
        low, high = find_intervals(x, np.ones(x.size))
        widened += np.ptp(high - low) > 1e-6
    assert widened <= 1
    # Nor is a narrow population at a multiple of ten steps a heap.
    x = np.round(np.random.default_rng(1).normal(10.0, 0.15, 3000), 1)
    low, high = find_intervals(x, np.ones(x.size))
    np.testing.assert_allclose(high - low, 0.1)
    # Nor are several, one at each multiple of a hundred steps.
    rng = np.random.default_rng(2)
    x = np.round(rng.normal(10.0 * rng.integers(1, 6, 50_000), 0.3), 1)
    low, high = find_intervals(x, np.ones(x.size))
    np.testing.assert_allclose(high - low, 0.1)


def to_steps(rng, before, *shares_and_steps):
    """Values of which these shares are rounded to these steps, the last to the rest; 0 leaves them as they are."""
    drawn, low, x = rng.random(before.size), 0.0, before.copy()
    for share, step in shares_and_steps:
        rows = (drawn >= low) & (drawn < low + share)
        x[rows] = np.round(step * np.round(before[rows] / step), 12) if step else before[rows]
        low += share
    return x


MIXED = {
    "tenths and quarters": [(0.5, 0.25), (0.5, 0.1)],
    "few quarters": [(0.15, 0.25), (0.85, 0.1)],
    "hundredths and twentieths": [(0.5, 0.05), (0.5, 0.01)],
    "fiftieths and twentieths": [(0.5, 0.05), (0.5, 0.02)],
    "tenths and thirds": [(0.3, 1.0 / 3.0), (0.7, 0.1)],
    "hundredths and halves": [(0.2, 0.5), (0.8, 0.01)],
    "thousandths and halves": [(0.2, 0.5), (0.8, 0.001)],
    "fifths and others": [(0.5, 0.2), (0.5, 0.0)],
    "tenths, halves and whole numbers": [(0.15, 1.0), (0.15, 0.5), (0.7, 0.1)],
}


@pytest.mark.parametrize("printed", [12, 2])
@pytest.mark.parametrize("name", MIXED)
def test_several_steps_are_found(name, printed):
    """Every value has one of the steps that it can have, and these have the shares that were drawn."""
    steps = sorted(step for _, step in MIXED[name])
    if printed == 2 and name not in ("tenths and thirds", "tenths and quarters"):
        return
    for seed in range(3):
        rng = np.random.default_rng(seed)
        before = rng.normal(10.0, 1.0, 1500)
        x = np.round(to_steps(rng, before, *MIXED[name]), 15 if 0.0 in steps else printed)
        low, high = find_intervals(x, np.ones(x.size))
        n_possible = np.zeros(x.size)
        for share, step in MIXED[name]:
            at = np.abs(x - step * np.round(x / (step or 1.0))) < (0.0051 if printed == 2 else 1e-9)
            n_possible += at if step else ~np.any([np.isclose(high - low, each) for each in steps if each], axis=0)
            wide = np.isclose(high - low, step, atol=1e-4)
            assert np.all(at[wide]) or not step
            # Less than half as many again are at its multiples by chance.
            assert abs(np.mean(wide) - share) < 5.0 * math.sqrt((share * (1.0 - share) + 0.5 * (1.0 - share)) / 1500)
        # Where there is no choice, what was rounded lies within; thirds of two digits are off by .0033.
        clear = n_possible == 1
        assert np.mean(clear) > 0.2
        assert np.all(((low - 0.0034 <= before) & (before <= high + 0.0034))[clear])
        np.testing.assert_allclose(0.5 * (low + high), x, atol=1e-9)


@pytest.mark.parametrize(
    "name", mostly_campaign(MIXED, "tenths and quarters", "tenths and thirds", "fifths and others")
)
def test_values_of_several_steps_are_as_many_populations_as_before(name):
    for seed in range(2):
        rng = np.random.default_rng(seed)
        one = rng.normal(10.0, 1.0, 400)
        two = np.where(rng.random(400) < 0.5, rng.normal(15.0, 0.4, 400), rng.normal(18.0, 0.5, 400))
        for before, wanted in ((one, 1), (two, 2)):
            x = to_steps(rng, before, *MIXED[name])
            found = mixpipe.choose_n_components(x, max_components=4).best
            assert found.n_components == wanted
            order = np.argsort(found.mixture.means)
            truth = [10.0] if wanted == 1 else [15.0, 18.0]
            unc = np.hypot(found.uncertainties.means, 0.02)
            assert np.all(np.abs(found.mixture.means[order] - truth) < 4.0 * unc[order])
            if found.resolution.cause == "rounding":
                assert not any("repeat" in text for text in found.warnings)


def test_one_normal_in_intervals_of_several_steps_has_the_maximum_of_scipy():
    rng = np.random.default_rng(11)
    x = to_steps(rng, rng.normal(10.0, 0.4, 600), (0.4, 0.5), (0.6, 0.1))
    low, high = find_intervals(x, np.ones(600))
    half = np.where(np.isclose(high - low, 0.5), 0.25, 0.05)
    args = (x - half, x + half, np.zeros(600), np.ones(600))
    best = minimize(minus_loglik, [10.0, 0.0], args, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    fit = mixpipe.fit_mixture(x, n_components=1)
    assert fit.resolution.cause == "rounding"
    assert fit.resolution.note().startswith("values are taken as the intervals, 0.1 to 0.5 wide")
    assert fit.loglik == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose([fit.mixture.means[0], math.log(fit.mixture.sigmas[0])], best.x, atol=1e-4)


def test_peaks_at_multiples_are_no_coarser_step():
    """Two populations at 15 and 18, of which tenths are heaped at halves, are not heaped at multiples of three."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        before = np.where(rng.random(1500) < 0.5, rng.normal(15.0, 0.4, 1500), rng.normal(18.0, 0.5, 1500))
        low, high = find_intervals(to_steps(rng, before, (0.3, 0.5), (0.7, 0.1)), np.ones(1500))
        np.testing.assert_allclose(np.max(high - low), 0.5)


@pytest.mark.parametrize("name", MIXED)
def test_simulated_rows_have_the_steps_of_the_data(name):
    rng = np.random.default_rng(5)
    cells = Cells.from_rows(to_steps(rng, rng.normal(10.0, 1.0, 4000), *MIXED[name])).rounded()
    drawn = draw_catalog(Mixture([1.0], [10.0], [1.0]), cells, np.random.default_rng(6))
    widths = [np.diff(each.edges, axis=1).ravel() for each in (cells, drawn)]
    for step in (step for _, step in MIXED[name] if step):
        shares = [np.mean(np.isclose(width, step, rtol=1e-3)) for width in widths]
        # One in a hundred rows may be beyond the values.
        assert abs(shares[0] - shares[1]) < 4.0 * math.sqrt(2.0 * shares[0] * (1.0 - shares[0]) / 4000) + 0.01


def test_simulated_rows_are_heaped_like_the_data():
    _, x = heaped(np.random.default_rng(3), 4000, 0.1, 1.0, 0.2)
    cells = Cells.from_rows(np.round(x, 6)).rounded()
    drawn = draw_catalog(Mixture([1.0], [10.0], [1.0]), cells, np.random.default_rng(4))
    shares = [np.mean(np.diff(each.edges, axis=1) > 0.5) for each in (cells, drawn)]
    # Of 4000 rows a fifth were rounded to whole numbers, and 8 % are there by chance.
    assert abs(shares[0] - 0.2) < 4.0 * math.sqrt(0.28 * 0.72 / 4000) and abs(shares[0] - shares[1]) < 0.01
    low, high = drawn.edges.T
    np.testing.assert_allclose(np.unique(np.round(high - low, 6)), [0.1, 1.0])
    fit = mixpipe.fit_mixture(cells, n_components=1)
    assert min(quality_pvalues(fit, cells, n_draws=49)) > 0.02


def test_heaps_put_no_floor_below_the_widths():
    """Rows within an interval do not lie close together by chance, whatever other intervals begin or end there."""
    for seed in range(3):
        _, x = heaped(np.random.default_rng(seed), 600, 0.02, 0.1, 0.3, 5.0, 0.05)
        cells = Cells.from_rows(np.round(x, 6)).rounded()
        assert cells.resolution.step == pytest.approx(0.1) and cells.resolution.floor == 0.0
        fit = mixpipe.fit_mixture(cells, n_components=1)
        assert abs(fit.mixture.sigmas[0] - 0.05) < 4.0 * fit.uncertainties.sigmas[0] < 0.01


def whole_to_digits(before, digits=2):
    return np.array([float(f"{np.round(value):.{digits - 1}e}") for value in before])


@pytest.mark.parametrize(("n", "least"), [(2000, 1.0), (200, 1.0), (2000, 0.0)])
def test_whole_numbers_of_two_digits_have_no_tenths_below_ten(n, least):
    """Of seven there would be 7.0 and 7.1; zero may be among them."""
    before = np.maximum(np.abs(np.random.default_rng(5).normal(50.0, 45.0, n)), least)
    x = whole_to_digits(before)
    low, high = find_intervals(x, np.ones(x.size))
    # What is rounded to whole numbers first may be rounded up twice.
    assert np.all((low - 0.5 <= before) & (before <= high + 0.5))
    np.testing.assert_allclose(np.unique(high - low), [1.0, 5.5, 10.0])
    np.testing.assert_allclose((high - low)[x < 99.5], 1.0)
    np.testing.assert_allclose((high - low)[x > 100.5], 10.0)


def test_a_step_and_digits_have_the_ends_of_the_coarser():
    rounding = Rounding.of("2 digits, step 1")
    assert rounding == Rounding(1.0, 2) and str(rounding) == "rounded to 2 digits with a step of at least 1"
    values = np.array([0.0, 3.0, 9.0, 10.0, 99.0, 100.0, 110.0, -3.0, -100.0, 1000.0])
    low, high = rounding.ends(values)
    np.testing.assert_allclose(low, [-0.5, 2.5, 8.5, 9.5, 98.5, 99.5, 105.0, -3.5, -105.0, 995.0])
    np.testing.assert_allclose(high, [0.5, 3.5, 9.5, 10.5, 99.5, 105.0, 115.0, -2.5, -99.5, 1050.0])
    assert not rounding.misfits(values).any()
    assert rounding.misfits(np.array([3.5, 101.0, 12.0])).tolist() == [True, True, False]
    # Tenths of three digits.
    low, high = Rounding.of("3 digits, step 0.1").ends(np.array([0.1, 9.9, 10.0, 99.9, 100.0, 101.0]))
    np.testing.assert_allclose(low, [0.05, 9.85, 9.95, 99.85, 99.95, 100.5])
    np.testing.assert_allclose(high, [0.15, 9.95, 10.05, 99.95, 100.5, 101.5])


def test_numbers_of_two_digits_and_a_step_have_the_maximum_of_scipy():
    """One lognormal from below ten to above a hundred, whose logarithms are fitted."""
    before = 10.0 ** np.random.default_rng(12).normal(1.5, 0.4, 2000)
    x = whole_to_digits(np.maximum(before, 0.6))
    above = 10.0 ** np.maximum(np.floor(np.log10(x) + 1e-9) - 1.0, 0.0)
    below = np.where(np.isclose(x, 10.0 * above) & (above > 1.0), 0.1, 1.0) * above
    ends = np.log10(x - 0.5 * below), np.log10(x + 0.5 * above)
    best = minimize(
        minus_loglik, [1.5, -1.0], (*ends, np.zeros(2000), np.ones(2000)), method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-10},
    )  # fmt: skip
    assert mixpipe.choose_n_components(np.log10(x), max_components=3).best.n_components == 1
    found = mixpipe.fit_mixture(Cells.from_rows(np.log10(x)).rounded(), n_components=1)
    assert found.loglik == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose([found.mixture.means[0], math.log(found.mixture.sigmas[0])], best.x, atol=1e-4)
    given = mixpipe.fit_mixture(x, n_components=1, rounding="2 digits, step 1")
    assert given.resolution.note().startswith("values are taken as the intervals, 1 to ")


def test_simulated_rows_have_both_a_step_and_digits():
    x = whole_to_digits(np.random.default_rng(13).normal(60.0, 30.0, 3000).clip(0.6))
    cells = Cells.from_rows(x).rounded("2 digits, step 1")
    drawn = draw_catalog(Mixture([1.0], [60.0], [30.0]), cells, np.random.default_rng(1))
    low, high = drawn.edges.T
    inside = (low > 1.0) & (high < 130.0)
    np.testing.assert_allclose(np.unique(np.round((high - low)[inside], 6)), [1.0, 5.5, 10.0])
    np.testing.assert_allclose((high - low)[inside & (low > 105.0)], 10.0)


def test_simulated_logarithms_of_heaped_numbers_are_heaped_like_the_data():
    rng = np.random.default_rng(6)
    _, numbers = heaped(rng, 3000, 1.0, 10.0, 0.4, 90.0, 15.0)
    cells = Cells.from_rows(np.log10(numbers)).rounded()
    mixture = mixpipe.fit_mixture(cells, n_components=1).mixture
    drawn = draw_catalog(mixture, cells, np.random.default_rng(7))
    widths = [np.diff(10.0**each.edges, axis=1).ravel() for each in (cells, drawn)]
    # Beyond the data, intervals are as wide in the logarithm as the outermost.
    assert np.mean(np.isclose(widths[1], 1.0) | np.isclose(widths[1], 10.0)) > 0.99
    shares = [np.mean(width > 5.0) for width in widths]
    assert abs(shares[0] - shares[1]) < 4.0 * math.sqrt(2.0 * shares[0] * (1.0 - shares[0]) / 3000)


def test_values_beside_a_multiple_of_a_hundred_steps_keep_their_own():
    before, x = heaped(np.random.default_rng(8), 20_000, 0.01, 1.0, 0.05)
    low, high = find_intervals(np.round(x, 6), np.ones(x.size))
    at = np.abs(x - np.round(x)) < 1e-6
    np.testing.assert_allclose((high - low)[~at], 0.01)
    assert abs(np.mean(np.isclose(high - low, 1.0)) - 0.05) < 4.0 * math.sqrt(0.05 / 20_000)
    assert np.all(((low - 1e-9 <= before) & (before <= high + 1e-9))[~at])


@campaign
@pytest.mark.parametrize(
    "steps",
    [[(0.5, 0.25), (0.5, 0.1)], [(0.2, 1.0), (0.8, 0.1)], [(0.2, 0.5), (0.8, 0.01)], [(0.3, 1 / 3), (0.7, 0.1)]],
)
def test_many_rows_of_several_steps_are_one_population(steps):
    """The shares of the steps, and not the coarsest possible one, leave nothing to a comb of components."""
    rng = np.random.default_rng(9)
    found = mixpipe.choose_n_components(to_steps(rng, rng.normal(10.0, 1.0, 20_000), *steps), max_components=3).best
    assert found.n_components == 1 and found.resolution.cause == "rounding"
    for part, truth in (("means", 10.0), ("sigmas", 1.0)):
        assert abs(getattr(found.mixture, part)[0] - truth) < 4.0 * getattr(found.uncertainties, part)[0]


def test_which_of_equal_rows_has_which_step_depends_on_no_order():
    rng = np.random.default_rng(10)
    x = to_steps(rng, rng.normal(10.0, 1.0, 800), (0.3, 1.0), (0.7, 0.1))
    err = np.round(rng.uniform(0.01, 0.05, 800), 2)
    order = rng.permutation(800)
    rows = np.stack([x, err, *find_intervals(x, np.ones(800), err)])
    others = np.stack([x[order], err[order], *find_intervals(x[order], np.ones(800), err[order])])
    np.testing.assert_array_equal(rows[:, np.lexsort(rows)], others[:, np.lexsort(others)])


@pytest.mark.parametrize("step", [0.01, 0.1, 0.25, 1.0])
@pytest.mark.parametrize("n", [30, 1000])
def test_values_of_one_step_have_no_other(step, n):
    """They have intervals of this step, or none where they are too few or too different to show it."""
    others = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        means, sigmas = 3.0 * rng.standard_normal(2), np.exp(rng.uniform(-1.0, 1.0, 2))
        of = rng.integers(0, 2, n)
        x = np.round(step * np.round((means[of] + sigmas[of] * rng.standard_normal(n)) / step), 6)
        ends = find_intervals(x, np.ones(n), np.zeros(n))
        others += ends is not None and not np.allclose(ends[1] - ends[0], step)
    assert others <= (6 if n == 30 else 1)


def test_whole_numbers_are_no_logarithms():
    x = np.repeat([-1.0, 0.0, 1.0, 2.0], [1, 1348, 3640, 11])
    ends = find_intervals(x, np.ones(x.size), np.zeros(x.size))
    assert ends is None or np.allclose(ends[1] - ends[0], 1.0)


# Populations as narrow as a step or two, whose rows lie in few places: weights, means and sigmas in steps.
NARROW = {
    "with a gap": ((0.6, 0.4), (0.0, 6.0), (0.6, 0.8)),
    "about a power of ten": ((0.6, 0.4), (10.0, 16.0), (0.6, 0.8)),
    "very narrow": ((0.5, 0.5), (0.0, 6.0), (0.45, 0.45)),
    "evenly apart": ((0.34, 0.33, 0.33), (0.0, 6.0, 12.0), (0.7, 0.7, 0.7)),
    "unevenly apart": ((0.34, 0.33, 0.33), (0.0, 6.0, 13.0), (0.7, 0.7, 0.7)),
    "wider": ((0.5, 0.5), (0.0, 12.0), (1.0, 1.0)),
    "one": ((1.0,), (0.0,), (1.2,)),
}


def narrow_populations(seed, kind, n, step=1.0):
    weights, means, sigmas = map(np.array, NARROW[kind])
    rng = np.random.default_rng(seed)
    of = rng.choice(weights.size, n, p=weights)
    return np.round(step * np.round(rng.normal(means[of], sigmas[of])), 6)


@pytest.mark.parametrize("kind", NARROW)
@pytest.mark.parametrize("n", [300, 5000])
def test_peaks_of_narrow_populations_are_no_coarser_steps(kind, n):
    """Their tops exceed their neighbours by more than chance, and nothing lies between them."""
    right = 0
    for seed in range(10):
        x = narrow_populations(seed, kind, n, 0.5)
        ends = find_intervals(x, np.ones(n))
        right += ends is not None and np.allclose(ends[1] - ends[0], 0.5)
    assert right >= 9


@pytest.mark.parametrize("kind", ["with a gap", "about a power of ten"])
def test_widths_of_narrow_populations_are_those_before_rounding(kind):
    weights, means, sigmas = NARROW[kind]
    found = mixpipe.choose_n_components(narrow_populations(3, kind, 2000), max_components=3).best
    assert found.n_components == len(means) and not found.resolution.n_repeated
    for part, truth in (("weights", weights), ("means", means), ("sigmas", sigmas)):
        pulls = (getattr(found.mixture, part) - truth) / getattr(found.uncertainties, part)
        assert np.all(abs(pulls) < 4.0), part


def test_small_whole_numbers_have_the_step_of_the_others():
    """Beside values of two digits, 7 is 7 and not 7.0."""
    x = np.array([7.0, 8.0, 9.0, 11.0, 12.0, 13.0, 14.0, 16.0, 17.0, 18.0, 19.0, 21.0, 22.0, 26.0, 26.0])
    low, high = find_intervals(x, np.ones(x.size))
    np.testing.assert_allclose(high - low, 1.0)


# Values on a grid of another unit, of three steps to a standard deviation, printed with few digits: mean and sigma.
UNEVEN = {
    "minutes of arc in degrees, two digits": (30.0, 0.05, lambda x: np.round(np.round(60 * x) / 60, 2)),
    "minutes of arc in degrees, three digits": (30.0, 0.05, lambda x: np.round(np.round(60 * x) / 60, 3)),
    "pixels of 1.73, whole numbers": (69.2, 5.19, lambda x: np.round(1.73 * np.round(x / 1.73))),
    "light years in parsecs": (122.6, 0.92, lambda x: np.round(0.3066 * np.round(x / 0.3066), 1)),
    "distances of rounded parallaxes": (500.0, 7.5, lambda x: np.round(1000 / np.round(1000 / x, 2))),
    "pixels of a logarithmic scale": (
        7000.0,
        207.0,
        lambda x: np.round(3e5 * (10 ** (1e-4 * np.round(1e4 * np.log10(1 + x / 3e5))) - 1), 1),
    ),
}


@pytest.mark.parametrize("kind", UNEVEN)
@pytest.mark.parametrize("n", [300, 3000])
def test_intervals_on_the_grid_of_another_unit_leave_no_holes(kind, n):
    """Few values are between the steps, and their intervals neither overlap nor leave out what lies between them."""
    mean, sigma, printed = UNEVEN[kind]
    x = printed(np.random.default_rng(4).normal(mean, sigma, n))
    low, high = find_intervals(x, np.ones(n))
    distinct, first, ties = np.unique(x, return_index=True, return_counts=True)
    common = np.flatnonzero(ties >= 5)
    between = low[first][common[1:]] - high[first][common[:-1]]
    gaps = np.diff(distinct[common])
    np.testing.assert_allclose(between[gaps < 1.5 * np.median(gaps)] / sigma, 0.0, atol=1e-9)
    found = mixpipe.choose_n_components(x, max_components=3).best
    assert found.n_components == 1
    assert abs(found.mixture.sigmas[0] - sigma) < 4.0 * found.uncertainties.sigmas[0]


@pytest.mark.parametrize("decimals", [1, 2])
def test_whole_numbers_without_errors_beside_values_with_errors(decimals):
    """Whether a row has an error says to which step it was rounded."""
    rng = np.random.default_rng(2)
    x = rng.normal(10.0, 3.0, 4000) + 0.9 * rng.standard_normal(4000)
    whole = rng.random(4000) < 0.2
    x, err = np.where(whole, np.round(x), np.round(x, decimals)), np.where(whole, 0.0, 0.9)
    low, high = find_intervals(x, np.ones(4000), err)
    np.testing.assert_allclose((high - low)[whole], 1.0)
    assert mixpipe.choose_n_components(x, err, max_components=3).best.n_components == 1


@pytest.mark.parametrize("err", [0.02, 0.06])
def test_errors_do_not_include_a_rounding_to_one_side(err):
    """The interval of 1.0 is from 0.995 to 1.05 with two digits."""
    rng = np.random.default_rng(3)
    x = to_digits(rng.normal(1.0, 0.1, 3000) + err * rng.standard_normal(3000), 2)
    found = mixpipe.choose_n_components(x, err, max_components=3).best
    assert found.n_components == 1
    for part, truth in (("means", 1.0), ("sigmas", 0.1)):
        assert abs(getattr(found.mixture, part)[0] - truth) < 4.0 * getattr(found.uncertainties, part)[0]


@pytest.mark.parametrize("kind", list(UNEVEN)[:5])
def test_two_populations_on_the_grid_of_another_unit(kind):
    """The distance between them says nothing of the grid."""
    mean, sigma, printed = UNEVEN[kind]
    rng = np.random.default_rng(5)
    x = printed(np.concatenate([rng.normal(mean, sigma, 900), rng.normal(mean + 8.0 * sigma, sigma, 600)]))
    found = mixpipe.choose_n_components(x, max_components=4).best
    assert found.n_components == 2
    assert np.all(abs(found.mixture.sigmas - sigma) < 4.0 * found.uncertainties.sigmas)
