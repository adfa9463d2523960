"""Checks that all ways to run a model give the same numbers: five programs answer the same questions.

config              the options: model, questions, programs and bound
question            the model, the prompts and the texts to score
prompts             prompts that the model itself has generated, or lines of a file
answers             a program's answers, as arrays
jax_models          our full forward pass; our cached decoder
transformers_model  transformers, on the export
vllm_models         vLLM's engine and its HTTP server, on the export
models_compared     asks the programs one after the other
compare             two programs' answers → differences and a verdict
report              the tables, and the JSON file
"""
