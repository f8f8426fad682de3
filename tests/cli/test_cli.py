"""The console script: what it prints, writes and refuses."""

import csv
import json
import math
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.table import Table
from click.testing import CliRunner
from scipy.special import ndtri

import mixpipe
from mixpipe import cli
from mixpipe.cli.progress import fit_progress
from mixpipe.config.schema import SCHEMA, defaults
from mixpipe.model.noise import HeavyTailed, TwoSided
from mixpipe.pipeline.compare import COLUMNS
from mixpipe.results.record import load_record
from mixpipe.results.tables import read_fit
from tests.campaign import campaign, study
from tests.outputs import IMAGES, PAPER, TABLES

KEYS = {
    "n_data", "n_dropped", "estimator", "criterion", "n_components", "loglik", "bic", "aic", "icl", "converged",
    "components", "selection", "quality", "warnings", "version",
}  # fmt: skip
COMPONENT_KEYS = {"weight", "weight_unc", "mean", "mean_unc", "sigma", "sigma_unc", "boundary"}
SELECTION_KEYS = {"n_components", "n_params", "loglik", "bic", "aic", "icl", "converged", "selected"}
PROGRAM = [sys.executable, "-c", "import sys; from mixpipe.cli import main; sys.argv[0] = 'mixpipe'; main()"]
X = np.array([1.0, 2.0, 4.0, 7.0, 11.0, 5.0])


def run(*args):
    return CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="mixpipe")


