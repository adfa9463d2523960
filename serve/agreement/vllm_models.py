"""vLLM on the export, in float32, in two ways: its engine in a process, and its HTTP server."""

import contextlib
import json
import secrets
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.config import DecoderConfig
from llm_jax.files.json_files import read_json
from llm_jax.hf.config import architecture
from llm_jax.scoring.requests import Request
from serve.agreement.answers import Answers, Continuations, Prompts, continuations_from
from serve.door import listening
from serve.door.listening import Door
from serve.vllm import adapters as vllm_adapters
from serve.vllm import environment as vllm_environment
from serve.vllm.config import VllmConfig
from serve.vllm.environment import Environment
from serve.vllm.serving import server_of

QUESTIONS = vllm_environment.ENTRY.with_name("vllm_questions.py")
GPU_MEMORY = 0.6  # fraction of the GPU's memory for vLLM; JAX holds another part
ROWS = 32  # prompts in one HTTP request
ADAPTER = "the-adapter"  # its name in vLLM
TIMEOUT = 1800  # seconds for loading and answering everything


class VllmEngine:
    """`vllm.LLM`, in vLLM's own Python."""

    name = "vllm"

    def __init__(
        self,
        directory: Path,
        context_length: int,
        environment: Environment,
        adapters: vllm_adapters.Served | None = None,
    ) -> None:
        self._directory, self._context_length, self._environment = directory, context_length, environment
        self._adapters = adapters

    def answer(self, prompts: Prompts, n_tokens: int, requests: Sequence[Request]) -> Answers:
        """Runs the questions in a vLLM process.

        Raises:
            RuntimeError: the process failed; has vLLM's last lines.
        """
        question = {
            "model": str(self._directory.resolve()),
            "context_length": self._context_length,
            "settings": self._settings(),
            "adapter": self._adapters and str(self._adapters.folders[ADAPTER].resolve()),
            "prompts": [list(map(int, prompt)) for prompt in prompts],
            "n_tokens": n_tokens,
            "requests": [[list(map(int, part)) for part in request] for request in requests],
        }
        with tempfile.TemporaryDirectory(prefix="llm-jax-vllm-") as folder:
            questions, answers = Path(folder, "questions.json"), Path(folder, "answers.json")
            questions.write_text(json.dumps(question))
            done = subprocess.run(
                [str(self._environment.python), str(QUESTIONS), str(questions), str(answers)],
                env=self._environment.variables(),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=False,
            )
            # The file is complete or absent. The exit status is not reliable: sometimes vLLM's threads abort the exit
            # after all answers are written (SIGABRT, "terminate called without an active exception").
            if not answers.is_file():
                lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
                raise RuntimeError(f"vLLM ended with status {done.returncode}:\n{lines}")
            content = read_json(answers)
        likelihoods = np.array(content["log_likelihoods"]) if requests else None
        return Answers(continuations_from(content["continuations"]), likelihoods)

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"hf_overrides": {"architectures": [architecture(self._directory)]}}
        if not self._environment.on_cpu:
            settings["gpu_memory_utilization"] = GPU_MEMORY
        if self._adapters:
            settings |= {"enable_lora": True, "max_lora_rank": self._adapters.rank}
        return settings


class Endpoint:
    """A server with OpenAI's completions interface at `url`; prompts are sent as token ids."""

    name = "vllm http"

    def __init__(self, url: str, key: str | None, model: str) -> None:
        self._url, self._key, self._model = url, key, model

    def answer(self, prompts: Prompts, n_tokens: int, requests: Sequence[Request]) -> Answers:
        """Sends the questions to the server.

        Raises:
            ConnectionError: the server refuses a request or does not answer.
        """
        tokens, log_probabilities, margins = [], [], []
        for logprobs in self._ask(prompts, max_tokens=n_tokens, logprobs=2, ignore_eos=True):
            tokens.append([_id_of(token) for token in logprobs["tokens"]])
            log_probabilities.append(logprobs["token_logprobs"])
            tops = [sorted(table.values(), reverse=True) for table in logprobs["top_logprobs"]]
            margins.append([top[0] - top[1] for top in tops])
        likelihoods = None
        if requests:
            whole = [[*request.context, *request.continuation] for request in requests]
            each = self._ask(whole, max_tokens=1, logprobs=1, echo=True)
            likelihoods = np.array(
                [
                    sum(logprobs["token_logprobs"][len(request.context) : len(ids)])
                    for request, ids, logprobs in zip(requests, whole, each, strict=True)
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
                message = error.read().decode(errors="replace")[:300]
                raise ConnectionError(f"{self._url} answers {error.code} {error.reason}: {message}") from None
            except OSError as error:
                raise ConnectionError(f"{self._url} does not answer ({error})") from None
            for choice in sorted(choices, key=lambda choice: choice["index"]):
                yield choice["logprobs"]


def served(directory: Path, adapter: Path | None, merged: Callable[[], Path]) -> tuple[Path, Path | None]:
    """What vLLM loads: the directory and the adapter, or the merged directory if it has no LoRA for the family."""
    if adapter is None or architecture(directory) in vllm_adapters.WITH_LORA:
        return directory, adapter
    return merged(), None


def open_engine(directory: Path, adapter: Path | None, config: DecoderConfig, python: Path | None) -> VllmEngine:
    """vLLM's engine for the model.

    Raises:
        FileNotFoundError, ValueError: no vLLM is installed that can run the model; names the cure.
    """
    environment = vllm_environment.find_for(config.d_head, python)
    checked = vllm_adapters.checked(_given(adapter), directory, config, architecture(directory), directory.name)
    return VllmEngine(directory, config.context_length, environment, checked)


def _given(adapter: Path | None) -> tuple[str, ...]:
    return () if adapter is None else (f"{ADAPTER}={adapter}",)


@contextlib.contextmanager
def open_endpoint(directory: Path, adapter: Path | None, python: Path | None) -> Iterator[Endpoint]:
    """Starts `python -m serve vllm` in float32, on a free port of 127.0.0.1 and with a key of its own.

    Raises:
        FileNotFoundError, ValueError: as `open_engine`.
        RuntimeError: it does not start; has vLLM's last lines.
    """
    server = server_of(
        VllmConfig(
            directory,
            adapter=_given(adapter),
            dtype="float32",
            gpu_memory_utilization=GPU_MEMORY,
            python=python,
            door=Door(port=0),
            more=("--enforce-eager", "--no-enable-prefix-caching"),
        )
    )
    key = secrets.token_urlsafe(32)
    with server.running(key, ready_timeout=TIMEOUT, shutdown_timeout=0):
        yield Endpoint(listening.url(server.host, server.port), key, ADAPTER if adapter else server.name)


def _id_of(token: str) -> int:
    """`token_id:17` → 17."""
    return int(token.removeprefix("token_id:"))
