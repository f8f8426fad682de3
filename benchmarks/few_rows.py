"""How often the 95 % intervals that are preferred for few rows hold the truth, beside those of the uncertainties."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np

from benchmarks.measure import processes, table
from mixpipe.assess.assessment import assess_fit
from mixpipe.assess.effort import Effort
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture

TITLE = "Coverage with few rows"
DESIGNS = {
    "one": Mixture([1.0], [0.0], [1.0]),
    "two, equal": Mixture([0.5, 0.5], [0.0, 8.0], [1.0, 1.0]),
    "two, unequal": Mixture([0.6, 0.4], [0.0, 6.0], [1.0, 0.7]),
}
ERROR = 0.3
SIZES = (20, 40, 60, 400)
N_CATALOGS = 1000
LEVEL = 0.95
PARTS = ("weight", "mean", "sigma")
METHODS = ("preferred", "information")
_BATCH = 50


def coverage(design: str, n_data: int, indices: range) -> list[list[list[float]]]:
    """For each method and parameter: catalogs whose interval holds the truth, and all; summed over components."""
    truth = DESIGNS[design]
    true = {"weight": truth.weights, "mean": truth.means, "sigma": truth.sigmas}
    counts = np.zeros((len(METHODS), len(PARTS), 2))
    for index in indices:
        rng = np.random.default_rng([31, list(DESIGNS).index(design), n_data, index])
        cells = Cells.from_rows(truth.sample(n_data, rng) + ERROR * rng.standard_normal(n_data), ERROR)
        fit = fit_mixture(cells, n_components=truth.n_components, n_threads=1)
        for row in assess_fit(cells, fit, Effort(), 1).interval_rows:
            if row["level"] != LEVEL:
                continue
            held = row["lower"] <= true[row["parameter"]][row["component"] - 1] <= row["upper"]
            for k in (0,) * bool(row["preferred"]) + (1,) * (row["method"] == "information"):
                counts[k, PARTS.index(row["parameter"])] += held, 1
    return counts.tolist()


def measure(n_catalogs: int = N_CATALOGS) -> list[dict[str, Any]]:
    """Coverage in per cent for each design and number of rows."""
    batches = [range(first, min(first + _BATCH, n_catalogs)) for first in range(0, n_catalogs, _BATCH)]
    found = []
    with processes() as pool:
        for design, n_data in product(DESIGNS, SIZES):
            counts = np.sum(list(pool.map(partial(coverage, design, n_data), batches)), axis=0)
            shares = 100.0 * counts[..., 0] / counts[..., 1]
            covered = {
                method: dict(zip(PARTS, row, strict=True)) for method, row in zip(METHODS, shares.tolist(), strict=True)
            }
            found.append({"design": design, "n_data": n_data, "n_catalogs": n_catalogs, "covered": covered})
    return found


def page(result: list[dict[str, Any]]) -> str:
    """Markdown."""
    body = [
        [run["design"], run["n_data"], *(f"{run['covered'][method][part]:.1f}" for method in METHODS for part in PARTS)]
        for run in result
    ]
    truths = "; ".join(
        f"{name}: "
        + ", ".join(f"{part} {' '.join(f'{v:g}' for v in getattr(m, part))}" for part in ("weights", "means", "sigmas"))
        for name, m in DESIGNS.items()
    )
    n_catalogs = result[0]["n_catalogs"]
    return "\n\n".join(
        [
            f"{n_catalogs:,} simulated catalogs a line. {truths}; errors of {ERROR:g}. Each catalog is fitted from "
            "scratch with the true number of components. Per cent of the 95 % intervals that hold the truth, averaged "
            f"over components; uncertain by {100 * np.sqrt(0.95 * 0.05 / n_catalogs):.1f}. *Preferred*: the intervals "
            "that mixpipe prefers at this size, from the calibrated profile likelihood where a component rests on less "
            "than 100 rows. *Information*: those from the uncertainties, on the scales of logit w and ln sigma.",
            table(["truth", "rows", *(f"{method}, {part}" for method in METHODS for part in PARTS)], body),
        ]
    )
