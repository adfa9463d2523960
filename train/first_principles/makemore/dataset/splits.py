"""Which lines are trained on, which settings are chosen by, which are the test: as the published losses had it.

`lectures` is the split of Karpathy's makemore lectures: shuffled by Python's generator, then 80, 10 and 10 %.

`readme` is that of makemore.py, to which the loss in makemore's README belongs: shuffled by PyTorch's generator with
the script's default seed, the last 1,000 lines (at most a tenth) are the test. The script has no dev split and keeps
the model that did best on the test; here as many lines before the test's are dev, and trained on by nobody.
"""

import random
from typing import Literal

Rule = Literal["lectures", "readme"]

LECTURES_SEED, README_SEED = 42, 3407
MOST_TESTED = 1000  # lines, by the rule of the README


def split(texts: list[str], rule: Rule) -> dict[str, list[str]]:
    """The same lines as train, dev and test; the list that was given is left as it is."""
    if rule == "lectures":
        texts = list(texts)
        random.Random(LECTURES_SEED).shuffle(texts)  # random.seed(42); random.shuffle(texts) gives the same order
        first, second = int(0.8 * len(texts)), int(0.9 * len(texts))
    else:
        texts = [texts[i] for i in torch_permutation(len(texts), README_SEED)]
        tested = min(MOST_TESTED, int(0.1 * len(texts)))
        first, second = len(texts) - 2 * tested, len(texts) - tested
    return {"train": texts[:first], "dev": texts[first:second], "test": texts[second:]}


def torch_permutation(count: int, seed: int) -> list[int]:
    """What torch.randperm(count) gives on a CPU after torch.manual_seed(seed), without PyTorch.

    Both it and NumPy's old generator draw 32 bits from a Mersenne Twister that was seeded by the same rule.
    """
    import numpy as np  # here, so that `--help` does not wait for it

    order = list(range(count))
    drawn = np.random.RandomState(seed).randint(0, 2**32, count, dtype=np.uint32).tolist()
    for i in range(count - 1):
        other = i + drawn[i] % (count - i)
        order[i], order[other] = order[other], order[i]
    return order
