"""Tables of blocks of rows, made and imported in less time than those of Astropy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mixpipe.catalog.formats.arrays import as_column, parse_unit

if TYPE_CHECKING:
    from astropy import units as u
    from astropy.table import Table


class LightColumn(np.ma.MaskedArray):
    """A masked array with a unit, or None, in ``unit``."""

    unit: u.UnitBase | None = None


class LightTable:
    """A table with those methods of an Astropy table that the catalogs use.

    Parameters
    ----------
    columns : mapping of str to ndarray
        Values of each column, masked or not, in native byte order, with everything that is missing masked.
    units : mapping of str to str, astropy Unit or None
        Units of columns that have one.

    Examples
    --------
    >>> table = LightTable({"x": np.ma.MaskedArray([1.5, 0.0], mask=[False, True])}, {"x": "km"})
    >>> len(table), table.colnames, table["x"].tolist(), table["x"].unit
    (2, ['x'], [1.5, None], Unit("km"))
    """

    def __init__(self, columns: Mapping[str, np.ma.MaskedArray], units: Mapping[str, Any] | None = None) -> None:
        self._columns = {name: column.view(LightColumn) for name, column in columns.items()}
        for name, unit in (units or {}).items():
            self._columns[name].unit = parse_unit(unit)
        self.meta: dict[str, Any] = {}

    @property
    def colnames(self) -> list[str]:
        """Names of the columns."""
        return list(self._columns)

    def itercols(self) -> Iterator[LightColumn]:
        """The columns."""
        return iter(self._columns.values())

    def __getitem__(self, name: str) -> LightColumn:
        return self._columns[name]

    def __len__(self) -> int:
        return len(next(self.itercols()))

    def to_astropy(self) -> Table:
        """The same as an Astropy table."""
        from astropy.table import Table

        columns = [as_column(name, column, column.unit) for name, column in self._columns.items()]
        return Table(columns, meta=self.meta, copy=False)


def as_astropy(table: Table | LightTable) -> Table:
    """A block of rows as an Astropy table."""
    return table.to_astropy() if isinstance(table, LightTable) else table
