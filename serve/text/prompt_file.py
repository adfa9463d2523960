"""Reads a file of prompts, one per line."""

from pathlib import Path

from llm_jax.files.content import read_text


def read_lines(file: Path) -> list[str]:
    """The file's lines, including empty ones.

    Only a line break (LF, CR LF or CR) ends a line. Other characters that Unicode calls line boundaries (U+2028, form
    feed) may be part of a prompt.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty or not text; names the file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"file of prompts {file} does not exist")
    try:
        text = read_text(file).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 ({error.reason} at byte {error.start:,}): convert it") from None
    if not text.strip():
        raise ValueError(f"{file} is empty: write one prompt per line")
    return text.removesuffix("\n").split("\n")
