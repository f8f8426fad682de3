"""Pairs of releases without a change and with one: how often are verdicts false, and how often are shifts found?"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from benchmarks.coverage import DESIGNS as SEVERAL
from benchmarks.coverage import MEDIAN_ERROR
from benchmarks.measure import table
from mixpipe.assess.comparison.compare import Comparison, Fitted, compare_fits, judge_release
from mixpipe.assess.comparison.influence import Common
from mixpipe.assess.comparison.verdict import CONCLUSION_CHANGED, SHIFTED, Difference
from mixpipe.fitting.choose import choose_n_components, fit_mixture
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture

TITLE = "Calibration of the comparison of releases"
DESIGNS = {"one": Mixture([1.0], [0.0], [1.0]), **SEVERAL}
N_PAIRS = 500
# Pairs with a shift, each of which takes two comparisons.
N_SHIFTED = 200
LEVELS = {0.6827: 1.0, 0.9545: 2.0}
IMPROBABLE = 0.05
PARTS = ("weight", "mean", "sigma")
# Releases of one population, with the numbers of rows of the old one.
OVERLAPS = {
    "disjoint": (60, 400, 2000),
    "append of 4 %": (60, 400, 2000),
    "half common": (400,),
    "revision of 30 %": (400,),
}
# Numbers of rows, and shifts of the mean of the first component in joint uncertainties, in the study of power.
SIZES = (400, 2000)
SHIFTS = (4.0,)
# Releases of many columns that differ in design, number of rows and overlap: so many with the true M, and fewer with
# the M that BIC chooses, from 1 to this.
N_RELEASES, N_CHOSEN, N_COLUMNS, MOST = 200, 100, 20, 4
COLUMN_SIZES = (60, 200, 400)
CHANGES = (SHIFTED, CONCLUSION_CHANGED)


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


def fitted(cells: Cells, truth: Mixture, max_components: int | None = None) -> Fitted:
    """A fit with the true number of components, climbed from the truth, or with that which BIC chooses."""
    if max_components is None:
        fit = fit_mixture(cells, n_components=truth.n_components, start=truth, n_threads=1)
        tried = [fit]
    else:
        selection = choose_n_components(cells, max_components=max_components, n_threads=1)
        fit, tried = selection.best, list(selection.fits)
    component = fit.mixture.responsibilities(cells.x, cells.err).argmax(axis=1)
    sizes = [(each.n_components, each.bic) for each in tried]
    return Fitted(fit, cells, component, sizes, np.full(fit.n_components, np.nan))


def compared(
    overlap: str, truth: Mixture, n_data: int, seed: int, shift: float = 0.0, max_components: int | None = None
) -> Comparison:
    """The comparison of two releases; see `releases` and `fitted`."""
    old, new, common = releases(overlap, truth, n_data, seed, shift)
    sides = [fitted(Cells.from_rows(*rows), truth, max_components) for rows in (old, new)]
    return compare_fits(sides[0], sides[1], common)


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


def columns_of_release(index: int, max_components: int | None) -> list[Comparison]:
    """The comparisons of the columns of two releases without a change; see `fitted`."""
    found = []
    for column in range(N_COLUMNS):
        design = list(DESIGNS.values())[column % len(DESIGNS)]
        overlap = list(OVERLAPS)[column // len(DESIGNS) % len(OVERLAPS)]
        n_data = COLUMN_SIZES[column % len(COLUMN_SIZES)]
        seed = 1_000_000 + index * N_COLUMNS + column
        found.append(compared(overlap, design, n_data, seed, max_components=max_components))
    return judge_release(found)


def measure_releases(n_releases: int, max_components: int | None = None) -> dict[str, Any]:
    """False verdicts on the columns of releases, with and without the adjustment over the columns."""
    alone, adjusted, any_false, verdicts = 0, 0, 0, []
    for index in range(n_releases):
        comparisons = columns_of_release(index, max_components)
        alone += sum(each.pvalue <= IMPROBABLE for each in comparisons)
        false = sum(each.verdict in CHANGES for each in comparisons)
        adjusted += false
        any_false += false > 0
        verdicts += [each.verdict for each in comparisons]
    counts = {name: verdicts.count(name) for name in dict.fromkeys(sorted(verdicts))}
    return {"n_releases": n_releases, "alone": alone, "adjusted": adjusted, "any": any_false, "verdicts": counts}


def measure_pairs(overlap: str, design: str, n_data: int, n_pairs: int) -> dict[str, Any]:
    """Shares of significances below one and two, of p-values and of verdicts."""
    part = calibration(design, n_data, overlap, range(n_pairs))
    values = np.abs(part["significance"])
    known = np.isfinite(values)
    shares = [
        [float(np.mean(values[..., k][known[..., k]] < bound)) if known[..., k].any() else None for k in range(3)]
        for bound in LEVELS.values()
    ]
    verdicts = part["verdicts"]
    return {
        "n_pairs": n_pairs,
        "overlap": overlap,
        "design": design,
        "n_data": n_data,
        "shares": shares,
        "improbable": float(np.mean(part["pvalues"] <= IMPROBABLE)),
        "very_improbable": float(np.mean(part["pvalues"] <= IMPROBABLE / N_COLUMNS)),
        "verdicts": {name: verdicts.count(name) for name in dict.fromkeys(sorted(verdicts))},
    }


def measure_power(design: str, n_data: int, shift: float, n_pairs: int) -> dict[str, Any]:
    """How a shift is found."""
    shifted = power(n_data, shift, range(n_pairs), design)
    significance = np.array([value for value, _ in shifted])
    return {
        "n_pairs": n_pairs,
        "design": design,
        "n_data": n_data,
        "shift": shift,
        "mean": float(significance.mean()),
        "std": float(significance.std(ddof=1)),
        "called": sum(verdict in CHANGES for _, verdict in shifted) / n_pairs,
    }


def measure(n_pairs: int = N_PAIRS, n_shifted: int = N_SHIFTED) -> dict[str, Any]:
    """Pairs without a change, pairs with a shift, and releases of many columns."""
    settings = [(overlap, design, n) for overlap, sizes in OVERLAPS.items() for design in DESIGNS for n in sizes]
    return {
        "releases": {
            "the true M": measure_releases(N_RELEASES),
            f"M chosen by BIC from 1 to {MOST}": measure_releases(N_CHOSEN, MOST),
        },
        "power": [measure_power(*setting, n_shifted) for setting in product(DESIGNS, SIZES, SHIFTS)],
        "calibration": [measure_pairs(*setting, n_pairs) for setting in settings],
    }


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    rows = []
    for run in result["calibration"]:
        shares = ["–" if share is None else f"{100.0 * share:.1f}" for level in run["shares"] for share in level]
        verdicts = ", ".join(f"{count} {name}" for name, count in run["verdicts"].items())
        improbable = [f"{100.0 * run[name]:.1f}" for name in ("improbable", "very_improbable")]
        rows.append(
            [run["overlap"], run["design"], f"{run['n_data']:,}", run["n_pairs"], *improbable, *shares, verdicts]
        )
    errors = [100.0 * np.sqrt(level * (1.0 - level) / N_PAIRS) for level in (IMPROBABLE, *LEVELS)]
    levels = [f"p ≤ {level:g}" for level in (IMPROBABLE, IMPROBABLE / N_COLUMNS)]
    shown = [f"{part} < {k}" for k in (1, 2) for part in PARTS]
    powers = []
    for run in result["power"]:
        numbers = (f"{run['mean']:+.2f}", f"{run['std']:.2f}", f"{100 * run['called']:.0f}")
        powers.append([run["design"], f"{run['n_data']:,}", run["n_pairs"], f"{run['shift']:g}", *numbers])
    many = []
    for name, run in result["releases"].items():
        n_releases = run["n_releases"]
        shares = [f"{100.0 * run[part] / n_releases / N_COLUMNS:.1f}" for part in ("alone", "adjusted")]
        verdicts = ", ".join(f"{count:,} {word}" for word, count in run["verdicts"].items())
        many.append([name, n_releases, *shares, run["any"], f"{100.0 * run['any'] / n_releases:.1f}", verdicts])
    return "\n\n".join(
        [
            f"Pairs of releases of {N_COLUMNS} columns without a change, of all the designs and overlaps below, with "
            f"{', '.join(map(str, COLUMN_SIZES))} rows. The table gives the percentage of the columns with a p-value "
            f"of at most {IMPROBABLE:g} by themselves, that of the columns with the verdict *shifted* or *conclusion "
            f"changed*, which rests on the p-value over all columns, and the number and the percentage of the pairs of "
            f"releases in which any column has such a verdict (at most {100 * IMPROBABLE:g} are wanted).",
            table(["fits with", "pairs", "p, %", "verdicts, %", "any", "any, %", "verdicts on all columns"], many),
            "Each of the following lines is based on simulated pairs of releases of one column, with the true M; the "
            f"number of rows is that of the old release. Without a change: the percentage of the pairs with a p-value "
            f"of at most {IMPROBABLE:g}, which is that of false verdicts (at most {100 * IMPROBABLE:g} are wanted; "
            f"uncertain by {errors[0]:.1f} for {N_PAIRS} pairs), and of at most {IMPROBABLE / N_COLUMNS:g} (at most "
            f"{100 * IMPROBABLE / N_COLUMNS:g}), which is what the first of {N_COLUMNS} columns needs; then that of "
            f"single differences below one and below two joint uncertainties (right: {100 * 0.6827:.1f} and "
            f"{100 * 0.9545:.1f}; uncertain by {errors[1]:.1f} and {errors[2]:.1f}, averaged over components).",
            table(["releases", "design", "rows", "pairs", *levels, *shown, "verdicts"], rows),
            "In disjoint releases, the mean of the first component is shifted by the given number of joint "
            "uncertainties. The table gives the significance that is reported, its standard deviation over the pairs "
            "(right: 1), and the percentage of the pairs with the verdict *shifted* or *conclusion changed*, for a "
            "column by itself.",
            table(["design", "rows", "pairs", "shift", "significance", "deviation", "called, %"], powers),
        ]
    )
