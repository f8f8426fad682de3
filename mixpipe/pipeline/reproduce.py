"""A fit done again from its fit.json: are the numbers the same?"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from astropy.table import Table

from mixpipe.base.errors import CatalogError
from mixpipe.catalog.hashes import catalog_hash
from mixpipe.catalog.reading import read_blocks
from mixpipe.catalog.release import StoredRelease
from mixpipe.catalog.required import required_columns
from mixpipe.catalog.store import write_blocks
from mixpipe.pipeline.fit import fit_tables, record_fit, recorded_start
from mixpipe.pipeline.joint import fit_columns_of, record_joint
from mixpipe.pipeline.plan.texts import FitPlan, JointPlan, read_fit_plan, read_joint_plan
from mixpipe.results.provenance import code_hash, versions
from mixpipe.results.record import FitRecord, JointRecord, open_mixture

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
        For what is no fit to a column of values or to several jointly, and if a file is missing or has changed.
    """
    file, record = open_mixture(path)
    plan = _plan_of(record, file)
    for name, digest in plan.files:
        _check_file(name, digest, file)
    place = f"in {file}, column {plan.column.name}"
    needed = required_columns([plan.column], plan.where, plan.key)
    files = record.account.files
    again: FitRecord | JointRecord
    with tempfile.TemporaryDirectory(prefix="mixpipe-") as folder:
        read = _reader(plan, needed, Path(folder))
        size = record.n_asked
        if isinstance(plan, JointPlan):
            columns = fit_columns_of(read, plan, place=place, n_components=size, threads=threads)
            again = record_joint(plan, files, columns)
        else:
            start = recorded_start(record, file) if isinstance(record, FitRecord) else None
            column = fit_tables(read, plan, place=place, start=start, n_components=size, threads=threads)
            again = record_fit(plan, files, column)
    return _compared(record, again, plan)


def _plan_of(record: FitRecord | JointRecord, file: Path) -> FitPlan | JointPlan:
    """The plan of a fit, whose settings are those of this version."""
    try:
        return read_joint_plan(record.plan) if isinstance(record, JointRecord) else read_fit_plan(record.plan)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = "no fit that can be done again: its plan has other settings than this version of mixpipe"
        expected = "the fit.json of a fit to a column of values by this version of mixpipe: run the fit again"
        raise CatalogError(what, f"in {file}", expected) from error


def _check_file(name: str, digest: str, file: Path) -> None:
    """Make sure that a file of the catalog is what was fitted."""
    expected = f"the file that {file} was made from, with the SHA-256 {digest}"
    try:
        found = catalog_hash(Path(name))
    except OSError as error:
        raise CatalogError(
            f"cannot read {name} ({error.strerror})", f"in {Path.cwd()}", f"{expected}, from the folder of the run"
        ) from error
    if found != digest:
        raise CatalogError(f"{name} has changed since: its SHA-256 is {found}", f"in {Path.cwd()}", expected)


def _reader(plan: FitPlan | JointPlan, needed: Sequence[str], folder: Path) -> Callable[[], Iterator[Table]]:
    """What reads the rows as they were read: a run reads several files into one first, `mixpipe fit` reads its one."""
    if not plan.release:
        return lambda: read_blocks(plan.files[0][0], needed, **plan.reading)
    files = dict(plan.files)
    blocks = (block for name in files for block in read_blocks(name, needed, **plan.reading))
    stored = folder / "rows.parquet"
    write_blocks(blocks, stored, {name: {"sha256": digest} for name, digest in files.items()})
    release = StoredRelease([stored], files, f"release {plan.release}")
    return lambda: release.blocks(needed)


def _parameters(record: FitRecord | JointRecord) -> Iterator[dict[str, tuple[float, float | None]]]:
    """The parameters of each component with their standard errors."""
    if isinstance(record, FitRecord):
        for one in record.components:
            yield {name: (getattr(one, name), getattr(one, f"{name}_unc")) for name in _PARAMETERS}
        return
    for joint in record.components:
        found: dict[str, tuple[float, float | None]] = {"weight": (joint.weight, joint.weight_unc)}
        for a, name in enumerate(record.names):
            found[f"mean_{name}"] = joint.means[a], joint.means_unc[a]
            found[f"sigma_{name}"] = joint.sigmas[a], joint.sigmas_unc[a]
        yield found


def _compared(
    record: FitRecord | JointRecord, again: FitRecord | JointRecord, plan: FitPlan | JointPlan
) -> Reproduction:
    old, new = list(_parameters(record)), list(_parameters(again))
    largest, parameter = math.nan, ""
    for number, (before, after) in enumerate(zip(old, new, strict=False), start=1):
        for name, (value, error) in before.items():
            distance = abs(after[name][0] - value) / float(error or math.nan)
            if len(old) == len(new) and not distance <= largest and not math.isnan(distance):
                largest, parameter = distance, f"{name} of component {number}"
    then, now = record.versions, versions()
    return Reproduction(
        place=" ".join(filter(None, (plan.catalog, plan.release, plan.column.name))),
        differs=tuple(record.differences(again)),  # type: ignore[arg-type]
        n_components=(len(old), len(new)),
        largest=largest,
        parameter=parameter,
        versions={
            name: (then.get(name), now.get(name))
            for name in sorted(then.keys() | now.keys())
            if then.get(name) != now.get(name)
        },
        same_code=plan.code == code_hash("joint" if isinstance(plan, JointPlan) else "fit"),
    )
