"""The three estimators on the same simulated catalogs: what is simulated, and what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import mixpipe
from benchmarks.measure import timed
from mixpipe.fitting.histogram.fit import fit_histogram
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult

DISTANCES = (2.0, 3.0, 5.0)
PAIRS = {distance: Mixture([0.6, 0.4], [0.0, distance], [1.0, 0.7]) for distance in DISTANCES}
THREE = Mixture([0.5, 0.3, 0.2], [0.0, 4.0, 8.5], [1.0, 0.7, 1.2])
# Medians of the lognormal errors, 0.5 in ln err; the last is twice the mean width of a pair.
ERRORS = {"none": 0.0, "moderate": 0.5, "large": 1.7}
# Catalogs of each size.
N_CATALOGS = {300: 100, 1000: 100, 10_000: 60, 100_000: 25}
PARTS = ("weights", "means", "sigmas")
# Contaminants are uniform over the range of the components plus this on either side.
CONTAMINATION, MARGIN = 0.05, 15.0
# Median errors of the rows of the two components where these differ.
UNEQUAL_ERRORS = (0.3, 1.2)
# Rows with larger errors are left out of the catalogs of kind ``cut``.
CUT = 2.0
# An estimate is near the truth when weights are within the first and means and sigmas within the second.
NEAR = (0.2, 0.5)
# A component with fewer rows than this is an accident.
FEW_ROWS = 3.0
Fit = Callable[[np.ndarray, "np.ndarray | None", int], FitResult]
ESTIMATORS: dict[str, Fit] = {
    "em": lambda x, err, m: mixpipe.fit_mixture(x, err, m, n_threads=1),
    "moments": lambda x, err, m: mixpipe.fit_moments(x, err, m),
    "density": lambda x, err, m: fit_histogram(x, err, m),
}
BACKGROUND: dict[str, Fit] = {
    "em, background": lambda x, err, m: mixpipe.fit_mixture(x, err, m + 1, background="uniform", n_threads=1)
}
IGNORED: dict[str, Fit] = {
    f"{name}, errors ignored": lambda x, err, m, fit=fit: fit(x, None, m)  # type: ignore[misc]
    for name, fit in ESTIMATORS.items()
}


@dataclass(frozen=True, eq=False)
class Case:
    """Catalogs of a kind: ``pair``, ``ignored``, ``three``, ``contaminated``, ``unequal errors`` or ``cut``."""

    kind: str
    truth: Mixture
    errors: str
    n_data: int

    @property
    def methods(self) -> dict[str, Fit]:
        """What is run on these catalogs."""
        extra = {"contaminated": BACKGROUND, "ignored": IGNORED}
        return {**ESTIMATORS, **extra.get(self.kind, {})}

    def catalog(self, seed: list[int]) -> tuple[np.ndarray, np.ndarray | None]:
        """Values and errors."""
        rng = np.random.default_rng(seed)
        truth, n = self.truth, self.n_data
        component = rng.choice(truth.n_components, n, p=truth.weights)
        true_values = truth.means[component] + truth.sigmas[component] * rng.standard_normal(n)
        if self.kind == "contaminated":
            rows = rng.random(n) < CONTAMINATION
            low, high = truth.means[0] - MARGIN, truth.means[-1] + MARGIN
            true_values[rows] = rng.uniform(low, high, int(rows.sum()))
        if self.errors == "none":
            return true_values, None
        median = np.array(UNEQUAL_ERRORS)[component] if self.kind == "unequal errors" else ERRORS[self.errors]
        err = median * np.exp(0.5 * rng.standard_normal(n))
        x = true_values + err * rng.standard_normal(n)
        return (x[err < CUT], err[err < CUT]) if self.kind == "cut" else (x, err)


def _cases() -> Iterator[Case]:
    for errors in ERRORS:
        for distance in DISTANCES:
            for n_data in N_CATALOGS:
                # The bias from ignored errors is the same for every size: one that shows it is enough.
                ignored = errors != "none" and n_data == 10_000
                yield Case("ignored" if ignored else "pair", PAIRS[distance], errors, n_data)
    for errors in ("none", "moderate"):
        for n_data in N_CATALOGS:
            yield Case("three", THREE, errors, n_data)
    for errors in ("none", "moderate"):
        for n_data in (1000, 10_000):
            yield Case("contaminated", PAIRS[3.0], errors, n_data)
    for n_data in (1000, 10_000, 100_000):
        yield Case("unequal errors", PAIRS[3.0], "of components", n_data)
    for n_data in (10_000, 100_000):
        yield Case("cut", PAIRS[5.0], "large", n_data)


CASES = tuple(_cases())


def estimate(fit: FitResult, n_components: int) -> tuple[np.ndarray, np.ndarray]:
    """Parameters and uncertainties, shape (3, M): of the Gaussian components; nan where there are too few."""
    keep = np.array([family == "gaussian" for family in fit.mixture.families])
    if keep.sum() != n_components:
        return np.full((2, 3, n_components), np.nan)  # type: ignore[return-value]
    values = np.stack([getattr(fit.mixture, part)[keep] for part in PARTS])
    unc = np.stack([getattr(fit.uncertainties, part)[keep] for part in PARTS])
    if not keep.all():
        values[0] /= values[0].sum()
        unc[0] = np.nan
    return values, unc


def run(case: Case, index: int, method: Fit) -> dict[str, Any]:
    """One estimator on one catalog."""
    x, err = case.catalog([25, CASES.index(case), index])
    fit, time = timed(lambda: method(x, err, case.truth.n_components))
    values, unc = estimate(fit, case.truth.n_components)
    return {
        "values": values,
        "unc": unc,
        "loglik": fit.loglik,
        "found": fit.converged and bool(np.isfinite(values).all()),
        "degenerate": bool(fit.boundary.any() or fit.mixture.weights.min() * fit.n_data < FEW_ROWS),
        "seconds": time,
    }


def summary(truth: Mixture, runs: list[dict[str, Any]], best: list[dict[str, Any]]) -> dict[str, Any]:
    """What a method did on the catalogs of a case; `best` is what em did.

    Error is the 68th percentile of the absolute deviations from the truth, bias the median deviation, scatter half of
    the width of the central 68 %.
    """
    values, unc = (np.stack([run[key] for run in runs]) for key in ("values", "unc"))
    complete = np.isfinite(values).all(axis=(1, 2))
    error = values[complete] - np.stack([getattr(truth, part) for part in PARTS])
    low, middle, high = np.quantile(error, (0.16, 0.5, 0.84), axis=0)
    # The last weight follows from the others.
    free_error, free_unc = (
        a.reshape(len(a), -1)[:, np.arange(a[0].size) != a.shape[2] - 1] for a in (error, unc[complete])
    )
    stated = np.isfinite(free_unc) & (free_unc > 0.0)
    pull = free_error[stated] / free_unc[stated]
    deficit = np.array([b["loglik"] - run["loglik"] for run, b in zip(runs, best, strict=True)])[complete]
    near = (np.abs(error[:, 0]) < NEAR[0]).all(axis=1) & (np.abs(error[:, 1:]) < NEAR[1]).all(axis=(1, 2))
    found = {
        "error": np.quantile(np.abs(error), 0.68, axis=0).tolist(),
        "bias": middle.tolist(),
        "scatter": (0.5 * (high - low)).tolist(),
        "pull": float(np.sqrt(np.mean(pull**2))) if pull.size else math.nan,
        "within": float(np.mean(np.abs(pull) < 1.0)) if pull.size else math.nan,
        "without_uncertainty": float(1.0 - stated.mean()),
        "not_found": float(np.mean([not run["found"] for run in runs])),
        "degenerate": float(np.mean([run["degenerate"] for run in runs])),
        "near": float(near.sum() / len(runs)),
        "deficit": float(np.median(deficit)),
        "deficit_least": float(deficit.min()),
        "deficit_most": float(deficit.max()),
        "seconds": float(np.median([run["seconds"] for run in runs])),
    }
    return {key: _rounded(value) for key, value in found.items()}


def _rounded(value: Any) -> Any:
    """Five digits, and nothing that JSON does not know."""
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.5g}") if math.isfinite(value) else None


def measure(n_catalogs: dict[int, int] = N_CATALOGS) -> list[dict[str, Any]]:
    """Summaries of all methods for each case."""
    for method in (*ESTIMATORS.values(), *BACKGROUND.values()):
        for errors in ERRORS:  # compiled, or loaded
            method(*Case("pair", PAIRS[3.0], errors, 300).catalog([25]), 2)
    result = []
    for case in CASES:
        runs = {
            name: [run(case, index, method) for index in range(n_catalogs[case.n_data])]
            for name, method in case.methods.items()
        }
        truth = {part: getattr(case.truth, part).tolist() for part in PARTS}
        result.append(
            {
                "kind": case.kind,
                "truth": truth,
                "errors": case.errors,
                "n_data": case.n_data,
                "n_catalogs": n_catalogs[case.n_data],
                "methods": {name: summary(case.truth, found, runs["em"]) for name, found in runs.items()},
            }
        )
    return result


def relative(found: dict[str, Any], em: dict[str, Any], key: str = "error") -> float:
    """Geometric mean over the parameters of the error, or the scatter, in units of that of em.

    A sigma that is at its bound in most catalogs has no scatter, and is left out.
    """
    ratios = free(found[key])[free(em[key]) > 0.0] / free(em[key])[free(em[key]) > 0.0]
    return float(np.exp(np.mean(np.log(ratios[ratios > 0.0]))))


def largest_bias(found: dict[str, Any], em: dict[str, Any]) -> float:
    """Largest bias of a parameter in units of the error of em."""
    return float(np.max(np.abs(free(found["bias"])) / free(em["error"])))


def free(parameters: list[list[float]]) -> np.ndarray:
    """Weights but the last, which follows from the others, then means and sigmas."""
    array = np.array(parameters, dtype=np.float64)
    return np.concatenate([array[0, :-1], array[1], array[2]])


def select(result: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    """The cases of these kinds."""
    return [case for case in result if case["kind"] in kinds]


def distance(case: dict[str, Any]) -> float:
    """Of the first two means."""
    return case["truth"]["means"][1] - case["truth"]["means"][0]
