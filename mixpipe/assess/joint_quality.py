"""How well a mixture of several columns describes the rows, and intervals of its parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import expit, logit

from mixpipe.assess.bootstrap import repeat
from mixpipe.assess.intervals import check_level
from mixpipe.assess.joint import JointDraws
from mixpipe.assess.joint_rows import draw_rows
from mixpipe.assess.joint_transforms import JointQuality, Transforms
from mixpipe.assess.simulation import p_value
from mixpipe.fitting.engine import engine_for_columns
from mixpipe.fitting.joint_problem import JointProblem
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit

LEVELS = (0.68, 0.95)


def assess_columns(
    fit: JointFit, cells: JointCells, n_draws: int, seed: int, n_threads: int | None = None
) -> list[JointQuality]:
    """The quality of a fit on rows in memory, with p-values from catalogs that are drawn and fitted again.

    Parameters
    ----------
    fit : JointFit
    cells : JointCells
        Its rows.
    n_draws : int
        Catalogs; 0 for no p-values.
    seed : int
    n_threads : int or None
        No result depends on it.
    """

    def statistics(mixture: JointMixture, rows: JointCells) -> list[JointQuality]:
        transforms = Transforms(mixture)
        transforms.add(rows.x, rows.cov, rows.weights)
        return transforms.quality()

    observed = statistics(fit.mixture, cells)
    if not n_draws:
        return observed
    engine, problem = engine_for_columns(), JointProblem(cells, fit.structure, 1)

    def draw(rng: np.random.Generator) -> list[float]:
        catalog = JointProblem(draw_rows(fit.mixture, problem.cells, rng), fit.structure, 1)
        return [one.ks for one in statistics(engine.refit(catalog, fit)[0], catalog.cells)]

    simulated = np.array(repeat(draw, n_draws, seed, n_threads))
    return [
        JointQuality(one.name, one.n_rows, one.ks, p_value(one.ks, simulated[:, k])) for k, one in enumerate(observed)
    ]


def intervals_of_columns(fit: JointFit, draws: JointDraws | None = None) -> Iterator[dict[str, object]]:
    """Rows of intervals.csv: normal intervals of logit w, the means, ln sigma and artanh of the correlations.

    With bootstrap draws these come first, as percentiles. Parameters are called weight, mean_A, sigma_A and corr_A_B.
    """
    mixture = fit.mixture
    names = mixture.names
    for method in ("bootstrap", "information"):
        if method == "bootstrap" and draws is None:
            continue
        for j in range(mixture.n_components):
            for parameter, part, place in parameters_of(names):
                estimate = float(getattr(mixture, part)[(j, *place)])
                for level in LEVELS:
                    if method == "bootstrap" and draws is not None:
                        low, high = (float(end[(j, *place)]) for end in draws.intervals(part, level))
                    else:
                        unc = float(getattr(fit.uncertainties, part)[(j, *place)])
                        low, high = _normal(part, estimate, unc * check_level(level))
                    yield {
                        "method": method,
                        "component": j + 1,
                        "parameter": parameter,
                        "estimate": estimate,
                        "level": level,
                        "lower": low,
                        "upper": high,
                        "preferred": (method == "bootstrap") == (draws is not None),
                    }


def parameters_of(names: Sequence[str]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """The parameters of a component in columns with these names: name, attribute of the mixture, and place in it."""
    yield "weight", "weights", ()
    for a, name in enumerate(names):
        yield f"mean_{name}", "means", (a,)
        yield f"sigma_{name}", "sigmas", (a,)
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            yield f"corr_{names[a]}_{names[b]}", "correlations", (a, b)


def _normal(part: str, estimate: float, half: float) -> tuple[float, float]:
    """The ends of an interval on the scale on which the estimate is more nearly normal."""
    if part == "weights" and 0.0 < estimate < 1.0:
        steps = np.array([-half, half]) / (estimate * (1.0 - estimate))
        low, high = expit(logit(estimate) + steps).tolist()
    elif part == "sigmas" and estimate > 0.0:
        with np.errstate(over="ignore"):
            low, high = (estimate * np.exp(np.array([-half, half]) / estimate)).tolist()
    elif part == "correlations" and abs(estimate) < 1.0:
        low, high = np.tanh(np.arctanh(estimate) + np.array([-half, half]) / (1.0 - estimate**2)).tolist()
    else:
        low, high = (estimate - half, estimate + half) if part == "means" else (math.nan, math.nan)
        if half == 0.0:
            low = high = estimate
    return low, high
