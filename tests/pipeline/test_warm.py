"""A fit is climbed from that of the release before, too: never worse than without, and the same unless it is better."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from mixpipe.assess.effort import Effort
from mixpipe.catalog import stream
from mixpipe.config.settings import parse_config
from mixpipe.fitting import choose as public
from mixpipe.fitting.choose import choose_n_components, fit_mixture
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.pipeline import estimate, fit
from mixpipe.pipeline.estimate import Start, estimate_column
from mixpipe.pipeline.fit import fit_column
from mixpipe.pipeline.ingest import ingest_release
from mixpipe.pipeline.plan.run import Run
from mixpipe.pipeline.reproduce import reproduce_fit
from tests.campaign import campaign

TRUTH = Mixture([0.6, 0.4], [0.0, 4.0], [1.0, 0.7])
NAMES = ("components", "selection", "estimators", "intervals", "covariance", "bimodality", "members", "fit")


def column(**settings):
    entry = {"releases": {"a": "a.csv"}, "columns": {"m": {"error": 0.3, "max_components": 3, **settings}}}
    return parse_config({"catalogs": {"stars": entry}}).catalogs[0].columns[0]


def sample(n: int = 300, seed: int = 1) -> Cells:
    rng = np.random.default_rng(seed)
    return Cells.from_rows(TRUTH.sample(n, rng) + 0.3 * rng.standard_normal(n), 0.3)


def climbed(cells: Cells, start: Start | None, unit: str | None = None, **settings):
    return estimate_column(cells, column(**settings), "bic", Effort(), place="", start=start, unit=unit)


def start_of(mixture: Mixture, unit: str | None = None, transform: str = "none") -> Start:
    return Start("dr1", mixture, unit, transform)


@pytest.fixture
def poor_search(monkeypatch):
    """A search that ends with two components of one place, which is a saddle, where there are two populations."""

    def poor(cells, **options):
        found = choose_n_components(cells, **options)
        one = found.fits[0].mixture
        twice = Mixture([0.5, 0.5], np.repeat(one.means, 2), np.repeat(one.sigmas, 2))
        worse = [
            found.fits[0],
            *(dataclasses.replace(fit, loglik=found.fits[0].loglik) for fit in found.fits[1:]),
        ]
        worse[1] = dataclasses.replace(worse[1], mixture=twice)
        return dataclasses.replace(found, fits=tuple(worse))

    monkeypatch.setattr(estimate, "choose_n_components", poor)


@pytest.mark.parametrize("start", [TRUTH, Mixture([1.0], [2.0], [2.0]), Mixture([0.5, 0.5], [-9.0, 90.0], [1.0, 5.0])])
def test_without_a_better_maximum_nothing_changes(start):
    """Bit for bit: what is written does not depend on the start then."""
    cells = sample()
    with_start, without = climbed(cells, start_of(start)), climbed(cells, None)
    assert with_start.gain is None
    assert with_start.selection.table().to_csv() == without.selection.table().to_csv()
    np.testing.assert_array_equal(with_start.fit.mixture.means, without.fit.mixture.means)
    assert with_start.fit.warnings == without.fit.warnings


def test_a_better_maximum_is_taken_and_chosen_by(poor_search):
    cells = sample()
    assert climbed(cells, None).fit.n_components == 1
    found = climbed(cells, start_of(TRUTH))
    expected = fit_mixture(cells, n_components=2, start=TRUTH)
    assert found.fit.n_components == 2
    assert found.fit.loglik == expected.loglik
    assert found.gain == pytest.approx(expected.loglik - found.selection.fits[0].loglik, rel=1e-12)
    assert any("found from the fit of release dr1" in text for text in found.fit.warnings)
    # More components are never worse, and what speaks against the choice is said of the one that is chosen now.
    logliks = [fit.loglik for fit in found.selection.fits]
    assert logliks[2] >= logliks[1] > logliks[0]
    assert not any("only" in text for text in found.selection.fits[0].warnings)


@pytest.mark.parametrize(
    "start, unit",
    [
        (start_of(TRUTH, "kpc"), "pc"),
        (start_of(TRUTH, None, "log10"), None),
        (start_of(Mixture(np.full(5, 0.2), range(5), np.ones(5))), None),
        (start_of(Mixture(TRUTH.weights, TRUTH.means, TRUTH.sigmas, ("laplace", "laplace"))), None),
    ],
    ids=["unit", "transform", "too many components", "family"],
)
def test_a_fit_of_something_else_is_no_start(poor_search, start, unit):
    assert climbed(sample(), start, unit).gain is None


@campaign
def test_other_families_and_limits_are_climbed_too(monkeypatch):
    values = sample(200)
    limits = np.where(np.arange(200) % 40 == 0, -1, 0).astype(np.int8)
    for cells, settings in (
        (values, {"families": ["laplace"], "max_components": 2}),
        (dataclasses.replace(values, limits=limits), {"max_components": 2}),
    ):
        plain = climbed(cells, None, **settings)
        best = plain.selection.fits[-1]
        start = start_of(best.mixture)
        assert climbed(cells, start, **settings).gain is None

        def poor(*arguments, **options):
            found = choose_n_components(*arguments, **options)
            lower = dataclasses.replace(found.fits[-1], loglik=found.fits[-1].loglik - 50.0)
            return dataclasses.replace(found, fits=(*found.fits[:-1], lower))

        with monkeypatch.context() as patch:
            patch.setattr(estimate, "choose_n_components", poor)
            assert climbed(cells, start, **settings).gain == pytest.approx(50.0, abs=1e-2)  # converged to 1e-3 each


def test_rows_that_are_not_in_memory(monkeypatch, tmp_path):
    """A search that misses the maximum on the sketch is told by the start, and the fit ends on the rows."""
    for module in (stream, fit):
        monkeypatch.setattr(module, "MEMORY_ROWS", 1000)
    monkeypatch.chdir(tmp_path)
    cells = sample(30_000)
    lines = [f"{value!r},0.3" for value in cells.x.tolist()]
    Path("a.csv").write_text("\n".join(["m,e", *lines]) + "\n", encoding="utf-8")
    config = {"releases": {"dr1": "a.csv", "dr2": "a.csv"}, "columns": {"m": {"error": "e", "max_components": 2}}}
    run = Run(parse_config({"catalogs": {"stars": config}}))
    first, again = do_release(run, "dr1"), do_release(run, "dr2", run.fit_file("stars", "dr1", "m"))
    assert again["start"] == {"release": "dr1", "won": False}
    assert reproduce_fit(run.fit_file("stars", "dr2", "m")).same
    assert again["components"] == first["components"]
    assert first["sketch"] is not None

    def poor(*arguments, **options):
        selection, found = public.choose_from_rows(*arguments, **options)
        one = selection.fits[0].mixture
        twice = Mixture([0.5, 0.5], np.repeat(one.means, 2), np.repeat(one.sigmas, 2))
        worse = dataclasses.replace(selection.fits[1], mixture=twice, loglik=selection.fits[0].loglik)
        return dataclasses.replace(selection, fits=(selection.fits[0], worse)), found

    monkeypatch.setattr(estimate, "choose_from_rows", poor)
    found = do_release(run, "dr2", run.fit_file("stars", "dr1", "m"))
    assert found["start"]["won"]
    assert found["n_components"] == 2
    # Both end less than 1e-3 nats below the maximum over all rows.
    assert found["loglik"] == pytest.approx(first["loglik"], abs=2e-3)


def do_release(run: Run, release: str, start: Path | None = None) -> dict:
    """Ingest and fit one release, as the workflow does; the fit.json."""
    (part,) = run.ingested("stars", release, "m")
    ingest_release(run.ingest("stars", release, Path(part).stem), part)
    path = run.fit_file("stars", release, "m")
    outputs = {name: str(path.parent / f"{name}.out") for name in NAMES[:-1]}
    fit_column(run.fit("stars", release, "m"), [part], **outputs, fit=str(path), start=[str(start)] if start else [])
    return json.loads(path.read_text(encoding="utf-8"))


def test_fit_json_says_which_start_has_won_and_is_reproduced(poor_search, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cells = sample()
    for name, size in (("a", 250), ("b", 300)):
        lines = [f"{value!r},0.3" for value in cells.x[:size].tolist()]
        Path(f"{name}.csv").write_text("\n".join(["m,e", *lines]) + "\n", encoding="utf-8")
    entry = {"releases": {"dr1": "a.csv", "dr2": "b.csv"}, "columns": {"m": {"error": "e", "max_components": 2}}}
    run = Run(parse_config({"catalogs": {"stars": entry}}))
    with monkeypatch.context() as patch:
        patch.setattr(estimate, "choose_n_components", choose_n_components)
        first = do_release(run, "dr1")
    assert first["start"] is None
    second = do_release(run, "dr2", run.fit_file("stars", "dr1", "m"))
    start = second["start"]
    assert (start["release"], start["won"]) == ("dr1", True)
    assert [row["mean"] for row in start["components"]] == [row["mean"] for row in first["components"]]
    # The start is in fit.json: what became of the other release does not matter.
    run.fit_file("stars", "dr1", "m").unlink()
    assert reproduce_fit(run.fit_file("stars", "dr2", "m")).same


def test_a_fit_waits_for_the_release_before_only_if_it_is_done(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        Path(f"{name}.csv").write_text("m\n1\n2\n3\n", encoding="utf-8")

    def run(**releases: str) -> Run:
        entry = {"releases": releases, "columns": {"m": {"max_components": 1}}}
        return Run(parse_config({"catalogs": {"stars": entry}}))

    two = run(a="a.csv", b="b.csv")
    assert (two.start("stars", "a", "m"), two.start_sources("stars", "a", "m")) == ([], [])
    (start,) = two.start("stars", "b", "m")
    assert two.start_sources("stars", "b", "m") == ["results/stars/a/m/fit.json"]
    do_release(two, "a")
    Path(start).parent.mkdir(parents=True)
    Path(start).write_bytes(two.fit_file("stars", "a", "m").read_bytes())
    do_release(two, "b", Path(start))

    # Done: it keeps its start, whatever becomes of the list and of the release before.
    Path("a.csv").write_text("m\n1\n2\n4\n", encoding="utf-8")
    for same in (run(a="a.csv", b="b.csv"), run(a="a.csv", c="c.csv", b="b.csv"), run(b="b.csv")):
        assert same.start("stars", "b", "m") == [start]
        assert same.start_sources("stars", "b", "m") == []
    # Changed: it is climbed from the release that stands before it now.
    Path("b.csv").write_text("m\n1\n2\n5\n", encoding="utf-8")
    assert run(a="a.csv", c="c.csv", b="b.csv").start_sources("stars", "b", "m") == ["results/stars/c/m/fit.json"]
    assert run(b="b.csv").start("stars", "b", "m") == []
