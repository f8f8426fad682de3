"""The command `mixpipe fit`: one column of one file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import mixpipe
from mixpipe.base.errors import ConfigError
from mixpipe.base.files import json_text
from mixpipe.catalog.files import unchanged
from mixpipe.catalog.reading import read_blocks
from mixpipe.catalog.required import required_columns
from mixpipe.cli.options import Request, check_idle, naming_options, read_request
from mixpipe.cli.progress import fit_progress
from mixpipe.pipeline.fit import FittedColumn, fit_tables, record_fit
from mixpipe.pipeline.plan.texts import reading_options
from mixpipe.results.tables import record_components

# What other programs rely on: these keys and no others.
_FIT_KEYS = ("n_components", "loglik", "bic", "aic", "icl", "converged")
_COMPONENT_KEYS = ("weight", "weight_unc", "mean", "mean_unc", "sigma", "sigma_unc", "boundary")
_QUALITY_KEYS = ("ks", "ks_pvalue", "ad")
_SELECTION_KEYS = ("n_components", "n_params", "loglik", "bic", "aic", "icl", "converged", "selected")


def fit_file(
    file: str, *, as_json: bool, figure: str | None, out: str | None, bimodality: bool | None = None, **options: Any
) -> None:
    """Fit a column, print the result, and write what is asked for.

    Parameters
    ----------
    file : str
        The catalog file.
    as_json : bool
        Print one JSON object instead of tables for people.
    figure : str or None
        Picture of the fit to write.
    out : str or None
        Folder to write all tables and figures into.
    bimodality : bool or None
        Print the evidence for two populations, too.
    **options
        See `mixpipe.cli.options.read_request`.

    Raises
    ------
    MixpipeError
        For what the user can mend.
    """
    request = read_request(file, options)
    if bimodality:
        _check_two(request)
    picture, folder = None, None
    if figure is not None or out is not None:
        from mixpipe.cli.outputs import check_folder, check_picture, draw_picture, write_outputs

        # A search may take long: what would fail after it is looked at before.
        picture = check_picture(figure) if figure is not None else None
        folder = check_folder(out, "--out") if out is not None else None
    catalog = request.catalog
    needed = required_columns([request.column], catalog.where, catalog.key)
    most = request.column.max_components if request.n_components is None else None
    with naming_options(catalog.where), unchanged(request.file), fit_progress(most) as (counted, found):
        check_idle(request)
        fitted = fit_tables(
            lambda: counted(read_blocks(request.file, needed, **reading_options(catalog))),
            request.plan(),
            place=request.place,
            n_components=request.n_components,
            progress=found if most is not None else None,
        )

    if picture is not None:
        draw_picture(picture, request, fitted)
    if folder is not None:
        write_outputs(folder, request, fitted)
    if as_json:
        # A pipe may not take more than ASCII.
        evidence = fitted.outcome.bimodality
        more = {"bimodality": None if evidence is None else asdict(evidence)} if bimodality else {}
        print(json_text(_document(fitted) | more, ensure_ascii=True))
    else:
        from mixpipe.cli.display import show_fit
        from mixpipe.results.answer import answer

        written = [path for path in (picture, folder) if path is not None]
        said = answer(record_fit(request.plan(), (), fitted, options=request.given))
        show_fit(request, fitted.outcome, fitted.account, said, written, with_bimodality=bool(bimodality))


def _check_two(request: Request) -> None:
    """Refuse a fit that cannot have two components, of which the evidence for two populations is.

    Raises
    ------
    ConfigError
        For another number of components, or a largest one below two.
    """
    n_components, most = request.n_components, request.column.max_components
    if n_components not in (None, 2) or most < 2:
        option = f"--max-components {most}" if n_components is None else f"--n-components {n_components}"
        raise ConfigError(f"--bimodality with {option}", "on the command line", "a fit with 2 components")


def _document(fitted: FittedColumn) -> dict[str, Any]:
    selection, quality = fitted.outcome.selection, fitted.outcome.assessment.quality
    fit = selection.best
    scale = {"error_scale": fit.error_scale, "error_scale_unc": fit.error_scale_unc}
    constrained = ["constraint"] * fit.mixture.is_constrained
    return {
        "n_data": fit.n_data,
        "n_dropped": dict(fitted.account.dropped),
        "estimator": fit.estimator,
        "criterion": selection.criterion,
        **{key: getattr(fit, key) for key in _FIT_KEYS},
        **(scale if fit.error_scale != 1.0 else {}),
        "components": [
            {key: getattr(row, key) for key in (*_COMPONENT_KEYS, *constrained)} for row in record_components(fit)
        ],
        "selection": [{key: row[key] for key in _SELECTION_KEYS} for row in selection.records()],
        "quality": {key: getattr(quality, key) for key in _QUALITY_KEYS},
        "warnings": fit.warnings,
        "version": mixpipe.__version__,
    }
