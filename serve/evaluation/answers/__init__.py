"""The answers of an evaluation: kept as they come, shared out among processes and devices.

journal     OUT/answers/*.jsonl: an evaluation that was killed goes on with them
settings    what an evaluation was asked for, so that a journal of another one is refused
processes   which share of the work is this process's, and how the others are
progress    how far the work is, and how long it will take
asked       a model of the harness whose answers are kept and shared out
"""
