"""Languages that curation knows: their names, and FineWeb-2's thresholds and stop words, from `languages.toml`.

Rules made for English remove nearly every good document of another language. Its stop words differ, its words are
longer or shorter, and Thai, Lao, Khmer, Burmese, Chinese and Japanese write no spaces between words. So a language
without settings is refused. A language can be named by FineWeb-2's name (tha_Thai), by FLORES-200's if it differs
(zho_Hans), and by the codes that the column `language` holds (th in fastText's labels, tha in FineWeb-2's files).
"""

import contextlib
import dataclasses
import importlib.metadata
import io
import os
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from train.prepare.curation.config import CurationConfig

FILE_NAME = "languages.toml"
ENGLISH = "eng_Latn"


@dataclass(frozen=True)
class Language:
    """One table of `languages.toml`."""

    name: str
    """FineWeb-2's name, by which datatrove selects the word tokenizer."""
    names: tuple[str, ...]
    """Its other names."""
    packages: tuple[str, ...]
    """Distributions that datatrove's word tokenizer needs."""
    language_score: float
    """Lowest `language_score` of a document that is kept."""
    settings: Mapping[str, Any]
    """FineWeb-2's settings, under its names; empty for English."""


@cache
def languages() -> dict[str, Language]:
    """All languages, by FineWeb-2's names."""
    document = tomllib.loads(resources.files("train.prepare.curation").joinpath(FILE_NAME).read_text(encoding="utf8"))
    known = {}
    for name, table in document.items():
        if isinstance(table, dict):
            names, packages = tuple(table.pop("names")), tuple(table.pop("packages"))
            known[name] = Language(name, names, packages, table.pop("language_score"), table)
    return known


def find(name: str, option: str = "--filters") -> Language:
    """The language with this name or code.

    Raises:
        ValueError: there is none; lists the languages that there are.
    """
    for language in languages().values():
        if name in (language.name, *language.names):
            return language
    known = ", ".join(f"{language.name} ({language.names[0]})" for language in languages().values())
    raise ValueError(
        f"{option} {name}: no filters for this language; there are {known}. Name the nearest of them by --filters, or "
        f"add the language to train/prepare/curation/{FILE_NAME}"
    )


def resolve(options: CurationConfig) -> CurationConfig:
    """The options with FineWeb-2's names for language and filters, and the default score filled in.

    Raises:
        ValueError: the language has no settings, and --filters does not name one that has.
    """
    rules = find(options.filters) if options.filters else find(options.language or ENGLISH, "--language")
    with contextlib.suppress(ValueError):  # with --filters, the column may hold any name
        options = dataclasses.replace(options, language=find(options.language).name)
    score = rules.language_score if options.language_score is None else options.language_score
    return dataclasses.replace(options, filters=rules.name, language_score=score)


def in_columns(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """The values of the columns `language` and `language_script` for a language. Scripts are empty if not known."""
    names = {name, name.split("_")[0]}
    if name in languages():
        names.update(languages()[name].names)
    return frozenset(names), frozenset(each.split("_")[1] for each in names if "_" in each)


def check_words(language: Language) -> None:
    """Runs the language's word tokenizer once, so that a missing package is reported before the work begins.

    Raises:
        ImportError: a package is missing or fails; names it and the cure.
    """
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    cure = "uv sync --inexact --extra curate"
    for package in language.packages:
        try:
            importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            raise ImportError(f"{language.name} needs the word tokenizer {package}, which is missing: {cure}") from None
    os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")  # otherwise PyThaiNLP makes a folder in the user's home
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")  # pyvi and jieba contain invalid escape sequences
            load_word_tokenizer(language.name).word_tokenize("a b")
    except Exception as error:  # whatever these packages raise
        needed = ", ".join(language.packages) or "spacy"
        raise ImportError(
            f"{language.name} needs the word tokenizer {needed}, which fails ({error}): {cure}"
        ) from error
