"""Calls of several callers on real threads, and of one caller with several requests in flight."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from evenbench.harness import Session, Unsupported
from evenbench.harness.load import callers, points
from evenbench.harness.load.context import LoadContext
from evenbench.harness.load.scenarios import CONCURRENT, Scenario
from tests.unit.builders import Clock, Overlapping, ScriptedSession, attestation, batches, cell

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
    context = LoadContext(session, batches(3), cell(), scenario)
    made = {
        point["callers"]: point
        for point in points.merge_points(scenario, 1, [callers.concurrent(context)])
    }
    assert set(context.judged) == {
        "caller 1 of 1",
        *(f"caller {number} of 4" for number in range(1, 5)),
    }
    assert all(set(outputs) == {0, 1, 2} for outputs in context.judged.values()), (
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
        callers.concurrent(
            LoadContext(
                session, batches(3), cell(), Scenario(CONCURRENT, seconds=0.01, callers=(4,))
            )
        )
    assert not session.closed, "the session belongs to who loaded it"


def test_a_session_that_nobody_may_share_is_refused_in_words() -> None:
    with pytest.raises(Unsupported, match="several threads"):
        callers.concurrent(context_of(ScriptedSession(Clock()), Clock(), Scenario(CONCURRENT)))


def test_requests_in_flight_are_counted_and_judged_and_have_no_latency() -> None:
    clock = Clock()
    context, scenario = (
        context_of(Overlapping(clock), clock, Scenario(CONCURRENT, seconds=1e-3)),
        Scenario(CONCURRENT),
    )
    (point,) = points.merge_points(scenario, 1, [callers.concurrent(context)])
    assert (point["callers"], point["requests"]) == (1, 3)
    assert point["per_second"]["value"] == pytest.approx(1e7), "one is done every 100 ns"
    assert point["calls"][0] >= 10_000, "as many as the time takes"
    assert point["latency"]["p50_ns"] is None
    assert point["latency"]["refused"] == ["no single latency is seen of 3 requests in flight"]
    (kept,) = context.judged.values()
    assert {index: int(outputs["x"][0]) for index, outputs in kept.items()} == {0: 0, 1: 1, 2: 2}
