"""Exports of runs: a whole model, of LoRA with the adapters merged; or the adapters alone, in PEFT's format."""

from pathlib import Path

from llm_jax.hf import card, peft
from llm_jax.hf.directory import ExportReport, export
from llm_jax.hf.opened import load_adapted, open_model
from llm_jax.runs import EXPORT, is_lora, is_run


def export_run(run: Path, out: Path, step: int | None = None, overwrite: bool = False) -> ExportReport:
    """Exports the newest intact checkpoint of a run, or that of `step`, as an ordinary directory.

    Raises as `load_run` or `load_adapted`, and as `export`.
    """
    from llm_jax.checkpoint import LoadedRun, load_run

    run = Path(run)
    if is_lora(run):
        found = open_model(run, step)
        assert found.step is not None
        loaded = LoadedRun(found.config, found.params, found.tokenizer, found.step)
    else:
        loaded = load_run(run, step)
    return export(loaded.params, loaded.config, loaded.tokenizer, out, card.describe(run, loaded), overwrite)


def export_adapter(run: Path, out: Path, step: int | None = None, overwrite: bool = False) -> peft.AdapterReport:
    """Exports the adapters of a LoRA run in PEFT's format. Raises as `load_adapted` and `peft.export`."""
    loaded = load_adapted(run, step)
    base = loaded.base_source
    return peft.export(
        loaded.adapters,
        loaded.lora,
        loaded.base.config,
        str(Path(base) / EXPORT) if is_run(Path(base)) else base,  # transformers cannot read a run
        loaded.base_hash,
        loaded.tokenizer,
        out,
        overwrite,
    )
