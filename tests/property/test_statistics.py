"""Statistics against naive versions written from the definitions, and the coverage of the interval
on simulated processes.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenbench.harness.statistics import estimates, ratios

POSITIVE = st.floats(1e-9, 1e9)
MANY = st.lists(POSITIVE, min_size=1, max_size=30)
SEVERAL = st.lists(POSITIVE, min_size=2, max_size=12)


def naive_quantile(values: list[float], q: float) -> float:
    """Hyndman and Fan's type 7 from its definition: the piecewise linear function through (i / (n -
    1), x_i).
    """
    ordered = sorted(values)
    return (
        float(np.interp(q, np.linspace(0, 1, len(ordered)), ordered))
        if len(ordered) > 1
        else ordered[0]
    )


@given(MANY)
def test_half_of_the_values_lie_on_either_side_of_the_median(values: list[float]) -> None:
    middle = estimates.median(values)
    assert sum(value < middle for value in values) <= len(values) / 2
    assert sum(value > middle for value in values) <= len(values) / 2
    assert middle == estimates.quantile(values, 0.5) or middle == pytest.approx(
        estimates.quantile(values, 0.5), rel=1e-12
    )


@given(MANY, st.floats(0, 1))
def test_quantile_is_the_naive_one(values: list[float], q: float) -> None:
    assert estimates.quantile(values, q) == pytest.approx(naive_quantile(values, q), rel=1e-6)


@given(MANY, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_grow_with_q_and_stay_inside(values: list[float], p: float, q: float) -> None:
    low, high = (estimates.quantile(values, share) for share in sorted((p, q)))
    assert min(values) <= low <= high * (1 + 1e-12)
    assert high <= max(values) * (1 + 1e-12)


@given(MANY, st.randoms())
def test_nothing_depends_on_the_order(values: list[float], chance: object) -> None:
    mixed = list(values)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert estimates.median(mixed) == estimates.median(values)
    assert estimates.quantile(mixed, 0.9) == estimates.quantile(values, 0.9)
    assert estimates.level(mixed).value == estimates.level(values).value


@given(SEVERAL)
def test_the_interval_holds_its_point_and_the_point_the_values(values: list[float]) -> None:
    found = estimates.level(values)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert min(values) * (1 - 1e-9) <= found.value <= max(values) * (1 + 1e-9)
    assert found.overlaps(found.value)


@given(MANY)
def test_level_is_the_naive_geometric_mean(values: list[float]) -> None:
    whole = 1.0
    for value in values:
        whole *= value ** (1 / len(values))
    assert estimates.level(values).value == pytest.approx(whole, rel=1e-9)


@given(SEVERAL, st.floats(1e-6, 1e6))
def test_level_scales_with_its_unit(values: list[float], factor: float) -> None:
    """Nanoseconds or seconds: the same interval."""
    plain, scaled = estimates.level(values), estimates.level([factor * value for value in values])
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx(
        (factor * plain.value, factor * plain.low, factor * plain.high),
        rel=1e-6,  # type: ignore[operator]
    )


def sweeps(values: list[float]) -> dict[str, dict[int, float]]:
    """A sweep of one round per value."""
    return {str(number): {0: value} for number, value in enumerate(values)}


@given(SEVERAL, SEVERAL)
def test_a_ratio_turned_round_is_its_inverse(before: list[float], after: list[float]) -> None:
    """Of sweeps in common alone, however many each side has."""
    there = ratios.ratio(sweeps(before), sweeps(after))
    back = ratios.ratio(sweeps(after), sweeps(before))
    assert there is not None
    assert back is not None
    assert there.sweeps + len(there.apart) == min(len(before), len(after))
    assert there.log == pytest.approx(-back.log, abs=1e-9)
    assert there.error == pytest.approx(back.error)
    assert there.reverse().log == -there.log


@given(SEVERAL, st.floats(1e-3, 1e3))
def test_a_constant_factor_is_a_ratio_without_doubt(values: list[float], factor: float) -> None:
    """What drifts from sweep to sweep hits both, so the paired interval is narrow."""
    found = ratios.ratio(sweeps([factor * value for value in values]), sweeps(values))
    assert found is not None
    assert found.log == pytest.approx(math.log(factor), abs=1e-6)
    assert found.half_width() == pytest.approx(0.0, abs=3e-3)  # of the clock


@given(st.floats(0.01, 0.999), st.floats(0.5, 0.999))
def test_enough_samples_are_the_least_that_are_enough(q: float, confidence: float) -> None:
    needed = estimates.needed_for_quantile(q, confidence)
    assert 1 - q**needed >= confidence * (1 - 1e-9)
    assert needed == 1 or 1 - q ** (needed - 1) < confidence * (1 + 1e-9)


@pytest.mark.parametrize("processes", [3, 5, 10])
@pytest.mark.parametrize("confidence", [0.95, 0.80])
def test_the_interval_covers_the_truth_as_often_as_it_says(
    processes: int, confidence: float
) -> None:
    """Process values are lognormal around a true level of 20 ms with a spread of 8 %, as measured
    ones are.
    """
    trials = 2_000
    simulated = 0.020 * np.random.default_rng(processes).lognormal(0.0, 0.08, (trials, processes))
    covered = sum(
        bool(estimates.level(list(values), confidence).overlaps(0.020)) for values in simulated
    )
    margin = 4 * math.sqrt(confidence * (1 - confidence) / trials)
    assert abs(covered / trials - confidence) < margin
