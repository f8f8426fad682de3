"""The general likelihood over blocks of rows: it is that of the rows in memory, and does not depend on the blocks."""

import math
import tracemalloc

import numpy as np
import pytest

import mixpipe
from mixpipe.fitting.general.fit import likelihoods
from mixpipe.fitting.general.likelihood import GeneralLikelihood, Point
from mixpipe.fitting.general.row_likelihood import RowsLikelihood
from mixpipe.model.cell_blocks import CellBlocks
from mixpipe.model.cells import Cells
from mixpipe.model.families import FAMILIES
from mixpipe.model.mixture import Mixture
from tests.campaign import campaign, mostly_campaign, mostly_campaign_pairs, study

N = 40_000
MIXTURE = Mixture([0.3, 0.5, 0.2], [-1.0, 2.0, 3.0], [1.0, 0.9, 0.5])


def rows(n: int = N, seed: int = 1):
    rng = np.random.default_rng(seed)
    err = 0.4 * np.exp(0.5 * rng.standard_normal(n))
    x = np.where(rng.random(n) < 0.3, -1.0, 2.0) + rng.standard_normal(n) + err * rng.standard_normal(n)
    return x, err


def kinds() -> dict[str, Cells]:
    rng = np.random.default_rng(2)
    x, err = rows()
    seen = x > -1.0
    return {
        "truncated": Cells.from_rows(x[seen], err[seen], truncated=(-1.0, None)),
        "bounds of rows": Cells.from_rows(x, err, truncated=(x - rng.random(N), None)),
        "detection": Cells.from_rows(x, err, detection=([-3.0, 3.0], [0.2, 1.0])),
        "limits": Cells.from_rows(x, err, limits=rng.integers(-1, 2, N)),
        "two sides": Cells.from_rows(x, np.stack([0.7 * err, 1.3 * err])),
        "heavy tails": Cells.from_rows(x, err, error_model="student_t", error_dof=3.0),
        "weights": Cells.from_rows(x, err, weights=0.1 + rng.random(N)),
        "counts": Cells.from_rows(x, err, weights=rng.integers(0, 4, N)),
        "members": Cells.from_rows(x, err, memberships=np.stack([np.ones(N), rng.random(N)], axis=1)),
    }


def shuffled(cells: Cells, n_threads: int = 2) -> CellBlocks:
    """The rows in another order, in blocks of unequal sizes."""
    cells = cells[np.random.default_rng(3).permutation(len(cells))]
    parts = [cells[:777], cells[777:20_000], cells[20_000:]]
    return CellBlocks(lambda: iter(parts), cells.weight_kind, None, n_threads)


@pytest.mark.parametrize("kind", mostly_campaign(kinds(), *(kind for kind in kinds() if kind != "heavy tails")))
def test_sums_are_those_in_memory(kind):
    cells, point = kinds()[kind], Point.of(MIXTURE)
    over_rows = likelihoods(cells, [FAMILIES["gaussian"]])[-1]
    assert isinstance(over_rows, RowsLikelihood)
    memory = GeneralLikelihood(cells)
    # Variables are in units of the typical error, which is that of the sample.
    memory.typical_err, memory.floor = over_rows.typical_err, over_rows.floor
    one, other = memory.expansion(point), over_rows.expansion(point)
    assert other.loglik == pytest.approx(one.loglik, abs=1e-6)
    # In standard errors of the parameters. Terms and scores are rounded to 2^-37 of the largest at worst.
    scale = np.sqrt(np.abs(np.diag(one.hessian)))
    np.testing.assert_allclose((other.gradient - one.gradient) / scale, 0.0, atol=1e-7)
    np.testing.assert_allclose((other.hessian - one.hessian) / np.outer(scale, scale), 0.0, atol=1e-9)
    assert over_rows.loglik(point) == pytest.approx(memory.loglik(point), abs=1e-6)
    assert over_rows.entropy(point) == pytest.approx(memory.entropy(point), abs=1e-6)
    for mine, theirs in zip(over_rows.effective_rows(point), memory.effective_rows(point), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)
    mine, theirs = over_rows.score_products(point), memory.score_products(point)
    np.testing.assert_allclose((mine - theirs) / np.sqrt(np.outer(np.diag(theirs), np.diag(theirs))), 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("family", "kind"),
    mostly_campaign_pairs(
        ["gaussian", "laplace"],
        kinds(),
        [("laplace", "members"), *(("gaussian", kind) for kind in kinds() if kind != "heavy tails")],
    ),
)
def test_blocks_order_and_threads_do_not_matter(kind, family):
    if family == "laplace" and kind in ("two sides", "heavy tails"):
        pytest.skip("a quadrature for each row takes long")
    cells = kinds()[kind]
    point = Point.of(Mixture(MIXTURE.weights, MIXTURE.means, MIXTURE.sigmas, (family,) * 3))
    one = likelihoods(cells, [FAMILIES[family]])[-1]
    other = likelihoods(shuffled(cells), [FAMILIES[family]])[-1]
    mine, theirs = one.expansion(point), other.expansion(point)
    assert mine.loglik == theirs.loglik
    np.testing.assert_array_equal(mine.gradient, theirs.gradient)
    np.testing.assert_array_equal(mine.hessian, theirs.hessian)
    assert one.entropy(point) == other.entropy(point)


