"""Evaluates a run, a Hugging Face directory or a server with lm-evaluation-harness.

jax_lm        our decoder behind the harness's model interface
backends      a name on the command line → our decoder, transformers or an HTTP server
tasks         task names → the harness's tasks
asking        how a question is put: as text, or as messages in a chat template
local_tasks   the harness's tasks over the rows of local files; local_rows: where those are
labels        refuses rows without a right answer
answers/      answers are kept as they come, and shared out among processes and devices
share         what a process computes that is not the first
results       the figures, as a value and as JSON
choices_log   what a model gave every answer, kept in files (`llm_jax.scoring.choices`)
report        the table, and the plot against tokens seen
"""
