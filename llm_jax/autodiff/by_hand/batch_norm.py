"""Batch normalisation in training (Ioffe & Szegedy 2015): normalises each feature by its mean and variance in a batch.

    m = (1/B)·Σ_b x_b      v = (1/B)·Σ_b (x_b − m)²      r = (v + ε)^(−1/2)      n_b = (x_b − m)·r      y_b = g·n_b + c

for every feature separately. The parameters first: dg = Σ_b dy_b·n_b, dc = Σ_b dy_b, and dn_b = g·dy_b. One x_a affects
every n_b in three ways: directly, through the mean, and through the variance.

    ∂m/∂x_a = 1/B
    ∂v/∂x_a = (2/B)·(x_a − m)                            the part through m vanishes, since Σ_b (x_b − m) = 0
    ∂r/∂x_a = −½·(v + ε)^(−3/2)·∂v/∂x_a = −r²·n_a/B                      as r³·(x_a − m) = r²·n_a
    ∂n_b/∂x_a = r·(δ_ab − 1/B) + (x_b − m)·∂r/∂x_a = r·(δ_ab − 1/B − n_a·n_b/B)

    dx_a = Σ_b dn_b·∂n_b/∂x_a = r·(dn_a − mean_b dn_b − n_a·mean_b (dn_b·n_b))

The formula subtracts the gradient's mean and its component along n: shifting or scaling x does not change batch norm's
output, so the gradient is zero in these directions. Left out: the running averages that are used after training.
"""

import numpy as np


def batch_norm(
    x_BD: np.ndarray, gain_D: np.ndarray, bias_D: np.ndarray, epsilon: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, and what backward needs: the normalised input n and 1/√(variance + ε). The variance divides by B (PyTorch)."""
    r_D = 1.0 / np.sqrt(x_BD.var(axis=0) + epsilon)
    n_BD = (x_BD - x_BD.mean(axis=0)) * r_D
    return gain_D * n_BD + bias_D, n_BD, r_D


def batch_norm_backward(
    dy_BD: np.ndarray, n_BD: np.ndarray, r_D: np.ndarray, gain_D: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dgain and dbias."""
    dn_BD = gain_D * dy_BD
    dx_BD = r_D * (dn_BD - dn_BD.mean(axis=0) - n_BD * (dn_BD * n_BD).mean(axis=0))
    return dx_BD, (dy_BD * n_BD).sum(axis=0), dy_BD.sum(axis=0)
