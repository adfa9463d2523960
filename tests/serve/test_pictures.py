"""Pictures in chats: what our server answers is the model's own answer, and everything else is refused by name."""

import asyncio
import base64
import io
import json
from functools import partial

import httpx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from small_models import opinionated

from llm_jax.config import Execution, llama
from llm_jax.hf import llava
from llm_jax.models import decoder
from llm_jax.models.vision_language import forward
from llm_jax.models.vision_language.config import VisionConfig, VisionLanguageConfig
from llm_jax.models.vision_language.parameters import VisionLanguage, init
from llm_jax.models.vision_language.tower import normalised
from llm_jax.tokenizer import train_bpe
from llm_jax.tokenizer.derived import with_template
from serve import models
from serve.api import pictures
from serve.api.application import Served, application
from serve.api.decoding.engine import Engine
from train.vision.leaving import TEMPLATE

KEY = "a-key-of-this-test"
QUESTION = "which digit is top left?"
SIDE = 16


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    words = train_bpe([QUESTION] * 3, 290, special_tokens=("<|endoftext|>", "<image>"))
    text = llama(vocab_size=words.vocab_size, context_length=64, d_model=32, n_heads=1, n_layers=1, tied_head=False)
    tower = VisionConfig(image_size=SIDE, patch_size=8, d_model=32, n_heads=1, n_layers=2, mlp_width=48)
    config = VisionLanguageConfig(tower, text, words.special_tokens["<image>"], feature_layer=-1)  # as `train vision`
    fresh = init(jax.random.key(0), config)
    params = VisionLanguage(fresh.tower, fresh.projector, opinionated(text, 6))
    out = tmp_path_factory.mktemp("seeing") / "tiny"
    llava.export(llava.Seeing(config, params, with_template(words, TEMPLATE)), out)
    return out


@pytest.fixture(scope="module")
def model(directory):
    return models.load_model(str(directory))


@pytest.fixture(scope="module")
def ask(model):
    """(status, answer) of a chat request with these parts of a message."""
    plan = decoder.make_plan(Execution(dtype="float32"))
    engine = Engine(model.params, model.config, plan, 2, 64, 8, model.sight)
    engine.start()
    app = application(Served(engine, model.tokenizer, "tiny", 64, None, sight=model.sight.config), KEY, 8)

    def ask(*parts, **fields):
        async def send():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                body = {"model": "tiny", "temperature": 0, "max_tokens": 4} | fields
                body.setdefault("messages", [{"role": "user", "content": list(parts)}])
                headers = {"Authorization": f"Bearer {KEY}"}
                answer = await client.post("/v1/chat/completions", content=json.dumps(body), headers=headers)
                return answer.status_code, answer.json()

        return asyncio.run(send())

    yield ask
    engine.close("the test is over", 0)
    engine.join(30)


def picture(seed: int = 0, side: int = SIDE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8))


def part(image: Image.Image | bytes, kind: str = "image/png"):
    if not isinstance(image, bytes):
        file = io.BytesIO()
        image.save(file, "PNG")
        image = file.getvalue()
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{base64.b64encode(image).decode()}"}}


def text(said: str = QUESTION):
    return {"type": "text", "text": said}


@partial(jax.jit, static_argnames="config")
def logits_of(params, tokens, pixels, config):
    return forward.logits(params, tokens, pixels, config, decoder.make_plan(Execution(dtype="float32")))


def expected(model, image: Image.Image) -> str:
    """The greedy answer by the whole forward pass, token by token."""
    sight = model.sight
    params = VisionLanguage(sight.tower, sight.projector, model.params)
    tokens = [sight.config.image_token] * 4 + model.tokenizer.encode(f"{QUESTION}\nanswer:")
    start = len(tokens)
    pixels = normalised(jnp.asarray(np.asarray(image)[None] / 255, jnp.float32), sight.config.vision)
    for _ in range(4):
        padded = jnp.asarray([tokens + [0] * (64 - len(tokens))])
        tokens.append(int(logits_of(params, padded, pixels, sight.config)[0, len(tokens) - 1].argmax()))
        if tokens[-1] == model.tokenizer.end_of_text:
            tokens.pop()
            break
    return model.tokenizer.decode(
        [token for token in tokens[start:] if token not in model.tokenizer.special_tokens.values()]
    )


def said(answer) -> str:
    status, content = answer
    assert status == 200, content
    return content["choices"][0]["message"]["content"]


def test_an_answer_is_the_models_to_this_picture(ask, model):
    answers = set()
    for seed in range(4):
        answer = ask(part(picture(seed)), text())
        assert said(answer) == expected(model, picture(seed))
        answers.add(said(answer))
        n_text = len(model.tokenizer.encode(f"{QUESTION}\nanswer:"))
        assert answer[1]["usage"]["prompt_tokens"] == 4 + n_text
    assert len(answers) > 1  # the picture matters


def test_a_larger_picture_is_resized(ask, model):
    large = picture(1, 40)
    small = large.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    assert said(ask(part(large), text())) == expected(model, small)


def test_messages_of_text_alone_are_answered_as_ever(ask):
    assert ask(messages=[{"role": "user", "content": QUESTION}])[0] == 200
    assert said(ask(text())) == said(ask(messages=[{"role": "user", "content": QUESTION}]))


