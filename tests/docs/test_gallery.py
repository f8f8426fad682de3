"""The joint fits of the gallery, from the configuration that is printed there to tables and figures."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mixpipe.catalog.reading import read_catalog
from mixpipe.cli import main
from tests.campaign import study

GALLERY = (Path(__file__).resolve().parents[2] / "docs" / "gallery.md").read_text(encoding="utf-8")
CONFIGS = {
    next(iter(yaml.safe_load(text)["catalogs"])): text
    for text in re.findall("```yaml\n(.*?)```", GALLERY, re.DOTALL)
    if "joint:" in text
}


pytestmark = study


def run(name: str, folder: Path, monkeypatch) -> Path:
    """The folder of the joint fit, after a run of a configuration of the gallery."""
    monkeypatch.chdir(folder)
    Path("config.yaml").write_text(CONFIGS[name], encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main(["run", "--config", "config.yaml", "--cores", "2"])
    assert not end.value.code
    (catalog,) = yaml.safe_load(CONFIGS[name])["catalogs"].values()
    (release,), (joint,) = catalog["releases"], catalog["joint"]
    found = Path("results", name, str(release), joint).absolute()
    assert {"corner.png", "selection.png", "quality.svg"} <= {path.name for path in found.iterdir()}
    assert joint in Path("results/report.html").read_text(encoding="utf-8")
    return found


@pytest.mark.skipif("MIXPIPE_CATALOGS" not in os.environ, reason="MIXPIPE_CATALOGS is not set")
def test_two_clusters_are_apart(tmp_path, monkeypatch):
    catalogs = Path(os.environ["MIXPIPE_CATALOGS"])
    (tmp_path / "open_clusters").symlink_to(catalogs / "open_clusters")
    found = run("clusters", tmp_path, monkeypatch)
    members = pd.read_parquet(found / "members.parquet")
    listed = read_catalog(catalogs / "open_clusters/gaia_edr3_members.fits", ["Cluster"])["Cluster"]
    names = np.char.strip(np.asarray(listed).astype(str))[members["row"]]
    table = pd.crosstab(names, members["component"])
    # Every star is in the component of its cluster.
    assert sorted(table.index) == ["Gulliver_15", "NGC_6561"]
    assert table.shape == (2, 2)
    assert table.max(axis=1).sum() == len(members)
    # Marginals of the joint fit and fits of the columns agree within their uncertainties.
    joint = pd.read_csv(found / "components.csv")
    for column in ("parallax", "pmRA", "pmDE"):
        alone = pd.read_csv(found.parent / column / "components.csv")
        mean = float(joint["weight"] @ joint[f"mean_{column}"])
        unc = float(
            np.sqrt(
                joint["weight"] ** 2 @ joint[f"mean_{column}_unc"] ** 2
                + (alone["weight"] ** 2) @ alone["mean_unc"] ** 2
            )
        )
        spread = float(np.ptp(joint[f"mean_{column}"])) * float(joint["weight_unc"].max())
        assert abs(mean - float(alone["weight"] @ alone["mean"])) < 2.0 * np.hypot(unc, spread)


def test_tully_fisher_relation(root, tmp_path, monkeypatch):
    (tmp_path / "config" / "demo").mkdir(parents=True)
    shutil.copy(root / "config/demo/tully_fisher_2000.csv", tmp_path / "config/demo")
    components = pd.read_csv(run("galaxies", tmp_path, monkeypatch) / "components.csv").iloc[0]
    assert components["rank"] == 1
    slope = components["sigma_R"] / components["sigma_logW20"] * np.sign(components["corr_logW20_R"])
    # With a covariance of rank 1 the long axis is the ratio of the widths. Bovy, Hogg & Roweis (2011) publish these.
    assert slope == pytest.approx(-8.79, abs=0.02)
    assert components["mean_R"] + slope * (2.5 - components["mean_logW20"]) == pytest.approx(-20.64, abs=0.02)


def test_stellar_halo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.search("(>>> rng = np.random.default_rng\\(11\\).*?)\n\n```", GALLERY, re.DOTALL)[1]
    names = {"np": np, "pd": pd}
    exec(re.sub("^(>>>|\\.\\.\\.) ?", "", code, flags=re.MULTILINE), names)
    found = run("halo", tmp_path, monkeypatch)
    components = pd.read_csv(found / "components.csv")
    truth = {
        "feh": ([-1.4, -0.2], [0.4, 0.2]),
        "vphi": ([20.0, 215.0], [90.0, 25.0]),
        "vr": ([0.0, 0.0], [130.0, 35.0]),
    }
    assert len(components) == 2
    for column, (means, sigmas) in truth.items():
        for kind, values in (("mean", means), ("sigma", sigmas)):
            pulls = (components[f"{kind}_{column}"] - values) / components[f"{kind}_{column}_unc"]
            assert np.abs(pulls).max() < 3.5
    members, halo = pd.read_parquet(found / "members.parquet"), names["halo"]
    assert np.mean((members["component"] == 1) == halo) > 0.97
    # True velocities of the stars without one: pulls of unit width.
    lacking = members["value_vr"].isna()
    pulls = ((members["true_mean_vr"] - names["true"][:, 2]) / members["true_unc_vr"])[lacking]
    assert pulls.std() == pytest.approx(1.0, abs=0.1)
    predicted = pd.read_parquet(found / "predict.parquet")
    assert np.allclose(predicted["mean_vr"][lacking], members["true_mean_vr"][lacking])
