"""`config.json` of Hugging Face ↔ DecoderConfig. A setting that this code does not compute is refused by name."""

from pathlib import Path
from typing import Any

from llm_jax.config import DecoderConfig
from llm_jax.files.json_files import read_json
from llm_jax.tokenizer import Borders
from llm_jax.tokenizer.hf_files.saving import generation_fields

FILE_NAME = "config.json"
ARCHITECTURE = "GPT2LMHeadModel"
# Some old checkpoints hold the model without its head; a tied head is the embedding, so nothing is missing.
WITHOUT_HEAD = "GPT2Model"
# Our name → transformers' names of the same function; an export writes the first.
ACTIVATIONS = {
    "gelu_tanh": ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"),
    "gelu": ("gelu", "gelu_python"),
    "relu": ("relu",),
    "silu": ("silu", "swish"),
}
# transformers' name → our name, and the value where a file lacks the field.
SWITCHES = {
    "tie_word_embeddings": ("tied_head", True),
    "scale_attn_weights": ("scale_scores", True),
    "scale_attn_by_inverse_layer_idx": ("scale_scores_by_layer", False),
}
SIZES = {
    "vocab_size": "vocab_size",
    "n_positions": "context_length",
    "n_embd": "d_model",
    "n_head": "n_heads",
    "n_layer": "n_layers",
}


def write(config: DecoderConfig, borders: Borders) -> dict[str, Any]:
    """The fields transformers and vLLM read. Ids of tokens are null where the tokenizer names none."""
    ids = {"bos_token_id": None, "eos_token_id": None, **generation_fields(borders)}
    fields = {
        "architectures": [ARCHITECTURE],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_ctx": config.context_length,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": None,
        "activation_function": ACTIVATIONS["gelu_tanh"][0],
        "layer_norm_epsilon": config.norm_epsilon,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "initializer_range": 0.02,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "tie_word_embeddings": True,
        **ids,
        "use_cache": True,
        "dtype": "float32",
    }
    return fields | variations(config)  # in the order of earlier exports, so that their bytes stay the same


def variations(config: DecoderConfig) -> dict[str, Any]:
    """The fields in which GPT-2's relatives differ from it."""
    return {
        "n_inner": config.mlp_width,
        "activation_function": ACTIVATIONS[config.activation][0],
        **{theirs: getattr(config, ours) for theirs, (ours, _) in SWITCHES.items()},
    }


def read(directory: Path) -> DecoderConfig:
    """The config of a directory. Raises FileNotFoundError, or ValueError naming the file, the field and its value."""
    path = directory / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{directory} is no Hugging Face directory: it has no {FILE_NAME}")
    fields = read_json(path, "download or export it again")
    _refuse_what_we_do_not_compute(path, fields)
    for name in SIZES:
        if name not in fields:
            raise ValueError(f"{path}: field {name!r} is missing; expected the config of a GPT-2")
        if type(fields[name]) is not int:
            raise ValueError(f"{path}: {name} is {fields[name]!r}; expected a whole number")
    more = _variations(path, fields)
    epsilon = fields.get("layer_norm_epsilon", 1e-5)
    if type(epsilon) is not float:
        raise ValueError(f"{path}: layer_norm_epsilon is {epsilon!r}; expected a number between 0 and 1")
    try:
        return DecoderConfig(**{ours: fields[name] for name, ours in SIZES.items()}, norm_epsilon=epsilon, **more)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _variations(path: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """`variations`, read. `reorder_and_upcast_attn` changes the order of operations, not the function."""
    known = {theirs: ours for ours, names in ACTIVATIONS.items() for theirs in names}
    found, activation = {}, fields.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in known:
        raise ValueError(f"{path}: activation_function is {activation!r}; this code computes {', '.join(known)}")
    for theirs, (ours, default) in SWITCHES.items():
        found[ours] = fields.get(theirs, default)
        if type(found[ours]) is not bool:
            raise ValueError(f"{path}: {theirs} is {found[ours]!r}; expected true or false")
    width = fields.get("n_inner")
    if width is not None and (type(width) is not int or width < 1):
        raise ValueError(f"{path}: n_inner is {width!r}; expected a whole number of at least 1, or null")
    return found | {"activation": known[activation], "mlp_width": None if width == 4 * fields["n_embd"] else width}


def _refuse_what_we_do_not_compute(path: Path, fields: dict[str, Any]) -> None:
    if "auto_map" in fields:
        raise ValueError(f"{path}: auto_map asks to run code from the directory; this is refused: remove the field")
    architectures = fields.get("architectures") or [ARCHITECTURE]
    is_known = isinstance(architectures, list) and (ARCHITECTURE in architectures or WITHOUT_HEAD in architectures)
    if fields.get("model_type") != "gpt2" or not is_known:
        raise ValueError(
            f"{path}: model_type {fields.get('model_type')!r}, architectures {architectures}; expected 'gpt2' and "
            f"{ARCHITECTURE} (or {WITHOUT_HEAD}): no other architecture is known here"
        )
    expected: dict[str, tuple[Any, ...]] = {
        "add_cross_attention": (False,),
        "quantization_config": (None,),
    }
    for name, allowed in expected.items():
        value = fields.get(name, allowed[0])
        if value not in allowed:
            raise ValueError(f"{path}: {name} is {value!r}; this code computes {' or '.join(map(repr, allowed))}")
