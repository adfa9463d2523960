"""Records a model's activations and the gradients of the loss with respect to them."""

from llm_jax.inspect.look import Inside, look, recorder

__all__ = ["Inside", "look", "recorder"]
