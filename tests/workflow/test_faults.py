"""A run that is killed, or lacks memory, time or room: what helps is said, and the same command completes it."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from benchmarks.faults import jobs_at_work, outcomes
from tests.campaign import campaign, study
from tests.cluster.project import Project, kill, survey
from tests.cluster.slurm import HOUR, wait_for


@campaign
def test_killed_run_is_completed_by_the_same_command(tmp_path):
    whole, killed = (survey(tmp_path / name, n_shards=2, n_columns=1) for name in ("whole", "killed"))
    whole.finish(whole.start("default", "--cores", "2"))
    kill_while_working(killed, "ingest", "reading", kill)
    # Its job lives on, and writes the same files as that of the next run.
    kill_while_working(killed, "fit", "fitting", Popen.kill)
    kill_while_working(killed, "figures", "drawing", kill)
    kill_while_working(killed, "report", "report.html", kill)
    # A job killed in the middle of a file leaves such a one.
    half = killed.folder / "results/survey/dr1/v0/.mixpipe-part-c41d7e90-ab12cd34.csv"
    half.write_text("comp", encoding="utf-8")
    killed.finish(killed.start("default", "--cores", "2"))
    assert killed.results() == whole.results()
    # What was complete is not done again.
    assert "fitting" not in killed.said()


def kill_while_working(project: Project, rule: str, message: str, kill_run: Callable[[Popen], None]) -> None:
    """Kill a run as soon as the job of a rule is at work."""
    (project.faults / f"{rule}.wait").touch()
    run = project.start("default", "--cores", "2")
    project.wait_until_said(message, run)
    kill_run(run)
    run.wait()
    (project.faults / f"{rule}.wait").unlink()


def test_second_run_in_a_folder_is_refused_and_harms_nothing(tmp_path):
    project = survey(tmp_path / "project", n_shards=1, n_columns=1)
    (project.faults / "ingest.wait").touch()
    first = project.start("default", "--cores", "1")
    project.wait_until_said("reading", first)
    output, project.output = project.output, tmp_path / "second.txt"
    second = project.start("default", "--cores", "1")
    assert second.wait(HOUR) == 2
    assert f"mixpipe: error: another run is at work, in {project.folder / 'results'} (process " in project.said()
    assert "Traceback" not in project.said()
    project.output = output
    assert first.poll() is None
    kill(first)


@study
def test_run_that_is_killed_at_random_moments(tmp_path):
    """A few of the moments of `python -m benchmarks.faults`: Snakemake, a job and all processes."""
    found = list(outcomes(survey(tmp_path / "project", n_shards=1, n_columns=1), 3))
    assert len({outcome.kind for outcome in found}) == 3
    for outcome in found:
        assert (outcome.half, outcome.different, outcome.finished) == ((), (), True), outcome


# Jobs in whose stage something goes wrong, where a file says so: little memory is left, or a result is half-written.
TROUBLE = """
if rule:
    import resource

    import mixpipe.pipeline.job
    from mixpipe.base.files import write_file

    def hold(path):
        path.write_text("half")
        while True:
            time.sleep(0.1)

    def troubled(job, stage, *, begin=mixpipe.pipeline.job.run_job, **values):
        def work(**values):
            if (folder / f"{rule}.memory").exists():
                used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
                bytearray(2**29)
            if (folder / f"{rule}.hold").exists():
                (folder / f"{rule}.hold").unlink()  # the next attempt is another one
                write_file(pathlib.Path(job.output[0]), hold)
            stage(**values)
        begin(job, work, **values)

    mixpipe.pipeline.job.run_job = troubled
