"""How often the intervals of the parameters hold the truth, and how well the true values of the rows are calibrated."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np

from benchmarks.measure import processes, table
from mixpipe.assess.bootstrap import bootstrap
from mixpipe.assess.intervals import Intervals, check_level
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult

TITLE = "Coverage of the uncertainties"
# Errors are lognormal around this median, 0.5 in ln err; the observed widths are then 0.8 to 1.4.
MEDIAN_ERROR = 0.5
DESIGNS = {
    "two separated": Mixture([0.6, 0.4], [0.0, 6.0], [1.0, 1.0]),
    "two overlapping": Mixture([0.65, 0.35], [0.0, 3.0], [1.0, 0.5]),
    "three": Mixture([0.5, 0.3, 0.2], [0.0, 4.0, 8.5], [1.0, 0.7, 1.2]),
}
SIZES = (400, 4000)
N_CATALOGS = 1000
N_DRAWS = 200
LEVELS = (0.68, 0.95)
PARTS = ("weights", "means", "sigmas")
# Catalogs that one process simulates at a time.
_BATCH = 50


def _intervals(cells: Cells, fit: FitResult, seed: int, n_draws: int) -> dict[tuple[str, float], Intervals]:
    """Intervals by method and level."""
    draws = bootstrap(cells, fit, n_draws, seed, n_threads=1)
    found = {}
    for level in LEVELS:
        z = np.array([[-1.0], [1.0]]) * check_level(level)
        found["information", level] = Intervals(
            *(getattr(fit.mixture, part) + z * getattr(fit.uncertainties, part) for part in PARTS)
        )
        found["information, scaled", level] = Intervals.from_uncertainties(fit.mixture, fit.uncertainties, level)
        found["bootstrap", level] = draws.intervals(level)
    return found


def coverage(design: str, n_data: int, n_draws: int, indices: range) -> dict[str, Any]:
    """Catalogs whose intervals hold the truth, by method, level, kind of parameter and component.

    Also the sums over rows of the deviation of the true value from its estimate, in units of its uncertainty, and of
    the square of that.
    """
    truth = DESIGNS[design]
    hits: dict[tuple[str, float], np.ndarray] = {}
    sums = np.zeros(3)
    n_boundary = 0
    for index in indices:
        rng = np.random.default_rng([24, list(DESIGNS).index(design), n_data, index])
        err = MEDIAN_ERROR * np.exp(0.5 * rng.standard_normal(n_data))
        true_values = truth.sample(n_data, rng)
        x = true_values + err * rng.standard_normal(n_data)
        cells = Cells.from_rows(x, err)
        fit = fit_mixture(cells, n_components=truth.n_components, start=truth, n_threads=1)
        n_boundary += bool(fit.boundary.any())
        for key, intervals in _intervals(cells, fit, index, n_draws).items():
            ends = np.stack([getattr(intervals, part) for part in PARTS], axis=1)
            true = np.stack([getattr(truth, part) for part in PARTS])
            hits[key] = hits.get(key, np.zeros(true.shape)) + ((ends[0] <= true) & (true <= ends[1]))
        mean, unc = fit.mixture.posterior(x, err)
        pull = (true_values - mean) / unc
        sums += n_data, pull.sum(), (pull**2).sum()
    return {"hits": {key: count.tolist() for key, count in hits.items()}, "sums": sums.tolist(), "boundary": n_boundary}


def measure(n_catalogs: int = N_CATALOGS, n_draws: int = N_DRAWS) -> list[dict[str, Any]]:
    """Coverage in per cent for each design and number of rows: by method, level, kind of parameter and component."""
    found = []
    batches = [range(first, min(first + _BATCH, n_catalogs)) for first in range(0, n_catalogs, _BATCH)]
    with processes() as pool:
        for design, n_data in product(DESIGNS, SIZES):
            parts = list(pool.map(partial(coverage, design, n_data, n_draws), batches))
            n_rows, first, second = np.sum([part["sums"] for part in parts], axis=0).tolist()
            found.append(
                {
                    "design": design,
                    "n_data": n_data,
                    "n_catalogs": n_catalogs,
                    "n_draws": n_draws,
                    "n_boundary": sum(part["boundary"] for part in parts),
                    "covered": [
                        {
                            "method": method,
                            "level": level,
                            **_shares([part["hits"][method, level] for part in parts], n_catalogs),
                        }
                        for method, level in parts[0]["hits"]
                    ],
                    "pull_mean": first / n_rows,
                    "pull_variance": second / n_rows - (first / n_rows) ** 2,
                }
            )
    return found


def _shares(hits: list[Any], n_catalogs: int) -> dict[str, list[float]]:
    """Per cent of the catalogs by kind of parameter, for each component."""
    return dict(zip(PARTS, (100.0 / n_catalogs * np.sum(hits, axis=0)).tolist(), strict=True))


def page(result: list[dict[str, Any]]) -> str:
    """Markdown."""
    body, ranges = [], []
    for method in dict.fromkeys(row["method"] for run in result for row in run["covered"]):
        for run in result:
            rows = {row["level"]: row for row in run["covered"] if row["method"] == method}
            shares = [f"{np.mean(rows[level][part]):.1f}" for level in LEVELS for part in PARTS]
            body.append([method, run["design"], f"{run['n_data']:,}", *shares])
        for level in LEVELS:
            found = [
                np.mean(row[part])
                for run in result
                for row in run["covered"]
                for part in PARTS
                if row["method"] == method and row["level"] == level
            ]
            ranges.append(f"{method}, {100 * level:.0f} %: {min(found):.1f} to {max(found):.1f}")
    pulls = [
        [run["design"], f"{run['n_data']:,}", f"{run['pull_mean']:+.4f}", f"{run['pull_variance']:.4f}"]
        for run in result
    ]
    truths = "; ".join(f"{name}: {_text(truth)}" for name, truth in DESIGNS.items())
    n_catalogs, n_draws = result[0]["n_catalogs"], result[0]["n_draws"]
    errors = [100.0 * np.sqrt(level * (1.0 - level) / n_catalogs) for level in LEVELS]
    return "\n\n".join(
        [
            f"{n_catalogs:,} simulated catalogs for each design and number of rows. {truths}. Errors are lognormal "
            f"with a median of {MEDIAN_ERROR:g} and 0.5 in ln err. Each catalog is fitted with the true number of "
            f"components by climbing from the truth: these are the intervals of the maximum next to it; how often the "
            f"search finds the highest one is measured elsewhere. Per cent of the catalogs whose interval holds the "
            f"truth, averaged over components; that of a single parameter is uncertain by {errors[0]:.1f} at 68 % and "
            f"{errors[1]:.1f} at 95 %. `information`: estimate plus and minus its uncertainty. `information, scaled`: "
            f"the same on the scale of logit w and ln sigma. `bootstrap`: bias-corrected percentiles of {n_draws} "
            f"draws. {sum(run['n_boundary'] for run in result)} fits have a sigma on the boundary, and count as missed "
            f"where there is no interval.",
            table(
                ["method", "design", "rows", *(f"{part}, {100 * level:.0f} %" for level in LEVELS for part in PARTS)],
                body,
            ),
            "Lowest and highest entry: " + "; ".join(ranges) + ".",
            "The true values of the rows, minus their estimate, in units of their uncertainty; over all rows of all "
            "catalogs, each with the mixture that was fitted to it. The standard is a mean of 0 and a variance of 1 "
            "within 0.03. The uncertainty of a row takes the mixture as known, which it is not quite with few rows.",
            table(["design", "rows", "mean", "variance"], pulls),
        ]
    )


def _text(mixture: Mixture) -> str:
    return ", ".join(f"{part} {' '.join(f'{value:g}' for value in getattr(mixture, part))}" for part in PARTS)
