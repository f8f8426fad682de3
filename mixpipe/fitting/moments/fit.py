"""Gaussian mixtures from the moments of the true values: Pearson's nonic, quadrature, and weighted matching.

The estimate needs no starting guess and one pass over the data; the likelihood then decides between several solutions.
All equations are solved for moments about the mean in units of the standard deviation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.fitting.moments.denoising import atoms, largest_variance
from mixpipe.fitting.moments.matching import Candidate, Found, match_moments, quantile_start
from mixpipe.fitting.moments.pearson import pairs
from mixpipe.fitting.moments.statistics import ROUNDING, Moments, Standardised, mixture_moments
from mixpipe.model.cells import Cells
from mixpipe.model.covariance import parameter_covariance
from mixpipe.model.criteria import n_params
from mixpipe.model.inputs import as_cells, check_count, with_errors_of, with_unit_of
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array, FitResult, Uncertainties

# Rounds of estimating the width by which rows are weighted, which need not be accurate.
_WIDTH_ROUNDS = 4


def _order(size: int, equal_sigmas: bool) -> int:
    """Highest moment that an estimate needs: one more than there are parameters if moments are matched or compared."""
    return max(2, 2 * size if equal_sigmas or size == 1 else 3 * size)


def fit_moments(
    x: Any,
    err: Any = None,
    n_components: int = 1,
    *,
    weights: Any = None,
    equal_sigmas: bool = False,
    by_precision: bool = True,
) -> FitResult:
    """Gaussian mixture with the moments of the true values, which are free of the measurement errors.

    The estimate of one component has a closed form, and that of two is given by a root of Pearson's (1894) nonic. For
    more components, or if no root yields a mixture, ``3 n_components`` moments are matched with weights from their
    covariance (generalised method of moments). With equal sigmas, the denoised method of moments is used (Wu & Yang
    2020).

    Parameters
    ----------
    x : array_like, shape (n_data,), Cells or Moments
        Values, or only their moments, in which case there is no log-likelihood.
    err : array_like, shape (n_data,) or (2, n_data), float or None
        One-sigma errors in the unit of `x`. Of lower and upper errors, the
        mean is taken.
    n_components : int
        Number of components, M.
    weights : array_like, shape (n_data,), or None
        Row weights.
    equal_sigmas : bool
        Give all components the same width.
    by_precision : bool
        Whether rows with large errors get less weight in the moments. Use False if errors depend on the true values.

    Returns
    -------
    FitResult
        ``converged`` says whether a mixture with these moments was found; ``warnings`` list the other solutions, or
        what was done instead. There are fewer components than requested if the data have fewer rows than the estimate
        needs moments, or no scatter beyond the errors.

    Raises
    ------
    ValueError
        For values that are not finite, negative errors, or moments of too low an order.

    Examples
    --------
    >>> moments = Moments.from_raw([0.0, 5.0, 0.0, 43.0, 0.0, 455.0])
    >>> fit_moments(moments, n_components=2).mixture
    Mixture(weights=[0.5 0.5], means=[-2.  2.], sigmas=[1. 1.])
    """
    n_components = check_count("n_components", n_components)
    if isinstance(x, Moments):
        if err is not None or weights is not None:
            raise ValueError("moments carry their own errors and weights: err and weights must be None")
        cells, n_rows = None, (x.n_data if x.has_covariance else math.inf)
    else:
        cells = as_cells(x, err, weights).as_points()
        n_rows = float(np.count_nonzero(cells.weights))
    size, notes = int(n_components), []
    while size > 1 and n_rows < n_params(size, equal_sigmas):
        size -= 1
    if size < n_components:
        needed = n_params(n_components, equal_sigmas)
        notes.append(
            f"{n_rows:g} rows are too few for the {needed} moments of {n_components} components: fitted {size}"
        )
    if cells is None:
        moments = x
    else:
        width = _intrinsic_width(cells) if by_precision else math.inf
        moments = Moments.of(cells, _order(size, equal_sigmas), width=width)
    needed = max(2, n_params(size, equal_sigmas))
    if moments.order < needed:
        raise ValueError(f"{size} components need the moments up to order {needed}, found order {moments.order}")
    if size > 1 and not moments.standardised().values[1] > 0.0:
        notes.append(f"no scatter beyond the errors: fitted one component, not {size}")
        size = 1
    scaled = moments.standardised(_order(size, equal_sigmas))
    starts = [] if cells is None else [quantile_start(cells, scaled, size)]
    if size == 1:
        found = _single(scaled)
    elif equal_sigmas:
        found = _common_width(scaled, size, starts)
    elif size == 2:
        found = _pearson(scaled, starts)
    else:
        found = match_moments(scaled, size, starts)
    judge = None if cells is None else _Judge(cells)
    result = _result(
        scaled,
        found,
        judge,
        equal_sigmas,
        n_data=moments.n_data,
        converged=size == n_components,
        notes=tuple(notes),
    )
    return with_unit_of(x, result if cells is None else with_errors_of(cells, result))


def _intrinsic_width(cells: Cells) -> float:
    """Rough standard deviation of the true values, from rows weighted by precision; infinite for equal errors."""
    used = cells.weights > 0
    x, square, counts = cells.x[used], cells.err[used] ** 2, cells.weights[used]
    if square.min() == square.max():
        return math.inf
    middle = float(np.median(x))
    width = float(np.quantile(np.abs(x - middle), 0.68))
    smallest = max(0.1 * width, math.sqrt(float(np.quantile(square, 0.1))))
    for _ in range(_WIDTH_ROUNDS):
        shares = counts / (max(width, smallest) ** 2 + square) ** 2
        mean = float(shares @ x / shares.sum())
        width = math.sqrt(max(float(shares @ ((x - mean) ** 2 - square) / shares.sum()), 0.0))
    return max(width, smallest) or math.inf


def _single(scaled: Standardised) -> Found:
    variance = float(scaled.values[1])
    notes = () if variance > 0.0 else ("the values scatter no more than their errors: sigma 0",)
    return Found([Candidate(Params(np.ones(1), np.zeros(1), np.array([max(variance, 0.0)])), 2)], True, notes)


def _pearson(scaled: Standardised, starts: list[Params]) -> Found:
    """Pearson's mixtures, or if there is none, the mixture with the nearest moments."""
    candidates, refused = [], []
    for p, params, reason in pairs(scaled):
        name = f"p = {p * scaled.scale**2:.6g}"
        if reason:
            refused.append(f"{name}: {reason}")
            continue
        misfit = 0.0
        if scaled.order > 5:
            sixth = mixture_moments(params.weights, params.means, params.variances, 6)[0][5]
            misfit = float((sixth - scaled.values[5]) ** 2 / scaled.covariance[5, 5])
        # Equal means require the sixth moment, since the odd moments do not depend on the widths.
        candidates.append(Candidate(params, 5 if p < 0.0 else 6, misfit, name))
    if candidates:
        return Found(candidates, True)
    nearest = match_moments(scaled, 2, starts)
    reasons = "; ".join(refused) or "no real negative root"
    note = f"no admissible root of Pearson's nonic ({reasons}): the mixture with the nearest moments instead"
    return Found(nearest.candidates, False, (note, *nearest.notes))