"""

FIT = "results/survey/dr1/v0/fit.json"
FIT_LOG = "results/logs/fit/survey/dr1/v0.log"


def troubled(folder: Path) -> Project:
    project = survey(folder, n_shards=1, n_columns=1, n_rows=3000)
    with (project.faults / "sitecustomize.py").open("a", encoding="utf-8") as file:
        file.write(TROUBLE)
    return project


def start(project: Project, *arguments: str) -> Popen:
    """A run up to the fit."""
    return project.start("default", "--cores", "1", FIT, *arguments)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> dict[str, bytes]:
    """What is there after the fit."""
    project = troubled(tmp_path_factory.mktemp("fitted") / "project")
    project.finish(start(project))
    return project.results()


def last_line(log: Path) -> str:
    return log.read_text(encoding="utf-8").splitlines()[-1]


def limit(name: str, log: Path) -> int:
    """A limit of the job, as its log begins."""
    return int(re.search(rf"{name}=(\d+)", log.read_text(encoding="utf-8"))[1])


def option(line: str) -> list[str]:
    """The option that a message names."""
    return re.search(r"--set-resources \w+:\w+=\d+", line)[0].split()


@campaign
def test_want_of_memory_names_the_setting_that_gives_more(tmp_path):
    project = troubled(tmp_path / "project")
    (project.faults / "ingest.memory").touch()
    assert start(project).wait(HOUR) == 1
    (log,) = (project.folder / "results/logs/ingest").rglob("*.log")
    line = last_line(log)
    given = limit("mem_mb", log)
    assert re.match(rf"mixpipe: error: not enough memory \(.+\), in rule ingest with mem_mb={given} and ", line)
    assert line in project.said()
    assert "Traceback" not in project.said()
    assert project.results() == {}
    # What it names is what Snakemake understands.
    (project.faults / "ingest.memory").unlink()
    project.finish(start(project, *option(line)))
    assert limit("mem_mb", log) == 2 * given


@campaign
def test_job_that_is_terminated_names_the_limit_on_its_time(tmp_path, fitted):
    project = troubled(tmp_path / "project")
    run, job = hold(project)
    os.kill(job, signal.SIGTERM)
    assert run.wait(HOUR) == 1
    log = project.folder / FIT_LOG
    line = last_line(log)
    assert line.startswith("mixpipe: error: terminated, by a limit on its time or by somebody, in rule fit with ")
    assert line in project.said()
    assert "Traceback" not in project.said()
    assert not half_written(project)
    given = limit("runtime", log)
    project.finish(start(project, *option(line)))
    assert limit("runtime", log) == 2 * given
    assert project.results() == fitted


@campaign
def test_job_that_is_killed_for_its_memory_gets_more_at_the_next_attempt(tmp_path, fitted):
    project = troubled(tmp_path / "project")
    run, job = hold(project, "--retries", "1")
    log = project.folder / FIT_LOG
    given = limit("mem_mb", log)
    line = last_line(log)
    assert f"If it failed and says no more, it was killed: more memory (--set-resources fit:mem_mb={2 * given})" in line
    os.kill(job, signal.SIGKILL)
    project.finish(run)
    assert limit("mem_mb", log) == 2 * given
    assert half_written(project)
    # A run that begins clears up.
    (project.folder / FIT).unlink()
    project.finish(start(project))
    assert project.results() == fitted


def hold(project: Project, *arguments: str) -> tuple[Popen, int]:
    """A run in which the fit waits in the middle of a file, which it does once, and the process of that fit."""
    (project.faults / "fit.hold").touch()
    run = start(project, *arguments)
    wait_for(lambda: half_written(project) or run.poll() is not None, "a file is half-written")
    assert run.poll() is None, project.said()
    (job,) = jobs_at_work(run.pid)
    return run, job


def half_written(project: Project) -> list[Path]:
    return [path for path in (project.folder / "results/survey").rglob(".*") if path.stat().st_size]


@campaign
def test_full_disk_is_named_and_leaves_nothing_half(tmp_path, fitted):
    project = troubled(tmp_path / "project")
    results = project.folder / "results"
    results.mkdir()
    if not mount(results, "size=120k"):
        pytest.skip("no file system can be mounted here")
    try:
        assert start(project).wait(HOUR) == 1
        line = last_line(project.folder / FIT_LOG)
        assert re.match(
            r"mixpipe: error: cannot write members.parquet \(.*No space left on device\), in results/survey/dr1/v0 "
            rf"\(0 MB free on the disk at {results}\), expected room there, or `results:` of the configuration ",
            line,
        )
        assert line in project.said()
        assert "Traceback" not in project.said()
        assert not half_written(project)
        assert project.results().items() <= fitted.items()
        assert mount(results, "remount,size=20m")
        project.finish(start(project))
        assert project.results() == fitted
    finally:
        subprocess.run(["umount", str(results)], check=True)


def mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
