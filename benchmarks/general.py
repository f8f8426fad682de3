"""Choosing the number of components where the general engine is needed, beside plain Gaussians on the same rows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import mixpipe
from benchmarks.measure import number, table
from mixpipe.model.mixture import Mixture

TITLE = "General problems beside plain ones"
N_ROWS, MAX_COMPONENTS, REPEATS = 10_000, 6, 2
AIM = 10.0
TRUTH = Mixture([0.35, 0.5, 0.15], [-1.0, 0.0, 3.0], [1.5, 1.0, 0.5])

Array = np.ndarray


def rows() -> tuple[Array, Array]:
    """Three overlapping populations with lognormal errors."""
    rng = np.random.default_rng(1)
    err = 0.4 * np.exp(0.5 * rng.standard_normal(N_ROWS))
    return TRUTH.sample(N_ROWS, rng) + err * rng.standard_normal(N_ROWS), err


def problems() -> dict[str, dict[str, Any]]:
    """Arguments of `choose_n_components` by name; the first is the plain one."""
    x, err = rows()
    rng = np.random.default_rng(2)
    limits = np.where(rng.random(N_ROWS) < 0.2, -1, 0)
    seen = x > -2.0
    labels = np.where(rng.random(N_ROWS) < 0.1, np.where(x > 1.5, "b", "a"), "")
    return {
        "plain": {"x": x, "err": err},
        "limits": {"x": x + (limits != 0), "err": err, "limits": limits},
        "truncated": {"x": x[seen], "err": err[seen], "truncated": (-2.0, None)},
        "background": {"x": x, "err": err, "background": (-8.0, 8.0)},
        "a mean given": {"x": x, "err": err, "fixed": {"means": [0.0]}},
        "equal sigmas": {"x": x, "err": err, "equal_sigmas": True},
        "known members": {"x": x, "err": err, "membership": labels},
        "a factor of the errors": {"x": x, "err": err, "error_scale": "fit"},
        "errors of two sides": {"x": x, "err": np.stack([0.7 * err, 1.3 * err])},
        "laplace": {"x": x, "err": err, "families": ["laplace"]},
        "exponential": {"x": x, "err": err, "families": ["exponential"]},
        "lognormal": {"x": x + 20.0, "err": err, "families": ["lognormal"]},
        "gaussian and laplace": {"x": x, "err": err, "mixed": ["gaussian", "laplace"]},
    }


def measure() -> list[dict[str, Any]]:
    """Least processor time of some repeats on one thread, and its ratio to the plain problem in the same run."""
    found: list[dict[str, Any]] = []
    for name, arguments in problems().items():
        least, chosen = np.inf, 0
        for _ in range(REPEATS + (name == "plain")):
            begun = time.process_time()
            best = mixpipe.choose_n_components(**arguments, max_components=MAX_COMPONENTS, n_threads=1).best
            least, chosen = min(least, time.process_time() - begun), best.n_components
        found.append({"name": name, "seconds": least, "ratio": least / (found[0]["seconds"] if found else least)})
        found[-1]["n_components"] = chosen
    return found


def ratios(found: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds in units of those of a plain problem."""
    return {entry["name"]: entry["ratio"] for entry in found[1:]}


def page(found: list[dict[str, Any]]) -> str:
    """The table."""
    lines = [
        [entry["name"], str(entry["n_components"]), number(entry["seconds"]), number(entry["ratio"])] for entry in found
    ]
    slow = [entry["name"] for entry in found if entry["ratio"] > AIM]
    verdict = f"slower than {AIM:g} times: {', '.join(slow)}" if slow else f"none is slower than {AIM:g} times"
    return (
        f"{N_ROWS:,} rows of three overlapping populations, M = 1 to {MAX_COMPONENTS}, processor time on one thread, "
        f"the best of {REPEATS}. The first line is plain Gaussian components of values with one-sigma errors.\n\n"
        + table(["problem", "M chosen", "seconds", "ratio to plain"], lines)
        + f"\n\nOf the others, {verdict}."
    )
