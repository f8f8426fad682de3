"""The general likelihood: any family, limits, truncated samples, a background; and the fits made with it."""

import itertools
import math
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import mixpipe
from mixpipe.fitting.general.engine import GeneralEngine
from mixpipe.fitting.general.fit import NAMES
from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES as EVERY_FAMILY
from mixpipe.model.mixture import Mixture
from tests.campaign import campaign, mostly_study_pairs, study

# A power law, whose parameters mean something else, has tests of its own.
FAMILIES = {name: family for name, family in EVERY_FAMILY.items() if name != "power_law"}

pytestmark = pytest.mark.filterwarnings("error")

SHAPES = {"student_t": 4.0, "skew_normal": 3.0}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)


def plain(name, mean, sigma, shape):
    """Distribution of true values by scipy.stats, and where it has kinks."""
    if name == "uniform":
        half = math.sqrt(3.0) * sigma
        return stats.uniform(mean - half, 2.0 * half), [mean - half, mean + half]
    if name == "student_t":
        return stats.t(shape, mean, sigma), []
    if name == "laplace":
        return stats.laplace(mean, sigma / math.sqrt(2.0)), [mean]
    if name == "exponential":
        return stats.expon(mean - sigma, sigma), [mean - sigma]
    if name == "skew_normal":
        unit = stats.skewnorm(shape)
        scale = sigma / unit.std()
        return stats.skewnorm(shape, mean - scale * unit.mean(), scale), []
    if name == "lognormal":
        width = math.sqrt(math.log1p((sigma / mean) ** 2))
        return stats.lognorm(width, 0.0, mean * math.exp(-0.5 * width**2)), [0.0]
    return stats.norm(mean, sigma), []


def probability(component, err, seen):
    """Integral over true values of a component's density times `seen(z)`, by panels between the kinks."""
    distribution, kinks = plain(*component)
    far = np.geomspace(30.0, 1e7, 40)
    ends = np.unique(np.concatenate([-far, np.linspace(-30.0, 30.0, 121), far, kinks]))
    half = 0.5 * np.diff(ends)
    z = (0.5 * (ends[1:] + ends[:-1]))[:, None] + half[:, None] * NODES
    return float(((distribution.pdf(z) * seen(z)) @ WEIGHTS) @ half)


def oracle(components, weights, x, err, limits, window):
    """The log-likelihood row by row from its definition; every row has an error."""
    total = 0.0
    low, high = window or (-np.inf, np.inf)
    for xi, ei, li in zip(x, err, limits, strict=True):

        def seen(z, xi=xi, ei=ei, li=li):
            return {0: stats.norm.pdf, -1: stats.norm.cdf, 1: stats.norm.sf}[li](xi, z, ei)

        def inside(z, ei=ei):
            return stats.norm.cdf(high, z, ei) - stats.norm.cdf(low, z, ei)

        total += math.log(sum(w * probability(c, ei, seen) for w, c in zip(weights, components, strict=True)))
        if window:
            total -= math.log(sum(w * probability(c, ei, inside) for w, c in zip(weights, components, strict=True)))
    return total


def components_of(name):
    shape = SHAPES.get(name, math.nan)
    return [(name, 2.0, 0.8, shape), (name, 5.0, 1.5, shape), ("uniform", 4.0, 3.0, math.nan)]


def point_of(name):
    components = components_of(name)
    return Point(
        tuple(FAMILIES[c[0]] for c in components),
        (False, False, True),
        np.array([0.5, 0.3, 0.2]),
        *(np.array([c[k] for c in components]) for k in (1, 2, 3)),
    )


X = np.array([0.4, 1.9, 2.5, 4.4, 6.3, 8.8])
ERR = np.array([0.3, 0.6, 0.4, 0.9, 0.5, 0.7])
KINDS = {
    "values": ([0] * 6, None),
    "limits": ([0, -1, 1, -1, 0, 1], None),
    "between": ([0] * 6, (0.2, 9.0)),
    "above": ([0] * 6, (0.2, math.inf)),
    "below": ([0] * 6, (-math.inf, 9.0)),
}


