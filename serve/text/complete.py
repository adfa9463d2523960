"""Continue a prompt, by a server or by the JAX decoder here, and show the text as it comes."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from llm_jax.decode.options import Sampling
from serve.text.client import refuse_empty_stops


@dataclass(frozen=True)
class Options:
    source: tyro.conf.Positional[str]
    """URL of a server, such as http://127.0.0.1:8000; or a run's folder, or a Hugging Face directory."""
    prompt: str = ""
    """Text to continue; - reads it from standard input. Default: the beginning of a document."""
    max_new_tokens: int = 128
    """New tokens, at most."""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=lambda: Sampling(temperature=0.8))
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Text before which the continuation ends; may be given several times."""
    key_file: Path | None = None
    """Of a server: file with its API key. Default: $LLM_JAX_API_KEY, else api-key in the cache folder."""

    def __post_init__(self) -> None:
        refuse_empty_stops(self.stop)


def main(options: Options) -> int:
    """Prints the prompt and its continuation."""
    from llm_jax import backend

    backend.configure()
    from serve.text.client import Wish, open_completer
    from serve.text.stopping import postponed, until_interrupted

    text = sys.stdin.read() if options.prompt == "-" else options.prompt
    with postponed():
        source = open_completer(options.source, options.key_file)
    wish = Wish(options.sampling, options.max_new_tokens, options.stop)
    pieces = until_interrupted(source.stream(text, wish))
    first = next(pieces, "")  # a prompt that is refused is not shown
    print(text, end=first, flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print(flush=True)
    return 0
