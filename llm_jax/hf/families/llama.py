"""Llama and Mistral without sliding window: `LlamaForCausalLM`. Qwen's families differ from it in a few settings.

Its linear layers store (outputs, inputs): the transpose of ours.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.config import DecoderConfig
from llm_jax.hf.families import fields as read_fields
from llm_jax.hf.families import rope
from llm_jax.hf.families.family import Family, Row

SIZES = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "context_length",
    "hidden_size": "d_model",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "mlp_width",
}
FULL = ("full_attention",)
DEFAULT_WINDOW, DEFAULT_FIRST = 4_096, 28  # of Mistral and Qwen, where a file names none: tokens; the first such layer


def _linear(ours: str, theirs: str, outputs: str, inputs: str) -> tuple[Row, Row]:
    return (
        Row(f"{ours}.weight", f"{theirs}.weight", f"{outputs} {inputs}", is_transposed=True),
        Row(f"{ours}.bias", f"{theirs}.bias", outputs),
    )


MODEL = (Row("token_embedding", "embed_tokens.weight", "V D"), Row("norm.gain", "norm.weight", "D"))
BLOCK = (
    Row("norm_1.gain", "input_layernorm.weight", "D"),
    *_linear("attention.qkv.q", "self_attn.q_proj", "NH", "D"),
    *_linear("attention.qkv.k", "self_attn.k_proj", "KH", "D"),
    *_linear("attention.qkv.v", "self_attn.v_proj", "KH", "D"),
    *_linear("attention.out", "self_attn.o_proj", "D", "NH"),
    Row("attention.q_norm.gain", "self_attn.q_norm.weight", "H"),
    Row("attention.k_norm.gain", "self_attn.k_norm.weight", "H"),
    Row("norm_2.gain", "post_attention_layernorm.weight", "D"),
    *_linear("mlp.gate", "mlp.gate_proj", "F", "D"),
    *_linear("mlp.up", "mlp.up_proj", "F", "D"),
    *_linear("mlp.down", "mlp.down_proj", "D", "F"),
)


def shaped(path: Path, fields: Mapping[str, Any], family: str) -> dict[str, Any]:
    """What the configs of all Llama-shaped families have, as arguments of `DecoderConfig`.

    Raises:
        ValueError: a setting that is not computed here, such as a sliding window; it names file, field and value.
    """
    sizes = {ours: read_fields.whole(path, fields, theirs, family) for theirs, ours in SIZES.items()}
    _refuse_sliding_window(path, fields, family)
    read_fields.refuse_others(path, fields, {"add_cross_attention": (False,)})
    heads, width = sizes["n_heads"], read_fields.whole_or_none(path, fields, "head_dim")
    kv_heads = read_fields.whole_or_none(path, fields, "num_key_value_heads")
    return {
        **sizes,
        **rope.read(path, fields),
        "norm": "rms",
        "positions": "rotary",
        "gated_mlp": True,
        "norm_epsilon": read_fields.fraction(path, fields, "rms_norm_eps", 1e-6),
        "activation": read_fields.activation(path, fields, "hidden_act", "silu"),
        "tied_head": read_fields.switch(path, fields, "tie_word_embeddings", False),
        "n_kv_heads": None if kv_heads == heads else kv_heads,
        "head_width": None if width is not None and width * heads == sizes["d_model"] else width,
    }


def _refuse_sliding_window(path: Path, fields: Mapping[str, Any], family: str) -> None:
    """A window is on where transformers has it on: Mistral's by its size alone, Qwen's by switch, layer and size.

    A Llama has none in transformers; one whose file asks for it by switch or layer is refused as well.
    """
    is_mistral = fields.get("model_type") == "mistral"
    has_window = is_mistral or family != "Llama"
    window = fields.get("sliding_window", DEFAULT_WINDOW if has_window else None)
    layers = fields.get("layer_types")
    if is_mistral or layers is None:
        first = 0 if is_mistral or not has_window else fields.get("max_window_layers", DEFAULT_FIRST)
        is_on = is_mistral or fields.get("use_sliding_window") is True
        is_short = window is not None and not (type(window) is int and window >= fields["max_position_embeddings"])
        is_sliding = is_on and is_short and not (type(first) is int and first >= fields["num_hidden_layers"])
    else:
        is_sliding = any(kind not in FULL for kind in layers)
    if is_sliding:
        raise ValueError(
            f"{path}: sliding_window is {window!r}: attention to the latest tokens only is not computed here; "
            "take a model without it"
        )


def read(path: Path, fields: Mapping[str, Any]) -> DecoderConfig:
    read_fields.refuse_others(path, fields, {"pretraining_tp": (1, None)})
    return DecoderConfig(
        **shaped(path, fields, "Llama"),
        attention_bias="all" if read_fields.switch(path, fields, "attention_bias", False) else "none",
        mlp_bias=read_fields.switch(path, fields, "mlp_bias", False),
    )


def written(config: DecoderConfig) -> dict[str, Any]:
    """The fields of all Llama-shaped families."""
    return {
        **{theirs: getattr(config, ours) for theirs, ours in SIZES.items()},
        "intermediate_size": config.d_hidden,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.d_head,
        "hidden_act": read_fields.ACTIVATIONS[config.activation][0],
        "rms_norm_eps": config.norm_epsilon,
        "initializer_range": 0.02,
        "attention_dropout": 0.0,
        "tie_word_embeddings": config.tied_head,
        **rope.write(config),
    }


def write(config: DecoderConfig) -> dict[str, Any]:
    return written(config) | {"attention_bias": config.attention_bias == "all", "mlp_bias": config.mlp_bias}


def is_llama_shaped(config: DecoderConfig) -> bool:
    return (
        config.norm == "rms"
        and config.positions == "rotary"
        and config.gated_mlp
        and config.scale_scores
        and not config.scale_scores_by_layer
    )


def fits(config: DecoderConfig) -> bool:
    return is_llama_shaped(config) and config.attention_bias != "qkv" and not config.query_key_norm


def family(name: str, model_type: str, architecture: str, read, write, fits) -> Family:
    """A family with Llama's names of tensors."""
    return Family(
        name=name,
        model_type=model_type,
        architecture=architecture,
        without_head=architecture.replace("ForCausalLM", "Model"),
        prefix="model.",
        embedding="embed_tokens.weight",
        head="lm_head.weight",
        model=MODEL,
        block_prefix="layers.{}.",
        block=BLOCK,
        ignored=(".rotary_emb.inv_freq",),  # old transformers saved the frequencies as a tensor
        read=read,
        write=write,
        fits=fits,
    )


FAMILY = family("Llama", "llama", "LlamaForCausalLM", read, write, fits)
# Mistral's files differ from Llama's in the name of the class only; an export is a Llama.
MISTRAL = family("Mistral", "mistral", "MistralForCausalLM", read, write, lambda config: False)
