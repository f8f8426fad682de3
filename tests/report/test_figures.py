"""Figures: what they show, that hard data do not spoil them, and that their bytes repeat."""

import itertools
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import binom, norm

from mixpipe.assess.comparison.compare import Fitted, compare_fits, judge_release
from mixpipe.model.cells import Cells
from mixpipe.model.estimate import Estimate
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult, Selection
from mixpipe.model.truncated import TruncatedMixture
from mixpipe.report.figures import (
    draw_classes,
    draw_estimators,
    draw_mixture,
    draw_quality,
    draw_selection,
    fit_figures,
    save_figure,
)
from mixpipe.report.figures.densities import Example, draw_examples
from mixpipe.report.figures.overlay import Panel, draw_overlay
from mixpipe.report.figures.quality import binomial_quantile
from mixpipe.report.figures.scene import Scene
from mixpipe.report.figures.style import component_style
from tests.campaign import campaign, mostly_campaign


def fit_of(weights, means, sigmas, n_data, converged=True, loglik=-100.0):
    mixture = Mixture(weights, means, sigmas)
    return FitResult(mixture, "em", loglik, 0.0, n_data, 3 * len(weights) - 1, converged)


def texts(figure):
    """All words of a figure that are not tick labels."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")]
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    return "\n".join(found)


def line(axes, colour, style):
    """The data of the one long line of this look."""
    (found,) = [
        each
        for each in axes.lines
        if each.get_color() == colour and each.get_linestyle() == style and len(each.get_xdata()) > 10
    ]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def heights(axes):
    """The heights of the first histogram of these axes."""
    values, _, _ = next(patch.get_data() for patch in axes.patches if hasattr(patch, "get_data"))
    return np.asarray(values)


RNG = np.random.default_rng(20)
TEN = np.linspace(0.0, 30.0, 10)
CAUCHY = RNG.standard_cauchy(5000)
DECADES = 10.0 ** RNG.uniform(-6.0, 3.0, 1000)
LONG = "a very long name with $x_$ and \\frac{1}{2} and 100 % _ ^ of everything " * 4
CASES = {
    "one row": (([1.0], [4.2], [0.0]), [4.2], 0.0, None),
    "three rows": (([1.0], [2.0], [0.8]), [1.0, 2.0, 3.0], 0.1, "km/s"),
    "outlier": (([0.99, 0.01], [0.0, 1e6], [1.0, 0.0]), [*RNG.normal(size=99), 1e6], 0.1, "mag"),
    "constant": (([1.0], [5.0], [0.0]), np.full(50, 5.0), 0.0, None),
    "constant zero": (([1.0], [0.0], [0.0]), np.zeros(50), None, None),
    "constant with errors": (([1.0], [5.0], [0.0]), np.full(50, 5.0), np.full(50, 0.1), None),
    "nine decades": (([0.5, 0.5], [0.0, 6.0], [1.0, 1.0]), RNG.normal(size=1000) * np.hypot(1, DECADES), DECADES, "K"),
    "heavy tails": (([0.6, 0.3, 0.1], [0.0, 0.0, 0.0], [0.8, 4.0, 60.0]), CAUCHY, 0.05, "arcsec"),
    "ten components": ((np.full(10, 0.1), TEN, np.full(10, 0.5)), np.repeat(TEN, 30) + RNG.normal(size=300), 0.3, LONG),
    "spikes": (([0.5, 0.5], [1.0, 2.0], [0.0, 0.0]), np.repeat([1.0, 2.0], 100), 0.0, "mag"),
    "huge offset": (([1.0], [2459000.0], [1e-4]), 2459000.0 + 1e-4 * RNG.normal(size=300), 1e-5, "d"),
    "tiny numbers": (([1.0], [3e-13], [1e-15]), 3e-13 + 1e-15 * RNG.normal(size=300), 1e-16, "erg s-1 cm-2"),
    "huge numbers": (([1.0], [3e40], [1e39]), 3e40 + 1e39 * RNG.normal(size=300), 1e38, "g"),
    "fit elsewhere": (([0.5, 0.5], [40.0, 60.0], [1.0, 1.0]), RNG.normal(size=300), 0.1, None),
}


@pytest.mark.parametrize(
    "name",
    mostly_campaign(CASES, "one row", "constant zero", "nine decades"),
)
def test_hard_data_draw_without_a_warning_and_nothing_leaves_the_figure(name, tmp_path):
    parameters, x, err, unit = CASES[name]
    fit = fit_of(*parameters, n_data=len(x))
    label = f"{LONG} / {LONG} / {LONG}" if unit == LONG else f"catalog / release / {name}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = [
            draw_mixture(fit, x, err, label=label, unit=unit),
            draw_classes(fit, x, err, label=label, unit=unit),
            draw_quality(fit, x, err, label=label),
        ]
        for figure in figures:
            save_figure(figure, tmp_path / "a.png", tmp_path / "a.svg")
    for figure in figures:
        width, height = figure.get_size_inches()
        renderer = figure.canvas.get_renderer()
        boxes = [axes.get_tightbbox(renderer).transformed(figure.dpi_scale_trans.inverted()) for axes in figure.axes]
        words = [text.get_tightbbox(renderer).transformed(figure.dpi_scale_trans.inverted()) for text in figure.texts]
        keys = [key.get_tightbbox(renderer).transformed(figure.dpi_scale_trans.inverted()) for key in figure.legends]
        for box in boxes + words + keys:
            assert box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < width + 0.02 and box.y1 < height + 0.02
        heading_bottom, axes_top = min(box.y0 for box in words), max(box.y1 for box in boxes)
        assert axes_top <= heading_bottom + 0.03
        assert all(key.y1 <= min(box.y0 for box in boxes) + 0.03 for key in keys)


def test_observed_curve_is_the_mixture_averaged_over_the_errors():
    x, err = RNG.normal(0.0, 1.5, 4000), RNG.uniform(0.1, 2.0, 4000)
    fit = fit_of([0.3, 0.7], [-1.0, 2.0], [0.5, 1.0], n_data=4000)
    axes = draw_mixture(fit, x, err, label="a / b / c", unit=None).axes[1]
    grid, observed = line(axes, "#000000", "-")
    _, intrinsic = line(axes, "#000000", ":")
    parts = [(0.3, -1.0, 0.5), (0.7, 2.0, 1.0)]
    members = np.array([weight * norm.pdf(x, mean, np.hypot(sigma, err)) for weight, mean, sigma in parts])
    members /= members.sum(axis=0)
    direct = sum(
        weight * norm.pdf(grid[:, None], mean, np.hypot(sigma, err)) @ (rows / rows.sum())
        for (weight, mean, sigma), rows in zip(parts, members, strict=True)
    )
    # 256 groups of errors, each replaced by its root mean square, and a thousandth of the width as resolution.
    np.testing.assert_allclose(observed, direct, atol=1e-4)
    expected = 0.3 * norm.pdf(grid, -1.0, 0.5) + 0.7 * norm.pdf(grid, 2.0, 1.0)
    np.testing.assert_allclose(intrinsic, expected, rtol=1e-12)


def test_one_outlier_is_counted_and_does_not_stretch_the_axis():
    x = np.append(RNG.normal(size=99), 1e6)
    figure = draw_mixture(fit_of([1.0], [0.0], [1.0], 100), x, 0.1, label="a / b / c", unit="mag")
    low, high = figure.axes[1].get_xlim()
    assert -10 < low < x.min() and np.sort(x)[-2] < high < 10
    assert "1 row outside the picture (0 left, 1 right)" in texts(figure)


def test_few_percent_far_away_stay_in_the_picture():
    x = np.concatenate([RNG.normal(0.0, 1.0, 960), RNG.normal(20.0, 1.0, 40)])
    figure = draw_mixture(fit_of([0.96, 0.04], [0.0, 20.0], [1.0, 1.0], 1000), x, 0.1, label="a / b / c", unit=None)
    low, high = figure.axes[1].get_xlim()
    assert low < -3 and high > 21


@pytest.fixture
def decades():
    """Values over four decades with errors of 5 %, and a mixture like them."""
    x = np.sort(10.0 ** np.random.default_rng(3).normal(1.0, 0.8, 4000))
    return fit_of([0.5, 0.5], [5.0, 60.0], [3.0, 50.0], 4000), x, 0.05 * x


def test_values_over_decades_have_a_logarithmic_axis_that_holds_all_but_a_thousandth_at_each_end(decades):
    fit, x, err = decades
    axes = draw_mixture(fit, x, err, label="a / b / c", unit="Jy").axes[1]
    low, high = axes.get_xlim()
    assert axes.get_xscale() == "log" and axes.get_ylabel() == "density per decade"
    assert 1 <= np.sum(x < low) <= 4 and 1 <= np.sum(x > high) <= 4
    edges = next(patch.get_data() for patch in axes.patches if hasattr(patch, "get_data")).edges
    inside = np.mean((x >= edges[0]) & (x <= edges[-1]))
    assert np.sum(heights(axes) * np.diff(np.log10(edges))) == pytest.approx(inside)
    grid, intrinsic = line(axes, "#000000", ":")
    density = 0.5 * norm.pdf(grid, 5.0, 3.0) + 0.5 * norm.pdf(grid, 60.0, 50.0)
    np.testing.assert_allclose(intrinsic, density * grid * np.log(10.0), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("shift", [-1e-3, 100.0])
def test_values_that_are_not_positive_or_not_over_decades_have_an_even_axis(decades, shift):
    fit, x, err = decades
    values = x - x.min() + shift
    assert draw_mixture(fit, values, err, label="a / b / c", unit=None).axes[1].get_xscale() == "linear"


def test_rounded_values_over_decades_leave_no_bin_empty_between_them(decades):
    fit, x, err = decades
    values = np.maximum(x.round(), 1.0)
    scene = Scene.of(fit.mixture, values, err, None)
    edges = scene.edges(fit.mixture)
    assert scene.log and np.all(scene.counts(edges)[edges[1:] < 30.0] > 0)


def test_errors_that_grow_with_the_values_blur_each_component_by_those_of_its_own_rows():
    rng = np.random.default_rng(4)
    err = np.repeat([0.1, 20.0], 5000)
    x = np.repeat([0.0, 1000.0], 5000) + rng.normal(size=10_000) * np.hypot(1.0, err)
    figure = draw_mixture(fit_of([0.5, 0.5], [0.0, 1000.0], [1.0, 1.0], 10_000), x, err, label="a / b / c", unit=None)
    scene = Scene.of(Mixture([0.5, 0.5], [0.0, 1000.0], [1.0, 1.0]), x, err, None)
    (at_zero,) = scene.observed(Mixture([0.5, 0.5], [0.0, 1000.0], [1.0, 1.0]), np.zeros(1)).sum(axis=0)
    # The picture's resolution, 0.3 of a thousandth of some 1100, blurs as an error of 0.35.
    assert at_zero == pytest.approx(0.5 * norm.pdf(0.0, 0.0, np.sqrt(1.0 + 0.1**2 + 0.35**2)), rel=0.01)
    assert "outside" not in texts(figure)


@pytest.mark.parametrize("highest", [70.0, 3e3, 1.2e7, 5e8, 3e13])
def test_marks_of_large_differences_of_criteria_do_not_run_into_each_other(highest):
    rows = {"n_components": [1, 2, 3], "converged": [True] * 3, "selected": [False, True, False]}
    values = [highest, 0.0, 3.0]
    table = pd.DataFrame(rows | {"bic": values, "aic": values, "icl": [0.0, 2.0, highest]})
    figure = draw_selection(table, "bic", label="a / b / c")
    (axes,) = figure.axes
    labels = [label.get_tightbbox() for label in axes.get_yticklabels() if label.get_text()]
    spans = sorted((box.y0, box.y1) for box in labels)
    assert len(spans) >= 4 and all(top < bottom for (_, top), (bottom, _) in itertools.pairwise(spans))
    assert axes.get_ylim()[1] > highest


def test_eighteen_components_look_different():
    looks = {component_style(index) for index in range(18)}
    assert len(looks) == 18


def test_a_legend_of_long_entries_stays_in_the_picture():
    fit = fit_of([0.4, 0.3, 0.3], [6.70605e8, 1.408e9, 1.15e9], [3.57e8, 6.85e8, 6.79e8], 300)
    x = RNG.normal(1e9, 3e8, 300)
    figure = draw_mixture(fit, x, 1e7, label="a / b / c", unit="Msun")
    assert len(figure.legends) == 2
    assert all(legend.get_window_extent().x1 <= figure.bbox.x1 for legend in figure.legends)


def test_large_errors_of_some_rows_do_not_hide_the_components():
    _, x, err, _ = CASES["nine decades"]
    scene = Scene.of(Mixture([0.5, 0.5], [0.0, 6.0], [1.0, 1.0]), x, err, None)
    assert scene.width < 120 and scene.low < -3 and scene.high > 9


def test_component_without_width_is_an_arrow_with_its_weight_and_leaves_the_scale_alone():
    x = np.concatenate([RNG.normal(size=300), np.zeros(100)])
    figure = draw_mixture(fit_of([0.75, 0.25], [0.0, 0.0], [1.0, 0.0], 400), x, 0.0, label="a / b / c", unit=None)
    axes = figure.axes[1]
    assert axes.get_ylim()[1] <= 3.0 * heights(axes).max()
    assert "1: weight 0.25, mean 0.000, σ 0" in texts(figure)
    (arrow,) = [each for each in axes.lines if each.get_marker() == "^"]
    assert arrow.get_xdata()[0] == 0.0 and 0.0 < arrow.get_ydata()[0] < axes.get_ylim()[1]


def test_histogram_is_a_density_over_all_rows_with_weights():
    x, weights = np.array([0.0, 1.0, 2.0, 3.0, 1e9]), np.array([1.0, 2.0, 3.0, 1.0, 1.0])
    scene = Scene.of(Mixture([1.0], [1.5], [1.0]), x, 0.1, weights)
    edges = scene.edges(Mixture([1.0], [1.5], [1.0]))
    assert scene.counts(edges).sum() == 7.0 and scene.n_data == 8.0 and scene.outside() == (0, 1)
    assert np.all(np.diff(edges) > 0)


def test_bins_of_rounded_values_hold_equal_numbers_of_steps():
    x = np.round(RNG.normal(70.0, 13.0, 2000))
    mixture = Mixture([1.0], [70.0], [13.0])
    edges = Scene.of(mixture, x, None, None).edges(mixture)
    width = np.diff(edges)
    np.testing.assert_allclose(width, round(width[0]))
    np.testing.assert_allclose(np.mod(edges, 1.0), 0.5)


def test_wide_bins_have_what_the_mixture_has_in_each():
    edges = np.array([-4.5, -1.5, 1.5, 4.5, 7.5])
    bins, counts = np.stack([edges[:-1], edges[1:]], axis=1), np.array([405.0, 5211.0, 3459.0, 925.0])
    fit = fit_of([0.6, 0.4], [0.0, 4.0], [1.0, 0.7], 10_000)
    figure = draw_mixture(fit, bins.mean(axis=1), None, counts, label="a / b / x", unit=None, bins=bins)
    (dots,) = (each for each in figure.axes[1].lines if each.get_marker() == "o")
    shares = 0.6 * norm.cdf(edges) + 0.4 * norm.cdf(edges, 4.0, 0.7)
    np.testing.assert_allclose(dots.get_ydata(), np.diff(shares) / 3.0, rtol=1e-9)
    np.testing.assert_allclose(dots.get_xdata(), [-3.0, 0.0, 3.0, 6.0])
    assert "mixture, in each bin" in texts(figure)
    # Of bins that are narrower than the components, the curve says as much.
    fine = np.linspace(-4.5, 7.5, 61)
    bins, counts = np.stack([fine[:-1], fine[1:]], axis=1), np.full(60, 10.0)
    figure = draw_mixture(fit, bins.mean(axis=1), None, counts, label="a / b / x", unit=None, bins=bins)
    assert "in each bin" not in texts(figure)


def test_densities_stand_beside_their_mixtures():
    t = np.linspace(-5.0, 15.0, 401)
    mixtures = [Mixture([1.0], [0.0], [1.0]), Mixture([0.5, 0.5], [0.0, 4.0], [1.0, 1.0])]
    # In any normalisation.
    examples = [
        Example(f"M = {each.n_components}", t, 7.0 * each.pdf(t), TruncatedMixture(each, t[0], t[-1]))
        for each in mixtures
    ]
    figure = draw_examples(examples, "two", label="photoz / test / z", unit=None)
    assert "photoz / test / z\ntwo\n" in texts(figure) and figure.axes[1].get_xlabel() == "z"
    for axes, example in zip(figure.axes, examples, strict=True):
        data, mixture = axes.lines[0], axes.lines[-1]
        # By the trapezium rule, up to the tails.
        np.testing.assert_allclose(data.get_ydata(), example.fitted.pdf(t), rtol=1e-6, atol=1e-300)
        np.testing.assert_allclose(mixture.get_ydata(), example.fitted.pdf(mixture.get_xdata()))
        assert axes.get_title(loc="left") == example.title
        # Each component where there are several, beside the density and the mixture.
        assert len(axes.lines) == (4 if example.fitted.mixture.n_components > 1 else 2)


def test_histograms_are_drawn_as_such_with_the_truncated_mixture():
    edges = np.linspace(0.0, 2.0, 11)
    mixture = Mixture([1.0], [0.2], [0.5])
    below = norm.cdf(edges, 0.2, 0.5)
    fitted = TruncatedMixture(mixture, 0.0, 2.0)
    example = Example("cut", 0.5 * (edges[1:] + edges[:-1]), 5.0 * np.diff(below), fitted, edges)
    (axes,) = draw_examples([example], "one", label="a / b / z", unit=None).axes
    # The shares of the bins over their widths.
    heights, drawn_edges, _ = axes.patches[-1].get_data()
    np.testing.assert_allclose(heights, np.diff(below) / (below[-1] - below[0]) / 0.2)
    np.testing.assert_array_equal(drawn_edges, edges)
    x, y = axes.lines[-1].get_data()
    np.testing.assert_allclose(y, norm.pdf(x, 0.2, 0.5) / (below[-1] - below[0]))


def test_user_text_is_not_markup():
    figure = draw_mixture(fit_of([1.0], [0.0], [1.0], 9), np.arange(9.0) - 4, 0.1, label="$a$ / _ / $c$", unit="$u$")
    assert "$a$ / _ / $c$" in texts(figure) and "$c$ [$u$]" in texts(figure)
    assert not any(text.get_parse_math() for text in figure.texts)
    assert not figure.axes[1].xaxis.label.get_parse_math()


def test_classes_stack_to_one_and_cross_where_the_weighted_densities_are_equal():
    x = RNG.normal(2.0, 3.0, 300)
    figure = draw_classes(fit_of([0.5, 0.5], [0.0, 4.0], [1.0, 1.0], 300), x, 0.5, label="a / b / c", unit=None)
    first = figure.axes[0].collections[0].get_paths()[0].vertices
    # Equal weights and widths: the border is half-way between the means.
    border = first[np.argmin(np.abs(first[:, 1] - 0.5))]
    assert border[0] == pytest.approx(2.0, abs=0.05)
    top = np.concatenate([path.vertices[:, 1] for path in figure.axes[0].collections[1].get_paths()])
    assert top.max() == pytest.approx(1.0)


def test_selection_marks_the_choice_and_what_did_not_converge():
    fits = tuple(
        fit_of(np.full(m, 1.0 / m), np.arange(m), np.ones(m), 100.0, converged=m != 3, loglik=loglik)
        for m, loglik in [(1, -900.0), (2, -100.0), (3, -99.0), (4, -98.5)]
    )
    figure = draw_selection(Selection(fits).table(), "bic", label="a / b / c")
    words = texts(figure)
    assert "chosen: M = 2" in words and "not converged: M = 3" in words and "BIC, decides" in words
    axes = figure.axes[0]
    assert axes.get_yscale() == "symlog" and "linear to 10" in words
    drawn = [np.asarray(each.get_ydata(), dtype=float) for each in axes.lines if len(each.get_xdata()) == 4]
    # BIC: 3 ln 100 - 2 per further component against the fit of two.
    expected = np.array([1600 - 3 * np.log(100), 0.0, 3 * np.log(100) - 2, 6 * np.log(100) - 3])
    assert any(np.allclose(each, expected) for each in drawn)


def test_selection_of_close_criteria_is_linear_and_failed_fits_are_left_out():
    table = pd.DataFrame(
        {"n_components": [1, 2, 3], "converged": [True, True, False], "selected": [True, False, False]}
        | {name: [10.0, 14.0, np.nan] for name in ("bic", "aic", "icl")}
    )
    axes = draw_selection(table, "aic", label="a / b / c").axes[0]
    assert axes.get_yscale() == "linear"
    assert all(np.isfinite(np.asarray(each.get_ydata(), dtype=float)).all() for each in axes.lines)


def test_selection_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="unknown criterion"):
        draw_selection(pd.DataFrame(), "dic", label="a")
    with pytest.raises(ValueError, match="empty selection table"):
        draw_selection(pd.DataFrame(), "bic", label="a")


def test_quality_of_a_true_model_lies_in_its_bands_and_of_a_false_one_does_not():
    err = RNG.uniform(0.1, 2.0, 5000)
    x = RNG.normal(0.0, np.hypot(1.0, err))
    shares = []
    for sigma in (1.0, 2.0):
        figure = draw_quality(fit_of([1.0], [0.0], [sigma], 5000), x, err, label="a / b / c")
        pit, residual = figure.axes[0], figure.axes[2]
        low, high = pit.patches[0].get_y(), pit.patches[0].get_y() + pit.patches[0].get_height()
        inside = (heights(pit) >= low) & (heights(pit) <= high)
        points = np.concatenate([np.asarray(each.get_ydata(), dtype=float) for each in residual.lines[1:]])
        shares.append((inside.mean(), (np.abs(points) < 1.96).mean()))
    # 95 % expected of 40 and some 60 bins: fewer than 80 % has a probability below 1e-3.
    assert min(shares[0]) > 0.8 and max(shares[1]) < 0.7


def test_quality_of_weighted_rows_equals_that_of_repeated_rows():
    x, copies = RNG.normal(size=60), RNG.integers(1, 5, 60)
    fit = fit_of([1.0], [0.0], [1.0], int(copies.sum()))
    weighted = draw_quality(fit, x, 0.1, copies, label="a / b / c")
    repeated = draw_quality(fit, np.repeat(x, copies), 0.1, label="a / b / c")
    np.testing.assert_allclose(heights(weighted.axes[0]), heights(repeated.axes[0]))


def test_a_million_rows_are_thinned_and_quick():
    x, err = RNG.normal(size=10**6), np.abs(RNG.normal(size=10**6))
    fit = fit_of([0.5, 0.5], [-0.1, 0.1], [1.0, 1.0], 10**6)
    start = time.perf_counter()
    figures = [draw_mixture(fit, x, err, label="a / b / c", unit=None), draw_quality(fit, x, err, label="a / b / c")]
    assert time.perf_counter() - start < 30.0  # some two seconds on a slow core; thinning left out takes minutes
    for figure in figures:
        assert all(len(each.get_xdata()) < 2000 for axes in figure.axes for each in axes.lines)


def test_rows_that_stand_for_others_are_counted_in_whole_numbers():
    """Their weights add up to a whole number with an error in its last digits."""
    n_rows, n_drawn = 2_000_003, 20_000
    weights = np.full(n_drawn, n_rows / n_drawn)
    assert weights.sum() != n_rows
    estimates = [Estimate("em", Mixture([1.0], [0.0], [1.0]), -1.0)]
    figure = draw_estimators(estimates, RNG.normal(size=n_drawn), 0.1, weights, label="a / b / c", unit=None)
    assert "N = 2,000,003 ·" in texts(figure)


def test_no_data_is_an_error():
    with pytest.raises(ValueError, match="no data"):
        draw_mixture(fit_of([1.0], [0.0], [1.0], 1), [1.0, 2.0], 0.1, [0.0, 0.0], label="a / b / c", unit=None)


@campaign
def test_bytes_repeat_within_a_process_and_between_processes(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from mixpipe.report.figures import draw_mixture, save_figure\n"
        "from mixpipe.model import FitResult, Mixture\n"
        "fit = FitResult(Mixture([.5, .5], [0, 3], [1, 0]), 'em', -1., 0., 50, 5, True)\n"
        "figure = draw_mixture(fit, np.linspace(-2, 4, 50), .1, label='a / b / c', unit='mag')\n"
        "for name in sys.argv[1:]:\n"
        "    save_figure(figure, name + '.png', name + '.svg')\n"
    )
    for names in (["one", "two"], ["three"]):
        subprocess.run([sys.executable, "-c", code, *(str(tmp_path / name) for name in names)], check=True)
    for kind in ("png", "svg"):
        first, *others = [(tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two", "three")]
        assert len(first) > 5000 and all(other == first for other in others)
    assert b"<dc:date>" not in (tmp_path / "one.svg").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_files_are_in_the_format_of_their_ending(tmp_path):
    figure = draw_mixture(fit_of([1.0], [0.0], [1.0], 3), [-1.0, 0.0, 1.0], None, label="a / b / c", unit=None)
    paths = {b"%PDF": tmp_path / "a.pdf", b"\x89PNG": tmp_path / "deep" / "a.PNG", b"<?xml": tmp_path / "a.svg"}
    save_figure(figure, *paths.values())
    assert all(path.read_bytes().startswith(magic) for magic, path in paths.items())
    assert b"CreationDate" not in paths[b"%PDF"].read_bytes()
    with pytest.raises(
        ValueError, match=r"b\.jpg is no picture: expected a name that ends in one of \.png, \.svg, \.pdf"
    ):
        save_figure(figure, tmp_path / "b.png", tmp_path / "b.jpg")
    assert not (tmp_path / "b.png").exists()


def test_a_figure_that_cannot_be_written_leaves_the_old_file(tmp_path):
    for name in ("a.png", "a.svg"):
        (tmp_path / name).write_text("old")

    class Broken(Figure):
        def savefig(self, *args, **kwargs):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save_figure(Broken(), tmp_path / "a.png", tmp_path / "a.svg")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.png": "old", "a.svg": "old"}


def test_the_library_does_not_import_matplotlib_and_figures_do_not_import_pyplot():
    code = "import sys, mixpipe; assert 'matplotlib' not in sys.modules\n"
    code += "import mixpipe.report.figures; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_neutron_stars(catalogs):
    table = pd.read_csv(catalogs / "neutron_stars" / "2018.csv", comment="#")
    err = 0.5 * (table["mass_err_up"].abs() + table["mass_err_lo"].abs())
    fit = fit_of([0.72, 0.28], [1.346, 1.782], [0.078, 0.144], len(table))
    figure = draw_mixture(fit, table["mass"], err, label="neutron_stars / 2018 / mass", unit="Msun")
    words = texts(figure)
    assert "N = 57, M = 2" in words and "mass [M☉]" in words
    assert "1: weight 0.72, mean 1.346, σ 0.078 M☉" in words and "outside" not in words


@pytest.mark.parametrize("n", [1, 3, 10, 1000, 10**8])
def test_quantiles_of_the_binomial_distribution(n):
    levels, chances = (0.001, 0.025, 0.5, 0.975), (0.01, 0.025, 0.25, 0.5)
    found = [[binomial_quantile(q, n, p) for p in chances] for q in levels]
    # Where the level is reached to within rounding, either neighbour is right.
    assert np.abs(np.array(found) - [binom.ppf(q, n, chances) for q in levels]).max() <= (1 if n > 1e6 else 0)


def test_peaks_beyond_the_frame_are_marked_and_explained():
    x = RNG.normal(0.0, 1.0, 330)
    narrow, broad = (fit_of([0.5, 0.5], [0.0, 2.0], [1.0, sigma], 330) for sigma in (0.06, 1.0))
    place = {"label": "a / b / c", "unit": None}
    for fit, beyond in ((narrow, True), (broad, False)):
        estimates = [Estimate("em", fit.mixture, -100.0, np.zeros(2))]
        for figure in (draw_mixture(fit, x, 0.0, **place), draw_estimators(estimates, x, 0.0, **place)):
            marks = [line for line in figure.axes[0].lines + figure.axes[1].lines if line.get_marker() == "^"]
            assert ("peak off the frame" in texts(figure)) is beyond
            assert [line.get_xdata().tolist() for line in marks] == [[pytest.approx(2.0, abs=0.02)]] * beyond


def test_peaks_beyond_the_frame_of_a_comparison_are_marked():
    cells = Cells.from_rows(RNG.normal(0.0, 1.0, 330), 0.05)
    rest = (cells, (cells.x > 1.0).astype(int), [(2, 0.0)], np.full(2, np.nan))
    broad, narrow = (Fitted(fit_of([0.5, 0.5], [0.0, 2.0], [1.0, sigma], 330), *rest) for sigma in (1.0, 0.06))
    for new, beyond in ((narrow, True), (broad, False)):
        comparison = judge_release([compare_fits(broad, new, None, [])])[0]
        figure = draw_overlay([Panel("x", None, ("a", "b"), comparison, cells, cells)], label="a / b")
        assert ("peak off the frame" in texts(figure)) is beyond


def test_rows_below_the_classes_have_their_weights():
    fit, x = fit_of([0.5, 0.5], [8.0, 22.0], [3.0, 3.0], 580), np.arange(1.0, 30.0)
    weights = np.where(x == 8.0, 300.0, 10.0)
    lower = draw_classes(fit, x, None, weights, label="a / b / c", unit=None).axes[1]
    heights, edges, _ = lower.patches[0].get_data()
    assert edges[np.argmax(heights)] <= 8.0 <= edges[np.argmax(heights) + 1]
    assert heights.max() > 5.0 * np.median(heights)
    table, estimates = Selection((fit,), "bic").table(), [Estimate("em", fit.mixture, -100.0, np.zeros(2))]
    figures = fit_figures(fit, table, "bic", estimates, x, None, weights, label="a / b / c", unit=None)
    drawn = figures["classes"].axes[1].patches[0].get_data()[0]
    np.testing.assert_allclose(drawn, heights)


def test_triangles_are_explained_where_there_are_some():
    x = RNG.normal(size=400)
    right, wrong = fit_of([1.0], [0.0], [1.0], 400), fit_of([1.0], [0.0], [0.1], 400)
    assert "triangles" not in texts(draw_quality(right, x, np.zeros(400), label="a / b / c"))
    assert "triangles: off the frame" in texts(draw_quality(wrong, x, np.zeros(400), label="a / b / c"))
