"""The files that `mixpipe fit` writes when asked: one picture, or all tables and figures of the fit."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mixpipe.base.errors import ConfigError
from mixpipe.catalog.files import folder_files
from mixpipe.catalog.hashes import catalog_hash
from mixpipe.cli.display import describe_value
from mixpipe.cli.options import Request
from mixpipe.pipeline.fit import FittedColumn, write_fit
from mixpipe.pipeline.plan.texts import FIT_FILES
from mixpipe.results.paper import write_paper_beside
from mixpipe.results.provenance import code_hash
from mixpipe.results.record import SourceFile


def check_picture(path: str) -> Path:
    """The path of a picture.

    Raises
    ------
    ConfigError
        For an ending that is no picture format, or a folder that is not there or cannot be written.
    """
    from mixpipe.report.figures import PICTURE_FORMATS

    picture = Path(path)
    if picture.suffix.lower() not in PICTURE_FORMATS:
        raise ConfigError(f"found {path}", "in option --figure", "a name that ends in .png, .svg or .pdf")
    _check_there(picture.parent, "--figure")
    return picture


def check_folder(path: str, option: str) -> Path:
    """The folder, made if the one that it is to be in is there.

    Raises
    ------
    ConfigError
        If that is not there, or the folder cannot be written.
    """
    folder = Path(path)
    if not folder.exists():
        _check_there(folder.parent, option)
        with writing(folder, option):
            folder.mkdir()
    _check_there(folder, option)
    return folder


def _check_there(folder: Path, option: str) -> None:
    if not folder.exists():
        raise ConfigError(f"no folder {folder}", f"in option {option}", "a folder that is there")
    with writing(folder, option):
        if not folder.is_dir():
            raise NotADirectoryError(None, "Not a directory")
        if not os.access(folder, os.W_OK):
            raise PermissionError(None, "Permission denied")


@contextmanager
def writing(path: Path, option: str) -> Iterator[None]:
    """Errors of the system about a path that an option names."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"cannot write {path} ({error.strerror or error})", f"in option {option}", "a place that can be written"
        ) from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of those of all files of a folder."""
    digests = [catalog_hash(part) for part in folder_files(path)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def draw_picture(path: Path, request: Request, fitted: FittedColumn) -> None:
    """Draw the data and the mixture; the ending of the path says in which format."""
    from mixpipe.report.figures import draw_mixture, drawn_rows, save_figure

    fit, account = fitted.outcome.fit, fitted.account
    rows = fitted.drawn()
    given = rows.x, rows.err, rows.weights if rows.weighted else None
    shown, share = drawn_rows(fit.mixture, given, rows.window)
    figure = draw_mixture(
        fit,
        *shown,
        label=_label(request),
        unit=account.unit,
        share=share,
        window=rows.window,
        bins=rows.edges,
        limits=rows.limits,
    )
    with writing(path, "--figure"):
        save_figure(figure, path)


def write_outputs(folder: Path, request: Request, fitted: FittedColumn) -> None:
    """Write what the pipeline writes for one column, under the same names.

    Parameters
    ----------
    folder : Path
        Where to.
    request : Request
        What was asked for.
    fitted : FittedColumn
        What came of it.
    """
    from mixpipe.model.estimate import Estimate
    from mixpipe.report.figures import PICTURE_FORMATS, fit_figures, save_figure

    paths = {name: folder / file for name, file in FIT_FILES.items()}
    with writing(folder, "--out"):
        digest = digest_of(request.file)
        file = SourceFile(path=str(request.file), n_rows=fitted.account.n_read, sha256=digest)
        plan = request.plan(request.file.name, digest, code_hash("fit"))
        command = shlex.join(["mixpipe", *sys.argv[1:]])
        write_fit(paths, plan, [file], fitted, command, request.given)
        write_paper_beside(paths["fit"])
        outcome, rows = fitted.outcome, fitted.drawn()
        figures = fit_figures(
            outcome.fit,
            outcome.selection.table(),
            outcome.selection.criterion,
            [
                Estimate(each.fit.estimator, each.fit.mixture, each.fit.loglik, each.fit.uncertainties.means)
                for each in outcome.estimates
            ],
            rows.x,
            rows.err,
            rows.weights if rows.weighted else None,
            label=_label(request),
            unit=fitted.account.unit,
            limits=rows.limits,
            window=rows.window,
            bins=rows.edges,
        )
        for name, figure in figures.items():
            save_figure(figure, *(folder / f"{name}{ending}" for ending in PICTURE_FORMATS))


def _label(request: Request) -> str:
    """The title of a figure: the file, the cut, and what is on its axis."""
    column = replace(request.column, weight=None)
    if column.bins is not None:
        column = replace(column, bins=None, value=" to ".join(column.bins[:2]))
    parts = (request.file.name, request.catalog.where, describe_value(column))
    return " / ".join(part for part in parts if part)
