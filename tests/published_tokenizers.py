"""Small tokenizers with the settings of published families, trained on FLORES: normalizer, pre-tokenizer, decoder,
post-processor and special tokens as in the families' own files, and a vocabulary of a few hundred tokens."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = "|".join(
    [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
LLAMA3_SPECIAL = (
    "begin_of_text",
    "end_of_text",
    "reserved_special_token_0",
    "eom_id",
    "start_header_id",
    "end_header_id",
    "eot_id",
)
FAMILIES = ("smollm2", "llama3", "qwen2", "mistral")
# What stands in tokenizer_config.json, and in the model's own files beside it.
CONFIGS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "smollm2": (
        {
            # SmolLM2's own file says GPT2Tokenizer, for which transformers 5 leaves the digits' pre-tokenizer out.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|im_start|>",
            "eos_token": "<|im_end|>",
            "pad_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
        },
        {"model_type": "llama"},
        {"eos_token_id": 2},
    ),
    "llama3": (
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>",
        },
        {"model_type": "llama"},
        {"eos_token_id": ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"]},
    ),
    "qwen2": (
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "add_bos_token": False,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
        },
        {"model_type": "qwen2"},
        {"eos_token_id": ["<|im_end|>", "<|endoftext|>"]},
    ),
    "mistral": (
        {
            "tokenizer_class": "LlamaTokenizer",
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "legacy": False,
        },
        {"model_type": "mistral"},
        {"eos_token_id": 2},
    ),
}


def write(family: str, folder: Path, texts: Sequence[str], vocab_size: int = 800) -> Path:
    """The folder of a model of this family, with its tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"smollm2": _smollm2, "llama3": _llama3, "qwen2": _qwen2, "mistral": _mistral}[family](texts, vocab_size)
    tokenizer = Tokenizer.from_str(json.dumps(content))
    config, model, generation = CONFIGS[family]
    ends = generation["eos_token_id"]
    ids = [tokenizer.token_to_id(token) for token in ends] if isinstance(ends, list) else ends
    files = {"tokenizer": content, "tokenizer_config": config, "config": model}
    for name, fields in (files | {"generation_config": {"eos_token_id": ids}}).items():
        (folder / f"{name}.json").write_text(json.dumps(fields, ensure_ascii=False), encoding="utf-8")
    return folder


def _trained(tokenizer: Tokenizer, texts: Sequence[str], vocab_size: int, special: Sequence[str], **options) -> dict:
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(special), show_progress=False, **options)
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())


def _byte_level(pre_tokenizer: Any, texts: Sequence[str], vocab_size: int, special: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return Tokenizer.from_str(json.dumps(_trained(tokenizer, texts, vocab_size, special, initial_alphabet=alphabet)))


def _split(pattern: str) -> Any:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level])


def _smollm2(texts: Sequence[str], vocab_size: int) -> dict:
    digits = pre_tokenizers.Digits(individual_digits=True)
    steps = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return json.loads(
        _byte_level(steps, texts, vocab_size, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"]).to_str()
    )


def _llama3(texts: Sequence[str], vocab_size: int) -> dict:
    tokenizer = _byte_level(_split(LLAMA3), texts, vocab_size, [])
    tokenizer.add_special_tokens([f"<|{name}|>" for name in LLAMA3_SPECIAL])
    begin = "<|begin_of_text|>"
    template = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin}:1 $B:1", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    content = json.loads(tokenizer.to_str())
    content["model"]["ignore_merges"] = True
    return content


def _qwen2(texts: Sequence[str], vocab_size: int) -> dict:
    tokenizer = _byte_level(_split(QWEN2), texts, vocab_size, [])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(["<tool_call>", "</tool_call>"])
    return json.loads(tokenizer.to_str())


def _mistral(texts: Sequence[str], vocab_size: int) -> dict:
    """As transformers 4 wrote Llama's and Mistral's SentencePiece model."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"]
    content = _trained(
        tokenizer, texts, vocab_size, [*special, *(f"<0x{i:02X}>" for i in range(256))], max_token_length=8
    )
    content["added_tokens"] = content["added_tokens"][:3]
    content["model"] |= {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return json.loads(tokenizer.to_str())
