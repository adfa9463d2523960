"""JAX against PyTorch, number by number: `python -m train parity`. Needs torch and transformers (group `test`).

command      options and order of events (imports neither JAX nor PyTorch)
sides        the two models, from one set of weights
stream       the tokens both see
compare      PyTorch's answer three times: as it is, in float64, and in float64 with rounding errors
rounding     the rounding errors: float64 that errs as float32 or bfloat16 would
verdict      one comparison and the rule: equal, rounding, suspicious, wrong
operations   section 1: layer norm, GELU, attention, losses, embedding
model        sections 2 and 3: activations, loss, gradients
step         section 4: AdamW
curve        section 5: training
decode       section 6: greedy decoding
comparison   the sections together
run          options → report
report       all rows together, promises, parity.json
terminal, page, plots: the table, the HTML page and its figures
"""
