"""What a class of transformers 5 changes in the tokenizer.json that it loads.

Classes for one family take the vocabulary, the merges and the post-processor from the file, and build the rest anew by
tokenizer_config.json: BERT's by its settings, the byte-level ones with or without a space before every text. What the
byte-level ones do to other pre-tokenizers is not followed: transformers itself avoids those classes there.
"""

from typing import Any

from llm_jax.tokenizer.hf_files import bert_class
from llm_jax.tokenizer.hf_files.companions import BERT_CLASSES, ROBERTA_CLASSES, Companions

_BERT = BERT_CLASSES - {"ConvBertTokenizer"}  # which has no rule of its own, so the file counts
_BYTE_LEVEL = {"GPT2Tokenizer", "CodeGenTokenizer", "Qwen2Tokenizer"} | ROBERTA_CLASSES


def rebuilt(content: dict[str, Any], files: Companions) -> dict[str, Any]:
    """The content of a `tokenizer.json` as the class that the files beside it name reads it."""
    model = content["model"]
    if files.named_class in _BERT and model.get("type") == "WordPiece":
        return content | bert_class.parts(model["vocab"], files)
    if files.named_class in _BYTE_LEVEL and model.get("type") in ("BPE", None):
        adds = bool(files.tokenizer_config.get("add_prefix_space"))
        return content | {"pre_tokenizer": _with_space(content.get("pre_tokenizer"), adds)}
    return content


def _with_space(pre_tokenizer: Any, adds: bool) -> Any:
    if isinstance(pre_tokenizer, list):
        return [_with_space(step, adds) for step in pre_tokenizer]
    if not isinstance(pre_tokenizer, dict):
        return pre_tokenizer
    if pre_tokenizer.get("type") == "ByteLevel":
        return pre_tokenizer | {"add_prefix_space": adds}
    return pre_tokenizer | {
        name: _with_space(pre_tokenizer[name], adds) for name in {"pretokenizers"} & {*pre_tokenizer}
    }
