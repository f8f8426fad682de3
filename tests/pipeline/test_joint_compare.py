"""Comparisons of joint fits from files to files: rows, units, what is refused, the tables and the command."""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.assess.comparison.verdict import NOT_COMPARED, SHIFTED, UNCHANGED
from mixpipe.assess.effort import Effort
from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.config.settings import ColumnSettings, JointSettings
from mixpipe.fitting.choose import fit_mixture
from mixpipe.model.joint.mixture import JointMixture
from mixpipe.pipeline.joint import fit_columns_of, write_joint
from mixpipe.pipeline.joint_compare import compare_joint_fits, compare_stored_joint, read_stored_joint
from mixpipe.pipeline.plan.texts import JOINT_FILES, JointPlan
from mixpipe.pipeline.report import render_report
from mixpipe.results import tables
from mixpipe.results.answer import read_changes
from mixpipe.results.provenance import code_hash
from mixpipe.results.record import load_record
from tests.records import FILE, failed_record, fit_record

TWO = JointMixture([0.6, 0.4], [[0.0, 0.0], [5.0, 3.0]], [[[1.0, 0.4], [0.4, 1.0]], [[0.6, -0.2], [-0.2, 0.8]]])
PARAMETERS = ["weight", "mean_plx", "sigma_plx", "mean_pm", "sigma_pm", "corr_plx_pm"]


def sample(n: int, seed: int, shift: float = 0.0) -> Table:
    rng = np.random.default_rng(seed)
    err = rng.uniform(0.1, 0.3, (n, 2))
    x = TWO.sample(n, rng) + err * rng.standard_normal((n, 2)) + [shift, 0.0]
    table = Table({"star": [f"{seed} {k}" for k in range(n)]})
    for k, (name, unit) in enumerate((("plx", "mas"), ("pm", "mas / yr"))):
        table[name], table[f"e_{name}"] = x[:, k], err[:, k]
        table[name].unit = table[f"e_{name}"].unit = unit
    return table


def store(
    folder: Path,
    table: Table,
    *,
    key: str | None = "star",
    release: str = "dr1",
    names: tuple[str, str] = ("plx", "pm"),
    sha256: str = "0",
    start: JointMixture = TWO,
    **settings,
) -> Path:
    """The files of a joint fit, climbed from a start, as the workflow writes them."""
    folder.mkdir(parents=True)
    columns = tuple(ColumnSettings(name=name, value=name, error=f"e_{name}") for name in names)
    joint = JointSettings("astrometry", columns, **settings)
    plan = JointPlan("stars", release, (), {}, key, None, joint, "bic", Effort(), "")
    climb = partial(fit_mixture, start=JointMixture(start.weights, start.means, start.covariances, names))
    with patch("mixpipe.pipeline.joint.fit_mixture", climb):
        fitted = fit_columns_of(lambda: iter([table]), plan, place="in a test", n_components=2, threads=1)
    write_joint(
        {name: folder / file for name, file in JOINT_FILES.items()}, plan, [replace(FILE, sha256=sha256)], fitted
    )
    return folder


def in_units(table: Table, **units: str) -> Table:
    table = table.copy()
    for name, unit in units.items():
        for column in (name, f"e_{name}"):
            table[column] = table[column].to(unit)
    return table


@pytest.fixture(scope="module")
def old_table() -> Table:
    return sample(200, 1)


@pytest.fixture(scope="module")
def new_table(old_table) -> Table:
    """190 of the stars, 3 of them revised, and 30 new ones, in another order."""
    rows = np.r_[np.arange(10, 200)]
    kept = old_table[rows]
    kept["plx"][:3] += 0.1
    more = sample(30, 2)
    columns = {name: np.r_[kept[name], more[name]] for name in old_table.colnames}
    order = np.random.default_rng(3).permutation(220)
    found = Table({name: np.asarray(values)[order] for name, values in columns.items()})
    for name in found.colnames[1:]:
        found[name].unit = old_table[name].unit
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory, old_table, new_table) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("fits")
    return {
        "old": store(folder / "old", old_table),
        "new": store(folder / "new", new_table, release="dr2"),
    }


@pytest.mark.parametrize("most", [10_000, 100])
def test_what_is_doubtful_of_files_and_keys_is_said(monkeypatch, most):
    monkeypatch.setattr("mixpipe.pipeline.joint.MEMORY_ROWS", most)
    blocks = [sample(100, 1), sample(100, 2)]
    blocks[1]["star"] = blocks[0]["star"]
    for block, said in zip(blocks, ({}, {"doubts": ["t.csv: odd"]}), strict=True):
        block.meta["files"] = [{"path": "t.csv", "n_rows": 100, **said}]
    columns = tuple(ColumnSettings(name=name, value=name, error=f"e_{name}") for name in ("plx", "pm"))
    plan = JointPlan("stars", "", (), {}, "star", None, JointSettings("both", columns), "bic", Effort(), "")
    warnings = fit_columns_of(lambda: iter(blocks), plan, place="in a test", n_components=1, threads=1).fit.warnings
    assert "t.csv: odd" in warnings
    # A long table is not held, and keys are compared in memory.
    assert any("key 'star' is the same in several rows: 200 of 200" in text for text in warnings) == (most > 200)


