"""What a tokenizer is trained on, by which algorithm, and how large it becomes."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["bpe", "unigram", "wordpiece"]
Form = Literal["bytes", "sentencepiece"]
Pattern = Literal["gpt2", "cl100k", "o200k"]


@dataclass(frozen=True)
class TokenizerConfig:
    source: tuple[str, ...] = ("stdlib",)
    """Text to learn from, as for prepare: stdlib, or files, globs or folders, or hf:NAME."""

    kind: Kind = "bpe"
    """bpe (byte-pair encoding), unigram (Kudo 2018) or wordpiece (BERT)."""

    vocab_size: int = 8192
    """Tokens, the special ones included."""

    out: Path | None = None
    """Folder for the tokenizer. Default: tokenizers/ and kind and size, such as tokenizers/bpe-8192."""

    form: Form = "bytes"
    """Of bpe: bytes (as GPT-2) or sentencepiece (characters with byte fallback, as Llama 2; writes a tokenizer.model,
    too)."""

    pattern: Pattern = "gpt2"
    """Of bpe over bytes: which published pattern cuts a text before merging."""

    normalization: Literal["identity", "nfkc"] = "identity"
    """Of unigram and sentencepiece: the text as it is, or Unicode's form NFKC, which changes it for good."""

    coverage: float = 0.9995
    """Of unigram and sentencepiece: share of the text's characters that become tokens; the others are bytes. At least
    0.98."""

    byte_fallback: bool = True
    """Of unigram and sentencepiece: write other characters as bytes, not as <unk>."""

    space_runs: bool = True
    """Of unigram and sentencepiece: let a run of spaces be one token, as code wants it."""

    lowercase: bool = True
    """Of wordpiece: without capitals and accents, as bert-base-uncased."""

    least: int = 2
    """Of wordpiece: how often a pair must occur to be joined. Its score prefers the rarest."""

    megabytes: float = 0.0
    """Text to learn from, in MB of 10^6 bytes; the rest is left out. 0: 200 for bpe and wordpiece, 50 for unigram."""

    text_column: str = "text"
    """Column or field that holds the text, as for prepare."""

    document_separator: str | None = None
    """Text that divides the documents of plain text, as for prepare."""

    config: str | None = None
    """Configuration of an hf: dataset."""

    dataset_split: str = "train"
    """Split of an hf: dataset to read."""

    revision: str | None = None
    """Commit of an hf: dataset. Default: the newest."""

    skip_bad_rows: int = 0
    """How many rows may be left out because they cannot be read."""

    processes: int = 0
    """Processes that count words, for bpe. 0: one for each core that this process may use."""

    sample: str = "The quick brown fox jumps over the lazy dog. ภาษาไทย, 中文, naïve café: def f(x): return x + 1"
    """Text whose segmentation is shown at the end."""

    @property
    def folder(self) -> Path:
        return self.out or Path("tokenizers") / f"{self.kind}-{self.vocab_size}"

    @property
    def limit(self) -> int:
        """Bytes of text to learn from."""
        return int((self.megabytes or (50 if self.kind == "unigram" else 200)) * 1e6)

    def check(self) -> None:
        """Raises ValueError for a number out of range, and for a folder that holds something else."""
        if self.vocab_size < 1:
            raise ValueError(f"--vocab-size must be at least 1; got {self.vocab_size}")
        if not math.isfinite(self.megabytes) or self.megabytes < 0:
            raise ValueError(f"--megabytes must be above 0 and finite, or 0 for the default; got {self.megabytes}")
        if not 0.98 <= self.coverage <= 1:
            raise ValueError(f"--coverage must be at least 0.98 and at most 1; got {self.coverage}")
        if min(self.least, self.processes + 1, self.skip_bad_rows + 1) < 1:
            raise ValueError(
                f"--least must be at least 1, --processes and --skip-bad-rows not negative; got {self.least}, "
                f"{self.processes} and {self.skip_bad_rows}"
            )
        if self.form == "sentencepiece" and self.kind == "wordpiece":
            raise ValueError("--form sentencepiece is for bpe; unigram has it always, wordpiece never: leave it out")
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise ValueError(f"{self.folder} is there already and would be lost: choose another --out, or remove it")
