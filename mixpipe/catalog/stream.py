"""A column that need not fit into memory, since its table is read in blocks as often as needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mixpipe.base.errors import CatalogError
from mixpipe.base.threads import available_threads, over_all
from mixpipe.catalog.columns import Account, ColumnData, Whole, count_signs, prepare_column
from mixpipe.catalog.doubts import with_files
from mixpipe.catalog.release import joined
from mixpipe.config.settings import ColumnSettings
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.exact import ExactSum
from mixpipe.model.memberships import labels_among, ordered_labels
from mixpipe.model.regimes import MEMORY_ROWS
from mixpipe.model.rows import Block, Rows

if TYPE_CHECKING:
    from astropy.table import Table

# Bits of an error that a pass over the rows determines.
_BITS = 16


def gathered(blocks: Iterator[Table], most: int | None = MEMORY_ROWS) -> Table | None:
    """All rows in one table, or None, without keeping any, if there are more than `most`."""
    tables, n_rows = [], 0
    for table in blocks:
        tables.append(table)
        n_rows += len(table)
        if most is not None and n_rows > most:
            return None
    return joined(tables)


@dataclass(eq=False)
class ColumnStream:
    """Values, errors and weights of a column, block by block.

    Parameters
    ----------
    tables : callable
        Each call reads all rows as tables with the columns that the entry needs.
    settings : ColumnSettings
        The entry.
    where : str or None
        Row cut.
    catalog, release : str
        Names for error messages.
    place : str
        Description of the column for error messages.
    tell : callable or None
        Called with the account of the rows as soon as it is known.
    """

    tables: Callable[[], Iterator[Table]]
    settings: ColumnSettings
    where: str | None = None
    catalog: str = ""
    release: str = ""
    place: str = ""
    tell: Callable[[Account], None] | None = None
    _account: Account | None = field(default=None, init=False)
    _whole: Whole | None = field(default=None, init=False)
    _files: dict[str, Mapping[str, Any]] = field(default_factory=dict, init=False)

    def blocks(self) -> Iterator[tuple[Table, ColumnData, int]]:
        """Each table, its usable data, and the number of rows before it.

        Raises
        ------
        CatalogError
            At the end of the first pass, if no row is usable.
        """
        if self._whole is None:
            self._whole = self._look()
        yield from self._prepared(self.settings, self._whole)

    def _prepared(self, settings: ColumnSettings, whole: Whole) -> Iterator[tuple[Table, ColumnData, int]]:
        # What is doubtful is known after the first pass.
        doubts = self._account is None

        def prepared(table: Table) -> tuple[Table, ColumnData]:
            return table, prepare_column(
                table,
                settings,
                where=self.where,
                catalog=self.catalog,
                release=self.release,
                whole=whole,
                doubts=doubts,
            )

        n_before = 0
        account = None
        for table, data in over_all(prepared, self.tables(), available_threads()):
            data.check_floor(self.settings.sigma_floor, self.place)
            own = data.account
            account = own if account is None else account + own
            self._files = with_files(self._files, data.files)
            yield table, data, n_before
            n_before += len(table)
        if self._account is None and account is not None:
            if self.tell is not None:
                self.tell(account)
            account.check_usable(self.place)
            self._account = account

    @property
    def files(self) -> list[Mapping[str, Any]]:
        """The files that have been read."""
        return list(self._files.values())

    @property
    def has_limits(self) -> bool:
        """Whether any row is a limit, which only a pass over the rows can tell."""
        if self._whole is None:
            self._whole = self._look()
        return self._account is not None and self._account.n_upper_limits + self._account.n_lower_limits > 0

    def rows(self, n_threads: int | None = None) -> Rows:
        """The usable rows; weights that do not count rows sum to the effective number of rows.

        If there are weights, their kind is determined by a pass over the rows.
        """
        kind, scale = self._weigh()

        def blocks() -> Iterator[Block]:
            for _, data, _ in self.blocks():
                if self.settings.weight is None:
                    yield np.ascontiguousarray(data.x), np.ascontiguousarray(data.err), np.ones(1)
                    continue
                some = data.weights > 0.0
                yield data.x[some], data.err[some], scale * data.weights[some]

        return Rows(blocks, n_threads or available_threads(), kind)

    def cells(self, n_threads: int | None = None, *, exact: bool = True) -> CellBlocks:
        """The usable rows with all that is known of them, for what `rows` cannot hold."""
        kind, scale = self._weigh()

        def read() -> Iterator[Cells]:
            for _, data, _ in self.blocks():
                if data.weights.any():
                    yield replace(data.some_cells(scale), weight_kind=kind)

        return CellBlocks(read, kind, self.settings.sigma_floor, n_threads or available_threads(), exact)

    def row_name(self, position: int) -> str:
        """Name of the row at this position among the `rows`, which must have been read; empty if it is negative."""
        for _, data, _ in self.blocks() if position >= 0 else ():
            used = np.arange(len(data)) if self.settings.weight is None else np.flatnonzero(data.weights > 0.0)
            if position < used.size:
                return data.row_name(int(used[position]), several=len(self._files) > 1)
            position -= used.size
        return ""

    def _weigh(self) -> tuple[str, float]:
        """The kind of the weights, and the factor by which to multiply them; independent of blocks, files and order."""
        if self.settings.weight is None:
            return "counts", 1.0
        total, squares = ExactSum(), ExactSum()
        for _, data, _ in self.blocks():
            total.add(data.weights)
            squares.add(data.weights**2)
        kind = self.account.found_kind
        return kind, 1.0 if kind == "counts" else total / squares

    @property
    def account(self) -> Account:
        """The account of the rows, once they have been read."""
        if self._account is None:
            raise ValueError("the rows have not been read yet")
        return self._account

    def _look(self) -> Whole:
        """What no single block shows, from a pass over the rows where the column may have such."""
        settings = self.settings
        whole = Whole(self._find_negative())
        limits = (settings.limit_flag, settings.upper_limit, settings.lower_limit)
        first = next(iter(self.tables()), None)
        is_text = first is not None and first[settings.value].dtype.kind in "OSU"
        sided = settings.found_model == "two_sided"
        if not (is_text or limits != (None, None, None) or sided or isinstance(settings.membership, str)):
            return whole
        n_assumed, differ = 0, False
        labels: set[str] | None = set()
        for table, data, _ in self._prepared(replace(settings, membership=None), whole):
            n_assumed += data.n_assumed
            differ |= data.is_sided
            if isinstance(settings.membership, str) and labels is not None and len(data):
                own = labels_among(table[settings.membership][data.rows])
                labels = None if own is None else labels | own
        if isinstance(settings.membership, str) and labels is not None and not labels:
            raise CatalogError(
                f"{settings.membership}: membership has no label at all",
                self.place,
                "text or whole numbers for some of the rows",
            )
        whole = replace(whole, sided=differ, labels=ordered_labels(labels or set()))
        return replace(whole, typical_error=self._median_error(whole)) if n_assumed else whole

    def _median_error(self, whole: Whole) -> float:
        """The median error of the values, exactly: each pass over the rows finds further bits of the two in the middle.

        The bits of doubles >= 0 are ordered as the numbers are.
        """
        n_values = 0
        found: list[int] = [0, 0]
        ranks: list[int] = []
        for shift in range(64 - _BITS, -_BITS, -_BITS):
            width = _BITS if shift >= 0 else _BITS + shift
            shift = max(shift, 0)
            counts = np.zeros((2, 1 << width), dtype=np.int64)
            for _, data, _ in self._prepared(replace(self.settings, membership=None), whole):
                bits = (data.err[data.limits == 0] + 0.0).view(np.int64)
                n_values += bits.size if not ranks else 0
                for k, prefix in enumerate(found):
                    own = bits[bits >> (shift + width) == prefix] if shift + width < 64 else bits
                    counts[k] += np.bincount((own >> shift) & ((1 << width) - 1), minlength=1 << width)
            if not n_values:
                return 0.0
            ranks = ranks or [(n_values - 1) // 2, n_values // 2]
            for k in (0, 1):
                below = np.cumsum(counts[k])
                place = int(np.searchsorted(below, ranks[k], side="right"))
                ranks[k] -= int(below[place - 1]) if place else 0
                found[k] = (found[k] << width) | place
        return float(np.mean(np.array(found, dtype=np.int64).view(np.float64)))

    def _find_negative(self) -> frozenset[str]:
        """Columns of a pair of errors that contain negative numbers throughout, which no single block can show."""
        error = self.settings.error
        if not isinstance(error, tuple) or self.settings.error_kind != "sigma":
            return frozenset()
        counts = np.zeros((len(error), 2), dtype=np.int64)
        for table in self.tables():
            counts += [count_signs(table[name]) for name in error]
        return frozenset(name for name, (below, signed) in zip(error, counts, strict=True) if 2 * below > signed)
