"""The formulas of `llm_jax.layers`, made fast for one kind of machine: equal in value and gradient up to rounding.

One file a function. Each opens with what it gains, where, and how that was measured; `docs/benchmarks.md` says how the
measurements were made. `llm_jax.kernels.plan` decides which of them run; `tests/kernels` holds each to its formula.
"""
