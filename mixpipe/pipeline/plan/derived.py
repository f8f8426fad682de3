"""What results that are made from fits depend on beside these: code and settings, such as the labels of figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

from mixpipe.config.settings import comparison_name
from mixpipe.pipeline.plan.run import Run
from mixpipe.results.paper import PAPER_FILES, TEXT_FILES
from mixpipe.results.provenance import code_hash

# Letters of a hash that tell two codes, or two settings, apart.
_LETTERS = 16


def derived_plans(run: Run) -> dict[str, list[str]]:
    """What each job that reads fits is planned with: a hash of its code, and one of its settings.

    Parameters
    ----------
    run : Run

    Returns
    -------
    dict of str to list of str
        By one file of each job, relative to the folder of results.
    """
    return {
        name: [code_hash(stage)[:_LETTERS], hashlib.sha256(settings.encode()).hexdigest()[:_LETTERS]]
        for name, stage, settings in _jobs(run)
    }


def _jobs(run: Run) -> Iterator[tuple[str, str, str]]:
    """A file of each job, its stage, and its settings as text."""
    config, fits = run.config, []
    for catalog, release in run.releases():
        place = f"{catalog}/{release}"
        for column in run.columns(catalog):
            yield f"{place}/{column}/curves.json", "figures", run.look(catalog, column)
        for column in run.densities(catalog):
            yield f"{place}/{column}/densities.svg", "density_figure", run.look(catalog, column)
            yield f"{place}/{column}/{TEXT_FILES['text']}", "paper", ""
        for column in run.joints(catalog):
            alone = run.columns_of(catalog, column)
            yield f"{place}/{column}/curves.json", "joint_figures", json.dumps([run.looks(catalog), alone])
            if config.catalog(catalog).joint(column).predicted:
                yield f"{place}/{column}/predict.parquet", "predict", run.predictions(catalog, column)
        for column in (*run.columns(catalog), *run.joints(catalog)):
            yield f"{place}/{column}/{PAPER_FILES['text']}", "paper", ""
            if config.settings.fits_members:
                yield f"{place}/{column}/members.fits", "members", ""
        yield f"{place}/input.csv", "account", json.dumps(run.fits(catalog))
        fits += [f"{place}/{column}" for column in run.fits(catalog)]
    compared = []
    for settings in config.catalogs:
        for old, new in pairwise(settings.releases):
            folder = f"{settings.name}/compare/{comparison_name(old, new)}"
            for place, stage, columns in (
                (folder, "compare", run.columns(settings.name)),
                (f"{folder}/joint", "joint_compare", run.joints(settings.name)),
            ):
                if columns:
                    compared.append(f"{place}/summary.csv")
                    yield compared[-1], stage, json.dumps([columns, run.looks(settings.name)])
    yield "summary.csv", "summary", json.dumps([fits, compared])
    everything = json.dumps(asdict(replace(config, results=Path())), sort_keys=True, default=str)
    yield "report.html", "report", everything
    yield "manifest.json", "manifest", everything
