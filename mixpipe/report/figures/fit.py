"""All figures of one fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mixpipe.model.estimate import Estimate
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import Noise, with_sides
from mixpipe.model.results import Array, FitResult
from mixpipe.model.window import Window
from mixpipe.report.figures.classes import draw_classes
from mixpipe.report.figures.estimators import draw_estimators
from mixpipe.report.figures.look import DEFAULT, Look
from mixpipe.report.figures.mixture import draw_mixture
from mixpipe.report.figures.quality import draw_quality
from mixpipe.report.figures.selection import draw_selection


def fit_figures(
    fit: FitResult,
    selection_table: pd.DataFrame,
    criterion: str,
    estimates: Sequence[Estimate],
    x: ArrayLike,
    err: ArrayLike | Noise | None,
    weights: ArrayLike | None = None,
    *,
    label: str,
    unit: str | None,
    limits: ArrayLike | None = None,
    window: Window | None = None,
    bins: ArrayLike | None = None,
    look: Look = DEFAULT,
) -> dict[str, Figure]:
    """Draw all figures of a fit; see the ``draw_`` functions of the same names, and `Cells` for the data.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        ``mixture``, ``selection``, ``classes``, ``quality`` and ``estimators``.
    """
    rows, share = drawn_rows(fit.mixture, (x, err, weights), window)
    place: dict[str, Any] = {"label": label, "unit": unit, "share": share, "window": window, "bins": bins}
    place |= {"limits": limits, "look": look}
    return {
        "mixture": draw_mixture(fit, *rows, **place),
        "selection": draw_selection(selection_table, criterion, label=label),
        "classes": draw_classes(fit, *rows, **place),
        "quality": draw_quality(fit, *rows, **place),
        "estimators": draw_estimators(estimates, *rows, **place),
    }


def drawn_rows(
    mixture: Mixture, rows: tuple[ArrayLike, ArrayLike | Noise | None, ArrayLike | None], window: Window | None
) -> tuple[tuple[Array, Array | Noise, Array | None], float]:
    """Values, errors and weights of the rows, and their fraction of the mixture's rows, all of which a window may not
    have let through.
    """
    x = np.asarray(rows[0], dtype=np.float64)
    err = with_sides(x, 0.0 if rows[1] is None else rows[1])
    err = err if isinstance(err, Noise) else np.broadcast_to(err, x.shape)
    weights = None if rows[2] is None else np.asarray(rows[2], dtype=np.float64)
    if window is None:
        return (x, err, weights), 1.0
    inside = window.seen(mixture, err)
    return (x, err, weights), float(1.0 / np.average(1.0 / inside, weights=weights))
