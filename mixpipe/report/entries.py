"""The entries of the report: fits of one column and of several, tabulated densities, and comparisons of releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixpipe.assess.comparison.verdict import NOT_COMPARED, VERDICTS, basis
from mixpipe.assess.intervals import of_few_rows
from mixpipe.model.bimodality import Bimodality
from mixpipe.report.numbers import missing, significant

if TYPE_CHECKING:
    from mixpipe.assess.joint_transforms import JointQuality
    from mixpipe.model.joint.results import JointFit

# Parameters that have the unit of their column.
_WORDS = ("mean", "sigma")
# Smaller parts of a direction are not told.
_FAINT = 0.005


@dataclass(frozen=True)
class Rows:
    """What became of the rows of a column.

    Parameters
    ----------
    n_read, n_used : int
        Rows of the files, and those that were used; of a histogram these are bins.
    dropped : mapping of str to int
        Rows that were not used, for each reason.
    n_upper_limits, n_lower_limits : int
        Limits among the rows that were used.
    weight_kind : str or None
        What the weights are; None without weights.
    n_effective : float or None
        Rows that the weights are worth.
    normalisation : str or None
        What densities were normalised to; None for values.
    are_bins : bool
        Whether the rows are bins of a histogram.
    """

    n_read: int
    n_used: int
    dropped: Mapping[str, int]
    n_upper_limits: int = 0
    n_lower_limits: int = 0
    weight_kind: str | None = None
    n_effective: float | None = None
    normalisation: str | None = None
    are_bins: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class _Entry:
    """The fields that all columns have; see `ReportEntry`."""

    catalog: str
    release: str
    column: str
    unit: str | None
    account: Rows
    summary: dict[str, Any]
    figures: dict[str, Path]
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    answer: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    methods: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """The warnings, with that of a fit that did not converge."""
        converged = self.summary.get("converged", True)
        return (*(() if converged else ("The chosen fit did not converge.",)), *self.warnings)

    @property
    def label(self) -> str:
        """``catalog / release / column``."""
        return f"{self.catalog} / {self.release} / {self.column}"

    @property
    def n_dropped(self) -> int:
        """Rows that were left out, for any reason."""
        return sum(self.account.dropped.values())


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedEntry(_Entry):
    """What the fits of a column and of several columns have in common; see `ReportEntry`."""

    selection: pd.DataFrame
    intervals: pd.DataFrame | None = None
    curves: dict[str, Any] | None = None

    @property
    def several_families(self) -> bool:
        """Whether the choice was also among families."""
        return "family" in self.selection and len(set(self.selection["family"])) > 1

    @property
    def shown(self) -> str:
        """Alternative text of the figures, for those who cannot see them."""
        raise NotImplementedError

    def unit_of(self, parameter: str) -> str | None:
        """The unit of a parameter of intervals.csv."""
        raise NotImplementedError

    def interval_table(self) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
        """Levels of the intervals by method, and a row for each parameter of each component.

        A row has the ends of the intervals by method and level, and half the width of the shortest.
        """
        levels: dict[str, list[float]] = {}
        rows: dict[tuple[int, str], dict[str, Any]] = {}
        for each in [] if self.intervals is None else self.intervals.to_dict("records"):
            method, level = str(each["method"]), float(each["level"])
            if level not in levels.setdefault(method, []):
                levels[method].append(level)
            row = rows.setdefault((each["component"], each["parameter"]), {"estimate": each["estimate"], "ends": {}})
            row["ends"][method, level] = (each["lower"], each["upper"])
        found = [{"component": component, "parameter": name, **row} for (component, name), row in rows.items()]
        for row in found:
            widths = [upper - lower for lower, upper in row["ends"].values() if upper > lower]
            row["half_width"] = 0.5 * min(widths, default=0.0)
        return levels, found


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportEntry(FittedEntry):
    """One fitted column, as the report shows it.

    Parameters
    ----------
    catalog, release, column : str
        Names of the fit.
    unit : str or None
        Unit of the column.
    components : pandas.DataFrame
        Table as in components.csv: component, weight, weight_unc, mean, mean_unc, sigma, sigma_unc, boundary.
    selection : pandas.DataFrame
        As in selection.csv: n_components, n_params, loglik, bic, aic, icl, delta_bic, converged, selected and so on.
    account : Rows
        What became of the rows.
    summary : dict
        ``n_data``, ``n_components``, ``criterion``, ``loglik``, ``bic``, ``converged``, and where available ``ks``,
        ``ks_pvalue``, and ``pvalue_floor``, the lowest p-value that the simulations can give.
    figures : dict of str to Path
        SVG or PNG files by name: mixture, selection, classes, quality, estimators.
    warnings : tuple of str
        What readers of the result need to know.
    estimators : pandas.DataFrame or None
        Table as in estimators.csv, if several estimators were used.
    intervals : pandas.DataFrame or None
        Table as in intervals.csv.
    curves : dict or None
        Data of the plots, as in curves.json.
    settings : dict
        Settings with which the column was read and fitted.
    answer : tuple of str
        What was found: the whole, and then its parts.
    evidence : tuple of str
        What that rests on.
    methods : dict of str to str
        How the fit was made, as a paragraph for a paper: ``text``, and by its name any other markup.
    resolution : str
        The floor of the sigmas and its cause, in words; empty if there is none.
    bimodality : Bimodality or None
        Evidence for two populations, if there is a fit with two components.
    """

    components: pd.DataFrame
    estimators: pd.DataFrame | None = None
    resolution: str = ""
    bimodality: Bimodality | None = None

    @property
    def lowest_pvalue(self) -> float | None:
        """The smaller of the p-values of the fit's quality; None if there is none."""
        known = [self.summary[name] for name in ("ks_pvalue", "ad_pvalue") if not missing(self.summary.get(name))]
        return min(known, default=None)

    def few_rows(self, component: int) -> dict[str, tuple[float, float]]:
        """The 95 % intervals of a component for which uncertainties do not say enough."""
        if self.intervals is None:
            return {}
        rows: list[dict[str, Any]] = self.intervals.to_dict("records")  # type: ignore[assignment]
        return of_few_rows(rows, component)

    @property
    def shown(self) -> str:
        """Alternative text of the figures, for those who cannot see them."""
        means = ", ".join(significant(mean, 0.0) for mean in self.components["mean"])
        return f"{self.label}, {self.summary['n_components']} components at {means}" + (
            f" {self.unit}." if self.unit else "."
        )

    def unit_of(self, parameter: str) -> str | None:
        """The unit of a parameter of intervals.csv."""
        return self.unit if parameter in ("mean", "sigma") else None


