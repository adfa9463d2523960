"""Languages that curation knows: their names, and FineWeb-2's thresholds and stop words, from `languages.toml`.

Rules made for English remove nearly every good document of another language: its stop words are others, its words are
longer or shorter, and Thai, Lao, Khmer, Burmese, Chinese and Japanese put no blanks between them. A language without
settings is therefore refused. A language goes by FineWeb-2's name (tha_Thai), by that of FLORES-200 where it differs
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
    """One table of the file."""

    name: str
    """FineWeb-2's, by which datatrove knows how to find its words."""
    names: tuple[str, ...]
    """Its other names."""
    packages: tuple[str, ...]
    """Distributions that datatrove needs for its words."""
    language_score: float
    """Documents are kept from this score of their language on."""
    settings: Mapping[str, Any]
    """FineWeb-2's, by its names; empty for English."""


@cache
def languages() -> dict[str, Language]:
    """All, by FineWeb-2's names."""
    document = tomllib.loads(resources.files("train.prepare.curation").joinpath(FILE_NAME).read_text(encoding="utf8"))
    found = {}
    for name, table in document.items():
        if isinstance(table, dict):
            names, packages = tuple(table.pop("names")), tuple(table.pop("packages"))
            found[name] = Language(name, names, packages, table.pop("language_score"), table)
    return found


def find(name: str, option: str = "--filters") -> Language:
    """The language of any of its names. Raises ValueError that lists the languages there are."""
    for language in languages().values():
        if name in (language.name, *language.names):
            return language
    known = ", ".join(f"{language.name} ({language.names[0]})" for language in languages().values())
    raise ValueError(
        f"{option} {name}: no filters for this language; there are {known}; --filters with the name of the nearest of "
        f"them applies its filters, and others can be added to train/prepare/curation/{FILE_NAME}"
    )


def resolve(options: CurationConfig) -> CurationConfig:
    """The options with the language and the filters by FineWeb-2's names, and the score as a number.

    Raises:
        ValueError: For a language without settings, unless --filters says whose to use.
    """
    judge = find(options.filters) if options.filters else find(options.language or ENGLISH, "--language")
    with contextlib.suppress(ValueError):  # with --filters, the column may hold any name
        options = dataclasses.replace(options, language=find(options.language).name)
    score = judge.language_score if options.language_score is None else options.language_score
    return dataclasses.replace(options, filters=judge.name, language_score=score)


def in_columns(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """What the columns `language` and `language_script` hold for a language: its names, and its scripts, if known."""
    names = {name, name.split("_")[0]}
    if name in languages():
        names.update(languages()[name].names)
    return frozenset(names), frozenset(each.split("_")[1] for each in names if "_" in each)


def check_words(language: Language) -> None:
    """Finds words once, so that what is missing is said now. Raises ImportError that names the package and the cure."""
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    cure = "uv sync --inexact --extra curate"
    for package in language.packages:
        try:
            importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            raise ImportError(
                f"the words of {language.name} are found by {package}, which is missing: {cure}"
            ) from None
    os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")  # otherwise it makes a folder in the user's home
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")  # of invalid escapes in pyvi and jieba, as Python first compiles them
            load_word_tokenizer(language.name).word_tokenize("a b")
    except Exception as error:  # whatever these packages raise
        needed = ", ".join(language.packages) or "spacy"
        raise ImportError(
            f"the words of {language.name} are found by {needed}, which fails ({error}): {cure}"
        ) from error
