"""Comparisons from files to files: keys, units, what is refused, the tables, the figure and the command."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.assess.comparison.verdict import CONCLUSION_CHANGED, SHARPENED, SHIFTED, UNCHANGED
from mixpipe.assess.quality import Quality
from mixpipe.base.errors import CatalogError, ConfigError
from mixpipe.fitting.choose import choose_n_components
from mixpipe.model.cells import Cells
from mixpipe.model.constraints import FREE, Constraint
from mixpipe.model.mixture import Mixture
from mixpipe.pipeline.compare import compare_releases, compare_stored, draw_comparison, in_other_unit, read_stored
from mixpipe.report.figures.overlay import Panel, draw_overlay
from mixpipe.results import tables
from mixpipe.results.answer import read_changes
from mixpipe.results.provenance import code_hash
from mixpipe.results.record import load_record
from tests.campaign import campaign
from tests.records import ACCOUNT, FILE, around, density_record

TWO = Mixture([0.6, 0.4], [1.0, 4.0], [0.4, 0.6])


def store(
    folder: Path,
    x,
    err,
    labels=None,
    *,
    key: str | None = "name",
    unit: str | None = "Msun",
    transform: str = "none",
    place: tuple[str, str, str] = ("stars", "dr1", "mass"),
    sha256: str = "0",
) -> Path:
    """The files of a fit that a comparison reads."""
    folder.mkdir(parents=True)
    cells = Cells.from_rows(x, err)
    selection = choose_n_components(cells, max_components=3, n_threads=1)
    quality = Quality(**dict.fromkeys(Quality.__dataclass_fields__, math.nan))
    rest = around(
        **dict(zip(("catalog", "release", "column"), place, strict=True)),
        unit=unit,
        account=replace(ACCOUNT, files=(replace(FILE, sha256=sha256),)),
        plan={"key": key, "column": {"transform": transform}},
    )
    labels = np.arange(len(cells)) if labels is None else np.asarray(labels)
    tables.make_fit_record(selection, quality, **rest).write(folder / "fit.json")
    tables.write_members(folder / "members.parquet", selection.best.mixture, key or "row", [(labels, cells)])
    return folder


def sample(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    err = rng.uniform(0.1, 0.2, n)
    return TWO.sample(n, rng) + err * rng.standard_normal(n), err, [f"star {seed} {k}" for k in range(n)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> dict[str, Path]:
    """Two releases: 300 stars, of which 290 stay, 5 revised, and 20 new ones."""
    folder = tmp_path_factory.mktemp("fits")
    x, err, names = sample(300, 1)
    more = sample(20, 2)
    y = np.r_[x[10:], more[0]]
    y[:5] += [0.05, -0.05, 0.05, -0.05, 0.05]
    # In another order: rows are known by their names.
    order = np.random.default_rng(3).permutation(310)
    new = y[order], np.r_[err[10:], more[1]][order], np.array(names[10:] + more[2])[order]
    return {
        "old": store(folder / "old" / "mass", x, err, names),
        "new": store(folder / "new" / "mass", *new, place=("stars", "dr2", "mass")),
    }


def run(*args):
    return CliRunner().invoke(cli.main, ["compare", *map(str, args)], prog_name="mixpipe")


def refused(*args) -> str:
    result = run(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("mixpipe: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def edited(folder: Path, target: Path, **changes) -> Path:
    """A copy of a fit with other entries in fit.json."""
    shutil.copytree(folder, target)
    document = json.loads((target / "fit.json").read_text())
    (target / "fit.json").write_text(json.dumps({**document, **changes}))
    return target


# ----- rows


def test_rows_are_known_by_their_key(stored):
    old, new = (read_stored(stored[name]) for name in ("old", "new"))
    rows = compare_stored(old, new).rows
    assert (rows.n_old, rows.n_new, rows.n_common) == (300, 310, 290)
    assert (rows.n_added, rows.n_dropped, rows.n_revised) == (20, 10, 5)


def test_repeated_and_missing_keys(tmp_path):
    x, err, _ = sample(60, 4)
    names = [f"star {k}" for k in range(60)]
    first = names.copy()
    first[1] = first[0]
    first[5] = ""
    second = names.copy()
    second[7] = second[0]
    old = read_stored(store(tmp_path / "old", x, err, first))
    new = read_stored(store(tmp_path / "new", x, err, second))
    compared = compare_stored(old, new)
    # Of old: 0, 1 (again 0), 5 (no key); of new: 0, 7 (again 0). Common are both of 0, and all but 1, 5 and 7.
    assert compared.rows.n_common == 1 + 1 + 60 - 4
    assert "1 old rows have no key" in compared.notes
    assert "1 old rows repeat a key" in compared.notes
    assert "1 new rows repeat a key" in compared.notes


def test_numbers_and_text_are_the_same_key(tmp_path):
    x, err, _ = sample(60, 5)
    old = read_stored(store(tmp_path / "old", x, err, np.arange(60)))
    new = read_stored(store(tmp_path / "new", x, err, [f"{k} " for k in range(60)]))
    assert compare_stored(old, new).rows.n_common == 60


def test_row_numbers_are_a_key_within_the_same_file_only(tmp_path):
    x, err, _ = sample(60, 6)
    old = read_stored(store(tmp_path / "old", x, err, key=None))
    same = read_stored(store(tmp_path / "same", x[20:], err[20:], np.arange(20, 60), key=None))
    other = read_stored(store(tmp_path / "other", x, err, key=None, sha256="1"))
    assert compare_stored(old, same).rows.n_common == 40
    assert compare_stored(old, same).rows.n_revised == 0
    compared = compare_stored(old, other)
    assert math.isnan(compared.rows.n_common)
    assert "without a key" in compared.notes[0]


# ----- units


def test_units_are_converted(tmp_path):
    x, err, names = sample(200, 7)
    heavy = read_stored(store(tmp_path / "kg", x, err, names, unit="kg"))
    light = read_stored(store(tmp_path / "g", x * 1000.0, err * 1000.0, names, unit="g"))
    compared = compare_stored(heavy, light)
    assert compared.verdict == UNCHANGED
    # A fit ends within 1e-3 nats of its maximum, here some 1e-9: 1e-4 of an uncertainty.
    np.testing.assert_allclose(compared.old.mixture.means, compared.new.mixture.means, rtol=1e-5)
    np.testing.assert_allclose(compared.old.uncertainties.sigmas, compared.new.uncertainties.sigmas, rtol=1e-4)
    spread = np.sqrt(np.diag(compared.new.covariance))
    ours, theirs = (fit.covariance / np.outer(spread, spread) for fit in (compared.old, compared.new))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert compared.old.loglik == pytest.approx(compared.new.loglik)
    assert compared.rows.n_revised == 0
    assert compared.distance < 1e-4
    assert abs(compared.gain) < 1e-3


def test_constraints_are_kept_in_another_unit(tmp_path):
    x, err, names = sample(200, 7)
    stored = read_stored(store(tmp_path / "kg", x, err, names, unit="kg")).fitted
    rules = (Constraint(mean=2.0, sigma=0.5), FREE)[: stored.fit.n_components]
    mixture = replace(stored.fit.mixture, constraints=rules)
    given = replace(stored, fit=replace(stored.fit, mixture=mixture))
    (rule, *_) = in_other_unit(given, 1000.0, 1.0).fit.mixture.constraints
    assert (rule.mean, rule.sigma) == (2001.0, 500.0)


def test_units_of_logarithms_are_shifted(tmp_path):
    x, err, names = sample(200, 8)
    log = {"transform": "log10"}
    one = read_stored(store(tmp_path / "m", x, err, names, unit="log10(m)", **log))
    two = read_stored(store(tmp_path / "km", x - 3.0, err, names, unit="log10(km)", **log))
    compared = compare_stored(one, two)
    np.testing.assert_allclose(compared.old.mixture.means, compared.new.mixture.means, rtol=1e-6)
    np.testing.assert_array_equal(compared.old.mixture.sigmas, one.fitted.fit.mixture.sigmas)
    assert compared.rows.n_revised == 0


def test_units_that_do_not_convert_are_refused(tmp_path):
    x, err, names = sample(60, 9)
    mass = store(tmp_path / "mass", x, err, names)
    speed = store(tmp_path / "speed", x, err, names, unit="km/s")
    log = store(tmp_path / "log", x, err, names, unit="log10(Msun)", transform="log10")
    magnitude = store(tmp_path / "mag", x, err, names, unit="mag(AB)")
    nothing = store(tmp_path / "nothing", x, err, names, unit=None)
    for other in (speed, magnitude, log):
        with pytest.raises(ConfigError):
            compare_stored(read_stored(mass), read_stored(other))
    assert "unit" in refused(mass, speed)
    assert "transform none" in refused(mass, log)
    assert "has no unit" in compare_stored(read_stored(nothing), read_stored(mass)).notes[0]


def test_columns_of_other_names_need_units_that_say_they_are_alike(tmp_path):
    x, err, names = sample(60, 12)
    speed, metallicity = ("stars", "dr1", "pmra"), ("stars", "dr1", "metallicity")
    first = store(tmp_path / "a", x, err, names, unit="mas/yr", place=speed)
    for unit in (None, "dex"):
        second = store(tmp_path / f"b {unit}", x, err, names, unit=unit, place=metallicity)
        assert ("unit" in refused(first, second)) and ("expected" in refused(first, second))
        with pytest.raises(ConfigError):
            compare_stored(read_stored(first), read_stored(second))
    bare = [
        store(tmp_path / f"bare {place[2]}", x, err, names, unit=None, place=place) for place in (speed, metallicity)
    ]
    assert "column pmra there, metallicity here, not both with a unit" in refused(*bare)
    other = store(tmp_path / "c", x / 1000.0, err / 1000.0, names, unit="arcsec/yr", place=("stars", "dr1", "pmdec"))
    compared = compare_stored(read_stored(first), read_stored(other))
    assert (compared.verdict, compared.rows.n_revised) == (UNCHANGED, 0)


def test_other_families_are_refused(tmp_path, stored):
    components = json.loads((stored["old"] / "fit.json").read_text())["components"]
    other = edited(
        stored["old"], tmp_path / "laplace", components=[{**each, "family": "laplace"} for each in components]
    )
    assert "family laplace there, gaussian here" in refused(other, stored["new"])


def test_mixtures_that_have_nothing_in_common_are_doubted(tmp_path):
    x, err, names = sample(60, 13)
    near, far, away = (
        read_stored(store(tmp_path / f"{shift:g}", x + shift, err, names)) for shift in (0.0, 10.0, 40.0)
    )
    doubt = "are these the same quantity"
    # The width of all is some 1.6.
    assert not any(doubt in note for note in compare_stored(near, far).notes)
    assert any(doubt in note for note in compare_stored(near, away).notes)


# ----- what is no fit


def test_what_is_no_fit(tmp_path, stored):
    (tmp_path / "text.json").write_text("no JSON")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "other.json").write_text('{"components": []}')
    for name in ("text.json", "list.json", "other.json", "nothing.json", "."):
        assert "no fit" in refused(stored["old"], tmp_path / name)
    density_record().write(tmp_path / "densities.json")
    assert "tabulated densities" in refused(tmp_path / "densities.json", stored["new"])
    lone = edited(stored["old"], tmp_path / "lone")
    (lone / "members.parquet").unlink()
    assert "members.parquet" in refused(lone, stored["new"])
    (lone / "members.parquet").write_bytes(b"PAR1 but not quite")
    assert "members.parquet" in refused(lone, stored["new"])
    shutil.copy(stored["new"] / "members.parquet", lone)
    assert "310 rows for a fit to 300" in refused(lone, stored["new"])
    keyed = edited(stored["old"], tmp_path / "keyed", plan={"key": "id", "column": {"transform": "none"}})
    assert "no column 'id'" in refused(keyed, stored["new"])
    with pytest.raises(CatalogError):
        read_stored(tmp_path)


# ----- the stage


def write(stored, folder: Path) -> dict[str, Path]:
    paths = {name: folder / name for name in ("components.csv", "summary.csv", "overlay.png", "overlay.svg")}
    compare_releases(
        code_hash("compare"),
        [str(stored["old"] / "fit.json")],
        [str(stored["new"] / "fit.json")],
        str(paths["components.csv"]),
        str(paths["summary.csv"]),
        [str(paths["overlay.png"]), str(paths["overlay.svg"])],
    )
    return paths


def test_tables_and_figures_of_a_release(tmp_path, stored):
    paths = write(stored, tmp_path / "one")
    with paths["summary.csv"].open(newline="") as stream:
        (summary,) = csv.DictReader(stream)
    assert (summary["catalog"], summary["old"], summary["new"]) == ("stars", "dr1", "dr2")
    assert (summary["column"], summary["unit"], summary["verdict"]) == ("mass", "Msun", UNCHANGED)
    assert (summary["n_components_old"], summary["n_components_new"]) == ("2", "2")
    assert [summary[f"n_{name}"] for name in ("common", "added", "dropped", "revised")] == ["290", "20", "10", "5"]
    assert "5 of the common rows revised" in summary["note"]
    assert (summary["evidence"], summary["threshold"]) == (f"p = {float(summary['pvalue']):.2g}", "0.05")
    assert (summary["pvalue_release"], summary["n_columns"]) == (summary["pvalue"], "1")
    components = pd.read_csv(paths["components.csv"], keep_default_na=False)
    assert components["parameter"].tolist() == ["weight", "mean", "sigma"] * 2
    assert components["unit"].tolist() == ["", "Msun", "Msun"] * 2
    fits = [tables.read_fit(load_record(stored[name] / "fit.json")) for name in ("old", "new")]
    means = components[components["parameter"] == "mean"]
    # As the repr of a double: a round trip.
    for side, fit in zip(("old", "new"), fits, strict=True):
        assert means[side].astype(float).tolist() == fit.mixture.means.tolist()
    difference, joint = (means[name].astype(float) for name in ("difference", "joint_unc"))
    assert difference.tolist() == (fits[1].mixture.means - fits[0].mixture.means).tolist()
    np.testing.assert_allclose(means["significance"].astype(float), difference / joint)
    changes = read_changes([paths["summary.csv"]])
    assert {key: change["verdict"] for key, change in changes.items()} == {("stars", "dr2", "mass"): UNCHANGED}
    assert changes[("stars", "dr2", "mass")]["differences"]
    again = write(stored, tmp_path / "two")
    for name, path in paths.items():
        assert path.read_bytes() == again[name].read_bytes(), name


def test_the_columns_of_a_release_share_a_false_discovery_rate(tmp_path, stored):
    """A column that has changed by itself, beside many that have not: a hint; the figure says the same."""
    x, err, names = sample(300, 14)
    y, more, others = sample(300, 15)
    calm = [store(tmp_path / f"{side} calm", x, err, names, place=("stars", side, "calm")) for side in ("dr1", "dr2")]
    moved = [
        store(tmp_path / "dr1 moved", x, err, names, place=("stars", "dr1", "moved")),
        store(tmp_path / "dr2 moved", y + 0.1, more, others, place=("stars", "dr2", "moved")),
    ]
    alone = compare_stored(*map(read_stored, moved))
    assert 0.0025 < alone.pvalue <= 0.05 and alone.verdict == SHIFTED
    n_calm = math.ceil(0.05 / alone.pvalue)
    sides = [[str(pair[k] / "fit.json") for pair in (moved, *[calm] * n_calm)] for k in (0, 1)]
    paths = [tmp_path / name for name in ("components.csv", "summary.csv", "overlay.svg")]
    compare_releases(code_hash("compare"), *sides, str(paths[0]), str(paths[1]), [str(paths[2])])
    summary, components = tables.read_comparison(paths[1])
    first = summary.iloc[0]
    assert (first["verdict"], first["shifted"], first["n_columns"]) == (UNCHANGED, "", n_calm + 1)
    assert first["pvalue"] == alone.pvalue
    assert first["pvalue_release"] == pytest.approx(alone.pvalue * (n_calm + 1))
    assert first["evidence"] == f"p = {alone.pvalue:.2g} ({first['pvalue_release']:.2g} over {n_calm + 1} columns)"
    far = components[(components["column"] == "moved") & (components["significance"].abs() > 2.0)]
    assert set(far["finding"]) == {"hint"}
    assert first["hints"].count("σ") == len(far)
    # Letters of the figure are paths, with what they are in comments.
    drawn = paths[2].read_text()
    assert "moved: unchanged" in drawn and "threshold 0.05" in drawn and "hint: " in drawn


@pytest.mark.parametrize("n_columns, n_shown", [(1, 1), (3, 3), (6, 6), (8, 6)])
def test_panels_of_the_figure(stored, n_columns, n_shown):
    old, new = (read_stored(stored[name]) for name in ("old", "new"))
    figure = draw_comparison([(old, new, compare_stored(old, new))] * n_columns)
    # Densities, means, and differences over uncertainties in each panel, which do not overlap.
    assert len(figure.axes) == 3 * n_shown
    boxes = [axes.get_position() for axes in figure.axes]
    for index, box in enumerate(boxes):
        assert 0.0 <= box.x0 < box.x1 <= 1.0
        for other in boxes[:index]:
            assert min(box.x1, other.x1) <= max(box.x0, other.x0) or min(box.y1, other.y1) <= max(box.y0, other.y0)
    notes = " ".join(text.get_text() for text in figure.texts)
    assert (f"6 of {n_columns} columns" in notes) == (n_columns > 6)


def test_the_columns_that_changed_most_are_drawn(tmp_path, stored):
    x, err, names = sample(150, 10)
    old, new = read_stored(stored["old"]), read_stored(store(tmp_path / "away", x + 30.0, err, names))
    changed = compare_stored(old, new)
    assert changed.verdict == CONCLUSION_CHANGED
    calm = compare_stored(old, old)
    panels = [Panel(f"calm {k}", None, ("a", "b"), calm, old.fitted.cells, old.fitted.cells) for k in range(7)]
    panels.append(Panel("away", None, ("a", "b"), changed, old.fitted.cells, new.fitted.cells))
    figure = draw_overlay(panels, label="stars")
    headings = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert len(headings) == 6
    assert headings[-1].startswith("away: conclusion changed")


# ----- the command


def test_json_is_one_strict_object(stored):
    result = run(stored["old"], stored["new"] / "fit.json", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    assert document["verdict"] == UNCHANGED
    assert (document["n_common"], document["n_added"]) == (290, 20)
    first = document["components"][0]
    assert (first["status"], first["component_old"], first["parameter"]) == ("matched", 1, "weight")
    assert first["difference"] == first["new"] - first["old"]
    assert first["old_upper"] is None
    assert document["notes"]


def test_table_figure_and_folder(tmp_path, stored):
    picture, folder = tmp_path / "two.svg", tmp_path / "out"
    result = run(stored["old"], stored["new"], "--figure", picture, "--out", folder)
    assert result.exit_code == 0, result.output
    assert "stars / dr1 / mass → stars / dr2 / mass [Msun]: unchanged" in result.stdout
    assert "290 in both, 20 added, 10 dropped" in result.stdout
    assert picture.read_text().startswith("<?xml")
    assert {path.name for path in folder.iterdir()} == {
        "components.csv",
        "summary.csv",
        "overlay.png",
        "overlay.svg",
        "overlay.pdf",
    }
    assert ".png, .svg or .pdf" in refused(stored["old"], stored["new"], "--figure", tmp_path / "two.doc")
    (tmp_path / "file").write_text("")
    assert "--out" in refused(stored["old"], stored["new"], "--out", tmp_path / "file")


@campaign
def test_two_columns_of_one_file(tmp_path):
    """Fits as `mixpipe fit --out` writes them; the rows are those of one file."""
    x, err, _ = sample(120, 11)
    catalog = tmp_path / "stars.csv"
    pd.DataFrame({"a": x, "b": x + 0.01, "e": err}).to_csv(catalog, index=False)
    for column in "ab":
        options = ["--value", column, "--error", "e", "--unit", "m", "--max-components", "2"]
        options += ["--out", str(tmp_path / column)]
        result = CliRunner().invoke(cli.main, ["fit", str(catalog), *options], prog_name="mixpipe")
        assert result.exit_code == 0, result.output
    result = run(tmp_path / "a", tmp_path / "b", "--json")
    document = json.loads(result.stdout)
    assert (document["n_common"], document["n_revised"], document["n_moved"]) == (120, 120, 0)
    # Every row is shifted by the same: there is no scatter, and means differ by far more than rounding.
    assert document["components"][1]["difference"] == pytest.approx(0.01, abs=1e-4)
    assert document["components"][1]["significance"] > 10.0
    assert (document["verdict"], document["components"][1]["finding"]) == (SHIFTED, "shifted")


# ----- real releases


def real(folder: Path, path: Path, columns: tuple[str, str, str], key: str, place, unit=None) -> Path:
    table = pd.read_csv(path)
    value, upper, lower = columns
    table = table[[key, *columns]].dropna()
    err = 0.5 * (table[upper] + table[lower])
    return store(folder, table[value].to_numpy(), err.to_numpy(), table[key].tolist(), unit=unit, place=place)


def test_neutron_stars_2018_and_2024(tmp_path, root):
    """44 masses more, 18 of the others measured again: the same two populations."""
    folders = [
        real(
            tmp_path / release,
            root / "config" / "demo" / f"neutron_stars_{release}.csv",
            ("mass", "mass_err_up", "mass_err_lo"),
            "name",
            ("neutron_stars", release, "mass"),
            "Msun",
        )
        for release in ("2018", "2024")
    ]
    compared = compare_stored(*map(read_stored, folders))
    names = [set(pd.read_csv(root / "config" / "demo" / f"neutron_stars_{year}.csv")["name"]) for year in (2018, 2024)]
    rows = compared.rows
    assert rows.n_common == len(names[0] & names[1])
    assert rows.n_added == len(names[1] - names[0])
    assert rows.n_dropped == len(names[0] - names[1])
    assert compared.verdict == UNCHANGED
    assert compared.pairs == ((0, 0), (1, 1))
    # The largest difference: the heavy population is wider than it was in 2018.
    assert (compared.largest.parameter, compared.largest.component_new) == ("sigma", 2)
    assert 1.5 < compared.largest.significance < 2.5
    # Rows in common make the difference of the means better known than two independent samples would.
    mean = next(each for each in compared.differences if each.parameter == "mean")
    assert mean.joint_unc < 0.7 * math.hypot(mean.old_unc, mean.new_unc)


def test_metallicities_of_globular_clusters(tmp_path, catalogs):
    """19 spectroscopic metallicities, then 48: one population, better known."""
    folders = [
        real(
            tmp_path / release,
            catalogs / "local_volume" / f"gc_harris_{release}.csv",
            tuple(f"metallicity_spectroscopic{end}" for end in ("", "_ep", "_em")),
            "key",
            ("globular_clusters", release, "metallicity"),
        )
        for release in ("v1.0.0", "v1.0.5")
    ]
    compared = compare_stored(*map(read_stored, folders))
    assert (compared.old.n_components, compared.new.n_components) == (1, 1)
    assert (compared.rows.n_old, compared.rows.n_new, compared.rows.n_added) == (19, 48, 29)
    assert compared.verdict == SHARPENED
    assert abs(compared.largest.significance) < 2.0
