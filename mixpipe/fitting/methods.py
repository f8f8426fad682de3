"""The estimators by name; each takes cells and a number of components, and returns a fit."""

from __future__ import annotations

from collections.abc import Callable

from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.cells import Cells
from mixpipe.model.results import FitResult, Selection


def _moments(cells: Cells, n_components: int) -> FitResult:
    # Imported here and below only when needed, which is rarely.
    from mixpipe.fitting.moments.fit import fit_moments

    return fit_moments(cells, n_components=n_components)


def _density(cells: Cells, n_components: int) -> FitResult:
    from mixpipe.fitting.histogram.fit import fit_histogram

    return fit_histogram(cells, n_components=n_components)


ESTIMATORS: dict[str, Callable[[Cells, int], FitResult]] = {
    "em": lambda cells, n_components: fit_mixture(cells, n_components=n_components),
    "moments": _moments,
    "density": _density,
}


def choose_by(estimator: str, cells: Cells, max_components: int, criterion: str) -> Selection:
    """Fit 1, 2, ... components by an estimator, and choose among them by a criterion.

    Parameters
    ----------
    estimator : str
        A key of `ESTIMATORS`.
    cells : Cells
        Values with Gaussian errors.
    max_components : int
        Largest number of components.
    criterion : str
        ``bic``, ``aic`` or ``icl``.
    """
    fits: list[FitResult] = []
    for size in range(1, max_components + 1):
        fit = ESTIMATORS[estimator](cells, size)
        # The data may not support as many components as requested, and then will not support more.
        if fits and fit.n_components <= fits[-1].n_components:
            break
        fits.append(fit)
    return Selection(tuple(fits), criterion)
