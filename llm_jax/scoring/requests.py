"""Text → the ids whose log-likelihood is asked for, cut the way lm-evaluation-harness cuts.

The harness's rules decide its figures to the last digit, so they are ours: spaces at the end of a context belong to the
continuation, the continuation's ids are what the whole text has beyond the context's, what does not fit is cut from the
left, and a long document is read in windows that do not overlap.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llm_jax.decode.prompts import encode_prompt
from llm_jax.tokenizer import Tokenizer


class Request(NamedTuple):
    """Which ids are scored, and what stands before them."""

    context: Sequence[int]  # at least one id
    continuation: Sequence[int]  # at least one id


def encode_request(tokenizer: Tokenizer, context: str, continuation: str) -> Request:
    """Ids of a context and of what follows it; an empty context is the start of a document.

    Raises ValueError for an empty continuation and for text the vocabulary cannot write.
    """
    bare = context.rstrip()
    context, continuation = bare, context[len(bare) :] + continuation
    if context:
        before = tokenizer.encode(context, allowed_special="all")
        whole = tokenizer.encode(context + continuation, allowed_special="all")
        request = Request(before, whole[len(before) :])
    else:
        start, ids = encode_prompt(tokenizer, ""), tokenizer.encode(continuation, allowed_special="all")
        # A text that spells its own beginning does not get a second one.
        request = Request(ids[:1], ids[1:]) if ids and ids[0] in tokenizer.borders.start else Request(start, ids)
    if not request.continuation:
        raise ValueError(f"there is nothing to score: {continuation!r} adds no token to {context[-40:]!r}")
    return request


def windows(ids: Sequence[int], prefix: Sequence[int], context_length: int) -> Iterator[Request]:
    """A document in pieces of which each id is scored once; the last piece is read with as much context as fits.

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
    """Without the left part of the context that does not fit. Raises ValueError if the continuation alone does not."""
    if len(request.continuation) > context_length:
        raise ValueError(
            f"a continuation has {len(request.continuation)} tokens; the model's context is {context_length}"
        )
    room = context_length + 1 - len(request.continuation)  # the last id is predicted, never read
    return Request(request.context[-room:], request.continuation)
