"""The checks of lesson 8. Reading them before you have tried gives the answers away."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from checks import Wrong, exercise, expect
from llm_jax.layers import cache as kv
from llm_jax.layers import rotary

KINDS = (
    "correct",
    "positions are one too far",
    "keys are stored unrotated",
    "padding is not forgotten",
    "the prompt's last slot is overwritten",
)


@exercise(
    hint="Without: prompt + (prompt + 1) + …, one term for each new token. With: the prompt, then new − 1 tokens."
)
def positions_computed(answer):
    for prompt, new in ((5, 3), (1, 1), (10, 4)):
        without, cached = sum(range(prompt, prompt + new)), prompt + new - 1
        expect(
            answer(prompt, new),
            (without, cached),
            {
                "with a cache, the last token need not run: it is chosen, and nothing follows.": (without, cached + 1),
                "the last pass reads prompt + new − 1 tokens: the last token is chosen, not read.": (
                    without + prompt + new,
                    cached,
                ),
                "without a cache, the first pass is over the prompt alone, the next over one token more.": (
                    sum(range(prompt + 1, prompt + new + 1)),
                    cached,
                ),
                "without a cache, the earlier answer is read again, too, not only the prompt.": (prompt * new, cached),
                "without a cache, one pass for each NEW token; the prompt needs no passes of its own.": (
                    sum(range(1, prompt + new)),
                    cached,
                ),
                "with a cache, the prompt has to run, too: once.": (without, new),
                "with a cache, the prompt has to run, too, once.": (without, new - 1),
                "the two are exchanged.": (cached, without),
                "the last token is chosen, not read: no pass has prompt + new tokens.": (
                    sum(range(prompt + 1, prompt + new + 1)),
                    cached + 1,
                ),
            },
            given=f"a prompt of {prompt} and {new} new tokens",
        )


@exercise(hint="np.vstack([keys, k]), the same for the values, then attention of lesson 7 with a single query.")
def cached_step(answer):
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 4))
    keys, values = rng.normal(size=(2, 3, 4))

    def attended(keys, values, scale=2.0):
        weights = np.exp(keys @ q / scale)
        return weights / weights.sum() @ values

    grown = np.vstack([keys, k]), np.vstack([values, v])
    right = attended(*grown), *grown
    expect(
        answer(q, k, v, keys, values),
        right,
        {
            "the new token does not read itself: append its key and value first.": (attended(keys, values), *grown),
            "the cache that is returned lacks the new token: the next step would not see it.": (
                right[0],
                keys,
                values,
            ),
            "the new token belongs at the end of the cache.": (
                right[0],
                np.vstack([k, keys]),
                np.vstack([v, values]),
            ),
            "the query went into the cache; later tokens read keys.": (
                attended(np.vstack([keys, q]), grown[1]),
                np.vstack([keys, q]),
                grown[1],
            ),
            "key and value are exchanged in the cache.": (
                attended(np.vstack([keys, v]), np.vstack([values, k])),
                np.vstack([keys, v]),
                np.vstack([values, k]),
            ),
            "the last token was overwritten: the cache must grow by one.": (
                attended(np.vstack([keys[:-1], k]), np.vstack([values[:-1], v])),
                np.vstack([keys[:-1], k]),
                np.vstack([values[:-1], v]),
            ),
            "the scores are not divided by √H.": (attended(*grown, 1.0), *grown),
            "the scores are divided by H, not by its root.": (attended(*grown, 4.0), *grown),
            "the softmax is missing.": (grown[0] @ q / 2 @ grown[1], *grown),
        },
        given="a cache of three tokens, H = 4",
    )
    expect(
        answer(q, k, v, np.zeros((0, 4)), np.zeros((0, 4))),
        (v, k[None], v[None]),
        given="an empty cache (the first token)",
    )


@exercise(hint="How many arrays does a layer keep for a token, of how many heads, each how wide?")
def cache_bytes(answer):
    shape, numbers = (30, 3, 64, 100), 30 * 3 * 64 * 100
    found = answer(*shape, 4)
    if found == answer(*shape, 2):
        raise Wrong("bytes_per_number is not used: float32 has 4, bfloat16 2.")
    expect(
        found,
        8 * numbers,
        {
            "keys AND values: twice as much.": 4 * numbers,
            "every layer has a cache of its own.": 8 * numbers / 30,
            "every head of keys has its own.": 8 * numbers / 3,
            "each key has head_width numbers.": 8 * numbers / 64,
            "n_tokens is not used.": 8 * numbers / 100,
            "bytes, please, not kB.": 8 * numbers / 1000,
            "bytes, please, not KiB.": 8 * numbers / 1024,
        },
        given="30 layers, 3 heads of keys of width 64, 100 tokens in float32",
    )
    expect(answer(12, 12, 64, 1), 36864, given="GPT-2 124M, one token in bfloat16")
    expect(answer(40, 40, 128, 8192), 6710886400, given="Llama-2-13B at 8,192 tokens")


@exercise(
    hint="Bytes of a step = weights + rows · cache of a row. Its time is bytes/bandwidth. It yields `rows` tokens."
)
def tokens_per_second(answer):
    weights, cache, rows, bandwidth = 100.0, 5.0, 4, 1200.0
    step = (weights + rows * cache) / bandwidth
    expect(
        answer(weights, cache, rows, bandwidth),
        rows / step,
        {
            "that is the time of a step; tokens per second are rows divided by it.": step,
            "that is for one row; a step yields one token for EACH row.": 1 / step,
            "each row has a cache of its own: rows · cache.": rows * bandwidth / (weights + cache),
            "the weights are read once for all rows, not once for each.": rows
            * bandwidth
            / (rows * weights + rows * cache),
            "the caches are read, too.": rows * bandwidth / weights,
            "the weights are read in every step.": bandwidth / cache,
            "that is seconds for a token; its inverse is asked for.": step / rows,
            "a step yields one token for EACH row, and it reads the caches, too.": bandwidth / weights,
        },
        given="100 bytes of weights, 5 of cache a row, 4 rows, 1,200 bytes/s",
    )
    expect(answer(247.3e6, 0.0, 1, 4.3e12), 4.3e12 / 247.3e6, given="GPT-2 124M on an H200, one row")


def _too_far(cache, lengths, config):
    cache = kv.forget_padding(cache, lengths)
    return dataclasses.replace(cache, lengths_B=cache.lengths_B + 1)


def _unrotated(cache, lengths, config):
    by = rotary.rotation(config, jnp.arange(cache.positions_BS.shape[1]))
    back = rotary.Rotation(by.cos, -by.sin)
    layers = tuple(
        kv.LayerCache(rotary.rotate(layer.k_RSH[:, :, None], back)[:, :, 0], layer.v_RSH) for layer in cache.layers
    )
    return kv.forget_padding(dataclasses.replace(cache, layers=layers), lengths)


def _padded(cache, lengths, config):
    return dataclasses.replace(cache, lengths_B=lengths)


def _overwritten(cache, lengths, config):
    cache = kv.forget_padding(cache, lengths)
    return dataclasses.replace(cache, filled=cache.filled - 1)


def _correct(cache, lengths, config):
    return kv.forget_padding(cache, lengths)


CACHES = {"A": _padded, "B": _too_far, "C": _correct, "D": _overwritten, "E": _unrotated}
SHOWN = {
    "A": "its long row is right and the rows with padding are wrong",
    "B": "all three rows are wrong, even the one whose prompt has position 0 only",
    "C": "all three rows are right",
    "D": "only the long row is wrong, the one that fills all ten slots",
    "E": "the rows of 10 and 6 tokens are wrong, but the one whose prompt has position 0 only is right",
}
KIND_OF = dict(zip("ABCDE", (KINDS[3], KINDS[1], KINDS[0], KINDS[4], KINDS[2]), strict=True))


def after_prefill(letter, cache, lengths, config):
    """What cache A, B, C, D or E makes of a prefilled cache before it decodes."""
    return CACHES[letter](cache, jnp.asarray(lengths, jnp.int32), config)


@exercise(hint="Which rows does each fault spoil? Padding: rows that have some. Slot 9: a row whose token lies there.")
def diagnosis(answer):
    found = answer()
    if not isinstance(found, dict):
        raise Wrong(f"return a dict from letter to kind; it returned {type(found).__name__}.")
    if unknown := [kind for kind in found.values() if kind not in KINDS]:
        raise Wrong(f"{unknown[0]!r} is none of the five kinds; copy them from above.")
    if missing := [letter for letter in KIND_OF if letter not in found]:
        raise Wrong(f"{', '.join(missing)}: no kind yet.")
    for letter, kind in KIND_OF.items():
        if found[letter] != kind:
            raise Wrong(f"{letter} is not {found[letter]!r}. Look again: {SHOWN[letter]}.")
