"""``python -m benchmarks.estimators``: the three estimators on the same simulated catalogs; see docs/estimators.md.

``--tables`` simulates nothing: tables and figures of the last run, which is kept in benchmarks/estimators.json.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.estimators_figures import draw
from benchmarks.estimators_study import (
    CONTAMINATION,
    CUT,
    ERRORS,
    ESTIMATORS,
    FEW_ROWS,
    MARGIN,
    N_CATALOGS,
    NEAR,
    PARTS,
    THREE,
    UNEQUAL_ERRORS,
    distance,
    free,
    largest_bias,
    measure,
    relative,
    select,
)
from benchmarks.measure import between_marks, machine, number, table, write_text

ROOT = Path(__file__).parents[1]
MEASURED = Path(__file__).with_suffix(".json")
PAGE = ROOT / "docs" / "estimators.md"
# The median of n values is uncertain by this much, in units of the scatter of one, over the root of n.
_MEDIAN_ERROR = 1.25


def share(value: float | None) -> str:
    """Per cent."""
    return "–" if value is None else f"{100 * value:.0f}"


def _by_size(cases: list[dict[str, Any]], *cells: Callable[[dict[str, Any], dict[str, Any]], str]) -> list[list[str]]:
    """A line for each kind of errors, distance and estimator; columns for each cell and size."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for case in cases:
        groups.setdefault((case["errors"], distance(case)), []).append(case)
    return [
        [
            errors,
            f"{apart:g}",
            name,
            *(cell(case["methods"][name], case["methods"]["em"]) for cell in cells for case in group),
        ]
        for (errors, apart), group in groups.items()
        for name in ESTIMATORS
    ]


def _sizes(*names: str) -> list[str]:
    """Header of the tables of `_by_size`."""
    sizes = [f"{n:,}" for n in N_CATALOGS]
    return [
        "errors",
        "d",
        "estimator",
        *(f"{name} {sizes[0]}" if k == 0 else n for name in names for k, n in enumerate(sizes)),
    ]


def accuracy(cases: list[dict[str, Any]]) -> str:
    """Error, scatter and bias."""
    return table(
        _sizes("error", "scatter", "bias"),
        _by_size(
            cases,
            lambda found, em: f"{relative(found, em):.2f}",
            lambda found, em: f"{relative(found, em, 'scatter'):.2f}",
            lambda found, em: f"{largest_bias(found, em):.1f}",
        ),
    )


def honesty(cases: list[dict[str, Any]]) -> str:
    """Pulls, and catalogs without a solution."""
    return table(
        _sizes("pull", "within", "none"),
        _by_size(
            cases,
            lambda found, em: number(found["pull"], 2),
            lambda found, em: share(found["within"]),
            lambda found, em: f"{share(found['not_found'])} / {share(found['degenerate'])}",
        ),
    )


def cost(cases: list[dict[str, Any]]) -> str:
    """Estimates near the truth, deficits and seconds."""
    return table(
        _sizes("near", "deficit", "ms"),
        _by_size(
            cases,
            lambda found, em: share(found["near"]),
            lambda found, em: "0" if found is em else number(found["deficit"], 2),
            lambda found, em: number(1e3 * found["seconds"], 2),
        ),
    )


