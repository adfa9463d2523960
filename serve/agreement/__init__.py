"""Do all the ways to run a model give the same numbers? Five programs are asked the same questions and compared.

config              what is compared, and how close is close enough
question            the model, the prompts and the texts to score
prompts             prompts that the model itself has written, or lines of a file
answers             a program's answers, as arrays
jax_models          our full forward pass; our cached decoder
transformers_model  transformers, on the export
vllm_models         vLLM's engine and its HTTP server, on the export
models_compared     which of them take part, in turn
compare             two programs' answers → differences and a verdict
report              the tables, and the JSON file
"""
