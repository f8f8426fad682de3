"""What in a folder of results is mixpipe's, and what is not: nothing of the user's is touched, and runs do not mix."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.base.files import is_temporary, write_file
from mixpipe.config.settings import Config, parse_config
from mixpipe.pipeline import queue
from mixpipe.pipeline.account import account_release
from mixpipe.pipeline.begin import begin_run
from mixpipe.pipeline.folder import BusyError, find_obstacles, find_others, identity, lock_results
from mixpipe.results.provenance import code_hash
from tests.campaign import campaign, study
from tests.cluster.project import Project, kill, survey
from tests.cluster.slurm import HOUR, wait_for

# A scheduler of Snakemake whose jobs stay on this machine.
LOCAL = SimpleNamespace(_executor=SimpleNamespace(handle_job_error=print), _local_executor=None)


@pytest.fixture
def config(tmp_path) -> Config:
    """A catalog called stars, with results in a folder that is not there yet."""
    catalog = {"releases": {"a": str(tmp_path / "t.csv")}, "columns": {"x": {}}}
    return parse_config({"results": str(tmp_path / "results"), "catalogs": {"stars": catalog}})


# Names that were once taken for those of temporary files, and others that are near.
THEIRS = (".bashrc.original", ".notes.20240101.txt", ".components.csv.ab12cd34.csv", ".mixpipe-part", ".part.abcdefgh")


def test_only_our_own_temporary_files_are_removed(config):
    results = config.results
    places = [results, results / "stars" / "a" / "x", results / "mine"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        for name in THEIRS:
            (place / name).write_text("the user's")
    left: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        write_file(places[1] / "fit.json", lambda path: (left.append(path), stop()))
    left[0].write_text("half")
    # A copy of it elsewhere is the user's affair.
    theirs = places[2] / left[0].name
    theirs.write_text("half")
    begin_run(config, LOCAL)
    assert not left[0].exists()
    assert theirs.exists()
    assert all((place / name).read_text() == "the user's" for place in places for name in THEIRS)


def stop():
    raise KeyboardInterrupt


def test_each_temporary_file_has_the_mark(tmp_path):
    names: list[Path] = []
    for name in ("fit.json", "members.parquet", "plain", "x" * 250):
        write_file(tmp_path / name, lambda path: (names.append(path), path.write_text("")))
    assert all(map(is_temporary, names))
    assert not any(is_temporary(Path(name)) for name in THEIRS)


def test_a_parquet_file_of_the_users_beside_what_was_read_stays(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from astropy.table import Table

    from mixpipe.catalog.store import write_blocks

    ingest = tmp_path / "ingest"
    ingest.mkdir()
    pq.write_table(pa.table({"x": [1]}), ingest / "mine.parquet")
    (ingest / "no.parquet").write_text("no table")
    for name in ("old.parquet", "new.parquet"):
        write_blocks([Table({"x": [1.0]})], ingest / name)
    account_release(code_hash("account"), [], str(tmp_path / "input.csv"), str(ingest), ["new.parquet"])
    assert sorted(path.name for path in ingest.iterdir()) == ["mine.parquet", "new.parquet", "no.parquet"]


class TestFirstRun:
    """In a folder that holds something before it."""

    def test_what_is_not_ours_is_said_and_left(self, config, capsys):
        config.results.mkdir()
        for name in ("thesis.tex", "data", ".bashrc", "a.txt", "README.md"):
            (config.results / name).write_text(name)
        assert find_obstacles(config) == []
        begin_run(config, LOCAL)
        said = capsys.readouterr().err
        assert said == (
            f"mixpipe: note: {config.results} holds what no run has made, and what is left as it is: "
            ".bashrc, a.txt, data and 1 more\n"
        )
        assert (config.results / "thesis.tex").read_text() == "thesis.tex"
        begin_run(config, LOCAL)
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("name", ["summary.csv", "report.html", "manifest.json", "logs", "benchmarks", "stars"])
    def test_what_a_run_would_write_over_is_refused(self, config, name):
        config.results.mkdir()
        (config.results / name).write_text("the user's")
        (problem,) = find_obstacles(config)
        assert str(problem).startswith(f"{name} is there, and no run has made it, in {config.results}, expected ")

    def test_results_of_a_run_are_no_obstacle(self, config):
        begin_run(config, LOCAL)
        (config.results / "summary.csv").write_text("ours")
        assert (find_obstacles(config), find_others(config)) == ([], [])
        # Nor if they were copied without hidden files.
        (config.results / "stars/a/x").mkdir(parents=True)
        (config.results / "stars/a/x/fit.json").write_text("{}")
        os.rename(config.results / ".mixpipe", config.results.parent / "elsewhere")
        assert (find_obstacles(config), find_others(config)) == ([], [])


class TestLinks:
    """In a folder of results that was copied from elsewhere."""

    @pytest.mark.parametrize(
        "name",
        ["summary.csv", "logs", "logs/fit/stars/a/x.log", "stars", "stars/a/x/fit.json", ".mixpipe", ".mixpipe/lock"],
    )
    def test_refused_before_anything_is_written(self, config, tmp_path, monkeypatch, name):
        (tmp_path / "t.csv").write_text("x\n1\n2\n3\n")
        lock_results(config.results)
        target = tmp_path / "precious"
        target.mkdir()
        (target / "file").write_text("precious")
        link = config.results / name
        if link.exists():
            os.rename(link, tmp_path / "former")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target / "file" if link.suffix or name.endswith("lock") else target)
        configuration = {"results": str(config.results), "catalogs": {"stars": {"releases": {"a": "t.csv"}}}}
        configuration["catalogs"]["stars"]["columns"] = {"x": {}}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(configuration))
        monkeypatch.chdir(tmp_path)
        before = contents(target)
        for command in (["check", "mine.yaml"], ["status", "mine.yaml"], ["run", "--config", "mine.yaml"]):
            result = CliRunner().invoke(cli.main, command, prog_name="mixpipe", env={"COLUMNS": "200"})
            assert result.exit_code == 2
            assert f"mixpipe: error: {name} is a link, to {os.readlink(link)}, in {config.results}" in result.stderr
        assert contents(target) == before

    def test_pipes_are_not_waited_for(self, config):
        lock_results(config.results)
        (config.results / "logs").mkdir()
        os.mkfifo(config.results / "logs/fit.log")
        (problem,) = find_obstacles(config)
        assert "logs/fit.log is neither a file nor a folder" in str(problem)

    def test_what_a_run_does_not_write_may_be_one_and_results_may_be_one(self, config, tmp_path):
        (tmp_path / "scratch").mkdir()
        config.results.symlink_to(tmp_path / "scratch")
        (config.results / "latest").symlink_to(tmp_path)
        assert find_obstacles(config) == []
        begin_run(config, LOCAL)
        assert find_obstacles(config) == []


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_lock_goes_with_the_process_and_is_one_whatever_the_path(config, tmp_path):
    (tmp_path / "link").symlink_to(config.results)
    code = (
        "import sys, pathlib; from mixpipe.pipeline.folder import lock_results; "
        "lock_results(pathlib.Path(sys.argv[1])); print(flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(config.results)]
    hold = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    hold.stdout.readline()
    with pytest.raises(BusyError, match=rf"another run is at work, in {config.results} \(process {hold.pid} on "):
        lock_results(tmp_path / "link")
    hold.kill()
    hold.wait()
    lock_results(tmp_path / "link")
    lock_results(config.results)


RUN = "mixpipe_0f0e0d0c-1111-4222-8333-444455556666"


class TestQueue:
    """Jobs in Slurm that a killed run has left, as programs of its names tell of them."""

    @pytest.fixture
    def asked(self, tmp_path, monkeypatch) -> Path:
        """What Slurm is asked, a line each. Jobs 7 and 8 have the name of the run until they are cancelled."""
        programs = tmp_path / "bin"
        programs.mkdir()
        asked = tmp_path / "asked"
        script = f"""#!/bin/sh
