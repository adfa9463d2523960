"""FLOPs of a forward pass, by formula: 2 for each weight of a matrix and token, 4·T·S·D for the scores and mixing of an
attention of T queries over S keys. Masked scores count, because they are computed. A training step takes three times
as many (Kaplan et al. 2020, §2.1). Norms, biases, activations and the lookup of embeddings are left out."""

from train.architectures.comparison.setting import ModelKind, Setting

STEP = 3  # forward, and twice that backward


def block(d: int, mlp_width: int, length: int) -> float:
    """One block of a row of `length` tokens: attention and MLP."""
    return 2 * length * (4 * d * d + 2 * d * mlp_width) + 4 * length * length * d


def forward(kind: ModelKind, setting: Setting, vocab_size: int, source: int, target: int) -> float:
    """One row: `source` tokens read and `target` tokens written (encoder–decoder), or `source` tokens in one stack."""
    d = setting.d_model
    if kind == "encoder–decoder":
        cross = 2 * target * 2 * d * d + 2 * source * 2 * d * d + 4 * target * source * d
        blocks = 2 * block(d, 4 * d, source) + 2 * (block(d, 4 * d, target) + cross)
        return blocks + 2 * target * d * vocab_size
    head = 2 * source * d * vocab_size + (2 * source * d * d if kind == "encoder" else 0)
    return 4 * block(d, 5 * d, source) + head


def step(kind: ModelKind, setting: Setting, vocab_size: int, rows: int, source: int, target: int = 0) -> float:
    """A training step of `rows` rows."""
    return STEP * rows * forward(kind, setting, vocab_size, source, target)
