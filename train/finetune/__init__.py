"""Fine-tuning: a trained model learns from examples. `python -m train finetune BASE --data FILE --run NAME`.

    config       what a run is, as one value
    inputs       BASE opened (`llm_jax.hf.open_model`); the examples as batches on the devices
    data/        examples → token ids and masks → batches
    trained      what is trained: all parameters or LoRA's adapters, and a classifier's head
    objectives   the losses, each as (Σ weight·loss, Σ weight): next tokens, preferences, classes
    reference    DPO: the log-probabilities under the starting parameters
    step         one optimizer step
    measure/     validation, answers to held-out prompts
    estimate     what a run will cost
    compiled     one program for each length of batch, the base on the devices
    record       config.json of a run, and when a resume is refused
    build        from options to a running loop

**A run on disk** is a folder like pretraining's (`llm_jax.runs`); its `config.json` has further entries:

    command      "finetune"; a pretraining run has no such entry
    model        DecoderConfig of the model, as in every run
    training     FinetuneConfig
    task         "sft", "dpo" or "classify"
    labels       names of the classes, in the order of their numbers; null for other tasks
    lora         LoraConfig (`llm_jax.adapters`); null where all parameters are trained
    base         {"source": BASE as it was given, "folder": its absolute path or null for a name on the hub,
                  "step": the checkpoint of a run that was opened or null, "hash": `llm_jax.adapters.base_hash`}
    data         the data file as it was given
    identity     what must stay the same in a resume

The arrays of a checkpoint are those of `train.pretrain.step.TrainState`. `params.` stands before the names of

    all parameters      the tree `Decoder`: `load_run` reads it as any run
    LoRA                the tree of adapters alone (`llm_jax.adapters.init`); the base is opened again by `base`, and
                        refused where its hash is another
    a classifier        {"body": one of the two, "head": Linear D → classes}

`tokenizer/` is the base's, with the chat template that the run was trained with.
"""
