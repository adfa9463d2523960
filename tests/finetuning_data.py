"""Tokenizers of chats, and rows → examples, for tests."""

import published_templates

from llm_jax.tokenizer import Borders, BytePairTokenizer
from llm_jax.tokenizer.bpe.patterns import GPT2_PATTERN
from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates
from train.finetune.data.config import DataConfig
from train.finetune.data.making import Maker
from train.finetune.data.reading.read import tables

CHATML = ("<|im_start|>", "<|im_end|>")


def chatting(
    template: str | None = published_templates.SMOLLM2, special: tuple[str, ...] = CHATML
) -> BytePairTokenizer:
    """A token for every byte, one that ends a text, and those of a chat; the last one ends a turn."""
    numbers = {token: 257 + place for place, token in enumerate(special)}
    tokens = {"<|endoftext|>": 256, **numbers}
    end = numbers[special[-1]] if special else 256
    borders = Borders(begin=256, end=end, stops=(end,), pad=256)
    made = BytePairTokenizer({bytes([i]): i for i in range(256)}, GPT2_PATTERN, tokens, "chatting", borders)
    if template is not None:
        spelled = {"bos_token": "<|endoftext|>", "eos_token": special[-1] if special else "<|endoftext|>"}
        made.chat = ChatTemplates({"default": template}, spelled)
    return made


def examples(path, tokenizer, max_length=1 << 20, **settings):
    """The examples of a file, in its order, and the counts."""
    config = DataConfig(files=(str(path),), **settings)
    maker = Maker(config, tokenizer, max_length)
    made = [example for _, example in maker.make(tables(config))]
    maker.end()
    return made, maker


def words(example, tokenizer, trained=True):
    """The text of the trained (or the other) tokens, run by run."""
    runs, last = [], None
    for number, is_trained in zip(example.ids.tolist(), example.trained.tolist(), strict=True):
        if is_trained != last:
            runs.append((is_trained, []))
        runs[-1][1].append(number)
        last = is_trained
    return [tokenizer.decode(ids) for is_trained, ids in runs if is_trained == trained]


def chat(*turns, **more):
    """A row of messages: 'system', 'user' and 'assistant' by their first letter."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return {"messages": [{"role": roles[turn[0]], "content": turn[2:]} for turn in turns], **more}
