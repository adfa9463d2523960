"""Our decoder as a model of lm-evaluation-harness (Gao et al. 2021).

The harness asks for the log-likelihood of a continuation, the log-likelihood of a document, or a continuation.
`llm_jax.scoring` computes the first two and `llm_jax.decode.loop` the third. This module only converts requests and
answers.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from tqdm import tqdm

from llm_jax.config import DecoderConfig, Weights
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.decode.prompts import encode_prompt
from llm_jax.models import decoder
from llm_jax.scoring.likelihood import Scored, score, scorer
from llm_jax.scoring.requests import Request, encode_request, windows
from llm_jax.tokenizer import Tokenizer
from serve.models import trimmed

GENERATION_ROWS = {"cpu": 16, "gpu": 128}  # continuations in a batch
GENERATION_CHUNK = 16  # tokens between two searches for the text that ends a continuation
MAX_NEW_TOKENS = 256  # if the task sets no limit; the harness's own models have the same default

logger = logging.getLogger(__name__)


class JaxLM(LM):
    """Our decoder as a model of the harness."""

    def __init__(
        self,
        params: decoder.Decoder,
        config: DecoderConfig,
        tokenizer: Tokenizer,
        plan: decoder.Plan,
        weights: Weights = "auto",
    ) -> None:
        """`weights`: number format of the weights; in any but "auto" the given parameters are used up."""
        super().__init__()
        self._config, self._tokenizer, self._plan = config, tokenizer, plan
        if weights == "auto":
            scoring, generating = decoder.cast(params, config, plan), loop.prepare(params, plan)
        else:
            rows = GENERATION_ROWS.get(plan.platform, GENERATION_ROWS["gpu"])
            scoring = generating = loop.prepare(params, plan, rows, weights, consumes=True)
        self._call = scorer(scoring, config, plan)
        # Generation chooses only ids that have a token.
        self._generation_params, self._generation_config = trimmed(generating, config, tokenizer.vocab_size)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """For each (context, continuation): log-likelihood in nats, and whether greedy decoding generates it."""
        answers = self._score([encode_request(self._tokenizer, *request.args) for request in requests])
        return [(answer.log_likelihood, answer.is_greedy) for answer in answers]

    def answer_tokens(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Tokens of each (context, continuation)'s continuation, as they are scored."""
        return [len(encode_request(self._tokenizer, *pair).continuation) for pair in pairs]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Log-likelihood in nats of each whole document, read in windows of the model's context."""
        prefix, length = encode_prompt(self._tokenizer, ""), self._config.context_length
        pieces = [
            list(windows(self._tokenizer.encode(request.args[0], allowed_special="all"), prefix, length))
            for request in requests
        ]
        answers = iter(self._score([piece for document in pieces for piece in document]))
        return [sum(next(answers).log_likelihood for _ in document) for document in pieces]

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Each context's continuation, up to the first of its `until` texts."""
        texts = [""] * len(requests)
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(number)
        rows = GENERATION_ROWS.get(self._plan.platform, GENERATION_ROWS["gpu"])
        with tqdm(total=len(requests), desc="continuations", disable=None) as bar:
            for settings, numbers in groups.items():
                numbers.sort(key=lambda n: -len(requests[n].args[0]))
                for start in range(0, len(numbers), rows):
                    batch = numbers[start : start + rows]
                    contexts = [requests[n].args[0] for n in batch]
                    for number, text in zip(batch, self._generate(contexts, json.loads(settings)), strict=True):
                        texts[number] = text
                    bar.update(len(batch))
        return texts

    def _score(self, requests: Sequence[Request]) -> list[Scored]:
        with tqdm(total=len(requests), desc="log-likelihoods", disable=None) as bar:
            length, platform = self._config.context_length, self._plan.platform
            answers = score(requests, self._call, length, progress=bar.update, platform=platform)
        assert answers is not None  # it is None only with should_stop
        return answers

    def _generate(self, contexts: Sequence[str], settings: dict[str, Any]) -> list[str]:
        new, until, sampling = self._settings(settings)
        room = self._config.context_length - new
        prompts = [encode_prompt(self._tokenizer, context)[-room:] for context in contexts]
        pieces = loop.stream(
            self._generation_params,
            prompts,
            self._generation_config,
            self._plan,
            sampling,
            new,
            self._tokenizer.borders.stops,
            GENERATION_CHUNK,
        )
        return [_before(text, until) for text in self._read(pieces, len(prompts), until)]

    def _read(self, pieces: Iterator[list[list[int]]], rows: int, until: list[str]) -> list[str]:
        """Decodes until every row has one of the texts that end it, or all rows have stopped."""
        ids: list[list[int]] = [[] for _ in range(rows)]
        texts = [""] * rows
        for piece in pieces:
            for row, new in zip(ids, piece, strict=True):
                row += new
            texts = [self._tokenizer.decode(row) for row in ids]
            # A row whose last piece is empty has stopped at a token that ends a text.
            if all(not new or any(stop in text for stop in until) for new, text in zip(piece, texts, strict=True)):
                break
        return texts

    def _settings(self, settings: dict[str, Any]) -> tuple[int, list[str], Sampling]:
        """A task's `generation_kwargs` as number of new tokens, stop texts and sampling settings."""
        names = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
        requested = next((int(settings[name]) for name in names if settings.get(name) is not None), MAX_NEW_TOKENS)
        new = min(requested, self._config.context_length // 2)
        if new < requested:
            logger.warning("the task asks for %d new tokens; it gets %d, half of the model's context", requested, new)
        until = settings.get("until") or []
        until = [until] if isinstance(until, str) else list(until)
        temperature = float(settings.get("temperature") or 0.0)
        do_sample = settings.get("do_sample", temperature > 0)
        sampling = Sampling(
            temperature=temperature if do_sample else 0.0,
            top_k=int(settings.get("top_k") or 0) if do_sample else 0,
            top_p=float(settings.get("top_p") or 1.0) if do_sample else 1.0,
        )
        return new, [stop for stop in until if stop], sampling


def _before(text: str, until: Sequence[str]) -> str:
    for stop in until:
        text = text.split(stop)[0]
    return text
