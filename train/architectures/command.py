"""Encoder, encoder–decoder and decoder side by side: they copy, pronounce and fill gaps, and are compared.

`copy`, `reversal` and `g2p` train an encoder–decoder and measure what it writes, by greedy and by beam search. `cloze`
trains an encoder on masked words, `spam` a classifier on top of it. `compare` trains all three architectures at equal
parameters and equal FLOPs on three tasks. The run's folder holds summary.json, metrics.jsonl, pictures and samples.
"""

from train.architectures.config import ArchitecturesConfig

Options = ArchitecturesConfig


def main(options: Options) -> int:
    from llm_jax import backend

    backend.configure()
    from llm_jax.files.json_files import write_json
    from llm_jax.runs import SUMMARY
    from train.architectures import cloze, report, spam, transduction
    from train.architectures.comparison import run as comparison
    from train.record.replace import replace_run

    works = {"cloze": cloze, "spam": spam, "compare": comparison}
    work = works.get(options.task, transduction)
    with replace_run(options.runs, options.run_name, "architectures") as folder:
        summary = {"command": "architectures", "task": options.task, "seed": options.seed, **work.run(options, folder)}
        write_json(folder / SUMMARY, summary)
    report.show(summary, options.runs / options.run_name)
    return 0
