"""Component families against brute-force convolution of the plain densities of scipy.stats."""

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from mixpipe.model.families import FAMILIES as ALL
from tests.campaign import mostly_campaign

# A power law, whose parameters mean something else, has tests of its own.
FAMILIES = {name: family for name, family in ALL.items() if name != "power_law"}
SHAPES = {"student_t": (0.5, 1.0, 3.0, 12.0, 80.0, 1000.0), "skew_normal": (-50.0, -2.0, 0.0, 0.7, 10.0)}
# Mean and sigma of the lognormals, from nearly normal to a long tail; the others are at mean 3 with sigma 2.
LOGNORMALS = ((1.0, 1e-3), (1.0, 0.1), (3.0, 2.0), (1.0, 7.0))
RATIOS = (1e-4, 1e-2, 0.3, 1.0, 4.0, 1e2, 1e4)
COMPONENTS = [
    (name, *component, shape)
    for name in FAMILIES
    for component in (LOGNORMALS if name == "lognormal" else ((3.0, 2.0),))
    for shape in SHAPES.get(name, (None,))
]
# Offsets from the mean in total widths; the odd digits keep clear of kinks.
SCORES = np.array([-40.0, -8.1, -2.03, -0.91, 0.0, 1.71, 3.3, 12.3, 40.0])


def true_values(name, mean, sigma, shape):
    """The distribution of the true values, less its mean, from scipy.stats; the lognormal at its mean."""
    if name == "gaussian":
        return stats.norm(0.0, sigma)
    if name == "uniform":
        return stats.uniform(-math.sqrt(3.0) * sigma, 2.0 * math.sqrt(3.0) * sigma)
    if name == "student_t":
        return stats.t(shape, 0.0, sigma)
    if name == "laplace":
        return stats.laplace(0.0, sigma / math.sqrt(2.0))
    if name == "exponential":
        return stats.expon(-sigma, sigma)
    if name == "skew_normal":
        scale = sigma / stats.skewnorm(shape).std()
        return stats.skewnorm(shape, -scale * stats.skewnorm(shape).mean(), scale)
    s2 = math.log1p((sigma / mean) ** 2)
    return stats.lognorm(math.sqrt(s2), 0.0, mean * math.exp(-0.5 * s2))


def log_plain(name, mean, sigma, shape):
    """Log density of offsets from the mean; scipy's skewnorm underflows in its tail, so its definition stands here."""
    distribution = true_values(name, mean, sigma, shape)
    if name == "skew_normal":
        loc, scale = distribution.args[1], distribution.args[2]
        return lambda v: math.log(2.0) + stats.norm.logpdf(v, loc, scale) + stats.norm.logcdf(shape * (v - loc) / scale)
    if name == "lognormal":
        # As the density of ln z, whose variable keeps its digits where z is close to the mean.
        s, median = distribution.args[0], distribution.args[2]

        def log_density(v):
            z = mean + v
            with np.errstate(divide="ignore", invalid="ignore"):
                log_ratio = math.log(mean / median) + np.log1p(v / mean)
                inside = stats.norm.logpdf(log_ratio, 0.0, s) - np.log(z)
            return np.where(z > 0.0, inside, -np.inf)

        return log_density
    if name == "student_t":  # ten times faster than scipy's
        return lambda v: distribution.logpdf(0.0) - 0.5 * (shape + 1.0) * np.log1p((v / sigma) ** 2 / shape)
    return distribution.logpdf


# Edges of panels in units of a width: even in the middle, geometric out to where power laws have fallen to nothing.
PANELS = np.concatenate([np.arange(0.0, 40.0, 0.5), 40.0 * 1.25 ** np.arange(60), 3e7 * 1.6 ** np.arange(150)])
PANELS = np.concatenate([-PANELS[:0:-1], PANELS])
LEGENDRE = np.polynomial.legendre.leggauss(16)


