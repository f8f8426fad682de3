"""Rows that are read in blocks: the same numbers to the last bit, whatever the blocks, their order and the threads."""

import numpy as np
import pytest

from mixpipe.fitting.choose import choose_from_rows, choose_n_components, fit_mixture
from mixpipe.fitting.gaussian import row_likelihood
from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.fitting.gaussian.row_likelihood import RowLikelihood
from mixpipe.fitting.kernels import passes
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.rows import Rows, Survey
from mixpipe.model.sketch import Grid
from tests.campaign import campaign

TRUTH = Mixture([0.35, 0.5, 0.15], [-1.0, 0.0, 3.0], [1.5, 1.0, 0.5])


def column(n=30_000, seed=1, weighted=False):
    rng = np.random.default_rng(seed)
    err = 0.4 * np.exp(0.5 * rng.standard_normal(n))
    x = TRUTH.sample(n, rng) + err * rng.standard_normal(n)
    return x, err, rng.uniform(0.1, 3.0, n) if weighted else np.ones(1)


def shards(x, err, weights, n_shards, seed, n_threads=1):
    """The same rows, shuffled and in so many blocks of different sizes."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(x.size)
    cuts = np.sort(rng.integers(0, x.size, n_shards - 1))
    parts = np.split(order, cuts)

    def blocks():
        for part in parts:
            yield x[part], err[part], weights if weights.size == 1 else weights[part]

    return Rows(blocks, n_threads)


def likelihood_of(rows: Rows) -> tuple[RowLikelihood, Survey]:
    survey, sketch = rows.survey(lambda survey: Grid(0.05, 0.25))
    points = Likelihood(Cells(*sketch.points()), 1)
    return RowLikelihood(rows, points, survey), survey


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n_shards", "n_threads"), [(1, 2), (2, 1), (7, 2), (64, 1)])
def test_passes_give_the_same_bits_however_the_rows_come(n_shards, n_threads, weighted):
    data = column(weighted=weighted)
    one, survey = likelihood_of(shards(*data, 1, 0))
    other, same = likelihood_of(shards(*data, n_shards, n_shards, n_threads))
    for name in ("x", "err", "weights"):
        np.testing.assert_array_equal(getattr(survey.sample, name), getattr(same.sample, name))
    params = one.points.scaled(TRUTH)
    first, second = one.derivatives(params), other.derivatives(params)
    assert first.loglik == second.loglik
    np.testing.assert_array_equal(first.gradient, second.gradient)
    np.testing.assert_array_equal(first.hessian, second.hessian)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_pass_equals_the_plain_sums(weighted):
    x, err, weights = column(weighted=weighted)
    likelihood, _ = likelihood_of(shards(x, err, weights, 3, 3))
    params = likelihood.points.scaled(TRUTH)
    plain = Likelihood(Cells(x, err, np.broadcast_to(weights, x.shape)), 1, like=likelihood.points)
    found, expected = likelihood.derivatives(params), plain.derivatives(params)
    # Terms are rounded to 2^-40 of their largest, scores to 2^-20: of sums over 3e4 rows some 1e-10 and 1e-7 remain.
    assert found.loglik == pytest.approx(expected.loglik, rel=1e-11)
    errors = np.sqrt(np.diag(-expected.hessian))
    np.testing.assert_allclose(found.gradient / errors, expected.gradient / errors, atol=1e-7)
    np.testing.assert_allclose(
        found.hessian / np.outer(errors, errors), expected.hessian / np.outer(errors, errors), atol=1e-5
    )


def test_a_term_beyond_its_bound_is_noticed(monkeypatch):
    """Were the bounds too small for the rows, sums would be rounded: the pass is done again with more room."""
    x, err, weights = column()
    likelihood, _ = likelihood_of(shards(x, err, weights, 2, 2))
    params = likelihood.points.scaled(TRUTH)
    wanted = likelihood.derivatives(params)
    n_passes = likelihood.n_passes
    monkeypatch.setattr(row_likelihood, "_HEADROOM", 2.0**-30)
    again = likelihood.derivatives(params)
    assert likelihood.n_passes > n_passes + 1
    assert again.loglik == pytest.approx(wanted.loglik, rel=1e-9)
    np.testing.assert_allclose(again.hessian, wanted.hessian, rtol=1e-3, atol=1e-3 * np.abs(wanted.hessian).max())


def test_a_sum_too_large_for_its_unit_is_refused():
    x, err, _ = column(2000)
    args = (x, err, np.ones(1), 0.0, 1.0, TRUTH.weights, TRUTH.means, TRUTH.sigmas**2)

    def fits(unit):
        out, outer = np.zeros(28, np.int64), np.zeros((9, 9), np.int64)
        exceeds, outer_exceeds = np.zeros(28, bool), np.zeros((9, 9), bool)
        passes.whole_pass(*args, np.full(28, unit), np.full(9, 2.0**-18), out, outer, exceeds, outer_exceeds)
        return not (exceeds.any() or outer_exceeds.any())

    assert fits(2.0**-30)
    # Sums of some thousand in units of 2^-45 are above 2^52.
    assert not fits(2.0**-45)


def test_a_component_between_the_points_keeps_all_digits():
    """A component far narrower than the points resolve has next to nothing of any point, but all of some rows."""
    x = np.random.default_rng(0).standard_normal(100_000)
    likelihood, _ = likelihood_of(shards(x, np.full(x.size, 1e-6), np.ones(x.size), 2, 2))
    for gap in (1e-5, 1e-4):
        # Beside a row, and beside a gap between the rows.
        mean = float(np.sort(x)[70_000]) + 0.5 * gap
        mixture = Mixture([0.9999, 0.0001], [0.0, mean], [1.0, gap])
        params = likelihood.points.scaled(mixture)
        found = likelihood.derivatives(params)
        expected = float(mixture.logpdf(x, 1e-6).sum())
        assert found.loglik == pytest.approx(expected, rel=1e-11)


def test_a_sample_is_all_of_few_different_rows():
    x = np.repeat(np.arange(100.0), 1000)
    survey = shards(x, np.full(x.size, 0.5), np.ones(1), 7, 5).survey(lambda survey: Grid(0.1))[0]
    assert survey.complete
    assert survey.n_rows == 100_000
    order = np.argsort(survey.sample.x)
    np.testing.assert_array_equal(survey.sample.x[order], np.arange(100.0))
    np.testing.assert_array_equal(survey.sample.weights, 1000.0)


def test_a_sample_is_drawn_evenly():
    """Chosen by a hash, rows are as good as drawn at random."""
    x = np.linspace(0.0, 1.0, 400_001)
    sample = shards(x, np.zeros(x.size), np.ones(1), 3, 6).survey(lambda survey: Grid(0.1))[0].sample
    assert len(sample) == 1 << 15
    # Standard error of the mean and the third moment of a uniform sample; 4 of them.
    assert sample.x.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / len(sample)))
    assert (sample.x**3).mean() == pytest.approx(0.25, abs=4 * np.sqrt((1 / 7 - 1 / 16) / len(sample)))


def test_first_rows_unlike_the_others_cost_another_pass_and_change_nothing():
    x, err, weights = column(40_000, seed=4)
    grids = []

    def grid_for(survey):
        # A power of two near the spread of the sample: another one for the first rows, which are all alike.
        low, high = np.quantile(survey.sample.x, (0.1, 0.9))
        grids.append(Grid(2.0 ** np.floor(np.log2((high - low) / 100)), 0.25))
        return grids[-1]

    like, unlike = (
        Rows(lambda first=first: iter([(x[first], err[first], weights), (x[~first], err[~first], weights)]), 2)
        for first in (np.arange(x.size) < 5000, np.abs(x) < 0.1)
    )
    one, two = like.survey(grid_for)[1], unlike.survey(grid_for)[1]
    assert grids[0] == grids[1] == grids[3] != grids[2]
    np.testing.assert_array_equal(one.keys, two.keys)
    np.testing.assert_array_equal(one.sums, two.sums)


@pytest.mark.parametrize(("n_shards", "n_threads"), [(7, 2), *(pytest.param(n, 1, marks=campaign) for n in (2, 64))])
def test_choices_are_the_same_to_the_last_bit(n_shards, n_threads):
    data = column(40_000, seed=2)
    one, found = choose_from_rows(shards(*data, 1, 0), max_components=4)
    other, again = choose_from_rows(shards(*data, n_shards, n_shards, n_threads), max_components=4)
    assert one.table().equals(other.table())
    assert found.sketch == again.sketch
    for fit, same in zip(one.fits, other.fits, strict=True):
        for name in ("weights", "means", "sigmas"):
            np.testing.assert_array_equal(getattr(fit.mixture, name), getattr(same.mixture, name))
            np.testing.assert_array_equal(getattr(fit.uncertainties, name), getattr(same.uncertainties, name))
    # Rows in memory take the same way.
    x, err, _ = data
    assert choose_n_components(x, err, max_components=4).table().equals(one.table())


def test_errors_over_decades_show_no_populations_on_the_sketch():
    rng = np.random.default_rng(11)
    err = 10.0 ** rng.uniform(-8.0, 0.0, 150_000)
    x = rng.standard_normal(err.size) + err * rng.standard_normal(err.size)
    rough, found = choose_from_rows(shards(x, err, np.ones(1), 2, 1), max_components=4, exact=False)
    exact, _ = choose_from_rows(shards(x, err, np.ones(1), 2, 1), max_components=4)
    assert found.sketch.n_points < err.size / 2
    assert rough.best.n_components == exact.best.n_components == 1
    # Components gain no more on the points than on the rows, on which they may be narrower.
    for fit, same in zip(rough.fits, exact.fits, strict=True):
        assert fit.loglik - rough.fits[0].loglik < same.loglik - exact.fits[0].loglik + 1.0 < 20.0


def test_a_sketch_alone_says_so_and_is_close():
    data = column(60_000, seed=3)
    exact, _ = choose_from_rows(shards(*data, 3, 1), max_components=4)
    rough, found = choose_from_rows(shards(*data, 3, 1), max_components=4, exact=False)
    assert exact.best.exact
    assert not any(fit.exact for fit in rough.fits)
    assert rough.best.n_components == exact.best.n_components == 3
    # The stated error covers the true one, and is small.
    assert abs(rough.best.loglik - exact.best.loglik) < found.sketch.loglik_error < 5.0
    for name in ("weights", "means", "sigmas"):
        errors = getattr(exact.best.uncertainties, name)
        shift = np.abs(getattr(rough.best.mixture, name) - getattr(exact.best.mixture, name)) / errors
        assert shift.max() < min(found.sketch.shift, 0.05)


@pytest.mark.parametrize("n", [19_000, 21_000])
def test_one_row_with_a_large_importance_is_one_row(n):
    """A component on it is said to rest on it, whether or not the search is on a sketch."""
    rng = np.random.default_rng(5)
    x, weights = rng.normal(size=n), rng.uniform(0.5, 1.5, n)
    x[0], weights[0] = 7.0, 60.3
    fit = choose_n_components(x, 0.2, weights=weights, max_components=2).fits[1]
    assert fit.effective_rows[1] == pytest.approx(1.0, abs=1e-3)
    assert any("component 2 rest on 1 effective rows" in text for text in fit.warnings)
    q = fit.mixture.responsibilities(x, 0.2)
    a = weights[:, None] * q / (fit.mixture.sigmas**2 + 0.04)
    np.testing.assert_allclose(fit.effective_rows, a.sum(axis=0) ** 2 / (a**2).sum(axis=0), rtol=1e-3)


def test_fits_to_rows_and_to_their_sketch_do_not_replace_each_other():
    """A log-likelihood is that of the rows, although the sketch of fewer components has a higher one."""
    rng = np.random.default_rng(2)
    err = rng.uniform(0.1, 1.5, 150_000)
    x = rng.normal(size=err.size) + err * rng.standard_normal(err.size)
    fit = fit_mixture(x, err, 4)
    here = float(np.log(fit.mixture.pdf(x, err)).sum())
    assert fit.loglik == pytest.approx(here, abs=1e-3) and fit.exact
    assert np.all(np.isfinite(fit.uncertainties.means))


def test_the_first_row_with_a_small_error_is_counted_among_all():
    x, err, _ = column(25_000)
    err[20_000:] = 1e-6
    weights = np.ones(x.size)
    weights[:10] = 0.0
    assert fit_mixture(x, err, 1, weights=weights).resolution.first == 20_000
