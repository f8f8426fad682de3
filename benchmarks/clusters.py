"""Seven columns of a real catalog of 264,194 stars, by a sketch and by a search on all rows."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import mixpipe
from benchmarks.measure import number, table, timed
from mixpipe.catalog.columns import prepare_column
from mixpipe.catalog.reading import read_catalog
from mixpipe.config.settings import ColumnSettings
from mixpipe.fitting.gaussian import engine, fits

TITLE = "Open clusters: seven columns of Gaia EDR3"
COLUMNS = {
    "Plx": "e_Plx",
    "pmRA": "e_pmRA",
    "pmDE": "e_pmDE",
    "Gmag": "e_Gmag",
    "BPmag": "e_BPmag",
    "RVDR2": "e_RVDR2",
    "mass": "er_mass",
}
MAX_COMPONENTS = 6


def measure() -> dict[str, Any]:
    """Every column both ways; nothing where the catalog is not there."""
    path = Path(os.environ.get("MIXPIPE_CATALOGS", "")) / "open_clusters" / "gaia_edr3_members.fits"
    if not path.is_file():
        return {"rows": []}
    table_ = read_catalog(path, [*COLUMNS, *COLUMNS.values()])
    rows = []
    for value, error in COLUMNS.items():
        cells = prepare_column(table_, ColumnSettings(value, value, error)).cells()
        choose = partial(mixpipe.choose_n_components, cells, max_components=MAX_COMPONENTS)
        one, sketched = timed(choose)
        with mock.patch.object(engine, "SEARCH_ROWS", 10**9), mock.patch.object(fits, "CERTIFICATE_ROWS", 0):
            other, by_rows = timed(choose)
        rows.append(
            {
                "column": value,
                "n_data": len(cells),
                "sketch": sketched,
                "rows": by_rows,
                "n_components": [one.best.n_components, other.best.n_components],
                "deficits": [
                    max(second.loglik - first.loglik, 0.0)
                    for first, second in zip(one.fits, other.fits, strict=True)
                    if first.exact
                ],
            }
        )
        print(rows[-1], flush=True)
    return {"rows": rows}


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    if not result["rows"]:
        return "Not measured: MIXPIPE_CATALOGS does not lead to the catalog."
    body = [
        [
            row["column"],
            f"{row['n_data']:,}",
            number(row["sketch"]),
            number(row["rows"]),
            number(row["rows"] / row["sketch"]),
            " / ".join(map(str, row["n_components"])),
            number(max(row["deficits"]), 2),
        ]
        for row in result["rows"]
    ]
    total = [sum(row[name] for row in result["rows"]) for name in ("sketch", "rows")]
    return "\n\n".join(
        [
            f"Members of open clusters (VizieR), M = 1 to {MAX_COMPONENTS} for every pair of value and error: all "
            f"columns take {number(total[0])} s with the sketch, {number(total[1])} s when the search walks over the "
            f"rows. *Deficit*: nats by which the finished fits of the first lie below the second.",
            table(
                ["column", "rows", "sketch / s", "rows / s", "ratio", "M chosen, both ways", "largest deficit"], body
            ),
        ]
    )
