"""Warm is when three windows agree, by the plan's tolerance or by what the clock can tell."""

import math
import random

import pytest

from evenbench.harness.statistics import steady_state


@pytest.mark.parametrize(
    ("windows", "agree"),
    [
        ([], False),
        ([1e6, 1e6], False),
        ([1e6, 1e6, 1e6], True),
        ([9e9, 1e6, 1.05e6, 1.1e6], True),  # only the last three count, and 10 % is within 10 %
        ([1e6, 1.05e6, 1.1001e6], False),
        ([1.1e6, 1e6, 1.05e6], True),
        ([1e6, 1e6, 1e6, 2e6], False),
    ],
)
def test_stable_when_the_last_three_windows_agree(windows: list[float], agree: bool) -> None:
    assert steady_state.stable(windows, 0.10) is agree


def test_what_the_clock_cannot_tell_apart_agrees() -> None:
    assert steady_state.stable([40.0, 80.0, 140.0], 0.10)
    assert not steady_state.stable([40.0, 80.0, 141.0], 0.10)


def decay(laps: int, blocks: int, noise: float) -> list[float]:
    """Block medians of 10 ms laps that start 50 % slower and decay by e in `laps` blocks."""
    generator = random.Random(1)
    return [
        1e7 * (1 + 0.5 * math.exp(-block / laps)) * math.exp(generator.gauss(0, noise))
        for block in range(blocks)
    ]


@pytest.mark.parametrize(("laps", "noise"), [(5, 0.01), (20, 0.02), (100, 0.005)])
def test_a_slow_decay_is_a_fall_although_the_last_windows_agree(laps: int, noise: float) -> None:
    windows = decay(laps, 30, noise)
    assert steady_state.fall(windows, 0.05) > 0.05


def test_windows_without_a_trend_do_not_fall() -> None:
    generator = random.Random(2)
    falls = [
        steady_state.fall([1e6 * math.exp(generator.gauss(0, 0.2)) for _ in range(20)], 0.10)
        for _ in range(300)
    ]
    assert sum(map(bool, falls)) <= 3
    assert steady_state.fall([1e6] * 5 + [1e7], 0.1) == 0.0, "slower is no warm-up"
    assert steady_state.fall([3e6, 2e6, 1e6], 0.1) == 0.0, "too few for a trend"
    assert steady_state.fall([140.0 - n for n in range(30)], 0.1) == 0.0, "within the clock"
