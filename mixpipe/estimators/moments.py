"""Gaussian mixtures from the moments of the true values: Pearson's nonic, quadrature, and weighted matching.

No starting guess and one pass over the data; the likelihood then judges between several solutions. Everything is
solved with the moments about their mean in units of their standard deviation.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, eigh_tridiagonal, solve_triangular
from scipy.optimize import OptimizeResult, least_squares
from scipy.special import chdtrc, ndtri, softmax

from mixpipe.inputs import as_cells
from mixpipe.likelihood import Likelihood, Params
from mixpipe.model import Array, Cells, FitResult, Mixture, Uncertainties, resolution
from mixpipe.moments import Moments, mixture_moments

# A variance that is negative by less than this fraction of the whole is a zero with rounding errors.
_ROUNDING = 1e-9
# Roots of the nonic whose imaginary parts are below this fraction are real: double roots lose half the digits.
_REAL = 1e-6
# Given moments count as those of a symmetric density where v3 and v5, in units of the standard deviation, are below
# this: rounding of the moments. Sampled ones where they are within so many standard errors of zero.
_SYMMETRIC = 1e-7
_SYMMETRIC_ERRORS = 2.0
# Smallest eigenvalue of the correlation matrix of the moments, relative to the largest, that is taken at its word: high
# moments are nearly functions of each other, and a matrix estimated from rows is too sure of how.
_RIDGE = 1e-4
# Solutions whose misfit is within this of the smallest match the moments equally well (two standard errors).
_EQUALLY_WELL = 4.0
# A misfit that is less probable than this says that the data are no such mixture.
_IMPROBABLE = 1e-3
# Given moments, in standard errors of one normal value, are met to within this.
_MET = 1e-6
# Component weights are between exp(-range) and one when moments are matched.
_LOG_WEIGHT_RANGE = 15.0
# Starts of the matching: fractions of the largest possible common variance, and the ratio of one component's variance
# to the others'.
_START_FRACTIONS = (1.0, 0.5)
_START_RATIOS = (4.0, 0.25)
# All starts race with this tolerance and number of steps, and the best few go on with the other.
_COARSE = 1e-6, 50
_FINE = 1e-14, 1000
_FINALISTS = 4


@dataclass(frozen=True, eq=False)
class Root:
    """A solution of Pearson's equations, components sorted by mean.

    Parameters
    ----------
    p : float
        Product of the offsets of the two component means from the mean of all; zero for equal means.
    weights, means, variances : ndarray, shape (2,)
        The components that have the given first five moments.
    admissible : bool
        Whether they make a mixture.
    reason : str
        Why not, or empty.
    """

    p: float
    weights: Array
    means: Array
    variances: Array
    admissible: bool
    reason: str


@dataclass(frozen=True, eq=False)
class _Scaled:
    """Moments about their mean, in units of their standard deviation where that is real."""

    centre: float
    scale: float
    # E u^k, k = 1 ... order, and the covariance of these estimates.
    values: Array
    covariance: Array
    # Whether the covariance is that of rows. A stand-in for given moments only sets their relative weights.
    sampled: bool

    @classmethod
    def of(cls, moments: Moments, order: int) -> _Scaled:
        scale, values, covariance = moments.standardised()
        if not moments.has_covariance:
            normal = mixture_moments(np.ones(1), np.zeros(1), np.ones(1), 2 * moments.order)[0]
            k = np.arange(moments.order)
            covariance = normal[k[:, None] + k + 1] - np.outer(normal[k], normal[k])
        return cls(moments.mean, scale, values[:order], covariance[:order, :order], moments.has_covariance)

    @property
    def order(self) -> int:
        return self.values.size

    def whitening(self, order: int) -> Array:
        """L with L' L the regularised inverse of the covariance of the first moments."""
        covariance = self.covariance[:order, :order]
        # Values that are all +-1 have a second moment without scatter: that of the mean is a unit as good as any.
        squares = np.diag(covariance)
        errors = np.sqrt(np.where(squares > _ROUNDING * squares[0], squares, squares[0] or 1.0))
        curvature, basis = np.linalg.eigh(covariance / np.outer(errors, errors))
        return np.asarray(basis.T / np.sqrt(np.maximum(curvature, _RIDGE * max(curvature[-1], 1.0)))[:, None] / errors)

    def mixture(self, params: Params) -> Mixture:
        return Mixture(params.weights, self.centre + self.scale * params.means, self.scale * np.sqrt(params.variances))


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A mixture in scaled units, and what there is to say about it."""

    params: Params
    # Number of moments that it was made from.
    order: int
    # Squared distance of its moments from those of the data, in units of their covariance.
    misfit: float = 0.0
    name: str = "this one"


@dataclass(frozen=True, eq=False)
class _Found:
    """The mixtures that the moments leave to choose from."""

    candidates: list[_Candidate]
    converged: bool
    notes: tuple[str, ...] = ()


def _n_params(size: int, equal_sigmas: bool) -> int:
    return 2 * size if equal_sigmas else 3 * size - 1


def _order(size: int, equal_sigmas: bool) -> int:
    """Moments that an estimate takes: where they are matched or judged by, one more than there are parameters."""
    return max(2, 2 * size if equal_sigmas or size == 1 else 3 * size)


def fit_moments(
    x: Any,
    err: Any = None,
    n_components: int = 1,
    *,
    weights: Any = None,
    equal_sigmas: bool = False,
) -> FitResult:
    """Gaussian mixture with the moments of the true values, errors taken out.

    One component is in closed form, two are a root of Pearson's (1894) nonic. More, and two where no root makes a
    mixture, match ``3 n_components`` moments as their covariance asks (generalised method of moments). A common width
    comes from the denoised method of moments (Wu & Yang 2020).

    Parameters
    ----------
    x : array_like, shape (n_data,), Cells or Moments
        Values; or their moments alone, in which case there is no log-likelihood.
    err : array_like, shape (n_data,), float or None
        One-sigma errors in the unit of `x`.
    n_components : int
        Number of components, M.
    weights : array_like, shape (n_data,), or None
        Row weights.
    equal_sigmas : bool
        Give all components one width.

    Returns
    -------
    FitResult
        ``converged`` says whether a mixture with these moments was found; ``warnings`` name the other solutions, or
        what was done instead. Where the data have fewer rows than the estimate needs moments, or no scatter beyond the
        errors, there are fewer components than asked for.

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
    if isinstance(n_components, bool) or int(n_components) != n_components or n_components < 1:
        raise ValueError(f"n_components must be a whole number >= 1, found {n_components!r}")
    if isinstance(x, Moments):
        if err is not None or weights is not None:
            raise ValueError("moments carry their own errors and weights: err and weights must be None")
        cells, n_rows = None, (x.n_data if x.has_covariance else math.inf)
    else:
        # Imported here: `mixpipe.selection` imports the estimators.
        cells = as_cells(x, err, weights)
        n_rows = float(np.count_nonzero(cells.weights))
    size, notes = int(n_components), []
    while size > 1 and n_rows < _n_params(size, equal_sigmas):
        size -= 1
    if size < n_components:
        needed = _n_params(n_components, equal_sigmas)
        notes.append(
            f"{n_rows:g} rows are too few for the {needed} moments of {n_components} components: fitted {size}"
        )
    moments = x if cells is None else Moments.of(cells, _order(size, equal_sigmas))
    needed = max(2, _n_params(size, equal_sigmas))
    if moments.order < needed:
        raise ValueError(f"{size} components need the moments up to order {needed}, found order {moments.order}")
    if size > 1 and not moments.standardised()[1][1] > 0.0:
        notes.append(f"no scatter beyond the errors: fitted one component, not {size}")
        size = 1
    scaled = _Scaled.of(moments, _order(size, equal_sigmas))
    starts = [] if cells is None else [_quantile_start(cells, scaled, size)]
    if size == 1:
        found = _single(scaled)
    elif equal_sigmas:
        found = _common_width(scaled, size, starts)
    elif size == 2:
        found = _pearson(scaled, starts)
    else:
        found = _matched(scaled, size, starts)
    judge = None if cells is None else _Judge(cells)
    return _result(
        scaled,
        found,
        judge,
        equal_sigmas,
        n_data=moments.n_data,
        converged=size == n_components,
        notes=tuple(notes),
    )


