"""The small JSON files beside a vocabulary, in all the forms that transformers has written them in.

    tokenizer_config.json     class, named tokens (a text, or an object with `content`), added_tokens_decoder
    special_tokens_map.json   named tokens; counts where tokenizer_config.json has no added_tokens_decoder
    added_tokens.json         token → id, of tokenizers saved before there was a tokenizer.json
    generation_config.json, config.json   ids of tokens, read by `borders`

A byte order mark is skipped. A file that is missing says nothing; a damaged one is refused by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_jax.files.json_files import read_json

TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"
GENERATION_CONFIG = "generation_config.json"
MODEL_CONFIG = "config.json"
NAMES = (TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, ADDED_TOKENS, GENERATION_CONFIG, MODEL_CONFIG)
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MORE_SPECIAL = ("additional_special_tokens", "extra_special_tokens")
END_OF_TEXT = "<|endoftext|>"
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")  # of an added token
# Other names of BERT's class in transformers.
BERT_CLASSES = {
    f"{name}Tokenizer"
    for name in (
        *("Bert", "DistilBert", "Electra", "MobileBert", "ConvBert", "SqueezeBert", "LayoutLM", "Lxmert"),
        *("RetriBert", "DPRQuestionEncoder", "DPRContextEncoder"),
    )
}
BERT_NAMES = {f"{role}_token": f"[{role.upper()}]" for role in ("unk", "sep", "pad", "cls", "mask")}
ROBERTA_CLASSES = {f"{name}Tokenizer" for name in ("Roberta", "Bart", "Longformer", "LED", "Mvp")}
ROBERTA_NAMES = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>"} | {
    f"{role}_token": f"<{role}>" for role in ("unk", "pad", "mask")
}
# What the classes of transformers name where their files leave a name out; "Fast" at the end of a name changes nothing.
CLASS_DEFAULTS = {
    "GPT2Tokenizer": dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT),
    "Qwen2Tokenizer": dict.fromkeys(("eos_token", "unk_token", "pad_token"), END_OF_TEXT),
    "LlamaTokenizer": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "CodeGenTokenizer": dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT),
    **dict.fromkeys(ROBERTA_CLASSES, ROBERTA_NAMES),
    **dict.fromkeys(BERT_CLASSES, BERT_NAMES),
}
# By the model_type of config.json, where no file names a class.
CLASS_OF_MODEL = {
    **dict.fromkeys(("gpt2", "gpt_neo", "gptj", "codegen", "opt", "phi", "starcoder2"), "GPT2Tokenizer"),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next"), "Qwen2Tokenizer"),
    **dict.fromkeys(("roberta", "bart", "longformer"), "RobertaTokenizer"),
    **dict.fromkeys(("bert", "distilbert", "electra", "mobilebert", "convbert", "layoutlm"), "BertTokenizer"),
    "clip": "CLIPTokenizer",
}


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, whatever Unicode encoding or mark it has. Raises ValueError naming the file."""
    return read_json(path, "download or save it again")


