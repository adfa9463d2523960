"""The same training by four engines: gradients by hand, by our autodiff, by JAX with optax, by PyTorch.

An engine takes initial parameters, batches, the learning rate as a function of the step, and the weight decay. It
yields, for each batch, the loss before the update and the parameters after it. A comparison of the four shows what an
engine does for you: only the first has a line for every derivative.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from train.first_principles.digits.network import Batch, Parameters

Step = tuple[float, Parameters]
EngineFunction = Callable[[Parameters, Iterable[Batch], Callable, float], Iterator[Step]]


def by_hand(parameters: Parameters, batches: Iterable[Batch], rate: Callable, decay: float) -> Iterator[Step]:
    """NumPy, with the derivatives of `llm_jax.autodiff.by_hand`."""
    from llm_jax.autodiff import by_hand as rules

    for step, (x_BD, labels_B) in enumerate(batches):
        w1_DF, b1_F, w2_FV, b2_V = parameters.values()
        h_BF = rules.tanh(rules.linear(x_BD, w1_DF, b1_F))
        z_BV = rules.linear(h_BF, w2_FV, b2_V)
        loss, p_BV = rules.softmax_cross_entropy(z_BV, labels_B)

        dz_BV = rules.softmax_cross_entropy_backward(p_BV, labels_B)
        dh_BF, dw2_FV, db2_V = rules.linear_backward(dz_BV, h_BF, w2_FV)
        da_BF = rules.tanh_backward(dh_BF, h_BF)
        _, dw1_DF, db1_F = rules.linear_backward(da_BF, x_BD, w1_DF)

        gradients = dict(zip(parameters, (dw1_DF, db1_F, dw2_FV, db2_V), strict=True))
        parameters = {name: p - rate(step) * (gradients[name] + decay * p) for name, p in parameters.items()}
        yield float(loss), parameters


def by_autodiff(parameters: Parameters, batches: Iterable[Batch], rate: Callable, decay: float) -> Iterator[Step]:
    """NumPy, with the derivatives computed by `llm_jax.autodiff.value_and_grad`."""
    from llm_jax.autodiff import log_softmax, value_and_grad

    def loss_of(p, x_BD, labels_B):
        z_BV = np.tanh(x_BD @ p["w1_DF"] + p["b1_F"]) @ p["w2_FV"] + p["b2_V"]
        return -np.mean(log_softmax(z_BV)[np.arange(len(labels_B)), labels_B])

    for step, (x_BD, labels_B) in enumerate(batches):
        loss, gradients = value_and_grad(loss_of)(parameters, x_BD, labels_B)
        parameters = {name: p - rate(step) * (gradients[name] + decay * p) for name, p in parameters.items()}
        yield loss, parameters


def by_jax(parameters: Parameters, batches: Iterable[Batch], rate: Callable, decay: float) -> Iterator[Step]:
    """JAX, with a compiled step and optax's update."""
    import jax
    import jax.numpy as jnp
    import optax

    def loss_of(p, x_BD, labels_B):
        z_BV = jnp.tanh(x_BD @ p["w1_DF"] + p["b1_F"]) @ p["w2_FV"] + p["b2_V"]
        return optax.softmax_cross_entropy_with_integer_labels(z_BV, labels_B).mean()

    optimizer = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate))

    @jax.jit
    def update(p, state, x_BD, labels_B):
        loss, gradients = jax.value_and_grad(loss_of)(p, x_BD, labels_B)
        changes, state = optimizer.update(gradients, state, p)
        return optax.apply_updates(p, changes), state, loss

    p: Any = jax.tree.map(jnp.asarray, parameters)
    state = optimizer.init(p)
    for x_BD, labels_B in batches:
        p, state, loss = update(p, state, x_BD, labels_B)
        yield float(loss), {name: np.asarray(value) for name, value in p.items()}


def by_torch(parameters: Parameters, batches: Iterable[Batch], rate: Callable, decay: float) -> Iterator[Step]:
    """PyTorch, with its own optimizer."""
    import torch

    p = {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()}
    optimizer = torch.optim.SGD(p.values(), lr=rate(0), weight_decay=decay)
    for step, (x_BD, labels_B) in enumerate(batches):
        optimizer.param_groups[0]["lr"] = rate(step)
        h_BF = torch.tanh(torch.from_numpy(x_BD) @ p["w1_DF"] + p["b1_F"])
        loss = torch.nn.functional.cross_entropy(h_BF @ p["w2_FV"] + p["b2_V"], torch.from_numpy(labels_B).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item(), {name: value.detach().numpy().copy() for name, value in p.items()}


def require(engine: str) -> None:
    """Checks that the package of an engine, or of all, is installed.

    Raises:
        ImportError: it is not; names the group to install.
    """
    if engine in ("torch", "all"):
        try:
            import torch  # noqa: F401
        except ImportError:
            raise ImportError(
                f"--engine {engine} needs PyTorch, which is not installed: uv sync --group test, or choose numpy, "
                "autodiff or jax"
            ) from None


ENGINES: dict[str, EngineFunction] = {"numpy": by_hand, "autodiff": by_autodiff, "jax": by_jax, "torch": by_torch}
