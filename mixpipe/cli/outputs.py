"""The files that `mixpipe fit` writes when asked: one picture, or all tables and figures of the fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixpipe.cli.options import Request
from mixpipe.errors import ConfigError
from mixpipe.pipeline.fit import Fitted, write_fit
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


def draw_picture(path: Path, request: Request, fitted: Fitted) -> None:
    """Draw the data and the mixture; the ending of the path says in which format."""
    from mixpipe.figures import draw_mixture, drawn_rows, save_figure

    fit, account = fitted.outcome.fit, fitted.account
    rows = fitted.drawn()
    given = rows.x, rows.err, rows.weights if rows.weighted else None
    shown, share = drawn_rows(fit.mixture, given, rows.limits, account.truncated)
    figure = draw_mixture(
        fit, *shown, label=_label(request), unit=account.unit, share=share, truncated=account.truncated
    )
    with _writing(path, "--figure"):
        save_figure(figure, path)


def write_outputs(folder: Path, request: Request, fitted: Fitted) -> None:
    """Write what the pipeline writes for one column, under the same names.

    Parameters
    ----------
    folder : Path
        Where to.
    request : Request
        What was asked for.
    fitted : Fitted
        What came of it.
    """
    from mixpipe.figures import fit_figures, save_figure

    names = ("components.csv", "selection.csv", "estimators.csv", "intervals.csv", "members.parquet", "fit.json")
    paths = {Path(name).stem: folder / name for name in names}
    with _writing(folder, "--out"):
        digest = sha256(request.file)
        file = {"path": str(request.file), "n_rows": fitted.account.n_read, "sha256": digest}
        write_fit(paths, request.plan(request.file.name, digest, code_hash("fit")), [file], fitted, request.given)
        outcome, rows = fitted.outcome, fitted.drawn()
        figures = fit_figures(
            outcome.fit,
            outcome.selection.table(),
            outcome.selection.criterion,
            [(each.fit.estimator, each.fit.mixture, each.fit.loglik) for each in outcome.estimates],
            rows.x,
            rows.err,
            rows.weights if rows.weighted else None,
            label=_label(request),
            unit=fitted.account.unit,
            limits=rows.limits,
            truncated=fitted.account.truncated,
        )
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png", folder / f"{name}.svg")


def _label(request: Request) -> str:
    return f"{request.file.name} / {request.column.value}"
