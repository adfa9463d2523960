"""The first bytes by which file formats are recognised, and the criteria for text.

They come from the formats' specifications, and agree with `file` (libmagic). A text may begin with the letters of some
of these marks, so such a mark is listed with further bytes that a text does not have.
"""

import codecs
import re

COMPRESSIONS = (
    ("gzip", re.compile(rb"\x1f\x8b\x08")),
    ("zstandard", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")),
    ("bzip2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")),
    ("xz", re.compile(rb"\xfd7zXZ\0|\x5d\0\0[\0\x80\x10\x20\x40]")),
    ("lz4", re.compile(rb"\x04\x22\x4d\x18")),
)

UNPACK = "unpack it, and give the files that are in it"
EXPORT = "save its text as UTF-8 first"
ROWS = "convert its rows to JSON lines or parquet first"
PICKLE = "reading one may run any code, so it is not read: write its text as UTF-8 or JSON lines"
ZEROS = "replace them first, for example, of a list by `find -print0`: tr '\\0' '\\n'"
NO_TEXT = "it holds no text; leave it out"

# (what it is, the cure, how it begins)
FORMATS = (
    ("a word processor's file (docx)", EXPORT, re.compile(rb"(?s)PK\x03\x04.{0,4000}?word/")),
    ("a spreadsheet (xlsx)", "save it as CSV first", re.compile(rb"(?s)PK\x03\x04.{0,4000}?xl/")),
    ("NumPy arrays (npz)", ROWS, re.compile(rb"(?s)PK\x03\x04.{26}.{0,200}?\.npy")),
    ("a PyTorch file (zip with a pickle)", PICKLE, re.compile(rb"(?s)PK\x03\x04.{26}.{0,200}?data\.pkl")),
    ("an electronic book (epub)", EXPORT, re.compile(rb"(?s)PK\x03\x04.{26}mimetypeapplication/epub")),
    ("an office document", EXPORT, re.compile(rb"(?s)PK\x03\x04.{26}mimetypeapplication/")),
    ("a zip archive", UNPACK, re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)")),
    ("a 7z archive", UNPACK, re.compile(rb"7z\xbc\xaf\x27\x1c")),
    ("a rar archive", UNPACK, re.compile(rb"Rar!\x1a\x07")),
    ("a tar archive", UNPACK, re.compile(rb"(?s).{257}ustar")),
    ("a file of `compress` (.Z)", UNPACK, re.compile(rb"\x1f[\x9d\xa0]")),
    ("an lzip file", UNPACK, re.compile(rb"LZIP\x01")),
    ("a snappy file", UNPACK, re.compile(rb"\xff\x06\0\0sNaPpY")),
    ("a PDF", EXPORT, re.compile(rb"%PDF-")),
    ("PostScript", EXPORT, re.compile(rb"%!PS-Adobe")),
    ("rich text (rtf)", EXPORT, re.compile(rb"\{\\rtf")),
    ("an old office document", EXPORT, re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
    ("a PNG image", NO_TEXT, re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("a JPEG image", NO_TEXT, re.compile(rb"\xff\xd8\xff")),
    ("a GIF image", NO_TEXT, re.compile(rb"GIF8[79]a")),
    ("a TIFF image", NO_TEXT, re.compile(rb"II\x2a\0|MM\0\x2a")),
    ("sound, film or image (RIFF)", NO_TEXT, re.compile(rb"(?s)RIFF.{4}(?:WAVE|AVI |WEBP)")),
    ("sound", NO_TEXT, re.compile(rb"OggS\0|fLaC\0|ID3[\x02-\x04]\0")),
    ("film or sound (mp4)", NO_TEXT, re.compile(rb"(?s)\0\0\0.ftyp")),
    ("a Matroska film", NO_TEXT, re.compile(rb"\x1a\x45\xdf\xa3")),
    ("a font", NO_TEXT, re.compile(rb"wOF[F2]|\0\x01\0\0\0|OTTO\0")),
    ("an SQLite database", ROWS, re.compile(rb"SQLite format 3\0")),
    ("an encrypted parquet file", "decrypt it first", re.compile(rb"PARE")),
    ("an HDF5 file", ROWS, re.compile(rb"\x89HDF\r\n\x1a\n")),
    ("an ORC table", ROWS, re.compile(rb"ORC[\0-\x08]")),
    ("an Avro table", ROWS, re.compile(rb"Obj\x01")),
    ("a Feather table of version 1", "write it again with a newer pyarrow, or as parquet", re.compile(rb"FEA1")),
    ("a NumPy array (npy)", ROWS, re.compile(rb"\x93NUMPY")),
    ("a pickle", PICKLE, re.compile(rb"\x80[\x02-\x05]|\([dl]p[01]\n")),
    ("a GGUF model", NO_TEXT, re.compile(rb"GGUF[\x01-\x09]\0")),
    ("a safetensors file", NO_TEXT, re.compile(rb"(?s).{3}\0{5}\{\s*\"")),
    (
        "a token shard",
        "it is prepared already: give its folder to `python -m train pretrain --data`",
        re.compile(rb"(?:\x88\xd9\x34\x01|\xa1\xda\x34\x01)[\x01\x07]\0\0\0"),
    ),
    ("an ELF program", NO_TEXT, re.compile(rb"\x7fELF")),
    ("a Windows program", NO_TEXT, re.compile(rb"(?s)MZ.{0,60}\0\0")),
    ("a macOS program", NO_TEXT, re.compile(rb"[\xcf\xce]\xfa\xed\xfe|\xca\xfe\xba\xbe")),
    ("a static library", NO_TEXT, re.compile(rb"!<arch>\n")),
    ("WebAssembly", NO_TEXT, re.compile(rb"\0asm")),
    ("compiled Python", NO_TEXT, re.compile(rb"(?s).[\x0c-\x0e]\r\n[\0-\x03]\0\0\0")),
    (
        "a pointer of Git LFS in place of the file",
        "fetch the file itself: git lfs pull",
        re.compile(rb"version https://git-lfs\.github\.com/spec/"),
    ),
    ("a crawl's archive (WARC)", "extract its text first", re.compile(rb"WARC/\d\.\d\r?\n")),
)

TABLES = (
    ("parquet", re.compile(rb"PAR1")),
    ("arrow", re.compile(rb"(?s)ARROW1\0\0|\xff\xff\xff\xff[^\xff]..\0\x10\0\0\0")),
)

# Longer marks first, because UTF-32's begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\x0b\x1b\x08")) + b"\x7f"
MOST_CONTROLS = 0.02  # of the bytes of a text; in random bytes it is about a tenth


def looks_binary(head: bytes) -> bool:
    """Whether the bytes contain more control characters than a text does."""
    return len(head) - len(head.translate(None, _CONTROLS)) > MOST_CONTROLS * len(head)


def unmarked_encoding(head: bytes) -> str | None:
    """Recognises UTF-16 and UTF-32 without a byte order mark; None for anything else.

    Such text has zero bytes, because every script uses ASCII spaces or line breaks, and it decodes to printable
    characters. Of the byte orders, the one that gives fewer unprintable characters is taken. Almost any two bytes are
    some printable character of UTF-16, so UTF-16 must show in the bytes as well.
    """
    zeros = [head[place::4].count(0) for place in range(4)]
    is_utf8 = _decoded(head, "utf-8") is not None
    if not any(zeros) or (sum(zeros) < 0.02 * len(head) and is_utf8):
        return None  # UTF-8 with a few zero bytes
    candidates: list[tuple[str, int]] = []  # encoding, and the number of zero bytes that support it
    if len(head) % 4 == 0:
        candidates += [("utf-32-le", zeros[3]), ("utf-32-be", zeros[0])]
    if len(head) % 2 == 0 and _may_be_utf16(head[1::2], head[::2], is_utf8):
        candidates.append(("utf-16-le", zeros[1] + zeros[3]))
    if len(head) % 2 == 0 and _may_be_utf16(head[::2], head[1::2], is_utf8):
        candidates.append(("utf-16-be", zeros[0] + zeros[2]))
    texts = [(name, _decoded(head, name), votes) for name, votes in candidates]
    plausible = [(_unprintable(text), -votes, name) for name, text, votes in texts if text]
    unprintable, _, name = min(plausible, default=(1.0, 0, ""))
    return name if unprintable <= MOST_UNPRINTABLE else None


def has_zeros_in_text(head: bytes) -> bool:
    """Whether the bytes are UTF-8 text without control characters but for zero bytes, fewer than the other bytes."""
    text = head.replace(b"\0", b"")
    return 2 * len(text) > len(head) > len(text) and not looks_binary(text) and _decoded(head, "utf-8") is not None


ALPHABETS = bytes(range(0x20))  # high bytes of the characters below U+2000
_ASCII = bytes(range(0x20, 0x7F)) + b"\t\n\r"
MOST_ASCII = 0.9  # of the bytes of UTF-16 that are not zero; in Japanese it is about 0.7


def _may_be_utf16(high: bytes, low: bytes, is_utf8: bool) -> bool:
    """Whether the higher and lower bytes of UTF-16's units look as those of a text, not of UTF-8 or Latin-1 with zeros.

    In a text of any alphabet most higher bytes are small, and zeros are among the higher bytes alone. Other scripts
    (Chinese, Japanese, Korean) soon give bytes that are not valid as UTF-8, and hold more than ASCII.
    """
    in_alphabets = len(high) - len(high.translate(None, ALPHABETS))
    if in_alphabets > 0.6 * len(high) and 10 * low.count(0) <= high.count(0):
        return True
    filled = (high + low).replace(b"\0", b"")
    return not is_utf8 and len(filled) - len(filled.translate(None, _ASCII)) <= MOST_ASCII * len(filled)


MOST_UNPRINTABLE = 0.03  # of the characters of a text; Python's version of Unicode may not know some of them


def _decoded(head: bytes, encoding: str) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None


def _unprintable(text: str) -> float:
    """Share of characters that are neither visible nor white space; 1 if there is a control character."""
    if any(character < " " and character not in "\t\n\r\f" for character in text):
        return 1.0
    return sum(not (character.isprintable() or character.isspace()) for character in text) / len(text)
