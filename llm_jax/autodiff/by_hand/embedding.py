"""Embedding lookup, y_btd = E_{c(b,t),d} for the character c(b,t).

    ∂y_btd/∂E_vd = 1 if c(b,t) = v, else 0     so   dE_vd = Σ_{b,t with c(b,t) = v} dy_btd

A row that was looked up several times gets the sum. NumPy's `dE[c] += dy` does not add up: of several values for one
row, it keeps the last.
"""

import numpy as np


def embedding(table_VD: np.ndarray, ids_BT: np.ndarray) -> np.ndarray:
    return table_VD[ids_BT]


def embedding_backward(dy_BTD: np.ndarray, ids_BT: np.ndarray, rows: int) -> np.ndarray:
    """dE, computed as a product with the one-hot matrix of the ids: the same sum, but faster than `np.add.at`."""
    one_hot_NV = np.zeros((ids_BT.size, rows), dy_BTD.dtype)
    one_hot_NV[np.arange(ids_BT.size), ids_BT.ravel()] = 1.0
    return one_hot_NV.T @ dy_BTD.reshape(ids_BT.size, -1)
