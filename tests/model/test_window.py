"""Windows: where, and with which probability, values are observed."""

import math

import numpy as np
import pytest
from scipy.special import ndtr

import mixpipe
from mixpipe.assess.bootstrap import bootstrap
from mixpipe.assess.catalogs import draw_catalog
from mixpipe.assess.quality import assess, pit
from mixpipe.assess.simulation import quality_pvalues
from mixpipe.fitting.general.closed import of_window
from mixpipe.fitting.general.engine import GeneralEngine
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES as EVERY_FAMILY
from mixpipe.model.mixture import Mixture
from mixpipe.model.window import Window
from tests.campaign import campaign, mostly_study_pairs
from tests.fitting.test_general import SHAPES, probability

pytestmark = pytest.mark.filterwarnings("error")

ERR = np.array([0.3, 0.6, 0.4, 0.9, 0.5, 0.7])
X = np.array([0.4, 1.9, 2.5, 4.4, 6.3, 8.8])
LOW = X - np.array([1.0, 0.3, 2.0, 0.1, 5.0, np.inf])
TABLE = (np.array([0.0, 2.0, 3.0, 7.0]), np.array([0.2, 0.4, 1.0, 0.7]))
# Intervals of a row, and the table of detection, of each kind of window.
WINDOWS = {
    "rows": ((LOW, None), None),
    "rows below": ((None, X + 0.5), None),
    "holes": ([(None, 3.0), (4.0, 6.5), (7.0, None)], None),
    "hole of rows": ([(None, X + 0.2), (X + 0.9, 12.0)], None),
    "detection": (None, TABLE),
    "detection of rows": ((LOW, 9.5), TABLE),
    "detection with a hole": ([(0.1, 3.0), (4.0, None)], TABLE),
}

# A power law, whose parameters mean something else, has tests of its own.
FAMILIES = {name: family for name, family in EVERY_FAMILY.items() if name != "power_law"}
NAMES = [name for name in FAMILIES if name != "uniform"]


def pieces_of(kind, row):
    """The pieces of a row: ends, and the line on which S lies, written out from the definition."""
    truncated, table = WINDOWS[kind]
    pairs = truncated if isinstance(truncated, list) else [truncated or (None, None)]
    found = []
    for pair in pairs:
        low, high = (
            end if bound is None else float(np.broadcast_to(bound, X.shape)[row])
            for bound, end in zip(pair, (-math.inf, math.inf), strict=True)
        )
        if table is None:
            found.append((low, high, 1.0, 0.0))
            continue
        v, p = table
        lines = [(-math.inf, v[0], p[0], 0.0)]
        for k in range(len(v) - 1):
            slope = (p[k + 1] - p[k]) / (v[k + 1] - v[k])
            lines.append((v[k], v[k + 1], p[k] - slope * v[k], slope))
        lines.append((v[-1], math.inf, p[-1], 0.0))
        for first, last, constant, slope in lines:
            a, b = max(low, first), min(high, last)
            if a < b:
                found.append((a, b, constant, slope))
    return found


def seen_at(kind, row, err):
    """The mean of S over observed values about each true one, with normal errors."""

    def seen(z):
        total = np.zeros_like(z)
        for low, high, constant, slope in pieces_of(kind, row):
            a, b = (low - z) / err, (high - z) / err
            density = (np.exp(-0.5 * np.minimum(end**2, 1400.0)) / math.sqrt(2.0 * math.pi) for end in (a, b))
            at_low, at_high = density
            # The difference is taken in the smaller tail.
            inside = np.where(a > 0.0, ndtr(-a) - ndtr(-b), ndtr(b) - ndtr(a))
            total += (constant + slope * z) * inside - slope * err * (at_high - at_low)
        return total

    return seen


@pytest.mark.parametrize("kind", WINDOWS)
@pytest.mark.parametrize("name", NAMES)
def test_the_probability_of_being_seen_equals_numerical_integration(name, kind):
    window = Window.of(*WINDOWS[kind])
    own = (3.0, 1.2, SHAPES.get(name))
    found = np.exp(window.log_seen(FAMILIES[name], ERR, *own))
    expected = [probability((name, *own), ERR[row], seen_at(kind, row, ERR[row])) for row in range(X.size)]
    # The oracle is exact to 1e-9 but for kinks; the quadrature over a table has eight points in each of its 24 steps.
    exact = name == "gaussian" or WINDOWS[kind][1] is None
    np.testing.assert_allclose(found, expected, rtol=1e-8 if exact else 1e-5)


