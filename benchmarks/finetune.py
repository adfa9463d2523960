"""Fine-tuning beside TRL and PEFT: same weights, data, order and rank, in float32; losses of 50 steps, speed, memory.

    uv pip install trl peft              # not dependencies of this project
    python benchmarks/finetune.py --base /path/to/smollm2-135m-instruct --task sft lora dpo --exact

Every side runs in a process of its own, one after the other, on the same batches: those that `train finetune` would
train on. Dropout, clipping, warm-up and decay are off, so that only the arithmetic is compared. Tokens a second count
real tokens (no padding) over all steps but the first five, which compile or warm up. Memory is the process's largest
resident set.

transformers gives the embedding of the padding token no gradient (`padding_idx` of torch.nn.Embedding), wherever the
token stands. SmolLM2 and many others name the end of a turn as padding, so as an input that token would not be learnt.
Here torch learns it, as ours does; `--padding-frozen` leaves it as it is.

Measured on 2 cores of an AVX-512 Xeon: see docs/benchmarks.md.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

RATES = {"sft": 2e-5, "lora": 2e-4, "dpo": 5e-5}
RANK, ALPHA, BETA, WARM = 8, 16.0, 0.1, 5
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="Hugging Face directory of a Llama")
    parser.add_argument("--data", help="instructions; default: instruction-data.json of LLM_JAX_DATA")
    parser.add_argument("--pairs", help="preferences; default: preference-data.json of LLM_JAX_DATA")
    parser.add_argument("--task", nargs="+", default=["sft", "lora", "dpo"], choices=list(RATES))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--out", type=Path, help="JSON file for all numbers")
    parser.add_argument("--exact", action="store_true", help="TRL in float64 too: which side is nearer to it?")
    parser.add_argument("--padding-frozen", action="store_true", help="leave TRL's embedding as transformers makes it")
    parser.add_argument("--side", choices=["ours", "trl", "exact"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        if options.side == "ours":
            result = ours(options, options.task[0])
        else:
            result = trl(options, options.task[0], "float32" if options.side == "trl" else "float64")
        result["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        (options.folder / f"{options.side}.json").write_text(json.dumps(result))
        return
    results = {task: compare(options, task) for task in options.task}
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


def compare(options: argparse.Namespace, task: str) -> dict[str, Any]:
    """Both sides of one task, in two processes, ours first because it writes the batches down."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in ("ours", "trl", *(["exact"] if options.exact else [])):
            arguments = [*sys.argv[1:], "--task", task, "--side", side, "--folder", folder]
            subprocess.run([sys.executable, __file__, *arguments], check=True)
            found[side] = json.loads((Path(folder) / f"{side}.json").read_text())
    a, b = (np.array(found[side]["losses"]) for side in ("ours", "trl"))
    found["largest_relative_difference"] = _largest_difference(a, b)
    speeds = {side: found[side]["tokens_per_second"] for side in ("ours", "trl")}
    print(
        f"{task}: loss {a[0]:.4f} → {a[-1]:.4f}, TRL {b[0]:.4f} → {b[-1]:.4f}, largest difference "
        f"{found['largest_relative_difference']:.1e} · {speeds['ours']:,.0f} and {speeds['trl']:,.0f} tokens/s "
        f"({speeds['ours'] / speeds['trl']:.2f} ×) · "
        f"{found['ours']['peak_bytes'] / 2**30:.2f} and {found['trl']['peak_bytes'] / 2**30:.2f} GiB",
        flush=True,
    )
    if options.exact:
        exact = np.array(found["exact"]["losses"])
        far = found["from_exact"] = {side: _largest_difference(found[side]["losses"], exact) for side in speeds}
        print(f"  from TRL in float64: ours {far['ours']:.1e}, TRL {far['trl']:.1e}", flush=True)
    return found


def _largest_difference(losses: Any, expected: np.ndarray) -> float:
    """Relative, over all steps."""
    return float(np.max(np.abs(losses - expected) / np.abs(expected)))


