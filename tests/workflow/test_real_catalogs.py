"""Published catalogs from the file to the tables, against what is known of them otherwise.

One run of the workflow. Counts are taken again with Astropy and pandas, fits of one component by a plain minimisation.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.io import fits
from scipy.optimize import minimize

from tests.campaign import campaign
from tests.outputs import IMAGES, PAPER, TABLES
from tests.workflow.test_workflow import Project, rows

pytestmark = campaign

CLUSTERS = "open_clusters/gaia_edr3_members.fits"
# How the columns of the configuration are called in the file.
GAIA = {"parallax": ("Plx", "e_Plx"), "pm_ra": ("pmRA", "e_pmRA"), "pm_dec": ("pmDE", "e_pmDE")}
FEH = "metallicity_spectroscopic"
LVDB = {"globulars": "gc_harris", "dwarfs": "dwarf_all"}

ALL = [
    *(f"pleiades/edr3/{column}" for column in (*GAIA, "parallax_uas")),
    *(f"ngc_2243/edr3/{column}" for column in GAIA),
    *(f"globulars/{release}/{column}" for release in ("v1.0.0", "v1.0.5") for column in ("feh", "feh_alone")),
    "dwarfs/v1.0.5/M_V",
]


def local_volume(catalogs: Path, catalog: str, release: str) -> Path:
    return catalogs / f"local_volume/{LVDB[catalog]}_{release}.csv"


@pytest.fixture(scope="module")
def project(catalogs, root, tmp_path_factory) -> Project:
    """A project after a whole run."""
    folder = tmp_path_factory.mktemp("real") / "project"
    for part in ("workflow", "mixpipe"):
        shutil.copytree(root / part, folder / "checkout" / part)
    catalogs = catalogs.resolve()
    gaia = {name: {"value": value, "error": error} for name, (value, error) in GAIA.items()}
    cluster = {"releases": {"edr3": str(catalogs / CLUSTERS)}, "columns": gaia}
    # The oracle of this column has one Gaussian error for each row.
    feh = {"value": FEH, "error": [f"{FEH}_ep", f"{FEH}_em"], "error_model": "symmetric"}
    config = {
        "catalogs": {
            "pleiades": {
                **cluster,
                "where": "Cluster == 'Melotte_22'",
                "columns": {**gaia, "parallax_uas": {**gaia["parallax"], "unit": "uas"}},
            },
            "ngc_2243": {**cluster, "where": "Cluster == 'NGC_2243'"},
            "globulars": {
                "releases": {name: str(local_volume(catalogs, "globulars", name)) for name in ("v1.0.0", "v1.0.5")},
                "key": "key",
                "columns": {"feh": feh, "feh_alone": {"value": FEH}},
            },
            "dwarfs": {
                "releases": {"v1.0.5": str(local_volume(catalogs, "dwarfs", "v1.0.5"))},
                "key": "key",
                "columns": {"M_V": {"error": ["M_V_ep", "M_V_em"], "unit": "mag"}},
            },
        },
        "settings": {"max_components": 3},
    }
    project = Project(folder)
    project.config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    done = project.snakemake("--configfile", project.config.name)
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(scope="module")
def clusters(catalogs) -> dict[str, dict[str, np.ndarray]]:
    """The members of the two clusters as Astropy reads them."""
    with fits.open(catalogs / CLUSTERS) as hdus:
        data = hdus[1].data
        names = np.char.strip(data["Cluster"])
        return {
            catalog: {
                column: np.array(data[column][names == name], dtype=np.float64)
                for pair in GAIA.values()
                for column in pair
            }
            for catalog, name in (("pleiades", "Melotte_22"), ("ngc_2243", "NGC_2243"))
        }


def account(project: Project, path: str) -> dict[str, str]:
    release, column = path.rsplit("/", 1)
    (found,) = [row for row in rows(project.results / release / "input.csv") if row["column"] == column]
    return found


def dropped(row: dict[str, str]) -> dict[str, int]:
    return {
        name.removeprefix("dropped_"): int(row[name]) for name in row if name.startswith("dropped_") if row[name] != "0"
    }


def components(project: Project, path: str) -> pd.DataFrame:
    return pd.read_csv(project.results / path / "components.csv")


def selection(project: Project, path: str) -> pd.DataFrame:
    return pd.read_csv(project.results / path / "selection.csv").set_index("n_components")


def one_component(x: np.ndarray, err: np.ndarray) -> tuple[float, float, float]:
    """Mean, sigma and log-likelihood of the best single Gaussian, by a minimisation in mean and ln sigma."""

    def cost(theta: np.ndarray) -> float:
        total = np.exp(2.0 * theta[1]) + err**2
        return 0.5 * float(np.sum((x - theta[0]) ** 2 / total + np.log(2.0 * np.pi * total)))

    starts = [np.array([np.median(x), np.log(factor * x.std())]) for factor in (0.1, 1.0)]
    options = {"xatol": 1e-9, "fatol": 1e-10, "maxiter": 10_000, "maxfev": 10_000}
    best = min((minimize(cost, start, method="Nelder-Mead", options=options) for start in starts), key=lambda r: r.fun)
    return float(best.x[0]), float(np.exp(best.x[1])), -float(best.fun)


# Files


def test_every_file_is_there(project):
    for path in ALL:
        assert {file.name for file in (project.results / path).iterdir()} == TABLES | PAPER | IMAGES | {
            "curves.json"
        }, path
        assert all(file.stat().st_size > 0 for file in (project.results / path).iterdir())
        assert (project.results / path).parent.joinpath("input.csv").is_file()
    assert (project.results / "report.html").is_file()
    summary = rows(project.results / "summary.csv")
    assert ["/".join([row["catalog"], row["release"], row["column"]]) for row in summary] == ALL
    assert {row["converged"] for row in summary} == {"True"}


def test_second_run_plans_nothing(project):
    assert project.planned() == set()


# Gaia members of open clusters


@pytest.mark.parametrize(("catalog", "n_members"), [("pleiades", 1217), ("ngc_2243", 847)])
def test_members_are_counted(project, clusters, catalog, n_members):
    for column, pair in GAIA.items():
        x, err = (clusters[catalog][name] for name in pair)
        assert np.isfinite(x).sum() == np.isfinite(err).sum() == x.size == n_members
        row = account(project, f"{catalog}/edr3/{column}")
        assert (int(row["n_read"]), int(row["n_used"])) == (264_194, n_members)
        assert dropped(row) == {"cut": 264_194 - n_members}


def test_units_come_from_the_header_of_the_file(project):
    for catalog in ("pleiades", "ngc_2243"):
        assert set(components(project, f"{catalog}/edr3/parallax")["unit"]) == {"mas"}
        for column in ("pm_ra", "pm_dec"):
            assert set(components(project, f"{catalog}/edr3/{column}")["unit"]) == {"mas / yr"}
            assert account(project, f"{catalog}/edr3/{column}")["unit"] == "mas / yr"


def test_another_unit_scales_all_numbers(project):
    mas, uas = (components(project, f"pleiades/edr3/{column}") for column in ("parallax", "parallax_uas"))
    assert set(uas["unit"]) == {"uas"}
    assert uas["weight"].tolist() == pytest.approx(mas["weight"].tolist(), rel=1e-9)
    for name in ("mean", "mean_unc", "sigma", "sigma_unc"):
        assert uas[name].tolist() == pytest.approx((1000.0 * mas[name]).tolist(), rel=1e-6)
    # A density per uas is a thousandth of one per mas.
    logliks = [selection(project, f"pleiades/edr3/{column}")["loglik"] for column in ("parallax", "parallax_uas")]
    assert (logliks[0] - logliks[1]).tolist() == pytest.approx([1217 * np.log(1000.0)] * 3, abs=1e-5)


def test_pleiades_are_one_component_at_their_distance(project):
    found = components(project, "pleiades/edr3/parallax")
    assert len(found) == 1
    # 7.41 mas with Gaia, 135 pc; the spread of true parallaxes is that of a cluster with tidal radius of some 10 pc.
    assert found["mean"][0] == pytest.approx(7.41, abs=0.01)
    assert found["sigma"][0] < 10.0 / 135.0 * 7.41
    # Proper motion from Gaia: Lodieu et al. (2019) 19.5 and -45.5 mas/yr, the spread some 0.5 km/s and field stars.
    assert components(project, "pleiades/edr3/pm_ra")["mean"][0] == pytest.approx(19.5, abs=0.5)
    assert components(project, "pleiades/edr3/pm_dec")["mean"][0] == pytest.approx(-45.5, abs=0.5)


def test_a_distant_cluster_has_no_depth_in_parallax(project, clusters):
    (found,) = components(project, "ngc_2243/edr3/parallax").to_dict("records")
    assert found["mean"] == pytest.approx(0.254, abs=3 * found["mean_unc"])
    assert found["mean"] == pytest.approx(0.254, abs=0.001)
    # At 4 kpc depth is nothing. What is left is far below the scatter that is seen, and below the typical error.
    x, err = clusters["ngc_2243"]["Plx"], clusters["ngc_2243"]["e_Plx"]
    assert found["sigma"] < 0.25 * x.std()
    assert found["sigma"] < 0.25 * np.median(err)


@pytest.mark.parametrize(
    ("catalog", "column"), [(catalog, column) for catalog in ("pleiades", "ngc_2243") for column in GAIA]
)
def test_one_component_is_the_maximum_that_a_plain_minimisation_finds(project, clusters, catalog, column):
    x, err = (clusters[catalog][name] for name in GAIA[column])
    mean, sigma, loglik = one_component(x, err)
    path = f"{catalog}/edr3/{column}"
    assert selection(project, path)["loglik"][1] == pytest.approx(loglik, abs=1e-5)
    found = components(project, path)
    if len(found) == 1:
        assert found["mean"][0] == pytest.approx(mean, abs=1e-3 * found["mean_unc"][0])
        assert found["sigma"][0] == pytest.approx(sigma, abs=1e-3 * found["sigma_unc"][0])


def test_mean_is_weighted_by_the_inverse_of_both_variances(project, clusters):
    (found,) = components(project, "pleiades/edr3/parallax").to_dict("records")
    x, err = clusters["pleiades"]["Plx"], clusters["pleiades"]["e_Plx"]
    weights = 1.0 / (found["sigma"] ** 2 + err**2)
    # Fits stop within some 1e-4 of a standard error of the maximum.
    assert found["mean"] == pytest.approx(np.average(x, weights=weights), abs=1e-4 * found["mean_unc"])
    # For one component mean and sigma are all but independent: the error of a weighted mean.
    assert found["mean_unc"] == pytest.approx(weights.sum() ** -0.5, rel=1e-3)


def test_true_parallaxes_lie_between_value_and_mean(project, clusters):
    (found,) = components(project, "pleiades/edr3/parallax").to_dict("records")
    members = pq.read_table(project.results / "pleiades/edr3/parallax/members.parquet").to_pandas()
    x, err = clusters["pleiades"]["Plx"], clusters["pleiades"]["e_Plx"]
    np.testing.assert_allclose(members["value"], x, rtol=1e-12)
    np.testing.assert_allclose(members["err"], err, rtol=1e-12)
    total = found["sigma"] ** 2 + err**2
    np.testing.assert_allclose(members["true_mean"], (x * found["sigma"] ** 2 + found["mean"] * err**2) / total)
    np.testing.assert_allclose(members["true_unc"], found["sigma"] * err / np.sqrt(total))
    assert (members["p_1"] == 1.0).all()


@pytest.mark.parametrize(
    "path", [f"{catalog}/edr3/{column}" for catalog in ("pleiades", "ngc_2243") for column in GAIA]
)
def test_criteria_are_those_of_the_chosen_number(project, path):
    table = selection(project, path)
    n_params, n_data = 3 * table.index - 1, int(account(project, path)["n_used"])
    np.testing.assert_allclose(table["bic"], n_params * np.log(n_data) - 2 * table["loglik"])
    assert table.index[table["selected"]].tolist() == [table["bic"].idxmin()] == [len(components(project, path))]
    assert table["loglik"].is_monotonic_increasing


# Local Volume Database


def usable(frame: pd.DataFrame, value: str) -> tuple[pd.Series, pd.Series]:
    """Which rows have a value, and which of these both errors."""
    has_value = frame[value].notna()
    return has_value, has_value & frame[f"{value}_ep"].notna() & frame[f"{value}_em"].notna()


@pytest.mark.parametrize("path", [path for path in ALL if path.split("/")[0] in LVDB])
def test_rows_without_value_or_error_are_counted(project, catalogs, path):
    catalog, release, column = path.split("/")
    frame = pd.read_csv(local_volume(catalogs, catalog, release))
    has_value, has_both = usable(frame, FEH if catalog == "globulars" else column)
    expected = {"missing_value": int((~has_value).sum()), "missing_error": int((has_value & ~has_both).sum())}
    if column == "feh_alone":
        expected["missing_error"] = 0
    row = account(project, path)
    assert int(row["n_read"]) == len(frame)
    assert dropped(row) == {reason: count for reason, count in expected.items() if count}
    assert int(row["n_used"]) == len(frame) - sum(expected.values())


def test_most_dwarfs_without_an_error_have_neither(project):
    # 354 of 876 with both fields blank, one more with a lower error alone.
    row = account(project, "dwarfs/v1.0.5/M_V")
    assert dropped(row) == {"missing_value": 889 - 876, "missing_error": 354 + 1}


@pytest.mark.parametrize("release", ["v1.0.0", "v1.0.5"])
def test_globular_clusters_are_one_component_in_metallicity(project, catalogs, release):
    frame = pd.read_csv(local_volume(catalogs, "globulars", release))
    has_value, has_both = usable(frame, FEH)
    for column, used, err in (
        ("feh", has_both, 0.5 * (frame[f"{FEH}_ep"] + frame[f"{FEH}_em"])),
        ("feh_alone", has_value, pd.Series(0.0, index=frame.index)),
    ):
        (found,) = components(project, f"globulars/{release}/{column}").to_dict("records")
        x, e = frame[FEH][used].to_numpy(), err[used].to_numpy()
        mean, sigma, loglik = one_component(x, e)
        assert found["mean"] == pytest.approx(mean, abs=1e-3 * found["mean_unc"])
        assert found["sigma"] == pytest.approx(sigma, abs=1e-3 * found["sigma_unc"])
        table = selection(project, f"globulars/{release}/{column}")
        assert table["loglik"][1] == pytest.approx(loglik, abs=1e-6)
    # Without errors the maximum is mean and standard deviation.
    assert (found["mean"], found["sigma"]) == pytest.approx((x.mean(), x.std()), rel=1e-6)


@pytest.mark.parametrize("path", ["globulars/v1.0.5/feh", "dwarfs/v1.0.5/M_V"])
def test_members_are_known_by_their_key_also_where_one_comes_twice(project, catalogs, path):
    catalog, release, column = path.split("/")
    frame = pd.read_csv(local_volume(catalogs, catalog, release))
    value = FEH if catalog == "globulars" else column
    used = frame[usable(frame, value)[1]]
    members = pq.read_table(project.results / path / "members.parquet").to_pandas()
    assert members["key"].tolist() == used["key"].tolist()
    np.testing.assert_array_equal(members["value"], used[value])
    np.testing.assert_allclose(members["err"], 0.5 * (used[f"{value}_ep"] + used[f"{value}_em"]), rtol=1e-12)
    probabilities = members.filter(regex=r"^p_\d+$")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    assert members["component"].tolist() == (np.argmax(probabilities.to_numpy(), axis=1) + 1).tolist()


def test_fit_document_agrees_with_the_tables(project):
    for path in ALL:
        document = json.loads((project.results / path / "fit.json").read_text(encoding="utf-8"))
        found = components(project, path)
        assert document["n_components"] == len(found)
        assert [entry["mean"] for entry in document["components"]] == found["mean"].tolist()
        assert document["n_data"] == int(account(project, path)["n_used"])
