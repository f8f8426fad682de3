"""The choice of the engine for a problem, which is made only here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixpipe.fitting.contract import Demands, Engine
from mixpipe.fitting.gaussian.engine import GaussianEngine
from mixpipe.fitting.general.engine import GeneralEngine

if TYPE_CHECKING:
    from mixpipe.fitting.joint.engine import JointEngine

# The first engine that accepts a problem solves it.
ENGINES: list[Engine] = [GaussianEngine(), GeneralEngine()]


def engine_for_columns() -> JointEngine:
    """The engine for several columns, whose kernels are loaded when they are first used."""
    from mixpipe.fitting.joint.engine import JointEngine

    return JointEngine()


def engine_for(demands: Demands) -> Engine:
    """The engine for a kind of problem.

    Raises
    ------
    ValueError
        If no engine accepts the problem.

    Examples
    --------
    >>> type(engine_for(Demands())).__name__, type(engine_for(Demands(("laplace", "uniform")))).__name__
    ('GaussianEngine', 'GeneralEngine')
    """
    for engine in ENGINES:
        if engine.accepts(demands):
            return engine
    what = "values" if demands.values_only else "limits, bounds or bins"
    what += "" if demands.gaussian_errors else " with errors that are not symmetric Gaussians"
    raise ValueError(f"no engine fits components of {', '.join(demands.families)} to {what}")
