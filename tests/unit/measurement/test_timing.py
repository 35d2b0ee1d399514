"""The timed loop: the number of laps, and the verbs between the two readings of the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evenbench.harness.core.session import Laps
from evenbench.harness.core.types import BOUNDARIES, COMPUTE, HOST_TO_HOST
from evenbench.harness.measurement import timing
from tests.unit.builders import Clock, Overlapping, ScriptedSession, batches

MS = 1_000_000


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("count", [1, 2, 7, 500])
def test_laps_are_as_many_as_asked_and_none_is_dropped(boundary: str, count: int) -> None:
    clock = Clock()
    session = ScriptedSession(clock, step_ns=lambda step: 10 + step)
    laps = timing.run_laps(session, batches(3), 0, count, boundary, set(), clock)
    assert laps.laps_ns == [10 + step for step in range(count)]
    assert session.steps == count


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_inputs_rotate_by_lap_number(boundary: str) -> None:
    clock = Clock()
    session = ScriptedSession(clock)
    timing.run_laps(session, batches(3), 4, 5, boundary, set(), clock)
    assert session.bound == [1, 2, 0, 1, 2]


def test_compute_leaves_bind_and_fetch_outside_the_clock() -> None:
    clock = Clock()
    session = ScriptedSession(clock, bind_ns=MS, step_ns=1_000, sync_ns=500, fetch_ns=MS)
    assert (
        timing.run_laps(session, batches(2), 0, 3, COMPUTE, {0, 1, 2}, clock).laps_ns == [1_500] * 3
    )


def test_host_to_host_has_bind_and_fetch_inside_the_clock() -> None:
    clock = Clock()
    session = ScriptedSession(clock, bind_ns=MS, step_ns=1_000, sync_ns=500, fetch_ns=2 * MS)
    laps = timing.run_laps(session, batches(2), 0, 3, HOST_TO_HOST, set(), clock)
    assert laps.laps_ns == [3 * MS + 1_500] * 3
    assert session.verbs == ["bind", "step", "sync", "fetch"] * 3


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_kept_outputs_are_those_of_their_lap(boundary: str) -> None:
    clock = Clock()
    laps = timing.run_laps(ScriptedSession(clock), batches(3), 0, 8, boundary, {1, 5}, clock)
    assert {lap: outputs["y"].tolist() for lap, outputs in laps.kept.items()} == {
        1: [1, 2],
        5: [2, 6],
    }


class Asynchronous(ScriptedSession):
    """A device that works on after `step` has returned, as GPUs do."""

    DEVICE_SECONDS = 0.05

    def step(self) -> None:
        self.done_at = time.perf_counter() + self.DEVICE_SECONDS

    def sync(self) -> None:
        time.sleep(max(0.0, self.done_at - time.perf_counter()))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_an_asynchronous_device_is_waited_for(boundary: str) -> None:
    laps = timing.run_laps(
        Asynchronous(Clock()), batches(2), 0, 2, boundary, set(), time.perf_counter_ns
    )
    assert min(laps.laps_ns) >= 50 * MS


def test_real_counters_go_up() -> None:
    before = timing.counters()
    spent = np.random.default_rng(0).standard_normal(2_000_000).sum()
    after = timing.counters()
    assert after[0] > before[0], spent
    assert all(late >= early for late, early in zip(after, before, strict=True))


class OwnLoop(ScriptedSession):
    """Times itself, as a C++ runner does."""

    clock = "std::chrono::steady_clock"
    tell: Callable[[list[int]], list[int]] = staticmethod(lambda laps: laps)

    def laps(self, batches: Any, count: int, boundary: str, keep: Any) -> Laps:
        made, kept = [], {}
        for lap in range(count):
            self.bind(batches[lap % len(batches)])
            self.step()
            made.append(1_000)
            if lap in keep:
                kept[lap] = self.fetch()
        return Laps(self.tell(made), kept)


def own(tell: Callable[[list[int]], list[int]]) -> tuple[OwnLoop, Clock]:
    clock = Clock()
    session = OwnLoop(clock, step_ns=1_000)
    session.tell = tell  # type: ignore[method-assign]
    return session, clock


def test_a_session_with_its_own_clock_rotates_and_keeps_by_the_same_rule() -> None:
    session, clock = own(lambda laps: laps)
    laps = timing.run_laps(session, batches(3), 4, 5, COMPUTE, {2, 5, 7, 9}, clock)
    assert laps.laps_ns == [1_000] * 5
    assert session.bound == [1, 2, 0, 1, 2]
    assert {lap: int(outputs["y"][0]) for lap, outputs in laps.kept.items()} == {5: 2, 7: 1}


@pytest.mark.parametrize(
    ("tell", "message"),
    [
        (lambda laps: laps[1:], "4 laps, expected 5"),
        (lambda laps: [laps[0] + 1, *laps[1:]], "5001 ns, but only 5000 ns passed"),
    ],
)
def test_laps_of_an_own_clock_are_checked(
    tell: Callable[[list[int]], list[int]], message: str
) -> None:
    session, clock = own(tell)
    with pytest.raises(ValueError, match=message):
        timing.run_laps(session, batches(3), 0, 5, COMPUTE, set(), clock)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_overlapping_inferences_are_timed_by_the_interval_between_completions(
    boundary: str,
) -> None:
    """The pipe is as full at the first reading as at the last, so that neither filling nor draining
    it is in the number.
    """
    clock = Clock()
    session = Overlapping(clock)
    laps = timing.run_laps(session, batches(3), 1, 10, boundary, {2, 4}, clock)
    assert laps.laps_ns == [100] * 10
    assert sorted(laps.kept) == [2, 4]
    assert len(session.submitted) == 3 + 10
    assert [batch for batch, _ in session.submitted][3:6] == [1, 2, 0], "lap n takes batch n"
    assert {copy for _, copy in session.submitted} == {boundary == HOST_TO_HOST}


def test_a_session_that_says_it_overlaps_must_submit() -> None:
    clock = Clock()
    session = ScriptedSession(clock)
    session.in_flight = 2
    with pytest.raises(NotImplementedError, match="sets in_flight=2 and so must override submit"):
        timing.run_laps(session, batches(3), 0, 2, COMPUTE, set(), clock)
