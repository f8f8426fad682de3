"""Large data: a sketch to search on, rows to finish on."""

import numpy as np
import pytest

from mixpipe.fitting.choose import choose_n_components, fit_mixture
from mixpipe.fitting.gaussian import fits as engine
from mixpipe.fitting.gaussian.em import ascend
from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture

TRUTH = Mixture([0.35, 0.5, 0.15], [-1.0, 0.0, 3.0], [1.5, 1.0, 0.5])


def column(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    err = 0.4 * np.exp(0.5 * rng.standard_normal(n))
    return TRUTH.sample(n, rng) + err * rng.standard_normal(n), err


def test_points_have_the_moments_of_the_rows():
    x, err = column(1, 5000)
    weights = np.random.default_rng(2).uniform(0.1, 3.0, 5000)
    points = Cells.sketch(x, err, weights, base=0.5)
    assert len(points) < 3000
    rows = Cells.from_rows(x, err, weights)
    for moment in (
        lambda c: c.weights.sum(),
        lambda c: c.weights @ c.x,
        lambda c: c.weights @ c.x**2,
        lambda c: c.weights @ c.err**2,
        lambda c: c.weights @ c.err**4,
        lambda c: c.weights @ (c.x * c.err**2),
    ):
        # Offsets are rounded to 2^-30 of a cell; a point stands for rows that differ by less than 1e-4 of one.
        assert moment(points) == pytest.approx(moment(rows), rel=1e-9, abs=1e-6)


def test_points_approach_the_rows_as_their_cells_shrink():
    x, err = column(3, 200_000)
    exact = TRUTH.logpdf(x, err).sum()
    deficits = []
    for fineness in (2.0, 1.0, 0.5):
        points = Cells.sketch(x, err, base=0.2, fineness=fineness)
        deficits.append(abs(points.weights @ TRUTH.logpdf(points.x, points.err) - exact))
    # One octave step more in the errors, cells of half the width: at least second order.
    assert deficits[2] < 0.3
    assert deficits[2] < deficits[1] / 4 < deficits[0] / 16


def test_rows_without_errors_and_far_outliers_cost_few_points():
    x, _ = column(4, 50_000)
    x[:3] = 1e9, -1e12, 1e15
    points = Cells.sketch(x, None, base=0.1)
    assert len(points) < 1000
    assert points.n_data == 50_000
    assert points.x.max() == pytest.approx(1e15, rel=1e-12)


def test_large_data_end_at_the_maximum_over_all_rows(monkeypatch):
    x, err = column(5, 60_000)
    selection = choose_n_components(x, err, max_components=5)
    fit = selection.best
    assert fit.n_components == 3
    # The same maximum climbed to on the rows alone, from the truth.
    likelihood = Likelihood(Cells.from_rows(x, err))
    exact = ascend(likelihood, likelihood.scaled(TRUTH), 0.0, gain=1e-13)
    assert fit.loglik == pytest.approx(exact.loglik, abs=1e-6)
    mixture = likelihood.mixture(exact.params)
    for name in ("weights", "means", "sigmas"):
        error = np.abs(getattr(fit.mixture, name) - getattr(mixture, name)) / getattr(fit.uncertainties, name)
        assert error.max() < 1e-3
    assert all(fit.converged for fit in selection.fits)


def test_threads_change_no_bit_and_the_order_of_rows_next_to_nothing():
    x, err = column(6, 40_000)
    one, two = (choose_n_components(x, err, max_components=4, n_threads=n) for n in (1, 2))
    order = np.random.default_rng(7).permutation(x.size)
    shuffled = choose_n_components(x[order], err[order], max_components=4)
    for fit, other, mixed in zip(one.fits, two.fits, shuffled.fits, strict=True):
        assert fit.loglik == other.loglik
        assert mixed.loglik == pytest.approx(fit.loglik, rel=1e-10)
        for name in ("weights", "means", "sigmas"):
            np.testing.assert_array_equal(getattr(fit.mixture, name), getattr(other.mixture, name))
    assert one.loglik_bound == two.loglik_bound
    for name in ("weights", "means", "sigmas"):
        np.testing.assert_allclose(
            getattr(shuffled.best.mixture, name), getattr(one.best.mixture, name), rtol=1e-10, atol=1e-10
        )


def test_a_narrow_component_asks_for_a_finer_sketch():
    """A component 500 times narrower than the rest, seen sharply in a third of the rows."""
    rng = np.random.default_rng(8)
    n = 40_000
    narrow = rng.random(n) < 0.1
    err = np.where(rng.random(n) < 0.3, 0.002, 0.3)
    truth = np.where(narrow, 1.0 + 0.002 * rng.standard_normal(n), rng.standard_normal(n))
    x = truth + err * rng.standard_normal(n)
    fit = fit_mixture(x, err, 2)
    j = int(np.argmin(fit.mixture.sigmas))
    # Three standard errors around the truth.
    assert fit.mixture.sigmas[j] == pytest.approx(0.002, abs=3 * fit.uncertainties.sigmas[j])
    assert fit.mixture.weights[j] == pytest.approx(0.1, abs=3 * fit.uncertainties.weights[j])
    assert fit.uncertainties.sigmas[j] < 1e-4


def test_search_on_rows_and_on_a_sketch_agree(monkeypatch):
    x, err = column(9, 25_000)
    sketched = choose_n_components(x, err, max_components=4)
    monkeypatch.setattr(engine, "SEARCH_ROWS", 10**9)
    rows = choose_n_components(x, err, max_components=4)
    assert sketched.best.n_components == rows.best.n_components
    assert [fit.loglik for fit in sketched.fits] == pytest.approx([fit.loglik for fit in rows.fits], abs=1e-3)


def test_a_component_at_zero_width_is_found_on_large_data():
    rng = np.random.default_rng(10)
    err = rng.uniform(0.5, 1.0, 30_000)
    x = err * rng.standard_normal(30_000)
    likelihood = Likelihood(Cells.from_rows(x, err))
    fit = fit_mixture(x, err, 1)
    # The score at zero decides whether the maximum is there.
    means = (fit.mixture.means - likelihood.centre) / likelihood.scale
    slope = likelihood.derivatives(Params(np.ones(1), means, np.zeros(1)))
    assert bool(fit.boundary[0]) == bool(slope.gradient[2] <= 0)
    # The variance is known to err^2 sqrt(2 / N) = 0.005.
    assert fit.mixture.sigmas[0] < np.sqrt(2 * 0.005)


def test_few_rows_in_a_spike_are_found_among_many():
    """60 rows in 25,000, within 1e-4: more than 100 nats, and 2 sigma of the background at first sight."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=25_000)
    x[:60] = 0.3 + 1e-4 * rng.normal(size=60)
    known = fit_mixture(x, 1e-4, 2, start=Mixture([0.998, 0.002], [0.0, 0.3], [1.0, 1e-4]))
    assert fit_mixture(x, 1e-4, 2).loglik >= known.loglik - 1e-6


def test_one_far_row_hides_no_group_of_rows():
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(size=3000), 0.7 + 0.0003 * rng.normal(size=15), [3e5]])
    start = Mixture([3000 / 3016, 15 / 3016, 1 / 3016], [0.0, 0.7, 3e5], [1.0, 0.0, 0.0])
    known = fit_mixture(x, 0.0003, 3, start=start)
    assert fit_mixture(x, 0.0003, 3).loglik >= known.loglik - 1e-6


def test_a_large_offset_costs_nothing_that_doubles_resolve():
    rng = np.random.default_rng(3)
    z = np.where(rng.random(22_000) < 0.5, 0.0, 6.0) + rng.normal(size=22_000)
    x = 2459000.5 + 1e-7 * z
    far = fit_mixture(x, n_components=2)
    near = fit_mixture(x - 2459000.5, n_components=2, sigma_floor=far.sigma_floor)
    assert far.loglik == pytest.approx(near.loglik, abs=1e-3)


def test_bound_on_points_says_which_sigmas_it_is_for():
    """Components narrower than the points resolve may exceed the bound, which says that it is not for them."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=5000)
    x[:500] = 0.3 + 1e-4 * rng.normal(size=500)
    x[500:1000] = -0.8 + 1e-4 * rng.normal(size=500)
    selection = choose_n_components(x, max_components=1)
    narrow = fit_mixture(x, n_components=3)
    assert narrow.mixture.sigmas.min() < selection.bound_sigma < 0.1
    wide = fit_mixture(x, n_components=3, sigma_floor=selection.bound_sigma)
    # Points and rows differ by some tenths of a nat.
    assert wide.loglik <= selection.loglik_bound + 0.5
