"""The catalogue of accelerators: peaks, bandwidth, memory and power, each figure with its source.

The figures are in `catalogue.toml`; each source says whether anybody opened it. A device is looked up by the exact name
that CUDA, ROCm or JAX gives it. A part of a name is not enough: an "NVIDIA H100 PCIe" has three quarters of the peak of
an "NVIDIA H100 80GB HBM3", and "NVIDIA A10" is the beginning of "NVIDIA A100-SXM4-40GB". For a device that is not
listed no peak is known, and MFU is not shown. Peaks are dense: data sheets also print figures with 2:4 sparsity, which
are twice as high and do not apply to training.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, get_args

FILE_NAME = "catalogue.toml"


@dataclass(frozen=True)
class Citation:
    title: str
    """The document or program, and whether it was opened or run for this catalogue."""
    date: str
    """When its figures were entered, YYYY-MM."""


@dataclass(frozen=True)
class Figure:
    value: float
    source: Citation


@dataclass(frozen=True)
class Accelerator:
    """One accelerator. A figure is None where its maker publishes none or the device lacks the format."""

    name: str
    kinds: tuple[str, ...]
    """Exact names of the device, as drivers and JAX report them."""
    memory: Figure
    """GB of 10^9 bytes, as sold."""
    reported_memory: Figure
    """MiB, as the driver or JAX reports it."""
    bandwidth: Figure
    """GB/s of the device's memory."""
    link: Figure | None = None
    """GB/s to its neighbours in one machine, one way."""
    bf16: Figure | None = None
    """TFLOP/s, dense, accumulated in float32."""
    fp16: Figure | None = None
    """TFLOP/s, dense, accumulated in float32."""
    fp8: Figure | None = None
    """TFLOP/s, dense, accumulated in float32."""
    int8: Figure | None = None
    """TOP/s, dense."""
    power: Figure | None = None
    """W, the most that the device may draw."""

    @property
    def training_peak(self) -> Figure | None:
        """TFLOP/s of 16-bit products, by which MFU is counted: bfloat16, or float16 where that is all there is."""
        return self.bf16 or self.fp16


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """All entries, in the order of the file."""
    return parse(resources.files("llm_jax.hardware").joinpath(FILE_NAME).read_text(encoding="utf8"))


def parse(text: str) -> tuple[Accelerator, ...]:
    """Entries of a catalogue in TOML. Raises ValueError, naming the entry, for a wrong one or a name listed twice."""
    document = tomllib.loads(text)
    sources = {key: Citation(**entry) for key, entry in document["sources"].items()}
    entries = tuple(_accelerator(entry, sources) for entry in document["accelerator"])
    names = [kind for entry in entries for kind in entry.kinds]
    if twice := sorted({kind for kind in names if names.count(kind) > 1}):
        raise ValueError(f"{FILE_NAME}: {twice[0]!r} is listed twice; a device has one entry")
    return entries


def find(device_kind: str) -> Accelerator | None:
    """The entry of a device by its exact name; None where there is none."""
    return _by_kind().get(device_kind)


def why_unknown(device_kind: str) -> str:
    """One line that says why MFU, which needs the device's peak, is not shown."""
    return f"no peak is known of {device_kind!r}: llm_jax/hardware/{FILE_NAME} does not list this exact name"


@cache
def _by_kind() -> Mapping[str, Accelerator]:
    return {kind: entry for entry in accelerators() for kind in entry.kinds}


FIGURES = tuple(name for name, kind in Accelerator.__annotations__.items() if Figure in (kind, *get_args(kind)))


def _accelerator(entry: Mapping[str, Any], sources: Mapping[str, Citation]) -> Accelerator:
    name = entry.get("name", "an entry without a name")
    if unknown := sorted(set(entry) - {"name", "kinds", *FIGURES}):
        raise ValueError(f"{FILE_NAME}: {name}: unknown figure {unknown[0]!r}; figures are {', '.join(FIGURES)}")
    figures: dict[str, Figure] = {}
    for key in FIGURES:
        if key in entry:
            value, source = entry[key]
            if source not in sources:
                raise ValueError(f"{FILE_NAME}: {name}: {key} has the source {source!r}, which [sources] does not list")
            figures[key] = Figure(float(value), sources[source])
    return Accelerator(name=entry["name"], kinds=tuple(entry["kinds"]), **figures)
