"""The one place that tells XLA how to behave on each kind of machine, and where compiled programs are kept.

`configure()` must run before JAX is imported: XLA reads its flags once. Flags a user has set in `XLA_FLAGS` win.
Every flag here is a measured default (docs/benchmarks.md says what each gave); none changes what is computed beyond
rounding.
"""

import os
from pathlib import Path

CPU_FLAGS: dict[str, str] = {}

GPU_FLAGS: dict[str, str] = {
    # Overlap the all-gathers and reduce-scatters of fsdp with matrix products.
    "--xla_gpu_enable_latency_hiding_scheduler": "true",
}


def cache_folder() -> Path:
    """Where downloads and compiled programs live: `LLM_JAX_CACHE`, else `$XDG_CACHE_HOME/llm-jax`."""
    if folder := os.environ.get("LLM_JAX_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "llm-jax"


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


def _has_nvidia_gpu() -> bool:
    return Path("/dev/nvidiactl").exists()
