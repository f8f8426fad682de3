"""Every kind of figure for cases that are hard to draw, on one page: ``python -m tests.report.contact_sheet``.

The rows are drawn from known mixtures with fixed seeds, and the fits are these mixtures themselves: each figure shows a
right fit, and has to look like one. The page is for people to look at; tests/report/test_contact_sheet.py draws some of
it.
"""

from __future__ import annotations

import argparse
import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mixpipe.assess.comparison.compare import Comparison, Fitted, compare_fits, judge_release
from mixpipe.assess.joint_transforms import Transforms
from mixpipe.base.arrays import Array
from mixpipe.model.cells import Cells
from mixpipe.model.estimate import Estimate
from mixpipe.model.joint.cells import JointCells
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.model.joint.results import JointFit
from mixpipe.model.mixture import Mixture
from mixpipe.model.results import FitResult, Selection, Uncertainties
from mixpipe.model.truncated import TruncatedMixture
from mixpipe.model.window import Window
from mixpipe.report.figures import draw_failure, fit_figures, plot_fit, save_figure
from mixpipe.report.figures.corner import draw_corner
from mixpipe.report.figures.densities import Example, draw_examples, example_title, heading
from mixpipe.report.figures.joint_overlay import JointPanel, draw_joint_overlay
from mixpipe.report.figures.joint_quality import draw_joint_quality
from mixpipe.report.figures.joint_scene import JointScene
from mixpipe.report.figures.overlay import Panel, draw_overlay

FOLDER = Path(__file__).parents[2] / "docs" / "_build" / "contact_sheet"
LONG_NAME = "corrected_photometric_metallicity_of_the_brightest_member_within_the_half_light_radius_[Fe/H]"
LONG_LABEL = f"a_catalog_with_a_rather_long_name_as_archives_have_them / data_release_3_of_2024 / {LONG_NAME}"
_SEED = 20


@dataclass(frozen=True, eq=False)
class Case:
    """A known mixture, and rows that are drawn from it.

    Parameters
    ----------
    mixture : Mixture
        The mixture, with the errors removed.
    n_rows : int
        Number of rows that are drawn, of which those are left out that are not seen.
    err : tuple of float
        Lowest and highest error, evenly distributed.
    label, unit : str, str or None
        As in `fit_figures`.
    upper, lower : tuple of float or None
        Lowest and highest upper (lower) limit; a value below (above) the limit of its row is known as a limit only.
    truncated : tuple of float or None
        Bounds between which a value has to lie to be seen.
    max_components : int or None
        Largest number of components in the selection table; by default two more than there are.
    """

    mixture: Mixture
    n_rows: int
    err: tuple[float, float] = (0.05, 0.2)
    label: str = "stars / 2024 / x"
    unit: str | None = "km/s"
    upper: tuple[float, float] | None = None
    lower: tuple[float, float] | None = None
    truncated: tuple[float, float] | None = None
    max_components: int | None = None
    seed: int = _SEED

    @cached_property
    def rows(self) -> tuple[Array, Array, Array]:
        """Values, errors and limits."""
        rng = np.random.default_rng(self.seed)
        err = rng.uniform(*self.err, self.n_rows)
        x = rng.normal(self.mixture.sample(self.n_rows, rng), err)
        limits = np.zeros(self.n_rows, dtype=np.int8)
        for flag, ends in ((-1, self.upper), (1, self.lower)):
            if ends is not None:
                limit = rng.uniform(*ends, self.n_rows)
                beyond = (limits == 0) & (flag * (x - limit) > 0.0)
                x, limits = np.where(beyond, limit, x), np.where(beyond, flag, limits)
        low, high = self.truncated or (-np.inf, np.inf)
        seen = (x > low) & (x < high)
        return x[seen], err[seen], limits[seen]

    @cached_property
    def fit(self) -> FitResult:
        """The mixture as the result of a fit, with the uncertainties that so many rows give at best."""
        x, err, _ = self.rows
        weights, widths = self.mixture.weights, np.hypot(self.mixture.sigmas, np.median(err))
        means = widths / np.sqrt(weights * x.size)
        uncertainties = Uncertainties(np.sqrt(weights * (1.0 - weights) / x.size), means, means / np.sqrt(2.0))
        size = self.mixture.n_components
        return FitResult(
            self.mixture, "em", -1.4 * x.size, 0.0, x.size, 3 * size - 1, True, uncertainties=uncertainties
        )

    @property
    def selection(self) -> pd.DataFrame:
        """Fits with other numbers of components: each one that is missing costs a hundredth of the likelihood."""
        right = self.mixture.n_components
        fits = []
        for size in range(1, (self.max_components or right + 2) + 1):
            ends = np.arange(size, dtype=float)
            loglik = self.fit.loglik * (1.0 + 0.01 * max(right - size, 0)) + 0.7 * max(size - right, 0)
            mixture = Mixture(np.full(size, 1.0 / size), ends, np.ones(size))
            fits.append(FitResult(mixture, "em", loglik, 0.1 * size, self.fit.n_data, 3 * size - 1, size % 5 != 4))
        return Selection(tuple(fits)).table()

    @property
    def estimates(self) -> list[Estimate]:
        """What other estimators find."""
        mixture = self.mixture
        shifted = Mixture(mixture.weights, mixture.means + 0.1 * mixture.sigmas, 1.1 * mixture.sigmas)
        wider = Mixture(mixture.weights[::-1], mixture.means, 0.9 * mixture.sigmas)
        loglik = self.fit.loglik
        return [
            Estimate("em", mixture, loglik, self.fit.uncertainties.means),
            Estimate("moments", shifted, loglik - 3.2, 1.2 * self.fit.uncertainties.means),
            Estimate("density", wider, loglik - 1234.5),
        ]

    def figures(self) -> dict[str, Figure]:
        """The figures of the fit."""
        x, err, limits = self.rows
        return fit_figures(
            self.fit,
            self.selection,
            "bic",
            self.estimates,
            x,
            err,
            label=self.label,
            unit=self.unit,
            limits=limits if limits.any() else None,
            window=None if self.truncated is None else Window.of(self.truncated, x=x, n_rows=x.size),
        )

    @cached_property
    def fitted(self) -> Fitted:
        """The fit with its rows, for a comparison."""
        x, err, limits = self.rows
        cells = Cells.from_rows(x, err, limits=limits if limits.any() else None, truncated=self.truncated)
        component = self.mixture.responsibilities(x, err).argmax(axis=1)
        table = self.selection
        selection = list(zip(table["n_components"], table["bic"], strict=True))
        return Fitted(self.fit, cells, component, selection, np.full(self.mixture.n_components, np.nan))


