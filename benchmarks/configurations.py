"""The configurations that `mixpipe init` writes for real catalogs, run to their end as they are.

    MIXPIPE_CATALOGS=... python -m benchmarks.configurations

What is printed is the table of docs/reliability.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmarks.measure import table

CATALOGS = (
    "neutron_stars/*.csv",
    "photoz/*.fits",
    "reference/overlap_1e4.csv",
    "local_volume/gc_harris_*.csv",
    "local_volume/dwarf_all_*.csv",
    "open_clusters/*.fits",
)
MIXPIPE = (sys.executable, "-c", "from mixpipe.cli import main; main()")


def run(folder: Path, *arguments: str) -> None:
    """A command of mixpipe, which has to succeed."""
    done = subprocess.run([*MIXPIPE, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])


def measure(catalogs: Path, pattern: str) -> list[object]:
    """A row of the table."""
    files = list(map(str, sorted(catalogs.glob(pattern))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, "init", *files, "--out", "mine.yaml")
        start = time.perf_counter()
        run(folder, "run", "--config", "mine.yaml", "--cores", "2")
        seconds = time.perf_counter() - start
        summary = pd.read_csv(folder / "results/summary.csv")
    n_rows = summary.groupby(["catalog", "release"])["n_data"].max().sum()
    return [pattern, len(files), f"{n_rows:,}", len(summary), f"{seconds:.0f}"]


def main() -> None:
    """Print a table with a row for each set of files."""
    catalogs = Path(os.environ["MIXPIPE_CATALOGS"])
    rows = [measure(catalogs, pattern) for pattern in CATALOGS]
    print(table(["files", "number", "rows used", "fits", "seconds on two cores"], rows))


if __name__ == "__main__":
    main()