# Windows that are not one interval for all rows; tests/model/test_window.py has their probabilities.
SELECTED = {
    "bounds of rows": {"truncated": (X - np.array([1.0, 0.3, 2.0, 0.1, 5.0, np.inf]), None)},
    "hole": {"truncated": [(None, 3.0), (4.0, None)]},
    "detection": {"detection": ([0.0, 2.0, 3.0, 7.0], [0.2, 0.4, 1.0, 0.7])},
}


def cells_of(kind, weights=None):
    if kind in SELECTED:
        return Cells.from_rows(X, ERR, weights, **SELECTED[kind])
    limits, window = KINDS[kind]
    return Cells.from_rows(X, ERR, weights, limits=limits, truncated=window)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_loglik_equals_numerical_integration(name, kind):
    limits, window = KINDS[kind]
    point = point_of(name)
    expected = oracle(components_of(name), point.weights, X, ERR, limits, window)
    cells = cells_of(kind)
    # Panels of the oracle are exact to rounding but for tails beyond 1e7.
    assert float(GeneralLikelihood(cells).log_rows(point).sum()) == pytest.approx(expected, abs=1e-9)
    mixture = Mixture(point.weights, point.means, point.sigmas, tuple(f.name for f in point.families), point.shapes)
    assert GeneralEngine().loglik(cells, mixture) == pytest.approx(expected, abs=1e-9)


DERIVED = ("values", "limits", "between", "above", *SELECTED)


def take_components_once(likelihood):
    """Keep the values of each component: mixtures of differences share most of them."""
    component, known = likelihood.component, {}

    def kept(point, index, rows, *, inside=False):
        parameters = np.array([point.means[index], point.sigmas[index], point.shapes[index]]).tobytes()
        key = index, parameters, rows.start, inside
        if key not in known:
            known[key] = component(point, index, rows, inside=inside)
        return known[key]

    likelihood.component = kept


@pytest.mark.parametrize(
    ("name", "kind"),
    mostly_study_pairs(
        FAMILIES,
        DERIVED,
        [(name, kind) for name in FAMILIES for kind in DERIVED if kind == "values" or name == "gaussian"],
        [(name, kind) for name in FAMILIES for kind in DERIVED if kind != "detection"],
    ),
)
def test_gradient_and_hessian_are_the_derivatives_of_the_loglik(name, kind):
    """By differences of log_rows over 16 times the step of the code; weights vary freely in their logarithms."""
    counts = np.array([1.0, 2.0, 0.5, 1.0, 3.0, 1.0])
    likelihood, differing = (GeneralLikelihood(cells_of(kind, counts)) for _ in range(2))
    take_components_once(differing)
    point = point_of(name)
    units = likelihood.units(point)
    places = [(j, a) for j, unit in enumerate(units) for a in range(unit.size)]

    def loglik(change):
        at = point
        weights = point.weights.copy()
        for (j, a), value in zip(places, change, strict=True):
            if a == 0:
                weights[j] *= math.exp(value)
            else:
                own = np.zeros(units[j].size - 1)
                own[a - 1] = value * units[j][a]
                at = likelihood.moved(at, j, own)
        total = weights.sum()
        own_sum = likelihood.n_data * (math.log(total) - (total - 1.0))
        # What does not depend on the sum of the weights, and the term that fixes it.
        return float(likelihood.counts @ differing.log_rows(replace(at, weights=weights / total))) + own_sum

    h, n = 3e-3, len(places)
    unit = np.eye(n) * h
    gradient = np.array([(loglik(e) - loglik(-e)) / (2 * h) for e in unit])
    hessian = np.empty((n, n))
    for a, b in itertools.combinations_with_replacement(range(n), 2):
        both, apart = unit[a] + unit[b], unit[a] - unit[b]
        rise = loglik(both) + loglik(-both) - loglik(apart) - loglik(-apart)
        hessian[a, b] = hessian[b, a] = rise / (4 * h * h)
    found = likelihood.expansion(point)
    assert found.loglik == pytest.approx(loglik(np.zeros(n)), abs=1e-10)
    # Truncation of these differences: third and fourth derivatives of some tens, times h^2 / 6 and h^2 / 3.
    np.testing.assert_allclose(found.gradient, gradient, atol=5e-4)
    np.testing.assert_allclose(found.hessian, hessian, atol=5e-3)
    rough = likelihood.expansion(point, rough=True)
    assert rough.loglik == pytest.approx(found.loglik, abs=1e-10)
    # One-sided differences: half a step times the second derivatives.
    np.testing.assert_allclose(rough.gradient, found.gradient, atol=5e-3)
    assert np.linalg.eigvalsh(rough.hessian).max() < 1e-9


