"""Drift and two modes: found where they are, and seldom where there is only noise. Everything is
drawn from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evenbench.harness.statistics import stationarity

Draw = Callable[[np.random.Generator], list[list[float]]]


def found(draw: Draw, times: int) -> float:
    """The share of draws in which two modes are seen."""
    generator = np.random.default_rng(7)
    return sum(stationarity.modes(draw(generator)) is not None for _ in range(times)) / times


def laps(noise: Callable[[np.random.Generator, int], np.ndarray], count: int = 40) -> Draw:
    return lambda generator: [list(5e6 * noise(generator, count)) for _ in range(3)]


@pytest.mark.parametrize(
    "noise",
    [
        lambda generator, count: np.exp(generator.normal(0, 0.15, count)),
        lambda generator, count: np.exp(0.06 * generator.standard_t(3, count)),
        lambda generator, count: 1 + generator.exponential(0.1, count),
        lambda generator, count: (
            np.exp(generator.normal(0, 0.02, count))
            * np.where(generator.random(count) < 0.04, 3, 1)
        ),
    ],
    ids=["normal", "heavy tails", "one-sided", "a few disturbed"],
)
def test_noise_has_one_mode(noise: Callable[[np.random.Generator, int], np.ndarray]) -> None:
    assert found(laps(noise), 50) <= 0.04


@pytest.mark.parametrize(("share", "apart"), [(0.5, 1.15), (0.2, 1.3)])
def test_two_levels_are_two_modes(share: float, apart: float) -> None:
    two = laps(
        lambda generator, count: (
            np.exp(generator.normal(0, 0.02, count))
            * np.where(generator.random(count) < share, apart, 1)
        )
    )
    assert found(two, 20) == 1.0
    seen = stationarity.modes(two(np.random.default_rng(1)))
    assert seen is not None
    assert seen.lower_ns == pytest.approx(5e6, rel=0.03)
    assert seen.upper_ns == pytest.approx(5e6 * apart, rel=0.03)
    assert not seen.between


def test_levels_that_are_close_or_seen_too_seldom_are_no_modes() -> None:
    assert stationarity.modes([[1e6] * 30 + [1.05e6] * 30]) is None
    assert stationarity.modes([[1e6] * 10 + [1.5e6] * 10]) is None, "too few laps"
    assert stationarity.modes([[1e6] * 96 + [1.5e6] * 4]) is None
    assert stationarity.modes([[], []]) is None
    assert stationarity.modes([[1e6] * 50]) is None, "laps that are all equal have no density"


def levels(
    generator: np.random.Generator, cells: int, sweeps: int, spread: float, change: float = 0.0
) -> list[list[float]]:
    slope = np.linspace(0, np.log1p(change), sweeps)
    made: list[list[float]] = (
        1e6 * np.exp(generator.normal(0, spread, (cells, sweeps)) + slope)
    ).tolist()
    return made


@pytest.mark.parametrize(("cells", "sweeps"), [(25, 3), (3, 3), (1, 10)])
def test_noise_without_drift_is_seldom_called_one(cells: int, sweeps: int) -> None:
    generator = np.random.default_rng(3)
    assert (
        sum(
            stationarity.drift(levels(generator, cells, sweeps, 0.1)) is not None
            for _ in range(100)
        )
        <= 8
    )


def test_drift_is_found_and_its_size_is_right() -> None:
    generator = np.random.default_rng(4)
    seen = [stationarity.drift(levels(generator, 25, 3, 0.03, change=0.1)) for _ in range(20)]
    assert all(each is not None and each.sweeps == 3 and 0.05 < each.change < 0.15 for each in seen)
    down = stationarity.drift(levels(generator, 200, 10, 0.03, change=-0.2))
    assert down is not None
    assert down.change == pytest.approx(-0.2, abs=0.03)


@pytest.mark.parametrize("cells", [[], [[1e6]], [[1e6, 2e6]] * 20, [[1e6, 1.1e6, 1.2e6]], [[], []]])
def test_too_little_is_no_drift(cells: list[list[float]]) -> None:
    assert stationarity.drift(cells) is None


def test_a_change_below_the_threshold_is_quiet_however_certain() -> None:
    assert stationarity.drift([[1e6, 1.02e6, 1.04e6]] * 30) is None
    assert stationarity.drift([[1e6, 1.04e6, 1.08e6]] * 30) is not None
