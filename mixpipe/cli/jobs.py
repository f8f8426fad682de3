"""What a run says: a line for each job, in the words of its rule. A logger plugin of Snakemake."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import show_logs
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent, logger_plugin_module_prefix
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

from mixpipe.base.interrupts import mark_told, received
from mixpipe.pipeline.job import last_error

# What Snakemake adds where a job has said itself why it fails, and at the end.
_KNOWN = re.compile(
    r"RuleException:\nCalledProcessError.* exit status 1\.|Exiting because a job |Job failed, going on |"
    r"WorkflowError:\nAt least one job ",
    re.DOTALL,
)
# What is counted beside the jobs that do something: their sum, and what can be asked for by name.
_NO_JOBS = ("total", "all", "fits", "figures", "members", "comparisons")
# How it ends where a file is not there any more, a while after the beginning of its job.
_MISSING = re.compile(r"WorkflowError .*Missing files after \d+ seconds.*?:\n(?P<where>[^\n]+?) \(.*", re.DOTALL)
# How Snakemake ends where it cannot write its own files, or those of a job.
_REFUSED = re.compile(r"Traceback .*\w*Error: \[Errno \d+\] (?P<why>[^:]+): '(?P<where>.+)'\s*", re.DOTALL)
# How a job ends on Ctrl-C.
_INTERRUPTED = "died with <Signals.SIGINT"


def register(name: str, module: ModuleType) -> str:
    """Make a module with a `LogHandler` known to Snakemake as a plugin, without a distribution of its own.

    Parameters
    ----------
    name : str
        Of the plugin.
    module : module
        The one.

    Returns
    -------
    str
        The name that ``--logger`` takes.
    """
    LoggerPluginRegistry().register_plugin(f"{logger_plugin_module_prefix}{name.replace('-', '_')}", module)
    return name


class LogHandler(LogHandlerBase):
    """Says which jobs begin and which fail; all else that Snakemake says is in its own log."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = False
    needs_rulegraph = False
    # Whether the last run in this process had nothing to do.
    was_idle = False

    def __post_init__(self) -> None:
        self._begun: dict[int, str] = {}
        self._n_jobs = 0
        self._interrupted = False

    def emit(self, record: logging.LogRecord) -> None:
        """Print what there is to say, if anything."""
        text = self._text(record)
        stream = sys.stdout if self.common_settings.dryrun else sys.stderr
        if text:
            # Whoever reads it may have seen enough.
            with contextlib.suppress(BrokenPipeError):
                print(text, file=stream, flush=True)

    def _text(self, record: logging.LogRecord) -> str:
        event, entry = getattr(record, "event", None), record.__dict__
        if received():  # which the command says at its end
            return ""
        # A target itself is a job to Snakemake, without a message.
        if event == LogEvent.RUN_INFO:
            self._n_jobs = sum(n for rule, n in entry["stats"].items() if rule not in _NO_JOBS)
        elif event == LogEvent.JOB_INFO and entry["rule_msg"]:
            self._begun[entry["jobid"]] = entry["rule_msg"]
            number = list(self._begun).index(entry["jobid"]) + 1
            return f"[{number:{len(str(self._n_jobs))}}/{self._n_jobs}] {entry['rule_msg']}"
        elif event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            # Of jobs that were submitted together each follows by itself, those that have ended well, too.
            return "" if self._interrupted or entry.get("indent") else "\n".join(self._failed(entry))
        elif _INTERRUPTED in record.getMessage():
            first, self._interrupted = not self._interrupted, True
            mark_told()
            return (
                "mixpipe: interrupted; what is done is kept, and the same command goes on from there" if first else ""
            )
        elif missing := _MISSING.match(record.getMessage()):
            what = f"{missing['where']} is missing, since the run was planned"
            return f"mixpipe: error: {what}, expected it to stay until the end"
        elif refused := _REFUSED.fullmatch(record.getMessage()):
            expected = "files and folders that can be read and written"
            return f"mixpipe: error: {refused['why']}, in {refused['where']}, expected {expected}"
        elif record.levelno >= logging.WARNING and not _KNOWN.match(record.getMessage()):
            return self.format(record)
        elif record.getMessage() == NOTHING_TO_BE_DONE_MSG:
            LogHandler.was_idle = True
            return NOTHING_TO_BE_DONE_MSG
        return ""

    def _failed(self, entry: dict[str, Any]) -> Iterator[str]:
        """Which job has failed; and why, if that has not been said: a job on a cluster says it in its log alone."""
        jobs = entry.get("job_error_info", [entry])
        errors = {job["jobid"]: next(filter(None, map(last_error, map(Path, job["log"]))), None) for job in jobs}
        told = any(errors.values())
        for job in jobs:
            if told and errors[job["jobid"]] is None:
                continue
            what = self._begun.get(job["jobid"], job["rule_name"])
            yield f"mixpipe: failed: {what}; its log: {', '.join([*job['log'], *entry.get('aux_logs', [])])}"
            if told and "external_jobid" in (job.get("aux") or {}):
                yield str(errors[job["jobid"]])
            elif self.common_settings.show_failed_logs:
                yield from show_logs(job["log"])
