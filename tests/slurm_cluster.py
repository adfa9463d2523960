"""A real SLURM on this machine: munge, one controller and two node daemons, in a folder of their own with free ports.

Both nodes are this host under the names n1 and n2, which nothing resolves: that is the harder of the two cases that
the start-up has to cope with. There is no accounting database, as on many small clusters.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
SBIN = "/usr/sbin:/sbin"  # where daemons are, and where PATH of a user often does not lead
FINISHED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}
FORGET_SECONDS = 3.0
GPUS_PER_NODE = 2  # two files that SLURM hands out as if they were devices

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
JobRequeue=1
KillWait=10
SlurmdTimeout=10
MessageTimeout=30
MinJobAge=3600
PropagateResourceLimits=NONE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1_port} CPUs=8 RealMemory=4000 Gres=gpu:{gpus}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2_port} CPUs=8 RealMemory=4000 Gres=gpu:{gpus}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=60 DefaultTime=10 OverSubscribe=YES:8 State=UP
"""


RUN = """
import runpy, sys
sys.argv = ["train", *sys.argv[4:]]  # python -m train …
runpy.run_module("train", run_name="__main__")
"""


def wrapper(file: Path, program: str) -> str:
    """What LLM_JAX_CONTAINER names: it runs the program before the command."""
    file.write_text(program + RUN)
    return f"{sys.executable} {file}"


def missing_programs() -> list[str]:
    """The programs of Debian's slurm-wlm and munge that are not on this machine."""
    path = f"{os.environ.get('PATH', '')}:{SBIN}"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@dataclass
class Cluster:
    """Started by entering it, stopped by leaving it; commands run in the environment of a user who has logged in."""

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> "Cluster":
        self.environment |= {
            "PATH": f"{self.environment['PATH']}:{SBIN}",
            "SLURM_CONF": str(self.folder / "slurm.conf"),
        }
        try:
            self._configure()
            self._start_munge()
            self._start("slurmctld", "slurmctld", "-D")
            for node in ("n1", "n2"):
                self.start_node(node)
            self._wait_until(lambda: self.run("sinfo", "-h", "-o", "%T").stdout.split() == ["idle"], "idle nodes")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, *command: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """A command on the login node; `more` are environment variables."""
        done = subprocess.run(command, env=self.environment | more, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def facts(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says."""
        text = self.run("scontrol", "--oneliner", "show", "job", job).stdout
        return dict(re.findall(r"(\S+?)=(\S*)", text))

    def wait(self, job: str, state: str = "", timeout: float = 180) -> dict[str, str]:
        """Waits until the job is in `state`, or has ended; a job that waits after a requeue is let go soon.

        SLURM makes it wait for two minutes, so that nodes have forgotten its old credential: they need a second or two.
        """
        deadline = time.monotonic() + timeout
        requeued = None
        while True:
            facts = self.facts(job)
            if facts["JobState"] == state or (not state and facts["JobState"] in FINISHED):
                return facts
            assert facts["JobState"] not in FINISHED, f"job {job} ended: {facts}"
            if facts["JobState"] == "PENDING" and facts["Reason"] == "BeginTime":
                requeued = requeued or time.monotonic()
                if time.monotonic() - requeued > FORGET_SECONDS:
                    self.run("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)
            else:
                requeued = None
            assert time.monotonic() < deadline, f"job {job} is not {state or 'at its end'} after {timeout} s: {facts}"
            time.sleep(0.2)

    def cancel_all(self) -> None:
        """Ends what a test has left, and waits until it has ended."""

        def are_gone() -> bool:
            jobs = self.run("squeue", "--noheader", "-o", "%i").stdout.split()
            for job in jobs:  # each time anew: one may have gone back into the queue meanwhile
                self.run("scancel", "--full", "--signal=KILL", job, check=False)
                self.run("scancel", job, check=False)
            return not jobs

        self._wait_until(are_gone, "end of all jobs", timeout=90)

    def start_node(self, node: str) -> None:
        self._start(node, "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """The machine loses its power: the daemon, its steps and their tasks die at one stroke."""
        tasks = self.processes(SLURMD_NODENAME=node)
        steps = {parent for parent in map(_parent, tasks) if "slurmstepd" in Path(f"/proc/{parent}/comm").read_text()}
        daemon = self.daemons.pop(node)
        daemon.kill()
        daemon.wait()
        for pid in [*steps, *tasks]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def task(self, job: str, process: int) -> int:
        """The process id of one task of the job's newest step."""
        (pid,) = self.processes(SLURM_JOB_ID=job, SLURM_PROCID=str(process), SLURM_STEP_ID="0")
        return pid

    def processes(self, **variables: str) -> list[int]:
        """Processes of this cluster's jobs whose environment says so."""
        wanted = {
            f"{name}={value}" for name, value in {**variables, "SLURM_CONF": self.environment["SLURM_CONF"]}.items()
        }
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if wanted <= set(path.read_text(errors="replace").split("\0")):
                    found.append(int(path.parent.name))
        return found

    def _configure(self) -> None:
        self.folder.chmod(0o711)  # munged wants to be reached by everybody
        for name in ("state", "spool-n1", "spool-n2"):
            (self.folder / name).mkdir()
        ports = dict(zip(("controller_port", "n1_port", "n2_port"), free_ports(3), strict=True))
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        text = CONFIGURATION.format(
            folder=self.folder, host=socket.gethostname(), user=user, gpus=GPUS_PER_NODE, **ports
        )
        (self.folder / "slurm.conf").write_text(text)
        for index in range(GPUS_PER_NODE):
            (self.folder / f"gpu{index}").touch()
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-{GPUS_PER_NODE - 1}]\n")
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # not used, but read

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        here = {name: f"{self.folder}/munge.{name}" for name in ("socket", "pid", "log", "seed")}
        self._start(
            "munge",
            *("munged", "--foreground", f"--key-file={key}", f"--socket={here['socket']}", f"--pid-file={here['pid']}"),
            *(f"--log-file={here['log']}", f"--seed-file={here['seed']}", "--num-threads=2"),
        )
        self._wait_until((self.folder / "munge.socket").exists, "munge")

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as output:
            self.daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    def _stop(self) -> None:
        """Ends the jobs and then the daemons, the last started first; only processes that were started here."""
        if "slurmctld" in self.daemons:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                self.cancel_all()
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(timeout=15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.daemons.clear()

    def _wait_until(self, condition, what: str, timeout: float = 40) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            for name, daemon in self.daemons.items():
                assert daemon.poll() is None, f"{name} ended: {(self.folder / f'{name}.out').read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"no {what} after {timeout} s; logs are in {self.folder}"
            time.sleep(0.1)


@dataclass(frozen=True)
class Job:
    """A submitted job."""

    cluster: Cluster
    number: str
    log: Path

    def wait(self, state: str = "", timeout: float = 300) -> dict[str, str]:
        return self.cluster.wait(self.number, state, timeout)

    def complete(self) -> str:
        """Waits until it has ended well; returns the log."""
        facts = self.wait()
        assert facts["JobState"] == "COMPLETED", f"{facts}\n{self.text}"
        return self.text

    def fail(self) -> str:
        """Waits until it has failed; returns the log."""
        facts = self.wait()
        assert facts["JobState"] == "FAILED", f"{facts}\n{self.text}"
        return self.text

    def await_text(self, text: str, timeout: float = 120) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.text:
            assert time.monotonic() < deadline, f"no {text!r} after {timeout} s in: {self.text}"
            time.sleep(0.1)

    @property
    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else "no log"


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def free_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