def fit(*args) -> dict:
    """The JSON object of a fit, strictly read."""
    result = run("fit", *args, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(result.stdout, parse_constant=refuse)


def refused(*args) -> str:
    """The message of a run that ends with status 2."""
    result = run(*args)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("mixpipe: error: ")
    return result.stderr.removeprefix("mixpipe: error: ").removesuffix("\n")


def write(path: Path, delimiter: str = ",", **columns) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.fixture
def stars(tmp_path):
    """Six values with constant errors, and everything else that an option may name."""
    return write(
        tmp_path / "stars.csv",
        m=X,
        e=[0.5] * 6,
        up=[0.7] * 6,
        lo=[-0.3] * 6,
        var=[0.25] * 6,
        ivar=[4.0] * 6,
        w=[2.0] * 6,
        kind=["a", "b"] * 3,
    )


# -- the JSON object --


def test_one_component_is_the_closed_form(stars):
    document = fit(stars, "--value", "m", "--n-components", 1)
    assert document.keys() == KEYS
    assert [row.keys() for row in document["components"]] == [COMPONENT_KEYS]
    assert [row.keys() for row in document["selection"]] == [SELECTION_KEYS]
    assert document["quality"].keys() == {"ks", "ks_pvalue", "ad"}
    (component,) = document["components"]
    assert component["mean"] == pytest.approx(5.0)
    assert component["sigma"] == pytest.approx(X.std())
    assert component["mean_unc"] == pytest.approx(X.std() / math.sqrt(6))
    assert document["loglik"] == pytest.approx(-3.0 * (math.log(2 * math.pi * X.var()) + 1.0))
    assert document["bic"] == pytest.approx(2 * math.log(6) - 2 * document["loglik"])
    assert (document["n_data"], document["n_components"], document["criterion"]) == (6, 1, "bic")
    assert (document["estimator"], document["version"]) == ("em", mixpipe.__version__)


@pytest.mark.parametrize(
    "options",
    [
        ("--error", "e"),
        ("--error", "0.5"),
        ("--error", "up,lo", "--error-model", "symmetric"),
        ("--error", "up, lo", "--error-model", "symmetric"),
        ("--error", "var", "--error-kind", "variance"),
        ("--error", "ivar", "--error-kind", "ivar"),
        ("--error", "1", "--error-scale", "0.5"),
        ("--error-floor", "0.5"),
        ("--error", "0.3", "--error-floor", "0.4"),
    ],
)
def test_errors_come_off_the_width(stars, options):
    (component,) = fit(stars, "--value", "m", "--n-components", 1, *options)["components"]
    assert component["sigma"] == pytest.approx(math.sqrt(X.var() - 0.25), rel=1e-6)


def test_a_pair_of_errors_has_two_sides(stars):
    (component,) = fit(stars, "--value", "m", "--n-components", 1, "--error", "up,lo")["components"]
    expected = mixpipe.fit_mixture(X, [[0.3] * 6, [0.7] * 6], n_components=1)
    assert component["mean"] == pytest.approx(expected.mixture.means[0], rel=1e-12)
    # Values scatter farther below the true ones: by sqrt(2 / pi) times the difference of the sides.
    assert component["mean"] == pytest.approx(5.0 + 0.4 * math.sqrt(2.0 / math.pi), abs=0.02)


def test_errors_of_students_t(stars):
    options = ("--error", "e", "--error-model", "student_t", "--error-dof", 4)
    (component,) = fit(stars, "--value", "m", "--n-components", 1, *options)["components"]
    expected = mixpipe.fit_mixture(X, 0.5, n_components=1, error_model="student_t", error_dof=4)
    assert component["sigma"] == pytest.approx(expected.mixture.sigmas[0], rel=1e-12)
    assert component["sigma"] < math.sqrt(X.var() - 0.25)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--error-model", "two_sided"), "error_model two_sided without a pair of errors, on the command line"),
        (("--error-model", "student_t"), "error_model student_t without error_dof, on the command line"),
        (("--error-dof", "4"), "error_dof without student_t, on the command line"),
        (("--error-dof", "0.1"), "found 0.1, in option --error-dof, expected a number >= 1"),
    ],
)
def test_an_error_model_that_the_errors_do_not_have_is_refused(stars, options, words):
    assert refused("fit", stars, "--value", "m", "--error", "e", *options).startswith(words)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--error", "up,lo"), marks=campaign),
        pytest.param(("--error", "up", "--error-model", "student_t", "--error-dof", 3), marks=study),
    ],
)
def test_files_of_a_fit_have_the_errors_that_were_fitted(tmp_path, options):
    rng = np.random.default_rng(1)
    up, lo = rng.uniform(0.1, 0.9, 60), rng.uniform(0.1, 0.9, 60)
    x = np.concatenate([rng.normal(0.0, 0.7, 30), rng.normal(6.0, 0.5, 30)]) + rng.normal(0.0, 0.3, 60)
    file, out = write(tmp_path / "a.csv", m=x, up=up, lo=lo), tmp_path / "out"
    fit(file, "--value", "m", "--max-components", 2, *options, "--out", out)
    stored = COLUMNS.read(out)
    cells, mixture = stored.fitted.cells, stored.fitted.fit.mixture
    if len(options) == 2:
        assert isinstance(cells.noise, TwoSided)
        np.testing.assert_array_equal([cells.noise.lower, cells.noise.upper], [lo, up])
    else:
        assert isinstance(cells.noise, HeavyTailed)
        assert (cells.noise.err.tolist(), cells.noise.dof) == (up.tolist(), 3.0)
    members = pq.read_table(out / "members.parquet").to_pandas()
    assert ("err_lower" in members) == isinstance(cells.noise, TwoSided)
    np.testing.assert_array_equal(members["err"], cells.err)
    resp = mixture.responsibilities(x, cells.errors)
    np.testing.assert_allclose(members["p_1"], resp[:, 0], atol=1e-12)
    for name, part in zip(("true_mean", "true_unc"), mixture.posterior(x, cells.errors), strict=True):
        np.testing.assert_allclose(members[name], part, rtol=1e-12)
    # The same rows compared with themselves: nothing has changed, and no uncertainty is left.
    same = COLUMNS.compare(stored, stored)
    assert same.verdict == "unchanged"
    assert stored.fitted.fit.loglik == pytest.approx(float(mixture.logpdf(x, cells.errors).sum()), abs=1e-9)


def test_rows_are_cut_transformed_and_weighted(stars):
    document = fit(stars, "--value", "m", "--weight", "w", "--where", "m > 1.5 and kind == 'b'", "--n-components", 1)
    assert document["n_data"] == 6  # three rows of weight two
    assert document["n_dropped"]["cut"] == 3
    assert document["components"][0]["mean"] == pytest.approx(np.mean([2.0, 7.0, 5.0]))
    document = fit(stars, "--value", "m", "--transform", "log10", "--n-components", 1)
    assert document["components"][0]["mean"] == pytest.approx(np.log10(X).mean())


