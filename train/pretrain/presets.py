"""Named runs: functions that return a config. A flag on the command line replaces one value of it.

The GPT-2 sizes follow Radford et al. 2019, table 2; learning rates and batch follow Brown et al. 2020 (GPT-3), table
2.1, as llm.c and nanoGPT do; 10 billion tokens of FineWeb are 19,073 steps. The Llama-shaped models take the learning
rate of the GPT-2 of their size, so that only the model differs.
"""

from collections.abc import Callable

from llm_jax.config import DecoderConfig, Execution, model_preset
from train.optim.config import OptimizerConfig, ScheduleConfig
from train.pretrain.config import CadenceConfig, TrainConfig


def _pretraining(size: str, learning_rate: float, micro_batch: int, remat: bool = False) -> TrainConfig:
    """10 billion tokens: half a million a step, cosine to a tenth after 700 steps of warm-up."""
    model = model_preset(size)
    return TrainConfig(
        model=model,
        execution=Execution(remat=remat, loss_chunks=4),
        optimizer=OptimizerConfig(learning_rate=learning_rate),
        schedule=ScheduleConfig(warmup_steps=700, final_fraction=0.1),
        micro_batch=micro_batch,
    )


def gpt2_124m() -> TrainConfig:
    return _pretraining("gpt2-124m", learning_rate=6e-4, micro_batch=32)


def gpt2_350m() -> TrainConfig:
    return _pretraining("gpt2-350m", learning_rate=3e-4, micro_batch=16)


def gpt2_774m() -> TrainConfig:
    return _pretraining("gpt2-774m", learning_rate=2.5e-4, micro_batch=8)


def gpt2_1558m() -> TrainConfig:
    return _pretraining("gpt2-1558m", learning_rate=2e-4, micro_batch=4, remat=True)


def smollm2_135m() -> TrainConfig:
    """SmolLM2-135M's shape; its vocabulary needs its tokenizer, so data is prepared with `--tokenizer`."""
    return _pretraining("smollm2-135m", learning_rate=6e-4, micro_batch=16)


def llama_160m() -> TrainConfig:
    """As much compute a token as GPT-2 124M, and its tokenizer: for comparing the two."""
    return _pretraining("llama-160m", learning_rate=6e-4, micro_batch=32)


def qwen3_0_6b() -> TrainConfig:
    return _pretraining("qwen3-0.6b", learning_rate=2.5e-4, micro_batch=2, remat=True)


def llama_1b() -> TrainConfig:
    return _pretraining("llama-1b", learning_rate=2e-4, micro_batch=1, remat=True)


def _nano(size: str) -> TrainConfig:
    """A few million parameters: for CPUs, tests, and a first look."""
    return TrainConfig(
        model=model_preset(size),
        optimizer=OptimizerConfig(optimizer="muon", learning_rate=3e-3),
        schedule=ScheduleConfig(schedule="wsd", warmup_steps=20, decay_fraction=0.4, final_fraction=0.0),
        cadence=CadenceConfig(eval_every=100, eval_tokens=65_536, sample_every=250, checkpoint_every=100),
        steps=1000,
        batch_tokens=4096,
    )


def gpt2_nano() -> TrainConfig:
    return _nano("gpt2-nano")


def llama_nano() -> TrainConfig:
    return _nano("llama-nano")


def quickstart() -> TrainConfig:
    """What `train quickstart` trains; it sets the number of steps by the machine's speed."""
    return TrainConfig(
        model=DecoderConfig(vocab_size=4096, context_length=256, d_model=128, n_heads=4, n_layers=4),
        optimizer=OptimizerConfig(optimizer="muon", learning_rate=4e-3),
        schedule=ScheduleConfig(schedule="wsd", warmup_steps=40, decay_fraction=0.5, final_fraction=0.0),
        cadence=CadenceConfig(eval_tokens=65_536, sample_tokens=120),
        steps=600,
        batch_tokens=2048,
        tokenizer="train:4096",
    )


def shakespeare_char() -> TrainConfig:
    """Characters of Shakespeare on a CPU, in about three minutes on two cores."""
    return TrainConfig(
        model=DecoderConfig(vocab_size=65, context_length=64, d_model=128, n_heads=4, n_layers=4),
        optimizer=OptimizerConfig(optimizer="muon", learning_rate=4e-3),
        schedule=ScheduleConfig(schedule="wsd", warmup_steps=30, decay_fraction=0.5, final_fraction=0.0),
        cadence=CadenceConfig(eval_every=400, sample_every=400, sample_tokens=64, checkpoint_every=400, log_every=50),
        steps=800,
        batch_tokens=24 * 64,
        tokenizer="characters",
    )


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    "gpt2-nano": gpt2_nano,
    "gpt2-124m": gpt2_124m,
    "gpt2-350m": gpt2_350m,
    "gpt2-774m": gpt2_774m,
    "gpt2-1558m": gpt2_1558m,
    "llama-nano": llama_nano,
    "smollm2-135m": smollm2_135m,
    "llama-160m": llama_160m,
    "qwen3-0.6b": qwen3_0_6b,
    "llama-1b": llama_1b,
    "shakespeare-char": shakespeare_char,
}


def preset(name: str) -> TrainConfig:
    """The named run. Raises ValueError with the known names."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; one of: {', '.join(PRESETS)}")
    return PRESETS[name]()
