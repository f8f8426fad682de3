"""Results as tables and files. Nothing here fits anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixpipe.assess.quality import Quality
from mixpipe.base.errors import ConfigError
from mixpipe.base.files import write_file
from mixpipe.model.bimodality import Bimodality
from mixpipe.model.cells import Cells
from mixpipe.model.constraints import Constraint
from mixpipe.model.estimate import Estimate
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import TwoSided
from mixpipe.model.resolution import Resolution
from mixpipe.model.results import Array, FitResult, Selection, Uncertainties
from mixpipe.model.window import Window
from mixpipe.results.record import (
    EXPECTED_VALUES,
    FILE,
    ComponentRecord,
    EstimateRow,
    FailedRecord,
    FitRecord,
    IntervalRow,
    QualityRecord,
    Record,
    RecordError,
    ResolutionRecord,
    SelectionRow,
    StartComponent,
    WindowRecord,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Columns of members.parquet with errors; the sides are there if the errors have two.
ERROR_COLUMNS = ("err", "err_lower", "err_upper")

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
    "intervals": ("method", "component", "parameter", "estimate", "level", "lower", "upper", "preferred"),
    # One column for each parameter follows.
    "covariance": ("parameter",),
    "bimodality": tuple(field.name for field in fields(Bimodality)),
}

# Columns of text in the summary of a comparison.
_TEXTS_OF_SUMMARY = (
    "catalog",
    "old",
    "new",
    "column",
    "unit",
    "verdict",
    "evidence",
    "threshold",
    "shifted",
    "hints",
    "note",
)

# Rows per block of the members table: bounds its memory to some MB.
_BLOCK = 1 << 17


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """A CSV file with a header, numbers in full precision, and `nan` for what is not available."""
    write_file(path, lambda temporary: frame.to_csv(temporary, index=False, na_rep="nan", lineterminator="\n"))


def components_table(fit: FitResult, unit: str | None = None, sigma_upper: Array | None = None) -> pd.DataFrame:
    """One row per component, sorted by mean: weight, mean and sigma with uncertainties, boundary, unit.

    Then the 95 % upper limit of a sigma on the boundary; the family, which says what mean and sigma are; its third
    parameter, nan where it has none; and, if anything is given or shared, what.
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
    if mixture.is_constrained:
        columns["constraint"] = np.array([rule.text for rule in mixture.constraints])
    return {name: column.tolist() for name, column in columns.items()}


def covariance_table(fit: FitResult) -> pd.DataFrame:
    """The covariance of all parameters: a column with their names, and one for each of them."""
    import pandas as pd

    table = pd.DataFrame(fit.covariance, columns=list(fit.parameter_names))
    table.insert(0, "parameter", list(fit.parameter_names))
    return table


def bimodality_table(found: Bimodality | None) -> pd.DataFrame:
    """The evidence for two populations as one row; no row without a fit with two components."""
    import pandas as pd

    return pd.DataFrame([] if found is None else [asdict(found)], columns=list(COLUMNS["bimodality"]))


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


def make_fit_record(
    selection: Selection,
    quality: Quality,
    *,
    sigma_upper: Array | None = None,
    first_row: str = "",
    **others: Any,
) -> FitRecord:
    """Record a fit.

    Parameters
    ----------
    selection : Selection
        The fits that it was chosen from.
    quality : Quality
        How well it describes the data.
    sigma_upper : array_like, optional
        Upper limits of the sigmas on the boundary.
    first_row : str
        What the first row is called whose error is smaller than the grain of the values.
    **others
        The fields of `FitRecord` that these do not say.
    """
    fit = selection.best
    resolution = asdict(fit.resolution)
    del resolution["first"]
    resolution["finest"] = resolution["finest"] or None
    return FitRecord(
        n_data=fit.n_data,
        estimator=fit.estimator,
        criterion=selection.criterion,
        n_components=fit.n_components,
        n_params=fit.n_params,
        loglik=fit.loglik,
        entropy=fit.entropy,
        bic=fit.bic,
        aic=fit.aic,
        icl=fit.icl,
        converged=fit.converged,
        remaining_gain=fit.remaining_gain,
        n_passes=fit.n_passes,
        sigma_floor=fit.sigma_floor,
        error_scale=None if fit.error_scale == 1.0 else fit.error_scale,
        error_scale_unc=None if math.isnan(fit.error_scale_unc) else fit.error_scale_unc,
        prior_rows=fit.prior_rows or None,
        resolution=ResolutionRecord(**resolution, first_row=first_row or None),
        components=record_components(fit, sigma_upper),
        covariance=tuple(map(tuple, fit.covariance)),
        selection=tuple(SelectionRow(**row) for row in selection.records()),
        quality=QualityRecord(**asdict(quality), verdict=quality.verdict),
        warnings=fit.warnings,
        **others,
    )


