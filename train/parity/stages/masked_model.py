"""Our encoder with its head for masked tokens against `BertForMaskedLM`. The masks are drawn once, for both sides."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from llm_jax.config import Execution
from llm_jax.hf import encoder as hf_encoder
from llm_jax.hf.families import bert
from llm_jax.kernels.plan import make_plan
from llm_jax.models.encoder import forward as encoder
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder.masking import mask_tokens
from llm_jax.models.encoder.parameters import dimension_letters, init
from llm_jax.models.watch import Watch, unwatched
from train.parity.stages.models_compared import PLAIN, ModelsCompared, fault_revealing
from train.parity.stages.sequences import (
    FIRST_ORDINARY,
    Pass,
    Places,
    SequenceSide,
    ids,
    lengths,
    their_losses,
)
from train.parity.stages.stream import Stream

BERT_NANO = EncoderConfig(
    vocab_size=2048, context_length=256, d_model=128, n_heads=4, n_layers=4, mlp_width=512, has_masked_head=True
)
PAD, MASK = 0, 3
RATE = 0.3  # of tokens chosen: twice BERT's, for short batches


class MaskedBatch(NamedTuple):
    inputs_BT: Any
    is_token_BT: Any
    targets_BT: Any
    weights_BT: Any


class MaskedSide(SequenceSide):
    """An `EncoderConfig` with a head for masked tokens."""

    @property
    def n_layers(self) -> int:
        return self.config.n_layers

    @property
    def letters(self) -> Any:
        return dimension_letters(self.config)

    def to_hf(self, tree: Any) -> dict[str, Any]:
        return hf_encoder.to_hf(tree, self.config)

    def by_parameter(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for row in bert.rows(self.config):
            if (tensor := tensors.get(bert.saved(row.theirs, self.config))) is not None:
                found[re.sub(r"^blocks\[(\d+)\]\.", lambda m: f"block {int(m[1]) + 1}, ", row.ours[1:])] = tensor
        return found

    def forward(self, params: Any, batch: Any, watch: Watch = unwatched) -> Pass:
        hidden_BTD = encoder.forward(params, batch.inputs_BT, batch.is_token_BT, self.config, self.plan, watch=watch)
        logits_BTV = encoder.masked_logits(params, hidden_BTD, self.config, self.plan)
        log_p_BTV = jax.nn.log_softmax(logits_BTV)
        losses_BT = -jnp.take_along_axis(log_p_BTV, batch.targets_BT[..., None], axis=-1)[..., 0]
        return Pass(logits_BTV, losses_BT, (losses_BT * batch.weights_BT).sum() / batch.weights_BT.sum())

    def their_forward(self, model: Any, batch: Any) -> Pass:
        given = (torch.as_tensor(x, device=model.device).long() for x in (batch.inputs_BT, batch.is_token_BT))
        inputs, is_token = given
        logits = model(input_ids=inputs, attention_mask=is_token).logits
        return their_losses(logits, batch.targets_BT, batch.weights_BT)

    def places(self, model: Any) -> Places:
        found: Places = {"embedding": (model.bert.embeddings, False)}
        for number, layer in enumerate(model.bert.encoder.layer, 1):
            found[f"block {number}, after attention"] = (layer.attention.output, False)
            found[f"block {number}, after MLP"] = (layer.output, False)
        return found

    def stream(self, batch: int, length: int, seed: int) -> Stream:
        is_token_BT = np.arange(length) < lengths(batch, length)[:, None]

        def load(step: int) -> Any:
            tokens_BT = np.where(is_token_BT, ids(seed, step, (batch, length), self.config.vocab_size), PAD)
            key = jax.random.fold_in(jax.random.key(seed), step)
            chosen = mask_tokens(
                key, jnp.asarray(tokens_BT), jnp.asarray(is_token_BT), MASK, (FIRST_ORDINARY, self.config.vocab_size),
                RATE,
            )  # fmt: skip
            return MaskedBatch(np.array(chosen.inputs_BT), is_token_BT, tokens_BT, np.array(chosen.weights_BT))

        return load


def drawn(config: EncoderConfig, execution: Execution, seed: int) -> ModelsCompared:
    """Both models with the same random weights."""

    @jax.jit  # one program in place of one for each operation and shape
    def draw():
        params, letters = init(jax.random.key(seed), config), dimension_letters(config)
        return fault_revealing(params, letters, config.d_model, jax.random.key(seed + 1))

    params = draw()
    ours: Any = MaskedSide(config, make_plan(execution), params)
    settings: Any = transformers.AutoConfig.for_model(**bert.write(config), **PLAIN)
    theirs: Any = transformers.BertForMaskedLM(settings)
    theirs = theirs.to(torch.float32)
    missing, unknown = theirs.load_state_dict({n: torch.tensor(t) for n, t in ours.to_hf(params).items()}, strict=False)
    theirs.tie_weights()
    assert not unknown
    assert all("decoder." in name or "position_ids" in name for name in missing), missing
    return ModelsCompared(ours, theirs.eval())
