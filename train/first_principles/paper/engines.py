"""The gradient of `two_layers` by automatic differentiation: both of our engines, JAX and PyTorch.

Each takes the example and the parameters by name, and returns derivatives by name.
"""

import numpy as np

Gradient = dict[str, float]


def by_scalars(x1: float, x2: float, label: int, parameters: dict[str, float]) -> Gradient:
    from llm_jax.autodiff import Scalar, backward

    p = {name: Scalar(value) for name, value in parameters.items()}
    h1 = (x1 * p["w11"] + x2 * p["w21"] + p["b1"]).tanh()
    h2 = (x1 * p["w12"] + x2 * p["w22"] + p["b2"]).tanh()
    o1 = h1 * p["v11"] + h2 * p["v21"] + p["c1"]
    o2 = h1 * p["v12"] + h2 * p["v22"] + p["c2"]
    loss = (o1.exp() + o2.exp()).log() - (o1 if label == 1 else o2)
    derivatives = backward(loss)
    return {name: derivatives[p[name]] for name in parameters}


def by_arrays(x1: float, x2: float, label: int, parameters: dict[str, float]) -> Gradient:
    from llm_jax.autodiff import log_softmax, value_and_grad

    def loss(w, b, v, c):
        return -log_softmax(np.tanh(np.array([x1, x2]) @ w + b) @ v + c)[label - 1]

    return _by_name(value_and_grad(loss, argnums=(0, 1, 2, 3))(*_arrays(parameters))[1])


def by_jax(x1: float, x2: float, label: int, parameters: dict[str, float]) -> Gradient:
    import jax
    import jax.numpy as jnp

    def loss(w, b, v, c):
        return -jax.nn.log_softmax(jnp.tanh(jnp.array([x1, x2]) @ w + b) @ v + c)[label - 1]

    with jax.enable_x64(True):
        return _by_name(jax.grad(loss, argnums=(0, 1, 2, 3))(*_arrays(parameters)))


def by_torch(x1: float, x2: float, label: int, parameters: dict[str, float]) -> Gradient:
    """PyTorch's gradient. Raises ImportError if PyTorch is not installed."""
    import torch

    w, b, v, c = (torch.tensor(a, requires_grad=True) for a in _arrays(parameters))
    logits = torch.tanh(torch.tensor([x1, x2], dtype=torch.float64) @ w + b) @ v + c
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(label - 1))
    return _by_name(torch.autograd.grad(loss, [w, b, v, c]))


ENGINES = {
    "scalar graph (llm_jax.autodiff)": by_scalars,
    "array graph (llm_jax.autodiff)": by_arrays,
    "jax.grad": by_jax,
    "PyTorch": by_torch,
}


def _arrays(parameters: dict[str, float]) -> list[np.ndarray]:
    p = np.array(list(parameters.values()))  # w11 w12 w21 w22 b1 b2 v11 v12 v21 v22 c1 c2
    return [p[:4].reshape(2, 2), p[4:6], p[6:10].reshape(2, 2), p[10:]]


def _by_name(arrays) -> Gradient:
    from train.first_principles.paper.two_layers import PARAMETERS

    flat = np.concatenate([np.asarray(a).ravel() for a in arrays])
    return dict(zip(PARAMETERS, flat.tolist(), strict=True))