def pearson_roots(moments: Moments) -> list[Root]:
    """Every pair of normal components that has the first five moments, without a starting guess.

    Pearson (1894): the product p of the offsets of the two means from the mean of all is a real negative root of a
    polynomial of ninth degree in the third to fifth cumulant, and the rest follows from it. Where the density is
    symmetric, or within the sampling errors of that, and more peaked than a normal one, the two means may be equal:
    then p = 0 and the widths come from the even moments up to the sixth.

    Parameters
    ----------
    moments : Moments
        Of order 5 at least; 6 for the pair with equal means.

    Returns
    -------
    list of Root
        In the unit of the data, in order of p. Empty where the variance is not positive.

    Examples
    --------
    >>> [root] = [r for r in pearson_roots(Moments.from_raw([0.0, 5.0, 0.0, 43.0, 0.0])) if r.admissible]
    >>> root.means
    array([-2.,  2.])
    """
    if moments.order < 5:
        raise ValueError(f"two components need the moments up to order 5, found order {moments.order}")
    scaled = _Scaled.of(moments, 6)
    if not scaled.values[1] > 0.0:
        return []
    return [
        Root(
            p * scaled.scale**2,
            params.weights,
            scaled.centre + scaled.scale * params.means,
            scaled.scale**2 * params.variances,
            not reason,
            reason,
        )
        for p, params, reason in _pairs(scaled)
    ]