def test_two_pictures_stand_where_they_are_written(ask, model):
    status, answer = ask(part(picture(0)), text("a"), part(picture(1)), text("b"))
    assert status == 200
    assert answer["usage"]["prompt_tokens"] == 8 + len(model.tokenizer.encode("a")) + len(
        model.tokenizer.encode("b\nanswer:")
    )
    swapped = ask(part(picture(1)), text("a"), part(picture(0)), text("b"))
    assert swapped[0] == 200


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}, text()], "data: URLs alone"),
        ([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, text()], "data: URLs alone"),
        ([{"type": "image_url", "image_url": {"url": "data:text/html;base64,aGk="}}, text()], "is none of PNG"),
        (
            [{"type": "image_url", "image_url": {"url": "data:image/svg+xml;utf8,<svg/>"}}, text()],
            "not encoded in base64",
        ),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64"}}, text()], "not encoded in base64"),
        ([{"type": "image", "image": "a.png"}, text()], "type 'image': .* reads parts of types 'text' and 'image_url'"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}, text()], "not encoded in base64"),
        ([{"type": "image_url", "image_url": {}}, text()], "image_url must be an object with a url"),
        ([{"type": "image_url"}, text()], "image_url must be an object with a url"),
        ([part(b"no picture"), text()], r"content\[0\] is none of PNG"),
        ([text(), part(b"")], r"content\[1\] is empty"),
        ([part(picture()), text("<image>")], "2 placeholders for 1 pictures"),
        ([text("<image>")], "1 placeholders for 0 pictures"),
        ([part(picture(0, 4))] * 9, "may have 8 pictures"),
        ([part(picture(0, 4))] * 8 + [text("a" * 60)], "64"),
        (
            [{"type": "input_audio"}, part(picture())],
            "type 'input_audio': .* reads parts of types 'text' and 'image_url'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_that_cannot_be_answered_says_why(ask, parts, message):
    import re

    status, answer = ask(*parts)
    assert status == 400
    assert re.search(message, answer["error"]["message"]), answer


def test_the_answers_after_a_refusal_are_right(ask, model):
    assert ask(part(b"no picture"), text())[0] == 400
    assert said(ask(part(picture(2)), text())) == expected(model, picture(2))


def test_a_model_that_reads_no_pictures_refuses_them():
    from llm_jax.tokenizer.chat import checked

    with pytest.raises(ValueError, match=r"messages\[0\].content\[0\] is a part of type 'image_url'"):
        checked([{"role": "user", "content": [part(picture(0, 4)), text()]}])


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;base64,",
        "DATA:IMAGE/PNG;BASE64,",
        "data:;base64,",
        "data:application/octet-stream;base64,",
        "data:image/png; base64,",
        'data:image/png;name="a b.png";base64,',
        'data:image/png;name="a,b;base64,.png";base64,',
        "data:image/png;charset=utf-8;base64,\n",
    ],
)
def test_the_content_of_a_url_decides_and_not_what_it_declares(head):
    content = bytes(range(256)) * 3
    assert pictures.content_of(head + base64.b64encode(content).decode(), "here") == content
    assert pictures.content_of(head + base64.encodebytes(content).decode(), "here") == content


def test_the_largest_picture_may_come_in_lines():
    from llm_jax.files.pictures import MOST_BYTES

    largest = "data:;base64," + base64.encodebytes(bytes(MOST_BYTES)).decode()
    assert len(pictures.content_of(largest, "here")) == MOST_BYTES
    with pytest.raises(ValueError, match="the most"):
        pictures.content_of(largest.rstrip("\n=") + "A" * 9, "here")


def test_a_picture_that_is_too_long_is_refused_before_it_is_decoded():
    with pytest.raises(ValueError, match="the most"):
        pictures.content_of("data:image/png;base64," + "A" * (5 << 20), "here")


def test_a_run_that_sees_is_served_and_exported_by_its_folder(directory, tmp_path, capsys):
    import shutil

    from llm_jax.command_line import run as front_door
    from serve.__main__ import COMMANDS

    run = tmp_path / "vision"
    shutil.copytree(directory, run / "model")
    assert models.load_model(str(run)).sight is not None
    assert front_door("serve", "", COMMANDS, ["export", str(run)]) == 0
    assert "LLaVA" in capsys.readouterr().out
    assert llava.load(run / "hf").config == llava.load(directory).config


@pytest.mark.parametrize("command", [["export"], ["api", "--port", "0"]])
def test_a_run_that_left_no_model_names_the_fusion_that_leaves_one(command, tmp_path, capsys):
    from llm_jax.command_line import run as front_door
    from serve.__main__ import COMMANDS

    (tmp_path / "summary.json").write_text('{"command": "vision"}')
    assert front_door("serve", "", COMMANDS, [command[0], str(tmp_path), *command[1:]]) == 2
    assert "without a model: of all ways only `--fusion embedded` leaves one" in capsys.readouterr().err


@pytest.mark.vllm
def test_vllm_answers_pictures_as_we_do(ask, directory, tmp_path, start_server):
    from serve.vllm import environment

    try:
        python = environment.find().python
        environment.find_for(32, python, sees=True)
    except (FileNotFoundError, ValueError) as error:
        pytest.skip(str(error))
    server = start_server(
        tmp_path, "vllm", str(directory), "--port", "0", "--python", str(python), "--max-num-seqs", "4"
    )
    try:
        server.wait_until_ready(400)
        answers = set()
        for seed in range(4):
            body = {
                "model": "tiny",
                "temperature": 0,
                "max_tokens": 4,
                "messages": [{"role": "user", "content": [part(picture(seed)), text()]}],
            }
            status, answer = server.ask("POST", "/v1/chat/completions", body)
            assert status == 200, answer
            ours = ask(part(picture(seed)), text())
            assert answer["choices"][0]["message"]["content"].rstrip("\ufffd") == said(ours).rstrip("\ufffd")
            assert answer["usage"]["prompt_tokens"] == ours[1]["usage"]["prompt_tokens"]
            answers.add(said(ours))
        assert len(answers) > 1
    finally:
        server.end()
