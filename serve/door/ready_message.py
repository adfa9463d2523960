"""The message of a server that is ready: example calls to paste, which read the key from its file or variable."""

import json
import shlex
from typing import TYPE_CHECKING

from serve.door import listening

if TYPE_CHECKING:
    from llm_jax.tokenizer import Tokenizer

PROMPT, MOST_TOKENS = "Once upon a time", 32

CURL = """
curl {address}/v1/completions -H "Authorization: Bearer {shell_key}" -H "Content-Type: application/json" \\
  -d {body}
"""

PYTHON = """
import openai, os, pathlib  # pip install openai
client = openai.OpenAI(base_url="{address}/v1", api_key={python_key})
answer = client.completions.create(model={name}, prompt={prompt}, max_tokens={max_tokens}, stream=True)
for piece in answer:
    print(piece.choices[0].text, end="", flush=True)
"""


def how_to_call(
    host: str, port: int, name: str, key_source: str, prompt: str = PROMPT, max_tokens: int = MOST_TOKENS
) -> str:
    """The message.

    Args:
        host: address that the server listens on.
        port: its port.
        name: the model's name in requests.
        key_source: a file's path or `$VARIABLE`.
        prompt: of the example calls; the model must be able to encode it.
        max_tokens: of the example calls; they must fit the context.
    """
    address = listening.url(host, port)
    if key_source.startswith("$"):
        shell, python = key_source, f'os.environ["{key_source[1:]}"]'
    else:
        in_quotes = "'" + key_source.replace("'", "'\"'\"'") + "'"
        shell, python = f"$(cat {in_quotes})", f"pathlib.Path({_quoted(key_source)}).read_text().strip()"
    request = {"model": name, "prompt": prompt, "max_tokens": max_tokens}
    curl = CURL.format(address=address, shell_key=shell, body=shlex.quote(json.dumps(request, ensure_ascii=False)))
    calls = PYTHON.format(
        address=address, python_key=python, name=_quoted(name), prompt=_quoted(prompt), max_tokens=max_tokens
    )
    return (
        f"ready: {address}/v1\n\nwith curl:\n{curl}\nwith Python:\n{calls}\n"
        f"in the terminal: python -m serve chat {address}\n\nCtrl-C or SIGTERM ends it."
    )


def request_for(tokenizer: "Tokenizer", context: int) -> tuple[str, int]:
    """A prompt that the tokenizer can encode, and the number of new tokens that fit the context, up to 32."""
    ids = (token for token in range(tokenizer.vocab_size) if tokenizer.id_to_token(token) is not None)
    single = (tokenizer.decode([token]) for token in ids)
    for prompt in (PROMPT, PROMPT.lower(), "once", *(text for text in single if text.isprintable() and text.strip())):
        try:
            n_tokens = len(tokenizer.encode(prompt))
        except ValueError:  # the vocabulary lacks a character of the prompt
            continue
        if 0 < n_tokens <= max(1, context // 2):
            return prompt, max(1, min(MOST_TOKENS, context - n_tokens))
    return "", max(1, min(MOST_TOKENS, context - 1))


def _quoted(text: str) -> str:
    """A Python literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)
