"""LLaVA's directories: what transformers computes from an export, and what is refused."""

import dataclasses
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from llm_jax.config import Execution, llama
from llm_jax.files import pictures
from llm_jax.hf import llava
from llm_jax.models import decoder
from llm_jax.models.vision_language import forward
from llm_jax.models.vision_language.config import VisionConfig, VisionLanguageConfig
from llm_jax.models.vision_language.parameters import init
from llm_jax.models.vision_language.tower import normalised
from llm_jax.tokenizer import train_bpe
from llm_jax.tokenizer.chat import render
from llm_jax.tokenizer.derived import with_template
from train.vision.leaving import TEMPLATE

QUESTION = "which digit is top left?"
SIDE = 16
FILES = ("processor_config.json", "preprocessor_config.json")


def model(**changes) -> llava.Seeing:
    words = train_bpe([QUESTION] * 3, 290, special_tokens=("<|endoftext|>", "<image>"))
    text = llama(
        vocab_size=words.vocab_size, context_length=64, d_model=32, n_heads=1, n_layers=2, mlp_width=96, tied_head=False
    )
    tower = VisionConfig(image_size=SIDE, patch_size=8, d_model=32, n_heads=1, n_layers=2, mlp_width=48, **changes)
    config = VisionLanguageConfig(tower, text, words.special_tokens["<image>"])
    keys = iter(jax.random.split(jax.random.key(1), 200))
    params = jax.tree.map(
        lambda x: 3 * x + 0.1 * jax.random.normal(next(keys), x.shape), init(jax.random.key(0), config)
    )
    return llava.Seeing(config, params, with_template(words, TEMPLATE))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("llava") / "model"
    seeing = model()
    assert llava.export(seeing, out) <= 1e-6
    return seeing, out


@pytest.fixture(scope="module")
def theirs(written):
    from transformers import LlavaProcessor

    return loaded_by_transformers(written[1]), LlavaProcessor.from_pretrained(written[1], backend="pil")


