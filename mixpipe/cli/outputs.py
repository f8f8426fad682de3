"""The files that `mixpipe fit` writes when asked: one picture, or all tables and figures of the fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.table import Table

from mixpipe.cli.options import Request
from mixpipe.columns import ColumnData
from mixpipe.errors import ConfigError
from mixpipe.model import FitResult
from mixpipe.pipeline.estimate import Outcome
from mixpipe.pipeline.fit import write_fit
from mixpipe.pipeline.plan import FitPlan, data_hash, effort_of, reading_options
from mixpipe.provenance import code_hash, sha256


def check_picture(path: str) -> Path:
    """The path of a picture, its folder made.

    Raises
    ------
    ConfigError
        For an ending that is no picture format, or a folder that cannot be written.
    """
    from mixpipe.figures import PICTURE_FORMATS

    picture = Path(path)
    if picture.suffix.lower() not in PICTURE_FORMATS:
        raise ConfigError(f"found {path}", "in option --figure", "a name that ends in .png, .svg or .pdf")
    check_folder(picture.parent, "--figure")
    return picture


def check_folder(path: str | Path, option: str) -> Path:
    """The folder, made.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """
    folder = Path(path)
    with _writing(folder, option):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(None, "Permission denied")
    return folder


@contextmanager
def _writing(path: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"cannot write {path} ({error.strerror or error})", f"in option {option}", "a place that can be written"
        ) from error


def draw_picture(path: Path, request: Request, fit: FitResult, data: ColumnData) -> None:
    """Draw the data and the mixture; the ending of the path says in which format."""
    from mixpipe.figures import draw_mixture, drawn_rows, save_figure

    given = data.x, data.err, _row_weights(request, data)
    rows, share = drawn_rows(fit.mixture, given, data.limits, data.truncated)
    figure = draw_mixture(fit, *rows, label=_label(request), unit=data.unit, share=share, truncated=data.truncated)
    with _writing(path, "--figure"):
        save_figure(figure, path)


def write_outputs(
    folder: Path,
    request: Request,
    table: Table,
    data: ColumnData,
    outcome: Outcome,
) -> None:
    """Write what the pipeline writes for one column, under the same names.

    Parameters
    ----------
    folder : Path
        Where to.
    request : Request
        What was asked for.
    table, data, outcome
        As for `mixpipe.pipeline.fit.write_fit`.
    """
    from mixpipe.figures import fit_figures, save_figure

    names = ("components.csv", "selection.csv", "estimators.csv", "intervals.csv", "members.parquet", "fit.json")
    paths = {Path(name).stem: folder / name for name in names}
    weights = _row_weights(request, data)
    label, unit = _label(request), data.unit
    with _writing(folder, "--out"):
        (file,) = table.meta["files"]
        file["sha256"] = sha256(request.file)
        plan = _fit_plan(request, data_hash({file["path"]: file["sha256"]}))
        write_fit(paths, plan, table, data, outcome, request.given)
        selection = outcome.selection
        figures = fit_figures(
            outcome.fit,
            selection.table(),
            selection.criterion,
            [(each.fit.estimator, each.fit.mixture, each.fit.loglik) for each in outcome.estimates],
            data.x,
            data.err,
            weights,
            label=label,
            unit=unit,
            limits=data.limits,
            truncated=data.truncated,
        )
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png", folder / f"{name}.svg")


def _fit_plan(request: Request, data: str) -> FitPlan:
    """The plan that the pipeline would have; `data` is the `data_hash` of the file."""
    catalog = request.catalog
    return FitPlan(
        catalog=request.file.name,
        release="",
        data=data,
        reading=reading_options(catalog),
        key=catalog.key,
        where=catalog.where,
        column=request.column,
        criterion=request.settings.criterion,
        effort=effort_of(request.settings),
        code=code_hash("fit"),
    )


def _label(request: Request) -> str:
    return f"{request.file.name} / {request.column.value}"


def _row_weights(request: Request, data: ColumnData) -> np.ndarray | None:
    """None for rows that all count the same: figures draw those one by one."""
    return data.weights if request.column.weight is not None else None