def test_every_dropped_row_is_counted_once(tmp_path):
    file = write(
        tmp_path / "holes.csv", m=["1", "2", "-999", "n/a", "5", "", "-3", "8"], e=["1", "", 1, 1, -1, 1, 1, 1]
    )
    document = fit(
        file, "--value", "m", "--error", "e", "--missing", -999, "--missing", "n/a", "--transform", "ln",
        "--max-components", 1,
    )  # fmt: skip
    dropped = {reason: count for reason, count in document["n_dropped"].items() if count}
    assert dropped == {"missing_value": 3, "missing_error": 1, "bad_error": 1, "not_positive": 1}
    assert document["n_data"] == 2


def test_unit_hdu_and_format_are_those_of_the_reader(tmp_path):
    from astropy.io import fits

    tables = {"A": X, "B": 2.0 * X}
    extensions = [fits.BinTableHDU(Table({"d": x}, units={"d": "km"}), name=name) for name, x in tables.items()]
    path = tmp_path / "tables.fits"
    fits.HDUList([fits.PrimaryHDU(), *extensions]).writeto(path)
    options = ("--value", "d", "--n-components", 1)
    assert fit(path, *options)["components"][0]["mean"] == pytest.approx(5.0)
    assert fit(path, *options, "--hdu", "2", "--unit", "m")["components"][0]["mean"] == pytest.approx(10_000.0)
    assert fit(path, *options, "--hdu", "B")["components"][0]["mean"] == pytest.approx(10.0)
    assert "cannot be read as parquet" in refused("fit", path, *options, "--format", "parquet")


def test_text_files_with_comments_and_delimiters(tmp_path):
    file = write(tmp_path / "table.txt", delimiter="|", m=X)
    file.write_text("% by hand\n" + file.read_text().replace("m", "m|n", 1).replace("0\n", "0|1\n"))
    out = tmp_path / "out"
    document = fit(
        file, "--value", "m", "--comment", "%", "--delimiter", "|", "--missing", -9, "--n-components", 1, "--out", out
    )
    assert document["components"][0]["mean"] == pytest.approx(5.0)
    # What was read, and how: enough to read it again.
    plan = json.loads((out / "fit.json").read_text())["plan"]
    again = mixpipe.read_catalog(file, **plan["reading"])
    assert again["m"].tolist() == X.tolist()
    assert (plan["reading"]["comment"], plan["reading"]["missing"]) == ("%", [-9.0])


def test_hdf5_tables_are_found_by_path(tmp_path):
    file = tmp_path / "two.h5"
    for scale, name in ((1.0, "one"), (2.0, "two")):
        Table({"d": X * scale}).write(file, path=name, append=True, serialize_meta=False)
    options = ("--value", "d", "--n-components", 1)
    assert fit(file, *options, "--path", "two")["components"][0]["mean"] == pytest.approx(10.0)


def test_the_criterion_chooses(tmp_path):
    rng = np.random.default_rng(5)
    file = write(tmp_path / "two.csv", m=np.concatenate([rng.normal(0, 1, 60), rng.normal(9, 1, 60)]))
    document = fit(file, "--value", "m", "--max-components", 3, "--criterion", "icl")
    rows = document["selection"]
    assert [row["n_components"] for row in rows] == [1, 2, 3]
    assert [row["n_params"] for row in rows] == [2, 5, 8]
    assert [row["selected"] for row in rows] == [row["icl"] == min(r["icl"] for r in rows) for row in rows]
    assert document["n_components"] == 2
    assert document["criterion"] == "icl"
    assert [row["mean"] for row in document["components"]] == pytest.approx([0, 9], abs=0.4)
    assert len(fit(file, "--value", "m", "--n-components", 3)["components"]) == 3


def test_what_is_not_available_is_null(tmp_path):
    # A spike of equal values: its width is at the bound and has no standard error.
    file = write(tmp_path / "spike.csv", m=[*np.linspace(0, 1, 50), *[5.0] * 50])
    document = fit(file, "--value", "m", "--n-components", 2)
    assert document["components"][1]["boundary"] is True
    assert document["components"][1]["sigma_unc"] is None
    assert document["warnings"]
    table = run("fit", file, "--value", "m", "--n-components", 2)
    assert "sigma < " in table.stdout
    assert f"warning: {document['warnings'][0]}" in table.stdout


def test_neutron_stars_of_2018(catalogs):
    """Two components, at 1.34 and 1.78 solar masses: Alsing, Silva & Berti (2018) find 1.34 and 1.80."""
    file = catalogs / "neutron_stars" / "2018.csv"
    document = fit(file, "--value", "mass", "--error", "mass_err_up,mass_err_lo", "--max-components", 4)
    assert document["n_data"] == 57
    assert document["n_components"] == 2
    assert [row["mean"] for row in document["components"]] == pytest.approx([1.346, 1.782], abs=1e-3)


