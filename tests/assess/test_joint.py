"""Bootstrap and likelihood-ratio test of several columns."""

import numpy as np
import pytest

import mixpipe
from mixpipe.assess.joint import bootstrap_columns, likelihood_ratio_of_columns
from mixpipe.assess.joint_rows import draw_rows
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture

TRUTH = JointMixture([0.6, 0.4], [[0.0, 0.0], [6.0, 2.0]], [[[1.0, 0.3], [0.3, 1.0]], [[0.5, 0.0], [0.0, 0.8]]])


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(1)
    x = TRUTH.sample(300, rng) + 0.3 * rng.normal(size=(300, 2))
    x[::8, 1] = np.nan
    return JointCells.from_rows(x, err=0.3, names=["a", "b"])


@pytest.fixture(scope="module")
def fit(cells):
    return mixpipe.fit_mixture(cells, n_components=2)


def test_bootstrap_agrees_with_the_curvature(cells, fit):
    draws = bootstrap_columns(cells, fit, n_draws=100, seed=2)
    found, expected = draws.uncertainties(), fit.uncertainties
    # The standard deviation of 100 draws is uncertain by 7 %, and rows are not quite those of the model.
    for name in ("weights", "means", "sigmas", "correlations"):
        ratio = getattr(found, name) / getattr(expected, name)
        assert np.all(np.abs(ratio[np.isfinite(ratio)] - 1.0) < 0.4)
    low, high = draws.intervals("means", 0.68)
    assert np.all(low < fit.mixture.means)
    assert np.all(high > fit.mixture.means)
    assert draws.n_unconverged == 0
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        draws.intervals("means", 68.0)


def test_bootstrap_depends_on_the_seed_alone(cells, fit):
    one = bootstrap_columns(cells, fit, n_draws=4, seed=3, n_threads=1)
    two = bootstrap_columns(cells, fit, n_draws=4, seed=3, n_threads=2)
    assert np.array_equal(one.values("covariances"), two.values("covariances"))
    other = bootstrap_columns(cells, fit, n_draws=4, seed=4)
    assert not np.array_equal(one.values("means"), other.values("means"))
    with pytest.raises(ValueError, match="n_draws must be at least 1"):
        bootstrap_columns(cells, fit, n_draws=0, seed=1)


def test_importance_weights_are_resampled_with_their_rows():
    rng = np.random.default_rng(5)
    x, c = rng.normal(size=(300, 2)), rng.uniform(0.1, 3.0, 300)
    weighted = JointCells.from_rows(x, weights=c)
    fit = mixpipe.fit_mixture(weighted, n_components=1)
    found = bootstrap_columns(weighted, fit, n_draws=150, seed=6).uncertainties()
    # The sandwich.
    assert np.all(np.abs(found.means / fit.uncertainties.means - 1.0) < 0.25)


def test_simulated_rows_have_the_gaps_and_errors_of_the_data(cells):
    drawn = draw_rows(TRUTH, cells, np.random.default_rng(7))
    assert np.array_equal(np.isnan(drawn.x), np.isnan(cells.x))
    assert np.array_equal(drawn.cov, cells.cov)
    many = JointCells.from_rows(np.zeros((40_000, 2)), cov=[[0.5, 0.4], [0.4, 0.6]], sigma_floor=0)
    one = JointMixture([1.0], [[1.0, 2.0]], [[[1.0, -0.2], [-0.2, 0.3]]])
    spread = np.cov(draw_rows(one, many, np.random.default_rng(8)).x.T)
    assert spread == pytest.approx(np.array([[1.5, 0.2], [0.2, 0.9]]), abs=0.04)
    projected = JointCells.from_rows(
        np.zeros((40_000, 1)), err=0.5, projections=np.tile([[[1.0, -1.0]]], (40_000, 1, 1)), sigma_floor=0
    )
    differences = draw_rows(one, projected, np.random.default_rng(9)).x
    assert differences.mean() == pytest.approx(-1.0, abs=0.04)
    assert differences.var() == pytest.approx(1.0 + 0.3 + 0.4 + 0.25, abs=0.06)


def test_likelihood_ratio_of_one_population_and_of_two(cells):
    two = likelihood_ratio_of_columns(cells.subset(np.arange(60)), 1, n_draws=4, seed=1)
    assert two.p_value == 0.2
    assert two.statistic > 20.0
    rng = np.random.default_rng(10)
    one = likelihood_ratio_of_columns(JointCells.from_rows(rng.normal(size=(40, 2)), err=0.3), 1, n_draws=4)
    assert one.p_value > 0.2
    assert one.statistic >= 0.0
