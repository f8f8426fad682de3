"""The figure of a column that has no fit."""

from __future__ import annotations

from matplotlib.figure import Figure

from mixpipe.report.figures.style import NOTE_COLOUR, finish, new_figure, style
from mixpipe.report.typesetting import wrap

_HEIGHT = 1.2
_WIDTH, _LINES = 70, 6


def draw_failure(reason: str, *, label: str) -> Figure:
    """Draw a figure that says why there is no fit.

    Parameters
    ----------
    reason : str
        Reason why there is no fit.
    label : str
        Title, ``catalog / release / column``.
    """
    with style():
        figure = new_figure(_HEIGHT)
        axes = figure.subplots()
        axes.set_axis_off()
        text = wrap(reason, _WIDTH, _LINES)
        axes.text(0.0, 0.95, text, va="top", color=NOTE_COLOUR, parse_math=False, transform=axes.transAxes)
        return finish(figure, label, "no fit")
