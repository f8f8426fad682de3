"""Modules that were documented are found under their former names."""

import subprocess
import sys
from importlib import import_module

import pytest

import mixpipe
from mixpipe.fitting.histogram.fit import fit_histogram

FORMER = {
    "mixpipe.selection": ("fit_mixture", "choose_n_components"),
    "mixpipe.estimators.moments": ("fit_moments",),
    "mixpipe.estimators.tabulated": ("fit_density", "fit_densities", "DensityTable"),
    "mixpipe.mixture": ("Mixture",),
    "mixpipe.model": ("FitResult", "Selection", "Uncertainties", "Cells"),
    "mixpipe.families": ("FAMILIES",),
    "mixpipe.figures": ("plot_fit",),
    "mixpipe.catalog": ("read_catalog",),
}


@pytest.mark.parametrize("module", FORMER)
def test_documented_modules_are_found(module):
    for name in FORMER[module]:
        thing = getattr(import_module(module), name)
        assert thing is getattr(mixpipe, name, thing)


def test_the_estimator_by_histogram_has_its_former_name_there():
    assert import_module("mixpipe.estimators.density").fit_column_density is fit_histogram


def test_other_modules_are_missing_as_ever():
    with pytest.raises(ModuleNotFoundError):
        import_module("mixpipe.nothing")
    with pytest.raises(AttributeError):
        mixpipe.nothing  # noqa: B018


def test_former_names_cost_nothing_until_they_are_used():
    code = "import sys, mixpipe; print(*sorted(name for name in sys.modules if name.startswith('mixpipe')))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.split() == ["mixpipe"]
