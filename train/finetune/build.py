"""From options to a running loop: inputs, devices, compiled step, state (new or restored), loop."""

import contextlib
import dataclasses
import math
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax import adapters, backend, sharding
from llm_jax.checkpoint import Checkpoints
from llm_jax.checkpoint.layout import committed_steps
from llm_jax.models import decoder
from llm_jax.runs import CHECKPOINTS, folder_of
from train.cluster import devices
from train.cluster.signals import StopRequest
from train.finetune import estimate, record
from train.finetune.config import FinetuneConfig, FinetuneOptions
from train.finetune.data.batches import FinetuneBatches
from train.finetune.data.show import show
from train.finetune.evaluate import Evaluator
from train.finetune.inputs import DATA, TASKS, Batches, Inputs, open_inputs
from train.finetune.inputs import folder_of as folder_of_base
from train.finetune.objectives import Batch, Objective, objective
from train.finetune.record import Record
from train.finetune.reference import References, key, log_probabilities, open_reference
from train.finetune.sampling import COUNT, Sampler
from train.finetune.step import init_state, make_sums, make_train_step
from train.finetune.trained import Trainable
from train.optim.optimizer import make_optimizer
from train.pretrain import loop, run_folder
from train.pretrain.build import true_memory
from train.pretrain.resume import begin_or_resume
from train.pretrain.run_folder import Identity
from train.pretrain.session import Task, conduct
from train.pretrain.step import TrainState, places_of
from train.record.clock import Clock
from train.record.metrics import Metrics, mend_and_say
from train.record.progress import StepProgress, print_table


def finetune(source: str, where: FinetuneOptions, config: FinetuneConfig) -> int:
    """Trains one run to its end, or until asked to stop; returns the exit status (see `train.cluster.signals`)."""
    folder = folder_of(where.runs, where.run)

    def begin() -> Task[Inputs]:
        settled = run_folder.decide_resume(where, folder)
        return Task(
            lambda _: open_inputs(source, config, folder / DATA, folder),
            lambda inputs, stop, stack: _build(settled, config, folder, inputs, stop, stack),
        )

    return conduct(folder, begin)
