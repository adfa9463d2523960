"""Softmax and cross-entropy, the loss of a classifier: L = −mean_b log p_b,label(b) with p = softmax(z).

    p_bv = exp z_bv / Σ_u exp z_bu                L = −(1/B)·Σ_b log p_b,y    with y the label of example b

The logarithm turns the quotient into a difference, log p_by = z_by − log Σ_u exp z_bu, and so

    ∂L/∂z_bv = −(1/B)·(δ_vy − exp z_bv / Σ_u exp z_bu) = (p_bv − δ_vy)/B

This is the predicted probability minus the target (1 for the label, else 0), divided by the batch size. Each row sums
to 0, because adding the same number to all logits of an example does not change the loss.
"""

import numpy as np


def softmax_cross_entropy(logits_BV: np.ndarray, labels_B: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean loss in nats, and the probabilities p_BV, which backward needs."""
    shifted_BV = logits_BV - logits_BV.max(axis=1, keepdims=True)  # so that exp cannot overflow
    log_sum_B1 = np.log(np.exp(shifted_BV).sum(axis=1, keepdims=True))
    log_p_BV = shifted_BV - log_sum_B1
    return -log_p_BV[np.arange(len(labels_B)), labels_B].mean(), np.exp(log_p_BV)


def softmax_cross_entropy_backward(p_BV: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
    """∂loss/∂logits, from the probabilities."""
    dlogits_BV = p_BV.copy()
    dlogits_BV[np.arange(len(labels_B)), labels_B] -= 1.0
    return dlogits_BV / len(labels_B)
