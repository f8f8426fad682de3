"""The limit of the empirical process of fitted mixtures: published distributions, and simulations."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import ks_2samp, kstest

import mixpipe
from mixpipe.assess.empirical import limit_statistics
from mixpipe.assess.quality import assess
from mixpipe.assess.simulation import quality_pvalues, simulated_statistics
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests.campaign import campaign, mostly_campaign

TRUTH = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7])


def draw(n, mixture=TRUTH, seed=1):
    rng = np.random.default_rng(seed)
    err = 0.4 * np.exp(0.5 * rng.standard_normal(n))
    return mixture.sample(n, rng) + err * rng.standard_normal(n), err


def test_a_normal_with_fitted_mean_and_width_has_the_published_distribution():
    cells = Cells.from_rows(np.random.default_rng(2).normal(3.0, 2.0, 5000), 0.5)
    ks, ad = limit_statistics(mixpipe.fit_mixture(cells, n_components=1), cells, 10_000, np.random.default_rng(3))
    # Stephens (1974), case 3. Upper tails of 10,000 draws: the shares are known to 0.003, 0.0022 and 0.001.
    for value, share, unc in ((0.631, 0.10, 0.003), (0.752, 0.05, 0.0022), (1.035, 0.01, 0.001)):
        assert np.mean(ad > value) == pytest.approx(share, abs=4 * unc)
    # Kolmogorov-Smirnov from catalogs: 2000 rows shift it by some 0.01.
    rng = np.random.default_rng(4)
    z = np.sort(rng.standard_normal((1000, 2000)), axis=1)
    u = ndtr((z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True))
    levels = np.arange(1, 2001) / 2000
    simulated = np.maximum((levels - u).max(axis=1), (u - levels).max(axis=1) + 1 / 2000) * np.sqrt(2000)
    # Quantiles of 1000 values to 0.005 at the median and 0.01 at 95 %.
    np.testing.assert_allclose(
        np.quantile(ks * np.sqrt(5000), [0.5, 0.95]), np.quantile(simulated, [0.5, 0.95]), atol=0.04
    )


def test_a_sigma_on_the_boundary_is_no_parameter():
    """All scatter is noise: the mean alone is fitted."""
    x = 0.9 * np.random.default_rng(5).standard_normal(5000)
    cells = Cells.from_rows(x, 1.0)
    fit = mixpipe.fit_mixture(cells, n_components=1)
    assert fit.boundary.tolist() == [True]
    _, ad = limit_statistics(fit, cells, 10_000, np.random.default_rng(6))
    # Stephens (1974), case 1.
    for value, share, unc in ((0.908, 0.10, 0.003), (1.105, 0.05, 0.0022), (1.573, 0.01, 0.001)):
        assert np.mean(ad > value) == pytest.approx(share, abs=4 * unc)


@pytest.mark.parametrize("weighted", [False, True])
def test_limit_and_simulations_agree(weighted):
    """3000 rows; with weights that go with the errors, so that what the fit sees is not what scatters."""
    x, err = draw(3000)
    cells = Cells.from_rows(x, err, 0.3 + err if weighted else None)
    fit = mixpipe.fit_mixture(cells, n_components=2, start=TRUTH)
    limits = limit_statistics(fit, cells, 4000, np.random.default_rng(7))
    for limit, simulated in zip(limits, simulated_statistics(fit, cells, 400, 1), strict=True):
        assert ks_2samp(limit, simulated).pvalue > 1e-3


def test_equal_sigmas_are_one_parameter():
    truth = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 1.0])
    cells = Cells.from_rows(*draw(3000, truth))
    fit = mixpipe.fit_mixture(cells, n_components=2, start=truth, equal_sigmas=True)
    limits = limit_statistics(fit, cells, 4000, np.random.default_rng(8))
    for limit, simulated in zip(limits, simulated_statistics(fit, cells, 400, 1), strict=True):
        assert ks_2samp(limit, simulated).pvalue > 1e-3


@campaign
def test_p_values_from_the_limit_are_uniform():
    """200 catalogs of 5000 rows, each against the limit of one fit of 5000 rows, from which its own hardly differs."""
    cells = Cells.from_rows(*draw(5000))
    limits = limit_statistics(mixpipe.fit_mixture(cells, n_components=2), cells, 10_000, np.random.default_rng(9))
    found = []
    for index in range(200):
        cells = Cells.from_rows(*draw(5000, seed=[10, index]))
        fit = mixpipe.fit_mixture(cells, n_components=2, start=TRUTH, n_threads=1)
        quality = assess(fit.mixture, cells)
        found.append([np.mean(limits[0] >= quality.ks), np.mean(limits[1] >= quality.ad)])
    for values in np.array(found).T:
        assert kstest(values, "uniform").pvalue > 1e-3


def test_a_row_counted_twice_is_two_rows():
    x, err = draw(2500)
    fit = mixpipe.fit_mixture(x, err, 2, start=TRUTH)
    twice = Cells.from_rows(x, err, np.full(2500, 2.0))
    rows = Cells.from_rows(np.tile(x, 2), np.tile(err, 2))
    one, two = (limit_statistics(fit, cells, 100, np.random.default_rng(11)) for cells in (twice, rows))
    np.testing.assert_allclose(one, two, rtol=1e-6)


def test_errors_may_span_any_range():
    """Errors of zero and of a thousand sigmas; nothing is left to be seen in the latter."""
    x, err = draw(6000)
    err = np.where(np.arange(6000) % 3 == 0, 0.0, np.where(np.arange(6000) % 3 == 1, err, 1e3))
    x = TRUTH.sample(6000, np.random.default_rng(12)) + err * np.random.default_rng(13).standard_normal(6000)
    cells = Cells.from_rows(x, err)
    fit = mixpipe.fit_mixture(cells, n_components=2, start=TRUTH)
    ks, ad = limit_statistics(fit, cells, 1000, np.random.default_rng(14))
    quality = assess(fit.mixture, cells)
    assert 0.001 < np.mean(ks >= quality.ks)
    assert 0.001 < np.mean(ad >= quality.ad)


OTHERS = {
    "laplace": (lambda rng, n: rng.laplace(0.0, 1.0, n), None, {"family": "laplace"}),
    "skew_normal": (
        lambda rng, n: np.abs(rng.standard_normal(n)) + 0.3 * rng.standard_normal(n),
        None,
        {"family": "skew_normal"},
    ),
    "background": (
        lambda rng, n: np.where(rng.random(n) < 0.5, rng.uniform(-9.0, 9.0, n), rng.standard_normal(n)),
        None,
        {"n_components": 2, "background": (-9.0, 9.0)},
    ),
    "truncated": (lambda rng, n: TRUTH.sample(n, rng), (-1.0, 4.5), {"n_components": 2}),
}


@pytest.mark.parametrize("kind", mostly_campaign(OTHERS, "background"))
def test_limit_and_simulations_of_other_fits_agree(kind):
    sample, window, options = OTHERS[kind]
    rng = np.random.default_rng(15)
    err = 0.3 * np.exp(0.4 * rng.standard_normal(3000))
    x = sample(rng, 3000) + err * rng.standard_normal(3000)
    if window is not None:
        inside = (x > window[0]) & (x < window[1])
        x, err = x[inside], err[inside]
    cells = Cells.from_rows(x, err, truncated=window)
    fit = mixpipe.fit_mixture(cells, **{"n_components": 1, **options})
    limits = limit_statistics(fit, cells, 4000, np.random.default_rng(16))
    for limit, simulated in zip(limits, simulated_statistics(fit, cells, 150, 1), strict=True):
        assert ks_2samp(limit, simulated).pvalue > 1e-3
        # And the two are no wide net: 150 values know their mean to some 4 %.
        assert limit.mean() == pytest.approx(simulated.mean(), rel=0.16)


def test_a_window_that_cuts_nothing_and_many_degrees_of_freedom_change_nothing():
    """Student's t with 1000 degrees of freedom, the bound, is a Gaussian, and so is one with two far bounds."""
    x, err = draw(5000, Mixture([1.0], [0.0], [1.0]))
    cells = Cells.from_rows(x, err)
    gaussian = mixpipe.fit_mixture(cells, n_components=1)
    tails = Mixture([1.0], [0.0], [1.0], ("student_t",), [1000.0])
    student = replace(gaussian, mixture=tails, covariance=np.empty((0, 0)))
    bounded = Cells.from_rows(x, err, truncated=(-100.0, 100.0))
    expected = limit_statistics(replace(gaussian, mixture=Mixture([1.0], [0.0], [1.0])), cells, 500, rng_of(17))
    for fit, rows in ((student, cells), (replace(gaussian, mixture=Mixture([1.0], [0.0], [1.0])), bounded)):
        # Draws of the same stream; eigenvectors of nearly equal covariances differ by their gaps.
        found = limit_statistics(fit, rows, 500, rng_of(17))
        np.testing.assert_allclose(np.mean(found, axis=1), np.mean(expected, axis=1), rtol=0.1)


