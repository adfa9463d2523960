"""What is trained: all parameters of a decoder, or LoRA's adapters beside a frozen one; with a head for a classifier.

`Trainable` is a value that `jit` takes as a static argument. Its methods are pure functions of the trained tree and of
the frozen base, which is None where all parameters are trained. The tree of a classifier is {"body": …, "head": …}.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from llm_jax import adapters
from llm_jax.adapters import LoraConfig
from llm_jax.config import DecoderConfig
from llm_jax.layers.dropout import Dropout
from llm_jax.layers.linear import Linear, init_linear
from llm_jax.models import decoder
from llm_jax.shapes import Array, Key

HEAD_STD = 0.02  # as GPT-2 initialises every matrix


class Trainable(NamedTuple):
    """Names of the parts of the trained tree, and how a decoder is made of it."""

    model: DecoderConfig
    lora: LoraConfig | None = None
    n_classes: int = 0
    """0: the model writes text."""

    def init(self, key: Key[Array, ""], base: decoder.Decoder) -> Any:
        """The starting point: the base's own parameters or fresh adapters, and a fresh head."""
        body_key, head_key = jax.random.split(key)
        body = adapters.init(body_key, self.model, self.lora) if self.lora else base
        if not self.n_classes:
            return body
        return {"body": body, "head": init_linear(head_key, (self.model.d_model,), (self.n_classes,), HEAD_STD)}

    def letters(self) -> Any:
        """A tree like the trained one, each leaf a string with one letter per axis; classes have C."""
        if self.lora:
            body: Any = adapters.dimension_letters(self.model, self.lora)
        else:
            body = decoder.dimension_letters(self.model)
        head: Any = {"weight": "DC", "bias": "C"}
        return {"body": body, "head": Linear(**head)} if self.n_classes else body

    def cast(self, trained: Any, plan: decoder.Plan) -> Any:
        """The trained tree in the compute format, once a step. Adapters and head stay float32."""
        if self.lora:
            return trained
        if self.n_classes:
            return {**trained, "body": decoder.cast(trained["body"], self.model, plan)}
        return decoder.cast(trained, self.model, plan)

    def decoder(self, trained: Any, base: decoder.Decoder | None, noise: Dropout | None = None) -> decoder.Decoder:
        """The model that the trained tree (as `cast` gives it) and the base describe.

        `noise` drops inputs of the adapters.
        """
        body = trained["body"] if self.n_classes else trained
        if self.lora is None:
            return body
        assert base is not None
        return adapters.attach(base, body, self.model, self.lora, noise)

    def dropout(self, key: Key[Array, ""]) -> Dropout | None:
        """The noise of one micro-batch; None where nothing is dropped."""
        return Dropout(key, self.lora.dropout) if self.lora and self.lora.dropout else None

    def n_trained(self) -> int:
        """Numbers that are trained, padding of the vocabulary left out."""
        base = jax.eval_shape(lambda: decoder.init(jax.random.key(0), self.model))
        shapes = jax.eval_shape(lambda: self.init(jax.random.key(0), jax.tree.map(_zeros, base)))
        padding = 0 if self.lora else self.model.padded_vocab_size - self.model.vocab_size
        padding *= self.model.d_model * (1 if self.model.tied_head else 2)
        return sum(leaf.size for leaf in jax.tree.leaves(shapes)) - padding


def _zeros(leaf: jax.ShapeDtypeStruct) -> Array:
    return jnp.zeros(leaf.shape, leaf.dtype)
