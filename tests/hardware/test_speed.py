"""The roofline: what bounds a step, and how it grows."""

from dataclasses import replace

import pytest

from llm_jax.config import DecoderConfig
from llm_jax.hardware.catalogue import find
from llm_jax.hardware.speed import (
    Device,
    Efficiency,
    decode_seconds,
    multiplied_parameters,
    prefill_seconds,
    training_seconds,
)

LLAMA_8B = DecoderConfig(
    vocab_size=128_256, context_length=131_072, d_model=4096, n_heads=32, n_layers=32, mlp_width=14_336, norm="rms",
    positions="rotary", gated_mlp=True, activation="silu", n_kv_heads=8, attention_bias="none", mlp_bias=False,
    tied_head=False,
)  # fmt: skip
IDEAL = Efficiency(compute=1, bandwidth=1, training=1, host=0)
H100 = Device("H100", peak=1e15, bandwidth=3e12, link=4.5e11)


def test_the_embedding_is_looked_up_and_the_head_is_multiplied():
    tied, untied = (replace(LLAMA_8B, tied_head=is_tied) for is_tied in (True, False))
    assert multiplied_parameters(tied) == multiplied_parameters(untied) == untied.n_parameters - 128_256 * 4096
    assert multiplied_parameters(DecoderConfig()) == 124_439_808 - 1024 * 768


def test_one_row_is_bound_by_reading_the_weights_and_many_by_arithmetic():
    alone = decode_seconds(LLAMA_8B, H100, 1, 0, efficiency=IDEAL)
    assert alone == pytest.approx(2 * multiplied_parameters(LLAMA_8B) / 3e12)
    assert decode_seconds(LLAMA_8B, H100, 100, 0, efficiency=IDEAL) == alone  # nearly free: 100 < peak/bandwidth
    many = decode_seconds(LLAMA_8B, H100, 1000, 0, efficiency=IDEAL)
    assert many == pytest.approx(2 * multiplied_parameters(LLAMA_8B) * 1000 / 1e15)


def test_every_token_in_the_cache_is_read_once_a_step():
    without, with_cache = (decode_seconds(LLAMA_8B, H100, 8, context, efficiency=IDEAL) for context in (0, 5000))
    assert with_cache - without == pytest.approx(8 * 5000 * 131_072 / 3e12)


def test_prefill_of_one_token_takes_a_decoding_step_and_attention_grows_with_the_square():
    assert prefill_seconds(LLAMA_8B, H100, 1, 1, efficiency=IDEAL) == decode_seconds(
        LLAMA_8B, H100, 1, 0, efficiency=IDEAL
    )
    products = 2 * multiplied_parameters(LLAMA_8B) / 1e15
    short, long = (prefill_seconds(LLAMA_8B, H100, 1, n, efficiency=IDEAL) - n * products for n in (10_000, 20_000))
    assert long == pytest.approx(4 * short)


def test_training_counts_what_the_model_itself_counts():
    gpt2 = DecoderConfig()
    padding = (gpt2.padded_vocab_size - gpt2.vocab_size) * gpt2.d_model
    counted = gpt2.flops_per_token("llm.c") - 6 * padding - 6 * gpt2.n_positions * gpt2.d_model
    assert training_seconds(gpt2, H100, 1, IDEAL) * 1e15 == pytest.approx(counted)


def test_devices_share_the_work_and_pay_for_the_exchange():
    alone, of_four = (decode_seconds(LLAMA_8B, H100, 1, 2000, devices=n, efficiency=IDEAL) for n in (1, 4))
    assert of_four == pytest.approx(alone / 4 + 2 * 32 * 10e-6)
    with pytest.raises(ValueError, match="2 × slow: the bandwidth between them is not given"):
        decode_seconds(LLAMA_8B, Device("slow", 1e12, 1e11), 1, 0, devices=2)


def test_a_format_without_tensor_units_is_refused():
    t4 = find("Tesla T4")
    assert t4 is not None
    with pytest.raises(ValueError, match="T4 has no tensor units for fp8"):
        Device.of(t4, "fp8")
