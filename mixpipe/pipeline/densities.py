"""A column of tabulated densities: a mixture for each row."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mixpipe.base.arrays import Array
from mixpipe.base.errors import CatalogError, ConfigError, MixpipeError, PassingError, is_lasting, on_one_line
from mixpipe.base.files import write_file
from mixpipe.catalog.densities import DensityFile, open_densities
from mixpipe.catalog.expressions import Expression
from mixpipe.catalog.hashes import catalog_hash
from mixpipe.catalog.reading import read_catalog
from mixpipe.catalog.required import required_columns
from mixpipe.config.settings import DensitySettings
from mixpipe.fitting.tabulated.fit import STATUS, DensityTable, fit_densities, row_status
from mixpipe.pipeline.failure import record_failure, write_no_rows
from mixpipe.pipeline.plan.texts import DensityPlan, check_data, open_density_plan
from mixpipe.results.provenance import COMMAND, versions
from mixpipe.results.record import AccountRecord, DensityRecord, ExampleRecord, SourceFile, Spread

# Why a row has no mixture; what is missing is called as for columns of values.
MISSING = "missing_value"
_WORDS = tuple(word.replace(" ", "_") for word in STATUS)
REASONS = (MISSING, *_WORDS[1:4])
# Columns of densities.parquet in the unit of the grid.
_IN_UNIT = ("mean_", "sigma_", "low", "high")
# Three parameters of a component need as many points of the grid.
_POINTS_PER_COMPONENT = 3


@dataclass(frozen=True, eq=False)
class Piece:
    """Some rows of a column of densities.

    Parameters
    ----------
    file : DensityFile
        Where they are from.
    n_read : int
        Rows, those included that were cut.
    labels : array
        Key or number of each row that was kept.
    densities : ndarray, shape (n, n_grid)
        Their densities; nan for what is missing.
    """

    file: DensityFile
    n_read: int
    labels: NDArray[Any] | np.ma.MaskedArray
    densities: Array

    @property
    def is_missing(self) -> NDArray[np.bool_]:
        """Rows without any number."""
        return np.all(np.isnan(self.densities), axis=1)


def read_pieces(
    files: Sequence[Path],
    column: DensitySettings,
    reading: dict[str, Any],
    key: str | None,
    where: str | None,
    place: str,
) -> Iterator[Piece]:
    """Read the densities of a release, some rows at a time.

    Parameters
    ----------
    files : sequence of Path
        The files of the release.
    column : DensitySettings
        The column.
    reading : dict
        The `reading_options` of the catalog.
    key, where : str or None
        Column that identifies a row, and row cut.
    place : str
        Which catalog and release this is, for error messages.

    Raises
    ------
    CatalogError
        For files, columns and grids that cannot be used.
    """
    options = {**reading, "where_from": place}
    names = required_columns([], where, key)
    unit, first = None, 0
    for path in files:
        file = open_densities(path, column.value, column.grid, unit=column.unit, **options)
        if path == files[0]:
            unit = file.unit
        if file.unit != unit:
            raise file.source.error(f"the grid has the unit {file.unit}", f"{unit} as in {files[0]}")
        if file.is_one and names:
            word = "a key" if key is not None else "a cut"
            raise file.source.error(
                f"{word}, and one density in the file", "neither `key` nor `where`: its rows are points of the grid"
            )
        table = read_catalog(path, list(names), **options) if names else None
        start = 0
        for block in file.blocks():
            rows = slice(start, start + len(block))
            kept = np.ones(len(block), dtype=bool)
            labels: Any = np.arange(first, first + len(block))
            if table is not None:
                if where is not None:
                    kept = Expression.parse(where).evaluate(table[rows])
                labels = labels if key is None else np.ma.asarray(table[key])[rows]
            yield Piece(file, len(block), labels[kept], block if kept.all() else block[kept])
            start, first = rows.stop, first + len(block)


def fit_density_column(plan: str, densities: str, fit: str, threads: int = 1) -> None:
    """Fit the densities of a column and write their mixtures.

    Parameters
    ----------
    plan : str
        Text of a `DensityPlan`.
    densities : str
        Parquet file to write, a row for each object.
    fit : str
        JSON file to write: counts, examples, and what the fits were made from.
    threads : int
        Threads; the result does not depend on it.

    If no row can be fitted fit.json says why, and the Parquet file has no rows.

    Raises
    ------
    PassingError
        If the files are not those of the plan.
    """
    todo = open_density_plan(plan)
    place = f"catalog {todo.catalog}, release {todo.release}"
    counts = Counts()
    try:
        examples = _write_densities(todo, Path(densities), counts, place, threads)
    except MixpipeError as error:
        if not is_lasting(error):
            raise
        _check_files(todo)
        print(on_one_line(error))
        write_no_rows(Path(densities), todo.key, {"status": pa.string(), "n_components": pa.int32()})
        files = _files(todo, counts)
        record_failure(todo, files, error, counts.dropped, _criterion(todo.column)).write(Path(fit))
        return
    print(f"{place}, column {todo.column.name}: {counts.n_read} rows read, {counts.n_fitted} fitted")
    _record(todo, counts, examples).write(Path(fit))


def _write_densities(todo: DensityPlan, path: Path, counts: Counts, place: str, threads: int) -> list[ExampleRecord]:
    """Write the mixtures and count the rows; examples."""
    pieces = partial(
        read_pieces, [Path(path) for path, _ in todo.files], todo.column, todo.reading, todo.key, todo.where, place
    )
    examples: list[ExampleRecord] = []

    def write(part: Path) -> None:
        with contextlib.ExitStack() as stack:
            writer = None
            for piece in pieces():
                fitted = _fit(piece, todo.column, threads)
                counts.add(piece, fitted)
                rows = _rows(todo, piece, fitted)
                writer = writer or stack.enter_context(pq.ParquetWriter(part, rows.schema, compression="zstd"))
                writer.write_table(rows.cast(writer.schema))  # keys are of the type that they have in the first rows
        counts.check_usable(f"in {place}, column {todo.column.name}")
        examples.extend(_examples(counts, pieces(), todo.column))
        _check_files(todo)

    write_file(path, write)
    return examples


def _check_files(todo: DensityPlan) -> None:
    """Make sure that the files are still those of the plan."""
    for path, planned in todo.files:
        try:
            found = catalog_hash(Path(path))
        except OSError as error:
            what = f"the file cannot be read any more ({error.strerror})"
            raise PassingError(what, f"in {path}", "files that stay as they are during a run") from error
        check_data("the file", found, planned, path)


class Counts:
    """What became of the rows of a column."""

    def __init__(self) -> None:
        self.n_rows: dict[str, int] = {}
        self.dropped = {"cut": 0, **dict.fromkeys(REASONS, 0)}
        self.unit: str | None = None
        self.n_not_converged = 0
        self.n_failed: Counter[str] = Counter()
        self.bounds: tuple[float, float] | None = None
        self._normalisations: Counter[str] = Counter()
        self._numbers: list[tuple[NDArray[np.int64], Array, Array, Array]] = []
        self._n_fittable = 0

    @property
    def n_read(self) -> int:
        """Rows of all files, or files where each is one density."""
        return sum(self.n_rows.values())

    def count(self, piece: Piece) -> None:
        """Count rows that are read, cut or missing."""
        path = str(piece.file.source.path)
        self.n_rows[path] = self.n_rows.get(path, 0) + piece.n_read
        self.dropped["cut"] += piece.n_read - len(piece.densities)
        self.dropped[MISSING] += int(np.count_nonzero(piece.is_missing))
        self.unit = piece.file.unit

    def look_at(self, piece: Piece) -> None:
        """Count rows that could be fitted, and why others could not."""
        self.count(piece)
        status = np.where(piece.is_missing, -1, row_status(piece.densities))
        for code, reason in enumerate(REASONS[1:], start=1):
            self.dropped[reason] += int(np.count_nonzero(status == code))
        self._n_fittable += int(np.count_nonzero(status == 0))

    def add(self, piece: Piece, fitted: DensityTable) -> None:
        """Count rows that were fitted."""
        self.count(piece)
        for reason in REASONS[1:]:
            self.dropped[reason] += int(np.count_nonzero(_status(piece, fitted) == reason))
        has_mixture = fitted.n_components > 0
        n_fitted = int(np.count_nonzero(has_mixture))
        self._normalisations[fitted.normalisation] += n_fitted
        self.n_not_converged += int(np.count_nonzero(has_mixture & ~fitted.converged))
        self._n_fittable += n_fitted
        for word, number in list(fitted.counts().items())[4:]:
            self.n_failed[word] += number
        if not self._numbers:
            self.bounds = fitted.bounds
        elif self.bounds != fitted.bounds:
            self.bounds = None
        # Where there are fewer components, or none, the weights are not a number.
        heaviest = np.argmax(np.nan_to_num(fitted.weights), axis=1)
        means = fitted.means[np.arange(len(fitted)), heaviest]
        self._numbers.append((fitted.n_components, fitted.ks, fitted.l2, means))

    @cached_property
    def n_components(self) -> NDArray[np.int64]:
        """Components of each row, 0 without a mixture."""
        return np.concatenate([numbers[0] for numbers in self._numbers])

    @cached_property
    def ks(self) -> Array:
        """Largest difference of the cumulative distributions of each row."""
        return np.concatenate([numbers[1] for numbers in self._numbers])

    @cached_property
    def l2(self) -> Array:
        """Integrated squared error of each row."""
        return np.concatenate([numbers[2] for numbers in self._numbers])

    @cached_property
    def means(self) -> Array:
        """Mean of the heaviest component of each row."""
        return np.concatenate([numbers[3] for numbers in self._numbers])

    @cached_property
    def fitted(self) -> NDArray[np.intp]:
        """Rows with a mixture, among those that were kept."""
        return np.flatnonzero(self.n_components)

    @property
    def n_fitted(self) -> int:
        """Rows with a mixture."""
        return self.fitted.size

    @property
    def normalisation(self) -> str:
        """What most densities were normalised to: ``integral``, ``sum`` or ``neither``."""
        return self._normalisations.most_common(1)[0][0]

    def check_usable(self, where: str) -> None:
        """Refuse a column without a density.

        Raises
        ------
        CatalogError
            If no row can have a mixture.
        """
        if not self._n_fittable:
            words = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items() if count)
            raise CatalogError(
                f"no density of {self.n_read} can be used (dropped: {words})", where, "at least one that is positive"
            )


def check_grid(file: DensityFile, column: DensitySettings) -> int:
    """The largest number of components that a grid has points for.

    Raises
    ------
    CatalogError
        If more are asked for.
    """
    most = file.grid.size // _POINTS_PER_COMPONENT
    if (column.n_components or 1) > most:
        raise file.source.error(
            f"{column.n_components or 1} components on a grid of {file.grid.size} points",
            f"at most {most}, {_POINTS_PER_COMPONENT} points for each",
        )
    return most


def _fit(piece: Piece, column: DensitySettings, threads: int) -> DensityTable:
    most = check_grid(piece.file, column)
    return fit_densities(
        piece.file.abscissae,
        piece.densities,
        column.n_components,
        max_components=min(column.max_components, most),
        tolerance=column.tolerance,
        n_threads=threads,
    )


def _status(piece: Piece, fitted: DensityTable) -> NDArray[np.str_]:
    """``ok``, why a row has no mixture, or what its mixture fails."""
    return np.where(piece.is_missing, MISSING, np.array(_WORDS)[fitted.status])


def _rows(plan: DensityPlan, piece: Piece, fitted: DensityTable) -> pa.Table:
    columns: dict[str, Any] = {"status": _status(piece, fitted), "n_components": fitted.n_components.astype(np.int32)}
    for name, table in (("weight", fitted.weights), ("mean", fitted.means), ("sigma", fitted.sigmas)):
        # A short grid allows fewer components than the settings, which the columns are for.
        for j in range(plan.column.n_components or plan.column.max_components):
            columns[f"{name}_{j + 1}"] = table[:, j] if j < table.shape[1] else np.full(len(table), np.nan)
    ends = zip(("low", "high"), fitted.bounds, strict=True)
    columns |= {name: np.where(fitted.n_components > 0, bound, np.nan) for name, bound in ends}
    columns |= {"l2": fitted.l2, "ks": fitted.ks, "mass": fitted.mass, "converged": fitted.converged}
    label = plan.key or "row"
    if label in columns:
        raise ConfigError(
            f"the key {label!r} has the name of a column of densities.parquet",
            f"in catalog {plan.catalog}",
            "a key of another name",
        )
    unit = {"unit": piece.file.unit} if piece.file.unit else None
    rows = pa.table({label: pa.array(np.ma.getdata(piece.labels), mask=np.ma.getmaskarray(piece.labels)), **columns})
    fields = [
        field.with_metadata(unit) if field.name in columns and field.name.startswith(_IN_UNIT) else field
        for field in rows.schema
    ]
    return rows.cast(pa.schema(fields))


def _examples(counts: Counts, pieces: Iterator[Piece], column: DensitySettings) -> list[ExampleRecord]:
    """The fits of smallest, largest and median discrepancy, each row once, with their densities."""
    order = counts.fitted[np.argsort(counts.ks[counts.fitted], kind="stable")]
    wanted: dict[int, str] = {}
    for word, place in (("best", 0), ("worst", -1), ("median", order.size // 2)):
        wanted.setdefault(int(order[place]), word)
    found, start = [], 0
    for piece in pieces:
        for row in sorted(wanted.keys() & set(range(start, start + len(piece.densities)))):
            density = piece.densities[row - start]
            chosen = Piece(piece.file, 1, piece.labels[row - start : row - start + 1], density[None])
            fitted = _fit(chosen, column, 1)
            mixture = fitted.mixture(0)
            found.append(
                (
                    float(counts.ks[row]),
                    ExampleRecord(
                        which=wanted[row],
                        row=chosen.labels.tolist()[0],
                        ks=counts.ks[row],
                        weights=tuple(mixture.weights),
                        means=tuple(mixture.means),
                        sigmas=tuple(mixture.sigmas),
                        grid=tuple(piece.file.grid),
                        density=tuple(density),
                        truncated=fitted.bounds,
                        edges=None if piece.file.edges is None else tuple(piece.file.edges),
                    ),
                )
            )
        start += len(piece.densities)
        if len(found) == len(wanted):
            break
    return [example for _, example in sorted(found, key=lambda each: each[0])]


def _record(plan: DensityPlan, counts: Counts, examples: list[ExampleRecord]) -> DensityRecord:
    column, used = plan.column, counts.fitted
    n_components, ks = counts.n_components[used], counts.ks[used]
    warnings = []
    if counts.n_not_converged:
        warnings.append(f"{counts.n_not_converged} of {counts.n_fitted} fits have not converged")
    for word, what in (
        ("tolerance", f"are not within the tolerance of {column.tolerance:g}"),
        ("mean", "do not have the mean of the table"),
    ):
        if counts.n_failed[word]:
            warnings.append(f"{counts.n_failed[word]} of {counts.n_fitted} mixtures {what}")
    values, numbers = np.unique(n_components, return_counts=True)
    return DensityRecord(
        catalog=plan.catalog,
        release=plan.release,
        column=column.name,
        unit=counts.unit,
        n_data=counts.n_fitted,
        criterion=_criterion(column),
        n_components=int(n_components.max()),
        n_rows=dict(zip(map(str, values.tolist()), numbers.tolist(), strict=True)),
        ks=_spread(ks),
        l2=_spread(counts.l2[used]),
        means=_middle(counts.means[used]),
        normalisation=counts.normalisation,
        converged=counts.n_not_converged == 0,
        n_not_converged=counts.n_not_converged,
        warnings=tuple(warnings),
        examples=tuple(examples),
        truncated=counts.bounds,
        account=AccountRecord(
            column=column.name,
            n_read=counts.n_read,
            n_used=counts.n_fitted,
            dropped=counts.dropped,
            normalisation=counts.normalisation,
            unit=counts.unit,
            value=column.value,
            error=None,
            files=tuple(_files(plan, counts)),
        ),
        plan=asdict(plan),
        command=os.environ.get(COMMAND),
        versions=versions(),
    )


def _spread(numbers: Array) -> Spread:
    return Spread(median=float(np.median(numbers)), largest=float(numbers.max()))


def _middle(numbers: Array) -> tuple[float, float, float]:
    """The middle number, between those that a twentieth is below and above."""
    low, middle, high = np.quantile(numbers, (0.05, 0.5, 0.95), method="nearest").tolist()
    return low, middle, high


def _criterion(column: DensitySettings) -> str:
    """What chooses the number of components."""
    return f"ks < {column.tolerance:g}" if column.n_components is None else "given"


def _files(plan: DensityPlan, counts: Counts) -> list[SourceFile]:
    return [SourceFile(path=path, n_rows=counts.n_rows.get(path, 0), sha256=digest) for path, digest in plan.files]