@dataclass(frozen=True)
class Companions:
    """What the files of one folder say; {} for those that are not there."""

    folder: Path | None = None
    tokenizer_config: dict[str, Any] = field(default_factory=dict)
    special_tokens_map: dict[str, Any] = field(default_factory=dict)
    added_tokens: dict[str, Any] = field(default_factory=dict)
    generation_config: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Companions":
        return cls(folder, *(read_object(folder / name) if (folder / name).is_file() else {} for name in NAMES))

    def of_the_model(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The files that name tokens by id, in order of precedence, with their paths."""
        folder = self.folder or Path()
        yield folder / GENERATION_CONFIG, self.generation_config
        yield folder / MODEL_CONFIG, self.config

    def is_id_of_the_model(self, number: int) -> bool:
        """Whether the model has an embedding of this id, as far as config.json says how many there are."""
        text = self.config.get("text_config")
        n_known = (text if isinstance(text, dict) else self.config).get("vocab_size")
        return type(n_known) is not int or number < n_known

    def named_token(self, role: str) -> str | None:
        """The token of a role such as `eos_token`. Raises ValueError for a value that is no token."""
        found = self._named()
        if role in found:
            return _content(found[role], role, self.folder)
        return CLASS_DEFAULTS.get(self.tokenizer_class, {}).get(role)

    def special_names(self, with_defaults: bool = True) -> set[str]:
        """Every token that some file says is special, and those that are so by the class's default."""
        names: set[str | None] = {token["content"] for token in self.named_tokens()}
        names |= {self.named_token(role) for role in ROLES if with_defaults}
        names |= {token["content"] for token in self.decoder().values() if token.get("special")}
        return {name for name in names if name}

    def named_tokens(self) -> list[dict[str, Any]]:
        """The special tokens that these files name by a role, in the order in which transformers numbers new ones."""
        found = self._named()
        more = [role for role, value in found.items() if role.endswith("_token") and isinstance(value, str)]
        values = [(role, found[role]) for role in dict.fromkeys([*ROLES, *more]) if found.get(role)]
        for key in MORE_SPECIAL:
            listed = found.get(key) or []
            listed = list(listed.values()) if isinstance(listed, dict) else listed
            values += [(key, value) for value in listed] if isinstance(listed, list) else []
        tokens: dict[str, dict[str, Any]] = {}
        for role, value in values:
            flags = {flag: bool(value.get(flag)) for flag in FLAGS} if isinstance(value, dict) else {}
            if name := _content(value, role, self.folder):
                tokens.setdefault(name, {"content": name, "special": True} | flags)
        return list(tokens.values())

    def decoder(self) -> dict[int, dict[str, Any]]:
        """Added tokens by id, as a `tokenizer.json` lists them: `added_tokens_decoder`, else added_tokens.json."""
        listed, added = self.tokenizer_config.get("added_tokens_decoder"), self.added_tokens
        folder = self.folder or Path()
        if isinstance(listed, dict):
            try:
                return {int(number): {**token, "content": str(token["content"])} for number, token in listed.items()}
            except (TypeError, KeyError, ValueError) as error:
                raise ValueError(
                    f"{folder / TOKENIZER_CONFIG}: added_tokens_decoder maps ids to tokens; {error!r}"
                ) from None
        if wrong := [token for token, number in added.items() if type(number) is not int]:
            raise ValueError(
                f"{folder / ADDED_TOKENS}: the id of {wrong[0]!r} is {added[wrong[0]]!r}; expected a whole number"
            )
        return {number: {"content": token} for token, number in added.items()}

    def _named(self) -> dict[str, Any]:
        """Role → token, as transformers merges the two files."""
        from_map = {} if "added_tokens_decoder" in self.tokenizer_config else self.special_tokens_map
        return self.tokenizer_config | from_map

    @property
    def named_class(self) -> str:
        """The class in transformers that a file names, without "Fast"; empty where none does."""
        name = self.tokenizer_config.get("tokenizer_class") or self.config.get("tokenizer_class")
        return str(name or CLASS_OF_MODEL.get(str(self.config.get("model_type")), "")).removesuffix("Fast")

    @property
    def tokenizer_class(self) -> str:
        """`named_class`; where none is named GPT-2's, unless the model is another one."""
        is_gpt2 = self.config.get("model_type", "gpt2") == "gpt2"
        return self.named_class or ("GPT2Tokenizer" if is_gpt2 else "")


def _content(value: Any, role: str, folder: Path | None) -> str | None:
    token = value.get("content") if isinstance(value, dict) else value
    if token is None and not isinstance(value, dict):
        return None
    if not isinstance(token, str):
        where = f"{folder / TOKENIZER_CONFIG}: " if folder else ""
        raise ValueError(f"{where}{role} is {value!r}; expected a token's text, or an object with its content")
    return token
