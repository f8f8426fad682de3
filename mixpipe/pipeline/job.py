"""How a script of the workflow runs its stage: output to the job's log, errors in one line."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixpipe.errors import MixpipeError


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
