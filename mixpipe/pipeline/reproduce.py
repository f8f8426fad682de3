"""A fit done again from its fit.json: are the numbers the same?"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from astropy.table import Table

from mixpipe.base.errors import CatalogError
from mixpipe.catalog.reading import read_blocks
from mixpipe.catalog.release import StoredRelease
from mixpipe.catalog.required import required_columns
from mixpipe.catalog.store import write_blocks
from mixpipe.pipeline.fit import fit_tables, record_fit, recorded_start
from mixpipe.pipeline.plan.texts import FitPlan, read_fit_plan
from mixpipe.results.provenance import code_hash, sha256, versions
from mixpipe.results.record import ComponentRecord, FitRecord, open_fit

_PARAMETERS = ("weight", "mean", "sigma")


@dataclass(frozen=True)
class Reproduction:
    """What came of fitting again.

    Parameters
    ----------
    place : str
        Catalog, release and column.
    differs : tuple of str
        Parts of fit.json that are not the same; none if every number is, to the last bit.
    n_components : tuple of (int, int)
        Then, and now.
    largest : float
        Largest difference of a parameter in standard errors of then; nan where there is none to compare.
    parameter : str
        And which parameter that is: ``mean of component 2``.
    versions : dict of str to (str or None, str or None)
        Libraries of another version: then, and now.
    same_code : bool
        Whether the code of the fits is that of then.
    """

    place: str
    differs: tuple[str, ...]
    n_components: tuple[int, int]
    largest: float
    parameter: str
    versions: dict[str, tuple[str | None, str | None]]
    same_code: bool

    @property
    def same(self) -> bool:
        """Whether the numbers are the same, to the last bit."""
        return not self.differs


def reproduce_fit(path: str | Path, threads: int | None = None) -> Reproduction:
    """Fit again what a fit.json was made from, and compare the numbers.

    The files are read where they were, from the folder that the run was started in; their contents have to be the same.

    Parameters
    ----------
    path : path
        A fit.json, or its folder: of a run, or of `mixpipe fit --out`.
    threads : int or None
        Threads; no number depends on them.

    Raises
    ------
    CatalogError
        For what is no fit to a column of values, and if a file is missing or has changed.
    """
    file, record = open_fit(path)
    plan = _plan_of(record, file)
    for name, digest in plan.files:
        _check_file(name, digest, file)
    place = f"in {file}, column {plan.column.name}"
    needed = required_columns([plan.column], plan.where, plan.key)

    with tempfile.TemporaryDirectory(prefix="mixpipe-") as folder:
        fitted = fit_tables(
            _reader(plan, needed, Path(folder)),
            plan,
            place=place,
            start=recorded_start(record, file),
            n_components=record.n_asked,
            threads=threads,
        )
    return _compared(record, record_fit(plan, record.account.files, fitted), plan)


def _plan_of(record: FitRecord, file: Path) -> FitPlan:
    """The plan of a fit, whose settings are those of this version."""
    try:
        return read_fit_plan(record.plan)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = "no fit that can be done again: its plan has other settings than this version of mixpipe"
        expected = "the fit.json of a fit to a column of values by this version of mixpipe: run the fit again"
        raise CatalogError(what, f"in {file}", expected) from error


def _check_file(name: str, digest: str, file: Path) -> None:
    """Make sure that a file of the catalog is what was fitted."""
    expected = f"the file that {file} was made from, with the SHA-256 {digest}"
    try:
        found = sha256(Path(name))
    except OSError as error:
        raise CatalogError(
            f"cannot read {name} ({error.strerror})", f"in {Path.cwd()}", f"{expected}, from the folder of the run"
        ) from error
    if found != digest:
        raise CatalogError(f"{name} has changed since: its SHA-256 is {found}", f"in {Path.cwd()}", expected)


def _reader(plan: FitPlan, needed: Sequence[str], folder: Path) -> Callable[[], Iterator[Table]]:
    """What reads the rows as they were read: a run reads several files into one first, `mixpipe fit` reads its one."""
    if not plan.release:
        return lambda: read_blocks(plan.files[0][0], needed, **plan.reading)
    files = dict(plan.files)
    blocks = (block for name in files for block in read_blocks(name, needed, **plan.reading))
    stored = folder / "rows.parquet"
    write_blocks(blocks, stored, {name: {"sha256": digest} for name, digest in files.items()})
    release = StoredRelease([stored], files, f"release {plan.release}")
    return lambda: release.blocks(needed)


def _distance(before: ComponentRecord, after: ComponentRecord, name: str) -> float:
    """The difference of a parameter in standard errors of then."""
    error = getattr(before, f"{name}_unc") or math.nan
    return abs(getattr(after, name) - getattr(before, name)) / float(error)


def _compared(record: FitRecord, again: FitRecord, plan: FitPlan) -> Reproduction:
    old, new = record.components, again.components
    largest, parameter = math.nan, ""
    for number, (before, after) in enumerate(zip(old, new, strict=False), start=1):
        for name in _PARAMETERS:
            distance = _distance(before, after, name)
            if len(old) == len(new) and not distance <= largest and not math.isnan(distance):
                largest, parameter = distance, f"{name} of component {number}"
    then, now = record.versions, versions()
    return Reproduction(
        place=" ".join(filter(None, (plan.catalog, plan.release, plan.column.name))),
        differs=tuple(record.differences(again)),
        n_components=(len(old), len(new)),
        largest=largest,
        parameter=parameter,
        versions={
            name: (then.get(name), now.get(name))
            for name in sorted(then.keys() | now.keys())
            if then.get(name) != now.get(name)
        },
        same_code=plan.code == code_hash("fit"),
    )
