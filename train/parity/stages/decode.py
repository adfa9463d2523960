"""Section 6: greedy decoding with the KV-cache, compared token by token.

Each model continues one prompt with its own cache. Then the float64 model reads each continuation in one pass, without
a cache. A token's *regret* is the largest float64 logit at its position minus the logit of that token. A correct
decoder has a regret of zero, or, at a near tie, at most the distance by which rounding moves two logits. So each model
is judged without the other. Where the two choose different tokens, the margin between the best two logits says whether
it was a tie.
"""

import copy
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import transformers

from llm_jax.decode.loop import generate, prepare
from llm_jax.decode.options import Sampling
from train.parity.compare import autocast
from train.parity.rounding import FORMATS, Float64
from train.parity.stages.models_compared import ModelsCompared, Ours
from train.parity.verdict import Error, Row, fingerprint, judge

SECTION = "greedy decoding"
PROMPT = 8  # tokens


@dataclass(frozen=True)
class Continuation:
    """One model's tokens; for each, in float64, its regret and the margin between the two largest logits."""

    tokens: list[int]
    regret: np.ndarray
    margin: np.ndarray


def decode_row(models: ModelsCompared, prompt: Sequence[int], n_tokens: int, logit_noise: float) -> Row:
    """One row: how many tokens differ. `logit_noise` is the root mean square error that rounding causes in a logit."""
    continuations = _our_tokens(models.ours, prompt, n_tokens), _their_tokens(models, prompt, n_tokens)
    ours, theirs = (_read_back(models, prompt, tokens) for tokens in continuations)
    return row_of(ours, theirs, logit_noise)


def row_of(ours: Continuation, theirs: Continuation, logit_noise: float) -> Row:
    """The row of two continuations."""
    n_tokens = len(ours.tokens)
    tie = math.sqrt(2) * logit_noise  # standard deviation of the difference of two logits

    def error(continuation: Continuation) -> Error:
        regret = float(continuation.regret.max())
        return Error(norm=regret, ulps=None, yardsticks=regret / tie)

    errors = error(ours), error(theirs)
    verdict = judge(errors[0])
    differ = [a != b for a, b in zip(ours.tokens, theirs.tokens, strict=True)]
    note = f"smallest top-2 margin {ours.margin.min():.2g}"
    if any(differ):
        first = differ.index(True)
        note = f"first different token: {first + 1}, where the top-2 margin is {ours.margin[first]:.2g}; {note}"
    return Row(
        section=SECTION,
        name=f"tokens that differ, of {n_tokens}",
        size=n_tokens,
        largest_absolute=float(sum(differ)),
        largest_relative=None,
        relative_norm=None,
        reference_norm=float(n_tokens),
        yardstick=tie,
        ours=errors[0],
        theirs=errors[1],
        verdict="equal" if verdict == "rounding" and not any(differ) else verdict,
        fingerprint=fingerprint(np.array(ours.tokens)),
        note=note,
    )


def _our_tokens(ours: Ours, prompt: Sequence[int], n_tokens: int) -> list[int]:
    params = prepare(ours.params, ours.plan, n_rows=1)
    return generate(params, [list(prompt)], ours.config, ours.plan, Sampling(temperature=0.0), n_tokens)[0]


@torch.no_grad()
def _their_tokens(models: ModelsCompared, prompt: Sequence[int], n_tokens: int) -> list[int]:
    model, tokens = models.theirs, []
    cache = transformers.DynamicCache(config=model.config)  # the model writes it in place
    # The argument's name depends on the version of transformers, its position on the model.
    name = next(n for n in inspect.signature(model.forward).parameters if n in ("cache", "past_key_values"))
    inputs = torch.tensor([list(prompt)], device=model.device)
    with autocast(model, FORMATS[str(models.ours.plan.dtype)]):
        for _ in range(n_tokens):
            inputs = model(inputs, use_cache=True, **{name: cache}).logits[:, -1].argmax(-1, keepdim=True)
            tokens.append(int(inputs))
    return tokens


@torch.no_grad()
def _read_back(models: ModelsCompared, prompt: Sequence[int], tokens: list[int]) -> Continuation:
    """Regret and margin of each token of a continuation, from one float64 pass over all of them."""
    ids = torch.tensor([[*prompt, *tokens[:-1]]], device=models.theirs.device)
    with Float64():
        logits_GV = copy.deepcopy(models.theirs).double()(ids, use_cache=False).logits[0, len(prompt) - 1 :]
    return continuation(tokens, logits_GV)


def continuation(tokens: list[int], logits_GV: torch.Tensor) -> Continuation:
    """Regret and margin of tokens, from the float64 logits at their positions."""
    chosen = torch.tensor(tokens, device=logits_GV.device)
    best = logits_GV.topk(2).values
    regret = best[:, 0] - logits_GV.gather(1, chosen[:, None])[:, 0]
    return Continuation(tokens, regret.cpu().numpy(), (best[:, 0] - best[:, 1]).cpu().numpy())
