"""Runs of the real command on a few words of text, in processes of their own that can be stopped and killed."""

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import pytest
from finetuning import last_state

from llm_jax.checkpoint import Checkpoints
from llm_jax.command_line import run as front_door
from llm_jax.models import decoder
from train.commands import COMMANDS
from train.optim.optimizer import make_optimizer
from train.pretrain import run_folder
from train.pretrain.build import init_state
from train.record import metrics

# The smallest model that has every part of a large one; AdamW, for it has the most state per parameter.
FLAGS = (
    "shakespeare-char --optimizer adamw --n-layers 1 --d-model 16 --n-heads 2 --context-length 16 --batch-tokens 128 "
    "--eval-tokens 256 --sample-every 0 --log-every 1000"
)
# The same with everything that a Llama has and a GPT-2 does not; added to the flags above.
LLAMA_FLAGS = (
    "--norm rms --positions rotary --gated-mlp --activation silu --n-kv-heads 1 --attention-bias none --no-mlp-bias "
    "--no-tied-head"
)
# LoRA with dropout: whatever is random has to go on as well.
TUNING = (
    "--lora.rank 2 --lora.dropout 0.1 --learning-rate 0.02 --batch-size 8 --val-fraction 0.2 --sample-every 0 "
    "--sample-tokens 0 --log-every 1000"
)
WORDS = "alpha beta gamma delta epsilon zeta eta theta"
CLOCKS = {"seconds", "tokens_per_second", "mfu"}  # all that may differ between a run and its repetition


@dataclass
class Run:
    """The folder of a run and the means to start it."""

    folder: Path
    flags: list[str]
    environment: dict[str, str]
    command: str = "pretrain"

    @property
    def log(self) -> Path:
        """Output and errors of the last start."""
        return self.folder.with_suffix(".log")

    def start(self, *flags: str, devices: int = 1, log: Path | None = None) -> subprocess.Popen[str]:
        """Begins or goes on, as a job does that may have been requeued."""
        where = ["--runs", str(self.folder.parent), "--run", self.folder.name, "--auto-resume"]
        with (log or self.log).open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "train", self.command, *self.flags, *where, *flags],
                env=self.environment | {"JAX_NUM_CPU_DEVICES": str(devices)},
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def finish(self, *flags: str, devices: int = 1) -> str:
        """Runs to the end and returns the log."""
        status = self.start(*flags, devices=devices).wait(timeout=300)
        assert status == 0, self.log.read_text()
        return self.log.read_text()

    def finish_here(self, *flags: str) -> int:
        """Goes on in this process, with its eight devices, without the seconds of a start; returns the status."""
        where = ["--runs", str(self.folder.parent), "--run", self.folder.name, "--auto-resume"]
        return front_door("python -m train", "", COMMANDS, ["pretrain", *self.flags, *where, *flags])

    def copy(self, name: str) -> "Run":
        """Another run with everything that is in this one's folder."""
        folder = shutil.copytree(self.folder, self.folder.with_name(name))
        return Run(folder, self.flags, self.environment, self.command)

    def committed(self) -> list[int]:
        """Steps of the checkpoints, by the names of their folders."""
        folder = self.folder / "checkpoints"
        return sorted(int(path.name) for path in folder.glob("*") if re.fullmatch(r"\d+", path.name))

    def record(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl without the clocks."""
        lines = metrics.read(self.folder)
        return [{key: value for key, value in line.items() if key not in CLOCKS} for line in lines]

    def state(self) -> list[Any]:
        """All arrays of the newest checkpoint: parameters, optimizer, counters and the random key's data."""
        if self.command == "finetune":
            return last_state(self.folder)
        config, _ = run_folder.read(self.folder)
        optimizer = make_optimizer(config.optimizer, decoder.dimension_letters(config.model))
        template = jax.eval_shape(lambda key: init_state(key, config.model, optimizer), jax.random.key(0))
        checkpoints = Checkpoints(self.folder / "checkpoints")
        state = checkpoints.restore(template).state
        checkpoints.close()
        return jax.tree.leaves(state.replace(key=jax.random.key_data(state.key)))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A cache of compiled programs shared by all starts, and no PyTorch: it is not there for users, and
    TensorBoard's writer would spend seconds importing it."""
    folder = tmp_path_factory.mktemp("caches")
    (folder / "hidden").mkdir()
    (folder / "hidden" / "torch.py").write_text("raise ImportError('hidden')\n")
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "LLM_JAX_CACHE": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiling well takes longer than all the steps
        "PYTHONPATH": str(folder / "hidden"),
    }


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand words from a vocabulary of eight, as token shards."""
    words = random.Random(0).choices(WORDS.split(), k=10_000)
    folder = tmp_path_factory.mktemp("data")
    (folder / "words.txt").write_text("\n".join(" ".join(words[start : start + 8]) for start in range(0, 10_000, 8)))
    flags = ["--source", str(folder / "words.txt"), "--out", str(folder / "shards"), "--tokenizer", "characters"]
    assert front_door("python -m train", "", COMMANDS, ["prepare", *flags]) == 0
    return folder / "shards"


@pytest.fixture(scope="session")
def new_run(tmp_path_factory: pytest.TempPathFactory, shards: Path, environment: dict[str, str]) -> Callable[..., Run]:
    """A run by name and flags; it begins when it is started."""

    def describe(name: str, *flags: str) -> Run:
        return Run(tmp_path_factory.mktemp(name) / name, [*FLAGS.split(), "--data", str(shards), *flags], environment)

    return describe


@pytest.fixture(scope="session")
def new_tuning(
    tmp_path_factory: pytest.TempPathFactory, base: Path, files: dict[str, Path], environment: dict[str, str]
):
    """A run of LoRA with dropout by name and flags; it begins when it is started."""

    def describe(name: str, *flags: str) -> Run:
        given = [str(base), "--data", str(files["sft"]), *TUNING.split(), *flags]
        return Run(tmp_path_factory.mktemp(name) / name, given, environment, "finetune")

    return describe
