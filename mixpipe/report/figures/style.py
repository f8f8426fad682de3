"""The common style of all figures, and files whose bytes depend only on the figure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mixpipe.base.files import write_file
from mixpipe.report.drawing import COMPONENT_COLOURS

# Line style and hatch of the components in the first cycle of colours, in the second, and in all later ones.
_CYCLES: tuple[tuple[Literal["-", "--", "-."], str | None], ...] = (("-", None), ("--", "////"), ("-.", "...."))
MODEL_COLOUR = "#000000"
DATA_COLOUR = "#8A8A8A"
DATA_FILL = "#D9D9D9"
NOTE_COLOUR = "#4D4D4D"

# Formats in which a figure can be saved, by the suffix of the path, and the metadata that each must leave out, such as
# dates and versions.
PICTURE_FORMATS: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}

# Inches: a figure of 12 cm, or of the 17.4 cm of a page, is printed with the font sizes below unscaled.
WIDTH, WIDE = 12.0 / 2.54, 17.4 / 2.54
_DPI = 200
_SCREEN_DPI = 120
_TITLE_SIZE, _NOTE_SIZE, _LEGEND_SIZE = 8.5, 7.5, 7.0  # points
_TITLE_WIDTH, _TITLE_LINES, _NOTE_WIDTH = 62, 3, 84  # characters that fit across 12 cm
_LINE, _LEGEND_LINE, _GAP = 1.28 / 72.0, 1.65 / 72.0, 0.1  # line height per point of size; inches

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": _LEGEND_SIZE,
    "legend.frameon": False,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "lines.linewidth": 1.1,
    "patch.linewidth": 0.5,
    "hatch.linewidth": 0.4,
    "svg.hashsalt": "mixpipe",
    "svg.fonttype": "path",
}


def style() -> AbstractContextManager[None]:
    """The style as a context manager; it starts from Matplotlib's defaults and ignores a user's matplotlibrc."""
    return matplotlib.style.context(["default", _RC])


class ShownFigure(Figure):
    """A figure that a notebook shows by itself; one of Matplotlib is shown only after `pyplot` has made a figure."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        with style():
            self.savefig(picture, format="png", dpi=_SCREEN_DPI, metadata=PICTURE_FORMATS[".png"])
        return picture.getvalue()


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, by default of the common width, whose axes take `height` inches; to be called inside `style`."""
    figure = ShownFigure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def finish(figure: Figure, label: str, notes: str, handles: Sequence[Artist] = (), columns: int = 3) -> Figure:
    """Add title, notes and legend above and below the axes, and fix the layout.

    The figure grows by the space that these need, so that many components or a long name do not shrink the axes. Text
    from users is never read as markup.
    """
    wider = figure.get_figwidth() / WIDTH
    title = wrap(label, int(wider * _TITLE_WIDTH), _TITLE_LINES)
    note = wrap(notes, int(wider * _NOTE_WIDTH), 3)
    title_height = (title.count("\n") + 1) * _TITLE_SIZE * _LINE
    head = title_height + (note.count("\n") + 1) * _NOTE_SIZE * _LINE + _GAP
    columns = _draw_legend(figure, handles, columns) if handles else 1
    foot = math.ceil(len(handles) / columns) * _LEGEND_SIZE * _LEGEND_LINE + (_GAP if handles else 0.0)
    height = figure.get_figheight() + head + foot
    figure.set_figheight(height)
    top = 1.0 - 0.5 * _GAP / height
    common: dict[str, Any] = {"ha": "left", "va": "top", "parse_math": False, "linespacing": 1.2}
    figure.text(0.01, top, title, fontsize=_TITLE_SIZE, fontweight="bold", **common)
    figure.text(0.01, top - title_height / height, note, fontsize=_NOTE_SIZE, color=NOTE_COLOUR, **common)
    # The layout is computed once, because a figure that keeps its layout engine is drawn twice whenever it is saved.
    layout = ConstrainedLayoutEngine(h_pad=0.02, rect=(0.008, foot / height, 0.984, 1.0 - (head + foot) / height))
    for _ in range(2):  # the second pass sees the tick labels of the first
        layout.execute(figure)
    # The last digits of the solver vary from run to run, and the names inside an SVG file depend on all digits.
    for axes in figure.axes:
        axes.set_position(tuple(round(part, 6) for part in axes.get_position().bounds))
    return figure


def _draw_legend(figure: Figure, handles: Sequence[Artist], columns: int) -> int:
    """Draw the legend in as many columns as fit, up to `columns`; returns their number."""
    while True:
        legend = figure.legend(handles=handles, loc="lower left", ncols=columns, handlelength=2.6, columnspacing=1.4)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return columns
        legend.remove()
        columns -= 1


def component_style(index: int) -> tuple[str, Literal["-", "--", "-."], str | None]:
    """Colour, line style and hatch of a component; the seventh has the first colour and a dashed line."""
    cycle, place = divmod(index, len(COMPONENT_COLOURS))
    dashes, hatch = _CYCLES[cycle % len(_CYCLES)]
    return COMPONENT_COLOURS[place], dashes, hatch


def wrap(text: str, width: int, lines: int) -> str:
    """Wrap `text` to at most `lines` lines of `width` characters; what does not fit is replaced by an ellipsis."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …") or [""])


def axis_label(label: str, unit: str | None) -> str:
    """The last part of ``catalog / release / column`` with its unit."""
    name = wrap(label.rsplit(" / ", 1)[-1], 36, 1)
    return f"{name} [{wrap(unit, 22, 1)}]" if unit else name


def short(value: float) -> str:
    """Format a number with three digits.

    >>> short(0.012345), short(1874.4), short(3.571e6)
    ('0.0123', '1874', '3.57e6')
    """
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e5 else f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")


def value_text(value: float, width: float) -> str:
    """Format `value` with the digits that matter in a figure that is `width` wide.

    >>> value_text(1.3456789, 2.0), value_text(2459000.12345, 0.01), value_text(1.5e-12, 1e-9)
    ('1.346', '2459000.12345', '1.500e-12')
    """
    if not (0.0 < width < math.inf and math.isfinite(value)):
        return f"{value:.4g}"
    decimals = 3 - math.floor(math.log10(width))
    if decimals > 7 or abs(value) >= 1e8:
        digits = 3 if value == 0 else math.floor(math.log10(abs(value))) + decimals
        return f"{value:.{min(max(digits, 3), 12)}e}"
    text = f"{value:.{max(decimals, 0)}f}"
    return text if float(text) else text.lstrip("-")


def save_figure(figure: Figure, *paths: str | Path) -> None:
    """Write a figure to files. The same figure gives the same bytes, and files are written whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Figure from one of the ``draw_`` functions.
    *paths : path
        Files to write, each in the format of its suffix, which must be in `PICTURE_FORMATS`. Missing folders are
        created.

    Raises
    ------
    ValueError
        For any other suffix.
    """
    kinds = {Path(path): Path(path).suffix.lower() for path in paths}
    for path, kind in kinds.items():
        if kind not in PICTURE_FORMATS:
            raise ValueError(f"{path} is no picture: expected a name that ends in one of {', '.join(PICTURE_FORMATS)}")
    for path, kind in kinds.items():
        save = partial(figure.savefig, format=kind[1:], dpi=_DPI, metadata=PICTURE_FORMATS[kind])
        with style():
            write_file(path, save)
