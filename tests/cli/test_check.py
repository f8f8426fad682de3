"""What a run refuses, or cannot fit, `mixpipe check` says before."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.base.errors import PassingError
from mixpipe.config.settings import load_config
from mixpipe.pipeline.fit import fit_column
from mixpipe.pipeline.ingest import ingest_release
from mixpipe.pipeline.plan.run import Run
from mixpipe.pipeline.plan.texts import FIT_FILES
from mixpipe.results.tables import COLUMNS


def write(column: dict, results: str = "out", **catalog: object) -> None:
    entry = {"releases": {"a": ["a.parquet", "b.parquet"]}, "columns": {"x": column, "good": {}}, **catalog}
    settings = {"max_components": 1, "quality_draws": 0, "estimators": ["em"]}
    config = {"results": results, "catalogs": {"c": entry}, "settings": settings}
    Path("mine.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def check() -> tuple[int, list[str]]:
    result = CliRunner().invoke(cli.main, ["check", "mine.yaml"], prog_name="mixpipe", env={"COLUMNS": "200"})
    assert isinstance(result.exception, SystemExit | None)
    return result.exit_code, result.stderr.splitlines()


@pytest.fixture
def catalog(tmp_path, monkeypatch) -> None:
    """Two files of a release, with columns of many kinds."""
    monkeypatch.chdir(tmp_path)
    for name, numbers, text in (("a", [1.0, 2.0, 3.0], 7.0), ("b", [1.5, 2.5, 3.5], "seven")):
        columns = {
            "good": numbers,
            "below": [-value for value in numbers],
            "nothing": [np.nan] * 3,
            "words": ["a", "b", "c"],
            "arrays": [[1.0, 2.0]] * 3,
            "mixed": [text] * 3,
            "zero": [0.0] * 3,
            "huge": [1e200] * 3,
        }
        pq.write_table(pa.table(columns), f"{name}.parquet")


def stages(column: str) -> dict:
    """The fit.json that the jobs of a column leave."""
    run = Run(load_config("mine.yaml"))
    parts = run.ingested("c", "a", column)
    for part in parts:
        ingest_release(run.ingest("c", "a", Path(part).stem), part)
    outputs = {name: f"out/c/a/{column}/{file}" for name, file in FIT_FILES.items()}
    fit_column(run.fit("c", "a", column), parts, **outputs)
    return json.loads(Path(outputs["fit"]).read_text(encoding="utf-8"))


DEAD = {
    "no numbers": {"value": "nothing"},
    "text": {"value": "words"},
    "text in the second file": {"value": "mixed"},
    "arrays": {"value": "arrays"},
    "logarithm of what is below zero": {"value": "below", "transform": "log10"},
    "bounds without a row": {"value": "good", "truncated": [10, 20]},
    "no weight": {"value": "good", "weight": "zero"},
    "errors below zero": {"value": "good", "error": "below"},
    "numbers too large": {"value": "huge"},
    "family of positive values": {"value": "below", "families": ["lognormal"]},
    "estimator of plain values": {"value": "good", "estimators": ["moments"], "truncated": [0, 20]},
    "background alone": {"value": "good", "background": "uniform"},
}


@pytest.mark.parametrize("column", DEAD.values(), ids=list(DEAD))
def test_column_that_fails(catalog, column):
    write(column)
    status, problems = check()
    assert status == 2
    assert len(problems) == 1
    assert problems[0].startswith("mixpipe: error: ")
    document = stages("x")
    assert (document["status"], document["account"]["n_read"], document["account"]["n_used"]) == ("failed", 6, 0)
    assert sum(document["account"]["dropped"].values()) == 6
    assert problems[0].startswith(f"mixpipe: error: {document['failure']['what']}, ")
    assert stages("good")["status"] == "fitted"


def test_tables_of_a_failed_column_have_the_columns_of_any(catalog):
    write({"value": "nothing"})
    for name in ("x", "good"):
        stages(name)
    for table, columns in COLUMNS.items():
        headers = [Path(f"out/c/a/{name}/{table}.csv").read_text().splitlines()[0] for name in ("x", "good")]
        # A covariance has one column more for each parameter.
        more = ",weight_1,mean_1,sigma_1" if table == "covariance" else ""
        assert headers == [",".join(columns), ",".join(columns) + more]


def test_what_may_pass_is_no_record(catalog):
    """A file that changes between planning and reading: the job fails, and the next run does it again."""
    write({"value": "good"})
    run = Run(load_config("mine.yaml"))
    (part,) = run.ingested("c", "a", "x")
    ingest_release(run.ingest("c", "a", Path(part).stem), part)
    outputs = {name: f"out/c/a/x/{file}" for name, file in FIT_FILES.items()}
    other = json.loads(run.fit("c", "a", "x"))
    other["files"][0][1] = "0" * 64
    with pytest.raises(PassingError, match="1 of 2 files changed after this job was planned"):
        fit_column(json.dumps(other), [part], **outputs)
    content = bytearray(Path(part).read_bytes())
    content[4:40] = bytes(36)  # of the first page
    Path(part).write_bytes(content)
    with pytest.raises(PassingError):
        fit_column(run.fit("c", "a", "x"), [part], **outputs)
    assert not Path("out/c/a/x").exists()


@pytest.mark.parametrize(
    ("results", "what"),
    [
        (".", "found ., the working folder or one around it"),
        ("./", "found ./, the working folder or one around it"),
        ("..", "found .., the working folder or one around it"),
        ("there/..", "found there/.., the working folder or one around it"),
        ("/", "found /, the working folder or one around it"),
        ("a.parquet", "a file where a folder is to be"),
        ("a.parquet/out", "a file where a folder is to be"),
        ("x" * 256, "paths of results that are too long for the file system"),
        ("/".join(["x" * 200] * 11), "paths of results that are too long for Snakemake"),
    ],
)
def test_place_of_results(catalog, results, what):
    write({"value": "good"}, results=results)
    Path("there").mkdir()
    status, problems = check()
    assert status == 2
    assert [problem.startswith(f"mixpipe: error: {what}, in ") for problem in problems] == [True]


def test_longest_name_of_a_folder_is_no_problem(catalog):
    write({"value": "good"}, results="x" * 255)
    assert check() == (0, [])


def test_a_name_that_is_no_text(catalog):
    name = b"caf\xe9.parquet"
    with open(name, "wb") as file:
        file.write(Path("a.parquet").read_bytes())
    write({"value": "good"}, releases={"a": "caf*.parquet"})
    status, problems = check()
    assert status == 2
    assert problems[0].startswith("mixpipe: error: a name of a file that is not in UTF-8, in ")


@pytest.mark.parametrize("key", ["value", "true_mean", "p_12", "component"])
def test_key_with_the_name_of_a_result(catalog, key):
    for name in ("a", "b"):
        pq.write_table(pq.read_table(f"{name}.parquet").append_column(key, pa.array([1, 2, 3])), f"{name}.parquet")
    write({"value": "good"}, key=key)
    taken = "has the name of a column of members.parquet"
    expected = f"the key {key!r} {taken}, in catalog c, expected a key of another name"
    assert check() == (2, [f"mixpipe: error: {expected}"])
