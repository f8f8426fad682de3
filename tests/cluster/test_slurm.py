"""The workflow on a real Slurm: the same results as on one machine, whatever fails or is killed on the way."""

import itertools
import os
import shlex
import shutil
import time

import pytest

from tests.cluster import slurm as scheduler
from tests.cluster.project import Project, demo, kill, survey
from tests.cluster.slurm import HOUR, Slurm, wait_for
from tests.workflow.test_faults import FIT as FIT_FILE
from tests.workflow.test_faults import troubled
from tests.workflow.test_ownership import spoil

pytestmark = pytest.mark.skipif(
    "MIXPIPE_TEST_CLUSTER" not in os.environ, reason="a Slurm is started: make test-cluster"
)
# How the comments of the jobs of a column begin.
COLUMN = "rule_neutron_stars_2018_mass_"
# Of the wall time on one machine: what a run on Slurm may take, with as many processors, and what is aimed at.
RATIO, GOAL = 2.0, 1.6
SHARDS, COLUMNS = 40, 6


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    reason = scheduler.missing()
    if reason:
        pytest.skip(reason)
    with Slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


def test_many_shards_and_columns_as_on_one_machine(slurm, tmp_path, capsys):
    local, remote = (
        survey(tmp_path / name, SHARDS, COLUMNS, n_rows=20_000, max_components=10) for name in ("local", "remote")
    )
    # Both find the kernels compiled.
    for project in (local, remote):
        project.finish(project.start("default", "--cores", str(scheduler.CPUS)))
        for name in ("results", ".snakemake"):
            shutil.rmtree(project.folder / name)
    begin = time.monotonic()
    local.finish(local.start("default", "--cores", str(scheduler.CPUS)))
    local_seconds = time.monotonic() - begin
    begin = time.monotonic()
    remote.finish(remote.start("slurm"))
    remote_seconds = time.monotonic() - begin
    jobs = slurm.jobs(remote.folder)
    # One job that reads, and one per column: its fit and its figures.
    assert len(jobs) == 1 + COLUMNS
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    # Together they ask for no more than one of them does.
    assert {job["NumCPUs"] for job in jobs} == {"1"}
    assert remote.results() == local.results()
    # No processor is idle beside a column that waits.
    _, first, second, *_ = sorted(jobs, key=lambda job: job["StartTime"])
    assert second["StartTime"] < first["EndTime"]
    idle, running = idle_seconds(jobs), running_seconds(jobs)
    with capsys.disabled():
        print(
            f"\n{SHARDS} shards x {COLUMNS} columns: {local_seconds:.0f} s on one machine, {remote_seconds:.0f} s on "
            f"Slurm, {remote_seconds / local_seconds:.2f} times as long (aimed at: {GOAL}); for {running:.0f} s of "
            f"them jobs ran, and for {idle:.0f} s Slurm had nothing to do until Snakemake asked"
        )
    assert remote_seconds < RATIO * local_seconds


def idle_seconds(jobs: list[dict[str, str]]) -> float:
    """Seconds between the first job and the last in which no job ran or waited."""
    return gaps(spans_of(jobs, "SubmitTime"))


def running_seconds(jobs: list[dict[str, str]]) -> float:
    """Seconds in which at least one job ran."""
    spans = spans_of(jobs, "StartTime")
    return max(end for _, end in spans) - spans[0][0] - gaps(spans)


def spans_of(jobs: list[dict[str, str]], start: str) -> list[tuple[float, float]]:
    """From one of the times of each job to its end, in the order of the former."""
    form = "%Y-%m-%dT%H:%M:%S"
    seconds = [[time.mktime(time.strptime(job[key], form)) for key in (start, "EndTime")] for job in jobs]
    return sorted((begin, end) for begin, end in seconds)


def gaps(spans: list[tuple[float, float]]) -> float:
    """Seconds in none of the spans, between the first and the last."""
    ends = itertools.accumulate((end for _, end in spans), max)
    return sum(max(0.0, begin - end) for end, (begin, _) in zip(ends, spans[1:], strict=False))


@pytest.fixture(scope="module")
def timed(slurm, tmp_path_factory):
    """A fit that would never end, with a minute to do it in; Slurm looks at its clock now and then."""
    project = troubled(tmp_path_factory.mktemp("timed") / "project")
    (project.faults / "fit.hold").touch()
    return project, start_demo(project, FIT_FILE, "--set-resources", "fit:runtime=attempt")


