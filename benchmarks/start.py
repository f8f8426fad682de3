"""What it costs to start: a fit of few rows right after an installation and later, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import number, table

TITLE = "The first fit after an installation"
ROOT = Path(__file__).parents[1]
REPEATS = 3
_MIXPIPE = "from mixpipe.cli import main; main()"
_FIT = ("fit", str(ROOT / "config" / "demo" / "neutron_stars_2018.csv"), "--value", "mass")
_FIT += ("--error", "mass_err_up,mass_err_lo", "--json")
# What is run, with the code of each process and its arguments.
RUNS = {
    "first `mixpipe fit`": (_MIXPIPE, _FIT),
    "`mixpipe fit`": (_MIXPIPE, _FIT),
    "`mixpipe --help`": (_MIXPIPE, ("--help",)),
    "`import astropy.table`": ("import astropy.table", ()),
    "`import sklearn.mixture`": ("import sklearn.mixture", ()),
    "`import astropy.table, sklearn.mixture`": ("import astropy.table, sklearn.mixture", ()),
}
_FIRST = next(iter(RUNS))


def measure() -> dict[str, Any]:
    """Processor seconds, user and system, of each run: the least of several."""
    with tempfile.TemporaryDirectory() as folder:
        # Bytecode is written at an installation, or by the first process; kernels are compiled by the first fit.
        bytecode = Path(folder) / "bytecode"
        for code, arguments in list(RUNS.values())[1:]:
            _processor_seconds(code, arguments, bytecode, Path(folder) / "kernels")
        rows = {
            name: min(
                _processor_seconds(
                    code, arguments, bytecode, Path(folder) / (f"fresh_{repeat}" if name == _FIRST else "kernels")
                )
                for repeat in range(REPEATS)
            )
            for name, (code, arguments) in RUNS.items()
        }
    return {"rows": rows}


def _processor_seconds(code: str, arguments: tuple[str, ...], bytecode: Path, kernels: Path) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPYCACHEPREFIX": str(bytecode), "NUMBA_CACHE_DIR": str(kernels)}
    command = [sys.executable, "-c", code, *arguments]
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=ROOT)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Processor seconds in units of those of importing Astropy's tables and scikit-learn."""
    *own, both = (result["rows"][name] for name in (_FIRST, "`mixpipe fit`", list(RUNS)[-1]))
    return {name: seconds / both for name, seconds in zip((_FIRST, "`mixpipe fit`"), own, strict=True)}


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    rows = result["rows"]
    both = rows["`import astropy.table, sklearn.mixture`"]
    body = [[name, number(seconds), number(seconds / both)] for name, seconds in rows.items()]
    return "\n\n".join(
        [
            f"Processor seconds, user and system, of whole processes, the least of {REPEATS}. The fit is that of the "
            f"{_n_rows()} neutron stars of the demo with 1 to 10 components. The first one compiles the kernels that "
            f"it needs; later ones load them.",
            table(["process", "seconds", "of importing both"], body),
        ]
    )


def _n_rows() -> int:
    return len(Path(_FIT[1]).read_text(encoding="utf-8").splitlines()) - 1
