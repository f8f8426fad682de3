"""The whole run on one page: HTML without scripts, network or other files."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from mixpipe.files import write_file

_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}

# Order and captions of the known figures; others follow under their own names.
_CAPTIONS = {
    "mixture": "Data, the mixture as observed, and its components with the measurement errors removed",
    "quality": "Quality of the fit: integral transform, its quantiles, and the residual of the histogram",
    "selection": "Information criteria against the number of components",
    "classes": "Probability of each component against the value",
    "densities": "Tabulated densities and their mixtures: the best, the median and the worst fit",
    "estimators": "The estimators side by side, with the chosen number of components",
}
# Up to this many fits are open when the page is; a longer page starts folded.
_OPEN = 3


@dataclass(frozen=True, eq=False)
class ReportEntry:
    """One fitted column, as the report shows it.

    Parameters
    ----------
    catalog, release, column : str
        Names of the fit.
    unit : str or None
        Unit of the column.
    components : pandas.DataFrame
        As in components.csv: component, weight, weight_unc, mean, mean_unc, sigma, sigma_unc, boundary.
    selection : pandas.DataFrame
        As in selection.csv: n_components, n_params, loglik, bic, aic, icl, delta_bic, converged, selected.
    account : dict
        ``n_read`` and ``n_used``: rows; ``dropped``: rows for each reason.
    summary : dict
        ``n_data``, ``n_components``, ``criterion``, ``loglik``, ``bic``, ``converged``, and where available ``ks``
        and ``ks_pvalue``.
    figures : dict of str to Path
        SVG or PNG files by name: mixture, selection, classes, quality.
    warnings : tuple of str
        What a reader of the result has to know.
    estimators : pandas.DataFrame or None
        As in estimators.csv, where several estimators stand side by side.
    """

    catalog: str
    release: str
    column: str
    unit: str | None
    components: pd.DataFrame
    selection: pd.DataFrame
    account: dict[str, Any]
    summary: dict[str, Any]
    figures: dict[str, Path]
    warnings: tuple[str, ...] = ()
    estimators: pd.DataFrame | None = None

    @property
    def several_families(self) -> bool:
        """Whether the choice was among families, too."""
        return "family" in self.selection and len(set(self.selection["family"])) > 1

    @property
    def lowest_pvalue(self) -> float | None:
        """The smaller of the p-values of the fit's quality, None where there is none."""
        known = [self.summary[name] for name in ("ks_pvalue", "ad_pvalue") if not missing(self.summary.get(name))]
        return min(known, default=None)

    @property
    def label(self) -> str:
        """``catalog / release / column``."""
        return f"{self.catalog} / {self.release} / {self.column}"

    @property
    def n_dropped(self) -> int:
        """Rows that were left out, for any reason."""
        return sum(self.account["dropped"].values())

    @property
    def shown(self) -> str:
        """What the figures show, for those who cannot see them."""
        means = ", ".join(significant(mean, 0.0) for mean in self.components["mean"])
        return f"{self.label}, {self.summary['n_components']} components at {means}" + (
            f" {self.unit}." if self.unit else "."
        )


@dataclass(frozen=True, eq=False)
class DensityEntry:
    """One column of tabulated densities, as the report shows it.

    Parameters
    ----------
    catalog, release, column, unit, account, figures, warnings
        As in `ReportEntry`.
    n_rows : dict of int to int
        Rows with each number of components.
    summary : dict
        ``n_data``, ``n_components`` (the largest), ``criterion``; ``ks`` and ``l2``, each with ``median`` and
        ``largest``.
    """

    catalog: str
    release: str
    column: str
    unit: str | None
    n_rows: dict[int, int]
    account: dict[str, Any]
    summary: dict[str, Any]
    figures: dict[str, Path]
    warnings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``catalog / release / column``."""
        return f"{self.catalog} / {self.release} / {self.column}"

    @property
    def n_dropped(self) -> int:
        """Rows that were left out, for any reason."""
        return sum(self.account["dropped"].values())

    @property
    def shown(self) -> str:
        """What the figure shows, for those who cannot see it."""
        return f"{self.label}, {self.summary['n_data']} densities, median KS {self.summary['ks']['median']:.2g}."


def images(entry: ReportEntry | DensityEntry) -> list[dict[str, str]]:
    """Caption, alternative text and data URI of each figure."""
    return [
        {
            "caption": (caption := _CAPTIONS.get(name, name)),
            "alt": f"{caption}: {entry.shown}",
            "uri": data_uri(entry.figures[name]),
        }
        for name in sorted(entry.figures, key=lambda name: [*_CAPTIONS, name].index(name))
    ]


def write_report(
    path: str | Path, entries: Iterable[ReportEntry | DensityEntry], provenance: Mapping[str, Any]
) -> None:
    """Write the report of a run.

    Parameters
    ----------
    path : path
        HTML file to write. It holds everything that it shows.
    entries : iterable of ReportEntry or DensityEntry
        The fits, in the order of the page.
    provenance : mapping
        What the run was made from: ``command``, how to repeat it; ``versions`` and ``settings``, names and values;
        ``inputs``, the catalog files as dictionaries with ``path`` and ``sha256``.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mixpipe"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(significant=significant, with_unc=with_unc, decimal=decimal, pvalue=pvalue, rows=rows)
    entries = tuple(entries)
    page = environment.get_template("report.html.j2").render(
        entries=entries,
        ids=[f"fit-{number}" for number in range(1, len(entries) + 1)],
        unfolded=len(entries) <= _OPEN,
        remark=_remark,
        images=images,
        provenance=provenance,
    )
    write_file(Path(path), partial(Path.write_text, data=page, encoding="utf-8", newline="\n"))


