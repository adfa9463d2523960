"""The model in JAX, in two ways: the full forward pass, and the decoder with its KV-cache."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.config import DecoderConfig
from llm_jax.decode import log_probabilities, loop
from llm_jax.decode.options import Sampling
from llm_jax.layers import cache as kv
from llm_jax.models import decoder
from llm_jax.scoring.likelihood import score, scorer
from llm_jax.scoring.requests import Request
from serve.agreement.answers import Answers, Continuations, Prompts
from serve.agreement.prompts import by_length

ROWS = 64  # sequences in a batch


class FullForward:
    """Greedy decoding without a cache: every pass computes the whole sequence.

    One pass over a draft gives the most likely token at every position, given the draft's tokens before it. From the
    first wrong token on, the draft is replaced by these tokens, and the pass is repeated until nothing changes. The
    result is the greedy continuation, whatever the draft was; a good draft needs fewer passes.
    """

    name = "jax full"

    def __init__(
        self, params: decoder.Decoder, config: DecoderConfig, plan: decoder.Plan, draft: np.ndarray | None = None
    ) -> None:
        self._call, self._config, self._draft = scorer(params, config, plan), config, draft
        self._platform = plan.platform

    def answer(self, prompts: Prompts, n_tokens: int, requests: Sequence[Request]) -> Answers:
        shape = (len(prompts), n_tokens)
        tokens = np.zeros(shape, np.int64) if self._draft is None else self._draft.copy()
        log_probabilities, margins = np.zeros(shape), np.zeros(shape)
        unsettled = list(range(len(prompts)))
        while unsettled:
            scored = self._score([Request(prompts[row], tokens[row].tolist()) for row in unsettled])
            changed = []
            for row, answer in zip(unsettled, scored, strict=True):
                log_probabilities[row], margins[row] = answer.log_probabilities, answer.margins
                wrong = np.flatnonzero(answer.best != tokens[row])
                if len(wrong):
                    tokens[row, wrong[0] :] = answer.best[wrong[0] :]
                    changed.append(row)
            unsettled = changed
        likelihoods = np.array([answer.log_likelihood for answer in self._score(requests)]) if requests else None
        return Answers(Continuations(tokens, log_probabilities, margins), likelihoods)

    def _score(self, requests: Sequence[Request]):
        answers = score(requests, self._call, self._config.context_length, platform=self._platform)
        assert answers is not None  # it is None only with should_stop
        return answers


class CachedDecode:
    """The decoder of `serve api`: its tokens, and the log-probabilities of the same steps with the same cache."""

    name = "jax cached"

    def __init__(
        self, params: decoder.Decoder, config: DecoderConfig, plan: decoder.Plan, name: str = "jax cached"
    ) -> None:
        self._params, self._config, self._plan, self.name = params, config, plan, name

    def answer(self, prompts: Prompts, n_tokens: int, requests: Sequence[Request]) -> Answers:
        """Continuations only: this model does not score the requests."""
        shape = (len(prompts), n_tokens)
        tokens, log_probabilities, margins = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape)
        for rows in by_length(prompts, ROWS):
            batch = [list(prompts[row]) for row in rows]
            chosen = loop.generate(self._params, batch, self._config, self._plan, Sampling(temperature=0.0), n_tokens)
            tokens[rows] = chosen
            scores = _cached_scores(self._params, jnp.array(batch), jnp.array(chosen), self._config, self._plan)
            log_probabilities[rows], margins[rows] = map(np.asarray, scores)
        return Answers(Continuations(tokens, log_probabilities, margins))


@partial(jax.jit, static_argnames=("config", "plan"))
def _cached_scores(params: decoder.Decoder, prompts_BT, chosen_BG, config: DecoderConfig, plan: decoder.Plan):
    """Log-probabilities and margins (B, G) of given tokens, computed one by one after a prefill."""
    batch, length = prompts_BT.shape
    cache = decoder.empty_cache(config, batch, length, plan.dtype)
    hidden_BTD, cache = decoder.forward(params, prompts_BT, config, plan, cache)
    assert cache is not None
    cache = kv.extend(cache, length + chosen_BG.shape[1])

    def step(carry, token_B):
        cache, hidden_BD = carry
        logits_BV = decoder.logits(params, hidden_BD, config, plan)
        chosen_B = log_probabilities.of_tokens(logits_BV, token_B)
        _, margin_B = log_probabilities.best_and_margin(logits_BV)
        hidden_BTD, cache = decoder.forward(params, token_B[:, None], config, plan, cache)
        return (cache, hidden_BTD[:, 0]), (chosen_B, margin_B)

    _, (log_probabilities_GB, margins_GB) = jax.lax.scan(step, (cache, hidden_BTD[:, -1]), chosen_BG.T)
    return log_probabilities_GB.T, margins_GB.T