def _pairs(scaled: _Scaled) -> list[tuple[float, Params, str]]:
    """The root, the components in order of their means, and why they are no mixture, for every root."""
    pairs = [(float(p), *_pair(float(p), scaled.values)) for p in _nonic_roots(scaled.values)]
    if (peaked := _equal_means(scaled)) is not None:
        pairs.append((0.0, peaked, ""))
    return pairs


def _nonic_roots(values: Array) -> Array:
    """Real negative roots of the nonic for moments of mean 0 and variance 1."""
    v3, v4, v5 = values[2:5]
    l4, l5 = 9.0 - 3.0 * v4, 30.0 * v3 - 3.0 * v5
    nonic = np.array(
        [
            24.0,
            0.0,
            -28.0 * l4,
            36.0 * v3**2,
            -(24.0 * v3 * l5 - 10.0 * l4**2),
            -(148.0 * v3**2 * l4 + 2.0 * l5**2),
            288.0 * v3**4 - 12.0 * l4 * l5 * v3 - l4**3,
            24.0 * v3**3 * l5 - 7.0 * v3**2 * l4**2,
            32.0 * v3**4 * l4,
            -24.0 * v3**6,
        ]
    )
    roots = np.roots(nonic)
    # Those at zero belong to symmetric moments, whose even ones `_equal_means` looks at.
    real = np.sort(roots.real[(np.abs(roots.imag) <= _REAL * np.abs(roots)) & (roots.real < -_ROUNDING)])
    # The two halves of a double root are one.
    return np.asarray(real[np.diff(real, append=np.inf) > 2.0 * _REAL * np.abs(real)])


def _pair(p: float, values: Array) -> tuple[Params, str]:
    """The two components that belong to a root, and why they are no mixture."""
    v3, v4, v5 = values[2:5]
    l4, l5 = 9.0 - 3.0 * v4, 30.0 * v3 - 3.0 * v5
    # Pearson's rational expression for p times the sum of the offsets.
    below = 4.0 * v3**2 - l4 * p + 2.0 * p**3
    if abs(below) <= _REAL * (4.0 * v3**2 + abs(l4 * p) + 2.0 * abs(p) ** 3):
        return Params(*np.full((3, 2), np.nan)), "means not real"
    total = (2.0 * v3**3 - 2.0 * v3 * l4 * p - l5 * p**2 - 8.0 * v3 * p**3) / below / p
    half = 0.5 * math.sqrt(total**2 - 4.0 * p)
    offsets = np.array([0.5 * total - half, 0.5 * total + half])
    # The variances are linear in the offsets: v2 and v3 give the line.
    params = Params(
        np.array([offsets[1], -offsets[0]]) / (2.0 * half), offsets, 1.0 + p - (v3 / p + total) / 3.0 * offsets
    )
    params = _polished(params, values)
    variances = np.where(np.abs(params.variances) < _ROUNDING, 0.0, params.variances)
    params = Params(params.weights, params.means, variances)
    if not np.all((params.weights >= 0.0) & (params.weights <= 1.0)):
        return params, "weight outside 0 to 1"
    if np.any(variances < 0.0):
        return params, "variance negative"
    return params, ""


