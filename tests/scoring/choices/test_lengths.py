"""Lengths of answers, by which lengths are normalised."""

from llm_jax.scoring.choices.values import of_lengths


def test_only_the_space_before_an_answer_is_not_counted():
    """lm-evaluation-harness divides by len(choice), before which it writes one space; the rest of it counts."""
    assert of_lengths([" yes", "yes", " yes ", "  yes", " é", ""]) == ([3, 3, 4, 4, 1, 1], [3, 3, 4, 4, 2, 1])
