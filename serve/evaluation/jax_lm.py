"""Our decoder as a model of lm-evaluation-harness (Gao et al. 2021).

The harness asks for the log-likelihood of a continuation, the log-likelihood of a document, or a continuation.
`llm_jax.scoring` computes the first two and `llm_jax.decode.loop` the third. This module only converts requests and
answers.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import jax
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from llm_jax.config import DecoderConfig, Weights
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.decode.prompts import encode_prompt
from llm_jax.models import decoder
from llm_jax.scoring import likelihood
from llm_jax.scoring.batches import Batch, batches
from llm_jax.scoring.likelihood import score, scorer
from llm_jax.scoring.requests import encode_request, windows
from llm_jax.tokenizer import Tokenizer
from llm_jax.tokenizer.chat import NO_TEMPLATE
from serve.evaluation.answers.asked import Unit
from serve.evaluation.asking import written
from serve.models import trimmed

GENERATION_ROWS = {"cpu": 16, "gpu": 128}  # continuations in a batch
GENERATION_CHUNK = 16  # tokens between two searches for the text that ends a continuation
MAX_NEW_TOKENS = 256  # if the task sets no limit; the harness's own models have the same default

logger = logging.getLogger(__name__)


class JaxLM(LM):
    """Our decoder as a model of the harness. Each device of this process has the parameters and runs its own units."""

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
        rows = GENERATION_ROWS.get(plan.platform, GENERATION_ROWS["gpu"])
        if weights == "auto":
            scoring, generating = decoder.cast(params, config, plan), loop.prepare(params, plan)
        else:
            scoring = generating = loop.prepare(params, plan, rows, weights, consumes=True)
        # Generation chooses only ids that have a token.
        generating, self._generation_config = trimmed(generating, config, tokenizer.vocab_size)
        self._budget = likelihood.BATCH_TOKENS.get(plan.platform, likelihood.BATCH_TOKENS["gpu"])
        self._devices = jax.local_devices()
        self.n_devices, self._rows = len(self._devices), rows
        self._params = {0: (scoring, generating)}  # by the device's number
        self._copying = threading.Lock()

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def tokenizer_name(self) -> str:
        """A part of the harness's names for cached requests."""
        return self._tokenizer.name

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The messages in the model's chat template. Raises ValueError where it has none, or it refuses them."""
        if self._tokenizer.chat is None:
            raise ValueError(NO_TEMPLATE)
        return written(self._tokenizer.chat, chat_history, add_generation_prompt)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """For each (context, continuation): log-likelihood in nats, and whether greedy decoding generates it."""
        return self._all("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Log-likelihood in nats of each whole document, read in windows of the model's context."""
        return self._all("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Each context's continuation, up to the first of its `until` texts."""
        return self._all("generate_until", requests)

    def answer_tokens(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Tokens of each (context, continuation)'s continuation, as they are scored."""
        return [len(encode_request(self._tokenizer, *pair).continuation) for pair in pairs]

    def units(self, kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[Unit]:
        """The batches that answer what a method called `kind` is asked; of the same requests, always the same."""
        return getattr(self, f"_units_of_{kind}")(arguments)

    def _on(self, device: int) -> tuple[decoder.Decoder, decoder.Decoder]:
        """The parameters on a device, for scoring and for generation; copied when they are first needed there."""
        with self._copying:
            if device not in self._params:
                self._params[device] = jax.device_put(self._params[0], self._devices[device])
            return self._params[device]

    def _call(self, device: int) -> Callable[..., likelihood.TokenScores]:
        return scorer(self._on(device)[0], self._config, self._plan)

    def _all(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        answers: list[Any] = [None] * len(requests)
        for unit in self.units(kind, [request.args for request in requests]):
            for number, answer in zip(unit.numbers, unit.run(0), strict=True):
                answers[number] = answer
        return answers

    def _units_of_loglikelihood(self, arguments: Sequence[tuple[Any, ...]]) -> list[Unit]:
        requests = [encode_request(self._tokenizer, *pair) for pair in arguments]
        divided = batches(requests, self._config.context_length, budget=self._budget, share_contexts=True)
        return [Unit(one.numbers, one.tokens_BU.size, partial(self._log_likelihoods, one)) for one in divided]

    def _log_likelihoods(self, batch: Batch, device: int) -> list[tuple[float, bool]]:
        return [(one.log_likelihood, one.is_greedy) for one in likelihood.run(batch, self._call(device))]

    def _units_of_loglikelihood_rolling(self, arguments: Sequence[tuple[Any, ...]]) -> list[Unit]:
        """Documents of about a batch in all, the longest first."""
        prefix, length = encode_prompt(self._tokenizer, ""), self._config.context_length
        documents = [self._tokenizer.encode(text, allowed_special="all") for (text,) in arguments]
        groups: list[list[int]] = []
        room = 0
        for number in sorted(range(len(documents)), key=lambda n: -len(documents[n])):
            if room < len(documents[number]) or not groups:
                groups.append([])
                room = self._budget
            groups[-1].append(number)
            room -= len(documents[number])

        def run(numbers: list[int], device: int) -> list[float]:
            pieces = [list(windows(documents[number], prefix, length)) for number in numbers]
            scored = score(list(chain.from_iterable(pieces)), self._call(device), length, platform=self._plan.platform)
            assert scored is not None  # it is None only with should_stop
            remaining = iter(scored)
            return [sum(next(remaining).log_likelihood for _ in document) for document in pieces]

        return [Unit(group, sum(1 + len(documents[n]) for n in group), partial(run, group)) for group in groups]

    def _units_of_generate_until(self, arguments: Sequence[tuple[Any, ...]]) -> list[Unit]:
        groups: dict[str, list[int]] = {}
        for number, (_, settings) in enumerate(arguments):
            groups.setdefault(json.dumps(settings, sort_keys=True), []).append(number)
        units = []
        for text, numbers in groups.items():
            settings = self._settings(json.loads(text))
            numbers.sort(key=lambda n: -len(arguments[n][0]))
            for start in range(0, len(numbers), self._rows):
                batch = numbers[start : start + self._rows]
                contexts = [arguments[number][0] for number in batch]
                units.append(Unit(batch, len(batch), partial(self._generate, contexts, settings)))
        return units

    def _generate(self, contexts: Sequence[str], settings: tuple[int, list[str], Sampling], device: int) -> list[str]:
        new, until, sampling = settings
        room = self._config.context_length - new
        prompts = [encode_prompt(self._tokenizer, context)[-room:] for context in contexts]
        with jax.default_device(self._devices[device]):
            pieces = loop.stream(
                self._on(device)[1],
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
        new = requested if requested < self._config.context_length else self._config.context_length // 2
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
