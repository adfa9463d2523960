"""Leaderboards from files of choices, and how far they can be trusted.

The scoring rules are in `llm_jax.scoring.choices`.

subsets      the items that all models have, and parts of them
errors       standard errors, tests of two models on the same items, items needed
resampling   the bootstrap over items: intervals of ranks, the probability of an order
boards       models under one prompt, rule and subset; pairs; flips between two boards
answers      calibration; position and length of the answers
noise        the best of N equally good variants
analysis     all of it as one record
report       in the terminal
page         as one HTML file
"""
