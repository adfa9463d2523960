"""Serve a Hugging Face directory with vLLM, behind a key.

The directory is checked first; then vLLM starts in its own environment, on 127.0.0.1, with a door in front of it that
lets through the OpenAI interface and /health and nothing else. Flags after `--` go to `vllm serve` as they are.
"""

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from serve.door.listening import Door

if TYPE_CHECKING:
    from serve.vllm.process import Server


HANDLES_INTERRUPTS = True


@dataclass(frozen=True)
class Options:
    model: tyro.conf.Positional[Path]
    """Hugging Face directory, such as runs/quickstart/hf."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Compute format; auto: bfloat16 on a GPU, float32 on a CPU."""
    max_num_seqs: int = 64
    """Sequences decoded at once; others wait."""
    gpu_memory_utilization: float = 0.9
    """Part of a GPU's memory for weights and KV-cache."""
    tensor_parallel_size: int = 1
    """GPUs that share each matrix."""
    pipeline_parallel_size: int = 1
    """Groups of GPUs that share the layers, one behind the other; over several nodes with Ray (docs/serving.md)."""
    python: Path | None = None
    """Python that has vLLM. Default: $LLM_JAX_VLLM_PYTHON, else what `install-vllm` built."""
    ready_timeout: float = 600
    """Seconds that loading may take."""
    door: tyro.conf.OmitArgPrefixes[Door] = field(default_factory=Door)
    more: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Flags for `vllm serve`: what came after `--`."""

    def __post_init__(self) -> None:
        if not 0 < self.gpu_memory_utilization <= 1:
            raise ValueError(f"gpu_memory_utilization must lie between 0 and 1; got {self.gpu_memory_utilization}")
        for name in ("tensor_parallel_size", "pipeline_parallel_size", "max_num_seqs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        for flag in self.more:
            name = flag.split("=")[0].replace("_", "-")
            if name in ("--host", "--port", "--uds", "--allowed-origins"):  # the door must know them
                raise ValueError(f"{name} is set here: give it before the `--`, where this command has it")
            if name in ("--api-key", "--middleware"):
                raise ValueError(f"{flag.split('=')[0]} is set here; the key comes from --key-file or the environment")


def parse(arguments: list[str]) -> Options:
    """What comes after `--` is vLLM's."""
    ours, more = arguments, []
    if "--" in arguments:
        cut = arguments.index("--")
        ours, more = arguments[:cut], arguments[cut + 1 :]
    options = tyro.cli(Options, args=ours, prog="python -m serve vllm", description=__doc__)
    return dataclasses.replace(options, more=tuple(more))


def main(options: Options) -> int:
    """Serves until a signal; returns 0 after a clean end."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the check needs no GPU, and vLLM needs all of its memory
    from serve.door import key

    if (options.model / "checkpoints").is_dir():
        raise ValueError(
            f"{options.model} is a run: `python -m serve export {options.model}`, then serve {options.model}/hf"
        )
    server = server_of(options)
    secret, source = key.for_server(options.door.key_file)
    print(f"{server.title}; key: {source}; log: {server.log}", flush=True)
    return server.run(secret, source, options.ready_timeout, options.door.shutdown_timeout)


def server_of(options: Options) -> "Server":
    """The server, not started yet; its model is checked. Raises as `hf.check` and `vllm_environment.find_for` do."""
    from llm_jax import hf
    from serve.door import listening
    from serve.vllm import environment as vllm_environment
    from serve.vllm.process import Server

    door, config = options.door, hf.check(options.model)
    environment = vllm_environment.find_for(config.d_head, options.python)
    door.context(config.context_length)
    port = door.port or listening.free_port(door.host)
    arguments = _arguments(options, port, environment.on_cpu)
    return Server(environment, arguments, door.name_of(options.model), door.host, port, door.max_requests, door.callers)


def _arguments(options: Options, port: int, on_cpu: bool) -> list[str]:
    """Ours → `vllm serve`'s."""
    from llm_jax.hf.config import ARCHITECTURE

    dtype = options.dtype if options.dtype != "auto" else "float32" if on_cpu else "bfloat16"
    arguments = [
        *("serve", str(options.model.resolve())),
        *("--served-model-name", options.door.name_of(options.model)),
        *("--host", options.door.host, "--port", str(port)),
        # A trunk that was saved without its head would be served as a model of embeddings.
        *("--hf-overrides", json.dumps({"architectures": [ARCHITECTURE]})),
        *("--dtype", dtype),
        *("--max-num-seqs", str(options.max_num_seqs)),
        *("--tensor-parallel-size", str(options.tensor_parallel_size)),
        *("--pipeline-parallel-size", str(options.pipeline_parallel_size)),
        *("--shutdown-timeout", str(int(options.door.shutdown_timeout))),
        # The defaults of a request are the interface's, not the directory's: temperature 1, nothing cut off.
        *("--generation-config", "vllm"),
        *("--middleware", "guard.Guard"),
        "--disable-fastapi-docs",
    ]
    if options.door.max_model_len is not None:
        arguments += ["--max-model-len", str(options.door.max_model_len)]
    if on_cpu:
        arguments.append("--enforce-eager")  # compiling takes longer than it gives back
    else:
        arguments += ["--gpu-memory-utilization", str(options.gpu_memory_utilization)]
    return [*arguments, *options.more]