def test_a_cluster_in_a_large_catalog(catalogs):
    file = catalogs / "open_clusters" / "gaia_edr3_members.fits"
    document = fit(
        file, "--value", "Plx", "--error", "e_Plx", "--where", "Cluster == 'Melotte_22'", "--n-components", 1
    )
    assert document["n_data"] == 1217
    assert document["n_dropped"]["cut"] == 264_194 - 1217
    assert document["components"][0]["mean"] == pytest.approx(7.41, abs=0.01)


# -- the table for people --


def test_the_table_says_what_was_fitted(tmp_path):
    file = write(tmp_path / "stars.csv", m=[*X, "", "-1"], kind=[*"aaaaaa", "a", "b"])
    result = run("fit", file, "--value", "m", "--where", "kind == 'a'", "--unit", "Msun", "--n-components", 1)
    assert result.exit_code == 0
    assert result.stderr == ""
    words = result.stdout
    assert f"{file}: m [Msun]" in words
    assert "8 rows read, 6 used, dropped: 1 cut, 1 missing value" in words
    assert "1 component (as asked for), converged" in words
    assert "mean [Msun]" in words
    assert "5.0 ± 1.4" in words  # 3.317 / sqrt(6) = 1.354
    assert "3.32 ± 0.96" in words  # 3.317 / sqrt(12) = 0.957
    assert "\x1b" not in words


def test_the_quality_says_what_it_is_judged_by(tmp_path):
    """An even spread is no normal: no simulated catalog is as far from one, which bounds p by 1 / (199 + 1)."""
    even = write(tmp_path / "even.csv", m=np.linspace(0.0, 1.0, 400))
    normal = write(tmp_path / "normal.csv", m=ndtri((np.arange(100) + 0.5) / 100))
    options = ("--value", "m", "--n-components", 1)
    words = run("fit", even, *options).stdout
    assert "goodness of fit: rejected, a p-value of 0.01 or less\n" in words
    assert re.search(r"Anderson-Darling [0-9.]+ \(p ≤ 0.005\)\n", words)
    assert "warning: the mixture does not describe the data (Anderson-Darling p ≤ 0.005; off by at most " in words
    assert "where data and mixture differ: quality.png of --out DIR\n" in words
    folder = tmp_path / "out"
    words = run("fit", even, *options, "--out", folder).stdout
    assert f"where data and mixture differ: {folder}/quality.png\n" in words
    assert (folder / "quality.png").is_file()
    # Quantiles deviate less than any sample does.
    words = run("fit", normal, *options).stdout
    assert "goodness of fit: ok, p-values above 0.01\n" in words
    assert "(p = 1)" in words
    assert "differ" not in words
    limits = write(tmp_path / "limits.csv", m=["<1", *ndtri((np.arange(30) + 0.5) / 30)])
    words = run("fit", limits, *options).stdout
    assert "goodness of fit: ok, p-values above 0.01\n" in words
    assert re.search(r"  off by at most [0-9.]+ % of the rows: as much as by chance\n", words)


@pytest.mark.parametrize("before", [[], ["--cores", "4"], ["--dry-run"]])
def test_a_configuration_among_the_arguments_of_a_run(before):
    """Snakemake would take it for a target that is there: nothing to be done."""
    expected = "mine.yaml is no argument of Snakemake, on the command line, expected --config mine.yaml"
    assert refused("run", *before, "mine.yaml") == expected


