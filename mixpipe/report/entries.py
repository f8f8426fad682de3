"""The entries of the report: fits, columns of tabulated densities, and comparisons of releases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mixpipe.assess.comparison.verdict import NOT_COMPARED, VERDICTS, basis
from mixpipe.assess.intervals import of_few_rows
from mixpipe.report.numbers import missing, significant


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

    @property
    def label(self) -> str:
        """``catalog / release / column``."""
        return f"{self.catalog} / {self.release} / {self.column}"

    @property
    def n_dropped(self) -> int:
        """Rows that were left out, for any reason."""
        return sum(self.account.dropped.values())


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportEntry(_Entry):
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
    resolution : str
        The floor of the sigmas and its cause, in words; empty if there is none.
    """

    components: pd.DataFrame
    selection: pd.DataFrame
    estimators: pd.DataFrame | None = None
    intervals: pd.DataFrame | None = None
    curves: dict[str, Any] | None = None
    resolution: str = ""

    @property
    def several_families(self) -> bool:
        """Whether the choice was also among families."""
        return "family" in self.selection and len(set(self.selection["family"])) > 1

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
class DensityEntry(_Entry):
    """One column of tabulated densities, as the report shows it.

    Parameters
    ----------
    catalog, release, column, unit, account, figures, warnings, settings
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
    catalog, release, column, unit, account, summary, figures, warnings, settings
        As in `ReportEntry`.
    reason : str
        Reason why there is no fit.
    """

    reason: str


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
    """

    catalog: str
    old: str
    new: str
    summary: pd.DataFrame
    components: pd.DataFrame
    overlay: Path

    @property
    def label(self) -> str:
        """``catalog: old → new``."""
        return f"{self.catalog}: {self.old} → {self.new}"

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
