"""Questions in a chat template: the harness's own text, whoever writes it, and the same figures as its `hf` model."""

import json
import shutil

import published_templates
import published_tokenizers
import pytest
from lm_eval.models.huggingface import HFLM
from small_models import bytes_tokenizer, opinionated

from llm_jax import hf
from llm_jax.command_line import run as front_door
from llm_jax.config import DecoderConfig
from llm_jax.tokenizer import load
from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates
from serve.commands import COMMANDS
from serve.evaluation.asking import written

pytestmark = pytest.mark.filterwarnings("default")  # of the harness and what it imports: not ours to mend

QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 < 3?"}]
SHOTS = [
    {"role": "user", "content": "1 + 1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "2 + 2?"},
]
BEGUN = [*SHOTS, {"role": "assistant", "content": "The answer is"}]


@pytest.mark.parametrize(("messages", "asks"), [(QUESTION, True), (SHOTS, True), (BEGUN, False)])
@pytest.mark.parametrize("name", published_templates.TEMPLATES)
def test_the_text_is_the_harness_s(tmp_path, name, messages, asks):
    from transformers import AutoTokenizer

    family, template = published_templates.TEMPLATES[name]
    folder = published_tokenizers.write(family, tmp_path, ["the dog", "a dog"], 300)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    theirs = HFLM.__new__(HFLM)  # its method asks only for the tokenizer
    theirs.tokenizer, theirs.chat_template_args = AutoTokenizer.from_pretrained(folder), {}
    ours = load(folder).chat
    assert written(ours, messages, asks) == HFLM.apply_chat_template(theirs, messages, asks)


def test_a_template_that_drops_the_begun_answer_is_refused_by_name():
    drops = ChatTemplates({"default": "{{ messages[0].content }}"}, {}, "folder/chat_template.jinja")
    with pytest.raises(ValueError, match=r"folder/chat_template.jinja: the chat template does not write the beginning"):
        written(drops, BEGUN, False)


TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)
ROWS = [
    {
        "activity_label": "Baking",
        "ctx": f"Mix it {i} times.",
        "endings": ["He eats.", "café", "ru", "a b"],
        "label": "1",
    }
    for i in range(8)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model that chats, and rows of HellaSwag."""
    found = tmp_path_factory.mktemp("chats")
    config = DecoderConfig(vocab_size=257, context_length=128, d_model=32, n_heads=2, n_layers=2)
    hf.export(opinionated(config, 4), config, bytes_tokenizer(), found / "base", "test")
    shutil.copytree(found / "base", found / "chats")
    (found / "chats" / "chat_template.jinja").write_text(TEMPLATE)
    (found / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return found


def evaluate(folder, model, *flags) -> int:
    data = ("--tasks", "hellaswag", "--data", f"hellaswag={folder / 'rows.jsonl'}", "--apply-chat-template")
    return front_door("python -m serve", "", COMMANDS, ["evaluate", str(folder / model), *data, *map(str, flags)])


def test_both_backends_give_the_same_figures_and_choices_in_chat(folder, tmp_path):
    flags = ("--num-fewshot", 1, "--system-instruction", "ok", "--log-choices")
    kept = {}
    for backend in ("jax", "hf"):
        assert evaluate(folder, "chats", *flags, "--backend", backend, "--out", tmp_path / backend) == 0
        (path,) = (tmp_path / backend / "choices").glob("*.hellaswag.1-shot_in_chat.jsonl")
        kept[backend] = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert len(kept["jax"]) == len(ROWS)
    for ours, theirs in zip(kept["jax"], kept["hf"], strict=True):
        assert ours["sum"] == pytest.approx(theirs["sum"], rel=1e-4)
    results = json.loads((tmp_path / "jax/results.json").read_text())
    assert (results["apply_chat_template"], results["system_instruction"]) == (True, "ok")


def test_a_system_message_that_the_template_refuses_is_left_out_and_said(folder, tmp_path, capsys):
    shutil.copytree(folder / "chats", tmp_path / "model")
    path = tmp_path / "model/chat_template.jinja"
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    path.write_text(refuses + TEMPLATE)
    for flags in (("--system-instruction", "ok"), ()):
        assert evaluate(folder, tmp_path / "model", *flags, "--log-choices", "--out", tmp_path / "out") == 0
        said = capsys.readouterr().out
        assert ("--system-instruction is left out" in said and "no system here" in said) == bool(flags)


def test_a_model_without_a_template_is_refused_in_one_line(folder, tmp_path, capsys):
    assert evaluate(folder, "base", "--out", tmp_path) == 2
    assert "has no chat template: put a chat_template.jinja beside its tokenizer" in capsys.readouterr().err
