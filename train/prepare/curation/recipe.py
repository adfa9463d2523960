"""The filters and the deduplication of FineWeb and FineWeb-2, as published.

English (Penedo et al. 2024, arXiv 2406.17557, and datatrove's example) has, in this order: block-listed URLs; language;
Gopher's repetition and quality rules (Rae et al. 2021, appendix A1); C4's rules without the one on terminal punctuation
(Raffel et al. 2020); FineWeb's own three rules. Other languages (Penedo et al. 2025, arXiv 2506.20920) have the same
rules with the language's own words, stop words and thresholds, but without C4's, Gopher's on paragraphs and FineWeb's
on short lines. A document is removed if any rule says so. FineWeb-2's filters have another order, which therefore keeps
the same documents.

Deduplication is MinHash over 5-grams of words with 112 hashes in 14 buckets of 8. Two documents that share 75 % of
their 5-grams have the same hashes in at least one bucket with a probability of 77 %. Left out: the extraction of text
from HTML, which FineWeb's parquet files have behind them, and the last steps of both: masking of e-mail and IP
addresses, and FineWeb-2's repair of encodings.
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

ZERO_WIDTH = "\u200b"  # between words of Khmer and Burmese; Python does not count it as white space
MINHASH = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))


class LanguageColumn(BaseFilter):
    """Keeps documents by the columns `language` and `language_score` of FineWeb's files, without a model.

    FineWeb-2's files also have a column `language_script`, by which Hindi in Latin letters is not hin_Deva.
    """

    name = "language, by its column"

    def __init__(self, language: str, score: float) -> None:
        super().__init__()
        self.score = score
        self.names, self.scripts = in_columns(language)

    def filter(self, doc: "Document") -> bool | tuple[bool, str]:
        """True to keep the document, else False and the reason.

        Raises:
            ValueError: the document does not have the columns.
        """
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
    """datatrove's block list. A document without the column `url` is kept."""

    def filter(self, document: "Document") -> bool | tuple[bool, str]:
        return super().filter(document) if document.metadata.get("url") else True


class FineWebQuality(FineWebQualityFilter):
    """datatrove's filter on lines without white space at their ends, which would hide a full stop from it."""

    name = "FineWeb Quality"

    def filter(self, doc: "Document") -> bool | tuple[bool, str]:
        text = "\n".join(line.rstrip().rstrip(ZERO_WIDTH) for line in doc.text.split("\n"))
        return super().filter(dataclasses.replace(doc, text=text))


def filters(rules: Language, language: str = "", score: float | None = None) -> list[PipelineStep]:
    """FineWeb's filters for English, FineWeb-2's for others.

    Args:
        rules: the language whose filters to use.
        language: value of the column `language` of documents to keep; empty: any.
        score: lowest `language_score` of documents to keep. Default: the language's own.
    """
    score = rules.language_score if score is None else score
    by_language = [LanguageColumn(language, score)] if language else []
    quality = _english() if rules.name == ENGLISH else _fineweb_2(rules)
    return [_offline(BlockedAddress()), *by_language, *quality]


def _english() -> list[PipelineStep]:
    """FineWeb's quality filters, with the published thresholds, which are datatrove's defaults."""
    return [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQuality(),
    ]


def _fineweb_2(rules: Language) -> list[PipelineStep]:
    """FineWeb-2's quality filters, with the constants of fineweb-2-pipeline.py.

    datatrove selects the word tokenizer by the language's name.
    """
    settings = rules.settings
    return [
        GopherRepetitionFilter(
            language=rules.name,
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            dup_line_frac=settings["dup_line_frac"],
            top_n_grams=settings["top_n_grams"],
            dup_n_grams=settings["dup_n_grams"],
        ),
        GopherQualityFilter(
            language=rules.name,
            min_avg_word_length=settings["min_avg_word_length"],
            max_avg_word_length=settings["max_avg_word_length"],
            max_non_alpha_words_ratio=settings["max_non_alpha_words_ratio"],
            stop_words=settings["stopwords"],
            min_stop_words=2,
        ),
        FineWebQuality(
            language=rules.name,
            short_line_thr=999,
            char_duplicates_ratio=0.1,
            line_punct_thr=settings["line_punct_thr"],
            new_line_ratio=settings["new_line_ratio"],
        ),
    ]


def _offline(urls: Any) -> URLFilter:
    """Uses the list of public suffixes that comes with tldextract, because compute nodes may have no network."""
    from tldextract import TLDExtract

    urls.tldextractor = TLDExtract(suffix_list_urls=())
    return urls
