"""Special tokens in a text: which may be recognised, which are refused, and where the text is split at them.

The two parameters are tiktoken's. `allowed_special` names the tokens that text may spell; `disallowed_special` those
that it must not contain. What is in neither is ordinary text. Only the default differs: tiktoken disallows every
special token that is not allowed; this code base disallows none, because a document from the web may spell
`<|endoftext|>`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache

import regex

from llm_jax.tokenizer.protocol import AllowedSpecial, DisallowedSpecial, check_text


def resolve_allowed(special_tokens: Mapping[str, int], allowed: AllowedSpecial) -> AbstractSet[str]:
    """The special tokens that may be recognised; ValueError for a name that is none."""
    if allowed == "all":
        return special_tokens.keys()
    if isinstance(allowed, str):
        raise TypeError(f'allowed_special must be a set of strings or "all"; got the string {allowed!r}')
    if unknown := set(allowed) - special_tokens.keys():
        raise ValueError(f"no such special token: {sorted(unknown)}; there are {sorted(special_tokens) or 'none'}")
    return set(allowed)


def resolve_disallowed(
    special_tokens: Mapping[str, int], allowed: AbstractSet[str], disallowed: DisallowedSpecial
) -> frozenset[str]:
    """The texts that are refused. "all" means every special token that is not allowed.

    As in tiktoken, a set is taken as it is: its strings need not be special tokens, and may be allowed ones.
    """
    if disallowed == "all":
        return frozenset(special_tokens.keys() - allowed)
    if isinstance(disallowed, str):
        raise TypeError(f'disallowed_special must be a set of strings or "all"; got the string {disallowed!r}')
    if "" in disallowed:
        raise ValueError("disallowed_special holds the empty text, which is in every text; leave it out")
    return frozenset(disallowed)


@lru_cache(maxsize=64)
def finder(tokens: frozenset[str]) -> "regex.Pattern[str]":
    """Finds any of `tokens`: the longest first, where one begins with another."""
    return regex.compile("|".join(map(regex.escape, sorted(tokens, key=len, reverse=True))))


def refuse(text: str, disallowed: frozenset[str]) -> None:
    """Raises ValueError if `text` contains one of `disallowed`."""
    if disallowed and (match := finder(disallowed).search(text)):
        token = match[0]
        raise ValueError(
            f"the text spells the disallowed special token {token!r} at position {match.start()}; to read it as that "
            f"token, pass allowed_special={{{token!r}}}; to read it as ordinary text, leave it out of "
            "disallowed_special, as disallowed_special=() does"
        )


def parts(
    text: str, special_tokens: Mapping[str, int], allowed: AllowedSpecial, disallowed: DisallowedSpecial
) -> Iterator[tuple[str, int | None]]:
    """Stretches of ordinary text (with None) and allowed special tokens (with their id), in order.

    Raises ValueError for a disallowed one, before anything is yielded, and for text without UTF-8 form.
    """
    check_text(text)
    names = resolve_allowed(special_tokens, allowed)
    if disallowed:
        refuse(text, resolve_disallowed(special_tokens, names, disallowed))
    if not names:
        yield text, None
        return
    position = 0
    for match in finder(frozenset(names)).finditer(text):
        if position < match.start():
            yield text[position : match.start()], None
        yield match[0], special_tokens[match[0]]
        position = match.end()
    if position < len(text):
        yield text[position:], None


def ordinary_parts(text: str, special_tokens: Collection[str]) -> list[str]:
    """What is left of `text` where it is cut at `special_tokens` and they are taken out."""
    return finder(frozenset(special_tokens)).split(text) if special_tokens else [text]


def grown(special_tokens: Mapping[str, int], added: Iterable[str], first: int) -> dict[str, int]:
    """`special_tokens` and the `added` ones, numbered from `first` on. Raises ValueError for one that is there."""
    if isinstance(added, str):
        raise TypeError(f"special tokens are given as a sequence of strings; got the string {added!r}")
    all_tokens = dict(special_tokens)
    for token in added:
        check_text(token)
        if not token:
            raise ValueError("a special token needs a spelling; got the empty text")
        if token in all_tokens:
            raise ValueError(f"{token!r} is a special token already, with id {all_tokens[token]}; add only new ones")
        all_tokens[token] = first + len(all_tokens) - len(special_tokens)
    return all_tokens
