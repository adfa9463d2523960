"""Scores from lm-evaluation-harness, for a run, a Hugging Face directory or a server.

jax_lm     the harness's model interface over our decoder
backends   what a name on the command line stands for: our decoder, transformers, an HTTP server
tasks      task names → the harness's tasks; local files in place of downloads
results    what was measured, as a value and as JSON
shown      the table, and the plot against tokens seen
"""
