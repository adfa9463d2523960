"""Adapters in every command of `serve`: by name in a server, merged where one model writes, exported from a run."""

import asyncio
import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import httpx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from adapting import moved
from small_models import bytes_tokenizer, opinionated

from llm_jax import adapters as lora
from llm_jax import hf
from llm_jax.adapters import LoraConfig, base_hash
from llm_jax.checkpoint import Checkpoints
from llm_jax.command_line import run as front_door
from llm_jax.config import DecoderConfig, llama
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.files.json_files import write_json
from llm_jax.hf import peft
from llm_jax.tokenizer import load as load_tokenizer
from llm_jax.tokenizer.derived import with_stops, with_template
from serve.__main__ import COMMANDS
from serve.adapters import named
from serve.api.application import Served, application
from serve.api.decoding.engine import Engine
from serve.models import load_model, load_with_adapters
from serve.vllm import environment as vllm_environment
from serve.vllm.config import VllmConfig
from serve.vllm.environment import Environment
from serve.vllm.serving import server_of

SIZES = {"vocab_size": 258, "context_length": 64, "d_model": 32, "n_heads": 1, "n_layers": 1}
LLAMA = llama(**SIZES, mlp_width=48)
SETTINGS = {"one": LoraConfig(rank=4, alpha=12.0), "two": LoraConfig(rank=9, alpha=9.0, targets=("q_proj", "up_proj"))}
TOKENIZER = bytes_tokenizer().with_special_tokens(["<|turn|>"])
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}: "
# The first adapter was trained with a chat template and another end of its turns. The base has neither.
TOKENIZERS = {"one": with_stops(with_template(TOKENIZER, TEMPLATE), [257]), "two": TOKENIZER}
KEY = "a-key-of-this-test"
PROMPT = "the quick"

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def adapter_of(name: str) -> lora.Adapters:
    """So large that every text is another."""
    return jax.tree.map(lambda x: 3 * x, moved(LLAMA, SETTINGS[name], seed=3 + list(SETTINGS).index(name)))


@pytest.fixture(scope="module")
def params():
    return opinionated(LLAMA, 6)


@pytest.fixture(scope="module")
def folder(params, tmp_path_factory) -> Path:
    """A base, two adapters in PEFT's format, and the first as a run of LoRA."""
    folder = tmp_path_factory.mktemp("adapters")
    hf.export(params, LLAMA, TOKENIZER, folder / "base", "card")
    for name, settings in SETTINGS.items():
        hashed = base_hash(params)
        peft.export(adapter_of(name), settings, LLAMA, "base", hashed, TOKENIZERS[name], folder / name)
    run = folder / "run"
    run.mkdir()
    base = {"source": str(folder / "base"), "folder": str(folder / "base"), "step": None, "hash": base_hash(params)}
    record = {"format": 1, "command": "finetune", "task": "sft", "base": base}
    write_json(
        run / "config.json",
        record | {"model": dataclasses.asdict(LLAMA), "lora": dataclasses.asdict(SETTINGS["one"])},
    )
    TOKENIZERS["one"].save(run / "tokenizer")
    checkpoints = Checkpoints(run / "checkpoints")
    checkpoints.save(7, {"params": adapter_of("one"), "step": jnp.int32(7)}, {}, wait=True)
    checkpoints.close()
    return folder


def merged(params, name: str):
    return lora.merge(params, adapter_of(name), LLAMA, SETTINGS[name])


def written(params, plan, sampling: Sampling) -> dict[str, str]:
    """The decoder's continuation of the prompt, 16 tokens, by the base and with each adapter."""
    tokenizer = TOKENIZER
    found = {}
    for name, one in {"base": params, **{name: merged(params, name) for name in SETTINGS}}.items():
        ids = loop.generate(one, [tokenizer.encode(PROMPT)], LLAMA, plan, sampling, 16, (256,))[0]
        found[name] = tokenizer.decode(ids)
    return found


@pytest.fixture(scope="module")
def texts(params, plan) -> dict[str, str]:
    found = written(params, plan, Sampling(temperature=2.0, seed=3))
    assert len(set(found.values())) == 3
    return found


