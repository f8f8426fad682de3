"""What a run says about its jobs: records as Snakemake makes them, and the lines that are printed."""

import logging
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

from mixpipe.cli import jobs
from mixpipe.cli.jobs import LogHandler, register


def record(message: str = "", level: int = logging.INFO, **entry) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelno": level, "levelname": logging.getLevelName(level), **entry})


def begun(jobid: int, message: str | None) -> logging.LogRecord:
    return record(event=LogEvent.JOB_INFO, jobid=jobid, rule_msg=message, rule_name="fit")


def failed(jobid: int) -> logging.LogRecord:
    return record(level=logging.ERROR, event=LogEvent.JOB_ERROR, jobid=jobid, rule_name="fit", log=["logs/fit.log"])


@pytest.fixture
def handler() -> LogHandler:
    handler = LogHandler(SimpleNamespace(dryrun=False, show_failed_logs=False), None)
    handler.handle(record(event=LogEvent.RUN_INFO, stats={"fit": 11, "all": 1, "total": 12}))
    return handler


def said(capsys) -> list[str]:
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()


def test_snakemake_knows_the_plugin():
    assert LoggerPluginRegistry().get_plugin(register("mixpipe", jobs)).log_handler is LogHandler


def test_a_line_for_each_job_and_none_for_the_target(handler, capsys):
    for job, message in ((4, "reading stars 2018"), (7, "fitting stars 2018 mass"), (0, None)):
        handler.handle(begun(job, message))
        handler.handle(record(event=LogEvent.PROGRESS, done=1, total=12))
        handler.handle(record(f"Finished jobid: {job} (Rule: fit)", event=LogEvent.JOB_FINISHED))
    handler.handle(record("Select jobs to execute..."))
    assert said(capsys) == ["[ 1/11] reading stars 2018", "[ 2/11] fitting stars 2018 mass"]


def test_a_job_that_is_done_again_keeps_the_count(handler, capsys):
    for job in (4, 4, 5):
        handler.handle(begun(job, f"fitting {job}"))
    assert [line.split("]")[0] for line in said(capsys)] == ["[ 1/11", "[ 1/11", "[ 2/11"]


def test_a_failed_job_is_named_with_its_log(handler, capsys):
    handler.handle(begun(7, "fitting stars 2018 mass"))
    # The job has printed its own error.
    command = "CalledProcessError in file fit.smk, line 60:\nCommand 'x' returned non-zero exit status 1."
    handler.handle(record(f"RuleException:\n{command}", logging.ERROR, event=LogEvent.ERROR))
    handler.handle(failed(7))
    handler.handle(record("Exiting because a job execution failed. Look above for error messages", logging.ERROR))
    handler.handle(record("WorkflowError:\nAt least one job did not complete successfully.", logging.ERROR))
    assert said(capsys)[1:] == ["mixpipe: failed: fitting stars 2018 mass; its log: logs/fit.log"]


def test_an_interrupted_run_says_so_once(handler, capsys):
    handler.handle(begun(7, "fitting stars 2018 mass"))
    interrupted = "RuleException:\nCalledProcessError in file fit.smk:\nCommand 'x' died with <Signals.SIGINT: 2>."
    for job in (7, 8):
        handler.handle(record(interrupted, logging.ERROR, event=LogEvent.ERROR))
        handler.handle(failed(job))
    what = "mixpipe: interrupted; what is done is kept, and the same command goes on from there"
    assert said(capsys)[1:] == [what]


def test_what_a_job_cannot_say_itself_is_said(handler, capsys):
    killed = "RuleException:\nCalledProcessError in file fit.smk:\nCommand 'x' died with <Signals.SIGKILL: 9>."
    for message in (killed, "WorkflowError:\nno space left", "LockException:\nlocked"):
        handler.handle(record(message, logging.ERROR, event=LogEvent.ERROR))
    text = "\n".join(said(capsys))
    assert all(words in text for words in ("SIGKILL", "no space left", "locked"))


def test_logs_of_failed_jobs_are_shown_where_asked_for(tmp_path, capsys):
    log = tmp_path / "fit.log"
    log.write_text("mixpipe: error: no row can be used\n", encoding="utf-8")
    handler = LogHandler(SimpleNamespace(dryrun=False, show_failed_logs=True), None)
    handler.handle(record(level=logging.ERROR, event=LogEvent.JOB_ERROR, jobid=1, rule_name="fit", log=[str(log)]))
    assert "mixpipe: error: no row can be used" in said(capsys)


def test_of_a_job_on_a_cluster_the_last_line_of_its_log_is_said(tmp_path, capsys):
    """Its own words are in a file there; of jobs that were submitted together only those that failed are told."""
    log, other = tmp_path / "fit.log", tmp_path / "figures.log"
    log.write_text("rule fit\nmixpipe: error: no row can be used\n", encoding="utf-8")
    handler = LogHandler(SimpleNamespace(dryrun=False, show_failed_logs=True), None)
    submitted = {"rule_name": "fit", "aux": {"external_jobid": "7"}}
    jobs = [{**submitted, "jobid": 1, "log": [str(log)]}, {**submitted, "jobid": 2, "log": [str(other)]}]
    entry = {"event": LogEvent.GROUP_ERROR, "job_error_info": jobs, "aux_logs": ["slurm_logs/7.log"]}
    handler.handle(record(level=logging.ERROR, **entry))
    for job in jobs:
        handler.handle(record(level=logging.ERROR, event=LogEvent.JOB_ERROR, indent=True, **job))
    assert said(capsys) == [
        f"mixpipe: failed: fit; its log: {log}, slurm_logs/7.log",
        "mixpipe: error: no row can be used",
    ]


@pytest.mark.parametrize(
    ("message", "said_of_it"),
    [
        (
            "Traceback (most recent call last):\n\n  File x\n\n"
            "OSError: [Errno 30] Read-only file system: 'results/logs'\n",
            "Read-only file system, in results/logs, expected files and folders that can be read and written",
        ),
        (
            'WorkflowError in rule ingest in file "x", line 9:\nOSError: Missing files after 5 seconds. '
            "This might be due to filesystem latency. If that is the case, consider to increase the wait time with "
            "--latency-wait:\n"
            "a b.csv (missing locally, parent dir not present)\n",
            "a b.csv is missing, since the run was planned, expected it to stay until the end",
        ),
    ],
)
def test_what_ends_snakemake_is_said_in_one_line(handler, capsys, message, said_of_it):
    handler.handle(record(message, level=logging.ERROR))
    assert said(capsys) == [f"mixpipe: error: {said_of_it}"]


def test_a_dry_run_goes_to_standard_output(capsys):
    handler = LogHandler(SimpleNamespace(dryrun=True, show_failed_logs=False), None)
    handler.handle(record(event=LogEvent.RUN_INFO, stats={"fit": 1, "total": 1}))
    handler.handle(begun(1, "fitting"))
    assert capsys.readouterr() == ("[1/1] fitting\n", "")
