"""Accelerators: the figures that their makers publish.

catalogue   names, memory, bandwidth and dense peaks of accelerators, from `catalogue.toml`
"""
