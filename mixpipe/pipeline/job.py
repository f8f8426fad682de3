"""How a script of the workflow runs its stage: output to the job's log, errors in one line."""

from __future__ import annotations

import contextlib
import errno
import gc
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mixpipe.base.errors import CatalogError, MixpipeError, OutputError, on_one_line
from mixpipe.base.frames import call_in_one_piece
from mixpipe.base.interrupts import received, watch_interrupts

# As for the command line: imports and figures leave some hundred thousand objects, which the garbage collector would
# otherwise look at again and again, for a tenth of the time of a figure.
_COLLECTED_AFTER = 50_000

_ERROR = "mixpipe: error: "
# In front of the last line of the log.
_FINAL = "Another attempt would end in the same way."
# What a file system may get over; on a network one a file may not be there yet.
_PASSING = {
    *(errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ENOENT),
    *(errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT),
}
# What it refuses, and what was expected.
_REFUSED = {
    errno.ENOENT: "a file that was there when the run was planned: start it again",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "files and folders that can be read and written"),
}


class _Terminated(BaseException):
    """SIGTERM, by which schedulers announce the end: what is half-written is removed on the way out."""


def each(task: Callable[..., None], logs: Sequence[str], common: Mapping[str, Any], **lists: Sequence[Any]) -> None:
    """A stage for the columns of a job, one after the other; those that can be done are, whatever the others.

    Parameters
    ----------
    task : callable
        A stage, for one column.
    logs : sequence of str
        The log of each column.
    common : mapping
        Its arguments that are the same for all.
    **lists
        Those that each column has of its own: one after the other, as many for each.

    Raises
    ------
    MixpipeError
        At the end, with all that is wrong.
    Exception
        At the end, the first one that is a mistake in the program, or comes from the machine.
    """
    problems: dict[str, Exception] = {}
    shares = [_shares(values, len(logs)) for values in lists.values()]
    for log, *values in zip(logs, *shares, strict=True):
        try:
            with _said_in(Path(log)):
                task(**common, **dict(zip(lists, values, strict=True)))
        except Exception as error:  # a mistake in the program, too, is one of this column only
            problems[log] = error
    if not problems:
        return
    if len(problems) > 1:
        for log, problem in problems.items():
            _append(Path(log), _told(problem))
    first = next((problem for problem in problems.values() if not isinstance(problem, MixpipeError)), None)
    first = first or next(iter(problems.values()))
    if len(problems) == 1 or not isinstance(first, MixpipeError):
        raise first
    raise CatalogError(f"{len(problems)} columns fail, the first: {first.what}", first.where, first.expected) from first


def _told(problem: BaseException) -> str:
    """A mistake that the user can mend in one line, any other with its traceback."""
    if isinstance(problem, MixpipeError):
        return f"{on_one_line(problem)}\n"
    return "".join(traceback.format_exception(problem))


def _shares(values: Sequence[Any], n_columns: int) -> list[Any]:
    """What belongs to each column: a value, or a list where there are several for each."""
    size, rest = divmod(len(values), n_columns)
    if rest or not size:
        raise ValueError(f"{len(values)} values for {n_columns} columns")
    return list(values) if size == 1 else [values[i : i + size] for i in range(0, len(values), size)]


