"""A configuration → a vLLM server that can be started: the directory is checked, the flags of `vllm serve` are set."""

import json

from llm_jax import hf, tokenizer
from llm_jax.hf import config as hf_config
from llm_jax.hf import llava
from serve.door import listening, ready_message
from serve.vllm import adapters
from serve.vllm import environment as vllm_environment
from serve.vllm.config import VllmConfig
from serve.vllm.process import Server


def server_of(config: VllmConfig) -> Server:
    """The server, not started yet; its model and adapters are checked.

    Raises as `hf.check`, `vllm_environment.find_for` and `adapters.checked` do.
    """
    sees = llava.is_there(config.model)
    door, model = config.door, llava.load(config.model).config.text if sees else hf.check(config.model)
    environment = vllm_environment.find_for(model.d_head, config.python, sees)
    name = door.name_of(config.model)
    architecture = llava.ARCHITECTURE if sees else hf_config.architecture(config.model)
    served = adapters.checked(config.adapter, config.model, model, architecture, name)
    context = door.context(model.context_length)
    port = door.port or listening.free_port(door.host)

    def request() -> tuple[str, int]:
        return ready_message.request_for(tokenizer.load(config.model), context)

    return Server(
        environment,
        arguments_of(config, port, environment.on_cpu, architecture, served),
        name=name,
        host=door.host,
        port=port,
        max_requests=door.max_requests,
        callers=door.callers,
        request=request,
    )


def arguments_of(
    config: VllmConfig, port: int, on_cpu: bool, architecture: str, served: adapters.Served | None = None
) -> list[str]:
    """Our settings as arguments of `vllm`."""
    dtype = config.dtype if config.dtype != "auto" else "float32" if on_cpu else "bfloat16"
    arguments = [
        *("serve", str(config.model.resolve())),
        *("--served-model-name", config.door.name_of(config.model)),
        *("--host", config.door.host, "--port", str(port)),
        # vLLM would serve a trunk that was saved without its head as a model of embeddings.
        *("--hf-overrides", json.dumps({"architectures": [architecture]})),
        *("--dtype", dtype),
        *("--max-num-seqs", str(config.max_num_seqs)),
        *("--tensor-parallel-size", str(config.tensor_parallel_size)),
        *("--pipeline-parallel-size", str(config.pipeline_parallel_size)),
        *("--shutdown-timeout", str(int(config.door.shutdown_timeout))),
        # A request's defaults are OpenAI's, not the directory's: temperature 1, no top-k, no top-p.
        *("--generation-config", "vllm"),
        *("--middleware", "guard.Guard"),
        "--disable-fastapi-docs",
    ]
    if config.door.max_model_len is not None:
        arguments += ["--max-model-len", str(config.door.max_model_len)]
    if on_cpu:
        arguments.append("--enforce-eager")  # compiling takes longer than it saves
    else:
        arguments += ["--gpu-memory-utilization", str(config.gpu_memory_utilization)]
    return [*arguments, *adapters.arguments_of(served), *config.more]