def _even(size: int, sigma: float = 0.4) -> Mixture:
    """Components one beside the other, of unlike weights and widths."""
    shares = 1.0 + np.arange(size) % 3
    return Mixture(shares / shares.sum(), 2.0 * np.arange(size), sigma * (1.0 + np.arange(size) % 2))


_ONE = Mixture([1.0], [-1.0], [0.35])
_TWO = Mixture([0.7, 0.3], [-1.6, -0.5], [0.3, 0.15])
_NARROW = Mixture([0.8, 0.2], [0.0, 1.5], [1.0, 0.002])
_LINES = Mixture(np.array([4.0, *np.full(5, 0.2)]) / 5.0, [5.0, 1.0, 2.0, 4.0, 7.0, 8.5], [2.0, *np.full(5, 0.01)])
_METALS = {"label": "clusters / v2 / [Fe/H]", "unit": "dex"}

CASES = {
    "M = 1, N = 10": Case(_ONE, 10, max_components=1, **_METALS),
    "M = 1, N = 1,000,000": Case(_ONE, 10**6, **_METALS),
    "M = 2, N = 10": Case(_TWO, 10, unit="Msun", label="neutron_stars / 2018 / mass"),
    "M = 2, N = 1,000": Case(_TWO, 1000, unit="Msun", label="neutron_stars / 2018 / mass"),
    "M = 2, N = 1,000,000": Case(_TWO, 10**6, **_METALS),
    "M = 10, N = 2,000": Case(_even(10), 2000),
    "M = 10, N = 1,000,000": Case(_even(10), 10**6),
    "M = 20, N = 10,000": Case(_even(20), 10_000),
    "M = 20, N = 1,000,000": Case(_even(20, 0.25), 10**6, unit="erg / (cm2 s)", label="lines / 1 / flux"),
    "upper limits": Case(_TWO, 400, upper=(-2.2, -1.2), **_METALS),
    "limits on both sides": Case(_TWO, 30_000, upper=(-2.2, -1.4), lower=(-1.0, 0.0), **_METALS),
    "few limits": Case(_TWO, 40, upper=(-2.2, -1.2), **_METALS),
    "truncated": Case(_TWO, 3000, truncated=(-1.9, -0.4), **_METALS),
    "log transform": Case(
        Mixture([0.3, 0.7], [-0.2, 1.5], [0.5, 0.45]), 2000, unit="log10(s)", label="bursts / 4B / T90"
    ),
    "long names": Case(_even(3), 500, label=LONG_LABEL, unit="1e-17 erg / (Angstrom arcsec2 cm2 s)"),
    "no unit": Case(_TWO, 500, unit=None, label="a / b / index"),
    "no errors, far from zero": Case(
        Mixture([0.4, 0.6], [2459000.0, 2459000.3], [0.05, 0.02]), 700, (0.0, 0.0), unit="d", label="ephemeris / 1 / JD"
    ),
    "huge numbers": Case(
        Mixture([0.5, 0.5], [3e40, 7e40], [8e39, 6e39]), 700, (1e37, 2e37), unit="erg/s", label="agn / 1 / luminosity"
    ),
    "narrow peak": Case(_NARROW, 3000, (0.001, 0.002)),
    "narrow peak, N = 1,000,000": Case(_NARROW, 10**6, (0.001, 0.002)),
    "five narrow peaks": Case(_LINES, 5000, (0.001, 0.02), unit="Angstrom", label="spectrum / 1 / wavelength"),
    "decades": Case(Mixture([0.9, 0.1], [3.0, 3000.0], [1.0, 900.0]), 4000, (0.1, 0.2), unit="Jy"),
}


