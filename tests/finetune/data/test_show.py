"""Examples printed: what is trained is told apart with colour and without."""

import io

import pytest
from finetuning_data import chat, chatting
from rich.console import Console

from train.finetune.data.config import DataConfig
from train.finetune.data.prepare import prepare
from train.finetune.data.show import show


def shown(rows, tmp_path, file_of, tokenizer=None, count=1, colour=False, **settings):
    tokenizer = tokenizer or chatting()
    data = prepare(DataConfig(files=(file_of(rows),), val_fraction=0, **settings), tokenizer, tmp_path / "d", 256)
    out = io.StringIO()
    console = Console(file=out, force_terminal=colour, color_system="truecolor" if colour else None, width=200)
    show(data, tokenizer, count, console=console)
    return out.getvalue()


def test_without_colour_the_trained_part_is_in_brackets(tmp_path, file_of):
    text = shown([chat("u:[b]a[/b]", "a:b [red]")], tmp_path, file_of)
    assert "<|im_start|>user\n[b]a[/b]<|im_end|>\n<|im_start|>assistant\n[[b [red]<|im_end|>]]\n" in text
    assert "What is trained is in double brackets." in text
    assert "\x1b" not in text


def test_in_colour_the_trained_part_has_one_of_its_own(tmp_path, file_of):
    text = shown([chat("u:a", "a:bcd")], tmp_path, file_of, colour=True)
    assert "\x1b[1;32mbcd<|im_end|>\x1b[0m" in text
    assert "[[" not in text


def test_no_color_is_obeyed(tmp_path, file_of, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert "[[b<|im_end|>]]" in shown([chat("u:a", "a:b")], tmp_path, file_of, colour=True)


def test_pairs_show_both_answers(tmp_path, file_of):
    text = shown([{"prompt": "a", "chosen": "b", "rejected": "c"}], tmp_path, file_of)
    assert (
        text.index("chosen (")
        < text.index("[[b<|im_end|>]]")
        < text.index("rejected (")
        < text.index("[[c<|im_end|>]]")
    )


def test_labelled_texts_show_their_class(tmp_path, file_of, plain):
    rows = [{"text": "one", "label": "x"}, {"text": "two", "label": "y"}]
    text = shown(rows, tmp_path, file_of, plain, count=5)
    assert "label x\none\n" in text
    assert "label y\ntwo\n" in text


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_as_many_as_asked_for_are_shown(count, tmp_path, file_of):
    text = shown([chat("u:a", "a:b"), chat("u:c", "a:d")], tmp_path, file_of, count=count)
    assert text.count("[[") == min(count, 2)
