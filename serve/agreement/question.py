"""The model that is compared, and the questions for every program."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from llm_jax import hf
from llm_jax.config import Execution
from llm_jax.models import decoder
from llm_jax.runs import EXPORT, is_run
from llm_jax.scoring import hellaswag
from llm_jax.scoring.requests import cut
from serve import models
from serve.agreement.config import AgreementConfig
from serve.agreement.prompts import read_prompts, write_prompts


class Question:
    """Parameters, the Hugging Face directory of the same model, prompts, and texts to score."""

    def __init__(self, config: AgreementConfig, stack: ExitStack) -> None:
        """Loads the model; `stack` removes the temporary export of a run.

        Raises:
            FileNotFoundError, ValueError: as `load_model`, `read_prompts` and `hellaswag.read_items`.
        """
        model = models.load_model(config.model, config.step, whole=True)  # the other programs keep the whole vocabulary
        self.name, self.config, self.params = model.name, model.config, model.params
        self.plan = decoder.make_plan(Execution(dtype="float32"))
        self.directory = _directory(config, stack)
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


def _directory(config: AgreementConfig, stack: ExitStack) -> Path:
    path = Path(config.model)
    if not is_run(path):
        return path
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-jax-export-")))
    return hf.export_run(path, folder / EXPORT, config.step).out
