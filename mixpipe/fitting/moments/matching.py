"""The generalised method of moments: mixtures whose moments are nearest to given ones."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtrc, ndtri, softmax

from mixpipe.fitting.gaussian.likelihood import Params
from mixpipe.fitting.moments.denoising import atoms, largest_variance
from mixpipe.fitting.moments.statistics import ROUNDING, Standardised, mixture_moments
from mixpipe.model.cells import Cells
from mixpipe.model.results import Array

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

# Solutions whose misfit is within this of the smallest match the moments equally well (two standard errors).
_EQUALLY_WELL = 4.0
# If the misfit is less probable than this, the data do not follow such a mixture.
_IMPROBABLE = 1e-3
# Given moments count as matched if they are met to within this, in standard errors of one normal value.
_MET = 1e-6
# Component weights are between exp(-range) and one when moments are matched.
_LOG_WEIGHT_RANGE = 15.0
# Starts of the matching have these fractions of the largest possible common variance, or these ratios of the variance
# of one component to that of the others.
_START_FRACTIONS = (1.0, 0.5)
_START_RATIOS = (4.0, 0.25)
# All starts are descended with the tolerance and number of steps of _COARSE, and the best few then with those of _FINE.
_COARSE = 1e-6, 50
_FINE = 1e-14, 1000
_FINALISTS = 4


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mixture in scaled units, with its origin and misfit."""

    params: Params
    # Number of moments from which it was computed.
    order: int
    # Squared distance of its moments from those of the data, in units of their covariance.
    misfit: float = 0.0
    name: str = "this one"


@dataclass(frozen=True, eq=False)
class Found:
    """The mixtures that are consistent with the moments."""

    candidates: list[Candidate]
    converged: bool
    notes: tuple[str, ...] = ()


def match_moments(scaled: Standardised, size: int, starts: list[Params], equal_sigmas: bool = False) -> Found:
    """Generalised method of moments: the mixtures that minimise ``(mu_hat - mu)' W (mu_hat - mu)`` (Hansen 1982).

    Parameters
    ----------
    scaled : Standardised
        The moments mu_hat; W is the regularised inverse of their covariance.
    size : int
        Number of components.
    starts : list of Params
        Starts in addition to those that are derived from the moments.
    equal_sigmas : bool
        Give all components the same width.
    """
    whitening = scaled.whitening(scaled.order)
    # Generous bounds: a multiple of the typical distance that the highest even moment implies.
    even = scaled.order // 2 * 2
    reach = 4.0 * max(1.0, abs(float(scaled.values[even - 1])) ** (1.0 / even))
    n_widths = 1 if equal_sigmas else size
    upper = np.concatenate([np.full(size - 1, _LOG_WEIGHT_RANGE), np.full(size, reach), np.full(n_widths, reach**2)])
    lower = np.concatenate([-upper[: 2 * size - 1], np.zeros(n_widths)])

    def unpack(theta: Array) -> Params:
        weights = softmax(np.append(theta[: size - 1], 0.0))
        return Params(weights, theta[size - 1 : 2 * size - 1], theta[2 * size - 1 :] * np.ones(size))

    def residuals(theta: Array) -> Array:
        params = unpack(theta)
        return np.asarray(
            whitening
            @ (mixture_moments(params.weights, params.means, params.variances, scaled.order)[0] - scaled.values)
        )

    def jacobian(theta: Array) -> Array:
        params = unpack(theta)
        by = mixture_moments(params.weights, params.means, params.variances, scaled.order)[1]
        logits = params.weights * (by[:, 0] - (by[:, 0] @ params.weights)[:, None])
        widths = by[:, 2].sum(axis=1, keepdims=True) if equal_sigmas else by[:, 2]
        return np.asarray(whitening @ np.hstack([logits[:, :-1], by[:, 1], widths]))

    def descend(theta: Array, tolerance: float, n_steps: int) -> OptimizeResult:
        from scipy.optimize import least_squares

        return least_squares(
            residuals,
            theta,
            jacobian,
            bounds=(lower, upper),
            x_scale="jac",
            ftol=tolerance,
            xtol=tolerance,
            gtol=tolerance,
            max_nfev=n_steps,
        )

    thetas = []
    for start in (*_starts(scaled, size), *starts):
        logits = np.log(np.maximum(start.weights, math.exp(-0.5 * _LOG_WEIGHT_RANGE)))
        widths = [start.weights @ start.variances] if equal_sigmas else start.variances
        thetas.append(np.clip(np.concatenate([logits[:-1] - logits[-1], start.means, widths]), lower, upper))
    race = sorted((descend(theta, *_COARSE) for theta in thetas), key=lambda minimum: minimum.cost)
    minima = sorted((descend(run.x, *_FINE) for run in race[:_FINALISTS]), key=lambda minimum: minimum.cost)
    candidates: list[Candidate] = []
    limit = 2.0 * minima[0].cost + (_EQUALLY_WELL if scaled.sampled else 0.0)
    for minimum in minima:
        params = unpack(minimum.x)
        params = Params(params.weights, params.means, np.where(params.variances > ROUNDING, params.variances, 0.0))
        if 2.0 * minimum.cost <= limit and not any(_same(params, other.params) for other in candidates):
            name = f"the one at {math.sqrt(2.0 * minimum.cost):.2g} standard errors"
            candidates.append(Candidate(params, scaled.order, 2.0 * minimum.cost, name))
    nearest = math.sqrt(2.0 * minima[0].cost)
    freedom = max(1, scaled.order - lower.size)
    met = chdtrc(freedom, nearest**2) >= _IMPROBABLE if scaled.sampled else nearest < _MET
    notes: tuple[str, ...] = ()
    if not met:
        unit = "standard errors" if scaled.sampled else "standard errors of one normal value"
        notes = (f"no mixture of {size} components with these moments: the nearest is {nearest:.3g} {unit} off",)
    # If the moments cannot be met, the compromise between them is an estimate for rows, but a failure for given
    # moments.
    return Found(candidates, bool(minima[0].success and (met or scaled.sampled)), notes)


