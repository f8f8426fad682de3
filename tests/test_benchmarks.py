"""The search and the choice by BIC on a part of the benchmark's problems."""

from benchmarks import hard, recovery


def test_search_arrives_where_a_hundred_random_restarts_do() -> None:
    found = hard.deficits(range(40))
    assert len(found) == 210  # 10 problems each with 2, 3, 4, 5 components, fitted with up to 4, 5, 6, 6
    missed = [item for item in found if item[2] > hard.ARRIVED]
    assert len(missed) <= 0.01 * len(found), missed


def test_bic_chooses_the_generating_number_of_separated_components() -> None:
    choices = recovery.choices(range(25), "2 (a + b)")
    assert {true for true, _, _ in choices} == {2, 3, 4, 5}
    assert sum(true == chosen for true, chosen, _ in choices) >= 24, choices
