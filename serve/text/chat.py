"""Write with a model, turn by turn, in the terminal: what you type is continued, and all of it is the next prompt.

A base model knows no roles: it goes on where the text ends. `/new` begins a new text, `/undo` takes back the last turn,
`/quit` or Ctrl-D ends; Ctrl-C stops an answer (twice: at once).
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from llm_jax.decode.options import Sampling
from serve.text.client import refuse_empty_stops

if TYPE_CHECKING:
    from serve.text.client import Completer, Wish

COMMANDS = "/new: a new text · /undo: without the last turn · /quit or Ctrl-D: end · Ctrl-C: stop an answer"


HANDLES_INTERRUPTS = True


@dataclass(frozen=True)
class Options:
    source: tyro.conf.Positional[str]
    """URL of a server, such as http://127.0.0.1:8000; or a run's folder, or a Hugging Face directory."""
    max_new_tokens: int = 64
    """New tokens a turn, at most."""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=lambda: Sampling(temperature=0.8))
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Text before which an answer ends; may be given several times."""
    key_file: Path | None = None
    """Of a server: file with its API key. Default: $LLM_JAX_API_KEY, else api-key in the cache folder."""

    def __post_init__(self) -> None:
        refuse_empty_stops(self.stop)


def main(options: Options) -> int:
    """Reads lines until the end of input."""
    from llm_jax import backend

    backend.configure()
    from serve.text.client import Wish, open_completer
    from serve.text.stopping import postponed

    with postponed():
        source = open_completer(options.source, options.key_file)
    print(f"{source.name} goes on where your text ends. {COMMANDS}", file=sys.stderr)
    texts = [""]
    turn = 0
    while (line := _read()) is not None:
        if line == "/quit":
            break
        if line in ("/new", "/undo"):
            texts = [""] if line == "/new" else texts[:-1] or [""]
            print(texts[-1], flush=True)
            continue
        # Another stream of random numbers each turn, the same ones in every session of the same seed.
        wish = Wish(options.sampling.of(turn), options.max_new_tokens, options.stop)
        answer = _answer(source, texts[-1] + line, wish)
        if answer is not None:
            texts.append(texts[-1] + line + answer)
        turn += 1
    return 0


def _answer(source: "Completer", text: str, wish: "Wish") -> str | None:
    """Shown as it comes. None if there was none: the text stays as it was, and the session goes on."""
    from serve.text.stopping import until_interrupted

    pieces: list[str] = []
    try:
        for piece in until_interrupted(source.stream(text, wish)):
            pieces.append(piece)
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        pass
    except (ValueError, OSError) as error:
        print(f"{error} (/new begins a new text)", file=sys.stderr)
        return None
    print(flush=True)
    return "".join(pieces)


def _read() -> str | None:
    """A line, or None at the end of input. Ctrl-C, pressed just after an answer, only begins the line anew."""
    while True:
        try:
            return input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return None
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            print(file=sys.stderr)