def two_gaussians(n, seed, scale=1.0, offset=0.0):
    rng = np.random.default_rng(seed)
    err = 0.4 * np.exp(0.4 * rng.standard_normal(n))
    truth = Mixture([0.4, 0.6], [0.0, 4.0], [1.0, 0.6])
    return offset + scale * (truth.sample(n, rng) + err * rng.standard_normal(n)), scale * err


@pytest.mark.parametrize(
    ("n", "scale", "offset", "outlier"), [(60, 1, 0, None), (500, 1e3, -5e4, None), (500, 1, 0, 1e4)]
)
def test_gaussians_by_the_general_engine_are_those_of_the_fast_one(n, scale, offset, outlier):
    x, err = two_gaussians(n, n, scale, offset)
    if outlier is not None:
        x[0] = outlier
    fast = mixpipe.fit_mixture(x, err, 2, n_threads=1)
    general = mixpipe.fit_mixture(x, err, 2, truncated=(-1e9, 1e9), n_threads=1)
    assert general.loglik == pytest.approx(fast.loglik, abs=1e-6 * max(1.0, abs(fast.loglik) * 1e-9))
    assert general.n_params == fast.n_params == 5
    # Within 1e-6 nats parameters agree to some thousandth of their uncertainty.
    for part in ("weights", "means", "sigmas"):
        got, expected = getattr(general.mixture, part), getattr(fast.mixture, part)
        unc = getattr(fast.uncertainties, part)
        known = unc > 0
        assert np.all(np.abs(got - expected)[known] <= 2e-3 * unc[known])
        np.testing.assert_array_equal(got[np.isnan(unc)], expected[np.isnan(unc)])
        np.testing.assert_allclose(getattr(general.uncertainties, part), unc, rtol=2e-3)


def draw(name, n, rng, shape=None):
    return FAMILIES[name].sample(n, 3.0, 1.2, SHAPES.get(name) if shape is None else shape, rng)


@pytest.mark.parametrize("name", NAMES)
@study
def test_pulls_of_every_family_are_standard_normal(name):
    """24 catalogs: their mean pull is uncertain by 0.20 and its scatter by 0.15; both within some 3.5 of that."""
    n_catalogs, n = 24, 300
    pulls = []
    for seed in range(n_catalogs):
        rng = np.random.default_rng([7, seed])
        err = 0.3 * np.exp(0.3 * rng.standard_normal(n))
        x = draw(name, n, rng) + err * rng.standard_normal(n)
        fit = mixpipe.fit_mixture(
            x, err, n_components=1, family=name, truncated=None if name != "gaussian" else (-1e9, 1e9)
        )
        unc = fit.uncertainties
        own = [(fit.mixture.means[0] - 3.0) / unc.means[0], math.log(fit.mixture.sigmas[0] / 1.2) * 1.2 / unc.sigmas[0]]
        if name in SHAPES:
            shape = fit.mixture.shapes[0]
            if name == "student_t":
                # The likelihood is nearly normal in 1 / dof; its uncertainty by the chain rule.
                own.append((1.0 / SHAPES[name] - 1.0 / shape) * shape**2 / unc.shapes[0])
            else:
                own.append((shape - SHAPES[name]) / unc.shapes[0])
        pulls.append(own)
        assert fit.converged
        assert unc.weights[0] == 0.0
    pulls = np.array(pulls)
    if name in SHAPES:
        # A shape may run away in one or the other of small catalogs: the middle of the pulls counts.
        pulls = pulls[np.all(np.isfinite(pulls), axis=1)]
        assert len(pulls) >= n_catalogs - 3
    assert np.all(np.abs(np.median(pulls, axis=0)) < 0.9), np.median(pulls, axis=0)
    spread = 0.741 * np.subtract(*np.percentile(pulls, [75, 25], axis=0))
    assert np.all((spread > 0.45) & (spread < 1.8)), spread


