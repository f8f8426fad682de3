"""The general likelihood of rows that are read in blocks, from sums that depend on neither blocks nor threads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point, Terms
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells

# Terms of the sums, shape (n_terms, n_rows), and factors whose products with each other are summed, each of shape
# (n_factors, n_rows).
Parts: TypeAlias = "tuple[Array, list[Array]]"

# Terms and factors are rounded to 2^-_BITS of a bound, so that sums of _CHUNK terms are exact in doubles. Factors are
# split in two halves of _HALF bits, so that sums of _CHUNK products are.
_BITS, _HALF, _CHUNK = 40, 20, 1 << 12
# The bound is this many times the largest term among the points that are searched. If a row exceeds it, the pass is
# repeated with the largest term of all rows as the bound.
_HEADROOM = 4.0
# Terms all of which are below this are set to zero; products of two such bounds are still normal numbers.
_TINY = 2.0**-300


class RowsLikelihood(GeneralLikelihood):
    """The likelihood of all rows, for the last steps of an ascent and for the results.

    What is measured of the rows, such as the typical error, is that of their sample.

    Parameters
    ----------
    rows : CellBlocks
        The rows.
    points : GeneralLikelihood
        Likelihood of points that stand for the rows, which says how large the terms of the sums are.
    smooth, fits_scale, prior_rows
        As in `GeneralLikelihood`.
    """

    def __init__(
        self,
        rows: CellBlocks,
        points: GeneralLikelihood,
        *,
        smooth: bool = False,
        fits_scale: bool = False,
        prior_rows: float = 0.0,
    ) -> None:
        survey = rows.survey
        super().__init__(
            survey.sample, smooth=smooth, fits_scale=fits_scale, prior_rows=prior_rows, n_threads=rows.n_threads
        )
        self.rows, self.factor = rows, 1.0
        self.n_data, self.extremes, self.ends = survey.n_data, (survey.low, survey.high), survey.ends
        # The points, each with the weight of the heaviest row.
        self.bounding = copy.copy(points)
        self.bounding.counts = np.full(points.x.size, survey.largest_weight)
        self.bounding.squares = self.bounding.counts
        if self.weight_kind == "importance":
            self.bounding.squares = self.bounding.counts**2

    def __len__(self) -> int:
        return len(self.rows)

    def scaled(self, factor: float) -> RowsLikelihood:
        """The likelihood of the same rows with all errors multiplied by a factor, which is not fitted."""
        other = super().scaled(factor)
        if not isinstance(other, RowsLikelihood):
            raise TypeError("expected the likelihood of rows")
        if other is not self:
            other.factor, other.bounding = factor * self.factor, self.bounding.scaled(factor)
        return other

    def part(self, cells: Cells) -> GeneralLikelihood:
        """The likelihood of some of the rows."""
        part = super().part(cells)
        return part if self.factor == 1.0 else GeneralLikelihood.scaled(part, self.factor)

    def score_products(self, point: Point) -> Array:
        """Sum over the rows of products of their scores times the squared weight; see `GeneralLikelihood`."""

        def parts(part: GeneralLikelihood, rows: slice) -> Parts:
            scores = part.scores(point, rows)
            return np.empty((0, scores.shape[1])), [scores * np.sqrt(part.squares[rows])]

        return self._whole(parts)[1][0]

    def _summed(self, terms: Terms) -> Array:
        return self._whole(lambda part, rows: (terms(part, rows), []))[0]

    def _derivatives(self, point: Point, units: list[Array]) -> tuple[float, Array, Array]:
        sides = (False,) if self.window is None else (False, True)

        def parts(part: GeneralLikelihood, rows: slice) -> Parts:
            terms, factors = zip(*(_of_rows(part, point, units, rows, inside) for inside in sides), strict=True)
            return np.concatenate(terms), list(factors)

        sums, products = self._whole(parts)
        found = [
            _composed(terms, product, units)
            for terms, product in zip(np.split(sums, len(sides)), products, strict=True)
        ]
        if len(found) == 1:
            return found[0]
        return found[0][0] - found[1][0], found[0][1] - found[1][1], found[0][2] - found[1][2]

    def _whole(self, parts: Callable[[GeneralLikelihood, slice], Parts]) -> tuple[Array, list[Array]]:
        """Sums over all rows of terms, and of the products of factors with each other, in one pass."""
        bounds = [_largest(arrays) for arrays in _by_array(parts(self.bounding, rows) for rows in self.bounding.blocks)]
        units = [_powers(_HEADROOM * bound) * 2.0**-_BITS for bound in bounds]
        sums, largest = self._pass(parts, units)
        if not all(np.all(each <= unit * 2.0**_BITS) for each, unit in zip(largest, units, strict=True)):
            # A sum with a term that is not finite is nan.
            units = [
                np.maximum(unit, _powers(np.where(np.isfinite(each), each, np.nan)) * 2.0**-_BITS)
                for each, unit in zip(largest, units, strict=True)
            ]
            sums, _ = self._pass(parts, units)
        total = sums[0].astype(np.float64) * units[0]
        # One after the other: the square of a unit may be too large for a double.
        products = [
            each.astype(np.float64) * unit * unit[:, None] for each, unit in zip(sums[1:], units[1:], strict=True)
        ]
        return total, products

    def _pass(
        self, parts: Callable[[GeneralLikelihood, slice], Parts], units: list[Array]
    ) -> tuple[list[Any], list[Array]]:
        """Sums in these units, as whole numbers, and the largest term and factor of each line."""

        def task(cells: Cells) -> tuple[list[Any], list[Array]]:
            part = self.part(cells)
            terms, factors = parts(part, slice(0, part.x.size))
            found = [_summed_exactly(_rounded(terms, units[0]))]
            for factor, unit in zip(factors, units[1:], strict=True):
                found.append(_multiplied_exactly(_rounded(factor, unit)))
            return found, [_largest([array]) for array in (terms, *factors)]

        sums: list[Any] | None = None
        largest = [np.zeros(unit.size) for unit in units]
        for found, own in self.rows.each(task):
            sums = found if sums is None else [one + other for one, other in zip(sums, found, strict=True)]
            largest = [np.maximum(one, other) for one, other in zip(largest, own, strict=True)]
        if sums is None:
            raise ValueError("the rows are gone: expected the same in each pass")
        return sums, largest


def _of_rows(
    part: GeneralLikelihood, point: Point, units: list[Array], rows: slice, inside: bool
) -> tuple[Array, Array]:
    """What the value, the gradient and the Hessian are composed of: terms of each row, and its scores.

    The terms are those of the value, of the gradient, and of the second derivatives of each component other than those
    by its weight, which are those of the gradient.
    """
    total, q, parts = part._expanded(point, units, rows, inside=inside)
    counts = part.counts[rows]
    weighted = q * counts
    scores = np.concatenate([share * each.first for share, each in zip(q, parts, strict=True)])
    seconds = [
        weighted[j] * (each.first[a] * each.first[b] + each.second[a, b])
        for j, each in enumerate(parts)
        for a, b in _pairs(units[j])
    ]
    return np.stack([counts * total, *(scores * counts), *seconds]), scores * np.sqrt(counts)


def _pairs(unit: Array) -> list[tuple[int, int]]:
    """Pairs of variables of a component other than its weight, each once."""
    return [(a, b) for a in range(1, unit.size) for b in range(1, a + 1)]


def _composed(sums: Array, products: Array, units: list[Array]) -> tuple[float, Array, Array]:
    """Value, gradient and Hessian from the sums of `_of_rows`."""
    size = len(products)
    gradient, seconds = sums[1 : size + 1], iter(sums[size + 1 :])
    hessian = -products
    start = 0
    for unit in units:
        variables = np.arange(start, start + unit.size)
        hessian[start, variables] += gradient[variables]
        hessian[variables[1:], start] += gradient[variables[1:]]
        for a, b in _pairs(unit):
            second = next(seconds)
            hessian[start + a, start + b] += second
            if a != b:
                hessian[start + b, start + a] += second
        start += unit.size
    return float(sums[0]), gradient.copy(), hessian


def _by_array(found: Iterable[Parts]) -> list[list[Array]]:
    """The terms of all blocks, and each of the factors of all blocks."""
    blocks = [[terms, *factors] for terms, factors in found]
    return [list(arrays) for arrays in zip(*blocks, strict=True)]


def _largest(arrays: list[Array]) -> Array:
    """The largest absolute value of each line of some arrays."""
    return np.asarray(np.max([np.max(np.abs(array), axis=1, initial=0.0) for array in arrays], axis=0))


def _powers(bounds: Array) -> Array:
    return np.asarray(2.0 ** np.ceil(np.log2(np.clip(bounds, _TINY, 1.0 / _TINY))))


def _rounded(terms: Array, units: Array) -> Array:
    """Terms as whole numbers of units; lines of which any term exceeds the largest number allowed are left out."""
    with np.errstate(invalid="ignore"):
        rounded = np.rint(terms * (1.0 / units)[:, None])
    rounded[~(_largest([rounded]) <= 2.0**_BITS)] = 0.0
    return np.asarray(rounded)


def _chunks(array: Array) -> list[Array]:
    return [array[:, start : start + _CHUNK] for start in range(0, array.shape[1], _CHUNK)]


def _summed_exactly(rounded: Array) -> Any:
    """Sums of whole numbers, as Python's integers, which are unbounded."""
    return _whole([chunk.sum(axis=1) for chunk in _chunks(rounded)])


def _multiplied_exactly(rounded: Array) -> Any:
    """Sums of the products of lines of whole numbers with each other."""
    upper = np.rint(rounded * 2.0**-_HALF)
    lower = rounded - upper * 2.0**_HALF
    pairs = list(zip(_chunks(upper), _chunks(lower), strict=True))
    crossed = _whole([high @ low.T for high, low in pairs])
    squares = [_whole([half @ half.T for half in halves]) for halves in zip(*pairs, strict=True)]
    return squares[0] * (1 << 2 * _HALF) + (crossed + crossed.T) * (1 << _HALF) + squares[1]


def _whole(sums: list[Array]) -> Any:
    """The total of a few arrays of whole numbers, as Python's integers."""
    return np.sum([each.astype(np.int64) for each in sums], axis=0).astype(object)
