"""Jobs in the queue of Slurm that a run of a folder of results has left there.

The plugin gives all jobs of a run one name, which holds a random number of 122 bits. A run notes this name in its
results before it submits anything; only jobs of a noted name are ever cancelled.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mixpipe.base.files import OWN, write_file
from mixpipe.pipeline.folder import BusyError, identity

_NOTE = f"{OWN}/slurm_runs"
_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,50}_)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CANCEL_SECONDS = 120
_ANSWER_SECONDS = 60

# The job that this process runs in. Snakemake's plugin takes it out of the environment.
_SELF = os.environ.get("SLURM_JOB_ID")


class _NoAnswer(Exception):
    """Slurm does not say which jobs there are."""


def record_run(results: Path, name: str) -> None:
    """Note the name of the jobs of a run.

    Parameters
    ----------
    results : Path
        The folder of results.
    name : str
        The name.
    """
    _write(results, [*_recorded(results), name])


def forget_run(results: Path, name: str) -> None:
    """Take the name out again, when the run has come to its end: its jobs have, too."""
    _write(results, [other for other in _recorded(results) if other != name])


def cancel_left(results: Path) -> None:
    """Cancel the jobs of runs before, if they were killed and have left some.

    Parameters
    ----------
    results : Path
        The folder of results.

    Raises
    ------
    BusyError
        If they do not end.
    """
    names = _recorded(results)
    if not names:
        return
    try:
        _cancel(",".join(names))
    except _NoAnswer as error:
        left = f"jobs of a run that was killed ({', '.join(names)}) may still be at work"
        print(f"mixpipe: Slurm does not answer ({error}): {left}", file=sys.stderr)
    else:
        _write(results, [])


def _recorded(results: Path) -> list[str]:
    try:
        lines = (results / _NOTE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    # A copy of the folder has the notes of another one's runs.
    here, notes = identity(results), (line.split(" ", 1) for line in lines)
    return [note[1] for note in notes if note[0] == here and _NAME.fullmatch(note[-1])]


def _write(results: Path, names: list[str]) -> None:
    text = "".join(f"{identity(results)} {name}\n" for name in names)
    if text:
        write_file(results / _NOTE, lambda path: path.write_text(text, encoding="utf-8"))
    else:
        (results / _NOTE).unlink(missing_ok=True)


def _cancel(names: str) -> None:
    jobs = _jobs(names)
    if jobs:
        print(f"mixpipe: cancelling {len(jobs)} jobs of a run that was killed", file=sys.stderr)
        _ask("scancel", *jobs)
    end = time.monotonic() + _CANCEL_SECONDS
    while jobs:
        if time.monotonic() > end:
            where = f"in the queue of Slurm: {' '.join(jobs)}"
            raise BusyError("jobs of a run that was killed do not end", where, "cancelled jobs: scancel --signal=KILL")
        time.sleep(1)
        jobs = _jobs(names)


def _jobs(names: str) -> list[str]:
    """Numbers of the jobs of some names."""
    numbers = _ask("squeue", "--noheader", f"--name={names}", "--format=%A").split()
    return [number for number in numbers if number != _SELF]


def _ask(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        raise _NoAnswer(f"there is no {program} here")
    try:
        done = subprocess.run(  # noqa: S603
            [program, *arguments], capture_output=True, text=True, check=False, timeout=_ANSWER_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise _NoAnswer(f"{program} took more than {_ANSWER_SECONDS} s") from error
    if done.returncode != 0:
        raise _NoAnswer(f"{program}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no word'}")
    return done.stdout
