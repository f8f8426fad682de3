"""Engines: which one is asked, what all of them do alike, and that a third one is a row of a table."""

import math

import numpy as np
import pytest

import mixpipe
from mixpipe.assess.bootstrap import bootstrap
from mixpipe.assess.profile import profile_intervals
from mixpipe.assess.simulation import likelihood_ratio_test
from mixpipe.fitting import engine
from mixpipe.fitting.contract import Demands, Fits, Problem
from mixpipe.fitting.engine import ENGINES, engine_for
from mixpipe.fitting.gaussian.engine import GaussianEngine
from mixpipe.fitting.general.engine import GeneralEngine
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult

START = Mixture([0.4, 0.6], [0.0, 5.0], [1.0, 0.7])


def cells(n=200, seed=2):
    rng = np.random.default_rng(seed)
    err = rng.uniform(0.1, 0.6, n)
    return Cells.from_rows(START.sample(n, rng) + err * rng.standard_normal(n), err)


@pytest.mark.parametrize(
    ("demands", "kind"),
    [
        (Demands(), GaussianEngine),
        (Demands(("laplace",)), GeneralEngine),
        (Demands(("gaussian", "uniform")), GeneralEngine),
        (Demands(values_only=False), GeneralEngine),
    ],
)
def test_the_first_engine_that_accepts_a_problem_is_asked(demands, kind):
    assert isinstance(engine_for(demands), kind)


def test_a_problem_tells_what_it_demands():
    data = cells()
    assert Problem(data).demands == Demands.of(data, START) == Demands()
    assert Problem(data, background=(0.0, 9.0)).demands == Demands(("gaussian", "uniform"))
    limits = np.zeros(len(data), int)
    limits[0] = -1
    assert Problem(Cells.from_rows(data.x, data.err, limits=limits)).demands == Demands(values_only=False)


def test_both_engines_give_the_same_numbers_where_both_can():
    data = cells()
    gaussian, general = GaussianEngine(), GeneralEngine()
    one, other = (some.climb(Problem(data), START, "newton") for some in (gaussian, general))
    assert one.loglik == pytest.approx(other.loglik, abs=1e-6)
    for part in ("weights", "means", "sigmas"):
        np.testing.assert_allclose(getattr(one.mixture, part), getattr(other.mixture, part), rtol=1e-3, atol=1e-3)
    assert gaussian.loglik(data, START) == pytest.approx(general.loglik(data, START), abs=1e-9)
    # A parameter held where it is loses nothing; elsewhere both lose as much.
    for value in (one.mixture.means[1], one.mixture.means[1] + 0.1):
        first, second = (some.held(data, one).climb("means", 1, value, None)[0] for some in (gaussian, general))
        assert first == pytest.approx(second, abs=1e-5)
    weights = np.random.default_rng(4).multinomial(len(data), np.full(len(data), 1 / len(data))).astype(float)
    first, second = (some.refit(data, one).reweighted(weights)[0] for some in (gaussian, general))
    np.testing.assert_allclose(first[:3], second[:3], rtol=2e-3, atol=2e-3)


def test_any_mixture_can_be_climbed_from():
    data = cells()
    start = Mixture([0.4, 0.5, 0.1], [0.0, 5.0, 2.0], [1.0, 0.7, 4.0], ("gaussian", "gaussian", "uniform"))
    fit = mixpipe.fit_mixture(data, n_components=3, start=start)
    assert fit.mixture.families.count("uniform") == 1
    assert fit.loglik >= GeneralEngine().loglik(data, start)
    with pytest.raises(ValueError, match="Gaussian components of values"):
        mixpipe.fit_mixture(data, n_components=3, start=start, algorithm="xd")
    equal = mixpipe.fit_mixture(data, n_components=3, start=start, equal_sigmas=True)
    own = [name == "gaussian" for name in equal.mixture.families]
    assert np.ptp(equal.mixture.sigmas[own]) == 0.0


