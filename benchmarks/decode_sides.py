"""Who decodes in `decode.py`: ours, Hugging Face's `generate`, CTranslate2 and vLLM, all from one directory.

Each is a function of prompts and a number of new tokens, greedy and without a stop token, and returns the new tokens.
Packages are imported only by the sides that need them.
"""

import contextlib
import functools
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from llm_jax.config import DecoderConfig, Execution
from llm_jax.decode.loop import generate, prepare
from llm_jax.decode.options import Sampling
from llm_jax.models import decoder

Side = Callable[[list[list[int]], int], list[list[int]]]


def write_random(folder: Path, config: DecoderConfig) -> Path:
    """A directory with random weights; speed does not depend on them. CTranslate2 wants a name for every id."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models

    from llm_jax.hf import config as hf_config
    from llm_jax.hf import names
    from llm_jax.tokenizer.borders import Borders

    params = decoder.init(jax.random.key(0), config)
    save_file(names.to_hf(params, config), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(hf_config.write(config, Borders())))
    tokens = {f"<{number}>": number for number in range(config.vocab_size)}
    Tokenizer(models.WordLevel(tokens, "<0>")).save(str(folder / "tokenizer.json"))
    ends = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<0>")
    content = {"tokenizer_class": "PreTrainedTokenizerFast", **ends}
    (folder / "tokenizer_config.json").write_text(json.dumps(content))
    return folder


def ours(directory: Path, weights: Any) -> tuple[Side, None]:
    from llm_jax import hf

    loaded = hf.load(directory, keeps_format=weights in ("bf16", "int8"))
    config, params, plan = loaded.config, loaded.params, decoder.make_plan(Execution())
    prepared = functools.cache(lambda n_rows: jax.block_until_ready(prepare(params, plan, n_rows, weights)))

    def run(prompts: list[list[int]], new: int) -> list[list[int]]:
        return generate(prepared(len(prompts)), prompts, config, plan, Sampling(temperature=0.0), new)

    return run, None


def hugging_face(directory: Path, static: bool = False) -> tuple[Side, None]:
    import torch
    import transformers

    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)
    model = model.to(where).eval()
    if static:
        model.forward = torch.compile(model.forward)
    more: Any = {"cache_implementation": "static"} if static else {}

    def run(prompts: list[list[int]], new: int) -> list[list[int]]:
        ids = torch.tensor(prompts, device=where)
        with torch.inference_mode():
            answer = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=False,
                pad_token_id=0,
                **more,
            )
        return answer[:, ids.shape[1] :].tolist()

    return run, None


def ctranslate2(directory: Path, compute_type: str) -> tuple[Side, None]:
    """Its directory is written by its own converter, in the same number format."""
    import ctranslate2 as ct2
    import transformers
    from ctranslate2.converters import TransformersConverter

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "converted"
        TransformersConverter(str(directory)).convert(str(out), quantization=compute_type)
        generator = ct2.Generator(
            str(out), device="cpu", compute_type=compute_type, intra_threads=os.cpu_count() or 1, inter_threads=1
        )
    names = transformers.AutoTokenizer.from_pretrained(directory).convert_ids_to_tokens

    def run(prompts: list[list[int]], new: int) -> list[list[int]]:
        results = generator.generate_batch(
            [names(ids) for ids in prompts],
            max_length=new,
            min_length=new,
            beam_size=1,
            sampling_topk=1,
            include_prompt_in_result=False,
        )
        return [list(result.sequences_ids[0]) for result in results]

    return run, None


VLLM_CHILD = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # vLLM and its children print
from vllm import LLM, SamplingParams
if __name__ == "__main__":
    dtype = sys.argv[2]
    model = LLM(sys.argv[1], skip_tokenizer_init=True, dtype=dtype, max_num_seqs=1024, enable_prefix_caching=False)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        prompts, new = json.loads(line)
        sampling = SamplingParams(temperature=0.0, max_tokens=new, ignore_eos=True, detokenize=False)
        done = model.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False)
        print(json.dumps([list(request.outputs[0].token_ids) for request in done]), file=answers, flush=True)
"""


@contextlib.contextmanager
def vllm(directory: Path, python: str) -> Iterator[Side]:
    """A child process in vLLM's own environment; the model is loaded once."""
    on_gpu = jax.default_backend() == "gpu"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "child.py").write_text(VLLM_CHILD)
        command = [python, str(folder / "child.py"), str(directory), "bfloat16" if on_gpu else "float32"]
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

        def run(prompts: list[list[int]], new: int) -> list[list[int]]:
            os.killpg(child.pid, signal.SIGCONT)
            print(json.dumps([prompts, new]), file=child.stdin, flush=True)
            tokens = json.loads(answer())
            os.killpg(child.pid, signal.SIGSTOP)  # its worker goes on asking for work for seconds, on a core
            return tokens

        try:
            answer()
            yield run
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def same(found: list[list[int]], expected: list[list[int]]) -> float:
    """Share of tokens that are equal, up to the first difference of each row."""
    equal = np.asarray(found) == np.asarray(expected)
    return float(np.logical_and.accumulate(equal, axis=1).mean())