def _compared(old: Case, new: Case, name: str) -> Panel:
    comparison = judge_release([compare_fits(old.fitted, new.fitted, None, [])])[0]
    return Panel(name, new.unit, ("2018", "2024"), comparison, old.fitted.cells, new.fitted.cells)


def _moved(case: Case, shift: float, n_rows: int | None = None) -> Case:
    """The same with another mean of the last component, by some of its uncertainties, and other rows."""
    mixture = case.mixture
    means = mixture.means.copy()
    means[-1] += shift * case.fit.uncertainties.means[-1] * np.sqrt(2.0)
    return replace(
        case, mixture=Mixture(mixture.weights, means, mixture.sigmas), n_rows=n_rows or case.n_rows, seed=_SEED + 1
    )


def _overlays() -> Iterator[tuple[str, Figure]]:
    few, many = CASES["M = 2, N = 1,000"], replace(CASES["M = 2, N = 1,000,000"], n_rows=200_000)
    ten, narrow = CASES["M = 10, N = 2,000"], replace(CASES["narrow peak"], n_rows=100_000)
    limited = CASES["upper limits"]
    panels = {
        "no change": _compared(few, _moved(few, 0.0, 1500), "mass"),
        "a shift of 5 sigma": _compared(few, _moved(few, 5.0, 1500), "mass"),
        "a shift of 40 sigma, many rows": _compared(many, _moved(many, 40.0), "[Fe/H]"),
        "a shift of 400 sigma of a narrow peak": _compared(narrow, _moved(narrow, 400.0), "x"),
        "ten components": _compared(ten, _moved(ten, 6.0), "x"),
        "with upper limits": _compared(limited, _moved(limited, 1.0), "[Fe/H]"),
        "another number of components": _compared(CASES["M = 1, N = 10"], replace(few, n_rows=300), LONG_NAME),
    }
    for name, panel in panels.items():
        yield name, draw_overlay([panel], label="stars: 2018 → 2024")
    yield "several columns", draw_overlay(list(panels.values()), label="stars: 2018 → 2024")


def _joint(n_dims: int, size: int, n_rows: int) -> tuple[JointFit, JointCells, Array]:
    rng = np.random.default_rng(_SEED)
    names = ("parallax", "pmRA", "pmDE", "[Fe/H]", LONG_NAME)[:n_dims]
    weights = np.arange(1.0, size + 1.0) / (0.5 * size * (size + 1))
    roots = rng.normal(0.0, 0.5, (size, n_dims, n_dims))
    covariances = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(n_dims)
    mixture = JointMixture(weights, rng.uniform(-6.0, 6.0, (size, n_dims)), covariances, names)
    err = rng.uniform(0.1, 0.5, (n_rows, n_dims))
    x = rng.normal(mixture.sample(n_rows, rng), err)
    x[rng.random(n_rows) < 0.1, -1] = np.nan
    fit = JointFit(mixture, "em", -2.0 * n_rows, 0.0, n_rows, size * n_dims, True)
    return fit, JointCells.from_rows(x, err, names=names, resolve=False), x


