"""A column that need not fit into memory, since its table is read in blocks as often as needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mixpipe.base.threads import available_threads
from mixpipe.catalog.columns import Account, ColumnData, count_signs, prepare_column
from mixpipe.catalog.release import joined
from mixpipe.config.settings import ColumnSettings
from mixpipe.model.exact import ExactSum
from mixpipe.model.regimes import MEMORY_ROWS
from mixpipe.model.rows import Block, Rows

if TYPE_CHECKING:
    from astropy.table import Table


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
    _negative: frozenset[str] | None = field(default=None, init=False)
    _files: dict[str, Mapping[str, Any]] = field(default_factory=dict, init=False)

    def blocks(self) -> Iterator[tuple[Table, ColumnData, int]]:
        """Each table, its usable data, and the number of rows before it.

        Raises
        ------
        CatalogError
            At the end of the first pass, if no row is usable or if there are limits.
        """
        if self._negative is None:
            self._negative = self._find_negative()
        n_before = 0
        account = None
        for table in self.tables():
            data = prepare_column(
                table,
                self.settings,
                where=self.where,
                catalog=self.catalog,
                release=self.release,
                negative=self._negative,
            )
            data.check_floor(self.settings.sigma_floor, self.place)
            own = data.account
            account = own if account is None else account + own
            self._files = {**{file["path"]: file for file in data.files}, **self._files}
            yield table, data, n_before
            n_before += len(table)
        if self._account is None and account is not None:
            if self.tell is not None:
                self.tell(account)
            account.check_usable(self.place)
            account.check_streamable(self.place)
            self._account = account

    @property
    def files(self) -> list[Mapping[str, Any]]:
        """The files that have been read."""
        return list(self._files.values())

    def rows(self, n_threads: int | None = None) -> Rows:
        """The usable rows; weights that do not count rows sum to the effective number of rows.

        If there are weights, their kind is determined by a pass over the rows.
        """
        kind, scale = ("counts", 1.0) if self.settings.weight is None else self._weigh()

        def blocks() -> Iterator[Block]:
            for _, data, _ in self.blocks():
                if self.settings.weight is None:
                    yield np.ascontiguousarray(data.x), np.ascontiguousarray(data.err), np.ones(1)
                    continue
                some = data.weights > 0.0
                yield data.x[some], data.err[some], scale * data.weights[some]

        return Rows(blocks, n_threads or available_threads(), kind)

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

    def _find_negative(self) -> frozenset[str]:
        """Columns of a pair of errors that contain negative numbers throughout, which no single block can show."""
        error = self.settings.error
        if not isinstance(error, tuple) or self.settings.error_kind != "sigma":
            return frozenset()
        counts = np.zeros((len(error), 2), dtype=np.int64)
        for table in self.tables():
            counts += [count_signs(table[name]) for name in error]
        return frozenset(name for name, (below, signed) in zip(error, counts, strict=True) if 2 * below > signed)
