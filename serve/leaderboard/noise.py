"""What private variants gain without being better: the largest score of N equally good models.

Singh et al. 2025, "The Leaderboard Illusion" (arXiv 2504.20879), count 27 private variants of one firm before one
release. If all have the same true accuracy p, and only n items decide, the best of N shows on average

    E[max] = Σ_{x<n} (1 − F(x)^N) / n,   F of the binomial distribution with n and p.

The variants err independently here. Variants of one model err partly on the same items, and then gain less.
"""

import numpy as np
from scipy import stats

VARIANTS = 27
STEPS = (1, 2, 5, 10, 27, 100)


def best_of(accuracy: float, n_items: int, variants: int) -> float:
    """The expected accuracy of the best of so many equally good variants."""
    below = stats.binom.cdf(np.arange(n_items), n_items, accuracy)
    return float((1 - below**variants).sum() / n_items)
