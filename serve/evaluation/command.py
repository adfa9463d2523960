"""Evaluate models with lm-evaluation-harness: `python -m serve evaluate RUN --tasks hellaswag --data hellaswag=FILE`.

A model is a run, a Hugging Face directory or the URL of a server; several are compared. Tasks for small models:
hellaswag, arc_easy, piqa, lambada_openai, wikitext (bits per byte). Every other task of the harness has the harness's
name. Rows come from --data, or from the Hugging Face hub. Ctrl-C writes the results of the models that have been
evaluated; the exit status is 130. The same command goes on where an evaluation was interrupted or killed. Started by
srun, or with JAX_NUM_PROCESSES and JAX_PROCESS_ID, several processes share the work.
"""

import contextlib
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from llm_jax.command_line import interrupts
from serve.models import WeightsOption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lm_eval.api.model import LM

    from serve.evaluation.asking import Asking
    from serve.evaluation.choices_log import Log
    from serve.evaluation.results import Candidate, Evaluated

SMALL_MODEL_TASKS = ("hellaswag", "arc_easy", "piqa", "lambada_openai", "wikitext")
BOOTSTRAP = 1000  # resamples, for standard errors without a formula


@dataclass(frozen=True)
class Options:
    models: tyro.conf.Positional[tuple[str, ...]]
    """Runs, Hugging Face directories (or owner/name on the hub), URLs of servers such as http://127.0.0.1:8000."""
    tasks: tuple[str, ...] = SMALL_MODEL_TASKS
    """Tasks of lm-evaluation-harness, separated by spaces or commas."""
    data: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """TASK=FILE: rows from a local parquet, JSONL or JSON file, or from a folder with a data set's files;
    TASK:train=FILE or TASK:dev=FILE: examples for --num-fewshot. Repeatable."""
    limit: int | None = None
    """Number of items of each task, from the beginning. Default: all."""
    num_fewshot: int | None = None
    """Examples before each question. Default: the task's own number, mostly 0."""
    backend: Literal["jax", "hf"] = "jax"
    """Program that computes a run or a directory: our decoder, or transformers on the export."""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Compute format. auto: bfloat16 on a GPU."""
    weights: WeightsOption = "auto"
    batch_size: int = 8
    """Sequences in a batch, for transformers and for a server. Our decoder chooses its own batches."""
    step: int | None = None
    """For a run: the checkpoint's step. Default: the newest intact one."""
    every_checkpoint: bool = False
    """For a run: evaluate every checkpoint in its folder, for a plot against tokens seen."""
    adapter: Path | None = None
    """A LoRA run or a directory in PEFT's format, merged into every model that is no server."""
    tokenizer: str | None = None
    """For a server: Hugging Face directory of its tokenizer. Default: the folder it serves, if on this machine."""
    key_file: Path | None = None
    """For a server: file of its API key. Default: $LLM_JAX_API_KEY, else api-key in the cache folder."""
    apply_chat_template: bool = False
    """Put the questions as messages in the model's chat template; examples become earlier turns."""
    system_instruction: str | None = None
    """A first message that says how to answer; without a template, a text before every question."""
    log_choices: bool = False
    """Write what a model gave every answer of every item to choices/, for `python -m serve leaderboard`."""
    neutral_prompt: str = "Answer:"
    """For --log-choices: the prompt of the unconditional log-probability, which tells how likely an answer is alone."""
    out: Path = Path("evaluation")
    """Folder for results.json, results.png and choices/."""
    restart: bool = False
    """Remove the answers of an evaluation in the folder that was not finished, and begin anew."""

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("no model given: name a run, a Hugging Face directory or a URL")
        others = [name for name in self.models if name.startswith(("http://", "https://"))]
        if self.weights != "auto" and (others or self.backend == "hf"):
            raise ValueError(
                f"--weights {self.weights} is about our decoder; "
                + (f"{others[0]} is a server: leave one out" if others else "--backend hf is not ours: leave one out")
            )
        if not self.tasks:
            raise ValueError(f"no task given; for small models: {' '.join(SMALL_MODEL_TASKS)}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1 item; got {self.limit}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {self.batch_size}")
        if self.log_choices and not self.neutral_prompt.strip():
            raise ValueError("neutral_prompt must not be empty: some models cannot score a text without a beginning")


