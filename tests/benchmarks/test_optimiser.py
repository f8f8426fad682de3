"""The independent optimiser against published fits, and its gradients against differences."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import norm

from benchmarks.optimiser import Bins, Intervals, Rows, best, loglik, maximise
from tests.campaign import campaign

CATALOGS = Path(os.environ.get("MIXPIPE_CATALOGS", "."))
catalogs = pytest.mark.skipif(not (CATALOGS / "reference").is_dir(), reason="needs the reference catalogs")


def read(name):
    return np.loadtxt(CATALOGS / "reference" / name, delimiter=",", skiprows=1, unpack=True)


@pytest.mark.parametrize("kind", ["rows", "bins", "intervals"])
def test_the_gradient_is_that_of_the_value(kind):
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    err = 0.3 * np.exp(rng.normal(size=200))
    edges = np.linspace(-6, 6, 25)
    counts = rng.integers(1, 4, 200)
    widths = rng.choice([1e-9, 0.1, 1.0], 200)
    data = {
        "rows": Rows(x, err, counts),
        "bins": Bins(edges, np.histogram(x, edges)[0]),
        "intervals": Intervals(x - 0.5 * widths, x + 0.5 * widths, err, counts),
    }[kind]
    theta = np.array([0.3, -0.5, 0.1, -1.0, 0.2, 1.5, -0.3, 0.2, -1.0])

    def value(t):
        return data.value_and_gradient(t[:3], t[3:6], t[6:])[0]

    exact = data.value_and_gradient(theta[:3], theta[3:6], theta[6:])[1]
    np.testing.assert_allclose(approx_fprime(theta, value, 1e-6), exact, rtol=1e-3, atol=2e-3)


def test_the_likelihoods_are_those_of_scipy():
    rng = np.random.default_rng(2)
    x, err = 1e5 + rng.normal(size=50), rng.uniform(0, 1, 50)
    w, m, s = np.array([0.3, 0.7]), 1e5 + np.array([-1.0, 0.5]), np.array([0.5, 2.0])
    density = (w[:, None] * norm.pdf(x, m[:, None], np.hypot(s[:, None], err))).sum(axis=0)
    assert loglik(Rows(x, err), w, m, s) == pytest.approx(np.log(density).sum(), rel=1e-12)
    edges = 1e5 + np.linspace(-8, 8, 9)
    counts = np.histogram(x, edges)[0]
    mass = (w[:, None] * np.diff(norm.cdf(edges, m[:, None], s[:, None]))).sum(axis=0)
    assert loglik(Bins(edges, counts), w, m, s) == pytest.approx(counts @ np.log(mass), rel=1e-10)
    low, high = x - rng.choice([1e-4, 0.1, 1.0], 50), x + 0.3
    ends = (norm.cdf(end, m[:, None], np.hypot(s[:, None], err)) for end in (high, low))
    mass = (w[:, None] * np.subtract(*ends)).sum(axis=0)
    # The differences of the distribution function have lost some digits, by the offset of the values too.
    assert loglik(Intervals(low, high, err), w, m, s) == pytest.approx(np.log(mass / (high - low)).sum(), rel=1e-8)


@catalogs
@campaign
def test_overlap_1e4():
    x, e = read("overlap_1e4.csv")
    found = best(maximise(Rows(x, e), 3, n_starts=12))
    assert found.loglik == pytest.approx(-19830.2065771302, abs=1e-5)
    np.testing.assert_allclose(found.weights, [0.37704907, 0.47608288, 0.14686805], atol=1e-4)
    np.testing.assert_allclose(found.means, [-0.74584240, -0.13888994, 2.99472873], atol=1e-4)
    np.testing.assert_allclose(found.sigmas, [1.64633623, 1.02230561, 0.45980696], atol=1e-4)
    assert best(maximise(Rows(x), 3, 1e-3, n_starts=12)).loglik == pytest.approx(-19894.29671228, abs=1e-5)


@catalogs
def test_galaxies():
    data = Rows(read("galaxies.csv"))
    assert best(maximise(data, 3, 0.041)).loglik == pytest.approx(-203.1792, abs=1e-4)
    assert 11 * np.log(82) - 2 * best(maximise(data, 4, 0.041)).loglik == pytest.approx(443.3814, abs=1e-3)


@catalogs
def test_old_faithful_with_equal_widths():
    found = best(maximise(Rows(read("faithful_waiting.csv")), 2, 0.6, equal_sigmas=True))
    assert found.loglik == pytest.approx(-1034.002, abs=1e-3)
    assert found.weights[0] == pytest.approx(0.3608498, abs=1e-5)
    np.testing.assert_allclose(found.means, [54.61364, 80.09031], atol=1e-4)
    np.testing.assert_allclose(found.sigmas, 5.869089, atol=1e-5)


@catalogs
def test_neutron_stars_2018():
    path = CATALOGS / "neutron_stars" / "2018.csv"
    mass, up, low = np.genfromtxt(path, delimiter=",", skip_header=1, usecols=(2, 3, 4), unpack=True)
    found = best(maximise(Rows(mass, 0.5 * (up + low)), 2))
    np.testing.assert_allclose(found.means, [1.346, 1.782], atol=5e-4)
    np.testing.assert_allclose(found.sigmas, [0.078, 0.144], atol=5e-4)
    assert found.weights[0] == pytest.approx(0.72, abs=5e-3)


def test_histogram_of_one_normal_in_bins_of_one_sigma():
    """No density can be better than the shares of the bins."""
    counts, edges = np.histogram(np.random.default_rng(3).normal(0.2, 1.0, 10_000), np.arange(-6.0, 7.0))
    data = Bins(edges, counts)
    found = best(maximise(data, 1))
    filled = counts[counts > 0]
    assert found.loglik < filled @ np.log(filled / filled.sum())
    assert found.means[0] == pytest.approx(0.2, abs=0.04)
    assert found.sigmas[0] == pytest.approx(1.0, abs=0.03)
