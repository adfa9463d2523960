"""Continue prompts with a run, a Hugging Face directory, or a model of the hub.

Ctrl-C ends it with what has come, and exit status 130.
"""

import itertools
import sys
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from llm_jax.command_line.interrupts import EXIT_INTERRUPTED
from llm_jax.decode.options import Sampling
from serve.text.prompt_file import read_lines

if TYPE_CHECKING:
    from llm_jax.tokenizer import Tokenizer
    from serve.models import Model


@dataclass(frozen=True)
class Options:
    model: tyro.conf.Positional[str]
    """Folder of a run, a Hugging Face directory, or owner/name on the hub."""
    prompt: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Text to continue; may be given several times. Default: the beginning of a document."""
    prompt_file: Path | None = None
    """File of prompts, one a line, instead of --prompt."""
    max_new_tokens: int = 128
    """New tokens for each prompt, at most."""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=lambda: Sampling(temperature=0.8))
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Text of a token that ends a continuation, beside those that the model's files name; may be given several
    times."""
    stream: bool = True
    """Show a single prompt's tokens as they come."""
    step: int | None = None
    """Of a run: the checkpoint's step. Default: the newest intact one."""

    def __post_init__(self) -> None:
        if self.prompt and self.prompt_file:
            raise ValueError(f"--prompt and --prompt-file {self.prompt_file} are both given: leave one of them out")


def main(options: Options) -> int:
    """Prints each prompt with its continuation, and the speed."""
    from serve.text.stopping import postponed, until_interrupted

    with postponed():
        from llm_jax import backend

        backend.configure()
        from llm_jax.decode.prompts import encode_prompt
        from serve.models import load_model

        model = load_model(options.model, options.step)
    texts = _prompts(options)
    ids = [encode_prompt(model.tokenizer, text) for text in texts]
    interrupted: list[bool] = []
    pieces = until_interrupted(_pieces(options, model, ids), lambda: interrupted.append(True))
    early = list(itertools.islice(pieces, 2))  # prefill and one step: after these, everything is compiled
    started = time.monotonic()
    if options.stream and len(texts) == 1:
        n_tokens = _show_as_it_comes(texts[0], itertools.chain(early, pieces), model)
    else:
        n_tokens = _show_at_the_end(texts, itertools.chain(early, pieces), model)
    n_timed = n_tokens - sum(len(new) for piece in early for new in piece)
    speed = f", {n_timed / (time.monotonic() - started):,.0f} tokens/s" if n_timed else ""
    print(f"[{model.name}: {n_tokens} tokens{speed}]", file=sys.stderr)
    return EXIT_INTERRUPTED if interrupted else 0


def _pieces(options: Options, model: "Model", ids: list[list[int]]) -> Generator[list[list[int]], None, None]:
    """New tokens of every prompt, one step at a time. All that is compiled is compiled at the first step."""
    from llm_jax.config import Execution
    from llm_jax.decode.loop import prepare, stream
    from llm_jax.models import gpt

    plan = gpt.make_plan(Execution())
    params = prepare(model.params, plan, len(ids))
    stop = _stop_tokens(options, model.tokenizer)
    chunk = 1 if options.stream and len(ids) == 1 else 16
    yield from stream(params, ids, model.config, plan, options.sampling, options.max_new_tokens, stop, chunk)


def _show_as_it_comes(text: str, pieces: Iterable[list[list[int]]], model: "Model") -> int:
    from llm_jax.tokenizer import StreamDecoder

    decoder, count = StreamDecoder(model.tokenizer), 0
    print(text, end="", flush=True)
    for (new,) in pieces:
        print("".join(map(decoder.push, new)), end="", flush=True)
        count += len(new)
    print(decoder.finish(), flush=True)
    return count


def _show_at_the_end(texts: list[str], pieces: Iterable[list[list[int]]], model: "Model") -> int:
    continuations: list[list[int]] = [[] for _ in texts]
    for piece in pieces:
        for continuation, new in zip(continuations, piece, strict=True):
            continuation += new
    for text, continuation in zip(texts, continuations, strict=True):
        print(f"{text}{model.tokenizer.decode(continuation)}\n", flush=True)
    return sum(map(len, continuations))


def _prompts(options: Options) -> list[str]:
    if options.prompt_file is None:
        return list(options.prompt) or [""]
    return read_lines(options.prompt_file)


def _stop_tokens(options: Options, tokenizer: "Tokenizer") -> list[int]:
    stop = list(tokenizer.borders.stops)
    for text in options.stop:
        ids = tokenizer.encode(text, allowed_special="all")
        if len(ids) != 1:
            raise ValueError(
                f"--stop {text!r} is {len(ids)} tokens of {tokenizer.name!r}; a stop must be a single token"
            )
        stop += ids
    return stop
