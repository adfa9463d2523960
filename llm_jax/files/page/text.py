"""Makes text from files and users harmless for a terminal."""

LONGEST = 120


def plain(name: str) -> str:
    """The name without control characters, which could move a terminal's cursor or set its title, and cut at 120.

    >>> plain("a\\x1b[2Jb")
    'a\\ufffd[2Jb'
    """
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
