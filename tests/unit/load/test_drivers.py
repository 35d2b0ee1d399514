"""Calls as a scenario says, on sessions whose time passes only when they spend it, and on real
threads where threads are the point.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from harness import Session, Unsupported
from harness.core.backend import Laps
from harness.load import drivers, scenarios
from harness.load.context import Scene
from harness.load.drivers import MAX_LAPS, Thinned
from harness.load.scenarios import CONCURRENT, GAPS, SHAPES, SINGLE, Scenario
from tests.unit.builders import Clock, Overlapping, ScriptedSession, attestation, batches, cell

MS = 1_000_000


def scene(session: Session, clock: Clock, scenario: Scenario, count: int = 3) -> Scene:
    return Scene(
        session,
        batches(count),
        cell(),
        scenario,
        clock,
        lambda seconds: clock.spend(round(seconds * 1e9)),
    )


# -- one after another -----------------------------------------------------------------------------


def test_calls_go_on_for_the_time_that_was_asked() -> None:
    clock = Clock()
    (point,) = drivers.in_turn(
        scene(ScriptedSession(clock, step_ns=MS), clock, Scenario(SINGLE, seconds=0.2))
    )
    assert point["calls"] == 200
    assert point["laps_ns"] == [MS] * 200
    assert point["wall_ns"] == 200 * MS


def test_handing_over_and_fetching_are_part_of_a_lap() -> None:
    clock = Clock()
    (point,) = drivers.in_turn(
        scene(ScriptedSession(clock, 1, 10, 100, 1000), clock, Scenario(SINGLE, seconds=1e-6))
    )
    assert set(point["laps_ns"]) == {1111}


def test_a_stall_is_a_lap_and_counts_in_the_throughput() -> None:
    clock = Clock()
    session = ScriptedSession(clock, step_ns=lambda step: 500 * MS if step == 70 else MS)
    (point,) = drivers.in_turn(scene(session, clock, Scenario(SINGLE, seconds=1.0)))
    assert max(point["laps_ns"]) == 500 * MS
    assert scenarios.per_second(1, point["calls"], point["wall_ns"]) == pytest.approx(
        point["calls"] / (0.5 + (point["calls"] - 1) / 1e3)
    )


def test_every_batch_has_an_output_to_judge() -> None:
    clock = Clock()
    played = scene(ScriptedSession(clock), clock, Scenario(SINGLE, seconds=1e-9), count=12)
    drivers.in_turn(played)
    (kept,) = played.kept.values()
    assert {index: int(outputs["y"][0]) for index, outputs in kept.items()} == {
        index: index for index in range(12)
    }


def test_laps_that_are_too_many_are_thinned_evenly() -> None:
    thinned = Thinned(seed=1)
    for lap in range(100_000):
        thinned.add(lap)
    assert (thinned.calls, thinned.total_ns) == (100_000, sum(range(100_000)))
    assert MAX_LAPS * 0.9 < len(thinned.laps_ns) <= 2 * MAX_LAPS
    assert thinned.laps_ns == sorted(thinned.laps_ns)
    assert np.median(thinned.laps_ns) == pytest.approx(50_000, rel=0.05), (
        "an early or a late lap is as likely to be kept"
    )
    assert np.mean(np.asarray(thinned.laps_ns) % 2) == pytest.approx(0.5, abs=0.05), (
        "every other lap would be one batch of two"
    )


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
    made = drivers.idle_gaps(scene(Sleepy(clock), clock, scenario))
    found = {
        point["gap_ms"]: point["wake_up"]["value"]
        for point in scenarios.points(scenario, 1, [made])
    }
    assert found == {0.0: pytest.approx(1), 1.0: pytest.approx(1), 10.0: pytest.approx(7)}


def test_gaps_come_in_an_order_that_changes_and_are_really_waited() -> None:
    clock, slept = Clock(), []
    played = scene(
        ScriptedSession(clock), clock, Scenario(GAPS, gaps_ms=(0.0, 2.0, 10.0), rounds=20)
    )
    played.sleep = lambda seconds: (
        slept.append(round(seconds * 1e3)),
        clock.spend(round(seconds * 1e9)),
    )[0]  # type: ignore[func-returns-value]
    made = {point["gap_ms"]: point for point in drivers.idle_gaps(played)}
    assert {tuple(slept[start : start + 2]) for start in range(0, 40, 2)} == {(2, 10), (10, 2)}
    assert made[10.0]["waited_ns"] == [10 * MS] * 20
    assert made[0.0]["waited_ns"] == [0] * 20


def test_calls_back_to_back_come_before_each_gap() -> None:
    """Otherwise a call without a gap would follow one that has just woken up."""
    clock = Clock()
    session = Sleepy(clock)
    (none, _) = drivers.idle_gaps(
        scene(session, clock, Scenario(GAPS, gaps_ms=(0.0, 10.0), rounds=10))
    )
    assert set(none["laps_ns"]) == {MS}
    assert session.steps == 20 * (drivers.SETTLING + 1)


# -- several callers -------------------------------------------------------------------------------


class Threaded(Session):
    """Sleeps for a step, which lets other threads run, unless it holds a lock that all of them
    share.
    """

    def __init__(self, lock: Any = None, wrong: int = 0) -> None:
        self.lock, self.wrong = lock, wrong
        self.closed = False
        self.made = 0

    def beside(self) -> Threaded:
        self.made += 1
        return Threaded(self.lock, int(self.made == self.wrong))

    def bind(self, inputs: Mapping[str, Any]) -> None:
        self.x = inputs["x"]

    def step(self) -> None:
        if self.wrong:
            raise RuntimeError("the runtime gave up")
        if self.lock is None:
            time.sleep(0.005)
        else:
            with self.lock:
                time.sleep(0.005)

    def fetch(self) -> Mapping[str, Any]:
        return {"y": self.x.copy()}

    def attest(self) -> Any:
        return attestation()

    def close(self) -> None:
        self.closed = True


def called(session: Session) -> dict[int, dict[str, Any]]:
    scenario = Scenario(CONCURRENT, seconds=0.15, callers=(1, 4))
    played = Scene(session, batches(3), cell(), scenario)
    made = {
        point["callers"]: point
        for point in scenarios.points(scenario, 1, [drivers.concurrent(played)])
    }
    assert set(played.kept) == {
        "caller 1 of 1",
        *(f"caller {number} of 4" for number in range(1, 5)),
    }
    assert all(set(outputs) == {0, 1, 2} for outputs in played.kept.values()), (
        "every caller's answer to every batch is judged"
    )
    return made


def test_callers_that_do_not_wait_for_each_other_scale() -> None:
    assert called(Threaded())[4]["scaling"]["value"] > 2


def test_callers_that_wait_for_each_other_show_it_in_their_latencies() -> None:
    made = called(Threaded(threading.Lock()))
    assert made[4]["scaling"]["value"] < 2
    assert max(made[4]["laps_ns"][0]) > 15 * MS, (
        "whoever comes last waits for three calls; a lock is not fair, so that medians vary"
    )


def test_what_one_thread_raises_ends_all_and_is_raised_where_they_are_waited_for() -> None:
    session = Threaded(wrong=3)
    with pytest.raises(RuntimeError, match="gave up"):
        drivers.concurrent(
            Scene(session, batches(3), cell(), Scenario(CONCURRENT, seconds=0.01, callers=(4,)))
        )
    assert not session.closed, "the session belongs to who loaded it"


def test_a_session_that_nobody_may_share_is_refused_in_words() -> None:
    with pytest.raises(Unsupported, match="several threads"):
        drivers.concurrent(scene(ScriptedSession(Clock()), Clock(), Scenario(CONCURRENT)))


# -- what is refused -------------------------------------------------------------------------------


class Looping(ScriptedSession):
    clock = "a clock of its own"

    def laps(self, batches: Any, count: int, boundary: str, keep: Any) -> Laps:
        raise AssertionError("not called")


@pytest.mark.parametrize("name", [CONCURRENT, SHAPES])
def test_a_program_that_loops_by_itself_is_refused_where_calls_are_made_from_here(
    name: str,
) -> None:
    with pytest.raises(Unsupported, match="loops and times by itself"):
        drivers.refuse(Looping(Clock()), cell(), Scenario(name))
    drivers.refuse(Looping(Clock()), cell(), Scenario(SINGLE))


def test_requests_in_flight_are_refused_where_single_latencies_count() -> None:
    session = Overlapping(Clock())
    with pytest.raises(Unsupported, match=r"3 requests in flight.*--scenario concurrent"):
        drivers.refuse(session, cell(), Scenario(SINGLE))
    drivers.refuse(session, cell(), Scenario(CONCURRENT))


def test_requests_in_flight_are_counted_and_judged_and_have_no_latency() -> None:
    clock = Clock()
    played, scenario = (
        scene(Overlapping(clock), clock, Scenario(CONCURRENT, seconds=1e-3)),
        Scenario(CONCURRENT),
    )
    (point,) = scenarios.points(scenario, 1, [drivers.concurrent(played)])
    assert (point["callers"], point["requests"]) == (1, 3)
    assert point["per_second"]["value"] == pytest.approx(1e7), "one is done every 100 ns"
    assert point["calls"][0] >= 10_000, "as many as the time takes"
    assert point["latency"]["p50_ns"] is None
    assert point["latency"]["refused"] == ["no single latency is seen of 3 requests in flight"]
    (kept,) = played.kept.values()
    assert {index: int(outputs["x"][0]) for index, outputs in kept.items()} == {0: 0, 1: 1, 2: 2}
