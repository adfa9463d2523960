"""Asks the programs one after the other: ours first, then those that the user names, or that are installed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from serve.agreement import jax_models, vllm_models
from serve.agreement.answers import Answers, ComparedModel
from serve.agreement.config import MODEL_NAMES, AgreementConfig
from serve.agreement.question import Question
from serve.agreement.transformers_model import Transformers


def ask_all(
    config: AgreementConfig,
    question: Question,
    stack: ExitStack,
    tell: Callable[[str], object],
) -> dict[str, Answers]:
    """Every program's answers, by the program's name.

    A program that is not installed is left out, and `tell` gets its name and the cure. `stack` ends the servers.

    Raises:
        ImportError, FileNotFoundError, ValueError: a program that `config.sides` names cannot run.
    """
    answers: dict[str, Answers] = {}
    for name, open_model in _openers(config, question, answers, stack):
        try:
            model = open_model()
        except (ImportError, FileNotFoundError, ValueError) as error:
            if name in config.sides:
                raise
            tell(f"left out: {name}: {error}")
            continue
        tell(f"{model.name} …")
        answers[model.name] = model.answer(question.prompts, config.tokens, question.requests)
    return answers


def _openers(
    config: AgreementConfig, question: Question, answers: dict[str, Answers], stack: ExitStack
) -> Iterator[tuple[str, Callable[[], ComparedModel]]]:
    """Each program's name and the function that opens it. The cached decoder's answer is the full pass's draft."""
    ours = (question.params, question.config, question.plan)
    yield "jax", lambda: jax_models.CachedDecode(*ours)
    draft = answers[jax_models.CachedDecode.name].continuations.tokens
    yield "jax", lambda: jax_models.FullForward(*ours, draft)
    if (unmerged := question.unmerged) is not None:
        yield "jax", lambda: jax_models.CachedDecode(unmerged, *ours[1:], name="jax unmerged")
    requested = config.sides or MODEL_NAMES
    if "transformers" in requested:
        yield "transformers", lambda: Transformers(question.directory, question.adapter)
    for_vllm = lambda: vllm_models.served(question.directory, question.adapter, lambda: question.merged_directory)  # noqa: E731
    if "vllm" in requested:
        yield "vllm", lambda: vllm_models.open_engine(*for_vllm(), question.config, config.python)
    if "http" in requested:
        yield "http", lambda: stack.enter_context(vllm_models.open_endpoint(*for_vllm(), config.python))
