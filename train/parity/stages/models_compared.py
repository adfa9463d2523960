"""The models compared: our decoder and transformers' class of its family, with the same weights.

Weights come from a Hugging Face directory, which our code and transformers each read, or are drawn at random. A fresh
GPT-2 would hide faults: its gains are one and its biases zero, so leaving one out changes nothing; its matrices are
small, so softmax is nearly uniform and GELU nearly linear. Therefore gains and biases are drawn too, and the matrices
of the blocks have the standard deviation 1/√inputs, about that of a trained GPT-2.

PyTorch's model runs without dropout and with `eager` attention: the formula as written, each step an operation of its
own. `sdpa` picks a fused kernel by device, format and mask, and so another one for float64.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import torch
import transformers

from llm_jax import hf
from llm_jax.config import DecoderConfig, Execution
from llm_jax.hf import config as hf_config
from llm_jax.hf import families, names
from llm_jax.models import decoder
from llm_jax.shapes import Array
from llm_jax.tokenizer import Borders
from train.optim.optimizer import is_hidden_matrix, is_matrix

PLAIN = {"attn_implementation": "eager"}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # of GPT-2, in whose files they may be above 0
QKV = ("queries", "keys", "values")
FRESH = 0.02  # spread of a fresh GPT-2's matrices
SPREAD = 0.1  # of drawn gains around one and biases around zero


@dataclass(frozen=True)
class Ours:
    """Our model: which function, how it is computed, and its parameters."""

    config: DecoderConfig
    plan: decoder.Plan
    params: decoder.Decoder


@dataclass(frozen=True)
class ModelsCompared:
    """Both models; `theirs` is float32 whatever `ours.plan` is, and mixed precision is its autocast."""

    ours: Ours
    theirs: transformers.PreTrainedModel

    @property
    def their_epsilon(self) -> float:
        """What their norms add to the variance or the mean square."""
        settings: Any = self.theirs.config
        return settings.rms_norm_eps if hasattr(settings, "rms_norm_eps") else settings.layer_norm_epsilon


def drawn(config: DecoderConfig, execution: Execution, seed: int) -> ModelsCompared:
    """Both models with the same random weights."""
    params = _telling(decoder.init(jax.random.key(seed), config), config, jax.random.key(seed + 1))
    family = families.of(config)
    settings = transformers.AutoConfig.for_model(**hf_config.write(config, Borders()), **PLAIN)
    theirs = getattr(transformers, family.architecture)(settings).to(torch.float32)
    weights = {name: torch.tensor(tensor) for name, tensor in names.to_hf(params, config).items()}
    theirs.load_state_dict({family.head: weights[family.saved(family.embedding)]} | weights)
    return ModelsCompared(Ours(config, decoder.make_plan(execution), params), theirs.eval())


def loaded(name_or_path: str, execution: Execution) -> ModelsCompared:
    """Both models from a Hugging Face directory or hub name; raises as `llm_jax.hf.load` does."""
    found = hf.load(name_or_path)
    transformers.utils.logging.disable_progress_bar()  # a report and an error are all there is to be read
    more = NO_DROPOUT if families.of(found.config).model_type == "gpt2" else {}
    # By the files' own class: a Mistral is computed by ours as a Llama.
    theirs = transformers.AutoModelForCausalLM.from_pretrained(name_or_path, dtype=torch.float32, **PLAIN, **more)
    return ModelsCompared(Ours(found.config, decoder.make_plan(execution), found.params), theirs.eval())


def by_parameter(tensors: Mapping[str, Any], config: DecoderConfig) -> dict[str, Any]:
    """Tensors by transformers' names (parameters, gradients, moments) → by ours, blocks counted from 1.

    A part of the model will do. The bias of queries, keys and values is three entries.
    """
    named, family = {}, families.of(config)
    for path, (name, _) in names.table(config).items():
        tensor = tensors.get(family.saved(name))
        if tensor is None:
            continue
        path = re.sub(r"^\.blocks\[(\d+)\]\.", lambda block: f"block {int(block[1]) + 1}, ", path).removeprefix(".")
        if path.endswith("qkv.bias"):
            thirds = (tensor[i * config.d_model : (i + 1) * config.d_model] for i in range(3))
            named |= {f"{path} ({part})": third for part, third in zip(QKV, thirds, strict=True)}
        else:
            named[path] = tensor
    return named


def ours_by_parameter(tree: decoder.Decoder, config: DecoderConfig) -> dict[str, Any]:
    """`by_parameter` for a tree shaped like our parameters."""
    return by_parameter(names.to_hf(tree, config), config)


def _telling(params: decoder.Decoder, config: DecoderConfig, key: Any) -> decoder.Decoder:
    """Fresh parameters with drawn gains and biases, and matrices that keep the spread of what they are given."""

    def draw(letters: str, leaf: Array, key: Any) -> Array:
        if not is_matrix(letters):
            return leaf + SPREAD * jax.random.normal(key, leaf.shape)
        if not is_hidden_matrix(letters):
            return leaf
        inputs = config.d_model if letters.startswith("D") else leaf.size // config.d_model
        return leaf / FRESH * inputs**-0.5

    leaves, tree = jax.tree.flatten(params)
    letters = jax.tree.leaves(decoder.dimension_letters(config))
    return jax.tree.unflatten(tree, map(draw, letters, leaves, jax.random.split(key, len(leaves))))
