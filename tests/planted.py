"""Faults planted in our side, one at a time, to see that the comparison with PyTorch finds each where it is.

These are GPT-2's; `planted_llama` has those that only a Llama can have. `python tests/planted.py` prints, for each of
both, what the comparison shows for a tiny model: the figures of docs/numerics.md.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import torch
from planted_llama import LLAMA, LLAMA_FAULTS
from planting import AFTER_ATTENTION, AFTER_MLP, EMBEDDING, LOGITS, Fault, changing, computing, first_wrong, replacing

from llm_jax.config import DecoderConfig, Execution
from llm_jax.kernels import loss as fused_loss
from llm_jax.layers import loss
from llm_jax.layers.attention import attend
from llm_jax.layers.mlp import gelu
from llm_jax.models import decoder
from train.optim import optimizer
from train.parity.comparison import Comparison
from train.parity.report.terminal import number
from train.parity.stages import model, step
from train.parity.stages.models_compared import ModelsCompared, drawn
from train.parity.stages.stream import drawn as drawn_stream
from train.parity.verdict import Verdict

# Every part of a GPT-2, and a vocabulary that is padded; heads of 16, so that 1/√H is not 1.
TINY = DecoderConfig(vocab_size=211, context_length=48, d_model=32, n_heads=2, n_layers=2)
# Sums long enough to tell whether they are kept in bfloat16 or in float32.
WIDE = dataclasses.replace(TINY, d_model=256)


def _epsilon(ours):
    return dataclasses.replace(ours, config=dataclasses.replace(ours.config, norm_epsilon=1e-6))


def _other_weights(ours):
    return dataclasses.replace(ours, params=decoder.init(jax.random.key(99), ours.config))


def _transposed_projection(ours):
    def transpose(block: decoder.Block) -> decoder.Block:
        weight_NHD = block.attention.out.weight
        out = dataclasses.replace(block.attention.out, weight=weight_NHD.reshape(-1, weight_NHD.shape[-1]).T)
        out = dataclasses.replace(out, weight=out.weight.reshape(weight_NHD.shape))
        return dataclasses.replace(block, attention=dataclasses.replace(block.attention, out=out))

    blocks = tuple(map(transpose, ours.params.blocks))
    return dataclasses.replace(ours, params=dataclasses.replace(ours.params, blocks=blocks))


def _positions_off_by_one(forward, params, *arguments, **more):
    position = jnp.roll(params.position_embedding, -1, axis=0)
    return forward(dataclasses.replace(params, position_embedding=position), *arguments, **more)


def _inverted_mask(_, q, k, v):
    return attend(q, k, v, ~jnp.tril(jnp.ones((1, q.shape[1], q.shape[1]), bool)))


def _unscaled(causal_attend, q, k, v):
    return causal_attend(q * q.shape[-1] ** 0.5, k, v)


def _other_head(logits_of, hidden, head, vocab_size):
    return logits_of(hidden, jnp.roll(head, 1, axis=0), vocab_size)


def _untrained_head(loss, params, tokens, targets, config, plan, weights=None):
    trained = plan.kernels.cross_entropy

    def cross_entropy(hidden, head, *arguments):
        return trained(hidden, jax.lax.stop_gradient(head), *arguments)

    plan = plan._replace(kernels=plan.kernels._replace(cross_entropy=cross_entropy))
    return loss(params, tokens, targets, config, plan, weights)


@contextlib.contextmanager
def _padding_seen(models: ModelsCompared) -> Iterator[ModelsCompared]:
    with (
        patch.object(loss, "without_padding", lambda logits, vocab_size: logits),
        patch.object(fused_loss, "without_padding", lambda logits, vocab_size: logits),
    ):
        yield models


def _tf32(linear, layer, x, n_inputs=1):
    """A GPU's TF32: the operands of a matrix product keep 10 bits of their mantissa."""
    weight, x = (jax.lax.reduce_precision(a, exponent_bits=8, mantissa_bits=10) for a in (layer.weight, x))
    return linear(dataclasses.replace(layer, weight=weight), x, n_inputs)


def _undivided(accumulate, params, tokens_ABT, config, plan):
    return jax.tree.map(lambda x: x * tokens_ABT.shape[0], accumulate(params, tokens_ABT, config, plan))


def _dropped(mlp, layer, x, *functions):
    kept = jax.random.bernoulli(jax.random.key(0), 0.9, x.shape)
    return jnp.where(kept, mlp(layer, x, *functions) / 0.9, 0)


def _uncorrected_epsilon(scale_by_adam, beta_1, beta_2, epsilon):
    """ε added to √v as it is and not to √v̂, Kingma & Ba's second form: at the first step ε/√(1 − β₂) instead of ε."""
    return scale_by_adam(beta_1, beta_2, epsilon / (1 - beta_2) ** 0.5)


