"""Accelerators: the figures that their makers publish, and what follows from them for training and serving.

catalogue        names, memory, bandwidth and dense peaks of accelerators, from `catalogue.toml`
prices           dollars an hour, with their dates
speed            a roofline: seconds of prefill, a decoding step, a training step
serving_memory   bytes of weights, and tokens that the KV-cache holds
queueing         how long users of a server wait
"""
