"""What a byte-level vocabulary has to be, and the number that identifies it."""

import hashlib
import json
from collections.abc import Mapping

from llm_jax.tokenizer.protocol import check_text


def fingerprint(ranks: Mapping[bytes, int], pattern: str, special_tokens: Mapping[str, int]) -> str:
    """SHA-256 over everything that decides which ids a text gets."""
    lines = ["byte-level BPE 1", json.dumps(pattern)]
    lines += [f"{rank} {token.hex()}" for rank, token in sorted((rank, token) for token, rank in ranks.items())]
    lines += [f"{number} special {json.dumps(token)}" for token, number in sorted(special_tokens.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check(ranks: Mapping[bytes, int], special_tokens: Mapping[str, int]) -> None:
    """Raises ValueError unless the ranks count up from 0 without a gap, apart from ids that special tokens take."""
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise ValueError(f"a byte-level vocabulary has a token for each of the 256 bytes; missing: {missing[:8]}")
    for token in special_tokens:
        check_text(token)
    special_ids = set(special_tokens.values())
    if len(special_ids) < len(special_tokens) or "" in special_tokens or min(special_ids, default=0) < 0:
        raise ValueError(f"special tokens need distinct ids from 0 and a spelling each; got {dict(special_tokens)}")
    if clash := [token for token, rank in ranks.items() if rank in special_ids]:
        raise ValueError(f"ids of special tokens {dict(special_tokens)} are ranks too, of {clash[:8]}")
    expected = iter(number for number in range(len(ranks) + len(special_ids)) if number not in special_ids)
    for (token, rank), should_be in zip(sorted(ranks.items(), key=lambda item: item[1]), expected, strict=False):
        if rank != should_be:
            raise ValueError(
                f"ranks count up from 0, without a gap but for special tokens, in order of merging; "
                f"found {rank} ({token!r}) where {should_be} belongs"
            )
