"""Scenarios without a runtime: which percentiles laps support, the best batch under a limit, the
highest valid rate, a generator's log.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness import UsageError
from harness.load import scenarios
from harness.load.scenarios import CONCURRENT, GAPS, SERVER, SHAPES, SWEEP, Scenario

# -- what laps support -----------------------------------------------------------------------------


def test_each_percentile_is_stated_from_the_laps_that_it_needs() -> None:
    told = scenarios.latencies([list(range(1, 460))])
    assert (told["p50_ns"]["value"], told["p90_ns"]["value"]) == (
        pytest.approx(230),
        pytest.approx(413.2),
    )
    assert told["p99_ns"]["value"] == pytest.approx(454.42)
    assert told["refused"] == []


def test_a_percentile_that_laps_do_not_support_is_refused_in_words() -> None:
    told = scenarios.latencies([[1000] * 458])
    assert told["p99_ns"] is None
    assert told["refused"] == ["p99 needs 459 laps of each process, there are 458"]


def test_one_process_with_too_few_laps_refuses_for_all() -> None:
    told = scenarios.latencies([[1000] * 500, [1000] * 40])
    assert (told["p90_ns"], told["p99_ns"]) == (None, None)
    assert told["p50_ns"]["value"] == pytest.approx(1000)
    assert [words.partition(" ")[0] for words in told["refused"]] == ["p90", "p99"]


def test_processes_that_differ_show_in_the_interval() -> None:
    told = scenarios.latencies([[1000] * 50, [1100] * 50, [1200] * 50])["p50_ns"]
    assert told["low"] < 1000 < 1096 < told["value"] < 1098 < 1200 < told["high"]


def test_one_stalled_call_of_many_shows_in_the_p99_of_a_short_run_only() -> None:
    """The level over processes is of percentiles; a stall is not averaged away within its process."""
    assert scenarios.latencies([[10] * 454 + [5000] * 6])["p99_ns"]["value"] == pytest.approx(5000)


# -- points ----------------------------------------------------------------------------------------


def lap(ns: int, many: int = 8, **more: Any) -> dict[str, Any]:
    return {"calls": many, "laps_ns": [ns] * many, "wall_ns": ns * many, **more}


def test_throughput_counts_samples() -> None:
    (point,) = scenarios.points(
        Scenario(SWEEP), 4, [[lap(1_000_000, batch=4)], [lap(1_000_000, batch=4)]]
    )
    assert point["per_second"]["value"] == pytest.approx(4000)


def test_callers_are_told_beside_the_first_number_of_them() -> None:
    one, two = (
        lap(1_000_000, callers=1),
        {"callers": 2, "calls": 16, "laps_ns": [1_000_000] * 16, "wall_ns": 8_000_000},
    )
    alone, both = scenarios.points(Scenario(CONCURRENT), 1, [[one, two]])
    assert (alone["scaling"]["value"], both["scaling"]["value"]) == (
        pytest.approx(1),
        pytest.approx(2),
    )


def test_a_gap_is_a_ratio_of_laps_of_the_same_round() -> None:
    """The machine got twice as slow in the middle; every pair has the same ratio."""
    gone = {"gap_ms": 10.0, "laps_ns": [300] * 5 + [600] * 4, "waited_ns": [10_000_000] * 9}
    none = {"gap_ms": 0.0, "laps_ns": [100] * 5 + [200] * 4, "waited_ns": [0] * 9}
    found = {
        point["gap_ms"]: point for point in scenarios.points(Scenario(GAPS), 1, [[none, gone]])
    }
    assert found[10.0]["wake_up"]["value"] == pytest.approx(3)
    assert found[0.0]["wake_up"]["value"] == pytest.approx(1)
    assert "per_second" not in found[0.0], "most of the time nobody called"


def test_a_first_call_is_a_ratio_to_the_later_ones() -> None:
    small, whole = lap(100, batch=1, first_ns=700), lap(400, batch=4, first_ns=None)
    one, four = scenarios.points(Scenario(SHAPES), 4, [[small, whole]])
    assert one["first_seen"]["value"] == pytest.approx(7)
    assert (four["first"], four["first_seen"]) == (None, None), "loading has seen it already"
    assert one["per_second"]["value"] == pytest.approx(1e9 / 100)


# -- the best batch --------------------------------------------------------------------------------


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
    found = scenarios.best_batch(SWEPT, 20_000_000)
    assert found["batch"] == 2
    assert found["excluded"] == {
        "4": "p99 is 1.25 times the bound",
        "8": "p99 needs 459 laps of each process, there are 12",
    }


def test_without_a_limit_it_is_the_fastest() -> None:
    assert scenarios.best_batch(SWEPT, 0) == {"bound_ns": None, "batch": 8, "excluded": {}}


def test_a_limit_that_nothing_keeps_has_an_empty_answer() -> None:
    found = scenarios.best_batch(SWEPT, 1_000)
    assert found["batch"] is None
    assert set(found["excluded"]) == {"1", "2", "4", "8"}


# -- the highest valid rate ------------------------------------------------------------------------


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
    rate, reason = scenarios.highest(server, guess=100.0)
    assert rate is not None
    assert capacity / 1.06 <= rate <= capacity
    assert reason == ""
    numbers = [number for _, number in server.tried]
    assert numbers == list(range(len(numbers))), "every trial has arrivals of its own"
    assert server.tried[-1][0] == rate, "the answer was confirmed"
    assert len(numbers) <= 15


def test_a_rate_that_was_valid_by_luck_is_lowered() -> None:
    lucky = scenarios.highest(Server(45.0), guess=100.0)[0]
    assert lucky is not None
    honest = Server(45.0)
    scenarios.highest(honest, guess=100.0)
    doubted = Server(45.0, lies=(len(honest.tried) - 1,))
    rate, _ = scenarios.highest(doubted, guess=100.0)
    assert rate == pytest.approx(0.9 * lucky)


def test_a_bound_that_no_rate_keeps_has_an_empty_answer() -> None:
    server = Server(0.0)
    rate, reason = scenarios.highest(server, guess=100.0)
    assert rate is None
    assert "no rate was valid" in reason
    assert len(server.tried) <= 8


def test_a_rate_that_is_never_valid_twice_is_no_answer() -> None:
    rate, reason = scenarios.highest(Server(45.0, lies=tuple(range(6, 40))), guess=100.0)
    assert rate is None
    assert "twice" in reason


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"seconds": 0}, "--seconds"),
        ({"seconds": float("nan")}, "--seconds"),
        ({"batches": (1, 1)}, "--batches"),
        ({"batches": (0, 1)}, "--batches"),
        ({"callers": ()}, "--callers"),
        ({"gaps_ms": (10.0, 100.0)}, "--gaps"),
        ({"gaps_ms": (0.0,)}, "--gaps"),
        ({"gaps_ms": (0.0, -1.0)}, "--gaps"),
        ({"rounds": 0}, "--rounds"),
        ({"rate_per_second": -1.0}, "--rate"),
        ({"rate_per_second": float("inf")}, "--rate"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_flag(
    wrong: dict[str, Any], flag: str
) -> None:
    with pytest.raises(UsageError, match=f"^{flag} .*expected"):
        Scenario(GAPS, **wrong)


def test_a_server_needs_a_bound() -> None:
    with pytest.raises(UsageError, match="--p99"):
        Scenario(SERVER)


# -- the generator's log ---------------------------------------------------------------------------


def log(**entries: Any) -> str:
    lines = [
        ":::MLLOG " + json.dumps({"key": key, "value": value, "metadata": {"is_error": False}})
        for key, value in entries.items()
    ]
    return "\n".join(["something else", *lines])


SERVED: dict[str, Any] = {
    "effective_scenario": "Server",
    "result_validity": "INVALID",
    "result_invalid_reason": "Reduce target QPS to improve latency. ",
    "early_stopping_result": " * Run unsuccessful.  * Processed 300 queries.",
    "result_query_count": 300,
    "result_overlatency_query_count": 17,
    "result_completed_samples_per_sec": 471.711,
    "result_scheduled_samples_per_sec": 789.483,
    "result_50.00_percentile_latency_ns": 1,
    "result_90.00_percentile_latency_ns": 2,
    "result_99.00_percentile_latency_ns": 3,
    "result_max_latency_ns": 4,
    "loadgen_version": "6",
}


def test_a_verdict_has_the_generators_own_reason() -> None:
    found = scenarios.verdict(scenarios.read_log(log(**SERVED)))
    assert (found["verdict"], found["too_late"]) == ("INVALID", 17)
    assert (
        found["reason"]
        == "Reduce target QPS to improve latency. Run unsuccessful. Processed 300 queries."
    )
    assert (found["offered_per_second"], found["queries_per_second"]) == (789.483, 471.711)


def test_its_percentiles_are_refused_where_queries_are_too_few() -> None:
    found = scenarios.verdict(scenarios.read_log(log(**SERVED)))
    assert (found["p50_ns"], found["p90_ns"], found["p99_ns"]) == (1, 2, None)


def test_an_error_of_its_own_is_part_of_the_reason() -> None:
    entry = {"key": "error_runtime", "value": "Ending early", "metadata": {"is_error": True}}
    found = scenarios.verdict(scenarios.read_log(log(**SERVED) + "\n:::MLLOG " + json.dumps(entry)))
    assert found["reason"].endswith("error_runtime: Ending early")


def test_a_log_without_a_verdict_is_an_error() -> None:
    with pytest.raises(ValueError, match="no verdict"):
        scenarios.verdict(scenarios.read_log(log(effective_scenario="Server")))
