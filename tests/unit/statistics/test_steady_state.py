"""Warm is when three windows agree, by the plan's tolerance or by what the clock can tell."""

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
