"""The components of a fit, and the choice of their number, as tables of LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mixpipe.base.latex import latex_math, latex_measured, latex_text
from mixpipe.base.presentation import count, plural, rounded
from mixpipe.catalog.formats.arrays import parse_unit
from mixpipe.model.families import FAMILIES
from mixpipe.model.inputs import linear_unit
from mixpipe.model.joint.results import JointFit
from mixpipe.model.results import FitResult, Selection
from mixpipe.results.joint_tables import read_joint_fit
from mixpipe.results.latex_units import latex_unit
from mixpipe.results.quoted import LEVEL, Sides, preferred_method, quoted_sides
from mixpipe.results.record import FitRecord, JointRecord
from mixpipe.results.tables import read_fit

LAYOUTS = ("tabular", "deluxetable")

_SHAPES = {"student_t": "the degrees of freedom", "skew_normal": "the skewness parameter", "power_law": "the index"}


@dataclass(frozen=True)
class _Table:
    """A table of LaTeX before its layout: texts are escaped."""

    caption: str
    label: str
    head: Sequence[str]
    units: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    comments: Sequence[str] = ()


def latex_table(fit: FitResult | Selection | FitRecord | JointRecord, layout: str = "tabular") -> str:
    r"""The components of a fit, or the choice of their number, as a table of LaTeX.

    Values have two digits of their uncertainties. Where the record of a fit has profile or bootstrap intervals, the
    uncertainties are those of its 68 % intervals, with both sides if these differ.

    Parameters
    ----------
    fit : FitResult, Selection, FitRecord or JointRecord
        A fit or its record, for a table of the components; or a selection, for a table of the fits with 1, 2, ...
        components.
    layout : str
        ``tabular``, with the rules of the package booktabs; or ``deluxetable`` of AASTeX.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        For an unknown layout.

    Examples
    --------
    >>> import mixpipe
    >>> x = [0.7, 0.9, 1.0, 1.2, 1.3, 4.6, 4.9, 5.1, 5.4]
    >>> fit = mixpipe.fit_mixture(x, err=0.2, n_components=2)
    >>> print(latex_table(fit).strip())
    % Needs \usepackage{booktabs}.
    \begin{table}
    \caption{Mixture of 2 components ($N = 9$): weight, mean and width $\sigma$ of each component, without the errors.}
    \label{tab:mixture}
    \centering
    \begin{tabular}{cccc}
    \toprule
    Component & Weight & Mean & $\sigma$ \\
    \midrule
    1 & $0.56 \pm 0.17$ & $1.020 \pm 0.095$ & $0.07 \pm 0.19$ \\
    2 & $0.44 \pm 0.17$ & $5.00 \pm 0.15$ & $0.21 \pm 0.14$ \\
    \bottomrule
    \end{tabular}
    \end{table}
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}, expected one of {', '.join(LAYOUTS)}")
    table = _table_of(fit)
    return "\n".join(_deluxetable(table) if layout == "deluxetable" else _tabular(table)) + "\n"


def _table_of(fit: FitResult | Selection | FitRecord | JointRecord) -> _Table:
    if isinstance(fit, Selection):
        return _choice(fit)
    if isinstance(fit, JointRecord):
        result = read_joint_fit(fit)
        return _of_columns(result, [parse_unit(unit) for unit in fit.units], quoted_sides(fit), _About.of(fit))
    if isinstance(fit, FitRecord):
        limits = [math.nan if part.sigma_upper is None else part.sigma_upper for part in fit.components]
        return _of_values(read_fit(fit), parse_unit(fit.unit), limits, quoted_sides(fit), _About.of(fit))
    if isinstance(fit, JointFit):
        return _of_columns(fit, fit.units, {}, _About())
    return _of_values(fit, fit.unit, [math.nan] * fit.n_components, {}, _About())


