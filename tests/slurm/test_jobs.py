"""The other scripts of slurm/ on a real SLURM: prepare as an array, export, evaluate, serve, JupyterLab."""

import hashlib
import importlib.util
import json
import random
import re
import stat
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
        environment = importlib.import_module("serve.vllm_environment").find(None)
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


def status_of(url: str, token: str | None = None) -> int:
    headers = {"Authorization": f"token {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


@pytest.fixture
def lab(project):
    """A job with JupyterLab that answers, its address and its token."""
    if importlib.util.find_spec("jupyterlab") is None:
        pytest.skip("JupyterLab is not installed: uv sync --group lessons")
    job = project.submit("jupyter", "--autosave-seconds", "1")
    job.await_text("JupyterLab runs on")
    address = re.search(r"-L \d+:(127\.0\.0\.1:\d+)", job.text)
    token = re.search(r"cat (\S+)", job.text)
    assert address
    assert token
    yield job, f"http://{address[1]}", Path(token[1])
    project.cluster.run("scancel", job.number)


def test_jupyter_answers_with_the_token_and_refuses_without(lab):
    _, url, token = lab
    assert status_of(f"{url}/api/contents") == 403
    assert status_of(f"{url}/api/contents", "guess") == 403
    assert status_of(f"{url}/api/contents", token.read_text().strip()) == 200


def test_jupyter_token_is_in_no_process_list_no_environment_and_no_log(lab):
    job, url, token = lab
    secret = token.read_text().strip()
    assert status_of(f"{url}/lab?token={secret}") == 200  # as a browser may send it
    assert len(secret) > 30
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    seen = []
    for name in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{name}"):
            try:
                seen.append(path.read_bytes().replace(b"\0", b" "))
            except OSError:
                continue
    assert any(b"jupyterlab" in line for line in seen)
    assert not any(secret.encode() in line for line in seen)
    assert secret not in job.text


def test_jupyter_listens_on_this_machine_alone(lab):
    _, url, _ = lab
    port = int(url.rsplit(":", 1)[1])
    listening = {line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if f":{port:04X} " in line}
    assert listening
    assert all(address.startswith("0100007F:") for address in listening)


def test_jupyter_job_ends_cleanly_when_its_time_is_up_with_notebooks_saved(lab, project):
    job, url, token = lab
    headers = {"Authorization": f"token {token.read_text().strip()}", "Content-Type": "application/json"}

    def ask(path: str, method: str, body: dict) -> dict:
        request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    ask("/api/sessions", "POST", {"path": "mine.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}})
    project.cluster.run("scancel", "--signal=TERM", "--batch", job.number)
    job.await_text("SIGTERM: ending in 6 s, when open notebooks have been saved")
    ask("/api/contents/mine.ipynb", "PUT", {"type": "notebook", "content": notebook})  # as the browser does now
    job.complete()
    assert json.loads((project.folder / "mine.ipynb").read_text())["nbformat"] == 4
    assert not token.exists()
    assert not project.cluster.processes(SLURM_JOB_ID=job.number)  # no kernel is left


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
