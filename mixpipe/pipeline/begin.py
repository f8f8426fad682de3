"""What comes before the first job of a run: one run at a time, and nothing left of one that was killed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from mixpipe.base.caches import is_kept_beside_package
from mixpipe.base.files import OWN, is_temporary
from mixpipe.config.settings import Config
from mixpipe.pipeline.execution import adapt_executors, submitted_as, tell_failures
from mixpipe.pipeline.folder import find_others, identity, lock_file, lock_results, own_files, tell_others
from mixpipe.pipeline.queue import cancel_left, forget_run, record_run
from mixpipe.results.provenance import kernels_hash


def claim_results(results: Path) -> None:
    """Make sure that this run is the only one in its results, before it is planned; compiled code may be kept there.

    Where the package cannot be written to, all jobs share the kernels that are kept with the results, and none needs a
    home folder. Those of a copied folder are not taken: they are code.

    Parameters
    ----------
    results : Path
        The folder of results.

    Raises
    ------
    MixpipeError
        If another run is at work in it, or it cannot be written.
    """
    lock_results(results)
    if not is_kept_beside_package():
        kernels = results / OWN / "kernels" / f"{kernels_hash()}-{identity(results)}"
        os.environ.setdefault("NUMBA_CACHE_DIR", str(kernels.resolve()))


def begin_run(config: Config, scheduler: Any) -> None:
    """Clear up after a run that was killed, and say what else is in the folder of results.

    Jobs that a killed run left in Slurm are cancelled, since they would be done twice at once; files that it left
    half-written are removed.

    Parameters
    ----------
    config : Config
        The configuration.
    scheduler : snakemake.scheduling.job_scheduler.JobScheduler
        What will submit the jobs.

    Raises
    ------
    BusyError
        If another run is at work in the folder, or jobs of a former one cannot be cancelled.
    """
    results = config.results
    others = find_others(config)
    if others:
        print(f"mixpipe: {tell_others(others, results)}", file=sys.stderr)
    lock_results(results)
    cancel_left(results)
    for path in own_files(config):
        if is_temporary(path):
            path.unlink(missing_ok=True)
    adapt_executors(scheduler, lock_file(results).stat().st_mtime)
    name = submitted_as(scheduler)
    if name is not None:
        record_run(results, name)


def end_run(config: Config, scheduler: Any) -> list[str]:
    """Close a run whose jobs have all come to their end.

    Returns
    -------
    list of str
        Why jobs have failed, a line for each reason.
    """
    name = submitted_as(scheduler)
    if name is not None:
        forget_run(config.results, name)
    return tell_failures(scheduler)
