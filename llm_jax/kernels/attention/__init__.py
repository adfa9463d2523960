"""Faster equals of `llm_jax.layers.attention`: in training on CPUs, on GPUs by cuDNN, and over a KV-cache."""
