"""Text → the ids a model can start from."""

from collections.abc import Sequence

from llm_jax.tokenizer import Tokenizer


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of `text`, in which special tokens may be spelled.

    They follow the tokens that the tokenizer's files put before every text, as Llama's do. An empty text becomes the
    start of a document: the token that begins a text, else the one that ends it, as the model's files name them; a line
    feed where they name neither.

    Raises:
        ValueError: the vocabulary has no line feed either, or cannot write the text.
    """
    if text:
        return begun(tokenizer, tokenizer.encode(text, allowed_special="all"))
    if tokenizer.borders.start:
        return list(tokenizer.borders.start)
    try:
        return tokenizer.encode("\n")
    except ValueError:
        raise ValueError(
            f"the prompt is empty, and {tokenizer.name!r} has neither a token that begins a text nor a newline "
            "to start from: "
            "give at least one character"
        ) from None


def begun(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """`ids`, preceded by the tokens that stand before every text, unless they begin with these already."""
    prefix = list(tokenizer.borders.prefix)
    return list(ids) if list(ids[: len(prefix)]) == prefix else [*prefix, *ids]
