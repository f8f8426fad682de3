"""Pairs of releases of several columns, without a change and with one: false verdicts, and shifts that are found."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.measure import table
from mixpipe.assess.comparison.compare import Comparison
from mixpipe.assess.comparison.influence import Common
from mixpipe.assess.comparison.joint import JointFitted, compare_joint_fits, parameter_test
from mixpipe.assess.comparison.verdict import CONCLUSION_CHANGED, SHIFTED
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture

TITLE = "Calibration of the comparison of joint fits"
# Pairs without a change, and with a shift; each of the latter takes two comparisons.
N_PAIRS, N_SHIFTED = 60, 40
N_DATA = 400
# Rows of the old release that the new one keeps, and rows that it adds.
OVERLAPS = {
    "disjoint": (0, N_DATA),
    "half common": (N_DATA // 2, N_DATA // 2),
    "append of 10 %": (N_DATA, N_DATA // 10),
}
TWO = JointMixture(
    [0.6, 0.4], [[0.0, 0.0], [3.0, 2.0]], [[[1.0, 0.4], [0.4, 1.0]], [[0.6, -0.2], [-0.2, 0.8]]], ("a", "b")
)
THREE_COLUMNS = JointMixture(
    [0.6, 0.4],
    [[0.0, 0.0, 0.0], [3.0, 2.0, 1.0]],
    [[[1.0, 0.4, 0.0], [0.4, 1.0, 0.3], [0.0, 0.3, 1.0]], [[0.6, -0.2, 0.0], [-0.2, 0.8, 0.0], [0.0, 0.0, 0.5]]],
    ("a", "b", "c"),
)
# Mixtures with the share of the values that are missing.
DESIGNS = {"2 columns": (TWO, 0.0), "3 columns, a tenth missing": (THREE_COLUMNS, 0.1)}
SHIFT = 4.0
LEVEL = 0.05
CHANGES = (SHIFTED, CONCLUSION_CHANGED)


def observed(truth: JointMixture, missing: float, n_data: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Values and the covariances of their errors: the errors are lognormal with median 0.4, and correlated by 0.3."""
    n_dims = truth.n_dims
    err = 0.4 * np.exp(0.3 * rng.standard_normal((n_data, n_dims)))
    cov = err[:, :, None] * err[:, None, :] * (0.3 + 0.7 * np.eye(n_dims))
    x = truth.sample(n_data, rng) + np.einsum("nab,nb->na", np.linalg.cholesky(cov), rng.standard_normal(err.shape))
    gaps = rng.random(x.shape) < missing
    gaps[gaps.all(axis=1)] = False
    return np.where(gaps, np.nan, x), cov


def fitted(x: np.ndarray, cov: np.ndarray, truth: JointMixture) -> JointFitted:
    """A fit with the true number of components, climbed from the truth."""
    cells = JointCells.from_rows(x, cov=cov, names=truth.names)
    fit = fit_mixture(cells, n_components=truth.n_components, start=truth, n_threads=1)
    component = fit.mixture.responsibilities(cells.x, cov=cells.cov).argmax(axis=1)
    return JointFitted(fit, cells, component, [(fit.n_components, fit.bic)])


def compared(design: str, overlap: str, seed: int, shift: float = 0.0) -> tuple[Comparison, float]:
    """The comparison of two releases, and the p-value of the differences of their parameters.

    With a shift, the mean of the first component in the first column is another one for the rows that are added.
    """
    truth, missing = DESIGNS[design]
    kept, added = OVERLAPS[overlap]
    rng = np.random.default_rng([43, seed])
    x, cov = observed(truth, missing, N_DATA, rng)
    means = truth.means.copy()
    means[0, 0] += shift
    moved = JointMixture(truth.weights, means, truth.covariances, truth.names)
    more, more_cov = observed(moved, missing, added, rng)
    old = fitted(x, cov, truth)
    new = fitted(np.concatenate([x[:kept], more]), np.concatenate([cov[:kept], more_cov]), truth)
    common = Common(np.arange(kept), np.arange(kept))
    return compare_joint_fits(old, new, common), parameter_test(old, new, common)


