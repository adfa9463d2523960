"""Examples for fine-tuning: files → token ids and masks → batches.

config      what is read, and how: `DataConfig`
example     what one example is: `Example`, `Pair`, `Labelled`
reading/    files → rows → conversations, pairs or labelled texts
templates/  conversation → parts of text → ids, and which of them are trained
making      records → examples, cut to length and counted
divide      which examples are for validation
decided_by  what decides the examples, and what differs
prepared    `Prepared`: the examples on disk, opened and checked
prepare     `prepare`: all of it once, into a folder
batches/    `FinetuneBatches`: the batch of a step; `Batch`, `LabelBatch`
show        an example printed, with what is trained marked

data = prepare(config, tokenizer, folder, context_length)   # the same inputs are opened, others refused by name
batches = FinetuneBatches(data, "train", batch_size, seed, packing=False)
batch = batches.batch(step)                                  # a pure function of (data, seed, batch size, step)
show(data, tokenizer, count)
"""
