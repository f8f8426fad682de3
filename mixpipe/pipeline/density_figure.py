"""The figure of a column of tabulated densities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mixpipe.model.mixture import Mixture
from mixpipe.report.figures import draw_failure, save_figure
from mixpipe.report.figures.densities import Example, draw_examples, example_title, heading
from mixpipe.results.provenance import check_code
from mixpipe.results.tables import read_failure


def draw_density_figure(code: str, fit: str, densities: Sequence[str]) -> None:
    """Draw the best, the median and the worst fit of a column.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fit : str
        fit.json, from `fit_density_column`.
    densities : sequence of str
        Files to write: PNG and SVG.
    """
    check_code("density_figure", code)
    document = json.loads(Path(fit).read_text(encoding="utf-8"))
    label = " / ".join(document[part] for part in ("catalog", "release", "column"))
    failure = read_failure(document)
    if failure is not None:
        save_figure(draw_failure(str(failure), label=label), *densities)
        return
    key = document["plan"]["key"] or "row"
    examples = [
        Example(
            example_title(entry["which"], f"{key} {entry['row']}", len(entry["means"]), entry["ks"]),
            np.array(entry["grid"]),
            np.array(entry["density"]),
            Mixture(entry["weights"], entry["means"], entry["sigmas"]),
        )
        for entry in document["examples"]
    ]
    dropped = document["account"]["dropped"]
    n_rejected = sum(number for reason, number in dropped.items() if reason != "cut")
    figure = draw_examples(
        examples,
        heading(document["n_data"], document["ks"]["median"], n_rejected),
        label=label,
        unit=document["unit"],
    )
    save_figure(figure, *densities)