@dataclass(frozen=True)
class _About:
    """What a table is about: the place of a fit, how its uncertainties were obtained, and its warnings."""

    place: str = ""
    label: str = "mixture"
    method: str = ""
    warnings: Sequence[str] = ()

    @classmethod
    def of(cls, record: FitRecord | JointRecord) -> _About:
        label = re.sub("[^A-Za-z0-9]+", "-", record.label).strip("-")
        method = preferred_method(record)
        return cls(f" fitted to {latex_text(record.label)}", label, method, record.warnings)

    @property
    def uncertainties(self) -> list[str]:
        """What uncertainties are, where they are not standard errors."""
        words = {"profile": "profile likelihood", "bootstrap": "bootstrap"}
        level = latex_math(f"{100 * LEVEL:.0f} %")
        return [f"Uncertainties are {level} intervals of the {words[self.method]}."] if self.method in words else []


def _of_values(fit: FitResult, unit: Any, limits: Sequence[float], sides: Sides, about: _About) -> _Table:
    mixture, unc = fit.mixture, fit.uncertainties
    is_shaped = any(FAMILIES[family].shape_name is not None for family in mixture.families)
    is_mixed = set(mixture.families) != {"gaussian"}
    head = ["Component", *["Family"] * is_mixed, "Weight", "Mean", r"$\sigma$", *["Shape"] * is_shaped]
    widths = linear_unit(unit)
    units = ["", *[""] * is_mixed, "", _in_brackets(unit), _in_brackets(widths), *[""] * is_shaped]
    rows, notes = [], []
    for j, family in enumerate(mixture.families):
        number = j + 1

        def shown(name: str, value: float, error: float, number: int = number) -> str:
            return latex_measured(value, *sides.get((number, name), (error,)))

        sigma = shown("sigma", mixture.sigmas[j], unc.sigmas[j])
        if fit.boundary[j] and math.isfinite(limits[j]):
            sigma = latex_math(f"< {limits[j]:.2g}")
        elif math.isfinite(limits[j]):
            upper = latex_math(f"σ < {limits[j]:.2g}")
            notes.append(f"Component {number} has {upper}{_after(widths)} at {latex_math('95 %')}.")
        elif fit.boundary[j]:
            notes.append(f"The width of component {number} is at its lower bound.")
        if family in ("uniform", "power_law"):
            half = math.sqrt(3.0) * mixture.sigmas[j]
            low, high = (latex_math(rounded(mixture.means[j] + side * half, 0.02 * half)) for side in (-1.0, 1.0))
            notes.append(f"Component {number} extends from {low} to {high}{_after(unit)}.")
        text = mixture.constraints[j].text
        if text:
            notes.append(f"Component {number}: {latex_text(text)}.")
        shape = shown("shape", mixture.shapes[j], unc.shapes[j]) if math.isfinite(mixture.shapes[j]) else ""
        rows.append(
            [
                str(number),
                *[latex_text(family.replace("_", " "))] * is_mixed,
                shown("weight", mixture.weights[j], unc.weights[j]),
                shown("mean", mixture.means[j], unc.means[j]),
                sigma,
                *[shape] * is_shaped,
            ]
        )
    if any(fit.boundary[j] and math.isfinite(limits[j]) for j in range(fit.n_components)):
        notes.append(f"Upper limits are at {latex_math('95 %')}.")
    notes += [
        f"The shape of {latex_text(name.replace('_', ' '))} is {_SHAPES[name]}."
        for name in dict.fromkeys(mixture.families)
        if name in _SHAPES
    ]
    caption = (
        f"Mixture of {plural(fit.n_components, 'component')}{about.place} ({latex_math(f'N = {count(fit.n_data)}')}): "
        r"weight, mean and width $\sigma$ of each component, without the errors."
    )
    return _Table(
        caption, about.label, head, units, rows, [*about.uncertainties, *notes], about.warnings or fit.warnings
    )


def _in_brackets(unit: Any) -> str:
    text = latex_unit(unit)
    return f"({text})" if text else ""


def _after(unit: Any) -> str:
    text = latex_unit(unit)
    return f" {text}" if text else ""


