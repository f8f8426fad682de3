"""Roots of functions of one variable."""

import math

import pytest
from scipy.optimize import brentq

from mixpipe.assess.roots import bracketed_root

FUNCTIONS = {
    "line": (lambda x: 3.0 * x - 1.0, -2.0, 5.0),
    "cubic": (lambda x: x**3 - 2.0 * x - 5.0, 2.0, 3.0),
    "falling": (lambda x: math.exp(-x) - 0.3, 10.0, 0.0),
    "flat": (lambda x: (x - 0.2) ** 3 + 1e-3 * (x - 0.2), -1.0, 4.0),
    "steep": (lambda x: math.atan(1e6 * (x - math.pi)), 0.0, 10.0),
    "step": (lambda x: 1.0 if x > 0.7 else -1.0, 0.0, 1.0),
    "end": (lambda x: x, 0.0, 1.0),
    "other end": (lambda x: x - 1.0, 0.0, 1.0),
}


@pytest.mark.parametrize("xtol", [1e-3, 1e-12])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_step_is_that_of_brentq(name, xtol):
    function, first, second = FUNCTIONS[name]
    visited: list[list[float]] = [[], []]
    roots = [
        method(lambda x, seen=seen: seen.append(x) or function(x), first, second, xtol=xtol)
        for method, seen in zip((bracketed_root, brentq), visited, strict=True)
    ]
    assert roots[0] == roots[1]
    assert visited[0] == visited[1]


def test_equal_signs_are_an_error():
    with pytest.raises(ValueError, match="expected different ones"):
        bracketed_root(lambda x: x * x + 1.0, -1.0, 1.0, 1e-9)
