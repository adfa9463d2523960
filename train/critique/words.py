"""How the filters find words: datatrove's word tokenizer for a language, or white space.

Gopher's and FineWeb's rules count words. In languages without spaces, the word tokenizer decides most of what
they remove.
"""

from typing import Any

from datatrove.utils.word_tokenizers import WordTokenizer, load_word_tokenizer

from train.prepare.curation.languages import Language, check_words


class AtSpaces(WordTokenizer):
    """Words at white space, and English sentences."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        return load_word_tokenizer("eng_Latn").sent_tokenize(text)

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return load_word_tokenizer("eng_Latn").span_tokenize(text)


def word_tokenizer(words: str, language: Language) -> Any:
    """What datatrove takes as `language`. Raises ImportError that names a missing package and the cure."""
    if words == "spaces":
        return AtSpaces()
    check_words(language)
    return load_word_tokenizer(language.name)
