"""Options of `serve bench`: the server, the load, and the tool that measures."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class BenchConfig:
    """The server, the load, and the tool that measures."""

    url: tyro.conf.Positional[str]
    """URL of the server, such as http://127.0.0.1:8000."""
    model: Path | None = None
    """The run or Hugging Face directory that is served. vLLM's benchmark, the JAX decoder and the bound need it."""
    concurrency: tuple[int, ...] = (1, 4, 16)
    """Numbers of concurrent clients; one measurement for each."""
    requests: int = 32
    """Requests of each measurement; at least one for each client."""
    prompt_words: int = 32
    """Words of a prompt."""
    new_tokens: int = 64
    """New tokens of each request. A token that ends a text does not end the answer."""
    seconds: float = 120
    """Time limit of each measurement: then our clients send no more requests, or vLLM's benchmark is ended."""
    tool: Literal["auto", "own", "vllm"] = "auto"
    """What measures: our clients, vLLM's benchmark, or (auto) vLLM's if it is installed and --model is given."""
    out: Path = Path("runs/bench")
    """Folder for bench.json, bench.png and the files of vLLM's benchmark."""
    key_file: Path | None = None
    """File with the server's API key. Default: $LLM_JAX_API_KEY, else api-key in the cache folder."""
    python: Path | None = None
    """Python with vLLM. Default: $LLM_JAX_VLLM_PYTHON, else what `install-vllm` built."""

    def __post_init__(self) -> None:
        if not self.concurrency or min(self.concurrency) < 1 or max(self.concurrency) > 256:
            raise ValueError(f"concurrency must be between 1 and 256 clients; got {self.concurrency}")
        for name in ("requests", "prompt_words", "new_tokens"):
            if not 1 <= getattr(self, name) <= 10_000:
                raise ValueError(f"{name} must lie between 1 and 10,000; got {getattr(self, name)}")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds must be above 0 and finite; got {self.seconds}")
        if self.tool == "vllm" and self.model is None:
            raise ValueError("vLLM's benchmark counts tokens itself: give --model, the directory that is served")
