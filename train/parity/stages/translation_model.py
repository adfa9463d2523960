"""Our encoder–decoder against `MarianMTModel`, whose equations are those of Vaswani et al. 2017.

Both are post-norm, with sinusoids and one scaled embedding. The loss has smoothed labels. Decoding is greedy, each side
with its own cache: a token's regret is judged by the float64 model, as for decoders (`stages.decode`).
"""

import copy
import dataclasses
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from llm_jax.config import Execution
from llm_jax.decode.transduce import Search, transduce
from llm_jax.hf.families import marian
from llm_jax.hf.names import tensors_of
from llm_jax.kernels.plan import make_plan
from llm_jax.models.encoder_decoder import forward as model
from llm_jax.models.encoder_decoder.config import EncoderDecoderConfig
from llm_jax.models.encoder_decoder.parameters import dimension_letters, init
from llm_jax.models.watch import Watch, unwatched
from train.optim.optimizer import is_hidden_matrix
from train.parity.compare import autocast
from train.parity.rounding import FORMATS, Float64
from train.parity.stages.decode import Continuation, continuation
from train.parity.stages.models_compared import PLAIN, ModelsCompared, fault_revealing
from train.parity.stages.sequences import Pass, Places, SequenceSide, ids, lengths, their_losses
from train.parity.stages.stream import Stream

MARIAN_NANO = EncoderDecoderConfig(
    vocab_size=2048, context_length=256, d_model=128, n_heads=4, n_encoder_layers=2, n_decoder_layers=2, mlp_width=512
)
PAD, BEGIN, END = 0, 1, 2
SMOOTHING = 0.1
# So that a random model does not only repeat its last token, whose embedding is in its stream and in the head.
LARGER, SMALLER = 1.2, 0.3
# So that the encoder's tokens stay apart: random attention makes them alike, and it matters little who is looked at.
LESS_MIXED = 0.1


class TranslationBatch(NamedTuple):
    source_BS: Any
    is_source_BS: Any
    target_BU: Any  # begin, target, padding: one more than predicted
    weights_BT: Any


