"""Sketches of shards add up to that of the whole, to the last bit."""

import numpy as np
import pytest

import mixpipe
from mixpipe.model.kernels import sketching
from mixpipe.model.sketch import Grid, Sketch

GRID = Grid(base=0.2, fineness=0.5)


def rows(n=20_000, seed=1):
    rng = np.random.default_rng(seed)
    err = np.where(rng.random(n) < 0.1, 0.0, np.exp(rng.normal(-1.0, 2.0, n)))
    return rng.normal(0.0, 3.0, n) + err * rng.standard_normal(n), err, rng.uniform(0.0, 2.0, n)


@pytest.mark.parametrize("n_shards", [1, 2, 7, 64])
def test_shards_in_any_order_give_the_same_bits(n_shards, tmp_path):
    x, err, weights = rows()
    whole = Sketch.of(GRID, x, err, weights)
    order = np.random.default_rng(n_shards).permutation(x.size)
    parts = [Sketch.of(GRID, x[part], err[part], weights[part]) for part in np.array_split(order, n_shards)]
    total = parts[0]
    for k, part in enumerate(parts[1:]):
        path = tmp_path / f"{k}.parquet"
        part.save(path)
        total = Sketch.load(path) + total
    np.testing.assert_array_equal(total.keys, whole.keys)
    np.testing.assert_array_equal(total.sums, whole.sums)
    for one, other in zip(total.points(), whole.points(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_files_repeat_byte_for_byte(tmp_path):
    sketch = Sketch.of(GRID, *rows())
    sketch.save(tmp_path / "a")
    Sketch.load(tmp_path / "a").save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_coarser_cells_hold_the_same_rows():
    x, err, weights = rows()
    # 16 times wider, with the same bins of the total variance; fineness below one.
    fine, wide = Grid(base=0.2, fineness=1 / 32), Grid(base=0.2, fineness=0.5)
    joined = Sketch.of(fine, x, err, weights)
    for _ in range(4):
        joined = joined.coarser()
    direct = Sketch.of(wide, x, err, weights)
    np.testing.assert_array_equal(joined.keys, direct.keys)
    np.testing.assert_array_equal(joined.sums[:, 0], direct.sums[:, 0])
    # Sums of (1, u, u^2, t, t^2, u t) in the units of each. A row is rounded to half of 2^-30 of its cell, whichever.
    units = 2.0 ** -np.array([30, 34, 38, 30, 30, 34])
    rows_per_cell = 1000  # more than any has: the fullest holds some hundred
    np.testing.assert_allclose(joined.sums * units, direct.sums * 2.0**-30, rtol=0.0, atol=rows_per_cell * 2.0**-30)


def test_merging_and_joining_commute():
    x, err, weights = rows()
    half = x.size // 2
    a, b = (Sketch.of(GRID, x[part], err[part], weights[part]) for part in (slice(half), slice(half, None)))
    first, second = (a + b).coarser().coarser(), a.coarser().coarser() + b.coarser().coarser()
    np.testing.assert_array_equal(first.keys, second.keys)
    np.testing.assert_array_equal(first.sums, second.sums)


@pytest.mark.parametrize(("joined", "away"), [((0, 1), 0.02), ((2, 8), 2.0)])
@pytest.mark.parametrize("lowest", [0.0, 1e-8])
def test_points_have_the_likelihood_of_rows_with_errors_over_decades(joined, away, lowest):
    """Few points, and as near to the rows as those of ordinary errors: two nats of 100,000 rows on the coarse ones."""
    rng = np.random.default_rng(8)
    n = 100_000
    err = 10.0 ** rng.uniform(-8.0, 0.0, n)
    err[: n // 10] = lowest
    x = rng.standard_normal(n) + err * rng.standard_normal(n)
    base = 2.0**-7
    points, errors, weights = Sketch.of(Grid(base, 0.25), x, err).points(*joined)
    assert points.size < n / (2 if joined == (0, 1) else 5)
    assert weights.sum() == n
    np.testing.assert_allclose(weights @ errors**2, np.sum(err**2), rtol=1e-6)
    # The narrowest components are those that the boxes have to resolve.
    for sigma in (0.5 * base, base, 10.0 * base):
        mixture = mixpipe.Mixture([0.9, 0.1], [0.0, 0.5], [1.0, sigma])
        rows, cells = mixture.logpdf(x, err).sum(), weights @ mixture.logpdf(points, errors)
        assert cells == pytest.approx(rows, abs=away)


def test_outliers_cost_a_cell():
    x = np.concatenate([np.linspace(0, 1, 1000), [1e9, -1e15, 1e40]])
    far = Sketch.of(Grid(base=0.01), x)
    near = Sketch.of(Grid(base=0.01), x[:1000])
    assert len(far) == len(near) + 3
    values, _, weights = far.points()
    assert weights.sum() == 1003
    np.testing.assert_allclose(np.sort(values)[[0, -2, -1]], [-1e15, 1e9, 1e40], rtol=1e-9)


def test_what_does_not_fit_is_refused(tmp_path):
    sketch = Sketch.of(GRID, [1.0, 2.0])
    with pytest.raises(ValueError, match="different grids"):
        sketch + Sketch.of(Grid(base=0.3), [1.0])
    with pytest.raises(ValueError, match="positive"):
        Grid(base=0.0)
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"key": [1]}), tmp_path / "other")
    with pytest.raises(ValueError, match="no sketch"):
        Sketch.load(tmp_path / "other")


