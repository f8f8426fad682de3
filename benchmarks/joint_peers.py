"""The peers for several columns, called as their documentation says, on one thread and by processor time."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from unittest import mock

import numpy as np

from benchmarks.measure import processor_seconds
from mixpipe.model.joint.mixture import JointMixture

Pass = Callable[[np.ndarray, np.ndarray, JointMixture, int], float]
Fit = Callable[[np.ndarray, np.ndarray, int, int], JointMixture]


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS and OpenMP to one thread, and the pool of pygmmis to one thread of this process.

    The time of a child process would not count as processor time of this one.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), mock.patch.object(multiprocessing, "Pool", lambda: ThreadPool(1)):
        yield


def _least(repeats: int, task: Callable[[], object]) -> float:
    return min(processor_seconds(task) for _ in range(repeats))


def sklearn_model(n_components: int, **options: object) -> object:
    """scikit-learn's GaussianMixture with full covariances, its default."""
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(n_components, random_state=0, **options)


def sklearn_pass(x: np.ndarray, cov: np.ndarray, start: JointMixture, repeats: int) -> float:
    """Seconds of one EM iteration without errors: the difference of two fits that may not stop early."""
    del cov
    precisions = np.linalg.inv(start.covariances)

    def fit(n_steps: int) -> int:
        options = {"weights_init": start.weights, "means_init": start.means, "precisions_init": precisions}
        model = sklearn_model(
            start.n_components, tol=0.0, max_iter=n_steps, init_params="random_from_data", **options
        ).fit(x)
        return int(model.n_iter_)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if (fit(1), fit(5)) != (1, 5):
            raise RuntimeError("stopped before the iterations that were asked for")
        return (_least(repeats, lambda: fit(5)) - _least(repeats, lambda: fit(1))) / 4


def sklearn_choice(x: np.ndarray, max_components: int) -> tuple[int, float]:
    """The number of components with the lowest BIC of default fits without errors, and the seconds that it takes."""
    bics: list[float] = []

    def choose() -> None:
        for n_components in range(1, max_components + 1):
            bics.append(sklearn_model(n_components).fit(x).bic(x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        time = processor_seconds(choose)
    return int(np.argmin(bics)) + 1, time


def astroml_pass(x: np.ndarray, cov: np.ndarray, start: JointMixture, repeats: int) -> float:
    """Seconds of one EM iteration: what the loop of XDGMM calls, from the same start as the others."""
    from astroML.density_estimation import XDGMM

    model = XDGMM(start.n_components)

    def step() -> None:
        model.alpha, model.mu, model.V = start.weights, start.means, start.covariances
        model._EMstep(x, cov)
        model.logL(x, cov)

    return _least(repeats, step)


def astroml_fit(x: np.ndarray, cov: np.ndarray, n_components: int, seed: int) -> JointMixture:
    """astroML's XDGMM with its defaults."""
    from astroML.density_estimation import XDGMM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = XDGMM(n_components, random_state=seed).fit(x, cov)
    return JointMixture(model.alpha, model.mu, model.V)


def pygmmis_pass(x: np.ndarray, cov: np.ndarray, start: JointMixture, repeats: int) -> float:
    """Seconds of one EM iteration: the difference of two fits that may not stop early."""
    import pygmmis

    def fit(n_steps: int) -> None:
        model = pygmmis.GMM(start.n_components, start.n_dims)
        model.amp[:], model.mean[:], model.covar[:] = start.weights, start.means, start.covariances
        pygmmis.fit(model, x, covar=cov, init_method="none", miniter=n_steps, maxiter=n_steps)

    fit(1)
    return (_least(repeats, lambda: fit(5)) - _least(repeats, lambda: fit(1))) / 4


def pygmmis_fit(x: np.ndarray, cov: np.ndarray, n_components: int, seed: int) -> JointMixture:
    """pygmmis with its defaults."""
    import pygmmis

    model = pygmmis.GMM(n_components, x.shape[1])
    pygmmis.fit(model, x, covar=cov, rng=np.random.RandomState(seed))
    return JointMixture(model.amp, model.mean, model.covar)


PASSES: dict[str, Pass] = {"scikit-learn": sklearn_pass, "pygmmis": pygmmis_pass, "astroML": astroml_pass}
FITS: dict[str, Fit] = {"pygmmis": pygmmis_fit, "astroML": astroml_fit}
