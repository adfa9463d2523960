"""The tokenizer that `--tokenizer` names: an existing one, or one that is made from the text.

gpt2 | PATH | OWNER/NAME    loaded, as are r50k_base, p50k_base, p50k_edit, cl100k_base and o200k_base
train:4096                  byte-pair encoding with 4,096 ids, trained on the training documents alone
characters                  one id per character of the whole text, as in nanoGPT's shakespeare_char
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from llm_jax.tokenizer.protocol import Tokenizer, check_text
from train.data.shards import dtype_for
from train.prepare.slices import BadRow, Source, Unit, rows_of, text_to_keep
from train.prepare.sources.hub import HubDataset

TRAIN = "train:"
CHARACTERS = "characters"
TRAINING_BYTES = 200_000_000  # pair counts hardly change with more; our trainer reads a few MB a second


def made_from_text(spec: str) -> bool:
    return spec == CHARACTERS or spec.startswith(TRAIN)


def load_tokenizer(spec: str) -> Tokenizer:
    """An existing tokenizer.

    Raises:
        FileNotFoundError: there is no such tokenizer.
        ValueError: its files are faulty, or its ids do not fit into four bytes.
    """
    from llm_jax.tokenizer.pretrained import load

    try:
        tokenizer = load(spec)
    except FileNotFoundError as error:
        if "/" in spec:
            raise
        raise FileNotFoundError(f"{error}; to make one from the text: {CHARACTERS}, or {TRAIN}4096") from None
    refuse_too_many(f"--tokenizer {spec}", tokenizer.vocab_size)
    return tokenizer


def make_tokenizer(
    spec: str, source: Source, units: list[Unit], val_fraction: float, skip_bad_rows: int = 0
) -> Tokenizer:
    """Makes `train:N` or `characters` from the text of `units`.

    Raises:
        ValueError: N is not a number or too large, the source holds no text, or it is a stream and `spec` is train:N.
    """
    if spec == CHARACTERS:
        from llm_jax.tokenizer.characters import CharacterTokenizer

        alphabet: set[str] = set()
        for text in documents(source, units, skip_bad_rows):
            alphabet.update(text)
        if not alphabet:
            raise ValueError(
                "the source holds no text, so there are no characters to make a tokenizer of; check --source"
            )
        return CharacterTokenizer(sorted(alphabet))

    from llm_jax.tokenizer.bpe.train import train_bpe

    texts = up_to(TRAINING_BYTES, _training_documents(source, units, val_fraction, skip_bad_rows))
    return train_bpe(texts, _size(spec))


def count_validation(n_documents: int, val_fraction: float) -> int:
    """How many documents at the beginning are for validation."""
    return max(1, int(n_documents * val_fraction)) if val_fraction else 0


def _size(spec: str) -> int:
    try:
        size = int(spec.removeprefix(TRAIN))
    except ValueError:
        raise ValueError(f"--tokenizer {spec}: expected a number of ids, such as {TRAIN}4096") from None
    refuse_too_many(f"--tokenizer {spec}", size)
    return size


def refuse_too_many(spec: str, vocab_size: int) -> None:
    """Raises ValueError, which begins with what was asked for, where the ids do not fit into four bytes."""
    try:
        dtype_for(vocab_size)
    except ValueError as error:
        raise ValueError(f"{spec}: {error}") from None


def _training_documents(source: Source, units: list[Unit], val_fraction: float, skip_bad_rows: int) -> Iterator[str]:
    if any(piece.split for unit in units for piece in unit):
        return documents(source, [unit for unit in units if unit[0].split == "train"], skip_bad_rows)
    if isinstance(source, HubDataset):
        raise ValueError(
            f"--tokenizer {TRAIN}N has to count the documents first, and hf:{source.name} is a stream. "
            "Train on local files first and give the result with --tokenizer PATH, or use gpt2"
        )
    n_documents = sum(1 for _ in documents(source, units, skip_bad_rows))
    return islice(documents(source, units, skip_bad_rows), count_validation(n_documents, val_fraction), None)


def documents(source: Source, units: list[Unit], skip_bad_rows: int = 0) -> Iterator[str]:
    """Documents that hold text. Raises ValueError, with the place, for more than `skip_bad_rows` bad rows."""
    skipped = 0
    for piece in (piece for unit in units for piece in unit):
        for index, read in enumerate(rows_of(source, piece)):
            text = read if isinstance(read, BadRow) else text_to_keep(read, source.separated)
            if text is None:
                continue
            if isinstance(text, str):
                try:
                    check_text(text)
                except ValueError as error:
                    text = BadRow(f"{source.place(piece, index)}: {error}")
            if isinstance(text, BadRow):
                skipped += 1
                if skipped > skip_bad_rows:
                    raise ValueError(text.reason)
                continue
            yield text


def up_to(limit: int, texts: Iterable[str]) -> Iterator[str]:
    size = 0
    for text in texts:
        yield text
        size += len(text.encode())
        if size >= limit:
            return
