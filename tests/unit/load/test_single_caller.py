"""Calls of one caller, on sessions whose time passes only when they spend it."""

from __future__ import annotations

import pytest

from evenbench.harness import Session
from evenbench.harness.load import points, single_caller
from evenbench.harness.load.context import LoadContext
from evenbench.harness.load.scenarios import GAPS, SINGLE, Scenario
from tests.unit.builders import Clock, ScriptedSession, batches, cell

MS = 1_000_000


def context_of(session: Session, clock: Clock, scenario: Scenario, count: int = 3) -> LoadContext:
    return LoadContext(
        session,
        batches(count),
        cell(),
        scenario,
        clock,
        lambda seconds: clock.spend(round(seconds * 1e9)),
    )


def test_calls_go_on_for_the_time_that_was_asked() -> None:
    clock = Clock()
    (point,) = single_caller.back_to_back(
        context_of(ScriptedSession(clock, step_ns=MS), clock, Scenario(SINGLE, seconds=0.2))
    )
    assert point["calls"] == 200
    assert point["laps_ns"] == [MS] * 200
    assert point["wall_ns"] == 200 * MS


def test_handing_over_and_fetching_are_part_of_a_lap() -> None:
    clock = Clock()
    (point,) = single_caller.back_to_back(
        context_of(ScriptedSession(clock, 1, 10, 100, 1000), clock, Scenario(SINGLE, seconds=1e-6))
    )
    assert set(point["laps_ns"]) == {1111}


def test_a_stall_is_a_lap_and_counts_in_the_throughput() -> None:
    clock = Clock()
    session = ScriptedSession(clock, step_ns=lambda step: 500 * MS if step == 70 else MS)
    (point,) = single_caller.back_to_back(context_of(session, clock, Scenario(SINGLE, seconds=1.0)))
    assert max(point["laps_ns"]) == 500 * MS
    assert points.per_second(1, point["calls"], point["wall_ns"]) == pytest.approx(
        point["calls"] / (0.5 + (point["calls"] - 1) / 1e3)
    )


def test_every_batch_has_an_output_to_judge() -> None:
    clock = Clock()
    context = context_of(ScriptedSession(clock), clock, Scenario(SINGLE, seconds=1e-9), count=12)
    single_caller.back_to_back(context)
    (kept,) = context.judged.values()
    assert {index: int(outputs["y"][0]) for index, outputs in kept.items()} == {
        index: index for index in range(12)
    }


# -- idle gaps -------------------------------------------------------------------------------------


class Sleepy(ScriptedSession):
    """Its first call after it was left alone for 5 ms or more takes seven times as long."""

    last = 0

    def step(self) -> None:
        alone = self.clock_of_test.ns - self.last
        self._spend("step", 7 * MS if alone >= 5 * MS else MS)
        self.last = self.clock_of_test.ns
        self.steps += 1


def test_waking_up_shows_as_a_ratio_to_no_gap() -> None:
    clock = Clock()
    scenario = Scenario(GAPS, gaps_ms=(0.0, 1.0, 10.0), rounds=9)
    made = single_caller.idle_gaps(context_of(Sleepy(clock), clock, scenario))
    found = {
        point["gap_ms"]: point["wake_up"]["value"]
        for point in points.merge_points(scenario, 1, [made])
    }
    assert found == {0.0: pytest.approx(1), 1.0: pytest.approx(1), 10.0: pytest.approx(7)}


def test_gaps_come_in_an_order_that_changes_and_are_really_waited() -> None:
    clock, slept = Clock(), []
    context = context_of(
        ScriptedSession(clock), clock, Scenario(GAPS, gaps_ms=(0.0, 2.0, 10.0), rounds=20)
    )
    context.sleep = lambda seconds: (
        slept.append(round(seconds * 1e3)),
        clock.spend(round(seconds * 1e9)),
    )[0]  # type: ignore[func-returns-value]
    made = {point["gap_ms"]: point for point in single_caller.idle_gaps(context)}
    assert {tuple(slept[start : start + 2]) for start in range(0, 40, 2)} == {(2, 10), (10, 2)}
    assert made[10.0]["waited_ns"] == [10 * MS] * 20
    assert made[0.0]["waited_ns"] == [0] * 20


def test_calls_back_to_back_come_before_each_gap() -> None:
    """Otherwise a call without a gap would follow one that has just woken up."""
    clock = Clock()
    session = Sleepy(clock)
    (none, _) = single_caller.idle_gaps(
        context_of(session, clock, Scenario(GAPS, gaps_ms=(0.0, 10.0), rounds=10))
    )
    assert set(none["laps_ns"]) == {MS}
    assert session.steps == 20 * (single_caller.SETTLING + 1)
