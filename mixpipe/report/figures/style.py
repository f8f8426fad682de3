"""The common style of all figures, and files whose bytes depend only on the figure."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.mathtext import MathTextParser

from mixpipe.base.errors import ConfigError
from mixpipe.base.files import write_file
from mixpipe.report.drawing import COMPONENT_COLOURS
from mixpipe.report.figures.look import DEFAULT, Look
from mixpipe.report.typesetting import quantity_text, wrap

# Line style and hatch of the components in the first cycle of colours, in the second, and in all later ones.
_CYCLES: tuple[tuple[Literal["-", "--", "-."], str | None], ...] = (("-", None), ("--", "////"), ("-.", "...."))
MODEL_COLOUR = "#000000"
DATA_COLOUR = "#8A8A8A"
DATA_FILL = "#D9D9D9"
NOTE_COLOUR = "#4D4D4D"
# What lies beyond a frame.
BEYOND_COLOUR = "#D55E00"

# Formats in which a figure can be saved, by the suffix of the path, and the metadata that each must leave out, such as
# dates and versions.
PICTURE_FORMATS: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}

# Inches: a figure of 12 cm, or of the 17.4 cm of a page, is printed with the font sizes below unscaled.
WIDTH, WIDE = 12.0 / 2.54, 17.4 / 2.54
_SCREEN_DPI = 120
_TITLE_SIZE, _NOTE_SIZE, _LEGEND_SIZE = 8.5, 7.5, 7.0  # points
_TITLE_WIDTH, _NOTE_WIDTH, _LABEL_WIDTH = 62, 84, 58  # characters that fit across 12 cm
_LINE, _GAP, _LEGEND_GAP = 1.28 / 72.0, 0.1, 0.06  # line height per point of size; inches
_SQUEEZED = 1.16  # a legend that is wider than the figure by less than this is set in smaller letters

_RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
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
    "savefig.dpi": 200,
    "svg.hashsalt": "mixpipe",
    "svg.fonttype": "path",
}


# What was chosen in place of parts of it, for the time of `styled`.
_CHOSEN: ContextVar[Mapping[str, Any] | None] = ContextVar("chosen style", default=None)


def style() -> AbstractContextManager[None]:
    """The style as a context manager; it starts from Matplotlib's defaults and ignores a user's matplotlibrc."""
    chosen = dict(_CHOSEN.get() or {})
    if "font.family" in chosen:
        # Not every font has all symbols of units.
        chosen["font.family"] = [*chosen["font.family"], *_RC["font.family"]]
    return matplotlib.style.context(["default", _RC, chosen])


@contextmanager
def styled(name: str | None) -> Iterator[None]:
    """Figures in a style of Matplotlib on top of that of mixpipe; see `load_style`."""
    token = _CHOSEN.set(None if name is None else load_style(name))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def load_style(name: str) -> Mapping[str, Any]:
    """The settings of a style: from a file that ends in .mplstyle, or one that Matplotlib has under this name.

    Raises
    ------
    ConfigError
        For a style that is not there, or that cannot be read.
    """
    if name in matplotlib.style.available:
        found: Any = matplotlib.style.library[name]
        return dict(found)
    where, expected = "in settings.style", "a file that ends in .mplstyle, or the name of a style of Matplotlib"
    if not name.endswith(".mplstyle"):
        raise ConfigError(f"no style {name!r}", where, f"{expected}: {', '.join(matplotlib.style.available)}")
    if not Path(name).is_file():
        raise ConfigError(f"no file {name}", where, expected)
    said = _Said()
    logger = logging.getLogger("matplotlib")
    logger.addHandler(said)
    try:
        # A warning for each key that it does not know, and for each value that a key does not take.
        found = matplotlib.rc_params_from_file(name, use_default_template=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the style {name} cannot be read ({error})", where, expected) from error
    finally:
        logger.removeHandler(said)
    if said.messages:
        raise ConfigError(f"the style {name} has a mistake: {said.messages[0]}", where, "settings of Matplotlib")
    return dict(found)


class _Said(logging.Handler):
    """Collects what Matplotlib says."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(" ".join(record.getMessage().split()))


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


