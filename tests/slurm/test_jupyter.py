"""`slurm/jupyter.sbatch` on a real SLURM: who may enter, what may be seen of the token, and how it ends.

The tests share two servers, one on a port and one on a unix socket, and the last of each ends it.
"""

import contextlib
import http.client
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from slurm_cluster import Job

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        importlib.util.find_spec("jupyterlab") is None, reason="JupyterLab is not installed: uv sync --group lessons"
    ),
]


LISTENING = "0A"  # in /proc/net/tcp


class OverSocket(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


@dataclass(frozen=True)
class Lab:
    """A job with a server that answers."""

    job: Job
    address: str  # 127.0.0.1:port, or the path of a socket
    token: Path

    @property
    def secret(self) -> str:
        return self.token.read_text().strip()

    def processes(self) -> list[int]:
        return self.job.cluster.processes(SLURM_JOB_ID=self.job.number)

    @property
    def runtime(self) -> Path:
        """Where the server has its sockets."""
        variables = [Path(f"/proc/{pid}/environ").read_text() for pid in self.processes()]
        (folder,) = set(re.findall(r"\0JUPYTER_RUNTIME_DIR=([^\0]*)", "\0".join(variables)))
        return Path(folder)

    def ask(self, path: str, token: str | None = None, method: str = "GET", body: Any = None) -> tuple[int, Any]:
        """Status and answer; without a token, a stranger's."""
        is_port = self.address.startswith("127.")
        connection = http.client.HTTPConnection(self.address, timeout=30) if is_port else OverSocket(self.address)
        headers = {"Authorization": f"token {token}"} if token else {}
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, json.loads(text) if is_json else text


def log_in_submit_and_log_out(project, *arguments: str) -> str:
    """The job's number. The shell that submitted it, and all that it has started, are hung up."""
    shell = subprocess.Popen(
        ["bash"],
        env=project.cluster.environment,
        cwd=project.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert shell.stdin
    assert shell.stdout
    with shell:
        shell.stdin.write(f"sbatch --parsable slurm/jupyter.sbatch {' '.join(arguments)}\n")
        shell.stdin.flush()
        number = shell.stdout.readline().strip()
        os.killpg(shell.pid, signal.SIGHUP)
    return number


def start(module_project, *arguments: str) -> Iterator[Lab]:
    number = log_in_submit_and_log_out(module_project, *arguments)
    job = Job(module_project.cluster, number, module_project.log("jupyter", number))
    job.await_text("and the token as password.")
    address = re.search(r"-L \d+:(\S+)", job.text)
    token = re.search(r"cat (\S+)", job.text)
    assert address
    assert token
    yield Lab(job, address[1], Path(token[1]))
    module_project.cluster.run("scancel", number)
    module_project.cluster.cancel_all()


@pytest.fixture(scope="module")
def lab(module_project) -> Iterator[Lab]:
    yield from start(module_project, "--autosave-seconds", "1")


@pytest.fixture(scope="module")
def socket_lab(module_project) -> Iterator[Lab]:
    yield from start(module_project, "--autosave-seconds", "1", "--socket")


def assert_private(lab: Lab) -> None:
    assert lab.ask("/api/contents")[0] == 403
    assert lab.ask("/api/contents", "guess")[0] == 403
    assert lab.ask("/api/contents", lab.secret)[0] == 200
    assert stat.S_IMODE(lab.token.stat().st_mode) == 0o600
    assert stat.S_IMODE(lab.token.parent.stat().st_mode) == 0o700


def assert_token_is_secret(lab: Lab) -> None:
    secret = lab.secret
    assert lab.ask(f"/lab?token={secret}")[0] == 200  # as a browser may send it
    assert len(secret) > 30
    seen = []
    for name in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{name}"):
            with contextlib.suppress(OSError):
                seen.append(path.read_bytes().replace(b"\0", b" "))
    assert any(b"jupyterlab" in line and str(lab.token.parent).encode() in line for line in seen)
    assert not any(secret.encode() in line for line in seen)
    logs = [path for path in lab.job.log.parent.rglob("*") if path.is_file() and path.parent != lab.token.parent]
    assert lab.job.log in logs
    assert not any(secret in path.read_text() for path in logs)


def test_answers_with_the_token_and_refuses_without(lab):
    assert_private(lab)


def test_token_is_in_no_process_list_no_environment_and_no_log(lab):
    assert_token_is_secret(lab)


def run_in_kernel(connection: Path, code: str) -> str:
    """What it prints. Each call is a client of its own, which comes and goes as a browser does."""
    from jupyter_client.blocking.client import BlockingKernelClient

    printed: list[str] = []
    client = BlockingKernelClient(connection_file=str(connection))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        reply = client.execute_interactive(
            code, timeout=60, output_hook=lambda message: printed.append(message["content"].get("text", ""))
        )
        assert reply["content"]["status"] == "ok"
    finally:
        client.stop_channels()
    return "".join(printed)


def own_ports(lab: Lab) -> set[str]:
    """Local addresses, as the kernel writes them, on which a process of the job listens."""
    sockets = set()
    for pid in lab.processes():
        with contextlib.suppress(OSError):  # the process has ended
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile, which says nothing of the others
                    sockets.add(os.readlink(descriptor))
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    assert any(name.startswith("socket:") for name in sockets)
    return {line[1] for line in lines if line[3] == LISTENING and f"socket:[{line[9]}]" in sockets}


def open_notebook(lab: Lab) -> Path:
    """A notebook with a running kernel; the kernel's connection file."""
    session = {"path": "mine.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    status, answer = lab.ask("/api/sessions", lab.secret, "POST", session)
    assert status == 201
    return lab.runtime / f"kernel-{answer['kernel']['id']}.json"


def assert_nobody_else_hears(kernel: Path, lab: Lab) -> None:
    """A kernel's ports on 127.0.0.1 would tell every user of the node what it prints."""
    connection = json.loads(kernel.read_text())
    assert connection["transport"] == "ipc"
    assert Path(connection["ip"]).parent == lab.runtime
    assert stat.S_IMODE(lab.runtime.stat().st_mode) & 0o777 == 0o700  # with the sticky bit of its own


def test_ends_cleanly_when_its_time_is_up_with_notebooks_saved_and_kernels_alive_until_then(lab, module_project):
    port = int(lab.address.rsplit(":", 1)[1])
    assert own_ports(lab) == {f"0100007F:{port:04X}"}, "127.0.0.1 alone"
    kernel = open_notebook(lab)
    assert_nobody_else_hears(kernel, lab)
    run_in_kernel(kernel, "x = 41")
    assert run_in_kernel(kernel, "print(x + 1)") == "42\n"  # nobody was connected in between
    # The browser saves what was changed as often as the server's settings say.
    _, setting = lab.ask("/lab/api/settings/@jupyterlab/docmanager-extension:plugin", lab.secret)
    assert setting["schema"]["properties"]["autosaveInterval"]["default"] == 1
    assert setting["schema"]["properties"]["autosave"]["default"] is True

    # SLURM looks every half minute, and 120 s before the end have then begun.
    minutes = int(module_project.cluster.facts(lab.job.number)["RunTime"].split(":")[1]) + 2
    module_project.cluster.run("scontrol", "update", f"JobId={lab.job.number}", f"TimeLimit={minutes}")
    lab.job.await_text("SIGTERM: ending in 6 s, when open notebooks have been saved")
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    content = {"type": "notebook", "content": notebook}
    assert lab.ask("/api/contents/mine.ipynb", lab.secret, "PUT", content)[0] == 201  # as the browser does now
    assert run_in_kernel(kernel, "print(x + 1)") == "42\n"
    runtime = lab.runtime
    lab.job.complete()
    assert json.loads((module_project.folder / "mine.ipynb").read_text())["nbformat"] == 4
    assert_nothing_is_left(lab, runtime)


def assert_nothing_is_left(lab: Lab, runtime: Path) -> None:
    assert not lab.token.parent.exists()
    assert not runtime.exists()
    assert not lab.processes()  # no kernel either


def test_on_a_socket_only_its_owner_can_even_connect(socket_lab, module_project):
    assert_private(socket_lab)
    assert_token_is_secret(socket_lab)
    path = Path(socket_lab.address)
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not own_ports(socket_lab)
    assert_nobody_else_hears(open_notebook(socket_lab), socket_lab)

    line = re.search(r"ssh -N (-L 8888:\S+) (\S+@\S+)", socket_lab.job.text)
    assert line
    if shutil.which("ssh"):  # which reads it as a tunnel to that socket
        understood = subprocess.run(
            ["ssh", "-G", *line[1].split(), line[2]], capture_output=True, text=True, check=True
        )
        assert f"localforward 8888 {path}" in understood.stdout

    module_project.cluster.run("scancel", "--signal=TERM", "--batch", socket_lab.job.number)
    socket_lab.job.complete()
    assert_nothing_is_left(socket_lab, path.parent)
