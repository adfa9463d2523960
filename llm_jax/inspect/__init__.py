"""What a model does inside: activations, and the gradients that reach them."""

from llm_jax.inspect.look import Inside, look, recorder

__all__ = ["Inside", "look", "recorder"]
