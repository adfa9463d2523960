"""GPT-2 and its relatives: `GPT2LMHeadModel`. Its linear layers store (inputs, outputs) as ours do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.config import DecoderConfig
from llm_jax.hf.families import fields as read_fields
from llm_jax.hf.families.family import Family, Row

# transformers' name → our name, and the value where a file lacks the field.
SWITCHES = {
    "tie_word_embeddings": ("tied_head", True),
    "scale_attn_weights": ("scale_scores", True),
    "scale_attn_by_inverse_layer_idx": ("scale_scores_by_layer", False),
}
SIZES = {
    "vocab_size": "vocab_size",
    "n_positions": "context_length",
    "n_embd": "d_model",
    "n_head": "n_heads",
    "n_layer": "n_layers",
}


def write(config: DecoderConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_ctx": config.context_length,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.mlp_width,
        "activation_function": read_fields.ACTIVATIONS[config.activation][0],
        "layer_norm_epsilon": config.norm_epsilon,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "initializer_range": 0.02,
        "scale_attn_weights": config.scale_scores,
        "scale_attn_by_inverse_layer_idx": config.scale_scores_by_layer,
        "reorder_and_upcast_attn": False,
        "tie_word_embeddings": config.tied_head,
    }


def read(path: Path, fields: Mapping[str, Any]) -> DecoderConfig:
    """`reorder_and_upcast_attn` changes the order of operations, not the function."""
    read_fields.refuse_others(path, fields, {"add_cross_attention": (False,)})
    sizes = {ours: read_fields.whole(path, fields, theirs, "GPT-2") for theirs, ours in SIZES.items()}
    width = read_fields.whole_or_none(path, fields, "n_inner")
    switches: dict[str, Any] = {
        ours: read_fields.switch(path, fields, theirs, default) for theirs, (ours, default) in SWITCHES.items()
    }
    return DecoderConfig(
        **sizes,
        norm_epsilon=read_fields.fraction(path, fields, "layer_norm_epsilon", 1e-5),
        mlp_width=None if width == 4 * fields["n_embd"] else width,
        activation=read_fields.activation(path, fields, "activation_function", "gelu_new"),
        **switches,
    )


def fits(config: DecoderConfig) -> bool:
    return (
        config.is_qkv_fused
        and config.norm == "layer"
        and not (config.gated_mlp or config.query_key_norm)
        and config.attention_bias == "all"
        and config.mlp_bias
        and config.d_head * config.n_heads == config.d_model
    )


FAMILY = Family(
    name="GPT-2",
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    without_head="GPT2Model",
    prefix="transformer.",
    embedding="wte.weight",
    head="lm_head.weight",
    model=(
        Row("token_embedding", "wte.weight", "V D"),
        Row("position_embedding", "wpe.weight", "P D"),
        Row("norm.gain", "ln_f.weight", "D"),
        Row("norm.bias", "ln_f.bias", "D"),
    ),
    block_prefix="h.{}.",
    block=(
        Row("norm_1.gain", "ln_1.weight", "D"),
        Row("norm_1.bias", "ln_1.bias", "D"),
        Row("attention.qkv.weight", "attn.c_attn.weight", "D 3NH"),
        Row("attention.qkv.bias", "attn.c_attn.bias", "3NH"),
        Row("attention.out.weight", "attn.c_proj.weight", "NH D"),
        Row("attention.out.bias", "attn.c_proj.bias", "D"),
        Row("norm_2.gain", "ln_2.weight", "D"),
        Row("norm_2.bias", "ln_2.bias", "D"),
        Row("mlp.up.weight", "mlp.c_fc.weight", "D F"),
        Row("mlp.up.bias", "mlp.c_fc.bias", "F"),
        Row("mlp.down.weight", "mlp.c_proj.weight", "F D"),
        Row("mlp.down.bias", "mlp.c_proj.bias", "D"),
    ),
    ignored=(".attn.bias", ".attn.masked_bias"),  # old transformers saved the causal mask as a tensor
    read=read,
    write=write,
    fits=fits,
)
