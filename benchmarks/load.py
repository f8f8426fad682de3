"""A thousand columns in three releases as one workflow: what Snakemake needs before, and behind, the work itself.

    python -m benchmarks.load [COLUMNS]

Tiny tables in a folder that is removed afterwards. Measured are a dry run of everything, and a run with nothing to do,
before which results are made up: empty files, and Snakemake is told that they are up to date. What is printed is the
table of docs/reliability.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from benchmarks.measure import table

ROOT = Path(__file__).resolve().parents[1]
RELEASES = 3
N_ROWS = 20


def make(folder: Path, n_columns: int) -> None:
    """Catalogs and a configuration."""
    names = [f"c{number}" for number in range(n_columns)]
    rng = np.random.default_rng(1)
    for release in range(RELEASES):
        rows = rng.normal(size=(N_ROWS, n_columns)).round(3).tolist()
        lines = [",".join(names), *(",".join(map(str, row)) for row in rows)]
        (folder / f"r{release}.csv").write_text("\n".join([*lines, ""]))
    catalog = {
        "releases": {f"r{release}": f"r{release}.csv" for release in range(RELEASES)},
        "columns": {name: {"max_components": 1, "estimators": ["em"]} for name in names},
    }
    run = {"catalogs": {"stars": catalog}, "settings": {"quality_draws": 0}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(run, sort_keys=False))


def snakemake(folder: Path, *arguments: str) -> tuple[list[str], str]:
    """Seconds, those of a core, and memory, in words; and what was said."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile")]
    command += ["--configfile", "mine.yaml", "--cores", "2", *arguments]
    start = time.perf_counter()
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            command, cwd=folder, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    text = (folder / "said").read_text()
    if status:
        raise RuntimeError(text[-4000:])
    cpu = usage.ru_utime + usage.ru_stime
    return [f"{seconds:.0f}", f"{cpu:.0f}", f"{usage.ru_maxrss / 1024:.0f} MB"], text


def main(n_columns: int) -> None:
    """Print a table with a row for each measurement."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, n_columns)
        planned, text = snakemake(folder, "--dry-run", "--quiet", "rules")
        size = [n_columns, _jobs(text)]
        pretend(folder, snakemake(folder, "--summary")[1])
        idle, text = snakemake(folder, "--quiet", "rules")
        if "Nothing to be done" not in text:
            raise RuntimeError(text[-4000:])
    rows = [("dry run of everything", *size, *planned), ("run with nothing to do", *size, *idle)]
    print(table(["", "columns", "jobs", "seconds", "of a core", "memory"], rows))


def pretend(folder: Path, text: str) -> None:
    """Leave what a run leaves: what was ingested, and empty files that Snakemake takes for results."""
    outputs = re.findall(r"^(results/\S+)\t", text, flags=re.MULTILINE)
    ingested = [output for output in outputs if "/ingest/" in output]
    if not ingested:
        raise RuntimeError(text[-4000:])
    snakemake(folder, *ingested, "--quiet", "all")
    for output in outputs:
        path = folder / output
        path.parent.mkdir(parents=True, exist_ok=True)
        if output not in ingested:
            path.touch()
    snakemake(folder, "--touch", "--quiet", "all")


def _jobs(text: str) -> str:
    found = re.search(r"^total\s+(\d+)", text, flags=re.MULTILINE)
    return found[1] if found else "?"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
