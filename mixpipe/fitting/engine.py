"""The choice among the engines: the only place that asks which of them a problem needs."""

from __future__ import annotations

from mixpipe.fitting.contract import Demands, Engine
from mixpipe.fitting.gaussian.engine import GaussianEngine
from mixpipe.fitting.general.engine import GeneralEngine

# The first that accepts a problem solves it.
ENGINES: list[Engine] = [GaussianEngine(), GeneralEngine()]


def engine_for(demands: Demands) -> Engine:
    """The engine for a kind of problem.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> engine_for(Demands()).reads_blocks, engine_for(Demands(("laplace", "uniform"))).reads_blocks
    (True, False)
    """
    for engine in ENGINES:
        if engine.accepts(demands):
            return engine
    what = "values" if demands.values_only else "limits, bounds or bins"
    raise ValueError(f"no engine fits components of {', '.join(demands.families)} to {what}")
