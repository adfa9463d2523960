"""A real chat model, SmolLM2-135M-Instruct, beside transformers on the same weights.

`tests/smollm2.py` makes its directory out of a package, once.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from llm_jax import hf
from llm_jax.config import Execution
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.models import decoder

pytestmark = pytest.mark.real

PROMPTS = (
    "The capital of France is",
    "Once upon a time there was",
    "def fibonacci(n):\n",
    "In 1815 the Congress of Vienna",
    "Water boils at 100 degrees",
    "1, 2, 3, 4, 5,",
    "Dear Sir or Madam,",
    "The theory of evolution says that",
    "Ingredients: two eggs,",
    "<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n",
)
PLAN = decoder.make_plan(Execution(dtype="float32"))


@pytest.fixture(scope="module")
def directory() -> Path:
    spec = importlib.util.spec_from_file_location("smollm2", Path(__file__).parent.parent / "smollm2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make()


@pytest.fixture(scope="module")
def ours(directory) -> hf.Loaded:
    return hf.load(directory)


@pytest.fixture(scope="module")
def theirs(directory):
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()


def test_logits_over_512_tokens_are_transformers(directory, ours, theirs):
    text = Path(__file__).read_text() * 2
    ids = transformers.AutoTokenizer.from_pretrained(directory)(text)["input_ids"][:512]
    assert ours.tokenizer.encode(text, allowed_special="all")[:512] == ids
    with torch.no_grad():
        expected = theirs(torch.tensor([ids])).logits[0].numpy()
    hidden, _ = jax.jit(lambda params, x: decoder.forward(params, x, ours.config, PLAN))(ours.params, jnp.array([ids]))
    found = np.asarray(decoder.logits(ours.params, hidden[0], ours.config, PLAN))
    assert len(ids) == 512
    assert np.abs(found - expected).max() < 2e-4


def test_128_greedy_tokens_are_transformers_on_ten_prompts(ours, theirs):
    prompts = [ours.tokenizer.encode(prompt, allowed_special="all") for prompt in PROMPTS]
    params = loop.prepare(ours.params, PLAN)
    found = loop.generate(params, prompts, ours.config, PLAN, Sampling(temperature=0.0), 128)
    for prompt, continuation in zip(prompts, found, strict=True):
        with torch.no_grad():  # all steps at once: greedy is what each prefix's largest logit makes it
            logits = theirs(torch.tensor([prompt + continuation])).logits[0, len(prompt) - 1 : -1]
        assert continuation == logits.argmax(-1).tolist()
    ids = torch.tensor([prompts[0]])
    expected = theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=128,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert found[0] == expected[0, len(prompts[0]) :].tolist()


def test_asked_for_the_capital_of_france_it_answers_paris(directory):
    command = [sys.executable, "-m", "serve", "chat", str(directory), "--max-new-tokens", "20"]
    asked = "What is the capital of France?\n/quit\n"
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "The capital of France is Paris."


def test_weights_kept_in_their_format_take_no_more_memory_than_their_file(directory):
    kept = hf.load(directory, keeps_format=True)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(kept.params))
    assert held <= 1.01 * (directory / "model.safetensors").stat().st_size