def ours(options: argparse.Namespace, task: str) -> dict[str, Any]:
    """Our step on our batches, which are written down for the other side with A of every adapter."""
    import jax

    from llm_jax import sharding
    from llm_jax.adapters.config import LoraConfig
    from llm_jax.config import Execution
    from train.cluster.devices import open_job
    from train.cluster.mesh import MeshConfig
    from train.finetune.compiled import Setup, compile_all
    from train.finetune.config import FinetuneConfig, ObjectiveConfig
    from train.finetune.data.config import DataConfig
    from train.finetune.inputs import Batches, open_base, open_inputs
    from train.finetune.reference import log_probabilities
    from train.optim.config import OptimizerConfig

    data = Path(os.environ.get("LLM_JAX_DATA", "."))
    file = (
        options.pairs or data / "finetune/preference-data.json"
        if task == "dpo"
        else (options.data or data / "finetune/instruction-data.json")
    )
    config = FinetuneConfig(
        data=DataConfig(files=(str(file),), val_fraction=0.0, max_length=options.max_length),
        objective=ObjectiveConfig(beta=BETA),
        execution=Execution(dtype="float32"),
        optimizer=OptimizerConfig(learning_rate=RATES[task], beta_2=0.999, weight_decay=0.0, clip_norm=0.0),
        steps=options.steps,
        batch_size=options.batch_size,
        lora=None if task == "sft" else LoraConfig(rank=RANK, alpha=ALPHA),
    )
    inputs = open_inputs(options.base, config, options.folder / "data")
    job = open_job(MeshConfig(), inputs.model)
    setup = Setup.of(config, inputs, job)
    programs = compile_all(setup, open_base(options.base).params)
    state = programs.initialise(jax.random.key(0))
    references = None
    if task == "dpo":
        args = (state.params, programs.base, setup.trainable, setup.plan)
        references = np.full((inputs.data.count("train"), 2), np.nan, np.float32)
        once, known = {"train": Batches(setup.batches, job.mesh).once()}, {"train": references}
        log_probabilities(*args, once, known, sharding.named(job.mesh, ""), lambda: False)
    programs.initialise.release()
    load = Batches(setup.batches, job.mesh, references)
    hosts = [load.on_host(step)[0] for step in range(options.steps)]
    write_down(options.folder, hosts, state.params if config.lora else None)
    for batch in hosts:
        programs.step.of(load.place(batch))  # compiled before the clock runs
    losses, seconds = [], []
    for batch in hosts:
        started = time.perf_counter()
        state, measured = programs.step(state, load.place(batch), np.float32(RATES[task]))
        losses.append(float(measured.loss))
        seconds.append(time.perf_counter() - started)
    return {"losses": losses, "tokens_per_second": sum(real_tokens(hosts)[WARM:]) / sum(seconds[WARM:])}


def real_tokens(hosts: list[Any]) -> list[int]:
    """Of each step: up to the last trained token of every row."""
    return [sum(len(ids) for ids, _ in rows_of(batch)) for batch in hosts]


def rows_of(batch: Any) -> list[tuple[list[int], list[int]]]:
    """(ids, mask) of every row up to its last trained token; what stands behind it has no effect on the loss."""
    found = []
    for tokens, weights in zip(batch.tokens_BT, batch.weights_BT, strict=True):
        stop = int(np.flatnonzero(weights)[-1]) + 2
        mask = np.concatenate([[0], weights[: stop - 1]]).astype(int)
        found.append((tokens[:stop].tolist(), mask.tolist()))
    return found


def write_down(folder: Path, hosts: list[Any], adapters: Any) -> None:
    """Rows in their order, and A of every adapter as PEFT stores it."""
    (folder / "rows.json").write_text(json.dumps([rows_of(batch) for batch in hosts]))
    if adapters is not None:
        found = {}
        for number, block in enumerate(adapters.blocks):
            for path, pair in block.items():
                found[f"{number} {path}"] = np.asarray(pair.a).reshape(-1, pair.a.shape[-1]).T
        np.savez(folder / "adapters.npz", **found)


