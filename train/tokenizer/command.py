"""Train a tokenizer on text: byte-pair encoding, unigram or WordPiece.

Writes a folder with tokenizer.json and tokenizer_config.json, which transformers and vLLM load, for unigram and
--form sentencepiece a tokenizer.model, too, and report.json. `prepare --tokenizer FOLDER` takes it.
"""

from train.tokenizer.config import TokenizerConfig

Options = TokenizerConfig


def main(options: Options) -> int:
    from rich.console import Console

    from train.tokenizer.report import show
    from train.tokenizer.training import train

    console = Console()
    report = train(options, console)
    show(report, console)
    console.print(
        f"next: python -m train prepare --tokenizer {options.folder} --source {' '.join(options.source)}",
        markup=False,
        soft_wrap=True,
    )
    return 0
