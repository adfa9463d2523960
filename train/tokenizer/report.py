"""What a trained tokenizer does to its text, measured on the beginning of it: report.json, and a table."""

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_jax.tokenizer.protocol import Tokenizer
from train.tokenizer.config import TokenizerConfig

REPORT = "report.json"
SAMPLE_CHARACTERS = 1_000_000


class Sample:
    """The first texts of a stream, and how much text went by."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.documents = self.characters = 0

    def keep(self, texts: Iterable[str]) -> Iterator[str]:
        for text in texts:
            if self.characters < SAMPLE_CHARACTERS:
                self.texts.append(text[: SAMPLE_CHARACTERS - self.characters])
            self.documents += 1
            self.characters += len(text)
            yield text


def measure(options: TokenizerConfig, tokenizer: Tokenizer, sample: Sample, seconds: float) -> dict[str, Any]:
    """The report."""
    ids = tokenizer.encode_batch(sample.texts)
    n_tokens = sum(map(len, ids))
    n_bytes = sum(len(text.encode()) for text in sample.texts)
    unknown = tokenizer.token_to_id("[UNK]" if options.kind == "wordpiece" else "<unk>")
    used = {number for one in ids for number in one}
    changed = sum(tokenizer.decode(one) != text for one, text in zip(ids, sample.texts, strict=True))
    return {
        "folder": str(options.folder),
        "kind": options.kind,
        "vocab_size": tokenizer.vocab_size,
        "fingerprint": tokenizer.fingerprint,
        "learnt_from": {
            "source": list(options.source),
            "documents": sample.documents,
            "characters": sample.characters,
        },
        "seconds": round(seconds, 2),
        "measured_on": {"documents": len(sample.texts), "bytes": n_bytes},
        "tokens": n_tokens,
        "bytes_per_token": round(n_bytes / max(n_tokens, 1), 4),
        "unknown_tokens": 0 if unknown is None else sum(one.count(unknown) for one in ids),
        "tokens_used": len(used),
        "texts_that_decoding_changes": changed,
        "sample": {"text": options.sample, "tokens": _spelled(tokenizer, options.sample)},
    }


def show(report: dict[str, Any], console: Console) -> None:
    """Prints the report, with the sample's tokens in alternating colours."""
    table = Table(title=report["folder"], title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rows = {
        "algorithm": report["kind"],
        "tokens in the vocabulary": f"{report['vocab_size']:,}",
        "documents, M characters": (
            f"{report['learnt_from']['documents']:,}, {report['learnt_from']['characters'] / 1e6:,.1f}"
        ),
        "seconds": f"{report['seconds']:,.1f}",
        "measured on": f"{report['measured_on']['bytes'] / 1e6:,.2f} MB of it",
        "bytes a token": f"{report['bytes_per_token']:.3f}",
        "unknown tokens": f"{report['unknown_tokens']:,}",
        "tokens used there": f"{report['tokens_used']:,}",
        "texts that decoding changes": (
            f"{report['texts_that_decoding_changes']:,} of {report['measured_on']['documents']:,}"
        ),
    }
    for row in rows.items():
        table.add_row(*row)
    console.print(table)
    tokens = report["sample"]["tokens"]
    line = Text(f"sample, {len(tokens)} tokens: ")
    for place, token in enumerate(tokens):
        line.append(token, style="black on cyan" if place % 2 else "black on yellow")
        if not console.is_terminal and place < len(tokens) - 1:
            line.append("|")
    console.print(line, soft_wrap=True)


def _spelled(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.id_to_token(number) or "" for number in tokenizer.encode(text)]
