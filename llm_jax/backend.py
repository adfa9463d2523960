"""The one place that tells XLA how to behave on each kind of machine, and where compiled programs are kept.

`configure()` must run before JAX is imported: XLA reads its flags once. Flags a user has set in `XLA_FLAGS` win.
Every flag here is a measured default (docs/benchmarks.md says what each gave); none changes what is computed beyond
rounding.
"""

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
    # A training step's products are cuBLAS's: it adds biases and the residual stream, applies GELU and sums gradients
    # as it writes, where Triton's products leave that to passes of their own. Decoding keeps Triton's.
    "xla_gpu_enable_triton_gemm": False,
}

ALLOCATOR = {
    "arena_max": 1,  # the others hold 64 MB at most, and let larger arrays go back
    "mmap_threshold": 2**34,  # bytes: nothing is fetched, and given back, on its own
    "trim_threshold": 2**34,
    "hugetlb": 1,  # pages of 2 MB, where the system leaves that to the program
}


def cache_folder() -> Path:
    """Where downloads and compiled programs live: `LLM_JAX_CACHE`, else `$XDG_CACHE_HOME/llm-jax`."""
    if folder := os.environ.get("LLM_JAX_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llm-jax"


def configure() -> None:
    """Sets XLA flags and the compilation cache's place for this process, keeping whatever the user has set."""
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
    """`compiler_options` for `jax.jit` of a training step on "cpu" or "gpu"; what is set in XLA_FLAGS stays."""
    options = STEP_ON_GPU if platform == "gpu" else {}
    return {name: value for name, value in options.items() if name not in os.environ.get("XLA_FLAGS", "")}


def keep_memory() -> None:
    """Starts this process anew, once, with an allocator that keeps what it has taken, in huge pages.

    XLA on a CPU takes its scratch memory anew in every step. glibc fetches arrays of that size from the kernel each
    time and gives them back, and fetching means clearing: half of a small model's step (docs/benchmarks.md). It reads
    its settings when a process starts. A `GLIBC_TUNABLES` of the user's own stays as it is; on a machine with a GPU, or
    with another C library, nothing is done.
    """
    if "GLIBC_TUNABLES" in os.environ or _has_nvidia_gpu() or platform.libc_ver()[0] != "glibc":
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(f"glibc.malloc.{name}={value}" for name, value in ALLOCATOR.items())
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the front door listens
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _has_nvidia_gpu() -> bool:
    return Path("/dev/nvidiactl").exists()
