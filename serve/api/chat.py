"""OpenAI's chat interface: messages → the prompt that the model's template writes, and the forms of an answer.

The fields are those of completions (`serve.api.completions`), except that an answer may fill the context where no
`max_tokens` is given, and special tokens leave no text. `chat_template_kwargs` is vLLM's field: variables that the
template reads, such as `enable_thinking`. A model that sees reads pictures, too (`serve.api.pictures`).
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llm_jax.decode.prompts import begun
from llm_jax.tokenizer import Tokenizer
from llm_jax.tokenizer.chat import NO_TEMPLATE, checked, encode
from serve.api.completions import NO_ADAPTERS, Asked, Head, check_lengths, max_tokens, of_model, shared
from serve.api.decoding.batch import MOST_TOP
from serve.api.fields import IGNORED, NEUTRAL, Fields
from serve.api.pictures import Pictures

if TYPE_CHECKING:
    from llm_jax.models.vision_language.config import VisionLanguageConfig

# Not computed here, and the values at which they change nothing.
NEUTRAL_IN_CHATS: dict[str, tuple[Any, ...]] = {
    **{name: values for name, values in NEUTRAL.items() if name != "suffix"},
    "echo": (False,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "chat_template": (),
    "documents": ([],),
    "include_reasoning": (True, False),
    "mm_processor_kwargs": ({},),
    "media_io_kwargs": ({},),
}
FIXED = ("messages", "tools", "documents", "add_generation_prompt")  # no variables of a template


def read(
    body: dict[str, Any],
    tokenizer: Tokenizer,
    model: str,
    context: int,
    most: int,
    adapters: Mapping[str, Tokenizer] = NO_ADAPTERS,
    sight: "VisionLanguageConfig | None" = None,
) -> Asked:
    """Raises Unknown for another model, ValueError that names the field for everything else.

    `most`: sequences. `adapters`: the tokenizer of each. `sight`: of a model that sees; without it pictures are
    refused.
    """
    fields, adapter = of_model(body, model, adapters)
    tokenizer = (tokenizer, *adapters.values())[adapter]
    if tokenizer.chat is None:
        raise ValueError(NO_TEMPLATE)
    variables = fields.take("chat_template_kwargs", dict, {})
    if fixed := [name for name in FIXED if name in variables]:
        raise ValueError(f"chat_template_kwargs.{fixed[0]} is not computed by this server: leave it out")
    adds_begin = fields.take("add_special_tokens", bool, False)
    pictures = Pictures(sight.vision.image_size) if sight else None
    messages = checked(fields.take("messages", list, None), pictures and pictures.add)
    ids = encode(tokenizer, messages, variables)
    prompt = tuple(begun(tokenizer, ids) if adds_begin else ids)
    if sight and pictures:
        from llm_jax.models.vision_language.prompt import spread

        prompt = tuple(spread(prompt, len(pictures.squares), sight))
    n_top = _n_top(fields)
    skips = fields.take("skip_special_tokens", bool, True)
    new = max_tokens(fields, 1, max(1, context - len(prompt)))
    asked = shared(fields, (prompt,), tokenizer, new, most)
    fields.finish(NEUTRAL_IN_CHATS, IGNORED)
    check_lengths(asked, context)
    seen = tuple(pictures.squares) if pictures else ()
    return replace(asked, n_top=n_top, skip_special_tokens=skips, is_chat=True, adapter=adapter, pictures=seen)


def _n_top(fields: Fields) -> int | None:
    """Most likely tokens beside each; None for no log-probabilities."""
    wanted, n_top = fields.take("logprobs", bool, False), fields.between("top_logprobs", 0, MOST_TOP, 0)
    if n_top and not wanted:
        raise ValueError(f"top_logprobs is {n_top}, and logprobs is false: set logprobs to true, or leave both out")
    return n_top if wanted else None


def head(model: str, streamed: bool) -> Head:
    """The fields that an answer begins with."""
    kind = "chat.completion.chunk" if streamed else "chat.completion"
    return Head(model, kind, f"chatcmpl-{secrets.token_hex(12)}")


def opening(index: int) -> dict[str, Any]:
    """The first piece of a streamed answer, which says who speaks."""
    delta = {"role": "assistant", "content": ""}
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def delta(choice: dict[str, Any]) -> dict[str, Any]:
    """A piece of a completion as one of a chat."""
    return {"index": choice["index"], "delta": {"content": choice["text"]}} | _rest(choice)


def message(choice: dict[str, Any]) -> dict[str, Any]:
    """A completion as a chat's answer."""
    said = {"role": "assistant", "content": choice["text"], "refusal": None}
    return {"index": choice["index"], "message": said} | _rest(choice)


def _rest(choice: dict[str, Any]) -> dict[str, Any]:
    return {name: choice[name] for name in ("logprobs", "finish_reason", "stop_reason")}
