"""Chat templates: Jinja programs that turn messages into the text that a chat model was trained on.

    chat_template.jinja                the template
    additional_chat_templates/*.jinja  others, by name
    tokenizer_config.json              the older place, where neither is there: a text, or a list of named templates

`llm_jax.tokenizer.chat` renders them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_jax.files import write
from llm_jax.tokenizer.hf_files.companions import ROLES, TOKENIZER_CONFIG, Companions

JINJA = "chat_template.jinja"
FOLDER = "additional_chat_templates"
MORE = f"{FOLDER}/*.jinja"
DEFAULT = "default"
FIELD = "chat_template"


@dataclass(frozen=True)
class ChatTemplates:
    """Templates by name, and the special tokens that they may use, such as `bos_token`."""

    templates: Mapping[str, str]
    tokens: Mapping[str, str]
    source: str = JINJA  # where they come from, for messages

    @property
    def default(self) -> str:
        """Raises ValueError where several are named and none of them `default`."""
        if DEFAULT not in self.templates:
            raise ValueError(
                f"{self.source}: none of its chat templates is called {DEFAULT!r}; it has {', '.join(self.templates)}"
            )
        return self.templates[DEFAULT]


def read(files: Companions) -> ChatTemplates | None:
    """The templates of a folder; None where it has none. Raises ValueError naming the file."""
    if files.folder is None:
        return None
    paths = {path.stem: path for path in sorted(files.folder.glob(MORE))}
    if (files.folder / JINJA).is_file():
        paths[DEFAULT] = files.folder / JINJA
    where = files.folder / (JINJA if paths else TOKENIZER_CONFIG)
    templates = {name: _text(path) for name, path in paths.items()} if paths else _older(files, where)
    tokens = {role: token for role in ROLES if (token := files.named_token(role)) is not None}
    return ChatTemplates(templates, tokens, str(where)) if templates else None


def save(directory: Path, chat: ChatTemplates | None) -> None:
    """Writes them as today's transformers does."""
    for name, template in (chat.templates if chat else {}).items():
        path = directory / JINJA if name == DEFAULT else directory / FOLDER / f"{name}.jinja"
        path.parent.mkdir(exist_ok=True)
        write(path, template)


def _older(files: Companions, where: Path) -> dict[str, str]:
    value: Any = files.tokenizer_config.get(FIELD)
    if value is None or value == []:
        return {}
    if isinstance(value, str):
        return {DEFAULT: value}
    entries = value if isinstance(value, list) else [value]
    found: dict[str, str] = {}
    for entry in entries:
        name, template = (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)
        if not (isinstance(name, str) and isinstance(template, str)) or name in found or "/" in name or name[:1] == ".":
            raise ValueError(
                f"{where}: {FIELD} must be a text, or a list of objects with a distinct 'name' and a 'template' each; "
                "get the file again"
            )
        found[name] = template
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason} at byte {error.start:,}): get the file again") from None
