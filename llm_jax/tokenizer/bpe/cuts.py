r"""Where a text may be cut so that its parts, encoded one by one, give the ids of the whole.

No merge crosses the border of a pre-token, so a cut is safe where every reading of the text ends a pre-token, whatever
follows. Two rules find such places. `SAFE_CUT` sees them in the bytes, without a tokenizer: it serves to cut files. In
text where it finds none (Chinese without line breaks, a long run of digits), `settled` looks at the pre-tokens
themselves. Both hold for the patterns of GPT-2, cl100k and o200k and for those that only group digits otherwise (Qwen,
nanochat); of another pattern nothing is known, and no cut is safe.
"""

import re

from llm_jax.tokenizer.bpe.patterns import CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, Splitter

# Any character but white space, in UTF-8; left out are C2, E1 and E2, some of whose characters are white space, too.
_VISIBLE = (
    rb"(?:[!-~]|[\xc3-\xdf][\x80-\xbf]|[\xe0\xe4-\xef][\x80-\xbf]{2}"
    rb"|\xe3(?:\x80[\x81-\xbf]|[\x81-\xbf][\x80-\xbf])|[\xf0-\xf4][\x80-\xbf]{3})"
)

# Where GPT-2's, cl100k's, o200k's and our own split patterns all end a piece, and what follows cannot change the pieces
# before, so that cutting a long text here gives the same ids as encoding it whole:
#   - a letter (ASCII, Cyrillic) or digit before white space, for no piece holds white space behind a letter;
#   - a single line break between visible characters, for scripts and lines that end otherwise. It belongs to the line
#     before, and of what comes next only a slash could join it (o200k: ".\n/" is one piece).
SAFE_CUT = re.compile(
    rb"(?:[A-Za-z0-9]|[\xd0\xd1][\x80-\xbf])(?=[ \t\r\n])|" + _VISIBLE + rb"\n(?=(?!/)" + _VISIBLE + rb")"
)

_WINDOW = 2_000  # characters from the end in which `settled` looks for SAFE_CUT
_UNSETTLED = 2  # pre-tokens at the end of a text that may change when it goes on
_DIGITS = re.compile(r"\|\\p\{N\}(?:\{1,\d+\}|\+)?\|")


def is_known(pattern: str) -> bool:
    """Whether the rules of this file hold for the split pattern."""
    return _DIGITS.sub(r"|\\p{N}{1,3}|", pattern) in (GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN)


def settled(text: str, pattern: str, split: Splitter) -> int:
    """How many characters from the start of `text` lie in pre-tokens that no continuation of `text` can change.

    Of the known patterns, at most the last two pre-tokens can change. Two, not one:

    - "I", "'l" and an "l" behind them are "I'll" for o200k, and "'", "l" and an "l" are "'ll" for GPT-2;
    - a line break and the spaces behind it are one pre-token, if another line break comes, for cl100k and o200k;
    - "中", "AB" and a small letter behind them are one word for o200k.

    No cut is made behind white space: at the end of a text a run of it is one pre-token, before a word it is two.
    """
    if not is_known(pattern):
        return 0
    end = text[-_WINDOW:].encode()
    if places := [match.end() for match in SAFE_CUT.finditer(end)]:
        return len(text) - len(end[places[-1] :].decode())
    pieces = split(text)
    keep = max(0, len(pieces) - _UNSETTLED)
    while keep and pieces[keep - 1][-1].isspace():
        keep -= 1
    return len(text) - sum(map(len, pieces[keep:]))
