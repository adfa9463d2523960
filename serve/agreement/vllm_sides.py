"""vLLM's two sides on the export, both in float32: its engine in a process, and its HTTP server."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from llm_jax.config import GPTConfig
from llm_jax.scoring.requests import Request
from serve import front, vllm_environment
from serve.agreement.answers import Answers, Continuations, Prompts, continuations_from
from serve.vllm import HEADS_ON_CPU
from serve.vllm_environment import Environment

QUESTIONS = Path(front.__file__).with_name("vllm_questions.py")
GPU_MEMORY = 0.6  # part of it, for JAX holds some as well
ROWS = 32  # prompts in one HTTP request
TIMEOUT = 1800  # seconds for loading and answering everything


class Engine:
    """`vllm.LLM`, in vLLM's own Python."""

    name = "vllm"

    def __init__(self, directory: Path, context_length: int, environment: Environment) -> None:
        self._directory, self._context_length, self._environment = directory, context_length, environment

    def answer(self, prompts: Prompts, n_tokens: int, requests: Sequence[Request]) -> Answers:
        """Raises RuntimeError with vLLM's last words."""
        asked = {
            "model": str(self._directory.resolve()),
            "context_length": self._context_length,
            "settings": {} if self._environment.on_cpu else {"gpu_memory_utilization": GPU_MEMORY},
            "prompts": [list(map(int, prompt)) for prompt in prompts],
            "n_tokens": n_tokens,
            "requests": [[list(map(int, part)) for part in request] for request in requests],
        }
        with tempfile.TemporaryDirectory(prefix="llm-jax-vllm-") as folder:
            questions, answers = Path(folder, "questions.json"), Path(folder, "answers.json")
            questions.write_text(json.dumps(asked))
            done = subprocess.run(
                [str(self._environment.python), str(QUESTIONS), str(questions), str(answers)],
                env=self._environment.variables(),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=False,
            )
            # The file is there whole or not at all. The status says less: now and then, with everything answered,
            # threads of vLLM's that still run abort its exit (SIGABRT, "terminate called without an active exception").
            if not answers.is_file():
                words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
                raise RuntimeError(f"vLLM ended with status {done.returncode}:\n{words}")
            found = json.loads(answers.read_text())
        likelihoods = np.array(found["log_likelihoods"]) if requests else None
        return Answers(continuations_from(found["continuations"]), likelihoods)


class Endpoint:
    """A server with OpenAI's completions interface at `url`, asked by token ids."""

    name = "vllm http"

    def __init__(self, url: str, key: str | None, model: str) -> None:
        self._url, self._key, self._model = url, key, model

    def answer(self, prompts: Prompts, n_tokens: int, requests: Sequence[Request]) -> Answers:
        """Raises ConnectionError where the server refuses or is gone."""
        tokens, log_probabilities, margins = [], [], []
        for found in self._ask(prompts, max_tokens=n_tokens, logprobs=2, ignore_eos=True):
            tokens.append([_id_of(token) for token in found["tokens"]])
            log_probabilities.append(found["token_logprobs"])
            tops = [sorted(table.values(), reverse=True) for table in found["top_logprobs"]]
            margins.append([top[0] - top[1] for top in tops])
        likelihoods = None
        if requests:
            whole = [[*request.context, *request.continuation] for request in requests]
            each = self._ask(whole, max_tokens=1, logprobs=1, echo=True)
            likelihoods = np.array(
                [
                    sum(found["token_logprobs"][len(request.context) : len(ids)])
                    for request, ids, found in zip(requests, whole, each, strict=True)
                ]
            )
        answers = Continuations(np.array(tokens, np.int64), np.array(log_probabilities), np.array(margins))
        return Answers(answers, likelihoods)

    def _ask(self, prompts: Prompts, **settings: Any) -> Iterator[dict[str, Any]]:
        """The `logprobs` of each prompt's answer, in order."""
        for start in range(0, len(prompts), ROWS):
            body = {
                "model": self._model,
                "prompt": [list(map(int, prompt)) for prompt in prompts[start : start + ROWS]],
                "temperature": 0,
                "return_tokens_as_token_ids": True,
                **settings,
            }
            headers = {"Content-Type": "application/json"} | (
                {"Authorization": f"Bearer {self._key}"} if self._key else {}
            )
            request = urllib.request.Request(f"{self._url}/v1/completions", json.dumps(body).encode(), headers)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                    choices = json.load(answer)["choices"]
            except urllib.error.HTTPError as error:
                said = error.read().decode(errors="replace")[:300]
                raise ConnectionError(f"{self._url} answers {error.code} {error.reason}: {said}") from None
            except OSError as error:
                raise ConnectionError(f"{self._url} does not answer ({error})") from None
            for choice in sorted(choices, key=lambda choice: choice["index"]):
                yield choice["logprobs"]


def open_engine(directory: Path, config: GPTConfig, python: Path | None) -> Engine:
    """Raises FileNotFoundError or ValueError, with the cure, where there is no vLLM that can run the model."""
    return Engine(directory, config.context_length, _environment(config, python))


@contextlib.contextmanager
def open_endpoint(directory: Path, config: GPTConfig, python: Path | None) -> Iterator[Endpoint]:
    """A server of the export on a free port of 127.0.0.1, behind a key of its own; ended at the end.

    Raises as `open_engine` does, and RuntimeError with vLLM's last words where it does not come up.
    """
    environment, key = _environment(config, python), secrets.token_urlsafe(32)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = environment.command(
        *("serve", str(directory.resolve()), "--served-model-name", "model", "--dtype", "float32", "--enforce-eager"),
        *("--host", "127.0.0.1", "--port", str(port), "--max-model-len", str(config.context_length)),
        *("--generation-config", "vllm", "--no-enable-prefix-caching"),
        *([] if environment.on_cpu else ["--gpu-memory-utilization", str(GPU_MEMORY)]),
    )
    with tempfile.TemporaryFile() as log:
        variables = environment.variables() | {"VLLM_API_KEY": key}  # never in the arguments: all users see those
        server = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_until_ready(server, f"http://127.0.0.1:{port}/health", log)
            yield Endpoint(f"http://127.0.0.1:{port}", key, "model")
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(30)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(server.pid, signal.SIGKILL)  # what it may have left behind, itself included
            server.wait()


def _wait_until_ready(server: subprocess.Popen, url: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    log.seek(0)
    words = "\n".join(log.read().decode(errors="replace").strip().splitlines()[-12:])
    raise RuntimeError(f"vLLM's server did not come up (status {server.poll()}):\n{words}")


def _environment(config: GPTConfig, python: Path | None) -> Environment:
    environment = vllm_environment.find(python)
    if environment.on_cpu and config.d_head not in HEADS_ON_CPU:
        widths = ", ".join(map(str, HEADS_ON_CPU))
        raise ValueError(f"vLLM on a CPU knows heads of the widths {widths}; this model's are {config.d_head} wide")
    return environment


def _id_of(token: str) -> int:
    """`token_id:17` → 17."""
    return int(token.removeprefix("token_id:"))
