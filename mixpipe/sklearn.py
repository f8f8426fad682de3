"""A mixture as scikit-learn sees it: a density estimator of one feature or several, with errors for each row.

Needs scikit-learn: ``pip install "mixpipe[sklearn]"``.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from mixpipe.base.arrays import Array
from mixpipe.fitting.choose import choose_n_components, fit_mixture
from mixpipe.model.criteria import aic, bic
from mixpipe.model.results import FitResult

# Rounding of what a scaler leaves.
_SCALED = 1e-9


class MixtureEstimator(DensityMixin, BaseEstimator):
    """Mixture of one feature, or of several jointly, with measurement errors for each row.

    Like `sklearn.mixture.GaussianMixture`, with errors taken out, the global maximum instead of a start to choose, and
    no random number. `err` is metadata, which ``set_fit_request(err=True)`` hands on in cross-validation, or a column
    of X. A step of a pipeline that scales X leaves metadata as they are; errors that are a column of X are scaled by
    `MeasurementScaler`.

    Parameters
    ----------
    n_components : int or None
        Number of components; by default the one with the lowest criterion is chosen.
    max_components : int
        Largest number that is tried.
    criterion : str
        ``bic``, ``aic`` or ``icl``.
    family : str
        Of the components: one of `mixpipe.model.families.FAMILIES`; several features have Gaussian ones.
    structure : str
        Of the intrinsic covariances of several features: ``full``, ``diagonal``, ``spherical`` or ``equal``.
    err_column : int or None
        The column of X that contains the errors of the other one, 0 or 1; None if X has values only.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Attributes
    ----------
    weights_, means_, sigmas_ : ndarray, shape (n_components,)
        The mixture of the true values, sorted by mean; means and sigmas of several features have the shape
        ``(n_components, n_features)``.
    covariances_ : ndarray, shape (n_components, n_features, n_features)
        Intrinsic covariances.
    n_components_ : int
        Number of components.
    result_ : FitResult
        The fit, with uncertainties, warnings and whether it converged.

    Examples
    --------
    >>> X = np.array([[1.2], [0.9], [1.1], [4.8], [5.3]])
    >>> estimator = MixtureEstimator(n_components=2).fit(X, err=0.3)
    >>> estimator.means_.round(2).tolist()
    [1.07, 5.05]
    >>> estimator.predict([[1.3], [6.0]], err=0.3).tolist()
    [0, 1]
    """

    result_: FitResult

    def __init__(
        self,
        n_components: int | None = None,
        *,
        max_components: int = 10,
        criterion: str = "bic",
        family: str = "gaussian",
        structure: str = "full",
        err_column: int | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.max_components = max_components
        self.criterion = criterion
        self.family = family
        self.structure = structure
        self.err_column = err_column
        self.n_threads = n_threads

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        err: ArrayLike | None = None,
        cov: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> MixtureEstimator:
        """Fit the mixture.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Values, with nan where one of several is missing. If there is an `err_column`, values of one feature and
            their errors.
        y : object
            Not used.
        err : array_like, shape (n_samples,), or (n_samples, n_features), float or None
            One-sigma errors.
        cov : array_like, shape (n_samples, n_features, n_features), or None
            Covariances of the errors of several features, instead of `err`.
        sample_weight : array_like, shape (n_samples,), or None
            Row weights.
        """
        table = validate_data(self, X, reset=True, dtype=np.float64, ensure_all_finite="allow-nan")
        x, err = self._measured(table, err)
        unscaled = self.err_column is None and (err is not None or cov is not None)
        scaled = _scaled_to(x) if unscaled and x.ndim == 1 else ""
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, np.nan_to_num(x), ensure_non_negative=True)
            if not np.any(sample_weight):
                raise ValueError("all sample weights are zero; expected a positive weight")
        if self.n_components is None:
            chosen = choose_n_components(
                x,
                err,
                weights=sample_weight,
                cov=cov,
                structure=self.structure if x.ndim == 2 else "full",
                families=(self.family,),
                max_components=self.max_components,
                criterion=self.criterion,
                n_threads=self.n_threads,
            )
            self.result_ = chosen.best
        else:
            self.result_ = fit_mixture(
                x,
                err,
                self.n_components,
                weights=sample_weight,
                cov=cov,
                structure=self.structure if x.ndim == 2 else "full",
                family=self.family,
                n_threads=self.n_threads,
            )
        if scaled:
            text = (
                f"X has {scaled}, as a scaler leaves it, which does not scale err: pass the errors as a column of X "
                "(err_column) through MeasurementScaler"
            )
            warnings.warn(text, stacklevel=2)
            self.result_ = self.result_.with_warning(text)
        return self

    def predict(self, X: ArrayLike, err: ArrayLike | None = None, cov: ArrayLike | None = None) -> NDArray[np.int64]:
        """The most probable component of each row, counted from 0."""
        return self.predict_proba(X, err, cov).argmax(axis=1)

    def predict_proba(self, X: ArrayLike, err: ArrayLike | None = None, cov: ArrayLike | None = None) -> Array:
        """Probability that each row belongs to each component, shape ``(n_samples, n_components_)``."""
        check_is_fitted(self)
        return self._mixture.responsibilities(*self._values(X, err, cov))

    def score_samples(self, X: ArrayLike, err: ArrayLike | None = None, cov: ArrayLike | None = None) -> Array:
        """Natural logarithm of the density of each row, as observed with its error."""
        check_is_fitted(self)
        return self._mixture.logpdf(*self._values(X, err, cov))

    def score(
        self, X: ArrayLike, y: object = None, err: ArrayLike | None = None, cov: ArrayLike | None = None
    ) -> float:
        """Mean of the log-densities of the rows."""
        return float(self.score_samples(X, err, cov).mean())

    def bic(self, X: ArrayLike, err: ArrayLike | None = None, cov: ArrayLike | None = None) -> float:
        """Bayesian information criterion on these rows; lower is better."""
        logpdf = self.score_samples(X, err, cov)
        return bic(math.fsum(logpdf), self.result_.n_params, logpdf.size)

    def aic(self, X: ArrayLike, err: ArrayLike | None = None, cov: ArrayLike | None = None) -> float:
        """Akaike information criterion on these rows; lower is better."""
        return aic(math.fsum(self.score_samples(X, err, cov)), self.result_.n_params)

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Draw true values, without errors, shape ``(n_samples, n_features)``."""
        check_is_fitted(self)
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        return np.asarray(self._mixture.sample(n_samples, np.random.default_rng(seed))).reshape(n_samples, -1)

    @property
    def weights_(self) -> Array:
        """Weights of the components."""
        return self._mixture.weights

    @property
    def means_(self) -> Array:
        """Means of the components."""
        return self._mixture.means

    @property
    def sigmas_(self) -> Array:
        """Intrinsic widths of the components."""
        return self._mixture.sigmas

    @property
    def covariances_(self) -> Array:
        """Intrinsic covariances of the components."""
        sigmas = self.sigmas_
        return self._mixture.covariances if sigmas.ndim == 2 else (sigmas**2)[:, None, None]

    @property
    def n_components_(self) -> int:
        """Number of components."""
        return self._mixture.n_components

    @property
    def _mixture(self) -> Any:
        return self.result_.mixture

    def _values(self, X: ArrayLike, err: ArrayLike | None, cov: ArrayLike | None) -> tuple[Any, ...]:
        """Values, errors and covariances, checked; zero for errors of one feature that are not given."""
        table = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite="allow-nan")
        x, err = self._measured(table, err)
        if x.ndim == 2:
            return x, err, cov
        if cov is not None:
            raise ValueError("cov is for several features, but X has one; expected err")
        return x, 0.0 if err is None else err

    def _measured(self, table: Array, err: ArrayLike | None) -> tuple[Array, ArrayLike | None]:
        """Values and errors, from the columns of X; values of one feature have one dimension."""
        if self.err_column is None:
            if table.shape[1] > 1:
                return table, err
            if np.isnan(table).any():
                raise ValueError("X has one feature, of which a value is NaN; expected finite values")
            return table[:, 0], err
        if self.err_column not in (0, 1):
            raise ValueError(f"err_column must be 0, 1 or None, found {self.err_column!r}")
        if err is not None:
            raise ValueError("err beside an err_column; expected one of them")
        if table.shape[1] != 2:
            raise ValueError(f"X has {table.shape[1]} features; expected two, values and errors")
        return table[:, 1 - self.err_column], table[:, self.err_column]


