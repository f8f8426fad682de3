"""The figures of one fit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from mixpipe.figures import fit_figures, save_figure
from mixpipe.provenance import check_code
from mixpipe.tables import read_estimates, read_fit


def draw_figures(
    code: str,
    fit: str,
    members: str,
    mixture: Sequence[str],
    selection: Sequence[str],
    classes: Sequence[str],
    quality: Sequence[str],
    estimators: Sequence[str],
) -> None:
    """Draw a fit.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fit, members : str
        fit.json and members.parquet, from `fit_column`.
    mixture, selection, classes, quality, estimators : sequence of str
        Files to write for each figure: PNG and SVG.
    """
    check_code("figures", code)
    document = json.loads(Path(fit).read_text(encoding="utf-8"))
    result = read_fit(document)
    label = " / ".join(document[part] for part in ("catalog", "release", "column"))
    wanted = [name for name in ("value", "err", "weight", "limit") if name in pq.read_schema(members).names]
    rows = pq.read_table(members, columns=wanted).to_pandas()
    x, err, weights = rows["value"], rows["err"], rows.get("weight")
    if weights is None and result.n_data != len(x):
        raise ValueError(f"{members} has {len(x)} rows without weights, the fit {result.n_data:g}")
    table = pd.DataFrame(document["selection"])
    bounds = document["truncated"]
    figures = fit_figures(
        result,
        table,
        document["criterion"],
        read_estimates(document),
        x,
        err,
        weights,
        label=label,
        unit=document["unit"],
        limits=rows.get("limit"),
        truncated=bounds
        and (-math.inf if bounds[0] is None else bounds[0], math.inf if bounds[1] is None else bounds[1]),
    )
    paths = {
        "mixture": mixture,
        "selection": selection,
        "classes": classes,
        "quality": quality,
        "estimators": estimators,
    }
    for name, figure in figures.items():
        save_figure(figure, *paths[name])
