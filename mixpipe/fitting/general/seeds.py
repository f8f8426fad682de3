"""Starts from Gaussian mixtures, for which the search is fast and thorough.

A lognormal component is Gaussian in ln x, if errors are small; components of the other families have the mean and
width of a Gaussian one. Limits are left out, bins count as values with errors, and a cut of the sample is ignored: the
starts need not be maxima.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.fitting.gaussian.search import Search
from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point
from mixpipe.model.cells import Cells
from mixpipe.model.families import Family
from mixpipe.model.mixture import Mixture
from mixpipe.model.regimes import FULL_SEARCH_ROWS

# Number of Gaussian fits that become starts, for each number of components, and in intervals, which have more maxima.
_N_FITS, _N_FITS_IN_INTERVALS = 2, 4
# Width that a sketch of many rows resolves, as a fraction of the range of the central 80 % of the values.
_BASE = 1 / 128
# Logarithms of values below this many errors are those of such a value, with an error of one.
_LEAST_RATIO = 1.0


def gaussian_seeds(likelihood: GeneralLikelihood, family: Family, max_components: int) -> list[list[Point]]:
    """Starts with 1 ... `max_components` components of a family, in order of their number."""
    cells = _cells(likelihood, logarithmic=family.positive)
    if cells is None:
        return [[] for _ in range(max_components)]
    gaussian = Likelihood(cells, likelihood.n_threads)
    in_intervals = likelihood.edges is not None
    finder = Search(gaussian, (cells.resolution.floor / gaussian.scale) ** 2, lean=not in_intervals)
    finder.run(max_components)
    n_fits = _N_FITS_IN_INTERVALS if in_intervals else _N_FITS
    return [
        [_point(gaussian.mixture(fit.params), family, shape) for fit in pool[:n_fits] for shape in _shapes(family)]
        for pool in finder.settled[:max_components]
    ]


def _cells(likelihood: GeneralLikelihood, *, logarithmic: bool) -> Cells | None:
    """The values as Gaussian cells, or None if there are too few of them."""
    known = likelihood.limits == 0
    x, err, weights = likelihood.x[known], likelihood.widths[known], likelihood.counts[known]
    if logarithmic:
        least = np.maximum(x, _LEAST_RATIO * err)
        positive = least > 0.0
        x, err, weights = (
            np.log(least[positive]),
            (err / np.where(least > 0.0, least, 1.0))[positive],
            weights[positive],
        )
    if x.size < 2:
        return None
    cells = Cells(x, err, weights, weight_kind=likelihood.weight_kind)
    # The widths of intervals are among the errors already.
    inside = likelihood.edges is not None and not logarithmic
    resolution = replace(likelihood.resolution, floor=likelihood.floor) if inside else cells.resolved()
    cells = replace(cells, resolution=resolution)
    low, high = np.quantile(x, (0.1, 0.9))
    return cells.sketched(_BASE * (float(high - low) or 1.0)) if x.size > FULL_SEARCH_ROWS else cells


def _shapes(family: Family) -> tuple[float, ...]:
    return family.shape_starts or (math.nan,)


def _point(mixture: Mixture, family: Family, shape: float) -> Point:
    """A mixture of another family with the same means and widths, or with those of the exponentials."""
    means, sigmas = mixture.means, mixture.sigmas
    if family.positive:
        means, sigmas = _of_logarithms(means, sigmas)
    size = mixture.n_components
    return Point((family,) * size, (False,) * size, mixture.weights, means, sigmas, np.full(size, shape))


def _of_logarithms(means: Array, sigmas: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of exp(y) for normal y; exponents are limited so that both stay finite."""
    variances = np.minimum(sigmas**2, 50.0)
    scaled = np.exp(means + 0.5 * variances)
    return scaled, scaled * np.sqrt(np.expm1(variances))