def test_warnings_name_options(tmp_path):
    file = write(tmp_path / "two.csv", m=np.concatenate([np.linspace(0, 1, 50), np.linspace(5, 6, 50)]))
    assert "raise --max-components above 2\n" in run("fit", file, "--value", "m", "--max-components", 2).stdout


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(tmp_path, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    rng = np.random.default_rng(2)
    file = write(tmp_path / "a.csv", m=1e6 * np.concatenate([rng.normal(0, 1, 300), rng.normal(9, 1, 300)]))
    lines = run("fit", file, "--value", "m", "--max-components", 2).stdout.splitlines()
    # A path and sentences are left to the terminal; the last two lines are the answer.
    assert lines[-2].startswith("two populations: 50.0 ± 2.0 % at ")
    assert lines[-1].startswith("600 rows; BIC prefers two")
    table = [line for line in lines[:-2] if not line.startswith((str(tmp_path), "resolution: "))]
    assert max(map(len, table)) <= width
    # One line for each number of components.
    assert len([line for line in table if re.match(r"[12] +[25] ", line)]) == 2


def test_names_from_a_catalog_do_not_steer_the_terminal(tmp_path):
    name = "m\x1b[31m[bold]"
    file = write(tmp_path / "stars.csv", **{name: X})
    result = run("fit", file, "--value", name, "--n-components", 1)
    assert "m?[31m[bold]" in result.stdout
    message = refused("fit", file, "--value", "other")
    assert "\x1b" not in message
    assert "m\\x1b[31m[bold]" in message


# -- files --


@pytest.mark.parametrize(("name", "magic"), [("a.png", b"\x89PNG"), ("b.svg", b"<?xml"), ("c.PDF", b"%PDF")])
def test_the_figure_goes_by_its_ending(stars, tmp_path, name, magic):
    pictures = []
    for folder in ("first", "second"):
        path = tmp_path / folder / name
        path.parent.mkdir()
        result = run("fit", stars, "--value", "m", "--n-components", 1, "--figure", path)
        assert result.exit_code == 0, result.output
        assert f"written: {path}" in result.stdout
        pictures.append(path.read_bytes())
    assert pictures[0].startswith(magic)
    assert pictures[0] == pictures[1]


def test_out_has_the_tables_and_figures_of_a_column(stars, tmp_path):
    folder = tmp_path / "out"
    options = ("--value", "m", "--error", "e", "--where", "m < 10", "--max-components", 2)
    document = fit(stars, *options, "--out", folder)
    assert {path.name for path in folder.iterdir()} == TABLES | PAPER | IMAGES
    with (folder / "components.csv").open() as stream:
        components = list(csv.DictReader(stream))
    assert [float(row["mean"]) for row in components] == [row["mean"] for row in document["components"]]
    with (folder / "selection.csv").open() as stream:
        selection = list(csv.DictReader(stream))
    assert [float(row["bic"]) for row in selection] == [row["bic"] for row in document["selection"]]
    members = pq.read_table(folder / "members.parquet").to_pydict()
    assert members["row"] == [0, 1, 2, 3, 5]
    assert members["value"] == [1.0, 2.0, 4.0, 7.0, 5.0]
    saved = json.loads((folder / "fit.json").read_text())
    rebuilt = read_fit(load_record(folder / "fit.json"))
    assert rebuilt.mixture.logpdf(members["value"], members["err"]).sum() == pytest.approx(document["loglik"])
    assert saved["account"]["n_read"] == 6
    assert saved["account"]["dropped"]["cut"] == 1
    assert saved["options"]["where"] == "m < 10"


def test_evidence_for_two_populations(stars, tmp_path):
    options = (stars, "--value", "m", "--error", "e", "--max-components", 2)
    document = fit(*options, "--bimodality", "--likelihood-ratio", 5, "--out", tmp_path / "out")
    assert document.keys() == {*KEYS, "bimodality"}
    found, (one, two) = document["bimodality"], document["selection"]
    assert found["likelihood_ratio"] == pytest.approx(2.0 * (two["loglik"] - one["loglik"]))
    assert found["n_draws"] == 5 and 1 / 6 <= found["likelihood_ratio_pvalue"] <= 1.0
    assert found["n_values"] == 6 and found["dip"] >= 1 / 12
    with (tmp_path / "out" / "bimodality.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row.keys() == found.keys() and float(row["dip"]) == found["dip"]
    shown = run("fit", *options, "--bimodality").stdout
    assert "separation (Ashman's D)" in shown and "of 6 observed values" in shown
    assert "Ashman" not in run("fit", *options).stdout


@campaign
def test_no_evidence_for_two_populations_without_two_components(stars, tmp_path):
    options = ("--value", "m", "--background", "uniform", "--n-components", 2, "--bimodality")
    assert fit(stars, *options, "--out", tmp_path / "out")["bimodality"] is None
    assert "there is no fit with two components and without a background" in run("fit", stars, *options).stdout
    assert len((tmp_path / "out" / "bimodality.csv").read_text().splitlines()) == 1


# -- what the user can mend --


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "no column to fit, on the command line, expected --value COL, or --bins LOW,HIGH,COUNT"),
        (("--value",), "option '--value' requires an argument, on the command line, expected what"),
        (("--value", "m", "more"), "unexpected extra argument (more), on the command line"),
        (
            ("--value", "m", "--n-components", "3", "--bimodality"),
            "--bimodality with --n-components 3, on the command line, expected a fit with 2 components",
        ),
        (("--value", "m", "--max-components", "1", "--bimodality"), "--bimodality with --max-components 1, on"),
        (("--joint", "m,w", "--bimodality"), "--bimodality beside --joint, on the command line"),
        (("--value", "m", "--eror", "e"), "'--eror', on the command line, expected --error"),
        (("--value", "n"), "no column 'n', in {file}, expected"),
        (("--value", "kind"), "text in 6 of 6 rows, the first is 'a' in row 1, in {file}, expected numbers"),
        (("--value", "m", "--error", "x"), "no column 'x', in {file}, expected"),
        (("--value", "m", "--error", "up,lo,e"), "in option --error, expected a column, a pair of columns"),
        (("--value", "m", "--error", "-1"), "found -1, in option --error, expected"),
        (
            ("--value", "m", "--error-kind", "rms"),
            "found rms, in option --error-kind, expected sigma, variance",
        ),
        (("--value", "m", "--error-scale", "0"), "found 0, in option --error-scale, expected a number > 0"),
        (("--value", "m", "--error-floor", "x"), "found x, in option --error-floor, expected a number >= 0"),
        (
            ("--value", "m", "--estimator", "pearson"),
            "found pearson, in option --estimator, expected em, moments or density",
        ),
        (("--value", "m", "--criterion", "DIC"), "found DIC, in option --criterion, expected bic, aic or icl"),
        (("--value", "m", "--transform", "exp"), "found exp, in option --transform, expected none, log10 or ln"),
        (("--value", "m", "--n-components", "0"), "found 0, in option --n-components, expected a whole number >= 1"),
        (("--value", "m", "--max-components", "2.5"), "found 2.5, in option --max-components, expected a whole"),
        (("--value", "m", "--n-components", "1", "--max-components", "2"), "--n-components and --max-components"),
        (("--value", "m", "--where", "m >"), "where: m >, expected a condition"),
        (("--value", "m", "--where", "__import__('os')"), "unknown function '__import__'"),
        (("--value", "m", "--where", "m > 99"), "no row of 6 can be used (dropped: 6 cut), in {file}, column m"),
        (("--value", "m", "--format", "docx"), "found docx, in option --format, expected auto, fits"),
        (("--value", "m", "--hdu", "-1"), "found -1, in option --hdu, expected"),
        (("--value", "m", "--figure", "a.jpg"), "found a.jpg, in option --figure, expected a name that ends in .png"),
        (("--value", "m", "--figure", "{file}/a.png"), "in option --figure, expected a place that can be written"),
        (("--value", "m", "--figure", "lost/a.png"), "no folder lost, in option --figure, expected a folder that is"),
        (("--value", "m", "--out", "{file}"), "in option --out, expected a place that can be written"),
        (("--value", "m", "--out", "lost/out"), "no folder lost, in option --out, expected a folder that is there"),
        (("--value", "m", "--where", "kind == a"), "no column 'a', in {file}, expected one of"),
        (("--value", "m", "--where", "kind == a"), "; text needs quotes, kind == 'a'"),
    ],
)
def test_mistakes_end_in_one_line(stars, options, words):
    options = [option.format(file=stars) for option in options]
    message = refused("fit", stars, *options)
    assert words.format(file=stars) in message
    assert "\n" not in message


