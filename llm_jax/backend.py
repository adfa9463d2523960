"""Sets XLA's flags for each kind of machine, the folder of the compilation cache, and the memory allocator on CPUs.

`configure()` must run before JAX is imported: XLA reads its flags once. A flag that the user has set in
`XLA_FLAGS` is kept. docs/benchmarks.md has the measurement behind every flag; none changes results beyond rounding.
"""

import ctypes
import os
import platform
import signal
import sys
from pathlib import Path

CPU_FLAGS: dict[str, str] = {}

GPU_FLAGS: dict[str, str] = {
    # Overlap the all-gathers and reduce-scatters of fsdp with matrix products.
    "--xla_gpu_enable_latency_hiding_scheduler": "true",
}

STEP_ON_GPU: dict[str, bool] = {
    # cuBLAS computes a training step's matrix products: it adds biases and the residual stream, applies GELU and sums
    # gradients while it writes the result. Triton's products need extra passes for that. Decoding uses Triton's.
    "xla_gpu_enable_triton_gemm": False,
}

ALLOCATOR = {
    "arena_max": 1,  # further arenas hold at most 64 MB each and return larger arrays to the kernel
    "mmap_threshold": 2**34,  # bytes: no array gets a mapping of its own, which glibc would unmap when it is freed
    "trim_threshold": 2**34,  # bytes: freed memory is kept
    "hugetlb": 1,  # pages of 2 MB, if the system allows a program to request them
}


def cache_folder() -> Path:
    """Folder of downloads and compiled programs: `$LLM_JAX_CACHE`, else llm-jax in `$XDG_CACHE_HOME` or ~/.cache."""
    if folder := os.environ.get("LLM_JAX_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llm-jax"


def configure() -> None:
    """Sets XLA's flags and the folder of the compilation cache for this process. What the user has set is kept."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    flags = {} if platforms == "cuda" else dict(CPU_FLAGS)
    if _has_nvidia_gpu() and platforms != "cpu":
        flags |= GPU_FLAGS
    present = os.environ.get("XLA_FLAGS", "")
    missing = [f"{name}={value}" for name, value in flags.items() if name not in present]
    if missing:
        os.environ["XLA_FLAGS"] = " ".join([*missing, present]).strip()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder() / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def step_options(platform: str) -> dict[str, bool]:
    """`compiler_options` for `jax.jit` of a training step on "cpu" or "gpu", without those that XLA_FLAGS sets."""
    options = STEP_ON_GPU if platform == "gpu" else {}
    return {name: value for name, value in options.items() if name not in os.environ.get("XLA_FLAGS", "")}


def keep_memory() -> None:
    """Restarts this process, once, with glibc set to keep freed memory and to use huge pages.

    XLA:CPU allocates its scratch memory again in every step. By default glibc maps arrays of that size from the kernel
    and unmaps them each time, and the kernel clears every new page: half of a small model's step (docs/benchmarks.md).
    glibc reads its settings only when a process starts. If the user has set `GLIBC_TUNABLES`, if there is a GPU, or
    with another C library, this function does nothing.
    """
    if "GLIBC_TUNABLES" in os.environ or _has_nvidia_gpu() or platform.libc_ver()[0] != "glibc":
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(f"glibc.malloc.{name}={value}" for name, value in ALLOCATOR.items())
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the front door has installed its handler
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def release_memory() -> None:
    """Gives freed memory back to the system, which `keep_memory` keeps: for the end of work that frees large arrays.

    With another C library than glibc this does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


class KeptMemory:
    """Holds the freed memory that `keep_memory` keeps to a bound.

    Scratch memory of one size is used again in every step. Of several sizes it is not: small arrays that live on come
    to lie between them, and the process grows (10 GiB where a step needs 3.5; docs/benchmarks.md). Releasing costs the
    next step the clearing of its pages, so it is done only after growth.
    """

    def __init__(self) -> None:
        self._least = -1  # bytes of the process when it was smallest since the last release; −1: not yet

    def hold(self, growth: int) -> None:
        """Gives freed memory back if the process has grown by more than `growth` bytes since it last did so."""
        now = resident()
        if self._least < 0 or now > self._least + growth:
            release_memory()
            now = self._least = resident()
        self._least = min(self._least, now)


def resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _has_nvidia_gpu() -> bool:
    return Path("/dev/nvidiactl").exists()
