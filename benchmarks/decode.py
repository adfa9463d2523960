"""Tokens a second in decoding, and the time to the first: ours, Hugging Face's `generate`, and vLLM.

GPT-2's shape with random weights (speed does not depend on them), prompts of random ids, greedy, no stop token. They
take turns, each in a process of its own. vLLM runs in its own environment, named by `LLM_JAX_VLLM_PYTHON`; it is left
out where there is none. The bound of one step is what it must read, all weights once and the cache, at the bandwidth
with which this machine reads: the best of the turns that were taken between the others'. (A virtual machine's bandwidth
changes with its neighbours', within seconds.)

    python benchmarks/decode.py --batches 1 8 32 --out benchmarks/results/decode.json
"""

import contextlib
import functools
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from llm_jax import backend
from llm_jax.tokenizer.borders import Borders

if __name__ == "__main__":
    backend.keep_memory()
backend.configure()  # before JAX is imported

import jax  # noqa: E402
import numpy as np  # noqa: E402
import tyro  # noqa: E402
from apart import Apart  # noqa: E402
from measuring import in_turns, machine, medians, save, show  # noqa: E402

from llm_jax.config import DecoderConfig, Execution  # noqa: E402
from llm_jax.decode.loop import generate, prepare  # noqa: E402
from llm_jax.decode.options import Sampling  # noqa: E402
from llm_jax.hf import config as hf_config  # noqa: E402
from llm_jax.models import decoder  # noqa: E402

Side = Callable[[list[list[int]], int], Any]  # prompts, number of new tokens → continuations, when they are all there
READ, WIDTH, READS = 2**28, 4096, 16  # bytes that are read to measure bandwidth, columns of their matrix, how often


@dataclass(frozen=True)
class Options:
    batches: tuple[int, ...] = (1, 8, 32)
    """Sequences decoded at once."""

    prompt: int = 32
    """Tokens in a prompt."""

    new: int = 64
    """Tokens generated for each."""

    layers: int = 12
    """Blocks; everything else is GPT-2 124M's. Fewer for a quick look."""

    repeats: int = 3
    """How often each side is timed."""

    hugging_face: bool = True
    """Also time transformers."""

    static: bool = False
    """Also time transformers with a static cache and torch.compile."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    where = machine()
    config = DecoderConfig(n_layers=options.layers)
    generator = np.random.default_rng(0)
    result: dict = {"machine": where, "prompt": options.prompt, "new": options.new, "batches": {}}
    with contextlib.ExitStack() as stack:

        def start(make: Callable[[], tuple[Side, None]]) -> Apart:
            side = Apart(make)
            stack.callback(side.end)
            return side

        sides: dict[str, Side] = {"ours": ours(config)}
        if options.hugging_face:
            sides["Hugging Face"] = start(functools.partial(hugging_face, config, static=False))
        if options.static:
            sides["Hugging Face, static"] = start(functools.partial(hugging_face, config, static=True))
        if python := os.environ.get("LLM_JAX_VLLM_PYTHON"):
            sides["vLLM"] = stack.enter_context(vllm(config, python))
        seconds = {}
        for batch in options.batches:
            prompts = generator.integers(0, config.vocab_size, (batch, options.prompt)).tolist()
            calls: dict[str, Callable[[], Any]] = {"read": read_memory()}
            for name, side in sides.items():
                calls[name] = lambda side=side, prompts=prompts: side(prompts, options.new)
                calls[f"{name}: first"] = lambda side=side, prompts=prompts: side(prompts, 1)
            seconds[batch] = in_turns(calls, options.repeats)
    for batch, turns in seconds.items():
        bandwidth = READS * READ / min(turns["read"])
        bound = bytes_of_step(config, batch, options) / bandwidth
        result["batches"][batch] = {
            "read_bytes_per_second": bandwidth,
            "bound_tokens_per_second": batch / bound,
            "sides": {name: speed(medians(turns), name, batch, options.new, bound) for name in sides},
            "seconds": turns,
        }
    report(result)
    save(options.out, result)


def speed(median: dict[str, float], name: str, batch: int, new: int, bound: float) -> dict[str, float]:
    """Of the whole call, and of the steps after the first token alone."""
    whole, first = median[name], median[f"{name}: first"]
    step = (whole - first) / (new - 1)
    return {
        "tokens_per_second": batch * new / whole,
        "tokens_per_second_after_first": batch / step,
        "seconds_to_first_token": first,
        "share_of_bound": bound / step,
    }


def bytes_of_step(config: DecoderConfig, batch: int, options: Options) -> float:
    """Weights once (positions are a single row), and every row's keys and values: on average those of the prompt and of
    half of the new tokens.
    """
    width = 2 if jax.default_backend() == "gpu" else 4
    weights = config.n_parameters - config.context_length * config.d_model
    tokens = options.prompt + options.new / 2
    return width * (weights + 2 * config.n_layers * config.d_model * tokens * batch)


def read_memory() -> Callable[[], Any]:
    """Reads a matrix, as decoding reads weights: its product with a vector, whose arithmetic is nothing."""
    matrix, vector = jax.numpy.ones((READ // 4 // WIDTH, WIDTH)), jax.numpy.ones(WIDTH)
    product = jax.jit(jax.numpy.matmul)

    def read() -> None:
        for _ in range(READS):  # long enough for both cores to be awake
            product(matrix, vector).block_until_ready()

    return read


def ours(config: DecoderConfig) -> Side:
    plan = decoder.make_plan(Execution())
    params = decoder.init(jax.random.key(0), config)
    prepared = functools.cache(lambda n_rows: jax.block_until_ready(prepare(params, plan, n_rows)))
    return lambda prompts, new: generate(prepared(len(prompts)), prompts, config, plan, Sampling(temperature=0.0), new)


def hugging_face(config: DecoderConfig, static: bool) -> tuple[Side, None]:
    import torch
    import transformers

    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
    model = cast(Any, transformers.GPT2LMHeadModel(transformers.GPT2Config(**hf_config.write(config, Borders()))))
    model = model.to(where, dtype).eval()
    if static:
        model.forward = torch.compile(model.forward)
    more: Any = {"cache_implementation": "static"} if static else {}

    def run(prompts: list[list[int]], new: int) -> Any:
        ids = torch.tensor(prompts, device=where)
        with torch.inference_mode():
            return model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=False,
                pad_token_id=0,
                **more,
            ).tolist()

    return run, None


VLLM_CHILD = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # vLLM and its children print
from vllm import LLM, SamplingParams
if __name__ == "__main__":
    dtype = sys.argv[2]
    model = LLM(sys.argv[1], load_format="dummy", skip_tokenizer_init=True, dtype=dtype, max_num_seqs=1024,
                enable_prefix_caching=False)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        prompts, new = json.loads(line)
        sampling = SamplingParams(temperature=0.0, max_tokens=new, ignore_eos=True, detokenize=False)
        done = model.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False)
        print(json.dumps([len(request.outputs[0].token_ids) for request in done]), file=answers, flush=True)
"""


