"""What stands between two documents: the tokens that the tokenizer's files name, those of `--border`, or nothing.

A model learns where a text ends only if something marks it. So documents are not joined without a border in silence.
"""

from llm_jax.tokenizer import Borders, Tokenizer, with_borders

NONE = "none"


def bordered(tokenizer: Tokenizer, border: str | None, separated: bool) -> Tokenizer:
    """The tokenizer with the borders that its documents get; `separated`: whether the source has documents at all.

    Raises ValueError where nobody names a border, and for a `border` that is no single token.
    """
    if border is None:
        if separated and not tokenizer.borders.between:
            raise missing(tokenizer.name)
        return tokenizer
    if border == NONE:
        return with_borders(tokenizer, Borders())
    if not separated:
        raise ValueError(f"--border {border!r}: one text file alone is a running text without documents; leave it out")
    return with_borders(tokenizer, Borders.of_one(_id(tokenizer, border)))


def missing(name: str) -> ValueError:
    return ValueError(
        f"the files of tokenizer {name!r} name no token that begins or ends a text, and the documents of the source "
        "need a border between them: say --border TOKEN (for a line feed --border $'\\n') or --border ID; or --border "
        "none, which joins them without one"
    )


def to_record(tokenizer: Tokenizer | None, border: str | None, separated: bool) -> dict[str, str]:
    """What manifest.json says of the border. Of `<|endoftext|>` it says nothing, nor has it ever."""
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
        tokenizer.decode_bytes([int(border)])  # ValueError for an id that has no token
        return int(border)
    ids = tokenizer.encode(border)
    if len(ids) != 1:
        raise ValueError(
            f"--border {border!r} is {len(ids)} tokens of {tokenizer.name!r}; expected a single token, or its id. Its "
            f"special tokens: {', '.join(tokenizer.special_tokens) or 'none'}"
        )
    return ids[0]