def test_rows_far_beyond_the_points_are_counted():
    """The points say how large the terms are; a row that is not among them has much larger ones."""
    x, err = rows(5_000)
    points = GeneralLikelihood(Cells.from_rows(x, err, limits=np.zeros(5_000)))
    far = Cells.from_rows(np.append(x, 1e4), np.append(err, 0.01))
    over_rows, point = RowsLikelihood(CellBlocks.of(far, 1), points), Point.of(MIXTURE)
    memory = GeneralLikelihood(far)
    memory.typical_err, memory.floor = over_rows.typical_err, over_rows.floor
    one, other = memory.expansion(point), over_rows.expansion(point)
    # The largest term is 5e8 nats; it is rounded to 2^-40 of that.
    assert other.loglik == pytest.approx(one.loglik, abs=1e-3 * math.sqrt(5_000))
    np.testing.assert_allclose(other.gradient, one.gradient, rtol=1e-6, atol=1e-3 * np.abs(one.gradient).max())


def test_terms_that_are_not_finite_give_no_number():
    x, err = rows(5_000)
    cells = Cells.from_rows(x, err)
    over_rows = RowsLikelihood(CellBlocks.of(cells, 1), GeneralLikelihood(cells))
    sums = over_rows._summed(lambda part, some: np.stack([part.x[some], np.where(part.x[some] > 3.0, np.nan, 1.0)]))
    assert sums[0] == pytest.approx(x.sum(), abs=1e-6)
    assert math.isnan(sums[1])


def test_a_truncated_population_in_blocks_comes_back():
    """Half of a population is beyond the bound; what is fitted is that of the whole, within four standard errors."""
    truth = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7])
    rng = np.random.default_rng(11)
    err = 0.3 * np.exp(0.3 * rng.standard_normal(120_000))
    x = truth.sample(err.size, rng) + err * rng.standard_normal(err.size)
    seen = x > 0.0
    cells = Cells.from_rows(x[seen], err[seen], truncated=(0.0, None))
    parts = [cells[start : start + 10_000] for start in range(0, len(cells), 10_000)]
    selection = mixpipe.choose_n_components(CellBlocks(lambda: iter(parts)), max_components=3)
    fit = selection.best
    assert fit.n_components == 2
    assert fit.exact
    for part in ("weights", "means", "sigmas"):
        away = (getattr(fit.mixture, part) - getattr(truth, part)) / getattr(fit.uncertainties, part)
        assert np.all(np.abs(away) < 4.0), part


def generated(n_blocks: int):
    """Truncated rows that are made when they are read, 20,000 at a time."""

    def read():
        for k in range(n_blocks):
            x, err = rows(20_000, seed=k)
            seen = x > -1.0
            yield Cells(
                x[seen], err[seen], np.ones(int(seen.sum())), window=mixpipe.model.window.Window.of((-1.0, None))
            )

    return CellBlocks(read, n_threads=1)


def peak_of(n_blocks: int) -> float:
    """Largest memory of a fit in megabytes."""
    tracemalloc.start()
    try:
        mixpipe.fit_mixture(generated(n_blocks), n_components=2)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@campaign
def test_memory_does_not_grow_with_the_number_of_rows():
    few, many = peak_of(8), peak_of(24)
    # 320,000 rows more, of which a single array has 2.6 MB, and a fit in memory some twenty.
    assert many < few + 2.0


@study
def test_memory_of_millions_of_rows():
    assert peak_of(150) < 60.0
