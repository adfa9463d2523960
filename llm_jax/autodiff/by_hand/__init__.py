"""The gradients of the layers of neural networks, derived with pen and paper. Plain NumPy, no graph.

Each file has the layer, its derivation in index notation, and the function that follows from it. Throughout, dy stands
for ∂L/∂y, the derivative of the loss with respect to y, and has y's shape. A backward function takes the dy of the
layer's output and then the arrays that it needs; it returns the derivatives of the layer's inputs, in their order. δᵢⱼ
is 1 for i = j and 0 otherwise. `batch_norm_mlp` applies the rules to a whole network.
"""

from llm_jax.autodiff.by_hand.attention import attention, attention_backward
from llm_jax.autodiff.by_hand.batch_norm import batch_norm, batch_norm_backward
from llm_jax.autodiff.by_hand.embedding import embedding, embedding_backward
from llm_jax.autodiff.by_hand.layer_norm import layer_norm, layer_norm_backward
from llm_jax.autodiff.by_hand.linear import linear, linear_backward
from llm_jax.autodiff.by_hand.softmax_cross_entropy import softmax_cross_entropy, softmax_cross_entropy_backward
from llm_jax.autodiff.by_hand.tanh import tanh, tanh_backward

__all__ = [
    "attention",
    "attention_backward",
    "batch_norm",
    "batch_norm_backward",
    "embedding",
    "embedding_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "tanh",
    "tanh_backward",
]
