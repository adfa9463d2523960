"""transformers' class on the export, in float32: its `generate` and its forward pass."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.scoring.requests import Request
from serve.agreement.answers import Answers, Continuations, Prompts
from serve.agreement.prompts import by_length

ROWS = 32  # sequences in a batch
CURE = "install it: `uv pip install torch transformers`"


class Transformers:
    """The model in transformers, with its adapter in PEFT if there is one.

    Raises:
        ImportError: PyTorch, transformers or (for an adapter) PEFT is not installed; names the cure.
    """

    def __init__(self, directory: Path, adapter: Path | None = None) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM
            from transformers.utils import logging
        except ImportError as error:
            raise ImportError(f"{error}; {CURE}") from None
        logging.disable_progress_bar()
        self._torch = torch
        self._model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        self.name = "transformers"
        if adapter is not None:
            try:
                from peft import PeftModel
            except ImportError as error:
                raise ImportError(f"{error}; install it: `uv pip install peft`") from None
            self.name = "peft"
            self._model = PeftModel.from_pretrained(self._model, adapter).eval()
        # All programs generate the same number of tokens, so a token that ends a text must not end the answer.
        self._model.generation_config.eos_token_id = None
        self._model.generation_config.pad_token_id = 0

    def answer(self, prompts: Prompts, n_tokens: int, requests: Sequence[Request]) -> Answers:
        torch, shape = self._torch, (len(prompts), n_tokens)
        tokens, log_probabilities, margins = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape)
        with torch.inference_mode():
            for rows in by_length(prompts, ROWS):
                ids = torch.tensor([list(prompts[row]) for row in rows])
                out = self._model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=n_tokens,
                    do_sample=False,
                    output_logits=True,
                    return_dict_in_generate=True,
                )
                chosen = out.sequences[:, ids.shape[1] :]
                table = torch.stack(out.logits, dim=1).log_softmax(-1)
                top = table.topk(2).values
                tokens[rows] = chosen.numpy()
                log_probabilities[rows] = table.gather(-1, chosen[..., None])[..., 0].numpy()
                margins[rows] = (top[..., 0] - top[..., 1]).numpy()
            likelihoods = np.array(self._score(requests)) if requests else None
        return Answers(Continuations(tokens, log_probabilities, margins), likelihoods)

    def _score(self, requests: Sequence[Request]) -> list[float]:
        torch, log_likelihoods = self._torch, [0.0] * len(requests)
        whole = [[*request.context, *request.continuation] for request in requests]
        for numbers in by_length(whole, ROWS):
            ids = torch.tensor([whole[number] for number in numbers])
            table = self._model(ids[:, :-1]).logits.log_softmax(-1)
            each = table.gather(-1, ids[:, 1:, None])[..., 0]
            for row, number in zip(each, numbers, strict=True):
                log_likelihoods[number] = float(row[-len(requests[number].continuation) :].double().sum())
        return log_likelihoods
