"""How much better any mixture could be."""

import numpy as np
import pytest

from mixpipe.fitting.choose import choose_n_components
from mixpipe.fitting.gaussian import fits as engine
from mixpipe.fitting.gaussian.candidates import candidates
from mixpipe.fitting.gaussian.certificate import loglik_bound, steepest
from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.fitting.gaussian.search import Search
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests import reference as ref


def column(seed: int, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping components seen with errors like their widths."""
    rng = np.random.default_rng(seed)
    err = rng.uniform(0.2, 1.5, n)
    x = np.where(rng.random(n) < 0.4, -1.0, 1.5) + np.hypot(0.6, err) * rng.standard_normal(n)
    return x, err


def best_on_a_grid(x, err) -> float:
    """Highest log-likelihood of all mixtures of a grid of components: plain EM on their weights, which is concave."""
    means = np.linspace(x.min(), x.max(), 61)
    sigmas = np.concatenate([[0.0], np.geomspace(0.05, 4.0, 12)])
    m, s = (part.ravel() for part in np.meshgrid(means, sigmas))
    total = s**2 + err[:, None] ** 2
    density = np.exp(-0.5 * (x[:, None] - m) ** 2 / total) / np.sqrt(2 * np.pi * total)
    weights = np.full(m.size, 1 / m.size)
    for _ in range(4000):
        weights *= (density / (density @ weights)[:, None]).mean(axis=0)
    return float(np.log(density @ weights).sum())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bound_lies_just_above_the_best_of_all_mixtures(seed):
    x, err = column(seed)
    selection = choose_n_components(x, err, max_components=3)
    best = best_on_a_grid(x, err)
    # Not below what the grid reaches; above it by what the grid's coarseness and the stopping rule leave.
    assert best - 1e-6 <= selection.loglik_bound <= best + 0.5
    assert all(fit.loglik <= selection.loglik_bound + 1e-9 for fit in selection.fits)


def test_no_random_mixture_exceeds_the_bound():
    x, err = column(4, 40)
    bound = choose_n_components(x, err, max_components=2).loglik_bound
    rng = np.random.default_rng(5)
    for _ in range(300):
        size = int(rng.integers(1, 25))
        mixture = Mixture(
            rng.dirichlet(np.ones(size)), rng.choice(x, size), rng.choice([0.0, 0.3, 1.0], size) * rng.random(size)
        )
        assert mixture.logpdf(x, err).sum() < bound


def test_gradient_maximum_is_that_of_the_slow_gradient_function():
    x, err = column(6, 50)
    fit = choose_n_components(x, err, max_components=1).fits[0]
    mixture = fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas
    dense = max(
        ref.gradient_function(x, err, *mixture, mean, sigma)
        for mean in np.linspace(x.min(), x.max(), 121)
        for sigma in (0.0, 0.1, 0.3, 0.6, 1.0, 2.0)
    )
    # The peaks are followed between candidates, so they may be higher than a dense grid's, by its coarseness.
    assert dense * 0.999 <= fit.gradient_max <= dense * 1.1


def test_equal_values_with_errors_are_best_described_by_one_point():
    selection = choose_n_components(np.full(10, 3.0), 0.5, max_components=2)
    expected = -10 * np.log(0.5 * np.sqrt(2 * np.pi))
    assert selection.fits[0].gradient_max == pytest.approx(0.0, abs=1e-9)
    assert selection.loglik_bound == pytest.approx(expected, abs=1e-9)
    assert selection.fits[1].loglik == pytest.approx(expected, abs=1e-9)


def test_bound_follows_a_change_of_unit():
    x, err = column(7)
    plain = choose_n_components(x, err, max_components=2).loglik_bound
    scaled = choose_n_components(8 * x + 1024, 8 * err, max_components=2).loglik_bound
    # A power of two changes no digit of the search; the density changes by 1/8 for each row.
    assert scaled == pytest.approx(plain - x.size * np.log(8), abs=1e-6)


def test_bound_from_points_agrees_with_that_from_rows(monkeypatch):
    x, err = column(8, 6000)
    from_points = choose_n_components(x, err, max_components=3)
    monkeypatch.setattr(engine, "CERTIFICATE_ROWS", 10**9)
    from_rows = choose_n_components(x, err, max_components=3)
    loglik = from_rows.fits[-1].loglik
    margin = from_rows.loglik_bound - loglik
    # Each is closed to a tenth; points and rows differ by some tenths of a nat among fits.
    assert from_points.loglik_bound - loglik == pytest.approx(margin, abs=0.5 + 0.1 * margin)
    assert from_points.loglik_bound != from_rows.loglik_bound


def test_bound_tightens_from_the_gradient_of_a_poor_mixture():
    x, err = column(9)
    likelihood = Likelihood(Cells.from_rows(x, err))
    one = Search(likelihood, 0.0).run(1)[0]
    grid = candidates(likelihood, 0.0)
    simple = one.loglik + x.size * np.log1p(steepest(likelihood, one.params, 0.0, grid) / x.size)
    assert one.loglik < loglik_bound(likelihood, one.params, 0.0, grid) < simple
