"""The figure of a column of tabulated densities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mixpipe.model.mixture import Mixture
from mixpipe.model.truncated import TruncatedMixture
from mixpipe.report.figures import draw_failure, save_figure
from mixpipe.report.figures.densities import Example, draw_examples, example_title, heading
from mixpipe.report.figures.look import Look, read_look
from mixpipe.report.figures.style import styled
from mixpipe.results.provenance import check_code
from mixpipe.results.record import DensityRecord, FailedRecord, load_record


def draw_density_figure(code: str, fit: str, densities: Sequence[str], look: str = "{}") -> None:
    """Draw the best, the median and the worst fit of a column.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fit : str
        fit.json, from `fit_density_column`.
    densities : sequence of str
        Files to write: PNG, SVG and PDF.
    look : str
        What is set for the figure; see `Run.look`.
    """
    check_code("density_figure", code)
    wanted, chosen = read_look(look)
    with styled(chosen):
        save_figure(_figure(fit, wanted), *densities)


def _figure(fit: str, look: Look) -> Figure:
    record = load_record(fit)
    if isinstance(record, FailedRecord):
        return draw_failure(str(record.error), label=record.label)
    if not isinstance(record, DensityRecord):
        raise TypeError(f"{fit} is of a column of values")
    examples = [
        Example(
            example_title(entry.which, f"{record.key or 'row'} {entry.row}", len(entry.means), entry.ks),
            np.array(entry.grid),
            np.array(entry.density),
            TruncatedMixture(
                Mixture(np.array(entry.weights), np.array(entry.means), np.array(entry.sigmas)), *entry.bounds
            ),
            None if entry.edges is None else np.array(entry.edges),
        )
        for entry in record.examples
    ]
    n_rejected = sum(number for reason, number in record.account.dropped.items() if reason != "cut")
    return draw_examples(
        examples,
        heading(record.n_data, math.nan if record.ks.median is None else record.ks.median, n_rejected),
        label=record.label,
        unit=record.unit,
        abscissa=record.abscissa,
        look=look,
    )
