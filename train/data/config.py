"""Settings of `python -m train verify`: which shards to check, and how to read those without a manifest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from train.data.shards import BareIds


@dataclass(frozen=True)
class VerifyConfig:
    folder: Annotated[Path, tyro.conf.Positional] = Path("data/stdlib")
    """Folder of shards."""

    vocab_size: int | None = None
    """Every id must be below it. Only for a folder without manifest.json, which has its own. Default: GPT-2's 50,257
    for shards of two bytes a token, Llama 3's 128,256 for shards of four."""

    token_dtype: BareIds = "none"
    """Type of the ids in .bin files without headers, such as nanoGPT's."""

    sample: int = 0
    """How many shards to read through, chosen at random; of the others only header and size are checked. 0: all."""

    def __post_init__(self) -> None:
        if self.sample < 0:
            raise ValueError(f"sample must not be negative (0: all shards); got {self.sample}")