@pytest.fixture(scope="module")
def ask(folder, plan):
    """Answers of our application with both adapters, to several requests at once."""
    model = load_with_adapters(str(folder / "base"), None, [folder / "one", folder / "two"])
    engine = Engine(loop.prepare(model.params, plan, 4), model.config, plan, rows=4, columns=64, max_waiting=128)
    engine.start()
    tokenizers = dict(zip(("one", "two"), model.tokenizers, strict=True))
    app = application(Served(engine, model.tokenizer, "base", 64, folder / "base", tokenizers), KEY, 64)

    def ask(*requests: tuple[str, dict | None]) -> list[tuple[int, dict]]:
        async def send():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                headers = {"Authorization": f"Bearer {KEY}"}

                async def one(path, body):
                    if body is None:
                        return await client.get(path, headers=headers)
                    return await client.post(path, content=json.dumps(body), headers=headers)

                return await asyncio.gather(*(one(*request) for request in requests))

        return [(answer.status_code, answer.json()) for answer in asyncio.run(send())]

    yield ask
    engine.close("the test is over", 0)
    engine.join(30)


def test_one_batch_answers_for_the_base_and_for_each_adapter_by_name(ask, texts):
    names = [name for name in ("one", "base", "two") for _ in range(3)]
    wish = {"prompt": PROMPT, "max_tokens": 16, "temperature": 2, "seed": 3}
    answers = ask(*(("/v1/completions", wish | {"model": name}) for name in names))
    for name, (status, answer) in zip(names, answers, strict=True):
        assert (status, answer["model"]) == (200, name)
        assert answer["choices"][0]["text"] == texts[name]


def test_a_scored_prompt_has_its_adapters_log_probabilities(ask):
    wish = {"prompt": PROMPT, "max_tokens": 0, "echo": True, "logprobs": 1}
    answers = ask(*(("/v1/completions", wish | {"model": name}) for name in ("base", "one", "two")))
    found = [answer["choices"][0]["logprobs"]["token_logprobs"][1] for _, answer in answers]
    assert len({round(value, 3) for value in found}) == 3


def test_the_models_are_listed_and_another_name_is_not_there(ask):
    ((_, listed), (status, refused)) = ask(
        ("/v1/models", None), ("/v1/completions", {"model": "three", "prompt": PROMPT})
    )
    assert [(model["id"], model.get("parent")) for model in listed["data"]] == [
        ("base", None), ("one", "base"), ("two", "base")
    ]  # fmt: skip
    assert status == 404
    assert refused["error"]["message"] == "there is no model 'three' here; this server has 'base', 'one', 'two'"
    assert ask(("/v1/models/two", None))[0][1]["id"] == "two"


def test_each_adapter_has_the_chat_template_and_the_stops_that_it_was_trained_with(ask):
    """A bias makes the first adapter end its turn at once; to the base and to the other that token is one of many."""
    chat = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4, "temperature": 0}
    bias = {"logit_bias": {"257": 100}}
    answers = ask(
        *(("/v1/chat/completions", chat | bias | {"model": name}) for name in ("one", "two", "base")),
        *(("/v1/completions", bias | {"prompt": PROMPT, "max_tokens": 4, "model": name}) for name in ("one", "two")),
    )
    assert [status for status, _ in answers] == [200, 400, 400, 200, 200]
    assert answers[0][1]["usage"]["prompt_tokens"] == len(TOKENIZER.encode(f"{PROMPT}: "))
    assert "this model has no chat template" in answers[1][1]["error"]["message"]
    reasons = [answers[place][1]["choices"][0]["finish_reason"] for place in (0, 3, 4)]
    assert reasons == ["stop", "stop", "length"]


@pytest.mark.parametrize("source", ["one", "run"])
def test_a_merged_adapter_brings_its_chat_template_and_its_stops(source, folder):
    base = load_model(str(folder / "base")).tokenizer
    found = load_model(str(folder / "base"), adapter=folder / source).tokenizer
    assert (base.chat, base.borders.stops) == (None, (256,))
    assert (found.chat.default, found.borders.stops) == (TEMPLATE, (256, 257))
    assert replace(found.borders, stops=()) == replace(base.borders, stops=())


def test_an_adapter_without_tokenizer_files_leaves_the_base_s(folder, tmp_path):
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((folder / "one" / name).read_bytes())
    base = load_tokenizer(folder / "base")
    assert hf.adapter_tokenizer(tmp_path, base) is base


