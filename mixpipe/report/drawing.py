"""Common elements of the figures and plots of the report: colours of components, heights, and the scale of criteria."""

from __future__ import annotations

import math

import numpy as np

from mixpipe.base.arrays import Array

# The palette of Okabe & Ito (2008), which can be distinguished with any colour vision. Black and yellow are left out:
# black is the colour of the model, and yellow is faint on white paper. Further components repeat the colours with other
# lines and fills.
COMPONENT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")

# Curves are cut at this many times the height of the histogram next to them.
HEADROOM = 2.5
# Bins around narrow components are shown up to this many times the height of the others.
PEAK = 3.0

# If the largest difference of criteria is much larger than LINEAR, those up to LINEAR are on a linear scale and those
# beyond on a logarithmic one.
LINEAR = 10.0
_FAR = 6.0
_DECADES = 4  # marked above the linear part, at most


def shown_height(histogram: float, curves: float) -> float:
    """The highest density that is shown together with the highest bin: that of the curves unless they are cut."""
    return max(histogram, min(HEADROOM * histogram, curves))


def shown_bins(heights: Array, widths: Array, peak: float = PEAK) -> float:
    """The height to show: that of the tallest bin, but of the finer bins around a narrow component at most so many
    times the height of the others. The widths are those on the axis, in any unit.
    """
    wide = widths > 0.8 * np.median(widths[widths > 0.5 * widths.max()])
    tallest = float(heights[wide].max(initial=0.0))
    return min(float(heights.max(initial=0.0)), peak * tallest if tallest else np.inf) or 1.0


def squeezed(highest: float) -> bool:
    """Whether the range of differences of criteria requires a scale that is logarithmic above `LINEAR`."""
    return highest > _FAR * LINEAR


def criterion_marks(highest: float) -> dict[float, str]:
    """Marks of a squeezed scale with their labels, few enough not to overlap.

    >>> criterion_marks(3000.0)
    {0.0: '0', 5.0: '5', 10.0: '10', 100.0: '100', 1000.0: '1,000'}
    >>> list(criterion_marks(4e9).values())
    ['0', '5', '10', '1,000', '10⁵', '10⁷', '10⁹']
    """
    n_decades = math.floor(math.log10(highest / LINEAR) + 0.2)
    step = math.ceil(n_decades / _DECADES) or 1
    marks = {0.0: "0", 5.0: "5", LINEAR: "10"}
    for power in range(1 + step, n_decades + 2, step):
        superscript = str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
        marks[10.0**power] = f"{10**power:,}" if power < 5 else f"10{superscript}"
    return marks
