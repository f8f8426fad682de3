"""The columns of a catalog that its entries need. This module imports little, since every job of a run uses it."""

from __future__ import annotations

from collections.abc import Iterable

from mixpipe.catalog.expressions import Expression
from mixpipe.config.settings import ColumnSettings, JointSettings


def required_columns(
    columns: Iterable[ColumnSettings | JointSettings], where: str | None = None, key: str | None = None
) -> tuple[str, ...]:
    """The columns of a catalog that have to be read for these entries.

    Parameters
    ----------
    columns : iterable of ColumnSettings or JointSettings
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
    for entry in columns:
        names += _joint_columns(entry) if isinstance(entry, JointSettings) else _columns(entry)
    return tuple(dict.fromkeys(names))


def _joint_columns(joint: JointSettings) -> list[str]:
    names = [name for column in joint.columns for name in _columns(column)]
    names += [given for _, _, given in joint.correlation if isinstance(given, str)]
    return [*names, *(joint.covariance or ()), *([] if joint.weight is None else [joint.weight])]


def _columns(column: ColumnSettings) -> list[str]:
    error = [column.error] if isinstance(column.error, str) else column.error
    names = [column.value] if column.bins is None else list(column.bins)
    names += error if isinstance(error, list | tuple) else ()
    membership = (column.membership,) if isinstance(column.membership, str) else column.membership or ()
    limits = (column.limit_flag, column.upper_limit, column.lower_limit)
    others = (column.sample_prior, column.weight, *limits, *membership, *column.bound_columns)
    return [*names, *(name for name in others if name is not None)]
