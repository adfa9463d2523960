"""The border between two documents: the tokens that the tokenizer's files name, the token of `--border`, or none.

A model learns where a text ends only if a token marks the end. So documents are joined without a border only if the
user asks for it.
"""

from llm_jax.tokenizer import Borders, Tokenizer, with_borders

NONE = "none"


def bordered(tokenizer: Tokenizer, border: str | None, separated: bool) -> Tokenizer:
    """The tokenizer with the border that precedes each document.

    Args:
        border: `--border`: a token, an id, "none", or None for the tokenizer's own.
        separated: whether the source has documents at all, and is not one running text.

    Raises:
        ValueError: neither the tokenizer nor `border` names a border, or `border` is not a single token.
    """
    if border is None:
        if separated and not tokenizer.borders.between:
            raise missing(tokenizer.name)
        return tokenizer
    if border == NONE:
        return with_borders(tokenizer, Borders())
    if not separated:
        raise ValueError(
            f"--border {border!r}: a single text file is one running text without documents; leave --border out"
        )
    return with_borders(tokenizer, Borders.of_one(_id(tokenizer, border)))


def missing(name: str) -> ValueError:
    """The error for a tokenizer without a border, to be raised by the caller."""
    return ValueError(
        f"the files of tokenizer {name!r} name no token that begins or ends a text, and the documents of the source "
        "need a border between them: give --border TOKEN (for a line feed --border $'\\n') or --border ID; or --border "
        "none, which joins them without one"
    )


def to_record(tokenizer: Tokenizer | None, border: str | None, separated: bool) -> dict[str, str]:
    """The entry `border` of manifest.json. `<|endoftext|>` has none, so that manifests of older versions stay equal."""
    if border is not None:
        return {"border": border}
    if not separated or tokenizer is None:
        return {}
    text = tokenizer.decode(tokenizer.borders.between)
    return {} if text in ("", "<|endoftext|>") else {"border": text}


def _id(tokenizer: Tokenizer, border: str) -> int:
    if border in tokenizer.special_tokens:
        return tokenizer.special_tokens[border]
    if border.isascii() and border.isdigit():
        tokenizer.decode_bytes([int(border)])  # raises ValueError for an id that has no token
        return int(border)
    ids = tokenizer.encode(border)
    if len(ids) != 1:
        raise ValueError(
            f"--border {border!r} is {len(ids)} tokens of {tokenizer.name!r}; expected a single token, or its id. Its "
            f"special tokens: {', '.join(tokenizer.special_tokens) or 'none'}"
        )
    return ids[0]
