"""What some columns of the rows of a joint fit say of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mixpipe.pipeline.failure import write_no_rows
from mixpipe.results.joint_tables import predicted_rows, read_joint_mixture, rows_of, write_parquet
from mixpipe.results.provenance import check_code
from mixpipe.results.record import JointRecord, load_record

_BLOCK = 1 << 17


def predict_rows(code: str, plan: str, fit: str, members: str, table: str) -> None:
    """Predict columns of each row from others alone.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    plan : str
        JSON: ``given``, the columns that are taken as known, and ``of``, those to predict.
    fit, members : str
        fit.json and members.parquet of a joint fit.
    table : str
        Parquet file to write: the key of each row, ``mean_A`` and ``unc_A`` of the true value of each column A,
        ``corr_A_B`` of each pair, and ``is_given``.
    """
    check_code("predict", code)
    given, of = (json.loads(plan)[name] for name in ("given", "of"))
    record = load_record(fit)
    if not isinstance(record, JointRecord):
        write_no_rows(Path(table), record.key, {f"mean_{name}": pa.float64() for name in of})
        return
    mixture, source = read_joint_mixture(record, fit), pq.ParquetFile(members)

    def blocks() -> Iterator[pa.Table]:
        for batch in source.iter_batches(_BLOCK):
            rows = pa.Table.from_batches([batch])
            x, cov, _ = rows_of(rows, mixture.names)
            yield pa.table({rows.column_names[0]: rows.column(0), **predicted_rows(mixture, x, cov, given, of)})

    write_parquet(Path(table), blocks())
