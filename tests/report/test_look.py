"""What people set for figures: names, ranges and bins of a column, and the style of all."""

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties
from scipy.stats import norm

import mixpipe
from mixpipe.base.errors import ConfigError
from mixpipe.config.settings import parse_config
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult
from mixpipe.pipeline.plan.run import Run, find_problems
from mixpipe.report.figures import draw_mixture, draw_quality
from mixpipe.report.figures.look import DEFAULT, Look, read_look, read_looks
from mixpipe.report.figures.style import component_style, load_style, style, styled

X = np.random.default_rng(3).normal(0.0, 1.0, 3000)
FIT = FitResult(Mixture([0.5, 0.5], [-0.5, 0.5], [0.8, 0.8]), "em", -1.0, 0.0, X.size, 5, True)


def drawn(**look):
    """The axes with the densities."""
    return draw_mixture(FIT, X, 0.1, label="a / b / c", unit="Msun", look=Look(**look)).axes[1]


def test_range_and_bins_are_those_that_were_set():
    axes = drawn(range=(-1.0, 2.0), bins=12)
    assert axes.get_xlim() == (-1.0, 2.0)
    np.testing.assert_allclose(axes.patches[0].get_data().edges, np.linspace(-1.0, 2.0, 13))
    # The quality is judged in the same bins.
    quality = draw_quality(FIT, X, 0.1, label="a / b / c", look=Look(range=(-1.0, 2.0), bins=12)).axes[2]
    np.testing.assert_allclose(quality.patches[-1].get_data().edges, np.linspace(-1.0, 2.0, 13))


def test_a_logarithmic_axis_of_densities_shows_bins_with_a_single_row():
    axes = drawn(log_counts=True)
    low, high = axes.get_ylim()
    heights = axes.patches[0].get_data().values
    assert axes.get_yscale() == "log" and low < heights[heights > 0.0].min() and heights.max() < high
    assert drawn().get_yscale() == "linear"


@pytest.mark.parametrize("log_counts", [False, True])
def test_a_logarithmic_axis_of_values_shows_all_bins(log_counts):
    x = np.exp(np.random.default_rng(1).normal(0.0, 2.5, 300))
    fit = mixpipe.fit_mixture(x, 0.01, n_components=3)
    look = Look(log_counts=log_counts)
    for axes in (draw_mixture(fit, x, 0.01, label="x", unit=None, look=look).axes[1], fit.plot(x, 0.01).axes[1]):
        assert axes.get_xscale() == "log"
        heights, edges, _ = axes.patches[0].get_data()
        assert heights.max() < axes.get_ylim()[1]
        single = 1.0 / 300 / np.diff(np.log10(edges)).max()
        assert axes.get_yscale() == "linear" or 0.1 * single < axes.get_ylim()[0] < single


@pytest.mark.parametrize(
    ("shown", "inside", "left", "right"),
    [
        ((3.1, 3.4), [3.1, 3.4], 9, 90),
        ((3.1, 4.4), [3.1, 4.0, 4.4], 9, 70),
        ((2.5, 6.5), [2.5, 3.0, 4.0, 5.0, 6.0, 6.5], 4, 11),
        ((20.0, 30.0), [20.0, 30.0], 112, 0),
    ],
)
def test_bins_of_a_histogram_are_cut_at_the_ends_of_a_figure(shown, inside, left, right):
    numbers = np.array([0, 1, 5, 23, 42, 25, 10, 4, 2, 0])
    cells = mixpipe.Cells.from_histogram(np.arange(11.0), numbers)
    fit = FitResult(Mixture([1.0], [4.5], [1.2]), "em", -1.0, 0.0, 112, 2, True)
    figure = draw_mixture(
        fit, cells.x, None, cells.weights, label="x", unit=None, bins=cells.edges, look=Look(range=shown)
    )
    heights, edges, _ = figure.axes[1].patches[0].get_data()
    np.testing.assert_allclose(edges, inside)
    by_hand = np.interp(inside, np.arange(11.0), np.append(0, np.cumsum(numbers)))
    np.testing.assert_allclose(heights * np.diff(edges) * 112, np.diff(by_hand), atol=1e-9)
    told = " ".join(text.get_text() for text in figure.texts)
    assert f"({round(by_hand[0])} left, {round(112 - by_hand[-1])} right)" in told.replace("\n", " ")


def test_fits_in_python_are_drawn_with_what_was_seen():
    x = np.random.default_rng(1).normal(0.0, 1.0, 300)
    x = x[x > 0.5]
    fit = mixpipe.fit_mixture(x, 0.05, n_components=1, truncated=(0.5, None))
    cells = mixpipe.Cells.from_rows(x, 0.05, truncated=(0.5, None))
    for figure in (fit.plot(x, 0.05, truncated=(0.5, None)), fit.plot(cells)):
        heights, edges, _ = figure.axes[1].patches[0].get_data()
        seen = 1.0 - norm.cdf(0.5, fit.mixture.means[0], np.hypot(fit.mixture.sigmas[0], 0.05))
        assert edges[0] >= 0.5 - 1e-9
        assert np.sum(heights * np.diff(edges)) == pytest.approx(seen, rel=0.1)
    sides = np.where(np.arange(x.size) % 10 == 0, -1, 0)
    limited = mixpipe.fit_mixture(x, 0.05, n_components=1, limits=sides)
    labels = [text.get_text() for text in limited.plot(x, 0.05, limits=sides).legends[0].get_texts()]
    assert any("upper limits" in label for label in labels)


