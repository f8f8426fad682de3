"""Bootstrap against closed forms and the information; p-values under the model and against it."""

import math

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import kstest, norm
from scipy.stats import t as student_t

import mixpipe
from mixpipe.assess.assessment import assess_fit
from mixpipe.assess.bootstrap import Draws, bootstrap
from mixpipe.assess.effort import Effort
from mixpipe.assess.simulation import likelihood_ratio_test, quality_pvalues, simulated_statistics
from mixpipe.fitting.matched import matched
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests.campaign import campaign, mostly_study, mostly_study_pairs, study

PARTS = ("weights", "means", "sigmas")
SEPARATED = Mixture([0.6, 0.4], [0.0, 8.0], [1.0, 1.5])


def draw(n, mixture=SEPARATED, seed=1, error=0.4):
    rng = np.random.default_rng(seed)
    err = error * np.exp(0.5 * rng.standard_normal(n))
    return mixture.sample(n, rng) + err * rng.standard_normal(n), err


@pytest.mark.parametrize("n", [4000, 50_000], ids=["rows", "sketch"])
def test_separated_components_have_the_uncertainties_of_the_information(n):
    cells = Cells.from_rows(*draw(n))
    fit = mixpipe.fit_mixture(cells, n_components=2, start=SEPARATED)
    draws = bootstrap(cells, fit, 400, seed=1)
    assert draws.n_unconverged == 0
    for part in PARTS:
        ratio = getattr(draws.uncertainties(), part) / getattr(fit.uncertainties, part)
        # A standard deviation of 400 draws is known to 1 / sqrt(800) = 3.5 %; the largest of 6 within 4 of these.
        np.testing.assert_allclose(ratio, 1.0, atol=0.14)
        # The mean of the draws to 1/20 of an uncertainty; points of a sketch and curvature shift it by as much again.
        shift = (getattr(draws, part).mean(axis=0) - getattr(fit.mixture, part)) / getattr(fit.uncertainties, part)
        np.testing.assert_allclose(shift, 0.0, atol=0.3)


@pytest.mark.parametrize("n", [500, 30_000], ids=["rows", "sketch"])
def test_row_weights_scatter_as_their_squares(n):
    """A weighted mean has the variance sum w^2 (x - m)^2 / (sum w)^2; here the weights go with the distance from it."""
    x = np.random.default_rng(2).normal(0.0, 1.0, n)
    weights = 0.1 + np.abs(x) + np.random.default_rng(3).uniform(0.0, 1.0, n)
    cells = Cells.from_rows(x, 0.01, weights)
    fit = mixpipe.fit_mixture(cells, n_components=1)
    unc = bootstrap(cells, fit, 600, seed=1).uncertainties().means[0]
    expected = math.sqrt(np.sum((weights * (x - fit.mixture.means[0])) ** 2)) / weights.sum()
    # 600 draws: 2.9 %, four of them.
    assert unc == pytest.approx(expected, rel=0.12)
    # The equal weights of the same sum would give this; the test must be able to tell them apart.
    assert abs(x.std() / math.sqrt(n) / expected - 1.0) > 0.2


def test_whole_numbers_as_weights_count_rows():
    x, err = draw(300)
    counts = np.random.default_rng(4).integers(0, 4, 300).astype(float)
    counted = Cells.from_rows(x, err, counts)
    rows = Cells.from_rows(np.repeat(x, counts.astype(int)), np.repeat(err, counts.astype(int)))
    fit = mixpipe.fit_mixture(counted, n_components=2, start=SEPARATED)
    one = bootstrap(counted, fit, 400, seed=1).uncertainties()
    other = bootstrap(rows, fit, 400, seed=2).uncertainties()
    for part in PARTS:
        # Two standard deviations of 400 draws differ by 5 %; the largest of 6 by less than four of these.
        np.testing.assert_allclose(getattr(one, part), getattr(other, part), rtol=0.2)


