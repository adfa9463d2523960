"""The backward pass of a whole network by hand: the batch-norm MLP of makemore ("backprop ninja", Karpathy 2022).

    characters → embedding → concatenation → linear → batch norm → tanh → linear → softmax and cross-entropy

Nothing new is derived here. The chain rule passes the derivative from each layer to the one before it. So the backward
pass has the lines of the forward pass in reverse order, each with its rule from this folder.
"""

from typing import NamedTuple

import numpy as np

from llm_jax.autodiff.by_hand.batch_norm import batch_norm, batch_norm_backward
from llm_jax.autodiff.by_hand.embedding import embedding, embedding_backward
from llm_jax.autodiff.by_hand.linear import linear, linear_backward
from llm_jax.autodiff.by_hand.softmax_cross_entropy import softmax_cross_entropy, softmax_cross_entropy_backward
from llm_jax.autodiff.by_hand.tanh import tanh, tanh_backward


class Parameters(NamedTuple):
    """The network's parameters, or their gradients."""

    table_VE: np.ndarray  # embedding
    w_ID: np.ndarray  # first layer; I = T·E inputs
    b_D: np.ndarray
    gain_D: np.ndarray
    bias_D: np.ndarray
    u_DV: np.ndarray  # last layer
    c_V: np.ndarray


def loss_and_gradients(p: Parameters, ids_BT: np.ndarray, labels_B: np.ndarray) -> tuple[float, Parameters]:
    """Mean cross-entropy in nats, and its derivatives with respect to every parameter.

    db is zero up to rounding, because batch norm subtracts any bias again.
    """
    x_BTE = embedding(p.table_VE, ids_BT)
    x_BI = x_BTE.reshape(len(x_BTE), -1)
    z_BD = linear(x_BI, p.w_ID, p.b_D)
    y_BD, n_BD, r_D = batch_norm(z_BD, p.gain_D, p.bias_D)
    h_BD = tanh(y_BD)
    logits_BV = linear(h_BD, p.u_DV, p.c_V)
    loss, p_BV = softmax_cross_entropy(logits_BV, labels_B)

    dlogits_BV = softmax_cross_entropy_backward(p_BV, labels_B)
    dh_BD, du_DV, dc_V = linear_backward(dlogits_BV, h_BD, p.u_DV)
    dy_BD = tanh_backward(dh_BD, h_BD)
    dz_BD, dgain_D, dbias_D = batch_norm_backward(dy_BD, n_BD, r_D, p.gain_D)
    dx_BI, dw_ID, db_D = linear_backward(dz_BD, x_BI, p.w_ID)
    dtable_VE = embedding_backward(dx_BI.reshape(x_BTE.shape), ids_BT, len(p.table_VE))
    return float(loss), Parameters(dtable_VE, dw_ID, db_D, dgain_D, dbias_D, du_DV, dc_V)
