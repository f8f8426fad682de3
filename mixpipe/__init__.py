"""Gaussian mixtures for catalog columns with per-row measurement errors.

>>> import mixpipe
>>> fit = mixpipe.fit_mixture([1.2, 0.9, 1.1, 4.8, 5.3], err=0.1, n_components=2)
>>> fit.mixture.n_components
2
"""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

# Where each public name lives. They are imported when first used: `mixpipe --help` must not wait for Numba.
_HOMES = {
    "CatalogError": "base.errors",
    "Cells": "model.cells",
    "JointCells": "model.joint.cells",
    "JointFit": "model.joint.results",
    "JointMixture": "model.joint.mixture",
    "ConfigError": "base.errors",
    "FitResult": "model.results",
    "Mixture": "model.mixture",
    "MixpipeError": "base.errors",
    "Selection": "model.results",
    "Uncertainties": "model.results",
    "bimodality": "assess.bimodality",
    "choose_n_components": "fitting.choose",
    "components_table": "results.astropy_tables",
    "describe_methods": "results.methods",
    "fit_density": "fitting.tabulated.fit",
    "fit_densities": "fitting.tabulated.fit",
    "fit_mixture": "fitting.choose",
    "fit_moments": "fitting.moments.fit",
    "latex_table": "results.latex_tables",
    "plot_fit": "report.figures",
    "plot_selection": "report.figures",
    "read_catalog": "catalog.reading",
    "selection_table": "results.astropy_tables",
}
__all__ = sorted(_HOMES)
# Modules that were documented under other names, which serve for one more release.
_MOVED = {
    "mixpipe.estimators": "fitting",
    "mixpipe.estimators.density": "fitting.histogram.fit",
    "mixpipe.estimators.moments": "fitting.moments.fit",
    "mixpipe.estimators.tabulated": "fitting.tabulated.fit",
    "mixpipe.families": "model.families",
    "mixpipe.figures": "report.figures",
    "mixpipe.mixture": "model.mixture",
    "mixpipe.selection": "fitting.choose",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mixpipe' has no attribute {name!r}")
    return getattr(import_module(f"mixpipe.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Moved:
    """Finds and loads modules by their former names."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, cls(), is_package=name == "mixpipe.estimators") if name in _MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        moved = import_module(f"mixpipe.{_MOVED[module.__name__]}")
        module.__dict__.update({name: value for name, value in vars(moved).items() if not name.startswith("__")})
        if module.__name__ == "mixpipe.estimators.density":
            module.__dict__["fit_column_density"] = moved.fit_histogram


sys.meta_path.append(_Moved)  # type: ignore[arg-type]