def _polished(params: Params, values: Array) -> Params:
    """A Newton step on the five moment equations, which takes out the rounding of the nonic; kept where it helps."""
    model, jacobian = mixture_moments(params.weights, params.means, params.variances, 5)
    matrix = np.column_stack([jacobian[:, 0, 0] - jacobian[:, 0, 1], jacobian[:, 1], jacobian[:, 2]])
    try:
        step = np.linalg.solve(matrix, values[:5] - model)
    except np.linalg.LinAlgError:
        return params
    moved = Params(
        params.weights + step[0] * np.array([1.0, -1.0]), params.means + step[1:3], params.variances + step[3:]
    )
    better = mixture_moments(moved.weights, moved.means, moved.variances, 5)[0]
    return moved if np.sum((better - values[:5]) ** 2) < np.sum((model - values[:5]) ** 2) else params


def _equal_means(scaled: _Scaled) -> Params | None:
    """Two components with one mean: the variances have a two-point distribution with moments v2, v4 / 3, v6 / 15."""
    if scaled.order < 6:
        return None
    odd = np.abs(scaled.values[[2, 4]])
    errors = np.sqrt(np.diag(scaled.covariance)[[2, 4]])
    if np.any(odd > (_SYMMETRIC_ERRORS * errors if scaled.sampled else _SYMMETRIC)):
        return None
    pair = _quadrature(np.concatenate([[1.0], scaled.values[[1, 3, 5]] / [1.0, 3.0, 15.0]]), 2)
    if pair is None or np.any(pair[0] < 0.0):
        return None
    return Params(pair[1], np.zeros(2), pair[0])


def _single(scaled: _Scaled) -> _Found:
    variance = float(scaled.values[1])
    notes = () if variance > 0.0 else ("the values scatter no more than their errors: sigma 0",)
    return _Found([_Candidate(Params(np.ones(1), np.zeros(1), np.array([max(variance, 0.0)])), 2)], True, notes)


def _pearson(scaled: _Scaled, starts: list[Params]) -> _Found:
    """Pearson's mixtures; where there is none, the one whose moments are nearest."""
    candidates, refused = [], []
    for p, params, reason in _pairs(scaled):
        name = f"p = {p * scaled.scale**2:.6g}"
        if reason:
            refused.append(f"{name}: {reason}")
            continue
        misfit = 0.0
        if scaled.order > 5:
            sixth = mixture_moments(params.weights, params.means, params.variances, 6)[0][5]
            misfit = float((sixth - scaled.values[5]) ** 2 / scaled.covariance[5, 5])
        # Equal means take the sixth moment, since the odd ones say nothing of the widths.
        candidates.append(_Candidate(params, 5 if p < 0.0 else 6, misfit, name))
    if candidates:
        return _Found(candidates, True)
    nearest = _matched(scaled, 2, starts)
    reasons = "; ".join(refused) or "no real negative root"
    note = f"no admissible root of Pearson's nonic ({reasons}): the mixture with the nearest moments instead"
    return _Found(nearest.candidates, False, (note, *nearest.notes))


def _common_width(scaled: _Scaled, size: int, starts: list[Params]) -> _Found:
    """Denoised method of moments; where the moments belong to no density, the mixture with the nearest ones."""
    variance = _largest_variance(scaled.values, size)
    atoms = None if variance is None else _quadrature(_sharpened(scaled.values, variance), size)
    if variance is not None and atoms is not None:
        return _Found([_Candidate(Params(atoms[1], atoms[0], np.full(size, variance)), 2 * size)], True)
    nearest = _matched(scaled, size, starts, equal_sigmas=True)
    note = "the moments belong to no density: the mixture with the nearest moments instead"
    return _Found(nearest.candidates, False, (note, *nearest.notes))


def _sharpened(values: Array, variance: float) -> Array:
    """Moments 0, 1, ... of the density that gives these when it is convolved with a normal one."""
    order = values.size
    polynomials = np.zeros((order + 1, order + 1))
    polynomials[0, 0] = 1.0
    for k in range(order):
        polynomials[k + 1, 1:] = polynomials[k, :-1]
        polynomials[k + 1] -= k * variance * polynomials[k - 1]
    return np.asarray(polynomials @ np.concatenate([[1.0], values]))


def _largest_variance(values: Array, size: int) -> float | None:
    """The largest common variance that leaves the moments 0 ... 2 size those of a density.

    The matrix of the sharpened moments m_{j+k} is positive definite below the first root of its determinant (Wu & Yang
    2020, algorithm 2), a lower bound of which is also one of all larger variances: bisection. None where it is not
    positive definite to begin with.
    """
    index = np.arange(size + 1)[:, None] + np.arange(size + 1)

    def positive(variance: float) -> bool:
        try:
            np.linalg.cholesky(_sharpened(values[: 2 * size], variance)[index])
        except np.linalg.LinAlgError:
            return False
        return True

    if not positive(0.0):
        return None
    # The values have unit variance.
    low, high = 0.0, 1.0
    while low < 0.5 * (low + high) < high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if positive(middle) else (low, middle)
    return low


