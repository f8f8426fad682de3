"""How a script of the workflow runs its stage: output to the job's log, errors in one line."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mixpipe.errors import CatalogError, MixpipeError


def each(task: Callable[..., None], common: Mapping[str, Any], **lists: Sequence[Any]) -> None:
    """A stage for several columns, one after the other; those that can be done are, whatever the others.

    Parameters
    ----------
    task : callable
        A stage, for one column.
    common : mapping
        Its arguments that are the same for all.
    **lists
        Those that each column has of its own.

    Raises
    ------
    CatalogError
        At the end, with all that is wrong.
    """
    problems = []
    for values in zip(*lists.values(), strict=True):
        try:
            task(**common, **dict(zip(lists, values, strict=True)))
        except MixpipeError as error:
            problems.append(error)
            print(f"mixpipe: error: {error}")
    if len(problems) == 1:
        raise problems[0]
    if problems:
        first = problems[0]
        raise CatalogError(f"{len(problems)} columns fail, the first: {first.what}", first.where, first.expected)


def run_job(log: str, stage: Callable[..., None], **values: Any) -> None:
    """Call a stage with everything that it prints going to the job's log.

    A mistake that the user can mend ends the log and the terminal with ``mixpipe: error: ...``, without a
    traceback; any other error with its traceback. Both end the process.

    Parameters
    ----------
    log : str
        The log file.
    stage : callable
        A function of this package.
    **values
        Its arguments.
    """
    message = ""
    with (
        Path(log).open("w", encoding="utf-8") as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        try:
            stage(**values)
        except MixpipeError as error:
            message = f"mixpipe: error: {error}\n"
        except Exception:
            message = traceback.format_exc()
        stream.write(message)
    if message:
        sys.stderr.write(message)
        sys.exit(1)
