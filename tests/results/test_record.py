"""fit.json as types: whole and back again, old files, later ones and damaged ones, and all that the demo writes."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.base.errors import CatalogError
from mixpipe.config.settings import load_config
from mixpipe.pipeline.account import account_release
from mixpipe.pipeline.compare import compare_releases
from mixpipe.pipeline.density_figure import draw_density_figure
from mixpipe.pipeline.figures import draw_figures
from mixpipe.pipeline.fit import fit_column, read_start
from mixpipe.pipeline.ingest import ingest_release
from mixpipe.pipeline.manifest import record_run
from mixpipe.pipeline.members import write_fits_members
from mixpipe.pipeline.plan.changes import find_changed
from mixpipe.pipeline.plan.run import Run
from mixpipe.pipeline.plan.texts import FIT_FILES
from mixpipe.pipeline.report import render_report
from mixpipe.pipeline.summary import summarise
from mixpipe.results.provenance import code_hash
from mixpipe.results.record import (
    VERSION,
    BimodalityRecord,
    LaterRecordError,
    RecordError,
    ResolutionRecord,
    StartComponent,
    StartRecord,
    find_record,
    load_record,
    load_records,
    open_fit,
)
from tests.records import density_record, failed_record, fit_record

START = StartRecord(
    release="dr0",
    won=True,
    gain=2.5,
    components=(StartComponent(weight=1.0, mean=1.5, sigma=0.5, family="gaussian", shape=None),),
)
RESOLUTION = ResolutionRecord(
    floor=0.1, cause="grid", grain=0.3, step=0.5, smallest_error=0.01, n_rows=3.0, n_repeated=0.0, first_row="row 8"
)
BIMODALITY = BimodalityRecord(
    n_selected=2, family="gaussian", separation=3.0, separation_unc=None, likelihood_ratio=20.0,
    likelihood_ratio_pvalue=0.01, n_draws=99, dip=0.1, dip_pvalue=0.001, kurtosis=-1.0, kurtosis_intrinsic=-1.2,
    n_values=50,
)  # fmt: skip
COVARIANCE = ((0.0, 0.0, math.nan), (0.0, 0.01, math.nan), (math.nan, math.nan, math.nan))
RECORDS = {
    "fit": fit_record(),
    "fit with all that it may have": fit_record(
        start=START,
        resolution=RESOLUTION,
        truncated=(-math.inf, 3.0),
        options={"value": "m"},
        sketch={"n_points": 5},
        covariance=COVARIANCE,
        bimodality=BIMODALITY,
    ),
    "fit whose start has not won": fit_record(start=StartRecord(release="dr0", won=False)),
    "densities": density_record(),
    "failed values": failed_record(start=StartRecord(release="dr0", won=False)),
    "failed densities": failed_record(kind="densities"),
}


@pytest.fixture(params=RECORDS.values(), ids=list(RECORDS))
def record(request):
    return request.param


def keys(text: str) -> dict:
    return json.loads(text, parse_constant=lambda name: pytest.fail(name))


def edited(folder: Path, record, /, **changes) -> Path:
    """A file with other values of some keys, or without them."""
    document = {**keys(record.to_json()), **changes}
    path = folder / "fit.json"
    path.write_text(json.dumps({key: value for key, value in document.items() if value != "LEFT OUT"}))
    return path


# ----- whole and back again


def test_round_trip(record, tmp_path):
    path = tmp_path / "fit.json"
    record.write(path)
    back = load_record(path)
    assert (back, type(back)) == (record, type(record))
    assert back.to_json().encode() == path.read_bytes()
    assert keys(back.to_json())["record"] == VERSION


def test_what_is_not_finite_is_none_from_the_beginning(tmp_path):
    components = (replace(fit_record().components[0], sigma_unc=np.float64(math.nan), mean=np.float64(0.1)),)
    record = fit_record(loglik=-math.inf, components=components, bic=np.float64(2.0), n_params=np.int64(2))
    record.write(tmp_path / "fit.json")
    assert load_record(tmp_path / "fit.json") == record
    assert (record.loglik, record.components[0].sigma_unc, record.components[0].mean) == (None, None, 0.1)
    assert type(record.bic) is float and type(record.n_params) is int


def test_keys_and_their_order():
    """As docs and programs of users know them; the version is in front."""
    assert list(keys(fit_record().to_json())) == [
        *("record", "catalog", "release", "column", "status", "n_data", "unit", "estimator", "criterion"),
        *("n_components", "n_params", "loglik", "entropy", "bic", "aic", "icl", "converged", "remaining_gain"),
        *("n_passes", "sigma_floor", "resolution", "components", "selection", "quality", "warnings", "start"),
        *("sketch", "estimators", "intervals", "likelihood_ratio", "truncated", "window", "covariance", "bimodality"),
        *("account", "plan", "command", "versions"),
    ]
    assert list(keys(failed_record().to_json())) == [
        *("record", "catalog", "release", "column", "status", "failure", "unit", "n_data", "n_components"),
        *("converged", "warnings", "account", "plan", "command", "versions", "criterion", "start"),
    ]
    names = ["column", "n_read", "n_used", "dropped"]
    rows = ["n_upper_limits", "n_lower_limits", "weight_kind", "n_effective"]
    files = ["unit", "value", "error", "files"]
    assert list(keys(fit_record().to_json())["account"]) == names + rows + files
    assert list(keys(density_record().to_json())["account"]) == [*names, "normalisation", *files]
    assert list(keys(failed_record().to_json())["account"]) == names + files + rows[:2]
    assert "options" not in keys(fit_record().to_json())
    assert list(keys(fit_record(options={}).to_json()))[-2:] == ["options", "versions"]


def test_several_in_a_row(tmp_path):
    """As the fits of a release are handed to the next one."""
    path = tmp_path / "start.json"
    path.write_text("".join(record.to_json() for record in RECORDS.values()), encoding="utf-8")
    assert list(load_records(path)) == list(RECORDS.values())
    path.write_text(failed_record(column="a").to_json() + fit_record(column="b").to_json(), encoding="utf-8")
    assert read_start(str(path), "a").mixture is None
    assert read_start(str(path), "b").mixture.means.tolist() == [1.5]
    with pytest.raises(RecordError, match=r"no fit of column c, in .*start\.json"):
        read_start(str(path), "c")


def test_a_record_is_read_without_the_numerics():
    code = "import sys, mixpipe.results.record; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert "mixpipe.results.record" in done.stdout.split()
    assert not {"numpy", "numba", "scipy", "astropy", "pandas"} & set(done.stdout.split())


# ----- old files, and later ones


def test_an_old_file_without_a_version_is_read(record, tmp_path):
    assert load_record(edited(tmp_path, record, record="LEFT OUT")) == record


def test_an_old_file_may_lack_what_came_later(tmp_path):
    record = fit_record(resolution=RESOLUTION)
    document = keys(record.to_json())
    del document["record"], document["resolution"], document["status"]
    del document["components"][0]["effective_rows"], document["account"]["weight_kind"]
    del document["covariance"], document["bimodality"]
    (tmp_path / "fit.json").write_text(json.dumps(document))
    assert load_record(tmp_path / "fit.json") == replace(record, resolution=None)


def test_an_old_file_that_lacks_what_is_needed_is_refused(tmp_path):
    path = edited(tmp_path, fit_record(), record="LEFT OUT", selection="LEFT OUT")
    with pytest.raises(RecordError) as refused:
        load_record(path)
    assert str(refused.value) == (
        f"no fit, or a damaged one without a version: key selection is missing, in {path}, "
        f"expected the fit.json of a fit (version {VERSION} of its format), or its folder: run the fit again"
    )


def test_a_later_version_is_refused(record, tmp_path):
    path = edited(tmp_path, record, record=VERSION + 1)
    with pytest.raises(LaterRecordError) as refused:
        load_record(path)
    assert str(refused.value) == (
        f"a fit.json of version {VERSION + 1}, by a later mixpipe, in {path}, "
        f"expected version {VERSION} of its format: run the fit again, or update mixpipe"
    )
    assert find_record(path) is None


@pytest.mark.parametrize("version", [None, "1", 1.0, True, -1, [1]])
def test_what_is_no_version_is_refused(tmp_path, version):
    with pytest.raises(RecordError, match=r"key record is .*, not a version, in .*fit\.json"):
        load_record(edited(tmp_path, fit_record(), record=version))


# ----- damaged files


def test_a_truncated_file_is_refused(record, tmp_path):
    """Wherever it ends."""
    text, path = record.to_json().rstrip(), tmp_path / "fit.json"
    for end in range(0, len(text), 97):
        path.write_text(text[:end], encoding="utf-8")
        with pytest.raises(RecordError, match=r"^no fit \(not JSON\), in .*fit\.json, expected "):
            load_record(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"NaN", b"{} {}", b"[" * 100_000, b"[1]", b"null", b"{}"])
def test_what_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "fit.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"^no fit.*, in .*fit\.json, expected "):
        load_record(path)


NEEDED = {
    "fit": (
        fit_record(),
        {"status", "resolution", "options", "record", "start", "window", "covariance", "bimodality"},
    ),
    "densities": (density_record(), {"status", "record", "kind", "truncated", "means"}),
    "failed": (
        failed_record(),
        {"status", "record", "unit", "n_data", "n_components", "converged", "warnings", "start"},
    ),
}


@pytest.mark.parametrize(("whole", "optional"), NEEDED.values(), ids=list(NEEDED))
def test_every_key_that_is_missing_is_named(tmp_path, whole, optional):
    for key in keys(whole.to_json()).keys() - optional:
        with pytest.raises(RecordError, match=rf"of version {VERSION}: key {key} is missing, in .*fit\.json"):
            load_record(edited(tmp_path, whole, **{key: "LEFT OUT"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_components": "two"}, 'key n_components is "two", not a whole number'),
        ({"n_components": 2.5}, "key n_components is 2.5, not a whole number"),
        ({"n_data": True}, "key n_data is true, not a number"),
        ({"n_data": None}, "key n_data is null, not a number"),
        ({"converged": 1}, "key converged is 1, not true or false"),
        ({"catalog": 7}, "key catalog is 7, not a text"),
        ({"warnings": "none"}, 'key warnings is "none", not a list'),
        ({"warnings": [1]}, "key warnings[0] is 1, not a text"),
        ({"components": [{"weight": 1.0}]}, "key components[0].weight_unc is missing"),
        ({"components": [7]}, "key components[0] is 7, not an object"),
        ({"quality": None}, "key quality is null, not an object"),
        ({"truncated": [1.0]}, "key truncated is [1.0], not a list of 2"),
        ({"versions": {"numpy": 2}}, "key versions.numpy is 2, not a text"),
        ({"plan": {"column": {"transform": "none"}}}, "key plan.key is missing"),
        ({"plan": {"key": None, "column": {}}}, "key plan.column.transform is missing"),
        ({"plan": {"key": None, "column": 3}}, "key plan.column is missing"),
        ({"status": "maybe"}, 'key status is "maybe", not one of fitted, failed'),
        ({"kind": "tables"}, 'key kind is "tables", not one of values, densities, joint'),
        ({"status": []}, "key status is [], not one of fitted, failed"),
    ],
)
def test_a_value_of_another_type_is_named(tmp_path, changes, words):
    path = edited(tmp_path, fit_record(), **changes)
    with pytest.raises(RecordError) as refused:
        load_record(path)
    assert refused.value.what == f"no fit, or a damaged one of version {VERSION}: {words}"
    assert refused.value.where == f"in {path}"


def test_a_missing_file_is_no_damaged_one(tmp_path):
    with pytest.raises(CatalogError, match="no fit \\(No such file or directory\\)") as refused:
        load_record(tmp_path / "fit.json")
    assert not isinstance(refused.value, RecordError)
    assert find_record(tmp_path / "fit.json") is None


def test_only_fits_to_values_are_opened(tmp_path):
    fit_record().write(tmp_path / "fit.json")
    assert open_fit(tmp_path) == open_fit(tmp_path / "fit.json") == (tmp_path / "fit.json", fit_record())
    for record, words in ((density_record(), "fits to tabulated densities"), (failed_record(), "no row of 10")):
        record.write(tmp_path / "fit.json")
        with pytest.raises(CatalogError, match=words):
            open_fit(tmp_path)


# ----- what reads them


BROKEN = {
    "of a later version": ({"record": VERSION + 1}, f"a fit.json of version {VERSION + 1}, by a later mixpipe, in "),
    "without a key": (
        {"column": "LEFT OUT"},
        f"no fit, or a damaged one of version {VERSION}: key column is missing, in ",
    ),
}


@pytest.fixture(params=BROKEN.values(), ids=list(BROKEN))
def broken(request, tmp_path):
    """A folder with a fit.json that cannot be used, and how the refusal begins."""
    changes, words = request.param
    return edited(tmp_path, fit_record(), **changes), words


@pytest.mark.parametrize("command", [("reproduce", "FIT"), ("compare", "FIT", "FIT"), ("reproduce", "FOLDER")])
def test_commands_refuse_it_in_one_line(broken, command):
    path, words = broken
    given = {"FIT": str(path), "FOLDER": str(path.parent)}
    done = CliRunner().invoke(cli.main, [given.get(word, word) for word in command], prog_name="mixpipe")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"mixpipe: error: {words}{path}, expected ")
    assert "run the fit again" in done.stderr


def test_components_that_make_no_mixture_are_refused_in_one_line(tmp_path):
    component = keys(fit_record().to_json())["components"][0]
    for changes in ({"weight": 0.5}, {"family": "cubic"}, {"sigma": -1.0}):
        path = edited(tmp_path, fit_record(), components=[component | changes])
        done = CliRunner().invoke(cli.main, ["compare", str(path), str(path)], prog_name="mixpipe")
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith("mixpipe: error: no fit, or a damaged one: key components makes no mixture (")
        assert f"in {path}" in done.stderr


JOBS = {
    "members": lambda fit, folder: write_fits_members(code_hash("members"), fit, "members.parquet", "members.fits"),
    "figures": lambda fit, folder: draw_figures(code_hash("figures"), fit, "m", *[["a.svg"]] * 5, "curves.json"),
    "density_figure": lambda fit, folder: draw_density_figure(code_hash("density_figure"), fit, ["a.svg"]),
    "summary": lambda fit, folder: summarise(code_hash("summary"), [fit], [], "summary.csv"),
    "account": lambda fit, folder: account_release(code_hash("account"), [fit], "input.csv", folder, []),
    "manifest": lambda fit, folder: record_run(code_hash("manifest"), [fit], [], "{}", "{}", "manifest.json"),
    "compare": lambda fit, folder: compare_releases(code_hash("compare"), [fit], [fit], "c.csv", "s.csv", ["o.svg"]),
    "report": lambda fit, folder: render_report(code_hash("report"), "", "{}", [fit], [], [], [], "report.html"),
}


@pytest.mark.parametrize("job", JOBS.values(), ids=list(JOBS))
def test_jobs_refuse_it(broken, monkeypatch, tmp_path, job):
    """And write nothing: the job fails, since running the fit again mends it."""
    monkeypatch.chdir(tmp_path)
    path, words = broken
    with pytest.raises(RecordError) as refused:
        job(str(path), str(tmp_path))
    assert str(refused.value).startswith(f"{words}{path}, expected ")
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit.json"]


# ----- a run


def release(run: Run, catalog: str, name: str, start: Path | None = None) -> Path:
    """Ingest and fit the column of a release, as the workflow does; the fit.json."""
    (column,) = run.columns(catalog)
    parts = run.ingested(catalog, name, column)
    for part in parts:
        ingest_release(run.ingest(catalog, name, Path(part).stem), part)
    folder = run.fit_file(catalog, name, column).parent
    outputs = {key: str(folder / file) for key, file in FIT_FILES.items()}
    fit_column(run.fit(catalog, name, column), parts, **outputs, start=[] if start is None else [str(start)])
    return Path(outputs["fit"])


@pytest.fixture(scope="module")
def demo(tmp_path_factory, root) -> Path:
    """A working folder with the fits of the demo."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "config").mkdir()
    (folder / "config/demo").symlink_to(root / "config/demo")
    given = yaml.safe_load((root / "config/config.yaml").read_text(encoding="utf-8"))
    # P-values have no part in what a record is, and take most of the time.
    given["settings"] |= {"quality_draws": 0}
    (folder / "config.yaml").write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run, start = Run(load_config("config.yaml")), None
        for catalog, name in run.releases():
            start = release(run, catalog, name, start)
    return folder


