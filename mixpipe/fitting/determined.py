"""Whether bins, or rounded values of which few differ, determine as many numbers as a mixture has parameters.

The numbers of rows in k bins, or of k different values, have k - 1 shares that are free. With more parameters than that
many mixtures fit equally well: one component in two bins may be any of a line from a narrow to a wide one. BIC still
chooses among them, since no likelihood of counts exceeds that of the shares themselves. With a floor in place of the
rounding, a narrow component at each of the values would.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mixpipe.base.presentation import plural
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.results import FitResult, Selection

# So many rows mostly show that there are enough different values.
_FIRST = 1000


def with_determined(fits: list[FitResult], cells: Cells | CellBlocks) -> list[FitResult]:
    """The fits, of which those with more parameters than the data determine say so.

    With a floor in place of the rounding, they are not chosen beside others.

    Parameters
    ----------
    fits : list of FitResult
        Fits to these cells.
    cells : Cells or CellBlocks
        Values, or the bins of a histogram.
    """
    sample = cells.survey.sample if isinstance(cells, CellBlocks) else cells
    n_different = _count_different(sample, max(fit.n_params for fit in fits))
    # Equal values without a step may have been measured as they are.
    has_floor = sample.edges is None and sample.resolution.step > 0.0
    return [
        replace(
            fit,
            occam=math.inf if has_floor else fit.occam,
            warnings=(*fit.warnings, _said(fit, n_different, sample)),
        )
        if fit.n_params > n_different - 1
        else fit
        for fit in fits
    ]


def with_undetermined(selection: Selection, cells: Cells | CellBlocks) -> Selection:
    """The selection, whose best fit says so if the criterion prefers one with more parameters than are determined."""
    best, criterion = selection.best, selection.criterion
    lowest = min(selection.fits, key=lambda fit: float(getattr(fit, criterion)))
    if best.occam == math.inf or lowest.occam < math.inf:
        return selection
    sample = cells.survey.sample if isinstance(cells, CellBlocks) else cells
    n_different = _count_different(sample, lowest.n_params)
    if lowest.n_params <= n_different - 1:
        # It is not chosen for another reason.
        return selection
    text = f"{criterion.upper()} would choose {plural(lowest.n_components, 'component')}"
    return selection.with_warning(f"{text}: {_said(lowest, n_different, sample)}")


def _said(fit: FitResult, n_different: float, cells: Cells) -> str:
    binned = cells.edges is not None and not cells.are_rounded
    few = plural(n_different, "filled bin" if binned else "different value")
    determine = "determines no number" if n_different == 1 else f"determine {plural(n_different - 1, 'number')}"
    have = f"{plural(fit.n_components, 'component')} {'has' if fit.n_components == 1 else 'have'}"
    more = "narrower bins" if binned else "values with more digits"
    return (
        f"{few} {determine}, but {have} {plural(fit.n_params, 'free parameter')}: others fit as well; use {more}, or "
        "give some of the parameters"
    )


def _count_different(cells: Cells, n_params: int) -> float:
    """Number of filled bins, or of different values on a grid; infinite if it exceeds the number of parameters."""
    resolution = cells.resolution
    if cells.edges is None and resolution.step == 0.0 and resolution.n_repeated == 0.0:
        return math.inf
    if cells.limits is not None or cells.window is not None:
        return math.inf
    used = np.flatnonzero(cells.weights > 0.0)
    for rows in (used[:_FIRST], used):
        x, err = cells.x[rows], cells.err[rows]
        different = np.unique(x if np.all(err == err[0]) else x + 1j * err).size
        if different > n_params:
            return math.inf
    return different
