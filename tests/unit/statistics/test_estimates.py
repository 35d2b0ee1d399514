"""Estimates against scipy and numpy, and what is refused instead of guessed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from evenbench.harness.statistics import estimates

PROCESSES = [0.0123, 0.0131, 0.0119, 0.0127, 0.0140]


def test_level_is_the_geometric_mean_with_students_interval_of_the_logarithms() -> None:
    logs = np.log(PROCESSES)
    low, high = stats.t.interval(0.95, len(logs) - 1, loc=logs.mean(), scale=stats.sem(logs))
    found = estimates.level(PROCESSES)
    assert found.value == pytest.approx(stats.gmean(PROCESSES), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)), rel=1e-12)
    assert found.processes == 5


def test_a_higher_confidence_is_a_wider_interval() -> None:
    usual, strict = estimates.level(PROCESSES), estimates.level(PROCESSES, 0.99)
    assert strict.low < usual.low < usual.high < strict.high  # type: ignore[operator]


def test_one_process_has_no_interval() -> None:
    found = estimates.level([0.012])
    assert (found.value, found.low, found.high, found.processes) == (
        pytest.approx(0.012),
        None,
        None,
        1,
    )
    assert found.overlaps(0.012) is None


@pytest.mark.parametrize("values", [[], [1.0, 0.0], [1.0, -2.0]])
def test_a_level_of_nothing_or_of_no_time_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="expected one or more positive values"):
        estimates.level(values)


def test_overlap_includes_the_ends() -> None:
    found = estimates.Estimate(2.0, 1.0, 3.0, 4)
    assert [found.overlaps(value) for value in (0.99, 1.0, 2.5, 3.0, 3.01)] == [
        False,
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("q", [0.0, 0.1, 0.25, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_quantiles_are_numpys(q: float, count: int) -> None:
    values = np.random.default_rng(count).lognormal(size=count)
    assert estimates.quantile(list(values), q) == pytest.approx(np.quantile(values, q), rel=1e-12)


@pytest.mark.parametrize(("values", "q"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_a_quantile_that_is_none_is_refused(values: list[float], q: float) -> None:
    with pytest.raises(ValueError, match="0 <= q <= 1"):
        estimates.quantile(values, q)


def test_the_numbers_of_samples_that_a_percentile_needs() -> None:
    assert estimates.needed_for_quantile(0.99) == 459
    assert estimates.needed_for_quantile(0.9) == 44


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99])
def test_one_sample_less_would_not_reach_the_confidence(q: float) -> None:
    needed = estimates.needed_for_quantile(q)
    assert 1 - q**needed >= 0.99 > 1 - q ** (needed - 1)


@pytest.mark.parametrize(("count", "stated"), [(43, False), (44, True)])
@pytest.mark.parametrize("q", [0.9, 0.1])
def test_a_percentile_is_stated_only_where_the_samples_support_it(
    count: int, stated: bool, q: float
) -> None:
    assert (estimates.supported_quantile(list(map(float, range(count))), q) is not None) is stated


def test_the_median_of_each_process_is_what_stands_for_it() -> None:
    assert estimates.process_values([[3, 1, 2], [], [10, 20]]) == [2, 15]


def test_a_median_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="median of no values"):
        estimates.median([])