def main(options: Options) -> int:
    """Evaluates every model on every task, prints the table, writes JSON and plot; returns 0, or 130 after Ctrl-C."""
    from llm_jax import backend
    from serve.evaluation.answers import processes

    place = processes.here(os.environ)
    backend.configure()
    _silence()
    try:
        import lm_eval
    except ImportError:
        raise ImportError("evaluation needs lm-evaluation-harness: `uv sync --extra eval`") from None
    from serve.evaluation import backends, choices_log, local_rows, share, tasks
    from serve.evaluation.answers import asked, journal, settings
    from serve.evaluation.asking import Asking, check_template

    files = local_rows.parse_data(options.data)
    which = (options.backend, options.step, options.every_checkpoint, options.adapter)
    models = [candidate for source in options.models for candidate in backends.candidates(source, *which)]
    names = [name for names in options.tasks for name in names.split(",") if name]
    loaded = tasks.load_tasks(names, files, options.num_fewshot, options.limit)
    secret = backends.read_key(options.key_file)
    access = backends.Access(options.dtype, options.batch_size, options.tokenizer, secret, options.weights)
    data = {task: {role: str(path) for role, path in roles.items()} for task, roles in files.items()}
    described = {"lm_eval": lm_eval.__version__, "tasks": names, "data": data}
    named = ("limit", "num_fewshot", "dtype", "weights", "apply_chat_template", "system_instruction")
    described |= {name: getattr(options, name) for name in named}
    asking = Asking(options.apply_chat_template, options.system_instruction)
    folder = options.out / journal.FOLDER
    if options.restart and place.processes > 1:
        raise ValueError(f"--restart is for one process: remove {folder} before you start {place.processes}")
    others = processes.Others(folder, place)
    answers = journal.Journal(folder, settings.of(models, described, options.tokenizer), place.process, options.restart)
    if answers.found and place.is_first:
        print(f"{folder}: goes on with {answers.found:,} answers of an earlier start")
    in_chat = options.apply_chat_template
    log = choices_log.Log(options.out / "choices", options.neutral_prompt, in_chat) if options.log_choices else None
    evaluated = []
    was_interrupted = False
    with others, contextlib.closing(answers):
        try:
            for number, candidate in enumerate(models):
                tasks.seed_examples(loaded)
                with backends.opened(candidate, access) as model:
                    if asking.chat_template:
                        check_template(candidate, model, asking.system)
                    together = asked.Asked(model, settings.label(number, candidate), answers, place, others)
                    if place.is_first:
                        evaluated.append(evaluate(candidate, together, loaded, options.limit, log, asking))
                    else:
                        share.compute(candidate, together, loaded, options.limit, log, asking)
        except KeyboardInterrupt:
            interrupts.heard()
            if not evaluated:
                raise
            was_interrupted = True
        if not place.is_first:
            return 0
        write(options.out, evaluated, described, log)
        if was_interrupted:
            print(
                f"interrupted: {len(evaluated)} of {len(models)} models are evaluated and written; the same command "
                "goes on with the answers so far"
            )
            return interrupts.EXIT_INTERRUPTED
        others.wait(others.all_done, "the evaluation")
    answers.remove()  # when this process has ceased to renew its note there
    return 0


def write(out: Path, evaluated: "Sequence[Evaluated]", settings: "Mapping[str, Any]", log: "Log | None") -> None:
    """Writes the results and prints their table."""
    from rich.console import Console

    from serve.evaluation import report, results

    results.write_json(out / results.JSON_NAME, evaluated, settings)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(report.table(evaluated, console.width))
    is_drawn = report.draw(out / "results.png", evaluated)
    console.print(f"written: {out / results.JSON_NAME}{' and results.png' if is_drawn else ''}")
    for line in log.lines() if log else ():
        console.print(line, markup=False)


def evaluate(
    candidate: "Candidate", model: "LM", tasks: dict[str, Any], limit: int | None, log: "Log | None", asking: "Asking"
) -> "Evaluated":
    """Evaluates one model on all tasks; `log` writes its choices; `asking`: how questions are put.

    Raises:
        ConnectionError: a server stops answering.
    """
    import time

    from lm_eval import evaluator

    from serve.evaluation import results, share

    started = time.monotonic()
    with share.naming_the_server(candidate):
        harness_results = evaluator.evaluate(
            model,
            tasks,
            limit=limit,
            bootstrap_iters=BOOTSTRAP,
            log_samples=log is not None,
            **asking.of_harness(),
        )
        if log is not None and harness_results is not None:
            log.write(candidate, model, tasks["tasks"], harness_results.get("samples", {}))
    assert harness_results is not None  # only other ranks of a distributed evaluation get None
    return results.Evaluated(
        **asdict(candidate), seconds=round(time.monotonic() - started, 1), tasks=results.from_harness(harness_results)
    )


def _silence() -> None:
    """Silences notices and warnings of the harness and its libraries; errors stay. Called before they are imported."""
    import logging

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # The harness's bootstrap forks the process, but a fork with JAX's threads may hang.
    os.environ.setdefault("DISABLE_MULTIPROC", "1")
    if not sys.stderr.isatty():  # no progress bars in a log file
        os.environ.setdefault("TQDM_DISABLE", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in ("lm_eval", "lm-eval", "datasets", "httpx", "transformers", "evaluate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import datasets

    datasets.disable_progress_bars()