def test_the_default_resolves_the_bulk_of_the_values():
    x, err, _ = rows(5000, seed=3)
    cells = mixpipe.Cells.sketch(x, err) + mixpipe.Cells.sketch(x[:100])
    assert cells.n_data == pytest.approx(5100)
    narrow = np.diff(np.quantile(x, (0.1, 0.9)))[0] / 256
    given = mixpipe.Cells.sketch(x, err, base=float(narrow))
    np.testing.assert_array_equal(mixpipe.Cells.sketch(x, err).x, given.x)
    assert len(mixpipe.Cells.sketch([2.0, 2.0, 2.0])) == 1


def test_a_sample_holds_the_rows_of_the_smallest_hashes():
    """The same rows whatever their order, and every one of them where they are few."""
    x = np.random.default_rng(4).normal(size=200_000)
    none, one = np.zeros(x.size), np.ones(1)

    def sampled(*parts):
        return sketching.sampled_rows([sketching.new_sample(part, none[: part.size], one) for part in parts])

    sample = sampled(x)
    assert sample.shape == (sketching.SAMPLE_ROWS, 4)
    np.testing.assert_array_equal(sample, sampled(x[::-1].copy()))
    twice = np.concatenate([x[:90_000], x[:70_000]])
    shared = sampled(x[:30_000], twice[::3].copy(), np.concatenate([twice[1::3], twice[2::3]]), x[90_000:])
    np.testing.assert_array_equal(shared[:, 0], sample[:, 0])
    times = 1.0 + np.isin(sample[:, 0], x[:70_000]) + np.isin(sample[:, 0], x[:30_000])
    np.testing.assert_array_equal(shared[:, 3], times)
    # A row of the sample of all is in that of any rows with it, as those of the smallest hashes are.
    half = sampled(x[: x.size // 2])
    kept = np.isin(sample[:, 0], x[: x.size // 2])
    assert np.isin(sample[kept, 0], half[:, 0]).all()
    np.testing.assert_array_equal(np.sort(sampled(x[:1000])[:, 0]), np.sort(x[:1000]))
    repeated = sampled(np.tile(x[:20_000], 10))
    np.testing.assert_array_equal(np.sort(repeated[:, 0]), np.sort(x[:20_000]))
    assert set(repeated[:, 3]) == {10.0}


@pytest.mark.parametrize("weight", [1e8, 1e12])
def test_large_weights_are_those_of_as_many_rows(weight):
    x, err, _ = rows(5000)
    one, many = (
        Sketch.of(Grid(0.2, weight_unit=unit), x, err, np.full(5000, w)) for w, unit in ((1.0, 1.0), (weight, weight))
    )
    assert many.n_data == pytest.approx(5000 * weight, rel=1e-12)
    for part, other in zip(one.points()[:2], many.points()[:2], strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(many.points()[2], weight * one.points()[2], rtol=1e-7)


def test_fits_of_many_rows_with_large_weights():
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(size=12_000), rng.normal(8.0, 1.0, 12_000)])
    one, many = (mixpipe.fit_mixture(x, 0.2, 2, weights=np.full(x.size, w)) for w in (1.0, 1e9))
    np.testing.assert_allclose(many.mixture.means, one.mixture.means, atol=1e-6)
    assert many.loglik == pytest.approx(1e9 * one.loglik, rel=1e-9)