def _trl_settings(options: argparse.Namespace, task: str, n_steps: int) -> dict[str, Any]:
    """What SFTConfig and DPOConfig have in common: our step, as TRL names its parts."""
    return {
        "output_dir": str(options.folder / "trl"),
        "per_device_train_batch_size": options.batch_size,
        "max_steps": n_steps,
        "learning_rate": RATES[task],
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "optim": "adamw_torch",
        "train_sampling_strategy": "sequential",
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "logging_steps": 1,
        "seed": 0,
        "max_length": None,
    }


def trl(options: argparse.Namespace, task: str, number: str) -> dict[str, Any]:
    """TRL's trainer on the same rows, in the number format `number`."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    model: Any = AutoModelForCausalLM.from_pretrained(options.base, dtype=getattr(torch, number))
    if not options.padding_frozen:
        model.get_input_embeddings().padding_idx = None
    if task != "sft":
        lora = LoraConfig(r=RANK, lora_alpha=int(ALPHA), target_modules=list(TARGETS), task_type="CAUSAL_LM")
        model = get_peft_model(model, lora)
        _set_adapters(model, dict(np.load(options.folder / "adapters.npz")))
    batches = json.loads((options.folder / "rows.json").read_text())
    losses, seconds = [], []

    class Watch(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.started)

    class Recorded:
        def compute_loss(self, *arguments: Any, **named: Any) -> Any:
            loss = super().compute_loss(*arguments, **named)  # type: ignore[misc]
            losses.append(float((loss[0] if isinstance(loss, tuple) else loss).detach()))
            return loss

    common = _trl_settings(options, task, len(batches))
    tokenizer = AutoTokenizer.from_pretrained(options.base)
    rows = [row for batch in batches for row in batch]
    if task == "dpo":
        pairs = [pair for batch in batches for pair in zip(*np.split(np.arange(len(batch)), 2), strict=True)]
        flat = [batch for batch in batches for _ in range(len(batch) // 2)]
        dataset = Dataset.from_list(
            [_pair(batch[chosen], batch[rejected]) for batch, (chosen, rejected) in zip(flat, pairs, strict=True)]
        )

        class Preferences(Recorded, DPOTrainer):
            def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
                return dataset  # it would tokenise; these are ids already

        make: Any = Preferences
        trainer: Any = make(
            model=model,
            args=DPOConfig(beta=BETA, **common),
            train_dataset=dataset,
            processing_class=tokenizer,
            callbacks=[Watch()],
        )
    else:
        dataset = Dataset.from_list([{"input_ids": ids, "completion_mask": mask} for ids, mask in rows])

        class Text(Recorded, SFTTrainer):
            pass

        make = Text
        trainer = make(
            model=model,
            args=SFTConfig(completion_only_loss=True, packing=False, **common),
            train_dataset=dataset,
            processing_class=tokenizer,
            callbacks=[Watch()],
        )
    trainer.train()
    tokens = [sum(len(ids) for ids, _ in batch) for batch in batches]
    return {"losses": losses, "tokens_per_second": sum(tokens[WARM:]) / sum(seconds[WARM:])}


def _pair(chosen: Any, rejected: Any) -> dict[str, list[int]]:
    prompt = chosen[1].index(1)
    return {"prompt_ids": chosen[0][:prompt], "chosen_ids": chosen[0][prompt:], "rejected_ids": rejected[0][prompt:]}


def _set_adapters(model: Any, found: dict[str, np.ndarray]) -> None:
    import torch

    names = {
        "attention.qkv.q": "self_attn.q_proj",
        "attention.qkv.k": "self_attn.k_proj",
        "attention.qkv.v": "self_attn.v_proj",
        "attention.out": "self_attn.o_proj",
        "mlp.gate": "mlp.gate_proj",
        "mlp.up": "mlp.up_proj",
        "mlp.down": "mlp.down_proj",
    }
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for key, a in found.items():
            number, path = key.split(" ")
            weights[f"base_model.model.model.layers.{number}.{names[path]}.lora_A.default.weight"].copy_(
                torch.tensor(a)
            )


if __name__ == "__main__":
    main()