def _medians(case: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Median estimates with the scatter of the single one."""
    truth = free([case["truth"][part] for part in PARTS])
    middle = truth + free(found["bias"])
    return [f"{value:.2f} ± {width:.2f}" for value, width in zip(middle, free(found["scatter"]), strict=True)]


def parameters(cases: list[dict[str, Any]], label: Callable[[dict[str, Any]], list[str]], header: list[str]) -> str:
    """Median estimates of every parameter of a pair."""
    names = ["w1", "mean 1", "mean 2", "sigma 1", "sigma 2"]
    return table(
        [*header, "method", *names, "pull", "near"],
        [
            [*label(case), name, *_medians(case, found), number(found["pull"], 2), share(found["near"])]
            for case in cases
            for name, found in case["methods"].items()
        ],
    )


def page(result: list[dict[str, Any]]) -> str:
    """Markdown."""
    pairs, three = select(result, "pair", "ignored"), select(result, "three")
    counts = ", ".join(f"{count} of {n:,} rows" for n, count in N_CATALOGS.items())
    noise = max(_MEDIAN_ERROR / math.sqrt(count) for count in N_CATALOGS.values())
    return "\n\n".join(
        [
            f"Each line is based on the following catalogs: {counts}. Every estimator sees the same catalogs and is "
            f"told the number of components. The errors are `none`, or `moderate` or `large`: lognormal with medians "
            f"of {ERRORS['moderate']:g} and {ERRORS['large']:g}, respectively, and a scatter of 0.5 in ln err. d is "
            f"the distance between the means. The name of the first column of each group ends with its number of "
            f"rows; the columns to its right are for more rows.",
            "### Accuracy",
            f"*Error* is the 68th percentile of the absolute deviations from the truth, in units of that of em; "
            f"*scatter* is half of the width of the central 68 % of the estimates, in the same sense; both are "
            f"geometric means over the parameters. *Bias* is the deviation of the median estimate from the truth, in "
            f"units of em's error, for the parameter for which it is largest; chance alone makes it {noise:.2f} for "
            f"one parameter at the largest size, and up to twice that for the worst of five.",
            accuracy(pairs),
            "### Honesty",
            f"*Pull* is the root mean square of the deviations from the truth in units of the stated uncertainties, "
            f"over all parameters of all catalogs; it is 1 if these are right, and a single wild one counts. *Within* "
            f"is the percentage of the deviations below one uncertainty, which is 68 if these are right. *None* is "
            f"the percentage of the catalogs in which the estimator says that it found no solution / in which a sigma "
            f"is at its bound or a component has fewer than {FEW_ROWS:g} rows. If moments finds no solution, it "
            f"returns the nearest mixture, which counts in the other columns like any other.",
            honesty(pairs),
            "### Likelihood and time",
            f"*Near* is the percentage of the catalogs with all weights within {NEAR[0]:g} and all means and sigmas "
            f"within {NEAR[1]:g} of the truth. *Deficit* is the median number of nats by which the mixture is less "
            f"likely than that of em. *ms* is the median time of a fit on one thread, in milliseconds.",
            cost(pairs),
            "### Three components",
            f"The weights are {_list(THREE.weights)}, the means {_list(THREE.means)} and the sigmas "
            f"{_list(THREE.sigmas)}; the columns are as above.",
            accuracy(three),
            honesty(three),
            cost(three),
            "### Errors ignored",
            "The table gives median estimates with the scatter of a single one, for 10,000 rows. The truth is w1 = "
            "0.6, mean 1 = 0, mean 2 = d, sigma 1 = 1, sigma 2 = 0.7.",
            parameters(
                select(result, "ignored"), lambda case: [case["errors"], f"{distance(case):g}"], ["errors", "d"]
            ),
            "### Contaminants, unequal errors, and a cut on errors",
            f"d = 3 in all cases but the last. *Contaminated*: {100 * CONTAMINATION:g} % of the rows are uniform over "
            f"a range that reaches {MARGIN:g} beyond either mean. All estimators are told that there are two "
            f"components, and `em, background` is also told of a uniform background (the weights are then shares of "
            f"the components). *Unequal errors*: rows of the first component have a median error of "
            f"{UNEQUAL_ERRORS[0]:g}, those of the second {UNEQUAL_ERRORS[1]:g}. *Cut*: d = 5, the errors are large, "
            f"and only rows with errors below {CUT:g} are used, 63 % of all.",
            parameters(
                select(result, "contaminated", "unequal errors", "cut"),
                lambda case: [case["kind"], case["errors"], f"{case['n_data']:,}"],
                ["", "errors", "N"],
            ),
        ]
    )


def _list(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)


def written(text: str, run: dict[str, Any]) -> str:
    """The page with the tables of a run between its marks."""
    versions = [f"{name} {value}" for name, value in run["machine"].items() if name in ("numpy", "scipy", "numba")]
    note = (
        f"*`python -m benchmarks.estimators`: {run['cpu_seconds']:.0f} s of one core; {run['machine']['processor']}, "
        f"Python {run['machine']['python']}, {', '.join(versions)}.*"
    )
    return between_marks(text, f"{page(run['result'])}\n\n{note}")


def main() -> None:
    """Run, or read the last run; write tables and figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimators", description=__doc__.splitlines()[0])
    parser.add_argument("--tables", action="store_true", help="simulate nothing: tables and figures of the last run")
    if not parser.parse_args().tables:
        start = time.process_time()
        result = measure()
        run = {"result": result, "cpu_seconds": time.process_time() - start, "machine": machine()}
        write_text(MEASURED, json.dumps(run, indent=1) + "\n")
    run = json.loads(MEASURED.read_text(encoding="utf-8"))
    write_text(PAGE, written(PAGE.read_text(encoding="utf-8"), run))
    draw(run["result"], ROOT / "docs" / "figures")


if __name__ == "__main__":
    main()
