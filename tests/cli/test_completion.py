"""What the shell is offered."""

import os
import subprocess
import sys

import pytest

PROGRAM = "import sys; from mixpipe.cli import main; sys.argv[0] = 'mixpipe'; main(prog_name='mixpipe')"


def offered(words: str) -> list[str]:
    """What completes the last of some words, as the script that bash is given asks for it."""
    setting = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1), "_MIXPIPE_COMPLETE": "bash_complete"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line.split(",", 1)[1] for line in done.stdout.splitlines() if line]


@pytest.fixture
def stars(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("mass,mass_err,name\n1,2,a\n")
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("mixpipe in", ["init"]),
        ("mixpipe fit --error-k", ["--error-kind"]),
        ("mixpipe fit --criterion ", ["bic", "aic", "icl"]),
        ("mixpipe fit --estimator m", ["moments"]),
        ("mixpipe fit FILE --value ma", ["mass", "mass_err"]),
        ("mixpipe fit FILE --value mass --weight n", ["name"]),
        ("mixpipe init FILE --column mass_", ["mass_err"]),
        ("mixpipe fit nothing.csv --value ma", []),
        ("mixpipe fit --value ma", []),
    ],
)
def test_what_completes(stars, words, expected):
    assert offered(words.replace("FILE", str(stars))) == expected


def test_files_are_left_to_the_shell():
    assert offered("mixpipe check con") == ["con"]


def test_bash_is_given_a_script():
    command = [sys.executable, "-c", PROGRAM]
    setting = {**os.environ, "_MIXPIPE_COMPLETE": "bash_source"}
    done = subprocess.run(command, env=setting, capture_output=True, text=True, check=True)
    assert "complete" in done.stdout