def run(*args):
    return CliRunner().invoke(cli.main, ["compare", *map(str, args)], prog_name="mixpipe")


def refused(*args) -> str:
    result = run(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("mixpipe: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


# ----- rows


def test_rows_are_known_by_their_key(stored):
    rows = compare_stored_joint(*(read_stored_joint(stored[name]) for name in ("old", "new"))).rows
    assert (rows.n_old, rows.n_new, rows.n_common) == (200, 220, 190)
    assert (rows.n_added, rows.n_dropped, rows.n_revised) == (30, 10, 3)


def test_rows_without_a_key_are_known_by_their_contents(tmp_path, old_table, new_table):
    gaps = [table.copy() for table in (old_table, new_table)]
    for table in gaps:
        table["pm"][table["plx"] > 5.0] = np.nan
    old, new = (
        read_stored_joint(store(tmp_path / name, table, key=None, sha256=name))
        for name, table in zip(("old", "new"), gaps, strict=True)
    )
    compared = compare_stored_joint(old, new)
    # Rows that were revised are other rows.
    assert (compared.rows.n_common, compared.rows.n_added, compared.rows.n_dropped) == (187, 33, 13)
    assert compared.rows.n_revised == 0
    assert "known by their contents" in compared.notes[0]
    # Within the same file their numbers are their key.
    same = read_stored_joint(store(tmp_path / "same", gaps[0], key=None, sha256="old"))
    compared = compare_stored_joint(old, same)
    assert (compared.rows.n_common, compared.notes) == (200, ())


def test_rows_of_weight_zero_take_no_part(tmp_path, stored, old_table):
    table = old_table.copy()
    table["n"] = np.where(np.arange(200) < 5, 0, 2)
    new = read_stored_joint(store(tmp_path / "weighted", table, weight="n"))
    assert (new.record.account.n_used, new.record.account.dropped["zero_weight"]) == (195, 5)
    rows = compare_stored_joint(read_stored_joint(stored["old"]), new).rows
    assert (rows.n_old, rows.n_common, rows.n_dropped) == (200, 195, 5)


# ----- units, and what is refused


def test_units_are_converted(tmp_path, stored, old_table):
    factors = np.array([1e3, 1e-3])
    start = JointMixture(TWO.weights, TWO.means * factors, TWO.covariances * factors[:, None] * factors)
    table = in_units(old_table, plx="uas", pm="arcsec / yr")
    other = read_stored_joint(store(tmp_path / "other", table, start=start))
    compared = compare_stored_joint(read_stored_joint(stored["old"]), other)
    assert (compared.verdict, compared.rows.n_revised) == (UNCHANGED, 0)
    # A fit ends within 1e-3 nats of its maximum, here some 1e-9: 1e-4 of an uncertainty.
    np.testing.assert_allclose(compared.old.mixture.means, compared.new.mixture.means, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(compared.old.mixture.covariances, compared.new.mixture.covariances, rtol=1e-4)
    np.testing.assert_allclose(compared.old.uncertainties.sigmas, compared.new.uncertainties.sigmas, rtol=1e-4)
    spread = np.sqrt(np.diag(compared.new.covariance))
    scale = spread[:, None] * spread
    np.testing.assert_allclose(compared.old.covariance / scale, compared.new.covariance / scale, atol=1e-4)
    assert compared.old.loglik == pytest.approx(compared.new.loglik)
    assert compared.distance < 1e-3
    assert abs(compared.gain) < 1e-3


def test_unlike_fits_are_refused(tmp_path, stored, old_table):
    speed = old_table.copy()
    speed["plx"].unit = speed["e_plx"].unit = "km / s"
    plain = store(tmp_path / "speed", speed)
    assert "unit mas there, km / s here" in refused(stored["old"], plain)
    turned = store(tmp_path / "turned", old_table, names=("pm", "plx"))
    assert "columns plx, pm there, pm, plx here" in refused(stored["old"], turned)
    with pytest.raises(ConfigError):
        compare_stored_joint(read_stored_joint(stored["old"]), read_stored_joint(turned))
    fit_record().write(tmp_path / "fit.json")
    assert "a fit to one column of values" in refused(tmp_path / "fit.json", stored["new"])
    assert "a fit to several columns jointly" in refused(stored["old"], tmp_path / "fit.json")


def test_rows_that_are_not_those_of_the_fit_are_refused(tmp_path, stored):
    lone = tmp_path / "lone"
    lone.mkdir()
    (lone / "fit.json").write_bytes((stored["old"] / "fit.json").read_bytes())
    with pytest.raises(CatalogError, match=r"members\.parquet"):
        read_stored_joint(lone)
    (lone / "members.parquet").write_bytes((stored["new"] / "members.parquet").read_bytes())
    assert "220 rows for a fit to 200" in refused(lone, stored["new"])


def test_another_structure_and_a_missing_unit_are_noted(tmp_path, stored, old_table):
    bare = old_table.copy()
    bare["pm"].unit = bare["e_pm"].unit = None
    other = read_stored_joint(store(tmp_path / "bare", bare, structure="diagonal"))
    notes = compare_stored_joint(read_stored_joint(stored["old"]), other).notes
    assert "no unit of pm" in notes[0]
    assert "full in the old fit, diagonal in the new one" in notes[1]


# ----- the stage


def compare(sides: list[list[Path]], folder: Path) -> dict[str, Path]:
    paths = {name: folder / name for name in ("components.csv", "summary.csv", "overlay.png", "overlay.svg")}
    compare_joint_fits(
        code_hash("joint_compare"),
        *([str(path) for path in side] for side in sides),
        str(paths["components.csv"]),
        str(paths["summary.csv"]),
        [str(paths["overlay.png"]), str(paths["overlay.svg"])],
    )
    return paths


def test_tables_and_figures_of_a_release(tmp_path, stored):
    sides = [[stored[name] / "fit.json"] for name in ("old", "new")]
    paths = compare(sides, tmp_path / "one")
    summary, components = tables.read_comparison(paths["summary.csv"])
    first = summary.iloc[0]
    assert first[["catalog", "old", "new", "column"]].tolist() == ["stars", "dr1", "dr2", "astrometry"]
    assert (first["verdict"], first["unit"]) == (UNCHANGED, "")
    assert first[["n_common", "n_added", "n_dropped", "n_revised"]].tolist() == [190, 30, 10, 3]
    assert first["evidence"] == f"p = {first['pvalue']:.2g}"
    assert components["parameter"].tolist() == PARAMETERS * 2
    assert components["unit"].tolist() == ["", "mas", "mas", "mas / yr", "mas / yr", ""] * 2
    old, new = (load_record(stored[name] / "fit.json").components for name in ("old", "new"))
    means = components[components["parameter"] == "mean_pm"]
    assert means["old"].tolist() == [component.means[1] for component in old]
    assert means["new_unc"].tolist() == [component.means_unc[1] for component in new]
    changes = read_changes([paths["summary.csv"]])
    assert {key: change["verdict"] for key, change in changes.items()} == {("stars", "dr2", "astrometry"): UNCHANGED}
    assert changes[("stars", "dr2", "astrometry")]["differences"]
    again = compare(sides, tmp_path / "two")
    for name, path in paths.items():
        assert path.read_bytes() == again[name].read_bytes(), name


def test_the_report_tells_joint_fits_from_columns(tmp_path, stored):
    pair = tmp_path / "dr1_to_dr2"
    compare([[stored[name] / "fit.json"] for name in ("old", "new")], pair / "joint")
    page = tmp_path / "report.html"
    given = [str(pair / "joint" / "summary.csv")]
    render_report(code_hash("report"), "mixpipe run", "{}", [], [], [], given, str(page))
    text = page.read_text(encoding="utf-8")
    assert "stars: dr1 → dr2, joint fits" in text
    assert "Ellipses of the components" in text


def test_joint_fits_that_cannot_be_compared_are_listed(tmp_path, stored):
    failed_record(column="other", release="dr2", kind="joint").write(tmp_path / "fit.json")
    sides = [
        [stored["old"] / "fit.json", stored["old"] / "fit.json"],
        [stored["new"] / "fit.json", tmp_path / "fit.json"],
    ]
    summary, _ = tables.read_comparison(compare(sides, tmp_path / "out")["summary.csv"])
    assert summary["verdict"].tolist() == [UNCHANGED, NOT_COMPARED]
    assert "no row of 10 can be used" in summary["note"][1]
    alone = compare([[side[1]] for side in sides], tmp_path / "alone")
    assert tables.read_comparison(alone["summary.csv"])[0]["verdict"].tolist() == [NOT_COMPARED]
    assert alone["overlay.png"].stat().st_size > 0


# ----- the command


def test_table_figure_and_folder(tmp_path, stored):
    picture, folder = tmp_path / "two.svg", tmp_path / "out"
    result = run(stored["old"], stored["new"], "--figure", picture, "--out", folder)
    assert result.exit_code == 0, result.output
    assert "stars / dr1 / astrometry → stars / dr2 / astrometry: unchanged" in result.stdout
    assert "190 in both, 30 added, 10 dropped" in result.stdout
    assert all(parameter in result.stdout for parameter in PARAMETERS)
    assert picture.read_text().startswith("<?xml")
    assert pd.read_csv(folder / "components.csv")["parameter"].tolist() == PARAMETERS * 2


def test_json_names_what_has_shifted(tmp_path, stored):
    moved = store(tmp_path / "moved", sample(220, 4, shift=0.6), release="dr2")
    result = run(stored["old"], moved, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    assert (document["verdict"], document["n_common"]) == (SHIFTED, 0)
    assert "mean_plx 1 (+" in document["shifted"]
    second = document["components"][1]
    assert (second["parameter"], second["finding"]) == ("mean_plx", "shifted")
    # Independent releases; uncertainties of 132 rows and 0.05 units.
    assert second["joint_unc"] == pytest.approx(math.hypot(second["old_unc"], second["new_unc"]), rel=1e-5)
