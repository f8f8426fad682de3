"""A stage for the columns of a job: each is tried, and what is wrong is said at the end and in the logs."""

from pathlib import Path

import pytest

from mixpipe.base.errors import CatalogError
from mixpipe.pipeline.job import each

COLUMNS = ("a", "b", "c", "d")


def run(folder: Path, **problems: Exception) -> tuple[list[str], dict[str, str], Exception]:
    """The columns that were done, the log of each column, and what is raised; `problems` are raised for theirs."""
    done = []

    def task(name: str) -> None:
        if name in problems:
            raise problems[name]
        done.append(name)

    logs = [str(folder / f"{name}.log") for name in COLUMNS]
    with pytest.raises((CatalogError, ZeroDivisionError)) as caught:
        each(task, logs, {}, name=COLUMNS)
    return done, {name: (folder / f"{name}.log").read_text() for name in COLUMNS}, caught.value


def failure(name: str) -> CatalogError:
    return CatalogError(f"no column {name!r}", "in x.csv", "another")


def test_mistakes_of_the_user_stop_no_other_column(tmp_path):
    done, logs, error = run(tmp_path, a=failure("a"), c=failure("c"))
    assert done == ["b", "d"]
    assert "2 columns fail, the first: no column 'a'" in str(error)
    assert "no column 'c'" in logs["c"] and logs["b"] == ""


def test_a_mistake_in_the_program_stops_no_other_column_and_is_raised_at_the_end(tmp_path):
    problem = ZeroDivisionError("a mistake")
    done, logs, error = run(tmp_path, a=failure("a"), b=problem)
    assert done == ["c", "d"]
    assert error is problem
    assert "no column 'a'" in logs["a"]
    assert logs["b"].startswith("Traceback") and logs["b"].endswith("ZeroDivisionError: a mistake\n")
    assert run(tmp_path, b=problem)[0] == ["a", "c", "d"]
