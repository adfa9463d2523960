"""The files that describe a LLaVA: config.json, processor_config.json (preprocessor_config.json before transformers 5).

The decoder's part is read and written by Llama's table. A setting that this code does not compute is refused by name:
another tower than CLIP's, other activations, a picture that is not resized to the tower's square.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.config import DecoderConfig
from llm_jax.files.json_files import read_json
from llm_jax.hf.families import fields as read_fields
from llm_jax.hf.families import llama
from llm_jax.models.vision_language.config import CLIP_MEAN, CLIP_STD, VisionConfig, VisionLanguageConfig
from llm_jax.tokenizer import Borders
from llm_jax.tokenizer.hf_files.saving import generation_fields

CONFIG, PROCESSOR, PREPROCESSOR = "config.json", "processor_config.json", "preprocessor_config.json"
MODEL_TYPE, ARCHITECTURE = "llava", "LlavaForConditionalGeneration"
BICUBIC = 3  # Pillow's number
SIZES = {
    "image_size": "image_size",
    "patch_size": "patch_size",
    "hidden_size": "d_model",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "mlp_width",
}
DEFAULTS = {  # CLIPVisionConfig's, which files leave out
    "image_size": 224, "patch_size": 32, "hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12,
    "intermediate_size": 3072,
}  # fmt: skip
QUICK_GELU = "quick_gelu"
INSIDE = "image_processor"  # the part of PROCESSOR that transformers 5 writes; transformers 4 writes PREPROCESSOR
PICTURE_DEFAULTS = {  # CLIPImageProcessor's and LlavaImageProcessor's, which files may leave out or have as null
    "size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
}  # fmt: skip
PICTURE_TYPES = tuple(f"{name}ImageProcessor{of}" for name in ("CLIP", "Llava") for of in ("", "Fast", "Pil"))


def written(config: VisionLanguageConfig, borders: Borders) -> dict[str, Any]:
    """config.json. Raises ValueError for a decoder that is no Llama: in transformers and vLLM no other works here."""
    if not llama.FAMILY.fits(config.text):
        raise ValueError(
            "LLaVA's decoder must be a Llama (RMS norm, rotary positions, gated MLP): transformers and vLLM compute no "
            f"other; got norm={config.text.norm}, positions={config.text.positions}"
        )
    vision, ids = config.vision, generation_fields(borders)
    names = {QUICK_GELU: QUICK_GELU} | {ours: theirs[0] for ours, theirs in read_fields.ACTIVATIONS.items()}
    tower = {theirs: getattr(vision, ours) for theirs, ours in SIZES.items()}
    text = llama.FAMILY.write(config.text)
    return {
        "architectures": [ARCHITECTURE],
        "model_type": MODEL_TYPE,
        "dtype": "float32",
        "image_token_index": config.image_token,
        "image_seq_length": vision.n_patches,
        "vision_feature_layer": config.feature_layer,
        "vision_feature_select_strategy": "default",
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "tie_word_embeddings": config.text.tied_head,
        **ids,
        "vision_config": {
            "model_type": "clip_vision_model",
            **tower,
            "num_channels": 3,
            "hidden_act": names[vision.activation],
            "layer_norm_eps": vision.norm_epsilon,
            "projection_dim": vision.d_model,
        },
        "text_config": {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "bos_token_id": None,
            **text,
            **ids,
        },
    }


def image_processor(config: VisionConfig) -> dict[str, Any]:
    """What happens to a picture before the tower: to a square of its size, to numbers from 0 to 1, normalised."""
    square = {"height": config.image_size, "width": config.image_size}
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": square,
        "resample": BICUBIC,
        "do_center_crop": False,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(config.mean),
        "image_std": list(config.std),
    }


def processor(config: VisionLanguageConfig, image_token: str) -> dict[str, Any]:
    """How many placeholders a picture takes, beside what happens to it."""
    return {
        "processor_class": "LlavaProcessor",
        "image_token": image_token,
        "patch_size": config.vision.patch_size,
        "num_additional_image_tokens": 1,  # the class token, which the strategy `default` then leaves out
        "vision_feature_select_strategy": "default",
        "image_processor": image_processor(config.vision),
    }


def read(directory: Path) -> VisionLanguageConfig:
    """The config of a directory. Raises FileNotFoundError, or ValueError naming the file, the field and its value."""
    path = directory / CONFIG
    fields = read_json(path, "download or export it again")
    if fields.get("model_type") != MODEL_TYPE:
        raise ValueError(f"{path}: model_type is {fields.get('model_type')!r}; expected {MODEL_TYPE!r}")
    if "auto_map" in fields:
        raise ValueError(f"{path}: auto_map asks to run code from the directory; this is refused: remove the field")
    computed = {
        "vision_feature_select_strategy": ("default",),
        "projector_hidden_act": ("gelu",),
        "multimodal_projector_bias": (True,),
        "quantization_config": (None,),
    }
    read_fields.refuse_others(path, fields, computed)
    token, layer = fields.get("image_token_index", fields.get("image_token_id")), fields.get("vision_feature_layer", -2)
    if type(token) is not int:
        raise ValueError(f"{path}: image_token_index is {token!r}; expected the id of the placeholder")
    if type(layer) is not int:
        raise ValueError(f"{path}: vision_feature_layer is {layer!r}; this code takes the vectors of one layer")
    try:
        text, vision = _text(path, fields), _vision(path, fields, directory)
        return VisionLanguageConfig(vision, text, token, layer)
    except ValueError as error:
        raise error if str(error).startswith(str(directory)) else ValueError(f"{path}: {error}") from None


def _part(path: Path, fields: Mapping[str, Any], name: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    part = fields.get(name)
    if not isinstance(part, dict) or part.get("model_type") not in kinds:
        found = part.get("model_type") if isinstance(part, dict) else part
        raise ValueError(f"{path}: {name} is of type {found!r}; this code computes {' or '.join(map(repr, kinds))}")
    return part


def _text(path: Path, fields: Mapping[str, Any]) -> DecoderConfig:
    part = _part(path, fields, "text_config", ("llama",))
    if "tie_word_embeddings" in part and part["tie_word_embeddings"] != fields.get("tie_word_embeddings", False):
        raise ValueError(f"{path}: tie_word_embeddings differs between the model and its text_config")
    return llama.FAMILY.read(path, {"tie_word_embeddings": fields.get("tie_word_embeddings", False), **part})


def _vision(path: Path, fields: Mapping[str, Any], directory: Path) -> VisionConfig:
    part = _part(path, fields, "vision_config", ("clip_vision_model",))
    read_fields.refuse_others(path, part, {"num_channels": (3,), "attention_dropout": (0.0, 0)})
    sizes = {ours: read_fields.whole(path, DEFAULTS | part, theirs, "CLIP") for theirs, ours in SIZES.items()}
    name = part.get("hidden_act", QUICK_GELU)
    activation = name if name == QUICK_GELU else read_fields.activation(path, part, "hidden_act", QUICK_GELU)
    epsilon = read_fields.fraction(path, part, "layer_norm_eps", 1e-5)
    mean, std = _normalisation(directory, sizes["image_size"])
    return VisionConfig(**sizes, activation=activation, norm_epsilon=epsilon, mean=mean, std=std)


def _normalisation(directory: Path, side: int) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation; refuses a processor that does something else than `image_processor`."""
    path, found = _picture_fields(directory)
    fields = PICTURE_DEFAULTS | {name: value for name, value in found.items() if value is not None}
    square = {"height": side, "width": side}
    does = dict.fromkeys(("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"), (True,))
    does |= {"image_processor_type": PICTURE_TYPES, "size": (square,), "resample": (BICUBIC,), "do_pad": (False,)}
    read_fields.refuse_others(path, fields, does)
    if read_fields.switch(path, fields, "do_center_crop", True) and fields["crop_size"] != square:
        raise ValueError(
            f"{path}: do_center_crop is true (transformers' default) with crop_size {fields['crop_size']!r}; this code "
            f"computes {square!r}, or do_center_crop false"
        )
    if abs(read_fields.number(path, fields, "rescale_factor", 1 / 255) - 1 / 255) > 1e-9:
        raise ValueError(f"{path}: rescale_factor is {fields['rescale_factor']!r}; this code computes 1/255")
    return _three(path, fields, "image_mean", CLIP_MEAN), _three(path, fields, "image_std", CLIP_STD)


def _picture_fields(directory: Path) -> tuple[Path, dict[str, Any]]:
    """What happens to a picture, and the file that says so: as transformers looks for it."""
    for name in (PROCESSOR, PREPROCESSOR):
        path = directory / name
        fields = read_json(path, "download or export it again") if path.is_file() else {}
        fields = fields.get(INSIDE) if name == PROCESSOR else fields or None
        if isinstance(fields, dict):
            return path, fields
    raise FileNotFoundError(
        f"{directory} has neither a {PROCESSOR} with {INSIDE!r} nor a {PREPROCESSOR}: nothing says what happens to a "
        "picture; download or export it again"
    )


def _three(path: Path, fields: Mapping[str, Any], name: str, default: tuple[float, ...]) -> tuple[float, float, float]:
    """One number for each colour."""
    found = fields.get(name, default)
    is_list = isinstance(found, list | tuple) and len(found) == 3
    if not is_list or any(type(value) not in (int, float) for value in found):
        raise ValueError(f"{path}: {name} is {found!r}; expected three numbers")
    return float(found[0]), float(found[1]), float(found[2])
