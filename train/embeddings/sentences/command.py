"""A small sentence encoder from pairs of sentences: tokenizer, vectors and encoder are learnt on this machine.

Writes a Hugging Face directory that transformers and `serve search --model` read, with report.json. The STS
benchmark's training set takes some minutes on two cores.
"""

from train.embeddings.sentences.config import SentencesConfig

Options = SentencesConfig


def main(options: Options) -> int:
    from rich.console import Console

    from llm_jax.command_line import interrupts
    from llm_jax.hf import encoder
    from train.embeddings.sentences.training import Epoch, train

    console = Console(highlight=False)

    def progress(epoch: Epoch) -> None:
        interrupts.check()
        console.print(f"epoch {epoch.number:3}  loss {epoch.loss:.4f}  Spearman × 100 {epoch.correlation:.2f}")

    model, record = train(options, progress)
    encoder.save(model, options.out, record)
    for name in ("parameters", "dev_before_training", "dev", "test", "seconds"):
        if name in record:
            console.print(f"{name.replace('_', ' ')}: {record[name]:,}")
    console.print(f"written: {options.out}", markup=False, soft_wrap=True)
    return 0
