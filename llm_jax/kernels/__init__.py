"""The formulas of `llm_jax.layers`, made fast for one kind of machine: equal in value and gradient up to rounding.

One file per function. Each opens with what it gains, on which machine, and how that was measured (`docs/benchmarks.md`
describes the measurements). `plan` decides which of them run; `tests/kernels` compares each with its formula.
"""