def loaded_by_transformers(directory):
    import torch
    from transformers import LlavaForConditionalGeneration

    torch.set_num_threads(1)
    loaded, info = LlavaForConditionalGeneration.from_pretrained(directory, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    return loaded.eval()


@pytest.fixture(scope="module")
def asked(theirs):
    """A picture with a question, as transformers' processor writes them."""
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    processor = theirs[1]
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    return picture, processor(images=Image.fromarray(picture), text=text, return_tensors="pt")


@partial(jax.jit, static_argnames="config")
def logits_of(params, tokens, pixels, config):
    return forward.logits(params, tokens, pixels, config, decoder.make_plan(Execution(dtype="float32")))


def ours(seeing: llava.Seeing, tokens, pixels) -> np.ndarray:
    """Our logits of a row; padding on the right changes nothing before it, and one program serves every length."""
    padded = np.zeros((1, seeing.config.text.context_length), np.int32)
    padded[:, : tokens.shape[1]] = tokens
    found = logits_of(seeing.params, jnp.asarray(padded), jnp.asarray(pixels), seeing.config)
    return np.asarray(found)[:, : tokens.shape[1]]


def test_the_towers_last_layer_is_transformers_last_layer(written, asked, tmp_path):
    """`train vision` takes the last layer, LLaVA the one before it: other vectors, and each as in transformers."""
    import torch

    before, (picture, inputs) = written[0], asked
    last = dataclasses.replace(before.config, feature_layer=-1)
    seeing = dataclasses.replace(before, config=last)
    llava.export(seeing, tmp_path / "last")
    pixels, tokens = (
        normalised(jnp.asarray(picture[None] / 255, jnp.float32), seeing.config.vision),
        inputs["input_ids"],
    )
    with torch.no_grad():
        expected = loaded_by_transformers(tmp_path / "last")(**inputs).logits.numpy()
    np.testing.assert_allclose(ours(seeing, tokens.numpy(), pixels), expected, atol=1e-4)
    assert np.abs(ours(before, tokens.numpy(), pixels) - expected).max() > 0.01


def test_transformers_gives_the_same_logits_and_answer(written, theirs, asked):
    import torch

    seeing, loaded, (picture, inputs) = written[0], theirs[0], asked
    pixels = normalised(jnp.asarray(picture[None] / 255, jnp.float32), seeing.config.vision)
    np.testing.assert_allclose(inputs["pixel_values"][0].permute(1, 2, 0).numpy(), pixels[0], atol=1e-5)
    tokens = inputs["input_ids"].numpy()
    forward.check_placeholders(tokens[0].tolist(), 1, seeing.config)
    with torch.no_grad():
        expected = loaded(**inputs).logits.numpy()
        chosen = loaded.generate(**inputs, max_new_tokens=4, do_sample=False)[0, tokens.shape[1] :].tolist()
    found = ours(seeing, tokens, pixels)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    for token in chosen:
        assert int(ours(seeing, tokens, pixels)[0, -1].argmax()) == token
        tokens = np.concatenate([tokens, [[token]]], axis=1)


def test_the_template_puts_the_placeholder_where_the_picture_is(written, asked):
    seeing, (_, inputs) = written[0], asked
    tokens = inputs["input_ids"][0].tolist()
    assert tokens[: seeing.config.vision.n_patches] == [seeing.config.image_token] * 4
    assert seeing.tokenizer.decode(tokens[4:]) == f"{QUESTION}\nanswer:"


def test_what_transformers_saves_is_read(written, theirs, tmp_path):
    """transformers 5 writes shorter names."""
    theirs[0].save_pretrained(tmp_path)
    theirs[1].save_pretrained(tmp_path)
    again = llava.load(tmp_path)
    assert again.config == written[0].config
    ours = llava.load(written[1])  # files have no rows for ids that pad the vocabulary
    jax.tree.map(np.testing.assert_array_equal, again.params, ours.params)


def test_a_template_writes_a_conversation_as_it_was_trained(written):
    """Words of an answer begin with a space, as in training; contents may be texts or parts."""
    chat = written[0].tokenizer.chat
    for text in ("q", [{"type": "text", "text": "q"}]):
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "q"}]}]
        messages += [{"role": "assistant", "content": " 7"}, {"role": "user", "content": text}]
        found = render(chat, messages, True).text
        assert found == "<image>q\nanswer: 7<|endoftext|>q\nanswer:"


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_the_activation_survives(activation, tmp_path):
    seeing = model(activation=activation)
    llava.export(seeing, tmp_path / "out")
    assert llava.load(tmp_path / "out").config == seeing.config


def test_a_gpt2_is_refused_with_the_reason(tmp_path):
    seeing = model()
    text = dataclasses.replace(seeing.config.text, norm="layer", positions="learned")
    config = dataclasses.replace(seeing.config, text=text)
    with pytest.raises(ValueError, match="must be a Llama"):
        llava.export(dataclasses.replace(seeing, config=config), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "path", "value", "said"),
    [
        ("config.json", ("vision_feature_select_strategy",), "full", "vision_feature_select_strategy is 'full'"),
        ("config.json", ("vision_config", "model_type"), "siglip_vision_model", "vision_config is of type 'siglip"),
        ("config.json", ("text_config", "model_type"), "gpt2", "text_config is of type 'gpt2'"),
        ("config.json", ("vision_feature_layer",), [-2, -1], "vision_feature_layer is"),
        ("config.json", ("projector_hidden_act",), "relu", "projector_hidden_act is 'relu'"),
        ("config.json", ("image_token_index",), 3, "no special token"),
        ("config.json", ("vision_config", "hidden_act"), "mish", "hidden_act is 'mish'"),
        ("processor_config.json", ("image_processor", "do_normalize"), False, "do_normalize is False"),
        ("processor_config.json", ("image_processor", "size"), {"shortest_edge": 16}, "size is"),
        ("processor_config.json", ("image_processor", "resample"), 2, "resample is 2"),
        ("processor_config.json", ("image_processor", "do_pad"), True, "do_pad is True"),
        ("processor_config.json", ("image_processor", "size"), None, "size is {'shortest_edge': 224}"),
        ("processor_config.json", ("image_processor", "rescale_factor"), 1.0, "rescale_factor is 1.0"),
        ("processor_config.json", ("image_processor", "image_processor_type"), "ViTImageProcessor", "type is 'ViT"),
    ],
)
def test_a_setting_that_is_not_computed_is_refused_by_name(written, tmp_path, file, path, value, said):
    copy = _copied(written[1], tmp_path)
    fields = json.loads((copy / file).read_text())
    place = fields
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    (copy / file).write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=said):
        llava.load(copy)