def test_draws_do_not_depend_on_threads_and_do_on_the_seed():
    cells = Cells.from_rows(*draw(300))
    fit = mixpipe.fit_mixture(cells, n_components=2, start=SEPARATED)
    one, two, other = (bootstrap(cells, fit, 20, seed, n_threads=n) for seed, n in ((1, 1), (1, 2), (2, 1)))
    more = bootstrap(cells, fit, 30, 1, n_threads=1)
    for part in PARTS:
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
        np.testing.assert_array_equal(getattr(one, part), getattr(more, part)[:20])
        assert not np.any(getattr(one, part) == getattr(other, part))


def test_components_keep_their_names_where_their_means_cross():
    """One narrow and one wide component around the same value: sorted by mean they would be mixed up in half of all."""
    cells = Cells.from_rows(*draw(600, Mixture([0.5, 0.5], [0.0, 0.0], [0.3, 4.0]), error=0.2))
    fit = mixpipe.fit_mixture(cells, n_components=2)
    draws = bootstrap(cells, fit, 100, seed=1)
    crossed = (draws.means[:, 0] > draws.means[:, 1]).mean()
    assert 0.1 < crossed < 0.9
    narrow, wide = (0, 1) if fit.mixture.sigmas[0] < fit.mixture.sigmas[1] else (1, 0)
    assert draws.sigmas[:, narrow].max() < 1.0 < draws.sigmas[:, wide].min()
    for part in PARTS:
        ratio = getattr(draws.uncertainties(), part) / getattr(fit.uncertainties, part)
        # 100 draws: 7 %, and the narrow component overlaps with the wide one.
        np.testing.assert_allclose(ratio, 1.0, atol=0.35)


def test_components_are_matched_by_all_their_parameters():
    rng = np.random.default_rng(6)
    weights, means, variances = (
        np.array([0.2, 0.3, 0.1, 0.4]),
        np.array([0.0, 0.1, 0.0, 9.0]),
        np.array([1, 25, 4, 1.0]),
    )
    reference = weights, means, np.sqrt(variances)
    for _ in range(20):
        order = rng.permutation(4)
        near = weights[order] + rng.normal(0, 0.01, 4), means[order] + rng.normal(0, 0.05, 4), np.sqrt(variances[order])
        np.testing.assert_array_equal(order[matched(reference, near, variances)], np.arange(4))


def test_a_sigma_on_the_boundary_stays_possible():
    x = np.concatenate([0.5 * np.linspace(-1, 1, 50), 20.0 + 3.0 * np.linspace(-1, 1, 50)])
    cells = Cells.from_rows(x, 1.0)
    fit = mixpipe.fit_mixture(cells, n_components=2)
    draws = bootstrap(cells, fit, 50, seed=1)
    assert fit.boundary.tolist() == [True, False]
    # The rows scatter much less than their errors: no resample has a width.
    assert np.all(draws.sigmas[:, 0] == 0.0)
    assert draws.uncertainties().sigmas[0] == 0.0
    assert draws.uncertainties().sigmas[1] > 0.1
    low, high = draws.intervals().sigmas[:, 0]
    assert (low, high) == (0.0, 0.0)


