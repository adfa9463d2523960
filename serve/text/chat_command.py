"""Chat with a model in the terminal, turn by turn.

A model with a chat template answers your messages. A base model has no roles: it continues the text so far and the line
that you type. `/new` starts again, `/undo` removes the last turn, `/quit` or Ctrl-D ends the session. Ctrl-C stops an
answer after the piece that is being computed, a second one at once.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from llm_jax.decode.options import Sampling
from serve.models import WeightsOption
from serve.text.config import SamplingFlags, Settings, refuse_empty_stops, refuse_what_does_not_fit

if TYPE_CHECKING:
    from serve.text.conversation import Conversation

COMMANDS = "/new: start again · /undo: remove the last turn · /quit or Ctrl-D: end · Ctrl-C: stop an answer"

TOKENS, CHAT_TOKENS = 64, 512

HANDLES_INTERRUPTS = True


@dataclass(frozen=True)
class Options:
    source: tyro.conf.Positional[str]
    """A model (the folder of a run, a Hugging Face directory, or owner/name on the hub), or a server's URL, such as
    http://127.0.0.1:8000."""
    system: str | None = None
    """For a model with a chat template: a first message that says how to answer."""
    max_new_tokens: int | None = None
    """Largest number of new tokens in a turn. Default: 64, or 512 for a model with a chat template."""
    sampling: tyro.conf.OmitArgPrefixes[SamplingFlags] = SamplingFlags()
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Text before which an answer ends, also the text of a special token. May be given several times."""
    weights: WeightsOption = "auto"
    adapter: Path | None = None
    """For a model on this machine: a LoRA run or a directory in PEFT's format, merged into its weights."""
    model: str | None = None
    """For a server: which of its models or adapters. Default: the first that it lists."""
    key_file: Path | None = None
    """For a server: file with its API key. Default: $LLM_JAX_API_KEY, else api-key in the cache folder."""

    def __post_init__(self) -> None:
        refuse_what_does_not_fit(self.source, self.adapter, self.model)
        refuse_empty_stops(self.stop)


def main(options: Options) -> int:
    """Reads lines and prints answers until the end of input; returns 0."""
    from llm_jax import backend

    backend.configure()
    from serve.text.client import open_source
    from serve.text.conversation import Messages, conversation
    from serve.text.stopping import postponed

    with postponed():
        source = open_source(
            options.source, options.key_file, adapter=options.adapter, name=options.model, weights=options.weights
        )
        talk = conversation(source, options.system)
    is_chat = isinstance(talk, Messages)
    does = "answers your messages" if is_chat else "continues where your text ends"
    print(f"{source.name} {does}. {COMMANDS}", file=sys.stderr)
    most = options.max_new_tokens
    if most is None:
        most = CHAT_TOKENS if is_chat else TOKENS
    sampling = options.sampling.over(source.sampling(Sampling(temperature=0.0 if is_chat else 0.8)))
    turn = 0
    while (line := _read()) is not None:
        if line == "/quit":
            break
        if line in ("/new", "/undo"):
            talk.clear() if line == "/new" else talk.undo()
            print(talk.shown, flush=True)
            continue
        # Each turn has its own stream of random numbers; a session with the same seed has the same streams.
        answer = _answer(talk, line, Settings(sampling.of(turn), most, options.stop))
        if answer is not None:
            talk.keep(line, answer)
        turn += 1
    return 0


def _answer(talk: "Conversation", line: str, settings: Settings) -> str | None:
    """Prints the answer while it arrives, and returns it; None if the request was refused or failed."""
    from serve.text.stopping import until_interrupted

    pieces: list[str] = []
    try:
        for piece in until_interrupted(talk.ask(line, settings)):
            pieces.append(piece)
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        pass
    except (ValueError, OSError) as error:
        print(f"{error} (/new starts a new text)", file=sys.stderr)
        return None
    print(flush=True)
    return "".join(pieces)


def _read() -> str | None:
    """A line, or None at the end of input. In a terminal, Ctrl-C at the prompt only starts a new line."""
    while True:
        try:
            return input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return None
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            print(file=sys.stderr)
