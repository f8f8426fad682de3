"""Figures of several columns: what they show, and that hard data do not spoil them."""

import io
import warnings

import numpy as np
import pytest
from astropy import units as u
from scipy.stats import norm

from mixpipe.assess.joint_transforms import JointQuality, Transforms
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit
from mixpipe.model.mixture import Mixture
from mixpipe.report.figures import save_figure
from mixpipe.report.figures.corner import draw_corner
from mixpipe.report.figures.joint_curves import joint_curves
from mixpipe.report.figures.joint_quality import draw_joint_quality, transform_ratio
from mixpipe.report.figures.joint_scene import JointScene
from mixpipe.report.figures.style import component_style
from tests.campaign import mostly_campaign
from tests.report.test_figures import texts

LONG = "a very long name with $x_$ and \\frac{1}{2} and 100 % _ ^ of everything " * 2
TWO = JointMixture(
    [0.6, 0.4], [[0.0, 1.0], [6.0, -4.0]], [[[1.0, 1.0], [1.0, 4.0]], [[0.0, 0.0], [0.0, 1.0]]], ["a", "b"]
)


def fit_of(mixture, n_data, **more):
    return JointFit(mixture, "em", -1.0, 0.0, n_data, 11, True, **more)


def rows_of(mixture, n, err=0.5, seed=3, gaps=0.0, **more):
    rng = np.random.default_rng(seed)
    x = mixture.sample(n, rng) + err * rng.normal(size=(n, mixture.n_dims))
    x[rng.random(x.shape) < gaps] = np.nan
    return JointCells.from_rows(x, err=err, names=mixture.names, **more)


def mixture_of(n_dims, n_components, names=()):
    rng = np.random.default_rng(n_dims)
    factors = rng.normal(size=(n_components, n_dims, n_dims))
    means = 4.0 * rng.normal(size=(n_components, n_dims))
    return JointMixture(np.full(n_components, 1.0 / n_components), means, factors @ factors.swapaxes(1, 2), names)


def never_together():
    """Rows in which no row has the first two columns."""
    x = np.array(rows_of(mixture_of(3, 2), 60).x)
    x[:30, 0], x[30:, 1] = np.nan, np.nan
    return mixture_of(3, 2), JointCells.from_rows(x, err=0.5)


def uneven():
    """A date, a small flux, and a column of one value."""
    means = [[2459000.0, 3e-13, 5.0], [2459001.0, 4e-13, 5.0]]
    mixture = JointMixture([0.5, 0.5], means, [np.diag([1e-2, 1e-28, 0.0])] * 2, ["date", "flux", "one"])
    rng = np.random.default_rng(8)
    x = np.repeat(means, 100, axis=0) + [0.1, 1e-14, 0.0] * rng.normal(size=(200, 3))
    return mixture, JointCells.from_rows(x, err=[0.01, 1e-15, 0.0], names=mixture.names)


CASES = {
    "two": (TWO, rows_of(TWO, 60)),
    "no errors": (TWO, rows_of(TWO, 60, err=0.0)),
    "many": (TWO, rows_of(TWO, 2000)),
    "four with long names": (four := mixture_of(4, 7, [f"{k} {LONG}" for k in range(4)]), rows_of(four, 80, gaps=0.2)),
    "never together": never_together(),
    "uneven": uneven(),
    "without data": (TWO, None),
}


@pytest.mark.parametrize("name", mostly_campaign(CASES, "two", "uneven", "without data"))
def test_hard_data_draw_without_a_warning_and_nothing_leaves_the_figure(name, tmp_path):
    mixture, cells = CASES[name]
    fit, scene = fit_of(mixture, 100.0), JointScene.of(mixture, cells)
    label = LONG * 3 if "long" in name else "catalog / release / fit"
    transforms = Transforms(mixture)
    transforms.add(scene.cells.x, scene.cells.cov, scene.cells.weights)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = {mixture.names[0]: Mixture([1.0], [0.0], [3.0])}
        figures = [
            draw_corner(fit, scene, own, label=label, units=["km / s"] * mixture.n_dims),
            draw_joint_quality(fit, transforms, transforms.quality(), label=label),
        ]
        for figure in figures:
            save_figure(figure, tmp_path / "a.png", tmp_path / "a.svg")
    for figure in figures:
        width, height = figure.get_size_inches()
        renderer = figure.canvas.get_renderer()
        inches = figure.dpi_scale_trans.inverted()
        shown = [axes for axes in figure.axes if axes.get_visible()]
        boxes, words, keys = (
            [each.get_tightbbox(renderer).transformed(inches) for each in group]
            for group in (shown, figure.texts, figure.legends)
        )
        for box in boxes + words + keys:
            assert box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < width + 0.02 and box.y1 < height + 0.02
        assert max(box.y1 for box in boxes) <= min(box.y0 for box in words) + 0.03
        assert all(key.y1 <= min(box.y0 for box in boxes) + 0.03 for key in keys)
        panels = [axes.get_window_extent(renderer) for axes in shown]
        assert not any(one.overlaps(other) for k, one in enumerate(panels) for other in panels[:k])


