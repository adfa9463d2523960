"""Fine-tuning in tests: a base of a few thousand parameters, files of a few examples, the command, its last state."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import pytest
from finetuning_data import chatting
from small_models import bytes_tokenizer, opinionated

from llm_jax import hf
from llm_jax.checkpoint import Checkpoints
from llm_jax.command_line import run as front_door
from llm_jax.config import llama
from llm_jax.models import decoder
from llm_jax.tokenizer import Borders, with_borders
from train.commands import COMMANDS
from train.finetune import record
from train.finetune.step import init_state
from train.finetune.trained import Trainable
from train.optim.optimizer import make_optimizer

MODEL = llama(vocab_size=257, context_length=64, d_model=16, n_heads=2, n_kv_heads=1, n_layers=1, mlp_width=24)
SHORT = (
    *("--batch-size", "8", "--steps", "8", "--eval-every", "4", "--checkpoint-every", "4", "--log-every", "1"),
    *("--sample-tokens", "6", "--val-fraction", "0.2", "--warmup-steps", "1"),
)


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A Hugging Face directory."""
    out = tmp_path_factory.mktemp("base") / "tiny"
    hf.export(opinionated(MODEL, 4.0), MODEL, bytes_tokenizer(), out, "a tiny model\n")
    return out


@pytest.fixture(scope="session")
def chatting_base(tmp_path_factory) -> Path:
    """A base as Qwen ships it: it has ChatML's tokens, no template, and ends a text with another token."""
    out = tmp_path_factory.mktemp("base") / "chatting"
    tokenizer = with_borders(chatting(None), Borders(begin=256, end=256, stops=(256,), pad=256))
    model = dataclasses.replace(MODEL, vocab_size=tokenizer.vocab_size)
    hf.export(opinionated(model, 4.0), model, tokenizer, out, "a tiny model\n")
    return out


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, Path]:
    """One file for each task: sums to complete, right and wrong sums, small and large numbers."""
    folder = tmp_path_factory.mktemp("examples")
    sums = [(a, b) for a in range(10) for b in range(5)]
    prompt = [f"{a}+{b}=" for a, b in sums]
    return {
        "sft": write_rows(
            folder / "sums.jsonl",
            [{"prompt": p, "completion": str(a + b)} for p, (a, b) in zip(prompt, sums, strict=True)],
        ),
        "dpo": write_rows(
            folder / "pairs.jsonl",
            [
                {"prompt": p, "chosen": f"{a + b}", "rejected": f"{a + b} or so"}
                for p, (a, b) in zip(prompt, sums, strict=True)
            ],
        ),
        "classify": write_rows(
            folder / "sizes.jsonl", [{"text": f"{a}", "label": "large" if a >= 5 else "small"} for a in range(50)]
        ),
    }


def call(*arguments: str | Path) -> int:
    try:
        return front_door("python -m train", "", COMMANDS, ["finetune", *map(str, arguments)])
    except SystemExit as leaving:  # tyro's own way out, for a flag it or a config refuses
        return int(leaving.code or 0)


def last_state(folder: Path) -> list[Any]:
    """All arrays of the newest checkpoint: what is trained, optimizer, counters and the random key's data."""
    was = record.read(folder)
    trainable = Trainable(was.model, was.config.lora, len(was.labels or ()))
    optimizer = make_optimizer(was.config.optimizer, trainable.letters())

    def start(key: jax.Array) -> Any:
        return init_state(key, decoder.init(key, was.model), trainable, optimizer)

    checkpoints = Checkpoints(folder / "checkpoints")
    state = checkpoints.restore(jax.eval_shape(start, jax.random.key(0))).state
    checkpoints.close()
    return jax.tree.leaves(state.replace(key=jax.random.key_data(state.key)))
