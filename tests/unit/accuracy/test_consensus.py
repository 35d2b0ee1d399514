"""Judges that agree but for rounding form a majority; a lone dissenter never judges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evenbench.harness.accuracy import consensus
from evenbench.harness.accuracy.consensus import Opinion

RIGHT = np.linspace(-1, 1, 12).reshape(3, 4)


def opinion(judge: str, values: Any, precision: str = "fp64", source: str = "") -> Opinion:
    return Opinion(judge, source or judge, precision, {"y": values})


def test_the_odd_one_does_not_judge_even_if_it_is_preferred() -> None:
    wrong, right = opinion("a", RIGHT + 0.1), opinion("b", RIGHT.astype(np.float32), "fp32")
    found = consensus.decide([wrong, right, opinion("c", RIGHT)])
    assert found is not None
    assert (found.chosen.judge, [other.judge for other in found.agreeing]) == ("b", ["c"])
    assert found.dissenting == (wrong,)


def test_of_agreeing_judges_the_preferred_one_is_the_golden() -> None:
    found = consensus.decide([opinion("a", RIGHT), opinion("b", RIGHT.astype(np.float32), "fp32")])
    assert found is not None
    assert found.chosen.judge == "a"
    assert not found.dissenting


def test_two_against_each_other_have_no_consensus() -> None:
    assert consensus.decide([opinion("a", RIGHT), opinion("b", -RIGHT)]) is None


def test_two_judges_of_one_source_are_one_voice() -> None:
    twice = [opinion("a", -RIGHT, source="x"), opinion("b", -RIGHT, source="x")]
    assert consensus.decide([*twice, opinion("c", RIGHT)]) is None


def test_a_lone_judge_is_a_consensus() -> None:
    found = consensus.decide([opinion("a", RIGHT)])
    assert found is not None
    assert found.agreeing == ()


@pytest.mark.parametrize(
    ("one", "other", "precision", "same"),
    [
        (RIGHT, RIGHT + 1e-4, "fp32", True),
        (RIGHT, RIGHT + 1e-2, "fp32", False),
        (RIGHT, RIGHT + 1e-2, "fp16", True),
        (RIGHT, RIGHT + 1e-2, "fp16,fp32", True),
        (RIGHT, RIGHT[:, :3], "fp64", False),
        (np.array([[1.0, np.nan, np.inf]]), np.array([[1.0, np.nan, np.inf]]), "fp64", True),
        (np.array([[1.0, np.inf]]), np.array([[1.0, -np.inf]]), "fp64", False),
        (np.array([[1.0, np.inf]]), np.array([[np.inf, 1.0]]), "fp64", False),
        (np.arange(300), np.r_[1, np.arange(1, 300)], "fp64", True),
        (np.arange(30), np.r_[1, np.arange(1, 30)], "fp64", False),
        (np.array([["a", "b"]]), np.array([["a", "c"]]), "fp64", False),
        (np.array([[True]]), np.array([[False]]), "fp64", False),
        ([RIGHT, RIGHT[:2]], [RIGHT, RIGHT[:2]], "fp64", True),
        ([RIGHT, RIGHT[:2]], [RIGHT, RIGHT[:1]], "fp64", False),
        (RIGHT * 1j, RIGHT * 1j, "fp64", True),
        (RIGHT * 1j, RIGHT * -1j, "fp64", False),
    ],
)
def test_rounding_is_agreement_and_another_answer_is_not(
    one: Any, other: Any, precision: str, same: bool
) -> None:
    pair = opinion("a", one, precision), opinion("b", other)
    assert consensus.agree(*pair) is consensus.agree(*pair[::-1]) is same


def test_expectations_for_the_first_batches_are_compared_with_these() -> None:
    whole, first = opinion("a", RIGHT), opinion("b", RIGHT[:1])
    assert consensus.agree(whole, first)
    assert consensus.agree(first, whole)
    assert not consensus.agree(whole, opinion("b", RIGHT[1:2]))