def _remark(row: Mapping[str, Any]) -> str:
    """What has to be said of a component beside its numbers."""
    words = []
    family = row.get("family", "gaussian")
    if family != "gaussian":
        third = "" if missing(row["shape"]) else f", shape {with_unc(row['shape'], row['shape_unc'])}"
        words.append(family.replace("_", " ") + third)
    if row["boundary"]:
        limit = row.get("sigma_upper")
        known = not missing(limit)
        words.append(
            f"σ < {significant(limit, None)} (95 %)" if known else "σ at its lower bound: no width is resolved"
        )
    return "; ".join(words)


def data_uri(path: Path) -> str:
    """A picture as a data URI.

    Raises
    ------
    ValueError
        For a file that is neither SVG nor PNG.
    """
    if path.suffix not in _TYPES:
        raise ValueError(f"cannot show {path}: expected one of {', '.join(_TYPES)}")
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def missing(value: Any) -> bool:
    """Whether there is no number to show."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def rows(value: float | None) -> str:
    """A number of rows, or a sum of their weights.

    >>> rows(12345.0), rows(2.5), rows(None)
    ('12,345', '2.5', '–')
    """
    if value is None or missing(value):
        return "–"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.6g}"


def decimal(value: float | None, places: int) -> str:
    """A number with so many places, or a dash.

    >>> decimal(1234.567, 2), decimal(float("nan"), 2), decimal(-0.5, 1)
    ('1,234.57', '–', '−0.5')
    """
    if value is None or missing(value):
        return "–"
    return f"{value:,.{places}f}".replace("-", "−")


def pvalue(value: float | None) -> str:
    """A probability with two digits, very small ones as a bound.

    >>> pvalue(0.1234), pvalue(1e-9), pvalue(None)
    ('0.12', '< 0.0001', '–')
    """
    if value is None or missing(value):
        return "–"
    return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"


def significant(value: float | None, unc: float | None) -> str:
    """A value with two digits of its uncertainty, or five digits where there is none.

    >>> significant(1.345678, 0.0123), significant(1.345678, float("nan")), significant(2459000.12347, 0.001)
    ('1.346', '1.3457', '2459000.1235')
    """
    if value is None or missing(value):
        return "–"
    if unc is None or missing(unc) or not unc > 0.0:
        text = f"{value:.5g}"
    else:
        places = 1 - math.floor(math.log10(unc))
        text = f"{value:.{max(places, 0)}f}"
        if places > 7 or places < -5:
            digits = places + (math.floor(math.log10(abs(value))) if value else 0)
            text = f"{value:.{min(max(digits, 1), 15)}e}"
    return _minus(text)


def with_unc(value: float | None, unc: float | None) -> str:
    """A value and its uncertainty, both to two digits of the latter.

    >>> with_unc(1.345678, 0.0123), with_unc(0.0, float("nan"))
    ('1.346 ± 0.012', '0')
    """
    text = significant(value, unc)
    return text if unc is None or missing(unc) or text == "–" else f"{text} ± {significant(unc, unc)}"


def _minus(text: str) -> str:
    """With a true minus before the number, and a plain exponent.

    >>> _minus("-1.5e-07")
    '−1.5e−7'
    """
    return re.sub(r"e([+-])0*(\d+)", lambda found: f"e{found[1].strip('+')}{found[2]}", text).replace("-", "−")
