"""The likelihood of rows that are read in blocks, from sums of integers that depend on neither blocks nor threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.fitting.gaussian.likelihood import ComponentSums, Derivatives, Likelihood, Params, Sums, derivatives_of
from mixpipe.fitting.kernels import passes
from mixpipe.model.cells import Cells
from mixpipe.model.rows import Block, Rows, Survey

# The bound on the terms of a sum is this many times the largest term among the points of a sketch. If a chunk of rows
# exceeds it, the bound of this sum grows by this factor and the pass is repeated.
_HEADROOM = 4.0
_MORE_ROOM = 2.0**8
# A component that has less than this part of every point lies between them; its rows are within so many widths.
_SEEN = 1e-3
_FARTHEST = 9.0
# Sums whose terms are all below this are set to zero; products of two such bounds are still normal numbers.
_TINY = 2.0**-300


class RowLikelihood:
    """The likelihood of all rows, for the last steps of an ascent; a pass over the rows yields sums of integers.

    Parameters
    ----------
    rows : Rows
        The rows.
    points : Likelihood
        Likelihood of a sketch of the rows, which provides the shift, the scale, and the size of the terms of the sums.
    survey : Survey
        Survey of the rows.
    """

    def __init__(self, rows: Rows, points: Likelihood, survey: Survey) -> None:
        self.rows, self.points, self.survey = rows, points, survey
        self.centre, self.scale, self.n_data, self.ceiling = points.centre, points.scale, points.n_data, points.ceiling
        self.log_jacobian = points.log_jacobian
        self.n_passes = 0

    def component_sums(self, params: Params) -> ComponentSums:
        """One pass: the sums from which value, gradient and Hessian are computed."""
        units, score_units = self._units(params)
        while True:
            sums, outer, exceeds, outer_exceeds = self._pass(params, units, score_units)
            if not (exceeds.any() or outer_exceeds.any()):
                break
            units = np.where(exceeds, _MORE_ROOM, 1.0) * units
            score_units = np.where(outer_exceeds.any(axis=0) | outer_exceeds.any(axis=1), _MORE_ROOM, 1.0) * score_units
        total = np.array([float(value) for value in sums]) * units
        products = np.array([[float(value) for value in row] for row in outer])
        # One after the other: the square of a unit may be too large for a double.
        products = products * score_units * score_units[:, None]
        return ComponentSums(float(total[0]) + self.log_jacobian, total[1:].reshape(params.n_components, -1), products)

    def sums(self, params: Params) -> Sums:
        """The sums of an EM step."""
        total = self.component_sums(params)
        return Sums(total.loglik, *total.sums.T[: passes.N_EM])

    def derivatives(self, params: Params, hessian: Array | None = None) -> Derivatives:
        """One pass: value, gradient and Hessian; see `mixpipe.fitting.gaussian.likelihood.Likelihood.derivatives`."""
        return derivatives_of(self.component_sums(params), params, self.n_data, hessian)

    def held_sums(self, params: Params) -> Array:
        """One pass: the sums over the rows of `mixpipe.fitting.gaussian.likelihood.Likelihood.held_sums`."""
        self.n_passes += 1
        kind = self.rows.weight_kind

        def task(piece: Block) -> Array:
            x, err, weights = piece
            cells = Cells(x, err, np.broadcast_to(weights, x.shape), weight_kind=kind)
            return Likelihood(cells, 1, like=self.points).held_sums(params)

        total = np.sum(list(self.rows.each(task)), axis=0)
        # Sums of blocks depend on where these begin, but not in their first digits.
        return np.asarray(total, dtype=np.float32).astype(np.float64)

    def _pass(
        self, params: Params, units: Array, score_units: Array
    ) -> tuple[Any, Any, NDArray[np.bool_], NDArray[np.bool_]]:
        self.n_passes += 1
        size = score_units.size

        def task(piece: Block) -> tuple[Any, Any, Any, Any]:
            out, outer = np.zeros(units.size, np.int64), np.zeros((size, size), np.int64)
            exceeds, outer_exceeds = np.zeros(units.size, np.bool_), np.zeros((size, size), np.bool_)
            passes.whole_pass(
                *piece,
                self.centre,
                1.0 / self.scale,
                params.weights,
                params.means,
                params.variances,
                units,
                score_units,
                out,
                outer,
                exceeds,
                outer_exceeds,
            )
            return out, outer, exceeds, outer_exceeds

        # Python's integers are unbounded.
        sums, outer = np.zeros(units.size, object), np.zeros((size, size), object)
        exceeds, outer_exceeds = np.zeros(units.size, np.bool_), np.zeros((size, size), np.bool_)
        for part, square, too_large, outer_too_large in self.rows.each(task):
            sums += part.astype(object)
            outer += square.astype(object)
            exceeds |= too_large
            outer_exceeds |= outer_too_large
        return sums, outer, exceeds, outer_exceeds

    def _units(self, params: Params) -> tuple[Array, Array]:
        """Powers of two to whose multiples the terms of each sum are rounded."""
        points, n_sums = self.points, passes.N_EM + passes.N_NEWTON
        offset, rounding = abs(self.centre) / self.scale, 4.0 * np.finfo(np.float64).eps
        found = np.empty(1 + (n_sums + passes.N_SCORES) * params.n_components)
        passes.largest_pass(
            points.x, points.var, params.weights, params.means, params.variances, offset, rounding, found
        )
        largest_log, largest_terms = found[0], found[1:].reshape(params.n_components, -1)
        unseen = largest_terms[:, 0] < _SEEN
        if unseen.any():
            near = 1.0 / (params.variances[unseen] + float(points.var.min()))
            coarsest = rounding * (offset + float(np.abs(points.x).max()))
            farthest = _FARTHEST * np.sqrt(near) + coarsest * near
            terms = np.stack(_terms(farthest, near), axis=1)
            largest_terms[unseen] = np.maximum(largest_terms[unseen], terms)
        largest = self.survey.largest_weight * _HEADROOM
        bounds = largest_terms[:, :n_sums].ravel() * largest
        score_bounds = largest_terms[:, n_sums:].ravel() * math.sqrt(self.survey.largest_weight) * _HEADROOM
        of_log = (largest_log + 1.0) * largest
        return (
            _powers(np.concatenate([[of_log], bounds])) * 2.0**-passes.WHOLE_BITS,
            _powers(score_bounds) * 2.0**-passes.SCORE_BITS,
        )


def _terms(d: Array, inv: Array) -> list[Array]:
    """The terms of the sums of `newton_pass` of a row that has a component to itself, and its scores.

    Parameters
    ----------
    d, inv : ndarray
        Distance from the mean in units of the total variance T, and 1 / T.
    """
    one = np.ones(d.size)
    terms = [one, inv, d, d**2, inv**2, d * inv, d**2 * inv, d**3, d**4]
    return [*terms, one, d, 0.5 * (d**2 + inv)]


def _powers(bounds: Array) -> Array:
    return np.asarray(2.0 ** np.ceil(np.log2(np.maximum(bounds, _TINY))))
