"""The whole critique as one record, which is the JSON file and what the page shows."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

from train.critique import contamination, documents, duplicates, removal
from train.critique.config import CritiqueConfig
from train.critique.documents import Document
from train.critique.measure import Meter, Quantities
from train.critique.words import word_tokenizer
from train.prepare.curation.languages import Language, find
from train.prepare.tokenise import available_cores
from train.prepare.vocabulary import load_tokenizer

FORMAT, VERSION = "llm-jax critique", 1
FEW = 1500  # documents that are measured in this process, because starting others takes longer
CHUNK = 100
Record = dict[str, Any]


def analyse(options: CritiqueConfig, say: Callable[[str], None] = lambda _: None) -> Record:
    """Reads, measures and compares; `say` is called with each step.

    Raises:
        OSError, ValueError, ImportError: they name the file or option and the cure.
    """
    options.check()
    language = find(options.filters)
    tokenizer = word_tokenizer(options.words, language)
    encode = load_tokenizer(options.tokenizer)
    benchmarks = [(path, contamination.read(path)) for path in options.benchmark]
    read = documents.read(options)
    edu = options.edu_threshold if any(one.score is not None for one in read.documents) else None
    say(f"measuring {len(read.documents):,} documents")
    rules = Meter(language, options.words, edu).rules
    found = _measured(read.documents, language, options, edu)
    tokens = [len(encode.encode(one.text)) for one in read.documents]
    cleaned = [
        n if one.text == measured.text else len(encode.encode(measured.text))
        for n, one, measured in zip(tokens, read.documents, found, strict=True)
    ]
    corpus = removal.Corpus.of(read.documents, tokens, rules, found, cleaned)
    kept = removal.kept_by(corpus, options.train) if options.train else None
    record: Record = {
        "format": FORMAT,
        "version": VERSION,
        "files": list(options.files),
        "documents": len(read.documents),
        "tokens": sum(tokens),
        "found": read.found,
        "empty": read.empty,
        "label": read.label,
        "filters_of": language.name,
        "words": options.words,
        "tokenizer": encode.name,
        "seed": options.seed,
        **removal.removals(corpus, options.examples, options.seed),
    }
    if options.duplicates:
        say("looking for near-duplicates")
        record["duplicates"] = duplicates.duplicates(read.documents, corpus.tokens, tokenizer, options.seed)
    record["contamination"] = []
    for number, (path, items) in enumerate(benchmarks):
        say(f"looking for {len(items):,} items of {path.name}")
        names = options.choices if number == 0 else ()
        record["contamination"].append(contamination.contamination(read.documents, path, items, tokenizer, names))
    if kept is not None:
        say(f"training {2 * options.seeds} small models of {options.train_tokens:,} tokens each")
        from train.critique import training  # JAX is needed here only

        record["training"] = training.compare(
            read.documents, kept, options.train, options.train_tokens, options.seeds, options.seed
        )
    return record


def _measured(
    pieces: Sequence[Document], language: Language, options: CritiqueConfig, edu: float | None
) -> list[Quantities]:
    workers = options.workers or available_cores()
    chunks = [pieces[at : at + CHUNK] for at in range(0, len(pieces), CHUNK)]
    if workers == 1 or len(pieces) <= FEW:
        meter = Meter(language, options.words, edu)
        return [meter(one.text, one.score) for one in pieces]
    work = partial(_measure_chunk, language.name, options.words, edu)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return [one for chunk in pool.map(work, chunks) for one in chunk]


_METERS: dict[tuple[Any, ...], Meter] = {}


def _measure_chunk(language: str, words: str, edu: float | None, pieces: Sequence[Document]) -> list[Quantities]:
    """In a worker process, which keeps its filters from one chunk to the next."""
    key = language, words, edu
    if key not in _METERS:
        _METERS[key] = Meter(find(language), words, edu)
    return [_METERS[key](one.text, one.score) for one in pieces]
