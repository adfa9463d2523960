"""On a GPU: cuDNN's attention and XLA's, both against PyTorch. `JAX_PLATFORMS=cuda pytest -m gpu tests/parity`."""

import json

import jax
import pytest
import torch

from llm_jax import command_line
from train.__main__ import COMMANDS

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def a_gpu():
    if jax.default_backend() != "gpu" or not torch.cuda.is_available():
        pytest.skip(f"JAX sees {jax.default_backend()}, PyTorch {'CUDA' if torch.cuda.is_available() else 'no CUDA'}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_a_gpu_nothing_is_wrong_and_both_kernels_are_compared(dtype, models, tmp_path):
    models.theirs.save_pretrained(tmp_path / "hf")
    flags = ("--device", "gpu", "--dtype", dtype, "--steps", "4", "--length", "16", "--out", str(tmp_path))
    assert command_line.run("", "", COMMANDS, ["parity", "--hf", str(tmp_path / "hf"), *flags]) == 0
    rows = json.loads((tmp_path / "parity.json").read_text())["rows"]
    assert ("attention by XLA" in {row["name"] for row in rows}) == (dtype == "bfloat16")
