"""Names of a LLaVA's tensors ↔ our parameters.

The names are those of the published files (`language_model.model.…`, `vision_tower.vision_model.…`), which every
version of transformers and vLLM reads. transformers 5 writes some of them shorter; both are read.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from llm_jax.hf import names as decoder_names
from llm_jax.hf.families import llama
from llm_jax.hf.tensors import release
from llm_jax.models.vision_language.config import VisionConfig, VisionLanguageConfig
from llm_jax.models.vision_language.parameters import VisionLanguage, init
from llm_jax.shapes import Array

TEXT, TOWER, PROJECTOR = "language_model.", "vision_tower.vision_model.", "multi_modal_projector."
# Beginnings of names as other versions write them → as they are written here; the first that fits counts.
OTHERS = (
    ("model.language_model.", "language_model.model."),
    ("model.vision_tower.", "vision_tower."),
    ("model.multi_modal_projector.", PROJECTOR),
    ("lm_head.", "language_model.lm_head."),
)
IGNORED = (".position_ids", ".rotary_emb.inv_freq")
NORMS = {"norm_1": "layer_norm1", "norm_2": "layer_norm2"}
LINEARS = {
    "attention.qkv.q": "self_attn.q_proj",
    "attention.qkv.k": "self_attn.k_proj",
    "attention.qkv.v": "self_attn.v_proj",
    "attention.out": "self_attn.out_proj",
    "mlp.up": "mlp.fc1",
    "mlp.down": "mlp.fc2",
}


class Row(NamedTuple):
    """One tensor: our path, its name, its shape there, and whether it is a matrix of (outputs, inputs) there."""

    ours: str
    theirs: str
    shape: tuple[int, ...]
    is_linear: bool = False


def tower_rows(config: VisionConfig) -> Iterator[Row]:
    """All tensors of CLIP's vision tower. `pre_layrnorm` is spelled so in every published file."""
    width, hidden = config.d_model, config.mlp_width
    patch = (width, 3, config.patch_size, config.patch_size)
    yield Row(".tower.patch.weight", f"{TOWER}embeddings.patch_embedding.weight", patch)
    yield Row(".tower.class_embedding", f"{TOWER}embeddings.class_embedding", (width,))
    positions = (1 + config.n_patches, width)
    yield Row(".tower.position_embedding", f"{TOWER}embeddings.position_embedding.weight", positions)
    yield from _norm(".tower.norm_before", f"{TOWER}pre_layrnorm", width)
    yield from _norm(".tower.norm_after", f"{TOWER}post_layernorm", width)
    for layer in range(config.n_layers):
        ours, theirs = f".tower.blocks[{layer}]", f"{TOWER}encoder.layers.{layer}"
        for mine, name in NORMS.items():
            yield from _norm(f"{ours}.{mine}", f"{theirs}.{name}", width)
        for mine, name in LINEARS.items():
            outputs, inputs = {"mlp.up": (hidden, width), "mlp.down": (width, hidden)}.get(mine, (width, width))
            yield from _linear(f"{ours}.{mine}", f"{theirs}.{name}", outputs, inputs)


def rows(config: VisionLanguageConfig) -> Iterator[Row]:
    """All tensors but the decoder's."""
    yield from tower_rows(config.vision)
    seen, width = config.vision.d_model, config.text.d_model
    yield from _linear(".projector.up", f"{PROJECTOR}linear_1", width, seen)
    yield from _linear(".projector.down", f"{PROJECTOR}linear_2", width, width)


def _norm(ours: str, theirs: str, width: int) -> Iterator[Row]:
    yield Row(f"{ours}.gain", f"{theirs}.weight", (width,))
    yield Row(f"{ours}.bias", f"{theirs}.bias", (width,))


def _linear(ours: str, theirs: str, outputs: int, inputs: int) -> Iterator[Row]:
    yield Row(f"{ours}.weight", f"{theirs}.weight", (outputs, inputs), is_linear=True)
    yield Row(f"{ours}.bias", f"{theirs}.bias", (outputs,))


def to_hf(params: VisionLanguage, config: VisionLanguageConfig) -> dict[str, np.ndarray]:
    """Parameters → tensors by name, float32."""
    found = {TEXT + name: tensor for name, tensor in decoder_names.to_hf(params.text, config.text).items()}
    by_path = {row.ours: row for row in rows(config)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if (row := by_path.get(jax.tree_util.keystr(path))) is not None:
            found[row.theirs] = np.ascontiguousarray(_out(row, np.asarray(leaf, np.float32)))
    return found


def _out(row: Row, array: np.ndarray) -> np.ndarray:
    if len(row.shape) == 4:  # a patch's rows, columns and colours → a convolution's kernel
        width, colours, size, _ = row.shape
        return array.reshape(size, size, colours, width).transpose(3, 2, 0, 1)
    return array.reshape(row.shape[::-1]).T if row.is_linear else array.reshape(row.shape)


def from_hf(tensors: Mapping[str, np.ndarray], config: VisionLanguageConfig, directory: Path) -> VisionLanguage:
    """Tensors → parameters in float32. Raises ValueError for one that is missing, unknown or of another shape."""
    named = {_usual(name): tensor for name, tensor in tensors.items() if not name.endswith(IGNORED)}
    own = {row.ours: row for row in rows(config)}
    text = decoder_names.table(config.text, llama.FAMILY)
    of_text = {name: TEXT + llama.FAMILY.saved(name) for name, _ in text.values()}
    wanted = {row.theirs: row.shape for row in own.values()} | {of_text[name]: shape for name, shape in text.values()}
    head = f"{TEXT}{llama.FAMILY.head}"
    if config.text.tied_head and head not in wanted:
        named.pop(head, None)
    _refuse("is missing", directory, wanted.keys() - named.keys())
    _refuse("is no part of a LLaVA of this config", directory, named.keys() - wanted.keys())
    for name, shape in wanted.items():
        if named[name].shape != shape:
            raise ValueError(f"{directory}: tensor {name!r} has shape {named[name].shape}; its config says {shape}")
    bare = {name: named[theirs] for name, theirs in of_text.items()}
    template = jax.eval_shape(lambda key: init(key, config), jax.random.key(0))

    def take(path: Any, leaf: Any) -> Array:
        row = own[jax.tree_util.keystr(path)]
        array = jax.device_put(np.ascontiguousarray(_in(row, named[row.theirs].astype(np.float32), leaf.shape)))
        release(named[row.theirs])
        return array

    parts = VisionLanguage(template.tower, template.projector, None)  # pyright: ignore[reportArgumentType]
    taken = jax.tree_util.tree_map_with_path(take, parts)
    return taken.replace(text=decoder_names.from_hf(bare, config.text, llama.FAMILY))


def _in(row: Row, tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if len(row.shape) == 4:
        return tensor.transpose(2, 3, 1, 0).reshape(shape)
    return (tensor.T if row.is_linear else tensor).reshape(shape)


def _usual(name: str) -> str:
    for other, ours in OTHERS:
        if name.startswith(other):
            name = ours + name.removeprefix(other)
            break
    short = "vision_tower."
    return name if not name.startswith(short) or name.startswith(TOWER) else TOWER + name.removeprefix(short)


def _refuse(what: str, directory: Path, wrong: Iterable[str]) -> None:
    if wrong := sorted(wrong):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ValueError(f"{directory}: tensor {wrong[0]!r}{more} {what}")