def test_covariance_of_draws_is_that_of_their_parameters():
    cells = Cells.from_rows(*draw(300))
    fit = mixpipe.fit_mixture(cells, n_components=2)
    draws = bootstrap(cells, fit, 50, seed=1)
    parameters = np.hstack([draws.weights, draws.means, draws.sigmas])
    np.testing.assert_allclose(draws.covariance(), np.cov(parameters.T), rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(draws.covariance()[:2].sum(axis=0), 0.0, atol=1e-17)
    assessed = assess_fit(cells, fit, Effort(bootstrap=50, profile=False)).fit
    np.testing.assert_array_equal(assessed.covariance, draws.covariance())


def test_covariance_of_draws_agrees_with_the_uncertainties_of_shapes_and_at_the_boundary():
    x = np.concatenate([0.5 * np.linspace(-1, 1, 50), 20.0 + 3.0 * np.linspace(-1, 1, 50)])
    held = Cells.from_rows(x, 1.0)
    shaped = Cells.from_rows(draw(200, Mixture([1.0], [0.0], [1.0]))[0])
    for cells, size, family in ((held, 2, "gaussian"), (shaped, 1, "student_t")):
        start = mixpipe.fit_mixture(cells, n_components=size, family=family)
        fit = assess_fit(cells, start, Effort(bootstrap=10, profile=False)).fit
        unc = fit.uncertainties
        expected = np.concatenate([unc.weights, unc.means, unc.sigmas, unc.shapes[np.isfinite(fit.mixture.shapes)]])
        np.testing.assert_array_equal(np.sqrt(np.diag(fit.covariance)), expected)
    assert np.isnan(assess_fit(held, mixpipe.fit_mixture(held, n_components=2), Effort()).fit.covariance[4]).all()


def test_a_fit_with_equal_sigmas_keeps_them_equal():
    cells = Cells.from_rows(*draw(300))
    fit = mixpipe.fit_mixture(cells, n_components=2, equal_sigmas=True)
    draws = bootstrap(cells, fit, 10, seed=1)
    np.testing.assert_array_equal(draws.sigmas[:, 0], draws.sigmas[:, 1])
    assert draws.sigmas.std() > 0.0


@campaign
def test_p_values_are_uniform_under_the_model():
    """200 catalogs of 120 rows with 19 draws each: the p-values are twentieths, spread out between them at random."""
    truth = Mixture([0.6, 0.4], [0.0, 5.0], [1.0, 0.7])
    rng = np.random.default_rng(7)
    found = []
    for index in range(200):
        cells = Cells.from_rows(*draw(120, truth, seed=[8, index]))
        fit = mixpipe.fit_mixture(cells, n_components=2, start=truth, n_threads=1)
        found.append(quality_pvalues(fit, cells, n_draws=19, seed=index, n_threads=1))
    for values in np.array(found).T:
        assert kstest(values - rng.uniform(0.0, 0.05, 200), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("n", [1000, 10_000], ids=["simulated", "limit"])
def test_heavy_tails_are_no_gaussian(n):
    x = np.random.default_rng(9).standard_t(3, n)
    cells = Cells.from_rows(x, 0.1)
    fit = mixpipe.fit_mixture(cells, n_components=1)
    assert max(quality_pvalues(fit, cells, n_draws=199)) < 0.01
    gaussian = Cells.from_rows(np.random.default_rng(10).standard_normal(n), 0.1)
    assert min(quality_pvalues(mixpipe.fit_mixture(gaussian, n_components=1), gaussian, n_draws=199)) > 0.01


def test_simulated_statistics_do_not_depend_on_threads():
    cells = Cells.from_rows(*draw(100))
    fit = mixpipe.fit_mixture(cells, n_components=2, start=SEPARATED)
    one, two = (simulated_statistics(fit, cells, 10, 1, n_threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@campaign
def test_likelihood_ratio_against_one_component_more():
    x, err = draw(150)
    cells = Cells.from_rows(x, err)
    logliks = [mixpipe.fit_mixture(cells, n_components=m).loglik for m in (1, 2, 3)]
    wrong = likelihood_ratio_test(cells, 1, n_draws=19)
    right = likelihood_ratio_test(cells, 2, n_draws=19)
    # Both are maxima to 1e-9 nats where the search finds the same ones.
    assert wrong.statistic == pytest.approx(2.0 * (logliks[1] - logliks[0]), abs=1e-6)
    assert right.statistic == pytest.approx(2.0 * (logliks[2] - logliks[1]), abs=1e-6)
    assert wrong.p_value == 1 / 20
    assert right.p_value > 1 / 20
    assert (wrong.n_draws, right.n_draws) == (19, 19)
    assert likelihood_ratio_test(cells, 2, n_draws=19, n_threads=1) == right


@study
def test_likelihood_ratio_is_uniform_under_the_model():
    """20 catalogs of one component, 9 draws each: the p-values are tenths, spread out between them at random."""
    rng = np.random.default_rng(11)
    found = []
    for index in range(20):
        cells = Cells.from_rows(*draw(40, Mixture([1.0], [0.0], [1.0]), seed=[12, index]))
        found.append(likelihood_ratio_test(cells, 1, n_draws=9, seed=index, n_threads=1).p_value)
    assert kstest(np.array(found) - rng.uniform(0.0, 0.1, 20), "uniform").pvalue > 1e-3


def test_mistakes_are_named():
    cells = Cells.from_rows(*draw(50))
    fit = mixpipe.fit_mixture(cells, n_components=1)
    with pytest.raises(ValueError, match="n_draws must be at least 1, found 0"):
        bootstrap(cells, fit, 0, seed=1)
    draws = bootstrap(cells, fit, 3, seed=1)
    assert isinstance(draws, Draws)
    with pytest.raises(ValueError, match="level must be between 0 and 1, found 1"):
        draws.intervals(1)


def test_intervals_are_bias_corrected_percentiles():
    """99 draws at the 1/100, 2/100, ... quantiles of a standard normal: the estimate's place among them is the bias."""
    draws = ndtri(np.arange(1, 100) / 100.0)[:, None]
    for estimate, bias in ((0.0, 0.0), (0.5, 0.5), (-1.0, -1.0)):
        mixture = Mixture([1.0], [estimate], [1.0])
        intervals = Draws(mixture, np.ones((99, 1)), draws, np.ones((99, 1)), np.full((99, 1), np.nan), 0).intervals(
            0.6827
        )
        # Efron (1981): the normal quantiles are 2 z0 - 1 and 2 z0 + 1, z0 known to one draw of 99, 0.03 to 0.1.
        expected = np.clip([2.0 * bias - 1.0, 2.0 * bias + 1.0], draws[0], draws[-1])
        np.testing.assert_allclose(intervals.means[:, 0], expected, atol=0.11)
        assert intervals.weights.ravel().tolist() == [1.0, 1.0]


def information(logpdf, parameters, draws):
    """Standard errors of one row, from the scatter of the scores of many: derivatives by central differences."""
    parameters = np.asarray(parameters, dtype=float)
    steps = 1e-4 * np.eye(parameters.size)
    scores = [(logpdf(draws, *(parameters + step)) - logpdf(draws, *(parameters - step))) / 2e-4 for step in steps]
    return np.sqrt(np.diag(np.linalg.inv(np.cov(scores))))


def cut_normal(x, mean, sigma):
    """Log density of a normal above zero."""
    return norm.logpdf(x, mean, sigma) - norm.logsf(0.0, mean, sigma)


def censored_normal(x, mean, sigma):
    """Log density of a normal, or the log probability of all that lies below zero."""
    return np.where(x > 0.0, norm.logpdf(x, mean, sigma), norm.logcdf(0.0, mean, sigma))


# Rows whose quantiles are those of a normal of mean 1 and width 1.
NORMAL = 1.0 + ndtri((np.arange(200_000) + 0.5) / 200_000)


@pytest.mark.parametrize(
    ("kind", "n"),
    mostly_study_pairs(
        ["laplace", "student_t", "truncated", "limits"],
        [700, 12_000],
        [("laplace", 700), ("limits", 700)],
        [("truncated", 700), ("laplace", 12_000)],
    ),
)
def test_draws_of_other_fits_scatter_as_their_information_says(kind, n):
    rng = np.random.default_rng(20)
    parts = ("means", "sigmas")
    if kind == "laplace":
        x = rng.laplace(1.0, math.sqrt(0.5), n)
        # The best location is the median, with an uncertainty of the scale over sqrt(n); that of the scale is the same.
        expected = [math.sqrt(0.5), 1.0]
        cells, family = Cells.from_rows(x, 0.05), "laplace"
    elif kind == "student_t":
        x = rng.standard_t(4, n)
        expected = None
        cells, family, parts = Cells.from_rows(x, 0.01), "student_t", (*parts, "shapes")
    else:
        x, family = rng.normal(1.0, 1.0, n), "gaussian"
        if kind == "truncated":
            expected = information(cut_normal, [1.0, 1.0], NORMAL[NORMAL > 0.0]) / math.sqrt(np.mean(NORMAL > 0.0))
            cells = Cells.from_rows(x[x > 0.0], 0.01, truncated=(0.0, math.inf))
        else:
            expected = information(censored_normal, [1.0, 1.0], NORMAL)
            cells = Cells.from_rows(np.maximum(x, 0.0), 0.01, limits=np.where(x < 0.0, -1, 0))
    fit = mixpipe.fit_mixture(cells, n_components=1, family=family)
    if expected is None:
        # That of a shape goes with its square: for the fitted one.
        values = fit.mixture.means[0], fit.mixture.sigmas[0], fit.mixture.shapes[0]
        rows = student_t.ppf((np.arange(200_000) + 0.5) / 200_000, values[2], *values[:2])
        expected = information(lambda v, m, s, nu: student_t.logpdf(v, nu, m, s), values, rows)
    draws = bootstrap(cells, fit, 150, seed=1)
    assert draws.n_unconverged == 0
    for part, each in zip(parts, expected, strict=True):
        ratio = getattr(draws.uncertainties(), part)[0] * math.sqrt(n) / each
        # 150 draws: 5.8 %, four of these; the scatter goes with the fitted width and shape, known to some 10 %.
        assert ratio == pytest.approx(1.0, abs=0.35)
        shift = getattr(draws, part).mean() - getattr(fit.mixture, part)[0]
        # The mean of 150 draws is known to 0.08 of an uncertainty; bias of the curvature and of the points add to it.
        assert abs(shift) < 0.4 * each / math.sqrt(n)


def test_what_is_not_fitted_has_no_draws():
    x = np.append(draw(200, Mixture([1.0], [0.0], [1.0]))[0], np.linspace(-9.0, 9.0, 100))
    cells = Cells.from_rows(x, 0.3)
    fit = mixpipe.fit_mixture(cells, n_components=2, background=(-10.0, 10.0))
    draws = bootstrap(cells, fit, 30, seed=1)
    background = fit.mixture.families.index("uniform")
    other = 1 - background
    for found in (draws.uncertainties(), draws.intervals()):
        assert np.isnan(found.means[..., background]).all() and np.isnan(found.sigmas[..., background]).all()
        assert np.isfinite(found.weights).all() and np.isfinite(found.means[..., other]).all()
        assert np.isnan(found.shapes).all()
    # A share of 1/3 of 300 rows, nearly all of which are told apart.
    expected = math.sqrt(2.0 / 9.0 / 300)
    # 30 draws: 13 %, three of them, and rows that might be of either.
    assert draws.uncertainties().weights[background] == pytest.approx(expected, rel=0.5)


def test_draws_of_other_fits_do_not_depend_on_threads_and_do_on_the_seed():
    x, err = draw(150)
    cells = Cells.from_rows(np.maximum(x, -0.5), err, limits=np.where(x < -0.5, -1, 0))
    fit = mixpipe.fit_mixture(cells, n_components=2)
    one, two, other = (bootstrap(cells, fit, 8, seed, n_threads=n) for seed, n in ((1, 1), (1, 2), (2, 1)))
    for part in PARTS:
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
        assert not np.any(getattr(one, part) == getattr(other, part))


@study
def test_intervals_of_censored_samples_cover():
    """40 catalogs: an interval of 68 % covers in 0.68 +- 0.074 of them; 4 of these and some for 60 draws."""
    covered = []
    for seed in range(40):
        rng = np.random.default_rng([21, seed])
        x, limit = rng.normal(0.0, math.hypot(1.0, 0.3), 120), rng.normal(0.0, 0.7, 120)
        cells = Cells.from_rows(np.maximum(x, limit), 0.3, limits=np.where(x < limit, -1, 0))
        fit = mixpipe.fit_mixture(cells, n_components=1, n_threads=1)
        intervals = bootstrap(cells, fit, 60, seed=seed).intervals(0.68)
        covered.append(
            [low <= truth <= high for truth, (low, high) in ((0.0, intervals.means), (1.0, intervals.sigmas))]
        )
    assert np.all(np.abs(np.mean(covered, axis=0) - 0.68) < 0.31)


@study
def test_likelihood_ratio_of_other_fits_is_uniform_under_the_model():
    """6 catalogs of each kind, 9 draws each: the p-values are tenths, spread out between them at random."""
    rng = np.random.default_rng(22)
    found = []
    for seed in range(6):
        x, limit = rng.normal(0.0, math.hypot(1.0, 0.3), 40), rng.normal(-0.5, 0.5, 40)
        limited = Cells.from_rows(np.maximum(x, limit), 0.3, limits=np.where(x < limit, -1, 0))
        cut = Cells.from_rows(x[x > -1.0], 0.3, truncated=(-1.0, math.inf))
        exact = Cells.from_rows(rng.laplace(0.0, 1.0, 40), 0.3)
        for cells, family in ((limited, "gaussian"), (cut, "gaussian"), (exact, "laplace")):
            test = likelihood_ratio_test(cells, 1, family=family, n_draws=9, seed=seed)
            assert test.statistic > -1e-3 and test.n_draws == 9
            found.append(test.p_value)
    assert kstest(np.array(found) - rng.uniform(0.0, 0.1, 18), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("kind", mostly_study(["limits", "truncated", "laplace", "background"], "background"))
def test_likelihood_ratio_of_other_fits_sees_two_groups(kind):
    x, err = draw(120, Mixture([0.5, 0.5], [0.0, 6.0], [1.0, 0.5]))
    options = {}
    if kind == "limits":
        cells = Cells.from_rows(np.maximum(x, -1.0), err, limits=np.where(x < -1.0, -1, 0))
    elif kind == "truncated":
        cells = Cells.from_rows(x[x > -1.0], err[x > -1.0], truncated=(-1.0, math.inf))
    else:
        cells = Cells.from_rows(x, err)
        options = {"family": "laplace"} if kind == "laplace" else {"background": (-10.0, 16.0)}
    test = likelihood_ratio_test(cells, 2 if kind == "background" else 1, n_draws=19, **options)
    assert test.p_value == 1 / 20
    if kind == "limits":
        assert likelihood_ratio_test(cells, 1, n_draws=19, n_threads=1) == test


@campaign
def test_assessment_leaves_nothing_out():
    x, err = draw(60, Mixture([1.0], [0.0], [1.0]))
    cells = Cells.from_rows(np.maximum(x, -0.5), err, limits=np.where(x < -0.5, -1, 0))
    effort = Effort(bootstrap=10, profile=True, likelihood_ratio=2)
    found = assess_fit(cells, mixpipe.fit_mixture(cells, n_components=1, family="skew_normal"), effort)
    assert found.likelihood_ratio.n_draws == 2
    rows = found.intervals.groupby(["method", "parameter"]).size()
    for method in ("information", "profile", "bootstrap"):
        assert rows[method].to_dict() == {"weight": 2, "mean": 2, "sigma": 2, "shape": 2}
    assert not any("no bootstrap" in warning for warning in found.fit.warnings)
    assert np.isfinite(found.fit.uncertainties.shapes).all()


@study
def test_pvalues_of_other_families_and_of_truncated_samples_are_uniform():
    """24 samples of each; the mean of uniform p-values is 0.5 with a standard deviation of 0.06."""
    mixture = Mixture([0.5, 0.5], [0.0, 2.5], [1.0, 0.5])
    families, bounded = [], []
    for seed in range(24):
        rng = np.random.default_rng([17, seed])
        err = rng.uniform(0.1, 0.4, 200)
        x = rng.laplace(0.0, 1.0, 200) + err * rng.standard_normal(200)
        cells = Cells.from_rows(x, err)
        families.append(
            quality_pvalues(mixpipe.fit_mixture(cells, n_components=1, family="laplace"), cells, n_draws=19)
        )
        err = rng.uniform(0.1, 0.4, 300)
        x = mixture.sample(300, rng) + err * rng.standard_normal(300)
        cut = Cells.from_rows(x[x > 0.0], err[x > 0.0], truncated=(0.0, np.inf))
        bounded.append(quality_pvalues(mixpipe.fit_mixture(cut, n_components=2), cut, n_draws=19))
    for found in (families, bounded):
        # Four standard deviations.
        assert np.all(np.abs(np.nanmean(found, axis=0) - 0.5) < 0.24)
        assert np.isfinite(found).mean() > 0.8
    # And a wrong family is told from the right one: a uniform sample is not Laplace.
    cells = Cells.from_rows(np.linspace(-1.0, 1.0, 300), 0.05)
    assert max(quality_pvalues(mixpipe.fit_mixture(cells, n_components=1, family="laplace"), cells, n_draws=99)) == 0.01