class TranslationSide(SequenceSide):
    """An `EncoderDecoderConfig`."""

    @property
    def n_layers(self) -> int:
        return self.config.n_encoder_layers + self.config.n_decoder_layers

    @property
    def letters(self) -> Any:
        return dimension_letters(self.config)

    def to_hf(self, tree: Any) -> dict[str, Any]:
        return tensors_of(tree, marian.rows(self.config), partial(marian.shape, config=self.config))

    def by_parameter(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for row in marian.rows(self.config):
            if (tensor := tensors.get(row.theirs)) is not None:
                path = re.sub(r"^(\w+)_blocks\[(\d+)\]\.", lambda m: f"{m[1]} block {int(m[2]) + 1}, ", row.ours[1:])
                found[path] = tensor
        return found

    def forward(self, params: Any, batch: Any, watch: Watch = unwatched) -> Pass:
        config, plan, targets_BT = self.config, self.plan, batch.target_BU[:, 1:]
        memory = model.read(params, batch.source_BS, batch.is_source_BS, config, plan, watch=watch)
        hidden_BTD, _ = model.decode(params, batch.target_BU[:, :-1], memory, config, plan, watch=watch)
        logits_BTV = model.logits(params, hidden_BTD)
        log_p_BTV = jax.nn.log_softmax(logits_BTV)
        right_BT = jnp.take_along_axis(log_p_BTV, targets_BT[..., None], axis=-1)[..., 0]
        losses_BT = -(1 - SMOOTHING) * right_BT - SMOOTHING * log_p_BTV.mean(axis=-1)
        total, weight = model.loss(params, *batch, config=config, plan=plan, smoothing=SMOOTHING)  # what training calls
        return Pass(logits_BTV, losses_BT, total / weight)

    def their_forward(self, model: Any, batch: Any) -> Pass:
        given = (batch.source_BS, batch.is_source_BS, batch.target_BU)
        source, is_source, target = (torch.as_tensor(x, device=model.device).long() for x in given)
        out = model(input_ids=source, attention_mask=is_source, decoder_input_ids=target[:, :-1], use_cache=False)
        return their_losses(out.logits, batch.target_BU[:, 1:], batch.weights_BT, SMOOTHING)

    def places(self, model: Any) -> Places:
        found: Places = {}
        inner = model.model
        for side, name in (("source", "encoder"), ("target", "decoder")):
            layers = getattr(inner, name).layers
            found[f"{side} embedding"] = (layers[0], True)
            for number, layer in enumerate(layers, 1):
                block = f"{name} block {number}"
                found[f"{block}, after attention"] = (layer.self_attn_layer_norm, False)
                if name == "decoder":
                    found[f"{block}, after attention to the source"] = (layer.encoder_attn_layer_norm, False)
                found[f"{block}, after MLP"] = (layer.final_layer_norm, False)
        return found

    def stream(self, batch: int, length: int, seed: int) -> Stream:
        is_source_BS = np.arange(length) < lengths(batch, length)[:, None]
        is_target_BT = is_source_BS[::-1].copy()  # long sources have short targets

        def load(step: int) -> Any:
            drawn = ids(seed, step, (batch, 2 * length), self.config.vocab_size)
            source_BS = np.where(is_source_BS, drawn[:, :length], PAD)
            target_BT = np.where(is_target_BT, drawn[:, length:], PAD)
            target_BU = np.concatenate([np.full((batch, 1), BEGIN, np.int32), target_BT], axis=1)
            return TranslationBatch(source_BS, is_source_BS, target_BU, is_target_BT.astype(np.float32))

        return load


def _less_mixed(block: Any) -> Any:
    out = jax.tree.map(lambda leaf: LESS_MIXED * leaf, block.attention.out)
    return dataclasses.replace(block, attention=dataclasses.replace(block.attention, out=out))


def drawn(config: EncoderDecoderConfig, execution: Execution, seed: int) -> ModelsCompared:
    """Both models with the same random weights."""

    @jax.jit  # one program in place of one for each operation and shape
    def draw():
        params, letters = init(jax.random.key(seed), config), dimension_letters(config)
        params = fault_revealing(params, letters, config.d_model, jax.random.key(seed + 1), deviation=None)
        params = jax.tree.map(lambda axes, leaf: LARGER * leaf if is_hidden_matrix(axes) else leaf, letters, params)
        blocks = tuple(_less_mixed(block) for block in params.encoder_blocks)
        return dataclasses.replace(params, token_embedding=SMALLER * params.token_embedding, encoder_blocks=blocks)

    params = draw()
    ours: Any = TranslationSide(config, make_plan(execution), params)
    settings: Any = transformers.AutoConfig.for_model(**marian.write(config, PAD, BEGIN, END), **PLAIN)
    theirs: Any = transformers.MarianMTModel(settings)
    theirs = theirs.to(torch.float32)
    missing, unknown = theirs.load_state_dict({n: torch.tensor(t) for n, t in ours.to_hf(params).items()}, strict=False)
    theirs.tie_weights()
    assert not unknown
    assert all(re.search("embed_tokens|embed_positions|lm_head|final_logits_bias", name) for name in missing), missing
    return ModelsCompared(ours, theirs.eval())


def continuations(models: ModelsCompared, batch: Any, n_tokens: int) -> tuple[Continuation, Continuation]:
    """Greedy targets of the first source by our model and by PyTorch's, each judged in float64."""
    source, is_source = batch.source_BS[:1], batch.is_source_BS[:1]
    ours, never = models.ours, -1  # no token ends: all tokens are compared
    found = transduce(
        ours.params, jnp.asarray(source), jnp.asarray(is_source), ours.config, ours.plan, Search(BEGIN, never, n_tokens)
    )
    written = [int(token) for token in found.tokens_BKG[0, 0]]
    given = [torch.as_tensor(x, device=models.theirs.device).long() for x in (source, is_source)]
    theirs = _their_tokens(models, given, n_tokens)
    return _judged(models, given, written), _judged(models, given, theirs)


@torch.no_grad()
def _their_tokens(models: ModelsCompared, given: list[torch.Tensor], n_tokens: int) -> list[int]:
    theirs: Any = models.theirs
    with autocast(theirs, FORMATS[str(models.ours.plan.dtype)]):
        out = theirs.generate(
            given[0], attention_mask=given[1], max_new_tokens=n_tokens, min_new_tokens=n_tokens, num_beams=1,
            do_sample=False, eos_token_id=None, use_cache=True,
        )  # fmt: skip
    return out[0, 1:].tolist()


@torch.no_grad()
def _judged(models: ModelsCompared, given: list[torch.Tensor], tokens: list[int]) -> Continuation:
    target = torch.tensor([[BEGIN, *tokens[:-1]]], device=models.theirs.device)
    double: Any = copy.deepcopy(models.theirs).double()
    with Float64():
        out = double(input_ids=given[0], attention_mask=given[1], decoder_input_ids=target, use_cache=False)
    return continuation(tokens, out.logits[0])
