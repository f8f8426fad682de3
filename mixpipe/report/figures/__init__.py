"""Figures of a fit: functions that turn values into Matplotlib figures. Nothing is fitted here."""

from mixpipe.report.figures.classes import draw_classes
from mixpipe.report.figures.curves import fit_curves
from mixpipe.report.figures.estimators import draw_estimators
from mixpipe.report.figures.failure import draw_failure
from mixpipe.report.figures.fit import drawn_rows, fit_figures
from mixpipe.report.figures.mixture import draw_mixture
from mixpipe.report.figures.plot import plot_fit, plot_selection
from mixpipe.report.figures.quality import draw_quality
from mixpipe.report.figures.selection import draw_selection
from mixpipe.report.figures.style import PICTURE_FORMATS, save_figure

__all__ = [
    "PICTURE_FORMATS",
    "draw_classes",
    "draw_estimators",
    "draw_failure",
    "draw_mixture",
    "draw_quality",
    "draw_selection",
    "drawn_rows",
    "fit_curves",
    "fit_figures",
    "plot_fit",
    "plot_selection",
    "save_figure",
]
