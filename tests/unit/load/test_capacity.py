"""The best batch under a limit, and the search for the highest valid rate."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.harness.load.capacity import best_batch, highest_rate


def measured(batch: int, per_second: float, p99_ns: float | None) -> dict[str, Any]:
    told = None if p99_ns is None else {"value": p99_ns}
    refused = [] if told else ["p99 needs 459 laps of each process, there are 12"]
    return {
        "batch": batch,
        "per_second": {"value": per_second},
        "latency": {"p99_ns": told, "refused": refused},
    }


SWEPT = [
    measured(1, 100, 10e6),
    measured(2, 180, 15e6),
    measured(4, 300, 25e6),
    measured(8, 320, None),
]


def test_the_best_batch_is_the_fastest_that_keeps_the_limit() -> None:
    found = best_batch(SWEPT, 20_000_000)
    assert found["batch"] == 2
    assert found["excluded"] == {
        "4": "p99 is 1.25 times the bound",
        "8": "p99 needs 459 laps of each process, there are 12",
    }


def test_without_a_limit_it_is_the_fastest() -> None:
    assert best_batch(SWEPT, 0) == {"bound_ns": None, "batch": 8, "excluded": {}}


def test_a_limit_that_nothing_keeps_has_an_empty_answer() -> None:
    found = best_batch(SWEPT, 1_000)
    assert found["batch"] is None
    assert set(found["excluded"]) == {"1", "2", "4", "8"}


class Server:
    """Valid up to a capacity; remembers what was tried."""

    def __init__(self, capacity: float, lies: tuple[int, ...] = ()) -> None:
        self.capacity, self.lies = capacity, lies
        self.tried: list[tuple[float, int]] = []

    def __call__(self, rate: float, number: int) -> bool:
        self.tried.append((rate, number))
        return (rate <= self.capacity) != (len(self.tried) - 1 in self.lies)


@pytest.mark.parametrize("capacity", [2.0, 45.0, 99.0, 100.0, 170.0])
def test_the_search_ends_close_below_the_capacity(capacity: float) -> None:
    server = Server(capacity)
    rate, reason = highest_rate(server, guess=100.0)
    assert rate is not None
    assert capacity / 1.06 <= rate <= capacity
    assert reason == ""
    numbers = [number for _, number in server.tried]
    assert numbers == list(range(len(numbers))), "every trial has arrivals of its own"
    assert server.tried[-1][0] == rate, "the answer was confirmed"
    assert len(numbers) <= 15


def test_a_rate_that_was_valid_by_luck_is_lowered() -> None:
    lucky = highest_rate(Server(45.0), guess=100.0)[0]
    assert lucky is not None
    honest = Server(45.0)
    highest_rate(honest, guess=100.0)
    doubted = Server(45.0, lies=(len(honest.tried) - 1,))
    rate, _ = highest_rate(doubted, guess=100.0)
    assert rate == pytest.approx(0.9 * lucky)


def test_a_bound_that_no_rate_keeps_has_an_empty_answer() -> None:
    server = Server(0.0)
    rate, reason = highest_rate(server, guess=100.0)
    assert rate is None
    assert "no rate was valid" in reason
    assert len(server.tried) <= 8


def test_a_rate_that_is_never_valid_twice_is_no_answer() -> None:
    rate, reason = highest_rate(Server(45.0, lies=tuple(range(6, 40))), guess=100.0)
    assert rate is None
    assert "twice" in reason
