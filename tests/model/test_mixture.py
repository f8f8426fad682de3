"""Mixtures of any family: densities, probabilities, memberships and true values, behind limits too."""

import math
import time
import warnings

import numpy as np
import pytest
from scipy import stats

from mixpipe.model.families import FAMILIES as EVERY_FAMILY
from mixpipe.model.mixture import Mixture
from tests.campaign import mostly_campaign

# A power law, whose parameters mean something else, has tests of its own.
FAMILIES = {name: family for name, family in EVERY_FAMILY.items() if name != "power_law"}

SHAPES = {"student_t": 4.0, "skew_normal": 3.0}
GAUSSIANS = Mixture([0.3, 0.7], [0.0, 4.0], [1.0, 0.5])


def mixture_of(name):
    """Two components of a family, or one beside a uniform background."""
    shape = SHAPES.get(name, math.nan)
    return Mixture([0.6, 0.3, 0.1], [2.0, 6.0, 5.0], [0.7, 1.2, 5.0], (name, name, "uniform"), [shape, shape, math.nan])


def plain(mixture, j):
    """Density of the true values of one component, by scipy.stats, and where it has kinks."""
    name, mean, sigma, shape = mixture.families[j], mixture.means[j], mixture.sigmas[j], mixture.shapes[j]
    if name == "gaussian":
        return stats.norm(mean, sigma), [mean]
    if name == "uniform":
        half = math.sqrt(3.0) * sigma
        return stats.uniform(mean - half, 2.0 * half), [mean - half, mean + half]
    if name == "student_t":
        return stats.t(shape, mean, sigma), [mean]
    if name == "laplace":
        return stats.laplace(mean, sigma / math.sqrt(2.0)), [mean]
    if name == "exponential":
        return stats.expon(mean - sigma, sigma), [mean - sigma, mean]
    if name == "skew_normal":
        unit = stats.skewnorm(shape)
        scale = sigma / unit.std()
        return stats.skewnorm(shape, mean - scale * unit.mean(), scale), [mean]
    width = math.sqrt(math.log1p((sigma / mean) ** 2))
    return stats.lognorm(width, 0.0, mean * math.exp(-0.5 * width**2)), [0.0, mean]


NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)
FAR = np.geomspace(30.0, 1e6, 40)


def integrals(function, *ends):
    """Integrals between the sorted ends, by 48 nodes each: exact to rounding where the function is smooth there."""
    ends = np.unique(np.concatenate(ends))
    half = 0.5 * np.diff(ends)
    return ends, function((0.5 * (ends[1:] + ends[:-1]))[:, None] + half[:, None] * NODES) @ WEIGHTS * half


def behind(mixture, x, err, limit, power):
    """Integral of true value ** power times the probability of a row, over all true values of each component."""

    def of_component(j):
        density, kinks = plain(mixture, j)

        def integrand(z):
            if err == 0.0:
                seen = (z <= x) if limit < 0 else (z >= x)
            else:
                seen = {-1: stats.norm.cdf, 0: stats.norm.pdf, 1: stats.norm.sf}[limit](x, z, err)
            return z**power * density.pdf(z) * seen

        return integrals(integrand, -FAR, np.linspace(-30.0, 30.0, 181), FAR, kinks, [x])[1].sum()

    return [w * of_component(j) for j, w in enumerate(mixture.weights)]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("err", [0.0, 0.8])
