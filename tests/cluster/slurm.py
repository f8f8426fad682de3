"""A real Slurm of one node on loopback: started by the tests as root, and stopped without a trace.

Debian's packages, without systemd, cgroups and accounting. All state is in one temporary folder but for
/etc/slurm/slurm.conf, which jobs have to find without the environment: it is written where there is none, and removed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "srun")
CONF = Path("/etc/slurm/slurm.conf")
MARK = "# written by the tests of mixpipe"
CPUS = 2
# What is not there after so many seconds is taken to hang, however busy the machine is.
HOUR = 3600

CONFIGURATION = """\
{mark}
ClusterName=mixpipe
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=30
KillWait=2
MinJobAge=300
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE DefMemPerCPU=500 State=UP
"""


def missing() -> str:
    """Why Slurm cannot be started here; empty if it can."""
    if os.geteuid() != 0:
        return "a Slurm of its own can be started by root only"
    programs = [program for program in PROGRAMS if shutil.which(program) is None]
    if programs:
        return f"Slurm is not installed (apt-get install slurm-wlm): no {', '.join(programs)}"
    if CONF.exists() and not CONF.read_text(encoding="utf-8").startswith(MARK):
        return f"this machine has a Slurm of its own: {CONF}"
    return ""


def wait_for(condition: Callable[[], object], what: str, seconds: float = HOUR) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


class Slurm:
    """A controller and a node.

    Parameters
    ----------
    folder : Path
        For state and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> Slurm:
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_all(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("state", "spool"):
            (self.folder / name).mkdir(exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 9 // 10 // 2**20
        host = socket.gethostname().split(".")[0]
        CONF.parent.mkdir(exist_ok=True)
        CONF.write_text(
            CONFIGURATION.format(mark=MARK, host=host, folder=self.folder, cpus=CPUS, memory=memory), encoding="utf-8"
        )
        munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.folder}/munge.socket"]
        files = [f"--{name}-file={self.folder}/munged.{name}" for name in ("pid", "seed", "log")]
        self._start("munged", [*munged, *files])
        wait_for((self.folder / "munge.socket").exists, "munged")
        self._start("slurmctld", ["slurmctld", "-D"])
        wait_for(lambda: "is UP" in self.ask("scontrol", "ping"), f"slurmctld, see {self.folder}")
        self.start_node()

    def start_node(self) -> None:
        """Start the daemon of the node."""
        self._start("slurmd", ["slurmd", "-D"])
        wait_for(lambda: self.ask("sinfo", "-h", "-o", "%T") in {"idle", "mixed", "allocated"}, "slurmd")

    def kill_node(self) -> None:
        """Kill the daemon of the node; the jobs that it has started go on."""
        self._daemons["slurmd"].kill()
        self._daemons["slurmd"].wait()

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.out").open("ab") as log:
            # The daemons go when the tests do, even when these are killed.
            guarded = ["setpriv", "--pdeathsig", "TERM", *command]
            self._daemons[name] = subprocess.Popen(guarded, stdout=log, stderr=log, start_new_session=True)

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints."""
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()

    def jobs(self, folder: Path, comment: str = "") -> list[dict[str, str]]:
        """All jobs of runs in a folder of which the comment begins so, oldest first, as scontrol shows them."""
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        jobs = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        mine = [job for job in jobs if job.get("WorkDir") == str(folder)]
        return sorted(
            (job for job in mine if job.get("Comment", "").startswith(comment)), key=lambda job: int(job["JobId"])
        )

    def submit(self, folder: Path, name: str, *options: str, environment: dict[str, str] | None = None) -> str:
        """Submit a job of the user's; its number."""
        command = ["sbatch", "--parsable", f"--job-name={name}", f"--chdir={folder}", *options]
        env = None if environment is None else {**os.environ, **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env).stdout.strip()

    def state(self, number: str) -> str:
        """The state of a job."""
        return self.ask("squeue", "--noheader", "--states=all", f"--jobs={number}", "--format=%T")

    def stop(self) -> None:
        """Cancel all jobs and stop all daemons."""
        if "slurmctld" in self._daemons:
            self.ask("scancel", "--user=root")
            wait_for(lambda: not self.ask("squeue", "--noheader"), "jobs cancelled")
        for daemon in reversed(self._daemons.values()):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons = {}
        CONF.unlink(missing_ok=True)
