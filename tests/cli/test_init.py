"""`mixpipe init`: what it finds in real catalogs, how it groups files, and that its configuration is one that runs."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from mixpipe import cli
from mixpipe.cli.init.grouping import group_files
from mixpipe.cli.init.yaml_text import one_line, remark
from mixpipe.config.settings import parse_config
from tests.campaign import campaign, study

RNG = np.random.default_rng(3)
X = RNG.normal(50.0, 10.0, 60).round(3)
ERR = RNG.uniform(0.5, 2.0, 60).round(3)

# Read from the headers and descriptions of the catalogs by eye: value, upper and lower error without their endings.
LOCAL_VOLUME = [
    "rhalf",
    "position_angle",
    "ellipticity",
    "distance_modulus",
    "apparent_magnitude_v",
    "vlos_systemic",
    "vlos_sigma",
    "pmra",
    "pmdec",
    "metallicity_spectroscopic",
    "metallicity_spectroscopic_sigma",
    "rcore",
    "rking",
    "rad_sersic",
    "n_sersic",
    "age",
    "metallicity_isochrone",
    "flux_HI",
    "metallicity_photometric",
    "metallicity_photometric_sigma",
    "M_V",
    "distance",
    "metallicity",
    "mass_dynamical_wolf",
    "rhalf_physical",
    "rhalf_sph_physical",
]
# Of these the globular clusters have fewer than five values in one of the releases.
NO_CLUSTERS = [
    "metallicity_spectroscopic_sigma",
    "rcore",
    "rking",
    "flux_HI",
    "metallicity_photometric",
    "metallicity_photometric_sigma",
]
SIDES = {name: [f"{name}_ep", f"{name}_em"] for name in LOCAL_VOLUME}
LIMITS = {"ellipticity", "vlos_sigma", "metallicity_spectroscopic_sigma", "flux_HI", "mass_dynamical_wolf"}
PAIRS = {
    "neutron_stars/*.csv": {"neutron_stars": {"mass": ["mass_err_up", "mass_err_lo"]}},
    "open_clusters/*.fits": {
        "gaia_members": {
            "Plx": "e_Plx", "pmRA": "e_pmRA", "pmDE": "e_pmDE", "Gmag": "e_Gmag", "BPmag": "e_BPmag",
            "RVDR2": "e_RVDR2", "mass": "er_mass",
        }
    },
    "local_volume/*.csv": {
        "dwarf_all": SIDES,
        "gc_harris": {name: pair for name, pair in SIDES.items() if name not in NO_CLUSTERS},
    },
    "photoz/*.fits": {"cfhtlens_pdfs": {}},
    "reference/overlap*.csv": {"overlap_1e4": {"x": "e"}},
}  # fmt: skip


def run(*args):
    result = CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="mixpipe")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def init(*args) -> dict:
    """The configuration, which passes `mixpipe check`, entries that were left out taken in, too."""
    result = run("init", *args)
    assert result.exit_code == 0, result.output
    everything = result.stdout.replace("      # -- ", "      ## ").replace("      # ", "      ")
    everything = everything.replace("      Left out.", "      # Left out.")
    parse_config(yaml.safe_load(everything))
    parse_config(yaml.safe_load(result.stdout))
    return yaml.safe_load(result.stdout)


def refused(*args) -> str:
    result = run("init", *args)
    assert result.exit_code == 2, result.output
    return result.stderr


def write(path, **columns):
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def only(config: dict) -> dict:
    (catalog,) = config["catalogs"].values()
    return catalog


def errors(catalog: dict) -> dict:
    return {entry.get("value", name): entry["error"] for name, entry in catalog["columns"].items() if "error" in entry}


# -- real catalogs --


@pytest.mark.parametrize("pattern", PAIRS)
@campaign
def test_every_pair_of_a_catalog_is_found_and_no_other(catalogs, tmp_path, pattern):
    files = sorted(catalogs.glob(pattern))
    config = init(*files)
    assert {name: errors(catalog) for name, catalog in config["catalogs"].items()} == PAIRS[pattern]
    path = tmp_path / "config.yaml"
    assert run("init", *files, "--out", path).exit_code == 0
    checked = run("check", path)
    assert checked.exit_code == 0, checked.stderr


def test_limits_units_and_keys_of_real_catalogs(catalogs):
    found = init(*sorted((catalogs / "local_volume").iterdir()))["catalogs"]
    assert list(found["dwarf_all"]["releases"]) == ["v1.0.0", "v1.0.5"]
    limits = {name for name, entry in found["dwarf_all"]["columns"].items() if "upper_limit" in entry}
    assert limits == LIMITS
    assert found["gc_harris"]["key"] == "key"
    # One key occurs twice in v1.0.5.
    assert found["dwarf_all"].get("key") != "key"
    clusters = only(init(*(catalogs / "open_clusters").iterdir()))
    assert {name: entry["unit"] for name, entry in clusters["columns"].items()} == {
        "Plx": "mas", "pmRA": "mas / yr", "pmDE": "mas / yr", "Gmag": "mag", "BPmag": "mag", "RVDR2": "km / s",
        "mass": "solMass",
    }  # fmt: skip
    assert "key" not in clusters  # 1429 sources are members of two clusters
    stars = only(init(*(catalogs / "neutron_stars").iterdir()))
    assert (stars["key"], list(stars["releases"])) == ("name", ["2018", "2024"])


def test_tabulated_densities_get_their_grid(catalogs):
    catalog = only(init(*(catalogs / "photoz").iterdir()))
    assert catalog["columns"] == {"PDF": {"kind": "densities", "grid": "GRID:Z"}}
    assert (catalog["hdu"], catalog["key"]) == ("PDF", "ID")


@study
def test_configurations_of_real_catalogs_run_to_their_end(catalogs, tmp_path):
    patterns = ("neutron_stars/*.csv", "photoz/*.fits")
    small = [str(file) for pattern in patterns for file in sorted(catalogs.glob(pattern))]
    for command in (["init", *small, "--out", "mine.yaml"], ["run", "--config", "mine.yaml", "--cores", "1"]):
        words = [sys.executable, "-c", "from mixpipe.cli import main; main()", *command]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    with (tmp_path / "results/summary.csv").open(encoding="utf-8") as stream:
        found = {(row["catalog"], row["release"]): row["n_components"] for row in csv.DictReader(stream)}
    assert found.pop(("cfhtlens_pdfs", "1"))
    # As published.
    assert found == {("neutron_stars", "2018"): "2", ("neutron_stars", "2024"): "2"}
    assert (tmp_path / "results/report.html").is_file()


# -- one file --


def test_the_configuration_runs(tmp_path, monkeypatch):
    from mixpipe.pipeline.plan.run import Run, find_problems

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "stars.csv", name=[f"s{i}" for i in range(60)], mass=X, mass_err=ERR)
    assert run("init", "stars.csv", "--out", "mine.yaml", "--results", "out").stdout == "written: mine.yaml\n"
    config = parse_config(yaml.safe_load((tmp_path / "mine.yaml").read_text()))
    assert find_problems(config) == []
    assert str(config.results) == "out"
    assert Run(config).releases() == [("stars", "1")]
    assert config.catalog("stars").key == "name"


def test_kinds_of_errors_and_units(tmp_path):
    table = Table({"flux": X, "ivar_flux": 1.0 / ERR**2, "mag": X[::-1], "var_mag": ERR**2})
    table["flux"].unit, table["ivar_flux"].unit, table["mag"].unit = "mJy", "mJy-2", "mag"
    table.write(tmp_path / "sky.fits")
    assert only(init(tmp_path / "sky.fits"))["columns"] == {
        "flux": {"error": "ivar_flux", "error_kind": "ivar", "unit": "mJy"},
        "mag": {"error": "var_mag", "error_kind": "variance", "unit": "mag"},
    }
    named = write(tmp_path / "named.csv", **{"mass [Msun]": X, "mass_err [Msun]": ERR})
    assert only(init(named))["columns"] == {
        "mass_Msun": {"value": "mass [Msun]", "error": "mass_err [Msun]", "unit": "solMass"}
    }


def test_the_unit_of_errors_tells_their_kind(tmp_path):
    Table({"v": X, "v_err": ERR**2}, units={"v": "Jy", "v_err": "Jy2"}).write(tmp_path / "sky.fits")
    assert only(init(tmp_path / "sky.fits"))["columns"] == {
        "v": {"error": "v_err", "error_kind": "variance", "unit": "Jy"}
    }


def test_an_error_in_another_unit_is_no_error_of_it(tmp_path):
    table = Table({"flux": X, "flux_err": ERR, "mag": X, "mag_err": ERR})
    table["flux"].unit, table["flux_err"].unit = "mJy", "s"
    table.write(tmp_path / "sky.fits")
    result = run("init", tmp_path / "sky.fits")
    assert errors(only(yaml.safe_load(result.stdout))) == {"mag": "mag_err"}
    assert "# flux: {error: flux_err, unit: mJy} # column 'flux_err' has the unit s" in result.stdout


def test_flags_mark_limits_where_there_are_some(tmp_path):
    flag, none = [1] * 5 + [-1] * 5 + [0] * 50, [0] * 60
    m = {"m": X, "merr1": ERR, "merr2": -ERR, "mlim": flag}
    file = write(tmp_path / "planets.csv", **m, r=X[::-1], rerr1=ERR, rerr2=-ERR, rlim=none)
    assert only(init(file))["columns"] == {
        "m": {"error": ["merr1", "merr2"], "limit_flag": "mlim"},
        "r": {"error": ["rerr1", "rerr2"]},
    }
    assert "60 rows, 10 of them limits" in run("init", file).stdout


def test_sentinels_are_missing_values(tmp_path):
    x, err = X.copy(), ERR.copy()
    x[:3] = err[:3] = -999.0
    file = write(tmp_path / "holes.csv", x=x, e_x=err)
    assert only(init(file))["missing"] == [-999]
    assert "40 to" not in run("init", file).stdout
    assert "in 57 rows" in run("init", file).stdout
    y = 30.0 * (X - 50.0)
    y[5] = -999.0
    y[6] = -1200.0
    assert "missing" not in only(init(write(tmp_path / "more.csv", x=x, e_x=err, y=y, e_y=ERR)))


def test_what_is_left_out_and_why(tmp_path):
    file = write(
        tmp_path / "all.csv",
        source_id=range(60), ra=X, dec=X, x=X, x_err=ERR, y=X, x_min=X - 1, x_max=X + 1, same=[4] * 60, kind=["a"] * 60,
    )  # fmt: skip
    config, text = only(init(file)), run("init", file).stdout
    assert list(config["columns"]) == ["x"]
    assert config["key"] == "source_id"
    lines = [line.strip() for line in text.splitlines()]
    order = [
        lines.index(line)
        for line in (
            "# -- no errors were found for these: their sigmas will have the errors in them",
            "# -- coordinates",
            "# -- names and numbers of objects",
            "# -- cannot be fitted as they are",
        )
    ]
    assert order == sorted(order)
    assert "# same: {} # all values are 4" in lines
    assert "# -- about other columns: x_min (lower bound of x), x_max (upper bound of x)" in lines
    assert "# -- text, or more than one number a row: kind" in lines


def test_text_among_numbers_is_named_and_its_partner_not_fitted_alone(tmp_path):
    mass = [5.5, 6.5, 4.5, 7.5, 5.0, 6.0]
    error = [0.1, 0.2, "fixed", 0.1, 0.2, 0.1]
    period = {"P": [1.5, 2.5, 1.7, 2.2, 1.9, 2.1], "e_P": [0.1] * 5 + [0.2], "note": list("abcdef")}
    path = write(tmp_path / "a.csv", mass=mass, e_mass=error, age=["1.5 Gyr"] * 6, **period)
    assert list(only(init(path))["columns"]) == ["P"]
    text = run("init", path).stdout
    assert "# mass: {error: e_mass} # column 'e_mass' has text in 1 of 6 rows, the first is 'fixed' in row 3" in text
    assert "# -- text among numbers: age ('1.5 Gyr' in row 1, text in 6 of 6 rows)" in text
    assert "# -- text, or more than one number a row: note" in text


def test_columns_without_errors_are_fitted_if_there_are_no_others(tmp_path):
    config = only(init(write(tmp_path / "plain.csv", ra=X, x=X, y=X)))
    assert config["columns"] == {"x": {}, "y": {}}


def test_whole_numbers_without_errors_are_left_out_beside_others(tmp_path):
    whole = RNG.integers(0, 90, 60)
    file = write(tmp_path / "plain.csv", flag=whole % 2, n_obs=whole, run=whole * 1.0, mag=X)
    assert only(init(file))["columns"] == {"mag": {}}
    lines = [line.strip() for line in run("init", file).stdout.splitlines()]
    first = lines.index("# -- whole numbers without errors: flags, classes, counts")
    assert [line.split(":")[0] for line in lines[first + 1 : first + 4]] == ["# flag", "# n_obs", "# run"]
    # There may be nothing else.
    assert only(init(write(tmp_path / "minutes.csv", waiting=whole)))["columns"] == {"waiting": {}}


def test_long_lists_of_names_are_cut_short(tmp_path):
    file = write(tmp_path / "wide.csv", x=X, **{f"text_{i}": ["a"] * 60 for i in range(20)})
    (line,) = (line for line in run("init", file).stdout.splitlines() if "text_0" in line)
    assert line.endswith("text_11 and 8 more")


def test_a_key_with_few_repeated_names_is_told(tmp_path):
    names = [f"s{i}" for i in range(60)]
    one = write(tmp_path / "a.csv", name=[*names[:59], "s0"], x=X)
    assert "# key: name # missing or repeated in 1 row\n" in run("init", one).stdout
    two = write(tmp_path / "b.csv", name=[*names[:58], "s0", "s0"], x=X)
    assert "# key: name # missing or repeated in 2 rows\n" in run("init", two).stdout
    survey = write(tmp_path / "c.csv", source_id=[7] * 60, x=X)
    assert "key:" not in run("init", survey).stdout


def test_columns_that_are_asked_for(tmp_path):
    file = write(tmp_path / "a.csv", ra=X, x=X, e_x=ERR, y=X, kind=["a"] * 60)
    assert only(init(file, "--column", "x"))["columns"] == {"x": {"error": "e_x"}}
    assert only(init(file, "--column", "ra", "--column", "e_x"))["columns"] == {"ra": {}, "e_x": {}}
    assert "no column 'X'" in refused(file, "--column", "X")
    assert "column 'kind' cannot be fitted" in refused(file, "--column", "kind")


def test_a_file_is_not_written_over(tmp_path):
    file, out = write(tmp_path / "a.csv", x=X), tmp_path / "config.yaml"
    out.write_text("mine")
    assert "exists, in option --out, expected a new name, or --force" in refused(file, "--out", out)
    assert out.read_text() == "mine"
    assert run("init", file, "--out", out, "--force").exit_code == 0
    assert only(yaml.safe_load(out.read_text()))["columns"] == {"x": {}}


def test_letters_that_may_be_galactic_coordinates_are_so_in_pairs(tmp_path):
    bands = write(tmp_path / "bands.csv", B=X, e_B=ERR, V=X[::-1], e_V=ERR)
    assert errors(only(init(bands))) == {"B": "e_B", "V": "e_V"}
    sky = write(tmp_path / "sky.csv", l=X, b=X[::-1], plx=X, e_plx=ERR)
    assert errors(only(init(sky))) == {"plx": "e_plx"}


def test_numbers_of_rows_are_told_as_weights(tmp_path):
    counts, said = (
        [3, 5, 2, 0, 7, 1, 4],
        "# count may be the number of times that each size occurs: then it is its `weight`",
    )
    file = write(tmp_path / "a.csv", size=[1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5], count=counts)
    assert said in run("init", file).stdout
    unordered = write(tmp_path / "b.csv", size=[2.5, 2.0, 1.5, 3.0, 3.5, 4.0, 4.5], count=counts)
    assert "`weight`" not in run("init", unordered).stdout
    fractions = write(tmp_path / "c.csv", size=range(7), count=[0.5 + count for count in counts])
    assert "`weight`" not in run("init", fractions).stdout


def test_what_cannot_be_used(tmp_path):
    text = refused(write(tmp_path / "sky.csv", ra=X, dec=X[::-1], source_id=range(60)))
    assert "no column that can be fitted: ra: coordinates, dec: coordinates, source_id: names and numbers of" in text
    assert "no such file" in refused(tmp_path / "none.csv")
    assert "no column that can be fitted" in refused(write(tmp_path / "a.csv", name=["a", "b"]))
    assert "no column that can be fitted" in refused(write(tmp_path / "b.csv", x=[1, 2, 3, 4]))
    text = refused(write(tmp_path / "c.csv", name=["a"] * 6, x=[1.5, 2.5, "see note", 3.5, 4.5, 5.5]))
    assert "no column that can be fitted: x has 'see note' in row 3, text in 1 of 6 rows" in text
    assert text.endswith("; numbers; `missing` lists texts that stand for no value\n")
    text = refused(write(tmp_path / "e.csv", x=[f"{x} +/- 0.4" for x in X]))
    assert text.endswith("; numbers; this looks like a value with its error, which belong into two columns\n")
    (tmp_path / "d.csv").write_text("name;x\n" + "".join(f"a{k};{k},5\n" for k in range(6)))
    text = refused(tmp_path / "d.csv")
    assert "x has '0,5' in row 1, text in 6 of 6 rows" in text
    assert text.endswith("; numbers; `decimal` for a comma\n")
    file = write(tmp_path / "c.csv", x=X)
    assert "is given twice" in refused(file, file)
    assert "missing argument" in refused()


# -- several files --


def names(*paths, columns=lambda path: ("x",)):
    from pathlib import Path

    return {
        group.name: {release: [path.as_posix() for path in files] for release, files in group.releases.items()}
        for group in group_files([Path(path) for path in paths], columns)
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["gaia_dr3.fits", "gaia_edr3.fits", "gaia_dr2.fits"], ("gaia", ["dr2", "edr3", "dr3"])),
        (["lvdb_v1.0.10.csv", "lvdb_v1.0.5.csv", "lvdb_v1.0.9.csv"], ("lvdb", ["v1.0.5", "v1.0.9", "v1.0.10"])),
        (["psr/2024.csv.gz", "psr/2018.csv.gz"], ("psr", ["2018", "2024"])),
        (["DR10/objects.fits", "DR9/objects.fits"], ("objects", ["DR9", "DR10"])),
        (["snap-2021-05-01.csv", "snap-2020-11-30.csv"], ("snap", ["2020-11-30", "2021-05-01"])),
    ],
)
def test_releases_are_found_by_name_and_ordered(files, expected):
    ((name, releases),) = names(*files).items()
    assert (name, list(releases)) == expected


def test_parts_of_a_release():
    assert names("a/part_1.fits", "a/part_2.fits") == {"part": {"1": ["a/part_1.fits", "a/part_2.fits"]}}
    halves = names("sky/north.fits", "sky/south.fits", columns=lambda path: ("x", "y"))
    assert halves == {"sky": {"1": ["sky/north.fits", "sky/south.fits"]}}
    # One column of the same name is no reason to mix two files.
    assert names("sky/north.fits", "sky/south.fits").keys() == {"north", "south"}
    assert names("gaia_dr2_1.fits", "gaia_dr2_2.fits", "gaia_dr3_1.fits") == {
        "gaia": {"dr2": ["gaia_dr2_1.fits", "gaia_dr2_2.fits"], "dr3": ["gaia_dr3_1.fits"]}
    }
    # A number that is a year by chance.
    assert names("tile_2001.fits", "tile_3001.fits") == {"tile": {"1": ["tile_2001.fits", "tile_3001.fits"]}}
    assert names("RA_J2000.csv") == {"RA_J2000": {"1": ["RA_J2000.csv"]}}


def test_files_of_different_columns_are_catalogs_of_their_own():
    assert names("stars.csv", "planets.csv", "logs.csv", columns=lambda path: (path.stem,)).keys() == {
        "stars",
        "planets",
        "logs_2",
    }


def test_releases_with_different_columns(tmp_path):
    files = [
        write(tmp_path / "s_2018.csv", x=X, x_err=ERR, old=X),
        write(tmp_path / "s_2024.csv", x=X, x_err=ERR, new=X, new_err=ERR),
    ]
    assert only(init(*files))["columns"] == {"x": {"error": "x_err"}}
    assert "# -- not in each of the files: old, new, new_err" in run("init", *files).stdout


# -- names that are made to break things --


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_any_text_stays_what_it_is_on_one_line(text):
    line = f"{one_line({text: [text, text]})}{remark(text)}"
    assert len(line.splitlines()) == 1
    assert yaml.safe_load(line) == {text: [text, text]}


@pytest.mark.parametrize(
    "name",
    [
        "x: {a}", "x # y", "x, y", "[x]", "{x}", "'x'", '"x"', "x\ny: 1", "x\r\n# z", "no", "null", "12", "1e5", "- x",
        "? x", "&x", "*x", "!!python/object/apply:os.system [ls]", "%x", "@x", "`x`", "x\u2028y", "x\x1b[31m", "σ_v",
        "x" * 200,
    ],
)  # fmt: skip
def test_no_column_name_gets_into_the_yaml(tmp_path, name):
    path = tmp_path / "evil.parquet"
    Table({name: X, f"e_{name}": ERR, "Other": X, f"{name}_kind": ["t"] * 60}).write(path)
    columns = only(init(path))["columns"]
    ((entry, keys),) = columns.items()
    assert (keys.get("value", entry), keys["error"]) == (name, f"e_{name}")
    result = run("init", path, "--out", tmp_path / "c.yaml")
    checked = run("check", tmp_path / "c.yaml")
    assert (result.exit_code, checked.exit_code) == (0, 0), checked.stderr


def test_names_that_become_the_same(tmp_path):
    path = tmp_path / "same.parquet"
    Table({"Mass": X, "mass": X, "ma ss": X, "ma_ss": X}).write(path)
    columns = only(init(path))["columns"]
    assert [entry.get("value", name) for name, entry in columns.items()] == ["Mass", "mass", "ma ss", "ma_ss"]
    assert len({name.casefold() for name in columns}) == 4


def test_names_that_the_results_have_for_something_else(tmp_path):
    file = write(tmp_path / "logs.csv", starts=X, ingest=X, starts_error=ERR, Starts=X, Starts_error=ERR)
    ((catalog, found),) = init(file)["catalogs"].items()
    assert catalog == "logs_2"
    assert {entry["value"] for entry in found["columns"].values()} == {"starts", "Starts"}


def test_files_with_names_that_a_run_cannot_have(tmp_path):
    file = write(tmp_path / "a{b}.csv", x=X)
    assert refused(file) == (
        f"mixpipe: error: {{ }} or < > in the name of a file, in {file}, expected a file or a link of another name\n"
    )


def test_a_name_of_several_columns_is_told_to_who_asks_for_it(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,x\n" + "".join(f"{k},{k / 7:.3f},{k}\n" for k in range(30)))
    assert "the header names column 'x' twice" in refused(tmp_path / "a.csv", "--column", "x")
    assert list(only(init(tmp_path / "a.csv"))["columns"]) == ["y"]


def test_options_of_reading_are_used_and_written_down(tmp_path):
    lines = [f"S{i};{1.5 + 0.37 * i:.2f};0,1".replace(".", ",") for i in range(20)]
    file = tmp_path / "stars.csv"
    file.write_text("name;mass;e_mass\n" + "\n".join(lines) + "\nS20;-99;0,1\n", encoding="utf-8")
    options = ("--decimal", ",", "--delimiter", ";", "--missing", "-99", "--where", "mass < 5")
    found = init(file, *options)["catalogs"]["stars"]
    assert {name: found[name] for name in ("decimal", "delimiter", "missing", "where")} == {
        "decimal": ",",
        "delimiter": ";",
        "missing": [-99],
        "where": "mass < 5",
    }
    assert found["columns"] == {"mass": {"error": "e_mass"}}
    config = tmp_path / "c.yaml"
    run("init", file, *options, "--out", config)
    # A row without a value does not pass the cut.
    assert "10 rows used, dropped: 11 cut" in run("check", config).stdout


def test_hdu_and_path_are_taken_as_given(tmp_path):
    rng = np.random.default_rng(1)
    wide = Table({f"k{i}": rng.normal(size=30) for i in range(5)})
    narrow = Table({"rv": rng.normal(size=30), "e_rv": np.full(30, 0.1)})
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(wide, name="WIDE"), fits.BinTableHDU(narrow, name="NARROW")]
    fits.HDUList(hdus).writeto(tmp_path / "t.fits")
    assert init(tmp_path / "t.fits")["catalogs"]["t"]["columns"].keys() >= {"k0"}
    found = init(tmp_path / "t.fits", "--hdu", "NARROW")["catalogs"]["t"]
    assert found["hdu"] == "NARROW"
    assert found["columns"] == {"rv": {"error": "e_rv"}}
    for name, table in (("one", wide), ("two", narrow)):
        table.write(tmp_path / "t.h5", path=name, append=True, serialize_meta=False)
    found = init(tmp_path / "t.h5", "--path", "two")["catalogs"]["t"]
    assert (found["path"], found["columns"]) == ("two", {"rv": {"error": "e_rv"}})


def test_a_single_row_of_many_columns_is_no_catalog(tmp_path):
    meta = Table({f"k{i}": [1.0] for i in range(9)})
    catalog = Table({"rv": np.linspace(0.0, 1.0, 30) ** 2, "e_rv": np.full(30, 0.1)})
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(meta, name="META"), fits.BinTableHDU(catalog, name="CAT")]
    fits.HDUList(hdus).writeto(tmp_path / "t.fits")
    found = init(tmp_path / "t.fits")["catalogs"]["t"]
    assert (found["hdu"], found["columns"]) == ("CAT", {"rv": {"error": "e_rv"}})


def test_decades_and_doubts_are_told(tmp_path):
    rng = np.random.default_rng(2)
    x = 10.0 ** rng.normal(1.0, 0.6, 200)
    Table({"x": x, "e_x": 0.1 * x}).write(tmp_path / "x.csv")
    text = (tmp_path / "x.csv").read_text().splitlines()
    text[5] = "#" + text[5]
    (tmp_path / "x.csv").write_text("\n".join(text))
    words = run("init", tmp_path / "x.csv").stdout
    assert "consider transform: log10" in words
    assert "1 row left out as commented out with #, the first in line 6" in words


@pytest.mark.parametrize("names", [("Z_LOW", "Z_MID", "Z_HIGH"), ("zlow", "zmid", "zhigh")])
def test_tables_of_redshift_distributions_are_densities(tmp_path, names):
    z = 0.05 * np.arange(40)
    table = Table(dict(zip(names, (z, z + 0.025, z + 0.05), strict=True)))
    for k in (1, 2):
        table[f"BIN{k}"] = np.exp(-0.5 * ((z + 0.025 - 0.3 * k) / 0.15) ** 2)
    table["N"] = np.arange(40)
    table.write(tmp_path / "nz.fits")
    found = init(tmp_path / "nz.fits")["catalogs"]["nz"]["columns"]
    assert found == {f"BIN{k}": {"kind": "densities", "grid": names[1]} for k in (1, 2)}
    # Without edges the columns are measurements.
    table.remove_column(names[0])
    table.write(tmp_path / "other.fits")
    assert "BIN1" in init(tmp_path / "other.fits")["catalogs"]["other"]["columns"]


@pytest.mark.parametrize(
    ("files", "releases"),
    [
        (["cat_release_1.csv", "cat_release_10.csv"], ["release_1", "release_10"]),
        (["x_v2a.csv", "x_v2b.csv"], ["v2a", "v2b"]),
        (["des_y1.csv", "des_y3.csv"], ["y1", "y3"]),
        (["snap_20240101.csv", "snap_20240201.csv"], ["20240101", "20240201"]),
        (["gaia_2024-05.csv", "gaia_2024-06.csv"], ["2024-05", "2024-06"]),
        # Folders of results may not differ in capitals only.
        (["s_DR2.csv", "s_dr2.csv"], ["DR2"]),
        (["stars_a.csv", "stars_b.csv"], ["1"]),
        (["tile_1.csv", "tile_2.csv"], ["1"]),
    ],
)
def test_releases_and_parts_by_their_names(files, releases):
    (group,) = group_files([Path(file) for file in files], lambda path: ("x", "y"))
    assert list(group.releases) == releases
    assert [str(path) for paths in group.releases.values() for path in paths] == files
