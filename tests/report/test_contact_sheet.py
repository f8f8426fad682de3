"""Figures of fits that are right look right, and all that is written in them can be read."""

from functools import cache

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import norm

from mixpipe.model.mixture import Mixture
from tests.campaign import mostly_campaign, mostly_study
from tests.report.contact_sheet import CASES, GROUPS, Case, write_sheet
from tests.report.layout import misplaced

# All but those of a million rows.
SMALL = [name for name in [*CASES, *GROUPS] if "1,000,000" not in name]
SHOWN = ("M = 1, N = 10", "upper limits", "long names", "narrow peak")


@cache
def figures(name):
    return CASES[name].figures() if name in CASES else dict(GROUPS[name]())


@pytest.mark.parametrize("name", mostly_study([*CASES, *GROUPS], *SHOWN, "others", campaigns=SMALL))
def test_words_are_inside_the_figure_and_not_on_each_other(name):
    assert {kind: misplaced(figure) for kind, figure in figures(name).items() if misplaced(figure)} == {}


def test_words_out_of_place_are_found():
    figure = Figure(figsize=(3.0, 1.0))
    FigureCanvasAgg(figure)
    for place in (0.1, 0.15, 0.95):
        figure.text(place, 0.5, f"words at {place}")
    assert misplaced(figure) == ["'words at 0.95' leaves the figure", "'words at 0.15' lies on 'words at 0.1'"]


def panel(figure, title):
    """The axes with this title."""
    (found,) = [axes for axes in figure.axes if axes.get_title(loc="left") == title]
    return found


def shares_within(figure):
    """Shares of the bins of the transform, and of the residuals, that are within their bands."""
    transform, residual = panel(figure, "integral transform (PIT)"), panel(figure, "residual of the histogram")
    (ratio,) = [patch.get_data().values for patch in transform.patches if hasattr(patch, "get_data")]
    band = transform.patches[0]
    within = (ratio >= band.get_y()) & (ratio <= band.get_y() + band.get_height())
    points = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in residual.lines[1:]])
    return within.mean(), (np.abs(points) < 1.96).mean()


LIMITED = {
    "upper": {"upper": (-2.2, -1.2)},
    "lower": {"lower": (-1.0, 0.0)},
    "both": {"upper": (-2.2, -1.4), "lower": (-1.0, 0.0)},
    "most": {"upper": (-1.5, 0.0)},
}


@pytest.mark.parametrize("limits", mostly_campaign(LIMITED, "both"))
def test_a_right_fit_with_limits_is_flat_and_a_wrong_one_is_not(limits):
    case = Case(Mixture([0.7, 0.3], [-1.6, -0.5], [0.3, 0.15]), 5000, **LIMITED[limits])
    # Fewer than 80 % of 40 bins, where 95 % or more are expected, has a probability below 1e-3.
    assert min(shares_within(case.figures()["quality"])) > 0.8
    x, err, flags = case.rows
    wrong = Case(Mixture([0.7, 0.3], [-1.3, -0.5], [0.3, 0.15]), 5000)
    wrong.__dict__["rows"] = (x, err, flags)
    assert min(shares_within(wrong.figures()["quality"])) < 0.7


def test_the_histogram_with_limits_has_the_area_of_all_rows():
    case = Case(Mixture([1.0], [0.0], [1.0]), 4000, upper=(-1.0, 0.5))
    axes = case.figures()["mixture"].axes[1]
    known, _, limited = [patch.get_data() for patch in axes.patches if hasattr(patch, "get_data")]
    widths = np.diff(known.edges)
    share = np.mean(case.rows[2] == 0)
    assert np.sum(known.values * widths) == pytest.approx(share, abs=0.01)
    # Of all rows, those between the ends of the picture: the scatter of 4000 rows is below 0.005 there.
    seen = np.diff(norm.cdf(known.edges[[0, -1]], 0.0, np.hypot(1.0, np.median(case.rows[1]))))[0]
    assert np.sum(limited.values * widths) == pytest.approx(seen, abs=0.01) and seen > 0.95
    assert np.all(limited.values >= known.values)
    # An arrow for some of the limits, at their values, and the words for it.
    (arrows,) = [line for line in axes.lines if line.get_marker() == r"$\leftarrow$"]
    assert len(arrows.get_xdata()) <= 61 and np.max(arrows.get_xdata()) <= 0.5


