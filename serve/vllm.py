"""Serve a Hugging Face directory with vLLM, behind a key.

The directory is checked first; then vLLM starts in its own environment, on 127.0.0.1, with a door in front of it that
lets through the OpenAI interface and /health and nothing else. Flags after `--` go to `vllm serve` as they are.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

HEADS_ON_CPU = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)


@dataclass(frozen=True)
class Options:
    model: tyro.conf.Positional[Path]
    """Hugging Face directory, such as runs/quickstart/hf."""
    port: int = 8000
    """TCP port."""
    host: str = "127.0.0.1"
    """Address to listen on; another one lets other machines reach the server."""
    name: str | None = None
    """Name of the model in requests. Default: the directory's."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Compute format; auto: bfloat16 on a GPU, float32 on a CPU."""
    max_model_len: int | None = None
    """Longest sequence, prompt and answer, in tokens. Default: the model's context."""
    max_num_seqs: int = 64
    """Sequences decoded at once; others wait."""
    max_requests: int = 256
    """Requests answered or waiting at once; one more gets status 429."""
    gpu_memory_utilization: float = 0.9
    """Part of a GPU's memory for weights and KV-cache."""
    tensor_parallel_size: int = 1
    """GPUs that share each matrix."""
    pipeline_parallel_size: int = 1
    """Groups of GPUs that share the layers, one behind the other; over several nodes with Ray (docs/serving.md)."""
    key_file: Path | None = None
    """File with the API key; made if missing. Default: $LLM_JAX_API_KEY, else api-key in the cache folder."""
    python: Path | None = None
    """Python that has vLLM. Default: $LLM_JAX_VLLM_PYTHON, else what `install-vllm` built."""
    ready_timeout: float = 600
    """Seconds that loading may take."""
    shutdown_timeout: float = 30
    """Seconds that running requests get to finish after a SIGTERM or Ctrl-C."""
    more: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Flags for `vllm serve`: what came after `--`."""

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ValueError(f"port must lie between 1 and 65535; got {self.port}")
        if self.max_model_len is not None and self.max_model_len < 1:
            raise ValueError(f"max_model_len must be at least 1 token; got {self.max_model_len}")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise ValueError(f"gpu_memory_utilization must lie between 0 and 1; got {self.gpu_memory_utilization}")
        for name in ("tensor_parallel_size", "pipeline_parallel_size", "max_num_seqs", "max_requests"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        for flag in self.more:
            if flag.split("=")[0].replace("_", "-") in ("--api-key", "--middleware"):
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
    from llm_jax import hf
    from serve import key, vllm_environment
    from serve.vllm_process import Server

    if (options.model / "checkpoints").is_dir():
        raise ValueError(
            f"{options.model} is a run: `python -m serve export {options.model}`, then serve {options.model}/hf"
        )
    config = hf.check(options.model)
    environment = vllm_environment.find(options.python)
    if environment.on_cpu and config.d_head not in HEADS_ON_CPU:
        raise ValueError(
            f"{options.model} has heads of width {config.d_head}; vLLM on a CPU knows the widths "
            f"{', '.join(map(str, HEADS_ON_CPU))}: `python -m serve api` serves it"
        )
    if options.max_model_len is not None and options.max_model_len > config.context_length:
        raise ValueError(f"max_model_len is {options.max_model_len}; the model's context is {config.context_length}")
    secret, source = key.for_server(options.key_file)
    server = Server(
        environment, _arguments(options, environment.on_cpu), secret, options.host, options.port, options.max_requests
    )
    name = options.name or options.model.resolve().name
    print(
        f"vLLM {environment.version} serves {options.model} as {name!r}; key: {source}; log: {server.log}", flush=True
    )
    return server.run(name, source, options.ready_timeout, options.shutdown_timeout)


def _arguments(options: Options, on_cpu: bool) -> list[str]:
    """Ours → `vllm serve`'s."""
    dtype = options.dtype if options.dtype != "auto" else "float32" if on_cpu else "bfloat16"
    arguments = [
        *("serve", str(options.model.resolve())),
        *("--served-model-name", options.name or options.model.resolve().name),
        *("--host", options.host, "--port", str(options.port)),
        *("--dtype", dtype),
        *("--max-num-seqs", str(options.max_num_seqs)),
        *("--tensor-parallel-size", str(options.tensor_parallel_size)),
        *("--pipeline-parallel-size", str(options.pipeline_parallel_size)),
        *("--shutdown-timeout", str(int(options.shutdown_timeout))),
        # The defaults of a request are the interface's, not the directory's: temperature 1, nothing cut off.
        *("--generation-config", "vllm"),
        *("--middleware", "guard.Guard"),
        "--disable-fastapi-docs",
    ]
    if options.max_model_len is not None:
        arguments += ["--max-model-len", str(options.max_model_len)]
    if on_cpu:
        arguments.append("--enforce-eager")  # compiling takes longer than it gives back
    else:
        arguments += ["--gpu-memory-utilization", str(options.gpu_memory_utilization)]
    return [*arguments, *options.more]
