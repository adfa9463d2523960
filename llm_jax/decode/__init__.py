"""From logits to text: a model continues prompts.

options    how the next token is chosen, as a value (imports no JAX)
choose     logits → next token: temperature, min-p, top-k, top-p, one random stream per row
adjust     logits changed first: penalties, biases, a least length, as vLLM does
slots      continuous batching: requests join and leave a batch that is being decoded
log_probabilities  of tokens, from logits
weights    parameters as a decoding step reads them: number format, order, matrices joined
loop       prompts → tokens: prefill and a decoding loop on the device, compiled once per bucket of shapes
padding    prompts → one array of a bucket's shape, checked
prompts    text → the ids a model can start from
"""