@dataclass(frozen=True, eq=False, kw_only=True)
class JointEntry(FittedEntry):
    """One fit of several columns, as the report shows it.

    Parameters
    ----------
    catalog, release, column, account, figures, warnings, selection, intervals, curves, settings, answer, evidence, \
    methods
        As in `ReportEntry`; `unit` is None.
    summary : dict
        As in `ReportEntry`; ``ks`` and ``ks_pvalue`` are those of the column that is described least well.
    fit : JointFit
        The fit.
    units : tuple of str or None
        Unit of each column.
    quality : tuple of JointQuality
        The quality of each projection.
    patterns : tuple of (tuple of str, int)
        Rows by the columns that they have.
    unusable : mapping of str to mapping of str to int
        For each column, its values that count as missing, by reason.
    alone : tuple of dict
        For each column that is also fitted by itself its ``name`` and ``unit``, and of both fits the number of
        components and the mean and width of all of them: ``n_components``, ``mean``, ``width``, ``n_components_alone``,
        ``mean_alone``, ``width_alone``.
    """

    fit: JointFit
    units: tuple[str | None, ...]
    quality: tuple[JointQuality, ...] = ()
    patterns: tuple[tuple[tuple[str, ...], int], ...] = ()
    unusable: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    alone: tuple[dict[str, Any], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.fit.names

    @property
    def lowest_pvalue(self) -> float | None:
        """The lowest p-value of all projections; None if there is none."""
        return min((one.ks_pvalue for one in self.quality if not missing(one.ks_pvalue)), default=None)

    @property
    def shown(self) -> str:
        """Alternative text of the figures, for those who cannot see them."""
        places = "; ".join(", ".join(significant(mean, 0.0) for mean in means) for means in self.fit.mixture.means)
        return f"{self.label}, {self.summary['n_components']} components in {', '.join(self.names)} at {places}."

    @property
    def resolution(self) -> tuple[str, ...]:
        """What is not resolved of each column, in words."""
        notes = zip(self.names, (one.note() for one in self.fit.resolutions), strict=False)
        return tuple(f"{name}: {note}" for name, note in notes if note)

    def unit_of(self, parameter: str) -> str | None:
        """The unit of a parameter of intervals.csv."""
        units = {f"{word}_{name}": unit for name, unit in zip(self.names, self.units, strict=True) for word in _WORDS}
        return units.get(parameter)

    def components(self) -> list[dict[str, Any]]:
        """For each component its number, weight, remark, and a row for each column.

        Rows have the mean, the width and the correlations with the columns before it, each a pair of the value and its
        uncertainty.
        """
        mixture, unc = self.fit.mixture, self.fit.uncertainties
        return [
            {
                "number": j + 1,
                "weight": (mixture.weights[j], unc.weights[j]),
                "remark": self._remark(j),
                "rows": [
                    {
                        "name": name,
                        "unit": self.units[a],
                        "mean": (mixture.means[j, a], unc.means[j, a]),
                        "sigma": (mixture.sigmas[j, a], unc.sigmas[j, a]),
                        "correlations": [(mixture.correlations[j, a, b], unc.correlations[j, a, b]) for b in range(a)],
                    }
                    for a, name in enumerate(self.names)
                ],
            }
            for j in range(mixture.n_components)
        ]

    def _remark(self, j: int) -> str:
        """The directions in which a component has no width, in words."""
        directions = self.fit.null_directions[j] if self.fit.null_directions else ()
        if not len(directions):
            return ""
        limits = self.fit.null_limits[j]
        said = (self._direction(*pair) for pair in zip(directions, limits, strict=True))
        return f"no width resolved in {len(directions)} of {len(self.names)} directions: {'; '.join(said)}"

    def _direction(self, direction: Sequence[float], limit: float) -> str:
        """A direction without a width, with the upper limit on it."""
        parts = np.asarray(direction) * np.sign(direction[int(np.argmax(np.abs(direction)))])
        seen = np.flatnonzero(np.abs(parts) >= _FAINT)
        if seen.size == 1:
            words, unit = self.names[seen[0]], self.units[seen[0]]
        else:
            terms = (f"{significant(abs(parts[a]), 0.01)} {self.names[a]}" for a in seen)
            signs = ["−" if parts[a] < 0.0 else "" if a == seen[0] else "+" for a in seen]
            gaps = ["" if a == seen[0] else " " for a in seen]
            words = " ".join(map("".join, zip(signs, gaps, terms, strict=True)))
            unit = self.units[seen[0]] if len({self.units[a] for a in seen}) == 1 else None
        below = "" if missing(limit) else f", σ < {significant(limit, 0.1 * limit)}{f' {unit}' if unit else ''} (95 %)"
        return f"along {words}{below}"


@dataclass(frozen=True, eq=False, kw_only=True)
class DensityEntry(_Entry):
    """One column of tabulated densities, as the report shows it.

    Parameters
    ----------
    catalog, release, column, unit, account, figures, warnings, settings, answer, evidence, methods
        As in `ReportEntry`.
    n_rows : dict of int to int
        Number of rows with each number of components.
    summary : dict
        ``n_data``, ``n_components`` (the largest), ``criterion``; ``ks`` and ``l2``, each with ``median`` and
        ``largest``.
    examples : tuple of dict
        Densities and their mixtures for the plots, each with ``which``, ``row``, ``grid``, ``density`` (the outline of
        a histogram), a finer grid ``fine``, and the density of the truncated ``mixture`` on it.
    """

    n_rows: dict[int, int]
    examples: tuple[dict[str, Any], ...] = ()

    @property
    def shown(self) -> str:
        """Alternative text of the figure, for those who cannot see it."""
        return f"{self.label}, {self.summary['n_data']} densities, median KS {self.summary['ks']['median']:.2g}."


@dataclass(frozen=True, eq=False, kw_only=True)
class FailedEntry(_Entry):
    """One column to which nothing could be fitted, as the report shows it.

    Parameters
    ----------
    catalog, release, column, unit, account, summary, figures, warnings, settings, answer, evidence, methods
        As in `ReportEntry`.
    reason : str
        Reason why there is no fit.
    """

    reason: str


Entry = ReportEntry | JointEntry | DensityEntry | FailedEntry


@dataclass(frozen=True, eq=False)
class ReleaseChange:
    """The comparison of two releases of a catalog.

    Parameters
    ----------
    catalog, old, new : str
        The catalog and its releases.
    summary, components : pandas.DataFrame
        Tables as in summary.csv and components.csv of the comparison.
    overlay : Path
        The figure, as an SVG or PNG file.
    of_joints : bool
        Whether the fits are those of several columns.
    """

    catalog: str
    old: str
    new: str
    summary: pd.DataFrame
    components: pd.DataFrame
    overlay: Path
    of_joints: bool = False

    @property
    def label(self) -> str:
        """``catalog: old → new``."""
        return f"{self.catalog}: {self.old} → {self.new}{', joint fits' if self.of_joints else ''}"

    @property
    def verdicts(self) -> dict[str, int]:
        """Number of columns with each verdict, the largest change first."""
        found = self.summary["verdict"].tolist()
        return {verdict: found.count(verdict) for verdict in (*VERDICTS, NOT_COMPARED) if verdict in found}

    def of_column(self, column: str) -> dict[str, Any] | None:
        """The row of a column in the summary, with its rows in the table of components; None if it is not listed."""
        found = self.summary[self.summary["column"] == column].to_dict("records")
        if not found:
            return None
        rows = self.components[self.components["column"] == column]
        row = {str(name): value for name, value in found[0].items()}
        return {
            **row,
            "old": self.old,
            "basis": basis(row["evidence"], row["threshold"]),
            "differences": rows.to_dict("records"),
        }
