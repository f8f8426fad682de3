"""Truncated mixtures against quadrature, SciPy's truncated normal distribution, and their own inverses."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import truncnorm

from mixpipe.model.mixture import Mixture
from mixpipe.model.truncated import TruncatedMixture


@pytest.mark.parametrize(
    ("mean", "sigma", "low", "high"),
    [(0.3, 0.8, 0.0, 4.0), (-0.8, 0.8, 0.0, 3.0), (9.0, 1.0, 0.0, 4.0), (-7.0, 1.0, 0.0, np.inf), (1.0, 0.1, 0.0, 9.0)],
)
def test_one_component_is_a_truncated_normal(mean, sigma, low, high):
    expected = truncnorm((low - mean) / sigma, (high - mean) / sigma, mean, sigma)
    fitted = TruncatedMixture(Mixture([1.0], [mean], [sigma]), low, high)
    q = np.linspace(0.01, 0.99, 21)
    x = expected.ppf(q)
    np.testing.assert_allclose(fitted.pdf(x), expected.pdf(x), rtol=1e-10)
    np.testing.assert_allclose(fitted.logpdf(x), expected.logpdf(x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(fitted.cdf(x), q, rtol=1e-9)
    np.testing.assert_allclose(fitted.ppf(q), x, rtol=1e-9)
    # The variance is a small difference where the peak lies far outside.
    np.testing.assert_allclose((fitted.mean, fitted.std), (expected.mean(), expected.std()), rtol=1e-6)


def test_several_components_against_quadrature():
    mixture = Mixture([0.3, 0.2, 0.5], [-0.2, 1.0, 2.9], [0.3, 0.1, 0.4])
    fitted = TruncatedMixture(mixture, 0.0, 3.0)
    moments = [quad(lambda x, k=k: x**k * fitted.pdf(x), 0.0, 3.0, points=[0.7, 1.0, 1.3])[0] for k in range(3)]
    assert moments[0] == pytest.approx(1.0, abs=1e-9)
    assert fitted.mean == pytest.approx(moments[1], abs=1e-9)
    assert fitted.std == pytest.approx(np.sqrt(moments[2] - moments[1] ** 2), abs=1e-8)
    assert fitted.inside == pytest.approx(float(mixture.cdf(3.0) - mixture.cdf(0.0)), abs=1e-12)
    assert fitted.pdf([-0.1, 3.1]).tolist() == [0.0, 0.0]
    assert fitted.logpdf(3.1) == -np.inf
    assert fitted.cdf([-1.0, 0.0, 3.0, 9.0]).tolist() == [0.0, 0.0, 1.0, 1.0]
    assert fitted.ppf([0.0, 1.0]).tolist() == [0.0, 3.0]
    assert np.isnan(fitted.ppf([-0.1, 1.1, np.nan])).all()


def test_what_cannot_be_truncated():
    with pytest.raises(ValueError, match="bounds must increase, found 1 and 0"):
        TruncatedMixture(Mixture([1.0], [0.0], [1.0]), 1, 0)
    with pytest.raises(ValueError, match="has to be Gaussian, found laplace"):
        TruncatedMixture(Mixture([1.0], [0.0], [1.0], ("laplace",)), 0, 1)
