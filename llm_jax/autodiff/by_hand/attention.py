"""Attention with a mask (Vaswani et al. 2017, eq. 1), for every batch entry and head by itself:

    s_ij = q_i·k_j/√H      where the mask lets i see j, else −∞
    a_ij = exp s_ij / Σ_l exp s_il                      (over the keys)
    o_ih = Σ_j a_ij·v_jh

Backward, from the output to the inputs:

    dv_jh = Σ_i a_ij·do_ih
    da_ij = Σ_h do_ih·v_jh
    ds_ij = Σ_l da_il·∂a_il/∂s_ij with ∂a_il/∂s_ij = a_il·(δ_lj − a_ij)     softmax, row by row
          = a_ij·(da_ij − Σ_l a_il·da_il)
    dq_ih = Σ_j ds_ij·k_jh/√H
    dk_jh = Σ_i ds_ij·q_ih/√H

The mask needs no derivative of its own: at a masked place a_ij = 0, and therefore ds_ij = 0. The sum Σ_l a_il·da_il
equals Σ_h do_ih·o_ih; FlashAttention uses this so that it need not store a (Dao et al. 2022, appendix B).
"""

import numpy as np


def attention(
    q_BTNH: np.ndarray, k_BSNH: np.ndarray, v_BSNH: np.ndarray, mask_BTS: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The output o_BTNH, and the weights a_BNTS that backward needs.

    Args:
        mask_BTS: True where the query may see the key; every query must see at least one.

    Raises:
        ValueError: a query sees no key, so that its weights would be 0/0.
    """
    if not mask_BTS.any(axis=-1).all():
        b, t = np.argwhere(~mask_BTS.any(axis=-1))[0]
        raise ValueError(f"every query must see a key; the mask of example {b} shows none to query {t}")
    s_BNTS = np.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BSNH) * q_BTNH.shape[-1] ** -0.5
    s_BNTS = np.where(mask_BTS[:, None], s_BNTS, -np.inf)
    e_BNTS = np.exp(s_BNTS - s_BNTS.max(axis=-1, keepdims=True))
    a_BNTS = e_BNTS / e_BNTS.sum(axis=-1, keepdims=True)
    return np.einsum("BNTS,BSNH->BTNH", a_BNTS, v_BSNH), a_BNTS


def attention_backward(
    do_BTNH: np.ndarray, q_BTNH: np.ndarray, k_BSNH: np.ndarray, v_BSNH: np.ndarray, a_BNTS: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dq, dk and dv."""
    dv_BSNH = np.einsum("BNTS,BTNH->BSNH", a_BNTS, do_BTNH)
    da_BNTS = np.einsum("BTNH,BSNH->BNTS", do_BTNH, v_BSNH)
    ds_BNTS = a_BNTS * (da_BNTS - (a_BNTS * da_BNTS).sum(axis=-1, keepdims=True))
    ds_BNTS = ds_BNTS * q_BTNH.shape[-1] ** -0.5
    dq_BTNH = np.einsum("BNTS,BSNH->BTNH", ds_BNTS, k_BSNH)
    dk_BSNH = np.einsum("BNTS,BTNH->BSNH", ds_BNTS, q_BTNH)
    return dq_BTNH, dk_BSNH, dv_BSNH
