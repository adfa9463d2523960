"""Chats of several turns, by templates that end a turn and a text in different ways, with tokenizers of many kinds."""

import copy
import json

import numpy as np
import published_templates
import published_tokenizers
import pytest
from finetuning_data import chat, chatting, examples, words
from tokenizers import AddedToken, Tokenizer

from llm_jax import tokenizer as tokenizers
from llm_jax.tokenizer.chat import encode
from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates

ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
    "eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}"
    "\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
VICUNA = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}{% else %}"
    "{{ 'ASSISTANT: ' + m.content + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
# As first released: the header of a next answer stands at the end, whether it is asked for or not.
FIRST_LLAMA3 = published_templates.LLAMA3.replace("{% if add_generation_prompt %}", "").removesuffix("{% endif %}")
PHI3 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
COMMAND_R7B = (
    "{% for m in messages %}{% if m.role == 'user' %}<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{{ m.content }}"
    "<|END_OF_TURN_TOKEN|>{% else %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>{{ m.content }}"
    "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"
)
DEEPSEEK_CODER = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '### Instruction:\n' + m.content + '\n' }}{% else %}"
    "{{ '### Response:\n' + m.content + '\n<|EOT|>\n' }}{% endif %}{% endfor %}{{ '### Response:\n' }}"
)
TEMPLATES = {name: template for name, (_, template) in published_templates.TEMPLATES.items()} | {
    "zephyr": ZEPHYR,
    "vicuna": VICUNA,
    "first llama3": FIRST_LLAMA3,
    "phi3": PHI3,
    "command r7b": COMMAND_R7B,
    "deepseek coder": DEEPSEEK_CODER,
}
OF_PHI3 = ("<|user|>", "<|assistant|>", "<|end|>")
TALK = chat("u:How are you?", "a:Well, thanks.", "u:2 < 3?", "a:Yes & no.", "u:Why?", "a:So 10.")
ANSWERS = ["Well, thanks.", "Yes & no.", "So 10."]


@pytest.fixture(scope="module")
def tokenizer_of(tmp_path_factory):
    """The tokenizer of a family, with a template."""
    made = {}

    def of(family: str, template: str):
        if family not in made:
            folder = tmp_path_factory.mktemp(family)
            of_phi3 = family == "phi3"
            published_tokenizers.write("mistral" if of_phi3 else family, folder, ["the dog", "a dog"], 300)
            if of_phi3:  # Llama 2's, and tokens that take in the white space behind them
                path = folder / "tokenizer.json"
                core = Tokenizer.from_str(path.read_text(encoding="utf-8"))
                core.add_special_tokens([AddedToken(token, rstrip=True) for token in OF_PHI3])
                path.write_text(json.dumps(json.loads(core.to_str())), encoding="utf-8")
            made[family] = tokenizers.load(folder)
        found = copy.copy(made[family])
        borders = found.borders
        spelled = ("" if number is None else found.id_to_token(number) for number in (borders.begin, borders.end))
        found.chat = ChatTemplates({"default": template}, dict(zip(("bos_token", "eos_token"), spelled, strict=True)))
        return found

    return of


@pytest.mark.parametrize("family", [*published_tokenizers.FAMILIES, "phi3"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_ids_before_each_answer_are_those_that_a_server_asks_with(template, family, tokenizer_of, file_of):
    tokenizer = tokenizer_of(family, TEMPLATES[template])
    (example,), _ = examples(file_of([TALK]), tokenizer)
    begins = np.flatnonzero(example.trained & ~np.roll(example.trained, 1))
    messages = TALK["messages"]
    asked = [encode(tokenizer, messages[:place]) for place in (1, 3, 5)]
    assert [example.ids[:begin].tolist() for begin in begins] == asked


def test_a_hidden_special_token_changes_no_id_in_front_of_it(tokenizer_of, file_of):
    tokenizer = tokenizer_of("mistral", published_templates.MISTRAL)
    rows = [chat("u:Hi", "a:Ho", f"u:{asked}", "a:Go") for asked in ("x </s>", "x")]
    (hidden, harmless), _ = examples(file_of(rows), tokenizer)
    same = harmless.ids.tolist().index(tokenizer.encode("ax")[-1])
    assert harmless.ids[:same].tolist().count(tokenizer.borders.end) == 1
    np.testing.assert_array_equal(hidden.ids[: same + 1], harmless.ids[: same + 1])


LLAMA3_TOKENS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
ENDS = {
    "first llama3": (FIRST_LLAMA3, LLAMA3_TOKENS, "<|eot_id|>"),
    "phi3": (PHI3, (*OF_PHI3, "</s>"), "<|end|>"),
    "command r7b": (
        COMMAND_R7B,
        ("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>"),
        "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
    ),
    "a header behind a question, though not asked for": (
        COMMAND_R7B.replace("add_generation_prompt", "messages[-1].role == 'user'").replace("<|START_RESPONSE|>", ""),
        ("<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>"),
        "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
    ),
    "deepseek coder": (DEEPSEEK_CODER, ("<|EOT|>",), "\n<|EOT|>"),
}


@pytest.mark.parametrize("turns", [2, 6])
@pytest.mark.parametrize("template", ENDS)
def test_an_answer_ends_with_its_turn_though_the_template_writes_more_behind_it(template, turns, file_of):
    text, special, end = ENDS[template]
    tokenizer = chatting(text, special)
    (example,), _ = examples(file_of([{"messages": TALK["messages"][:turns]}]), tokenizer)
    begin = "<|START_RESPONSE|>" if "<|START_RESPONSE|>" in special else ""
    assert words(example, tokenizer) == [begin + answer + end for answer in ANSWERS[: turns // 2]]


def test_two_answers_in_a_row_have_a_header_each_that_is_not_trained(file_of):
    tokenizer = chatting(FIRST_LLAMA3, LLAMA3_TOKENS)
    (example,), _ = examples(file_of([chat("u:a", "a:b", "a:c")]), tokenizer)
    assert words(example, tokenizer) == ["b<|eot_id|>", "c<|eot_id|>"]
    header = "<|start_header_id|>assistant<|end_header_id|>\n\n"
    before, between = words(example, tokenizer, trained=False)
    assert before.endswith(header)
    assert between == header


def test_no_header_of_a_next_answer_is_trained_with_all_text(file_of):
    tokenizer = chatting(FIRST_LLAMA3, LLAMA3_TOKENS)
    (example,), _ = examples(file_of([chat("u:a", "a:b")]), tokenizer, train_on="all")
    assert tokenizer.decode(example.ids.tolist()).endswith("\n\nb<|eot_id|>")


def test_a_header_that_stands_behind_an_answer_without_an_end_is_not_trained(file_of):
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{{ 'assistant: ' }}"
    tokenizer = chatting(template, ())
    (example,), _ = examples(file_of([chat("u:a", "a:b", "u:c", "a:d")]), tokenizer)
    assert words(example, tokenizer) == ["b", "d<|endoftext|>"]


def test_an_end_of_the_whole_text_ends_the_last_answer_where_a_turn_has_no_token(file_of):
    """As Phi-3's template with a tokenizer that lacks its tokens: else nothing would stop the model."""
    tokenizer = chatting(PHI3, ("</s>",))
    (example,), _ = examples(file_of([chat("u:a", "a:b", "u:c", "a:d")]), tokenizer)
    assert words(example, tokenizer) == ["b<|end|>\n", "d<|end|>\n</s>"]
