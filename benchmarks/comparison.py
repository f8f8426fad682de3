"""Pairs of releases without a change and with one: is the significance of a difference what it says?

``python -m benchmarks.comparison`` measures, and writes the tables into docs/comparison.md.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.coverage import DESIGNS, MEDIAN_ERROR
from benchmarks.measure import between_marks, table, write_text
from mixpipe.assess.comparison.compare import Comparison, Fitted, compare_fits
from mixpipe.assess.comparison.influence import Common
from mixpipe.assess.comparison.verdict import CONCLUSION_CHANGED, SHIFTED, Difference
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture

TITLE = "Calibration of differences"
PAGE = Path(__file__).parents[1] / "docs" / "comparison.md"
SIZES = (400, 2000)
N_PAIRS = 500
LEVELS = {0.6827: 1.0, 0.9545: 2.0}
IMPROBABLE = 0.05
PARTS = ("weight", "mean", "sigma")
# Releases of one population.
OVERLAPS = ("disjoint", "half common", "append of 4 %", "revision of 30 %")
# Shifts of the mean of the first component, in joint uncertainties.
SHIFTS = (0.0, 3.0, 5.0)


def observed(values: np.ndarray, err: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Values with errors."""
    return values + err * rng.standard_normal(values.size)


def releases(
    overlap: str, truth: Mixture, n_data: int, seed: int, shift: float = 0.0
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], Common]:
    """Values and errors of two releases, and the rows that they have in common.

    A revision measures 30 % of the rows again, with errors half as large. With a shift all rows are new ones, of a
    population whose first mean is shifted.
    """
    rng = np.random.default_rng([41, n_data, seed])
    err = MEDIAN_ERROR * np.exp(0.5 * rng.standard_normal(n_data))
    values = truth.sample(n_data, rng)
    x = observed(values, err, rng)
    if overlap == "revision of 30 %":
        again = rng.random(n_data) < 0.3
        better = np.where(again, 0.5 * err, err)
        revised = np.where(again, observed(values, better, rng), x)
        return (x, err), (revised, better), Common(np.arange(n_data), np.arange(n_data))
    kept = {"disjoint": 0, "half common": n_data // 2, "append of 4 %": n_data}[overlap]
    n_added = n_data // 25 if kept == n_data else n_data - kept
    means = truth.means.copy()
    means[0] += shift
    more_err = MEDIAN_ERROR * np.exp(0.5 * rng.standard_normal(n_added))
    more = observed(Mixture(truth.weights, means, truth.sigmas).sample(n_added, rng), more_err, rng)
    new = np.concatenate([x[:kept], more]), np.concatenate([err[:kept], more_err])
    return (x, err), new, Common(np.arange(kept), np.arange(kept))


def compared(overlap: str, truth: Mixture, n_data: int, seed: int, shift: float = 0.0) -> Comparison:
    """The comparison of two releases, each fitted with the true number of components by climbing from the truth."""
    old, new, common = releases(overlap, truth, n_data, seed, shift)
    fitted = []
    for x, err in (old, new):
        cells = Cells.from_rows(x, err)
        fit = fit_mixture(cells, n_components=truth.n_components, start=truth, n_threads=1)
        component = fit.mixture.responsibilities(x, err).argmax(axis=1)
        fitted.append(Fitted(fit, cells, component, [(fit.n_components, fit.bic)], np.full(fit.n_components, np.nan)))
    return compare_fits(fitted[0], fitted[1], common)


def calibration(design: str, n_data: int, overlap: str, indices: range) -> dict[str, Any]:
    """Significances, of shape (n_pairs, n_components, 3), p-values of all differences together, and verdicts."""
    truth = DESIGNS[design]
    found, pvalues, verdicts = [], [], []
    for index in indices:
        comparison = compared(overlap, truth, n_data, index)
        values = np.full((truth.n_components, 3), np.nan)
        for each in comparison.differences:
            if each.status == "matched":
                values[each.component_old - 1, PARTS.index(each.parameter)] = each.significance
        found.append(values)
        pvalues.append(comparison.pvalue)
        verdicts.append(comparison.verdict)
    return {"significance": np.array(found), "pvalues": np.array(pvalues), "verdicts": verdicts}


def first_mean(comparison: Comparison) -> Difference:
    """The difference of the mean of the first component."""
    return next(each for each in comparison.differences if each.parameter == "mean")


def power(n_data: int, shift: float, indices: range, design: str = "two separated") -> list[tuple[float, str]]:
    """Significance of the shifted mean, and the verdict; disjoint releases."""
    truth = DESIGNS[design]
    found = []
    for index in indices:
        # The joint uncertainty of releases without a shift.
        joint_unc = first_mean(compared("disjoint", truth, n_data, index)).joint_unc
        comparison = compared("disjoint", truth, n_data, index, shift * joint_unc)
        found.append((first_mean(comparison).significance, comparison.verdict))
    return found


def measure(n_pairs: int = N_PAIRS) -> dict[str, Any]:
    """Shares of significances below one and two, of verdicts, and how shifts are found."""
    pairs = range(n_pairs)
    found: dict[str, Any] = {"n_pairs": n_pairs, "calibration": [], "power": []}
    for overlap, design, n_data in product(OVERLAPS, DESIGNS, SIZES):
        part = calibration(design, n_data, overlap, pairs)
        values = np.abs(part["significance"])
        known = np.isfinite(values)
        shares = {
            level: [float(np.mean(values[..., k][known[..., k]] < bound)) for k in range(3)]
            for level, bound in LEVELS.items()
        }
        verdicts = part["verdicts"]
        found["calibration"].append(
            {
                "overlap": overlap,
                "design": design,
                "n_data": n_data,
                "shares": [shares[level] for level in LEVELS],
                "improbable": float(np.mean(part["pvalues"] < IMPROBABLE)),
                "verdicts": {name: verdicts.count(name) for name in dict.fromkeys(sorted(verdicts))},
            }
        )
    for design, n_data, shift in product(DESIGNS, SIZES, SHIFTS):
        shifted = power(n_data, shift, pairs, design)
        significance = np.array([value for value, _ in shifted])
        found["power"].append(
            {
                "design": design,
                "n_data": n_data,
                "shift": shift,
                "mean": float(significance.mean()),
                "std": float(significance.std(ddof=1)),
                "shifted": sum(verdict == SHIFTED for _, verdict in shifted) / n_pairs,
            }
        )
    return found


def false_alarms(result: dict[str, Any]) -> str:
    """Per cent of the pairs without a change that are called shifted or worse, by overlap."""
    shares = []
    for overlap in OVERLAPS:
        runs = [run["verdicts"] for run in result["calibration"] if run["overlap"] == overlap]
        called = sum(run.get(SHIFTED, 0) + run.get(CONCLUSION_CHANGED, 0) for run in runs)
        shares.append(f"{overlap} {100.0 * called / (len(runs) * result['n_pairs']):.1f}")
    return "; ".join(shares)


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    n_pairs = result["n_pairs"]
    rows = []
    for run in result["calibration"]:
        shares = [f"{100.0 * share:.1f}" for level in run["shares"] for share in level]
        verdicts = ", ".join(f"{count} {name}" for name, count in run["verdicts"].items())
        improbable = f"{100.0 * run['improbable']:.1f}"
        rows.append([run["overlap"], run["design"], f"{run['n_data']:,}", *shares, improbable, verdicts])
    errors = [100.0 * np.sqrt(level * (1.0 - level) / n_pairs) for level in LEVELS]
    overall = []
    for overlap in OVERLAPS:
        runs = [run["shares"] for run in result["calibration"] if run["overlap"] == overlap]
        one, two = (100.0 * np.mean([run[k] for run in runs]) for k in (0, 1))
        overall.append(f"{overlap} {one:.1f} and {two:.1f}")
    shown = [f"{part} < {k}" for k in (1, 2) for part in PARTS]
    powers = []
    for run in result["power"]:
        numbers = (f"{run['mean']:+.2f}", f"{run['std']:.2f}", f"{100 * run['shifted']:.0f}")
        powers.append([run["design"], f"{run['n_data']:,}", f"{run['shift']:g}", *numbers])
    return "\n\n".join(
        [
            f"Each line is based on {n_pairs} simulated pairs of releases of one population; the designs are those of "
            f"the [benchmarks](benchmarks.md), and the number of rows is that of the old release. The table gives the "
            f"percentage of the pairs in which a difference is below one and below two joint uncertainties (right: "
            f"{100 * 0.6827:.1f} and {100 * 0.9545:.1f}), averaged over components; that of a single parameter is "
            f"uncertain by {errors[0]:.1f} and {errors[1]:.1f}. It then gives the percentage of the pairs with a "
            f"p-value of all parameters together below {IMPROBABLE:g} (right: {100 * IMPROBABLE:g}). The averages "
            f"are: {'; '.join(overall)}.",
            f"The percentages of these pairs without a change that have the verdict *shifted* or *conclusion changed* "
            f"are: {false_alarms(result)}.",
            table(["releases", "design", "rows", *shown, f"p < {IMPROBABLE:g}", "verdicts"], rows),
            "In disjoint releases, the mean of the first component is shifted by the given number of joint "
            "uncertainties. The table gives the significance that is reported, its standard deviation over the pairs "
            "(right: 1), and the percentage of the pairs with the verdict *shifted*.",
            table(["design", "rows", "shift", "significance", "deviation", "shifted, %"], powers),
        ]
    )


def main() -> None:
    """Measure and write the tables into the page."""
    text = page(measure())
    print(text)
    write_text(PAGE, between_marks(PAGE.read_text(encoding="utf-8"), text))


if __name__ == "__main__":
    main()
