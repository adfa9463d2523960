"""Reads the tensors of a Hugging Face directory from safetensors files.

A safetensors file is 8 bytes (length of the header), the header (JSON: name → dtype, shape, offsets) and the data.
The header is checked before any data is used: every tensor lies inside the file and has as many bytes as its shape
needs, and together they fill the data without overlaps or gaps. Pickle files are never
opened.
"""

import math
import mmap
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from llm_jax.files.json_files import parse_json, read_json

FILE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
LARGEST_HEADER = 100_000_000  # bytes, the format's own bound
MOST_DIMENSIONS = 8  # of a tensor; GPT-2's have at most four, and NumPy knows no more than 64
LARGEST_TENSOR = 2**63 - 1  # bytes, as if no dimension were 0: NumPy's bound, of empty arrays as well
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
BUFFER_DTYPES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "I32": 4, "I64": 8}  # of attention masks, which are not read


def read(directory: Path, tied: Collection[str] = ()) -> dict[str, np.ndarray]:
    """All floating-point tensors of a directory, by name, mapped from disk.

    `tied`: names of the same tensor; of those that an index lists, one has to be in the files.

    Raises:
        FileNotFoundError, ValueError: they name the file and what is wrong with it.
    """
    tensors: dict[str, np.ndarray] = {}
    files = [(path, expected, read_file(path)) for path, expected in _files(directory)]
    is_tied_there = any(name in tied for _, _, found in files for name in found)
    for path, expected, found in files:
        lost = (expected or set()) - set(found) - (set(tied) if is_tied_there else set())
        if lost:
            raise ValueError(f"{path}: tensor {sorted(lost)[0]!r} is not there, though {INDEX_NAME} says so")
        if twice := set(found) & set(tensors):
            raise ValueError(f"{path}: tensor {sorted(twice)[0]!r} is in another file as well")
        tensors |= found
    return tensors


def _files(directory: Path) -> list[tuple[Path, set[str] | None]]:
    """The safetensors files of a directory, and the tensors that an index lists for each."""
    single, index = directory / FILE_NAME, directory / INDEX_NAME
    if single.exists():
        return [(inside(directory, FILE_NAME), None)]
    if index.exists():
        try:
            weight_map: dict[str, str] = read_json(index)["weight_map"]
            promised: dict[str, set[str]] = {}
            for tensor, file in weight_map.items():
                if not (isinstance(file, str) and file.isprintable()):
                    raise TypeError(f"the file of {tensor!r} is {file!r}")
                promised.setdefault(file, set()).add(tensor)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{index}: no index of tensors ({error!r}); download it again") from None
        return [(inside(directory, file), names) for file, names in sorted(promised.items())]
    if pickles := sorted(path.name for pattern in PICKLES for path in directory.glob(pattern)):
        raise ValueError(
            f"{directory / pickles[0]}: weights in pickle format can run code when they are opened, so they are "
            f"refused; convert them to {FILE_NAME}"
        )
    raise FileNotFoundError(f"{directory} has no {FILE_NAME}")


def inside(directory: Path, name: str) -> Path:
    """The file `name` of the directory. It may be a link only into the hub's own cache, as in a hub download.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it lies elsewhere.
    """
    path = directory / name
    resolved, folder = path.resolve(), directory.resolve()
    in_hub_cache = resolved.parent.name == "blobs" and resolved.parent.parent == folder.parent.parent
    if Path(name).name != name or not (resolved.parent == folder or in_hub_cache):
        raise ValueError(f"{directory}: file {name!r} lies outside the directory; copy it there")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: download or export the directory again")
    return path


def read_file(path: Path) -> dict[str, np.ndarray]:
    """The floating-point tensors of one file, mapped from disk. Raises ValueError for a wrong header."""
    header, start = read_header(path)
    data = np.memmap(path, np.uint8, "r", offset=start) if path.stat().st_size > start else np.empty(0, np.uint8)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] in DTYPES:
            begin, end = entry["data_offsets"]
            tensors[name] = data[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def release(tensor: np.ndarray) -> None:
    """Gives the memory of a tensor that is mapped from disk back; reading the tensor again reads the file."""
    mapped = getattr(tensor, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") and tensor.nbytes:
        start = tensor.__array_interface__["data"][0] - np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
        first = start - start % mmap.PAGESIZE
        mapped.madvise(mmap.MADV_DONTNEED, first, start + tensor.nbytes - first)


def read_header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The checked header (metadata left out), and where the data begins. Raises ValueError for a wrong header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else -1
        if not 0 < length <= min(LARGEST_HEADER, size - 8):
            raise ValueError(
                f"{path}: a header of {length} bytes in a file of {size}: the file is damaged or no safetensors"
            )
        header = parse_json(file.read(length), f"{path}: the header is", "get the file again", dict)
    header.pop("__metadata__", None)
    spans = sorted(_span(path, name, entry) for name, entry in header.items())
    position = 0
    for begin, end, name in spans:
        if begin != position:
            raise ValueError(
                f"{path}: tensor {name!r} begins at byte {begin} of the data; expected {position}: "
                "tensors overlap or leave a hole"
            )
        position = end
    if position != size - 8 - length:
        raise ValueError(f"{path}: the header describes {position} bytes of data; the file has {size - 8 - length}")
    return header, 8 + length


def _span(path: Path, name: str, entry: Any) -> tuple[int, int, str]:
    """Where a tensor's bytes lie, if they are as many as its shape and dtype need."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not (isinstance(dtype, str) and isinstance(shape, list)):
            raise TypeError("not a name and a list")
        if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
            raise TypeError("not whole numbers")
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"{path}: tensor {name!r} has no dtype, shape and data_offsets of whole numbers") from None
    width = np.dtype(DTYPES[dtype]).itemsize if dtype in DTYPES else BUFFER_DTYPES.get(dtype)
    if width is None:
        raise ValueError(f"{path}: tensor {name!r} has dtype {dtype!r}; expected one of {', '.join(DTYPES)}")
    if len(shape) > MOST_DIMENSIONS or math.prod(n or 1 for n in shape) * width > LARGEST_TENSOR:
        raise ValueError(
            f"{path}: tensor {name!r} has {len(shape)} dimensions, the largest {max(shape)}: no model has such a tensor"
        )
    if end - begin != math.prod(shape) * width:
        raise ValueError(
            f"{path}: tensor {name!r} of shape {shape} and dtype {dtype} needs {math.prod(shape) * width} bytes; "
            f"its offsets {begin}…{end} give {end - begin}"
        )
    return begin, end, name
