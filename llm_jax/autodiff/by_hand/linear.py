"""The linear layer, y = x·W + c.

    y_bf = Σ_d x_bd·W_df + c_f

    ∂y_bf/∂x_bd = W_df     so   dx_bd = Σ_f dy_bf·W_df     dx = dy·Wᵀ
    ∂y_bf/∂W_df = x_bd     so   dW_df = Σ_b x_bd·dy_bf     dW = xᵀ·dy
    ∂y_bf/∂c_f  = 1        so   dc_f  = Σ_b dy_bf

All examples of the batch use the same W and c, so their gradients are sums over the batch. The transposes follow from
the shapes: each gradient has the shape of its variable, and only one product has that shape.
"""

import numpy as np


def linear(x_BD: np.ndarray, w_DF: np.ndarray, c_F: np.ndarray) -> np.ndarray:
    return x_BD @ w_DF + c_F


def linear_backward(dy_BF: np.ndarray, x_BD: np.ndarray, w_DF: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dW and dc."""
    return dy_BF @ w_DF.T, x_BD.T @ dy_BF, dy_BF.sum(axis=0)