def _quadrature(moments: Array, size: int) -> tuple[Array, Array] | None:
    """Nodes and weights with the moments 0 ... 2 size - 1 (Golub & Welsch 1969); None where there are none."""
    index = np.arange(size)[:, None] + np.arange(size)
    try:
        lower = np.linalg.cholesky(moments[index])
    except np.linalg.LinAlgError:
        return None
    last = solve_triangular(lower, moments[size : 2 * size], lower=True)
    diagonal = np.diag(lower)
    # Ratios of neighbouring entries of the Cholesky factor, the last of them in the column that follows it.
    ratios = np.append(np.diag(lower, -1), last[-1]) / diagonal
    nodes, vectors = eigh_tridiagonal(np.diff(ratios, prepend=0.0), diagonal[1:] / diagonal[:-1])
    return np.asarray(nodes), np.asarray(vectors[0] ** 2)


def _quantile_start(cells: Cells, scaled: _Scaled, size: int) -> Params:
    """Components of equal weight side by side, cut from the sorted values."""
    order = np.argsort(cells.x, kind="stable")
    x, err, counts = cells.x[order], cells.err[order], cells.weights[order]
    group = np.minimum((np.cumsum(counts) - 0.5 * counts) / counts.sum() * size, size - 1).astype(int)
    total = np.maximum(np.bincount(group, counts, size), np.finfo(np.float64).tiny)
    offset = (x - scaled.centre) / scaled.scale
    means = np.bincount(group, counts * offset, size) / total
    noise = (err / scaled.scale) ** 2
    variances = np.bincount(group, counts * ((offset - means[group]) ** 2 - noise), size) / total
    return Params(np.full(size, 1.0 / size), means, np.maximum(variances, 0.0))


def _starts(scaled: _Scaled, size: int) -> list[Params]:
    """Mixtures with the first moments of the data and a common width, or one component wider or narrower than the rest.

    And one in the shape of a normal density, for moments that belong to no density.
    """
    widest = _largest_variance(scaled.values, size) or 0.0
    starts = []
    for variance in widest * np.array(_START_FRACTIONS):
        if (atoms := _quadrature(_sharpened(scaled.values, variance), size)) is not None:
            starts += [
                Params(atoms[1], atoms[0], variance * np.where(np.arange(size) == j, factor, 1.0))
                for factor, j in [(1.0, -1), *itertools.product(_START_RATIOS, range(size))]
            ]
    quantiles = np.asarray(ndtri((np.arange(size) + 0.5) / size))
    return [*starts, Params(np.full(size, 1.0 / size), quantiles, np.full(size, 1.0 / size))]


def _matched(scaled: _Scaled, size: int, starts: list[Params], equal_sigmas: bool = False) -> _Found:
    """Generalised method of moments: the mixtures that minimise ``(mu_hat - mu)' W (mu_hat - mu)`` (Hansen 1982)."""
    whitening = scaled.whitening(scaled.order)
    # Bounds far outside: some multiple of the typical distance that the highest even moment speaks of.
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
    candidates: list[_Candidate] = []
    limit = 2.0 * minima[0].cost + (_EQUALLY_WELL if scaled.sampled else 0.0)
    for minimum in minima:
        params = unpack(minimum.x)
        params = Params(params.weights, params.means, np.where(params.variances > _ROUNDING, params.variances, 0.0))
        if 2.0 * minimum.cost <= limit and not any(_same(params, other.params) for other in candidates):
            name = f"the one at {math.sqrt(2.0 * minimum.cost):.2g} standard errors"
            candidates.append(_Candidate(params, scaled.order, 2.0 * minimum.cost, name))
    nearest = math.sqrt(2.0 * minima[0].cost)
    freedom = max(1, scaled.order - _n_params(size, equal_sigmas))
    met = chdtrc(freedom, nearest**2) >= _IMPROBABLE if scaled.sampled else nearest < _MET
    notes: tuple[str, ...] = ()
    if not met:
        unit = "standard errors" if scaled.sampled else "standard errors of one normal value"
        notes = (f"no mixture of {size} components with these moments: the nearest is {nearest:.3g} {unit} off",)
    # A compromise between moments that cannot be met is an estimate for rows, and a failure for given moments.
    return _Found(candidates, bool(minima[0].success and (met or scaled.sampled)), notes)


