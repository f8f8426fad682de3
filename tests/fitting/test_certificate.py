"""How much better any mixture could be."""

import numpy as np
import pytest
from scipy.optimize import nnls

from mixpipe.fitting.choose import choose_n_components
from mixpipe.fitting.gaussian import fits as engine
from mixpipe.fitting.gaussian.candidates import candidates
from mixpipe.fitting.gaussian.certificate import highest, loglik_bound, nonnegative_maximum
from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.fitting.gaussian.search import Search
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests import reference as ref
from tests.campaign import mostly_campaign


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


@pytest.mark.parametrize("seed", mostly_campaign([1, 2, 3], 1))
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


def test_bound_from_points_and_rows_agrees_with_that_from_rows(monkeypatch):
    x, err = column(8, 6000)
    by_points = choose_n_components(x, err, max_components=3)
    monkeypatch.setattr(engine, "CERTIFICATE_ROWS", 10**9)
    from_rows = choose_n_components(x, err, max_components=3)
    # Either is closed to 0.2; widths below half of what the points resolve hardly matter with these errors.
    assert by_points.loglik_bound == pytest.approx(from_rows.loglik_bound, abs=0.2)
    assert by_points.bound_sigma > from_rows.bound_sigma == 0.0


def test_bound_of_many_rows_is_nearly_that_of_the_rows():
    x, err = column(8, 21_000)
    many = choose_n_components(x, err, max_components=2)
    likelihood = Likelihood(Cells.from_rows(x, err))
    floor = (many.bound_sigma / likelihood.scale) ** 2
    rows = loglik_bound(likelihood, floor, candidates(likelihood, floor))
    assert many.loglik_bound == pytest.approx(rows.loglik, abs=0.3)


def test_bound_tightens_from_the_gradient_of_a_poor_mixture():
    x, err = column(9)
    likelihood = Likelihood(Cells.from_rows(x, err))
    one = Search(likelihood, 0.0).run(1)[0]
    grid = candidates(likelihood, 0.0)
    simple = one.loglik + x.size * np.log1p(highest(likelihood, one.params, 0.0) / x.size)
    assert one.loglik < loglik_bound(likelihood, 0.0, grid).loglik < simple


# Designs for which the gradient function has peaks between the points of a grid.


