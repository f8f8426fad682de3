"""Cells that are read in blocks: their survey is that of all rows, whatever the blocks and the order."""

import itertools
import math

import numpy as np
import pytest

from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.regimes import SAMPLED_ROWS


def cells_of(n: int, kind: str) -> Cells:
    rng = np.random.default_rng(5)
    x, err = rng.standard_normal(n).round(2), 0.1 + rng.random(n).round(1)
    options = {
        "limits": {"limits": rng.integers(-1, 2, n)},
        "window": {"truncated": (x - 1.0, None)},
        "two sides": {"err": np.stack([err, 2.0 * err])},
        "members": {"memberships": np.stack([np.ones(n), rng.integers(0, 2, n)], axis=1)},
        "weights": {"weights": rng.integers(0, 3, n)},
    }
    return Cells.from_rows(x, **{"err": err, **options[kind]})


def in_blocks(cells: Cells, sizes: list[int], order=None) -> CellBlocks:
    """The same rows in blocks of these sizes, the last of which has the rest."""
    cells = cells if order is None else cells[order]
    cuts = [*itertools.accumulate(sizes, initial=0), len(cells)]
    parts = [cells[start:stop] for start, stop in itertools.pairwise(cuts)]
    return CellBlocks(lambda: iter(parts), cells.weight_kind)


@pytest.mark.parametrize("kind", ["limits", "window", "two sides", "members", "weights"])
def test_the_sample_of_few_rows_has_all_of_them_with_their_numbers(kind):
    cells = cells_of(3000, kind)
    used = cells[cells.weights > 0.0]
    survey = in_blocks(cells, [1000, 7]).survey
    assert survey.n_rows == len(used)
    assert survey.n_data == cells.n_data
    assert (survey.low, survey.high) == (used.x.min(), used.x.max())
    sample = survey.sample
    assert sample.n_data == cells.n_data
    # Each distinct row of the data is there once, with the weight of all that equal it.
    for value in np.unique(used.x)[:20]:
        assert sample.weights[sample.x == value].sum() == used.weights[used.x == value].sum()
    assert sample.resolution.grain == pytest.approx(cells.resolution.grain)
    assert sample.resolution.n_rows == cells.resolution.n_rows


@pytest.mark.parametrize("kind", ["limits", "window", "two sides", "members", "weights"])
def test_blocks_order_and_many_rows_do_not_matter(kind):
    rng = np.random.default_rng(6)
    cells = cells_of(50_000, kind)
    cells = Cells(
        cells.x + 1e-6 * rng.standard_normal(len(cells)),
        cells.err,
        cells.weights,
        limits=cells.limits,
        window=cells.window,
        noise=cells.noise,
        memberships=cells.memberships,
    )
    one = in_blocks(cells, []).survey
    other = in_blocks(cells, [20_000, 3, 15_000], rng.permutation(len(cells))).survey
    assert len(one.sample) == min(SAMPLED_ROWS, one.n_rows)
    for name in ("x", "err", "weights"):
        np.testing.assert_array_equal(getattr(one.sample, name), getattr(other.sample, name))
    if cells.window is not None:
        np.testing.assert_array_equal(one.sample.window.low, other.sample.window.low)
    if cells.memberships is not None:
        np.testing.assert_array_equal(one.sample.memberships, other.sample.memberships)
    assert (one.n_data, one.ends, one.largest_weight) == (other.n_data, other.ends, other.largest_weight)
    # A hash does not prefer any value: the sample has the median of the rows, to four standard errors.
    scatter = 4.0 * cells.x.std() * math.sqrt(math.pi / 2.0 / SAMPLED_ROWS)
    assert abs(np.median(one.sample.x) - np.median(cells.x)) < scatter


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no data"):
        CellBlocks(lambda: iter([])).survey  # noqa: B018


def test_errors_are_scaled():
    cells = cells_of(100, "two sides")
    blocks = in_blocks(cells, [30]).with_scaled_errors(2.0)
    assert blocks.survey.sample.err.max() == 2.0 * cells.err.max()
    assert blocks.survey.sample.noise.upper.max() == 2.0 * cells.noise.upper.max()
