"""The commands of `python -m serve`: name → (module, one line of help). No command is imported here."""

from llm_jax.command_line import Commands

COMMANDS: Commands = {
    "generate": ("serve.text.command", "continue prompts, by a model on this machine or by a server"),
    "complete": ("serve.text.command", "another name of generate"),
    "chat": ("serve.text.chat_command", "write with a model in the terminal, turn by turn"),
    "export": ("serve.export.command", "a run → a Hugging Face directory, reloaded and compared with the run"),
    "vllm": ("serve.vllm.command", "serve a Hugging Face directory with vLLM; requests need a key"),
    "api": ("serve.api.command", "serve a run or a Hugging Face directory with the JAX decoder; requests need a key"),
    "bench": ("serve.bench.command", "latency and throughput of a server at several numbers of clients"),
    "install-vllm": ("serve.vllm.install_command", "build a separate environment for vLLM"),
    "evaluate": (
        "serve.evaluation.command",
        "HellaSwag and other tasks of lm-evaluation-harness, for runs, exports and servers",
    ),
    "search": ("serve.search.command", "search a folder of text by meaning, exactly, with a sentence encoder"),
    "gpu": ("serve.gpu.command", "which GPU serves a model for so many users, what it costs, and why others do not"),
    "leaderboard": (
        "serve.leaderboard.command",
        "ranks of models under every scoring rule, with errors and tests, from files of choices",
    ),
    "arena": ("serve.arena.command", "ratings from pairwise votes, with intervals, and what they hide"),
    "agree": ("serve.agreement.command", "check that JAX, transformers and vLLM give the same numbers"),
}
