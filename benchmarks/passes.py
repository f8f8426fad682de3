"""What one EM pass costs, per row and component."""

from __future__ import annotations

from typing import Any

from benchmarks import peers
from benchmarks.measure import best_of, number, table
from benchmarks.simulate import OVERLAP, overlap, ten_components
from mixpipe.base.threads import available_threads
from mixpipe.fitting.gaussian.likelihood import Likelihood
from mixpipe.model.cells import Cells

TITLE = "One pass over the data"
SIZES = (100_000, 1_000_000)
# The compiled reference code of extreme deconvolution, measured elsewhere; the other columns are of this run.
REFERENCE_XD = 270.0
# astroML inverts one matrix per row and component in Python; pygmmis takes minutes at the largest size.
ASTROML_ROWS = 100_000
PYGMMIS_PRODUCT = 3_000_000


def measure() -> dict[str, Any]:
    """Nanoseconds per row and component."""
    found = []
    for n_data in SIZES:
        x, err = overlap(n_data)
        for start in (OVERLAP, ten_components()):
            for single in (True, False):
                found.append(_measure(x, err, start, single))
    return {"threads": available_threads(), "rows": found}


def _measure(x: Any, err: Any, start: Any, single: bool) -> dict[str, Any]:
    product = x.size * start.n_components
    likelihood = Likelihood(Cells.from_rows(x, err), 1 if single else None)
    params = likelihood.scaled(start)
    row: dict[str, Any] = {"n_data": x.size, "n_components": start.n_components, "single": single}
    for name, task in (("sums", likelihood.sums), ("derivatives", likelihood.derivatives)):
        task(params)
        row[name] = best_of(10, lambda task=task: task(params))[0] / product * 1e9
    with peers.one_thread(single):
        tasks = {"sklearn": lambda: peers.sklearn_pass(x, start, 3)}
        if product <= PYGMMIS_PRODUCT:
            tasks["pygmmis"] = lambda: peers.pygmmis_pass(x, err, start, 2)
        # Its loop over the rows is Python: there are no threads to compare.
        if x.size <= ASTROML_ROWS and single:
            tasks["astroml"] = lambda: peers.astroml_pass(x, err, start)
        for name, task in tasks.items():
            time = peers.attempt(task)
            row[name] = time if isinstance(time, str) else time / product * 1e9
    return row


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Nanoseconds in units of scikit-learn's."""
    return {
        f"{row['n_data']:,} rows, M = {row['n_components']}, {'one thread' if row['single'] else 'all threads'}": (
            row["derivatives"] / row["sklearn"]
        )
        for row in result["rows"]
        if isinstance(row.get("sklearn"), float)
    }


def page(result: dict[str, Any]) -> str:
    """Markdown."""

    def ratio(row: dict[str, Any], peer: str) -> str:
        return number(row[peer] / row["sums"]) if isinstance(row.get(peer), float) else "–"

    body = [
        [
            f"{row['n_data']:,}",
            row["n_components"],
            1 if row["single"] else "as used",
            *(number(row.get(name)) for name in ("sums", "derivatives", "sklearn", "pygmmis", "astroml")),
            ratio(row, "sklearn"),
            ratio(row, "pygmmis"),
            ratio(row, "astroml"),
        ]
        for row in result["rows"]
    ]
    singles = [row for row in result["rows"] if row["single"]]
    least = min(row["sklearn"] / row["sums"] for row in singles if isinstance(row["sklearn"], float))
    slowest = max(row["sums"] for row in singles)
    return "\n\n".join(
        [
            "Nanoseconds per row and component, from the same start, best of several repeats. An EM pass of mixpipe "
            "gives the log-likelihood and all sums of an EM step; the Newton pass gives value, gradient and Hessian. "
            "scikit-learn ignores the errors; pygmmis and astroML use them.",
            table(
                [
                    *("rows", "M", "threads", "mixpipe EM", "mixpipe Newton", "scikit-learn", "pygmmis", "astroML"),
                    *("scikit-learn / EM", "pygmmis / EM", "astroML / EM"),
                ],
                body,
            ),
            f"On one thread an EM pass of scikit-learn costs at least {number(least)} times as much "
            f"({'reaches' if least >= 10 else 'does not reach'} 10). The compiled reference code of extreme "
            f"deconvolution took {REFERENCE_XD:g} ns on another machine, {number(REFERENCE_XD / slowest)} times the "
            f"slowest EM pass here ({'reaches' if REFERENCE_XD / slowest >= 50 else 'does not reach'} 50). A dash: "
            f"not run, because one measurement would take minutes, or because there are no threads to compare.",
        ]
    )