def brute(component, offset, err, log_kernel):
    """Log of the integral over true values of density x kernel, and their mean offset and variance under it.

    By Gauss-Legendre panels, finer than both the density and the kernel wherever one of them varies; a second pass adds
    panels around the peak that the first one finds. `log_kernel` is a function of w = z - x. Positions are measured
    from the centre of the narrower factor, so that its argument keeps its digits.
    """
    name, mean, sigma, shape = component
    distribution, log_density = true_values(*component), log_plain(*component)
    low, high = distribution.support()
    marks = [sigma * PANELS, [0.0]]
    if name == "lognormal":
        low, high = -mean, np.inf
        s, median = distribution.args[0], distribution.args[2]
        logs = np.concatenate([np.clip(s * PANELS, -300, 300), np.arange(-60.0, 20.0, 0.25)])
        marks += [median * np.exp(logs) - mean]
    if name == "skew_normal":
        marks += [distribution.args[1] + distribution.args[2] / (1.0 + abs(shape)) * PANELS]
    # The tail of the error's density beyond an edge is far narrower than the error.
    closer = min(sigma, err) * 0.5 ** np.arange(40)
    marks += [k + sign * closer for k in (low, high) if np.isfinite(k) for sign in (-1, 0, 1)]
    origin = offset if err < sigma else 0.0
    marks = [np.asarray(m) - origin for m in marks] + [err * PANELS + (offset - origin)]
    for _ in range(2):
        edges = np.unique(np.concatenate(marks))
        edges = edges[(edges >= low - origin) & (edges <= high - origin)]
        half = 0.5 * np.diff(edges)[:, None]
        at = (edges[:-1, None] + half * (1.0 + LEGENDRE[0])).ravel()
        v, w = (at + origin, at) if origin else (at, at - offset)
        with np.errstate(all="ignore"):
            log_value = log_density(v) + log_kernel(w)
        peak = at[np.nanargmax(log_value)]
        marks += [peak + min(sigma, err) * PANELS, peak + 0.01 * min(sigma, err) * PANELS, peak + closer, peak - closer]
    log_mass = np.log((half * LEGENDRE[1]).ravel()) + log_value
    log_sum = logsumexp(log_mass)
    mass = np.exp(log_mass - log_sum)
    mass /= mass.sum()
    centre = mass @ at
    return log_sum, origin + centre, mass @ (at - centre) ** 2


def log_error(err):
    return lambda w: stats.norm.logpdf(w, 0.0, err)


def rounding(log_value):
    """Differences of logs that rounding explains: 1e-10 is asked for, and a log is known to its own last digits."""
    return 1e-10 + 4e-15 * np.abs(log_value)


def identity(value):
    return "-".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)


def case_identity(case):
    component, ratio = case
    return f"{identity(component)} at {ratio:g}"


# Every component with errors as wide as itself, and the first one of each family at the extremes.
FIRST = {component[0]: component for component in reversed(COMPONENTS)}
SOME = [(component, ratio) for component, ratio in itertools.product(COMPONENTS, RATIOS) if ratio == 1.0]
SOME += itertools.product(FIRST.values(), (RATIOS[0], RATIOS[-1]))


@pytest.mark.parametrize("case", mostly_campaign(itertools.product(COMPONENTS, RATIOS), *SOME), ids=case_identity)
def test_equals_brute_force_convolution(case):
    component, ratio = case
    name, mean, sigma, shape = component
    family = FAMILIES[name]
    err = ratio * sigma
    for score in SCORES:
        x = mean + score * math.hypot(sigma, err)
        offset = x - mean  # as the family sees it, x being rounded
        got_mean, got_variance = family.posterior(x, err, mean, sigma, shape)
        log_density, true_mean, variance = brute(component, offset, err, log_error(err))
        log_below = brute(component, offset, err, lambda w, e=err: stats.norm.logcdf(-w / e))[0]
        log_above = brute(component, offset, err, lambda w, e=err: stats.norm.logcdf(w / e))[0]
        where = f"err = {ratio:g} sigma, x at {score:g} total widths"
        for function, expected in (("logpdf", log_density), ("logcdf", log_below), ("logsf", log_above)):
            got = getattr(family, function)(x, err, mean, sigma, shape)
            assert abs(got - expected) <= rounding(expected), f"{function}, {where}"
        # Beyond 1e4 errors from the edge of a family, where log densities are -1e5, brute force has lost its digits;
        # elsewhere a mean may be off by the rounding of x.
        if log_density > -1e5:
            off = abs(got_mean - mean - true_mean)
            assert off <= 1e-7 * math.sqrt(variance) + 4e-16 * abs(x), f"posterior mean, {where}"
            assert got_variance == pytest.approx(variance, rel=1e-7), f"posterior variance, {where}"