@pytest.mark.parametrize("kind", WINDOWS)
def test_the_loglik_is_that_of_the_density_of_what_is_seen(kind):
    """Row by row ln f(x) + ln S(x) - ln P, with P by numerical integration."""
    truncated, table = WINDOWS[kind]
    cells = Cells.from_rows(X, ERR, truncated=truncated, detection=table)
    mixture = Mixture([0.3, 0.7], [2.0, 5.0], [0.8, 1.5])
    expected = 0.0
    for row in range(X.size):
        parts = [("gaussian", mean, sigma, None) for mean, sigma in ((2.0, 0.8), (5.0, 1.5))]
        seen = (probability(part, ERR[row], seen_at(kind, row, ERR[row])) for part in parts)
        detected = 1.0 if table is None else float(np.interp(X[row], *table))
        expected += math.log(mixture.pdf(X[row], ERR[row]) * detected / np.dot(mixture.weights, list(seen)))
    assert GeneralEngine().loglik(cells, mixture) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_narrow_components_without_errors_are_seen_with_the_probability_at_their_mean(name):
    """A component a hundredth as wide as the table: the quadrature errs by less than a per cent."""
    window = Window.of(None, TABLE)
    for mean in (0.7, 2.5, 5.1):
        own = (mean, 0.07, SHAPES.get(name))
        expected = np.interp(mean, *TABLE)
        assert np.exp(window.log_seen(FAMILIES[name], np.zeros(3), *own)) == pytest.approx(expected, rel=1e-2)


def test_the_probability_is_interpolated_between_many_errors():
    err = np.geomspace(1e-3, 3.0, 500)
    window = Window.of(None, TABLE)
    for name in NAMES:
        own = (3.0, 0.4, SHAPES.get(name))
        found = np.exp(window.log_seen(FAMILIES[name], err, *own))
        some = slice(None, None, 50)
        np.testing.assert_allclose(found[some], np.exp(window.log_seen(FAMILIES[name], err[some], *own)), rtol=2e-5)


@pytest.mark.parametrize("kind", WINDOWS)
def test_closed_derivatives_are_those_of_the_probability(kind):
    window, gaussian, h = Window.of(*WINDOWS[kind]), FAMILIES["gaussian"], 1e-3
    mean, sigma = 3.0, 1.2

    def log_seen(a, b):
        return window.log_seen(gaussian, ERR, mean + a * h, sigma * math.exp(b * h), math.nan)

    middle = log_seen(0, 0)
    found = of_window(window, ERR, mean, sigma, middle)
    pairs = [
        (found.mean, (log_seen(1, 0) - log_seen(-1, 0)) / (2 * h)),
        (found.width, (log_seen(0, 1) - log_seen(0, -1)) / (2 * h)),
        (found.mean_mean, (log_seen(1, 0) - 2 * middle + log_seen(-1, 0)) / h**2),
        (found.width_width, (log_seen(0, 1) - 2 * middle + log_seen(0, -1)) / h**2),
        (
            found.mean_width,
            (log_seen(1, 1) - log_seen(1, -1) - log_seen(-1, 1) + log_seen(-1, -1)) / (4 * h**2),
        ),
    ]
    # Central differences: h^2 times higher derivatives, which are of order one, and rounding of 1e-16 / h^2.
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected, atol=5e-6)


def test_far_tails_keep_their_digits():
    """Forty sigma from the mean, P is S(a) phi(u) / u (1 - ...) plus the slope: from Mills' ratio, to a few 1/u^4."""
    window = Window.of((40.0, None), ([40.0, 41.0], [0.5, 1.0]))
    found = window.log_seen(FAMILIES["gaussian"], np.zeros(1), 0.0, 1.0, math.nan)[0]
    u = 40.0
    tail = 1.0 / u - 1.0 / u**3 + 3.0 / u**5 - 15.0 / u**7
    beyond = 1.0 / u**2 - 3.0 / u**4 + 15.0 / u**6  # the integral of (x - u) phi, over phi
    expected = -0.5 * u**2 - 0.5 * math.log(2.0 * math.pi) + math.log(0.5 * tail + 0.5 * beyond)
    assert found == pytest.approx(expected, abs=1e-8)


def test_a_constant_probability_changes_nothing():
    rng = np.random.default_rng(3)
    x = rng.normal(1.0, 2.0, 200)
    whole = mixpipe.fit_mixture(x, 0.5, 1)
    for detection in (([0.0], [0.3]), ([-1.0, 4.0], [1.0, 1.0]), lambda v: np.full_like(v, 0.7)):
        fit = mixpipe.fit_mixture(x, 0.5, 1, detection=detection)
        assert fit.loglik == pytest.approx(whole.loglik, abs=1e-6)
        np.testing.assert_allclose(fit.mixture.means, whole.mixture.means, atol=1e-5)


