"""Errors that are not symmetric Gaussians, against numerical integrals over the true value."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from scipy import stats
from scipy.integrate import quad
from scipy.special import ndtr

from mixpipe.assess.comparison.influence import Common
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES as EVERY_FAMILY
from mixpipe.model.families.noisy import gaussian_slopes
from mixpipe.model.inputs import as_cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import HeavyTailed, Noise, TwoSided, draw_noise, noise_of, with_sides

# A power law, whose parameters mean something else, has tests of its own.
FAMILIES = {name: family for name, family in EVERY_FAMILY.items() if name != "power_law"}

SHAPES = {"student_t": 3.0, "skew_normal": 0.6}
# Mean, sigma, lower and upper error, and the value: values near the mean and in both tails, errors that are much
# smaller and much larger than the sigma, and sides that differ by factors up to 20.
CASES = [
    (2.0, 1.0, 0.3, 1.1, 2.5),
    (2.0, 1.0, 1.1, 0.3, 5.0),
    (2.0, 0.1, 2.0, 0.1, 1.2),
    (2.0, 0.1, 0.1, 2.0, 3.5),
    (2.0, 1.5, 0.05, 0.1, -0.9),
    (2.0, 1.5, 0.05, 0.1, 2.0),
]


class Oracle:
    """The definition of errors of two sides, with integrals over the true value by adaptive quadrature."""

    def __init__(self, density, start, kinks, x, lower, upper):
        self.density, self.x, self.lower, self.upper = density, x, lower, upper
        ends = {x, *kinks, *(x - k * lower for k in (1, 3, 6, 9)), *(x + k * upper for k in (1, 3, 6, 9))}
        ends |= {kinks[0] + side * far for far in (30.0, 400.0, 6000.0) for side in (-1, 1)} | {start}
        self.ends = sorted(end for end in ends if end >= start)

    def seen(self, z):
        """Density of the observed value as a function of the true one: the likelihood of the true value."""
        side = self.upper if z > self.x else self.lower
        return (
            2.0 / (math.sqrt(2.0 * math.pi) * (self.upper + self.lower)) * math.exp(-(((z - self.x) / side) ** 2) / 2)
        )

    def below(self, z):
        """Probability of an observed value below x: the integral of that density over the observed value."""
        away = self.x - z
        if away < 0:
            return 2.0 * self.upper / (self.upper + self.lower) * ndtr(away / self.upper)
        return 1.0 - 2.0 * self.lower / (self.upper + self.lower) * ndtr(-away / self.lower)

    def integral(self, function):
        total = (
            quad(lambda z: function(z) * self.density(z), *part, epsabs=1e-300, epsrel=1e-11, limit=200)[0]
            for part in pairwise(self.ends)
        )
        return math.fsum(total)

    def moments(self):
        mass = self.integral(self.seen)
        mean = self.integral(lambda z: (z - self.x) * self.seen(z)) / mass
        return mass, self.x + mean, self.integral(lambda z: (z - self.x - mean) ** 2 * self.seen(z)) / mass


def oracle(name, mean, sigma, lower, upper, x):
    family, shape = FAMILIES[name], SHAPES.get(name)
    edges = [mean + k * sigma for k in (0, -6, -3, -math.sqrt(3), -1, 1, math.sqrt(3), 3, 6, 20)]
    start = {"exponential": mean - sigma, "lognormal": 1e-9}.get(name, -math.inf)
    start = max(start, mean - 6000.0)

    def density(z):
        return math.exp(family.logpdf(np.array([z]), 0.0, mean, sigma, shape)[0])

    return Oracle(density, start, edges, x, lower, upper), family, shape


def one(lower, upper):
    return TwoSided(np.array([lower]), np.array([upper]))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FAMILIES)
def test_densities_and_posteriors_are_the_integrals_over_the_true_value(name, case):
    mean, sigma, lower, upper, x = case
    truth, family, shape = oracle(name, mean, sigma, lower, upper, x)
    mass, centre, variance = truth.moments()
    at, noise = np.array([x]), one(lower, upper)
    # Gauss-Legendre panels are accurate to 1e-10 where the density has a kink.
    assert math.exp(family.logpdf(at, noise, mean, sigma, shape)[0]) == pytest.approx(mass, rel=1e-8)
    found, spread = family.posterior(at, noise, mean, sigma, shape)
    assert found[0] == pytest.approx(centre, abs=1e-7 * math.sqrt(variance))
    assert spread[0] == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("case", CASES[:4])
@pytest.mark.parametrize("name", ["gaussian", "uniform", "laplace", "lognormal"])
def test_distribution_functions_are_those_of_the_measurement_model(name, case):
    mean, sigma, lower, upper, x = case
    truth, family, shape = oracle(name, mean, sigma, lower, upper, x)
    at, noise = np.array([x]), one(lower, upper)
    below = truth.integral(truth.below)
    assert math.exp(family.logcdf(at, noise, mean, sigma, shape)[0]) == pytest.approx(below, rel=1e-7)
    assert math.exp(family.logsf(at, noise, mean, sigma, shape)[0]) == pytest.approx(1.0 - below, abs=1e-7)


def test_the_density_is_the_formula_of_the_two_pieces():
    mean, sigma, lower, upper, x = CASES[0]
    piece = 0.0
    for side, away in ((upper, mean - x), (lower, x - mean)):
        total = math.hypot(sigma, side)
        piece += side * stats.norm.pdf(x, mean, total) * ndtr(away * side / (sigma * total))
    found = FAMILIES["gaussian"].logpdf(x, one(lower, upper), mean, sigma)
    assert math.exp(found[0]) == pytest.approx(2.0 / (lower + upper) * piece, rel=1e-13)


@pytest.mark.parametrize("name", FAMILIES)
def test_equal_sides_are_symmetric_errors(name):
    family, shape = FAMILIES[name], SHAPES.get(name)
    x, err = np.linspace(0.5, 6.0, 12), np.linspace(0.1, 1.5, 12)
    noise = TwoSided(err, err)
    for function in (family.logpdf, family.logcdf, family.logsf):
        # Near one, the logarithm of a probability has the absolute precision of the probability.
        np.testing.assert_allclose(
            function(x, noise, 2.0, 0.7, shape), function(x, err, 2.0, 0.7, shape), rtol=1e-7, atol=1e-9
        )
    for found, expected in zip(
        family.posterior(x, noise, 2.0, 0.7, shape), family.posterior(x, err, 2.0, 0.7, shape), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_a_width_that_goes_to_zero_leaves_the_noise_itself():
    x, noise = np.linspace(-3.0, 3.0, 13), TwoSided(np.full(13, 0.4), np.full(13, 1.2))
    family = FAMILIES["gaussian"]
    side = np.where(x < 0.0, 1.2, 0.4)
    expected = math.log(2.0 / 1.6) - 0.5 * (x / side) ** 2 - 0.5 * math.log(2.0 * math.pi)
    np.testing.assert_allclose(family.logpdf(x, noise, 0.0, 0.0), expected, rtol=1e-13, atol=1e-13)
    # The first correction is of the order of sigma^2.
    np.testing.assert_allclose(family.logpdf(x, noise, 0.0, 1e-7), expected, atol=1e-6)
    np.testing.assert_allclose(family.logcdf(x, noise, 0.0, 1e-9), family.logcdf(x, noise, 0.0, 0.0), atol=1e-7)
    assert [part.tolist() for part in family.posterior(x[:1], noise[:1], 0.0, 0.0)] == [[0.0], [0.0]]


def test_values_without_an_error_are_the_true_ones():
    noise = TwoSided(np.array([0.0, 0.0, 0.3]), np.array([0.0, 0.5, 0.0]))
    for name, family in FAMILIES.items():
        x, shape = np.full(3, 2.2), SHAPES.get(name)
        log_density = family.logpdf(x, noise, 2.0, 0.7, shape)
        assert log_density[0] == family.logpdf(2.2, 0.0, 2.0, 0.7, shape)
        assert np.all(np.isfinite(log_density))
        mean, variance = family.posterior(x, noise, 2.0, 0.7, shape)
        assert (mean[0], variance[0]) == (2.2, 0.0)
        # An error of one side says that the true value lies on that side.
        assert mean[1] > 2.2 > mean[2]


@pytest.mark.parametrize("far", [8.0, 15.0, 30.0])
@pytest.mark.parametrize(("lower", "upper"), [(0.1, 1.0), (1.0, 0.1), (0.05, 0.02)])
def test_probabilities_keep_their_digits_in_the_tails(lower, upper, far):
    """The slope of the logarithm of the distribution function is the density over the probability."""
    x, step = -far * math.hypot(1.0, max(lower, upper)), 1e-4
    family, noise = FAMILIES["gaussian"], one(lower, upper)
    near, low, high = (family.logcdf(np.array([x + d]), noise, 0.0, 1.0)[0] for d in (0.0, -step, step))
    density = family.logpdf(np.array([x]), noise, 0.0, 1.0)[0]
    # The difference has an error of step^2 times the third derivative, and the logarithms one of 1e-16 of hundreds.
    assert (high - low) / (2.0 * step) == pytest.approx(math.exp(density - near), rel=1e-6)


@pytest.mark.parametrize("noise", [TwoSided(np.full(9, 0.3), np.full(9, 1.1)), HeavyTailed(np.full(9, 0.6), 3.0)])
def test_slopes_are_the_differences_of_the_density(noise):
    x, mean, sigma, step = np.linspace(-4.0, 4.0, 9), 0.3, 0.8, 1e-4

    def at(by_mean, by_width):
        return FAMILIES["gaussian"].logpdf(x, noise, mean + by_mean * step, sigma * math.exp(by_width * step))

    found = gaussian_slopes(x, noise, mean, sigma)
    first = [at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)]
    second = [
        at(1, 0) - 2 * at(0, 0) + at(-1, 0),
        (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4,
        at(0, 1) - 2 * at(0, 0) + at(0, -1),
    ]
    np.testing.assert_allclose(found[0], at(0, 0), rtol=1e-13)
    np.testing.assert_allclose(found[1:3], np.array(first) / (2 * step), rtol=1e-6, atol=1e-6)
    # Rounding of 1e-15 over the step squared.
    np.testing.assert_allclose(found[3:], np.array(second) / step**2, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("dof", [1.0, 2.0, 3.0, 7.0, 40.0])
def test_heavy_tailed_errors_are_students_t(dof):
    t = np.concatenate([np.linspace(0.0, 6.0, 25), [10.0, 30.0]])
    found = FAMILIES["gaussian"].logpdf(5.0 - 0.2 * t, HeavyTailed(np.full(t.size, 0.2), dof), 5.0, 0.0)
    # The sum over 40 Gaussians is accurate to 2e-5 for one degree of freedom, and to 2e-6 for two or more.
    np.testing.assert_allclose(np.exp(found), stats.t.pdf(t, dof) / 0.2, rtol=3e-5 if dof == 1.0 else 2e-6)


@pytest.mark.parametrize("name", ["gaussian", "laplace", "uniform", "lognormal"])
def test_heavy_tailed_errors_are_a_convolution(name):
    family, err, dof = FAMILIES[name], 0.5, 4.0
    for x in (1.0, 2.4, 6.0):
        edges = [2.0 + k * 0.7 for k in (-20, -6, -3, -math.sqrt(3), -1, 0, 1, math.sqrt(3), 3, 6, 20, 100)] + [x]
        edges = sorted(max(edge, 1e-9) if family.positive else edge for edge in edges)

        def value(z, x=x):
            return math.exp(family.logpdf(np.array([z]), 0.0, 2.0, 0.7)[0]) * stats.t.pdf((x - z) / err, dof) / err

        direct = math.fsum(quad(value, *part, epsrel=1e-10)[0] for part in pairwise(edges))
        found = family.logpdf(np.array([x]), HeavyTailed(np.array([err]), dof), 2.0, 0.7)
        assert math.exp(found[0]) == pytest.approx(direct, rel=1e-6)


@pytest.mark.parametrize(
    "noise", [TwoSided(np.full(4000, 0.2), np.full(4000, 1.0)), HeavyTailed(np.full(4000, 0.5), 2.5)]
)
def test_transforms_of_drawn_values_are_uniform(noise):
    mixture, rng = Mixture([0.6, 0.4], [0.0, 3.0], [0.5, 0.2]), np.random.default_rng(5)
    x = mixture.sample(4000, rng) + draw_noise(noise, rng)
    # A sample of this seed; the test rejects one in a hundred.
    assert stats.kstest(mixture.cdf(x, noise), "uniform").pvalue > 0.01


def test_moments_beyond_a_limit_are_those_of_drawn_values():
    mixture, n = Mixture([0.6, 0.4], [0.0, 3.0], [0.5, 0.8]), 400_000
    rng = np.random.default_rng(6)
    z = mixture.sample(n, rng)
    x = z + draw_noise(TwoSided(np.full(n, 0.3), np.full(n, 1.0)), rng)
    mean, unc = mixture.posterior(np.array([1.5, 1.5]), one(0.3, 1.0)[[0, 0]], np.array([-1, 1]))
    resp = mixture.responsibilities(np.array([1.5, 1.5]), one(0.3, 1.0)[[0, 0]], np.array([-1, 1]))
    for k, seen in enumerate((x < 1.5, x > 1.5)):
        # Five standard errors of means and standard deviations of these samples.
        assert mean[k] == pytest.approx(z[seen].mean(), abs=5 * z[seen].std() / math.sqrt(seen.sum()))
        assert unc[k] == pytest.approx(z[seen].std(), abs=5 * z[seen].std() / math.sqrt(2 * seen.sum()) * 1.5)
        assert np.all((resp[k] > 0) & (resp[k] < 1))


def test_mixtures_take_lower_and_upper_errors_as_matplotlib_has_them():
    mixture = Mixture([0.6, 0.4], [0.0, 3.0], [0.5, 0.8])
    x, lower, upper = np.array([0.5, 2.0, 4.0]), np.array([0.1, 0.4, 0.0]), np.array([0.3, 0.4, 0.0])
    noise = TwoSided(lower, upper)
    for name in ("logpdf", "pdf", "cdf", "sf", "responsibilities"):
        np.testing.assert_array_equal(getattr(mixture, name)(x, [lower, upper]), getattr(mixture, name)(x, noise))
    mean, unc = mixture.posterior(x, [lower, upper])
    assert mean[0] > 0.5
    assert (mean[2], unc[2]) == pytest.approx((4.0, 0.0), abs=1e-14)
    # The second row has a symmetric error.
    np.testing.assert_allclose([mean[1], unc[1]], np.array(mixture.posterior(2.0, 0.4)), rtol=1e-12)
    assert mixture.responsibilities(np.zeros(1), [[np.inf], [0.1]]).round(6).tolist() == [[0.6, 0.4]]


def test_errors_by_the_name_of_their_model():
    assert isinstance(noise_of([[0.1, 0.1], [0.2, 0.1]], (2,)), TwoSided)
    assert noise_of([[0.1, 0.1], [0.3, 0.1]], (2,), "symmetric").round(6).tolist() == [0.2, 0.1]
    assert not isinstance(noise_of([[0.1, 0.1], [0.1, 0.1]], (2,)), Noise)
    assert isinstance(with_sides([1.0, 2.0], np.ones((2, 2))), np.ndarray)
    heavy = noise_of(0.5, (3,), "student_t", 4)
    assert isinstance(heavy, HeavyTailed)
    assert (heavy.err.tolist(), heavy.dof) == ([0.5, 0.5, 0.5], 4.0)


@pytest.mark.parametrize(
    ("err", "model", "dof", "words"),
    [
        (0.1, "two_sided", None, "expected lower and upper errors"),
        (0.1, "normal", None, "unknown error_model 'normal'"),
        (0.1, "student_t", None, "error_dof is missing"),
        (0.1, None, 3.0, "error_dof is 3"),
        (0.1, "student_t", 0.5, "expected a finite number >= 1"),
        (np.ones((2, 3)), "student_t", 3.0, "one error for each value"),
        ([[0.1, -0.1, 0.1], [0.1, 0.1, 0.1]], None, None, "the first at index 1"),
        ([[0.1, 0.1, np.nan], [0.1, 0.1, 0.1]], None, None, "the first at index 2"),
    ],
)
def test_errors_that_no_model_has_are_refused(err, model, dof, words):
    with pytest.raises(ValueError, match=words):
        Cells.from_rows([1.0, 2.0, 3.0], err, error_model=model, error_dof=dof)


def test_sides_may_have_units_and_labels():
    x, lower, upper = [1.0, 2.0] * u.kpc, [100.0, 200.0] * u.pc, [0.3, 0.1] * u.kpc
    noise = as_cells(x, [lower, upper]).noise
    np.testing.assert_allclose([noise.lower, noise.upper], [[0.1, 0.2], [0.3, 0.1]], rtol=1e-12)
    with pytest.raises(ValueError, match="err has no unit"):
        as_cells(x, [lower, upper.value])
    table = pd.DataFrame({"x": [1.0, 2.0], "lo": [0.1, 0.2], "up": [0.3, 0.1]})
    with pytest.raises(ValueError, match="same labels in another order"):
        as_cells(table["x"], [table["lo"], table["up"][::-1]])


def test_a_row_with_another_side_is_revised():
    x, same = np.array([1.0, 2.0, 3.0]), np.arange(3)
    old = Cells.from_rows(x, [[0.1, 0.1, 0.1], [0.3, 0.1, 0.3]])
    new = Cells.from_rows(x, [[0.1, 0.1, 0.3], [0.3, 0.1, 0.1]])
    assert Common(same, same).revised(old, new).tolist() == [False, False, True]
    assert Common(same, same).revised(old, Cells.from_rows(x, [0.2, 0.1, 0.2])).tolist() == [True, False, True]


def test_cells_keep_their_sides():
    lower, upper = np.array([0.1, 0.2, np.inf]), np.array([0.3, 0.2, 0.1])
    cells = Cells.from_rows([1.0, 2.0, 3.0], [lower, upper])
    assert cells.err.round(6).tolist() == [0.2, 0.2, 0.0]
    assert (cells.weights.tolist(), cells.n_uninformative) == ([1.0, 1.0, 0.0], 1)
    assert (cells[1:2].noise.lower.tolist(), cells[:1].noise.upper.tolist()) == ([0.2], [0.3])
    joined = cells + Cells.from_rows([4.0], 0.5)
    assert (joined.noise.lower.tolist(), joined.noise.upper[-1]) == ([0.1, 0.2, 0.0, 0.5], 0.5)
    assert cells.noise.scaled(-2.0).lower.tolist() == [0.6, 0.4, 0.0]
    assert cells.sketched(0.1) is cells
    with pytest.raises(ValueError, match="differ in their error model"):
        cells + Cells.from_rows([4.0], 0.5, error_model="student_t", error_dof=3)
    with pytest.raises(ValueError, match="expected one symmetric error"):
        Cells.sketch([1.0, 2.0], [[0.1, 0.1], [0.2, 0.2]])
    with pytest.raises(ValueError, match="bins with errors"):
        Cells([0.5], [0.1], [1.0], edges=[[0.0, 1.0]], noise=one(0.1, 0.2))