def _common_width(scaled: Standardised, size: int, starts: list[Params]) -> Found:
    """Denoised method of moments, or if the moments belong to no density, the mixture with the nearest moments."""
    variance = largest_variance(scaled.values, size)
    if variance is not None and (points := atoms(scaled.values, variance, size)) is not None:
        return Found([Candidate(Params(points[1], points[0], np.full(size, variance)), 2 * size)], True)
    nearest = match_moments(scaled, size, starts, equal_sigmas=True)
    note = "the moments belong to no density: the mixture with the nearest moments instead"
    return Found(nearest.candidates, False, (note, *nearest.notes))


def _mixture(scaled: Standardised, params: Params) -> Mixture:
    """The mixture in the unit of the data."""
    return Mixture(
        params.weights, scaled.centre + scaled.scale * params.means, scaled.scale * np.sqrt(params.variances)
    )


class _Judge:
    """The likelihood of the data, for which a width of zero may have to be raised to a floor."""

    def __init__(self, cells: Cells) -> None:
        self.likelihood = Likelihood(cells)
        self.floor = cells.resolution.floor

    def __call__(self, mixture: Mixture) -> tuple[float, float]:
        """Log-likelihood, and entropy of the responsibilities."""
        raised = Mixture(mixture.weights, mixture.means, np.maximum(mixture.sigmas, self.floor))
        return self.likelihood.logpdf(self.likelihood.scaled(raised))[1:]


def _choose(
    candidates: list[Candidate], scaled: Standardised, judge: _Judge | None
) -> tuple[Candidate, float, float, tuple[str, ...]]:
    """The most likely mixture, or without data the one that fits the moments best, with notes on the others."""
    mixtures = [_mixture(scaled, candidate.params) for candidate in candidates]
    judged = [(math.nan, math.nan) if judge is None else judge(mixture) for mixture in mixtures]
    losses = [c.misfit if judge is None else -j[0] for c, j in zip(candidates, judged, strict=True)]
    first, *others = np.argsort(losses, kind="stable")
    notes = []
    for k in others:
        more = losses[k] - losses[first]
        if judge is not None:
            verdict = f"is less likely by {more:.3g} nats"
        elif more > 0.0:
            verdict = "is further from the highest moment"
        else:
            verdict = "is as good: no sixth moment to tell"
        notes.append(
            f"{candidates[first].name} was chosen among {len(candidates)} mixtures with these moments: "
            f"{candidates[k].name}, {mixtures[k]}, {verdict}"
        )
    return candidates[first], *judged[first], tuple(notes)


