"""Prove that all ways to run a model agree: full forward pass, cached decoder, transformers, vLLM, vLLM's server.

Each writes greedy continuations of the same prompts and says how probable each token was, in float32; every two are
compared. Sides that are not installed here are left out, by name and with the way to get them. The exit status is 0
where every pair is within the bound, 1 where one is not.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import tyro

from llm_jax.runs import EXPORT, is_run

if TYPE_CHECKING:
    from serve.agreement.answers import Answers, Side

SideName = Literal["jax", "transformers", "vllm", "http"]
SIDES: tuple[SideName, ...] = get_args(SideName)


@dataclass(frozen=True)
class Options:
    model: tyro.conf.Positional[str]
    """Folder of a run (it is exported to a temporary folder), or a Hugging Face directory."""
    prompts: int = 200
    """Prompts."""
    tokens: int = 32
    """New tokens for each prompt."""
    prompt_file: Path | None = None
    """File of prompts, one a line. Default: beginnings of texts that the model has written itself."""
    hellaswag: Path | None = None
    """HellaSwag file (parquet or JSONL): its log-likelihoods and accuracies are compared as well."""
    items: int = 200
    """Items of that file, from its first."""
    bound: float = 1e-3
    """Largest difference of log-probabilities, nats, that counts as agreement."""
    sides: tuple[SideName, ...] = ()
    """Sides that must take part, beside ours. Default: all that are installed."""
    python: Path | None = None
    """Python that has vLLM. Default: LLM_JAX_VLLM_PYTHON, or what `python -m serve install-vllm` built."""
    step: int | None = None
    """Of a run: the checkpoint's step. Default: the newest intact one."""
    out: Path | None = None
    """JSON file for all figures."""

    def __post_init__(self) -> None:
        for name in ("prompts", "tokens", "items"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not self.bound > 0:
            raise ValueError(f"bound must be above 0; got {self.bound}")


def main(options: Options) -> int:
    """Asks all sides, prints the tables; 0 when all agree, 1 when not."""
    from llm_jax import backend

    backend.configure()
    from rich.console import Console

    from serve.agreement import compare
    from serve.agreement import report as shown

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    with ExitStack() as stack:
        question = _Question(options, stack)
        answers: dict[str, Answers] = {}
        for name, opening in _openings(options, question, answers, stack):
            try:
                side = opening()
            except (ImportError, FileNotFoundError, ValueError) as error:
                if name in options.sides:
                    raise
                console.print(f"left out: {name}: {error}", markup=False, soft_wrap=True)
                continue
            console.print(f"{side.name} …", style="dim")
            answers[side.name] = side.answer(question.prompts, options.tokens, question.requests)
    pairs = compare.compare_all(answers, options.bound)
    tasks = compare.compare_all_tasks(answers, question.items, options.bound) if question.items else []
    console.print(shown.continuations(pairs))
    if tasks:
        console.print(shown.task(tasks))
    is_agreed = all(pair.agrees for pair in [*pairs, *tasks])
    verdict = f"all within {options.bound:g} nats" if is_agreed else f"not all within {options.bound:g} nats"
    console.print(f"{question.name}: {verdict}", style="bold green" if is_agreed else "bold red", markup=False)
    if options.out:
        _write(options.out, question.name, pairs, tasks, is_agreed)
    return 0 if is_agreed else 1


class _Question:
    """The model, wherever it is, and what is asked of it."""

    def __init__(self, options: Options, stack: ExitStack) -> None:
        from llm_jax.config import Execution
        from llm_jax.models import gpt
        from llm_jax.scoring import hellaswag
        from llm_jax.scoring.requests import cut
        from serve.agreement import prompts
        from serve.models import load_model

        model = load_model(options.model, options.step, whole=True)  # the other sides cut nothing off
        self.name, self.config, self.params = model.name, model.config, model.params
        self.plan = gpt.make_plan(Execution(dtype="float32"))
        self.directory = _directory(options, stack)
        shape = (options.prompts, options.tokens)
        if options.prompt_file:
            self.prompts = prompts.read_prompts(options.prompt_file, self.config, model.tokenizer, *shape)
        else:
            self.prompts = prompts.write_prompts(self.params, self.config, model.tokenizer, self.plan, *shape)
        self.items = hellaswag.read_items(options.hellaswag, limit=options.items) if options.hellaswag else []
        # vLLM writes a token after every text that it scores: two positions fewer than the model has.
        self.requests = [
            cut(request, self.config.context_length - 2) for request in hellaswag.encode(self.items, model.tokenizer)
        ]


def _directory(options: Options, stack: ExitStack) -> Path:
    import tempfile

    from llm_jax import hf

    path = Path(options.model)
    if not is_run(path):
        return path
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-jax-export-")))
    return hf.export_run(path, folder / EXPORT, options.step).out


def _openings(
    options: Options, question: _Question, answers: "dict[str, Answers]", stack: ExitStack
) -> Iterator[tuple[str, "Callable[[], Side]"]]:
    """The sides in turn, each with what opens it: it may need what an earlier one has answered."""
    from serve.agreement import jax_models as jax_sides
    from serve.agreement import transformers_model as transformers_side
    from serve.agreement import vllm_models as vllm_sides

    ours = (question.params, question.config, question.plan)
    yield "jax", lambda: jax_sides.CachedDecode(*ours)
    draft = answers[jax_sides.CachedDecode.name].continuations.tokens
    yield "jax", lambda: jax_sides.FullForward(*ours, draft)
    asked = options.sides or SIDES
    if "transformers" in asked:
        yield "transformers", lambda: transformers_side.Transformers(question.directory)
    if "vllm" in asked:
        yield "vllm", lambda: vllm_sides.open_engine(question.directory, question.config, options.python)
    if "http" in asked:
        yield (
            "http",
            lambda: stack.enter_context(vllm_sides.open_endpoint(question.directory, options.python)),
        )


def _write(out: Path, name: str, pairs: list[Any], tasks: list[Any], is_agreed: bool) -> None:
    from llm_jax.files.json_files import write_json

    def record(pair: Any) -> dict[str, Any]:
        finite = {name: None if value != value else value for name, value in asdict(pair).items()}  # NaN is no JSON
        return {**finite, "agrees": pair.agrees}

    content = {
        "model": name,
        "agrees": is_agreed,
        "continuations": [record(pair) for pair in pairs],
        "hellaswag": [record(pair) for pair in tasks],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, content)
