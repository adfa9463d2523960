"""Runs to stop, kill and resume."""

from finetuning import base, files
from small_runs import environment, new_run, new_tuning, shards

__all__ = ["base", "environment", "files", "new_run", "new_tuning", "shards"]