def _result(
    scaled: Standardised,
    found: Found,
    judge: _Judge | None,
    equal_sigmas: bool,
    n_data: float,
    converged: bool,
    notes: tuple[str, ...],
) -> FitResult:
    """The fit in the unit of the data."""
    chosen, loglik, entropy, choice = _choose(found.candidates, scaled, judge)
    params = chosen.params
    mixture = _mixture(scaled, params)
    # Use the order of the components in the mixture, which the rounding of means far from zero may change.
    order = np.lexsort((scaled.scale * np.sqrt(params.variances), scaled.centre + scaled.scale * params.means))
    uncertainties, covariance = _uncertainties(scaled, chosen, equal_sigmas, order)
    notes = (*notes, *found.notes, *choice)
    if scaled.sampled and params.n_components > 1 and not np.any(np.isfinite(uncertainties.means)):
        notes += ("the moments do not determine all parameters: no uncertainties",)
    if judge is not None and np.any(mixture.sigmas < judge.floor):
        notes += (
            f"log-likelihood with sigmas of at least {judge.floor:.4g}, "
            f"the smallest width that values without errors resolve",
        )
    return FitResult(
        mixture=mixture,
        estimator="moments",
        loglik=loglik,
        entropy=entropy,
        n_data=n_data,
        n_params=n_params(params.n_components, equal_sigmas),
        has_equal_sigmas=equal_sigmas,
        converged=converged and found.converged,
        n_passes=1 if judge is None else 1 + judge.likelihood.n_passes,
        boundary=(params.variances == 0.0)[order],
        uncertainties=uncertainties,
        covariance=parameter_covariance(covariance, order, mixture, uncertainties),
        warnings=notes,
    )


def _uncertainties(
    scaled: Standardised, chosen: Candidate, equal_sigmas: bool, order: NDArray[np.int_]
) -> tuple[Uncertainties, Array]:
    """One-sigma uncertainties in this order, and the covariance of (weight, mean, sigma) by component in that of
    `chosen`, by the delta method: the estimate is a function of the moments, whose covariance is known.

    With the derivatives J of the model's moments and the whitening L, a small change of the moments changes the
    parameters by ``pinv(L J) L`` times it. A sigma of zero is held fixed; all uncertainties are nan if the moments do
    not determine the parameters.
    """
    params, size = chosen.params, chosen.params.n_components
    unknown = Uncertainties.unknown(size), np.full((size, 3, size, 3), np.nan)
    if not scaled.sampled:
        return unknown
    jacobian = mixture_moments(params.weights, params.means, params.variances, chosen.order)[1]
    # Derivatives by the free parameters: the weights sum to one, and a common width is a single parameter.
    weights = np.vstack([np.eye(size - 1), np.full((1, size - 1), -1.0)])
    widths = np.ones((size, 1)) if equal_sigmas else np.eye(size)
    widths = widths[:, (widths * params.variances[:, None]).sum(axis=0) > 0.0]
    free = block_diag(weights, np.eye(size), widths)
    whitening = scaled.whitening(chosen.order)
    response = whitening @ jacobian.reshape(chosen.order, 3 * size) @ free
    units = np.linalg.norm(response, axis=0)
    if not np.all(units > 0.0) or np.linalg.cond(response / units) > 1.0 / ROUNDING:
        return unknown
    effect = free / units @ np.linalg.pinv(response / units) @ whitening
    covariance = effect @ scaled.covariance[: chosen.order, : chosen.order] @ effect.T
    variances = np.diag(covariance)
    # Rows that are all alike have no scatter from which an uncertainty could be derived.
    errors = np.sqrt(np.where(variances > 0.0, variances, np.nan)).reshape(3, size)[:, order]
    sigmas = np.sqrt(params.variances[order])
    sigma_errors = np.divide(errors[2], 2.0 * sigmas, out=np.full(size, np.nan), where=sigmas > 0.0)
    weight_errors = np.zeros(1) if size == 1 else errors[0]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        by_square = scaled.scale / (2.0 * np.sqrt(params.variances))
        by_square[params.variances == 0.0] = np.nan
        slopes = np.stack([np.ones(size), np.full(size, scaled.scale), by_square])
        covariance *= np.outer(slopes, slopes)
    by_component = covariance.reshape(3, size, 3, size).transpose(1, 0, 3, 2)
    return Uncertainties(weight_errors, scaled.scale * errors[1], scaled.scale * sigma_errors), by_component