class _OfOneWidth(Fits):
    def __init__(self, fits):
        self.fits = fits
        self.maxima = [(fit.mixture, fit.loglik) for fit in fits]

    def results(self):
        return self.fits


class ToyEngine:
    """Gaussian components whose sigma is 1, in equal parts, at quantiles of the values: a whole engine."""

    algorithms = ("newton",)

    def accepts(self, demands):
        return demands == Demands(("gaussian",), values_only=True)

    def fits(self, problem, max_components, *, last=0, criterion="bic", progress=None):
        return _OfOneWidth([self._fit(problem.cells, size) for size in range(1, max_components + 1)][-last:])

    def fits_of_rows(self, rows, max_components, **options):
        raise ValueError("no streams")

    def climb(self, problem, start, algorithm):
        return self._fit(problem.cells, start.n_components)

    def loglik(self, cells, mixture):
        return float(np.sum(mixture.logpdf(cells.x, cells.err)))

    def held(self, cells, fit):
        return ToyMaxima(self, cells, fit)

    def resolved_width(self, cells, fit):
        return None

    def refit(self, cells, fit):
        return ToyRefit(self, cells, fit)

    def _fit(self, cells, size):
        means = np.quantile(cells.x, (np.arange(size) + 0.5) / size)
        mixture = Mixture(np.full(size, 1 / size), means, np.ones(size))
        return FitResult(mixture, "em", self.loglik(cells, mixture), 0.0, cells.n_data, size, True)


class ToyRefit:
    def __init__(self, engine, cells, fit):
        self.engine, self.cells, self.fit = engine, cells, fit

    def reweighted(self, weights):
        again = self.again(Cells.from_rows(np.repeat(self.cells.x, weights.astype(int)), 0.3))
        return np.stack([again.weights, again.means, again.sigmas, np.full(again.n_components, np.nan)]), True

    def again(self, catalog):
        return self.engine._fit(catalog, self.fit.n_components).mixture


class ToyMaxima:
    def __init__(self, engine, cells, fit):
        self.engine, self.cells, self.fit = engine, cells, fit
        self.loglik, self.n_data, self.weights = fit.loglik, cells.n_data, fit.mixture.weights

    def climb(self, part, component, value, near):
        mixture = self.fit.mixture
        arrays = {name: np.array(getattr(mixture, name)) for name in ("weights", "means", "sigmas")}
        arrays[part][component] = value
        arrays["weights"] /= arrays["weights"].sum()
        held = Mixture(**arrays)
        return min(self.engine.loglik(self.cells, held), self.loglik), held

    def span(self, part, component, target):
        return float(getattr(self.fit.mixture, part)[component]), 0.1, -math.inf if part == "means" else 0.1, math.inf


def test_a_third_engine_is_one_row_of_the_table(monkeypatch):
    """Fit, choice, bootstrap, profile and the test of one more component ask the engine, whichever it is."""
    monkeypatch.setattr(engine, "ENGINES", [ToyEngine(), *ENGINES])
    data = cells()
    fit = mixpipe.fit_mixture(data, n_components=2)
    np.testing.assert_array_equal(fit.mixture.means, np.quantile(data.x, (0.25, 0.75)))
    selection = mixpipe.choose_n_components(data, max_components=4)
    assert [one.n_params for one in selection.fits] == [1, 2, 3, 4]
    draws = bootstrap(data, fit, n_draws=20, seed=1, n_threads=1)
    assert np.all(draws.sigmas == 1.0) and draws.means.std(axis=0).min() > 0.0
    lower, upper = profile_intervals(data, fit).means
    assert np.all(lower < fit.mixture.means) and np.all(fit.mixture.means < upper)
    assert likelihood_ratio_test(data, 1, n_draws=5).n_draws == 5
    # What it does not accept goes to the others.
    assert mixpipe.fit_mixture(data, n_components=1, family="laplace").mixture.families == ("laplace",)
