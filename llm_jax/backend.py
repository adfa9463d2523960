"""The one place that tells XLA how to behave on each kind of machine, and where compiled programs are kept.

`configure()` must run before JAX is imported: XLA reads its flags once. Flags a user has set in `XLA_FLAGS` win.
Every flag here is a measured default (docs/benchmarks.md says what each gave); none changes what is computed beyond
rounding.
"""

import os
import sys
from pathlib import Path

CPU_FLAGS: dict[str, str] = {}

GPU_FLAGS: dict[str, str] = {
    # Overlap the all-gathers and reduce-scatters of fsdp with matrix products.
    "--xla_gpu_enable_latency_hiding_scheduler": "true",
}

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


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


def use_huge_pages() -> None:
    """Starts this process anew, once, with its large arrays in huge pages, where the system leaves that to the program.

    XLA on a CPU takes its scratch memory anew in every step, and the kernel hands it out in pages of 4 KB: half of a
    small model's step was spent on that (docs/benchmarks.md). glibc can ask for pages of 2 MB, but reads the setting
    only when a process starts. `GLIBC_TUNABLES=glibc.malloc.hugetlb=0` in the environment turns this off.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if "glibc.malloc.hugetlb" in tunables or not HUGE_PAGES.exists() or "[madvise]" not in HUGE_PAGES.read_text():
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, "glibc.malloc.hugetlb=1")))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _has_nvidia_gpu() -> bool:
    return Path("/dev/nvidiactl").exists()
