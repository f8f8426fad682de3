"""What Snakemake does otherwise in a run of mixpipe. All that reaches into it and its plugin for Slurm is here."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from mixpipe.pipeline.job import is_final, last_error

# The plugin lets its interval grow to three minutes, in which what is behind a job that has ended waits. Slurm is asked
# after so much of the time that the run has taken, and once a minute at least.
_SHARE = 0.02
_LONGEST_SECONDS = 60


def adapt_executors(scheduler: Any, since: float) -> None:
    """Change what executes the jobs of a run.

    Mistakes that the user can mend are not tried again. With Slurm, jobs are asked after more often, no account is
    looked for where the profile says so, and Snakemake is started once a job instead of twice.

    Parameters
    ----------
    scheduler : snakemake.scheduling.job_scheduler.JobScheduler
        It has the executors.
    since : float
        When the run has begun, by the clock of the file system.
    """
    for executor in filter(None, (scheduler._executor, scheduler._local_executor)):
        _end_attempts(executor, since)
    if submitted_as(scheduler) is not None:
        _adapt_slurm(scheduler._executor)


def submitted_as(scheduler: Any) -> str | None:
    """The name that the jobs of a run have in Slurm; none if they are not submitted there."""
    submits = type(scheduler._executor).__module__ == "snakemake_executor_plugin_slurm"
    return str(scheduler._executor.run_uuid) if submits else None


def tell_failures(scheduler: Any) -> list[str]:
    """Why the jobs of a run have failed, a line for each reason: the end of what a run says."""
    failed = sorted((job for job in scheduler.failed), key=lambda job: job.jobid)
    return list(dict.fromkeys(line for job in failed for line in (_reason(job),) if line))


def _reason(job: Any) -> str:
    logs = [Path(log) for log in job.log]
    told = next(filter(None, map(last_error, logs)), None)
    missing = _missing(job)
    if told is not None:
        return told
    elif missing:
        what, expected = f"{missing[0]} is missing, since the run was planned", "it to stay until the end"
    else:
        what = f"a job ended without a word, in {', '.join(map(str, logs))}"
        expected = "more memory: the first line of its log has the setting"
    return f"mixpipe: error: {what}, expected {expected}"


def _missing(job: Any) -> list[str]:
    """What a job was to read and is not there; Snakemake does not begin such a job."""
    return [str(file) for file in job.input if not Path(file).exists()]


def _end_attempts(executor: Any, since: float) -> None:
    handle = executor.handle_job_error

    def handle_job_error(job: Any) -> None:
        handle(job)
        if _missing(job) or any(is_final(Path(log), since) for log in job.log):
            # Not by its setter: that forgets the resources, which are given back after this.
            job._attempt = max(job.attempt, job.restart_times + 1)

    executor.handle_job_error = handle_job_error


def _adapt_slurm(executor: Any) -> None:
    settings = executor.workflow.executor_settings
    if settings.no_account:
        # What the plugin would have guessed.
        executor._fallback_account_arg = ""
    first, begin = settings.init_seconds_before_status_checks, time.monotonic()

    async def sleep() -> None:
        await asyncio.sleep(max(first, min(_SHARE * (time.monotonic() - begin), _LONGEST_SECONDS)))

    executor.sleep = sleep
    # Jobs stay on one node: nothing is gained by steps within them, for each of which Snakemake starts once more.
    executor.additional_general_args = lambda: "--executor local"
