"""What Snakemake does otherwise in a run of mixpipe. All that reaches into it and its plugin for Slurm is here."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snakemake.script import PythonScript

from mixpipe.base.interrupts import received, told
from mixpipe.pipeline.job import is_final, last_error, last_exception

# The plugin lets its interval grow to three minutes, in which what is behind a job that has ended waits. Slurm is asked
# after so much of the time that the run has taken, and once a minute at least.
_SHARE = 0.02
_LONGEST_SECONDS = 60
# At the beginning of a script. The module `signal` would import others first.
_SILENTLY = """import _signal

_signal.signal(_signal.SIGINT, _signal.SIG_DFL)
_signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGINT})
"""
# How the output of a column is named by wildcards.
_COLUMN = ("catalog", "release", "column")


def share_jobs(rule: Any, jobs: Mapping[tuple[str, ...], Sequence[tuple[str, ...]]]) -> None:
    """Let a job of a rule make the files of several columns.

    To Snakemake a job has the files that the wildcards of its rule name, and a second job has other wildcards. Here the
    wildcards are those of the first column of a job, and the job has the files of all its columns. So there is one
    rule, with one name for all settings, whatever the number of columns.

    Parameters
    ----------
    rule : snakemake.rules.Rule
        A rule with the wildcards ``catalog``, ``release`` and ``column`` in output and log.
    jobs : mapping
        The columns that each column shares its job with, itself among them, in order. A column is catalog, release
        and name.
    """
    produces, match = rule.is_producer, rule.get_wildcards
    expand_output, expand_log = rule.expand_output, rule.expand_log

    def names_of(wildcards: Mapping[str, str]) -> Sequence[tuple[str, ...]]:
        return jobs.get(tuple(wildcards[name] for name in _COLUMN), ())

    def columns_of(wildcards: Mapping[str, str]) -> list[dict[str, str]]:
        return [dict(zip(_COLUMN, column, strict=True)) for column in names_of(wildcards)]

    def is_producer(file: str) -> bool:
        return produces(file) and bool(names_of(match(file)))

    def get_wildcards(file: str, wildcards_dict: dict[str, str] | None = None) -> dict[str, str]:
        return dict(zip(_COLUMN, names_of(match(file, wildcards_dict))[0], strict=True))

    def expand_all_output(wildcards: Mapping[str, str]) -> tuple[Any, dict[Any, Any]]:
        columns = columns_of(wildcards)
        outputs, patterns = zip(*map(expand_output, columns), strict=True)
        for column, output in zip(columns, outputs, strict=True):
            for file in output:
                _flag(file, column["column"], shared=len(columns) > 1)
        return _gathered(outputs), {file: pattern for each in patterns for file, pattern in each.items()}

    def expand_all_logs(wildcards: Mapping[str, str]) -> Any:
        return _gathered([expand_log(column) for column in columns_of(wildcards)])

    rule.is_producer, rule.get_wildcards = is_producer, get_wildcards
    rule.expand_output, rule.expand_log = expand_all_output, expand_all_logs


def end_silently() -> None:
    """Let scripts of mixpipe end without a traceback on Ctrl-C while they import; afterwards, `run_job` cares.

    The signal is blocked until Python has started, which also ends with a traceback, and is then delivered.
    """
    preamble, execute = PythonScript.get_preamble, PythonScript.execute_script

    def get_preamble(script: Any) -> str:
        return (_SILENTLY if _is_ours(script) else "") + preamble(script)

    def execute_script(script: Any, *args: Any, **options: Any) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT} if _is_ours(script) else ())
        try:
            execute(script, *args, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    PythonScript.get_preamble, PythonScript.execute_script = get_preamble, execute_script


def _is_ours(script: Any) -> bool:
    return "mixpipe.pipeline" in str(script.source)


def _flag(file: Any, column: str, *, shared: bool) -> None:
    """Say of a file whose it is, for Snakemake's own report; and that it stays until a job for several writes it."""
    about = file.flags.get("report")
    if about is not None:
        labels = {name: label.replace("{column}", column) for name, label in about.labels.items()}
        file.flags["report"] = about._replace(labels=labels)
    if shared:
        file.flags["update"] = True


def _gathered(parts: Sequence[Any]) -> Any:
    """The files of several columns as one list, those of one name together."""
    gathered = type(parts[0])()
    names = list(parts[0]._get_names()) or [(None, (0, len(parts[0])))]
    for name, (begin, end) in names:
        first = len(gathered)
        gathered.extend(file for part in parts for file in part[begin : end or begin + 1])
        if name is not None:
            gathered._set_name(name, first, end=len(gathered))
    return gathered


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


@contextmanager
def make_again(files: Iterable[str]) -> Iterator[None]:
    """Let Snakemake make files again where a run needs them; its own option would make targets of them, too.

    Snakemake knows from records of its own what has changed. Without them, as with results that were copied, it takes
    all that is there for up to date.

    Parameters
    ----------
    files : iterable of str
        Files that are not as they would be made now.
    """
    # It cannot be imported in front of Snakemake's command line, with which it forms a circle.
    from snakemake.dag import DAG

    begin, again = DAG.__init__, frozenset(files)

    def __init__(dag: Any, *args: Any, **options: Any) -> None:
        begin(dag, *args, **options)
        dag.forcefiles.update(again)

    DAG.__init__ = __init__
    try:
        yield
    finally:
        DAG.__init__ = begin


def submitted_as(scheduler: Any) -> str | None:
    """The name that the jobs of a run have in Slurm; none if they are not submitted there."""
    submits = type(scheduler._executor).__module__ == "snakemake_executor_plugin_slurm"
    return str(scheduler._executor.run_uuid) if submits else None


def tell_failures(scheduler: Any) -> list[str]:
    """Why the jobs of a run have failed, a line for each reason: the end of what a run says, unless that was Ctrl-C."""
    if received() or told():
        return []
    failed = sorted((job for job in scheduler.failed), key=lambda job: job.jobid)
    return list(dict.fromkeys(map(_reason, failed)))


def _reason(job: Any) -> str:
    logs = [Path(log) for log in job.log]
    error = next(filter(None, map(last_error, logs)), None)
    missing = _missing(job)
    exception = next(filter(None, map(last_exception, logs)), None)
    if error is not None:
        return error
    elif exception is not None:
        what = f"a job ended with an exception ({exception}), in {', '.join(map(str, logs))}"
        expected = "none: please report this with that log"
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