def test_a_table_with_a_steep_step_is_a_cut():
    rng = np.random.default_rng(4)
    x = rng.normal(0.0, 1.0, 600)
    x = x[x > -0.5]
    cut = mixpipe.fit_mixture(x, 0.3, 1, truncated=(-0.5, None))
    step = mixpipe.fit_mixture(x, 0.3, 1, detection=([-0.5 - 1e-9, -0.5], [0.0, 1.0]))
    rows = mixpipe.fit_mixture(x, 0.3, 1, truncated=(np.full(x.size, -0.5), None))
    for fit in (step, rows):
        assert fit.loglik == pytest.approx(cut.loglik, abs=1e-5)
        np.testing.assert_allclose(fit.mixture.means, cut.mixture.means, atol=1e-4)
        np.testing.assert_allclose(fit.uncertainties.means, cut.uncertainties.means, rtol=1e-3)


TRUTH = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.8])


def logistic(x):
    return 1.0 / (1.0 + np.exp(-2.0 * (x - 1.0)))


def observed(kind, seed, n=4000, truth=TRUTH):
    """Rows of a mixture that are seen through a window: values, errors, and the options that say so."""
    rng = np.random.default_rng(seed)
    err = 0.3 * np.exp(0.3 * rng.standard_normal(n))
    x = truth.sample(n, rng) + err * rng.standard_normal(n)
    if kind == "rows":
        limit = rng.normal(-0.3, 1.0, n)
        seen = x > limit
        return x[seen], err[seen], {"truncated": (limit[seen], None)}
    if kind == "hole":
        seen = (x < 0.5) | (x > 1.5)
        return x[seen], err[seen], {"truncated": [(None, 0.5), (1.5, None)]}
    if kind == "function":
        seen = rng.random(n) < logistic(x)
        return x[seen], err[seen], {"detection": logistic}
    table = ([-2.0, 1.0, 5.0], [0.1, 0.9, 0.5])
    seen = rng.random(n) < np.interp(x, *table)
    return x[seen], err[seen], {"detection": table}


@pytest.mark.parametrize("kind", ["rows", "hole", "table", "function"])
@campaign
def test_the_population_before_the_selection_is_recovered(kind):
    x, err, options = observed(kind, 5)
    fit = mixpipe.fit_mixture(x, err, 2, **options)
    for part in ("weights", "means", "sigmas"):
        off = np.abs(getattr(fit.mixture, part) - getattr(TRUTH, part)) / getattr(fit.uncertainties, part)
        assert np.all(off < 4.0), (part, off)
    cells = Cells.from_rows(x, err, **options)
    # The transform of the truth is uniform: beyond 1.95 / sqrt(n), Kolmogorov's statistic is at its upper 0.1 %.
    u = np.sort(pit(TRUTH, cells))
    assert np.max(np.abs(u - (np.arange(u.size) + 0.5) / u.size)) < 1.95 / math.sqrt(u.size)


@pytest.mark.parametrize("kind", ["rows", "hole", "table"])
@campaign
def test_uncertainties_of_selected_samples_cover_the_truth(kind):
    """Fifty catalogs: the mean pull is uncertain by 0.14, and the 68.3 % of five parameters by some 4 %."""
    pulls = []
    for seed in range(50):
        x, err, options = observed(kind, [6, seed], 2000)
        fit = mixpipe.fit_mixture(x, err, 2, start=TRUTH, **options)
        parts = [
            (getattr(fit.mixture, part) - getattr(TRUTH, part)) / getattr(fit.uncertainties, part)
            for part in ("weights", "means", "sigmas")
        ]
        pulls.append(np.concatenate([parts[0][:1], *parts[1:]]))
    pulls = np.array(pulls)
    assert np.all(np.abs(pulls.mean(axis=0)) < 0.5), pulls.mean(axis=0)
    assert 0.56 < np.mean(np.abs(pulls) < 1.0) < 0.80


# Families whose densities are closed forms also with errors, so that they take no time.
QUICK = [(name, kind) for name in ("uniform", "laplace", "exponential") for kind in ("rows", "hole", "table")]


@pytest.mark.parametrize(
    ("name", "kind"),
    mostly_study_pairs(
        [name for name in NAMES if name != "gaussian"],
        ["rows", "hole", "table"],
        [("laplace", "table"), ("exponential", "hole")],
        [("skew_normal", "rows"), ("skew_normal", "hole"), ("student_t", "rows"), ("student_t", "hole"), *QUICK],
    ),
)
def test_components_of_other_families_are_recovered(name, kind):
    shape = SHAPES.get(name, math.nan)
    truth = Mixture([1.0], [1.5], [1.0], (name,), [shape])
    x, err, options = observed(kind, 9, 1500, truth)
    fit = mixpipe.fit_mixture(x, err, 1, family=name, **options)
    assert fit.loglik >= GeneralEngine().loglik(Cells.from_rows(x, err, **options), truth) - 1e-6
    for part in ("means", "sigmas"):
        off = abs(getattr(fit.mixture, part)[0] - getattr(truth, part)[0]) / getattr(fit.uncertainties, part)[0]
        assert off < 4.0, (part, off)


