"""Real servers on real sockets: ours, and vLLM's where it is (marker `vllm`), both serving one tiny directory."""

import contextlib
import functools
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_models import opinionated

from llm_jax import hf
from llm_jax.config import DecoderConfig
from llm_jax.tokenizer import train_bpe
from serve.vllm import environment as vllm_environment

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 20
ROWS = 4


@pytest.fixture(scope="module")
def one_torch_thread():
    """PyTorch's threads wait by spinning, and JAX's are there as well: on a busy machine that is a crawl."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def directory(tmp_path_factory) -> Path:
    """A GPT-2 that vLLM serves on a CPU, too: heads 32 wide. Its choices vary, for its weights are large.

    `LLM_JAX_SERVED` names another one, such as a quickstart's export.
    """
    if given := os.environ.get("LLM_JAX_SERVED"):
        return Path(given)
    vocabulary = train_bpe([TEXT], 290)
    config = DecoderConfig(vocabulary.vocab_size, context_length=1024, d_model=64, n_heads=2, n_layers=1)
    out = tmp_path_factory.mktemp("served") / "tiny"
    hf.export(opinionated(config, 6), config, vocabulary, out, "card")
    return out


@dataclass
class Server:
    """A server's process, and the plainest way to talk to it."""

    command: str  # api or vllm
    process: subprocess.Popen
    log: Path
    cache: Path
    address: tuple[str, int] = ("127.0.0.1", 0)

    @property
    def key(self) -> str:
        return (self.cache / "api-key").read_text().strip()

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    @functools.cached_property
    def context(self) -> int:
        """The longest sequence, as the server says."""
        return self.ask("GET", "/v1/models")[1]["data"][0]["max_model_len"]

    def wait_until_ready(self, timeout: float) -> "Server":
        until = time.monotonic() + timeout
        while time.monotonic() < until and self.process.poll() is None:
            if found := re.search(r"ready: http://([\d.]+):(\d+)/v1", self.log.read_text()):
                self.address = (found[1], int(found[2]))
                return self
            time.sleep(0.1)
        raise AssertionError(f"not ready:\n{self.log.read_text()}")

    def ask(self, method: str, path: str, body: Any = None, key: str | None = "right", headers=()) -> tuple[int, Any]:
        """Status and content (JSON where it is)."""
        connection = http.client.HTTPConnection(*self.address, timeout=120)
        connection.request(method, path, self._encoded(body), self._headers(key) | dict(headers))
        response = connection.getresponse()
        content = response.read()
        connection.close()
        try:
            return response.status, json.loads(content)
        except ValueError:
            return response.status, content.decode(errors="replace")

    def complete(self, **fields: Any) -> tuple[int, Any]:
        return self.ask("POST", "/v1/completions", {"model": "tiny", **fields})

    @contextlib.contextmanager
    def stream(self, **fields: Any) -> Iterator[http.client.HTTPResponse]:
        """An answer of which the beginning has come; at the end of the context the client hangs up."""
        connection = http.client.HTTPConnection(*self.address, timeout=120)
        body = self._encoded({"model": "tiny", "stream": True, **fields})
        connection.request("POST", "/v1/completions", body, self._headers("right"))
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.readline().startswith(b"data: ")
        with contextlib.closing(connection), response:
            yield response

    def _headers(self, key: str | None) -> dict[str, str]:
        key = self.key if key == "right" else key
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def _encoded(self, body: Any) -> bytes | None:
        return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()

    def end(self, number: int = signal.SIGTERM, timeout: float = 90) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)


def start(folder: Path, command: str, *arguments: str) -> Server:
    """`python -m serve COMMAND …`, with a cache, and so a key, of its own; compiled programs are shared."""
    log, cache = folder / "log", folder / "cache"
    variables = {k: v for k, v in os.environ.items() if k not in ("LLM_JAX_API_KEY", "JAX_NUM_CPU_DEVICES")}
    variables |= {"LLM_JAX_CACHE": str(cache), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve", command, *arguments, "--name", "tiny"],
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Server(command, process, log, cache)


@pytest.fixture
def start_server():
    """`start`, for a test of a server that no fixture keeps."""
    return start


@pytest.fixture(scope="session", params=["api", pytest.param("vllm", marks=pytest.mark.vllm)])
def server(request, directory, tmp_path_factory) -> Iterator[Server]:
    """The same questions are put to both."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "vllm":
        try:
            python = str(vllm_environment.find().python)
        except (FileNotFoundError, ValueError) as error:
            pytest.skip(str(error))
        flags = ("--port", "0", "--python", python, "--max-num-seqs", str(ROWS))
        server = start(folder, "vllm", str(directory), *flags, "--shutdown-timeout", "20")
    else:
        server = start(folder, "api", str(directory), "--port", "0", "--rows", str(ROWS), "--max-requests", "80")
    try:
        yield server.wait_until_ready(400)
    finally:
        server.end()
