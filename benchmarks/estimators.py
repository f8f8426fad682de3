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
            f"Catalogs for each line: {counts}. Every estimator sees the same catalogs and is told the number of "
            f"components. `none`, `moderate`, `large`: no errors, or lognormal ones with medians of "
            f"{ERRORS['moderate']:g} and {ERRORS['large']:g}, and 0.5 in ln err. d is the distance of the means. The "
            f"first column of each group has the number of rows after its name, those to its right are for more rows.",
            "### Accuracy",
            f"*Error*: 68th percentile of the absolute deviations from the truth, in units of em's; *scatter*: half of "
            f"the width of the central 68 % of the estimates, likewise; both are geometric means over the parameters. "
            f"*Bias*: deviation of the median estimate from the truth in units of em's error, for the parameter for "
            f"which it is largest; chance alone makes it {noise:.2f} for one parameter at the largest size, and up to "
            f"twice that for the worst of five.",
            accuracy(pairs),
            "### Honesty",
            f"*Pull*: root mean square of the deviations from the truth in units of the stated uncertainties, all "
            f"parameters of all catalogs; 1 if these are right, and a single wild one counts. *Within*: per cent of "
            f"the deviations below one uncertainty; 68 if these are right. *None*: per cent of the catalogs in which "
            f"the estimator says that it found no solution / in which a sigma is at its bound or a component has fewer "
            f"than {FEW_ROWS:g} rows. Where moments finds no solution it hands out the nearest mixture, which counts "
            f"in the other columns like any other.",
            honesty(pairs),
            "### Likelihood and time",
            f"*Near*: per cent of the catalogs with all weights within {NEAR[0]:g} and all means and sigmas within "
            f"{NEAR[1]:g} of the truth. *Deficit*: median of the nats by which the mixture is less likely than em's. "
            f"*ms*: median milliseconds of a fit on one thread.",
            cost(pairs),
            "### Three components",
            f"Weights {_list(THREE.weights)}, means {_list(THREE.means)}, sigmas {_list(THREE.sigmas)}; columns as "
            f"above.",
            accuracy(three),
            honesty(three),
            cost(three),
            "### Errors ignored",
            "Median estimates with the scatter of a single one, 10,000 rows. The truth is w1 = 0.6, mean 1 = 0, "
            "mean 2 = d, sigma 1 = 1, sigma 2 = 0.7.",
            parameters(
                select(result, "ignored"), lambda case: [case["errors"], f"{distance(case):g}"], ["errors", "d"]
            ),
            "### Contaminants, unequal errors, and a cut on errors",
            f"d = 3 but for the last. *Contaminated*: {100 * CONTAMINATION:g} % of the rows are uniform over a range "
            f"that reaches {MARGIN:g} beyond either mean; all estimators are told two components, and `em, background` "
            f"a uniform background beside them (weights are then shares of the components). *Unequal errors*: rows of "
            f"the first component have a median error of {UNEQUAL_ERRORS[0]:g}, those of the second "
            f"{UNEQUAL_ERRORS[1]:g}. *Cut*: d = 5, large errors, and only rows with errors below {CUT:g}, 63 % of all.",
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
