"""Templates by name, as Jinja with the assistant's words marked: ChatML, Alpaca, Llama 3.

Where a tokenizer lacks ChatML's or Llama 3's tokens, their spellings are ordinary text, and an answer ends with the
tokenizer's own end, so that a server stops there. Alpaca's text is that of Taori et al. 2023 without the second
preamble that they write before an input, as in the instruction-tuning chapter of Raschka's "Build a Large Language
Model".
"""

import json
from typing import NamedTuple

from llm_jax.tokenizer.protocol import Tokenizer

PREAMBLE = "Below is an instruction that describes a task. Write a response that appropriately completes the request."

CHATML = """{{- BEGIN }}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}{{- message['content'] + END }}{%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- message['content'] + END + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
LLAMA3 = """{{- BEGIN }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}{{- message['content'] | trim + END }}{%- endgeneration %}
    {%- else %}
        {{- message['content'] | trim + END }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
ALPACA = """{{- BEGIN }}
{%- if messages[0]['role'] == 'system' %}
    {{- messages[0]['content'] }}
{%- else %}
    {{- PREAMBLE }}
{%- endif %}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {{- '\\n\\n### Instruction:\\n' + message['content'] }}
    {%- elif message['role'] == 'assistant' %}
        {{- '\\n\\n### Response:\\n' }}
        {%- generation %}{{- message['content'] + END }}{%- endgeneration %}
    {%- elif message['role'] != 'system' or not loop.first %}
        {{- raise_exception('alpaca has one message of the system, the first, and no role ' + message['role']) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '\\n\\n### Response:\\n' }}
{%- endif %}
"""


class Named(NamedTuple):
    text: str
    tokens: tuple[str, ...]  # that the tokenizer should have
    end: str | None  # the token that ends a turn; None: the tokenizer's end of text
    joint: str  # between an instruction and its input
    begin: str | None = None  # the token that begins a text, where the tokenizer has it; else what it puts before each


NAMED = {
    "chatml": Named(CHATML, ("<|im_start|>", "<|im_end|>"), "<|im_end|>", "\n\n"),
    "llama3": Named(
        LLAMA3, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|eot_id|>", "\n\n", "<|begin_of_text|>"
    ),
    "alpaca": Named(ALPACA, (), None, "\n\n### Input:\n"),
}


def written(name: str, tokenizer: Tokenizer) -> str:
    """The template as Jinja for this tokenizer. Raises ValueError where nothing could end an answer."""
    named, borders = NAMED[name], tokenizer.borders
    end = named.end if named.end in tokenizer.special_tokens else _spelled(tokenizer, borders.end)
    if not end:
        raise ValueError(
            f"tokenizer {tokenizer.name!r} has no token that ends a text, so no answer could end: train one that has "
            "(any of `python -m train prepare` but characters), or take another base"
        )
    begin = "".join(_spelled(tokenizer, number) for number in borders.prefix)
    if not begin and named.begin in tokenizer.special_tokens:
        begin = named.begin or ""
    text = named.text.replace("END", json.dumps(end, ensure_ascii=False))
    text = text.replace("PREAMBLE", json.dumps(PREAMBLE))
    return text.replace("{{- BEGIN }}\n", f"{{{{- {json.dumps(begin, ensure_ascii=False)} }}}}\n" if begin else "")


def missing(name: str, tokenizer: Tokenizer) -> list[str]:
    """The template's tokens that this tokenizer does not have."""
    return [token for token in NAMED[name].tokens if token not in tokenizer.special_tokens]


def _spelled(tokenizer: Tokenizer, number: int | None) -> str:
    return "" if number is None else tokenizer.id_to_token(number) or ""
