"""Text → the ids a model can start from."""

from llm_jax.tokenizer import Tokenizer


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of `text`, in which special tokens may be spelled; an empty text becomes the start of a document.

    That is `<|endoftext|>`, which precedes every document in training, or a newline where the vocabulary has no such
    token. Raises ValueError if the vocabulary has neither, or cannot write the text.
    """
    if text:
        return tokenizer.encode(text, allowed_special="all")
    if tokenizer.end_of_text is not None:
        return [tokenizer.end_of_text]
    try:
        return tokenizer.encode("\n")
    except ValueError:
        raise ValueError(
            f"the prompt is empty, and {tokenizer.name!r} has neither <|endoftext|> nor a newline to start from: "
            "give at least one character"
        ) from None