def test_pictures_repeat(tmp_path):
    for name in ("a", "b"):
        figure = draw_corner(fit_of(TWO, 60.0), JointScene.of(TWO, rows_of(TWO, 60)), label="x", units=[None] * 2)
        save_figure(figure, tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_ellipses_are_those_of_the_covariances_as_they_are_and_with_the_errors():
    cov = np.array([[0.25, 0.1], [0.1, 0.5]])
    x = TWO.sample(100, np.random.default_rng(1))
    scene = JointScene.of(TWO, JointCells.from_rows(x, cov=cov, names=TWO.names))
    for observed, total in ((False, TWO.covariances[0]), (True, TWO.covariances[0] + cov)):
        off = np.array(scene.ellipse(0, 0, 1, 2.0, observed=observed)).T - TWO.means[0]
        # Every point is 2 sigma from the mean; and the ellipse is a whole one.
        np.testing.assert_allclose(np.einsum("na,ab,nb->n", off, np.linalg.inv(total), off), 4.0)
        np.testing.assert_allclose(off.max(axis=0), 2.0 * np.sqrt(np.diagonal(total)), rtol=2e-3)
    # Without a width along a, it is a line.
    a, b = scene.ellipse(1, 0, 1, 1.0, observed=False)
    np.testing.assert_allclose(a, 6.0)
    assert b.min() == pytest.approx(-5.0) and b.max() == pytest.approx(-3.0)


def test_rows_with_huge_errors_do_not_widen_the_ellipses_as_observed():
    err = np.full((101, 2), 0.5)
    err[:10] = 1e6
    x = TWO.sample(101, np.random.default_rng(1))
    scene = JointScene.of(TWO, JointCells.from_rows(x, err=err, names=TWO.names))
    np.testing.assert_allclose(scene.typical_covariances, np.tile(0.25 * np.eye(2), (2, 1, 1)))


def test_the_corner_has_the_data_the_components_and_the_marginals():
    cells = rows_of(TWO, 300)
    own = {"b": Mixture([1.0], [-1.0], [3.0])}
    figure = draw_corner(
        fit_of(TWO, 300.0, rank=np.array([2, 1])),
        JointScene.of(TWO, cells),
        own,
        label="c / r / f",
        units=["mas", None],
    )
    first, drawn, pair, second = figure.axes
    np.testing.assert_array_equal(pair.collections[0].get_offsets(), cells.x)
    # Above the diagonal the columns change places, and rows are as many.
    assert drawn.collections[0].get_offsets().shape == (300, 2)
    assert drawn.get_xlim() == second.get_xlim() == pair.get_ylim() and pair.get_xlim() == first.get_xlim()
    # Two ellipses with the errors removed and two as observed for each component, and its mean.
    for j in range(2):
        lines = [line for line in pair.lines if line.get_color() == component_style(j)[0]]
        assert [len(line.get_xdata()) for line in lines] == [73, 73, 73, 73, 1]
        assert tuple(part[0] for part in lines[-1].get_data()) == tuple(TWO.means[j])
    # Errors are all the same: the marginals are exact, up to the smallest detail of the picture.
    for axes, a in ((first, 0), (second, 1)):
        (total,) = (line for line in axes.lines if line.get_color() == "#000000")
        sigmas = np.hypot(TWO.sigmas[:, a], 0.5)
        expected = norm.pdf(total.get_xdata()[:, None], TWO.means[:, a], sigmas) @ TWO.weights
        np.testing.assert_allclose(total.get_ydata(), expected, atol=1e-4)
    (alone,) = (line for line in second.lines if line.get_linestyle() == ":")
    np.testing.assert_allclose(alone.get_ydata(), norm.pdf(alone.get_xdata(), -1.0, np.hypot(3.0, 0.5)), atol=1e-4)
    assert not any(line.get_linestyle() == ":" for line in first.lines)
    found = texts(figure)
    for words in (
        "N = 300, M = 2",
        "a [mas]",
        "1: weight 0.6",
        "2: weight 0.4, rank 1 of 2",
        "with the errors of\nthe data",
    ):
        assert words in found


def test_many_rows_are_a_density_of_all_of_them():
    cells = rows_of(TWO, 4000)
    pair = draw_corner(fit_of(TWO, 4000.0), JointScene.of(TWO, cells), label="x", units=[None] * 2).axes[2]
    inside = np.all([(cells.x[:, k] >= low) & (cells.x[:, k] <= high) for k, (low, high) in enumerate(
        (pair.get_xlim(), pair.get_ylim())
    )], axis=0)  # fmt: skip
    assert pair.collections[0].get_array().sum() == inside.sum()


def test_outliers_are_counted_and_do_not_stretch_the_axes():
    x = np.array(rows_of(TWO, 200).x)
    x[0, 0], x[1, 1] = 1e6, -1e6
    cells = JointCells.from_rows(x, err=0.5, names=TWO.names)
    figure = draw_corner(fit_of(TWO, 1000.0), JointScene.of(TWO, cells), label="x", units=[None] * 2, n_rows=1000)
    assert "200 of 1,000 rows drawn" in texts(figure) and "2 rows outside the picture" in texts(figure)
    low, high = figure.axes[2].get_xlim()
    assert -20.0 < low < -2.0 and 7.0 < high < 30.0


def test_gaps_of_one_component_do_not_make_the_marginal_wrong():
    # Most rows of the second component lack b.
    mixture = JointMixture([0.5, 0.5], [[0.0, 0.0], [9.0, 9.0]], [np.eye(2)] * 2, ["a", "b"])
    x = np.repeat([[0.0, 0.0], [9.0, 9.0]], 100, axis=0) + np.random.default_rng(2).normal(size=(200, 2))
    x[100:175, 1] = np.nan
    scene = JointScene.of(mixture, JointCells.from_rows(x, err=0.1, names=mixture.names))
    np.testing.assert_allclose(scene.shares, [[0.5, 0.5], [0.8, 0.2]], atol=1e-6)
    figure = draw_corner(fit_of(mixture, 200.0), scene, label="x", units=[None] * 2)
    assert figure.axes[3].get_title(loc="left") == "125 rows" and figure.axes[0].get_title(loc="left") == ""
    # The rows that are drawn have the same gaps.
    np.testing.assert_array_equal(np.isnan(scene.drawn), np.isnan(x))


def test_a_pair_that_no_row_has_says_so():
    mixture, cells = never_together()
    figure = draw_corner(fit_of(mixture, 60.0), JointScene.of(mixture, cells), label="x", units=[None] * 3)
    assert [len(axes.texts) for axes in figure.axes] == [0, 1, 0, 1, 0, 0, 0, 0, 0]


def test_the_quality_shows_rows_over_those_expected_and_the_statistics():
    mixture = JointMixture([1.0], [[0.0, 0.0]], [np.eye(2)], ["a", "b"])
    transforms = Transforms(mixture)
    # The transforms of a are 1/8, 3/8, 5/8 and 7/8 a hundred times each; all those of b are 1/2.
    quantiles = norm.ppf([0.125, 0.375, 0.625, 0.875])
    x = np.column_stack([np.repeat(quantiles, 100), np.full(400, 1e-9)])
    transforms.add(x, np.zeros((400, 2, 2)), np.ones(400))
    ratio, edges, (low, high) = transform_ratio(transforms, 0)
    np.testing.assert_allclose(ratio.reshape(4, 8).sum(axis=1), 8.0)
    assert edges[[0, -1]].tolist() == [0.0, 1.0] and low < 1.0 < high
    assert transform_ratio(transforms, 1)[0].max() == 32.0
    quality = [
        JointQuality("a", 400, 0.0123, 0.005),
        JointQuality("b", 400, 0.5),
        JointQuality("distance", 400, 0.2, 0.4),
    ]
    found = texts(draw_joint_quality(fit_of(mixture, 400.0), transforms, quality, label="x", floor=0.005))
    for words in ("a\nKS 0.012, p ≤ 0.0050", "b\nKS 0.5", "principal axis\nno statistic", "distance\nKS 0.2, p = 0.40"):
        assert words in found.replace("\nrows / expected", "")


def test_curves_are_those_of_the_mixture():
    cells = rows_of(TWO, 300, gaps=0.1)
    transforms = Transforms(TWO)
    transforms.add(cells.x, cells.cov, cells.weights)
    found = joint_curves(JointScene.of(TWO, cells), transforms, {"b": Mixture([1.0], [0.0], [3.0])}, "a note")
    a, b = found["columns"]
    assert [a["name"], b["name"], found["note"]] == ["a", "b", "a note"]
    assert a["own"] is None and a["counts"].sum() == np.count_nonzero(~np.isnan(cells.x[:, 0]))
    for column in (a, b):
        np.testing.assert_allclose(np.trapezoid(column["observed"], column["x"]), 1.0, atol=0.02)
    # The second component has no width along a: only the first is drawn without the errors, with its share of the rows.
    shape = norm.pdf(a["x"])
    share = a["intrinsic"][shape.argmax()] / shape.max()
    np.testing.assert_allclose(a["intrinsic"], share * shape, atol=1e-12)
    assert share == pytest.approx(0.6, abs=0.1)
    (pair,) = found["ellipses"]
    assert pair["columns"] == [0, 1] and np.shape(pair["intrinsic"]) == np.shape(pair["observed"]) == (2, 2, 73)
    # All rows are in the picture, those with a gap, too.
    np.testing.assert_array_equal(found["points"].T, cells.x)
    for one in transforms.quality():
        excess = found["uniformity"]["excess"][one.name]
        assert excess[0] == 0.0 and excess[-1] == pytest.approx(0.0, abs=1e-12)
        # Between places, a distribution function rises by at most the rows there.
        assert one.ks - 0.1 < np.abs(excess).max() <= one.ks + 1e-12


def test_a_fit_draws_itself():
    cells = rows_of(TWO, 120)
    fit = fit_mixture(cells.x * u.mas, 0.5 * u.mas, n_components=1, n_threads=1)
    drawn = fit.plot(cells.x * u.mas, 0.5 * u.mas)
    assert [axes.get_xlabel() for axes in drawn.axes[2:]] == ["x0 [mas]", "x1 [mas]"]
    assert drawn.texts[0].get_text() == "x0, x1"
    # In another unit, or with covariances, the same is drawn in the unit of the fit.
    for other in (
        fit.plot(1000.0 * cells.x * u.uas, 500.0 * u.uas, label="stars"),
        fit.plot(cells.x * u.mas, cov=0.25 * np.eye(2)),
        fit.plot(JointCells.from_rows(cells.x, err=0.5)),
    ):
        for axes, same in zip(other.axes, drawn.axes, strict=True):
            np.testing.assert_allclose(axes.get_xlim(), same.get_xlim())
            for line, expected in zip(axes.lines, same.lines, strict=True):
                np.testing.assert_allclose(line.get_xydata(), expected.get_xydata(), rtol=1e-9, atol=1e-9)
    alone = fit.plot()
    assert "1σ, 2σ" in texts(alone) and "data" not in texts(alone)
    stream = io.BytesIO()
    alone.savefig(stream, format="png")
    assert stream.getvalue().startswith(b"\x89PNG")


def test_other_columns_are_refused():
    import pandas as pd

    fit = fit_of(TWO, 10.0)
    x = pd.DataFrame({"b": [1.0, 2.0], "a": [3.0, 4.0]})
    with pytest.raises(ValueError, match="x has the columns b, a; expected a, b"):
        fit.plot(x, 0.1)
    with pytest.raises(ValueError, match="expected a, b"):
        fit.plot(np.zeros((5, 3)), 0.1)
    with pytest.raises(ValueError, match="cov was given for a fit of one column"):
        import mixpipe

        mixpipe.plot_fit(fit_mixture([1.0, 2.0, 4.0], 0.5, n_components=1), [1.0], cov=np.eye(2))
