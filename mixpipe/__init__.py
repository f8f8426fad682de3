"""Gaussian mixtures for catalog columns with per-row measurement errors.

>>> import mixpipe
>>> fit = mixpipe.fit_mixture([1.2, 0.9, 1.1, 4.8, 5.3], err=0.1, n_components=2)
>>> fit.mixture.n_components
2
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where each public name lives. They are imported when first used: `mixpipe --help` must not wait for Numba.
_HOMES = {
    "CatalogError": "errors",
    "Cells": "model",
    "ConfigError": "errors",
    "FitResult": "model",
    "Mixture": "mixture",
    "MixpipeError": "errors",
    "Selection": "model",
    "Uncertainties": "model",
    "choose_n_components": "selection",
    "fit_density": "estimators.tabulated",
    "fit_densities": "estimators.tabulated",
    "fit_mixture": "selection",
    "fit_moments": "estimators.moments",
    "plot_fit": "figures",
    "read_catalog": "catalog",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mixpipe' has no attribute {name!r}")
    return getattr(import_module(f"mixpipe.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
