"""What is known of components, from the configuration and the command line to the tables and back."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.base.errors import ConfigError
from mixpipe.config.settings import parse_config
from mixpipe.pipeline.fit import fit_column
from mixpipe.pipeline.ingest import ingest_release
from mixpipe.pipeline.plan.run import Run
from mixpipe.pipeline.plan.texts import FIT_FILES
from mixpipe.results.record import load_record
from mixpipe.results.tables import read_fit


@pytest.fixture
def catalog(tmp_path, monkeypatch) -> Path:
    """Two populations; a fifth of the rows have a label, and all a prior."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    old = rng.random(300) < 0.3
    err = rng.lognormal(-1.0, 0.4, 300)
    x = np.where(old, rng.normal(0.0, 1.0, 300), rng.normal(4.0, 1.0, 300)) + err * rng.normal(size=300)
    label = np.where(rng.random(300) < 0.2, np.where(old, "old", "young"), "")
    rows = zip(x, err, label, np.where(old, 0.8, 0.2), strict=True)
    lines = [f"{a:.5f},{b:.4f},{c},{d}" for a, b, c, d in rows]
    (tmp_path / "stars.csv").write_text("\n".join(["x,err,kind,p", *lines]) + "\n", encoding="utf-8")
    return tmp_path / "stars.csv"


def fitted(**keys) -> Path:
    """The folder with the tables of a column with these keys."""
    column = {"error": "err", "max_components": 3, **keys}
    run = Run(parse_config({"catalogs": {"s": {"releases": {"a": "stars.csv"}, "columns": {"x": column}}}}))
    (part,) = run.ingested("s", "a", "x")
    ingest_release(run.ingest("s", "a", Path(part).stem), "columns.parquet")
    fit_column(run.fit("s", "a", "x"), ["columns.parquet"], **{name: f"out/{name}" for name in FIT_FILES})
    return Path("out")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_constraints_reach_the_tables_and_come_back(catalog):
    out = fitted(constraints={"fixed": {"means": [0, None]}, "equal_sigmas": True})
    first, second = rows(out / "components")
    assert (first["mean"], first["mean_unc"], first["constraint"]) == ("0.0", "nan", "mean given, sigma tied")
    assert first["sigma"] == second["sigma"] and first["sigma_unc"] == second["sigma_unc"]
    assert [row["n_params"] for row in rows(out / "selection")] == ["1", "3", "5"]
    again = read_fit(load_record(out / "fit"), str(out / "fit"))
    assert [rule.text for rule in again.mixture.constraints] == ["mean given, sigma tied", "sigma tied"]
    assert again.mixture.constraints[0].mean == 0.0


def test_members_know_their_labels(catalog):
    out = fitted(membership="kind")
    members = pq.read_table(out / "members").to_pandas()
    labels = np.array([row["kind"] for row in rows(catalog)])
    assert [row["constraint"] for row in rows(out / "components")] == ["members of old", "members of young"]
    assert np.all(members.component[labels == "old"] == 1) and np.all(members.component[labels == "young"] == 2)
    assert np.all(members.p_1[labels == "old"] == 1.0)
    unknown = members.p_1[labels == ""]
    assert 0.1 < unknown.mean() < 0.5 and np.all(unknown < 1.0)


def test_a_scale_of_the_errors_reaches_the_rows(catalog):
    out = fitted(error_scale="fit", constraints={"fixed": {"sigmas": [1.0, 1.0]}})
    record = json.loads((out / "fit").read_text(encoding="utf-8"))
    assert abs(record["error_scale"] - 1.0) < 4.0 * record["error_scale_unc"] < 1.5
    members = pq.read_table(out / "members").to_pandas()
    given = np.array([float(row["err"]) for row in rows(catalog)])
    np.testing.assert_allclose(members.err, record["error_scale"] * given, rtol=1e-12)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"constraints": {"fixd": {}}}, "unknown key 'fixd'"),
        ({"constraints": {"fixed": {"weights": [2]}}}, "the weight of component 1 is 2"),
        ({"constraints": {"tied": {"means": ["a"]}}}, "found a"),
        ({"constraints": {"known": [{"mu": 1}]}}, "unknown key 'mu'"),
        ({"start": {"means": [1]}}, "no key 'sigmas'"),
        ({"start": {"means": [1, 2], "sigmas": [1]}}, "lists of different lengths"),
        ({"error_scale": "fitted"}, "found fitted"),
        ({"error_scale": "fit", "error": "none"}, "error_scale fit without errors"),
        ({"prior": {"rows": 3}}, "unknown key 'rows'"),
        ({"mixed": ["cauchy"]}, "found"),
        ({"membership": []}, "found"),
    ],
)
def test_mistakes_in_the_configuration_are_named_before_anything_is_read(keys, message):
    with pytest.raises(ConfigError, match=message):
        parse_config({"catalogs": {"s": {"releases": {"a": "none.csv"}, "columns": {"x": keys}}}})


def fit(*options: str):
    return CliRunner().invoke(
        cli.main, ["fit", "stars.csv", "--value", "x", "--error", "err", "--n-components", "2", *options]
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fix", "mean=0:1", "--fix", "sigma=1:2"], ["mean given", "sigma given"]),
        (["--tie", "sigma=1:1", "--tie", "sigma=2:2"], ["sigma tied"]),
        (["--equal-sigmas"], ["sigma tied"]),
        (["--known", "mean=0,sigma=1"], ["mean and sigma given"]),
        (["--membership", "kind"], ["members of old"]),
        (["--membership", "p"], ["members of 1"]),
        (["--mixed", "gaussian", "--mixed", "laplace"], ["2 components"]),
        (["--start", "0,1;4,1"], ["2 components"]),
        (["--error-scale", "fit", "--fix", "sigma=1"], ["all errors are multiplied by"]),
        (["--prior-rows", "2"], ["a prior of 2 rows for each component"]),
    ],
)
def test_options_of_the_command_line(catalog, options, words):
    done = fit(*options)
    assert done.exit_code == 0, done.output
    for word in words:
        assert word in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fix", "mean"], "found mean, in option --fix, expected PART=NUMBER:COMPONENT"),
        (["--fix", "mean=x:1"], "found 'x', in option --fix, expected a number"),
        (["--tie", "sigma=1:1"], "one of the sigmas alone"),
        (["--known", "mu=0"], "found mu=0, in option --known"),
        (["--start", "0;4"], "found 0;4, in option --start"),
        (["--membership", "none"], "no column 'none'"),
        (["--membership", "x"], "outside 0 to 1"),
        (["--equal-sigmas", "--estimator", "moments"], "estimator moments with"),
    ],
)
def test_mistakes_on_the_command_line_end_in_one_line(catalog, options, message):
    done = fit(*options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
