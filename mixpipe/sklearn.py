"""A mixture as scikit-learn sees it: a density estimator of one feature, with an error for each row.

Needs scikit-learn: ``pip install "mixpipe[sklearn]"``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from mixpipe.base.arrays import Array
from mixpipe.fitting.choose import choose_n_components, fit_mixture
from mixpipe.model.criteria import aic, bic
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult


class MixtureEstimator(DensityMixin, BaseEstimator):
    """Mixture of one feature with a measurement error for each row.

    Like `sklearn.mixture.GaussianMixture`, with errors taken out, the global maximum instead of a start to choose, and
    no random number. `err` is metadata: ``set_fit_request(err=True)`` hands it on in pipelines and cross-validation.

    Parameters
    ----------
    n_components : int or None
        Number of components; by default the one with the lowest criterion is chosen.
    max_components : int
        Largest number that is tried.
    criterion : str
        ``bic``, ``aic`` or ``icl``.
    family : str
        Of the components: one of `mixpipe.model.families.FAMILIES`.
    n_threads : int or None
        Threads; all cores by default. The result does not depend on it.

    Attributes
    ----------
    weights_, means_, sigmas_ : ndarray, shape (n_components_,)
        The mixture of the true values, sorted by mean.
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
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.max_components = max_components
        self.criterion = criterion
        self.family = family
        self.n_threads = n_threads

    def fit(
        self, X: ArrayLike, y: object = None, err: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> MixtureEstimator:
        """Fit the mixture.

        Parameters
        ----------
        X : array_like, shape (n_samples, 1)
            Values.
        y : object
            Not used.
        err : array_like, shape (n_samples,), float or None
            One-sigma errors.
        sample_weight : array_like, shape (n_samples,), or None
            Row weights.
        """
        x = self._values(X, reset=True)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, x, ensure_non_negative=True)
            if not np.any(sample_weight):
                raise ValueError("all sample weights are zero; expected a positive weight")
        if self.n_components is None:
            chosen = choose_n_components(
                x,
                err,
                weights=sample_weight,
                families=(self.family,),
                max_components=self.max_components,
                criterion=self.criterion,
                n_threads=self.n_threads,
            )
            self.result_ = chosen.best
        else:
            self.result_ = fit_mixture(
                x, err, self.n_components, weights=sample_weight, family=self.family, n_threads=self.n_threads
            )
        return self

    def predict(self, X: ArrayLike, err: ArrayLike | None = None) -> NDArray[np.int64]:
        """The most probable component of each row, counted from 0."""
        return self.predict_proba(X, err).argmax(axis=1)

    def predict_proba(self, X: ArrayLike, err: ArrayLike | None = None) -> Array:
        """Probability that each row belongs to each component, shape ``(n_samples, n_components_)``."""
        check_is_fitted(self)
        return self._mixture.responsibilities(self._values(X), _errors(err))

    def score_samples(self, X: ArrayLike, err: ArrayLike | None = None) -> Array:
        """Natural logarithm of the density of each row, as observed with its error."""
        check_is_fitted(self)
        return self._mixture.logpdf(self._values(X), _errors(err))

    def score(self, X: ArrayLike, y: object = None, err: ArrayLike | None = None) -> float:
        """Mean of the log-densities of the rows."""
        return float(self.score_samples(X, err).mean())

    def bic(self, X: ArrayLike, err: ArrayLike | None = None) -> float:
        """Bayesian information criterion on these rows; lower is better."""
        logpdf = self.score_samples(X, err)
        return bic(math.fsum(logpdf), self.result_.n_params, logpdf.size)

    def aic(self, X: ArrayLike, err: ArrayLike | None = None) -> float:
        """Akaike information criterion on these rows; lower is better."""
        return aic(math.fsum(self.score_samples(X, err)), self.result_.n_params)

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Draw true values, without errors, shape ``(n_samples, 1)``."""
        check_is_fitted(self)
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        return self._mixture.sample(n_samples, np.random.default_rng(seed))[:, None]

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
    def n_components_(self) -> int:
        """Number of components."""
        return self._mixture.n_components

    @property
    def _mixture(self) -> Mixture:
        return self.result_.mixture

    def _values(self, X: ArrayLike, *, reset: bool = False) -> Array:
        """The one feature, checked; `reset` where it is learnt what is to be expected."""
        return _only_column(validate_data(self, X, reset=reset, dtype=np.float64))


def _only_column(table: Array) -> Array:
    if table.shape[1] != 1:
        raise ValueError(f"X has {table.shape[1]} features; expected one, a column of values")
    return table[:, 0]


def _errors(err: ArrayLike | None) -> ArrayLike:
    return 0.0 if err is None else err
