"""Evaluates a run, a Hugging Face directory or a server with lm-evaluation-harness.

jax_lm        our decoder behind the harness's model interface
backends      a name on the command line → our decoder, transformers or an HTTP server
tasks         task names → the harness's tasks; local files in place of downloads
results       the figures, as a value and as JSON
choices_log   what a model gave every answer, kept in files (`llm_jax.scoring.choices`)
report        the table, and the plot against tokens seen
"""