def test_mistakes_on_the_command_line(tmp_path):
    assert "no such command 'fti'" in refused("fti")
    assert "missing argument 'FILE'" in refused("fit")
    assert f"no such file, in {tmp_path}/none.csv" in refused("fit", tmp_path / "none.csv", "--value", "m")
    assert "is a folder without Parquet files" in refused("fit", tmp_path, "--value", "m")


def test_nothing_is_fitted_for_a_figure_that_cannot_be(stars, monkeypatch):
    monkeypatch.setattr("mixpipe.pipeline.estimate.choose_n_components", lambda *args, **options: pytest.fail("fitted"))
    refused("fit", stars, "--value", "m", "--figure", "a.jpg")


def test_an_error_of_the_program_is_not_hidden(stars, monkeypatch):
    def broken(*args, **options):
        raise ValueError("a mistake of ours")

    monkeypatch.setattr("mixpipe.pipeline.estimate.choose_n_components", broken)
    result = run("fit", stars, "--value", "m")
    assert isinstance(result.exception, ValueError)


def test_an_interrupt_has_the_status_of_one(stars, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("mixpipe.pipeline.estimate.choose_n_components", interrupted)
    assert run("fit", stars, "--value", "m").exit_code == 130


# -- help --


def test_version():
    assert run("--version").stdout == f"mixpipe {mixpipe.__version__}\n"


def test_help_says_what_the_schema_accepts():
    options = {option.name: option for option in cli.main.commands["fit"].params if isinstance(option, click.Option)}
    keys = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    for name, section in (("error_kind", "column"), ("transform", "column"), ("criterion", "settings")):
        accepted = set(keys[section]["properties"][name]["enum"]) - {"none"}
        assert set(options[name].metavar.split("|")) == accepted
    assert options["estimator"].metavar.split("|") == keys["estimator"]["enum"]
    formats = set(re.findall(r"[a-z0-9]+", options["format"].help.partition(": ")[2])) - {"or"}
    assert formats == set(keys["catalog"]["properties"]["format"]["enum"]) - {"auto"}
    for name, section in (("max_components", "settings"), ("criterion", "settings"), ("error_kind", "column")):
        assert f"Default: {defaults(section)[name]}." in options[name].help


def imported(code: str) -> set[str]:
    """The modules that a process of its own has imported when it is done with this."""
    code = f"import sys\ntry:\n    {code}\nfinally:\n    sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"]])
