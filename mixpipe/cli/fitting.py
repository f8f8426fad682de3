"""The command `mixpipe fit`: one column of one file."""

from __future__ import annotations

from typing import Any

import mixpipe
from mixpipe.catalog import read_catalog
from mixpipe.cli.display import search_progress, show_fit
from mixpipe.cli.options import read_request
from mixpipe.cli.outputs import check_folder, check_picture, draw_picture, write_outputs
from mixpipe.columns import ColumnData, prepare_column, required_columns
from mixpipe.pipeline.estimate import Outcome, estimate_column
from mixpipe.pipeline.plan import effort_of, reading_options
from mixpipe.tables import fit_document, json_text

# What other programs rely on: these keys and no others.
_FIT_KEYS = ("estimator", "criterion", "n_components", "loglik", "bic", "aic", "icl", "converged")
_COMPONENT_KEYS = ("weight", "weight_unc", "mean", "mean_unc", "sigma", "sigma_unc", "boundary")
_QUALITY_KEYS = ("ks", "ks_pvalue", "ad")
_SELECTION_KEYS = ("n_components", "n_params", "loglik", "bic", "aic", "icl", "converged", "selected")


def fit_file(file: str, *, as_json: bool, figure: str | None, out: str | None, **options: Any) -> None:
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
    **options
        See `mixpipe.cli.options.read_request`.

    Raises
    ------
    MixpipeError
        For what the user can mend.
    """
    request = read_request(file, options)
    # A search may take long: what would fail after it is looked at before.
    picture = check_picture(figure) if figure is not None else None
    folder = check_folder(out, "--out") if out is not None else None

    catalog, column = request.catalog, request.column
    needed = required_columns([column], catalog.where, catalog.key)
    table = read_catalog(request.file, needed, **reading_options(catalog))
    data = prepare_column(table, column, where=catalog.where)
    data.check_usable(request.place)
    most = column.max_components if request.n_components is None else None
    with search_progress(most) as progress:
        outcome = estimate_column(
            data.cells(),
            column,
            request.settings.criterion,
            effort_of(request.settings),
            place=request.place,
            n_components=request.n_components,
            progress=progress if most is not None else None,
        )

    if picture is not None:
        draw_picture(picture, request, outcome.fit, data)
    if folder is not None:
        write_outputs(folder, request, table, data, outcome)
    if as_json:
        # A pipe may not take more than ASCII.
        print(json_text(_document(outcome, data), ensure_ascii=True))
    else:
        written = [path for path in (picture, folder) if path is not None]
        show_fit(request, outcome, data, written)


def _document(outcome: Outcome, data: ColumnData) -> dict[str, Any]:
    document = fit_document(outcome.selection, outcome.assessment.quality, data.unit)
    return {
        "n_data": document["n_data"],
        "n_dropped": dict(data.dropped),
        **{key: document[key] for key in _FIT_KEYS},
        "components": [{key: row[key] for key in _COMPONENT_KEYS} for row in document["components"]],
        "selection": [{key: row[key] for key in _SELECTION_KEYS} for row in document["selection"]],
        "quality": {key: document["quality"][key] for key in _QUALITY_KEYS},
        "warnings": document["warnings"],
        "version": mixpipe.__version__,
    }
