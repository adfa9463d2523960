"""What a model is and how it is computed, as frozen dataclasses that refuse nonsense when they are built.

Nothing here imports JAX, so a command line reads it at once.

decoder     `DecoderConfig`: what a decoder computes
rotary      `RotaryScaling`: rotary positions beyond the context of training
execution   `Execution`: number format, kernels, loops; never the function
presets     named models
values      dataclasses from JSON, and checks of their fields
"""

from llm_jax.config.decoder import DecoderConfig
from llm_jax.config.execution import NUMBERS, Execution, Weights
from llm_jax.config.presets import PRESETS, ModelName, llama, model_preset
from llm_jax.config.rotary import RotaryScaling
from llm_jax.config.values import from_dict

__all__ = [
    "NUMBERS",
    "PRESETS",
    "DecoderConfig",
    "Execution",
    "ModelName",
    "RotaryScaling",
    "Weights",
    "from_dict",
    "llama",
    "model_preset",
]
