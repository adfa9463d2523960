"""Turns off NumPy's warnings about ∞ and nan. As in JAX, they show in the result only."""

import numpy as np


def quiet() -> np.errstate:
    """`with quiet():` turns off NumPy's floating-point warnings, but not its errors.

    So `np.errstate(all="raise")` around a derivative still finds the operation that made the first nan.
    """
    warned_about: dict = {kind: "ignore" for kind, action in np.geterr().items() if action == "warn"}
    return np.errstate(**warned_about)