def test_the_density_integrates_to_one_and_its_integral_is_the_cdf(name, err):
    mixture = mixture_of(name)
    # Beyond 1e6 a Student t of 4 dof has less than 1e-20.
    kinks = np.concatenate([plain(mixture, j)[1] for j in range(3)])
    ends, pieces = integrals(lambda x: mixture.pdf(x, err), -FAR, np.linspace(-30.0, 30.0, 301), FAR, kinks)
    assert pieces.sum() == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(mixture.cdf(ends[1:], err), np.cumsum(pieces), atol=1e-9)
    np.testing.assert_allclose(mixture.cdf(ends, err) + mixture.sf(ends, err), 1.0, atol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_without_errors_it_is_the_sum_of_textbook_densities(name):
    mixture = mixture_of(name)
    x = np.array([0.3, 1.7, 2.2, 5.1, 9.7, 30.0])
    parts = [w * plain(mixture, j)[0].pdf(x) for j, w in enumerate(mixture.weights)]
    np.testing.assert_allclose(mixture.pdf(x), np.sum(parts, axis=0), rtol=1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_have_the_moments_of_the_mixture(name):
    mixture = mixture_of(name)
    n = 200_000
    moments = [plain(mixture, j)[0].stats("mv") for j in range(3)]
    mean = sum(w * m for w, (m, _) in zip(mixture.weights, moments, strict=True))
    variance = sum(w * (v + (m - mean) ** 2) for w, (m, v) in zip(mixture.weights, moments, strict=True))
    x = mixture.sample(n, np.random.default_rng(5))
    # Four standard errors of a mean; the variance by its own scatter, 8 % where the fourth moment is infinite.
    assert abs(x.mean() - mean) < 4.0 * math.sqrt(variance / n)
    assert x.var() == pytest.approx(variance, rel=0.08 if name == "student_t" else 0.03)


def test_components_are_sorted_with_all_that_belongs_to_them():
    mixture = Mixture([0.2, 0.5, 0.3], [3.0, -1.0, 1.0], [1, 2, 3], ("student_t", "uniform", "laplace"), [7, np.nan, 0])
    assert mixture.families == ("uniform", "laplace", "student_t")
    np.testing.assert_array_equal(mixture.weights, [0.5, 0.3, 0.2])
    np.testing.assert_array_equal(mixture.sigmas, [2, 3, 1])
    assert mixture.shapes[2] == 7
    assert mixture.family == "laplace+student_t+uniform"
    assert not mixture.is_gaussian
    one = mixture.component(2)
    assert (one.families, one.n_components, one.weights[0], one.shapes[0]) == (("student_t",), 1, 1.0, 7.0)
    assert float(one.pdf(3.0)) == pytest.approx(stats.t(7).pdf(0.0), rel=1e-12)
    assert "student_t" in repr(mixture)
    assert "student_t" not in repr(GAUSSIANS)


@pytest.mark.parametrize(
    ("families", "shapes", "message"),
    [
        (("gaussian", "cauchy"), [], "unknown family 'cauchy'"),
        (("gaussian",), [], "length of the means"),
        (("gaussian", "gaussian"), [1.0], "length of the means"),
        (("gaussian", "student_t"), [], "student_t needs a shape"),
        (("lognormal", "gaussian"), [], "lognormal needs means > 0"),
    ],
)
def test_parameters_that_are_no_mixture_are_refused(families, shapes, message):
    with pytest.raises(ValueError, match=message):
        Mixture([0.5, 0.5], [0.0, 1.0], [1.0, 1.0], families, shapes)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("limit", [-1, 0, 1])
def test_true_values_and_memberships_are_those_of_brute_force_integration(name, limit):
    mixture = mixture_of(name)
    for x, err in ((3.0, 0.6), (1.1, 1.5), (7.0, 0.0)):
        if limit == 0 and err == 0.0:
            continue
        masses, firsts, seconds = (behind(mixture, x, err, limit, power) for power in range(3))
        flags = np.array([limit])
        resp = mixture.responsibilities([x], [err], flags)
        np.testing.assert_allclose(resp[0], np.array(masses) / sum(masses), rtol=1e-7)
        mean, unc = mixture.posterior([x], [err], flags)
        expected = sum(firsts) / sum(masses)
        # Panels of twelve nodes resolve these densities to some 1e-7; tails of a Student t end at 1e6 in the oracle.
        tolerance = 1e-4 if name == "student_t" else 1e-6
        assert mean[0] == pytest.approx(expected, rel=tolerance)
        assert unc[0] == pytest.approx(math.sqrt(sum(seconds) / sum(masses) - expected**2), rel=tolerance)


@pytest.mark.parametrize(("x", "err"), [(-8.0, 0.0), (-8.0, 1.0), (0.3, 0.5), (40.0, 0.2), (2.0, 30.0), (2.0, 1e-6)])
def test_far_and_wide_limits_of_gaussians(x, err):
    """Against the closed form of a normal that is cut, from scipy's truncnorm, for one component at a time."""
    mixture = Mixture([1.0], [1.0], [2.0])
    total = math.hypot(2.0, err)
    cut = stats.truncnorm(-np.inf, (x - 1.0) / total, 1.0, total)
    part = 4.0 / total**2
    mean, unc = mixture.posterior(x, err, np.array(-1))
    assert float(mean) == pytest.approx(1.0 + part * (cut.mean() - 1.0), rel=1e-8)
    assert float(unc) == pytest.approx(math.sqrt(part * err**2 + part**2 * cut.var()), rel=1e-6)
    mirrored = Mixture([1.0], [-1.0], [2.0]).posterior(-x, err, np.array(1))
    assert (float(mirrored[0]), float(mirrored[1])) == pytest.approx((-float(mean), float(unc)), rel=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("x", [2.0 + 1e-9, 60.0, 1e4])
def test_a_limit_that_says_nothing_leaves_the_component_as_it_is(name, x):
    """An upper limit far above; the limit at the mean only has to be finite and below it."""
    shape = SHAPES.get(name, math.nan)
    mixture = Mixture([1.0], [2.0], [0.7], (name,), [shape])
    for err in (0.0, 0.3):
        mean, unc = mixture.posterior([x], [err], np.array([-1]))
        if x > 3.0:
            std = plain(mixture, 0)[0].std()
            # A Student t of 4 dof has a part of some (0.7 / 58)^2 of its variance beyond 60.
            assert (mean[0], unc[0]) == pytest.approx((2.0, std), rel=1e-3 if name == "student_t" else 1e-6)
        else:
            assert np.isfinite(unc[0])
            assert mean[0] < 2.0


def test_components_without_width_and_limits_without_error():
    """Points: behind a limit the true value is that of the components which the limit allows."""
    mixture = Mixture([0.25, 0.25, 0.5], [0.0, 1.0, 5.0], [0.0, 0.0, 0.0])
    mean, unc = mixture.posterior([2.0, 2.0], [0.0, 0.0], np.array([-1, 1]))
    np.testing.assert_allclose(mean, [0.5, 5.0], atol=1e-12)
    np.testing.assert_allclose(unc, [0.5, 0.0], atol=1e-12)


def test_a_student_t_without_a_variance_says_so():
    mixture = Mixture([1.0], [0.0], [1.0], ("student_t",), [1.5])
    mean, unc = mixture.posterior([0.0], [0.1], np.array([-1]))
    assert np.isfinite(mean[0])
    assert unc[0] == np.inf


def test_limits_among_values_keep_their_order_and_shape():
    x, err, flags = np.array([1.0, 2.0, 3.0, 4.0]), np.full(4, 0.5), np.array([0, -1, 1, 0])
    resp = GAUSSIANS.responsibilities(x, err, flags)
    total = np.hypot(GAUSSIANS.sigmas, 0.5)
    score = (x[:, None] - GAUSSIANS.means) / total
    rows = np.where(
        flags[:, None] == 0, stats.norm.pdf(score) / total, stats.norm.cdf(np.where(flags[:, None] < 0, 1, -1) * score)
    )
    expected = GAUSSIANS.weights * rows
    np.testing.assert_allclose(resp, expected / expected.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=1e-14)
    mean, unc = GAUSSIANS.posterior(x, err, flags)
    for i in range(4):
        alone = GAUSSIANS.posterior(x[i], err[i], flags[i])
        assert (mean[i], unc[i]) == (float(alone[0]), float(alone[1]))


def test_impossible_values_give_finite_memberships_and_no_warning():
    mixture = Mixture([0.5, 0.5], [1.0, 2.0], [0.5, 0.5], ("lognormal", "uniform"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(mixture.responsibilities([-1.0, 1.0]).sum(axis=1), 1.0)
        mixture.responsibilities([-1.0, 50.0], 0.0, np.array([-1, 1]))
        mixture.logpdf([-1.0, 50.0])


@pytest.mark.parametrize("name", ["gaussian", "student_t", "laplace"])
@pytest.mark.parametrize("window", [(8.0, 12.0), (-9.0, -4.0), (-1.0, 1.0), (-np.inf, -6.0), (6.0, np.inf)])
def test_shares_of_a_window_keep_their_digits_in_both_tails(name, window):
    mixture = Mixture([1.0], [0.0], [1.0], (name,), [SHAPES.get(name, math.nan)])
    distribution = plain(mixture, 0)[0]
    low, high = window
    x = np.clip(0.5 * (max(low, -20.0) + min(high, 20.0)), low, high)

    def share(a, b):
        return distribution.sf(a) - distribution.sf(b) if a > 0 else distribution.cdf(b) - distribution.cdf(a)

    below, inside = mixture.share_between(low, x, high)
    # Rounding of a difference on the side where both are small.
    assert float(below) == pytest.approx(share(low, x), rel=1e-11)
    assert float(inside) == pytest.approx(share(low, high), rel=1e-11)


@pytest.mark.parametrize("name", mostly_campaign(["gaussian", "student_t", "lognormal"], "student_t"))
def test_true_values_behind_many_limits_take_seconds(name):
    """A hundred thousand of Gaussians, ten thousand of the others, far below the time of a loop over rows."""
    n = 100_000 if name == "gaussian" else 10_000
    mixture = mixture_of(name)
    x = np.random.default_rng(2).uniform(0.1, 9.0, n)
    start = time.perf_counter()
    mean, unc = mixture.posterior(x, 0.3, np.full(n, -1))
    assert time.perf_counter() - start < 20.0
    assert np.all(np.isfinite(unc))
    assert np.all(mean < x + 0.3)