class MeasurementScaler(TransformerMixin, BaseEstimator):
    """Standardise a column of values together with the column of their errors.

    Values lose their mean and are divided by their standard deviation, by which errors are divided, too.

    Parameters
    ----------
    err_column : int
        The column of the errors, 0 or 1; the other one contains the values.

    Attributes
    ----------
    mean_, scale_ : float
        Mean and standard deviation of the values; the scale is 1 for equal values.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> X = np.array([[10.0, 1.0], [20.0, 1.0], [60.0, 1.0]])
    >>> MeasurementScaler().fit_transform(X).round(2).tolist()
    [[-0.93, 0.05], [-0.46, 0.05], [1.39, 0.05]]
    >>> pipeline = make_pipeline(MeasurementScaler(), MixtureEstimator(1, err_column=1)).fit(X)
    >>> scaler, estimator = pipeline[0], pipeline[-1]
    >>> (scaler.mean_ + scaler.scale_ * estimator.means_).round(1).tolist()
    [30.0]
    """

    def __init__(self, err_column: int = 1) -> None:
        self.err_column = err_column

    def fit(self, X: ArrayLike, y: object = None) -> MeasurementScaler:
        """Find the mean and the standard deviation of the values."""
        x = self._table(X, reset=True)[:, 1 - self.err_column]
        self.mean_ = float(x.mean())
        self.scale_ = float(x.std()) or 1.0
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Scale values and errors, shape ``(n_samples, 2)``."""
        check_is_fitted(self)
        return (self._table(X) - self._shift()) / self.scale_

    def inverse_transform(self, X: ArrayLike) -> Array:
        """Values and errors in their former unit, shape ``(n_samples, 2)``."""
        check_is_fitted(self)
        return self._table(X) * self.scale_ + self._shift()

    def _shift(self) -> Array:
        shift = np.full(2, self.mean_)
        shift[self.err_column] = 0.0
        return shift

    def _table(self, X: ArrayLike, *, reset: bool = False) -> Array:
        if self.err_column not in (0, 1):
            raise ValueError(f"err_column must be 0 or 1, found {self.err_column!r}")
        table: Array = validate_data(self, X, reset=reset, dtype=np.float64)
        if table.shape[1] != 2:
            raise ValueError(f"X has {table.shape[1]} features; expected two, values and errors")
        if np.any(table[:, self.err_column] < 0.0):
            raise ValueError(f"column {self.err_column} of X has negative numbers; expected errors")
        return table


def _scaled_to(x: Array) -> str:
    """What a scaler of scikit-learn has made of the values, in words; empty if they look as they were measured."""
    if x.size < 3:
        return ""
    low, middle, high = np.quantile(x, (0.25, 0.5, 0.75))
    for said, numbers, expected in (
        ("mean 0 and standard deviation 1", (x.mean(), x.std()), (0.0, 1.0)),
        ("values from 0 to 1", (x.min(), x.max()), (0.0, 1.0)),
        ("values up to 1 or -1", (np.abs(x).max(), 1.0), (1.0, 1.0)),
        ("median 0 and interquartile range 1", (middle, high - low), (0.0, 1.0)),
    ):
        if np.allclose(numbers, expected, rtol=0.0, atol=_SCALED):
            return said
    return ""
