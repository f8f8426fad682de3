"""Simulated columns with known truth."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.problems import Problem
from mixpipe.model.mixture import Mixture

# Three components, two of them one inside the other.
OVERLAP = Mixture([0.35, 0.5, 0.15], [-1.0, 0.0, 3.0], [1.5, 1.0, 0.5])

# Readings of "separated by twice their widths": the distance of two neighbours with the observed widths a and b.
SEPARATIONS = {
    "a + b": lambda a, b: a + b,
    "2 max(a, b)": lambda a, b: 2 * max(a, b),
    "2 (a + b)": lambda a, b: 2 * (a + b),
}


def overlap(n_data: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors of `OVERLAP`; the errors are lognormal with median 0.4 and 0.5 in ln err."""
    rng = np.random.default_rng([22, n_data])
    err = 0.4 * np.exp(0.5 * rng.standard_normal(n_data))
    return OVERLAP.sample(n_data, rng) + err * rng.standard_normal(n_data), err


def overlap_1e4() -> tuple[np.ndarray, np.ndarray, str]:
    """The reference catalog where MIXPIPE_CATALOGS leads to it, else a simulated one; and its name."""
    path = Path(os.environ.get("MIXPIPE_CATALOGS", "")) / "reference" / "overlap_1e4.csv"
    if not path.is_file():
        return *overlap(10_000), "simulated"
    return *np.loadtxt(path, delimiter=",", skiprows=1, unpack=True), "overlap_1e4.csv"


def ten_components() -> Mixture:
    """Ten overlapping components, where to time a pass."""
    return Mixture(np.full(10, 0.1), np.linspace(-4.0, 4.0, 10), np.linspace(0.5, 1.5, 10))


def separated(index: int, separation: str, n_data: int = 2000) -> Problem:
    """2 to 5 components whose neighbours lie apart by one of `SEPARATIONS`.

    Widths are log-uniform between 0.5 and 2. Errors are lognormal (0.5 in ln err) around a median that is, for each
    component, log-uniform between 0.2 and 1 times its width; the observed width is the root of the width squared plus
    the mean squared error. Weights are 0.1 plus a uniform share of the rest.
    """
    rng = np.random.default_rng([23, index])
    n_components = 2 + index % 4
    weights = 0.1 + (1.0 - 0.1 * n_components) * rng.dirichlet(np.ones(n_components))
    sigmas = np.exp(rng.uniform(np.log(0.5), np.log(2.0), n_components))
    medians = sigmas * np.exp(rng.uniform(np.log(0.2), 0.0, n_components))
    # The mean square of a lognormal is its squared median times exp(2 * 0.5**2).
    observed = np.hypot(sigmas, medians * np.exp(0.25))
    gaps = [SEPARATIONS[separation](a, b) for a, b in pairwise(observed)]
    means = np.concatenate([[0.0], np.cumsum(gaps)])
    component = rng.choice(n_components, n_data, p=weights)
    err = medians[component] * np.exp(0.5 * rng.standard_normal(n_data))
    x = means[component] + np.hypot(sigmas[component], err) * rng.standard_normal(n_data)
    return Problem(x, err, weights, means, sigmas)
