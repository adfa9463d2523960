"""The other scripts of slurm/ on a real SLURM: prepare as an array, export, evaluate, serve."""

import hashlib
import importlib.util
import json
import random
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from llm_jax.command_line import USER_ERRORS
from serve.__main__ import COMMANDS as SERVE_COMMANDS

pytestmark = pytest.mark.slurm

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Eight files of 300 short documents."""
    folder, rng = tmp_path_factory.mktemp("corpus"), random.Random(0)
    for number in range(8):
        documents = [" ".join(rng.choices(WORDS, k=80)) for _ in range(300)]
        (folder / f"{number}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    return folder


def hashes(folder: Path) -> dict[str, str]:
    """Of every file that a preparation leaves."""
    files = [path for path in folder.iterdir() if path.suffix in (".bin", ".json")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_array_with_a_killed_task_gives_the_bytes_of_a_single_process(project, corpus):
    options = [
        "--source",
        str(corpus),
        "--tokenizer",
        "train:300",
        "--unit-megabytes",
        "0.02",
        "--shard-tokens",
        "100000",
    ]
    job = project.submit("prepare", *options, "--out", "array", flags="--array=0-3")
    cluster = project.cluster
    deadline = time.monotonic() + 120
    while cluster.facts(f"{job.number}_2")["JobState"] != "RUNNING":
        assert time.monotonic() < deadline, project.log("prepare", f"{job.number}_0").read_text()
        time.sleep(0.05)
    cluster.run("scancel", "--signal=KILL", "--full", f"{job.number}_2")
    ends = {task: cluster.wait(f"{job.number}_{task}")["JobState"] for task in range(4)}
    last = re.search(r"job (\d+) writes the shards", (project.log("prepare", f"{job.number}_0")).read_text())
    assert last
    cluster.wait(last[1])
    assert ends[2] != "COMPLETED", "the task was to be killed before its end"
    # The assembling job has refused, and says what to do.
    assert "parts are missing" in project.log("prepare-assemble", f"{last[1]}_0").read_text()
    again = project.submit("prepare", *options, "--out", "array", flags="--array=2")
    assert cluster.wait(f"{again.number}_2")["JobState"] == "COMPLETED"
    log = project.log("prepare", f"{again.number}_2").read_text()
    last = re.search(r"job (\d+) writes the shards", log)
    assert last, log
    assert cluster.wait(last[1])["JobState"] == "COMPLETED"
    alone = [
        sys.executable,
        "-m",
        "train",
        "prepare",
        *options,
        "--out",
        str(project.folder / "alone"),
        "--processes",
        "1",
    ]
    subprocess.run(alone, env=cluster.environment, check=True, capture_output=True)
    assert hashes(project.folder / "array") == hashes(project.folder / "alone")
    assert not (project.folder / "array/.prepare").exists()


@pytest.fixture(scope="module")
def trained(new_run, corpus):
    """A model that reads any text, with a head as wide as vLLM's on a CPU are."""
    shape = ("--d-model", "32", "--n-heads", "1", "--context-length", "256", "--batch-tokens", "512")
    data = ("--data", str(corpus / "0.jsonl"), "--tokenizer", "train:300")
    run = new_run("trained", "--steps", "2", "--eval-every", "0", *shape, *data)
    run.finish()
    return run.folder


def test_export_job_writes_a_hugging_face_directory(project, trained):
    log = project.submit("export", str(trained), "--out", "hf").complete()
    assert "its logits differ from the run's by at most" in log
    assert (project.folder / "hf/model.safetensors").exists()


def test_mistake_in_a_job_is_one_line_and_status_2(project):
    job = project.submit("export", "runs/nothing", "--out", "hf")
    log = job.fail()
    assert job.wait()["ExitCode"] == "2:0"
    assert log.startswith("error: ")
    assert log.count("\n") == 1


def test_evaluate_job_scores_an_export(project, trained, shared_data):
    if "evaluate" not in SERVE_COMMANDS:
        pytest.skip("python -m serve has no command evaluate")
    if importlib.util.find_spec("lm_eval") is None:
        pytest.skip("lm-evaluation-harness is not installed: uv sync --extra eval")
    items = f"hellaswag={shared_data / 'hellaswag/validation.parquet'}"
    arguments = ["--tasks", "hellaswag", "--data", items, "--limit", "4", "--out", "scores"]
    log = project.submit("evaluate", str(trained), *arguments).complete()
    assert "hellaswag" in log
    assert (project.folder / "scores/results.json").exists()


def test_serve_job_serves_and_ends_when_asked(project, trained):
    if "vllm" not in SERVE_COMMANDS:
        pytest.skip("python -m serve has no command vllm")
    try:
        environment = importlib.import_module("serve.vllm.environment").find(None)
    except USER_ERRORS as error:
        pytest.skip(f"no vLLM: {error}")
    project.submit("export", str(trained), "--out", "hf").complete()
    job = project.submit("serve", "hf", LLM_JAX_VLLM_PYTHON=str(environment.python))
    job.await_text("ssh -N -L")
    port = re.search(r"127\.0\.0\.1:(\d+)", job.text)
    assert port
    deadline = time.monotonic() + 300
    while status_of(f"http://127.0.0.1:{port[1]}/health") != 200:
        assert time.monotonic() < deadline, job.text
        assert project.cluster.facts(job.number)["JobState"] == "RUNNING", job.text
        time.sleep(1)
    assert status_of(f"http://127.0.0.1:{port[1]}/v1/models") == 401
    project.cluster.run("scancel", "--signal=TERM", "--batch", job.number)
    job.complete()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def test_missing_site_file_is_named(project):
    log = project.submit("export", "runs/nothing", LLM_JAX_SITE="nowhere.env").fail()
    assert log == "error: LLM_JAX_SITE=nowhere.env: no such file; copy slurm/site.env.example there, or unset it\n"


def test_submitting_from_elsewhere_is_explained(project):
    cluster, log = project.cluster, project.folder / "out.log"
    script = str(project.folder / "slurm/export.sbatch")
    number = cluster.run("env", "-C", "/", "sbatch", "--parsable", f"--output={log}", script).stdout.strip()
    assert cluster.wait(number)["JobState"] == "FAILED"
    assert "slurm/env.sh: No such file" in log.read_text()


def test_scripts_pass_shellcheck():
    done = subprocess.run(["shellcheck", "-x", *map(str, scripts())], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout


def scripts() -> list[Path]:
    folder = REPOSITORY / "slurm"
    return sorted([*folder.glob("*.sbatch"), *folder.glob("*.sh"), folder / "site.env.example"])
