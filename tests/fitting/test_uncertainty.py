"""Standard errors: closed forms, the oracle's information matrix, and their coverage."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

import mixpipe
from mixpipe.fitting.histogram.fit import fit_histogram
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from tests import reference as ref


def draw(n, mixture, rng, error=0.4):
    err = error * np.exp(0.5 * rng.standard_normal(n))
    return mixture.sample(n, rng) + err * rng.standard_normal(n), err


def oracle_scores(x, err, mixture):
    """Derivatives of each ln p(x_i) by (w, m, s^2), shape (n_rows, 3 n_components)."""
    w, m, s = mixture.weights, mixture.means, mixture.sigmas
    q = np.array(ref.responsibilities(x.tolist(), err.tolist(), w.tolist(), m.tolist(), s.tolist()))
    total, offset = s**2 + err[:, None] ** 2, x[:, None] - m
    return np.hstack([q / w, q * offset / total, 0.5 * q * (offset**2 / total**2 - 1.0 / total)])


def oracle_covariance(x, err, mixture, row_weights=None, importance=False):
    """Of all weights, means and sigmas, from the inverse information in (w_1 .. w_{M-1}, m, s^2), the last weight being
    one minus the others.

    For weights that do not count rows A^-1 B A^-1, B the sum of the products of the scores with squared weights.
    """
    w, m = mixture.weights, mixture.means
    size = w.size
    n = sum(ref.row_counts(x, row_weights))
    gradient, hessian = ref.gradient_and_hessian(
        x.tolist(), err.tolist(), np.log(w).tolist(), m.tolist(), (mixture.sigmas**2).tolist(), row_weights
    )
    gradient, hessian = np.array(gradient), np.array(hessian)
    # From the Lagrangian in ln w to the log-likelihood in ln w, and on to w.
    hessian[:size, :size] += n * np.diag(w)
    hessian[:size, :size] -= np.diag(gradient[:size] + n * w)
    unit = np.concatenate([1.0 / w, np.ones(2 * size)])
    hessian *= np.outer(unit, unit)
    constraint = np.delete(np.eye(3 * size), size - 1, axis=1)
    constraint[size - 1, : size - 1] = -1.0
    inverse = np.linalg.inv(-constraint.T @ hessian @ constraint)
    if importance:
        scores = np.array(row_weights)[:, None] * oracle_scores(x, err, mixture) @ constraint
        inverse = inverse @ scores.T @ scores @ inverse
    by_sigma = np.concatenate([np.ones(2 * size), 1.0 / (2.0 * mixture.sigmas)])
    return constraint @ inverse @ constraint.T * np.outer(by_sigma, by_sigma)


def oracle_uncertainties(x, err, mixture, row_weights=None, importance=False):
    """Uncertainties of weights, means and sigmas."""
    return np.sqrt(np.diag(oracle_covariance(x, err, mixture, row_weights, importance))).reshape(3, -1)


@pytest.mark.parametrize("error", [0.0, 0.7])
def test_one_component_with_equal_errors_in_closed_form(error):
    x = np.random.default_rng(1).normal(3.0, 2.0, 200)
    fit = mixpipe.fit_mixture(x, error, n_components=1)
    total = x.var()  # s^2 + e^2 at the maximum
    sigma = math.sqrt(total - error**2)
    unc = fit.uncertainties
    # The fit is within 5e-5 standard errors of the maximum, and these depend smoothly on it.
    assert unc.means[0] == pytest.approx(math.sqrt(total / 200), rel=1e-4)
    # The variance of s^2 is 2 T^2 / N, and d s = d(s^2) / (2 s).
    assert unc.sigmas[0] == pytest.approx(total / (sigma * math.sqrt(2 * 200)), rel=1e-4)
    assert unc.weights[0] == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize(
    "truth",
    [
        Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7]),
        Mixture([0.35, 0.5, 0.15], [-1.0, 2.0, 5.0], [1.5, 0.5, 0.5]),
    ],
    ids=["two", "three overlapping"],
)
@pytest.mark.parametrize("kind", ["none", "counts", "importance"])
def test_uncertainties_are_the_inverse_information_of_the_oracle(truth, kind):
    rng = np.random.default_rng(2)
    x, err = draw(400, truth, rng)
    row_weights = np.ones(400) if kind == "none" else rng.uniform(0.5, 2.0, 400)
    if kind == "importance":
        cells = Cells.from_rows(x, err, row_weights)
        row_weights *= row_weights.sum() / np.sum(row_weights**2)
    else:
        cells = Cells(x, err, row_weights)
    fit = mixpipe.fit_mixture(cells, n_components=truth.n_components)
    assert not fit.boundary.any()
    expected = oracle_uncertainties(x, err, fit.mixture, row_weights.tolist(), kind == "importance")
    # Both at one point, the fitted one; the gradient that is left there, 1e-5 of its scatter, enters one of the two.
    for got, value in zip(
        (fit.uncertainties.weights, fit.uncertainties.means, fit.uncertainties.sigmas), expected, strict=True
    ):
        np.testing.assert_allclose(got, value, rtol=1e-4)
    # So are the covariances, relative to the uncertainties.
    covariance = oracle_covariance(x, err, fit.mixture, row_weights.tolist(), kind == "importance")
    scale = np.concatenate(expected)
    np.testing.assert_allclose(fit.covariance / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=1e-4)


def all_uncertainties(fit):
    unc = fit.uncertainties
    shaped = np.isfinite(fit.mixture.shapes)
    return np.concatenate([unc.weights, unc.means, unc.sigmas, unc.shapes[shaped]])


def two_groups(n=300):
    rng = np.random.default_rng(7)
    return draw(n, Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7]), rng)


FITS = {
    "one": lambda x, err: mixpipe.fit_mixture(x, err, 1),
    "two": lambda x, err: mixpipe.fit_mixture(x, err, 2),
    "importance": lambda x, err: mixpipe.fit_mixture(x, err, 2, weights=1.0 + 0.5 * np.sin(x)),
    "laplace": lambda x, err: mixpipe.fit_mixture(x, err, 2, family="laplace"),
    "skewed": lambda x, err: mixpipe.fit_mixture(x, err, 1, family="skew_normal"),
    "background": lambda x, err: mixpipe.fit_mixture(x, err, 3, background=(-4.0, 8.0)),
    "limits": lambda x, err: mixpipe.fit_mixture(x, err, 2, limits=np.where(x < -0.5, -1, 0)),
    "truncated": lambda x, err: mixpipe.fit_mixture(x[x > -1.0], err[x > -1.0], 2, truncated=(-1.0, np.inf)),
    "moments": lambda x, err: mixpipe.fit_moments(x, err, 2),
    "histogram": lambda x, err: fit_histogram(x, err, 2),
    "boundary": lambda x, err: mixpipe.fit_mixture(x, 1.5, 2),
}


@pytest.mark.parametrize("kind", FITS)
def test_covariance_agrees_with_the_uncertainties(kind):
    """Exactly on the diagonal; it is symmetric and has no negative eigenvalue, and the weights sum to one."""
    fit = FITS[kind](*two_groups())
    unc, names = all_uncertainties(fit), fit.parameter_names
    size = fit.n_components
    assert fit.covariance.shape == (len(names), len(names))
    assert names[: 3 * size] == tuple(f"{name}_{j + 1}" for name in ("weight", "mean", "sigma") for j in range(size))
    assert names[3 * size :] == (("shape_1",) if kind == "skewed" else ())
    np.testing.assert_array_equal(np.sqrt(np.diag(fit.covariance)), unc)
    known = np.isfinite(unc)
    assert known[:size].all() and np.isnan(fit.covariance[~known]).all() and np.isnan(fit.covariance[:, ~known]).all()
    found = fit.covariance[np.ix_(known, known)]
    assert np.isfinite(found).all() and np.array_equal(found, found.T)
    units = np.where(unc[known] > 0.0, unc[known], 1.0)
    scaled = found / np.outer(units, units)
    assert np.linalg.eigvalsh(scaled).min() > -1e-9
    # Rounding of 1 / n_data, which is subtracted.
    np.testing.assert_allclose((fit.covariance[:size][:, known] / units).sum(axis=0), 0.0, atol=1e-9)


def test_what_is_held_has_no_covariance():
    x, err = two_groups()
    background = mixpipe.fit_mixture(x, err, 3, background=(-4.0, 8.0))
    held = background.mixture.families.index("uniform") + 1
    unknown = np.flatnonzero(np.isnan(np.diag(background.covariance)))
    assert [background.parameter_names[k] for k in unknown] == [f"mean_{held}", f"sigma_{held}"]
    equal = mixpipe.fit_mixture(x, err, 2, equal_sigmas=True)
    # Equal sigmas are one parameter.
    assert equal.covariance[4] == pytest.approx(equal.covariance[5])


def test_both_engines_have_one_covariance():
    """Bounds far beyond the data say nothing, but the other engine fits."""
    x, err = two_groups()
    ours, other = (mixpipe.fit_mixture(x, err, 2, truncated=bounds) for bounds in (None, (-1e6, 1e6)))
    unc = all_uncertainties(ours)
    # Both are within 1e-4 standard errors of the maximum.
    scale = np.outer(unc, unc)
    np.testing.assert_allclose(other.covariance / scale, ours.covariance / scale, atol=1e-3)


def test_covariance_is_in_the_units_of_the_data():
    x, err = two_groups()
    fit, scaled = mixpipe.fit_mixture(x, err, 2), mixpipe.fit_mixture(100.0 * x + 7.0, 100.0 * err, 2)
    factor = np.array([1.0, 1.0, *[100.0] * 4])
    unc = factor * all_uncertainties(fit)
    expected = fit.covariance * np.outer(factor, factor)
    np.testing.assert_allclose(scaled.covariance / np.outer(unc, unc), expected / np.outer(unc, unc), atol=1e-5)


def test_a_covariance_of_another_size_is_refused():
    fit = mixpipe.fit_mixture(*two_groups(50), 2)
    with pytest.raises(ValueError, match=r"covariance must have shape \(6, 6\), found \(4, 4\)"):
        replace(fit, covariance=np.zeros((4, 4)))


def test_weights_of_separated_components_have_the_binomial_error():
    rng = np.random.default_rng(3)
    x, err = draw(500, Mixture([0.3, 0.7], [0.0, 100.0], [1.0, 1.0]), rng)
    fit = mixpipe.fit_mixture(x, err, 2)
    w = fit.mixture.weights
    np.testing.assert_allclose(fit.uncertainties.weights, np.sqrt(w * (1 - w) / 500), rtol=1e-6)


def test_a_sigma_at_the_boundary_has_no_error_and_the_others_have_theirs():
    err = np.full(100, 1.0)
    x = np.concatenate([0.5 * np.linspace(-1, 1, 50), 20.0 + 3.0 * np.linspace(-1, 1, 50)])
    fit = mixpipe.fit_mixture(x, err, 2)
    assert fit.boundary.tolist() == [True, False]
    assert np.isnan(fit.uncertainties.sigmas).tolist() == [True, False]
    # At s = 0 the mean of 50 rows with an error of one.
    assert fit.uncertainties.means[0] == pytest.approx(1.0 / math.sqrt(50.0), rel=1e-4)
    assert fit.uncertainties.weights[0] == pytest.approx(0.5 / math.sqrt(100.0), rel=1e-4)


def test_two_components_where_the_data_hold_one_have_no_errors():
    fit = mixpipe.fit_mixture([1.0], 0.1, 2)
    for part in ("weights", "means", "sigmas"):
        assert np.all(np.isnan(getattr(fit.uncertainties, part)))


def test_a_component_without_weight_has_no_errors_and_no_warning():
    """The data hold one component: the second ends with no weight at all."""
    fit = mixpipe.fit_mixture([0.0, 0.0, 2.0], [1.0, 0.5, 1.0], 2)
    assert np.all(np.isnan(fit.uncertainties.means))


@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_uncertainties_scale_with_the_data(scale):
    x, err = draw(300, Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7]), np.random.default_rng(4))
    one = mixpipe.fit_mixture(x, err, 2).uncertainties
    other = mixpipe.fit_mixture(scale * x, scale * err, 2).uncertainties
    np.testing.assert_allclose(other.weights, one.weights, rtol=1e-3)
    np.testing.assert_allclose(other.means, scale * one.means, rtol=1e-3)
    np.testing.assert_allclose(other.sigmas, scale * one.sigmas, rtol=1e-3)


def test_intervals_of_one_sigma_cover_68_percent():
    """200 catalogs of two separated components: 0.683 +- 0.033 for one parameter, so +- 0.1 is three of these."""
    truth = Mixture([0.4, 0.6], [0.0, 8.0], [1.0, 1.5])
    rng = np.random.default_rng(5)
    hits = np.zeros((3, 2))
    n = 200
    for _ in range(n):
        x, err = draw(300, truth, rng)
        fit = mixpipe.fit_mixture(x, err, 2, start=truth)
        for k, part in enumerate(("weights", "means", "sigmas")):
            miss = np.abs(getattr(fit.mixture, part) - getattr(truth, part))
            hits[k] += miss < getattr(fit.uncertainties, part)
    covered = hits / n
    assert np.all(np.abs(covered - 0.683) < 0.1), covered
    # All six together, nearly independent but for the two weights, which are one: 0.683 +- 0.015.
    assert abs(covered[:, 0].mean() - 0.683) < 0.06
    assert abs(covered[1:].mean() - 0.683) < 0.05


def test_uncertainties_stay_with_their_components_far_from_zero():
    """Equal means: at 1e9 they are equal in doubles, and sigma decides the order."""
    quantiles = ndtri((np.arange(400) + 0.5) / 400)
    x = np.concatenate([0.5 * quantiles, 5.0 * quantiles])
    near, far = mixpipe.fit_mixture(x, 0.5, 2), mixpipe.fit_mixture(1e9 + x, 0.5, 2)
    np.testing.assert_allclose(far.mixture.sigmas, near.mixture.sigmas, rtol=0.05, atol=0.01)
    # 1e9 + x is rounded to 1e-7.
    np.testing.assert_allclose(far.uncertainties.sigmas, near.uncertainties.sigmas, rtol=0.01)


def test_the_weight_of_a_single_component_is_certain():
    assert mixpipe.fit_mixture([1.0, 2.0, 4.0], 0.1, 1).uncertainties.weights.tolist() == [0.0]


@pytest.mark.parametrize("n", [300, 3000])
def test_uncertainty_of_a_median_without_errors(n):
    """Laplace components have no curvature between the cusps of the rows; the median scatters as b / sqrt(n)."""
    scale = math.sqrt(2.0)
    fits = [
        mixpipe.fit_mixture(np.random.default_rng(seed).laplace(3.0, scale, n), None, 1, family="laplace", n_threads=1)
        for seed in range(20)
    ]
    uncs = np.array([[fit.uncertainties.means[0], fit.uncertainties.sigmas[0]] for fit in fits])
    # The sigma is sqrt(2) b, and its uncertainty is sigma / sqrt(n).
    np.testing.assert_allclose(uncs, [[scale / math.sqrt(n), 2.0 / math.sqrt(n)]] * 20, rtol=0.3)
    means = np.array([fit.mixture.means[0] for fit in fits])
    # The variance of twenty means, to within a factor of two either way.
    assert 0.5 < np.mean((means - 3.0) ** 2) / np.mean(uncs[:, 0] ** 2) < 2.0
