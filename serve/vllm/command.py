"""Serve a Hugging Face directory with vLLM; requests need a key.

The directory is checked first. Then vLLM starts in its own environment, on 127.0.0.1, behind a guard that lets through
the OpenAI interface and /health and nothing else. Flags after `--` go to `vllm serve` unchanged.
"""

import dataclasses
import os

import tyro

from llm_jax.runs import EXPORT, is_run
from serve.vllm.config import VllmConfig as Options

HANDLES_INTERRUPTS = True


def parse(arguments: list[str]) -> Options:
    """Arguments after `--` are for `vllm serve`."""
    ours, more = arguments, []
    if "--" in arguments:
        cut = arguments.index("--")
        ours, more = arguments[:cut], arguments[cut + 1 :]
    options = tyro.cli(Options, args=ours, prog="python -m serve vllm", description=__doc__)
    return dataclasses.replace(options, more=tuple(more))


def main(options: Options) -> int:
    """Serves until a signal; returns 0 after a clean end."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the check needs no GPU, and vLLM needs all of the GPU's memory
    from serve.door import key
    from serve.vllm.serving import server_of

    if is_run(options.model):
        raise ValueError(
            f"{options.model} is a run: `python -m serve export {options.model}`, then serve {options.model / EXPORT}"
        )
    server = server_of(options)
    secret, source = key.for_server(options.door.key_file)
    print(f"{server.title}; key: {source}; log: {server.log}", flush=True)
    return server.run(secret, source, options.ready_timeout, options.door.shutdown_timeout)
