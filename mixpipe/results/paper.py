"""The files of a fit that are made for a paper: tables of its components, and how it was made.

Imports are light: the planning of a run needs the names of the files.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from mixpipe.base.errors import on_one_line
from mixpipe.base.files import write_file
from mixpipe.results.record import DensityRecord, FailedRecord, FitRecord, JointRecord, Record, open_mixture

# The files, by name.
PAPER_FILES = {
    "ecsv": "components.ecsv",
    "tabular": "components.tex",
    "deluxetable": "components_aastex.tex",
    "text": "methods.txt",
    "latex": "methods.tex",
    "bibtex": "references.bib",
}

# Those of tabulated densities, which have a mixture for each row and no table of components.
TEXT_FILES = {name: PAPER_FILES[name] for name in ("text", "latex", "bibtex")}

# Letters of a line of LaTeX; a paragraph of plain text is one line.
_LINE = 100


def write_paper(record: Record, paths: Mapping[str, Path]) -> None:
    """Write the files of a fit that are made for a paper; those of a column without a fit say why there is none.

    Parameters
    ----------
    record : FitRecord, JointRecord, DensityRecord or FailedRecord
        The record of the fit.
    paths : mapping of str to Path
        Files to write, by their names in `PAPER_FILES`; of tabulated densities only those in `TEXT_FILES`.
    """
    if isinstance(record, FailedRecord):
        _write_failure(record, paths)
        return
    from mixpipe.results.astropy_tables import write_ecsv
    from mixpipe.results.latex_tables import latex_table
    from mixpipe.results.methods import describe_methods

    texts: dict[str, Callable[[], str]] = {
        "text": partial(_text, record),
        "latex": partial(_latex, record),
        "bibtex": partial(describe_methods, record, "bibtex"),
    }
    if not isinstance(record, DensityRecord):
        texts |= {layout: partial(latex_table, record, layout) for layout in ("tabular", "deluxetable")}
        if "ecsv" in paths:
            write_ecsv(record, paths["ecsv"])
    for name in (name for name in paths if name != "ecsv"):
        _write(paths[name], texts[name]())


def write_paper_beside(fit: Path) -> None:
    """Write the files of a fit that are made for a paper into the folder of its fit.json."""
    _, record = open_mixture(fit)
    write_paper(record, {name: fit.with_name(file) for name, file in PAPER_FILES.items()})


def _write(path: Path, text: str) -> None:
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _write_failure(record: FailedRecord, paths: Mapping[str, Path]) -> None:
    from astropy.table import Table

    reason = on_one_line(record.error)
    for name, path in paths.items():
        if name == "ecsv":
            empty = Table(names=["component"], dtype=[int], meta={"reason": reason})
            write_file(path, lambda part, empty=empty: empty.write(part, format="ascii.ecsv", overwrite=True))  # type: ignore[misc]
        else:
            _write(path, f"{'' if name == 'text' else '% '}{reason}\n")


def _text(record: FitRecord | JointRecord | DensityRecord) -> str:
    """The paragraph with its references, and below what a reader of the numbers has to know."""
    from mixpipe.results.methods import describe_methods, list_references

    parts = [describe_methods(record), "\n".join(["References", "", *list_references(record)])]
    if record.warnings:
        parts.append("\n".join(["Warnings of the fit", "", *record.warnings]))
    return "\n\n".join(parts) + "\n"


def _latex(record: FitRecord | JointRecord | DensityRecord) -> str:
    from mixpipe.results.methods import describe_methods

    notes = ["% Citations are commands of natbib; their entries are in references.bib."]
    notes += [f"% warning: {' '.join(warning.split())}" for warning in record.warnings]
    lines = textwrap.wrap(describe_methods(record, "latex"), _LINE, break_long_words=False, break_on_hyphens=False)
    return "\n".join([*notes, *lines]) + "\n"
