"""Continue prompts with a model on this machine or on a server. `generate` and `complete` are the same command.

The first Ctrl-C ends the command after the piece that is being computed, with exit status 130; a second one ends it at
once.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from llm_jax.command_line.interrupts import EXIT_INTERRUPTED
from llm_jax.decode.options import Sampling
from serve.models import WeightsOption
from serve.text.config import Settings, is_url, refuse_empty_stops, refuse_what_does_not_fit
from serve.text.prompt_file import read_lines

if TYPE_CHECKING:
    from serve.text.config import Piece

STANDARD_INPUT = "-"
CHUNK = 16  # new tokens of each prompt in a piece, if the text is printed at the end


@dataclass(frozen=True)
class Options:
    source: tyro.conf.Positional[str]
    """A model (the folder of a run, a Hugging Face directory, or owner/name on the hub), or a server's URL, such as
    http://127.0.0.1:8000."""
    prompt: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Text to continue. May be given several times; - reads standard input. Default: the beginning of a document."""
    prompt_file: Path | None = None
    """File of prompts, one per line, instead of --prompt."""
    max_new_tokens: int = 128
    """Largest number of new tokens for each prompt."""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=lambda: Sampling(temperature=0.8))
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Text before which a continuation ends, also the text of a special token. May be given several times."""
    stream: bool = True
    """Print the continuation of a single prompt while it is computed."""
    step: int | None = None
    """For a run: the checkpoint's step. Default: the newest intact one."""
    weights: WeightsOption = "auto"
    adapter: Path | None = None
    """For a model on this machine: a LoRA run or a directory in PEFT's format, merged into its weights."""
    model: str | None = None
    """For a server: which of its models or adapters. Default: the first that it lists."""
    key_file: Path | None = None
    """For a server: file with its API key. Default: $LLM_JAX_API_KEY, else api-key in the cache folder."""

    def __post_init__(self) -> None:
        if self.prompt and self.prompt_file:
            raise ValueError(f"--prompt and --prompt-file {self.prompt_file} are both given: leave one of them out")
        if self.prompt.count(STANDARD_INPUT) > 1:
            raise ValueError("--prompt - is given several times; standard input can be read once")
        if self.step is not None and is_url(self.source):
            raise ValueError(
                f"--step {self.step} is for a run's checkpoint; {self.source} is a server: leave the option out"
            )
        refuse_what_does_not_fit(self.source, self.adapter, self.model)
        refuse_empty_stops(self.stop)


def main(options: Options) -> int:
    """Prints each prompt with its continuation and, for a model on this machine, the speed; returns 0 or 130."""
    from serve.text.stopping import postponed, until_interrupted

    texts = _prompts(options)
    with postponed():
        from llm_jax import backend

        backend.configure()
        from serve.text.client import open_source

        source = open_source(
            options.source,
            options.key_file,
            options.step,
            len(texts),
            options.adapter,
            options.model,
            options.weights,
        )
    is_streamed = options.stream and len(texts) == 1
    settings = Settings(options.sampling, options.max_new_tokens, options.stop, chunk=1 if is_streamed else CHUNK)
    interrupted: list[bool] = []
    pieces = until_interrupted(source.stream_all(texts, settings), lambda: interrupted.append(True))
    speed = Speed(pieces)
    if is_streamed:
        _print_while_computed(texts[0], speed)
    else:
        _print_at_the_end(texts, speed)
    if speed.n_tokens is not None:
        print(f"[{source.name}: {speed.n_tokens} tokens{speed.per_second()}]", file=sys.stderr)
    return EXIT_INTERRUPTED if interrupted else 0


class Speed:
    """Passes the pieces on, counts their tokens, and measures the time from the second piece on.

    During the first two pieces, JAX compiles prefill and decoding step.
    """

    def __init__(self, pieces: "Iterable[Piece]"):
        self._pieces = pieces
        self.n_tokens: int | None = None  # of all prompts; None for a server, which does not report it
        self._n_timed, self._started = 0, 0.0

    def __iter__(self) -> "Iterator[Piece]":
        for number, piece in enumerate(self._pieces):
            if piece.n_tokens is not None:
                self.n_tokens = (self.n_tokens or 0) + piece.n_tokens
                self._n_timed += piece.n_tokens if number > 1 else 0
            if number == 1:
                self._started = time.monotonic()
            yield piece

    def per_second(self) -> str:
        """`, 100 tokens/s`, or nothing if there were too few tokens to measure."""
        return f", {self._n_timed / (time.monotonic() - self._started):,.0f} tokens/s" if self._n_timed else ""


def _print_while_computed(text: str, pieces: "Iterable[Piece]") -> None:
    """Prints pieces as they arrive. The prompt is printed with the first piece, so not if the request is refused."""
    for number, piece in enumerate(pieces):
        print(text if number == 0 else "", end=piece.texts[0], flush=True)
    print(flush=True)


def _print_at_the_end(texts: Sequence[str], pieces: "Iterable[Piece]") -> None:
    continuations = [""] * len(texts)
    for piece in pieces:
        continuations = [before + new for before, new in zip(continuations, piece.texts, strict=True)]
    for text, continuation in zip(texts, continuations, strict=True):
        print(f"{text}{continuation}\n", flush=True)


def _prompts(options: Options) -> list[str]:
    if options.prompt_file is not None:
        return read_lines(options.prompt_file)
    return [sys.stdin.read() if text == STANDARD_INPUT else text for text in options.prompt] or [""]
