"""Why decoder-only? An encoder, an encoder–decoder and a decoder of equal parameters and FLOPs on three tasks.

setting     sizes, tasks, and what is expected, stated before anything is trained
flops       the FLOPs of a training step, by formula
models      the three models: configs, parameters, the loss of each batch
examples    text and pairs in the form that each model reads
measures    bits per byte, accuracy of holes, word error
run         every task × model × seed, and the result
arithmetic  share of positions with a loss; tokens computed over the turns of a conversation
figure      comparison.png
"""
