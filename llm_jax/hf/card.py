"""The README.md of an export: the model, its training data and losses, and how to load it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_jax.files.json_files import read_log
from llm_jax.hf import families
from llm_jax.runs import METRICS

if TYPE_CHECKING:
    from llm_jax.checkpoint import LoadedRun


def describe(run: Path, loaded: "LoadedRun") -> str:
    """A model card in the hub's format."""
    config, reached = loaded.config, _metrics_at(run, loaded.step)
    rows = [
        ("parameters", f"{config.n_parameters:,}"),
        ("layers × width × heads", f"{config.n_layers} × {config.d_model} × {config.n_heads}"),
        ("context", f"{config.context_length} tokens"),
        ("tokenizer", f"{loaded.tokenizer.name}, {config.vocab_size:,} tokens"),
        ("training steps", f"{loaded.step:,}"),
    ]
    if "tokens" in reached:
        rows.append(("tokens seen", f"{reached['tokens']:,}"))
    if reached.get("val_loss") is not None:
        rows.append(("validation loss", f"{reached['val_loss']:.4f} nats per token"))
    if reached.get("val_bits_per_byte") is not None:
        rows.append(("validation bits per byte", f"{reached['val_bits_per_byte']:.4f}"))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [{families.of(config).model_type}, jax]
---
# {run.name}

A {families.of(config).architecture} trained with llm-jax, in the standard Hugging Face format.

| | |
|---|---|
{table}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH")
model = AutoModelForCausalLM.from_pretrained("PATH")
ids = tokenizer("Once", return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=40)[0]))
```

`vllm serve PATH` serves it.
"""


def _metrics_at(run: Path, step: int) -> dict[str, Any]:
    """The line of `metrics.jsonl` for this step; {} where there is none."""
    path = run / METRICS
    if not path.is_file():
        return {}
    return next((line for line in read_log(path) if line.get("step") == step), {})
