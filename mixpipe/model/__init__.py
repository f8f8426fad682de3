"""The value types that pass between the rooms: cells, mixtures, results, criteria, rows, sketches, families."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixpipe.model.cells import WEIGHT_KINDS, Cells
    from mixpipe.model.criteria import CRITERIA
    from mixpipe.model.mixture import Mixture
    from mixpipe.model.results import FitResult, Selection, Uncertainties

_HOMES = {
    "CRITERIA": "criteria",
    "Cells": "cells",
    "FitResult": "results",
    "Mixture": "mixture",
    "Selection": "results",
    "Uncertainties": "results",
    "WEIGHT_KINDS": "cells",
}
__all__ = ["CRITERIA", "WEIGHT_KINDS", "Cells", "FitResult", "Mixture", "Selection", "Uncertainties"]


def __getattr__(name: str) -> Any:
    """The public names, imported on first use, so that importing one module of this room does not import the others."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
