"""From a file of up to 10^8 rows to the tables of a fit: ``python -m benchmarks.scale STEP FILE``.

Each step runs in a process of its own. Files are made in the folder that MIXPIPE_SCRATCH names, or in a temporary one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import memory, number, table

TITLE = "From a file to tables, up to 10^8 rows"
# Format, rows, columns: pairs of values and errors, of which the first is fitted.
RUNS = (
    ("fits", 100_000, 2),
    ("fits", 1_000_000, 2),
    ("fits", 10_000_000, 2),
    ("fits", 100_000_000, 2),
    ("fits", 1_000_000, 20),
    ("fits", 10_000_000, 20),
    ("parquet", 1_000_000, 2),
    ("parquet", 10_000_000, 2),
    ("parquet", 100_000_000, 2),
    ("parquet", 10_000_000, 20),
)
MAX_COMPONENTS = 10
_CHUNK = 1_000_000
# Up to this many rows scikit-learn is waited for.
_PEER_ROWS = 1_000_000


def _chunks(n_data: int, n_columns: int) -> Iterator[dict[str, np.ndarray]]:
    """Columns x0, x0_error, x1, ...: the three overlapping components of `benchmarks.simulate`, shifted."""
    from benchmarks.simulate import OVERLAP

    for start in range(0, n_data, _CHUNK):
        rng = np.random.default_rng([41, start])
        n_rows = min(_CHUNK, n_data - start)
        columns = {}
        for k in range(n_columns // 2):
            err = 0.4 * np.exp(0.5 * rng.standard_normal(n_rows))
            columns[f"x{k}"] = k + OVERLAP.sample(n_rows, rng) + err * rng.standard_normal(n_rows)
            columns[f"x{k}_error"] = err
        yield columns


def make(path: Path, n_data: int, n_columns: int) -> None:
    """Write the file, a piece at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from astropy.io import fits

    first = next(_chunks(1, n_columns))
    if path.suffix == ".parquet":
        schema = pa.schema([(name, pa.float64()) for name in first])
        with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
            for columns in _chunks(n_data, n_columns):
                writer.write_table(pa.table(columns, schema=schema))
        return
    header = fits.BinTableHDU.from_columns([fits.Column(name, "D", array=np.zeros(0)) for name in first]).header
    header["NAXIS2"] = n_data
    with path.open("wb") as stream:
        stream.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
        stream.write(header.tostring().encode("ascii"))
        for columns in _chunks(n_data, n_columns):
            stream.write(np.column_stack(list(columns.values())).astype(">f8").tobytes())
        stream.write(b"\0" * (-(8 * n_columns * n_data) % 2880))


def read_with_astropy(path: Path) -> dict[str, float]:
    """Seconds to have the two columns as native doubles: the shorter of two times."""
    from astropy.io import fits
    from astropy.table import Table

    times = []
    for _ in range(2):
        start = time.perf_counter()
        if path.suffix == ".parquet":
            data = Table.read(path, include_names=["x0", "x0_error"])
            columns = [np.array(data[name], dtype=np.float64) for name in ("x0", "x0_error")]
        else:
            with fits.open(path) as hdus:
                columns = [np.array(hdus[1].data[name], dtype=np.float64) for name in ("x0", "x0_error")]
        times.append(time.perf_counter() - start)
        del columns
    return {"seconds": min(times), "peak": memory("VmHWM")}


