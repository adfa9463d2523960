"""What BERT's class in transformers makes of a WordPiece vocabulary and the settings in tokenizer_config.json.

    do_lower_case            true where nothing is said
    strip_accents            as do_lower_case, where nothing is said
    tokenize_chinese_chars   true where nothing is said: each Chinese character is a word of its own

do_basic_tokenize and never_split, which old files hold, change nothing there, nor here.
"""

from dataclasses import replace
from typing import Any

from llm_jax.tokenizer.hf_files.companions import BERT_CLASSES, Companions

GOES_ON = "##"
LONGEST_WORD = 100  # characters; a longer word is the unknown token
NEUTRAL = {"", "PreTrainedTokenizer"}  # names of classes that say nothing


def as_bert(files: Companions) -> Companions:
    """The files beside a vocab.txt, which name BERT's class where they named none.

    Raises ValueError where they name a class that reads the vocabulary in another way.
    """
    if (name := files.named_class) not in BERT_CLASSES | NEUTRAL:
        raise ValueError(f"tokenizer_class is {name!r}; of a vocab.txt only BERT's WordPiece is read here")
    for field, known in (("word_tokenizer_type", "basic"), ("subword_tokenizer_type", "wordpiece")):
        if (value := files.tokenizer_config.get(field, known)) != known:
            raise ValueError(f"{field} is {value!r}, which is not computed here; of a vocab.txt only {known!r} is")
    named = {} if name in BERT_CLASSES else {"tokenizer_class": "BertTokenizer"}
    return replace(files, tokenizer_config=files.tokenizer_config | named)


def parts(vocab: dict[str, int], files: Companions, cleanup: bool = True) -> dict[str, Any]:
    """Normalizer, pre-tokenizer, decoder and model. Raises ValueError for a setting that is neither true nor false.

    `cleanup`: decoding leaves out the space before a punctuation mark, as the class does.
    """
    unknown = files.named_token("unk_token") or "[UNK]"
    if unknown not in vocab:
        raise ValueError(f"the vocabulary has no token {unknown!r}, which unk_token names: get the file again")
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": _setting(files, "tokenize_chinese_chars", True),
            "strip_accents": _setting(files, "strip_accents", None),
            "lowercase": _setting(files, "do_lower_case", True),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": GOES_ON, "cleanup": cleanup},
        "model": {
            "type": "WordPiece",
            "unk_token": unknown,
            "continuing_subword_prefix": GOES_ON,
            "max_input_chars_per_word": LONGEST_WORD,
            "vocab": vocab,
        },
    }


def _setting(files: Companions, field: str, default: bool | None) -> bool | None:
    value = files.tokenizer_config.get(field, default)
    if not isinstance(value, bool) and value is not default:
        raise ValueError(f"tokenizer_config.json: {field} is {value!r}; expected true or false")
    return value
