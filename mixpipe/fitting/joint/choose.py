"""The public fits for several columns; `mixpipe.fitting.choose` hands data of several columns on to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mixpipe.fitting.doubts import with_doubts
from mixpipe.fitting.joint.engine import JointEngine
from mixpipe.fitting.joint_problem import JointProblem
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
    problem = JointProblem(cells, structure, n_threads)
    engine = JointEngine()
    if start is None:
        return replace(engine.fits(problem, n_components, last=1).results()[-1], units=units)
    if not isinstance(start, JointMixture):
        raise ValueError("start is a mixture of one column, but x has several; expected a JointMixture")
    if start.n_components != n_components:
        raise ValueError(f"start has {start.n_components} components, n_components is {n_components}")
    if start.names != cells.names:
        raise ValueError(f"start has the columns {', '.join(start.names)}; expected {', '.join(cells.names)}")
    return replace(engine.climb(problem, start), units=units)


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
    found = JointEngine().fits(JointProblem(cells, structure, n_threads), max_components, progress=progress)
    fits = tuple(replace(fit, units=units) for fit in found.results())
    bound_sigma = 0.0 if not math.isnan(found.loglik_bound) else math.nan
    return with_doubts(Selection(fits, criterion, found.loglik_bound, bound_sigma), None, max_components)
