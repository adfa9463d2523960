"""What a row is, by the names of its columns.

preferences   chosen, rejected; with prompt, or instruction
chats         messages, or conversations (ShareGPT); and system
completions   prompt, completion
instructions  instruction, output
labelled      text, label

A prompt or an instruction may have input, system and history beside it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from train.finetune.data.config import Kind
from train.finetune.data.reading.fields import CHATS, TOOLS, is_empty

NEEDED: dict[Kind, tuple[tuple[str, ...], ...]] = {  # any of each
    "preferences": (("chosen",), ("rejected",)),
    "chats": (("messages", "conversations"),),
    "completions": (("prompt",), ("completion",)),
    "instructions": (("instruction",), ("output",)),
    "labelled": (("text",), ("label",)),
}
OF_PROMPT = ("input", "system", "history")
OPTIONAL: dict[Kind, tuple[str, ...]] = {
    "preferences": ("prompt", "instruction", *CHATS, *OF_PROMPT, *TOOLS),
    "chats": ("system", *TOOLS),
    "completions": (*OF_PROMPT, *TOOLS),
    "instructions": (*OF_PROMPT, *TOOLS),
    "labelled": (),
}
# Other names in use.
USUAL_OTHERS = {
    "answer": "output",
    "response": "output",
    "question": "instruction",
    "query": "instruction",
    "context": "input",
    "system_prompt": "system",
    "dialogue": "messages",
    "conversation": "messages",
    "sentence": "text",
    "sms": "text",
    "class": "label",
    "labels": "label",
}
NAMES = tuple(dict.fromkeys(name for needed in NEEDED.values() for names in needed for name in names))
KNOWN = (*NAMES, *dict.fromkeys(name for names in OPTIONAL.values() for name in names if name not in NAMES))


def kind_of(columns: Iterable[str], place: str) -> Kind:
    """Raises ValueError that names the place where the columns fit no kind, or more than one."""
    there = set(columns)
    fitting: list[Kind] = [kind for kind, needed in NEEDED.items() if all(there & set(names) for names in needed)]
    if not fitting:
        raise ValueError(f"{place}: {_no_kind(sorted(there))}")
    if len(fitting) > 1 and fitting[0] != "preferences":
        raise ValueError(f"{place}: its columns fit {' and '.join(fitting)}; choose one with --kind")
    return fitting[0]


def renamed(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row with the columns of other names under ours: `columns` gives the column of each name."""
    if not columns:
        return dict(row)
    given = {name: row[column] for name, column in columns.items() if column in row}
    return {name: value for name, value in row.items() if name not in columns.values()} | given


def check_renaming(columns: Mapping[str, str], row: Mapping[str, Any], place: str) -> None:
    """Raises ValueError for a name that no kind has, or a column that is not there."""
    for name, column in columns.items():
        if name not in KNOWN:
            raise ValueError(f"--columns {name}={column}: no kind of row has {name!r}; there are {', '.join(KNOWN)}")
        if column not in row:
            there = ", ".join(map(repr, row)) or "none"
            raise ValueError(f"{place}: no column {column!r}, which --columns names; there are {there}")


def check_columns(row: Mapping[str, Any], kind: Kind, columns: Mapping[str, str], place: str) -> None:
    """Raises ValueError that names the first column that is missing."""
    for names in NEEDED[kind]:
        if not set(names) & set(row):
            wanted = columns.get(names[0], names[0])
            there = ", ".join(map(repr, row)) or "none"
            raise ValueError(
                f"{place}: no column {wanted!r}; {kind} need {_needs(kind)}, and there are {there}. {_hint(row)}"
            )


def prompt_column(row: Mapping[str, Any], kind: Kind) -> str:
    """The one that is read: of preferences the first that is filled in of prompt, instruction and messages that ask."""
    if kind == "preferences" and is_empty(row.get("prompt")):
        if not is_empty(row.get("instruction")):
            return "instruction"
        if _ask(row.get(name := chat_column(row))):
            return name
    return "instruction" if kind == "instructions" else "prompt"


def chat_column(row: Mapping[str, Any]) -> str:
    return "messages" if not is_empty(row.get("messages")) or "conversations" not in row else "conversations"


def _ask(messages: Any) -> bool:
    """Whether messages end with the user's, as LLaMA-Factory writes what `chosen` and `rejected` answer."""
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, dict) and (last.get("role") or last.get("from")) in ("user", "human")


def verdict(row: Mapping[str, Any]) -> bool | None:
    """What a label says of the row's answer, None where it is no such label."""
    label = row.get("label")
    spelled = label.strip().lower() if isinstance(label, str) else label
    if spelled in (True, "true", "1", "1.0"):
        return True
    return False if spelled in (False, "false", "0", "0.0") else None


def unused(row: Mapping[str, Any], kind: Kind) -> list[str]:
    """The columns that hold something and are not read of this row, of those with a name that some kind has.

    Also those of another usual name for one that would be read.
    """
    read = {*(name for names in NEEDED[kind] for name in names), *OPTIONAL[kind]}
    if kind == "preferences":
        read -= {"prompt", "instruction", *CHATS} - {prompt_column(row, kind)}
    if kind == "chats":
        read -= {"messages", "conversations"} - {chat_column(row)}
    if kind != "preferences" and verdict(row) is not None:
        read.add("label")
    others = [other for other, name in USUAL_OTHERS.items() if name in read and name not in row]
    return [name for name in (*KNOWN, *others) if name not in read and not is_empty(row.get(name))]


def _no_kind(there: list[str]) -> str:
    kinds = "; ".join(_needs(kind) for kind in NEEDED)
    return f"columns {', '.join(map(repr, there)) or 'none'} are no example; expected {kinds}. {_hint(there)}"


def _hint(there: Iterable[str]) -> str:
    usual = " ".join(f"{USUAL_OTHERS[name]}={name}" for name in sorted(there) if name in USUAL_OTHERS)
    return f"Columns of other names are given with --columns {usual or 'NAME=COLUMN'}"


def _needs(kind: Kind) -> str:
    return " and ".join(" or ".join(names) for names in NEEDED[kind])
