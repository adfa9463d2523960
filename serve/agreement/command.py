"""Check that all ways to run a model agree: full forward pass, cached decoder, transformers, vLLM, vLLM's server.

Each program computes greedy continuations of the same prompts, with each token's log-probability, in float32. Every
two programs are compared. A program that is not installed is left out, and the output says how to install it. The exit
status is 0 if every pair is within the bound, else 1.
"""

import sys
from contextlib import ExitStack

from serve.agreement.config import AgreementConfig as Options


def main(options: Options) -> int:
    """Asks every program and prints the tables; returns 0 if all agree, else 1."""
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
