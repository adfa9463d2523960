"""The arithmetic that decided history, whatever a task's figures say: losses per position, and a cache over turns.

**Share of positions with a loss.** A decoder learns from every token it reads. A masked model learns from 15 % (here
from 11 % of what it computes, for a quarter of its rows is padding), an encoder–decoder or a prefix model from the
target alone.

**A conversation.** In turn i a user writes u tokens and the model answers with a. A causal decoder's states of earlier
tokens never change, so with a cache it computes each token once. In an encoder every state depends on every token: as
soon as the conversation is longer, the whole of it has to be read again. So over n turns

    decoder                              n·(u + a)
    encoder–decoder, or a prefix that    Σᵢ (i·u + (i − 1)·a)  read,  + n·a written
    attends in both directions
"""

from typing import NamedTuple

from train.architectures.comparison.setting import ModelKind, Setting, TaskKind

MASKED = 0.15
EXAMPLE = (10, 50, 200)  # turns, tokens of a question, tokens of an answer


class Conversation(NamedTuple):
    """Tokens that go through the model's blocks, over all turns."""

    decoder: int
    encoder_decoder: int


def conversation(turns: int, question: int, answer: int) -> Conversation:
    """Tokens computed in a conversation of `turns` questions and answers."""
    read = sum(i * question + (i - 1) * answer for i in range(1, turns + 1))
    return Conversation(turns * (question + answer), read + turns * answer)


def share_with_loss(kind: ModelKind, task: TaskKind, setting: Setting) -> float:
    """The share of the positions in a training row, padding too, that have a loss; of pairs, of the longest ones."""
    target = {"continuation": setting.window - setting.prefix, "cloze": setting.holes, "transduction": setting.n_new}
    source = {"continuation": setting.prefix, "cloze": setting.window, "transduction": setting.longest}
    if kind == "encoder":
        if task == "transduction":
            return target[task] / (source[task] + 1 + target[task])
        mean_length = (setting.window // 2 + setting.window) / 2  # `models.masked_rows` cuts windows and pads them
        return MASKED * mean_length / setting.window
    if kind == "decoder":
        return 1.0 if task == "continuation" else target[task] / (source[task] + target[task])
    return target[task] / (source[task] + target[task])
