# The table of the run. The configuration is checked here against mixpipe/config/config.schema.yaml; catalogs are looked at when
# the first job is planned, and a mistake in either ends in one line.
import atexit
import gc
import json
import os
import re
import shlex
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

from snakemake.exceptions import WorkflowError

from mixpipe.config.settings import comparison_name, parse_config
from mixpipe.base.errors import MixpipeError, on_one_line
from mixpipe.pipeline.answers import tell_answers
from mixpipe.pipeline.begin import begin_run, claim_results, end_run
from mixpipe.pipeline.execution import end_silently, share_jobs
from mixpipe.pipeline.folder import check_working_folder, find_obstacles
from mixpipe.pipeline.plan.texts import FIGURES, FIT_FILES, JOINT_FIGURES, JOINT_FILES
from mixpipe.pipeline.plan.derived import derived_plans
from mixpipe.pipeline.plan.run import (
    Run,
    find_failure,
    find_problems,
)
from mixpipe.results.paper import PAPER_FILES, TEXT_FILES
from mixpipe.results.provenance import GIVEN, code_hash, without_cores

# What Snakemake makes of many columns stays, millions of objects. With Python's own 700 the garbage collector would look
# at them all again and again, for a tenth of the time.
gc.set_threshold(200_000)


def stop(*problems):
    """End as `mixpipe` does."""
    for problem in problems:
        print(on_one_line(problem), file=sys.stderr)
    sys.exit(2)


end_silently()

try:
    check_working_folder(Path())
    RUN = Run(parse_config(config, workflow.configfiles))
except MixpipeError as problem:
    stop(problem)

RESULTS = RUN.config.results.as_posix()
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
# In a checkout Snakemake finds the workflow, elsewhere `mixpipe run` does.
# Jobs write it into fit.json. It is none of their params: a fit is the same, however it was asked for.
COMMAND = os.environ.setdefault(
    "MIXPIPE_COMMAND",
    shlex.join(
        [
            *(
                ["snakemake", "--cores", "all", "--configfile"]
                if Path.cwd() in Path(workflow.main_snakefile).parents[:2]
                else ["mixpipe", "run", "--config"]
            ),
            *map(os.path.relpath, workflow.configfiles),
        ]
    ),
)
# The report has it as it was given, on any number of cores. Jobs inherit it.
if "snakemake" in Path(sys.argv[0]).parts[-2:] and workflow.is_main_process:
    given = without_cores(sys.argv[1:])
    cores = ["--cores", "all"] if len(given) < len(sys.argv) - 1 else []
    os.environ.setdefault(GIVEN, shlex.join(["snakemake", *cores, *given]))
# Of a column.
FOLDER = f"{RESULTS}/{{catalog}}/{{release}}/{{column}}"
TABLES = [file for file in FIT_FILES.values() if file.endswith(".csv")]
MEMBERS = ["members.parquet"] + ["members.fits"] * RUN.config.settings.fits_members

# Regular expressions for files of columns.
ANY_COLUMN = dict.fromkeys(("catalog", "release", "column"), "[^/]+")

# Folders below the results: `catalog/release`, and `catalog/release/column`.
RELEASES = [f"{catalog}/{release}" for catalog, release in RUN.releases()]
COLUMNS = [
    f"{catalog}/{release}/{column}"
    for catalog, release in RUN.releases()
    for column in RUN.columns(catalog)
]
DENSITIES = [
    f"{catalog}/{release}/{column}"
    for catalog, release in RUN.releases()
    for column in RUN.densities(catalog)
]
JOINTS = [
    f"{catalog}/{release}/{column}"
    for catalog, release in RUN.releases()
    for column in RUN.joints(catalog)
]
PREDICTED = [
    f"{catalog.name}/{release}/{joint.name}"
    for catalog in RUN.config.catalogs
    for release in catalog.releases
    for joint in catalog.joints
    if joint.predicted
]
FITS = [
    f"{catalog}/{release}/{column}"
    for catalog, release in RUN.releases()
    for column in RUN.fits(catalog)
]
# Those whose rows have a table of members.
WITH_MEMBERS = [*COLUMNS, *JOINTS]
# The columns of values that each of them shares its job with, itself among them: catalog, release and name of each. The
# job of a column is that of its fit, of its figures and of its members; it has one for itself unless a catalog has many.
JOBS = {
    column: columns
    for catalog, release in RUN.releases()
    for names in RUN.jobs(catalog)
    for columns in [[(catalog, release, name) for name in names]]
    for column in columns
}
# The columns and joint fits of the release of each of them, itself among them.
PAPER_JOBS = {
    column: columns
    for catalog, release in RUN.releases()
    for columns in [
        [
            (catalog, release, name)
            for name in (*RUN.columns(catalog), *RUN.joints(catalog))
        ]
    ]
    for column in columns
}
# Two releases of a catalog, one after the other, by the folder `catalog/compare/old_to_new`.
PAIRS = {
    f"{catalog.name}/compare/{comparison_name(old, new)}": (old, new)
    for catalog in RUN.config.catalogs
    for old, new in pairwise(catalog.releases)
}
# Folders of comparisons: of columns, and of joint fits in the folder `joint` there.
COMPARISONS = [pair for pair in PAIRS if RUN.columns(pair.split("/")[0])]
JOINT_COMPARISONS = [
    f"{pair}/joint" for pair in PAIRS if RUN.joints(pair.split("/")[0])
]
ALL_COMPARISONS = [*COMPARISONS, *JOINT_COMPARISONS]


