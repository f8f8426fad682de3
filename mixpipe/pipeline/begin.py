"""What comes before the first job of a run: one run at a time, and nothing left of one that was killed."""

from __future__ import annotations

import os
import sys
from typing import Any

from mixpipe.config import Config
from mixpipe.files import is_temporary
from mixpipe.pipeline.execution import adapt_executors
from mixpipe.pipeline.folder import find_others, identity, lock_file, lock_results, own_files, tell_others
from mixpipe.pipeline.queue import cancel_left, record_run
from mixpipe.provenance import OWN, PACKAGE, kernels_hash


def begin_run(config: Config, scheduler: Any) -> None:
    """Make sure that this run is the only one in its results, and clear up after one that was killed.

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
    # Where the package cannot be written to, compiled kernels are kept with the results: all jobs share them, and none
    # needs a home folder. They are code: those of a copied folder are not taken.
    if not os.access(PACKAGE / "kernels", os.W_OK):
        kernels = results / OWN / "kernels" / f"{kernels_hash()}-{identity(results)}"
        os.environ.setdefault("NUMBA_CACHE_DIR", str(kernels.resolve()))
    submitted_as = adapt_executors(scheduler, lock_file(results).stat().st_mtime)
    if submitted_as is not None:
        record_run(results, submitted_as)
