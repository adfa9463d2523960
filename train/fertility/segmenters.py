"""Words of scripts that write no spaces between them, by programs made for each (optional extra `words`)."""

import importlib
import warnings
from collections.abc import Callable

import regex

Segmenter = Callable[[str], list[str]]

# Script → the package that finds its words. Burmese has none that installs everywhere.
PACKAGES = {"Thai": "pythainlp", "Lao": "laonlp", "Khmer": "khmercut", "Chinese": "jieba", "Japanese": "budoux"}
SPACELESS = {
    "Thai": r"\p{Thai}",
    "Lao": r"\p{Lao}",
    "Khmer": r"\p{Khmer}",
    "Burmese": r"\p{Myanmar}",
    "Chinese": r"\p{Han}",
    "Japanese": r"[\p{Hiragana}\p{Katakana}]",
}
KANA = 0.05  # share of letters from which on Han characters are read as Japanese


def spaceless_script(text: str) -> str | None:
    """The script of most letters, if it writes no spaces between words; None for all others.

    >>> spaceless_script("ภาษาไทย"), spaceless_script("a language"), spaceless_script("日本語です")
    ('Thai', None, 'Japanese')
    """
    sample = text[:200_000]
    total = len(regex.findall(r"\p{L}", sample))
    counts = {name: len(regex.findall(rf"(?=\p{{L}}){letters}", sample)) for name, letters in SPACELESS.items()}
    if counts["Japanese"] > KANA * total:
        counts["Japanese"] += counts.pop("Chinese")
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] > total / 2 else None


def segmenter_of(script: str) -> Segmenter | None:
    """The program for a script; None where there is none.

    Raises ModuleNotFoundError, with the command that installs it.
    """
    if script not in PACKAGES:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes in other people's strings
            return _LOADERS[script]()
    except ImportError as error:
        raise ModuleNotFoundError(
            f"--words segmenter needs {PACKAGES[script]} for {script} ({error}): install it with "
            "`uv sync --extra words`, or leave --words out"
        ) from None


def _thai() -> Segmenter:
    return importlib.import_module("pythainlp.tokenize").word_tokenize


def _lao() -> Segmenter:
    return importlib.import_module("laonlp.tokenize").word_tokenize


def _khmer() -> Segmenter:
    return importlib.import_module("khmercut").tokenize


def _chinese() -> Segmenter:
    jieba = importlib.import_module("jieba")
    jieba.setLogLevel(60)
    return jieba.lcut


def _japanese() -> Segmenter:
    return importlib.import_module("budoux").load_default_japanese_parser().parse


_LOADERS: dict[str, Callable[[], Segmenter]] = {
    "Thai": _thai,
    "Lao": _lao,
    "Khmer": _khmer,
    "Chinese": _chinese,
    "Japanese": _japanese,
}