def fit(path: Path) -> dict[str, Any]:
    """Seconds of each stage from the file to the tables, in a process whose compiled code is loaded."""
    import mixpipe
    from mixpipe.assess.effort import Effort
    from mixpipe.catalog.reading import read_blocks
    from mixpipe.config.settings import ColumnSettings
    from mixpipe.fitting.gaussian.row_likelihood import RowLikelihood
    from mixpipe.model import rows
    from mixpipe.pipeline.fit import fit_tables, write_fit
    from mixpipe.pipeline.plan.texts import FitPlan

    warm = np.linspace(-1.0, 1.0, 30_000) ** 3
    mixpipe.choose_n_components(warm, 0.1, max_components=2)
    spent: dict[str, float] = {"reading and sketching": 0.0, "passes over the rows": 0.0}

    def timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            start = time.perf_counter()
            result = function(*args)
            spent[stage] += time.perf_counter() - start
            return result

        return run

    rows.Rows.survey = timed(rows.Rows.survey, "reading and sketching")  # type: ignore[method-assign]
    rows.Rows.sketch = timed(rows.Rows.sketch, "reading and sketching")  # type: ignore[method-assign]
    likelihood = RowLikelihood
    likelihood.component_sums = timed(likelihood.component_sums, "passes over the rows")  # type: ignore[method-assign]
    column = ColumnSettings("x0", "x0", "x0_error", max_components=MAX_COMPONENTS, estimators=("em",))
    plan = FitPlan("scale", "", ((str(path), ""),), {}, None, None, column, "bic", Effort(quality_draws=99), "")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        fitted = fit_tables(lambda: read_blocks(path, ["x0", "x0_error"]), plan, place=f"in {path}")
        searched = time.perf_counter()
        paths = {name: Path(folder) / name for name in ("components", "selection", "estimators", "intervals", "fit")}
        write_fit(paths, plan, [], fitted)
        end = time.perf_counter()
    rest = searched - start - sum(spent.values())
    return {
        **spent,
        "search and quality": rest,
        "tables": end - searched,
        "seconds": end - start,
        "peak": memory("VmHWM"),
        "n_components": fitted.outcome.fit.n_components,
        "exact": bool(fitted.outcome.fit.exact),
    }


def ingest(path: Path) -> dict[str, float]:
    """Seconds to read all columns once and write them as the workflow does."""
    from mixpipe.catalog.reading import read_blocks
    from mixpipe.catalog.store import write_blocks

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        start = time.perf_counter()
        write_blocks(read_blocks(path), Path(folder) / "columns.parquet")
        return {"seconds": time.perf_counter() - start, "peak": memory("VmHWM")}


def peer(path: Path) -> dict[str, float]:
    """Seconds of scikit-learn's M = 1 to 10 on the values, without errors, reading not counted."""
    from astropy.io import fits

    from benchmarks import peers
    from benchmarks.measure import seconds

    with fits.open(path) as hdus:
        x = np.array(hdus[1].data["x0"], dtype=np.float64)
    return {"seconds": sum(seconds(lambda m=m: peers.sklearn_fit(x, m, 0)) for m in range(1, MAX_COMPONENTS + 1))}


# Surveys to plan for: rows, files, columns to fit, bytes of a row in the files as published, all columns in it.
SURVEYS = (
    ("Gaia DR3, as published", 1.812e9, 3386, 7, 1000.0),
    ("Gaia DR4, with 2.5 billion rows", 2.5e9, 4700, 20, 1500.0),
    ("Rubin, objects after ten years", 3.7e10, 37_000, 50, 2000.0),
)
_BATCH_BYTES = 1 << 29


def plan(result: dict[str, Any]) -> str:
    """Markdown: jobs, core hours and bytes of large surveys, from the constants of the largest runs."""

    def largest(kind: str) -> dict[str, Any]:
        return max((row for row in result["rows"] if row["format"] == kind), key=lambda row: row["n_data"])

    stored, read = largest("parquet"), max(result["rows"], key=lambda row: row["bytes"] / row["ingest"]["seconds"])
    cores = 2.0
    per_row = cores * (stored["fit"]["seconds"] - stored["fit"]["tables"]) / stored["n_data"]
    per_byte = cores * read["ingest"]["seconds"] / read["bytes"]
    body = []
    for name, n_rows, n_files, n_columns, row_bytes in SURVEYS:
        total = n_rows * row_bytes
        kept = n_rows * n_columns * 16.0
        n_jobs = min(n_files, max(1.0, total / _BATCH_BYTES))
        body.append(
            [
                name,
                f"{n_rows:.2g}",
                f"{n_files:,}",
                n_columns,
                f"{n_jobs:,.0f} + {n_columns}",
                number(total * per_byte / 3600.0),
                number(n_rows * per_row / 3600.0),
                number(n_rows * n_columns * per_row / 3600.0),
                number(kept / 1e12),
                "2 to 6 MB",
            ]
        )
    header = ["survey", "rows", "files", "columns", "jobs (ingest + fits)", "ingest / core hours"]
    header += ["one column / core hours", "all / core hours", "kept columns / TB", "sketch of a column"]
    return "\n\n".join(
        [
            f"From {1e9 * per_byte:.2g} core seconds for a GB that is read once, and {1e9 * per_row:.2g} core "
            f"nanoseconds for a row in all passes of a fit ({stored['n_data']:,} rows of Parquet):",
            table(header, body),
        ]
    )


