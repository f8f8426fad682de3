"""Whether the rounding of values displaces a fit, which then has to be that of the intervals from which they came."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.presentation import plural
from mixpipe.base.threads import available_threads
from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point
from mixpipe.fitting.general.search import ascend_general
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES
from mixpipe.model.inputs import Result
from mixpipe.model.regimes import FINISHED_ROWS
from mixpipe.model.results import FitResult, Selection

# Nats between the fit of the values and the maximum of the exact likelihood above which the latter is needed. A
# parameter that is displaced by half of its uncertainty loses as many.
_DISPLACED = 0.125
# Errors below this fraction of the standard deviation of the rounding do not include it.
_WITHOUT = 0.99
# An interval is on one side of its value if its middle is farther from it than this part of its width.
_ASIDE = 0.1


def fitted_as_rounded(
    cells: Cells, find: Callable[[Cells], tuple[Result, str]], n_threads: int | None = None
) -> tuple[Cells, Result, tuple[str, ...]]:
    """What is found in values or, if rounding displaces or decides it, in the intervals from which they were rounded.

    Parameters
    ----------
    cells : Cells
        Values.
    find : callable
        Fits cells, or chooses among fits to them; the text is a remark.
    n_threads : int or None
        Number of threads; all by default.

    Returns
    -------
    Cells, FitResult or Selection, tuple of str
        The cells that were fitted at last, what was found, and remarks, which may be empty.
    """
    found, remark = find(cells)
    selection = found if isinstance(found, Selection) else Selection((found,))
    exact, doubt = integrated(cells, selection, n_threads=n_threads or available_threads())
    if exact is not None:
        cells = exact
        found, remark = find(cells)
    return cells, found, (remark, doubt)


def integrated(cells: Cells, selection: Selection, *, n_threads: int = 1) -> tuple[Cells | None, str]:
    """The cells with the intervals of their values, if these were rounded and if this displaces or decides the fit, or
    explains why rows are equal.

    Parameters
    ----------
    cells : Cells
        Values.
    selection : Selection
        Their fits with a floor on the sigmas in place of the rounding. Its best one may be displaced, or chosen only
        because narrow components pay for their place.
    n_threads : int
        Number of threads.

    Returns
    -------
    Cells or None, str
        None if the fit is as good as that of the intervals. The text is a remark on a fit that the rounding displaces,
        but of whose rows too many differ to be integrated without being asked for.
    """
    fit = selection.best
    priced = fit is not min(selection.fits, key=lambda each: float(getattr(each, selection.criterion)))
    exact = cells.rounded()
    if exact.edges is None or not exact.are_rounded or not _are_without(exact.x, exact.err, exact.edges).any():
        return None, ""
    # Rows of several steps seem to be repeated, and have the floor of values without a step.
    found = cells.resolution.n_repeated > exact.resolution.n_repeated
    displaced = priced or _may_displace(exact, fit)
    if not (found or displaced):
        return None, ""
    points = exact[exact.weights > 0.0].merged()
    if len(points) > FINISHED_ROWS:
        said = (
            f"values are rounded to steps of up to {exact.resolution.step:.3g}, which may displace the fit by more "
            "than half an uncertainty: `rounding` with one step or a number of digits integrates over them, which "
            f"takes long for {plural(len(points), 'row')} that differ in their errors"
        )
        return None, said if displaced else ""
    smooth = any(FAMILIES[name].has_edge for name in fit.mixture.families)
    likelihood = GeneralLikelihood(points, smooth=smooth, n_threads=n_threads).scaled(fit.error_scale)
    point = Point.of(fit.mixture).satisfied(likelihood.floor)
    here = float(likelihood.counts @ likelihood.log_rows(point))
    if not (found or priced) and ascend_general(likelihood, point).loglik - here < _DISPLACED:
        return None, ""
    return exact, ""


def doubts_of_sample(sample: Cells, fit: FitResult) -> list[str]:
    """What is to be said of a fit to more rows than fit into memory, of which these are a sample."""
    exact = sample.rounded()
    if not exact.are_rounded or not _may_displace(exact, fit, fit.n_data / sample.n_data):
        return []
    return [
        f"values are rounded to steps of up to {exact.resolution.step:.3g}, which may displace the fit by more than "
        "half an uncertainty: `rounding` with one step or a number of digits integrates over them, with all rows in "
        "memory"
    ]


def _may_displace(exact: Cells, fit: FitResult, times: float = 1.0) -> bool:
    """Whether the variance of the rounding, or its offset, can be seen in components as narrow as the narrowest one.

    Rows whose total variance is too small by a fraction f lose ``f^2 / 4`` nats each, and those at a distance of d
    widths from where they should be ``d^2 / 2``. Each row counts `times`.
    """
    if exact.edges is None:
        return False
    low, high = exact.edges.T
    own = [sigma for sigma, name in zip(fit.mixture.sigmas, fit.mixture.families, strict=True) if name != "uniform"]
    total = (fit.error_scale * exact.err) ** 2 + min(own, default=math.inf) ** 2
    with np.errstate(divide="ignore"):
        wide = ((high - low) ** 2 / 12.0 / total) ** 2 / 4.0
        away = (0.5 * (low + high) - exact.x) ** 2 / total / 2.0
    without = _are_without(exact.x, exact.err, exact.edges)
    return bool(times * exact.weights[without] @ (wide + away)[without] > _DISPLACED)


def _are_without(x: Array, err: Array, edges: Array) -> NDArray[np.bool_]:
    """Whether the errors do not include the rounding: they are smaller than the standard deviation of the interval, or
    it is on one side of the value, as beside a power of ten.
    """
    low, high = edges.T
    aside = np.abs(0.5 * (low + high) - x) > _ASIDE * (high - low)
    return np.asarray((err < _WITHOUT * (high - low) / math.sqrt(12.0)) | aside)
