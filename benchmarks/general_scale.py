"""General problems from a file of up to 3 million rows: ``python -m benchmarks.general_scale KIND ROWS``.

Each run is in a process of its own. Files are made in the folder that MIXPIPE_SCRATCH names, or in a temporary one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import memory, number, table

TITLE = "General problems from a file, up to 3 · 10^6 rows"
SIZES = (100_000, 1_000_000, 3_000_000)
MAX_COMPONENTS = 3
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"value": "x"},
    "truncated": {"value": "x", "truncated": [-2.0, None]},
    "limits": {"value": "seen", "limit_flag": "flag"},
    "errors of two sides": {"value": "x", "error": ["upper", "lower"]},
    "lognormal": {"value": "far", "families": ["lognormal"]},
}
_CHUNK = 250_000


def make(path: Path, n_data: int) -> None:
    """Write three overlapping populations with all columns that the kinds need, a piece at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmarks.simulate import OVERLAP

    writer = None
    for start in range(0, n_data, _CHUNK):
        rng = np.random.default_rng([43, start])
        n_rows = min(_CHUNK, n_data - start)
        err = 0.4 * np.exp(0.5 * rng.standard_normal(n_rows))
        x = OVERLAP.sample(n_rows, rng) + err * rng.standard_normal(n_rows)
        flag = (rng.random(n_rows) < 0.2).astype(np.int8)
        columns = {"x": x, "x_error": err, "seen": x + flag, "flag": flag, "far": x + 20.0}
        columns |= {"lower": 0.7 * err, "upper": 1.3 * err}
        piece = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, piece.schema, compression="none", use_dictionary=False)
        writer.write_table(piece)
    if writer is not None:
        writer.close()


def _fit(kind: str, path: Path) -> dict[str, float]:
    """Processor seconds and megabytes from the file to all tables, and members, in this process."""
    from mixpipe.assess.effort import Effort
    from mixpipe.catalog.reading import read_blocks
    from mixpipe.catalog.required import required_columns
    from mixpipe.config.settings import parse_config
    from mixpipe.pipeline.fit import fit_tables, write_fit
    from mixpipe.pipeline.plan.texts import FIT_FILES, FitPlan

    keys = {"error": "x_error", "max_components": MAX_COMPONENTS, "estimators": ["em"], **KINDS[kind]}
    entry = {"releases": {"a": [str(path)]}, "columns": {"v": keys}}
    column = parse_config({"results": "r", "catalogs": {"c": entry}}).catalogs[0].columns[0]
    plan = FitPlan("c", "a", ((str(path), ""),), {}, None, None, column, "bic", Effort(quality_draws=99), "")
    needed = required_columns([column], None, None)
    with tempfile.TemporaryDirectory() as folder:
        # Compiled code is loaded before the count.
        warm = path.with_name("warm.parquet")
        fit_tables(lambda: read_blocks(warm, needed), plan, place="here")
        Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
        before, begun = memory("VmRSS"), time.process_time()
        fitted = fit_tables(lambda: read_blocks(path, needed), plan, place="here")
        write_fit({name: Path(folder) / name for name in FIT_FILES}, plan, [], fitted)
        spent = time.process_time() - begun
    found = fitted.outcome.fit
    return {
        "seconds": spent,
        "rise": memory("VmHWM") - before,
        "peak": memory("VmHWM"),
        "n_components": found.n_components,
        "loglik": found.loglik,
    }


def measure() -> list[dict[str, Any]]:
    """All runs; the files are removed afterwards."""
    folder = Path(os.environ.get("MIXPIPE_SCRATCH", tempfile.gettempdir())) / "mixpipe_general_scale"
    folder.mkdir(parents=True, exist_ok=True)
    make(folder / "warm.parquet", 5_000)
    found = []
    for n_data in SIZES:
        path = folder / f"{n_data}.parquet"
        make(path, n_data)
        try:
            for kind in KINDS:
                command = [sys.executable, "-m", "benchmarks.general_scale", kind, str(path)]
                done = subprocess.run(
                    command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
                )
                found.append({"kind": kind, "n_data": n_data, **json.loads(done.stdout)})
                print(found[-1], flush=True)
        finally:
            path.unlink()
    return found


def page(found: list[dict[str, Any]]) -> str:
    """The table."""
    plain = {entry["n_data"]: entry["seconds"] for entry in found if entry["kind"] == "plain"}
    lines = [
        [
            entry["kind"],
            f"{entry['n_data']:,}",
            str(entry["n_components"]),
            number(entry["seconds"]),
            number(entry["seconds"] / plain[entry["n_data"]]),
            f"{entry['rise']:.0f}",
            f"{entry['peak']:.0f}",
        ]
        for entry in found
    ]
    return (
        f"Choosing M in 1 to {MAX_COMPONENTS} for one column of a Parquet file, with all tables and members.parquet, "
        "in a process whose compiled code is loaded: processor time, and largest resident memory. *Rise*: what the fit "
        "adds to the process. Up to a million rows are held in memory; more are read in blocks. The ratio is to the "
        "line `plain` with as many rows: Gaussian components of values with one-sigma errors.\n\n"
        + table(["problem", "rows", "M chosen", "seconds", "ratio to plain", "rise / MB", "peak / MB"], lines)
    )


if __name__ == "__main__":
    print(json.dumps(_fit(sys.argv[1], Path(sys.argv[2]))))
