"""Goals in seconds are stretched by what a yardstick takes beside them, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.performance import yardstick


def test_all_of_its_work_is_done() -> None:
    assert yardstick.work() == len(yardstick.ROWS)


@pytest.mark.parametrize(
    ("slower", "spent", "keeps", "tries"),
    [
        ([1, 1], [0.4], True, 1),
        ([1, 1, 1], [0.6, 0.4], True, 2),
        ([1, 1, 1], [0.6, 0.6], False, 2),
        ([3, 3], [1.4], True, 1),
        ([3, 3, 3], [1.6, 1.6], False, 2),
        (
            [1, 3],
            [0.9],
            True,
            1,
        ),  # the machine became slower during the try: the middle of both counts
        (
            [0.5, 0.5, 0.5],
            [0.6, 0.6],
            False,
            2,
        ),  # and a faster one needs no more time, but the goal is not made shorter either
        ([0.5, 0.5], [0.4], True, 1),
    ],
)
def test_a_goal_is_stretched_by_how_slow_the_machine_is(
    slower: list[float],
    spent: list[float],
    keeps: bool,
    tries: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laid: Iterator[float] = iter([each * yardstick.UNIT_SECONDS for each in slower])
    monkeypatch.setattr(yardstick, "seconds", lambda: next(laid))
    taken = iter(spent)
    found, told = yardstick.kept(0.5, lambda: next(taken), tries=2)
    assert found is keeps
    assert next(taken, None) is None, "a try too few"
    assert told.count("allowed") == (1 if keeps else tries)
