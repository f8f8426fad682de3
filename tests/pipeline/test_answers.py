"""The end of a run on the terminal."""

import os

import pandas as pd
import pytest

from mixpipe.pipeline.answers import tell_answers


@pytest.fixture
def summary(tmp_path):
    def write(*rows):
        plain = {
            "catalog": "stars", "release": "dr1", "column": "mass", "status": "fitted", "quality": "ok", "verdict": "",
            "warnings": "", "answer": "one population", "basis": "10 rows; no warnings",
        }  # fmt: skip
        path = tmp_path / "summary.csv"
        pd.DataFrame([{**plain, **row} for row in rows]).to_csv(path, index=False)
        return path

    return write


def test_each_column_has_two_lines(summary):
    path = summary({}, {"column": "radius", "answer": "two, of them\x1b[31m"})
    assert list(tell_answers(path)) == [
        "stars dr1 mass: one population",
        "    10 rows; no warnings",
        "stars dr1 radius: two, of them?[31m",
        "    10 rows; no warnings",
    ]


def test_of_many_columns_those_come_first_that_need_to_be_looked_at(summary):
    rows = [{"column": f"c{number}"} for number in range(40)]
    rows[5]["quality"] = "rejected"
    rows[6].update(verdict="shifted", warnings="a; b")
    rows[7].update(status="failed", quality="untested")
    rows[8]["verdict"] = "unchanged"
    first, *told, last = tell_answers(path := summary(*rows))
    assert first == "40 columns: 1 failed, 1 rejected, 38 ok, 1 shifted, 1 column with warnings"
    assert [line.split(":")[0] for line in told[::2]] == ["stars dr1 c7", "stars dr1 c6", "stars dr1 c5"]
    assert last == f"all 40 columns: {path}"
    # Even of those there may be many.
    told = list(tell_answers(summary(*({"column": str(n), "quality": "rejected"} for n in range(40)))))
    assert len(told) == 1 + 2 * 20 + 1


def test_nothing_is_told_by_an_old_summary(summary, tmp_path):
    path, fit = summary({}), tmp_path / "fit.json"
    assert list(tell_answers(tmp_path / "other.csv")) == []
    assert list(tell_answers(path, [fit])) == []
    fit.write_text("{}")
    written = path.stat().st_mtime
    os.utime(fit, (written - 10, written - 10))
    assert len(list(tell_answers(path, [fit]))) == 2
    os.utime(fit, (written + 10, written + 10))
    assert list(tell_answers(path, [fit])) == []
