"""A board: models ranked under one prompt, rule and subset of items, with errors, intervals and tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from scipy import stats

from llm_jax.scoring.choices.rules import CHOOSING, LOWER_IS_BETTER
from serve.leaderboard import errors, resampling

CONFIDENCES = (0.5, 0.8, 0.9, 0.95, 0.99)


class Key(NamedTuple):
    """What a board is about."""

    prompt: str
    rule: str
    subset: str


@dataclass(frozen=True)
class Board:
    """Models in the order of the files; `order` has them from the best."""

    key: Key
    models: tuple[str, ...]
    values_MN: np.ndarray
    group_N: np.ndarray | None
    means_BM: np.ndarray  # bootstrap

    @property
    def is_lower_better(self) -> bool:
        return self.key.rule in LOWER_IS_BETTER

    @property
    def order(self) -> list[int]:
        means = self.values_MN.mean(1)
        return np.argsort(means if self.is_lower_better else -means, kind="stable").tolist()

    def record(self, confidences: Sequence[float] = CONFIDENCES) -> dict[str, Any]:
        """The board as it is written: a row for each model, the best first."""
        ranked = resampling.ranks(self.means_BM, self.is_lower_better)
        ranges = {confidence: resampling.rank_interval(ranked, confidence) for confidence in confidences}
        (places,) = resampling.ranks(self.values_MN.mean(1)[None], self.is_lower_better)
        rows = []
        for i in self.order:
            values = self.values_MN[i]
            value, stderr = float(values.mean()), errors.plain(values)
            by_group = None if self.group_N is None else errors.clustered(values, self.group_N)
            rows.append(
                {
                    "rank": int(places[i]),  # equals share the best
                    "model": self.models[i],
                    "value": value,
                    "stderr": stderr,
                    "clustered": by_group,
                    "intervals": {
                        f"{confidence}": {
                            "value": _around(value, stderr, confidence),
                            "clustered": None if by_group is None else _around(value, by_group, confidence),
                            "rank": list(ranges[confidence][i]),
                        }
                        for confidence in confidences
                    },
                }
            )
        return {
            **self.key._asdict(),
            "items": self.values_MN.shape[1],
            "lower_is_better": self.is_lower_better,
            "probability_of_order": resampling.probability_of_order(self.means_BM, self.order, self.is_lower_better),
            "rows": rows,
        }

    def pairs(self, confidence: float) -> list[dict[str, Any]]:
        """The tests of every two models, the better one first; p-values also adjusted for their number."""
        found, tail = [], (1 - confidence) / 2
        order = self.order
        for place, i in enumerate(order):
            for j in order[place + 1 :]:
                test = errors.paired(self.values_MN[i], self.values_MN[j], self.group_N, self.key.rule in CHOOSING)
                drawn = self.means_BM[:, i] - self.means_BM[:, j]
                found.append(
                    {
                        "better": self.models[i],
                        "worse": self.models[j],
                        **test._asdict(),
                        "bootstrap": [float(np.quantile(drawn, tail)), float(np.quantile(drawn, 1 - tail))],
                        "items_for_a_point": errors.items_needed(self.values_MN[i] - self.values_MN[j], 0.01),
                        "items_for_a_point_unpaired": float(
                            errors.items_needed(self.values_MN[i], 0.01) + errors.items_needed(self.values_MN[j], 0.01)
                        ),
                    }
                )
        if found:
            # Benjamini & Hochberg 1995: of the pairs that are called different, how many are not.
            adjusted = stats.false_discovery_control([pair["p_value"] for pair in found])
            for pair, p_value in zip(found, adjusted, strict=True):
                pair["p_adjusted"] = float(p_value)
        return found


def flips(first: Board, second: Board) -> dict[str, Any] | None:
    """Pairs of models that stand in another order on the second board; None where the boards share fewer than two."""
    shared = [model for model in first.models if model in second.models]
    if len(shared) < 2:
        return None
    of_first, of_second = _signed(first), _signed(second)
    a, b = ([side[model] for model in shared] for side in (of_first, of_second))
    turned = [
        [x, y]
        for place, x in enumerate(shared)
        for y in shared[place + 1 :]
        if (of_first[x] - of_first[y]) * (of_second[x] - of_second[y]) < 0
    ]
    return {
        "from": first.key._asdict(),
        "to": second.key._asdict(),
        "pairs": len(shared) * (len(shared) - 1) // 2,
        "flipped": [pair if of_second[pair[0]] > of_second[pair[1]] else pair[::-1] for pair in turned],
        "kendall_tau": float(cast(Any, stats.kendalltau(a, b))[0]),
    }


def _signed(board: Board) -> Mapping[str, float]:
    sign = -1 if board.is_lower_better else 1
    return dict(zip(board.models, sign * board.values_MN.mean(1), strict=True))


def _around(value: float, stderr: float, confidence: float) -> list[float]:
    """value ± z·stderr."""
    reach = float(stats.norm.isf((1 - confidence) / 2)) * stderr
    return [value - reach, value + reach]
