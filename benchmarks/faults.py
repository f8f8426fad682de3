"""The demo, killed at random moments: what is left is whole, and the same command again completes it.

    python -m benchmarks.faults [MOMENTS]

In turn Snakemake alone, one of its jobs, and all processes at once are killed with -9, at moments that are spread over
the time that the run takes. Exit status 1 if anything is found.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.measure import table
from tests.cluster.project import Project, demo, kill, without_times

KINDS = ("Snakemake alone", "one job", "the whole group")
START = ("default", "--cores", "2")
# A run that takes longer hangs.
SECONDS = 600


@dataclass(frozen=True)
class Outcome:
    """What came of one moment.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    seconds : float
        After the start of the run.
    n_jobs : int
        Jobs that were at work.
    n_temporary : int
        Temporary files that were left by what was killed.
    n_whole : int
        Results that were there, each the same as those of an undisturbed run.
    half : tuple of str
        Those that were not.
    finished : bool
        Whether one plain rerun ended well.
    different : tuple of str
        Results after it that are not those of an undisturbed run, or are missing, or should not be there.
    """

    kind: str
    seconds: float
    n_jobs: int
    n_temporary: int
    n_whole: int
    half: tuple[str, ...]
    finished: bool
    different: tuple[str, ...]


def small_demo(folder: Path) -> Project:
    """Two releases of a column, with few components: all rules, and little work."""
    project = demo(folder)
    path = folder / "mine.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["settings"]["max_components"] = 2
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return project


def outcomes(project: Project, n_moments: int, seed: int = 1) -> Iterator[Outcome]:
    """Kill a run at each of some moments, and complete it.

    Parameters
    ----------
    project : Project
        Without results.
    n_moments : int
        One in each of so many equal parts of the time of an undisturbed run.
    seed : int
        Where in its part a moment is, and which job is killed.
    """
    begin = time.monotonic()
    project.finish(project.start(*START))
    duration = time.monotonic() - begin
    undisturbed = project.results()
    rng = np.random.default_rng(seed)
    for place, part in enumerate(rng.permutation(n_moments)):
        moment = (part + rng.random()) / n_moments * duration
        outcome = None
        while outcome is None:
            _remove_results(project)
            outcome = _outcome(project, undisturbed, KINDS[place % len(KINDS)], moment, rng)
            # The run was over: the machine was faster this time.
            moment *= 0.8
        yield outcome


def _remove_results(project: Project) -> None:
    for name in ("results", ".snakemake"):
        shutil.rmtree(project.folder / name, ignore_errors=True)


def _outcome(
    project: Project, undisturbed: dict[str, bytes], kind: str, moment: float, rng: np.random.Generator
) -> Outcome | None:
    """What came of a kill; None if the run ended before it."""
    begin = time.monotonic()
    run = project.start(*START)
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(moment)
    at_work = jobs_at_work(run.pid)
    while kind == "one job" and not at_work and run.poll() is None:
        time.sleep(0.05)
        at_work = jobs_at_work(run.pid)
    seconds = time.monotonic() - begin
    if run.poll() is not None:
        return None
    # What is to be killed may end at this moment.
    with contextlib.suppress(ProcessLookupError):
        if kind == "the whole group":
            kill(run)
        elif kind == "one job":
            os.kill(int(rng.choice(at_work)), signal.SIGKILL)
        else:
            run.kill()
    if run.wait(SECONDS) == 0:
        return None
    results = project.folder / "results"
    files = [path for path in results.rglob("*") if path.is_file()]
    there = {path.relative_to(results).as_posix(): path for path in files if not path.name.startswith(".")}
    kept = {name: path for name, path in there.items() if name.split("/")[0] not in {"logs", "benchmarks", ".mixpipe"}}
    half = tuple(name for name, path in kept.items() if without_times(path) != undisturbed.get(name))
    # Jobs that have lost their Snakemake are still at work, on the same files.
    status = project.start(*START).wait(SECONDS)
    while jobs_at_work(run.pid):
        time.sleep(0.1)
    final = project.results()
    return Outcome(
        kind,
        seconds,
        len(at_work),
        sum(path.name.startswith(".") for path in files),
        len(kept) - len(half),
        half,
        status == 0,
        tuple(sorted(name for name in final.keys() | undisturbed if final.get(name) != undisturbed.get(name))),
    )


def jobs_at_work(group: int) -> list[int]:
    """Numbers of the processes in a group that are scripts of the workflow."""
    found = []
    for entry in Path("/proc").iterdir():
        # Processes come and go.
        with contextlib.suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            is_script = any(word.endswith(b".py") and b"/.snakemake/scripts/" in word for word in words[1:])
            if b"python" in words[0] and is_script and os.getpgid(int(entry.name)) == group:
                found.append(int(entry.name))
    return sorted(found)


def page(found: list[Outcome]) -> str:
    """A table of what came of all moments."""
    rows: list[tuple] = []
    for kind in KINDS:
        mine = [outcome for outcome in found if outcome.kind == kind]
        numbers = (
            len(mine),
            sum(outcome.n_jobs > 0 for outcome in mine),
            sum(outcome.n_temporary for outcome in mine),
            sum(outcome.n_whole for outcome in mine),
            sum(len(outcome.half) for outcome in mine),
            sum(not outcome.finished for outcome in mine),
            sum(len(outcome.different) for outcome in mine),
        )
        rows.append((kind, *numbers))
    rows.append(("all", *(sum(row[place] for row in rows) for place in range(1, len(rows[0])))))
    header = ("killed", "moments", "with jobs at work", "temporary files left", "results there and whole", "half")
    return table((*header, "reruns that failed", "results that differ after them"), rows)


def main(n_moments: int) -> int:
    """Print what comes of each moment, then a table."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        project = small_demo(Path(name) / "project")
        for outcome in outcomes(project, n_moments):
            found.append(outcome)
            print(f"{len(found)} of {n_moments}: {outcome}", flush=True)
            if not outcome.finished or outcome.different:
                print(project.said(), flush=True)
    print(page(found))
    return int(any(outcome.half or outcome.different or not outcome.finished for outcome in found))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