def _bfloat16_sums(linear, layer, x, n_inputs=1):
    """A matrix product whose running sum is rounded to bfloat16 at every term."""
    weight = layer.weight.reshape(-1, *layer.weight.shape[n_inputs:]).astype(x.dtype)
    flat = x.reshape(*x.shape[: x.ndim - n_inputs], weight.shape[0])

    def add(total, terms):
        x, row = terms
        return (total + jnp.tensordot(x, row, 0)).astype(jnp.bfloat16), None

    start = jnp.zeros(flat.shape[:-1] + weight.shape[1:], jnp.bfloat16)
    total, _ = jax.lax.scan(add, start, (jnp.moveaxis(flat, -1, 0), weight))
    return total + layer.bias.astype(x.dtype)


def _fused_adamw(their_optimizer, parameters, config):
    groups = [
        {name: group[name] for name in ("params", "weight_decay")}
        for group in their_optimizer(parameters, config).param_groups
    ]
    betas = (config.beta_1, config.beta_2)
    return torch.optim.AdamW(groups, config.learning_rate, betas, config.adam_epsilon, fused=True)


FAULTS = (
    Fault(
        "exact instead of tanh GELU",
        computing(gelu_tanh=lambda gelu_tanh, x: gelu(x)),
        ("operations", "tanh GELU"),
        AFTER_MLP,
    ),
    Fault("ε 1e-6 instead of 1e-5", changing(_epsilon), ("operations", "layer norm"), AFTER_ATTENTION),
    Fault(
        "positions off by one",
        replacing(decoder, "forward", _positions_off_by_one),
        ("operations", "embedding"),
        EMBEDDING,
    ),
    Fault(
        "inverted causal mask",
        computing(causal_attend=_inverted_mask),
        ("operations", "attention"),
        AFTER_ATTENTION,
    ),
    Fault("missing 1/√H", computing(causal_attend=_unscaled), ("operations", "attention"), AFTER_ATTENTION),
    Fault("head is another matrix", computing(logits_of=_other_head), LOGITS),
    Fault("head is not trained", replacing(decoder, "loss", _untrained_head), ("gradients", "token_embedding")),
    Fault(
        "decay on biases and gains",
        replacing(optimizer, "is_matrix", lambda is_matrix, letters: True),
        ("AdamW step", "norm.gain"),
    ),
    Fault(
        "ε before Adam's bias correction",
        replacing(optimizer, "scale_by_adam", _uncorrected_epsilon),
        ("AdamW step", "token_embedding"),
    ),
    Fault("dropout of 0.1 left on", replacing(decoder, "mlp", _dropped), AFTER_MLP),
    Fault(
        "accumulation forgets to divide",
        replacing(model, "accumulate_gradients", _undivided),
        ("accumulated gradients", "token_embedding"),
    ),
    Fault("each side draws its own weights", changing(_other_weights), EMBEDDING),
    Fault("square projection transposed", changing(_transposed_projection), AFTER_ATTENTION),
    Fault(
        "softmax over the padded vocabulary",
        _padding_seen,
        ("operations", "cross-entropy"),
        ("activations", "loss of each token"),
    ),
    Fault("TF32 matrix products", computing(linear=_tf32), ("operations", "tanh GELU"), AFTER_ATTENTION),
)

# Not a fault: another order of the same operations, on PyTorch's side.
FUSED_ADAMW = replacing(step, "their_optimizer", _fused_adamw)


# All of the blocks' matrix products sum in bfloat16: for a comparison in bfloat16, of a model as wide as WIDE.
bfloat16_sums = computing(linear=_bfloat16_sums)


def _print_figures() -> None:
    """A Markdown table: where each fault is found in TINY, and what it does to logits and loss."""
    clean = _comparison(TINY, "float32")
    print("| fault | first wrong row | yardsticks | logits | loss |\n|---|---|---|---|---|")
    _print_each(FAULTS, clean)
    _print_each(LLAMA_FAULTS, _comparison(LLAMA, "float32"))
    wide = _comparison(WIDE, "bfloat16")
    with bfloat16_sums(wide.models) as faulty:
        _print_figure("bfloat16 sums, in bfloat16", wide.against(faulty.ours), "suspicious")
    with FUSED_ADAMW(clean.models):
        rows = _comparison(TINY, "float32").given_step()
    worst = max((row for row in rows), key=lambda row: row.ours.yardsticks)
    print(f"| PyTorch's AdamW fused | none: {worst.verdict} at most | {number(worst.ours.yardsticks)} | 0 | 0 |")


def _print_each(faults: Sequence[Fault], clean: Comparison) -> None:
    for fault in faults:
        with fault.plant(clean.models) as faulty:
            _print_figure(fault.name, clean.against(faulty.ours))


def _comparison(config: DecoderConfig, dtype: Any) -> Comparison:
    models = drawn(config, Execution(dtype=dtype, loss_chunks=2), seed=0)
    return Comparison(models, drawn_stream(config.vocab_size, batch=2, length=16, seed=0))


def _print_figure(name: str, comparison: Comparison, least: Verdict = "wrong") -> None:
    row = first_wrong(comparison, least)
    assert row is not None
    moved = {row.name: number(row.largest_absolute) for row in comparison.activations()}
    figures = number(row.ours.yardsticks), moved["logits"], moved["mean loss"]
    where = f"{row.section}: {row.name}" + (f" ({row.verdict})" if row.verdict != "wrong" else "")
    print(f"| {name} | {where} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    _print_figures()
