"""The command `mixpipe status`: what a run would do, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import mixpipe
from mixpipe.base.errors import MixpipeError
from mixpipe.base.files import json_text
from mixpipe.cli.display import say
from mixpipe.cli.place import Place, enter_place
from mixpipe.pipeline.folder import find_obstacles
from mixpipe.pipeline.plan.changes import find_changed, find_outdated
from mixpipe.pipeline.plan.run import find_problems
from mixpipe.results.provenance import STAGES, code_hash

# How messages of jobs begin, in the order of the work.
_ORDER = "reading taking fitting predicting drawing tabulating counting comparing writing"
# Jobs that are only there for a fit, which says why.
_FOR_FITS = ("reading", "taking")
# What Snakemake gives for reasons, in other words. What depends on another job follows it, and needs no more of them.
_FOLLOWS = "Input files updated by another job"
_REASONS = {
    "Missing output files": "{} missing",
    "Incomplete output files": "{} left unfinished by a run that was stopped",
    "Updated input files": "{} newer than what was made from it",
    "Set of input files has changed since last execution": "made from another set of results",
    "Code has changed since last execution": "its script changed",
    "Software environment definition has changed since last execution": "its software environment changed",
    "Params have changed since last execution": "the configuration or the command changed",
}
_REASON = re.compile(rf"(?:^|; )({'|'.join(map(re.escape, [_FOLLOWS, *_REASONS]))})(?:: )?", re.DOTALL)
# Of more names in a line only the first ones are shown.
_SHOWN = 4


@dataclass(frozen=True)
class Due:
    """A job that a run would do, and why; without a reason it follows from others."""

    job: str
    reasons: tuple[str, ...]


def show_status(
    path: str, *, as_json: bool, directory: str | None = None, results: str | None = None
) -> Sequence[MixpipeError]:
    """Print what a run of a configuration would do, and why.

    Parameters
    ----------
    path : str
        The configuration file.
    as_json : bool
        Print one JSON object instead of text for people.
    directory, results : str or None
        As for `mixpipe.cli.running.run_workflow`.

    Returns
    -------
    sequence of MixpipeError
        Everything that would stop the run; nothing is printed then.

    Raises
    ------
    MixpipeError
        If the configuration, or a file, cannot be read.
    """
    with enter_place(path, directory, results) as place:
        return _show_due(place, as_json)


def _show_due(place: Place, as_json: bool) -> Sequence[MixpipeError]:
    # Slow to import.
    from mixpipe.cli.planning import plan_jobs

    config = place.settings
    problems = find_obstacles(config) + find_problems(config)
    if problems:
        return problems
    fits, outdated, jobs = dict(find_changed(config)), dict(find_outdated(config)), []
    planned = plan_jobs(place, [*fits, *outdated])
    made = {file for job in planned for file in job.outputs}
    for job in planned:
        # What is made from results that are made again follows from these.
        known = fits | outdated if made.isdisjoint(job.inputs) else fits
        reasons = tuple(_of_files(job.outputs, known)) or tuple(_in_words(job.reason))
        jobs.append(Due(job.message, () if job.message.startswith(_FOR_FITS) else reasons))
    jobs.sort(key=lambda due: (_ORDER.find(due.job.split()[0]), due.job))
    if as_json:
        document = {
            "jobs": [vars(due) for due in jobs],
            "version": mixpipe.__version__,
        }
        # A pipe may not take more than ASCII.
        print(json_text(document, ensure_ascii=True))
    else:
        _show(jobs)
    return []


def _show(jobs: Sequence[Due]) -> None:
    for due in jobs:
        for reason in due.reasons:
            say(f"{due.job}: {reason}")
    following = [due.job.partition(" ") for due in jobs if not due.reasons]
    for verb, words in groupby(following, key=lambda words: words[0]):
        say(f"and with that: {verb} {_listed([what for _, _, what in words])}")
    say(f"jobs that would be done: {len(jobs) or 'none'}")


def _of_files(outputs: Sequence[str], known: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Why a job is done, from what is known of its files; a reason that is not that of all columns says of which it is.

    Examples
    --------
    >>> known = {"a/fit.json": ["code of the fits changed"], "b/fit.json": ["code of the fits changed", "new unit"]}
    >>> list(_of_files(["a/fit.json", "b/fit.json", "a/members.parquet", "b/members.parquet"], known))
    ['code of the fits changed', 'new unit (b)']
    """
    due = {file: known[file] for file in outputs if file in known}
    names = {Path(file).name for file in due}
    n_columns = sum(Path(file).name in names for file in outputs)
    columns: dict[str, list[str]] = {}
    for file, reasons in due.items():
        for reason in reasons:
            columns.setdefault(reason, []).append(Path(file).parent.name)
    for reason, of in columns.items():
        yield reason if len(of) == n_columns else f"{reason} ({_listed(of)})"


def _in_words(reason: str) -> Iterator[str]:
    """What Snakemake gives for reasons, in other words.

    Examples
    --------
    >>> list(_in_words("Missing output files: a.png, a.svg; Code has changed since last execution"))
    ['a.png, a.svg missing', 'its script changed']
    >>> list(_in_words("Missing output files: a.png; Input files updated by another job: fit.json"))
    []
    """
    _, *parts = _REASON.split(reason)
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    if _FOLLOWS in told:
        return
    for name, what in told.items():
        if any(code_hash(stage) in what for stage in STAGES):
            yield "its code changed"
        else:
            yield _REASONS[name].format(_listed(what.split(", ")))


def _listed(names: Sequence[str]) -> str:
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join([*names[:_SHOWN], *more])
