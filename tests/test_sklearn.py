"""The estimator for scikit-learn."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

import mixpipe
from mixpipe import sklearn as adapter
from mixpipe.sklearn import MixtureEstimator


class OfFirstColumn(MixtureEstimator):
    """Scikit-learn's checks come with tables of several columns, which the estimator would refuse."""

    def _values(self, X, *, reset=False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(adapter, "_only_column", lambda table: table[:, 0])
            return super()._values(X, reset=reset)


def cannot_pass(estimator) -> dict[str, str]:
    return {
        # Repeated rows are ties, and ties of values without errors raise the lower bound of the sigmas.
        "check_sample_weight_equivalence_on_dense_data": "a repeated value without error says how values are rounded"
    }


@parametrize_with_checks(
    [OfFirstColumn(2, n_threads=1), OfFirstColumn(max_components=3, n_threads=1)], expected_failed_checks=cannot_pass
)
def test_conventions_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    true = np.concatenate([rng.normal(0.0, 1.0, 200), rng.normal(6.0, 0.5, 100)])
    err = rng.uniform(0.1, 0.5, true.size)
    return (true + rng.normal(0.0, err))[:, None], err


def test_is_the_fit_of_the_library(data):
    X, err = data
    estimator = MixtureEstimator(2).fit(X, err=err)
    fit = mixpipe.fit_mixture(X[:, 0], err, 2)
    assert np.array_equal(estimator.means_, fit.mixture.means)
    assert np.array_equal(estimator.weights_, fit.mixture.weights)
    assert np.array_equal(estimator.sigmas_, fit.mixture.sigmas)
    proba = estimator.predict_proba(X, err)
    assert np.array_equal(proba, fit.mixture.responsibilities(X[:, 0], err))
    assert np.array_equal(estimator.predict(X, err), proba.argmax(axis=1))
    # Rounding of sums over the rows.
    assert estimator.bic(X, err) == pytest.approx(fit.bic, abs=1e-8)
    assert estimator.aic(X, err) == pytest.approx(fit.aic, abs=1e-8)
    assert estimator.score(X, err=err) * len(X) == pytest.approx(fit.loglik, abs=1e-8)


def test_without_errors_agrees_with_scikit_learn(data):
    X, _ = data
    ours = MixtureEstimator(2).fit(X)
    peer = GaussianMixture(2, tol=1e-12, reg_covar=0.0, max_iter=1000, means_init=[[0.0], [6.0]]).fit(X)
    order = peer.means_[:, 0].argsort()
    # Their EM stops when a step gains less than 1e-12 per row: some 1e-5 in the parameters.
    assert ours.means_ == pytest.approx(peer.means_[order, 0], abs=1e-4)
    assert ours.sigmas_**2 == pytest.approx(peer.covariances_[order, 0, 0], rel=1e-4)
    assert ours.bic(X) == pytest.approx(peer.bic(X), abs=1e-6)


def test_number_of_components_is_chosen(data):
    X, err = data
    estimator = MixtureEstimator(max_components=4).fit(X, err=err)
    assert estimator.n_components_ == 2
    assert clone(estimator).n_components is None


def test_weights_are_repetitions(data):
    X, err = data
    repeats = np.arange(len(X)) % 3
    weighted = MixtureEstimator(2).fit(X, err=err, sample_weight=repeats)
    repeated = MixtureEstimator(2).fit(np.repeat(X, repeats, axis=0), err=np.repeat(err, repeats))
    # Fits end within 1e-3 nats of the maximum, normally 1e-9: that is some 1e-5 uncertainties.
    assert weighted.means_ == pytest.approx(repeated.means_, abs=1e-4)
    assert weighted.sigmas_ == pytest.approx(repeated.sigmas_, abs=1e-4)


def test_sample(data):
    X, err = data
    estimator = MixtureEstimator(2).fit(X, err=err)
    drawn = estimator.sample(50_000, random_state=1)
    assert drawn.shape == (50_000, 1)
    assert np.array_equal(drawn, estimator.sample(50_000, random_state=1))
    expected = estimator.weights_ @ estimator.means_
    # Five standard errors of the mean, of a standard deviation of 3.
    assert drawn.mean() == pytest.approx(expected, abs=5 * 3 / 50_000**0.5)


def test_more_than_one_feature_is_refused(data):
    X, err = data
    with pytest.raises(ValueError, match="X has 2 features; expected one"):
        MixtureEstimator(2).fit(np.hstack([X, X]), err=err)
