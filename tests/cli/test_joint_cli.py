"""Joint fits from the command line: `fit --joint`, `check`, `init`, `reproduce`, and a run."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.table import Table

from mixpipe.cli import main
from mixpipe.cli.init.joints import suggest_joints
from mixpipe.cli.init.suggestions import Suggestion
from mixpipe.config.settings import parse_config
from tests.campaign import campaign
from tests.outputs import PAPER

N = 240


@pytest.fixture(scope="module")
def table() -> Table:
    """Two groups in u and v with correlated errors; v is missing in every tenth row."""
    rng = np.random.default_rng(5)
    group = np.arange(N) % 3 == 0
    true = np.where(group[:, None], rng.normal([0.0, 0.0], [1.0, 0.5], (N, 2)), rng.normal([6.0, 3.0], 0.7, (N, 2)))
    e_u, e_v, c = rng.uniform(0.1, 0.4, N), rng.uniform(0.1, 0.3, N), rng.uniform(-0.8, 0.8, N)
    noise = rng.standard_normal((N, 2))
    x = true + np.stack([e_u * noise[:, 0], e_v * (c * noise[:, 0] + np.sqrt(1 - c**2) * noise[:, 1])], axis=1)
    x[::10, 1] = np.nan
    return Table({"name": np.arange(N), "u": x[:, 0], "v": x[:, 1], "e_u": e_u, "e_v": e_v, "u_v_corr": c})


@pytest.fixture
def catalog(table, tmp_path, monkeypatch):
    table.write(tmp_path / "stars.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FIT = ["fit", "stars.csv", "--joint", "u,v", "--error", "e_u,e_v", "--correlation", "u_v_corr"]


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code or 0


def test_numbers_are_those_of_the_library(catalog, table, capsys):
    import mixpipe

    assert run(*FIT, "--n-components", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    err = np.stack([table["e_u"], table["e_v"]], axis=1)
    cov = err[:, :, None] * err[:, None, :]
    cov[:, 0, 1] = cov[:, 1, 0] = cov[:, 0, 1] * table["u_v_corr"]
    x = np.stack([table["u"], table["v"]], axis=1)
    fit = mixpipe.fit_mixture(x, cov=cov, n_components=2)
    assert found["loglik"] == pytest.approx(fit.loglik, abs=1e-6)
    assert found["names"] == ["u", "v"]
    for j, component in enumerate(found["components"]):
        assert component["mean_u"] == pytest.approx(fit.mixture.means[j, 0], abs=1e-5)
        assert component["sigma_v"] == pytest.approx(fit.mixture.sigmas[j, 1], abs=1e-4)
        assert component["corr_u_v"] == pytest.approx(fit.mixture.correlations[j, 0, 1], abs=1e-4)
    assert found["patterns"] == [{"columns": ["u", "v"], "n_rows": 216}, {"columns": ["u"], "n_rows": 24}]


def test_tables_and_figures_are_written_and_reproduced(catalog, capsys):
    assert run(*FIT, "--max-components", "2", "--out", "out", "--figure", "corner.pdf") == 0
    text = capsys.readouterr().out
    assert "2 components (chosen by BIC), converged" in text
    assert "24 rows with u" in text
    assert "raise --max-components above 2" in text
    assert (catalog / "corner.pdf").read_bytes().startswith(b"%PDF")
    assert {path.name for path in (catalog / "out").iterdir()} >= {
        "components.csv",
        "selection.csv",
        "intervals.csv",
        "covariance.csv",
        "members.parquet",
        "fit.json",
        "corner.png",
        "quality.svg",
        *PAPER,
    }
    members = pd.read_parquet(catalog / "out" / "members.parquet")
    assert len(members) == N
    assert members["true_mean_v"].notna().all()
    assert members["value_v"].isna().sum() == 24
    # A missing value is known by its group and its companion, no better than a measured one.
    lacking = members["value_v"].isna()
    assert members.loc[lacking, "true_unc_v"].min() > members.loc[~lacking, "true_unc_v"].max()
    assert run("reproduce", "out") == 0
    assert "the same numbers, to the last bit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--joint", "u"], "two or more columns with commas between"),
        (["--joint", "u,w"], "no column 'w', in stars.csv"),
        (["--joint", "u,v", "--error", "e_u"], "found 1 error for 2 columns, in option --error"),
        (["--joint", "u,v", "--correlation", "u,w,c"], "a correlation of 'w', in option --correlation"),
        (["--joint", "u,v", "--correlation", "u,v,1.5"], "found 1.5, in option --correlation, expected a column, or a"),
        (["--joint", "u,u"], "found 'u' twice, in option --joint"),
        (["--joint", "u,v", "--unit", "m,s,K"], "found 3 values for 2 columns, in option --unit"),
        (["--joint", "u,v", "--error", "e_u,none", "--sigma-floor", "0"], "sigma_floor 0 for 'v'"),
        (["--joint", "u,v", "--correlation", "u,v"], "in option --correlation, expected A,B,COL"),
        (["--joint", "u,v", "--families", "laplace"], "--families beside --joint"),
        (["--joint", "u,v", "--structure", "round"], "found round, in option --structure"),
        (["--value", "u", "--correlation", "u_v_corr"], "--correlation without --joint"),
    ],
)
def test_mistakes_end_in_one_line(catalog, capsys, options, message):
    assert run("fit", "stars.csv", *options) == 2
    assert message in capsys.readouterr().err


@campaign
def test_columns_may_have_any_names_and_units_of_their_own(catalog, table, capsys):
    table = table.copy()
    table.rename_columns(["u", "v", "u_v_corr"], ["U (km/s)", "joint", "ρ [u,v]"])
    table.write(catalog / "odd.csv")
    columns = ["--joint", "U (km/s),joint", "--error", "e_u,e_v", "--correlation", "ρ [u,v]"]
    assert run("fit", "odd.csv", *columns[:4], "--unit", "km/s,mas", "--n-components", "2", "--json") == 0
    odd = json.loads(capsys.readouterr().out)
    assert run("fit", "stars.csv", *FIT[2:6], "--n-components", "2", "--json") == 0
    assert odd["loglik"] == json.loads(capsys.readouterr().out)["loglik"]
    assert odd["names"] == ["U (km/s)", "joint"]
    assert [odd["components"][0][f"unit_{name}"] for name in odd["names"]] == ["km/s", "mas"]


def test_check_tells_rows_by_what_they_have(catalog, capsys):
    config = {
        "catalogs": {
            "stars": {
                "releases": {"1": "stars.csv"},
                "joint": {
                    "both": {
                        "columns": ["u", "v"],
                        "error": {"u": "e_u", "v": "e_v"},
                        "correlation": [["u", "v", "u_v_corr"]],
                    }
                },
            }
        }
    }
    (catalog / "config.yaml").write_text(yaml.safe_dump(config))
    assert run("check", "config.yaml") == 0
    text = capsys.readouterr().out
    assert "both: u, v; errors e_u, e_v; correlations u-v u_v_corr" in text
    assert "216 rows with u, v" in text
    assert "24 rows with u\n" in text
    assert "1 fit, " in text


def test_init_proposes_what_is_correlated(catalog, capsys):
    assert run("init", "stars.csv") == 0
    text = capsys.readouterr().out
    (found,) = parse_config(yaml.safe_load(text)).catalogs
    assert [joint.correlation for joint in found.joints] == [(("u", "v", "u_v_corr"),)]


@pytest.mark.parametrize(
    ("values", "others", "correlated", "customary"),
    [
        (["Plx", "pmRA", "pmDE"], ["PlxpmRAcor", "pmRApmDEcor"], [["Plx", "pmRA", "pmDE"]], []),
        (["parallax", "pmra", "pmdec"], [], [], [["parallax", "pmra", "pmdec"]]),
        (["U", "V", "W", "mass"], [], [], [["U", "V", "W"]]),
        (["B-V", "V-I", "mass"], [], [], [["B-V", "V-I"]]),
        (["mass", "spin"], ["rho_mass_spin"], [["mass", "spin"]], []),
        (["mass", "spin"], [], [], []),
    ],
)
def test_what_belongs_together(values, others, correlated, customary):
    fitted = [Suggestion(value, {"error": f"e_{value}"}, "") for value in values]
    found = suggest_joints(fitted, [*values, *others], set())
    assert [[entry.keys["columns"] for entry in part] for part in found] == [correlated, customary]
