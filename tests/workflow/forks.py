"""Dry runs of Snakemake as forks of one process that has imported it, since that takes half of their time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.cluster.slurm import HOUR

SNAKEMAKE = "import sys; from snakemake.cli import main; main(sys.argv[1:])"

# Each line of input is a request. Its fork goes on as a process of its own would begin, and its exit status is the
# answer.
_SERVER = """
import json, os, signal, sys
import snakemake.cli

assert "mixpipe" not in sys.modules
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
signal.alarm(request["seconds"])
for place, name in enumerate((os.devnull, request["output"], request["error"])):
    os.dup2(os.open(name, os.O_RDWR), place)
os.chdir(request["folder"])
os.environ.clear()
os.environ.update(request["environment"])
sys.path[1:1] = request["environment"]["PYTHONPATH"].split(os.pathsep)
sys.argv[1:] = request["arguments"]
exec(request["code"], {"__name__": "__main__"})
"""


@cache
def _server() -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_forked(
    arguments: list[str], folder: Path, environment: dict[str, str], code: str = SNAKEMAKE
) -> subprocess.CompletedProcess:
    """Run code with these arguments, as `python -c` in this folder and this environment, which has a PYTHONPATH."""
    server = _server()
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as error:
        request = {"arguments": arguments, "folder": str(folder), "environment": environment, "code": code}
        request |= {"output": output.name, "error": error.name, "seconds": HOUR}
        print(json.dumps(request), file=server.stdin, flush=True)
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, status, output.read(), error.read())
