"""The command `mixpipe run`: the workflow on a configuration, in any folder, with a line for each job."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import mixpipe
from mixpipe.base.errors import ConfigError
from mixpipe.cli.complaints import complain
from mixpipe.cli.place import Place, enter_place
from mixpipe.pipeline.answers import tell_answers
from mixpipe.pipeline.folder import find_obstacles, lock_results
from mixpipe.pipeline.plan.changes import find_changed, find_outdated
from mixpipe.pipeline.plan.run import find_failure, find_problems
from mixpipe.results.provenance import GIVEN, without_cores

# Arguments that say on how many cores, or where that is said.
_CORES = re.compile(r"-[cj].*|--(cores|jobs|executor|profile|workflow-profile)(=.*)?")
# Arguments by which nothing is run.
_PLANNING = re.compile(r"-[A-Za-z]*n[A-Za-z]*|--dry-?run")
# Other spellings of an option of this command.
_DIRECTORY = re.compile(r"-d.*|--dir[a-z]*(=.*)?")
# Arguments about what is said, which leave that to Snakemake.
_SAYING = re.compile(r"-q.*|-p|--(quiet|verbose|logger|printshellcmds|debug-dag)(=.*)?")

# Arguments with which nothing is run.
_NO_RUN = re.compile(r"-[npq]*n[npq]*|--(dry-?run|report|unlock|touch|lint|dag|rulegraph|summary|list.*)(=.*)?")


def run_workflow(
    config: str, arguments: Sequence[str], *, directory: str | None = None, results: str | None = None
) -> NoReturn:
    """Run Snakemake with the workflow that belongs to this package, if nothing stands against it, and end the process.

    Parameters
    ----------
    config : str
        The configuration file.
    arguments : sequence of str
        Handed on to Snakemake; without a number of cores it uses all.
    directory : str or None
        The folder that relative paths of the configuration start from; None for the present one.
    results : str or None
        Folder of results in place of that in the configuration.

    Raises
    ------
    MixpipeError
        If the configuration cannot be used, or is among the arguments, or no folder can be written.
    """
    for before, argument in pairwise(("", *arguments)):
        if _DIRECTORY.fullmatch(argument):
            raise ConfigError(f"option {argument}", "on the command line", "--directory FOLDER")
        # To Snakemake it is a file that is there already: nothing to be done.
        if argument.endswith((".yaml", ".yml")) and not before.startswith("--configfile") and argument[0] != "-":
            raise ConfigError(f"{argument} is no argument of Snakemake", "on the command line", f"--config {argument}")
    options = {"--config": config, "--directory": directory, "--results": results}
    given = [word for name, value in options.items() if value is not None for word in (name, value)]
    os.environ[GIVEN] = shlex.join(["mixpipe", "run", *given, *without_cores(arguments)])
    with enter_place(config, directory, results) as place:
        _run(place, arguments)
    raise AssertionError("Snakemake ends the process")


def _run(place: Place, arguments: Sequence[str]) -> None:
    settings = place.settings
    problems = find_obstacles(settings) + find_problems(settings)
    for problem in problems:
        complain(problem)
    if problems:
        sys.exit(2)
    if not any(map(_PLANNING.fullmatch, arguments)):
        lock_results(settings.results)
    # Slow to import.
    from snakemake.cli import main

    from mixpipe.cli import jobs
    from mixpipe.pipeline.execution import make_again

    # With `=`, or targets among the arguments would be taken for more of the same.
    cores = () if any(map(_CORES.fullmatch, arguments)) else ("--cores=all",)
    saying = () if any(map(_SAYING.fullmatch, arguments)) else (f"--logger={jobs.register('mixpipe', jobs)}",)
    try:
        with make_again(file for file, _ in (*find_changed(settings), *find_outdated(settings))):
            main([*workflow_arguments(place), *cores, *saying, *arguments])
    except SystemExit as end:
        # The workflow itself says what failed, unless there was nothing to be done.
        if end.code or any(map(_NO_RUN.fullmatch, arguments)):
            raise
        if jobs.LogHandler.was_idle:
            fits = sorted(settings.results.glob("*/*/*/fit.json"))
            for line in tell_answers(settings.results / "summary.csv", fits):
                print(line)
        failure = find_failure(settings)
        if failure is None:
            raise
        complain(failure)
        sys.exit(2)


def workflow_arguments(place: Place) -> list[str]:
    """Arguments of Snakemake for the run of a configuration."""
    results = () if place.results is None else (f"--config={_overridden(place.results)}",)
    return [f"--snakefile={find_snakefile()}", f"--configfile={place.path}", *results]


def _overridden(results: str) -> str:
    """The folder of results as an entry of the configuration on Snakemake's command line."""
    # Slow to import.
    from snakemake.cli import parse_config

    # Snakemake takes entries for YAML; a path is no number.
    text = results if Path(results).is_absolute() else f"./{results}"
    if parse_config([f"results={text}"]) != {"results": text}:
        expected = "a name that is not YAML: without quotes at its ends, `: ` and ` #`"
        raise ConfigError(f"found {results}", "in option --results", expected)
    return f"results={text}"


def find_snakefile() -> Path:
    """The Snakefile inside the installed package, or beside the package in a checkout."""
    package = Path(mixpipe.__file__).parent
    inside, beside = (folder / "workflow/Snakefile" for folder in (package, package.parent))
    return inside if inside.is_file() else beside
