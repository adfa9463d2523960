"""Turns texts into the token ids whose log-likelihood is computed, by the rules of lm-evaluation-harness.

Accuracies depend on these rules to the last digit. Spaces at the end of a context belong to the continuation. The ids
of the continuation are those of the whole text that follow the context's. A context that does not fit loses tokens on
the left. A long document is scored in windows that do not overlap.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llm_jax.decode.prompts import encode_prompt
from llm_jax.tokenizer import Tokenizer


class Request(NamedTuple):
    """The ids that are scored (continuation), and the ids before them (context)."""

    context: Sequence[int]  # at least one id
    continuation: Sequence[int]  # at least one id


def encode_request(tokenizer: Tokenizer, context: str, continuation: str) -> Request:
    """Ids of a context and of its continuation. An empty context is the start of a document.

    Raises:
        ValueError: the continuation is empty, or the vocabulary cannot write the text.
    """
    stripped = context.rstrip()
    context, continuation = stripped, context[len(stripped) :] + continuation
    if context:
        before = encode_prompt(tokenizer, context)
        whole = encode_prompt(tokenizer, context + continuation)
        request = Request(before, whole[len(before) :])
    else:
        start, ids = encode_prompt(tokenizer, ""), tokenizer.encode(continuation, allowed_special="all")
        # A text that already begins with a start token does not get a second one.
        request = Request(ids[:1], ids[1:]) if ids and ids[0] in tokenizer.borders.start else Request(start, ids)
    if not request.continuation:
        raise ValueError(f"there is nothing to score: {continuation!r} adds no token to {context[-40:]!r}")
    return request


def windows(ids: Sequence[int], prefix: Sequence[int], context_length: int) -> Iterator[Request]:
    """Splits a document into requests that score each id once. The last one gets as much context as fits.

    >>> list(windows(range(10), [-1], 4))[-1]
    Request(context=[5, 6, 7], continuation=[8, 9])
    """
    ids = list(ids)
    if not ids:
        return
    yield Request(list(prefix), ids[:context_length])
    for start in range(context_length, len(ids), context_length):
        end = min(start + context_length, len(ids))
        yield Request(ids[end - context_length - 1 : start], ids[start:end])


def cut(request: Request, context_length: int) -> Request:
    """The request, with its context truncated on the left so that it fits.

    Raises:
        ValueError: the continuation alone does not fit.
    """
    if len(request.continuation) > context_length:
        raise ValueError(
            f"a continuation has {len(request.continuation)} tokens; the model's context is {context_length}"
        )
    room = context_length + 1 - len(request.continuation)  # + 1, because the last id is predicted but never an input
    return Request(request.context[-room:], request.continuation)
