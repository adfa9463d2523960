"""Which template writes a conversation: the model's own, one by name, a file, or none."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from llm_jax.files.content import read_text
from llm_jax.tokenizer.hf_files.chat_templates import DEFAULT, ChatTemplates
from llm_jax.tokenizer.protocol import Tokenizer
from train.finetune.data.reading.records import Conversation, Form
from train.finetune.data.reading.turns import Turn
from train.finetune.data.templates import named

logger = logging.getLogger(__name__)

JOINT = "\n\n"  # between an instruction and its input


@dataclass(frozen=True)
class Template:
    """`chat` is None for `plain`: prompt and answer as they stand, and the tokenizer's end."""

    name: str  # model, chatml, alpaca, llama3, plain, or the file's
    chat: ChatTemplates | None
    joint: str = JOINT

    @property
    def text(self) -> str | None:
        """As Jinja, for the folder of the trained model."""
        return None if self.chat is None else self.chat.default

    @property
    def fingerprint(self) -> str:
        parts = (self.name if self.chat is None else "", self.text or "", self.joint)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def messages(self, conversation: Conversation) -> tuple[Turn, ...]:
        """The messages, an instruction joined with its input."""
        if conversation.instruction is None:
            return conversation.messages
        words, more = conversation.instruction
        text = self.joint.join(part for part in (words, more) if part)
        place = max(place for place, one in enumerate(conversation.messages) if one["role"] == "user")
        joined = {**conversation.messages[place], "content": text}
        return (*conversation.messages[:place], joined, *conversation.messages[place + 1 :])


def choose(name: str, tokenizer: Tokenizer, form: Form) -> Template:
    """The template that `name` means for conversations of this form.

    Raises ValueError or OSError where there is no such template, or it cannot write them.
    """
    if name == "auto":
        name = _automatic(tokenizer, form)
    if name == "plain":
        if form != "texts":
            raise ValueError(
                f"--template plain joins a text of a prompt and a text of an answer; {form} need a template that "
                "tells the two apart, such as --template alpaca"
            )
        return Template(name, None)
    if name == "model":
        if tokenizer.chat is None:
            raise ValueError(
                f"--template model: tokenizer {tokenizer.name!r} has no chat template; choose chatml, alpaca or "
                "llama3, or give a .jinja file"
            )
        return Template(name, tokenizer.chat)
    return _by_name(name, tokenizer) if name in named.NAMED else _of_file(Path(name), tokenizer)


def _automatic(tokenizer: Tokenizer, form: Form) -> str:
    if tokenizer.chat is not None:
        return "model"
    if form == "chats":
        raise ValueError(
            f"tokenizer {tokenizer.name!r} has no chat template, and chats need one: choose --template chatml, alpaca "
            "or llama3, give a .jinja file, or take a base with a template"
        )
    return "alpaca" if form == "instructions" else "plain"


def _by_name(name: str, tokenizer: Tokenizer) -> Template:
    if missing := named.missing(name, tokenizer):
        logger.warning(
            "--template %s: tokenizer %r has no token %s: such are written as ordinary text, and an answer ends with "
            "the tokenizer's own end",
            name,
            tokenizer.name,
            " ".join(missing),
        )
    chat = ChatTemplates({DEFAULT: named.written(name, tokenizer)}, _tokens(tokenizer), f"--template {name}")
    return Template(name, chat, named.NAMED[name].joint)


def _of_file(path: Path, tokenizer: Tokenizer) -> Template:
    if not path.is_file():
        raise FileNotFoundError(f"--template {path}: no such file; give a Jinja file, or a template's name")
    return Template(path.name, ChatTemplates({DEFAULT: read_text(path)}, _tokens(tokenizer), str(path)))


def _tokens(tokenizer: Tokenizer) -> dict[str, str]:
    """The special tokens that a template may read."""
    borders = tokenizer.borders
    numbers = {"bos_token": borders.begin, "eos_token": borders.end, "pad_token": borders.pad}
    spelled = {role: tokenizer.id_to_token(number) for role, number in numbers.items() if number is not None}
    known = {role: token for role, token in spelled.items() if token is not None}
    return known | (dict(tokenizer.chat.tokens) if tokenizer.chat else {})