def _joints() -> Iterator[tuple[str, Figure]]:
    for n_dims, size, n_rows in ((2, 1, 10), (2, 2, 1000), (3, 2, 100_000), (3, 10, 3000), (5, 3, 2000)):
        fit, cells, _ = _joint(n_dims, size, n_rows)
        name = f"{n_dims} columns, M = {size}, N = {n_rows:,}"
        units = ("mas", "mas/yr", "mas/yr", "dex", None)[:n_dims]
        transforms = Transforms(fit.mixture)
        transforms.add(cells.x, cells.cov, cells.weights)
        label = "clusters / edr3 / astrometry"
        yield f"corner: {name}", draw_corner(fit, JointScene.of(fit.mixture, cells), label=label, units=units)
        yield f"quality: {name}", draw_joint_quality(fit, transforms, [], label=label)


def _joint_overlays() -> Iterator[tuple[str, Figure]]:
    from mixpipe.assess.comparison.compare import Rows
    from mixpipe.assess.comparison.verdict import ColumnTest, Difference

    for n_dims, size in ((2, 2), (4, 3)):
        old, _, x = _joint(n_dims, size, 500)
        means = old.mixture.means.copy()
        means[-1, 0] += 1.0
        names = old.mixture.names
        new = replace(old, mixture=JointMixture(old.mixture.weights, means, old.mixture.covariances, names))
        pairs = tuple((k, k) for k in range(size))
        moved = Difference("matched", size, size, f"mean_{names[0]}", 0.0, 0.1, new=1.0, new_unc=0.1, joint_unc=0.14)
        test, rows = ColumnTest(1e-6, 1e-6), Rows(500, 500, 400, 100, 100, 50)
        comparison = Comparison(old, new, pairs, (moved,), 0.0, 0.0, 1.0, 0.3, test, 1.0, rows, ())
        units = ("mas", "mas/yr", "mas/yr", "dex")[:n_dims]
        panel = JointPanel("astrometry", names, units, ("dr2", "dr3"), comparison, x)
        yield f"{n_dims} columns, M = {size}", draw_joint_overlay([panel], label="clusters: dr2 → dr3")


def _densities() -> Iterator[tuple[str, Figure]]:
    t = np.linspace(-4.0, 1.0, 201)
    for name, mixtures, unit in (("two densities", (_ONE, _TWO), None), ("one density", (_TWO,), "dex")):
        examples = [
            Example(
                example_title(word, "row 12345", each.n_components, 0.012),
                t,
                each.pdf(t),
                TruncatedMixture(each, -4, 1),
            )
            for word, each in zip(("best", "worst"), mixtures, strict=False)
        ]
        yield name, draw_examples(examples, heading(12345, 0.0123, 1), label="photoz / dr1 / z", unit=unit)


def _others() -> Iterator[tuple[str, Figure]]:
    yield "a fit without data", plot_fit(CASES["M = 2, N = 1,000"].fit, label="mass")
    yield "ten components without data", plot_fit(CASES["M = 10, N = 2,000"].fit, label="velocity")
    yield "no fit", draw_failure("every one of 123 values is missing; expected at least 2 rows", label=LONG_LABEL)


GROUPS: dict[str, Callable[[], Iterator[tuple[str, Figure]]]] = {
    "overlay": _overlays,
    "joint": _joints,
    "joint overlay": _joint_overlays,
    "densities": _densities,
    "others": _others,
}


def sheet(only: str = "") -> Iterator[tuple[str, str, Figure]]:
    """Group, name and figure of all that has `only` in its group or its name."""
    for name, case in CASES.items():
        if only in name:
            yield from ((name, kind, figure) for kind, figure in case.figures().items())
    for group, figures in GROUPS.items():
        if only in group:
            yield from ((group, name, figure) for name, figure in figures())


def write_sheet(folder: Path, only: str = "") -> Path:
    """Draw figures and the page that shows them; returns the page."""
    parts: list[str] = []
    last = None
    for group, name, figure in sheet(only):
        file = f"{group} {name}".translate(str.maketrans(" ,=:/", "_____")) + ".png"
        save_figure(figure, folder / file)
        if group != last:
            parts.append(f"<h2>{html.escape(group)}</h2>")
            last = group
        parts.append(f'<figure><img src="{file}" width="567"><figcaption>{html.escape(name)}</figcaption></figure>')
    look = "body { font: 15px sans-serif } figure { display: inline-block; vertical-align: top; margin: 8px }"
    page = folder / "index.html"
    page.write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><title>Figures</title><style>{look}</style>' + "\n".join(parts),
        encoding="utf-8",
    )
    return page


def main(arguments: Any = None) -> None:
    """Write the contact sheet, or the part of it that has a text in its name."""
    parser = argparse.ArgumentParser(description="Draw every kind of figure for cases that are hard to draw.")
    parser.add_argument("only", nargs="?", default="", help="draw what has this text in its name")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args(arguments)
    print(write_sheet(given.folder, given.only))


if __name__ == "__main__":
    main()
