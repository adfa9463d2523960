"""What FineWeb and FineWeb-2 do to a document, as published.

English (Penedo et al. 2024, arXiv 2406.17557, and datatrove's own example), in this order: block-listed URLs; language;
Gopher's repetition and quality rules (Rae et al. 2021, appendix A1); C4's rules without the one on terminal punctuation
(Raffel et al. 2020); FineWeb's three own rules. Other languages (Penedo et al. 2025, arXiv 2506.20920): the same
without C4's rules, Gopher's on paragraphs and FineWeb's on short lines, and with words, stop words and thresholds of
the language. A document goes when any rule says so, so FineWeb-2's other order of filters keeps the same documents.

Then MinHash over 5-grams of words with 112 hashes in 14 buckets of 8: two documents that share 75 % of their 5-grams
meet in some bucket with a probability of 77 %. Left out: extraction of text from HTML (FineWeb's parquet files are
behind it already), and what both do last: masking of e-mail and IP addresses, and FineWeb-2's repair of encodings.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    URLFilter,
)
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.utils.hashing import HashConfig

from train.prepare.curation.languages import ENGLISH, Language, in_columns

if TYPE_CHECKING:
    from datatrove.data import Document

ZERO_WIDTH = "\u200b"  # between words of Khmer and Burmese; no blank to Python
MINHASH = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))


class LanguageColumn(BaseFilter):
    """Keeps documents by the columns `language` and `language_score` of FineWeb's files: no model is needed.

    FineWeb-2's files have a column `language_script` as well: there, Hindi in Latin letters is not hin_Deva.
    """

    name = "language, by its column"

    def __init__(self, language: str, score: float) -> None:
        super().__init__()
        self.score = score
        self.names, self.scripts = in_columns(language)

    def filter(self, doc: "Document") -> bool | tuple[bool, str]:
        """Whether to keep it, and if not, why. Raises ValueError for a document without the columns."""
        missing = [name for name in ("language", "language_score") if name not in doc.metadata]
        if missing:
            raise ValueError(f"document {doc.id}: no column {missing[0]!r}; give --language '' to keep every document")
        if doc.metadata["language"] not in self.names:
            return False, "other_language"
        script = doc.metadata.get("language_script")
        if script and self.scripts and script not in self.scripts:
            return False, "other_script"
        if doc.metadata["language_score"] < self.score:
            return False, "unsure_language"
        return True


class BlockedAddress(URLFilter):
    """datatrove's block list, for documents that have an address: not every file has a column `url`."""

    def filter(self, document: "Document") -> bool | tuple[bool, str]:
        return super().filter(document) if document.metadata.get("url") else True


class FineWebQuality(FineWebQualityFilter):
    """datatrove's, which sees no full stop at the end of a line where blanks follow it: here they do not count."""

    name = "FineWeb Quality"

    def filter(self, doc: "Document") -> bool | tuple[bool, str]:
        text = "\n".join(line.rstrip().rstrip(ZERO_WIDTH) for line in doc.text.split("\n"))
        return super().filter(dataclasses.replace(doc, text=text))


def filters(judge: Language, language: str = "", score: float | None = None) -> list[PipelineStep]:
    """FineWeb's filters for English, FineWeb-2's for others.

    Args:
        judge: Whose filters they are.
        language: What the column `language` has to hold; empty: anything.
        score: What the column `language_score` has to hold, at least. Default: the language's own.
    """
    score = judge.language_score if score is None else score
    by_language = [LanguageColumn(language, score)] if language else []
    rules = _english() if judge.name == ENGLISH else _fineweb_2(judge)
    return [_offline(BlockedAddress()), *by_language, *rules]


def _english() -> list[PipelineStep]:
    """With the published thresholds, which are datatrove's defaults."""
    return [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQuality(),
    ]


def _fineweb_2(judge: Language) -> list[PipelineStep]:
    """With the constants of fineweb-2-pipeline.py. From the name of the language, datatrove knows how to find words."""
    settings = judge.settings
    return [
        GopherRepetitionFilter(
            language=judge.name,
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            dup_line_frac=settings["dup_line_frac"],
            top_n_grams=settings["top_n_grams"],
            dup_n_grams=settings["dup_n_grams"],
        ),
        GopherQualityFilter(
            language=judge.name,
            min_avg_word_length=settings["min_avg_word_length"],
            max_avg_word_length=settings["max_avg_word_length"],
            max_non_alpha_words_ratio=settings["max_non_alpha_words_ratio"],
            stop_words=settings["stopwords"],
            min_stop_words=2,
        ),
        FineWebQuality(
            language=judge.name,
            short_line_thr=999,
            char_duplicates_ratio=0.1,
            line_punct_thr=settings["line_punct_thr"],
            new_line_ratio=settings["new_line_ratio"],
        ),
    ]


def _offline(urls: Any) -> URLFilter:
    """With the list of public suffixes that comes with tldextract: compute nodes need no network."""
    from tldextract import TLDExtract

    urls.tldextractor = TLDExtract(suffix_list_urls=())
    return urls
