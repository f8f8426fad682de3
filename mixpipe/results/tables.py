"""Results as tables and files. Nothing here fits anything."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.base.files import write_file
from mixpipe.model.results import Array, FitResult, Selection, Uncertainties
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.assess.quality import Quality
from mixpipe.model.resolution import Resolution

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Columns of the tables of a fit.
COLUMNS = {
    "components": (
        "component",
        "weight",
        "weight_unc",
        "mean",
        "mean_unc",
        "sigma",
        "sigma_unc",
        "boundary",
        "unit",
        "sigma_upper",
        "family",
        "shape",
        "shape_unc",
    ),
    "selection": (
        "n_components",
        "n_params",
        "loglik",
        "bic",
        "aic",
        "icl",
        "delta_bic",
        "converged",
        "selected",
        "gradient_max",
        "loglik_bound",
        "bound_sigma",
        "family",
        "bic_weight",
        "exact",
        "occam",
    ),
    "estimators": ("estimator", "component", "weight", "mean", "sigma", "loglik", "seconds"),
    "intervals": ("method", "component", "parameter", "estimate", "level", "lower", "upper"),
}

# Rows per block of the members table: bounds its memory to some MB.
_BLOCK = 1 << 17


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """A CSV file with a header, numbers in full precision, and `nan` for what is not available."""
    write_file(path, lambda temporary: frame.to_csv(temporary, index=False, na_rep="nan", lineterminator="\n"))


def json_text(document: dict[str, Any], *, ensure_ascii: bool = False) -> str:
    """A document as strict JSON: what is not finite becomes null.

    >>> print(json_text({"bic": math.nan, "means": np.array([1.0, 2.5])}))
    {
      "bic": null,
      "means": [
        1.0,
        2.5
      ]
    }
    """
    return json.dumps(_strict(document), indent=2, ensure_ascii=ensure_ascii, allow_nan=False)


def write_json(document: dict[str, Any], path: Path) -> None:
    """A JSON file, with the `json_text` of the document."""
    text = json_text(document) + "\n"
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return _strict(value.tolist())
    if isinstance(value, np.generic):
        return _strict(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def components_table(fit: FitResult, unit: str | None = None, sigma_upper: Array | None = None) -> pd.DataFrame:
    """One row per component, sorted by mean: weight, mean and sigma with uncertainties, boundary, unit.

    Then the 95 % upper limit of a sigma on the boundary; the family, which says what mean and sigma are; and its third
    parameter, nan where it has none.
    """
    import pandas as pd

    return pd.DataFrame(_component_columns(fit, unit, sigma_upper))


def _component_columns(fit: FitResult, unit: str | None, sigma_upper: Array | None) -> dict[str, list[Any]]:
    """The columns of `components_table`, as plain values."""
    mixture, unc = fit.mixture, fit.uncertainties
    columns = {
        "component": np.arange(1, fit.n_components + 1),
        "weight": mixture.weights,
        "weight_unc": unc.weights,
        "mean": mixture.means,
        "mean_unc": unc.means,
        "sigma": mixture.sigmas,
        "sigma_unc": unc.sigmas,
        "boundary": fit.boundary,
        "unit": np.full(fit.n_components, unit or ""),
        "sigma_upper": np.full(fit.n_components, np.nan) if sigma_upper is None else sigma_upper,
        "family": np.array(mixture.families),
        "shape": mixture.shapes,
        "shape_unc": unc.shapes,
    }
    return {name: column.tolist() for name, column in columns.items()}


def estimators_table(fits: Iterable[tuple[FitResult, float, float]]) -> pd.DataFrame:
    """One row per estimator and component.

    Parameters
    ----------
    fits : iterable of (FitResult, float, float)
        A fit, the log-likelihood of its mixture on the data, and the seconds that it took.
    """
    import pandas as pd

    rows = [
        {
            "estimator": fit.estimator,
            "component": component + 1,
            "weight": fit.mixture.weights[component],
            "mean": fit.mixture.means[component],
            "sigma": fit.mixture.sigmas[component],
            "loglik": loglik,
            "seconds": seconds,
        }
        for fit, loglik, seconds in fits
        for component in range(fit.n_components)
    ]
    return pd.DataFrame(rows)


def fit_document(
    selection: Selection,
    quality: Quality,
    unit: str | None,
    sigma_upper: Array | None = None,
    first_row: str = "",
) -> dict[str, Any]:
    """The fit as plain values for JSON: what the command line prints and what fit.json is built on.

    `first_row` is what the first row is called whose error is smaller than the grain of the values.
    """
    fit = selection.best
    components = _component_columns(fit, None, sigma_upper)
    del components["component"], components["unit"]
    components["effective_rows"] = fit.effective_rows.tolist()
    resolution = asdict(fit.resolution)
    del resolution["first"]
    return {
        "n_data": fit.n_data,
        "unit": unit,
        "estimator": fit.estimator,
        "criterion": selection.criterion,
        "n_components": fit.n_components,
        "n_params": fit.n_params,
        "loglik": fit.loglik,
        "entropy": fit.entropy,
        "bic": fit.bic,
        "aic": fit.aic,
        "icl": fit.icl,
        "converged": fit.converged,
        "remaining_gain": fit.remaining_gain,
        "n_passes": fit.n_passes,
        "sigma_floor": fit.sigma_floor,
        "resolution": {**resolution, "first_row": first_row or None},
        "components": [dict(zip(components, row, strict=True)) for row in zip(*components.values(), strict=True)],
        "selection": selection.records(),
        "quality": {**asdict(quality), "verdict": quality.verdict},
        "warnings": list(fit.warnings),
    }


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Array:
    return np.array([math.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)


def read_mixture(rows: Sequence[Mapping[str, Any]]) -> Mixture:
    """A mixture from one row for each component, after JSON: weight, mean, sigma, family, shape."""
    weights, means, sigmas = (_column(rows, name) for name in ("weight", "mean", "sigma"))
    return Mixture(weights, means, sigmas, tuple(row["family"] for row in rows), _column(rows, "shape"))


def read_bounds(given: Sequence[float | None] | None) -> tuple[float, float] | None:
    """Bounds of a sample after JSON, where an infinite one is null."""
    if given is None:
        return None
    low, high = given
    return -math.inf if low is None else low, math.inf if high is None else high


def open_fit(path: str | Path, expected: str) -> tuple[Path, Any]:
    """A fit.json, or that in a folder, and what it holds.

    Raises
    ------
    CatalogError
        For a file that cannot be read, or is no JSON, and for a column without a fit.
    """
    file = Path(path)
    file = file / "fit.json" if file.is_dir() else file
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"no fit ({error.strerror})", f"in {file}", expected) from error
    except ValueError as error:
        raise CatalogError("no fit (not JSON)", f"in {file}", expected) from error
    failure = read_failure(document)
    if failure is not None:
        raise CatalogError(f"no fit, the column failed: {failure.what}", f"in {file}", expected)
    return file, document


def read_failure(document: Any) -> CatalogError | None:
    """Why a fit.json has no fit; None if it has one."""
    if not isinstance(document, dict) or document.get("status") != "failed":
        return None
    told = document.get("failure") or {}
    return CatalogError(*(str(told.get(part, "unknown")) for part in ("what", "where", "expected")))


def status_columns(document: Any) -> dict[str, str]:
    """What tables of all columns say of each: ``fitted``, or ``failed`` and why."""
    failure = read_failure(document)
    return {"status": "fitted", "reason": ""} if failure is None else {"status": "failed", "reason": str(failure)}


def read_fit(document: dict[str, Any]) -> FitResult:
    """The fit from what `fit_document` made of it, after JSON."""

    def column(name: str) -> Array:
        return _column(document["components"], name)

    def number(name: str) -> float:
        return math.nan if document[name] is None else float(document[name])

    return FitResult(
        mixture=read_mixture(document["components"]),
        estimator=document["estimator"],
        loglik=number("loglik"),
        entropy=number("entropy"),
        n_data=number("n_data"),
        n_params=document["n_params"],
        converged=document["converged"],
        remaining_gain=number("remaining_gain"),
        n_passes=document["n_passes"],
        sigma_floor=number("sigma_floor"),
        boundary=column("boundary").astype(bool),
        uncertainties=Uncertainties(column("weight_unc"), column("mean_unc"), column("sigma_unc"), column("shape_unc")),
        warnings=tuple(document["warnings"]),
        resolution=read_resolution(document),
        effective_rows=_column([{"effective_rows": None, **row} for row in document["components"]], "effective_rows"),
    )


def read_resolution(document: Mapping[str, Any]) -> Resolution:
    """What the values resolve, from fit.json; of one that does not say it, the floor alone."""
    given = {key: value for key, value in (document.get("resolution") or {}).items() if key != "first_row"}
    return Resolution(**given) if given else Resolution(document["sigma_floor"])


def describe_resolution(document: Mapping[str, Any]) -> str:
    """The floor and what causes it in plain words, from fit.json; nothing where there is none."""
    given = document.get("resolution")
    return read_resolution(document).note(given["first_row"] or "") if given else ""


def read_estimates(document: dict[str, Any]) -> list[tuple[str, Mixture, float]]:
    """Name, mixture and log-likelihood of each estimator, from fit.json."""
    import pandas as pd

    table = pd.DataFrame(document["estimators"])
    chosen = read_fit(document)
    found = []
    for name, rows in table.groupby("estimator", sort=False):
        # The chosen fit may have components of other families.
        parameters = rows[["weight", "mean", "sigma"]].to_numpy(dtype=np.float64).T
        mixture = chosen.mixture if name == chosen.estimator else Mixture(*parameters)
        found.append((str(name), mixture, float(rows["loglik"].iloc[0])))
    return found


def read_verdicts(paths: Iterable[str | Path]) -> dict[tuple[str, str, str], str]:
    """Verdicts by catalog, new release and column.

    Parameters
    ----------
    paths : iterable of path
        The summary.csv of each comparison of two releases.
    """
    found = {}
    for path in paths:
        for row in read_comparison(path)[0].to_dict("records"):
            found[row["catalog"], row["new"], row["column"]] = row["verdict"]
    return found


def read_comparison(summary: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of a comparison of two releases: its summary.csv, and components.csv beside it."""
    path = Path(summary)
    return (
        _read_back(path, "catalog", "old", "new", "column", "unit", "verdict", "note"),
        _read_back(path.with_name("components.csv"), "column", "status", "parameter", "unit").astype(
            {"component_old": "Int64", "component_new": "Int64"}
        ),
    )


