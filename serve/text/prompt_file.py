"""A file of prompts, one a line."""

from pathlib import Path

from llm_jax.files.content import read_text


def read_lines(file: Path) -> list[str]:
    """Its lines, empty ones too. Raises FileNotFoundError or ValueError that names the file and what is wrong with it.

    A line ends with a line feed alone: what else Unicode calls a boundary (U+2028, form feed) may stand in a prompt.
    """
    if not file.is_file():
        raise FileNotFoundError(f"file of prompts {file} does not exist")
    try:
        text = read_text(file).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 ({error.reason} at byte {error.start:,}): convert it") from None
    if not text.strip():
        raise ValueError(f"{file} is empty: write one prompt a line")
    return text.removesuffix("\n").split("\n")
