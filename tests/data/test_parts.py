"""Borders found part by part equal those computed from the lengths of all documents at once."""

import numpy as np
import pytest

from train.prepare import parts
from train.prepare.plan import UnitPlan


@pytest.mark.parametrize("seed", range(5))
def test_what_is_read_part_by_part_equals_the_formula_over_all_documents(tmp_path, seed):
    rng = np.random.default_rng(seed)
    lengths = [rng.integers(1, 50, rng.integers(0, 7)).astype(np.uint32) for _ in range(9)]
    plan = UnitPlan(tmp_path, {}, [() for _ in lengths])
    (plan.scratch / "parts").mkdir(parents=True)
    for number, part in enumerate(lengths):
        np.savez(plan.part(number), lengths=part)
    sizes = [parts.measure(plan, number, 1) for number in range(9)]
    every = np.concatenate(lengths).astype(np.int64)
    starts = np.cumsum(every) - every
    part_starts = np.cumsum([0, *(size.tokens for size in sizes)])
    assert part_starts[-1] == every.sum()
    assert sum(size.documents for size in sizes) == len(every)
    for n_documents in range(len(every) + 1):
        for most in (0, 17, 200, 10**9):
            assert parts.tokens_of_first(plan, n_documents, most) == min(every[:n_documents].sum(), most)
    for border in (0, 1, 30, 31, int(part_starts[3]), int(every.sum())):
        assert parts.documents_before(plan, part_starts, border) == np.searchsorted(starts, border)


def test_no_part_beyond_the_border_is_read(tmp_path, monkeypatch):
    plan, read = UnitPlan(tmp_path, {}, [()] * 1000), []
    monkeypatch.setattr(parts, "read", lambda _, number, name: read.append(number) or np.full(10, 7, np.uint32))
    assert parts.tokens_of_first(plan, 5000, 200) == 200
    assert parts.documents_before(plan, np.arange(1001) * 70, 200) == 29
    assert max(read) == 2
