"""Configuration files: what is accepted, what holds by default, and what errors say."""

import math
import tracemalloc
from pathlib import Path

import pytest
import yaml

from mixpipe.base.errors import ConfigError
from mixpipe.config.schema import SCHEMA, SECTIONS, with_key_tables
from mixpipe.config.settings import ColumnSettings, DensitySettings, Settings, load_config, parse_config
from mixpipe.fitting.tabulated.fit import CLOSE_ENOUGH

MINIMAL = """
catalogs:
  stars:
    releases:
      2018: stars.csv
    columns:
      mass:
"""

FULL = """
results: out
catalogs:
  neutron_stars:
    releases:
      "2018": a.fits
      dr2: [b_1.fits, b_2.fits]
    key: name
    format: fits
    hdu: STARS
    path: /stars
    comment: "#"
    delimiter: ";"
    decimal: ","
    missing: [-999, -9.99, "n/a"]
    where: "kind == 'NS-WD'"
    columns:
      mass:
        value: M [Msun]
        error: [e_up, e_lo]
        error_kind: variance
        error_model: two_sided
        error_scale: 2
        error_floor: 1
        sigma_floor: 2
        rounding: none
        weight: w
        weight_kind: counts
        transform: log10
        unit: Msun
        file_unit: kg
        limit_flag: l
        upper_limit: u
        lower_limit: v
        truncated: [0.5, null]
        detection: {value: [1, 2], probability: [0, 1]}
        families: [gaussian, laplace]
        background: [0, 9]
        max_components: 3
        estimators: [em]
        label: "$M$ of the star"
        figure: {range: [0, 3], bins: 30, log_counts: true}
      spin: {error: 0.5}
      age: {error: e_age}
      colour: {error: e_c, error_model: student_t, error_dof: 4}
      speed:
        error: e_s
        error_scale: fit
        mixed: [gaussian, power_law]
        constraints: {fixed: {means: [0, null]}, known: [{family: uniform, low: 0, high: 1}], equal_sigmas: true}
        start: {means: [0, 4], sigmas: [1, 1]}
        prior: {min_rows: 5}
        membership: [p_a, p_b]
      posterior: {kind: samples, value: S, sample_prior: P}
      period: {bins: {low: a, high: b, count: n}}
      redshift:
        kind: densities
        value: PDF
        grid: "GRID:Z"
        unit: km
        n_components: 4
        max_components: 5
        tolerance: 0.01
        label: z
    joint:
      both:
        columns: [spin, age]
        error: {}
        correlation: [[spin, age, -0.5]]
        covariance: null
        missing: drop
        weight: w
        weight_kind: importance
        structure: diagonal
        linear: {sum: {spin: 1, age: 1}, age: {age: 1}}
        max_components: 2
        predict: {given: [age], of: [sum]}
settings:
  max_components: 6
  criterion: icl
  estimators: [em]
  bootstrap: 20
  quality_draws: 9
  profile: true
  likelihood_ratio: 19
  exact_finish: false
  fits_members: true
  seed: 7
  style: grayscale
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def error_of(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text))
    return caught.value


def test_minimal_config_takes_the_documented_defaults(tmp_path):
    config = load_config(write(tmp_path, MINIMAL))
    assert config.results == Path("results")
    (stars,) = config.catalogs
    assert stars.releases == {"2018": (Path("stars.csv"),)}
    assert (stars.key, stars.format, stars.hdu, stars.missing, stars.where) == (None, "auto", None, (), None)
    (mass,) = stars.columns
    assert (mass.name, mass.value, mass.error, mass.transform) == ("mass", "mass", None, "none")
    assert (mass.error_kind, mass.error_scale, mass.error_floor) == ("sigma", 1.0, 0.0)
    assert (mass.max_components, mass.estimators) == (10, ("em", "moments", "density"))
    assert config.settings == Settings(
        max_components=10, criterion="bic", estimators=("em", "moments", "density"), bootstrap=0, seed=1
    )


def test_every_key_arrives(tmp_path):
    config = load_config(write(tmp_path, FULL))
    assert config.results == Path("out")
    stars = config.catalog("neutron_stars")
    assert list(stars.releases.items()) == [
        ("2018", (Path("a.fits"),)),
        ("dr2", (Path("b_1.fits"), Path("b_2.fits"))),
    ]
    assert (stars.key, stars.format, stars.hdu, stars.path) == ("name", "fits", "STARS", "/stars")
    assert (stars.comment, stars.delimiter, stars.decimal) == ("#", ";", ",")
    assert stars.missing == (-999.0, -9.99, "n/a")
    assert stars.where == "kind == 'NS-WD'"
    assert stars.column("mass") == ColumnSettings(
        name="mass",
        value="M [Msun]",
        error=("e_up", "e_lo"),
        error_kind="variance",
        error_model="two_sided",
        error_scale=2.0,
        error_floor=1.0,
        sigma_floor=2.0,
        rounding="none",
        weight="w",
        weight_kind="counts",
        transform="log10",
        unit="Msun",
        file_unit="kg",
        limit_flag="l",
        upper_limit="u",
        lower_limit="v",
        truncated=(0.5, math.inf),
        detection=((1.0, 2.0), (0.0, 1.0)),
        families=("gaussian", "laplace"),
        background=(0.0, 9.0),
        max_components=3,
        estimators=("em",),
    )
    look = {"label": "$M$ of the star", "range": [0, 3], "bins": 30, "log_counts": True}
    assert stars.looks == {"mass": look, "redshift": {"label": "z"}}
    assert (stars.column("spin").error, stars.column("spin").max_components) == (0.5, 6)
    assert stars.column("age").error == "e_age"
    assert (stars.column("colour").error_model, stars.column("colour").error_dof) == ("student_t", 4.0)
    models = [stars.column(name).found_model for name in ("mass", "age", "colour", "period")]
    assert models == ["two_sided", "symmetric", "student_t", "symmetric"]
    speed = stars.column("speed")
    assert (speed.error_scale, speed.error_factor, speed.mixed) == ("fit", 1.0, ("gaussian", "power_law"))
    assert speed.constraints["fixed"] == {"means": [0, None]} and speed.constraints["equal_sigmas"] is True
    assert (speed.start, speed.prior) == ({"means": [0, 4], "sigmas": [1, 1]}, {"min_rows": 5})
    assert speed.membership == ("p_a", "p_b")
    posterior = stars.column("posterior")
    assert (posterior.kind, posterior.value, posterior.sample_prior) == ("samples", "S", "P")
    assert (posterior.found_model, posterior.error) == ("samples", None)
    assert (stars.column("period").bins, stars.column("period").value) == (("a", "b", "n"), "a")
    assert stars.densities == (DensitySettings("redshift", "PDF", "GRID:Z", "km", 4, 5, 0.01),)
    assert stars.density("redshift") is stars.densities[0]
    assert config.settings == Settings(6, "icl", ("em",), 20, 9, True, 19, False, True, 7, "grayscale")


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("{error: e, error_model: two_sided}", "error_model two_sided without a pair of errors"),
        ("{error: [u, l], error_model: student_t, error_dof: 4}", "error_model student_t with a pair of errors"),
        ("{error_model: student_t, error_dof: 4}", "error_model student_t with no errors"),
        ("{error: e, error_model: student_t}", "error_model student_t without error_dof"),
        ("{error: e, error_dof: 4}", "error_dof without student_t"),
        ("{error: e, error_model: normal}", "found normal"),
        ("{error: e, error_model: student_t, error_dof: 0.5}", "found 0.5"),
        ("{bins: {low: a, high: b, count: n}, error: [u, l], error_model: two_sided}", "error_model two_sided for a"),
    ],
)
def test_error_models_that_the_errors_do_not_have_are_refused(tmp_path, entry, what):
    assert error_of(tmp_path, MINIMAL.replace("mass:", f"mass: {entry}")).what.startswith(what)


def test_a_joint_fit_takes_the_mean_of_a_pair_and_refuses_other_models(tmp_path):
    text = (
        MINIMAL.replace("mass:", "mass: {error: [u, l]}\n      age: {error: e%s}")
        + "    joint: {both: {columns: [mass, age]}}\n"
    )
    assert load_config(write(tmp_path, text % "")).catalogs[0].joints[0].columns[0].error_model is None
    error = error_of(tmp_path, text % ", error_model: student_t, error_dof: 3")
    assert error.what == "column 'age' has error_model student_t, but errors of a joint fit are Gaussian"


def test_every_comparison_has_a_folder(tmp_path):
    names = "".join(f"      {name}: stars.csv\n" for name in ("a", "b_to_c", "a_to_b", "c"))
    error = error_of(tmp_path, MINIMAL.replace("      2018: stars.csv\n", names))
    assert error.what == "releases of which two pairs are compared in one folder, 'a_to_b_to_c'"


def test_the_home_folder_of_results_is_that_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = load_config(write(tmp_path, MINIMAL + "results: ~/out\n"))
    assert config.results == tmp_path / "home/out"


def test_the_full_example_leaves_out_no_key():
    given = yaml.safe_load(FULL)
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    catalog = given["catalogs"]["neutron_stars"]
    # No column has the keys of all kinds.
    column: dict = {}
    for name in ("mass", "colour", "speed", "posterior", "period", "redshift"):
        column |= catalog["columns"][name]
    parts = {"run": given, "settings": given["settings"], "catalog": catalog, "column": column}
    parts["joint"] = catalog["joint"]["both"]
    for section in SECTIONS:
        assert set(parts[section]) == set(schema[section]["properties"])


def test_dataclass_defaults_are_those_of_a_file(tmp_path):
    config = load_config(write(tmp_path, MINIMAL))
    assert config.settings == Settings()
    assert config.catalogs[0].columns[0] == ColumnSettings("mass", "mass")


def test_densities_stand_apart_and_take_the_tolerance_of_the_fits(tmp_path):
    text = MINIMAL + "      z: {kind: densities, grid: [0, 2, 5]}\nsettings: {max_components: 4}\n"
    (stars,) = load_config(write(tmp_path, text)).catalogs
    assert [column.name for column in stars.columns] == ["mass"]
    assert stars.densities == (DensitySettings("z", "z", (0.0, 2.0, 5.0), max_components=4),)
    assert stars.densities[0].tolerance == CLOSE_ENOUGH
    with pytest.raises(ConfigError, match="differ in capitals only"):
        load_config(write(tmp_path, MINIMAL + "      Mass: {kind: densities, grid: z}\n"))


@pytest.mark.parametrize("none", ["none", "null", "~", ""])
def test_no_errors(tmp_path, none):
    text = MINIMAL.replace("mass:", f"mass: {{error: {none}}}")
    assert load_config(write(tmp_path, text)).catalogs[0].columns[0].error is None


def test_misspelt_key_names_line_section_and_neighbour(tmp_path):
    text = "catalogs:\n  neutron_stars:\n    releases: {a: b.csv}\n    colums:\n      mass:\n"
    error = error_of(tmp_path, text)
    assert error.what == "unknown key 'colums'"
    assert error.where == f"in {tmp_path}/config.yaml line 4 (catalogs.neutron_stars)"
    assert error.expected.startswith("one of releases, columns, joint, key,")
    assert error.expected.endswith("(did you mean 'columns'?)")


@pytest.mark.parametrize(
    ("old", "new", "line", "inside", "expected"),
    [
        ("mass:", "mass: {eror: e}", 7, "catalogs.stars.columns.mass", "did you mean 'error'"),
        ("mass:", "mass: {error: -1}", 7, "catalogs.stars.columns.mass.error", "a pair of columns"),
        ("mass:", "mass: {error: [a]}", 7, "catalogs.stars.columns.mass.error", "a pair of columns"),
        ("mass:", "mass: {error: [a, b, c]}", 7, "catalogs.stars.columns.mass.error", "a pair of columns"),
        ("mass:", "mass: {error_scale: 0}", 7, "catalogs.stars.columns.mass.error_scale", "a number > 0"),
        ("mass:", "mass: {error_floor: .nan}", 7, "catalogs.stars.columns.mass.error_floor", "a number >= 0"),
        ("mass:", "mass: {error_scale: .inf}", 7, "catalogs.stars.columns.mass.error_scale", "a number > 0"),
        ("mass:", "mass: {max_components: 2.5}", 7, "catalogs.stars.columns.mass.max_components", ">= 1"),
        ("mass:", "mass: {transform: log2}", 7, "catalogs.stars.columns.mass.transform", "none, log10 or ln"),
        (
            "mass:",
            "mass: {estimators: [pearson]}",
            7,
            "catalogs.stars.columns.mass.estimators.0",
            "em, moments or density",
        ),
        ("mass:", "mass: mass", 7, "catalogs.stars.columns.mass", "a mapping of keys"),
        ("2018: stars.csv", "2018: []", 5, "catalogs.stars.releases.2018", "a file"),
        ("2018: stars.csv", "2018: 7", 5, "catalogs.stars.releases.2018", "a file"),
        ("2018: stars.csv", "compare: a.csv", 5, "catalogs.stars.releases", "other than compare"),
        ("  stars:", "  logs:", 3, "catalogs", "other than logs"),
        ("2018: stars.csv", "true: a.csv", 4, "catalogs.stars.releases", "quotes"),
        ("2018: stars.csv", "1.10: a.csv", 4, "catalogs.stars.releases", "quotes"),
        ("2018: stars.csv", "2018: a.csv\n      2018: b.csv", 6, "catalogs.stars.releases", "each key once"),
        ("2018: stars.csv", "2018: a.csv\n      '2018': b.csv", 6, "catalogs.stars.releases", "each key once"),
        ("mass:", "mass:\n      Mass:", 8, "catalogs.stars.columns", "differ"),
        ("\ncatalogs", "\nsettings: {bootstrap: -1}\ncatalogs", 2, "settings.bootstrap", ">= 2"),
        ("\ncatalogs", "\nsettings: {bootstrap: 1}\ncatalogs", 2, "settings.bootstrap", ">= 2"),
        ("\ncatalogs", "\nsettings: {profile: maybe}\ncatalogs", 2, "settings.profile", "auto, true or false"),
        ("mass:", "mass: {truncated: [3, 2]}", 7, "catalogs.stars.columns.mass", "two increasing numbers"),
        ("mass:", "mass: {truncated: [[null, 3], [2, 5]]}", 7, "catalogs.stars.columns.mass", "pairs of increasing"),
        ("mass:", "mass: {truncated: [[1, 3], [3, 5]]}", 7, "catalogs.stars.columns.mass", "a hole between pairs"),
        ("mass:", "mass: {truncated: [null, null]}", 7, "catalogs.stars.columns.mass", "at most one of them null"),
        ("mass:", "mass: {detection: {value: [1]}}", 7, "catalogs.stars.columns.mass.detection", "probability"),
        (
            "mass:",
            "mass: {detection: {value: [1], probability: [2]}}",
            7,
            "catalogs.stars.columns.mass.detection.probability.0",
            "a number from 0 to 1",
        ),
        (
            "mass:",
            "mass: {detection: {value: [2, 1], probability: [0, 1]}}",
            7,
            "catalogs.stars.columns.mass",
            "increasing values",
        ),
        ("mass:", "mass: {background: [3]}", 7, "catalogs.stars.columns.mass.background", "two increasing numbers"),
        ("mass:", "mass: {kind: pdfs}", 7, "catalogs.stars.columns.mass.kind", "values, densities or samples"),
        ("mass:", "mass: {kind: densities}", 7, "catalogs.stars.columns.mass", "where their abscissae are"),
        ("mass:", "mass: {kind: densities, grid: z, error: e}", 7, "catalogs.stars.columns.mass", "one of kind, value"),
        ("mass:", "mass: {grid: z}", 7, "catalogs.stars.columns.mass", "`kind: densities`"),
        ("mass:", "mass: {tolerance: 0.1}", 7, "catalogs.stars.columns.mass", "`kind: densities`"),
        ("mass:", "mass: {kind: densities, grid: [0]}", 7, "catalogs.stars.columns.mass.grid", "a column"),
        ("mass:", "mass: {kind: densities, grid: [2, 1]}", 7, "catalogs.stars.columns.mass", "increasing numbers"),
        (
            "mass:",
            "mass: {kind: densities, grid: z, tolerance: 1}",
            7,
            "catalogs.stars.columns.mass.tolerance",
            "between 0 and 1",
        ),
        ("mass:", "mass: {families: [cauchy]}", 7, "catalogs.stars.columns.mass.families.0", "student_t"),
        ("\ncatalogs", "\nsettings: {seed: -1}\ncatalogs", 2, "settings.seed", ">= 0"),
        ("\ncatalogs", "\nsettings: {criterion: evidence}\ncatalogs", 2, "settings.criterion", "bic, aic or icl"),
        ("    columns:\n      mass:\n", "", 3, "catalogs.stars", "columns: The columns to fit"),
        ("\n      mass:", " {}", 6, "catalogs.stars.columns", "at least one entry"),
    ],
)
def test_mistakes_are_placed(tmp_path, old, new, line, inside, expected):
    assert old in MINIMAL
    error = error_of(tmp_path, MINIMAL.replace(old, new))
    place = f"in {tmp_path}/config.yaml line {line}"
    assert error.where == f"{place} ({inside})"
    assert expected in error.expected


@pytest.mark.parametrize(
    "name", ["../up", "a/b", ".hidden", "..", "a b", "a\\b", "-x", "", "é", "a*", "a\\n", "a.csv", "x" * 81]
)
def test_names_that_are_no_safe_folders(tmp_path, name):
    for old in ("stars:", "mass:"):
        error = error_of(tmp_path, MINIMAL.replace(old, f'"{name}":', 1))
        assert "cannot be the name of a folder" in error.what
    if name != "a.csv":
        assert "folder" in error_of(tmp_path, MINIMAL.replace("2018:", f'"{name}":')).what


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no key 'catalogs'"),
        ("- a\n", "found [a]"),
        ("catalogs: {a: [}\n", "line 1"),
        ("a: b: c\n", "line 1"),
        ("results: !!python/object/apply:os.system ['true']\n", "line 1"),
        ("a: &a\n  b: *a\n", "line 2"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, text, part):
    assert part in str(error_of(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "what", "place", "expected"),
    [
        # The parser notices some mistakes only behind the line that they are in.
        ("    columns:", "     columns:", "does not belong to those above", "line 6, column 6: columns:", "far"),
        ("    columns:", "   columns:", "does not belong to those above", "line 6, column 4: columns:", "far"),
        ("      mass:", "\tmass:", "a tab", "line 7, column 1: mass:", "blanks"),
        ("mass:", "mass: {error: e", "braces that do not end", "line 7, column 13: mass: {error: e", "`}` behind"),
        ("mass:", "mass: {error: [a, b}", "a list that does not end", "line 7, column 21: mass:", "`]` behind"),
        ("mass:", "mass: {unit: 'mas}", "quotes that do not end", "line 7, column 20: mass:", "a second quote"),
        ("columns:", "where: a > 1 and b: c\n    columns:", "a second `:`", "line 6, column 23: where:", "quotes"),
        ("columns:", "where: `a` > 1\n    columns:", "takes for something", "line 6, column 12: where:", "quotes"),
        ("columns:", "where: !a > 1\n    columns:", "takes for something", "line 6, column 17: where:", "quotes"),
        ("columns:", "where: [Fe/H] > 1\n    columns:", "takes for something", "line 6, column 21: where:", "quotes"),
        ("columns:", "where: *a\n    columns:", "takes for something", "line 6, column 12: where:", "quotes"),
        ("columns:", "where: 'a' == b\n    columns:", "behind the end of", "line 6, column 16: where:", "quotes"),
        ("columns:", "key name\n    columns:", "a key without `: `", "line 6, column 5: key name", "`key: value`"),
        ("columns:", "key: 2024-13-45\n    columns:", "a value that cannot be (month", "", "quotes"),
        ("\ncatalogs", "\na: 1\n---\ncatalogs", "a second document", "line 3, column 1: ---", "no line"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_said_in_plain_words(tmp_path, old, new, what, place, expected):
    assert old in MINIMAL
    error = error_of(tmp_path, MINIMAL.replace(old, new, 1))
    assert what in error.what
    assert error.where.startswith(f"in {tmp_path}/config.yaml {place}".strip())
    assert expected in error.expected


def test_a_key_in_the_wrong_section_is_told_its_own(tmp_path):
    error = error_of(tmp_path, MINIMAL.replace("columns:", "unit: mas\n    columns:"))
    assert error.expected.endswith("('unit' is a key of an entry of `columns`)")
    error = error_of(tmp_path, MINIMAL.replace("mass:", "mass: {criterion: aic}"))
    assert error.expected.endswith("('criterion' is a key of `settings`)")


def test_unreadable_files(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("catalogs: é".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "latin.yaml")


def test_parsed_mapping_equals_file_and_last_file_places_a_mistake(tmp_path):
    mapping = yaml.safe_load(FULL)
    assert parse_config(mapping) == load_config(write(tmp_path, FULL))
    other = tmp_path / "more.yaml"
    other.write_text("settings:\n  seed: x\n", encoding="utf-8")
    mapping["settings"]["seed"] = "x"
    with pytest.raises(ConfigError) as caught:
        parse_config(mapping, [tmp_path / "config.yaml", other])
    assert caught.value.where == f"in {other} line 2 (settings.seed)"


def test_demo_is_valid_and_its_readme_up_to_date(root):
    config = load_config(root / "config" / "config.yaml")
    assert list(config.catalog("neutron_stars").releases) == ["2018", "2024"]
    readme = (root / "config" / "README.md").read_text(encoding="utf-8")
    assert readme == with_key_tables(readme), "run: python -m mixpipe.config.schema config/README.md"
    for section in SECTIONS:
        assert f"<!-- keys: {section} -->" in readme


def test_schema_is_where_the_documentation_says(root):
    assert (root / "workflow" / "schemas" / "config.schema.yaml").resolve() == SCHEMA.resolve()


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 500 + "]" * 500,
        "a: " + "{b: " * 500 + "1" + "}" * 500,
        "".join(" " * depth + "a:\n" for depth in range(500)),
        "- " * 500 + "1",
    ],
    ids=["lists", "braces", "sections", "dashes"],
)
def test_nested_without_end(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"without end, in .*mine.yaml, expected at most 8 levels"):
        load_config(tmp_path / "mine.yaml")


def test_a_gigabyte_is_no_configuration_and_is_not_read(tmp_path):
    path = tmp_path / "catalog.yaml"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)
    tracemalloc.start()
    with pytest.raises(
        ConfigError, match=r"more than 10 MB, in .*catalog.yaml, expected a configuration, not a catalog"
    ):
        load_config(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50e6


def test_words_from_a_list_may_have_capitals_and_one_sentinel_needs_no_list():
    column = {
        "error": "None",
        "families": ["Gaussian", "Student_T"],
        "transform": "LOG10",
        "background": "Uniform",
        "constraints": {"known": [{"family": "Laplace", "mean": 0.0}]},
    }
    catalog = {"releases": {"R1": "A.csv"}, "missing": -99, "format": "CSV", "columns": {"Mass": column, "NONE": None}}
    settings = {"criterion": "BIC", "estimators": ["EM"], "profile": "Auto"}
    config = parse_config({"results": "Out", "catalogs": {"S": catalog}, "settings": settings})
    (found,) = config.catalogs
    mass, other = found.columns
    assert (config.settings.criterion, config.settings.estimators, config.settings.profile) == ("bic", ("em",), "auto")
    assert (found.format, found.missing) == ("csv", (-99.0,))
    assert (mass.families, mass.transform, mass.background) == (("gaussian", "student_t"), "log10", "uniform")
    assert mass.error is None
    assert mass.constraints["known"][0]["family"] == "laplace"
    # Names stay as they are.
    assert (str(config.results), found.name, list(found.releases)) == ("Out", "S", ["R1"])
    assert (mass.value, other.value) == ("Mass", "NONE")
    text = parse_config({"catalogs": {"S": {**catalog, "missing": "--"}}})
    assert text.catalogs[0].missing == ("--",)
