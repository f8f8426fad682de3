"""All pictures of one fit."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mixpipe.figures.classes import draw_classes
from mixpipe.figures.mixture import draw_mixture
from mixpipe.figures.quality import draw_quality
from mixpipe.figures.selection import draw_selection
from mixpipe.model import FitResult


def fit_figures(
    fit: FitResult,
    selection_table: pd.DataFrame,
    criterion: str,
    x: ArrayLike,
    err: ArrayLike | None,
    weights: ArrayLike | None = None,
    *,
    label: str,
    unit: str | None,
) -> dict[str, Figure]:
    """Draw a fit: see the ``draw_`` function of each name for the arguments.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        ``mixture``, ``selection``, ``classes`` and ``quality``.
    """
    return {
        "mixture": draw_mixture(fit, x, err, weights, label=label, unit=unit),
        "selection": draw_selection(selection_table, criterion, label=label),
        "classes": draw_classes(fit, x, err, label=label, unit=unit),
        "quality": draw_quality(fit, x, err, weights, label=label),
    }
