"""Check that all ways to run a model agree: full forward pass, cached decoder, transformers, vLLM, vLLM's server.

Each program writes greedy continuations of the same prompts and gives each token's log-probability, in float32; every
two programs are compared. A program that is not installed is left out, with its name and the way to get it. The exit
status is 0 where every pair is within the bound, 1 where one is not.
"""

import sys
from contextlib import ExitStack

from serve.agreement.config import AgreementConfig as Options


def main(options: Options) -> int:
    """Asks every program, prints the tables; 0 when all agree, 1 when not."""
    from llm_jax import backend

    backend.configure()
    from rich.console import Console

    from serve.agreement import compare, report
    from serve.agreement.models_compared import ask_all
    from serve.agreement.question import Question

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    with ExitStack() as stack:
        question = Question(options, stack)
        answers = ask_all(options, question, stack, lambda line: console.print(line, markup=False, soft_wrap=True))
    pairs = compare.compare_all(answers, options.bound)
    tasks = compare.compare_all_tasks(answers, question.items, options.bound) if question.items else []
    console.print(report.continuations(pairs))
    if tasks:
        console.print(report.task(tasks))
    is_agreed = all(pair.agrees for pair in [*pairs, *tasks])
    verdict = f"all within {options.bound:g} nats" if is_agreed else f"not all within {options.bound:g} nats"
    console.print(f"{question.name}: {verdict}", style="bold green" if is_agreed else "bold red", markup=False)
    if options.out:
        report.write(options.out, question.name, pairs, tasks, is_agreed)
    return 0 if is_agreed else 1
