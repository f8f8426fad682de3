"""Machines as people have them: no home, a package and a working folder that cannot be written, Ctrl-C."""

import contextlib
import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.base import caches, interrupts
from mixpipe.catalog.files import expand_files
from mixpipe.cli.place import _absolute
from tests.campaign import campaign, mostly_study, study
from tests.catalog.test_bad_inputs import as_nobody
from tests.cluster.project import survey
from tests.cluster.slurm import HOUR, wait_for
from tests.conftest import ROOT

BEGIN = "from mixpipe.__main__ import main; main()"
# Compiles a small kernel.
KERNEL = "from mixpipe.model.kernels import sketching; print(sketching._rounded(2.0))"


@pytest.fixture
def machine(tmp_path) -> Path:
    """A folder with a package, a home and a working folder, none of which can be written, and one with room."""
    for part in ("mixpipe", "workflow"):
        shutil.copytree(ROOT / part, tmp_path / "app" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "config", tmp_path / "work/config")
    for name in ("home", "tmp", "room"):
        (tmp_path / name).mkdir()
    closed = [tmp_path / "home", tmp_path / "app", tmp_path / "work"]
    folders = [folder for top in closed for folder in (top, *top.rglob("*")) if folder.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    yield tmp_path
    for folder in folders:
        folder.chmod(0o755)


def mixpipe(machine: Path, *arguments: object, begin: str = BEGIN, **environment: str) -> subprocess.CompletedProcess:
    places = {
        "PYTHONPATH": str(machine / "app"),
        "HOME": str(machine / "home"),
        "TMPDIR": str(machine / "tmp"),
        **dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"), ""),
    }
    command = [sys.executable, "-c", begin, *map(str, arguments)]
    return as_nobody(command, machine / "work", **places, **environment)


class TestWhereNothingCanBeWritten:
    def test_check(self, machine):
        done = mixpipe(machine, "check", "config/config.yaml")
        assert (done.returncode, done.stderr) == (0, "")
        assert "2 fits" in done.stdout

    def test_kernels_are_kept_in_a_private_folder(self, machine):
        done = mixpipe(machine, begin=KERNEL)
        assert (done.returncode, done.stderr) == (0, "")
        folder = machine / f"tmp/mixpipe-kernels-{os.geteuid()}"
        assert list(folder.rglob("*.nbi"))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_kernels_are_not_kept_without_temporary_files(self, machine):
        done = mixpipe(machine, begin=f"import tempfile; tempfile.tempdir = '/proc'; {KERNEL}")
        assert (done.returncode, done.stderr) == (0, "")
        assert not list(machine.rglob("*.nbi"))

    def test_a_home_that_cannot_be_looked_into(self, machine):
        (machine / "home").chmod(0)
        done = mixpipe(machine, "check", "config/config.yaml")
        assert (done.returncode, done.stderr) == (0, "")

    @campaign
    def test_status_works_in_the_results(self, machine):
        done = mixpipe(machine, "status", "config/config.yaml", "--results", machine / "room/results", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert len(json.loads(done.stdout)["jobs"]) == 15

    def test_a_run_without_room_says_what_to_do(self, machine):
        done = mixpipe(machine, "run")
        assert done.returncode == 2
        assert done.stderr.startswith("mixpipe: error: neither the working folder nor the results can be written")
        assert done.stderr.endswith("expected results in a folder that can be written: --results FOLDER\n")

    @campaign
    def test_plain_snakemake_plans_a_run(self, machine):
        (machine / "room/config").symlink_to(machine / "work/config")
        begin = "import sys; from snakemake.cli import main; main(sys.argv[1:])"
        places = "--directory", machine / "room", "--snakefile", machine / "app/workflow/Snakefile"
        done = mixpipe(machine, *places, "--cores", 1, "--dry-run", begin=begin)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "This was a dry-run" in done.stdout
        # From the top of a checkout the same profile is found.
        profile = "profiles/default/config.yaml"
        assert (ROOT / profile).resolve() == (ROOT / "workflow" / profile).resolve()

    @study
    def test_fit_and_run(self, machine):
        table = "config/demo/neutron_stars_2018.csv"
        out = machine / "room/out"
        done = mixpipe(machine, "fit", table, "--value", "mass", "--max-components", 2, "--out", out)
        assert (done.returncode, done.stderr) == (0, "")
        assert (out / "fit.json").is_file()
        results = machine / "room/results"
        asked = ("run", "--results", str(results), "--cores", "2")
        done = mixpipe(machine, *asked)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "Matplotlib" not in done.stderr
        fit = json.loads((results / "neutron_stars/2018/mass/fit.json").read_text())
        assert fit["command"] == f"mixpipe run --config config/config.yaml --results {results}"
        assert "all as recorded" in mixpipe(machine, "verify", results).stdout
        done = mixpipe(machine, "status", "config/config.yaml", "--results", results)
        assert done.stdout == "jobs that would be done: none\n"
        assert "Nothing to be done" in mixpipe(machine, *asked).stderr


class TestPrivateFolder:
    @pytest.fixture(autouse=True)
    def place(self, tmp_path, monkeypatch) -> Path:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        return tmp_path / f"mixpipe-kernels-{os.geteuid()}"

    def test_is_made_and_taken_again(self, place):
        assert caches._private_folder("kernels") == place
        assert caches._private_folder("kernels") == place

    def test_one_that_others_can_write_is_not_taken(self, place):
        place.mkdir()
        place.chmod(0o777)
        assert caches._private_folder("kernels") is None

    def test_a_link_is_not_followed(self, place, tmp_path):
        (tmp_path / "theirs").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "theirs")
        assert caches._private_folder("kernels") is None


def test_users_whom_the_system_does_not_know(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    caches.find_home()
    assert os.environ["HOME"] == str(tmp_path / f"mixpipe-home-{os.geteuid()}")
    assert os.environ["LOGNAME"] == str(os.geteuid())
    assert caches.user_cache() is None


def on_terminal(code: str, cache: Path) -> str:
    """What a process says on standard error if that is a terminal."""
    own, theirs = pty.openpty()
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    subprocess.run([sys.executable, "-c", code], env=environment, stderr=theirs, check=True)
    os.close(theirs)
    try:
        return os.read(own, 10_000).decode()
    except OSError:  # nothing was written, and the other end is closed
        return ""


def test_compiling_is_said_once(tmp_path):
    assert on_terminal(KERNEL, tmp_path) == "mixpipe: compiling (once after an installation)\r\n"
    assert on_terminal(KERNEL, tmp_path) == ""


class TestPlaces:
    @pytest.fixture
    def folders(self, tmp_path, monkeypatch) -> Path:
        """A working folder with data beside the one with the configuration, where we are."""
        shutil.copytree(ROOT / "config", tmp_path / "data/config")
        (tmp_path / "here").mkdir()
        shutil.copy(ROOT / "config/config.yaml", tmp_path / "here/mine.yaml")
        monkeypatch.chdir(tmp_path / "here")
        return tmp_path

    @staticmethod
    def call(*arguments: str):
        return CliRunner().invoke(cli.main, arguments, prog_name="mixpipe")

    def test_relative_paths_start_from_the_directory(self, folders):
        assert "no such file neutron_stars_2018.csv" in self.call("check", "mine.yaml").stderr
        done = self.call("check", "mine.yaml", "--directory", "../data", "--results", "elsewhere")
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.endswith("into the folder elsewhere\n")
        done = self.call("status", "mine.yaml", "--directory", "../data", "--results", "12")
        assert (done.exit_code, done.stderr) == (0, "")
        assert "writing 12/manifest.json" in done.stdout
        assert os.listdir() == ["mine.yaml"]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--directory", "none"), "cannot change to none (No such file or directory), in option --directory"),
            (("-d", "../data"), "option -d, on the command line, expected --directory FOLDER"),
            (("--dir=../data",), "option --dir=../data, on the command line, expected --directory FOLDER"),
            (("--results", "."), "found ., the working folder or one around it, in option --results"),
            (("--results", "{a}"), "found '{a}', in option --results, expected a folder, without"),
            (("--directory", "../data", "--results", "a: b", "-n"), "found a: b, in option --results"),
        ],
    )
    def test_mistakes(self, folders, arguments, said):
        done = self.call("run", "--config", "mine.yaml", *arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith(f"mixpipe: error: {said}")
        assert done.stderr.count("\n") == 1

    def test_patterns_mean_the_same_from_elsewhere(self, folders, monkeypatch):
        odd = folders / "a[1]"
        odd.mkdir()
        for name in ("t1.csv", "t2.csv"):
            (odd / name).touch()
        monkeypatch.chdir(odd)
        patterns = [_absolute(Path(text)) for text in ("t1.csv", "t[2].csv")]
        monkeypatch.chdir(folders)
        assert expand_files(patterns, Path()) == (odd / "t1.csv", odd / "t2.csv")


class TestCtrlC:
    @pytest.fixture(autouse=True)
    def handler(self):
        before, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook
        interrupts._received = False

    def end(self, monkeypatch, tmp_path, interrupted) -> tuple[int, str]:
        monkeypatch.setattr("mixpipe.pipeline.estimate.choose_n_components", interrupted)
        (tmp_path / "t.csv").write_text("x\n1\n2\n4\n")
        done = CliRunner().invoke(cli.main, ["fit", str(tmp_path / "t.csv"), "--value", "x"], prog_name="mixpipe")
        return done.exit_code, done.stderr

    def test_ends_in_one_line(self, monkeypatch, tmp_path):
        def interrupted(*args, **options):
            signal.raise_signal(signal.SIGINT)

        assert self.end(monkeypatch, tmp_path, interrupted) == (130, "mixpipe: interrupted\n")

    def test_as_compiled_code_passes_it_on(self, monkeypatch, tmp_path):
        """Numba raises this if the signal comes between two kernels."""

        def interrupted(*args, **options):
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as error:
                raise SystemError("returned a result with an exception set") from error

        assert self.end(monkeypatch, tmp_path, interrupted) == (130, "mixpipe: interrupted\n")

    def test_a_process_that_ignores_it_goes_on(self, monkeypatch, tmp_path):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with interrupts.watch_interrupts():
            signal.raise_signal(signal.SIGINT)
        assert not interrupts.received()


MOMENTS = (0.0, 0.05, 0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 4.0)


class TestCtrlCOfARun:
    """At a process group, as a terminal sends it."""

    @pytest.mark.parametrize("seconds", mostly_study(MOMENTS, 0.05, campaigns=[1.0, 3.0]))
    def test_a_while_after_the_first_job_has_begun(self, tmp_path, seconds):
        project = survey(tmp_path / "project", n_shards=1, n_columns=1, n_rows=3000)
        run = project.start_mixpipe("run", "--config", "mine.yaml", "--cores", "2")
        wait_for(lambda: list((project.folder / ".snakemake/scripts").glob("*ingest.py")), "a job")
        time.sleep(seconds)
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(HOUR) == 130, project.said()
        assert "Traceback" not in project.said()
        kept = "mixpipe: interrupted; what is done is kept, and the same command goes on from there"
        assert project.said().splitlines()[-1] == kept
        assert project.said().count("interrupted") == 1

    def test_that_only_the_job_has_seen(self, tmp_path):
        project = survey(tmp_path / "project", n_shards=1, n_columns=1, n_rows=3000)
        run = project.start_mixpipe("run", "--config", "mine.yaml", "--cores", "2")

        jobs: list[psutil.Process] = []

        def has_begun() -> bool:
            with contextlib.suppress(psutil.NoSuchProcess):
                below = psutil.Process(run.pid).children(recursive=True)
                jobs[:] = [each for each in below if any("ingest.py" in word for word in each.cmdline()[1:2])]
            return bool(jobs)

        wait_for(has_begun, "a job")
        jobs[0].send_signal(signal.SIGINT)
        assert run.wait(HOUR) == 130, project.said()
        kept = "mixpipe: interrupted; what is done is kept, and the same command goes on from there"
        assert project.said().splitlines()[-1] == kept
