"""What Python users hold: units in and out, fits that show themselves, the public names."""

import io
import pickle
import re
from html.parser import HTMLParser

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked

import mixpipe
from mixpipe.model import Cells, FitResult, Mixture, Selection, Uncertainties

X = np.array([7.41, 7.35, 7.52, 7.47])
ERR = np.array([0.04, 0.05, 0.03, 0.02])


def test_every_public_name_is_there():
    for name in mixpipe.__all__:
        assert getattr(mixpipe, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'fit_mixtures'"):
        mixpipe.fit_mixtures  # noqa: B018


def test_units_come_out_as_they_go_in():
    plain = mixpipe.fit_mixture(X, ERR, n_components=1)
    assert plain.unit is None
    for x, err in (
        (X * u.mas, ERR * u.mas),
        (X * u.mas, 1000 * ERR * u.uas),
        (QTable({"x": X * u.mas})["x"], ERR * u.mas),
        (MaskedColumn(X, unit="mas"), ERR),
        (Masked(X * u.mas), ERR * u.mas),
    ):
        fit = mixpipe.fit_mixture(x, err, n_components=1)
        assert fit.unit == u.mas
        # A factor of a thousand, back and forth.
        assert fit.mixture.means == pytest.approx(plain.mixture.means, rel=1e-14)
        assert fit.mixture.sigmas == pytest.approx(plain.mixture.sigmas, rel=1e-9)


@pytest.mark.parametrize(
    "fit",
    [
        lambda x, err: mixpipe.choose_n_components(x, err, max_components=2).best,
        lambda x, err: mixpipe.choose_n_components(x, err, max_components=2).fits[0],
        mixpipe.fit_moments,
        lambda x, err: mixpipe.fit_mixture(x, err, n_components=1, family="laplace"),
        lambda x, err: mixpipe.fit_mixture(x, err, start=Mixture([1.0], [7.4], [0.1])),
        lambda x, err: mixpipe.fit_density(np.linspace(0, 1, 20) * x.unit, np.ones(20), 1),
    ],
)
def test_every_fit_knows_its_unit(fit):
    assert fit(X * u.km, ERR * u.km).unit == u.km


@pytest.mark.parametrize(
    ("err", "message"),
    [
        (ERR, "x is in mas but err has no unit"),
        (0.04, "x is in mas but err has no unit"),
        (pd.Series(ERR), "x is in mas but err has no unit"),
        (ERR * u.s, "err is in s, which cannot be converted to mas"),
    ],
)
def test_errors_without_the_unit_of_a_quantity_are_refused(err, message):
    with pytest.raises(ValueError, match=message):
        mixpipe.fit_mixture(X * u.mas, err, n_components=1)


def fits(unit: object = None) -> Selection:
    """Two fits with numbers that are easily recognised."""
    one = FitResult(Mixture([1.0], [2.0], [3.0]), "em", -10.0, 0.0, 100.0, 2, True, unit=unit)
    two = FitResult(
        mixture=Mixture([0.75, 0.25], [1.0, 4.0], [0.0, 0.5], ("gaussian", "student_t"), (np.nan, 5.0)),
        estimator="em",
        loglik=-1.0,
        entropy=0.0,
        n_data=100.0,
        n_params=6,
        converged=False,
        boundary=[True, False],
        uncertainties=Uncertainties([0.031, 0.031], [0.1, 0.2], [np.nan, 0.05], [np.nan, 0.71]),
        warnings=("1 < 2 & <script>",),
        unit=unit,
    )
    return Selection((one, two), "aic")


class PageCells(HTMLParser):
    """The texts of the cells of all tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.inside = False
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.inside = tag in ("td", "th")
        if self.inside:
            self.texts.append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data


def test_a_fit_shows_itself():
    fit = fits(u.km / u.s).fits[1]
    text = repr(fit)
    # BIC = 6 ln 100 + 2
    assert text.splitlines()[0] == "2 components by em, N = 100, log-likelihood -1.00, BIC 29.63, NOT CONVERGED"
    assert re.split(r" {2,}", text.splitlines()[1].strip()) == ["weight", "mean [km / s]", "sigma [km / s]", "shape"]
    assert "0.750 ± 0.031" in text
    assert "sigma at its lower bound" in text.splitlines()[2]
    assert text.splitlines()[3].endswith("5.00 ± 0.71  student_t")
    assert text.endswith("warning: 1 < 2 & <script>")
    page = PageCells(fit._repr_html_())
    assert page.tags == {"table", "caption", "tr", "th", "td", "p"}
    assert {"0.750 ± 0.031", "mean [km / s]", "4.00 ± 0.20"} <= set(page.texts)
    assert "km" not in repr(fits().fits[0])


def test_a_selection_and_a_mixture_show_themselves():
    selection = fits()
    assert [line.split()[0] for line in repr(selection).splitlines()[2:4]] == ["1", "2"]
    assert repr(selection).endswith(repr(selection.best))
    # AIC = 2 * 6 + 2
    assert {"14.00", "gaussian+student_t, selected"} <= set(PageCells(selection._repr_html_()).texts)
    assert "0.75" in PageCells(selection.best.mixture._repr_html_()).texts
    assert repr(pickle.loads(pickle.dumps(selection))) == repr(selection)


def bounds(figure) -> tuple[float, float]:
    return figure.axes[-1].get_xlim()


def test_plots():
    fit = mixpipe.fit_mixture(X * u.mas, ERR * u.mas, n_components=1)
    with_data = fit.plot(X * u.mas, ERR * u.mas, label="parallax")
    assert with_data.axes[-1].get_xlabel() == "parallax [mas]"
    # The same data in another unit, or as cells, are drawn in the unit of the fit.
    assert bounds(fit.plot(1000 * X * u.uas, 1000 * ERR * u.uas)) == pytest.approx(bounds(with_data))
    assert bounds(fit.plot(Cells.from_rows(X, ERR))) == pytest.approx(bounds(with_data))
    low, high = bounds(fit.plot())
    assert low < fit.mixture.means[0] < high
    point = FitResult(Mixture([0.5, 0.5], [1.0, 1.0], [0.0, 0.0]), "em", 0.0, 0.0, 5.0, 5, True)
    for figure in (with_data, fit.plot(), point.plot()):
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        assert stream.getvalue().startswith(b"\x89PNG")
        # What a notebook shows, in 120 dots per inch: the width is in the header of the file.
        picture = figure._repr_png_()
        assert picture.startswith(b"\x89PNG") and picture == figure._repr_png_()
        assert int.from_bytes(picture[16:20], "big") == int(120 * figure.get_figwidth())
