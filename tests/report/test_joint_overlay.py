"""The figure of two fits of several columns: its panels, what they show, and that nothing lies over anything else."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Annotation

from mixpipe.assess.comparison.compare import Comparison, Rows
from mixpipe.assess.comparison.verdict import ColumnTest, Difference
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit
from mixpipe.report.figures.joint_overlay import JointPanel, draw_joint_overlay

NAMES = ("parallax", "pmRA", "pmDE", "radial_velocity", "[Fe/H]", "log_mass", "a_name_longer_than_any_panel")


def fit_of(n_dims: int, means: list[float]) -> JointFit:
    size = len(means)
    covariances = np.tile(np.diag(np.linspace(0.2, 1.0, n_dims)), (size, 1, 1))
    places = np.outer(means, np.ones(n_dims))
    mixture = JointMixture(np.full(size, 1.0 / size), places, covariances, NAMES[:n_dims])
    return JointFit(mixture, "em", 0.0, 0.0, 100.0, 5, True)


def panel(n_dims: int = 2, old=(0.0, 5.0), new=(0.0, 6.0), moved: dict[str, float] | None = None, pvalue=1e-3):
    """A comparison whose last components differ as given, in joint uncertainties."""
    fits = fit_of(n_dims, list(old)), fit_of(n_dims, list(new))
    pairs = tuple((k, k) for k in range(min(len(old), len(new))))
    differences = tuple(
        Difference("matched", k + 1, k + 1, name, 0.0, 1.0, new=size, new_unc=1.0, joint_unc=1.0)
        for k, _ in pairs[-1:]
        for name, size in (moved or {}).items()
    )
    test = ColumnTest(pvalue, pvalue)
    comparison = Comparison(*fits, pairs, differences, 0.0, 0.0, 1.0, 0.3, test, 1.0, Rows(100, 100, 50, 50, 50, 2), ())
    x = np.random.default_rng(1).normal(3.0, 3.0, (200, n_dims))
    x[::5, 0] = np.nan
    return JointPanel("astrometry", NAMES[:n_dims], ("mas",) * n_dims, ("dr2", "dr3"), comparison, x)


def texts_of(figure) -> list:
    """Everything written in a figure."""
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        found += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            found += [tick.label1 for tick in ticks if tick.label1.get_visible()]
        found += axes.get_legend().get_texts() if axes.get_legend() else []
    return [text for text in found if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("n_dims, n_pairs, size", [(2, 1, 1), (2, 1, 8), (3, 3, 3), (5, 10, 8), (7, 15, 3)])
def test_nothing_overlaps(n_dims, n_pairs, size):
    means = np.linspace(0.0, 9.0, size).tolist()
    figure = draw_joint_overlay([panel(n_dims, means, means, {"mean_parallax": 4.0})], label="clusters: dr2 → dr3")
    # A panel for each pair, and the text above.
    assert len(figure.axes) == 1 + n_pairs
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    panels = [axes.get_window_extent() for axes in figure.axes]
    for index, box in enumerate(panels):
        for other in panels[:index]:
            assert not box.padded(-1.0).overlaps(other)
    shown = [text for text in texts_of(figure) if not isinstance(text, Annotation)]
    boxes = [text.get_window_extent(renderer) for text in shown]
    for index, box in enumerate(boxes):
        assert box.x0 >= -1.0 and box.x1 <= figure.bbox.width + 1.0
        for other in boxes[:index]:
            assert not box.padded(-0.5).overlaps(other)
    notes = figure.axes[0].texts[0].get_text()
    assert ("6 of 7 columns" in notes) == (n_dims > 6)


def arrows(figure) -> list[list[Annotation]]:
    return [[text for text in axes.texts if isinstance(text, Annotation)] for axes in figure.axes[1:]]


def test_arrows_lead_from_the_old_to_the_new_mean_where_it_has_shifted():
    shown = panel(3, moved={"mean_pmDE": 5.0, "mean_pmRA": 2.5, "sigma_parallax": -1.0})
    figure = draw_joint_overlay([shown], label="")
    # In the order (parallax, pmRA), (parallax, pmDE), (pmRA, pmDE). By Holm's procedure both means have shifted.
    assert [len(each) for each in arrows(figure)] == [1, 1, 1]
    (arrow,) = arrows(figure)[1]
    assert (arrow.xyann, arrow.xy) == ((5.0, 5.0), (6.0, 6.0))
    one = draw_joint_overlay([panel(3, moved={"mean_pmDE": 5.0, "mean_pmRA": 2.1, "sigma_parallax": -1.9})], label="")
    assert [len(each) for each in arrows(one)] == [0, 1, 1]
    assert "shifted: mean_pmDE +5.0σ" in figure.axes[0].get_legend().get_texts()[1].get_text()
    calm = draw_joint_overlay([panel(3, moved={"mean_pmDE": 5.0}, pvalue=0.5)], label="")
    assert arrows(calm) == [[], [], []]
    assert "hint: mean_pmDE" in calm.axes[0].get_legend().get_texts()[1].get_text()


def test_components_have_one_colour_in_both_fits_and_those_without_a_counterpart_their_own():
    figure = draw_joint_overlay([panel(2, old=(0.0, 5.0), new=(0.0, 5.0, 9.0))], label="")
    lines = [line for line in figure.axes[1].lines if line.get_linestyle() in ("--", "-") and len(line.get_xdata()) > 2]
    # Two ellipses for each component.
    assert len(lines) == 2 * (2 + 3)
    colours = {style: {line.get_color() for line in lines if line.get_linestyle() == style} for style in ("--", "-")}
    assert len(colours["--"]) == 2
    assert len(colours["-"]) == 3
    assert colours["--"] < colours["-"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["1", "2", "3 appeared"]
    ellipse = next(line for line in lines if line.get_linestyle() == "-").get_xydata()
    # One sigma of the first component, whose variances are 0.2 and 1.
    np.testing.assert_allclose(np.abs(ellipse).max(axis=0), np.sqrt([0.2, 1.0]), rtol=1e-3)


def test_axes_have_the_labels_that_are_set_and_say_which_values_are_logarithms():
    named = replace(panel(), axis_names=("parallax", "$\\mu$"), units=("log10(mas)", None))
    (axes,) = draw_joint_overlay([named], label="").axes[1:]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("log₁₀(parallax / mas)", "$\\mu$")
    assert axes.yaxis.label.get_parse_math() and not axes.xaxis.label.get_parse_math()


def test_the_joint_fits_that_changed_most_are_drawn():
    calm, changed = panel(pvalue=0.5), panel(pvalue=1e-4)
    figure = draw_joint_overlay([calm, calm, calm, changed], label="stars")
    headings = [axes.texts[0].get_text() for axes in figure.axes if not axes.axison]
    assert len(headings) == 3
    assert [heading.split("\n")[0] for heading in headings][-1] == "astrometry: shifted"
    assert "the 3 of 4 joint fits" in " ".join(text.get_text() for text in figure.texts)
