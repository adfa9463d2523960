"""Batches of prepared examples.

batch      what a batch holds
buckets    few lengths that rows are padded to
packing    several examples in one row
layout     the rows of an epoch, in either way
loader     `FinetuneBatches`: the batch of a step
"""

from train.finetune.data.batches.batch import Batch, LabelBatch
from train.finetune.data.batches.loader import FinetuneBatches

__all__ = ["Batch", "FinetuneBatches", "LabelBatch"]
