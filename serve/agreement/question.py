"""The model that is compared, and the questions for every program."""

import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from llm_jax import adapters, hf
from llm_jax.config import Execution
from llm_jax.models import decoder
from llm_jax.runs import ADAPTER, EXPORT, is_run
from llm_jax.scoring import hellaswag
from llm_jax.scoring.requests import cut
from serve import models
from serve.agreement.config import AgreementConfig
from serve.agreement.prompts import read_prompts, write_prompts


class Question:
    """Parameters, the Hugging Face directory of the same model, prompts, and texts to score.

    With an adapter, `params` are merged, `unmerged` has the adapter beside the weights, `directory` is the base's and
    `adapter` PEFT's.
    """

    unmerged: decoder.Decoder | None = None
    adapter: Path | None = None

    def __init__(self, config: AgreementConfig, stack: ExitStack) -> None:
        """Loads the model; `stack` removes temporary exports.

        Raises:
            FileNotFoundError, ValueError: as `load_model`, `load_adapter`, `read_prompts` and `hellaswag.read_items`.
        """
        model = models.load_model(config.model, config.step, whole=True)  # the other programs keep the whole vocabulary
        self.name, self.config, self.params = model.name, model.config, model.params
        self._tokenizer, self._stack = model.tokenizer, stack
        self.plan = decoder.make_plan(Execution(dtype="float32"))
        self.directory = _directory(config, stack)
        if config.adapter is not None:
            found, lora = hf.load_adapter(config.adapter, self.config, model.params)
            self.name = f"{model.name} + {config.adapter.name}"
            self.params = adapters.merge(model.params, found, self.config, lora)
            self.unmerged = adapters.attach(model.params, found, self.config, lora)
            self.adapter = config.adapter
            if is_run(config.adapter):
                self.adapter = hf.export_adapter(config.adapter, _temporary(stack) / ADAPTER).out
        if config.prompt_file:
            lines = config.prompt_file
            self.prompts = read_prompts(lines, self.config, model.tokenizer, config.prompts, config.tokens)
        else:
            self.prompts = write_prompts(
                self.params, self.config, model.tokenizer, self.plan, config.prompts, config.tokens
            )
        self.items = hellaswag.read_items(config.hellaswag, limit=config.items) if config.hellaswag else []
        # vLLM generates a token after every text that it scores, so texts get two positions fewer than the model has.
        self.requests = [
            cut(request, self.config.context_length - 2) for request in hellaswag.encode(self.items, model.tokenizer)
        ]

    @cached_property
    def merged_directory(self) -> Path:
        """The export of `params`, for programs that know no adapters of this family."""
        readme = f"{self.name}, merged"
        return hf.export(self.params, self.config, self._tokenizer, _temporary(self._stack) / EXPORT, readme).out


def _directory(config: AgreementConfig, stack: ExitStack) -> Path:
    path = Path(config.model)
    if not is_run(path):
        return path
    return hf.export_run(path, _temporary(stack) / EXPORT, config.step).out


def _temporary(stack: ExitStack) -> Path:
    """A folder that `stack` removes."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-jax-export-")))