def test_bins_resolve_a_narrow_component_and_it_is_enlarged():
    case = CASES["narrow peak"]
    figure = figures("narrow peak")["mixture"]
    _, axes, enlarged = figure.axes
    edges = axes.patches[0].get_data().edges
    near = edges[np.abs(edges - 1.5) < 0.03]
    # As fine as can be seen, 2 of a thousand parts of the axis, and several times wider elsewhere.
    finest = 2e-3 * np.ptp(axes.get_xlim())
    np.testing.assert_allclose(np.diff(near), finest, rtol=1e-6)
    assert np.median(np.diff(edges)) > 3.0 * finest
    # The others fill the picture, the peak stands out of it.
    assert axes.get_ylim()[1] < 4.0 < axes.patches[0].get_data().values.max()
    low, high = enlarged.get_xlim()
    reach = 6.0 * np.hypot(0.002, np.median(case.rows[1]))
    assert (low, high) == pytest.approx((1.5 - reach, 1.5 + reach))
    width = np.diff(enlarged.patches[0].get_data().edges)
    assert width.max() < 0.002
    # The peak of a fifth of the rows, of sigmas 0.002 and some 0.0015, is seen with its height.
    tallest = max(np.max(line.get_ydata()) for line in enlarged.lines if len(line.get_xdata()) > 10)
    assert enlarged.get_ylim()[1] > tallest == pytest.approx(0.2 / (0.002 * np.sqrt(2.0 * np.pi)), rel=0.01)


@pytest.mark.parametrize("name", ["M = 1, N = 10", "M = 2, N = 1,000", "M = 10, N = 2,000"])
def test_nothing_is_enlarged_that_can_be_seen(name):
    assert len(figures(name)["mixture"].axes) == 2


def test_one_component_is_no_solid_rectangle():
    drawn = figures("M = 1, N = 10")
    classes, selection = drawn["classes"].axes[0], drawn["selection"].axes[0]
    assert not classes.collections
    assert [list(line.get_ydata()) for line in classes.lines] == [[1.0, 1.0]]
    (shade,) = [patch for patch in selection.patches if patch.get_width() > 0.0]
    assert shade.get_width() < 0.2 * np.ptp(selection.get_xlim())
    assert "no other number was tried" in [text.get_text() for text in selection.texts]


def test_bars_of_estimators_are_the_uncertainties_of_their_means():
    case = CASES["M = 2, N = 1,000"]
    strip = case.figures()["estimators"].axes[1]
    bars = [container.lines[2][0].get_segments() for container in strip.containers if container.has_xerr]
    halves = [[0.5 * np.ptp(np.asarray(segment)[:, 0]) for segment in row] for row in bars]
    # The third estimator has none.
    unc = case.fit.uncertainties.means
    np.testing.assert_allclose(halves, [unc, 1.2 * unc])


def test_a_shift_of_many_uncertainties_is_seen_however_small_it_is():
    drawn = figures("overlay")
    changes = drawn["a shift of 40 sigma, many rows"].axes[2]
    assert changes.get_xlabel() == "difference / its uncertainty" and changes.get_xscale() == "symlog"
    sizes = {
        changes.get_yticklabels()[int(line.get_ydata()[0])].get_text(): np.asarray(line.get_xdata())
        for line in changes.lines
        if line.get_marker() == "o"
    }
    # Of both components; the mean of the second one was moved by so many joint uncertainties.
    np.testing.assert_allclose(sizes["mean"], [0.0, 40.0], atol=0.1)
    np.testing.assert_allclose(sizes["weight"], 0.0, atol=0.1)
    assert "2" in [text.get_text() for text in changes.texts]
    low, high = changes.get_xlim()
    assert low < 40.0 < high
    enlarged = drawn["a shift of 400 sigma of a narrow peak"].axes[3]
    old, new = (line for line in enlarged.lines if line.get_linewidth() == 1.4)
    peaks = [line.get_xdata()[np.argmax(line.get_ydata())] for line in (old, new)]
    assert np.diff(peaks)[0] > 0.1 * np.ptp(enlarged.get_xlim())


def test_a_part_of_the_sheet_is_a_page_of_pictures(tmp_path):
    page = write_sheet(tmp_path, "M = 1, N = 10")
    names = {path.name for path in tmp_path.glob("*.png")}
    assert len(names) >= 5 and all(f'src="{name}"' in page.read_text(encoding="utf-8") for name in names)
