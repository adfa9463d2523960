"""Two processes, one folder: each writes its share, the first alone commits, both restore the same checkpoint."""

import os
import subprocess
import sys

from slurm_cluster import free_ports

WORKER = """
import sys, warnings
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from llm_jax.checkpoint import Checkpoints, integrity

address, rank, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
jax.distributed.initialize(address, num_processes=2, process_id=rank)
rows = NamedSharding(Mesh(np.array(jax.devices()), ("fsdp",)), PartitionSpec("fsdp"))
everywhere = NamedSharding(rows.mesh, PartitionSpec())

def state(step):
    x = jax.make_array_from_callback((16, 4), rows, lambda index: np.arange(64.0).reshape(16, 4)[index] + step)
    return {"x": x, "key": jax.jit(jax.random.key, out_shardings=everywhere, static_argnums=0)(step), "count": step}

opened, hash_file = [], integrity._measure
integrity._measure = lambda path: opened.append(path) or hash_file(path)
checkpoints = Checkpoints(folder)
for step in (1, 2, 3):
    checkpoints.save(step, state(step), {"at": step}, wait=step == 3)
    assert step != 3 or checkpoints.steps() == [1, 2, 3]
shares = sorted({part for path in opened for part in path.parts if part.startswith("ocdbt.process_")})
print("hashed the files of", shares, flush=True)
if rank == 0:
    victim = next((folder / "00000003" / "state" / "ocdbt.process_1").rglob("d/*"))
    victim.write_bytes(victim.read_bytes()[:-1])
template = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding) if isinstance(x, jax.Array) else x, state(0)
)
restored = checkpoints.restore(template)
for mine, expected in zip(restored.state["x"].addressable_shards, state(2)["x"].addressable_shards, strict=True):
    np.testing.assert_array_equal(mine.data, expected.data)
assert restored.state["key"] == state(2)["key"]
print("restored", restored.step, restored.metadata, len(restored.passed_over), flush=True)
try:
    checkpoints.restore(template, step=9)
except (OSError, ValueError) as error:
    print(error, flush=True)
checkpoints.close()
"""


def test_both_processes_commit_and_restore_together_and_one_damaged_share_makes_both_fall_back(tmp_path):
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORKER, address, str(rank), str(tmp_path / "checkpoints")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    (first, first_log), (second, second_log) = (worker.communicate(timeout=120) for worker in workers)
    assert [worker.returncode for worker in workers] == [0, 0], first_log + second_log
    assert "hashed the files of ['ocdbt.process_0']" in first
    assert "hashed the files of ['ocdbt.process_1']" in second
    assert "restored 2 {'at': 2} 1" in first
    assert "restored 2 {'at': 2} 0" in second
    assert "step 3 is damaged" in first_log
    assert "ocdbt.process_1" in first_log
    assert "no checkpoint of step 9" in first
    assert "see the message of process 0" in second
