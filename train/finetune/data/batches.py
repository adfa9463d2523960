"""The batch of a step, as a pure function of (prepared data, seed, batch size, step)."""

from typing import NamedTuple

import numpy as np


class Batch(NamedTuple):
    """Rows of one length T: inputs `tokens_BT[:, :-1]`, targets `tokens_BT[:, 1:]`.

    Of preferences a batch of n pairs has B = 2·n rows: first the n chosen answers, then the n rejected ones, so pair i
    is in rows i and i + n. The last batch of an epoch may have rows without an example: their weights are 0.
    """

    tokens_BT: np.ndarray  # int32 [B, T + 1]
    weights_BT: np.ndarray  # float32 [B, T]: 1 where the target is trained, else 0
    segments_BT: np.ndarray | None  # int32 [B, T]: which example of its row each input belongs to; None if not packed
    index_B: np.ndarray  # int64 [B]: which example of the split a row holds (of preferences: which pair); −1 for none.
    # Packed: the first one of the row.


class LabelBatch(NamedTuple):
    """Labelled texts of one length T, padded on the right."""

    tokens_BT: np.ndarray  # int32 [B, T]
    last_B: np.ndarray  # int32 [B]: position of the last real token
    label_B: np.ndarray  # int32 [B]
    weights_B: np.ndarray  # float32 [B]: 1, or 0 for a row without an example
    index_B: np.ndarray  # int64 [B]: which example of the split, −1 for none
