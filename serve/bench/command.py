"""Latency and throughput of a server at several numbers of clients, bounded in requests and time.

    TTFT  time to the first token      TPOT  time per output token after it, averaged over a request
    ITL   time between two tokens, each of them

vLLM's own benchmark (`vllm bench serve`) measures, and reads the tokenizer that --model has; where vLLM is not
installed, our own clients measure. With --model, the JAX decoder also runs the same prompts in this process; beside it
stands the bound that memory bandwidth and arithmetic set. Ctrl-C writes what is measured so far; the exit status is
130.
"""

import sys
import time
from dataclasses import asdict
from typing import Literal

from llm_jax.command_line import interrupts
from serve.bench.config import BenchConfig as Options


def main(options: Options) -> int:
    """Prints a table; writes the figures and a plot."""
    from llm_jax import backend

    backend.configure()
    from rich.console import Console

    from llm_jax.files.json_files import write_json
    from serve.bench import report
    from serve.bench.load_test import prompts, with_clients, with_vllm
    from serve.models import load_model
    from serve.text.client import Remote

    model = load_model(str(options.model)) if options.model else None  # first, because measuring takes minutes
    remote = Remote(options.url, options.key_file)
    tool = _tool(options)
    options.out.mkdir(parents=True, exist_ok=True)
    texts = prompts(max(options.requests, *options.concurrency), options.prompt_words)
    measured = []
    was_interrupted = False
    try:
        for n_clients in options.concurrency:
            few = texts[: max(options.requests, n_clients)]
            who = "vLLM's benchmark" if tool == "vllm" else "our clients"
            print(f"{n_clients} at once, {len(few)} requests, {who} …", flush=True)
            if tool == "vllm":
                level = with_vllm(options, remote, few, n_clients)
            else:
                level = with_clients(remote, few, n_clients, options.new_tokens, options.seconds, options.key_file)
            measured.append(level)
    except KeyboardInterrupt:  # what was measured took minutes, and is whole
        interrupts.heard()
        if not measured:
            raise
        was_interrupted = True
    decoder, bound = [], None
    if model is not None and not was_interrupted:
        from serve.bench.decoder import decode, roofline

        decoder = [decode(model, texts[:n], options.new_tokens) for n in options.concurrency]
        bound = roofline(model, options.prompt_words + options.new_tokens)
    record = {
        "url": options.url,
        "model": remote.name,
        "tool": tool,
        "new_tokens": options.new_tokens,
        "date": time.strftime("%Y-%m-%d"),
        "server": [asdict(level) for level in measured],
        "jax_decoder": [asdict(level) for level in decoder],
        "bound": asdict(bound) if bound else None,
    }
    write_json(options.out / "bench.json", record)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    for table in report.tables(measured, decoder, bound):
        console.print(table)
    report.plot(measured, decoder, bound, options.out / "bench.png", remote.name)
    print(f"{options.out}: bench.json, bench.png")
    if was_interrupted:
        print(f"interrupted: {len(measured)} of {len(options.concurrency)} numbers of clients are measured and written")
        return interrupts.EXIT_INTERRUPTED
    if lost := sum(level.failed for level in measured):
        first = next((f", the first with: {level.error}" for level in measured if level.error), "")
        print(f"{lost} requests failed{first}")
        return 1
    return 0


def _tool(options: Options) -> Literal["own", "vllm"]:
    if options.tool != "auto":
        return options.tool
    from serve.vllm import environment as vllm_environment

    try:
        vllm_environment.find(options.python)
    except (FileNotFoundError, ValueError):
        return "own"
    return "vllm" if options.model is not None else "own"
