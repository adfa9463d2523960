"""The account of a server's memory, against what vLLM's own log says (vllm-project/vllm#10517, RTX 3090)."""

from dataclasses import replace

import pytest

from llm_jax.config import DecoderConfig
from llm_jax.hardware.serving_memory import cache_bytes, serving_memory, weight_bytes

LLAMA_8B = DecoderConfig(
    vocab_size=128_256, context_length=131_072, d_model=4096, n_heads=32, n_layers=32, mlp_width=14_336, norm="rms",
    positions="rotary", gated_mlp=True, activation="silu", n_kv_heads=8, attention_bias="none", mlp_bias=False,
    tied_head=False,
)  # fmt: skip
GIB = 2**30
RTX_3090 = 23.58 * GIB


def test_weights_of_llama_8b_are_what_vllm_loads():
    assert LLAMA_8B.n_parameters == 8_030_261_248
    assert weight_bytes(LLAMA_8B) / GIB == pytest.approx(14.9888, abs=1e-4)


def test_in_fp8_embedding_and_head_stay_in_bfloat16():
    """The published checkpoint of Llama-3.1-8B in FP8 has 9.08 GB."""
    angles = 2 * LLAMA_8B.context_length * LLAMA_8B.d_head
    assert (weight_bytes(LLAMA_8B, "fp8") - angles) / 1e9 == pytest.approx(9.08, abs=0.01)


def test_a_token_of_llama_8b_takes_128_kib_of_cache_and_108_of_workspace():
    assert cache_bytes(LLAMA_8B) == 128 * 1024
    one, two = (serving_memory(LLAMA_8B, RTX_3090, tokens).workspace for tokens in (1, 2))
    assert two - one == 108 * 1024


@pytest.mark.parametrize(("context", "peak", "cache", "tokens"), [
    (20_000, 17.06, 3.81, 1952 * 16),
    (29_000, 17.98, 2.89, 23_648),
])  # fmt: skip
def test_the_cache_on_a_24_gb_card_is_vllms(context, peak, cache, tokens):
    found = serving_memory(LLAMA_8B, RTX_3090, context)
    assert (found.weights + found.workspace) / GIB == pytest.approx(peak, abs=0.02)
    assert found.cache / GIB == pytest.approx(cache, abs=0.02)
    assert found.tokens == pytest.approx(tokens, rel=0.01)
    assert (found.tokens >= context) == (context == 20_000)  # vLLM refuses the longer one


def test_without_grouped_heads_the_cache_holds_a_quarter():
    assert cache_bytes(replace(LLAMA_8B, n_kv_heads=32)) == 4 * cache_bytes(LLAMA_8B)


def test_devices_share_weights_and_heads_and_each_keeps_one_head_at_least():
    alone, of_four = (serving_memory(LLAMA_8B, RTX_3090, 2048, devices=n) for n in (1, 4))
    assert of_four.weights == alone.weights // 4
    assert of_four.token == alone.token // 4
    assert cache_bytes(LLAMA_8B, devices=16) == cache_bytes(LLAMA_8B) // 8


def test_a_model_that_does_not_fit_has_a_negative_cache_and_no_token():
    found = serving_memory(LLAMA_8B, 16 * GIB, 2048)
    assert found.cache < 0
    assert found.tokens == 0


@pytest.mark.parametrize(("wrong", "message"), [
    ({"utilisation": 1.2}, "utilisation must be above 0 and at most 1; got 1.2"),
    ({"dtype": "int3"}, "unknown format 'int3'; one of: float32"),
    ({"devices": 5}, "5 devices cannot split 32 heads"),
])  # fmt: skip
def test_impossible_settings_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        serving_memory(LLAMA_8B, RTX_3090, 2048, **wrong)