@contextlib.contextmanager
def vllm(config: DecoderConfig, python: str) -> Iterator[Side]:
    """A child process with the same shape of model, loaded once."""
    on_gpu = jax.default_backend() == "gpu"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(hf_config.write(config, Borders())))
        (folder / "child.py").write_text(VLLM_CHILD)
        command = [python, str(folder / "child.py"), name, "bfloat16" if on_gpu else "float32"]
        offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "log").open("w"),
            text=True,
            env={**os.environ, **offline, "XLA_FLAGS": ""},
            start_new_session=True,  # its engine and workers are processes of their own, and end with it
        )
        assert child.stdin
        assert child.stdout

        def answer() -> str:
            line = child.stdout.readline() if child.stdout else ""
            if not line:
                raise RuntimeError("vLLM ended early: " + (folder / "log").read_text()[-2000:])
            return line

        def run(prompts: list[list[int]], new: int) -> Any:
            os.killpg(child.pid, signal.SIGCONT)
            print(json.dumps([prompts, new]), file=child.stdin, flush=True)
            lengths = json.loads(answer())
            os.killpg(child.pid, signal.SIGSTOP)  # its worker goes on asking for work for seconds, on a core
            assert lengths == [new] * len(prompts), lengths

        try:
            answer()
            yield run
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def report(result: dict) -> None:
    for batch, figures in result["batches"].items():
        rows = [
            (
                name,
                f"{side['tokens_per_second']:,.1f}",
                f"{side['tokens_per_second_after_first']:,.1f}",
                f"{1e3 * side['seconds_to_first_token']:.0f}",
                f"{side['share_of_bound']:.2f}",
            )
            for name, side in figures["sides"].items()
        ]
        title = f"batch {batch}; bound {figures['bound_tokens_per_second']:,.0f} tokens/s"
        show(title, ("tokens/s", "after the first", "ms to first", "of bound"), rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