@pytest.mark.parametrize("component", COMPONENTS, ids=identity)
def test_without_error_it_is_the_plain_distribution(component):
    name, mean, sigma, shape = component
    family, plain = FAMILIES[name], true_values(*component)
    x = mean + sigma * SCORES[np.abs(SCORES) < 4.0]
    z = x if name == "lognormal" else x - mean
    with np.errstate(divide="ignore"):
        expected = plain.logpdf(z), plain.cdf(z), plain.sf(z)
    # 1e-12 of scipy.stats' own rounding, amplified where ln z is narrow: x / sigma is known to 2e-16 * 1e3.
    np.testing.assert_allclose(family.logpdf(x, 0.0, mean, sigma, shape), expected[0], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(np.exp(family.logcdf(x, 0.0, mean, sigma, shape)), expected[1], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(np.exp(family.logsf(x, 0.0, mean, sigma, shape)), expected[2], rtol=1e-10, atol=1e-11)
    true_mean, variance = family.posterior(x, 0.0, mean, sigma, shape)
    np.testing.assert_array_equal(true_mean, x)
    np.testing.assert_array_equal(variance, 0.0)


@pytest.mark.parametrize("component", COMPONENTS, ids=identity)
@pytest.mark.parametrize("ratio", [1e-2, 1.0, 50.0])
def test_density_integrates_to_one(component, ratio):
    name, mean, sigma, shape = component
    family, err = FAMILIES[name], ratio * sigma
    # Panels finer than anything in the density of observed values; what is beyond them is in the tails.
    reach = 3e4 if name == "student_t" and shape <= 3.0 else 60.0
    total = math.hypot(sigma, err)
    middle = np.arange(-8.0 * total, 8.0 * total, 0.5 * min(max(err, 0.02 * sigma), mean))
    edges = mean + np.unique(np.concatenate([middle, sigma * PANELS, err * PANELS]))
    edges = edges[np.abs(edges - mean) < reach * total]
    half = 0.5 * np.diff(edges)[:, None]
    x = edges[:-1, None] + half * (1.0 + LEGENDRE[0])
    mass = (half * LEGENDRE[1] * np.exp(family.logpdf(x, err, mean, sigma, shape))).sum()
    log_tails = family.logcdf(edges[0], err, mean, sigma, shape), family.logsf(edges[-1], err, mean, sigma, shape)
    assert mass + np.exp(log_tails).sum() == pytest.approx(1.0, abs=1e-10)  # the accuracy of the density


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_with_and_without_error_stand_side_by_side(name):
    family, shape = FAMILIES[name], SHAPES.get(name, (None,))[-1]
    x, err = np.array([[1.0], [2.5], [7.0]]), np.array([0.0, 0.3, 0.0, 5.0])
    together = family.logpdf(x, err, 3.0, 2.0, shape)
    moments = family.posterior(x, err, 3.0, 2.0, shape)
    assert together.shape == moments[0].shape == moments[1].shape == (3, 4)
    for i, j in np.ndindex(together.shape):
        alone = family.logpdf(x[i, 0], err[j], 3.0, 2.0, shape)
        assert alone.shape == ()
        # The nodes of a quadrature depend on the rows beside: 1e-13.
        np.testing.assert_allclose(together[i, j], alone, atol=1e-12)
    assert family.logpdf([], 1.0, 3.0, 2.0, shape).shape == family.posterior([], 1.0, 3.0, 2.0, shape)[0].shape == (0,)
    assert np.all(moments[1][:, [0, 2]] == 0.0) and np.all(moments[1][:, [1, 3]] > 0.0)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_width_is_the_error_itself(name):
    family, shape = FAMILIES[name], SHAPES.get(name, (None,))[-1]
    x = np.array([-1.0, 2.0, 3.0, 3.4, 6.0])
    expected = stats.norm(3.0, 0.7)
    # The limit is approached as the square of the relative width times that of the score, 33 at most.
    for sigma, atol in ((0.0, 1e-12), (1e-12, 1e-12), (1e-5, 1e-8)):
        for function in ("logpdf", "logcdf", "logsf"):
            got = getattr(family, function)(x, 0.7, 3.0, sigma, shape)
            np.testing.assert_allclose(got, getattr(expected, function)(x), atol=atol)
        true_mean, variance = family.posterior(x, 0.7, 3.0, sigma, shape)
        np.testing.assert_allclose(true_mean, 3.0, atol=1e-14 + 2.0 * sigma)
        assert np.all(variance >= 0.0) and np.all(variance <= (2.0 * sigma) ** 2)
    point = [float(getattr(family, f)(3.0, 0.0, 3.0, 0.0, shape)) for f in ("logpdf", "logcdf", "logsf")]
    assert point == [math.inf, 0.0, -math.inf]


def test_student_t_of_many_degrees_of_freedom_is_gaussian():
    x, err = np.linspace(-4.0, 9.0, 14), np.array([[0.0], [0.5], [8.0]])
    for dof in (1e4, 1e7):
        got = FAMILIES["student_t"].logpdf(x[:, None, None], err, 3.0, 2.0, dof)
        # ln p differs by about score^4 / (4 dof), 38 / dof at 3.5 sigma.
        expected = FAMILIES["gaussian"].logpdf(x[:, None, None], err, 3.0, 2.0)
        np.testing.assert_allclose(got, expected, atol=50.0 / dof)


@pytest.mark.parametrize("component", COMPONENTS, ids=identity)
def test_samples_follow_the_distribution(component):
    name, mean, sigma, shape = component
    z = FAMILIES[name].sample(20_000, mean, sigma, shape, np.random.default_rng(3))
    # Below 1e-4 by chance for the right distribution.
    assert stats.kstest(z if name == "lognormal" else z - mean, true_values(*component).cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_outliers_and_odd_scales_stay_finite(name):
    family = FAMILIES[name]
    x = np.array([-1e8, -1.0, 0.0, 1e-30, 3.0, 1e8])
    for shape in SHAPES.get(name, (None,)):
        for sigma, err in itertools.product((1e-8, 1e-3, 2.0, 1e4), (1e-30, 1e-3, 1.0, 1e5)):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                log_below = family.logcdf(x, err, 3.0, sigma, shape)
                values = [family.logpdf(x, err, 3.0, sigma, shape), *family.posterior(x, err, 3.0, sigma, shape)]
            assert np.all(np.isfinite(values)), (shape, sigma, err)
            assert np.all(log_below <= 0.0) and np.all(np.diff(log_below) >= -1e-12), (shape, sigma, err)


@pytest.mark.parametrize("name", FAMILIES)
def test_smooth_where_the_formula_changes(name):
    family, shape = FAMILIES[name], SHAPES.get(name, (None,) * 2)[-2]
    x, err = np.array([-1.0, 0.4, 2.9, 6.0, 12.0]), 1.0
    for sigma in np.geomspace(0.02, 50.0, 200):
        values = [family.logpdf(x, err, 3.0, sigma * (1.0 + 1e-4 * k), shape) for k in range(-2, 3)]
        # 1e-16 times a fourth derivative in ln(sigma) of up to 1e4, and the rounding of logs of up to 1e2.
        assert np.all(np.abs(np.diff(values, 4, axis=0)) < 1e-11)


def test_lognormal_asks_for_a_positive_mean():
    with pytest.raises(ValueError, match="positive"):
        FAMILIES["lognormal"].logpdf(1.0, 0.1, -1.0, 1.0)


def test_table_is_keyed_by_name():
    assert list(FAMILIES) == ["gaussian", "uniform", "student_t", "laplace", "exponential", "skew_normal", "lognormal"]
    for name, family in FAMILIES.items():
        assert family.name == name and family.positive == (name == "lognormal")
        assert (family.shape_name is None) == (name not in SHAPES)
        assert all(family.shape_bounds[0] < start < family.shape_bounds[1] for start in family.shape_starts)


@pytest.mark.parametrize("ratio", [0.0, 1e-4, 0.2, 10.0])
@pytest.mark.parametrize(("mean", "sigma"), [(1.0, 0.3), (1.0, 3.0), (50.0, 60.0), (5.0, 5e-3), (1e-3, 3e-3)])
def test_slopes_are_the_derivatives_of_the_log_density(mean, sigma, ratio):
    """Those of the lognormal, against differences of the log density."""
    family = FAMILIES["lognormal"]
    rng = np.random.default_rng(16)
    x = mean * np.exp(rng.standard_normal(8))
    if ratio > 0.0:
        x[:2] = -0.3 * mean, 0.01 * mean
    err = np.full(8, ratio * mean)

    def at(change, widening):
        return family.logpdf(x, err, mean * (1.0 + change), sigma * math.exp(widening))

    value, by_mean, by_width, twice_mean, mixed, twice_width = family.slopes(x, err, mean, sigma)
    np.testing.assert_array_equal(value, at(0.0, 0.0))
    # Differences of numbers known to 1e-12 of them; their errors of the second and third kind are about equal here.
    h, k = 1e-5, 1e-3
    size = np.abs(value) + mean / sigma
    tolerances = {1: 1e-6 * size * max(mean / sigma, 1.0) ** 2, 2: 1e-4 * size * max(mean / sigma, 1.0) ** 3}
    assert np.all(np.abs(by_mean * mean - (at(h, 0) - at(-h, 0)) / (2 * h)) <= tolerances[1])
    assert np.all(np.abs(by_width - (at(0, h) - at(0, -h)) / (2 * h)) <= tolerances[1])
    k = min(k, 1e-2 * sigma / mean)
    assert np.all(np.abs(twice_mean * mean**2 - (at(k, 0) + at(-k, 0) - 2 * value) / k**2) <= tolerances[2])
    assert np.all(np.abs(twice_width - (at(0, k) + at(0, -k) - 2 * value) / k**2) <= tolerances[2])
    cross = (at(k, k) - at(k, -k) - at(-k, k) + at(-k, -k)) / (4 * k**2)
    assert np.all(np.abs(mixed * mean - cross) <= tolerances[2])


def test_slopes_of_a_lognormal_of_zero_width_are_those_of_the_error():
    x, err = np.array([1.0, 2.5]), np.array([0.5, 2.0])
    value, by_mean, by_width, twice_mean, mixed, twice_width = FAMILIES["lognormal"].slopes(x, err, 2.0, 0.0)
    np.testing.assert_allclose(value, stats.norm.logpdf(x, 2.0, err), rtol=1e-13)
    np.testing.assert_allclose(by_mean, (x - 2.0) / err**2, rtol=1e-13)
    np.testing.assert_allclose(twice_mean, -1.0 / err**2, rtol=1e-13)
    assert not np.any([by_width, mixed, twice_width])


@pytest.mark.parametrize("name", ["laplace", "exponential"])
@pytest.mark.parametrize("ratio", [0.05, 1.0, 20.0])
def test_slopes_are_those_of_the_density(name, ratio):
    """Fourth-order differences of the log density, with errors of this part of sigma."""
    family, mean, sigma = FAMILIES[name], 0.7, 1.3
    err = ratio * sigma * np.array([0.5, 1.0, 1.0, 2.0, 1.0, 0.8])
    x = mean + np.array([-2.5, -0.6, 0.05, 0.4, 1.2, 3.0]) * np.hypot(sigma, err)
    found = family.slopes(x, err, mean, sigma)
    step, unit = 0.01, float(min(err.min(), sigma))
    weights = {-2: 1.0 / 12.0, -1: -2.0 / 3.0, 1: 2.0 / 3.0, 2: -1.0 / 12.0}
    second = {-2: -1.0 / 12.0, -1: 4.0 / 3.0, 0: -2.5, 1: 4.0 / 3.0, 2: -1.0 / 12.0}

    def value(a, b):
        return family.logpdf(x, err, mean + a * step * unit, sigma * np.exp(b * step))

    by_mean = sum(w * value(a, 0) for a, w in weights.items()) / step
    by_width = sum(w * value(0, b) for b, w in weights.items()) / step
    mean_2 = sum(w * value(a, 0) for a, w in second.items()) / step**2
    width_2 = sum(w * value(0, b) for b, w in second.items()) / step**2
    mixed = sum(v * w * value(a, b) for a, v in weights.items() for b, w in weights.items()) / step**2
    np.testing.assert_allclose(found[0], value(0, 0), rtol=1e-12)
    expected = (by_mean, by_width, mean_2, mixed, width_2)
    for own, wanted, power in zip(found[1:], expected, (1, 0, 2, 1, 0), strict=True):
        np.testing.assert_allclose(own * unit**power, wanted, rtol=1e-5, atol=1e-6)
