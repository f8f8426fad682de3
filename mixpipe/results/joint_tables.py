"""Results of joint fits as tables and records, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixpipe.base.arrays import Array
from mixpipe.base.files import write_file
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit, JointUncertainties
from mixpipe.model.resolution import Resolution
from mixpipe.model.results import Selection
from mixpipe.results.record import FILE, JointComponentRecord, JointRecord, RecordError, ResolutionRecord, SelectionRow

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mixpipe.catalog.joint import JointData


def components_frame(fit: JointFit, units: Sequence[str | None]) -> pd.DataFrame:
    """One row for each component: weight, mean and sigma of each column A, correlation of each pair A, B.

    Each is followed by its uncertainty; the columns have their units, and each component the rank of its covariance.
    """
    import pandas as pd

    mixture, unc = fit.mixture, fit.uncertainties
    size = mixture.n_components
    columns: dict[str, Any] = {
        "component": np.arange(1, size + 1),
        "weight": mixture.weights,
        "weight_unc": unc.weights,
    }
    for a, name in enumerate(mixture.names):
        columns |= {
            f"mean_{name}": mixture.means[:, a],
            f"mean_{name}_unc": unc.means[:, a],
            f"sigma_{name}": mixture.sigmas[:, a],
            f"sigma_{name}_unc": unc.sigmas[:, a],
            f"unit_{name}": [units[a] or ""] * size,
        }
    for a, b, pair in _pairs(mixture.names):
        columns |= {f"corr_{pair}": mixture.correlations[:, a, b], f"corr_{pair}_unc": unc.correlations[:, a, b]}
    return pd.DataFrame({**columns, "rank": fit.rank, "effective_rows": fit.effective_rows})


def _pairs(names: Sequence[str]) -> list[tuple[int, int, str]]:
    return [(a, b, f"{names[a]}_{names[b]}") for a in range(len(names)) for b in range(a + 1, len(names))]


def member_rows(mixture: JointMixture, data: JointData, labels: Any, label: str, weighted: bool) -> pa.Table:
    """One row per used catalog row: values, errors, memberships, and the true values that these allow.

    Columns: the key, or ``row``; ``value_A`` and ``err_A`` of each column A, null where missing; ``err_corr_A_B`` of
    each pair; ``weight``, if there are any; ``component`` and ``p_1``, ``p_2``, ...; ``true_mean_A``, ``true_unc_A``
    and ``true_corr_A_B`` of the true values, those that are missing among them.
    """
    import pyarrow as pa

    names = mixture.names
    missing = np.isnan(data.x)
    err = np.sqrt(np.maximum(np.diagonal(data.cov, axis1=1, axis2=2), 0.0))
    columns: dict[str, Any] = {}
    for a, name in enumerate(names):
        columns[f"value_{name}"] = pa.array(data.x[:, a], mask=missing[:, a])
        columns[f"err_{name}"] = pa.array(err[:, a], mask=missing[:, a])
    for a, b, pair in _pairs(names):
        columns[f"err_corr_{pair}"] = _ratio(data.cov[:, a, b], err[:, a] * err[:, b])
    if weighted:
        columns["weight"] = data.weights
    shares = mixture.responsibilities(data.x, cov=data.cov)
    columns["component"] = (np.argmax(shares, axis=1) + 1).astype(np.int32)
    columns |= {f"p_{j + 1}": shares[:, j] for j in range(mixture.n_components)}
    mean, cov = mixture.posterior(data.x, cov=data.cov)
    columns |= _gaussians("true", names, mean, cov)
    return _table(label, labels, columns)


def predicted_rows(
    mixture: JointMixture, x: Array, cov: Array, given: Sequence[str], of: Sequence[str]
) -> dict[str, Array]:
    """What some columns of each row say of others: ``mean_A`` and ``unc_A`` of the true value, ``corr_A_B`` of pairs.

    ``is_given`` says whether a row has any of the columns; without, the numbers are those of the whole mixture.
    """
    known = np.where([name in given for name in mixture.names], x, np.nan)
    mean, total = mixture.posterior(known, cov=cov)
    places = [mixture.names.index(name) for name in of]
    columns: dict[str, Any] = _gaussians("", of, mean[:, places], total[:, places][:, :, places])
    return {**columns, "is_given": ~np.isnan(known).all(axis=1)}


def _gaussians(prefix: str, names: Sequence[str], mean: Array, cov: Array) -> dict[str, Array]:
    start = f"{prefix}_" if prefix else ""
    unc = np.sqrt(np.maximum(np.diagonal(cov, axis1=1, axis2=2), 0.0))
    columns: dict[str, Array] = {}
    for a, name in enumerate(names):
        columns |= {f"{start}mean_{name}": mean[:, a], f"{start}unc_{name}": unc[:, a]}
    for a, b, pair in _pairs(names):
        columns[f"{start}corr_{pair}"] = _ratio(cov[:, a, b], unc[:, a] * unc[:, b])
    return columns


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0.0)


def _table(label: str, labels: Any, columns: dict[str, Any]) -> pa.Table:
    import pyarrow as pa

    return pa.table({label: pa.array(np.ma.getdata(labels), mask=np.ma.getmaskarray(labels)), **columns})


def write_parquet(path: Path, blocks: Iterable[pa.Table]) -> None:
    """Write blocks of rows to a Parquet file, whole or not at all."""
    import pyarrow.parquet as pq

    def write(temporary: Path) -> None:
        writer = None
        for rows in blocks:
            writer = writer or pq.ParquetWriter(temporary, rows.schema, compression="zstd")
            writer.write_table(rows.cast(writer.schema))
        if writer is not None:
            writer.close()

    write_file(path, write)


def read_rows(members: str | Path, names: Sequence[str], every: int = 1) -> tuple[Array, Array, Array]:
    """Values, covariances of the errors, and weights of every n-th row of a members.parquet.

    Returns
    -------
    x : ndarray, shape (n, n_dims)
        nan where missing.
    cov : ndarray, shape (n, n_dims, n_dims)
    weights : ndarray, shape (n,)
        One without weights.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(members)
    wanted = _row_columns(names, file.schema_arrow.names)
    if every == 1:
        return rows_of(file.read(columns=wanted), names)
    parts, n_before = [], 0
    for group in range(file.num_row_groups):
        block = file.read_row_group(group, columns=wanted)
        parts.append(block.take(np.arange(-n_before % every, block.num_rows, every)))
        n_before += block.num_rows
    return rows_of(pa.concat_tables(parts), names)