def within(fit, truth, n_sigma):
    """Whether all parameters are within so many of their uncertainties."""
    deviations = []
    for part in ("weights", "means", "sigmas"):
        unc = getattr(fit.uncertainties, part)
        known = unc > 0
        deviations.append(np.abs(getattr(fit.mixture, part) - getattr(truth, part))[known] / unc[known])
    return np.all(np.concatenate(deviations) < n_sigma), deviations


def test_a_sample_cut_at_parallax_20_gives_back_the_uncut_parameters():
    truth = Mixture([0.7, 0.3], [19.0, 27.0], [2.0, 1.5])
    rng = np.random.default_rng(11)
    n = 8000
    err = 0.8 * np.exp(0.4 * rng.standard_normal(n))
    parallax = truth.sample(n, rng) + err * rng.standard_normal(n)
    seen = parallax >= 20.0
    x, err = parallax[seen], err[seen]
    assert 0.4 < seen.mean() < 0.6
    fit = mixpipe.fit_mixture(x, err, 2, truncated=(20.0, math.inf))
    ok, deviations = within(fit, truth, 4.0)
    assert ok, deviations
    ignored = mixpipe.fit_mixture(x, err, 2)
    assert abs(ignored.mixture.means[0] - 19.0) > 10.0 * ignored.uncertainties.means[0]


def test_a_window_over_two_groups_is_no_far_tail():
    """One component runs away to a mean far outside; two must not follow it."""
    truth = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7])
    rng = np.random.default_rng(5)
    err = 0.3 * np.exp(0.4 * rng.standard_normal(3000))
    x = truth.sample(3000, rng) + err * rng.standard_normal(3000)
    seen = (x > -0.5) & (x < 4.5)
    cells = Cells.from_rows(x[seen], err[seen], truncated=(-0.5, 4.5))
    fit = mixpipe.fit_mixture(cells, n_components=2)
    assert fit.loglik >= GeneralEngine().loglik(cells, truth)
    ok, deviations = within(fit, truth, 4.0)
    assert ok, deviations


def test_detection_limits_are_neither_values_nor_nothing():
    truth = Mixture([0.6, 0.4], [0.0, 3.0], [1.0, 0.8])
    rng = np.random.default_rng(12)
    n = 3000
    err = 0.4 * np.exp(0.3 * rng.standard_normal(n))
    x = truth.sample(n, rng) + err * rng.standard_normal(n)
    # Each row has a detection limit of its own; what lies below is known to lie below.
    limit = rng.normal(0.4, 0.7, n)
    hidden = x < limit
    assert 0.3 < hidden.mean() < 0.5
    x = np.where(hidden, limit, x)
    flags = np.where(hidden, -1, 0)
    fit = mixpipe.fit_mixture(x, err, 2, limits=flags)
    ok, deviations = within(fit, truth, 4.0)
    assert ok, deviations
    for wrong in (mixpipe.fit_mixture(x[~hidden], err[~hidden], 2), mixpipe.fit_mixture(x, err, 2)):
        assert not within(wrong, truth, 6.0)[0]
    # The mirror image has lower limits.
    mirrored = mixpipe.fit_mixture(-x, err, 2, limits=-flags)
    assert mirrored.loglik == pytest.approx(fit.loglik, abs=1e-5)
    np.testing.assert_allclose(mirrored.mixture.means, -fit.mixture.means[::-1], atol=1e-4)


@campaign
def test_bic_prefers_the_family_that_generated_the_data():
    rng = np.random.default_rng(13)
    err = 0.3 * np.exp(0.3 * rng.standard_normal(1000))
    x = rng.standard_t(3, 1000) + err * rng.standard_normal(1000)
    start = time.perf_counter()
    selection = mixpipe.choose_n_components(x, err, families=["gaussian", "student_t"], max_components=3)
    # Six seconds on one slow core; a search that evaluates the Hessian at every step of the race takes twenty.
    assert time.perf_counter() - start < 60.0
    assert selection.best.mixture.families == ("student_t",)
    assert selection.best.mixture.shapes[0] == pytest.approx(3.0, abs=4.0 * selection.best.uncertainties.shapes[0])
    assert [fit.n_params for fit in selection.fits] == [2, 5, 8, 3, 7, 11]
    table = selection.table()
    assert table["bic_weight"].sum() == pytest.approx(1.0)
    assert table["family"].tolist() == ["gaussian"] * 3 + ["student_t"] * 3
    x, err = two_gaussians(1000, 14)
    best = mixpipe.choose_n_components(x, err, families=["student_t", "gaussian"], max_components=2).best
    assert best.mixture.families == ("gaussian", "gaussian")


