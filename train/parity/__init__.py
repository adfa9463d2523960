"""JAX against PyTorch, number by number: `python -m train parity`. Needs torch and transformers (group `test`).

command      the flags, and the order of events (imports neither JAX nor PyTorch)
config       what is compared, as a value
run          config → report
comparison   all stages, over the same weights and tokens
compare      PyTorch's answer three times: as it is, in float64, and in float64 with rounding errors
rounding     float64 that errs as float32 or bfloat16 would: how much rounding explains
verdict      the rule: equal, rounding, suspicious, wrong
stages/      models_compared (two models, one set of weights), stream (tokens), then what is compared, in order:
             operations (operation: what one is; attention_operations), model (activations, loss, gradients),
             step (AdamW), curve (training), decode
report/      values (all rows, promises, parity.json), terminal, page and plots
"""
