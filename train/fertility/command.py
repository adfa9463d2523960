"""What the same text costs in tokens, by language and tokenizer: `python -m train fertility FILES…`.

A file holds one sentence a line; files of the same name with other suffixes (khm_Khmr.dev, khm_Khmr.devtest) are one
text. NAME=FILE names a text, NAME=TOKENIZER a tokenizer. Prints tables; writes fertility.json, fertility.csv,
premium.png, tokens.png and fertility.html, a page of the tokens themselves that needs no network.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from train.fertility.config import Settings


@dataclass(frozen=True)
class Options:
    files: tyro.conf.Positional[tuple[str, ...]]
    """Texts, one sentence a line, each FILE or NAME=FILE; translations of each other line by line."""
    tokenizers: tuple[str, ...] = ("gpt2", "cl100k_base", "o200k_base")
    """Names of tiktoken's, owner/name on the hub, tokenizer.json, tokenizer.model or their folders, or NAME=ONE."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = Settings()
    out: Path = Path("fertility")
    """Folder for the files."""


def main(options: Options) -> int:
    """Reads, measures, prints and writes."""
    from rich.console import Console

    from llm_jax.files import json_files, write
    from train.fertility import analysis, page, pictures, report, texts

    read = texts.read_all(options.files)
    tokenizers = analysis.load_tokenizers(options.tokenizers)
    record = analysis.analyse(read, tokenizers, options.settings)
    console = Console(width=None if sys.stdout.isatty() else 80, highlight=False)
    report.show(console, record)
    options.out.mkdir(parents=True, exist_ok=True)
    json_files.write_json(options.out / "fertility.json", record)
    write(options.out / "fertility.csv", report.as_csv(record))
    pictures.draw(options.out, record)
    page.write(options.out / "fertility.html", record, read, tokenizers, options.settings.sentences)
    console.print(
        f"written: {options.out}/fertility.html, .json, .csv, premium.png, tokens.png", markup=False, soft_wrap=True
    )
    return 0
