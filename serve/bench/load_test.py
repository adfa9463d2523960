"""One measurement of a server with a number of concurrent clients: our own threads or `vllm bench serve`."""

import json
import random
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_jax.files.json_files import read_json
from llm_jax.runs import EXPORT

if TYPE_CHECKING:
    from serve.bench.config import BenchConfig
    from serve.text.client import Remote

WORDS = "the a one old new red small house river road night day king child word sea stone bread wind field"

WARM_UP = 8  # requests before a measurement
LOADING = 120.0  # seconds that vLLM's benchmark may take to start


@dataclass(frozen=True)
class Level:
    """The figures for one number of clients. Times are in milliseconds: median and 99th percentile."""

    clients: int
    completed: int
    failed: int
    seconds: float
    tokens_per_second: float  # new tokens, all clients together
    ttft: tuple[float, float]
    tpot: tuple[float, float]
    itl: tuple[float, float]
    error: str = ""  # the server's message for the first of our requests that failed


@dataclass
class Answer:
    """One client's measurement of a request."""

    moments: list[float] = field(default_factory=list)  # when it was sent, then when each piece with tokens arrived
    tokens: int = 0
    error: str = ""


def prompts(number: int, n_words: int, seed: int = 0) -> list[str]:
    """`number` different texts of `n_words` words; the same seed gives the same texts."""
    draw, words = random.Random(seed), WORDS.split()
    return [" ".join(draw.choice(words) for _ in range(n_words)) for _ in range(number)]


def with_clients(
    remote: "Remote", texts: Sequence[str], n_clients: int, new_tokens: int, seconds: float, key_file: Path | None
) -> Level:
    """Measures with threads. Each sends one greedy request after the other, until all are sent or the time is over."""
    from serve.text.client import connect, translated

    client = connect(remote.url, key_file)
    until = time.monotonic() + seconds
    fields: dict[str, Any] = {"max_tokens": new_tokens, "temperature": 0, "extra_body": {"ignore_eos": True}}

    def ask(text: str) -> Answer | None:
        """None if the time was over before it was sent."""
        if time.monotonic() > until:
            return None
        answer = Answer([time.monotonic()])
        try:
            for piece in client.completions.create(
                model=remote.name, prompt=text, stream=True, stream_options={"include_usage": True}, **fields
            ):
                # The last piece may have a finish reason and no token: pieces with tokens have text, or no reason.
                answer.moments += [time.monotonic() for c in piece.choices if c.text or c.finish_reason is None]
                # vLLM joins tokens if its HTTP side is slower than its engine, so only the server knows their number.
                answer.tokens = piece.usage.completion_tokens if piece.usage else answer.tokens
        except Exception as error:  # any error counts as a failed request
            return Answer(error=str(error) or type(error).__name__)
        return answer

    # Compiles and warms up, with other texts than those measured, because a server may cache prefixes.
    short: dict[str, Any] = {**fields, "max_tokens": 2}
    with translated(remote.url):
        for text in prompts(WARM_UP, len(texts[0].split()), seed=1):
            client.completions.create(model=remote.name, prompt=text, **short)
    started = time.monotonic()
    with ThreadPoolExecutor(n_clients) as pool:
        answers = [answer for answer in pool.map(ask, texts) if answer is not None]
    elapsed = time.monotonic() - started
    whole = [answer for answer in answers if answer.tokens and len(answer.moments) > 1]
    return Level(
        clients=n_clients,
        completed=len(whole),
        failed=len(answers) - len(whole),
        seconds=elapsed,
        tokens_per_second=sum(answer.tokens for answer in whole) / elapsed,
        ttft=_quantiles([answer.moments[1] - answer.moments[0] for answer in whole]),
        tpot=_quantiles([(a.moments[-1] - a.moments[1]) / (a.tokens - 1) for a in whole if a.tokens > 1]),
        itl=_quantiles([float(gap) for answer in whole for gap in np.diff(answer.moments[1:])]),
        error=next((answer.error for answer in answers if answer.error), ""),
    )


def _quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds; 0 if there is no value."""
    if not seconds:
        return 0.0, 0.0
    median, high = np.quantile(seconds, (0.5, 0.99))
    return 1e3 * float(median), 1e3 * float(high)


def with_vllm(config: "BenchConfig", remote: "Remote", texts: Sequence[str], n_clients: int) -> Level:
    """Measures with `vllm bench serve` on the same prompts.

    Raises:
        RuntimeError: it fails or takes too long; has its last lines.
        FileNotFoundError: vLLM, or the model's tokenizer, is missing.
    """
    from serve.door import key
    from serve.vllm import environment as vllm_environment

    environment = vllm_environment.find(config.python)
    result = (config.out / f"vllm-{n_clients}.json").resolve()
    result.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "prompts.jsonl"
        data.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
        command = environment.command(
            *("bench", "serve", "--backend", "openai", "--base-url", remote.url, "--endpoint", "/v1/completions"),
            *("--model", remote.name, "--tokenizer", str(_tokenizer_of(config.model))),
            *("--dataset-name", "custom", "--dataset-path", str(data), "--skip-chat-template", "--disable-shuffle"),
            *("--custom-output-len", str(config.new_tokens), "--num-prompts", str(len(texts)), "--ignore-eos"),
            *("--max-concurrency", str(n_clients), "--temperature", "0", "--num-warmups", str(n_clients)),
            *("--percentile-metrics", "ttft,tpot,itl", "--metric-percentiles", "50,99", "--disable-tqdm"),
            *("--save-result", "--result-dir", str(result.parent), "--result-filename", result.name),
        )
        # The key goes through the environment: every user of the machine can see arguments.
        variables = environment.variables() | {"OPENAI_API_KEY": key.for_client(config.key_file)}
        limit = config.seconds + LOADING
        try:
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, errors="replace", timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(
                f"vLLM's benchmark took longer than {limit:.0f} s: ask for less, or give it more --seconds"
            ) from None
    if not result.is_file():  # the exit status is not reliable, because vLLM's threads may abort the exit
        lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise RuntimeError(f"vLLM's benchmark ended with status {done.returncode}:\n{lines}")
    figures = read_json(result, "vLLM's benchmark wrote it: run it again")
    return Level(
        clients=n_clients,
        completed=figures["completed"],
        failed=len(texts) - figures["completed"],
        seconds=figures["duration"],
        tokens_per_second=figures["output_throughput"],
        ttft=(figures["median_ttft_ms"], figures["p99_ttft_ms"]),
        tpot=(figures["median_tpot_ms"], figures["p99_tpot_ms"]),
        itl=(figures["median_itl_ms"], figures["p99_itl_ms"]),
    )


def _tokenizer_of(model: Path | None) -> Path:
    """The Hugging Face directory that is served: `model`, or the export of the run `model`."""
    assert model is not None
    for folder in (model, model / EXPORT):
        if (folder / "tokenizer_config.json").is_file():
            return folder.resolve()
    raise FileNotFoundError(
        f"{model} has no tokenizer_config.json: run `python -m serve export {model}` first, or give --tool own"
    )