def test_help_waits_for_nothing(words):
    found = imported(f"from mixpipe.cli import main; main({words})")
    assert "click" in found
    assert not {"numpy", "rich", "yaml", "jsonschema", "astropy", "numba", "pandas"} & found


@pytest.mark.parametrize(
    ("name", "output"), [("stars.fits", []), pytest.param("stars.csv", ["--json"], marks=campaign)]
)
def test_a_fit_waits_for_nothing_that_it_does_not_need(tmp_path, name, output):
    file = tmp_path / name
    # Of few rows the profile likelihood is asked, too.
    names = [f"star {i}" for i in range(60)]
    Table({"name": names, "m": ndtri((np.arange(60) + 0.5) / 60).round(9)}).write(file)
    found = imported(f"from mixpipe.cli import main; main({['fit', str(file), '--value', 'm', *output]})")
    assert "mixpipe.assess.roots" in found
    slow = {"pandas", "pyarrow", "h5py", "matplotlib", "plotly", "jinja2", "snakemake", "sklearn"}
    slow |= {"astropy.table", "astropy.units"} if name.endswith(".csv") else set()
    slow |= {"scipy.optimize", "scipy.stats", "mixpipe.model.kernels.joint", "mixpipe.fitting.kernels.grids"}
    assert not slow & found


def test_the_table_of_a_run_waits_for_nothing_that_it_does_not_need():
    """Each job of a cluster reads it anew."""
    found = imported("import mixpipe.pipeline.plan.run")
    assert "mixpipe.config.settings" in found
    assert not {"astropy", "scipy", "numba", "pandas", "pyarrow", "h5py"} & found


# -- as a process --


