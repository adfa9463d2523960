"""Layer normalisation (Ba, Kiros & Hinton 2016): normalises each position by the mean and variance of its features.

    n_bd = (x_bd − m_b)·r_b      y_bd = g_d·n_bd + c_d      m, v, r as in `batch_norm`, but over d instead of b

So the derivation there holds with b and d exchanged. Only the gain differs: it varies along the axis of the means, so
the gradient must be multiplied by it before the means are taken.

    dn_bd = g_d·dy_bd
    dx_bd = r_b·(dn_bd − mean_d dn_bd − n_bd·mean_d (dn_bd·n_bd))
    dg_d  = Σ_b dy_bd·n_bd          dc_d = Σ_b dy_bd
"""

import numpy as np


def layer_norm(
    x_BD: np.ndarray, gain_D: np.ndarray, bias_D: np.ndarray, epsilon: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, and what backward needs: the normalised input n and 1/√(variance + ε)."""
    r_B1 = 1.0 / np.sqrt(x_BD.var(axis=-1, keepdims=True) + epsilon)
    n_BD = (x_BD - x_BD.mean(axis=-1, keepdims=True)) * r_B1
    return gain_D * n_BD + bias_D, n_BD, r_B1


def layer_norm_backward(
    dy_BD: np.ndarray, n_BD: np.ndarray, r_B1: np.ndarray, gain_D: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dgain and dbias."""
    dn_BD = gain_D * dy_BD
    dn_mean_B1 = dn_BD.mean(axis=-1, keepdims=True)
    along_n_B1 = (dn_BD * n_BD).mean(axis=-1, keepdims=True)
    return r_B1 * (dn_BD - dn_mean_B1 - n_BD * along_n_B1), (dy_BD * n_BD).sum(axis=0), dy_BD.sum(axis=0)