def as_transformers_4(source, folder, **changes):
    """A copy with what happens to pictures in preprocessor_config.json alone, and with changes there (None: absent)."""
    copy = _copied(source, folder)
    outer, inner = (json.loads((copy / name).read_text()) for name in FILES)
    del outer["image_processor"]
    (copy / FILES[0]).write_text(json.dumps(outer))
    inner = {name: value for name, value in (inner | changes).items() if value is not None}
    (copy / FILES[1]).write_text(json.dumps(inner))
    return copy


def test_pictures_are_normalised_as_transformers_4_wrote_it(written, tmp_path):
    """Both files are there then, and the first says nothing of pictures."""
    from transformers import LlavaProcessor

    noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    copy = as_transformers_4(written[1], tmp_path, image_mean=[0.5, 0.4, 0.3], image_std=[0.25, 0.5, 0.1])
    theirs = LlavaProcessor.from_pretrained(copy, backend="pil").image_processor(noise, return_tensors="np")
    ours = normalised(jnp.asarray(noise[None] / 255, jnp.float32), llava.load(copy).config.vision)
    np.testing.assert_allclose(theirs["pixel_values"][0].transpose(1, 2, 0), ours[0], atol=1e-5)
    (copy / FILES[0]).unlink()
    assert llava.load(copy).config.vision.mean == (0.5, 0.4, 0.3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": {"shortest_edge": SIDE}}, "size is {'shortest_edge': 16}"),
        ({"do_center_crop": None, "crop_size": None}, "do_center_crop is true .* crop_size {'height': 224"),
        (
            {"do_center_crop": True, "crop_size": {"height": 8, "width": 8}},
            "do_center_crop is true .* crop_size {'height': 8",
        ),
    ],
)
def test_what_transformers_4_would_crop_is_refused(written, tmp_path, changes, said):
    with pytest.raises(ValueError, match=r"preprocessor_config\.json: " + said):
        llava.load(as_transformers_4(written[1], tmp_path, **changes))


def test_a_directory_that_does_not_say_what_happens_to_pictures_is_refused(written, tmp_path):
    copy = as_transformers_4(written[1], tmp_path)
    (copy / FILES[1]).unlink()
    with pytest.raises(FileNotFoundError, match="nothing says what happens to a picture"):
        llava.load(copy)


@pytest.mark.parametrize("how", ["missing", "unknown", "shape"])
def test_wrong_tensors_are_named(written, tmp_path, how):
    copy = _copied(written[1], tmp_path)
    tensors = load_file(copy / "model.safetensors")
    name = "multi_modal_projector.linear_1.weight"
    if how == "missing":
        del tensors[name]
    elif how == "unknown":
        tensors["vision_tower.vision_model.more"] = np.zeros(1, np.float32)
    else:
        tensors[name] = np.zeros((2, 2), np.float32)
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(
        ValueError, match={"missing": "linear_1.* is missing", "unknown": "more.* is no part"}.get(how, "shape")
    ):
        llava.load(copy)


def test_an_export_overwrites_nothing_else(written, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="something else"):
        llava.export(written[0], tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(FileExistsError, match="--force"):
        llava.export(written[0], written[1])


def test_a_picture_of_another_size_is_resized_as_transformers_does(theirs):
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    inputs = theirs[1].image_processor(Image.fromarray(noise), return_tensors="np")
    ours = normalised(jnp.asarray(pictures.resized(noise, SIDE)[None] / 255, jnp.float32), VisionConfig())
    np.testing.assert_allclose(inputs["pixel_values"][0].transpose(1, 2, 0), ours[0], atol=1e-5)


def _copied(source, folder):
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