def record_components(fit: FitResult, sigma_upper: Array | None = None) -> tuple[ComponentRecord, ...]:
    """The components of a fit for its record."""
    columns = _component_columns(fit, None, sigma_upper)
    del columns["component"], columns["unit"]
    columns["constraint"] = [rule.as_dict() or None for rule in fit.mixture.constraints]
    columns["effective_rows"] = fit.effective_rows.tolist()
    rows = zip(*columns.values(), strict=True)
    return tuple(ComponentRecord(**dict(zip(columns, row, strict=True))) for row in rows)


def records_table(rows: Iterable[SelectionRow | EstimateRow | IntervalRow]) -> pd.DataFrame:
    """The rows of a record as a table."""
    import pandas as pd

    return pd.DataFrame([vars(row) for row in rows])


def _column(rows: Iterable[Any], name: str) -> Array:
    """An attribute of each row; None is nan."""
    return np.array([_number(getattr(row, name)) for row in rows], dtype=np.float64)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def read_mixture(components: Sequence[ComponentRecord | StartComponent], file: str | Path = FILE) -> Mixture:
    """The mixture that a record has.

    Parameters
    ----------
    components : sequence of ComponentRecord or StartComponent
        Its components.
    file : path
        The file of the record, for the message.

    Raises
    ------
    RecordError
        If they make no mixture.
    """
    weights, means, sigmas, shapes = (_column(components, name) for name in ("weight", "mean", "sigma", "shape"))
    try:
        families = tuple(component.family for component in components)
        rules = tuple(Constraint.from_dict(component.constraint or {}) for component in components)
        return Mixture(weights, means, sigmas, families, shapes, rules)
    except (TypeError, ValueError) as error:
        what = f"no fit, or a damaged one: key components makes no mixture ({error})"
        raise RecordError(what, f"in {file}", EXPECTED_VALUES) from error


def status_columns(record: Record) -> dict[str, str]:
    """What tables of all columns say of each: ``fitted``, or ``failed`` and why."""
    return {"status": record.status, "reason": str(record.error) if isinstance(record, FailedRecord) else ""}


def read_fit(record: FitRecord, file: str | Path = FILE) -> FitResult:
    """The fit that a record is of; the arguments and errors are those of `read_mixture`."""
    components = record.components
    uncertainties = (_column(components, f"{name}_unc") for name in ("weight", "mean", "sigma", "shape"))
    return FitResult(
        mixture=read_mixture(components, file),
        estimator=record.estimator,
        loglik=_number(record.loglik),
        entropy=_number(record.entropy),
        n_data=_number(record.n_data),
        n_params=record.n_params,
        converged=record.converged,
        remaining_gain=_number(record.remaining_gain),
        n_passes=record.n_passes,
        sigma_floor=_number(record.sigma_floor),
        boundary=np.array([component.boundary for component in components], dtype=bool),
        uncertainties=Uncertainties(*uncertainties),
        warnings=record.warnings,
        resolution=read_resolution(record),
        error_scale=1.0 if record.error_scale is None else record.error_scale,
        error_scale_unc=_number(record.error_scale_unc),
        prior_rows=record.prior_rows or 0.0,
        effective_rows=_column(components, "effective_rows"),
        covariance=np.array(record.covariance or np.empty((0, 0)), dtype=np.float64),
    )


def read_bimodality(record: FitRecord) -> Bimodality | None:
    """The evidence for two populations that a record has."""
    found = record.bimodality
    if found is None:
        return None
    numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in vars(found).items()}
    return Bimodality(**numbers)


def read_resolution(record: FitRecord) -> Resolution:
    """What the values resolve; of a record that does not say it, the floor alone."""
    if record.resolution is None:
        return Resolution(_number(record.sigma_floor))
    found = record.resolution
    return Resolution(
        floor=found.floor,
        cause=found.cause,
        grain=found.grain,
        step=found.step,
        smallest_error=found.smallest_error,
        n_rows=found.n_rows,
        n_repeated=found.n_repeated,
        finest=found.finest or 0.0,
    )


