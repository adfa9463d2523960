"""Accelerators: what their makers say they can do.

catalogue   names, memory, bandwidth and dense peaks of accelerators, from `catalogue.toml`
"""
