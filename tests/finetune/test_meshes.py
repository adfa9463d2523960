"""Eight devices train as one does: adapters beside a base that is spread over them, pairs of preferences, classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import opinionated

from llm_jax import sharding
from llm_jax.adapters.config import LoraConfig
from llm_jax.config import Execution, llama
from llm_jax.models import decoder
from train.finetune.config import ObjectiveConfig
from train.finetune.objectives import Batch, objective
from train.finetune.step import init_state, make_train_step
from train.finetune.trained import Trainable
from train.optim.config import OptimizerConfig
from train.optim.optimizer import make_optimizer
from train.pretrain.step import places_of

MODEL = llama(vocab_size=100, context_length=8, d_model=32, n_heads=4, n_kv_heads=2, n_layers=1, mlp_width=48)
BASE = opinionated(MODEL, 4.0)
LORA = LoraConfig(rank=2, alpha=8)
DRAW = np.random.default_rng(0)
TOKENS = DRAW.integers(0, 100, (16, 9), dtype=np.int32)
WEIGHTS = (np.arange(8) < DRAW.integers(1, 9, (16, 1))).astype(np.float32)
LAST = np.eye(8, dtype=np.float32)[DRAW.integers(0, 8, 16)]
TASKS = {
    "sft": (Trainable(MODEL, LORA), Batch(TOKENS, WEIGHTS)),
    "dpo": (Trainable(MODEL, LORA), Batch(TOKENS, WEIGHTS, reference_B=np.linspace(-40, -20, 16, dtype=np.float32))),
    "classify": (Trainable(MODEL, n_classes=3), Batch(TOKENS, LAST, labels_B=np.arange(16, dtype=np.int32) % 3)),
}


def losses(task: str, mesh: jax.sharding.Mesh | None) -> list[float]:
    """Of five steps, the batch cut into two micro-batches."""
    trainable, batch = TASKS[task]
    optimizer = make_optimizer(OptimizerConfig(), trainable.letters())
    plan = decoder.make_plan(Execution(), sharding.Constrain(mesh) if mesh else None)
    step = make_train_step(trainable, objective(task, ObjectiveConfig()), plan, optimizer, 2)
    state, base = init_state(jax.random.key(0), BASE, trainable, optimizer), BASE if trainable.lora else None
    places = None
    if mesh:
        places = places_of(mesh, trainable.letters(), state)
        state = jax.device_put(state, places)
        base = jax.device_put(base, sharding.shardings(mesh, decoder.dimension_letters(MODEL))) if base else None
        batch = jax.tree.map(lambda x: jax.device_put(x, sharding.named(mesh, "BT"[: x.ndim])), batch)
    compiled, found = jax.jit(step, out_shardings=(places, None) if mesh else None), []
    for _ in range(5):
        state, measured = compiled(state, base, batch, jnp.float32(0.01))
        found.append(float(measured.loss))
    return found


@pytest.mark.parametrize("task", TASKS)
def test_eight_devices_give_the_losses_of_one(task):
    expected = losses(task, None)
    assert expected[-1] < expected[0]
    np.testing.assert_allclose(losses(task, sharding.make_mesh(2, 2, 2)), expected, rtol=1e-5)