# The command of a user, and the most memory that it had.
_COMMAND = """
import sys
from mixpipe.__main__ import main
try:
    main()
finally:
    from benchmarks.measure import memory
    print(memory("VmHWM"), file=sys.stderr)
"""


def command(path: Path) -> dict[str, float]:
    """Seconds and memory of `mixpipe fit` as a user runs it, with the start of Python: the shorter of two times."""
    times, peak = [], 0.0
    for _ in range(2):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, "fit", str(path), "--value", "x0", "--error", "x0_error"],
            check=True,
            capture_output=True,
            text=True,
        )
        times.append(time.perf_counter() - start)
        peak = max(peak, float(done.stderr.split()[-1]))
    return {"seconds": min(times), "peak": peak}


STEPS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "astropy": read_with_astropy,
    "fit": fit,
    "command": command,
    "ingest": ingest,
    "scikit-learn": peer,
}


def _scratch() -> Path:
    folder = Path(os.environ.get("MIXPIPE_SCRATCH", tempfile.gettempdir())) / "mixpipe_scale"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(step: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.scale", step, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    return json.loads(done.stdout)


def measure() -> dict[str, Any]:
    """All runs; the files are removed afterwards."""
    rows = []
    for kind, n_data, n_columns in RUNS:
        path = _scratch() / f"{n_data}_{n_columns}.{kind}"
        make(path, n_data, n_columns)
        try:
            row = {"format": kind, "n_data": n_data, "n_columns": n_columns, "bytes": path.stat().st_size}
            row["astropy"] = _run("astropy", path)
            row["fit"] = min((_run("fit", path) for _ in range(2)), key=lambda run: run["seconds"])
            row["command"] = _run("command", path)
            row["ingest"] = _run("ingest", path)
            wanted = kind == "fits" and n_columns == 2 and n_data <= _PEER_ROWS
            row["scikit-learn"] = _run("scikit-learn", path) if wanted else None
        finally:
            path.unlink()
        rows.append(row)
        print(row, flush=True)
    return {"rows": rows}


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Seconds of whole commands in units of those in which Astropy reads the columns, for ten million rows and more."""
    return {
        f"{row['format']}, {row['n_data']:,} rows": row["command"]["seconds"] / row["astropy"]["seconds"]
        for row in result["rows"]
        if row["n_data"] >= 10_000_000 and row["n_columns"] == 2 and "command" in row
    }


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    stages = ("reading and sketching", "search and quality", "passes over the rows", "tables")
    body = []
    for row in result["rows"]:
        fitted, astropy, other = row["fit"], row["astropy"], row["scikit-learn"]
        body.append(
            [
                row["format"],
                f"{row['n_data']:,}",
                row["n_columns"],
                number(astropy["seconds"]),
                *(number(fitted[stage]) for stage in stages),
                number(fitted["seconds"]),
                number(fitted["seconds"] / astropy["seconds"]),
                number(None if other is None else other["seconds"] / fitted["seconds"]),
                f"{fitted['peak']:.0f}",
                number(row["command"]["seconds"] if "command" in row else None),
                f"{row['command']['peak']:.0f}" if "command" in row else number(None),
                number(row["ingest"]["seconds"]),
            ]
        )
    header = ["format", "rows", "columns", "Astropy / s", *(f"{stage} / s" for stage in stages)]
    header += ["all / s", "all / Astropy", "scikit-learn / all", "peak / MB", "command / s", "peak / MB", "ingest / s"]
    return "\n\n".join(
        [
            f"Choosing M in 1 to {MAX_COMPONENTS} for one column, from the file to components.csv, selection.csv, "
            f"intervals.csv and fit.json (quality with p-values; without members.parquet, which is larger than the "
            f"catalog), in a process whose compiled code is loaded. *Astropy*: its reading of the same two columns "
            f"into native doubles, from a file in the page cache. *Peak*: largest resident memory of the process, "
            f"libraries and compiled code included. *Command*: `mixpipe fit FILE --value x0 --error x0_error` from the "
            f"start of Python to its end, and its largest resident memory. *Ingest*: reading all columns once and "
            f"writing the Parquet file that the workflow keeps. scikit-learn: M = 1 to {MAX_COMPONENTS} without "
            f"errors, reading not counted.",
            table(header, body),
            "### Surveys",
            plan(result),
        ]
    )


if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](Path(sys.argv[2]))))
