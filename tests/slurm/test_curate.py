"""`train curate --executor slurm` on a real SLURM: job arrays that wait for each other, the bytes of the local one."""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import time

import pytest
from fineweb import nearly, prose, write_parquet

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(importlib.util.find_spec("datatrove") is None, reason="curation needs the extra curate"),
]


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """Two files of eight good documents and a bad one; half of the second file's are near-duplicates of the first's."""
    folder = tmp_path_factory.mktemp("fineweb")
    good = [prose(seed) for seed in range(12)]
    write_parquet(folder / "0.parquet", [*good[:8], "too short"])
    write_parquet(folder / "1.parquet", [*map(nearly, good[:4]), *good[8:], "too short"])
    return folder


def hashes(folder) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_job_arrays_with_a_killed_task_give_the_bytes_of_the_local_executor(project, parquet):
    cluster, here = project.cluster, project.folder
    prepare = ["prepare", "--source", str(parquet / "*.parquet"), "--tokenizer", "train:300", "--out", "text"]
    cluster.run("env", "-C", str(here), sys.executable, "-m", "train", *prepare)
    command = [sys.executable, "-m", "train", "curate", str(parquet), "--tokenizer", "text", "--tasks", "2"]

    def submit(check: bool = True) -> subprocess.CompletedProcess[str]:
        flags = ["--executor", "slurm", "--time", "10", "--gigabytes-per-task", "1"]
        # A site's GPUs, say: sbatch would rank them above the scripts'.
        return cluster.run("env", "-C", str(here), *command, *flags, check=check, SBATCH_GPUS_PER_NODE="9")

    def last(said: str) -> str:
        number = re.search(r"the last, job (\d+), writes the shards to data/curated", said)
        assert number, said
        return number[1]

    first = last(submit().stdout)
    second = submit(check=False)
    assert second.returncode == 2
    assert f"job {first} (pending) and those before it are already working on data/curated" in second.stderr
    numbers = cluster.run("squeue", "--noheader", "--name=curate-filter", "--states=all", "-o", "%F").stdout.split()
    number = min(map(int, numbers))  # a later one is datatrove's own, which joins the statistics
    deadline = time.monotonic() + 60
    while cluster.facts(f"{number}_1")["JobState"] != "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cluster.run("scancel", "--signal=KILL", "--full", f"{number}_1")
    assert cluster.wait(f"{number}_1")["JobState"] != "COMPLETED"
    assert cluster.wait(first)["JobState"] == "CANCELLED", "what waits for a failed task must not wait for ever"
    assert not (here / "data/curated").exists()

    again = submit()
    assert "7 of 7 stages submitted" in again.stdout
    assert cluster.wait(last(again.stdout))["JobState"] == "COMPLETED"
    assert "every stage is done already" in submit().stdout
    found = hashes(here / "data/curated")
    shutil.move(here / "data", here / "by-slurm")
    subprocess.run(command, env=cluster.environment, cwd=here, check=True, capture_output=True)
    assert found == hashes(here / "data/curated")
    assert {"manifest.json", "val_000000.bin", "train_000001.bin"} <= found.keys()
    kept = sum(len(path.read_text().splitlines()) for path in (here / "data/.curate-curated/kept").iterdir())
    assert kept == 12
