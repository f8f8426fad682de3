"""The quality of a fit to all rows of a column, from one pass over them, however many there are."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mixpipe.assess.effort import Effort
from mixpipe.assess.empirical import limit_statistics
from mixpipe.assess.kernels import transforms
from mixpipe.assess.quality import Quality, sides_of
from mixpipe.assess.simulation import p_value
from mixpipe.base.arrays import Array
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.results import FitResult
from mixpipe.model.rows import Block, Rows

# Bins of the transform, evenly spaced in the inverse hyperbolic sine of its logit, out to the smallest double: in the
# middle they are narrower than 2e-5, so that the largest distance is missed by less than the fraction 0.003 of its
# scatter for 10^8 rows.
_N_BINS = 1 << 18
_LARGEST_LOGIT = 710.0
_PER_UNIT = 0.5 * _N_BINS / math.asinh(_LARGEST_LOGIT)
# Rounded values whose transform is known to this count as steps.
_NARROWEST = 1e-5
# Sums of whole numbers stay below this, in 63 bits; weights are rounded to this part of their sum.
_LARGEST_SUM = 2.0**61
_WEIGHT_PARTS = 2.0**40
_UNIT = _LARGEST_SUM * _NARROWEST / _WEIGHT_PARTS

Piece = TypeVar("Piece")


def assess_rows(fit: FitResult, rows: Rows | CellBlocks, sample: Cells, effort: Effort) -> Quality:
    """The quality of a fit to all rows, with p-values from its limit for many rows if catalogs are asked for.

    Parameters
    ----------
    fit : FitResult
        A fit; of Gaussian components for `Rows`.
    rows : Rows or CellBlocks
        The rows that were fitted.
    sample : Cells
        Some of the rows, which say how the errors and the weights are distributed.
    effort : Effort
        Number of draws of the limit (`limit_statistics`), and their seed.
    """
    quality = statistics_of_rows(fit, rows) if isinstance(rows, Rows) else statistics_of_cells(fit, rows)
    if not effort.quality_draws:
        return quality
    ks, ad = limit_statistics(fit, sample, effort.quality_draws, np.random.default_rng(effort.seed))
    # The limit scales with the effective number of rows.
    first, second = float(sample.weights.sum()), float(sample.squared_weights.sum())
    ks *= first / math.sqrt(second * fit.n_data)
    ad *= first / second
    return replace(quality, ks_pvalue=p_value(quality.ks, ks), ad_pvalue=p_value(quality.ad, ad))


def statistics_of_rows(fit: FitResult, rows: Rows) -> Quality:
    """Kolmogorov-Smirnov and Anderson-Darling statistics of all rows, without p-values.

    The same as `mixpipe.assess.quality.assess` but for the width of the bins in which the transforms are counted.
    Sums are of whole numbers, so that they do not depend on the order of the rows or on the threads.

    Examples
    --------
    >>> from mixpipe.assess.quality import assess
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> cells = Cells.from_rows(np.linspace(-1.0, 1.0, 5000) ** 3, err=0.1)
    >>> fit = fit_mixture(cells, n_components=1)
    >>> one, other = statistics_of_rows(fit, Rows.of(cells)), assess(fit.mixture, cells)
    >>> abs(one.ks - other.ks) < 2e-4, abs(one.ad / other.ad - 1.0) < 1e-3
    (True, True)
    """
    model = fit.mixture.weights, fit.mixture.means, fit.mixture.sigmas**2

    def add(piece: Block, table: NDArray[np.int64]) -> None:
        x, err, weights = piece
        half_step = 0.5 * fit.resolution.step
        shares = _shares(weights, fit.n_data)
        transforms.count_transforms(x, err, shares, half_step, *model, _PER_UNIT, _NARROWEST, _UNIT, *table)

    return _statistics(rows.each, add, rows.n_threads, fit.n_data)


def statistics_of_cells(fit: FitResult, rows: CellBlocks) -> Quality:
    """As `statistics_of_rows`, for rows and mixtures of any kind.

    Examples
    --------
    >>> from mixpipe.assess.quality import assess
    >>> from mixpipe.fitting.choose import fit_mixture
    >>> x = np.linspace(-1.0, 1.0, 5000) ** 3
    >>> cells = Cells.from_rows(x, err=0.1, limits=np.where(x < -0.5, -1, 0))
    >>> fit = fit_mixture(cells, n_components=1)
    >>> one, other = statistics_of_cells(fit, CellBlocks.of(cells)), assess(fit.mixture, cells)
    >>> abs(one.ks - other.ks) < 2e-4, abs(one.ad / other.ad - 1.0) < 1e-3
    (True, True)
    """

    def add(cells: Cells, table: NDArray[np.int64]) -> None:
        ends = sides_of(fit.mixture, cells, 0.5 * fit.resolution.step)
        transforms.count_intervals(_shares(cells.weights, fit.n_data), ends, _PER_UNIT, _NARROWEST, _UNIT, *table)

    return _statistics(rows.each, add, rows.n_threads, fit.n_data)


def _shares(weights: Array, n_data: float) -> NDArray[np.int64]:
    """Weights as whole numbers of parts of their sum."""
    return np.rint(weights * (_WEIGHT_PARTS / n_data)).astype(np.int64)


def _statistics(
    each: Callable[[Callable[[Piece], None]], Iterator[None]],
    add: Callable[[Piece, NDArray[np.int64]], None],
    n_threads: int,
    n_data: float,
) -> Quality:
    """The statistics of all pieces of the rows, each of which is added to the table of one of the threads."""
    tables = [np.zeros((3, _N_BINS), dtype=np.int64) for _ in range(n_threads)]
    free = deque(tables)

    def task(piece: Piece) -> None:
        table = free.popleft()
        add(piece, table)
        free.append(table)

    for _ in each(task):
        pass
    return _quality(np.sum(tables, axis=0), n_data)


def _quality(table: NDArray[np.int64], n_data: float) -> Quality:
    """The statistics, from the distribution function of the transforms at the edges of the bins."""
    edges = np.sinh((np.arange(_N_BINS + 1) - 0.5 * _N_BINS) / _PER_UNIT)
    t = expit(edges)
    counts, slopes, offsets = np.cumsum(table, axis=1).astype(np.float64)
    total = counts[-1] + offsets[-1] / _UNIT
    below = np.append(0.0, (counts + (slopes * t[1:] + offsets) / _UNIT) / total)
    distance = below - t
    # dt / (t (1 - t)) is the differential of the logit.
    return Quality(float(np.abs(distance).max()), math.nan, n_data * float(np.trapezoid(distance**2, edges)))