def _same(one: Params, other: Params) -> bool:
    """Whether two solutions differ by no more than the tolerance of the search, or in the order of components."""
    a, b = (np.array([p.weights, p.means, p.variances])[:, np.argsort(p.means)] for p in (one, other))
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-3))


class _Judge:
    """The likelihood of the data, on which a width of zero may need a floor."""

    def __init__(self, cells: Cells) -> None:
        self.likelihood = Likelihood(cells)
        exact = (cells.err == 0.0) & (cells.weights > 0.0)
        self.floor = cells.resolution or (resolution(cells.x[exact]) if exact.any() else 0.0)

    def __call__(self, mixture: Mixture) -> tuple[float, float]:
        """Log-likelihood, and entropy of the responsibilities."""
        raised = Mixture(mixture.weights, mixture.means, np.maximum(mixture.sigmas, self.floor))
        return self.likelihood.logpdf(self.likelihood.scaled(raised))[1:]


def _choose(
    candidates: list[_Candidate], scaled: _Scaled, judge: _Judge | None
) -> tuple[_Candidate, float, float, tuple[str, ...]]:
    """The most likely mixture, or without data the one that fits the moments best, and notes on the others."""
    mixtures = [scaled.mixture(candidate.params) for candidate in candidates]
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
    scaled: _Scaled,
    found: _Found,
    judge: _Judge | None,
    equal_sigmas: bool,
    n_data: float,
    converged: bool,
    notes: tuple[str, ...],
) -> FitResult:
    """The fit in the unit of the data."""
    chosen, loglik, entropy, choice = _choose(found.candidates, scaled, judge)
    params = chosen.params
    mixture = scaled.mixture(params)
    # In the order that the mixture has, which rounding of far means may change.
    order = np.lexsort((scaled.scale * np.sqrt(params.variances), scaled.centre + scaled.scale * params.means))
    uncertainties = _uncertainties(scaled, chosen, equal_sigmas, order)
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
        n_params=_n_params(params.n_components, equal_sigmas),
        converged=converged and found.converged,
        n_passes=1 if judge is None else 1 + judge.likelihood.n_passes,
        boundary=(params.variances == 0.0)[order],
        uncertainties=uncertainties,
        warnings=notes,
    )


def _uncertainties(scaled: _Scaled, chosen: _Candidate, equal_sigmas: bool, order: NDArray[np.int_]) -> Uncertainties:
    """Delta method: the estimate is a function of the moments, whose covariance is known.

    With the derivatives J of the model's moments and the whitening L, a small change of the moments moves the
    parameters by ``pinv(L J) L``. A sigma at zero is held there; all are nan where the moments do not determine the
    parameters.
    """
    params, size = chosen.params, chosen.params.n_components
    if not scaled.sampled:
        return Uncertainties.unknown(size)
    jacobian = mixture_moments(params.weights, params.means, params.variances, chosen.order)[1]
    # The free parameters behind weights, means and variances: the weights sum to one, a common width is one.
    weights = np.vstack([np.eye(size - 1), np.full((1, size - 1), -1.0)])
    widths = np.ones((size, 1)) if equal_sigmas else np.eye(size)
    widths = widths[:, (widths * params.variances[:, None]).sum(axis=0) > 0.0]
    free = block_diag(weights, np.eye(size), widths)
    whitening = scaled.whitening(chosen.order)
    response = whitening @ jacobian.reshape(chosen.order, 3 * size) @ free
    units = np.linalg.norm(response, axis=0)
    if not np.all(units > 0.0) or np.linalg.cond(response / units) > 1.0 / _ROUNDING:
        return Uncertainties.unknown(size)
    effect = free / units @ np.linalg.pinv(response / units) @ whitening
    variances = np.diag(effect @ scaled.covariance[: chosen.order, : chosen.order] @ effect.T)
    # Rows that are all alike show no scatter that could be an uncertainty.
    errors = np.sqrt(np.where(variances > 0.0, variances, np.nan)).reshape(3, size)[:, order]
    sigmas = np.sqrt(params.variances[order])
    sigma_errors = np.divide(errors[2], 2.0 * sigmas, out=np.full(size, np.nan), where=sigmas > 0.0)
    weight_errors = np.zeros(1) if size == 1 else errors[0]
    return Uncertainties(weight_errors, scaled.scale * errors[1], scaled.scale * sigma_errors)
