"""The processes of a job step find each other through a file on the file system that they share.

JAX needs one address of process 0 that all processes can reach. JAX computes it, which may fail: the port follows from
the job's number, so two steps of a job on one node (or two jobs whose numbers are equal modulo 4096) get the same one,
and a node's name may not resolve on the others. So process 0 picks a free port and writes it to the file, with every
address under which it may be reached. The others wait for the file and take the first address that answers. If process
0 fails earlier, it writes why, and all processes end at once with that message.
"""

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

from llm_jax.command_line.place import Place
from llm_jax.files.json_files import read_json, write_json

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.2
WAIT_SECONDS = 600.0  # for process 0, which may be preparing data first


class Coordinator(NamedTuple):
    """An address of JAX's coordination service."""

    address: str  # host:port, to connect to
    bind: str | None = None  # host:port, to listen on; only on process 0


def announce(folder: Path, place: Place) -> Coordinator:
    """On process 0: picks a free port and writes down where the others find it."""
    if place.nodes == 1:
        address = f"{LOOPBACK}:{free_port(LOOPBACK)}"  # nobody outside of this machine has to reach it
        _write(folder, place, {"addresses": [address]})
        return Coordinator(address, bind=address)
    port = free_port("")
    addresses = [f"{host}:{port}" for host in _own_hosts(place)]
    _write(folder, place, {"addresses": addresses})
    return Coordinator(f"{LOOPBACK}:{port}")


def announce_failure(folder: Path, place: Place, message: str) -> None:
    """On process 0: tells the others, who wait for the address, that there will be none."""
    with contextlib.suppress(OSError):  # the folder itself may be what is wrong
        _write(folder, place, {"failed": message})


def find(folder: Path, place: Place, timeout: float = WAIT_SECONDS) -> Coordinator:
    """On the other processes: waits for process 0 and returns the address that answers.

    Raises RuntimeError with the message of process 0 if it failed, TimeoutError if it does not come.
    """
    path, deadline = _file(folder, place), time.monotonic() + timeout
    tried: list[str] = []
    while time.monotonic() < deadline:
        # NFS remembers for a while that a name does not exist; listing the folder makes it ask the server again.
        if path.parent.is_dir() and path.name in os.listdir(path.parent):
            note = read_json(path)
            if "failed" in note:
                raise RuntimeError(f"process 0 failed: {note['failed']}")
            tried = [str(address) for address in note.get("addresses", [])]
            for address in tried:
                if _answers(address):
                    return Coordinator(address)
        time.sleep(POLL_SECONDS)
    where = f"none of its addresses answers ({', '.join(tried)})" if tried else f"{path} has not appeared"
    raise TimeoutError(
        f"process {place.process} on {place.node_name} waited {timeout:.0f} s for process 0: {where}. The nodes must "
        "share the run's file system and may not block ports between each other; or set JAX_COORDINATOR_ADDRESS"
    )


def clear(folder: Path, place: Place) -> None:
    """On process 0, when all processes have joined: removes the file."""
    _file(folder, place).unlink(missing_ok=True)


def _file(folder: Path, place: Place) -> Path:
    return folder / f"rendezvous-{place.attempt}.json"


def _write(folder: Path, place: Place, note: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(_file(folder, place), note)


def _own_hosts(place: Place) -> list[str]:
    """Names and addresses under which other nodes might reach this one, the likeliest first."""
    hosts = [place.node_name, socket.gethostname(), *_own_addresses()]
    return sorted(dict.fromkeys(filter(None, hosts)), key=lambda host: host.startswith("127."))  # loopback last


def _own_addresses() -> list[str]:
    """The address of the interface towards the node that launched the step, and those of this node's own name."""
    found = []
    if launcher := os.environ.get("SLURM_LAUNCH_NODE_IPADDR"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((launcher, 9))  # sends nothing: only asks the kernel which interface it would take
            found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        found += [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return found


def free_port(host: str) -> int:
    """A port that is free now."""
    with socket.create_server((host, 0)) as server:
        return server.getsockname()[1]


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return False
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except OSError:  # the name does not resolve, or nobody listens there yet
        return False
