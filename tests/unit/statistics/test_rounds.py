"""The half-width of a sweep's ratio holds the true ratio in about 95 % of sweeps."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from evenbench.harness.statistics.rounds import half_width


def test_ranks_of_ten_rounds_are_the_second_and_the_ninth() -> None:
    slower = {number: math.exp(number) for number in range(10)}
    assert half_width(slower, dict.fromkeys(range(10), 1.0), 5) == pytest.approx((8 - 1) / 2)


def test_only_rounds_in_common_count() -> None:
    assert half_width({0: 1.0, 1: 2.0}, {1: 1.0, 2: 1.0}, 2) is None
    assert half_width({0: 1.0, 1: 2.0}, {1: 1.0, 2: 1.0}, 1) == 0.0


@pytest.mark.parametrize("count", [8, 15, 30])
def test_the_interval_holds_the_median_in_95_percent(count: int) -> None:
    chance, hits, runs = random.Random(count), 0, 2000
    for _ in range(runs):
        logs = [chance.gauss(0, 0.02) for _ in range(count)]
        slower = {number: math.exp(log) for number, log in enumerate(logs)}
        half = half_width(slower, dict.fromkeys(range(count), 1.0), 5)
        assert half is not None
        hits += abs(statistics.median(logs)) <= half
    assert hits / runs >= 0.93


def test_two_modes_of_rounds_are_not_precise() -> None:
    """With a median absolute deviation, three rounds of five in one mode would look exact."""
    slower = {number: 1.0 + number % 2 for number in range(5)}
    half = half_width(slower, dict.fromkeys(range(5), 1.0), 5)
    assert half == pytest.approx(math.log(2) / 2)
