"""Points of a scenario: percentiles from enough laps, throughput, and ratios within a process."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.harness.load import points
from evenbench.harness.load.scenarios import CONCURRENT, GAPS, SHAPES, SWEEP, Scenario


def test_each_percentile_is_stated_from_the_laps_that_it_needs() -> None:
    told = points.latencies([list(range(1, 460))])
    assert (told["p50_ns"]["value"], told["p90_ns"]["value"]) == (
        pytest.approx(230),
        pytest.approx(413.2),
    )
    assert told["p99_ns"]["value"] == pytest.approx(454.42)
    assert told["refused"] == []


def test_a_percentile_that_laps_do_not_support_is_refused_in_words() -> None:
    told = points.latencies([[1000] * 458])
    assert told["p99_ns"] is None
    assert told["refused"] == ["p99 needs 459 laps of each process, there are 458"]


def test_one_process_with_too_few_laps_refuses_for_all() -> None:
    told = points.latencies([[1000] * 500, [1000] * 40])
    assert (told["p90_ns"], told["p99_ns"]) == (None, None)
    assert told["p50_ns"]["value"] == pytest.approx(1000)
    assert [words.partition(" ")[0] for words in told["refused"]] == ["p90", "p99"]


def test_processes_that_differ_show_in_the_interval() -> None:
    told = points.latencies([[1000] * 50, [1100] * 50, [1200] * 50])["p50_ns"]
    assert told["low"] < 1000 < 1096 < told["value"] < 1098 < 1200 < told["high"]


def test_one_stalled_call_of_many_shows_in_the_p99_of_a_short_run_only() -> None:
    """The level is over percentiles; a stall is not averaged away within a process."""
    assert points.latencies([[10] * 454 + [5000] * 6])["p99_ns"]["value"] == pytest.approx(5000)


# -- points ----------------------------------------------------------------------------------------


def lap(ns: int, many: int = 8, **more: Any) -> dict[str, Any]:
    return {"calls": many, "laps_ns": [ns] * many, "wall_ns": ns * many, **more}


def test_throughput_counts_samples() -> None:
    (point,) = points.merge_points(
        Scenario(SWEEP), 4, [[lap(1_000_000, batch=4)], [lap(1_000_000, batch=4)]]
    )
    assert point["per_second"]["value"] == pytest.approx(4000)


def test_callers_are_told_beside_the_first_number_of_them() -> None:
    one, two = (
        lap(1_000_000, callers=1),
        {"callers": 2, "calls": 16, "laps_ns": [1_000_000] * 16, "wall_ns": 8_000_000},
    )
    alone, both = points.merge_points(Scenario(CONCURRENT), 1, [[one, two]])
    assert (alone["scaling"]["value"], both["scaling"]["value"]) == (
        pytest.approx(1),
        pytest.approx(2),
    )


def test_a_gap_is_a_ratio_of_laps_of_the_same_round() -> None:
    """The machine got twice as slow in the middle; every pair has the same ratio."""
    gone = {"gap_ms": 10.0, "laps_ns": [300] * 5 + [600] * 4, "waited_ns": [10_000_000] * 9}
    none = {"gap_ms": 0.0, "laps_ns": [100] * 5 + [200] * 4, "waited_ns": [0] * 9}
    found = {
        point["gap_ms"]: point for point in points.merge_points(Scenario(GAPS), 1, [[none, gone]])
    }
    assert found[10.0]["wake_up"]["value"] == pytest.approx(3)
    assert found[0.0]["wake_up"]["value"] == pytest.approx(1)
    assert "per_second" not in found[0.0], "most of the time nobody called"


def test_a_first_call_is_a_ratio_to_the_later_ones() -> None:
    small, whole = lap(100, batch=1, first_ns=700), lap(400, batch=4, first_ns=None)
    one, four = points.merge_points(Scenario(SHAPES), 4, [[small, whole]])
    assert one["first_seen"]["value"] == pytest.approx(7)
    assert (four["first"], four["first_seen"]) == (None, None), "loading has seen it already"
    assert one["per_second"]["value"] == pytest.approx(1e9 / 100)
