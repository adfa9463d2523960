"""Character-level models of single lines, such as names, after Karpathy's makemore. Each file adds one idea:

lookup      a table of logits: the bigram model as a neural network
mlp         an embedding and a hidden layer over a window of characters (Bengio et al. 2003); batch norm
wavenet     the same with the window fused two by two, layer by layer (van den Oord et al. 2016)
recurrent   a state in place of a window: the simple recurrent network, and the gated one (Cho et al. 2014)

The count models are `llm_jax.models.ngram`, the Transformer is `llm_jax.models.decoder`.

Every file offers a frozen `Config`, `init(key, config)`, `logits(params, tokens, watch)`, and `dimension_letters`,
which tell the optimizer which parameters are matrices. A window model predicts one character, the next; a
sequence model predicts one at every position. `watch(name, activation)` is called with every hidden activation and may
replace it; diagnostics use it (`looking_in`).
"""
