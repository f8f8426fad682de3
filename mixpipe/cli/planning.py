"""What a run would do: the jobs of a dry run of Snakemake, and its reasons. A logger plugin that writes them down."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from snakemake.cli import main
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from mixpipe.base.errors import ConfigError
from mixpipe.cli.jobs import register
from mixpipe.cli.place import Place
from mixpipe.cli.running import workflow_arguments
from mixpipe.pipeline.execution import make_again


@dataclass(frozen=True)
class Job:
    """A job that a run would do.

    Parameters
    ----------
    message : str
        What it is, in the words of its rule.
    inputs, outputs : tuple of str
        Files that it reads and makes.
    reason : str
        Why, in the words of Snakemake.
    """

    message: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reason: str


class LogHandler(LogHandlerBase):
    """Keeps the jobs that Snakemake tells of, and its errors."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    jobs: ClassVar[list[Job]] = []
    errors: ClassVar[list[str]] = []

    def __post_init__(self) -> None:
        """Begin with nothing: Snakemake makes one of these for each run."""
        self.jobs.clear()
        self.errors.clear()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        entry = record.__dict__
        # The target itself is a job to Snakemake, without a message.
        if entry.get("event") == LogEvent.JOB_INFO and entry["rule_msg"]:
            # Snakemake says of some what kind of file they are.
            outputs = tuple(name.removesuffix(" (update)") for name in entry["output"])
            self.jobs.append(Job(entry["rule_msg"], tuple(entry["input"]), outputs, entry["reason"]))
        elif record.levelno >= logging.ERROR:
            self.errors.append(record.getMessage())


def plan_jobs(place: Place, changed: Iterable[str]) -> list[Job]:
    """The jobs that a run of a configuration would do; nothing is run.

    Parameters
    ----------
    place : Place
        The configuration, in the folder that it is run in.
    changed : iterable of str
        A file of each result that is not as it plans them.

    Raises
    ------
    ConfigError
        If Snakemake cannot plan the run.
    """
    name = register("mixpipe-planning", sys.modules[__name__])
    with contextlib.redirect_stderr(io.StringIO()) as said, make_again(changed):
        try:
            main([*workflow_arguments(place), "--dry-run", f"--logger={name}"])
        except SystemExit as end:
            status = end.code
    if status:
        *_, told = "\n".join([said.getvalue(), *LogHandler.errors]).strip().splitlines()
        raise ConfigError(f"the run cannot be planned ({told})", f"in {place.path}", "what mixpipe run --dry-run takes")
    return list(LogHandler.jobs)
