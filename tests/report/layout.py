"""Where the words of a figure are: that they lie inside it, and not on each other."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

# Pixels by which the boxes of words may overlap: they have a margin for letters below the line.
_MARGIN = 1.5


def words_of(figure: Figure) -> Iterator[Text]:
    """Everything that is written in a figure and can be seen."""
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        if not axes.get_visible():
            continue
        texts += [*axes.texts, *([] if axes.get_legend() is None else axes.get_legend().get_texts())]
        texts += [axes.title, axes._left_title, axes._right_title] if axes.axison else []
        texts += list(_of_axes(axes)) if axes.axison else []
    return (text for text in texts if text.get_visible() and text.get_text().strip())


def _of_axes(axes: Axes) -> Iterator[Text]:
    for axis in (axes.xaxis, axes.yaxis):
        yield axis.label
        yield axis.get_offset_text()
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if low <= tick.get_loc() <= high:
                yield from (text for text in (tick.label1, tick.label2) if text.get_visible())


def misplaced(figure: Figure) -> list[str]:
    """Words that leave the figure, and pairs of words that lie on each other."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in words_of(figure)]
    whole = figure.bbox
    found = [
        f"{words!r} leaves the figure"
        for words, box in boxes
        if box.x0 < -1.0 or box.y0 < -1.0 or box.x1 > whole.x1 + 1.0 or box.y1 > whole.y1 + 1.0
    ]
    for index, (words, box) in enumerate(boxes):
        found += [
            f"{words!r} lies on {other!r}"
            for other, beside in boxes[:index]
            if min(box.x1, beside.x1) - max(box.x0, beside.x0) > _MARGIN
            and min(box.y1, beside.y1) - max(box.y0, beside.y0) > _MARGIN
        ]
    return found
