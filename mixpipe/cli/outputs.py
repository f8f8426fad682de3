"""The files that `mixpipe fit` writes when asked: one picture, or all tables and figures of the fit."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from mixpipe import tables
from mixpipe.cli.options import Request
from mixpipe.columns import ColumnData
from mixpipe.errors import ConfigError
from mixpipe.files import write_file
from mixpipe.model import FitResult, Selection
from mixpipe.pipeline.plan import FitPlan, data_hash
from mixpipe.provenance import code_hash, sha256, versions
from mixpipe.quality import Quality

# What each format has to be told to leave out dates and versions.
_METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_DPI = 200


def check_picture(path: str) -> Path:
    """The path of a picture, its folder made.

    Raises
    ------
    ConfigError
        For an ending that is no picture format, or a folder that cannot be written.
    """
    picture = Path(path)
    if picture.suffix.lower() not in _METADATA:
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
    from mixpipe.figures import draw_mixture
    from mixpipe.figures.style import style

    figure = draw_mixture(fit, data.x, data.err, _row_weights(request, data), label=_label(request), unit=data.unit)
    kind = path.suffix.lower()
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=kind.removeprefix("."), dpi=_DPI, metadata=_METADATA[kind])
    with _writing(path, "--figure"):
        write_file(path, partial(Path.write_bytes, data=buffer.getvalue()))


def write_outputs(
    folder: Path, request: Request, selection: Selection, quality: Quality, data: ColumnData, seconds: float
) -> None:
    """Write what the pipeline writes for one column, under the same names.

    Parameters
    ----------
    folder : Path
        Where to.
    request : Request
        What was asked for.
    selection : Selection
        All fits.
    quality : Quality
        Of the selected one.
    data : ColumnData
        The rows that were fitted.
    seconds : float
        How long the search took.
    """
    best = selection.best
    with _writing(folder, "--out"):
        tables.write_csv(tables.components_table(best, data.unit), folder / "components.csv")
        tables.write_csv(selection.table(), folder / "selection.csv")
        tables.write_csv(tables.estimators_table([(best, best.loglik, seconds)]), folder / "estimators.csv")
        tables.write_members(folder / "members.parquet", best.mixture, data.cells(), "row", data.rows)
        _write_document(folder / "fit.json", request, selection, quality, data)
        _write_figures(folder, request, selection, data)


def _write_document(path: Path, request: Request, selection: Selection, quality: Quality, data: ColumnData) -> None:
    name, digest = request.file.as_posix(), sha256(request.file)
    plan = FitPlan(
        catalog=request.file.name,
        release="",
        data=data_hash({name: digest}),
        key=request.catalog.key,
        where=request.catalog.where,
        column=request.column,
        criterion=request.settings.criterion,
        code=code_hash("fit"),
    )
    account = {
        "column": request.column.name,
        "n_read": data.n_read,
        "n_used": len(data),
        "dropped": dict(data.dropped),
        "unit": data.unit,
        "value": request.column.value,
        "error": request.column.error,
        "files": [{"path": name, "n_rows": data.n_read, "sha256": digest}],
    }
    document = {
        "catalog": plan.catalog,
        "release": plan.release,
        "column": request.column.name,
        **tables.fit_document(selection, quality, data.unit),
        "account": account,
        "plan": asdict(plan),
        "options": request.given,
        "versions": versions(),
    }
    tables.write_json(document, path)


def _write_figures(folder: Path, request: Request, selection: Selection, data: ColumnData) -> None:
    from mixpipe.figures import draw_classes, draw_mixture, draw_quality, draw_selection, save_figure

    best, x, err, weights = selection.best, data.x, data.err, _row_weights(request, data)
    label, unit = _label(request), data.unit
    figures = {
        "mixture": draw_mixture(best, x, err, weights, label=label, unit=unit),
        "selection": draw_selection(selection.table(), selection.criterion, label=label),
        "classes": draw_classes(best, x, err, label=label, unit=unit),
        "quality": draw_quality(best, x, err, weights, label=label),
    }
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png", folder / f"{name}.svg")


def _label(request: Request) -> str:
    return f"{request.file.name} / {request.column.value}"


def _row_weights(request: Request, data: ColumnData) -> np.ndarray | None:
    """None for rows that all count the same: figures draw those one by one."""
    return data.weights if request.column.weight is not None else None