def test_a_background_is_recovered_and_counted():
    rng = np.random.default_rng(15)
    n = 2000
    truth = Mixture([0.3, 0.7], [10.0, 12.0], [1.0, 10.0 / math.sqrt(3.0)], ("gaussian", "uniform"))
    err = np.full(n, 0.3)
    x = truth.sample(n, rng) + err * rng.standard_normal(n)
    selection = mixpipe.choose_n_components(x, err, background=(2.0, 22.0), max_components=3)
    fit = selection.best
    assert fit.mixture.families == ("gaussian", "uniform")
    assert fit.n_params == 3
    assert [f.n_components for f in selection.fits if "uniform" in f.mixture.families] == [2, 3]
    assert fit.mixture.sigmas[1] == pytest.approx(10.0 / math.sqrt(3.0), rel=1e-12)
    ok, deviations = within(fit, truth, 4.0)
    assert ok, deviations
    assert np.isnan(fit.uncertainties.means[1])
    assert fit.mixture.component(1).families == ("uniform",)
    of_values = mixpipe.fit_mixture(x, err, 2, background="uniform")
    assert of_values.mixture.means[1] == pytest.approx(0.5 * (x.min() + x.max()), rel=1e-12)


def test_the_outermost_values_belong_to_their_background():
    """Exact values, and a background that ends at the first and the last; sketched or not, whatever the rounding."""
    for seed in range(20):
        rng = np.random.default_rng([24, seed])
        x = rng.normal(0.0, 10.0 ** rng.uniform(-3, 3)) + 10.0 ** rng.uniform(-3, 3) * rng.uniform(-1.0, 1.0, 60)
        fit = mixpipe.fit_mixture(x, n_components=2, background="uniform")
        flat = fit.mixture.component(fit.mixture.families.index("uniform"))
        assert np.isfinite(flat.logpdf([x.min(), x.max()])).all()
    x = np.random.default_rng(25).uniform(0.0, 1.0, 5000)
    points = Cells.from_rows(x).sketched(0.05, within=True)
    assert len(points) < 1000
    assert points.x.min() >= x.min() and points.x.max() <= x.max()


def test_limits_and_windows_of_other_families():
    rng = np.random.default_rng(16)
    n = 3000
    z = np.exp(0.5 * rng.standard_normal(n))
    err = 0.1 * np.ones(n)
    x = z + err * rng.standard_normal(n)
    mean, sigma = math.exp(0.125), math.exp(0.125) * math.sqrt(math.expm1(0.25))
    hidden = x < 0.8
    censored = mixpipe.fit_mixture(
        np.where(hidden, 0.8, x), err, n_components=1, family="lognormal", limits=np.where(hidden, -1, 0), n_threads=1
    )
    cut = mixpipe.fit_mixture(
        x[~hidden], err[~hidden], n_components=1, family="lognormal", truncated=(0.8, np.inf), n_threads=1
    )
    truth = Mixture([1.0], [mean], [sigma], ("lognormal",))
    for fit in (censored, cut):
        ok, deviations = within(fit, truth, 4.0)
        assert ok, deviations


def test_exact_exponentials_have_an_edge():
    rng = np.random.default_rng(17)
    n = 2000
    x = 5.0 + rng.exponential(2.0, n)
    fit = mixpipe.fit_mixture(x, n_components=1, family="exponential")
    assert fit.converged
    # The edge is the smallest value to some sigma / n; the scale is known to sigma / sqrt(n).
    assert fit.mixture.means[0] - fit.mixture.sigmas[0] == pytest.approx(5.0, abs=0.02)
    assert fit.mixture.sigmas[0] == pytest.approx(2.0, abs=4.0 * 2.0 / math.sqrt(n))


def test_a_shape_at_its_bound_and_widths_at_the_floor_are_named():
    rng = np.random.default_rng(18)
    x = np.clip(rng.standard_normal(400), -2.0, 2.0)
    fit = mixpipe.fit_mixture(x, 0.2, n_components=1, family="student_t")
    assert any("dof of component 1 is at its bound" in warning for warning in fit.warnings)
    assert np.isnan(fit.uncertainties.shapes[0])
    assert np.isfinite(fit.uncertainties.means[0])
    narrow = mixpipe.fit_mixture(0.3 * rng.standard_normal(200), 0.5, n_components=1, family="laplace")
    assert narrow.boundary.tolist() == [True]
    assert narrow.mixture.sigmas[0] == 0.0
    assert np.isnan(narrow.uncertainties.sigmas[0])


