# The table of the run. The configuration is checked here against mixpipe/config.schema.yaml; catalogs are looked at when
# the first job is planned, and a mistake in either ends in one line.
import os
import re
import shlex
import sys
from functools import cache
from itertools import pairwise

from snakemake.exceptions import WorkflowError

from mixpipe.config import parse_config
from mixpipe.errors import MixpipeError
from mixpipe.pipeline.run import Run, find_problems
from mixpipe.provenance import code_hash


def stop(*problems):
    sys.exit("\n".join(f"mixpipe: error: {problem}" for problem in problems))


try:
    RUN = Run(parse_config(config, workflow.configfiles))
except MixpipeError as problem:
    stop(problem)

RESULTS = RUN.config.results.as_posix()
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
COMMAND = shlex.join(
    [
        "snakemake",
        "--cores",
        "all",
        "--configfile",
        *map(os.path.relpath, workflow.configfiles),
    ]
)
FIGURES = ("mixture", "selection", "classes", "quality", "estimators")

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
FITS = [
    f"{catalog}/{release}/{column}"
    for catalog, release in RUN.releases()
    for column in [*RUN.columns(catalog), *RUN.densities(catalog)]
]
# Folders of comparisons, `catalog/compare/old_to_new`, with the two releases of each.
COMPARISONS = {
    f"{catalog.name}/compare/{old}_to_{new}": (old, new)
    for catalog in RUN.config.catalogs
    if catalog.columns
    for old, new in pairwise(catalog.releases)
}


@cache
def checked_run():
    """The run, once it is sure that its catalogs can be used: the first job that is planned asks for it."""
    problems = find_problems(RUN.config)
    if problems:
        stop(*problems)
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


def drawn(figure):
    """A figure as PNG, which the report of Snakemake shows, and as SVG."""
    path = f"{RESULTS}/{{catalog}}/{{release}}/{{column}}/{figure}"
    shown = report(
        f"{path}.png",
        caption=f"../report/{figure}.rst",
        category="{catalog}",
        subcategory="{release}",
        labels={"column": "{column}", "shows": figure},
    )
    return [shown, f"{path}.svg"]


def compared_files(place, name):
    """A file of each column's fit, in the old release (place 0) or the new one (1)."""

    def files(wildcards):
        release = COMPARISONS[f"{wildcards.catalog}/compare/{wildcards.pair}"][place]
        folder = f"{RESULTS}/{wildcards.catalog}/{release}"
        return expand(
            f"{folder}/{{column}}/{name}", column=RUN.columns(wildcards.catalog)
        )

    return files


def any_of(names):
    return "|".join(map(re.escape, sorted(set(names))))


def catalog_of(columns):
    """Constraint on a catalog in front of release and column: a name may be a value here and a density there."""
    return f"(?=(?:{any_of(columns)})/)[^/]+" if columns else "(?!)"


wildcard_constraints:
    catalog=any_of(name.split("/")[0] for name in FITS),
    release=any_of(name.split("/")[1] for name in FITS),
    column=any_of(name.split("/")[2] for name in FITS),
    content="[0-9a-f]{12}-[0-9a-f]{12}-[0-9a-f]{12}",
    figure=any_of(FIGURES),
    pair=any_of(name.split("/")[2] for name in COMPARISONS) or "(?!)",
