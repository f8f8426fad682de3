"""The workflow on a real Slurm: the same results as on one machine, whatever fails or is killed on the way."""

import itertools
import math
import os
import time

import pytest

from tests.cluster import slurm as scheduler
from tests.cluster.project import N_COLUMNS, N_SHARDS, Project, demo, kill, survey
from tests.cluster.slurm import Slurm, wait_for
from tests.test_faults import FIT as FIT_FILE
from tests.test_faults import troubled

pytestmark = pytest.mark.skipif(
    "MIXPIPE_TEST_CLUSTER" not in os.environ, reason="a Slurm is started: make test-cluster"
)
FIT = "rule_fit_wildcards_neutron_stars_2018_mass"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    reason = scheduler.missing()
    if reason:
        pytest.skip(reason)
    with Slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


def test_many_shards_and_columns_as_on_one_machine(slurm, tmp_path, capsys):
    local, remote = survey(tmp_path / "local"), survey(tmp_path / "remote")
    # Both find the kernels compiled.
    begin = time.monotonic()
    local.finish(local.start("default", "--cores", str(scheduler.CPUS)))
    local_seconds = time.monotonic() - begin
    begin = time.monotonic()
    remote.finish(remote.start("slurm"), seconds=400)
    remote_seconds = time.monotonic() - begin
    jobs = slurm.jobs(remote.folder)
    # One job that reads, a fit per column, and the figures of four columns at a time.
    assert len(jobs) == 1 + N_COLUMNS + math.ceil(N_COLUMNS / 4)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    # A group of figures asks for no more than one of them does.
    assert {job["NumCPUs"] for job in jobs} == {"1"}
    assert remote.results() == local.results()
    idle = idle_seconds(jobs)
    with capsys.disabled():
        print(
            f"\n{N_SHARDS} shards x {N_COLUMNS} columns: {local_seconds:.0f} s on one machine, {remote_seconds:.0f} s "
            f"on Slurm, {idle:.0f} s of them between jobs, when Slurm had nothing to do until Snakemake asked"
        )


def idle_seconds(jobs: list[dict[str, str]]) -> float:
    """Seconds between the first job and the last in which no job ran or waited."""
    form = "%Y-%m-%dT%H:%M:%S"
    spans = sorted(
        tuple(time.mktime(time.strptime(job[key], form)) for key in ("SubmitTime", "EndTime")) for job in jobs
    )
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
        return slurm.jobs(remote.folder, FIT)

    def states():
        return [job["JobState"] for job in fits()]

    def figures():
        return slurm.jobs(remote.folder, "rule_small")

    # A fit fails, then its second job is cancelled: each time it is done again with more memory.
    (remote.faults / "fit.fail").touch()
    (remote.faults / "fit.wait").touch()
    run = start_demo(remote)
    wait_for(lambda: states() == ["FAILED", "RUNNING"], "the fit failed and runs again", 120)
    slurm.ask("scancel", fits()[1]["JobId"])
    wait_for(lambda: states() == ["FAILED", "CANCELLED", "RUNNING"], "the fit was cancelled and runs again", 120)
    memory = [int(job["MinMemoryNode"].removesuffix("M")) for job in fits()]
    assert memory == [memory[0], 2 * memory[0], 3 * memory[0]]

    # The daemon of the node is killed while it runs, and started again: the job goes on.
    slurm.kill_node()
    slurm.start_node()
    (remote.faults / "fit.wait").unlink()

    # Snakemake is killed while the figures are drawn: that job goes on, until the next run cancels it.
    (remote.faults / "figures.wait").touch()
    wait_for(lambda: "RUNNING" in {job["JobState"] for job in figures()}, "figures", 180)
    (orphan,) = figures()
    kill(run)
    run = start_demo(remote)
    remote.wait_until_said("mixpipe: cancelling ", run)
    wait_for(lambda: figures()[0]["JobState"] == "CANCELLED", "the orphan is cancelled", 60)
    (remote.faults / "figures.wait").unlink()
    remote.finish(run)
    cancelled, *others = figures()
    assert (cancelled["JobId"], cancelled["JobState"]) == (orphan["JobId"], "CANCELLED")
    assert others and all(job["StartTime"] >= cancelled["EndTime"] for job in others)

    assert states() == ["FAILED", "CANCELLED", "COMPLETED"]
    assert remote.results() == local.results()


def test_limit_on_time_is_named_in_the_log_and_raised(slurm, timed):
    project, run = timed
    project.finish(run)
    first, second = slurm.jobs(project.folder, "rule_fit")
    assert (first["TimeLimit"], first["JobState"]) == ("00:01:00", "TIMEOUT")
    assert (second["TimeLimit"], second["JobState"]) == ("00:02:00", "COMPLETED")
    (said,) = {line for line in project.said().splitlines() if line.startswith("mixpipe: error: terminated, ")}
    assert said.endswith(" and runtime=1 (minutes), expected more time: --set-resources fit:runtime=2")


def start_demo(project: Project, *arguments: str):
    # Asked often: this is no test of patience.
    return project.start("slurm", *arguments, "--slurm-init-seconds-before-status-checks", "2")
