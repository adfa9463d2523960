"""JAX against PyTorch, number by number: `python -m train parity`. Needs torch and transformers (group `test`).

command      flags and order of events (imports neither JAX nor PyTorch)
config       the options, as a value
run          config → report
comparison   all stages, over the same weights and tokens
sequence_comparison   the stages of an encoder and of an encoder–decoder
compare      runs PyTorch in the compared format, in float64, and in float64 with simulated rounding errors
rounding     simulates the rounding errors of float32 or bfloat16 in a float64 run
verdict      the rule: equal, rounding, suspicious, wrong
stages/      models_compared (two models, one set of weights), stream (tokens), then what is compared, in order:
             operations (with operation and attention_operations), model (activations, loss, gradients),
             step (AdamW), curve (training), decode; sequences with masked_model (BERT) and translation_model (Marian)
report/      values (all rows, promises, parity.json), terminal, page and plots
"""
