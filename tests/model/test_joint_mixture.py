"""What a mixture of several columns implies for observed rows, against the oracle and closed forms."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from scipy.stats import multivariate_normal

from mixpipe.model.joint.mixture import JointMixture
from tests import joint_reference as oracle
from tests.fitting.test_joint import with_gaps
from tests.fitting.test_joint_reference import draw, random_mixture


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    truth = random_mixture(rng, 3, 3)
    x, S, _ = draw(60, truth, 2)
    return JointMixture(*truth, names=("a", "b", "c")), with_gaps(rng, np.array(x)), np.array(S)


def test_densities_memberships_and_posteriors_equal_the_oracle(rows):
    mixture, x, S = rows
    slow = oracle.from_missing(x, S)
    parts = mixture.weights, mixture.means, mixture.covariances
    assert mixture.logpdf(x, cov=S) == pytest.approx(oracle.log_densities(*slow, *parts), abs=1e-11)
    assert mixture.responsibilities(x, cov=S) == pytest.approx(oracle.responsibilities(*slow, *parts), abs=1e-12)
    means, covs = mixture.posterior(x, cov=S)
    expected_means, expected_covs = oracle.posterior(*slow, *parts)
    assert means == pytest.approx(expected_means, abs=1e-11)
    assert covs == pytest.approx(expected_covs, abs=1e-11)


def test_a_row_without_any_value_says_nothing(rows):
    mixture, _, _ = rows
    nothing = np.full((1, 3), np.nan)
    assert mixture.logpdf(nothing) == [0.0]
    assert mixture.responsibilities(nothing)[0] == pytest.approx(mixture.weights)
    mean, cov = mixture.posterior(nothing)
    sample = mixture.sample(200_000, np.random.default_rng(3))
    assert mean[0] == pytest.approx(sample.mean(axis=0), abs=5.0 * sample.std() / 450)
    assert cov[0] == pytest.approx(np.cov(sample.T), abs=0.1)


def test_marginal_and_conditional_make_up_the_whole(rows):
    mixture, _, _ = rows
    point = {"a": 0.3, "b": -0.5, "c": 1.1}
    whole = mixture.pdf([[0.3, -0.5, 1.1]])[0]
    given = mixture.condition({"b": -0.5})
    assert given.names == ("a", "c")
    assert mixture.marginal("b").pdf(point["b"]) * given.pdf([[0.3, 1.1]])[0] == pytest.approx(whole, rel=1e-10)
    pair = mixture.marginal(["c", "a"])
    assert pair.names == ("c", "a")
    assert pair.pdf([[1.1, 0.3]])[0] == pytest.approx(mixture.pdf([[0.3, np.nan, 1.1]])[0], rel=1e-12)


def test_condition_with_errors_is_the_posterior(rows):
    mixture, _, _ = rows
    given = mixture.condition({"a": 0.5}, err={"a": 0.7})
    mean, cov = mixture.posterior([[0.5, np.nan, np.nan]], err=[[0.7, 0.0, 0.0]])
    assert given.weights @ given.means == pytest.approx(mean[0, 1:])
    away = given.means - mean[0, 1:]
    total = np.einsum("j,jab->ab", given.weights, given.covariances + away[:, :, None] * away[:, None, :])
    assert total == pytest.approx(cov[0, 1:, 1:])


def test_density_is_that_of_scipy():
    mixture = JointMixture([1.0], [[1.0, 2.0]], [[[2.0, 0.5], [0.5, 1.0]]])
    x = np.random.default_rng(4).normal(size=(20, 2))
    noise = np.array([[0.3, -0.1], [-0.1, 0.2]])
    expected = multivariate_normal([1.0, 2.0], mixture.covariances[0] + noise).logpdf(x)
    assert mixture.logpdf(x, cov=noise) == pytest.approx(expected, abs=1e-12)


def test_components_are_sorted_and_arrays_cannot_be_changed():
    mixture = JointMixture([0.3, 0.7], [[2.0, 0.0], [1.0, 5.0]], np.tile(np.eye(2), (2, 1, 1)))
    assert mixture.weights.tolist() == [0.7, 0.3]
    assert mixture.names == ("x0", "x1")
    with pytest.raises(ValueError, match="read-only"):
        mixture.means[0, 0] = 3.0


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (([0.5, 0.5], [[0.0, 1.0]], [np.eye(2)]), "expected weights of shape"),
        (([0.9], [[0.0, 1.0]], [np.eye(2)]), "sum to one"),
        (([1.0], [[0.0, np.nan]], [np.eye(2)]), "must be finite"),
        (([1.0], [[0.0, 1.0]], [[[1.0, 2.0], [2.0, 1.0]]]), "negative eigenvalue"),
        (([1.0], [[0.0, 1.0]], [np.eye(2)], ("a", "a")), "names must be 2 different names"),
    ],
)
def test_bad_mixtures_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        JointMixture(*parts)


def test_errors_that_are_missing_are_refused(rows):
    mixture, x, _ = rows
    err = np.where(np.isnan(x), np.nan, 0.1)
    # Those of missing values are not used.
    assert np.array_equal(mixture.logpdf(x, err), mixture.logpdf(x, 0.1))
    err[3] = np.nan
    with pytest.raises(ValueError, match="the errors of 1 rows are not finite, the first of them row 3"):
        mixture.logpdf(x, err)


def test_unknown_columns_are_refused(rows):
    mixture, _, _ = rows
    with pytest.raises(ValueError, match="no column 'd': expected some of a, b, c"):
        mixture.marginal("d")
    with pytest.raises(ValueError, match="expected values of some of the columns, and not of all"):
        mixture.condition({"a": 1.0, "b": 1.0, "c": 1.0})
    with pytest.raises(ValueError, match=r"x must have shape \(n, 3\), for a, b, c"):
        mixture.logpdf([[1.0, 2.0]])


def test_rows_of_tables_masks_and_missing_values_are_read_as_in_a_fit(rows):
    mixture, x, S = rows
    expected = mixture.logpdf(x, cov=S)
    gaps = np.isnan(x)
    assert gaps.any()
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).astype("Float64")
    frame = frame.mask(pd.DataFrame(gaps, columns=frame.columns))
    for values in (frame, np.ma.masked_array(np.where(gaps, 1e3, x), gaps), Table.from_pandas(frame)):
        assert np.array_equal(mixture.logpdf(values, cov=S), expected)
    with pytest.raises(ValueError, match="x has the columns c, b, a; expected the order a, b, c"):
        mixture.posterior(frame[["c", "b", "a"]], cov=S)


@pytest.mark.parametrize("cov", [np.diag([-1.0, 1.0, 1.0]), [[1, 2, 0], [2, 1, 0], [0, 0, 1]], np.tri(3)])
def test_matrices_that_are_no_covariances_are_refused(rows, cov):
    with pytest.raises(ValueError, match="cov of 2 rows is no covariance, the first of them row 0"):
        rows[0].logpdf(np.zeros((2, 3)), cov=cov)


def test_samples_have_the_widths_of_columns_of_very_different_scales():
    scales = np.array([1.0, 1e-10, 1e9])
    correlations = np.array([[1.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 1.0]])
    mixture = JointMixture([1.0], np.zeros((1, 3)), (correlations * scales[:, None] * scales)[None])
    x = mixture.sample(20_000, np.random.default_rng(1)) / scales
    assert np.allclose(np.cov(x.T), correlations, atol=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mixture: mixture.marginal([]), r"expected at least one of the columns, each once; found \[\]"),
        (lambda mixture: mixture.marginal(["a", "a"]), "each once"),
        (lambda mixture: mixture.condition({"a": np.nan}), "the value of 'a' is nan; expected a finite number"),
        (lambda mixture: mixture.condition({"a": np.inf}), "the value of 'a' is inf; expected a finite number"),
        (lambda mixture: mixture.condition({"a": 1.0}, {"a": -1.0}), "the error of 'a' is -1.0"),
        (lambda mixture: mixture.condition({"a": 1.0}, {"a": np.nan}), "the error of 'a' is nan"),
    ],
)
def test_columns_and_values_that_cannot_be_used_are_named(call, message):
    mixture = JointMixture([1.0], [[0.0, 0.0]], [np.eye(2)], ["a", "b"])
    with pytest.raises(ValueError, match=message):
        call(mixture)