def _read_back(path: Path, *texts: str) -> pd.DataFrame:
    """A table of numbers and of these texts, which stay as they are: a column may be called 1 or nan."""
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.astype({name: np.float64 for name in frame.columns if name not in texts})


def write_members(
    path: Path,
    mixture: Mixture,
    label: str,
    blocks: Iterable[tuple[np.ndarray, Cells]],
    *,
    weighted: bool = False,
    limited: bool = False,
    binned: bool = False,
) -> None:
    """One row per used catalog row: memberships and the true value that each row's own error allows.

    Rows are worked on and written a block at a time; the bytes do not depend on the blocks that they come in.

    Parameters
    ----------
    path : Path
        Parquet file to write.
    mixture : Mixture
        The fit.
    label : str
        Name of the first column: the catalog's key, or `row`.
    blocks : iterable of (ndarray, Cells)
        Blocks of rows: the values of that column, and one cell per row.
    weighted, limited, binned : bool
        Whether the rows of any block have weights, are limits, or are bins, which have a row each.

    Raises
    ------
    ConfigError
        If the key has the name of another column of the table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(labels: np.ndarray, cells: Cells) -> pa.Table:
        x, err, limits = cells.x, cells.err, cells.limits
        columns: dict[str, np.ndarray] = {"value": x, "err": err}
        if cells.edges is None:
            resp = mixture.responsibilities(x, err, limits)
            true_mean, true_unc = mixture.posterior(x, err, limits)
        else:
            from mixpipe.assess.binned import classify_bins

            resp, true_mean, true_unc = classify_bins(mixture, cells.edges, err)
            columns["low"], columns["high"] = cells.edges.T
        if limited:
            columns["limit"] = np.zeros(len(cells), np.int8) if limits is None else limits
        if weighted:
            columns["weight"] = cells.weights
        columns["component"] = (np.argmax(resp, axis=1) + 1).astype(np.int32)
        columns.update({f"p_{j + 1}": resp[:, j] for j in range(mixture.n_components)})
        columns["true_mean"], columns["true_unc"] = true_mean, true_unc
        if label in columns:
            raise ConfigError(
                f"the key {label!r} has the name of a column of members.parquet",
                f"in {path}",
                "a key of another name",
            )
        return pa.table({name: pa.array(values) for name, values in {label: labels, **columns}.items()})

    def write(temporary: Path) -> None:
        writer = None
        for labels, cells in _evenly(blocks):
            rows = table(labels, cells)
            writer = writer or pq.ParquetWriter(temporary, rows.schema, compression="zstd")
            writer.write_table(rows.cast(writer.schema))
        if writer is not None:
            writer.close()

    write_file(path, write)


def _evenly(blocks: Iterable[tuple[np.ndarray, Cells]]) -> Iterator[tuple[np.ndarray, Cells]]:
    """The same rows in blocks of one size: the last digits of sums may depend on where a block begins."""
    waiting: list[tuple[np.ndarray, Cells]] = []
    n_waiting = 0
    for labels, cells in blocks:
        waiting.append((labels, cells))
        n_waiting += len(cells)
        if n_waiting < _BLOCK:
            continue
        labels, cells = _together(waiting)
        for start in range(0, n_waiting - _BLOCK + 1, _BLOCK):
            part = slice(start, start + _BLOCK)
            yield labels[part], cells[part]
        rest = slice(n_waiting // _BLOCK * _BLOCK, None)
        n_waiting %= _BLOCK
        waiting = [(labels[rest], cells[rest])] if n_waiting else []
    if waiting:
        yield _together(waiting)


def _together(blocks: list[tuple[np.ndarray, Cells]]) -> tuple[np.ndarray, Cells]:
    if len(blocks) == 1:
        return blocks[0]
    labels = [labels for labels, _ in blocks]
    joined = np.ma.concatenate(labels) if any(map(np.ma.isMaskedArray, labels)) else np.concatenate(labels)
    return joined, reduce(add, (cells for _, cells in blocks))