def test_fits_of_posteriors_and_of_densities_are_drawn_as_they_were_fitted():
    rng = np.random.default_rng(1)
    cells = mixpipe.Cells.from_samples(rng.normal(rng.normal(0.0, 1.0, (50, 1)), 0.3, (50, 30)))
    heights, edges, _ = mixpipe.fit_mixture(cells, n_components=1).plot(cells).axes[1].patches[0].get_data()
    assert np.sum(heights * np.diff(edges)) == pytest.approx(1.0, abs=0.1)
    grid = np.linspace(0.0, 3.0, 61)
    density = np.exp(-0.5 * (grid + 0.5) ** 2)
    axes = mixpipe.fit_density(grid, density, 1).plot().axes[0]
    x, y = axes.lines[-1].get_data()
    assert (x.min(), x.max()) == (0.0, 3.0)
    np.testing.assert_allclose(y, np.interp(x, grid, density / np.trapezoid(density, grid)), atol=2e-3)


@pytest.mark.parametrize(
    "label, text, is_tex",
    [
        (None, "c [M☉]", False),
        ("mass of the star", "mass of the star [M☉]", False),
        (r"$M_\mathrm{NS}$", r"$M_\mathrm{NS}$ [M$_\odot$]", True),
        (r"$\no such thing", r"$\no such thing [M☉]", False),
        (r"$\nosuchthing{$", r"$\nosuchthing{$ [M☉]", False),
        ("50 $", "50 $ [M☉]", False),
    ],
)
def test_a_label_names_the_axis_and_may_have_tex(label, text, is_tex):
    name = drawn(label=label).xaxis.label
    assert (name.get_text(), name.get_parse_math()) == (text, is_tex)


def test_a_style_is_applied_on_top_and_its_colours_are_those_of_the_components(tmp_path):
    file = tmp_path / "paper.mplstyle"
    file.write_text(
        'font.family: serif\nxtick.labelsize: 5\naxes.prop_cycle: cycler(color=["123456", "abcdef"])\n',
        encoding="utf-8",
    )
    own = component_style(0)
    with styled(str(file)):
        axes = drawn()
        assert [component_style(j)[0] for j in range(3)] == ["#123456", "#ABCDEF", "#123456"]
        # The third component has the colour of the first, and another line.
        assert component_style(2)[1] != component_style(0)[1]
        with style():
            assert FontProperties().get_family() == ["serif", "DejaVu Sans"]
    label = axes.get_xticklabels()[0]
    assert label.get_fontsize() == 5.0 and label.get_fontfamily() == ["serif", "DejaVu Sans"]
    assert component_style(0) == own and drawn().get_xticklabels()[0].get_fontsize() == 7.5


WRONG = {
    "no-such-style": ("no style 'no-such-style'", "grayscale"),
    "absent.mplstyle": ("no file absent.mplstyle", "a file that ends in .mplstyle"),
    "key.mplstyle": ("key.mplstyle has a mistake: Bad key font.sizee", "settings of Matplotlib"),
    "value.mplstyle": ("value.mplstyle has a mistake: Bad value", "settings of Matplotlib"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_style_that_cannot_be_used_is_refused_before_anything_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.mplstyle").write_text("font.sizee: 3\n", encoding="utf-8")
    (tmp_path / "value.mplstyle").write_text("font.size: wide\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_style(name)
    what, expected = WRONG[name]
    assert what in str(caught.value) and expected in str(caught.value)
    (tmp_path / "a.csv").write_text("x\n1\n2\n", encoding="utf-8")
    catalogs = {"a": {"releases": {"1": "a.csv"}, "columns": {"x": {}}}}
    (problem,) = find_problems(parse_config({"catalogs": catalogs, "settings": {"style": name}}))
    assert str(problem) == str(caught.value)


def configured(column=None, settings=None):
    catalogs = {"a": {"releases": {"1": "a.csv"}, "columns": {"x": column or {}}}}
    return Run(parse_config({"catalogs": catalogs, "settings": settings or {}}))


def test_what_is_set_for_figures_is_in_their_plan_and_in_none_of_a_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = configured()
    (tmp_path / "paper.mplstyle").write_text("font.size: 9\n", encoding="utf-8")
    look = {"label": "$x$", "figure": {"range": [0, 2], "bins": None, "log_counts": True}}
    run = configured(look, {"style": "paper.mplstyle"})
    assert run.fit_plan("a", "1", "x", {}) == plain.fit_plan("a", "1", "x", {})
    assert read_look(plain.look("a", "x")) == (DEFAULT, None)
    expected = Look("$x$", (0.0, 2.0), None, True)
    assert read_look(run.look("a", "x")) == (expected, "paper.mplstyle")
    assert read_looks(run.looks("a")) == ({"x": expected}, "paper.mplstyle")
    # Another content of the style is another plan.
    (tmp_path / "paper.mplstyle").write_text("font.size: 10\n", encoding="utf-8")
    assert configured(look, {"style": "paper.mplstyle"}).look("a", "x") != run.look("a", "x")


@pytest.mark.parametrize(
    "figure, said",
    [
        ({"range": [2, 1]}, "range [2, 1] of a figure"),
        ({"range": [2]}, "two increasing numbers"),
        ({"bins": 0}, "a whole number from 1 to 1000"),
        ({"bin": 3}, "unknown key 'bin'"),
    ],
)
def test_mistakes_are_said(figure, said):
    with pytest.raises(ConfigError) as caught:
        configured({"figure": figure})
    assert said in str(caught.value)
