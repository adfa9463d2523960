"""Every Python of a vLLM for processors imports this at its start. Standard library only.

Transformers imports torchvision wherever it is installed, for every model; vLLM's LLaVA needs the part of it that is
written in Python. The wheel on PyPI is compiled for CUDA: where there is none, its operators cannot be loaded, and
torchvision then fails at its import, where it describes two of them. So they are declared here, before torchvision is
imported; nothing here calls them. `serve install-vllm --pictures` copies this file into the environment.
"""

import importlib.util
import sys
from pathlib import Path

OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class Declares:
    """A finder that finds nothing; it declares the operators when torchvision is first imported."""

    def __init__(self) -> None:
        self.library = None  # kept, for its declarations end with it

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            self._declare(importlib.util.find_spec(name))

    def _declare(self, spec) -> None:
        if spec is None or not spec.submodule_search_locations:
            return
        import torch  # pyright: ignore[reportMissingImports]

        for compiled in Path(next(iter(spec.submodule_search_locations))).glob("_C*.so"):
            try:
                torch.ops.load_library(str(compiled))
            except OSError:
                self.library = torch.library.Library("torchvision", "DEF")
                for operator in OPERATORS:
                    self.library.define(operator + SIGNATURE)


DECLARES = Declares()  # kept: the finder leaves `sys.meta_path`, and the declarations would end with it
sys.meta_path.insert(0, DECLARES)  # pyright: ignore[reportArgumentType]
