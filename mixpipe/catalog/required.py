"""The columns of a catalog that its entries need. This module imports little, since every job of a run uses it."""

from __future__ import annotations

from collections.abc import Iterable

from mixpipe.catalog.expressions import Expression
from mixpipe.config.settings import ColumnSettings


def required_columns(
    columns: Iterable[ColumnSettings], where: str | None = None, key: str | None = None
) -> tuple[str, ...]:
    """The columns of a catalog that have to be read for these entries.

    Parameters
    ----------
    columns : iterable of ColumnSettings
        Entries.
    where : str, optional
        Row cut.
    key : str, optional
        Column that identifies a row.

    Returns
    -------
    tuple of str
        Distinct names: key, columns of the cut, then value, error and weight of each entry.

    Examples
    --------
    >>> required_columns([ColumnSettings("mass", "m", ("m_up", "m_lo"))], "kind == 'NS'", "name")
    ('name', 'kind', 'm', 'm_up', 'm_lo')
    """
    names = [key] if key is not None else []
    names += Expression.parse(where).names if where is not None else ()
    for column in columns:
        error = [column.error] if isinstance(column.error, str) else column.error
        names += [column.value] if column.bins is None else column.bins
        names += error if isinstance(error, list | tuple) else ()
        others = (column.weight, column.limit_flag, column.upper_limit, column.lower_limit)
        names += [name for name in others if name is not None]
    return tuple(dict.fromkeys(names))
