"""JupyterLab as a child process with a token that no other user can read: `python -m train jupyter`.

This module makes the token and writes it to a file of mode 0600. The server reads it from there; the configuration file
that names it has the same mode. The token is never an argument (every user of the node can list those), never in the
environment (every notebook inherits it and might print it), and never in a log.

At SIGTERM or Ctrl-C, the command first waits until the browser has saved open notebooks: JupyterLab keeps unsaved work
in the browser, and is configured here to save every few seconds. Then it ends the server, which ends its kernels. What
a kernel has in memory is lost.
"""

import getpass
import importlib.util
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from train.cluster import rendezvous
from train.cluster.signals import StopRequest
from train.submit.jupyter.config import JupyterConfig

START_SECONDS = 120.0
POLL_SECONDS = 0.2
LONGEST_FOLDER = 40  # characters: a socket's path may have 107, and the names of a kernel's socket files up to 67
SOCKET_LOCAL_PORT = 8888  # at the user's end of the tunnel

Address = tuple[str, int] | Path  # ip and port, or a unix socket

CONFIGURATION = """\
c.IdentityProvider.token = open({token!r}).read().strip()
c.ServerApp.root_dir = {root!r}
c.ServerApp.open_browser = False
c.ServerApp.log_level = "WARN"
c.ServerApp.allow_root = {allow_root}  # containers often run as root, which the server refuses by default
c.ServerApp.allow_remote_access = True  # the browser may call its end of the tunnel by any name
c.KernelManager.transport = "ipc"  # on ports of 127.0.0.1, every user of the node could read what kernels print
{listen}
"""


def serve(options: JupyterConfig) -> int:
    """Starts the server, prints how to reach it, and waits for its end; returns its exit status.

    Raises:
        ImportError: JupyterLab is not installed.
        FileNotFoundError: there is no such folder.
        ValueError: `autosave_seconds` is below 1.
        RuntimeError: the server ends at once, or does not answer.
    """
    _check(options)
    state = Path(tempfile.mkdtemp(prefix="jupyter-", dir=_private_folder()))  # mode 0700
    token = state / "token"
    _write_private(token, secrets.token_urlsafe(32) + "\n")
    runtime = _runtime_folder()
    address: Address = (
        runtime / "socket" if options.socket else (options.ip, options.port or rendezvous.free_port(options.ip))
    )
    root, as_root = str(options.folder.absolute()), os.geteuid() == 0
    configuration = CONFIGURATION.format(token=str(token), root=root, listen=_listen(address), allow_root=as_root)
    _write_private(state / "config.py", configuration)
    _set_autosave(state, options.autosave_seconds)
    with StopRequest() as stop:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", f"--config={state / 'config.py'}"],
            env=os.environ | {"JUPYTER_RUNTIME_DIR": str(runtime), "JUPYTER_CONFIG_PATH": str(state)},
            start_new_session=True,  # else Ctrl-C reaches the server too, which asks for confirmation
        )
        try:
            if _wait_until_ready(server, address, stop):
                print(_how_to_reach(token, address), flush=True)
            _wait_for_end(server, stop)
            if server.poll() is None and stop:
                seconds = options.autosave_seconds + 5
                print(f"{stop.name}: ending in {seconds} s, when open notebooks have been saved", flush=True)
                _sleep_while_running(server, seconds)
        finally:
            _end(server)
            for folder in (state, runtime):
                shutil.rmtree(folder, ignore_errors=True)
    return 0 if stop else server.returncode


def _check(options: JupyterConfig) -> None:
    if importlib.util.find_spec("jupyterlab") is None:
        raise ImportError("JupyterLab is not installed: uv sync --inexact --group lessons")
    if not options.folder.is_dir():
        raise FileNotFoundError(f"--folder {options.folder}: no such folder")
    if options.autosave_seconds < 1:
        raise ValueError(f"--autosave-seconds must be at least 1; got {options.autosave_seconds}")


def _private_folder() -> Path:
    """The folder for the token. Under SLURM it is on the shared file system, so that the login node can read it."""
    folder = Path(os.environ.get("LLM_JAX_JOB") or tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _listen(address: Address) -> str:
    if isinstance(address, Path):
        return f'c.ServerApp.sock = {str(address)!r}\nc.ServerApp.sock_mode = "0600"'
    return f"c.ServerApp.ip = {address[0]!r}\nc.ServerApp.port = {address[1]}\nc.ServerApp.port_retries = 0"


def _runtime_folder() -> Path:
    """A folder of mode 0700 for sockets.

    It is on the node's own disk, because a shared file system may not support sockets, and its path must be short.
    """
    base = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="jupyter-", dir=base if len(base) <= LONGEST_FOLDER else "/tmp"))


def _write_private(path: Path, text: str) -> None:
    """Writes a file that is created with mode 0600."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _set_autosave(state: Path, seconds: int) -> None:
    (state / "labconfig").mkdir()
    setting = {"@jupyterlab/docmanager-extension:plugin": {"autosaveInterval": seconds}}
    (state / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(setting))


def _wait_until_ready(server: subprocess.Popen, address: Address, stop: StopRequest) -> bool:
    """Waits for the server. False if a signal asks to end first; raises RuntimeError if it ends or never answers."""
    deadline = time.monotonic() + START_SECONDS
    while not stop:
        if server.poll() is not None:
            raise RuntimeError(f"JupyterLab ended with status {server.returncode}; see its message above")
        if _answers(address):
            return True
        if time.monotonic() > deadline:
            raise RuntimeError(f"JupyterLab does not answer on {_show(address)} after {START_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    return False


def _answers(address: Address) -> bool:
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    target = str(address) if isinstance(address, Path) else (_reachable(address[0]), address[1])
    with socket.socket(family, socket.SOCK_STREAM) as client:
        return client.connect_ex(target) == 0


def _reachable(ip: str) -> str:
    """The address at which this machine reaches a server that listens on `ip`, which may mean all addresses."""
    return "127.0.0.1" if ip in ("0.0.0.0", "", "*") else ip


def _show(address: Address) -> str:
    return str(address) if isinstance(address, Path) else f"{address[0]}:{address[1]}"


def _how_to_reach(token: Path, address: Address) -> str:
    user, node, login = getpass.getuser(), socket.gethostname(), os.environ.get("SLURM_SUBMIT_HOST")
    local = SOCKET_LOCAL_PORT if isinstance(address, Path) else address[1]
    target = shlex.quote(str(address)) if isinstance(address, Path) else f"{_reachable(address[0])}:{address[1]}"
    jump = f"-J {user}@{login} " if login and login != node else ""
    lines = [
        f"JupyterLab runs on {node}, {_show(address)}",
        "",
        "On your own machine, run this and leave it open:",
        f"    ssh -N -L {local}:{target} {jump}{user}@{node}",
        f"Then open http://127.0.0.1:{local}/lab and enter the token, which this prints:",
        f"    ssh {user}@{login or node} cat {shlex.quote(str(token))}",
        "",
        f"VS Code: with the tunnel open, “Jupyter: Select Kernel → Existing Jupyter Server”, http://127.0.0.1:{local},",
        "and the token as password.",
    ]
    return "\n".join(lines)


def _wait_for_end(server: subprocess.Popen, stop: StopRequest) -> None:
    try:
        while server.poll() is None and not stop:
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        stop.name = "Ctrl-C"


def _sleep_while_running(server: subprocess.Popen, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _end(server: subprocess.Popen) -> None:
    """Sends SIGTERM, at which the server ends its kernels. If it does not end, kills its whole session."""
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