def finish(
    figure: Figure,
    label: str,
    notes: str,
    handles: Sequence[Artist] = (),
    columns: int = 3,
    components: Sequence[Artist] = (),
) -> Figure:
    """Add title, notes and legends above and below the axes, and fix the layout.

    The figure grows by the space that these need, so that many components or a long name do not shrink the axes. Text
    from users is never read as markup. The `components` have a legend of their own, below that of the `handles`, in one
    column or two.
    """
    wider = figure.get_figwidth() / WIDTH
    title = wrap(label, int(wider * _TITLE_WIDTH), 8)
    note = wrap(notes, int(wider * _NOTE_WIDTH))
    title_height = (title.count("\n") + 1) * _TITLE_SIZE * _LINE
    head = title_height + (note.count("\n") + 1) * _NOTE_SIZE * _LINE + _GAP
    legends = [
        (legend, legend.get_window_extent().height / figure.dpi + _LEGEND_GAP)
        for entries, most in ((handles, columns), (components, 2))
        if entries
        for legend in [_draw_legend(figure, entries, most)]
    ]
    foot = sum(size for _, size in legends) + (_GAP if legends else 0.0)
    height = figure.get_figheight() + head + foot
    figure.set_figheight(height)
    above = foot - _GAP
    for legend, size in legends:
        above -= size
        legend.set_bbox_to_anchor((0.0, above / height, 1.0, 1.0))
    top = 1.0 - 0.5 * _GAP / height
    common: dict[str, Any] = {"ha": "left", "va": "top", "parse_math": False, "linespacing": 1.2}
    figure.text(0.01, top, title, fontsize=_TITLE_SIZE, fontweight="bold", **common)
    figure.text(0.01, top - title_height / height, note, fontsize=_NOTE_SIZE, color=NOTE_COLOUR, **common)
    # The layout is computed once, because a figure that keeps its layout engine is drawn twice whenever it is saved.
    layout = ConstrainedLayoutEngine(h_pad=0.02, rect=(0.008, foot / height, 0.984, 1.0 - (head + foot) / height))
    layout.execute(figure)
    # The last digits of the solver vary from run to run, and the names inside an SVG file depend on all digits.
    for axes in figure.axes:
        axes.set_position(tuple(round(part, 6) for part in axes.get_position().bounds))
    return figure


def _draw_legend(figure: Figure, handles: Sequence[Artist], columns: int) -> Legend:
    """Draw a legend in as many columns as fit, up to `columns`, in letters that may be a little smaller; those of a
    single column are as small as need be. Nothing in it is read as markup.
    """
    size = _LEGEND_SIZE
    while True:
        legend = figure.legend(
            handles=handles,
            loc="lower left",
            ncols=columns,
            fontsize=size,
            handlelength=2.6,
            columnspacing=1.4,
            borderpad=0.0,
            borderaxespad=0.35,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        ratio = legend.get_window_extent().width / (0.97 * figure.bbox.width)
        if ratio <= 1.0:
            return legend
        legend.remove()
        # The widths of letters are not quite proportional to their size.
        if ratio < _SQUEEZED or columns == 1:
            size /= 1.01 * ratio
        else:
            columns -= 1


def name_axis(axes: Axes, label: str, unit: str | None, look: Look = DEFAULT, width: int = _LABEL_WIDTH) -> None:
    """Name the x axis: the last part of ``catalog / release / column``, or the name that was set, with the unit."""
    has_tex = look.label is not None and is_tex(look.label)
    text = quantity_text(look.label or label.rsplit(" / ", 1)[-1], unit)
    axes.set_xlabel(in_tex(text) if has_tex else wrap(text, width, 4), parse_math=has_tex)


def in_tex(text: str) -> str:
    r"""A text with TeX in which there are symbols of units that not every font of mathematics has.

    >>> print(in_tex("$m$ [M☉]"))
    $m$ [M$_\odot$]
    """
    return text.replace("☉", r"$_\odot$")


def is_tex(text: str) -> bool:
    """Whether a text has TeX between dollar signs that Matplotlib can set."""
    if text.count("$") < 2:
        return False
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True


def component_style(index: int) -> tuple[str, Literal["-", "--", "-."], str | None]:
    """Colour, line style and hatch of a component; the seventh has the first colour and a dashed line.

    The cycle of colours of a chosen style is used.
    """
    cycler = (_CHOSEN.get() or {}).get("axes.prop_cycle")
    colours = COMPONENT_COLOURS if cycler is None else cycler.by_key().get("color", COMPONENT_COLOURS)
    cycle, place = divmod(index, len(colours))
    dashes, hatch = _CYCLES[cycle % len(_CYCLES)]
    return to_hex(colours[place]).upper(), dashes, hatch


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
        save = partial(figure.savefig, format=kind[1:], metadata=PICTURE_FORMATS[kind])
        with style():
            write_file(path, save)
