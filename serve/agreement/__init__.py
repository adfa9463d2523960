"""Do all the ways to run a model give the same numbers? Five sides are asked the same questions.

prompts             what is asked: prompts that the model itself has written, or lines of a file
answers             what a side answers, as arrays
jax_sides           our full forward pass; our cached decoder
transformers_side   GPT2LMHeadModel, on the export
vllm_sides          vLLM's engine and its HTTP server, on the export
compare             two sides' answers → differences and a verdict
shown               the tables
"""
