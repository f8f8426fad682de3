"""The peers, called as their documentation says; each function returns what the tables need."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np

from benchmarks.measure import best_of, seconds
from mixpipe.model.mixture import Mixture


def attempt(task: Callable[[], float]) -> float | str:
    """A measurement, or the error that prevented it."""
    try:
        return task()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@contextmanager
def one_thread(single: bool) -> Iterator[None]:
    """Hold BLAS, OpenMP and process pools to one thread or process."""
    if not single:
        yield
        return
    from threadpoolctl import threadpool_limits

    pool = multiprocessing.Pool
    with threadpool_limits(1), mock.patch("multiprocessing.Pool", lambda: pool(1)):
        yield


def sklearn_fit(x: np.ndarray, n_components: int, seed: int, **options: object) -> Mixture:
    """scikit-learn's GaussianMixture, errors ignored."""
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(n_components, random_state=seed, **options).fit(x[:, None])
    return Mixture(model.weights_, model.means_[:, 0], np.sqrt(model.covariances_[:, 0, 0]))


def sklearn_pass(x: np.ndarray, start: Mixture, repeats: int) -> float:
    """Seconds of one EM iteration: the difference of two fits that may not stop early."""
    from sklearn.mixture import GaussianMixture

    def fit(n_steps: int) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = GaussianMixture(
                start.n_components,
                tol=0.0,
                max_iter=n_steps,
                weights_init=start.weights,
                means_init=start.means[:, None],
                precisions_init=start.sigmas[:, None, None] ** -2.0,
                init_params="random_from_data",
                random_state=0,
            ).fit(x[:, None])
        return int(model.n_iter_)

    if (fit(1), fit(5)) != (1, 5):
        raise RuntimeError("stopped before the iterations that were asked for")
    return (best_of(repeats, lambda: fit(5))[0] - best_of(repeats, lambda: fit(1))[0]) / 4


def astroml_fit(x: np.ndarray, err: np.ndarray, n_components: int, seed: int) -> Mixture:
    """astroML's XDGMM."""
    from astroML.density_estimation import XDGMM

    model = XDGMM(n_components, random_state=seed).fit(x[:, None], err[:, None, None] ** 2)
    return Mixture(model.alpha, model.mu[:, 0], np.sqrt(model.V[:, 0, 0]))


def astroml_pass(x: np.ndarray, err: np.ndarray, start: Mixture) -> float:
    """Seconds of one EM iteration: what its loop calls, from the same start as the others."""
    from astroML.density_estimation import XDGMM

    model = XDGMM(start.n_components)
    model.alpha, model.mu, model.V = start.weights, start.means[:, None], start.sigmas[:, None, None] ** 2
    values, covariances = x[:, None], err[:, None, None] ** 2

    def step() -> None:
        model._EMstep(values, covariances)
        model.logL(values, covariances)

    return seconds(step)


def _pygmmis(start: Mixture) -> object:
    import pygmmis

    model = pygmmis.GMM(start.n_components, 1)
    model.amp[:], model.mean[:, 0], model.covar[:, 0, 0] = start.weights, start.means, start.sigmas**2
    return model


def pygmmis_fit(x: np.ndarray, err: np.ndarray, n_components: int, seed: int) -> Mixture:
    """pygmmis."""
    import pygmmis

    model = pygmmis.GMM(n_components, 1)
    pygmmis.fit(model, x[:, None], covar=err[:, None, None] ** 2, rng=np.random.RandomState(seed))
    return Mixture(model.amp, model.mean[:, 0], np.sqrt(model.covar[:, 0, 0]))


def pygmmis_pass(x: np.ndarray, err: np.ndarray, start: Mixture, repeats: int) -> float:
    """Seconds of one EM iteration: the difference of two fits that may not stop early."""
    import pygmmis

    def fit(n_steps: int) -> None:
        pygmmis.fit(
            _pygmmis(start),
            x[:, None],
            covar=err[:, None, None] ** 2,
            init_method="none",
            miniter=n_steps,
            maxiter=n_steps,
        )

    fit(1)
    return (best_of(repeats, lambda: fit(4))[0] - best_of(repeats, lambda: fit(1))[0]) / 3
