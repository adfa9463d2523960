"""What every test shares: eight fake CPU devices, run-time shape checks, and real data where it is at hand."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

# Before JAX is imported anywhere: sharding is tested on one machine with eight fake devices.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
# Two processes test at once; threads of NumPy's and PyTorch's own would only wait for each other, in loops.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Most of the tests' time goes into compiling. Compiled programs are kept and shared, with the next run too.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parent.parent / ".pytest_cache/xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Tests start many processes. Where no bytecode may be written beside its source, each would compile all its imports.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).resolve().parent.parent / ".pytest_cache/bytecode"))
    sys.dont_write_bytecode, sys.pycache_prefix = False, os.environ["PYTHONPYCACHEPREFIX"]

# House rule: annotations are checked in tests, never in users' runs.
install_import_hook(
    [
        *("llm_jax.layers", "llm_jax.kernels", "llm_jax.models", "llm_jax.decode", "llm_jax.scoring"),
        *("llm_jax.adapters.lora", "llm_jax.adapters.together", "llm_jax.adapters.base"),
    ],
    "beartype.beartype",
)

# The default run tries the same examples every time; `pytest --hypothesis-profile=explore` looks for new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("repeatable")


QUICK_TO_COMPILE = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if metadata.version("jaxlib").startswith("0.10."):  # jaxlib 0.12 has no other emitters, and ends at an unknown flag
    QUICK_TO_COMPILE.append("--xla_cpu_use_fusion_emitters=false")


def pytest_configure(config: pytest.Config) -> None:
    """In the default run XLA compiles quickly: a training step in a quarter of the processor time.

    LLVM does not optimise, each program is compiled in one piece, and XLA's older emitters write the loops (the newer
    ones go through MLIR) where jaxlib still has them. Programs this small run as long as before. Tests with a marker
    compile as users do.

    A shell's background job has Ctrl-C switched off, for its children too. The tests of Ctrl-C need it switched on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.markexpr.startswith("not "):
        present = os.environ.get("XLA_FLAGS", "")  # what the user has set is kept
        missing = [flag for flag in QUICK_TO_COMPILE if flag.split("=")[0] not in present]
        os.environ["XLA_FLAGS"] = " ".join([*missing, present]).strip()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for whole folders; none for single files, where starting them would take longer than they save.

    Nor for tests that need the machine to themselves: one cluster, one vLLM, one device.
    """
    alone = config.option.markexpr in ("real", "storm", "slurm", "vllm", "cuda", "gpu", "browser")
    paths = [Path(argument.split("::")[0]) for argument in config.args]
    return 0 if alone or all(path.suffix == ".py" for path in paths) else 2


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes get the argument's name: archives hold the time, and both processes must collect the same names."""
    return argname if isinstance(val, bytes) else None


REPOSITORY = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(REPOSITORY / "tests"))  # where helpers for several folders of tests are: `parity`, `planted`


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory() -> Iterator[None]:
    """After each file, drops the programs it compiled: a large process spends its time on collecting garbage."""
    yield
    if "jax" in sys.modules:
        import jax

        jax.clear_caches()
    gc.collect()
    gc.freeze()  # what is left, mostly modules, is not searched again


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data files (`LLM_JAX_DATA`); the test is skipped where there is none."""
    folder = Path(os.environ.get("LLM_JAX_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set LLM_JAX_DATA to a folder that has it")
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(folder / "tiktoken"))
    return folder


@pytest.fixture(scope="session")
def plan():
    """Everything in float32, as comparisons want it."""
    from llm_jax.config import Execution
    from llm_jax.models import decoder

    return decoder.make_plan(Execution(dtype="float32"))
