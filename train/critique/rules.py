"""Every rule of the filters: its name, the quantity it compares, and on which side of the threshold it removes.

Thresholds are those of the recipe of `train curate`: this file names attributes of datatrove's filters, and `measure`
reads their values. A rule with `chain=False` is measured beside the chain: FineWeb considered it and left it out, or
wrote it differently at first.
"""

from dataclasses import dataclass

REPETITION, QUALITY, C4, FINEWEB = "Gopher repetition", "Gopher quality", "C4", "FineWeb"
EDU = "FineWeb-Edu"
FILTERS = (REPETITION, QUALITY, C4, FINEWEB, EDU)


@dataclass(frozen=True)
class Rule:
    name: str
    filter: str
    quantity: str
    """What is measured, in words."""
    above: bool
    """Removes above the threshold, otherwise below."""
    attribute: str
    """Of datatrove's filter; empty for a rule that says only yes or no."""
    threshold: float = 0.5
    chain: bool = True

    def removes(self, value: float, threshold: float | None = None) -> bool:
        """False for a quantity that could not be measured (NaN)."""
        limit = self.threshold if threshold is None else threshold
        return value > limit if self.above else value < limit


def _n_grams(lengths: range, kind: str, attribute: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(f"{kind} {n}-gram", REPETITION, f"share of characters in the {kind} {n}-gram", True, attribute)
        for n in lengths
    )


# In the order in which datatrove compares. Two rules with one attribute share its threshold.
RULES: tuple[Rule, ...] = (
    Rule("duplicate paragraphs", REPETITION, "share of paragraphs", True, "dup_para_frac"),
    Rule("characters of duplicate paragraphs", REPETITION, "share of characters", True, "dup_para_char_frac"),
    Rule("duplicate lines", REPETITION, "share of lines", True, "dup_line_frac"),
    Rule("characters of duplicate lines", REPETITION, "share of characters", True, "dup_line_char_frac"),
    *_n_grams(range(2, 5), "most frequent", "top_n_grams"),
    *_n_grams(range(5, 11), "repeated", "dup_n_grams"),
    Rule("too few words", QUALITY, "words", False, "min_doc_words"),
    Rule("too many words", QUALITY, "words", True, "max_doc_words"),
    Rule("words too short", QUALITY, "mean word length, characters", False, "min_avg_word_length"),
    Rule("words too long", QUALITY, "mean word length, characters", True, "max_avg_word_length"),
    Rule("hashes", QUALITY, "# signs a word", True, "max_symbol_word_ratio"),
    Rule("ellipses", QUALITY, "ellipses a word", True, "max_symbol_word_ratio"),
    Rule("bullets", QUALITY, "share of lines that begin with a bullet", True, "max_bullet_lines_ratio"),
    Rule("lines ending in an ellipsis", QUALITY, "share of lines", True, "max_ellipsis_lines_ratio"),
    Rule("words without a letter", QUALITY, "share of words with a letter", False, "max_non_alpha_words_ratio"),
    Rule("stop words", QUALITY, "different stop words", False, "min_stop_words"),
    Rule("lorem ipsum", C4, "1 if the text has it", True, ""),
    Rule("curly bracket", C4, "1 if the text has one", True, ""),
    Rule("too few sentences", C4, "sentences", False, "min_num_sentences"),
    Rule("sentences in punctuated lines", C4, "sentences in lines that end with . ? ! or a quote", False, "", 5, False),
    Rule("lines without punctuation", FINEWEB, "share of lines that end with it", False, "line_punct_thr"),
    Rule("short lines", FINEWEB, "share of lines of at most 30 characters", True, "short_line_threshold"),
    Rule("repeated lines", FINEWEB, "share of characters", True, "char_duplicates_ratio"),
    Rule("lists", FINEWEB, "line breaks a word", True, "new_line_ratio"),
    Rule(
        "lines without English punctuation",
        FINEWEB,
        "share of lines that end with . ? ! or a quote",
        False,
        "line_punct_thr",
        chain=False,
    ),
    Rule("educational score", EDU, "score of FineWeb-Edu's classifier", False, "", 3),
)
