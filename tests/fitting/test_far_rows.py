"""Rows far from the others, which many rows have: a wide background, bad values, outliers."""

import numpy as np
import pytest

import mixpipe
from mixpipe.fitting.choose import choose_from_rows
from mixpipe.fitting.gaussian.sparse import join_lone_points
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.rows import Rows
from tests.campaign import mostly_study_pairs

N = 25_000


def core(seed: int, with_errors: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two populations, and errors of a third of their widths or none."""
    rng = np.random.default_rng(seed)
    err = 0.3 * np.exp(0.5 * rng.standard_normal(N)) if with_errors else np.zeros(N)
    z = np.where(rng.random(N) < 0.6, 0.0, 4.0) + rng.standard_normal(N)
    return z + err * rng.standard_normal(N), err


def with_background(seed: int, with_errors: bool) -> tuple[np.ndarray, np.ndarray]:
    x, err = core(seed, with_errors)
    x[: N // 10] = 1e6 * np.random.default_rng(seed + 1).standard_normal(N // 10)
    return x, err


def with_bad_values(seed: int, with_errors: bool) -> tuple[np.ndarray, np.ndarray]:
    x, err = core(seed, with_errors)
    x[:3], x[3:6], x[6] = -9999.0, 99.0, 1e30
    return x, err


# Sketches


def test_joined_points_have_the_same_weight_mean_and_variance():
    rng = np.random.default_rng(1)
    x, err, weights = 1e6 * rng.standard_normal(3000), rng.uniform(0.1, 1.0, 3000), rng.uniform(0.5, 2.0, 3000)
    few = join_lone_points(x, err, weights, 0.1)
    assert few[0].size < 0.15 * x.size
    assert few[2].sum() == pytest.approx(weights.sum(), rel=1e-12)
    assert few[2] @ few[0] == pytest.approx(weights @ x, abs=1e-12 * (weights @ np.abs(x)))
    assert few[2] @ (few[0] ** 2 + few[1] ** 2) == pytest.approx(weights @ (x**2 + err**2), rel=1e-12)
    # The order of the points does not matter, not even to the last bit.
    order = rng.permutation(3000)
    for one, other in zip(few, join_lone_points(x[order], err[order], weights[order], 0.1), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_narrow_component_fits_joined_points_better_than_rows():
    """One population of a million widths in which no group is denser than chance remains one on the points."""
    rng = np.random.default_rng(4)
    x, err, weights = join_lone_points(1e6 * rng.standard_normal(20_000), np.full(20_000, 0.3), np.ones(20_000), 0.1)
    assert x.size < 2000
    selection = mixpipe.choose_n_components(x, err, weights=weights, max_components=4, sigma_floor=0.05)
    assert selection.best.n_components == 1


def test_points_that_are_close_to_each_other_are_not_joined():
    rng = np.random.default_rng(2)
    lone = rng.uniform(-1e6, 1e6, 2000)
    group = 1234.0 + rng.standard_normal(14)
    x = np.concatenate([lone, group])
    few = join_lone_points(x, np.zeros(x.size), np.ones(x.size), 0.1)[0]
    assert few.size < 400
    assert np.isin(group, few).all()
    # Of the same points in units of a thousandth, none are farther apart than the sketch resolves or than their errors.
    for err, width in ((np.zeros(x.size), 1e5), (np.full(x.size, 1e5), 0.1)):
        assert join_lone_points(x, err, np.ones(x.size), width)[0].size == x.size


def test_heavy_points_are_not_joined():
    x = np.linspace(-1e6, 1e6, 1000)
    weights = np.where(np.arange(1000) % 10 == 0, 5.0, 1.0)
    few = join_lone_points(x, np.zeros(1000), weights, 0.1)
    assert np.isin(x[weights == 5.0], few[0]).all()


@pytest.mark.parametrize("with_errors", [True, False], ids=["errors", "no errors"])
def test_far_rows_leave_the_sketch_as_it_is(with_errors):
    used = []
    for make in (core, with_bad_values):
        rows = Rows.of(Cells.from_rows(*make(5, with_errors)))
        used.append(choose_from_rows(rows, max_components=3)[1].sketch)
    plain, bad = used
    assert bad.base == plain.base
    assert bad.resolved
    assert bad.n_cells <= plain.n_cells + 7


# Fits


@pytest.mark.parametrize(
    ("make", "with_errors"),
    mostly_study_pairs(
        [with_background, with_bad_values],
        [True, False],
        [(with_bad_values, True)],
        [(with_bad_values, False), (with_background, True)],
    ),
)
def test_fits_are_those_of_a_search_on_all_rows(make, with_errors, monkeypatch):
    x, err = make(7, with_errors)
    many = mixpipe.choose_n_components(x, err, max_components=3)
    monkeypatch.setattr("mixpipe.fitting.gaussian.engine.SEARCH_ROWS", 10**9)
    rows = mixpipe.choose_n_components(x, err, max_components=3)
    assert many.best.n_components == rows.best.n_components
    for fit, other in zip(many.fits, rows.fits, strict=True):
        # The scores decide, not the log-likelihoods.
        assert fit.loglik - fit.occam >= other.loglik - other.occam - 0.01
        assert fit.loglik == pytest.approx(fit.mixture.logpdf(x, err).sum(), abs=1e-5 * N)


@pytest.mark.parametrize("with_errors", [True, False], ids=["errors", "no errors"])
def test_a_core_in_a_background_a_million_times_as_wide_is_found(with_errors):
    x, err = with_background(9, with_errors)
    fit = mixpipe.fit_mixture(x, err, 3)
    truth = Mixture([0.54, 0.1, 0.36], [0.0, 0.0, 4.0], [1.0, 1e6, 1.0])
    climbed = mixpipe.fit_mixture(x, err, 3, start=truth)
    # Both are at the maximum: within 1e-4 nats where a step on the rows was the last, and within rounding.
    assert fit.loglik == pytest.approx(climbed.loglik, abs=2e-4)


def test_groups_in_a_wide_background_are_found():
    rng = np.random.default_rng(11)
    x = np.concatenate([rng.standard_normal(40_000), 1e6 * rng.standard_normal(12_000), 3e5 + rng.standard_normal(300)])
    selection = mixpipe.choose_n_components(x, max_components=4)
    assert selection.best.n_components == 3
    means = selection.best.mixture.means
    # The mean of 300 values has an error of 0.06.
    assert np.abs(means - 3e5).min() < 0.3


def test_units_of_sums_follow_each_row():
    """A row at 1e30 does not hide the derivatives of the others: the fit of the rows is that of the climb."""
    x, err = with_bad_values(13, with_errors=True)
    selection = mixpipe.choose_n_components(x, err, max_components=4)
    fit = selection.best
    climbed = mixpipe.fit_mixture(x, err, fit.n_components, start=fit.mixture)
    assert fit.loglik == pytest.approx(climbed.loglik, abs=2e-4)
    near = np.abs(fit.mixture.means) < 10.0
    far_off = np.abs(climbed.mixture.means[near] - fit.mixture.means[near]) / climbed.uncertainties.means[near]
    assert far_off.max() < 1e-3