def test_standard_output_is_the_object_and_nothing_else(stars):
    command = [*PROGRAM, "fit", str(stars), "--value", "m", "--max-components", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["n_data"] == 6
    done = subprocess.run([*PROGRAM, "fit", "none.csv", "--value", "m"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "mixpipe: error: no such file, in none.csv, expected a catalog file\n"


def on_terminal(*args, stdout=None, **variables) -> str:
    """What a run writes to a terminal, standard output included unless it goes elsewhere."""
    master, slave = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm", **variables}
    with subprocess.Popen([*PROGRAM, *args], stdout=stdout or slave, stderr=slave, env=environment) as process:
        os.close(slave)
        written = b""
        try:
            while part := os.read(master, 4096):
                written += part
        except OSError:  # how Linux says that the other end was closed
            pass
        os.close(master)
    assert process.returncode == 0
    return written.decode()


def test_progress_and_colour_are_for_terminals(stars, tmp_path):
    with (tmp_path / "out.json").open("w") as stream:
        shown = on_terminal("fit", str(stars), "--value", "m", "--max-components", "2", "--json", stdout=stream)
    assert "searching" in shown or "of 2 components" in shown
    assert json.loads((tmp_path / "out.json").read_text())["n_data"] == 6
    assert "\x1b[1m" in on_terminal("fit", str(stars), "--value", "m", "--n-components", "1")


@campaign
def test_a_first_fit_says_that_it_compiles(stars, tmp_path):
    arguments = ["fit", str(stars), "--value", "m", "--n-components", "1"]
    shown = [on_terminal(*arguments, NUMBA_CACHE_DIR=str(tmp_path / "kernels")) for _ in range(2)]
    assert ["compiling (once after an installation)" in text for text in shown] == [True, False]


def test_rows_are_counted_while_they_are_read(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with fit_progress(3) as (counted, _):
        assert [len(table) for table in counted([Table({"m": [1, 2, 3]}), Table({"m": [4, 5]})])] == [3, 2]
    assert "5 rows read" in capsys.readouterr().err


# -- check --


CONFIG = """
results: out
catalogs:
  stars:
    releases:
      2018: {folder}/stars.csv
      2020: [{folder}/shard_1.csv, {folder}/shard_2.csv]
    where: kind == 'a'
    columns:
      mass: {{value: m, error: [up, lo], error_scale: 0.608, unit: Msun, max_components: 3}}
      age: {{value: w, transform: log10}}
settings:
  criterion: aic
"""


@pytest.fixture
def shards(stars):
    for part in (1, 2):
        (stars.parent / f"shard_{part}.csv").write_bytes(stars.read_bytes())
    return stars.parent


def config(folder: Path, text: str = CONFIG) -> Path:
    path = folder / "config.yaml"
    path.write_text(text.format(folder=folder), encoding="utf-8")
    return path


def test_check_says_what_would_be_fitted(shards):
    result = run("check", config(shards))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "stars 2018: 6 rows in" in result.stdout
    assert "stars 2020: 12 rows in" in result.stdout
    assert result.stdout.count("  mass: m [Msun], errors (up, lo) x 0.608\n") == 2
    assert "    3 rows used, dropped: 3 cut; 1 to 3 components\n" in result.stdout
    assert "    6 rows used, dropped: 6 cut; 1 to 10 components\n" in result.stdout
    assert "  age: log10(w) [log10()], errors none\n" in result.stdout
    assert "4 fits, the number of components by AIC, into the folder out\n" in result.stdout
    assert not (shards / "out").exists()


def test_check_lists_all_problems_and_what_is_right(shards):
    text = CONFIG.replace("value: w", "value: kind").replace("{folder}/shard_1", "{folder}/lost")
    result = run("check", config(shards, text))
    assert result.exit_code == 2
    problems = result.stderr.splitlines()
    assert len(problems) == 2
    assert all(problem.startswith("mixpipe: error: ") for problem in problems)
    assert "column 'kind' has text in 6 of 6 rows" in problems[0]
    assert "catalog stars, release 2018" in problems[0]
    assert "lost.csv" in problems[1]
    assert "catalog stars, release 2020" in problems[1]
    assert "mass: m [Msun]" in result.stdout
    assert "fits" not in result.stdout


def test_check_places_what_is_wrong_with_a_cut(shards):
    found = refused("check", config(shards, CONFIG.replace("kind == 'a'", "m >")))
    assert found.count("catalog stars") == 1
    result = run("check", config(shards, CONFIG.replace("kind == 'a'", "kind > 3")))
    (problem,) = result.stderr.splitlines()
    assert problem.count("catalog stars, release") == 1
    assert " and 1 more, expected" in problem


def test_check_refuses_columns_without_a_row(shards):
    found = refused("check", config(shards, CONFIG.replace("kind == 'a'", "m > 8 and m < 9")))
    assert "no row of 6 can be used (dropped: 6 cut), in catalog stars, release 2018, column mass" in found


def test_check_refuses_a_wrong_configuration(shards):
    assert "unknown key 'colums'" in refused("check", config(shards, CONFIG.replace("columns:", "colums:")))
    assert "none.yaml" in refused("check", shards / "none.yaml")


def test_check_the_demo(root, monkeypatch):
    monkeypatch.chdir(root)
    result = run("check", "config/config.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "57 rows used, dropped: none; 1 to 6 components" in result.stdout
    assert "91 rows used, dropped: none; 1 to 6 components" in result.stdout


def test_without_a_command_the_help_is_shown():
    shown = run()
    assert shown.exit_code == 2
    assert shown.output.startswith("Usage: mixpipe [OPTIONS] COMMAND")
    assert "mixpipe: error" not in shown.output
