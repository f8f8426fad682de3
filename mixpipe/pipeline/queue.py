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

from mixpipe.files import write_file
from mixpipe.pipeline.folder import BusyError, identity
from mixpipe.provenance import OWN

_NOTE = f"{OWN}/slurm_run"
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
    # A copy of the folder has the note of another one's run.
    text = f"{identity(results)} {name}\n"
    write_file(results / _NOTE, lambda path: path.write_text(text, encoding="utf-8"))


def cancel_left(results: Path) -> None:
    """Cancel the jobs of the run before, if it was killed and has left some.

    Parameters
    ----------
    results : Path
        The folder of results.

    Raises
    ------
    BusyError
        If they do not end.
    """
    name = _recorded(results)
    if name is None:
        return
    try:
        _cancel(name)
    except _NoAnswer as error:
        print(
            f"mixpipe: Slurm does not answer ({error}): jobs of the run before, {name}, may still be at work",
            file=sys.stderr,
        )
        return
    (results / _NOTE).unlink()


def _recorded(results: Path) -> str | None:
    try:
        words = (results / _NOTE).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return words[1] if len(words) == 2 and words[0] == identity(results) and _NAME.fullmatch(words[1]) else None


def _cancel(name: str) -> None:
    jobs = _jobs(name)
    if jobs:
        print(f"mixpipe: cancelling {len(jobs)} jobs of a run that was killed", file=sys.stderr)
        _ask("scancel", *jobs)
    end = time.monotonic() + _CANCEL_SECONDS
    while jobs:
        if time.monotonic() > end:
            where = f"in the queue of Slurm: {' '.join(jobs)}"
            raise BusyError("jobs of a run that was killed do not end", where, "cancelled jobs: scancel --signal=KILL")
        time.sleep(1)
        jobs = _jobs(name)


def _jobs(name: str) -> list[str]:
    """Numbers of the jobs of a name."""
    numbers = _ask("squeue", "--noheader", "--me", f"--name={name}", "--format=%A").split()
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