def quantile_start(cells: Cells, scaled: Standardised, size: int) -> Params:
    """Components of equal weight, from the sorted values divided into equal parts."""
    order = np.argsort(cells.x, kind="stable")
    x, err, counts = cells.x[order], cells.err[order], cells.weights[order]
    group = np.minimum((np.cumsum(counts) - 0.5 * counts) / counts.sum() * size, size - 1).astype(int)
    total = np.maximum(np.bincount(group, counts, size), np.finfo(np.float64).tiny)
    offset = (x - scaled.centre) / scaled.scale
    means = np.bincount(group, counts * offset, size) / total
    noise = (err / scaled.scale) ** 2
    variances = np.bincount(group, counts * ((offset - means[group]) ** 2 - noise), size) / total
    return Params(np.full(size, 1.0 / size), means, np.maximum(variances, 0.0))


def _starts(scaled: Standardised, size: int) -> list[Params]:
    """Mixtures with the first moments of the data, with a common width or one component wider or narrower than the
    rest.

    A further start resembles a normal density, for moments that belong to no density.
    """
    widest = largest_variance(scaled.values, size) or 0.0
    starts = []
    for variance in widest * np.array(_START_FRACTIONS):
        if (points := atoms(scaled.values, variance, size)) is not None:
            starts += [
                Params(points[1], points[0], variance * np.where(np.arange(size) == j, factor, 1.0))
                for factor, j in [(1.0, -1), *itertools.product(_START_RATIOS, range(size))]
            ]
    quantiles = np.asarray(ndtri((np.arange(size) + 0.5) / size))
    return [*starts, Params(np.full(size, 1.0 / size), quantiles, np.full(size, 1.0 / size))]


def _same(one: Params, other: Params) -> bool:
    """Whether two solutions differ only by the tolerance of the search or in the order of components."""
    a, b = (np.array([p.weights, p.means, p.variances])[:, np.argsort(p.means)] for p in (one, other))
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-3))
