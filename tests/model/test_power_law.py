"""Power laws on a range, against integrals over the logarithm of the true value."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

import mixpipe
from mixpipe.model.families import FAMILIES
from mixpipe.model.families.power_law import range_of, range_parameters
from tests.campaign import campaign, mostly_campaign

LAW = FAMILIES["power_law"]
LOW, HIGH = 1.0, 100.0
RANGE = range_parameters(LOW, HIGH)
INDICES = (-2.0, 0.0, 1.0, 2.35, 6.0)
# Values and errors: inside, below and above the range, beside its edge, with small and with large errors.
ROWS = ((5.0, 0.5), (0.2, 0.3), (1.02, 0.01), (120.0, 4.0), (50.0, 30.0), (2.0, 1e-3), (-3.0, 2.0))


def integral(index, x, err, kernel):
    """The integral of density times kernel((x - z) / err), over ln z in panels around x."""
    norm = quad(lambda u: math.exp((1.0 - index) * u), 0.0, math.log(HIGH))[0]
    marks = [x + err * k for k in (-9, -6, -4, -2, -1, -0.3, 0, 0.3, 1, 2, 4, 6, 9)]
    ends = sorted({0.0, math.log(HIGH), *(math.log(min(max(mark, LOW), HIGH)) for mark in marks)})
    layer = [end for k in range(1, 8) for end in (ends[0] + 0.5**k * 0.2, ends[-1] - 0.5**k * 0.2)]
    ends = sorted({*ends, *layer})
    parts = [
        quad(lambda u: math.exp((1.0 - index) * u) * kernel((x - math.exp(u)) / err), a, b, epsrel=1e-10)[0]
        for a, b in itertools.pairwise(ends)
    ]
    return math.fsum(parts) / norm


def _first(q):
    return q * stats.norm.pdf(q)


def _second(q):
    return q**2 * stats.norm.pdf(q)


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize("index", INDICES)
def test_convolution(index):
    for x, err in ROWS:
        for name, kernel, unit in (
            ("logpdf", stats.norm.pdf, err),
            ("logcdf", stats.norm.cdf, 1.0),
            ("logsf", stats.norm.sf, 1.0),
        ):
            found = float(getattr(LAW, name)(x, err, *RANGE, index))
            assert found == pytest.approx(math.log(integral(index, x, err, kernel) / unit), abs=1e-7), (name, x, err)


@pytest.mark.parametrize("index", INDICES)
def test_posterior_moments(index):
    for x, err in ROWS[:6]:
        # Of q = (x - z) / err.
        total, first, second = (integral(index, x, err, kernel) for kernel in (stats.norm.pdf, _first, _second))
        mean = first / total
        found = LAW.posterior(x, err, *RANGE, index)
        assert float(found[0]) == pytest.approx(x - err * mean, rel=1e-7)
        assert float(found[1]) == pytest.approx(err**2 * (second / total - mean**2), rel=1e-5)


@pytest.mark.parametrize("index", INDICES)
def test_true_values(index):
    edges = np.geomspace(LOW, HIGH, 2001)
    middle = np.sqrt(edges[1:] * edges[:-1])
    density = np.exp(LAW.logpdf(middle, 0.0, *RANGE, index))
    assert np.sum(density * np.diff(edges)) == pytest.approx(1.0, abs=1e-5)
    below = np.exp(LAW.logcdf(edges, 0.0, *RANGE, index))
    assert below[[0, -1]] == pytest.approx([0.0, 1.0], abs=1e-12)
    assert below + np.exp(LAW.logsf(edges, 0.0, *RANGE, index)) == pytest.approx(np.ones(edges.size), abs=1e-12)
    assert np.diff(below) == pytest.approx(density * np.diff(edges), rel=1e-4)
    assert LAW.logpdf([0.5, 101.0], 0.0, *RANGE, index).tolist() == [-math.inf, -math.inf]
    z = LAW.sample(20_000, *RANGE, index, np.random.default_rng(5))
    assert stats.kstest(z, lambda values: np.exp(LAW.logcdf(values, 0.0, *RANGE, index))).pvalue > 1e-4


def test_range_and_back():
    assert range_of(*range_parameters(0.3, 7.0)) == pytest.approx((0.3, 7.0))


@pytest.mark.parametrize("seed", mostly_campaign(range(4), 0))
def test_lines_on_a_power_law_are_found(seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([LAW.sample(900, *range_parameters(1.0, 1000.0), 2.25, rng), rng.normal(12.0, 0.5, 100)])
    known = [{"family": "power_law", "low": 1.0, "high": 1000.0}]
    fit = mixpipe.fit_mixture(x.clip(1.0, 1000.0), 0.01, 2, known=known)
    law = fit.mixture.families.index("power_law")
    unc = fit.uncertainties
    assert abs(fit.mixture.shapes[law] - 2.25) < 4.0 * unc.shapes[law] < 0.3
    assert abs(fit.mixture.means[1 - law] - 12.0) < 4.0 * unc.means[1 - law] < 0.5
    assert abs(fit.mixture.weights[1 - law] - 0.1) < 4.0 * unc.weights[1 - law] < 0.05
    assert fit.n_params == 4


@campaign
def test_a_power_law_is_chosen_or_not():
    rng = np.random.default_rng(0)
    options = {"mixed": ["gaussian", "power_law"], "max_components": 2}
    law = mixpipe.choose_n_components(LAW.sample(400, *RANGE, 2.0, rng), 0.01, **options)
    assert law.best.mixture.families == ("power_law",)
    bell = mixpipe.choose_n_components(rng.normal(50.0, 5.0, 400), 1.0, **options)
    assert bell.best.mixture.families == ("gaussian",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"known": [{"family": "power_law"}]}, "without a range: expected low and high"),
        ({"known": [{"family": "power_law", "low": -1, "high": 3}]}, "a range of positive values"),
        ({"known": [{"family": "power_law", "low": 3, "high": 1}]}, "expected low < high"),
        ({"known": [{"family": "uniform", "low": 0, "high": 1, "mean": 2}]}, "neither mean nor sigma"),
        ({"family": "power_law"}, "unknown family 'power_law'"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        mixpipe.fit_mixture([1.0, 2.0, 3.0], 0.1, 2, **options)