def _row_columns(names: Sequence[str], there: Sequence[str]) -> list[str]:
    wanted = [f"{word}_{name}" for name in names for word in ("value", "err")]
    wanted += [f"err_corr_{pair}" for _, _, pair in _pairs(names)]
    return [*wanted, *(name for name in ("weight",) if name in there)]


def rows_of(table: pa.Table, names: Sequence[str]) -> tuple[Array, Array, Array]:
    """Values, covariances and weights of rows of a members.parquet; see `read_rows`."""

    def numbers(name: str) -> Array:
        return np.array(table.column(name).to_numpy(), dtype=np.float64)

    x = np.column_stack([numbers(f"value_{name}") for name in names])
    err = np.nan_to_num(np.column_stack([numbers(f"err_{name}") for name in names]))
    cov = np.zeros((len(x), len(names), len(names)))
    cov[:, range(len(names)), range(len(names))] = err**2
    for a, b, pair in _pairs(names):
        cov[:, a, b] = cov[:, b, a] = numbers(f"err_corr_{pair}") * err[:, a] * err[:, b]
    return x, cov, numbers("weight") if "weight" in table.column_names else np.ones(len(x))


def make_joint_record(selection: Selection, fit: JointFit, **others: Any) -> JointRecord:
    """Record a joint fit.

    Parameters
    ----------
    selection : Selection
        The fits that it was chosen from.
    fit : JointFit
        The fit, which may know more than that in the selection.
    **others
        The fields of `JointRecord` that these do not say.
    """
    return JointRecord(
        names=fit.names,
        structure=fit.structure,
        n_data=fit.n_data,
        criterion=selection.criterion,
        n_components=fit.n_components,
        n_params=fit.n_params,
        n_params_by_rank=fit.n_params_by_rank,
        loglik=fit.loglik,
        entropy=fit.entropy,
        bic=fit.bic,
        aic=fit.aic,
        icl=fit.icl,
        converged=fit.converged,
        remaining_gain=fit.remaining_gain,
        n_passes=fit.n_passes,
        components=record_joint_components(fit),
        parameter_names=fit.parameter_names,
        covariance=tuple(map(tuple, fit.covariance)),
        resolutions=record_resolutions(fit),
        selection=tuple(SelectionRow(**row) for row in selection.records()),
        warnings=fit.warnings,
        **others,
    )


