"""The three models of the comparison: what each is, and the loss of its batches."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from llm_jax.config import DecoderConfig, Execution
from llm_jax.kernels.plan import Plan, make_plan
from llm_jax.models import decoder
from llm_jax.models.encoder import forward as encoder
from llm_jax.models.encoder import parameters as encoder_parameters
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder.masking import mask_tokens
from llm_jax.models.encoder_decoder import forward as encoder_decoder
from llm_jax.models.encoder_decoder import parameters as encoder_decoder_parameters
from llm_jax.models.encoder_decoder.config import EncoderDecoderConfig
from train.architectures.comparison.setting import ModelKind, Setting
from train.architectures.pairs import MASK, PAD, SPECIAL
from train.architectures.start import as_encoder_decoder

CONTEXT = 96  # positions; the longest row is a window with its holes behind it


class Rows(NamedTuple):
    """What an encoder or a decoder reads. A decoder's targets are the tokens one further on."""

    tokens_BT: Any
    targets_BT: Any
    weights_BT: Any


class Windows(NamedTuple):
    """What the masked model reads: it draws its masks itself."""

    tokens_BT: Any


@dataclass(frozen=True)
class Model:
    """One of the three, for a vocabulary."""

    kind: ModelKind
    config: Any
    plan: Plan

    def init(self, seed: int) -> Any:
        """Fresh parameters, by the encoder–decoder's rule in all three (`train.architectures.start`)."""
        key = jax.random.key(seed)
        if self.kind == "encoder":
            return as_encoder_decoder(encoder_parameters.init(key, self.config), self.letters, self.config)
        if self.kind == "decoder":
            return as_encoder_decoder(decoder.init(key, self.config), self.letters, self.config)
        return encoder_decoder_parameters.init(key, self.config)

    @property
    def letters(self) -> Any:
        """A tree like the parameters, of dimension letters."""
        module = {"encoder": encoder_parameters, "decoder": decoder, "encoder–decoder": encoder_decoder_parameters}
        return module[self.kind].dimension_letters(self.config)

    def loss(self, params: Any, batch: Any, key: Any) -> tuple[Any, Any]:
        """Σ weight·loss in nats, and Σ weight."""
        if self.kind == "encoder–decoder":
            return encoder_decoder.loss(params, *map(jnp.asarray, batch), config=self.config, plan=self.plan)
        if self.kind == "decoder":
            tokens_BT, targets_BT, weights_BT = map(jnp.asarray, batch)
            return decoder.loss(params, tokens_BT, targets_BT, self.config, self.plan, weights_BT)
        if isinstance(batch, Windows):
            batch = masked_rows(jnp.asarray(batch.tokens_BT), key, self.config.vocab_size)
        log_p_BTV = jax.nn.log_softmax(encoder_logits(self, params, jnp.asarray(batch.tokens_BT)))
        right_BT = jnp.take_along_axis(log_p_BTV, jnp.asarray(batch.targets_BT)[..., None], axis=-1)[..., 0]
        return -(right_BT * batch.weights_BT).sum(), jnp.asarray(batch.weights_BT).sum()


def model_of(kind: ModelKind, setting: Setting, vocab_size: int) -> Model:
    """A model of the setting's size for a vocabulary."""
    d, heads = setting.d_model, setting.n_heads
    plan = make_plan(Execution(dtype="float32"))
    sizes: dict[str, Any] = {"vocab_size": vocab_size, "context_length": CONTEXT, "d_model": d, "n_heads": heads}
    if kind == "decoder":
        return Model(kind, DecoderConfig(**sizes, n_layers=4, mlp_width=5 * d, activation="gelu_tanh"), plan)
    sizes |= {"norm": "pre", "norm_epsilon": 1e-5, "activation": "gelu_tanh"}
    if kind == "encoder":
        return Model(
            kind, EncoderConfig(**sizes, n_layers=4, mlp_width=5 * d, n_segments=0, has_masked_head=True), plan
        )
    config = EncoderDecoderConfig(**sizes, n_encoder_layers=2, n_decoder_layers=2, mlp_width=4 * d)
    return Model(kind, config, plan)


def encoder_logits(model: Model, params: Any, tokens_BT: Any) -> Any:
    """The encoder's logits of every position; padding is hidden."""
    hidden_BTD = encoder.forward(params, tokens_BT, tokens_BT != PAD, model.config, model.plan)
    return encoder.masked_logits(params, hidden_BTD, model.config, model.plan)


def masked_rows(tokens_BT: Any, key: Any, vocab_size: int) -> Rows:
    """BERT's masks over windows that are cut at a random length of their second half.

    Without the cut the model would meet a [MASK] at the end of a text in one window of seven only; a continuation is
    scored there.
    """
    at_length, at_mask = jax.random.split(key)
    batch, width = tokens_BT.shape
    length_B1 = jax.random.randint(at_length, (batch, 1), width // 2, width + 1)
    tokens_BT = jnp.where(jnp.arange(width) < length_B1, tokens_BT, PAD)
    chosen = mask_tokens(at_mask, tokens_BT, tokens_BT != PAD, MASK, (SPECIAL, vocab_size))
    return Rows(chosen.inputs_BT, tokens_BT, chosen.weights_BT)


def count(params: Any, model: Model) -> int:
    """Trainable parameters; the rows that pad a decoder's vocabulary are not counted."""
    if isinstance(model.config, DecoderConfig):
        return model.config.n_parameters
    return sum(leaf.size for leaf in jax.tree.leaves(params))