AWKWARD = {
    "three rows": dict(x=[1.0, 2.0, 4.0], err=0.1),
    "one row": dict(x=[1.0], err=0.1),
    "all equal": dict(x=[3.0] * 20, err=0.2),
    "all equal, exact": dict(x=[3.0] * 20),
    "all upper limits": dict(x=np.linspace(1.0, 2.0, 10), err=0.1, limits=[-1] * 10),
    "all lower limits, exact": dict(x=np.linspace(1.0, 2.0, 10), limits=[1] * 10),
    "limits on both sides": dict(x=[1.0, 2.0, 3.0, 4.0], err=0.1, limits=[1, 1, -1, -1]),
    "one value among limits": dict(x=np.linspace(1.0, 2.0, 10), err=0.1, limits=[0] + [-1] * 9),
    "a limit far above": dict(x=[*np.linspace(1.0, 3.0, 30), 1e12], err=0.1, limits=[0] * 30 + [-1]),
    "a limit far below": dict(x=[*np.linspace(1.0, 3.0, 30), 1e-3], err=0.1, limits=[0] * 30 + [-1]),
    "an outlier": dict(x=[*np.linspace(1.0, 3.0, 30), 1e5], err=0.01),
    "some errors zero": dict(x=np.linspace(1.0, 3.0, 30), err=[0.0] * 10 + [0.2] * 20),
    "errors of all sizes": dict(x=np.linspace(1.0, 3.0, 30), err=np.geomspace(1e-9, 1e6, 30)),
    "weights of zero": dict(x=[*np.linspace(1.0, 3.0, 30), 7.0], err=0.1, weights=[1.0] * 30 + [0.0]),
    "a narrow window": dict(x=np.linspace(2.0, 2.1, 30), err=0.5, truncated=(2.0, 2.1)),
    "a window at its edge": dict(x=np.linspace(2.0, 4.0, 30) ** 2, err=0.1, truncated=(4.0, np.inf)),
    "tiny numbers": dict(x=1e-12 * np.linspace(1.0, 3.0, 30), err=1e-13),
    "huge numbers": dict(x=1e15 * np.linspace(1.0, 3.0, 30), err=1e14),
    "far from zero": dict(x=1e6 + np.linspace(1.0, 3.0, 30), err=0.1),
    "rounded": dict(x=np.repeat([1.0, 1.1, 1.2, 5.0], 10)),
}


# Every case with Gaussians, and every family with the first and the last case.
SOME = [(name, case) for name in NAMES for case in AWKWARD if name == "gaussian" or case in ("three rows", "rounded")]


# Integrals over windows far from the values take long.
OTHERS = [(name, case) for name in NAMES for case in AWKWARD if case not in ("a narrow window", "a limit far below")]


@pytest.mark.parametrize(("name", "case"), mostly_study_pairs(NAMES, AWKWARD, SOME, OTHERS))
def test_awkward_data_give_a_fit_or_a_plain_refusal(name, case):
    data = dict(AWKWARD[case])
    x = data.pop("x")
    background = (0.0, 10.0) if case == "three rows" else None
    selection = mixpipe.choose_n_components(
        x, data.pop("err", None), **data, families=[name], max_components=2, n_threads=1, background=background
    )
    for fit in selection.fits:
        assert np.isfinite(fit.loglik)
        assert np.all(np.isfinite(fit.mixture.means))
        assert fit.mixture.weights.sum() == pytest.approx(1.0)
    if len(selection.fits) == 2:
        assert selection.fits[1].loglik >= selection.fits[0].loglik - 1e-3


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(truncated=(1.5, 9.0)), "outside the window"),
        (dict(truncated=(2.0, 2.0)), "increasing"),
        (dict(truncated=(0.0, 9.0), limits=[-1, 0, 0]), "together"),
        (dict(limits=[2, 0, 0]), "limits must be -1, 0 or 1"),
        (dict(limits=[0.5, 0, 0]), "limits must be -1, 0 or 1"),
        (dict(limits=[0, 0]), "one for each value"),
        (dict(family="cauchy"), "unknown family 'cauchy'"),
        (dict(family="uniform"), "unknown family 'uniform'"),
        (dict(background="flat"), "'uniform' or two bounds"),
        (dict(background=(3.0, 1.0)), "increasing"),
        (dict(background="uniform", n_components=1), "at least 2 components"),
        (dict(family="lognormal", x=[-1.0, 1.0, 2.0], err=0.0), "positive values"),
        (dict(family="lognormal", x=[-1.0, 1.0, 2.0], err=0.0, limits=[-1, 0, 0]), "positive values"),
        (dict(family="laplace", sigma_floor=-0.1), "sigma_floor must be finite and >= 0"),
    ],
)
def test_contradictions_are_refused(kwargs, message):
    data = {"x": [1.0, 2.0, 3.0], "err": 0.5, "n_components": 2, **kwargs}
    with pytest.raises(ValueError, match=message):
        mixpipe.fit_mixture(**data)