echo "$(basename $0) $*" >> {asked}
case "$0 $*" in
    *scancel*) touch {tmp_path}/cancelled ;;
    *"--name={RUN} "*) test -e {tmp_path}/cancelled && echo 8 || printf '7\\n8\\n' ;;
esac
"""
        for name in ("squeue", "scancel"):
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        # The job that the run itself is in.
        monkeypatch.setattr(queue, "_SELF", "8")
        return asked

    def test_only_jobs_of_the_noted_name_and_never_the_own_one(self, config, asked, capsys):
        lock_results(config.results)
        queue.record_run(config.results, RUN)
        queue.cancel_left(config.results)
        questions = asked.read_text().splitlines()
        assert [line for line in questions if line.startswith("scancel")] == ["scancel 7"]
        assert all(f"--name={RUN}" in line for line in questions if line.startswith("squeue"))
        assert capsys.readouterr().err == "mixpipe: cancelling 1 jobs of a run that was killed\n"
        # Once.
        asked.unlink()
        queue.cancel_left(config.results)
        assert not asked.exists()

    def test_nothing_is_asked_without_a_note(self, config, asked):
        begin_run(config, LOCAL)
        assert not asked.exists()

    @pytest.mark.parametrize("note", ["1 mixpipe", f"1 {RUN}", "{} mixpipe", "{} my_long_job", "{} --me", "{}", "\xff"])
    def test_note_of_a_copy_or_of_other_jobs_is_not_believed(self, config, asked, note):
        lock_results(config.results)
        text = note.format(identity(config.results))
        (config.results / ".mixpipe/slurm_runs").write_text(text, encoding="latin-1")
        queue.cancel_left(config.results)
        assert not asked.exists()

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", "Unable to contact"),
            ("exec sleep 60", "took more than 1 s"),
        ],
    )
    def test_a_scheduler_that_does_not_answer_is_mentioned(self, config, asked, capsys, monkeypatch, script, reason):
        monkeypatch.setattr(queue, "_ANSWER_SECONDS", 1)
        lock_results(config.results)
        queue.record_run(config.results, RUN)
        (asked.parent / "bin/squeue").write_text(f"#!/bin/sh\n{script}\n")
        queue.cancel_left(config.results)
        said = capsys.readouterr().err
        assert "mixpipe: Slurm does not answer (squeue" in said
        assert reason in said
        assert f"jobs of a run that was killed ({RUN}) may still be at work" in said
        assert said.count("\n") == 1
        # They are not forgotten, whatever runs come between.
        queue.record_run(config.results, RUN.replace("0f", "1f"))
        queue.forget_run(config.results, RUN.replace("0f", "1f"))
        (asked.parent / "bin/squeue").write_text((asked.parent / "bin/scancel").read_text())
        queue.cancel_left(config.results)
        assert "scancel 7" in asked.read_text().splitlines()

    def test_the_name_of_a_run_is_forgotten_at_its_end(self, config, asked):
        lock_results(config.results)
        queue.record_run(config.results, RUN)
        queue.forget_run(config.results, RUN)
        assert list((config.results / ".mixpipe").iterdir()) == [config.results / ".mixpipe/lock"]
        queue.cancel_left(config.results)
        assert not asked.exists()

    def test_so_is_one_that_is_not_there(self, config, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        lock_results(config.results)
        queue.record_run(config.results, RUN)
        queue.cancel_left(config.results)
        assert "Slurm does not answer (there is no squeue here)" in capsys.readouterr().err


# From here on, runs to their end.


def two_projects(folder: Path) -> tuple[Project, Project]:
    """Two working folders that share one folder of results, and disagree about the fits."""
    first, second = (survey(folder / name, n_shards=1, n_columns=1) for name in ("first", "second"))
    for project, number in ((first, 1), (second, 2)):
        configure(project, results=str(folder / "shared"), settings={"max_components": number})
    return first, second


def configure(project: Project, **keys) -> None:
    path = project.folder / "mine.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))


@campaign
def test_two_working_folders_do_not_share_results_at_once(tmp_path):
    first, second = two_projects(tmp_path)
    (first.faults / "fit.wait").touch()
    run = first.start("default", "--cores", "1", "--until", "fit")
    first.wait_until_said("fitting", run)
    other = second.start("default", "--cores", "1")
    assert other.wait(HOUR) == 2
    assert f"mixpipe: error: another run is at work, in {tmp_path / 'shared'} (process {run.pid} on " in second.said()
    assert "Traceback" not in second.said()
    other = second.start_mixpipe("run", "--config", "mine.yaml", "--cores", "1")
    assert other.wait(HOUR) == 2
    assert second.said().count("\n") == 1
    # A dry run writes nothing, and need not wait.
    assert second.start_mixpipe("run", "--config", "mine.yaml", "--dry-run").wait(HOUR) == 0
    (first.faults / "fit.wait").unlink()
    first.finish(run)


@study
def test_two_runs_in_one_working_folder_with_results_of_their_own(tmp_path):
    project = survey(tmp_path / "project", n_shards=1, n_columns=1)
    alone = survey(tmp_path / "alone", n_shards=1, n_columns=1)
    alone.finish(alone.start("default", "--cores", "1"))
    (project.faults / "fit.wait").touch()
    first = project.start("default", "--cores", "1")
    project.wait_until_said("fitting", first)
    configure(project, results="others")
    output, project.output = project.output, tmp_path / "second.txt"
    second = project.start("default", "--cores", "1")
    project.wait_until_said("fitting", second)
    (project.faults / "fit.wait").unlink()
    project.finish(second)
    project.output = output
    project.finish(first)
    fits = [project.folder / name / "survey/dr1/v0/components.csv" for name in ("results", "others")]
    assert fits[0].read_bytes() == fits[1].read_bytes() == alone.results()["survey/dr1/v0/components.csv"]


class TestMistakes:
    """A job that would fail again is not tried again, and the run ends with the line that says why."""

    @pytest.fixture
    def project(self, tmp_path) -> Project:
        return survey(tmp_path / "project", n_shards=2, n_columns=1)

    def test_of_the_user(self, project):
        spoil(project)
        assert project.start("default", "--cores", "1", "--retries", "2").wait(HOUR) == 1
        assert project.said().count(": reading survey dr1") == 1
        last = project.said().splitlines()[-1]
        assert last.startswith(MISTAKE)

    @campaign
    def test_faults_that_may_pass_are_tried_again(self, project):
        (project.faults / "ingest.fail").touch()
        project.finish(project.start("default", "--cores", "1", "--retries", "2", "--until", "ingest"))
        assert project.said().count(": reading survey dr1") == 2

    @campaign
    def test_a_log_of_an_earlier_run_says_nothing_of_this_one(self, project):
        spoil(project)
        assert project.start("default", "--cores", "1").wait(HOUR) == 1
        (log,) = (project.folder / "results/logs/ingest").rglob("*.log")
        text = log.read_text()
        from mixpipe.pipeline.job import is_final

        assert is_final(log, log.stat().st_mtime)
        assert not is_final(log, log.stat().st_mtime + 1)
        log.write_text(text.splitlines()[-1])
        assert not is_final(log, 0)

    @campaign
    def test_a_file_that_goes_while_it_is_waited_for(self, project):
        (project.faults / "ingest.wait").touch()
        run = project.start_mixpipe("run", "--config", "mine.yaml", "--cores", "1")
        wait_for(lambda: list((project.folder / ".snakemake/scripts").glob("*ingest.py")), "a job")
        wait_for(lambda: list((project.folder / "results/logs").rglob("dr1")), "a job")
        (project.folder / "shard_01.csv").unlink()
        (project.faults / "ingest.wait").unlink()
        assert run.wait(HOUR) == 1
        assert "Traceback" not in project.said()
        lines = project.said().splitlines()
        assert lines[-1].startswith("mixpipe: error: No such file or directory, in shard_01.csv, expected a file that ")

    @campaign
    def test_a_file_that_goes_before_its_job(self, project):
        releases = {"dr1": "shard_00.csv", "dr2": "shard_01.csv"}
        config = yaml.safe_load((project.folder / "mine.yaml").read_text())
        config["catalogs"]["survey"]["releases"] = releases
        configure(project, **config)
        (project.faults / "ingest.wait").touch()
        run = project.start_mixpipe("run", "--config", "mine.yaml", "--cores", "1")
        project.wait_until_said("reading survey ", run)
        wait_for(lambda: list((project.folder / ".snakemake/scripts").glob("*ingest.py")), "a job")
        (other,) = set(releases) - {project.said().partition("reading survey ")[2][:3]}
        (project.folder / releases[other]).unlink()
        (project.faults / "ingest.wait").unlink()
        assert run.wait(HOUR) == 1
        assert "Traceback" not in project.said()
        assert f"mixpipe: error: {releases[other]} is missing, since the run was planned, expected " in project.said()


# What a run then says last.
MISTAKE = (
    "mixpipe: error: 1 row with more fields than the header, the first is row 26, in catalog survey, release dr1, "
    "file shard_01.csv, expected 3 fields in each row"
)


def spoil(project: Project) -> None:
    """A row with a cell too many at the end of the second file, which no look at its beginning finds."""
    path = project.folder / "shard_01.csv"
    text = path.read_text()
    path.write_text(f"{text}{text.splitlines()[-1]},1\n")


class TestPlacesThatCannotBeWritten:
    """Each ends in one line, or does not matter."""

    @pytest.fixture
    def project(self, tmp_path) -> Project:
        return survey(tmp_path / "project", n_shards=1, n_columns=1)

    def start(self, project: Project, **environment: str) -> subprocess.Popen:
        project.output = project.folder.parent / "output.txt"
        return project.start_mixpipe("run", "--config", "mine.yaml", "--cores", "1", **environment)

    def test_working_folder(self, project, read_only):
        read_only(project.folder, "--bind")
        assert self.start(project).wait(HOUR) == 2
        place = project.folder
        assert project.said() == (
            "mixpipe: error: neither the working folder nor the results can be written "
            f"(cannot write config.yaml (Read-only file system)), in {place} and results, "
            "expected results in a folder that can be written: --results FOLDER\n"
        )
        output, project.output = project.output, project.folder.parent / "plain.txt"
        assert project.start("default", "--cores", "1").wait(HOUR) == 2
        assert "Traceback" not in project.said()
        project.output = output

    def test_results(self, project, read_only):
        (project.folder / "results").mkdir()
        read_only(project.folder / "results")
        assert self.start(project).wait(HOUR) == 2
        assert project.said() == (
            "mixpipe: error: cannot write lock (Read-only file system), in results/.mixpipe, "
            "expected a folder for `results` that can be written\n"
        )

    @pytest.mark.parametrize("place", ["survey/dr1/ingest", "logs"])
    @campaign
    def test_results_while_a_job_is_at_work(self, project, read_only, place):
        (project.faults / "ingest.wait").touch()
        run = self.start(project)
        wait_for(lambda: list((project.folder / ".snakemake/scripts").glob("*ingest.py")), "a job")
        wait_for((project.folder / "results" / place).is_dir, "its folders")
        read_only(project.folder / "results" / place)
        (project.faults / "ingest.wait").unlink()
        assert run.wait(HOUR) == 1
        assert "Traceback" not in project.said()
        errors = [line for line in project.said().splitlines() if line.startswith("mixpipe: error: ")]
        assert any("Read-only file system" in line for line in errors)

    @study
    def test_home(self, project, read_only, tmp_path):
        (tmp_path / "home").mkdir()
        read_only(tmp_path / "home")
        kept = {"XDG_CACHE_HOME": "", "NUMBA_CACHE_DIR": ""}
        run = self.start(project, HOME=str(tmp_path / "home"), **kept)
        project.finish(run)
        assert (project.folder / "results/report.html").is_file()


@pytest.fixture
def read_only(request):
    """Makes a folder one that cannot be written, also by root."""

    def make(folder: Path, *options: str) -> None:
        commands = (
            [["mount", "--bind", str(folder), str(folder)], ["mount", "-o", "remount,ro,bind", str(folder)]]
            if options
            else [["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]]
        )
        if subprocess.run(commands[0], capture_output=True, check=False).returncode != 0:
            pytest.skip("no file system can be mounted here")
        request.addfinalizer(lambda: subprocess.run(["umount", str(folder)], check=True))
        for command in commands[1:]:
            subprocess.run(command, check=True)

    return make


@study
def test_killed_runs_leave_what_is_the_users(tmp_path):
    """The whole way: a run that is killed in the middle of a file, beside files of the user's, and done again."""
    project = survey(tmp_path / "project", n_shards=1, n_columns=1)
    (project.faults / "fit.wait").touch()
    run = project.start("default", "--cores", "1")
    project.wait_until_said("fitting", run)
    kill(run)
    folder = project.folder / "results/survey/dr1/v0"
    half = folder / ".mixpipe-part-c41d7e90-ab12cd34.csv"
    half.write_text("comp")
    theirs = [place / name for place in (folder, project.folder / "results") for name in THEIRS]
    for path in theirs:
        path.write_text("the user's")
    (project.faults / "fit.wait").unlink()
    project.finish(project.start("default", "--cores", "1"))
    assert not half.exists()
    assert all(path.read_text() == "the user's" for path in theirs)