def unchanged(design: str, overlap: str, n_pairs: int) -> dict[str, Any]:
    """P-values of pairs without a change."""
    pairs = [compared(design, overlap, index) for index in range(n_pairs)]
    significances = np.abs([each.significance for pair, _ in pairs for each in pair.differences])
    return {
        "design": design,
        "overlap": overlap,
        "n_pairs": n_pairs,
        "score": sum(pair.pvalue <= LEVEL for pair, _ in pairs),
        "wald": sum(pvalue <= LEVEL for _, pvalue in pairs),
        "false": sum(pair.verdict in CHANGES for pair, _ in pairs),
        "within": float(np.mean(significances[np.isfinite(significances)] < 1.0)),
    }


def shifted(design: str, n_pairs: int) -> dict[str, Any]:
    """Pairs of disjoint releases with a shift of the first mean by some joint uncertainties."""
    called, named, significances = 0, 0, []
    for index in range(n_pairs):
        plain = next(each for each in compared(design, "disjoint", index)[0].differences if each.parameter == "mean_a")
        pair, _ = compared(design, "disjoint", index, SHIFT * plain.joint_unc)
        significances.append(next(each.significance for each in pair.differences if each.parameter == "mean_a"))
        called += pair.verdict in CHANGES
        named += "mean_a 1" in pair.judgement.shifted
    return {
        "design": design,
        "n_pairs": n_pairs,
        "called": called,
        "named": named,
        "mean": float(np.mean(significances)),
        "std": float(np.std(significances, ddof=1)),
    }


def measure(n_pairs: int = N_PAIRS, n_shifted: int = N_SHIFTED) -> dict[str, Any]:
    """Pairs without a change, and pairs with a shift."""
    return {
        "unchanged": [unchanged(design, overlap, n_pairs) for design in DESIGNS for overlap in OVERLAPS],
        "shifted": [shifted(design, n_shifted) for design in DESIGNS],
    }


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    rows = [
        [run["design"], run["overlap"], run["n_pairs"]]
        + [f"{100.0 * run[name] / run['n_pairs']:.1f}" for name in ("score", "wald", "false")]
        + [f"{100.0 * run['within']:.1f}"]
        for run in result["unchanged"]
    ]
    powers = [
        [run["design"], run["n_pairs"], f"{run['mean']:+.2f}", f"{run['std']:.2f}"]
        + [f"{100.0 * run[name] / run['n_pairs']:.0f}" for name in ("called", "named")]
        for run in result["shifted"]
    ]
    n_pairs = result["unchanged"][0]["n_pairs"]
    uncertain = 100 * np.sqrt(LEVEL * (1.0 - LEVEL) / n_pairs)
    longer = ""
    if n_pairs > N_PAIRS:
        longer = f" These numbers are those of a run that was longer than the default of {N_PAIRS} pairs."
    return "\n\n".join(
        [
            f"Simulated pairs of releases with {N_DATA} rows in the old one, two components and the true M. Without a "
            f"change: the percentage of the pairs with a p-value of at most {LEVEL:g} by the score test, which "
            "decides, and by the χ² of the differences of the parameters, for comparison "
            f"(right: {100 * LEVEL:.0f}; uncertain by {uncertain:.1f} for {n_pairs} pairs); "
            "that of the pairs with the verdict *shifted* or *conclusion changed*; "
            f"and that of single differences below one joint uncertainty (right: 68.3).{longer}",
            table(["columns", "releases", "pairs", "score, %", "differences, %", "verdicts, %", "< 1 σ, %"], rows),
            f"In disjoint releases, the mean of the first component in one column is shifted by {SHIFT:g} joint "
            "uncertainties. The table gives the significance that is reported and its standard deviation over the "
            "pairs (right: 1), the percentage of the pairs with the verdict *shifted* or *conclusion changed*, and "
            "that of the pairs in which this mean is named.",
            table(["columns", "pairs", "significance", "deviation", "called, %", "named, %"], powers),
        ]
    )
