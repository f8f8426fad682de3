"""What comes before the first job of a run: one run at a time in a folder, and nothing left of one that was killed."""

from __future__ import annotations

import fcntl
import getpass
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mixpipe.errors import MixpipeError

# The names of this workflow's jobs in a scheduler: slurm-jobname-prefix in workflow/profiles/slurm.
JOB_NAME = "mixpipe"
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}(\.[^.]+)?")
_CANCEL_SECONDS = 120


class BusyError(MixpipeError):
    """Another run, or what is left of one, is at work."""


def begin_run(folder: Path, results: Path) -> None:
    """Make sure that this run is the only one in a folder, and clear up after one that was killed.

    Unlike those of Snakemake the lock goes with the process that holds it, however that ends. Jobs that a killed run
    left in Slurm are cancelled, since they would be done twice at once; files that it left half-written are removed.

    Parameters
    ----------
    folder : Path
        The working folder of the run.
    results : Path
        The results folder.

    Raises
    ------
    BusyError
        If another run is at work in the folder, or jobs of a former one cannot be cancelled.
    """
    _lock(folder / ".snakemake" / "mixpipe.lock")
    _cancel_jobs(folder)
    for path in results.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _lock(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    # Open until the process ends.
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError("another run is at work", f"in {path.parent.parent.resolve()}", "one run at a time") from error
    except OSError:
        print("mixpipe: this file system has no locks: do not start two runs in one folder", file=sys.stderr)


def _cancel_jobs(folder: Path) -> None:
    if shutil.which("squeue") is None:
        return
    jobs = _jobs(folder)
    if jobs:
        print(f"mixpipe: cancelling {len(jobs)} jobs of a run that was killed", file=sys.stderr)
        subprocess.run(["scancel", *jobs], check=False)  # noqa: S603, S607
    end = time.monotonic() + _CANCEL_SECONDS
    while jobs:
        if time.monotonic() > end:
            where = f"in the queue of Slurm: {' '.join(jobs)}"
            raise BusyError("jobs of a run that was killed do not end", where, "cancelled jobs: scancel --signal=KILL")
        time.sleep(1)
        jobs = _jobs(folder)


def _jobs(folder: Path) -> list[str]:
    """Numbers of this user's jobs in Slurm that belong to runs in a folder; none where Slurm does not answer."""
    command = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%j|%Z"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
    rows = (line.split("|", 2) for line in answer.splitlines())
    here = os.path.realpath(folder)
    return [row[0] for row in rows if row[1].startswith(JOB_NAME) and os.path.realpath(row[2]) == here]
