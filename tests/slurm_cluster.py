"""A SLURM of one node on loopback, in a folder of its own: munged, slurmctld and slurmd (Debian: slurm-wlm, munge)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from zygote import wait_until

_DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_CONFIGURATION = """
ClusterName=diantu
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SwitchType=switch/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=3
MinJobAge=10
MaxArraySize=1001
OverTimeLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why there can be no SLURM here; None if there can be one."""
    missing = [name for name in (*_DAEMONS, "sbatch", "squeue") if shutil.which(name, path=PATH) is None]
    if missing:
        return f"SLURM is not installed here: no {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "the daemons of SLURM need root"


class Cluster:
    """A running SLURM. Its commands, and what they start, need `environment`."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.node = socket.gethostname().partition(".")[0]

    def command(self, *arguments: str | Path, code: int | None = 0) -> str:
        """Runs a command of SLURM, and returns what it prints."""
        done = subprocess.run(
            list(map(str, arguments)), env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert code is None or done.returncode == code, (arguments, done.stdout, done.stderr)
        return done.stdout

    def jobs(self, state: str = "") -> list[str]:
        """The numbers of all jobs that have not ended, or those in one state such as RUNNING."""
        states = [f"--states={state}"] if state else []
        return self.command("squeue", "--noheader", "--array", "--format=%i", *states).split()

    def tasks(self) -> list[int]:
        """The processes of running array tasks."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                is_task = b"task" in words and any(b"diantu.indexing.embed.slurm" in word for word in words)
                if is_task and os.fsencode(f"SLURM_CONF={self.folder}") in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return sorted(found)

    def start_now(self) -> None:
        """Starts jobs that were queued again at once; SLURM lets them wait for two minutes."""
        for line in self.command("squeue", "--noheader", "--array", "--format=%i %r").splitlines():
            job, _, reason = line.partition(" ")
            if reason == "BeginTime":
                self.command("scontrol", "update", f"jobid={job}", "starttime=now", code=None)

    def wait_until_idle(self) -> None:
        wait_until(lambda: self.start_now() or not self.jobs(), "the end of all jobs of SLURM", pause=0.5)


@contextlib.contextmanager
def slurm(folder: Path, environment: dict[str, str], *, cpus: int = 4) -> Iterator[Cluster]:
    """Starts a SLURM, and ends it with all its processes.

    Args:
        folder: for its files; it must belong to root and be short, because of the socket's name.
        environment: of what it runs.
        cpus: tasks that it runs at the same time.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    controller_port, node_port = _free_ports(2)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(folder=folder, host=host, controller_port=controller_port, node_port=node_port, cpus=cpus)
    )
    environment = {**environment, "SLURM_CONF": str(configuration), "PATH": PATH}
    cluster = Cluster(folder, environment)
    munge = [f"--{name}={folder}/munge.{file}" for name, file in _MUNGE_FILES.items()]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in (["munged", "--force", "--foreground", *munge], ["slurmctld", "-D", "-i"], ["slurmd", "-D"]):
            with (folder / f"{command[0]}.out").open("wb") as output:
                daemons.append(
                    subprocess.Popen(
                        command, env=environment, stdout=output, stderr=output, start_new_session=True, cwd=folder
                    )
                )
            if command[0] == "munged":
                wait_until((folder / "munge.socket").exists, "munged", pause=0.05)
        wait_until(lambda: "idle" in cluster.command("sinfo", "-h", "-o", "%t", code=None), "SLURM", pause=0.1)
        yield cluster
    finally:
        with contextlib.suppress(Exception):
            if cluster.jobs():
                cluster.command("scancel", *{job.partition("_")[0] for job in cluster.jobs()}, code=None)
                cluster.wait_until_idle()
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


_MUNGE_FILES = {
    "socket": "socket",
    "key-file": "key",
    "pid-file": "pid",
    "log-file": "log",
    "seed-file": "seed",
}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
