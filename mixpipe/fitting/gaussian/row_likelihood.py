"""The likelihood of rows that are read in blocks, from sums of integers that depend on neither blocks nor threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.fitting.gaussian.likelihood import ComponentSums, Derivatives, Likelihood, Params, Sums, derivatives_of
from mixpipe.fitting.kernels import passes
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
        points = self.points
        logp, _, _ = points.logpdf(params)
        total = params.variances[:, None] + points.var
        inv = 1.0 / total
        offset = np.abs(points.x - params.means[:, None])
        with np.errstate(under="ignore"):
            q = np.exp(np.log(params.weights)[:, None] - 0.5 * (offset**2 * inv + np.log(2.0 * math.pi * total)) - logp)
        # Rows lie around their point, and their distance from a mean may be smaller than the rounding of doubles.
        rounding = 4.0 * np.finfo(np.float64).eps * (abs(self.centre) / self.scale + np.abs(points.x))
        d = (offset + 0.5 * np.sqrt(total) + rounding) * inv
        terms, scores = np.max(_terms(q, d, inv), axis=2), np.max(_scores(q, d, inv), axis=2)
        unseen = np.max(q, axis=1) < _SEEN
        if unseen.any():
            near = 1.0 / (params.variances[unseen] + float(points.var.min()))
            farthest = _FARTHEST * np.sqrt(near) + rounding.max() * near
            one = np.ones(near.size)
            terms[:, unseen] = np.maximum(terms[:, unseen], _terms(one, farthest, near))
            scores[:, unseen] = np.maximum(scores[:, unseen], _scores(one, farthest, near))
        largest = self.survey.largest_weight * _HEADROOM
        bounds = terms.T.ravel() * largest
        score_bounds = scores.T.ravel() * math.sqrt(self.survey.largest_weight) * _HEADROOM
        of_log = (float(np.max(np.abs(logp))) + 1.0) * largest
        return (
            _powers(np.concatenate([[of_log], bounds])) * 2.0**-passes.WHOLE_BITS,
            _powers(score_bounds) * 2.0**-passes.SCORE_BITS,
        )


def _terms(q: Array, d: Array, inv: Array) -> list[Array]:
    """The terms of the sums of `newton_pass`: q is the share of the component, and d the distance over T."""
    return [q, q * inv, q * d, q * d**2, q * inv**2, q * d * inv, q * d**2 * inv, q * d**3, q * d**4]


def _scores(q: Array, d: Array, inv: Array) -> list[Array]:
    """The derivatives of the log-likelihood of a row."""
    return [q, q * d, 0.5 * q * (d**2 + inv)]


def _powers(bounds: Array) -> Array:
    return np.asarray(2.0 ** np.ceil(np.log2(np.maximum(bounds, _TINY))))