def test_demo_with_faults_of_all_kinds(slurm, timed, tmp_path):
    local, remote = demo(tmp_path / "local"), demo(tmp_path / "remote")
    local.finish(local.start("default", "--cores", str(scheduler.CPUS)))

    def fits():
        return slurm.jobs(remote.folder, COLUMN)

    def states():
        return [job["JobState"] for job in fits()]

    # A fit fails, then its second job is cancelled: each time it is done again with more memory.
    (remote.faults / "fit.fail").touch()
    (remote.faults / "fit.wait").touch()
    run = start_demo(remote)
    wait_for(lambda: states() == ["FAILED", "RUNNING"], "the fit failed and runs again")
    slurm.ask("scancel", fits()[1]["JobId"])
    wait_for(lambda: states() == ["FAILED", "CANCELLED", "RUNNING"], "the fit was cancelled and runs again")
    memory = [int(job["MinMemoryNode"].removesuffix("M")) for job in fits()]
    assert memory == [memory[0], 2 * memory[0], 3 * memory[0]]

    # The daemon of the node is killed while it runs, and started again: the job goes on.
    slurm.kill_node()
    slurm.start_node()
    (remote.faults / "figures.wait").touch()
    (remote.faults / "fit.wait").unlink()

    # Snakemake is killed while the figures are drawn: that job goes on, until the next run cancels it. A job of the
    # user's in the same folder, of a similar name, is left alone.
    foreign = slurm.submit(remote.folder, "mixpipe_other", "--hold", "--wrap=true")
    wait_for((remote.folder / "results/logs/figures/neutron_stars/2018/mass.log").parent.is_dir, "figures")
    *_, orphan = fits()
    kill(run)
    assert orphan["JobState"] == "RUNNING"
    run = start_demo(remote)
    remote.wait_until_said("mixpipe: cancelling 1 jobs", run)
    wait_for(lambda: fits()[2]["JobState"] == "CANCELLED", "the orphan is cancelled")
    (remote.faults / "figures.wait").unlink()
    remote.finish(run)
    assert fits()[2]["JobId"] == orphan["JobId"]
    cancelled, *others = fits()[2:]
    assert others and all(job["StartTime"] >= cancelled["EndTime"] for job in others)
    assert states() == ["FAILED", "CANCELLED", "CANCELLED", "COMPLETED"]
    assert slurm.state(foreign) == "PENDING"
    slurm.ask("scancel", foreign)
    assert remote.results() == local.results()


def test_run_that_is_a_job_itself(slurm, tmp_path):
    """Under a name like those of its jobs, in the same folder: as the manual suggests."""
    project = survey(tmp_path / "project", n_shards=1, n_columns=1)
    run = project.start("slurm")
    project.wait_until_said("has been submitted", run)
    kill(run)
    foreign = slurm.submit(project.folder, "mixpipe_other", "--hold", "--wrap=true")
    command = shlex.join(project.command("slurm"))
    own = slurm.submit(project.folder, "mixpipe_demo", f"--wrap={command}", environment=project.environment)
    wait_for(lambda: slurm.state(own) not in ("PENDING", "RUNNING"), "the run")
    said = (project.folder / f"slurm-{own}.out").read_text()
    assert slurm.state(own) == "COMPLETED", said
    assert (project.folder / "results/report.html").is_file()
    assert slurm.state(foreign) == "PENDING"
    slurm.ask("scancel", foreign)


def test_mistake_of_the_user_is_submitted_once(slurm, tmp_path):
    project = survey(tmp_path / "project", n_shards=2, n_columns=2)
    spoil(project)
    run = project.start_mixpipe("run", "--config", "mine.yaml", "--workflow-profile", str(project.profile("slurm")))
    assert run.wait(HOUR) == 1
    assert len(slurm.jobs(project.folder)) == 1
    lines = project.said().splitlines()
    assert lines[-1].startswith("mixpipe: error: 1 row with more fields than the header, the first is row ")
    assert len(lines) < 10
    assert "sacct" not in project.said()
    assert "account" not in project.said()


def test_limit_on_time_is_named_in_the_log_and_raised(slurm, timed):
    project, run = timed
    project.finish(run)
    first, second = slurm.jobs(project.folder, "rule_survey_dr1_v0_")
    assert (first["TimeLimit"], first["JobState"]) == ("00:01:00", "TIMEOUT")
    assert (second["TimeLimit"], second["JobState"]) == ("00:02:00", "COMPLETED")
    (said,) = {line for line in project.said().splitlines() if line.startswith("mixpipe: error: terminated, ")}
    assert said.endswith(" and runtime=1 (minutes), expected more time: --set-resources fit:runtime=2")


def start_demo(project: Project, *arguments: str):
    # Asked often: this is no test of patience.
    return project.start("slurm", *arguments, "--slurm-init-seconds-before-status-checks", "2")
