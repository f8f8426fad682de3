"""The files of a fit that are made for a paper."""

from __future__ import annotations

from pathlib import Path

from mixpipe.results.paper import write_paper
from mixpipe.results.provenance import check_code
from mixpipe.results.record import load_record


def write_paper_files(code: str, fit: str, **files: str) -> None:
    """Write the tables of the components of a fit, and how it was made; the latter alone of tabulated densities.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fit : str
        fit.json of a column or of a joint fit.
    **files : str
        Files to write, by their names in `mixpipe.results.paper.PAPER_FILES`.
    """
    check_code("paper", code)
    write_paper(load_record(fit), {name: Path(file) for name, file in files.items()})
