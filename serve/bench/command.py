"""Latency and throughput of a server, over a sweep of concurrency, bounded in requests and time.

    TTFT  time to the first token      TPOT  time per output token after it, averaged over a request
    ITL   time between two tokens, each of them

Measured by vLLM's own benchmark (`vllm bench serve`), for which --model names the tokenizer; where vLLM is not
installed, by clients of ours. With --model, the JAX decoder runs the same prompts in this process, beside the bound
that memory and arithmetic set.
"""

import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class Options:
    url: tyro.conf.Positional[str]
    """URL of the server, such as http://127.0.0.1:8000."""
    model: Path | None = None
    """The run or Hugging Face directory that it serves: for vLLM's benchmark, the JAX decoder and the bound."""
    concurrency: tuple[int, ...] = (1, 4, 16)
    """Clients at once, one measurement each."""
    requests: int = 32
    """Requests of each measurement; at least as many as clients."""
    prompt_words: int = 32
    """Words of a prompt."""
    new_tokens: int = 64
    """New tokens of each request; the end of a text is ignored."""
    seconds: float = 120
    """Time after which a measurement sends no more requests (of our own clients), or is ended (vLLM's)."""
    tool: Literal["auto", "own", "vllm"] = "auto"
    """Who measures: our clients, vLLM's benchmark, or (auto) vLLM's where it is installed and --model is given."""
    out: Path = Path("runs/bench")
    """Folder for bench.json and bench.png, and for what vLLM's benchmark writes."""
    key_file: Path | None = None
    """File with the server's API key. Default: $LLM_JAX_API_KEY, else api-key in the cache folder."""
    python: Path | None = None
    """Python that has vLLM. Default: $LLM_JAX_VLLM_PYTHON, else what `install-vllm` built."""

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


def main(options: Options) -> int:
    """Prints a table; writes the figures and a plot."""
    from llm_jax import backend

    backend.configure()
    from rich.console import Console

    from llm_jax.files.json_files import write_json
    from serve.bench import report as bench_report
    from serve.bench.load_test import own, prompts, through_vllm
    from serve.models import load_model
    from serve.text.client import Remote

    model = load_model(str(options.model)) if options.model else None  # first: measuring takes minutes
    remote = Remote(options.url, options.key_file)
    tool = _tool(options)
    options.out.mkdir(parents=True, exist_ok=True)
    texts = prompts(max(options.requests, *options.concurrency), options.prompt_words)
    measured = []
    for n_clients in options.concurrency:
        few = texts[: max(options.requests, n_clients)]
        who = "vLLM's benchmark" if tool == "vllm" else "clients of ours"
        print(f"{n_clients} at once, {len(few)} requests, {who} …", flush=True)
        if tool == "vllm":
            level = through_vllm(options, remote, few, n_clients)
        else:
            level = own(remote, few, n_clients, options.new_tokens, options.seconds, options.key_file)
        measured.append(level)
    decoder, bound = [], None
    if model is not None:
        from serve.bench.decoder import decode, roofline

        decoder = [decode(model, texts[:n], options.new_tokens) for n in options.concurrency]
        bound = roofline(model, options.prompt_words + options.new_tokens)
    report = {
        "url": options.url,
        "model": remote.name,
        "tool": tool,
        "new_tokens": options.new_tokens,
        "date": time.strftime("%Y-%m-%d"),
        "server": [asdict(level) for level in measured],
        "jax_decoder": [asdict(level) for level in decoder],
        "bound": asdict(bound) if bound else None,
    }
    write_json(options.out / "bench.json", report)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    for table in bench_report.tables(measured, decoder, bound):
        console.print(table)
    bench_report.plot(measured, decoder, bound, options.out / "bench.png", remote.name)
    print(f"{options.out}: bench.json, bench.png")
    if lost := sum(level.failed for level in measured):
        first = next((f", the first with: {level.error}" for level in measured if level.error), "")
        print(f"{lost} requests failed{first}")
        return 1
    return 0


def _tool(options: Options) -> Literal["own", "vllm"]:
    if options.tool != "auto":
        return options.tool
    from serve.vllm import environment as vllm_environment

    try:
        vllm_environment.find(options.python)
    except (FileNotFoundError, ValueError):
        return "own"
    return "vllm" if options.model is not None else "own"