def record_joint_components(fit: JointFit) -> tuple[JointComponentRecord, ...]:
    """The components of a fit for its record."""
    mixture, unc = fit.mixture, fit.uncertainties
    return tuple(
        JointComponentRecord(
            weight=mixture.weights[j],
            weight_unc=unc.weights[j],
            means=mixture.means[j],
            means_unc=unc.means[j],
            sigmas=mixture.sigmas[j],
            sigmas_unc=unc.sigmas[j],
            correlations=mixture.correlations[j],
            correlations_unc=unc.correlations[j],
            covariances=mixture.covariances[j],
            rank=int(fit.rank[j]),
            null_directions=tuple(map(tuple, fit.null_directions[j])),
            null_limits=tuple(fit.null_limits[j]),
            effective_rows=fit.effective_rows[j],
        )
        for j in range(mixture.n_components)
    )


def record_resolutions(fit: JointFit) -> tuple[ResolutionRecord, ...]:
    """What the values of each column resolve, for the record of a fit."""
    found = []
    for resolution in fit.resolutions:
        keys = asdict(resolution)
        # Several columns have no intervals.
        del keys["first"], keys["finest"]
        found.append(ResolutionRecord(**keys, first_row=None))
    return tuple(found)


def read_joint_mixture(record: JointRecord, file: str | Path = FILE) -> JointMixture:
    """The mixture that a record has.

    Raises
    ------
    RecordError
        If its components make no mixture.
    """
    try:
        return JointMixture(
            np.array([component.weight for component in record.components]),
            np.array([component.means for component in record.components]),
            np.array([component.covariances for component in record.components]),
            record.names,
        )
    except ValueError as error:
        what = f"no fit, or a damaged one: key components makes no mixture ({error})"
        raise RecordError(what, f"in {file}", "the fit.json of a joint fit: run the fit again") from error


def read_joint_fit(record: JointRecord, file: str | Path = FILE) -> JointFit:
    """The fit that a record is of, without the derivatives; the errors are those of `read_joint_mixture`."""

    def array(name: str) -> Array:
        return np.array([getattr(component, name) for component in record.components], dtype=np.float64)

    mixture = read_joint_mixture(record, file)
    variances_unc = np.full(mixture.covariances.shape, np.nan)
    fit = JointFit(
        mixture=mixture,
        estimator="em",
        loglik=_number(record.loglik),
        entropy=_number(record.entropy),
        n_data=record.n_data,
        n_params=record.n_params,
        converged=record.converged,
        remaining_gain=_number(record.remaining_gain),
        n_passes=record.n_passes,
        boundary=np.array([component.rank < mixture.n_dims for component in record.components]),
        effective_rows=array("effective_rows"),
        warnings=record.warnings,
        has_equal_sigmas=record.structure == "equal",
        uncertainties=JointUncertainties(
            array("weight_unc"), array("means_unc"), array("sigmas_unc"), array("correlations_unc"), variances_unc
        ),
        structure=record.structure,
        rank=np.array([component.rank for component in record.components], dtype=np.intp),
        null_directions=tuple(
            np.array(component.null_directions, dtype=np.float64).reshape(-1, mixture.n_dims)
            for component in record.components
        ),
        null_limits=tuple(np.array(component.null_limits, dtype=np.float64) for component in record.components),
        n_params_by_rank=record.n_params_by_rank,
        covariance=np.array(record.covariance, dtype=np.float64),
        parameter_names=record.parameter_names,
        resolutions=tuple(
            Resolution(
                floor=one.floor,
                cause=one.cause,
                grain=one.grain,
                step=one.step,
                smallest_error=one.smallest_error,
                n_rows=one.n_rows,
                n_repeated=one.n_repeated,
            )
            for one in record.resolutions
        ),
    )
    return fit


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
