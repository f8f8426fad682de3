"""Varied problems in which rounding, ends of intervals or units were once taken wrongly."""

import pytest

from benchmarks import varied
from tests.campaign import mostly_campaign


@pytest.mark.parametrize("problem", mostly_campaign([18, 27, 38, 167, 208], 18, 27, 167))
def test_rounded_columns_arrive_at_the_best_maximum(problem):
    verdict = varied.judge(problem, n_starts=8)
    assert not verdict.error and verdict.misstated <= varied.EXACT
    assert verdict.outcome == "arrived" and verdict.moved <= varied.ARRIVED


def test_the_page_names_what_falls_short():
    verdict = varied.judge(1, n_starts=4)
    assert verdict.outcome == "arrived" and varied._told(verdict) == ""
    lines = varied.summary([verdict])
    assert lines[0] == "1 problems, of which 0 raised or could not be compared"
    text = varied.page({"summary": lines, "short": ["7: M = 2; short, gap 1"]})
    assert "Those that fall short:" in text and "- 7: M = 2" in text
