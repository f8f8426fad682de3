"""Limits and truncated samples: bias and pulls of fits that treat them as what they are, and of those that do not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.measure import processes, table
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult

TITLE = "Limits and truncated samples"
TRUTH = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7])
MEDIAN_ERROR = 0.4
N_DATA = 1000
N_CATALOGS = 100
# Detection limits of the rows are normal with this mean and width.
LIMITS = (0.3, 0.7)
# The sample is cut here, on the observed value.
CUT = -0.3
PARTS = ("weights", "means", "sigmas")


def fits(index: int) -> dict[str, FitResult]:
    """One catalog, fitted in every way."""
    rng = np.random.default_rng([25, index])
    err = MEDIAN_ERROR * np.exp(0.5 * rng.standard_normal(N_DATA))
    x = TRUTH.sample(N_DATA, rng) + err * rng.standard_normal(N_DATA)
    limit = rng.normal(*LIMITS, N_DATA)
    hidden = x < limit
    seen = np.where(hidden, limit, x)
    inside = x >= CUT

    def fit(values: np.ndarray, errors: np.ndarray, **how: Any) -> FitResult:
        return fit_mixture(values, errors, TRUTH.n_components, n_threads=1, **how)

    return {
        "limits as limits": fit(seen, err, limits=np.where(hidden, -1, 0)),
        "limits dropped": fit(x[~hidden], err[~hidden]),
        "limits as values": fit(seen, err),
        "cut allowed for": fit(x[inside], err[inside], truncated=(CUT, math.inf)),
        "cut ignored": fit(x[inside], err[inside]),
    }


def deviations(index: int) -> dict[str, Any]:
    """Estimate minus truth, in its own unit and in uncertainties, for each way: arrays of kind and component."""
    true = np.stack([getattr(TRUTH, part) for part in PARTS])
    found = {}
    for name, fit in fits(index).items():
        offset = np.stack([getattr(fit.mixture, part) for part in PARTS]) - true
        unc = np.stack([getattr(fit.uncertainties, part) for part in PARTS])
        found[name] = [offset.tolist(), (offset / unc).tolist()]
    return found


def measure(n_catalogs: int = N_CATALOGS) -> dict[str, Any]:
    """Mean deviation, and median and scatter of the pulls, of each parameter."""
    with processes() as pool:
        catalogs = list(pool.map(deviations, range(n_catalogs), chunksize=5))
    ways = {}
    for name in catalogs[0]:
        found = np.array([catalog[name] for catalog in catalogs])
        middle = np.nanmedian(found[:, 1], axis=0)
        quartiles = np.nanpercentile(found[:, 1], [25, 75], axis=0)
        ways[name] = {
            "bias": np.mean(found[:, 0], axis=0).tolist(),
            "pull": middle.tolist(),
            # The interquartile range of a normal is 1.349 times its standard deviation.
            "scatter": ((quartiles[1] - quartiles[0]) / 1.349).tolist(),
        }
    return {"n_catalogs": n_catalogs, "ways": ways}


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    names = [f"{part[:-1]} {j + 1}" for part, j in _columns()]
    body = []
    for way, found in result["ways"].items():
        for what, digits in (("bias", 2), ("pull", 1), ("scatter", 1)):
            cells = [f"{found[what][PARTS.index(part)][j]:+.{digits}f}" for part, j in _columns()]
            body.append([way, what, *(cell.lstrip("+") if what == "scatter" else cell for cell in cells)])
    n_catalogs = result["n_catalogs"]
    hidden = "rows below a detection limit of their own"
    return "\n\n".join(
        [
            f"{n_catalogs} simulated catalogs of {N_DATA} rows from two Gaussians (weights 0.6 and 0.4, means 0 and 4, "
            f"sigmas 1 and 0.7), with lognormal errors of median {MEDIAN_ERROR:g} and 0.5 in ln err. Limits: {hidden} "
            f"(normal, {LIMITS[0]:g} with a width of {LIMITS[1]:g}), some 35 % of them, are upper limits there. Cut: "
            f"observed values below {CUT:g}, some 24 %, are not in the sample. `bias` is the mean of estimate minus "
            f"truth; `pull` the median of the same in units of its uncertainty, `scatter` the standard deviation of "
            f"that by its quartiles. A median of {n_catalogs} pulls is uncertain by "
            f"{1.25 / math.sqrt(n_catalogs):.2f}, their scatter by {1.17 / math.sqrt(n_catalogs):.2f}.",
            table(["rows", "", *names], body),
        ]
    )


def _columns() -> list[tuple[str, int]]:
    """Kinds and components of the parameters in the table; the two weights add up to one."""
    return [("weights", 0), *((part, j) for part in PARTS[1:] for j in range(TRUTH.n_components))]
