"""Named models: the one list of preset names."""

from typing import Any, Literal

from llm_jax.config.decoder import DecoderConfig

ModelName = Literal[
    "gpt2-nano",
    "gpt2-124m",
    "gpt2-350m",
    "gpt2-774m",
    "gpt2-1558m",
    "llama-nano",
    "smollm2-135m",
    "llama-160m",
    "qwen3-0.6b",
    "llama-1b",
]


def llama(**sizes: Any) -> DecoderConfig:
    """A config with Llama's choices (Touvron et al. 2023): RMS norm, rotary positions, SwiGLU, no biases."""
    choices = {"norm": "rms", "positions": "rotary", "gated_mlp": True, "activation": "silu"}
    return DecoderConfig(**choices, attention_bias="none", mlp_bias=False, **sizes)


PRESETS: dict[ModelName, DecoderConfig] = {
    "gpt2-nano": DecoderConfig(context_length=256, d_model=128, n_heads=4, n_layers=4),  # for CPUs and tests
    "gpt2-124m": DecoderConfig(d_model=768, n_heads=12, n_layers=12),
    "gpt2-350m": DecoderConfig(d_model=1024, n_heads=16, n_layers=24),
    "gpt2-774m": DecoderConfig(d_model=1280, n_heads=20, n_layers=36),
    "gpt2-1558m": DecoderConfig(d_model=1600, n_heads=25, n_layers=48),
    # Llama's hidden width: two thirds of 4·d_model, so that three matrices cost what GPT-2's two do.
    "llama-nano": llama(context_length=256, d_model=128, n_heads=4, n_kv_heads=2, n_layers=4, mlp_width=384),
    # Shapes of published models, with the context of their pretraining: SmolLM2-135M, Qwen3-0.6B, Llama-3.2-1B.
    "smollm2-135m": llama(
        vocab_size=49152,
        context_length=2048,
        d_model=576,
        n_heads=9,
        n_kv_heads=3,
        n_layers=30,
        mlp_width=1536,
        rotary_theta=100000.0,
    ),
    # GPT-2 124M's tokenizer, depth, width and compute per token.
    "llama-160m": llama(d_model=768, n_heads=12, n_kv_heads=4, n_layers=12, mlp_width=2304, tied_head=False),
    "qwen3-0.6b": llama(
        vocab_size=151936,
        context_length=4096,
        d_model=1024,
        n_heads=16,
        n_kv_heads=8,
        n_layers=28,
        mlp_width=3072,
        head_width=128,
        norm_epsilon=1e-6,
        rotary_theta=1000000.0,
        query_key_norm=True,
    ),
    "llama-1b": llama(
        vocab_size=128256,
        context_length=8192,
        d_model=2048,
        n_heads=32,
        n_kv_heads=8,
        n_layers=16,
        mlp_width=8192,
        rotary_theta=500000.0,
    ),
}


def model_preset(name: str) -> DecoderConfig:
    """The named model's config. Raises ValueError with the known names."""
    if name not in PRESETS:
        raise ValueError(f"unknown model preset {name!r}; one of: {', '.join(PRESETS)}")
    return PRESETS[name]
