"""Examples for fine-tuning: files → token ids and masks → batches.

    config      what is read, and how: `DataConfig`
    example     what one example is: `Example`, `Pair`, `Labelled`
    reading/    files → rows → conversations, pairs or labelled texts
    templates/  conversation → parts of text → ids, and which of them are trained
    prepare     `prepare`: all of it once, into a folder
    prepared    `Prepared`: such a folder, opened and checked
    buckets     few lengths that batches are padded to
    packing     several examples in one row
    batches     `FinetuneBatches`: the batch of a step; `Batch`, `LabelBatch`
    show        an example printed, with what is trained marked

The contract with the training room:

    data = prepare(config, tokenizer, folder, context_length)     # done once; the same inputs are reused
    batches = FinetuneBatches(data, "train", batch_size, seed, packing=False)
    batch = batches.batch(step)                                    # a pure function of (data, seed, batch size, step)
    show(data, tokenizer, count)
"""
