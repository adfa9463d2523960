"""What each host writes of one checkpoint, and what that means for 8 billion parameters.

Processes stand for hosts, on one machine. The state is that of AdamW (12 bytes a parameter), split over the devices of
one host (fsdp) and copied to every host (data), as `train pretrain` does with several machines. Every host writes and
hashes a part of its own; the bytes are read from the folders that they leave. A real host has a disk or a link of its
own, so only the shares are a result here, and the seconds of one machine's disk.

    python benchmarks/checkpoint_hosts.py --hosts 2 --parameters 50e6 --out benchmarks/results/checkpoint_hosts.json
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from socket import socket

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the library need not be installed

import tyro
from measuring import save, show

WORKER = """
import sys, time
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from llm_jax.checkpoint import Checkpoints

address, hosts, rank, folder, rows = sys.argv[1], *map(int, sys.argv[2:4]), Path(sys.argv[4]), int(sys.argv[5])
jax.distributed.initialize(address, num_processes=hosts, process_id=rank)
mesh = jax.make_mesh((hosts, 2), ("data", "fsdp"))
split = NamedSharding(mesh, PartitionSpec("fsdp"))
make = jax.jit(lambda key: jax.random.normal(key, (rows, 1024)), out_shardings=split)
state = {f"{part}{i}": make(jax.random.key(i)) for part in ("params", "mu", "nu") for i in range(8)}
jax.block_until_ready(state)
checkpoints = Checkpoints(folder)
started = time.perf_counter()
checkpoints.save(1, state, {})
stalled = time.perf_counter()
checkpoints.wait()
print(stalled - started, time.perf_counter() - started, flush=True)
checkpoints.close()
"""
BYTES = 12  # of the state, for each parameter
BANDWIDTHS = {"one disk or link of 1 GB/s": 1e9, "3 GB/s": 3e9, "10 GB/s": 10e9}


@dataclass(frozen=True)
class Options:
    hosts: int = 2
    """Processes, of two devices each."""
    parameters: float = 50e6
    """Parameters of the state; every host holds all of it."""
    folder: Path | None = None
    """On the disk to be measured. Default: a temporary folder."""
    out: Path | None = None
    """Result as JSON."""


def shares(folder: Path) -> dict[str, int]:
    """Bytes that each process has written."""
    state = folder / "00000001/state"
    return {
        part.name: sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
        for part in sorted(state.glob("ocdbt.process_*"))
    }


def measure(options: Options, folder: Path) -> tuple[dict[str, int], list[list[float]]]:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    rows = int(options.parameters / 8 / 1024) // 2 * 2
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"}
    arguments = [address, str(options.hosts)], [str(folder), str(rows)]
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments[0], str(rank), *arguments[1]],
            env=environment | {"PYTHONPATH": sys.path[0]},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(options.hosts)
    ]
    said = [host.communicate(timeout=570)[0] for host in hosts]
    if any(host.returncode for host in hosts):
        raise RuntimeError("a host has failed; its message stands above")
    return shares(folder), [list(map(float, text.split()[-2:])) for text in said]


def main(options: Options) -> None:
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        found, seconds = measure(options, Path(scratch) / "checkpoints")
    total = sum(found.values())
    rows = [(name, f"{size / 1e6:,.1f}", f"{100 * size / total:.1f} %") for name, size in found.items()]
    show(f"{options.parameters / 1e6:,.0f} million parameters", ("MB", "share"), rows)
    print(f"training stood still for {max(one[0] for one in seconds):.2f} s; committed after {seconds[0][1]:.2f} s")
    table = [
        (
            f"{hosts} hosts, {96.4 / hosts:.1f} GB each",
            *(f"{96.4e9 / hosts / rate:,.1f}" for rate in BANDWIDTHS.values()),
        )
        for hosts in (1, 8, 32)
    ]
    show("seconds to write 8.03 billion parameters, 96.4 GB, by bandwidth of each host", tuple(BANDWIDTHS), table)
    save(
        options.out, {"shares": found, "seconds": seconds, "options": {**asdict(options), "out": None, "folder": None}}
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
