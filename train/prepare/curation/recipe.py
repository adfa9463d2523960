"""What FineWeb does to a document, as published (Penedo et al. 2024, arXiv 2406.17557, and datatrove's own example).

In this order: block-listed URLs; language; Gopher's repetition and quality rules (Rae et al. 2021, appendix A1); C4's
rules without the one on terminal punctuation (Raffel et al. 2020); FineWeb's three own rules. Then MinHash over
5-grams of words with 112 hashes in 14 buckets of 8: two documents that share 75 % of their 5-grams meet in some bucket
with a probability of 77 %. Left out: extraction of text from HTML (FineWeb's parquet files are behind it already) and
the masking of e-mail and IP addresses, which FineWeb does last.
"""

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

if TYPE_CHECKING:
    from datatrove.data import Document

MINHASH = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))


class LanguageColumn(BaseFilter):
    """Keeps documents by the columns `language` and `language_score` of FineWeb's files: no model is needed."""

    name = "language, by its column"

    def __init__(self, language: str, score: float) -> None:
        super().__init__()
        self.language, self.score = language, score

    def filter(self, doc: "Document") -> bool | tuple[bool, str]:
        """Whether to keep it, and if not, why. Raises ValueError for a document without the columns."""
        missing = [name for name in ("language", "language_score") if name not in doc.metadata]
        if missing:
            raise ValueError(f"document {doc.id}: no column {missing[0]!r}; give --language '' to keep every document")
        if doc.metadata["language"] != self.language:
            return False, "other_language"
        if doc.metadata["language_score"] < self.score:
            return False, "unsure_language"
        return True


def filters(language: str, score: float) -> list[PipelineStep]:
    """FineWeb's filters with their published thresholds, which are datatrove's defaults."""
    by_language = [LanguageColumn(language, score)] if language else []
    return [
        _offline(URLFilter()),
        *by_language,
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]


def _offline(urls: Any) -> URLFilter:
    """With the list of public suffixes that comes with tldextract: compute nodes need no network."""
    from tldextract import TLDExtract

    urls.tldextractor = TLDExtract(suffix_list_urls=())
    return urls
