"""Compare our GPT-2, Llama or Qwen with PyTorch's, number by number: `python -m train parity`.

Both models get the same weights and the same batch. Compared are operations, activations, the loss, every gradient, an
AdamW step, a loss curve and greedy decoding. PyTorch's model is transformers' class of the family (GPT2LMHeadModel,
LlamaForCausalLM, …); it runs in the same number format and in float64. The exit status is 1 when a row is wrong or a
promise is broken. docs/numerics.md explains the table.
"""

import importlib.util
import os

from train.parity.config import ParityConfig

Options = ParityConfig


def main(options: Options) -> int:
    """Compares, prints the table and writes parity.json and parity.html.

    Returns:
        0, or 1 when a row is wrong or a promise is broken.

    Raises:
        ImportError: torch or transformers is not installed.
    """
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"parity compares with PyTorch, and {' and '.join(missing)} cannot be found: install the group `test` "
            "(uv sync --group test)"
        )
    if options.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from llm_jax import backend

    backend.configure()
    from train.parity.report import page, terminal
    from train.parity.run import run

    report = run(options)
    options.out.mkdir(parents=True, exist_ok=True)
    report.write(options.out / "parity.json")
    page.write(report, options.out / "parity.html")
    terminal.show(report)
    print(f"{options.out / 'parity.html'} and parity.json are written")
    return 0 if report.passed else 1
