"""Mixtures fitted to the density of a column, by least squares between observed and expected shares of bins.

The observed shares are those of a histogram, of Bayesian blocks, or of a kernel density. The expected shares are
integrals, over the same bins, of the components convolved with the errors of the catalog.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.fitting.histogram.binning import METHODS, Binned, Sorted, error_groups
from mixpipe.fitting.histogram.projection import Projection, Solution, bin_integrals, descend
from mixpipe.model.covariance import parameter_covariance
from mixpipe.model.criteria import n_params
from mixpipe.model.inputs import as_cells, check_count, with_errors_of, with_unit_of
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import Array, FitResult, Uncertainties

# A fit has converged when the predicted gain of a further step is below this, in units of chi-square / 2, which are
# those of the log-likelihood; the descent continues until it is below `_NEGLIGIBLE`.
_CONVERGED = 1e-3
_NEGLIGIBLE = 1e-8
_MAX_STEPS = 200
# Number of starts that race for each number of components, the steps of the race, and the number of fits that are kept.
_N_RACE = 10
_RACE_STEPS = 6
_N_KEPT = 3
# Number of repeated fits, each with the variances that the previous fit implies.
_N_REWEIGHTED = 4
# Numbers of means and widths at which a new component is tried.
_N_MEANS = 64
_N_WIDTHS = 7
# A component that contains fewer rows than this is named in a warning.
_FEW_ROWS = 3.0


@dataclass(frozen=True, eq=False)
class _Search:
    """A deterministic search from one component to many."""

    problem: Projection
    lower_var: float
    centre: float
    variance: float

    def bounds(self, n_components: int) -> tuple[Array, Array]:
        edges = self.problem.binned.edges
        low, high = float(edges[0]), float(edges[-1])
        lower = self.problem.variables(np.full(n_components, low), np.full(n_components, self.lower_var))
        widest = (high - low) ** 2 + self.lower_var
        return lower, self.problem.variables(np.full(n_components, high), np.full(n_components, widest))

    def refine(self, starts: list[Array]) -> list[Solution]:
        """The best distinct fits from these starts: all are evaluated, the best race, and the leaders are finished."""
        lower, upper = self.bounds(starts[0].size // 2)
        looked = sorted((self.problem.solve(np.clip(s, lower, upper)) for s in starts), key=self.problem.misfit)
        raced = [descend(self.problem, fit, lower, upper, _RACE_STEPS, _CONVERGED)[0] for fit in looked[:_N_RACE]]
        kept: list[Solution] = []
        for fit in sorted(raced, key=self.problem.misfit):
            if len(kept) == _N_KEPT:
                break
            arrived = descend(self.problem, fit, lower, upper, _MAX_STEPS, _CONVERGED)[0]
            if all(abs(arrived.loss - other.loss) > 0.1 for other in kept):
                kept.append(arrived)
        return sorted(kept, key=self.problem.misfit)

    def run(self, n_components: int) -> list[Solution]:
        """The best fits with this number of components."""
        means, variances = self.candidates()
        # A single typical error is accurate enough for a start.
        seen = variances + self.problem.softening + self.problem.binned.blur
        shares = bin_integrals(self.problem.binned.edges, means, seen, np.zeros(1), np.ones(1))[0]
        kept = self.refine([self.problem.variables(np.array([self.centre]), np.array([self.variance]))])
        for _ in range(1, n_components):
            starts = []
            for fit in kept:
                starts += self.insertions(fit, shares, means, variances) + self.splits(fit)
            kept = self.refine(starts)
        return kept

    def candidates(self) -> tuple[Array, Array]:
        """Components to insert: widths in equal ratios, and means where the bins are."""
        edges = self.problem.binned.edges
        centres = 0.5 * (edges[1:] + edges[:-1])
        # Means are spaced by the number of bins rather than by distance, since bins are narrow where the rows are.
        means = np.unique(centres[np.linspace(0, centres.size - 1, _N_MEANS).astype(int)])
        narrowest = max(self.problem.binned.width**2 / 12.0, self.lower_var)
        variances = np.geomspace(max(self.variance, narrowest), narrowest, _N_WIDTHS)
        return np.tile(means, _N_WIDTHS), np.repeat(variances, means.size)

    def insertions(self, fit: Solution, shares: Array, means: Array, variances: Array) -> list[Array]:
        """The candidate of each width that improves the fit most, along the line towards it."""
        scale = self.problem.reweighted(fit.expected).root_precision
        residuals = scale * (fit.expected - self.problem.binned.shares)
        towards = scale[:, None] * (shares - fit.expected[:, None])
        slope = np.minimum(residuals @ towards, 0.0)
        gain = slope**2 / np.maximum((towards * towards).sum(axis=0), 1e-300)
        best = gain.reshape(_N_WIDTHS, -1).argmax(axis=1) + np.arange(_N_WIDTHS) * (gain.size // _N_WIDTHS)
        old_means, u = np.split(fit.variables, 2)
        old = self.problem.variances(u)
        return [
            self.problem.variables(np.append(old_means, means[index]), np.append(old, variances[index]))
            for index in best
        ]

    def splits(self, fit: Solution) -> list[Array]:
        """Each component as two side by side, and as a narrow one within a wide one."""
        means, u = np.split(fit.variables, 2)
        old = self.problem.variances(u)
        starts = []
        for j in np.flatnonzero(fit.weights):
            half = math.sqrt(old[j] + self.problem.softening)
            for offset, shrunk, other in ((0.8 * half, 0.4, 0.4), (0.0, 0.3, 2.0)):
                centres, widths = np.append(means, means[j] + offset), np.append(old, other * old[j])
                centres[j] -= offset
                widths[j] *= shrunk
                starts.append(self.problem.variables(centres, widths))
        return starts


def fit_histogram(
    x: Any,
    err: Any = None,
    n_components: int = 1,
    *,
    weights: Any = None,
    method: str = "histogram",
) -> FitResult:
    """Fit the Gaussian mixture whose density, convolved with the errors, is closest to the observed one.

    The sum of squared differences between observed and expected shares of bins, each divided by its variance, is
    minimised over means, widths and weights. The variances are those that the previous fit implies, with a small
    fraction of a row added, which limits the influence of a row where none is expected. Errors are assumed to be
    independent of the true values.

    Parameters
    ----------
    x : array_like, shape (n_data,), or Cells
        Values.
    err : array_like, shape (n_data,) or (2, n_data), float or None
        One-sigma errors in the unit of `x`; a scalar means equal errors, None no errors. Of lower and upper errors, the
        mean is taken.
    n_components : int
        Number of components, M.
    weights : array_like, shape (n_data,), or None
        Row weights.
    method : str
        The observed density: a ``histogram`` with bins by the rule of Freedman & Diaconis, Bayesian ``blocks``, or a
        Gaussian ``kernel``, whose variance is added to those of the components.

    Returns
    -------
    FitResult
        The fit, with the log-likelihood of the mixture for the rows themselves. Sigmas have a lower bound if bins are
        wider than the errors.

    Raises
    ------
    ValueError
        For values that are not finite, negative errors, no components or an unknown method.

    Examples
    --------
    >>> from scipy.special import ndtri
    >>> quantiles = ndtri((np.arange(5000) + 0.5) / 5000)  # of a standard normal
    >>> fit_histogram(np.concatenate([1.0 + quantiles, 9.0 + quantiles]), 0.6, n_components=2).mixture
    Mixture(weights=[0.5 0.5], means=[1. 9.], sigmas=[0.8 0.8])
    """
    n_components = check_count("n_components", n_components)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(METHODS)}")
    cells = as_cells(x, err, weights).as_points()
    likelihood = Likelihood(cells)
    data = Sorted.of(likelihood.x, likelihood.counts)
    exact_width = cells.resolution.floor / likelihood.scale
    typical_err = math.sqrt(float(np.median(likelihood.var)))
    # If all values are equal, bins may have any width that the errors or the digits of the value resolve.
    binned = METHODS[method](data, typical_err or math.sqrt(12.0) * (exact_width or 1.0))
    # Widths that the bins do not resolve must be resolved by most errors.
    smallest_var = float(np.quantile(likelihood.var, 0.1))
    floor_var = max(exact_width**2, binned.width**2 / 12.0 - smallest_var, 0.0)
    fit, problem, promised = _minimise(likelihood, binned, floor_var, int(n_components))
    return with_unit_of(x, with_errors_of(cells, _result(likelihood, fit, problem, floor_var, promised)))


def _minimise(
    likelihood: Likelihood, binned: Binned, floor_var: float, n_components: int
) -> tuple[Solution, Projection, float]:
    """Search with variances from the smoothed shares, then repeat the best fits with the variances that they imply."""
    n_data = likelihood.n_data
    softening = binned.width**2 / 12.0
    groups = error_groups(likelihood.var, likelihood.counts, softening)
    padded = np.pad(binned.shares, 1, mode="edge")
    smooth = 0.25 * (padded[:-2] + 2.0 * padded[1:-1] + padded[2:])
    typical_var = float(np.median(likelihood.var))
    softening += typical_var
    problem = Projection(binned, *groups, np.sqrt(n_data / (smooth + 1.0 / n_data)), softening, n_data)
    mean = float(np.sum(likelihood.counts * likelihood.x)) / n_data
    spread = float(np.sum(likelihood.counts * (likelihood.x - mean) ** 2)) / n_data
    variance = max(spread - typical_var, 0.1 * spread, floor_var)
    search = _Search(problem, floor_var, mean, variance)
    bounds = search.bounds(n_components)
    arrived = []
    for fit in search.run(n_components):
        for _ in range(_N_REWEIGHTED):
            problem = problem.reweighted(fit.expected)
            fit, promised = descend(problem, problem.solve(fit.variables), *bounds, _MAX_STEPS, _NEGLIGIBLE)
        arrived.append((fit, problem, promised))
    return min(arrived, key=lambda outcome: problem.misfit(outcome[0]))


def _uncertainties(
    problem: Projection, fit: Solution, sigmas: Array, boundary: NDArray[np.bool_], n_data: float
) -> tuple[Array, Array]:
    """One-sigma uncertainties of weights, means and sigmas, one row each, and the covariance of (weight, mean, sigma)
    by component.

    The covariance of the shares is propagated to the parameters as ``A^-1 J' V S V J A^-1`` with ``A = J' V J``, where
    S is the covariance of the shares and V are the weights of the fit.
    """
    size = fit.weights.size
    unc, full = np.full((3, size), np.nan), np.full((size, 3, size, 3), np.nan)
    shares, d_mean, d_u = problem.integrals(fit.variables)
    used = np.flatnonzero(fit.weights)
    wide = np.flatnonzero((fit.weights > 0.0) & ~boundary)
    basis = np.delete(np.eye(used.size), 0, axis=1)
    basis[0] = -1.0
    # d/ds = d/du s / (s^2 + softening)
    d_sigma = d_u[:, wide] * sigmas[wide] / (sigmas[wide] ** 2 + problem.softening)
    jacobian = np.hstack([shares[:, used] @ basis, d_mean[:, used] * fit.weights[used], d_sigma * fit.weights[wide]])
    scaled = problem.root_precision[:, None] * jacobian
    normal = scaled.T @ scaled
    unit = np.sqrt(np.diag(normal))
    if not np.all(unit > 0.0):
        return unc, full
    curvature, vectors = np.linalg.eigh(normal / np.outer(unit, unit))
    if curvature[0] < 1e-10:
        return unc, full
    inverse = (vectors / curvature) @ vectors.T / np.outer(unit, unit)
    influence = inverse @ (scaled * problem.root_precision[:, None]).T
    covariance = influence @ problem.binned.covariance @ influence.T / n_data
    variances = np.maximum(np.diag(covariance), 0.0)
    first, last = used.size - 1, 2 * used.size - 1
    weight_covariance = basis @ covariance[:first, :first] @ basis.T
    unc[0, used] = np.sqrt(np.maximum(np.diag(weight_covariance), 0.0))
    unc[1, used] = np.sqrt(variances[first:last])
    unc[2, wide] = np.sqrt(variances[last:])
    slopes = block_diag(basis, np.eye(used.size), np.eye(wide.size))
    parts = np.concatenate([3 * used, 3 * used + 1, 3 * wide + 2])
    full.reshape(3 * size, 3 * size)[np.ix_(parts, parts)] = slopes @ covariance @ slopes.T
    return unc, full


def _result(likelihood: Likelihood, fit: Solution, problem: Projection, floor_var: float, promised: float) -> FitResult:
    """The fit in the units of the data, with its log-likelihood, uncertainties and warnings."""
    means, u = np.split(fit.variables, 2)
    variances = problem.variances(u)
    boundary = variances <= floor_var + 1e-9 * problem.softening
    variances = np.where(boundary, floor_var, variances)
    sigmas = np.sqrt(variances)
    mixture = Mixture(fit.weights, likelihood.centre + likelihood.scale * means, likelihood.scale * sigmas)
    order = np.lexsort((likelihood.scale * sigmas, likelihood.centre + likelihood.scale * means))
    size, n_data = fit.weights.size, likelihood.n_data
    wanted = n_params(size)
    _, loglik, entropy = likelihood.logpdf(likelihood.scaled(mixture))
    unc, covariance = _uncertainties(problem, fit, sigmas, boundary, n_data)
    scales = np.array([1.0, likelihood.scale, likelihood.scale])
    uncertainties = Uncertainties(*(scales[:, None] * unc[:, order]))
    sigma_floor = math.sqrt(floor_var) * likelihood.scale
    warnings = []
    if promised >= _CONVERGED:
        warnings.append(f"not converged: chi-square / 2 would fall by {promised:.2g} (converged: {_CONVERGED:g})")
    if n_data < wanted:
        warnings.append(f"{wanted} parameters for {n_data:g} rows")
    n_bins = problem.binned.shares.size
    if n_bins - 1 < wanted:
        warnings.append(f"{wanted} parameters for {n_bins} bins: the fit is not determined")
    if sigma_floor > 0.0 and boundary.any():
        warnings.append(
            f"{int(boundary.sum())} of {size} sigmas at the floor of {sigma_floor:.4g}, "
            f"the smallest width that the bins resolve"
        )
    ordered = fit.weights[order]
    for text, flags in (
        ("no weight", ordered == 0.0),
        (f"fewer than {_FEW_ROWS:g} rows", (ordered > 0.0) & (ordered * n_data < _FEW_ROWS)),
    ):
        if flags.any():
            warnings.append(f"{text} in component {', '.join(str(j + 1) for j in np.flatnonzero(flags))}")
    return FitResult(
        mixture=mixture,
        estimator="density",
        loglik=loglik,
        entropy=entropy,
        n_data=n_data,
        n_params=wanted,
        converged=promised < _CONVERGED,
        n_passes=likelihood.n_passes,
        sigma_floor=sigma_floor,
        boundary=boundary[order],
        uncertainties=uncertainties,
        covariance=parameter_covariance(covariance * scales[:, None, None] * scales, order, mixture, uncertainties),
        warnings=tuple(warnings),
    )
