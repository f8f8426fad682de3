"""The public fits for several columns; `mixpipe.fitting.choose` hands data of several columns on to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from mixpipe.fitting.doubts import with_doubts
from mixpipe.fitting.joint.engine import JointEngine
from mixpipe.fitting.joint_problem import JointProblem, check_observed, check_structure
from mixpipe.model.inputs import check_count
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.inputs import as_joint_cells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit
from mixpipe.model.results import Selection


def fit_columns(
    x: Any,
    err: Any,
    cov: Any,
    n_components: int,
    *,
    structure: str,
    start: JointMixture | None,
    n_threads: int | None,
    **rows: Any,
) -> JointFit:
    """Fit a mixture to several columns jointly; see `mixpipe.fitting.choose.fit_mixture`.

    Raises
    ------
    ValueError
        For a start of other columns or with another number of components.
    """
    cells, units = as_joint_cells(x, err, cov, **rows)
    check_observed(cells)
    problem = JointProblem(cells, structure, n_threads)
    engine = JointEngine()
    if start is None:
        return replace(engine.fits(problem, n_components, last=1).results()[-1], units=units, error_model=_model(cells))
    if not isinstance(start, JointMixture):
        raise ValueError("start is a mixture of one column, but x has several; expected a JointMixture")
    if start.n_components != n_components:
        raise ValueError(f"start has {start.n_components} components, n_components is {n_components}")
    if start.names != cells.names:
        raise ValueError(f"start has the columns {', '.join(start.names)}; expected {', '.join(cells.names)}")
    return replace(engine.climb(problem, start), units=units, error_model=_model(cells))


def _model(cells: JointCells) -> str:
    return "symmetric" if np.any(cells.cov) else "none"


def choose_from_blocks(
    read: Callable[[], Iterable[JointCells]],
    *,
    max_components: int = 10,
    n_components: int | None = None,
    criterion: str = "bic",
    structure: str = "full",
    n_threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Selection:
    """Choose the number of components for rows of several columns that need not fit into memory.

    The search works on 30,000 rows that their contents choose, and all rows are then read a few times for each number
    of components. Uncertainties are from the curvature of these 30,000.

    Parameters
    ----------
    read : callable
        Returns the rows in blocks, from the first, each time that it is called: `JointCells` of the same columns, with
        counts as weights. Give these a `sigma_floor`, 0 where all rows have errors, if finding the grain of each block
        would take too long; otherwise it is that of the 30,000 rows.
    max_components, criterion, structure, n_threads, progress
        As in `mixpipe.fitting.choose.choose_n_components`.
    n_components : int or None
        Fit this number of components only.

    Returns
    -------
    Selection
        No number depends on the order of the blocks, nor on the threads.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> shards = [rng.normal(0.0, 1.0, (300, 2)), rng.normal(6.0, 1.0, (200, 2))]
    >>> def read():
    ...     return (JointCells.from_rows(x, err=0.1) for x in shards)
    >>> choose_from_blocks(read, max_components=2).best.n_components
    2
    """
    check_structure(structure)
    size = check_count("max_components", max_components if n_components is None else n_components)
    found = JointEngine().fits_of_blocks(
        read, size, last=0 if n_components is None else 1, structure=structure, n_threads=n_threads, progress=progress
    )
    selection = Selection(tuple(found.results()), criterion)
    return selection if n_components is not None else with_doubts(selection, None, max_components)


def choose_columns(
    x: Any,
    err: Any,
    cov: Any,
    max_components: int,
    *,
    structure: str,
    criterion: str,
    n_threads: int | None,
    progress: Callable[[int], None] | None,
    **rows: Any,
) -> Selection:
    """Fit 1, 2, ... components to several columns and choose; see `mixpipe.fitting.choose.choose_n_components`."""
    cells, units = as_joint_cells(x, err, cov, **rows)
    check_observed(cells)
    found = JointEngine().fits(JointProblem(cells, structure, n_threads), max_components, progress=progress)
    fits = tuple(replace(fit, units=units, error_model=_model(cells)) for fit in found.results())
    bound_sigma = 0.0 if not math.isnan(found.loglik_bound) else math.nan
    return with_doubts(Selection(fits, criterion, found.loglik_bound, bound_sigma), None, max_components)
