"""Many columns in three releases as one workflow, from nothing: where the seconds of a column go."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.measure import number, seconds, table
from mixpipe.model.mixture import Mixture

TITLE = "Many columns in three releases"
ROOT = Path(__file__).resolve().parents[1]
N_COLUMNS, N_RELEASES, N_ROWS, CORES = 60, 3, 1000, 2
_TRUTH = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7])


def make(folder: Path) -> None:
    """A catalog of two populations in each column, and a configuration with nothing but their names."""
    names = [f"c{number}" for number in range(N_COLUMNS)]
    for release in range(N_RELEASES):
        rng = np.random.default_rng([53, release])
        err = rng.uniform(0.1, 0.4, (N_ROWS, N_COLUMNS))
        values = _TRUTH.sample(err.size, rng).reshape(err.shape) + err * rng.standard_normal(err.shape)
        header = ",".join([*names, *(f"{name}_err" for name in names)])
        np.savetxt(folder / f"r{release}.csv", np.hstack([values, err]), "%.5f", ",", header=header, comments="")
    catalog = {
        "releases": {f"r{release}": f"r{release}.csv" for release in range(N_RELEASES)},
        "columns": {name: {"error": f"{name}_err"} for name in names},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump({"catalogs": {"stars": catalog}}, sort_keys=False))


def run(folder: Path) -> None:
    """The whole workflow."""
    command = [sys.executable, "-m", "mixpipe", "run", "--config", "mine.yaml", "--cores", str(CORES)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])


def measure() -> dict[str, Any]:
    """Seconds of the run, and for each rule its jobs and their seconds."""
    jobs: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        whole = seconds(lambda: run(folder))
        measured = folder / "results" / "benchmarks"
        for path in sorted(measured.rglob("*.tsv")):
            rule = path.relative_to(measured).parts[0].removesuffix(".tsv")
            with path.open() as stream:
                (row,) = csv.DictReader(stream, delimiter="\t")
            jobs[rule] += 1
            spent[rule] += float(row["s"])
    return {"seconds": whole, "rules": [[rule, jobs[rule], spent[rule]] for rule, _ in spent.most_common()]}


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    fits = N_COLUMNS * N_RELEASES
    inside = sum(spent for _, _, spent in result["rules"])
    between = CORES * result["seconds"] - inside
    body = [[rule, jobs, number(spent), number(spent / fits)] for rule, jobs, spent in result["rules"]]
    body.append(["Snakemake, and cores without a job", "", number(between), number(between / fits)])
    each = result["seconds"] / fits
    return "\n\n".join(
        [
            f"{N_COLUMNS} columns of {N_ROWS:,} rows with two populations in {N_RELEASES} releases, M = 1 to 10, with "
            f"all that a run writes by default: {number(result['seconds'])} s on {CORES} cores, {number(each)} s for "
            f"each column of a release. A thousand columns in three releases take {number(3000 * each / 60)} minutes "
            f"at this rate. Seconds are those of the jobs, each on one core; a job has the columns of ten.",
            table(["rule", "jobs", "s", "s for a column of a release"], body),
        ]
    )
