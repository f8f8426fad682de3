"""How far the fits to a million rows are from the maximum over all rows, on fifty different columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import mixpipe
from benchmarks.measure import number, table, timed
from mixpipe.fitting.gaussian.likelihood import Likelihood, Params
from mixpipe.fitting.kernels import newton
from mixpipe.model.cells import Cells
from mixpipe.model.results import FitResult

TITLE = "Exactness on a million rows"
N_DATA = 1_000_000
N_COLUMNS = 50
MAX_COMPONENTS = 6


@dataclass(frozen=True, eq=False)
class Column:
    """A simulated column: how its errors and components are, values, errors, row weights."""

    kind: str
    x: np.ndarray
    err: np.ndarray | float | None
    weights: np.ndarray | None = None


KINDS = (
    "errors of half the widths",
    "errors over four decades",
    "a component ten times narrower than the median error",
    "errors of three times the widths",
    "no errors",
    "equal errors",
    "far outliers",
    "row weights",
    "a large offset",
    "Student t instead of Gaussians",
)


def column(index: int, n_data: int = N_DATA) -> Column:
    """Two to five components of widths within a factor of four, their neighbours 1 to 4 widths apart."""
    rng = np.random.default_rng([31, index])
    kind = KINDS[index % len(KINDS)]
    n_components = 2 + (index // len(KINDS)) % 4
    weights = 0.1 + (1.0 - 0.1 * n_components) * rng.dirichlet(np.ones(n_components))
    sigmas = np.exp(rng.uniform(np.log(0.5), np.log(2.0), n_components))
    means = np.cumsum(rng.uniform(1.0, 4.0, n_components) * sigmas)
    median = {"errors of three times the widths": 3.0}.get(kind, 0.5)
    spread = 0.5 * rng.standard_normal(n_data)
    if kind == "errors over four decades":
        median, spread = 0.1, rng.uniform(-2.0, 2.0, n_data) * np.log(10.0)
    err = median * np.exp(spread)
    if kind == "a component ten times narrower than the median error":
        sigmas[0] = 0.1 * median
    component = rng.choice(n_components, n_data, p=weights)
    z = rng.standard_normal(n_data)
    if kind == "Student t instead of Gaussians":
        z = rng.standard_t(4.0, n_data)
    truth = means[component] + sigmas[component] * z
    if kind == "no errors":
        return Column(kind, truth, None)
    if kind == "equal errors":
        return Column(kind, truth + 0.7 * rng.standard_normal(n_data), 0.7)
    x = truth + err * rng.standard_normal(n_data)
    if kind == "far outliers":
        x[:20] = 1e6 * rng.standard_normal(20)
    if kind == "row weights":
        return Column(kind, x, err, rng.uniform(0.2, 3.0, n_data))
    if kind == "a large offset":
        return Column(kind, 2459000.5 + 1e-4 * x, 1e-4 * err)
    return Column(kind, x, err)


def distance(
    x: np.ndarray, err: np.ndarray | float | None, fit: FitResult, weights: np.ndarray | None = None
) -> dict[str, float]:
    """How far a fit is from the maximum that Newton steps on all rows lead to from there.

    Returns
    -------
    dict
        The largest difference of a parameter in standard errors, and the difference in log-likelihood in nats.
    """
    likelihood = Likelihood(Cells.from_rows(x, err, weights))
    floor = (fit.sigma_floor / likelihood.scale) ** 2
    params = likelihood.scaled(fit.mixture)
    for _ in range(4):
        # Whole steps, however little they promise.
        deriv = likelihood.derivatives(params)
        new_weights, means, variances, *_ = newton.newton_step(
            deriv.gradient,
            deriv.hessian,
            deriv.total_var,
            params.weights,
            params.means,
            params.variances,
            floor,
            1.0,
        )
        params = Params(new_weights, means, variances)
    mixture = likelihood.mixture(params)
    shifts = [
        np.abs(getattr(mixture, name) - getattr(fit.mixture, name)) / getattr(fit.uncertainties, name)
        for name in ("weights", "means", "sigmas")
    ]
    loglik = likelihood.derivatives(params).loglik
    return {"shift": float(np.nanmax(shifts)), "loglik": float(loglik - fit.loglik)}


def measure() -> dict[str, Any]:
    """All columns."""
    rows = []
    for index in range(N_COLUMNS):
        given = column(index)
        choose = partial(mixpipe.choose_n_components, weights=given.weights, max_components=MAX_COMPONENTS)
        found, time = timed(partial(choose, given.x, given.err))
        fit = found.best
        rows.append(
            {
                "kind": given.kind,
                "n_components": fit.n_components,
                "exact": bool(fit.exact),
                "seconds": time,
                **distance(given.x, given.err, fit, given.weights),
            }
        )
        print(rows[-1], flush=True)
    return {"rows": rows}


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    body = []
    for kind in KINDS:
        rows = [row for row in result["rows"] if row["kind"] == kind]
        body.append(
            [
                kind,
                str(len(rows)),
                number(max(row["shift"] for row in rows), 2),
                number(max(abs(row["loglik"]) for row in rows), 2),
                number(float(np.median([row["seconds"] for row in rows]))),
            ]
        )
    shift = max(row["shift"] for row in result["rows"])
    loglik = max(abs(row["loglik"]) for row in result["rows"])
    within = shift < 1e-3 and loglik < 1e-3
    return "\n\n".join(
        [
            f"{len(result['rows'])} columns of {N_DATA:,} rows, of each kind with two to five components; M = 1 to "
            f"{MAX_COMPONENTS}, chosen by BIC from a sketch and finished on the rows. Distances are from the chosen "
            f"fit to the maximum over all rows, climbed to on the rows alone from there.",
            table(["errors and components", "columns", "largest shift / uncertainty", "nats", "seconds"], body),
            f"Largest distance: {number(shift, 2)} uncertainties and {number(loglik, 2)} nats (required: 0.001 of "
            f"each, {'reached' if within else 'not reached'}).",
        ]
    )