def begin():
    """Before the first job: see `begin_run`."""
    try:
        begin_run(RUN.config, workflow.scheduler)
    except MixpipeError as problem:
        stop(problem)


def stop_at_failure():
    """End with what has to be mended if there are columns that nothing could be fitted to."""
    failure = find_failure(RUN.config)
    if failure is not None:
        stop(failure)


def end():
    """After the last job: say why jobs have failed, behind all that Snakemake says."""
    failures = end_run(RUN.config, workflow.scheduler)
    if failures:
        atexit.register(print, *failures, sep="\n", file=sys.stderr)


@cache
def checked_run():
    """The run, once it is sure that its catalogs can be used: the first job that is planned asks for it."""
    # A job of a cluster has been planned.
    if not workflow.is_main_process:
        return RUN
    problems = find_obstacles(RUN.config) + find_problems(RUN.config)
    if problems:
        stop(*problems)
    # What is planned holds as long as nobody else changes the results.
    if workflow.executor_plugin is not None and not workflow.dryrun:
        try:
            claim_results(RUN.config.results)
        except MixpipeError as problem:
            stop(problem)
    return RUN


def release_files(wildcards):
    return list(checked_run().files(wildcards.catalog, wildcards.release))


def share_of_cores(wildcards):
    """Threads for a fit; its result does not depend on them."""
    try:
        return max(1, workflow.cores // len(FITS))
    except (
        WorkflowError
    ):  # --report and others that run nothing know no number of cores
        return 1


def of_job(wildcards):
    """The columns of a job, which has the wildcards of the first one."""
    return JOBS[wildcards.catalog, wildcards.release, wildcards.column]


def papers_of_job(wildcards):
    """The columns and joint fits of a job that writes what papers show of them."""
    return PAPER_JOBS[wildcards.catalog, wildcards.release, wildcards.column]


def job_files(name):
    """A file of each column of a job."""
    return lambda wildcards: [
        "/".join([RESULTS, *column, name]) for column in of_job(wildcards)
    ]


def told(wildcards):
    """A job in words."""
    return with_last(wildcards, " ".join(of_job(wildcards)[0]))


def with_last(wildcards, first):
    """What is said of the first column of a job, and the name of the last one where columns share jobs."""
    names = RUN.columns(wildcards.catalog)
    shared = len(RUN.jobs(wildcards.catalog)) < len(names)
    return f"{first} to {of_job(wildcards)[-1][2]}" if shared else first


def job_runtime(share):
    """Minutes for a job: more for each column, and so much for each of them and MB that is read."""

    def runtime(wildcards, input, attempt):
        n_columns = len(of_job(wildcards))
        return attempt * (8 + 2 * n_columns + int(share * n_columns * input.size_mb))

    return runtime


def shown(file, about):
    """A file of a column that the report of Snakemake shows."""
    return report(
        f"{FOLDER}/{file}",
        caption=f"../report/{about}.rst",
        category="{catalog}",
        subcategory="{release}",
        labels={"column": "{column}", "shows": about},
    )


def drawn(figure):
    """A figure of a column as PNG, which the report of Snakemake shows, and as SVG and PDF."""
    return [
        shown(f"{figure}.png", figure),
        f"{FOLDER}/{figure}.svg",
        f"{FOLDER}/{figure}.pdf",
    ]


def compared_files(place, name, of_joints=False):
    """A file of each fit, in the old release (place 0) or the new one (1)."""

    def files(wildcards):
        release = PAIRS[f"{wildcards.catalog}/compare/{wildcards.pair}"][place]
        columns = RUN.joints if of_joints else RUN.columns
        folder = f"{RESULTS}/{wildcards.catalog}/{release}"
        return expand(f"{folder}/{{column}}/{name}", column=columns(wildcards.catalog))

    return files


def any_of(names):
    """Constraint on a wildcard: one of these names, if there are any."""
    return "|".join(map(re.escape, sorted(set(names)))) or "(?!)"


def catalog_of(columns):
    """Constraint on a catalog in front of release and column: a name may be a value here and a density there."""
    return f"(?=(?:{any_of(columns)})/)[^/]+"


OF_JOINTS = {
    "catalog": catalog_of(JOINTS),
    "column": any_of(name.split("/")[2] for name in JOINTS),
}


wildcard_constraints:
    catalog=any_of(name.split("/")[0] for name in FITS),
    release=any_of(name.split("/")[1] for name in FITS),
    column=any_of(name.split("/")[2] for name in FITS),
    job=any_of(RUN.job_names()),
    content="[0-9a-f]{12}-[0-9a-f]{12}-[0-9a-f]{12}",
    figure=any_of(FIGURES),
    pair=any_of(name.split("/")[2] for name in ALL_COMPARISONS),