def test_every_record_of_the_demo_loads(demo):
    paths = sorted(demo.glob("results/*/*/*/fit.json"))
    assert [path.parts[-3] for path in paths] == ["2018", "2024"]
    for path in paths:
        record = load_record(path)
        assert record.to_json().encode() == path.read_bytes()
        assert record.release == path.parts[-3]
        assert (record.n_components, len(record.selection)) == (len(record.components), 6)
    assert record.start is not None and record.start.release == "2018"


@pytest.fixture
def fits(demo, tmp_path, monkeypatch) -> list[Path]:
    """The records of the demo in a copy of its folder, to be edited."""
    subprocess.run(["cp", "-r", f"{demo}/.", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    starts = Path("results/neutron_stars/2024/starts/mass.json")
    starts.parent.mkdir()
    starts.write_bytes(Path("results/neutron_stars/2018/mass/fit.json").read_bytes())
    return [Path(f"results/neutron_stars/{name}/mass/fit.json") for name in ("2018", "2024")]


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


def test_a_run_does_again_what_it_cannot_read(fits):
    """What `mixpipe status` tells, and `mixpipe run` does: the way out is a run."""
    config = load_config("config.yaml")
    assert list(find_changed(config)) == []
    edit(fits[0], record=VERSION + 1)
    fits[1].write_text(fits[1].read_text()[:1000])
    assert list(find_changed(config)) == [
        (fits[0].as_posix(), [f"a fit.json of version {VERSION + 1}, by a later mixpipe"]),
        (fits[1].as_posix(), ["no fit (not JSON)"]),
    ]
    fits[1].unlink()
    assert list(find_changed(config))[1] == (fits[1].as_posix(), ["no result is there"])


def verify() -> tuple[int, str, str]:
    done = CliRunner().invoke(cli.main, ["verify", "results"], prog_name="mixpipe")
    return done.exit_code, done.stdout, done.stderr


def test_verify_refuses_a_later_version_and_tells_of_damage(fits):
    config = json.dumps(yaml.safe_load(Path("config.yaml").read_text()))
    record_run(code_hash("manifest"), list(map(str, fits)), [], config, "{}", "results/manifest.json")
    assert verify()[0] == 0
    whole = fits[0].read_bytes()
    fits[0].write_bytes(whole[:1000])
    status, output, _ = verify()
    assert (status, output.splitlines()[0]) == (1, "changed: neutron_stars/2018/mass/fit.json")
    fits[0].write_bytes(whole)
    edit(fits[0], record=VERSION + 1)
    status, output, error = verify()
    assert (status, output, error.count("\n")) == (2, "", 1)
    assert error.startswith(f"mixpipe: error: a fit.json of version {VERSION + 1}, by a later mixpipe, in {fits[0]}, ")
