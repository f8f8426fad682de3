"""The estimator for scikit-learn."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import mixpipe
from mixpipe.sklearn import MeasurementScaler, MixtureEstimator
from tests.campaign import campaign, study


class OfFirstColumn(MixtureEstimator):
    """Scikit-learn's checks come with tables of several columns: this one fits the first alone."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        return tags

    def _measured(self, table, err):
        return super()._measured(table[:, :1], err)


CONVENTIONS = parametrize_with_checks(
    [
        MixtureEstimator(2, n_threads=1),
        MixtureEstimator(max_components=2, structure="diagonal", n_threads=1),
        OfFirstColumn(2, n_threads=1),
        OfFirstColumn(max_components=3, n_threads=1),
    ]
)


# Checks that fit ten columns; see `test_joint_weights_are_repetitions`.
LONG = {"check_dtype_object": campaign, "check_sample_weight_equivalence_on_dense_data": study}


def marks(estimator, check) -> list:
    """Where a check is left to."""
    mark = None if isinstance(estimator, OfFirstColumn) else LONG.get(check.func.__name__)
    return [mark] if mark else []


@pytest.mark.parametrize(
    CONVENTIONS.args[0],
    [pytest.param(*case, marks=marks(*case)) for case in CONVENTIONS.args[1]],
    **CONVENTIONS.kwargs,
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


@pytest.mark.parametrize("options", [{"n_components": 2}, {"max_components": 2, "structure": "diagonal"}])
def test_joint_weights_are_repetitions(options):
    rng = np.random.default_rng(7)
    X = np.vstack([rng.normal(0, 1, (40, 2)), rng.normal([6, 3], 0.5, (30, 2))])
    repeats = np.arange(len(X)) % 3
    weighted = MixtureEstimator(**options).fit(X, sample_weight=repeats)
    repeated = MixtureEstimator(**options).fit(np.repeat(X, repeats, axis=0))
    # As for one column.
    assert weighted.means_ == pytest.approx(repeated.means_, abs=1e-4)
    assert weighted.covariances_ == pytest.approx(repeated.covariances_, abs=1e-4)


def test_sample(data):
    X, err = data
    estimator = MixtureEstimator(2).fit(X, err=err)
    drawn = estimator.sample(50_000, random_state=1)
    assert drawn.shape == (50_000, 1)
    assert np.array_equal(drawn, estimator.sample(50_000, random_state=1))
    expected = estimator.weights_ @ estimator.means_
    # Five standard errors of the mean, of a standard deviation of 3.
    assert drawn.mean() == pytest.approx(expected, abs=5 * 3 / 50_000**0.5)


def test_several_features_are_fitted_jointly(data):
    rng = np.random.default_rng(6)
    X = np.vstack([rng.normal(0, 1, (150, 3)), rng.normal([6, 0, 3], 0.5, (100, 3))])
    X[::7, 1] = np.nan
    err = rng.uniform(0.1, 0.4, X.shape)
    estimator = MixtureEstimator(2).fit(X, err=err)
    fit = mixpipe.fit_mixture(X, err, 2)
    assert np.array_equal(estimator.means_, fit.mixture.means)
    assert np.array_equal(estimator.covariances_, fit.mixture.covariances)
    assert np.array_equal(estimator.predict(X, err), fit.mixture.responsibilities(X, err).argmax(axis=1))
    assert estimator.score(X, err=err) * len(X) == pytest.approx(fit.loglik, abs=1e-8)
    assert estimator.sample(5).shape == (5, 3)
    cov = err[:, :, None] ** 2 * np.eye(3)
    assert MixtureEstimator(2).fit(X, cov=cov).score(X, cov=cov) == pytest.approx(estimator.score(X, err=err))
    with pytest.raises(ValueError, match=r"err must have shape \(250, 3\), found \(250,\)"):
        MixtureEstimator(2).fit(X, err=err[:, 0])
    with pytest.raises(ValueError, match="X has one feature, of which a value is NaN"):
        MixtureEstimator(2).fit(X[:, 1:2])


def test_a_pipeline_that_scales_values_and_errors_finds_the_same_mixture(data):
    X, err = data
    fit = mixpipe.fit_mixture(X[:, 0], err, 2)
    for order in ((X, err[:, None]), (err[:, None], X)):
        table, column = np.hstack(order), 1 if order[0] is X else 0
        scaler, estimator = MeasurementScaler(column), MixtureEstimator(2, err_column=column)
        pipeline = make_pipeline(scaler, estimator).fit(table)
        assert scaler.mean_ + scaler.scale_ * estimator.means_ == pytest.approx(fit.mixture.means, abs=1e-4)
        assert scaler.scale_ * estimator.sigmas_ == pytest.approx(fit.mixture.sigmas, rel=1e-4)
        proba = fit.mixture.responsibilities(X[:, 0], err)
        np.testing.assert_allclose(pipeline.predict_proba(table), proba, atol=1e-4)
        # A density has the inverse unit of the values.
        assert pipeline.score(table) == pytest.approx(fit.loglik / len(X) + np.log(scaler.scale_), abs=1e-6)
        np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(table)), table, rtol=1e-12)


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler()])
def test_errors_that_cannot_have_been_scaled_are_warned_of(data, scaler):
    X, err = data
    estimator = MixtureEstimator(2)
    with pytest.warns(UserWarning, match="as a scaler leaves it, which does not scale err"):
        estimator.fit(scaler.fit_transform(X), err=err)
    assert any("MeasurementScaler" in text for text in estimator.result_.warnings)


@pytest.mark.filterwarnings("error")
def test_no_warning_where_nothing_was_scaled(data):
    X, err = data
    MixtureEstimator(2).fit(X, err=err)
    MixtureEstimator(2).fit(StandardScaler().fit_transform(X))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X, err: MixtureEstimator(2, err_column=2).fit(X), "err_column must be 0, 1 or None, found 2"),
        (lambda X, err: MixtureEstimator(2, err_column=1).fit(X), "X has 1 features; expected two"),
        (lambda X, err: MixtureEstimator(2, err_column=1).fit(np.hstack([X, X]), err=err), "expected one of them"),
        (lambda X, err: MeasurementScaler(3).fit(np.hstack([X, X])), "err_column must be 0 or 1, found 3"),
        (lambda X, err: MeasurementScaler().fit(X), "X has 1 features; expected two"),
        (lambda X, err: MeasurementScaler().fit(np.hstack([X, X])), "column 1 of X has negative numbers"),
    ],
)
def test_mistakes_with_columns_are_named(data, make, message):
    with pytest.raises(ValueError, match=message):
        make(*data)
