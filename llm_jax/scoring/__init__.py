"""How likely a model finds a text: the numbers that every evaluation is made of.

requests      text → (context, continuation) in ids, long ones cut as lm-evaluation-harness cuts them
likelihood    (context, continuation) → log-likelihood, in few compiled shapes
conventions   log-likelihoods of several answers → the answer chosen: sum, token mean, character, byte
rows          rows of a local parquet or JSONL file
hellaswag     the HellaSwag items of such a file, and a model's accuracy on them
"""
