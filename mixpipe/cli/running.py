"""The command `mixpipe run`: the workflow on a configuration, in any folder."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import mixpipe
from mixpipe.config import load_config

# Arguments that say on how many cores, or where that is said.
_CORES = re.compile(r"-[cj].*|--(cores|jobs|executor|profile|workflow-profile)(=.*)?")


def run_workflow(config: str, arguments: Sequence[str]) -> NoReturn:
    """Become Snakemake, with the workflow that belongs to this package.

    Parameters
    ----------
    config : str
        The configuration file.
    arguments : sequence of str
        Handed on to Snakemake; without a number of cores it uses all.

    Raises
    ------
    ConfigError
        If the configuration cannot be used.
    """
    load_config(config)
    cores = () if any(map(_CORES.fullmatch, arguments)) else ("--cores", "all")
    command = ["-m", "snakemake", "--snakefile", str(find_snakefile()), "--configfile", config, *cores, *arguments]
    sys.stdout.flush()
    # In the place of this process, so that Ctrl-C lets Snakemake tidy up. -P: no modules are looked for in this folder.
    os.execv(sys.executable, [sys.executable, "-P", *command])  # noqa: S606


def find_snakefile() -> Path:
    """The Snakefile inside the installed package, or beside the package in a checkout."""
    package = Path(mixpipe.__file__).parent
    inside, beside = (folder / "workflow/Snakefile" for folder in (package, package.parent))
    return inside if inside.is_file() else beside
