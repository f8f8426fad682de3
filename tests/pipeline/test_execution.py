"""What is changed about Snakemake's executors, on those of the versions that are installed."""

import asyncio
import errno
import logging
import time
from types import SimpleNamespace

import pytest

from mixpipe.base.errors import CatalogError
from mixpipe.pipeline.execution import adapt_executors, submitted_as, tell_failures
from mixpipe.pipeline.job import is_final, last_error, run_job

slurm = pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install 'mixpipe[slurm]'")


@pytest.fixture
def executor(monkeypatch):
    """The plugin's, without threads and without a scheduler to ask."""
    settings = SimpleNamespace(no_account=True, init_seconds_before_status_checks=2)
    made = slurm.Executor.__new__(slurm.Executor)
    made.workflow = SimpleNamespace(executor_settings=settings)
    made.logger = logging.getLogger("test")
    made.run_uuid = "mixpipe_1"
    made._fallback_account_arg = None
    monkeypatch.setattr(slurm, "get_account", lambda logger: "guessed")
    monkeypatch.setattr(slurm, "validate_account", lambda account, logger: account)
    return made


def adapt(executor) -> SimpleNamespace:
    scheduler = SimpleNamespace(_executor=executor, _local_executor=None, failed=set())
    adapt_executors(scheduler, 0.0)
    return scheduler


def job(**resources) -> SimpleNamespace:
    class Resources(dict):
        __getattr__ = dict.__getitem__

    return SimpleNamespace(resources=Resources(resources))


def test_no_account_is_looked_for_where_the_profile_says_so(executor):
    adapt(executor)
    assert next(executor.get_account_arg(job())) == ""
    assert next(executor.get_account_arg(job(slurm_account="stars"))) == " -A stars"


def test_the_plugin_guesses_one_where_it_does_not(executor):
    executor.workflow.executor_settings.no_account = False
    adapt(executor)
    assert next(executor.get_account_arg(job())) == " -A guessed"


def test_slurm_is_asked_once_a_minute_at_least(executor, monkeypatch):
    now, waits = [0.0], []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    adapt(executor)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    for seconds in (0, 50, 600, 3000, 86400):
        now[0] = seconds
        asyncio.run(executor.sleep())
    assert waits == [2, 2, 12, 60, 60]
    # A longer interval is that of the profile.
    executor.workflow.executor_settings.init_seconds_before_status_checks = 90
    adapt(executor)
    asyncio.run(executor.sleep())
    assert waits[-1] == 90


def test_the_plugin_waits_by_the_method_that_is_replaced():
    assert "sleep" in slurm.Executor._wait_for_jobs.__code__.co_names
    assert "additional_general_args" in slurm.Executor.format_job_exec.__code__.co_names


def test_snakemake_is_started_once_in_a_job(executor):
    scheduler = adapt(executor)
    assert executor.additional_general_args() == "--executor local"
    assert submitted_as(scheduler) == "mixpipe_1"
    assert submitted_as(SimpleNamespace(_executor=SimpleNamespace())) is None


def test_a_reason_is_told_once(tmp_path):
    logs = [tmp_path / name for name in ("a.log", "b.log", "c.log", "d.log")]
    for log in logs[:2]:
        log.write_text("Another attempt would end in the same way.\nmixpipe: error: no rows, in t.csv, expected some\n")
    logs[2].write_text("rule fit. If it failed and says no more, it was killed\n")
    failed = [SimpleNamespace(jobid=place, log=[str(log)], input=[]) for place, log in enumerate(logs[:3])]
    failed.append(SimpleNamespace(jobid=3, log=[str(logs[3])], input=[str(tmp_path / "gone.csv")]))
    assert tell_failures(SimpleNamespace(failed=failed)) == [
        "mixpipe: error: no rows, in t.csv, expected some",
        f"mixpipe: error: a job ended without a word, in {logs[2]}, "
        "expected more memory: the first line of its log has the setting",
        f"mixpipe: error: {tmp_path}/gone.csv is missing, since the run was planned, expected it to stay until the end",
    ]


def test_an_exception_is_no_lack_of_memory(tmp_path):
    log = tmp_path / "a.log"
    trace = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    1 / 0\nZeroDivisionError: by zero\n'
    log.write_text(
        f"rule fit. If it failed and says no more, it was killed\n{trace}\nThe above\n\n{trace}Shutting down\n"
    )
    failed = [SimpleNamespace(jobid=0, log=[str(log)], input=[])]
    assert tell_failures(SimpleNamespace(failed=failed)) == [
        f"mixpipe: error: a job ended with an exception (ZeroDivisionError: by zero), in {log}, "
        "expected none: please report this with that log"
    ]


@pytest.mark.parametrize(
    ("error", "text", "final"),
    [
        (CatalogError("no column '\x1b[2J\n'", "in t.csv", "x"), r"no column '\x1b[2J\n', in t.csv, expected x", True),
        (PermissionError(errno.EACCES, "Permission denied", "out"), "Permission denied, in out, expected files", True),
        (FileNotFoundError(errno.ENOENT, "No such file", "t.csv"), "No such file, in t.csv, expected a file", False),
        (MemoryError(), "not enough memory (MemoryError), in rule fit with mem_mb=5", False),
        (OSError(errno.EIO, "Input/output error", "t.csv"), None, False),
        (ZeroDivisionError("division by zero"), None, False),
    ],
)
def test_what_would_end_in_the_same_way(tmp_path, monkeypatch, error, text, final):
    """A log in which the last line says why, on one line, and the one before whether to try again."""
    # These stay as they are in the process of the tests.
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("gc.set_threshold", lambda *_: None)
    log = tmp_path / "fit.log"
    job = SimpleNamespace(log=[str(log)], rule="fit", resources=SimpleNamespace(mem_mb=5, runtime=1))

    def stage():
        raise error

    with pytest.raises(SystemExit):
        run_job(job, stage)
    told = last_error(log)
    assert (told is None) == (text is None)
    assert told is None or told.startswith(f"mixpipe: error: {text}")
    assert is_final(log, 0.0) == final
