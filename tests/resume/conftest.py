"""Runs to stop, kill and resume."""

from small_runs import environment, new_run, shards

__all__ = ["environment", "new_run", "shards"]
