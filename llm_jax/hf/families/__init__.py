"""One table a family: names of tensors, shapes, config. Import and export read the same table.

bert     BERT, an encoder
gpt2     GPT-2 and its relatives
llama    Llama and SmolLM; Mistral without sliding window
marian   Marian, an encoder–decoder (written, not read)
qwen2    Qwen 2 and 2.5
qwen3    Qwen 3
family   what such a table is
fields   reading the fields of a config.json; rope: those about rotary positions
"""

from llm_jax.config import DecoderConfig
from llm_jax.hf.families import gpt2, llama, qwen2, qwen3
from llm_jax.hf.families.family import Family, Row

FAMILIES = {one.model_type: one for one in (gpt2.FAMILY, llama.FAMILY, llama.MISTRAL, qwen2.FAMILY, qwen3.FAMILY)}

__all__ = ["FAMILIES", "Family", "Row", "of"]


def of(config: DecoderConfig) -> Family:
    """The family whose class computes this config.

    Raises:
        ValueError: no class of transformers does, as for a GPT-2 with rotary positions.
    """
    for one in FAMILIES.values():
        if one.fits(config):
            return one
    raise ValueError(
        "no class of transformers computes this model: "
        f"norm={config.norm}, positions={config.positions}, gated_mlp={config.gated_mlp}, "
        f"n_kv_heads={config.kv_heads} of {config.n_heads}, attention_bias={config.attention_bias}, "
        f"mlp_bias={config.mlp_bias}, query_key_norm={config.query_key_norm}; "
        f"known are {', '.join(one.architecture for one in FAMILIES.values())}"
    )