def test_rows_of_like_errors_are_alike(monkeypatch):
    """Errors that dominate the widths, where most depends on them: sixteen times the bins change next to nothing."""
    rng = np.random.default_rng(19)
    truth = Mixture([0.6, 0.4], [0.0, 3.0], [0.2, 0.1])
    err = np.exp(0.5 * rng.standard_normal(5000))
    cells = Cells.from_rows(truth.sample(5000, rng) + err * rng.standard_normal(5000), err)
    fit = mixpipe.fit_mixture(cells, n_components=2, start=truth)
    coarse = limit_statistics(fit, cells, 4000, rng_of(20))
    monkeypatch.setattr("mixpipe.assess.empirical._BINS", 64)
    # The module promises 0.3 %; the draws are the same, but for the eigenvectors that they are made with.
    for found, expected in zip(coarse, limit_statistics(fit, cells, 4000, rng_of(20)), strict=True):
        np.testing.assert_allclose(*np.quantile([found, expected], [0.5, 0.95], axis=1).T, rtol=0.006)


def rng_of(seed):
    return np.random.default_rng(seed)


@campaign
def test_p_values_of_many_rows_of_other_families_tell_right_from_wrong():
    rng = np.random.default_rng(18)
    x = rng.laplace(0.0, 1.0, 20_000) + 0.3 * rng.standard_normal(20_000)
    cells = Cells.from_rows(x, 0.3)
    right, wrong = (mixpipe.fit_mixture(cells, n_components=1, family=family) for family in ("laplace", "skew_normal"))
    assert min(quality_pvalues(right, cells)) > 0.01
    assert max(quality_pvalues(wrong, cells)) < 0.01
    cut = Cells.from_rows(x[x > -1.0], 0.3, truncated=(-1.0, np.inf))
    assert min(quality_pvalues(mixpipe.fit_mixture(cut, n_components=1, family="laplace"), cut)) > 0.01
    # The edge of exact exponential values is where the first of them lies: no limit describes that.
    exact = Cells.from_rows(rng.exponential(1.0, 5000))
    assert np.isnan(quality_pvalues(mixpipe.fit_mixture(exact, n_components=1, family="exponential"), exact)).all()