@contextlib.contextmanager
def _said_in(log: Path) -> Iterator[None]:
    """All that is printed goes to a log, behind what is there."""
    with (
        log.open("a", encoding="utf-8") as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        yield


def _append(log: Path, text: str) -> None:
    with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as stream:
        stream.write(text)


def run_job(job: Any, stage: Callable[..., None], **values: Any) -> None:
    """Call a stage with everything that it prints going to the job's log.

    A mistake that the user can mend ends the log and the terminal with ``mixpipe: error: ...``, without a
    traceback, and so do the ends of memory, time and disk, with the setting to change; any other error with its
    traceback. All end the process. Of a job for several columns each has a log, and all logs end in this way.

    Parameters
    ----------
    job : snakemake.script.Snakemake
        What Snakemake tells a script of its job: rule, resources, log.
    stage : callable
        A function of this package.
    **values
        Its arguments.
    """
    logs = list(map(Path, job.log))
    gc.set_threshold(_COLLECTED_AFTER)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        for log in logs:
            # What is killed for its memory cannot say so. Also, a full disk has room for an error behind this line.
            begin = f"{_limits(job)}. If it failed and says no more, it was killed: {_more_memory(job)}\n"
            log.write_text(begin, encoding="utf-8")
        with watch_interrupts(), _said_in(logs[0]):
            call_in_one_piece(lambda: stage(**values))
    except (Exception, KeyboardInterrupt, _Terminated) as problem:
        error = KeyboardInterrupt() if received() else problem
        message, final = _explain(error, job)
        for log in logs:
            _append(log, f"{_FINAL}\n{message}" if final else message)
        if isinstance(error, KeyboardInterrupt):
            # As programs end on Ctrl-C, so that others see why.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        sys.stderr.write(message)
        sys.exit(1)


def _terminate(*_: object) -> NoReturn:
    # Once is enough.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated


def is_final(log: Path, since: float) -> bool:
    """Whether a job that has failed would fail again, by its log.

    Parameters
    ----------
    log : Path
        The log.
    since : float
        When the run has begun: an older log is none of this job's.
    """
    try:
        if log.stat().st_mtime < since:
            return False
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-2:-1] == [_FINAL]
    except OSError:
        return False


def last_error(log: Path) -> str | None:
    """The line in which a job says why it has failed; none where it could not."""
    try:
        *_, last = log.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    except OSError:
        return None
    return last if last.startswith(_ERROR) else None


def last_exception(log: Path) -> str | None:
    """The last line of the log of a job that ended with an exception that nothing explains."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    _, found, rest = text.rpartition("Traceback (most recent call last):")
    lines = [line for line in rest.splitlines() if line and not line[0].isspace()]
    return lines[0] if found and lines else None


def _explain(error: BaseException, job: Any) -> tuple[str, bool]:
    """What went wrong, and whether another attempt would end in the same way."""
    number = next((cause.errno for cause in _causes(error) if isinstance(cause, OSError)), None)
    lack = next((cause for cause in _causes(error) if isinstance(cause, MemoryError)), None)
    told = error if isinstance(error, MixpipeError) else None
    final = number not in _PASSING
    if isinstance(error, KeyboardInterrupt):
        told = MixpipeError("interrupted", f"in rule {job.rule}", "the same command again: what is done is kept")
    elif isinstance(error, _Terminated):
        expected = f"more time: --set-resources {job.rule}:runtime={2 * job.resources.runtime}"
        told = MixpipeError("terminated, by a limit on its time or by somebody", f"in {_limits(job)}", expected)
        final = False
    elif lack or number == errno.ENOMEM:
        reason = str(lack or error) or "MemoryError"
        told = MixpipeError(f"not enough memory ({reason})", f"in {_limits(job)}", _more_memory(job))
        final = False
    elif number in (errno.ENOSPC, errno.EDQUOT):
        what, where = (told.what, told.where) if told else (str(error), f"in {_limits(job)}")
        disk = next(folder for folder in Path(job.log[0]).resolve().parents if folder.is_mount())
        room = f"{shutil.disk_usage(disk).free // 2**20} MB free on the disk at {disk}"
        told = MixpipeError(what, f"{where} ({room})", "room there, or `results:` of the configuration on another disk")
    elif told is None and isinstance(error, OSError) and number in _REFUSED:
        told = OutputError(f"{error.strerror}", f"in {error.filename}", _REFUSED[number])
    return _told(told or error), final and told is not None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from."""
    while error:
        yield error
        error = error.__cause__


def _limits(job: Any) -> str:
    return f"rule {job.rule} with mem_mb={job.resources.mem_mb} and runtime={job.resources.runtime} (minutes)"


def _more_memory(job: Any) -> str:
    """What helps against want of memory: a scheduler grants what is asked for, one machine has what it has."""
    more = f"--set-resources {job.rule}:mem_mb={2 * job.resources.mem_mb}"
    return f"more memory ({more}) on a cluster, fewer jobs at once (--cores 1) on one machine"
