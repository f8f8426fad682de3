"""The figures of one joint fit."""

from __future__ import annotations

from collections.abc import Sequence


def draw_joint_figures(
    code: str,
    fit: str,
    members: str,
    columns: Sequence[str],
    corner: Sequence[str],
    selection: Sequence[str],
    quality: Sequence[str],
    curves: str,
) -> None:
    """Draw a joint fit.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    fit, members : str
        fit.json and members.parquet, from `fit_joint`.
    columns : sequence of str
        fit.json of those columns that are also fitted one by one.
    corner, selection, quality : sequence of str
        Files to write for each figure: PNG and SVG.
    curves : str
        JSON file to write: the numbers behind the figures.
    """
    raise NotImplementedError