@campaign
def test_the_bootstrap_and_the_quality_take_the_window():
    """With 40 draws, the bootstrap's standard deviations are uncertain by 11 %: they agree within four times that."""
    x, err, options = observed("table", 10, 1500)
    cells = Cells.from_rows(x, err, **options)
    fit = mixpipe.fit_mixture(cells, n_components=2)
    found = bootstrap(cells, fit, 40, 1, n_threads=1).uncertainties()
    np.testing.assert_allclose(found.means, fit.uncertainties.means, rtol=0.45)
    np.testing.assert_allclose(found.sigmas, fit.uncertainties.sigmas, rtol=0.45)
    assert min(quality_pvalues(fit, cells, 39, n_threads=1)) > 0.05
    # As if all values had been seen, the same mixture is rejected.
    whole = Cells.from_rows(x, err)
    assert min(quality_pvalues(fit, whole, 39, n_threads=1, observed=lambda: assess(fit.mixture, whole))) < 0.05


@pytest.mark.parametrize("mixture", [TRUTH, Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.8], ["laplace"] * 2)])
@pytest.mark.parametrize("kind", ["rows", "hole", "table"])
def test_drawn_catalogs_are_seen_through_the_window(kind, mixture):
    x, err, options = observed(kind, 7)
    cells = Cells.from_rows(x, err, **options)
    drawn = draw_catalog(mixture, cells, np.random.default_rng(8))
    assert np.all(drawn.window.probability(drawn.x) > 0.0)
    u = np.sort(pit(mixture, drawn))
    assert np.max(np.abs(u - (np.arange(u.size) + 0.5) / u.size)) < 1.95 / math.sqrt(u.size)


def test_a_function_is_tabulated_closely():
    x = np.linspace(-3.0, 5.0, 50)
    window = Window.of(None, logistic, x)
    at = np.linspace(-40.0, 40.0, 4001)
    np.testing.assert_allclose(window.probability(at), logistic(at), atol=2e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truncated": ([0.0, np.nan, 0.0], None)}, "truncated has 1 missing bounds, the first at index 1"),
        ({"truncated": ([0.0, 0.0], None)}, "truncated has bounds of shape .2,., expected 3"),
        ({"truncated": (np.array([0.0, 2.5, 0.0]), None)}, "1 values lie outside the window"),
        ({"truncated": [(None, 2.0), (1.0, None)]}, "increasing intervals that do not overlap"),
        ({"truncated": [(None, 1.5), (2.5, None)]}, "1 values lie outside the window"),
        ({"detection": ([0.0, 1.0], [0.5])}, "as many values as probabilities, found 2 and 1"),
        ({"detection": ([1.0, 0.0], [0.5, 1.0])}, "finite values that increase"),
        ({"detection": ([0.0, 1.0], [0.5, 1.2])}, "a probability of 1.2 at 1; expected 0 to 1"),
        ({"detection": ([0.0, 1.0], [0.0, 0.0])}, "zero everywhere"),
        ({"detection": ([1.0, 1.5], [0.0, 1.0])}, "where nothing is detected"),
        ({"detection": "half"}, "values and their probabilities, or a function"),
        ({"detection": lambda x: 0.5}, "one finite probability for each value"),
        ({"detection": ([0.0], [1.0]), "limits": [0, 1, 0]}, "limits and a window together"),
    ],
)
def test_what_no_window_can_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mixpipe.fit_mixture([1.0, 2.0, 3.0], 0.1, 1, **{**options, "truncated": as_arrays(options.get("truncated"))})


def as_arrays(truncated):
    if isinstance(truncated, tuple):
        return tuple(np.array(bound) if isinstance(bound, list) else bound for bound in truncated)
    return truncated


def test_cells_with_windows_are_taken_apart_and_joined():
    cells = Cells.from_rows(X, ERR, truncated=(LOW, None), detection=TABLE)
    again = cells[np.arange(6) < 2] + cells[np.arange(6) >= 2]
    assert again.window == cells.window
    assert cells.sketched(1.0) is cells
    with pytest.raises(ValueError, match="with and without a window"):
        cells + Cells.from_rows(X, ERR)
