"""`python -m serve COMMAND`: generate, export, serve, evaluate."""

import sys

from llm_jax import backend
from llm_jax.command_line import Commands, run

COMMANDS: Commands = {
    "generate": ("serve.text.generate", "continue prompts with a trained run or a Hugging Face directory"),
    "export": ("serve.export.command", "a run → a Hugging Face directory that checks itself"),
    "vllm": ("serve.vllm.command", "serve a Hugging Face directory with vLLM, behind a key"),
    "api": ("serve.api.command", "serve a run or a Hugging Face directory on the JAX decoder, behind a key"),
    "complete": ("serve.text.complete", "continue a prompt, by a server or here"),
    "chat": ("serve.text.chat", "write with a model in the terminal, by a server or here"),
    "bench": ("serve.bench.command", "latency and throughput of a server over a sweep of concurrency"),
    "install-vllm": ("serve.vllm.install_command", "build an environment of its own for vLLM"),
    "evaluate": (
        "serve.evaluation.command",
        "HellaSwag and other tasks of lm-evaluation-harness, for runs, exports and servers",
    ),
    "agree": ("serve.agreement.command", "prove that JAX, transformers and vLLM give the same numbers"),
}

if __name__ == "__main__":
    backend.keep_memory()
    sys.exit(run("python -m serve", __doc__ or "", COMMANDS))
