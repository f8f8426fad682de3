"""A run that is killed, wherever it is: the same command again completes it, with the same results."""

from collections.abc import Callable
from subprocess import Popen

from tests.cluster.project import Project, kill, survey


def test_killed_run_is_completed_by_the_same_command(tmp_path):
    whole, killed = (survey(tmp_path / name, n_shards=2, n_columns=1) for name in ("whole", "killed"))
    whole.finish(whole.start("default", "--cores", "2"))
    kill_while_working(killed, "ingest", "reading", kill)
    # Its job lives on, and writes the same files as that of the next run.
    kill_while_working(killed, "fit", "fitting", Popen.kill)
    kill_while_working(killed, "figures", "drawing", kill)
    kill_while_working(killed, "report", "report.html", kill)
    # A job killed in the middle of a file leaves such a one.
    half = killed.folder / "results/survey/dr1/v0/.components.csv.ab12cd34.csv"
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
    assert second.wait(timeout=120) == 2
    assert f"mixpipe: error: another run is at work, in {project.folder}" in project.said()
    assert "Traceback" not in project.said()
    project.output = output
    assert first.poll() is None
    kill(first)
