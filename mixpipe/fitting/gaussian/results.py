"""Maxima of the Gaussian likelihood as results with uncertainties and warnings, in the units of the data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mixpipe.fitting.admissible import importance_nats, location_nats, occam_nats
from mixpipe.fitting.gaussian.em import Ascent
from mixpipe.fitting.gaussian.likelihood import Likelihood, score_products
from mixpipe.fitting.gaussian.uncertainty import information_uncertainties
from mixpipe.fitting.remarks import with_remarks
from mixpipe.model.covariance import parameter_covariance
from mixpipe.model.criteria import n_params
from mixpipe.model.resolution import Resolution
from mixpipe.model.results import FitResult, Uncertainties


def result_of(
    likelihood: Likelihood,
    ascent: Ascent,
    floor: float,
    resolution: Resolution,
    gradient_max: float = math.nan,
    exact: bool = True,
) -> FitResult:
    """The fit in the units of the data, with entropy, uncertainties and warnings."""
    params = ascent.params
    size = params.n_components
    # Use the order of the components in the mixture, which the rounding of means far from zero may change.
    order = np.lexsort(
        (likelihood.scale * np.sqrt(params.variances), likelihood.centre + likelihood.scale * params.means)
    )
    boundary = params.variances <= floor * (1.0 + 1e-9)
    products, uneven = ascent.products, ascent.uneven
    if likelihood.weight_kind == "importance":
        squared = likelihood.squared().component_sums(params)
        products = score_products(squared, params)
        uneven = importance_nats(likelihood.n_data * params.weights, squared.sums[:, 0], likelihood.n_data)
    entropy = likelihood.logpdf(params)[2] if ascent.entropy is None else ascent.entropy
    if ascent.hessian is None:
        uncertainties, covariance = Uncertainties.unknown(size), np.full((size, 3, size, 3), np.nan)
    else:
        uncertainties, covariance = information_uncertainties(likelihood, params, ascent.hessian, boundary, products)
    uncertainties = Uncertainties(uncertainties.weights[order], uncertainties.means[order], uncertainties.sigmas[order])
    rows, total_var = likelihood.effective_rows(params, ascent.held)
    mixture = likelihood.mixture(params)
    if resolution.floor > 0.0:
        mixture = replace(mixture, sigmas=np.where(boundary[order], resolution.floor, mixture.sigmas))
    fit = FitResult(
        mixture=mixture,
        estimator="em",
        loglik=float(ascent.loglik),
        entropy=entropy,
        n_data=likelihood.n_data,
        n_params=n_params(size),
        converged=ascent.converged,
        remaining_gain=float(ascent.remaining_gain),
        n_passes=likelihood.n_passes,
        sigma_floor=resolution.floor,
        gradient_max=gradient_max,
        exact=exact,
        boundary=boundary[order],
        uncertainties=uncertainties,
        covariance=parameter_covariance(covariance, order, mixture, uncertainties),
        resolution=resolution,
        effective_rows=rows[order],
        occam=occam_nats(rows, total_var, likelihood.spread, likelihood.n_data)
        + location_nats(params.weights, rows, total_var, likelihood.spread, likelihood.grain)
        + uneven,
    )
    extent = likelihood.scale * float(np.ptp(likelihood.x))
    return with_remarks(fit, extent, has_errors=bool(likelihood.var.any()))