def design(name: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping components."""
    rng = np.random.default_rng(seed)
    z = np.where(rng.random(n) < 0.5, -1.0, 1.5) + 0.6 * rng.standard_normal(n)
    match name:
        case "proportional errors, ties":
            err = 0.05 + 0.3 * np.abs(z)
            return np.round(z + err * rng.standard_normal(n), 1), err
        case "proportional errors":
            err = 0.05 + 0.3 * np.abs(z)
        case "errors over four decades":
            err = 10.0 ** rng.uniform(-3.0, 1.0, n)
        case "two kinds of errors":
            err = np.where(rng.random(n) < 0.1, 0.03, 0.5)
        case "equal errors, far outliers":
            err = np.full(n, 0.4)
            z[:3] = [40.0, 41.0, -1e4]
        case _:
            raise ValueError(name)
    return z + err * rng.standard_normal(n), err


DESIGNS = (
    "proportional errors, ties",
    "proportional errors",
    "errors over four decades",
    "two kinds of errors",
    "equal errors, far outliers",
)


def best_of_hundreds(x, err, floor: float, n_rounds: int) -> float:
    """Highest log-likelihood of some hundred components of the smallest width, whose places are moved by EM, too.

    All other mixtures are averages of such components.
    """
    means = np.concatenate([np.unique(x), np.quantile(x, np.linspace(0.0, 1.0, 300))])
    var = floor**2 + err[:, None] ** 2
    weights = np.full(means.size, 1.0 / means.size)
    for _ in range(n_rounds):
        density = np.exp(-0.5 * (x[:, None] - means) ** 2 / var) / np.sqrt(2.0 * np.pi * var)
        for _ in range(20):
            q = density * weights
            q /= q.sum(axis=1, keepdims=True)
            weights = q.mean(axis=0)
        pull = (q / var).sum(axis=0)
        means = np.where(pull > 0.0, (q / var * x[:, None]).sum(axis=0) / np.maximum(pull, 1e-300), means)
        # Components without weight are dropped, which costs less than 1e-12 of each density.
        means, weights = means[weights > 1e-12], weights[weights > 1e-12]
    density = np.exp(-0.5 * (x[:, None] - means) ** 2 / var) / np.sqrt(2.0 * np.pi * var)
    return float(np.log(density @ (weights / weights.sum())).sum())


@pytest.mark.parametrize("seed", mostly_campaign(range(10), 2))
@pytest.mark.parametrize("name", DESIGNS)
def test_no_mixture_of_hundreds_of_components_exceeds_the_bound(name, seed):
    x, err = design(name, 300 if seed == 0 else 80, seed)
    selection = choose_n_components(x, err, max_components=2)
    best = best_of_hundreds(x, err, selection.bound_sigma, 60)
    assert best <= selection.loglik_bound
    # Slow as it is, the plain algorithm comes close for errors that are not too different.
    if "decades" not in name:
        assert selection.loglik_bound <= best + 1.0


@pytest.mark.parametrize("name", DESIGNS)
def test_certificate_does_not_depend_on_the_largest_number_of_components(name):
    x, err = design(name, 120, 11)
    few, many = (choose_n_components(x, err, max_components=size) for size in (2, 5))
    assert few.loglik_bound == many.loglik_bound
    assert few.bound_sigma == many.bound_sigma
    assert [fit.gradient_max for fit in few.fits] == [fit.gradient_max for fit in many.fits[:2]]


def test_certificate_of_many_rows_does_not_depend_on_the_largest_number_of_components():
    for n in (5_000, 21_000):
        x, err = column(12, n)
        few, many = (choose_n_components(x, err, max_components=size) for size in (2, 4))
        assert few.loglik_bound == many.loglik_bound
        assert [fit.gradient_max for fit in few.fits] == [fit.gradient_max for fit in many.fits[:2]]


@pytest.mark.parametrize("name", DESIGNS)
def test_highest_bounds_the_gradient_function_of_narrow_and_wide_components(name):
    x, err = design(name, 60, 13)
    fit = choose_n_components(x, err, max_components=2).fits[1]
    mixture = fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas
    rng = np.random.default_rng(14)
    tops = []
    for sigma in (0.0, 0.01, 0.1, 1.0):
        for mean in np.concatenate([x, x + err * rng.standard_normal(x.size), rng.uniform(-4.0, 4.0, 200)]):
            tops.append(ref.gradient_function(x, err, *mixture, mean, max(sigma, fit.sigma_floor)))
    assert max(tops) <= fit.gradient_max
    # The maximum is known to a thousandth, of which the best of so many tries may lack a few hundredths.
    assert fit.gradient_max <= max(1.1 * max(tops), 0.05)


def test_bounds_hold_in_every_interval():
    rng = np.random.default_rng(15)
    x, err = design("proportional errors", 40, 15)
    likelihood = Likelihood(Cells.from_rows(x, err))
    one = Search(likelihood, 0.0).run(1)[0]
    logp = likelihood.logpdf(one.params)[0]
    centres, halves = rng.uniform(-3.0, 3.0, 300), 10.0 ** rng.uniform(-4.0, 0.5, 300)
    values, bounds = likelihood.bounds_of_gradient(logp, 0.0, centres, halves)
    within = centres[:, None] + halves[:, None] * np.linspace(-1.0, 1.0, 201)
    gradient = likelihood.gradient_function(logp, within.ravel(), np.zeros(within.size))[0].reshape(within.shape)
    # Two ways to compute the same sum of 40 terms.
    np.testing.assert_allclose(values, gradient[:, 100], rtol=0.0, atol=1e-10)
    assert np.all(gradient.max(axis=1) <= bounds + 1e-10)
    # In intervals of a tenth of the smallest error, what remains of the expansion is small.
    short = halves < 1e-3
    assert np.all(bounds[short] <= gradient[short].max(axis=1) + 1e-3)


@pytest.mark.parametrize("start", [np.zeros(12), np.full(12, 0.1), np.arange(12) % 2 * 1.0])
@pytest.mark.parametrize("seed", range(10))
def test_nonnegative_maximum_is_that_of_constrained_least_squares(seed, start):
    rng = np.random.default_rng(seed)
    columns, values = rng.standard_normal((30, 12)), rng.standard_normal(30)
    found = nonnegative_maximum(columns.T @ columns, columns.T @ values, start)
    expected, _ = nnls(columns, values)
    assert 0 < np.count_nonzero(expected) < 12
    # The ridge is 1e-10 of the diagonal.
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_nonnegative_maximum_of_columns_that_are_alike():
    columns, values = np.ones((5, 3)), np.arange(5.0)
    for start in (np.zeros(3), np.array([0.5, 0.5, 0.0])):
        found = nonnegative_maximum(columns.T @ columns, columns.T @ values, start)
        assert found.min() >= 0.0
        assert found.sum() == pytest.approx(2.0, rel=1e-8)
