"""What is known beforehand of the component to which each row belongs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from mixpipe.base.arrays import Array

# Labels of rows of which nothing is known; -1 as in semi-supervised scikit-learn.
_BLANK = ("", "nan", "none", "<na>", "nat", "--", "-1")


def as_memberships(given: Any, n_rows: int, labels: tuple[str, ...] | None = None) -> tuple[Array, tuple[str, ...]]:
    """Prior memberships from labels or probabilities.

    Parameters
    ----------
    given : array_like, shape (n_rows,) or (n_rows, n_known)
        Labels, which are text or whole numbers and blank (empty, None, nan, masked or -1) where nothing is known; or
        numbers from 0 to 1, the prior probabilities of belonging to the first components, where nan means that nothing
        is known. The rest of a probability belongs to all other components.
    n_rows : int
        Number of rows.
    labels : tuple of str or None
        The labels of all rows, if these are only some of them; empty if all numbers are probabilities.

    Returns
    -------
    memberships : ndarray, shape (n_rows, n_known + 1)
        As in `Cells`.
    labels : tuple of str
        Names of the components with known members.

    Raises
    ------
    ValueError
        For a wrong number of rows, no label at all, or probabilities outside 0 to 1.

    Examples
    --------
    >>> priors, labels = as_memberships(["WD", "", "NS"], 3)
    >>> labels, priors.tolist()
    (('NS', 'WD'), [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    >>> as_memberships([0.9, 0.2], 2)[0].round(2).tolist()
    [[0.9, 0.1], [0.2, 0.8]]
    """
    # The mask of a series is a method, and its missing values are among the others.
    mask = np.ma.getmaskarray(given) if hasattr(given, "mask") and not hasattr(given, "iloc") else None
    table = np.asarray(getattr(given, "to_numpy", lambda: np.ma.getdata(given))())
    if table.ndim not in (1, 2) or len(table) != n_rows:
        raise ValueError(f"membership must have one row for each value, found shape {table.shape} for {n_rows} values")
    numbers = _numbers(table)
    if numbers is not None and mask is not None:
        numbers[mask] = np.nan
    probable = _are_probabilities(numbers) if labels is None else not labels
    if numbers is not None and (table.ndim == 2 or probable):
        return _from_probabilities(numbers.reshape(n_rows, -1))
    if table.ndim == 2:
        raise ValueError("membership with several columns must be probabilities, found text")
    return _from_labels(_texts(table, mask), labels)


def labels_among(given: Any) -> set[str] | None:
    """The labels among some rows of a column; None if it holds probabilities.

    >>> sorted(labels_among(["WD", "", "NS"])), labels_among([0.0, 0.5])
    (['NS', 'WD'], None)
    """
    mask = np.ma.getmaskarray(given) if hasattr(given, "mask") else None
    table = np.asarray(np.ma.getdata(given))
    numbers = _numbers(table)
    if numbers is not None and _are_probabilities(numbers if mask is None else numbers[~mask]):
        return None
    return set(_texts(table, mask).tolist()) - {""}


def ordered_labels(labels: set[str]) -> tuple[str, ...]:
    """Labels in the order of their components: numbers by their size, then others by the alphabet.

    >>> ordered_labels({"b", "10", "9"})
    ('9', '10', 'b')
    """
    return tuple(sorted(labels, key=_in_order))


def _are_probabilities(numbers: Array | None) -> bool:
    """Whether numbers are probabilities rather than labels: some are no whole numbers."""
    return numbers is not None and bool(np.any(numbers[np.isfinite(numbers)] % 1.0))


def _numbers(table: np.ndarray) -> Array | None:
    if table.dtype.kind in "biuf":
        return table.astype(np.float64)
    if table.dtype.kind != "O":
        return None
    try:
        values = [np.nan if value is None or str(value) == "<NA>" else value for value in table.ravel()]
        return np.array(values, dtype=np.float64).reshape(table.shape)
    except (TypeError, ValueError):
        return None


def _from_probabilities(priors: Array) -> tuple[Array, tuple[str, ...]]:
    bad = np.flatnonzero(np.any((priors < 0.0) | (priors > 1.0), axis=1))
    if bad.size:
        raise ValueError(
            f"membership has {bad.size} rows outside 0 to 1, the first at index {bad[0]} ({priors[bad[0]]}); expected "
            "probabilities, or labels that are text or whole numbers"
        )
    total = priors.sum(axis=1)
    over = np.flatnonzero(total > 1.0 + 1e-6)
    if over.size:
        raise ValueError(
            f"membership has {over.size} rows whose probabilities sum to more than 1, the first at index {over[0]} "
            f"({total[over[0]]:g}); expected at most 1"
        )
    memberships = np.column_stack([priors, np.maximum(1.0 - total, 0.0)])
    memberships[np.isnan(memberships).any(axis=1)] = 1.0
    return memberships, tuple(str(j + 1) for j in range(priors.shape[1]))


def _texts(table: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Each row's label; empty where nothing is known."""
    texts = np.array([_text(value) for value in table])
    if mask is not None:
        texts[mask] = ""
    return texts


def _from_labels(texts: np.ndarray, all_labels: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
    labels = all_labels or ordered_labels(set(texts.tolist()) - {""})
    if not labels:
        raise ValueError("membership has no label at all; expected text or whole numbers for some of the rows")
    memberships = np.column_stack([*(texts == label for label in labels), np.zeros(len(texts))]).astype(np.float64)
    memberships[texts == ""] = 1.0
    return memberships, labels


def _in_order(text: str) -> tuple[bool, int, str]:
    """Numbers by their size, then other labels by the alphabet."""
    is_number = re.fullmatch(r"[-+]?[0-9]+", text) is not None
    return not is_number, int(text) if is_number else 0, text


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, float | np.floating) and np.isfinite(value) and value == int(value):
        value = int(value)
    text = str(value).strip()
    return "" if text.lower() in _BLANK else text
