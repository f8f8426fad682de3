"""Best-of-several timing, memory, processes, the machine, and small pieces of Markdown."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from mixpipe.base.files import write_file

PACKAGES = ("numpy", "scipy", "numba", "scikit-learn", "astroML", "pygmmis")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

_Found = TypeVar("_Found")


def timed(task: Callable[[], _Found]) -> tuple[_Found, float]:
    """What a call returns, and its wall time."""
    start = time.perf_counter()
    found = task()
    return found, time.perf_counter() - start


def seconds(task: Callable[[], object]) -> float:
    """Wall time of one call."""
    return timed(task)[1]


def processor_seconds(task: Callable[[], object]) -> float:
    """Processor time of one call, which depends little on what else the machine does."""
    start = time.process_time()
    task()
    return time.process_time() - start


def best_of(repeats: int, task: Callable[[], object]) -> tuple[float, float]:
    """The shortest wall time of several calls, and the longest as a multiple of it."""
    times = [seconds(task) for _ in range(repeats)]
    return min(times), max(times) / min(times)


def processes() -> ProcessPoolExecutor:
    """A pool with a process for each core."""
    from mixpipe.base.threads import available_threads

    return ProcessPoolExecutor(available_threads(), mp_context=multiprocessing.get_context("spawn"))


def memory(field: str) -> float:
    """A field of /proc/self/status in megabytes.

    The kernel hands the high-water mark of getrusage down from the parent process; VmHWM belongs to this process alone.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(field)


def machine() -> dict[str, str]:
    """Processor, cores and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    found = {"processor": model, "cores": str(os.cpu_count()), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def between_marks(page: str, text: str) -> str:
    """A page with this text between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def number(value: float | str | None, digits: int = 3) -> str:
    """A number to so many significant digits, without an exponent where it is readable; text as it is."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        rounded = float(f"{value:.{digits}g}")
        return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:.{digits}g}"
    return f"{value:.1e}"