def test_rows_of_weight_zero_and_repeated_rows_count_as_they_should():
    x, err = two_gaussians(200, 19)
    flags = np.where(x < 0.0, -1, 0)
    counts = np.resize([1.0, 2.0, 0.0], 200)
    weighted = mixpipe.fit_mixture(x, err, 2, limits=flags, weights=counts)
    times = counts.astype(int)
    repeated = mixpipe.fit_mixture(np.repeat(x, times), np.repeat(err, times), 2, limits=np.repeat(flags, times))
    assert weighted.n_data == repeated.n_data == counts.sum()
    assert weighted.loglik == pytest.approx(repeated.loglik, abs=1e-5)
    np.testing.assert_allclose(weighted.uncertainties.means, repeated.uncertainties.means, rtol=1e-4)


def test_many_limits_are_searched_on_a_sketch_with_the_same_result():
    """More rows than the search takes; limits of weight zero have no place in a sketch."""
    x, err = two_gaussians(6000, 20)
    flags = np.where(x < 0.3, -1, 0)
    x = np.where(flags < 0, 0.3, x)
    flags[5:9] = 1
    counts = np.ones(x.size)
    counts[5:9] = 0.0
    fit = mixpipe.fit_mixture(x, err, 2, limits=flags, weights=counts)
    # Sampling: 6000 rows know these means to some 0.03.
    np.testing.assert_allclose(fit.mixture.means, [0.0, 4.0], atol=0.15)
    assert fit.converged


def test_results_do_not_depend_on_threads_or_on_the_run():
    x, err = two_gaussians(40_000, 21)
    flags = np.where(x < -1.0, -1, 0).astype(np.int8)
    point = Point(
        (FAMILIES["laplace"],) * 2,
        (False, False),
        np.array([0.4, 0.6]),
        np.array([0.0, 4.0]),
        np.array([1.0, 0.6]),
        np.full(2, np.nan),
    )
    cells = Cells.from_rows(x, err, limits=flags)
    one, two = (GeneralLikelihood(cells, n_threads=n).expansion(point) for n in (1, 2))
    assert one.loglik == two.loglik
    np.testing.assert_array_equal(one.hessian, two.hessian)
    small = x[:300], err[:300]
    first, second = (mixpipe.fit_mixture(*small, 2, family="skew_normal", n_threads=n) for n in (1, 2))
    assert (first.loglik, repr(first.mixture)) == (second.loglik, repr(second.mixture))


def test_components_come_sorted_by_mean():
    x, err = two_gaussians(300, 22)
    for background in (None, (-4.0, 8.0)):
        fit = mixpipe.fit_mixture(x, err, 3, family="laplace", background=background)
        assert np.all(np.diff(fit.mixture.means) >= 0)
        share = fit.mixture.responsibilities(x, err).mean(axis=0)
        # At a maximum the weight of each component is its mean responsibility.
        np.testing.assert_allclose(share, fit.mixture.weights, atol=2e-4)


def test_progress_is_told():
    seen = []
    x, err = two_gaussians(60, 23)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixpipe.choose_n_components(x, err, families=["laplace"], max_components=3, progress=seen.append)
    assert seen == [1, 2, 3]