def describe_resolution(record: FitRecord) -> str:
    """The floor and what causes it in plain words; nothing where there is none."""
    return read_resolution(record).note(record.resolution.first_row or "") if record.resolution else ""


def read_estimates(record: FitRecord) -> list[Estimate]:
    """What each estimator finds."""
    chosen = read_mixture(record.components)
    rows: dict[str, list[EstimateRow]] = {}
    for row in record.estimators:
        rows.setdefault(row.estimator, []).append(row)
    # The chosen fit may have components of other families.
    return [
        Estimate(
            name,
            chosen if name == record.estimator else _gaussian(found),
            _number(found[0].loglik),
            np.array([_number(row.mean_unc) for row in found]),
        )
        for name, found in rows.items()
    ]


def _gaussian(rows: Sequence[EstimateRow]) -> Mixture:
    return Mixture(_column(rows, "weight"), _column(rows, "mean"), _column(rows, "sigma"))


def read_comparison(summary: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of a comparison of two releases: its summary.csv, and components.csv beside it."""
    path = Path(summary)
    return (
        _read_back(path, *_TEXTS_OF_SUMMARY),
        _read_back(path.with_name("components.csv"), "column", "status", "parameter", "unit", "finding").astype(
            {"component_old": "Int64", "component_new": "Int64"}
        ),
    )


def _read_back(path: Path, *texts: str) -> pd.DataFrame:
    """A table of numbers and of these texts, which stay as they are: a column may be called 1 or nan."""
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.astype({name: np.float64 for name in frame.columns if name not in texts})


def window_record(window: Window | None) -> WindowRecord | None:
    """What fit.json says of a window; None of one interval for all rows, which it has as its bounds."""
    if window is None or window.is_interval:
        return None
    return WindowRecord(
        by_row=window.by_row,
        intervals=tuple(zip(window.low[0].tolist(), window.high[0].tolist(), strict=True)),
        values=tuple(window.points.tolist()),
        probabilities=tuple(window.probabilities.tolist()),
    )


def window_columns(record: FitRecord) -> list[str]:
    """Columns of members.parquet with the bounds of each row: low and high of one interval after the other."""
    if record.window is None or not record.window.by_row:
        return []
    return [name for k in range(len(record.window.intervals)) for name in _bound_names(k)]


def _bound_names(interval: int) -> tuple[str, str]:
    return f"window_{interval + 1}_low", f"window_{interval + 1}_high"


def read_window(record: FitRecord, rows: Any) -> Window | None:
    """The window of a fit; `rows` has the `window_columns`."""
    found = record.window
    if found is None:
        return Window.of(record.bounds)
    points = np.array(found.values), np.array(found.probabilities)
    if found.by_row:
        names = window_columns(record)
        low, high = (np.stack([np.asarray(rows[name]) for name in names[side::2]], axis=1) for side in (0, 1))
    else:
        low, high = (
            np.array([[end if pair[side] is None else pair[side] for pair in found.intervals]])
            for side, end in ((0, -np.inf), (1, np.inf))
        )
    return Window(low, high, *points)


def write_members(
    path: Path,
    mixture: Mixture,
    label: str,
    blocks: Iterable[tuple[np.ndarray, Cells]],
    *,
    weighted: bool = False,
    limited: bool = False,
    binned: bool = False,
    by_row: bool = False,
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
    by_row : bool
        Whether rows have bounds of their own.

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
        if isinstance(cells.noise, TwoSided):
            columns["err_lower"], columns["err_upper"] = cells.noise.lower, cells.noise.upper
        if cells.edges is None:
            resp = mixture.responsibilities(x, cells.errors, limits, cells.memberships)
            true_mean, true_unc = mixture.posterior(x, cells.errors, limits, cells.memberships)
        else:
            from mixpipe.assess.binned import classify_bins

            resp, true_mean, true_unc = classify_bins(mixture, cells.edges, err)
            columns["low"], columns["high"] = cells.edges.T
        if by_row and cells.window is not None:
            for k in range(cells.window.low.shape[1]):
                ends = cells.window.low[:, k], cells.window.high[:, k]
                columns.update(zip(_bound_names(k), (np.broadcast_to(end, x.shape) for end in ends), strict=True))
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