def _of_columns(fit: JointFit, units: Sequence[Any], sides: Sides, about: _About) -> _Table:
    """A row for each component and column, with the correlations of the columns that follow."""
    mixture, unc, names = fit.mixture, fit.uncertainties, fit.names
    correlated = [rf"$\rho$ with {latex_text(name)}" for name in names[1:]]
    head = ["Component", "Weight", "Column", "Mean", r"$\sigma$", *correlated]
    rows = []
    for j in range(fit.n_components):

        def shown(name: str, value: float, error: float, number: int = j + 1) -> str:
            return "" if math.isnan(value) else latex_measured(value, *sides.get((number, name), (error,)))

        for a, name in enumerate(names):
            first = [str(j + 1), shown("weight", mixture.weights[j], unc.weights[j])] if a == 0 else ["", ""]
            unit = _after(units[a]) and f" ({latex_unit(units[a])})"
            cells = [
                shown(f"corr_{name}_{names[b]}", mixture.correlations[j, a, b], unc.correlations[j, a, b])
                if b > a
                else ""
                for b in range(1, len(names))
            ]
            mean = shown(f"mean_{name}", mixture.means[j, a], unc.means[j, a])
            sigma = shown(f"sigma_{name}", mixture.sigmas[j, a], unc.sigmas[j, a])
            rows.append([*first, f"{latex_text(name)}{unit}", mean, sigma, *cells])
    singular = [
        f"The covariance of component {j + 1} has rank {fit.rank[j]}."
        for j in range(fit.n_components)
        if fit.boundary[j]
    ]
    caption = (
        f"Mixture of {plural(fit.n_components, 'component')}{about.place} ({latex_math(f'N = {count(fit.n_data)}')}): "
        r"weight, means, widths $\sigma$ and correlations $\rho$ of each component, without the errors."
    )
    notes = [*about.uncertainties, *singular]
    return _Table(caption, about.label, head, [""] * len(head), rows, notes, about.warnings or fit.warnings)


def _choice(selection: Selection) -> _Table:
    families = len({fit.mixture.family for fit in selection.fits}) > 1
    head = ["$M$", *["Family"] * families, "Parameters", r"$\ln L$", "BIC", "AIC", "ICL", r"$\Delta$BIC"]
    rows = []
    for row in selection.records():
        numbers = (f"{row[name]:.2f}" for name in ("loglik", "bic", "aic", "icl", "delta_bic"))
        family = [latex_text(row["family"].replace("_", " "))] * families
        mark = r"$^\ast$" if row["selected"] else ""
        rows.append([f"{row['n_components']}{mark}", *family, str(row["n_params"]), *map(latex_math, numbers)])
    caption = f"Mixtures of $M$ components ({latex_math(f'N = {count(selection.best.n_data)}')})."
    note = f"An asterisk marks the number that {selection.criterion.upper()} has chosen."
    return _Table(caption, "selection", head, [""] * len(head), rows, [note], selection.best.warnings)


def _comments(table: _Table) -> list[str]:
    return [f"% warning: {' '.join(warning.split())}" for warning in table.comments]


def _tabular(table: _Table) -> list[str]:
    notes = " ".join(table.notes)
    return [
        r"% Needs \usepackage{booktabs}.",
        *_comments(table),
        r"\begin{table}",
        rf"\caption{{{table.caption}{' ' * bool(notes)}{notes}}}",
        rf"\label{{tab:{table.label}}}",
        r"\centering",
        # Signs above and below a line need room.
        *[r"\renewcommand{\arraystretch}{1.3}"] * any("^{+" in cell for row in table.rows for cell in row),
        rf"\begin{{tabular}}{{{'c' * len(table.head)}}}",
        r"\toprule",
        *(" & ".join(line) + r" \\" for line in (table.head, table.units) if any(line)),
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _deluxetable(table: _Table) -> list[str]:
    lines = [line for line in (table.head, table.units) if any(line)]
    head = r" \\ ".join(" & ".join(rf"\colhead{{{cell}}}" for cell in line) for line in lines)
    rows = [" & ".join(row) for row in table.rows]
    notes = " ".join(table.notes)
    return [
        *_comments(table),
        rf"\begin{{deluxetable}}{{{'c' * len(table.head)}}}",
        rf"\tablecaption{{{table.caption}\label{{tab:{table.label}}}}}",
        rf"\tablehead{{{head}}}",
        r"\startdata",
        *(rf"{row} \\" for row in rows[:-1]),
        *rows[-1:],
        r"\enddata",
        *[rf"\tablecomments{{{notes}}}"] * bool(notes),
        r"\end{deluxetable}",
    ]