@pytest.mark.parametrize("source", ["one", "run"])
def test_generate_writes_with_an_adapter_merged(source, folder, texts, capsys):
    flags = ["--prompt", PROMPT, "--temperature", "2", "--seed", "3", "--max-new-tokens", "16", "--no-stream"]
    arguments = ["generate", str(folder / "base"), "--adapter", str(folder / source), *flags]
    assert front_door("python -m serve", "", COMMANDS, arguments) == 0
    assert texts["one"].strip() in capsys.readouterr().out


def test_a_run_of_lora_is_exported_for_peft_or_merged(folder, params, tmp_path, capsys):
    def export(*flags: str) -> int:
        return front_door("python -m serve", "", COMMANDS, ["export", str(folder / "run"), *flags])

    assert export("--out", str(tmp_path / "adapter")) == 0
    assert "parameters of an adapter, equal to the run's when read again" in capsys.readouterr().out
    found = peft.load(tmp_path / "adapter", LLAMA, params)
    for ours, theirs in zip(*map(jax.tree.leaves, (found.adapters, adapter_of("one"))), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found.base == str(folder / "base")
    assert export("--merged", "--out", str(tmp_path / "merged")) == 0
    weight = hf.load(tmp_path / "merged").params.blocks[0].mlp.up.weight
    np.testing.assert_allclose(weight, merged(params, "one").blocks[0].mlp.up.weight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("source", ["one", "run"])
def test_an_adapter_of_another_base_is_refused(source, folder, tmp_path, capsys):
    hf.export(opinionated(LLAMA, 5), LLAMA, TOKENIZER, tmp_path / "other", "card")
    with pytest.raises(ValueError, match=r"another base|other parameters"):
        load_model(str(tmp_path / "other"), adapter=folder / source)
    narrow = replace(LLAMA, mlp_width=40)
    hf.export(opinionated(narrow, 5), narrow, TOKENIZER, tmp_path / "narrow", "card")
    with pytest.raises(ValueError, match=r"take the base|other parameters"):
        load_model(str(tmp_path / "narrow"), adapter=folder / source)


@pytest.mark.long
@pytest.mark.filterwarnings("default")
def test_all_ways_to_run_a_base_with_its_adapter_agree(folder, tmp_path, capsys):
    """The adapter merged and beside the weights in JAX, and PEFT on transformers."""
    out = tmp_path / "agree.json"
    arguments = [str(folder / "base"), "--adapter", str(folder / "one"), "--prompts", "4", "--tokens", "4"]
    arguments = ["agree", *arguments, "--sides", "transformers", "--out", str(out)]
    assert front_door("python -m serve", "", COMMANDS, arguments) == 0, capsys.readouterr().out
    record = json.loads(out.read_text())
    assert {name for pair in record["continuations"] for name in (pair["a"], pair["b"])} == {
        "jax cached", "jax full", "jax unmerged", "peft"
    }  # fmt: skip
    assert all(pair["agrees"] and pair["largest"] < 1e-4 for pair in record["continuations"])
    assert record["model"] == "base + one"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["pirate"], "--adapter must be NAME=FOLDER, such as pirate=runs/pirate; got 'pirate'"),
        (["=folder"], "must be NAME=FOLDER"),
        (["a b=folder"], "must be NAME=FOLDER"),
        (["a=x", "a=y"], "two adapters are called 'a'"),
        (["tiny=x"], "an adapter is called 'tiny', which is the model's own name"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        named(given, "tiny")
    assert named(["a=x=y", "b=z"]) == {"a": Path("x=y"), "b": Path("z")}


def test_a_server_takes_adapters_where_it_is_started(folder, capsys):
    for command in ("generate", "chat"):
        with pytest.raises(SystemExit):
            front_door(
                "python -m serve", "", COMMANDS, [command, "http://127.0.0.1:1", "--adapter", str(folder / "one")]
            )
        assert "is a server, which takes adapters" in " ".join(capsys.readouterr().err.split())


@pytest.fixture
def flags_of_vllm(monkeypatch, tmp_path):
    """The flags of `vllm serve` that a command line gives."""
    monkeypatch.setenv("LLM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vllm_environment, "find_for", lambda *_: Environment(Path("python"), "0", on_cpu=True))

    def flags(model: Path, *adapters: str) -> list[str]:
        return server_of(VllmConfig(model, adapter=adapters))._arguments

    return flags


@pytest.mark.parametrize(("names", "rank"), [(["one"], 8), (["one", "two"], 16)])
def test_vllm_gets_every_adapter_and_room_for_the_largest_rank(names, rank, folder, flags_of_vllm):
    flags = flags_of_vllm(folder / "base", *(f"{name}={folder / name}" for name in names))
    start = flags.index("--enable-lora")
    modules = [json.dumps({"name": name, "path": str((folder / name).resolve())}) for name in names]
    expected = ["--max-loras", str(len(names)), "--max-lora-rank", str(rank), "--lora-modules", *modules]
    assert flags[start + 1 :] == expected


def test_vllm_has_one_template_for_all_which_is_said(folder, flags_of_vllm, caplog):
    flags_of_vllm(folder / "base", f"two={folder / 'two'}")
    assert not caplog.records
    flags_of_vllm(folder / "base", f"one={folder / 'one'}")
    said = " ".join(caplog.messages)
    assert "adapter 'one' was trained with another chat template" in said
    assert "ends its answers with <|turn|>" in said


def test_vllm_gets_no_adapter_that_it_cannot_serve(folder, flags_of_vllm, tmp_path):
    gpt2 = DecoderConfig(**SIZES)
    hf.export(opinionated(gpt2, 1), gpt2, TOKENIZER, tmp_path / "gpt2", "card")
    with pytest.raises(ValueError, match="vLLM has no LoRA for GPT2LMHeadModel: merge the adapter"):
        flags_of_vllm(tmp_path / "gpt2", f"one={folder / 'one'}")
    with pytest.raises(ValueError, match=r"run is a run: `python -m serve export .*run`, then --adapter x="):
        flags_of_vllm(folder / "base", f"x={folder / 'run'}")
    hf.export(opinionated(LLAMA, 5), LLAMA, TOKENIZER, tmp_path / "other", "card")
    with pytest.raises(ValueError, match="holds an adapter for another base"):
        flags_of_vllm(tmp_path / "other", f"one={folder / 'one'}")
    with pytest.raises(ValueError, match="--max-lora-rank is set here by --adapter"):
        VllmConfig(folder / "base", adapter=("one=x",), more=("--max-lora-rank", "8"))


@pytest.mark.vllm
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("default")
def test_vllm_agrees_with_peft_and_with_us_on_a_base_with_an_adapter(folder, tmp_path, capsys):
    out = tmp_path / "agree.json"
    flags = ["--prompts", "20", "--tokens", "8", "--sides", "transformers", "vllm", "http", "--out", str(out)]
    arguments = ["agree", str(folder / "base"), "--adapter", str(folder / "two"), *flags]
    assert front_door("python -m serve", "", COMMANDS, arguments) == 0, capsys.readouterr().out
    assert len(json.loads(out.read_text())["continuations"]) == 15


@pytest.mark.vllm
@pytest.mark.timeout(1800)
def test_vllm_serves_a_base_and_two_adapters_by_name(folder, params, plan, tmp_path, monkeypatch):
    texts = written(params, plan, Sampling(temperature=0.0))
    assert texts["one"] != texts["base"]
    # Found before the cache folder, where it is, is another.
    monkeypatch.setenv(vllm_environment.VARIABLE, str(vllm_environment.find().python))
    monkeypatch.setenv("LLM_JAX_CACHE", str(tmp_path / "cache"))
    names = ("one", "two")
    config = VllmConfig(folder / "base", adapter=tuple(f"{name}={folder / name}" for name in names), dtype="float32")
    server = server_of(replace(config, door=replace(config.door, port=0)))
    with server.running(KEY, 600, 0), httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        listed = [model["id"] for model in client.get("/v1/models").json()["data"]]
        assert listed == ["base", *names]
        for name in ("base", *names):
            wish = {"model": name, "prompt": PROMPT, "max_tokens": 16, "temperature": 0}
            answer = client.post("/v1/completions", json=wish, timeout=120).json()
            assert answer["choices"][0]["text"].rstrip("\ufffd") == texts[name].rstrip("\ufffd")
