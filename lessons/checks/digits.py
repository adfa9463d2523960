"""The checks of lesson 3. Reading them before you have tried gives the answers away."""

import numpy as np

from checks import Wrong, exercise, expect
from llm_jax.autodiff import log_softmax, value_and_grad


@exercise(hint="Lesson 2, backwards: linear, tanh, linear. A gradient has the shape of what it belongs to.")
def gradients(answer):
    rng = np.random.default_rng(1)
    shapes = {"w1_DF": (64, 6), "b1_F": (6,), "w2_FV": (6, 10), "b2_V": (10,)}
    parameters = {name: rng.normal(size=shape) / 3 for name, shape in shapes.items()}
    x, labels = rng.normal(size=(5, 64)), np.array([3, 0, 9, 3, 7])

    def loss(p):
        z = np.tanh(x @ p["w1_DF"] + p["b1_F"]) @ p["w2_FV"] + p["b2_V"]
        return -np.mean(log_softmax(z)[np.arange(5), labels])

    right = value_and_grad(loss)(parameters)[1]
    h = np.tanh(x @ parameters["w1_DF"] + parameters["b1_F"])
    z = h @ parameters["w2_FV"] + parameters["b2_V"]
    dz = np.exp(log_softmax(z))
    dz[np.arange(5), labels] -= 1.0
    dh = dz @ parameters["w2_FV"].T / 5
    mistakes = {
        "the missing mean: these are the gradients of the sum over the batch.": {n: 5 * g for n, g in right.items()},
        "the tanh is missing on the way back: da = dh·(1 − h²).": right | {"w1_DF": x.T @ dh, "b1_F": dh.sum(axis=0)},
        "biases serve every example, so their gradients ADD over the batch; yours are means.": right
        | {"b1_F": right["b1_F"] / 5, "b2_V": right["b2_V"] / 5},
        "the second tanh is too much: h is the output already, so da = dh·(1 − h²).": right
        | {
            "w1_DF": x.T @ (dh * (1 - np.tanh(h) ** 2)),
            "b1_F": (dh * (1 - np.tanh(h) ** 2)).sum(axis=0),
        },
    }
    try:
        found = answer(parameters, x, labels)
    except ValueError as error:
        raise Wrong(f"these shapes do not fit together; is a transpose missing or swapped? ({error})") from None
    if not isinstance(found, dict) or found.keys() != right.keys():
        raise Wrong(f"return a dict with the keys {', '.join(right)}.")
    for name in right:
        if np.shape(found[name]) != right[name].shape:
            turned = "; swapped transpose?" if np.shape(found[name]) == right[name].T.shape else ""
            raise Wrong(f"{name} has a gradient of shape {np.shape(found[name])}; expected {right[name].shape}{turned}")
    for message, wrong in mistakes.items():
        if all(np.allclose(found[name], wrong[name]) for name in right):
            raise Wrong(message)
    for name in reversed(right):
        expect(found[name], right[name], given=f"random parameters and 5 examples, {name}")


@exercise(hint="{name: … for name, p in parameters.items()}, and downhill means AGAINST the gradient.", lends=True)
def descend(answer):
    parameters = {"w": np.array([[1.0, -2.0]]), "b": np.array([0.5])}
    slopes = {"w": np.array([[10.0, 4.0]]), "b": np.array([-2.0])}
    before = {name: p.copy() for name, p in parameters.items()}
    found = answer(parameters, slopes, 0.1)
    if any(not np.array_equal(parameters[name], before[name]) for name in before):
        raise Wrong("the old parameters have changed: `p -= …` writes into the caller's array; build new ones.")
    expect(
        found,
        {"w": np.array([[0.0, -2.4]]), "b": np.array([0.7])},
        {
            "this climbs: the gradient points UPHILL, so subtract it.": {
                "w": np.array([[2.0, -1.6]]),
                "b": np.array([0.3]),
            },
            "the learning rate is missing.": {"w": np.array([[-9.0, -6.0]]), "b": np.array([2.5])},
            "these are the steps alone; take them off the parameters.": {
                "w": np.array([[1.0, 0.4]]),
                "b": np.array([-0.2]),
            },
        },
        given="w = [[1, −2]] with gradient [[10, 4]], b = [0.5] with gradient [−2], rate 0.1",
    )


@exercise(
    hint="Go through the pairs one by one, or use np.add.at. What does counts[labels, answers] += 1 do to a pair that "
    "comes twice?"
)
def count_confusions(answer):
    labels, answers = np.array([3, 3, 8, 5, 3, 8]), np.array([3, 3, 3, 5, 8, 3])
    right = np.zeros((10, 10))
    np.add.at(right, (labels, answers), 1)
    once = np.minimum(right, 1)
    expect(
        answer(labels, answers),
        right,
        {
            "forgotten accumulation: counts[labels, answers] += 1 counts a pair once, however often it comes.": once,
            "rows and columns are exchanged: counts[right digit, answer].": right.T,
            "only the right answers are counted.": np.diag(np.diag(right)),
        },
        given="labels 3 3 8 5 3 8, answers 3 3 3 5 8 3",
    )
