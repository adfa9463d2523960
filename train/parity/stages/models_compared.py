"""The models compared: our decoder and transformers' class of its family, with the same weights.

Weights come from a Hugging Face directory, which our code and transformers each read, or are drawn at random. A newly
initialised GPT-2 would hide faults. Its gains are one and its biases zero, so leaving one out changes nothing; its
matrices are small, so softmax is nearly uniform and GELU nearly linear. Therefore gains and biases are drawn too, and
the matrices of the blocks have the standard deviation 1/√inputs, about that of a trained GPT-2.

PyTorch's model runs without dropout and with `eager` attention, which computes each step of the formula as its own
operation. `sdpa` would choose a fused kernel by device, format and mask, and therefore another one for float64.
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
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # GPT-2's files may hold rates above 0
QKV = ("queries", "keys", "values")
INITIAL_DEVIATION = 0.02  # standard deviation of a newly initialised GPT-2's matrices
GAIN_DEVIATION = 0.1  # standard deviation of drawn gains (around one) and biases (around zero)


@dataclass(frozen=True)
class Ours:
    """Our model: its config, the plan that computes it, and its parameters."""

    config: DecoderConfig
    plan: decoder.Plan
    params: decoder.Decoder

    @property
    def letters(self) -> Any:
        """A tree like the parameters, of dimension letters."""
        return decoder.dimension_letters(self.config)

    @property
    def n_parameters(self) -> int:
        return self.config.n_parameters

    @property
    def n_layers(self) -> int:
        return self.config.n_layers

    def to_hf(self, tree: Any) -> dict[str, Any]:
        """A tree like the parameters → transformers' tensors by name."""
        return names.to_hf(tree, self.config)

    def by_parameter(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors by transformers' names → by ours."""
        return by_parameter(tensors, self.config)


@dataclass(frozen=True)
class ModelsCompared:
    """Both models. `theirs` has float32 parameters in every format; autocast gives it mixed precision."""

    ours: Ours
    theirs: transformers.PreTrainedModel

    @property
    def their_epsilon(self) -> float:
        """ε of PyTorch's norms, which they add to the variance or the mean square."""
        settings: Any = self.theirs.config
        return settings.rms_norm_eps if hasattr(settings, "rms_norm_eps") else settings.layer_norm_epsilon


def drawn(config: DecoderConfig, execution: Execution, seed: int) -> ModelsCompared:
    """Both models with the same random weights."""
    params = decoder.init(jax.random.key(seed), config)
    params = fault_revealing(params, decoder.dimension_letters(config), config.d_model, jax.random.key(seed + 1))
    family = families.of(config)
    settings = transformers.AutoConfig.for_model(**hf_config.write(config, Borders()), **PLAIN)
    theirs = getattr(transformers, family.architecture)(settings).to(torch.float32)
    weights = {name: torch.tensor(tensor) for name, tensor in names.to_hf(params, config).items()}
    theirs.load_state_dict({family.head: weights[family.saved(family.embedding)]} | weights)
    return ModelsCompared(Ours(config, decoder.make_plan(execution), params), theirs.eval())


def loaded(name_or_path: str, execution: Execution) -> ModelsCompared:
    """Both models from a Hugging Face directory or hub name.

    Raises:
        FileNotFoundError, ValueError: as `llm_jax.hf.load`.
    """
    model = hf.load(name_or_path)
    transformers.utils.logging.disable_progress_bar()  # the terminal shows the report and errors only
    dropout = NO_DROPOUT if families.of(model.config).model_type == "gpt2" else {}
    # The class that the files name, because our code computes a Mistral as a Llama.
    theirs = transformers.AutoModelForCausalLM.from_pretrained(name_or_path, dtype=torch.float32, **PLAIN, **dropout)
    # With a padding token in its config, a Llama's embedding gives that token no gradient, wherever it stands; many
    # models name the end of a turn as padding, which is a token like any other.
    embedding: Any = theirs.get_input_embeddings()
    embedding.padding_idx = None
    return ModelsCompared(Ours(model.config, decoder.make_plan(execution), model.params), theirs.eval())


def by_parameter(tensors: Mapping[str, Any], config: DecoderConfig) -> dict[str, Any]:
    """Renames tensors (parameters, gradients, moments) from transformers' names to ours, with blocks counted from 1.

    `tensors` may hold a part of the model only. The fused bias of queries, keys and values becomes three entries.
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


def fault_revealing(
    params: Any, letters: Any, d_model: int, key: Any, deviation: float | None = INITIAL_DEVIATION
) -> Any:
    """Initial parameters with random gains and biases, and matrices that keep the variance of their input.

    `deviation` is that of the initial matrices; None where they keep the variance already.
    """

    def draw(letters: str, leaf: Array, key: Any) -> Array:
        if not is_matrix(letters):
            return leaf + GAIN_DEVIATION * jax.random.normal(key, leaf.shape)
        if not is_hidden_matrix(letters) or deviation is None:
            return leaf
        inputs = d_model if letters.startswith("D") else leaf.size // d_model
        return leaf / deviation * inputs**-0.5

    leaves, tree = jax.tree.flatten(params)
    return jax.tree.unflatten(tree, map(draw, jax.tree.leaves(letters), leaves, jax.random.split(key, len(leaves))))
