"""What has changed between two releases in their joint fits."""

from __future__ import annotations

from collections.abc import Sequence


def compare_joint_fits(
    code: str,
    old: Sequence[str],
    new: Sequence[str],
    old_members: Sequence[str],
    new_members: Sequence[str],
    components: str,
    summary: str,
    overlay: Sequence[str],
) -> None:
    """Compare joint fits, each with that of the same name in the release before.

    Parameters
    ----------
    code : str
        Hash of the stage's code when the job was planned.
    old, new : sequence of str
        fit.json of each joint fit in both releases.
    old_members, new_members : sequence of str
        members.parquet of each.
    components, summary : str
        CSV tables to write.
    overlay : sequence of str
        Figures to write: PNG and SVG.
    """
    raise NotImplementedError
