"""The one loop: every lap counted, the right verbs between the two readings of the clock, and a
verdict when it stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.core.plans import Plan
from harness.core.session import Laps
from harness.core.types import BOUNDARIES, COMPUTE, HOST_TO_HOST
from harness.measurement import timing
from tests.unit.builders import Clock, Overlapping, ScriptedSession, batches, plan

MS = 1_000_000


def no_counters() -> tuple[int, int, int, int, int, int]:
    return 0, 0, 0, 0, 0, 0


def sample(
    session: ScriptedSession, clock: Clock, rotation: int = 3, **changed: Any
) -> tuple[Any, Any]:
    return timing.sample(session, batches(rotation), plan(**changed), clock, no_counters)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("count", [1, 2, 7, 500])
def test_laps_are_as_many_as_asked_and_none_is_dropped(boundary: str, count: int) -> None:
    clock = Clock()
    session = ScriptedSession(clock, step_ns=lambda step: 10 + step)
    laps = timing.run_laps(session, batches(3), 0, count, boundary, set(), clock)
    assert laps.laps_ns == [10 + step for step in range(count)]
    assert session.steps == count


class Inner(ScriptedSession):
    """Its second clock sees the step without the 400 ns that calling it takes."""

    inner, inner_clock = "native", "steady_clock"

    def inner_ns(self) -> int:
        return self.step_ns(self.steps - 1) - 400 if callable(self.step_ns) else self.step_ns - 400


def test_a_second_clock_sees_the_same_laps_and_tells_what_the_call_costs() -> None:
    clock = Clock()
    session = Inner(clock, step_ns=2_000)
    samples, _ = sample(session, clock)
    assert set(samples[COMPUTE].laps_ns) == {2_000}
    assert samples["native"].laps_ns == tuple([1_600] * len(samples[COMPUTE].laps_ns))
    assert samples["native"].clock == "steady_clock"
    assert timing.binding(samples, session) == 400


def test_one_clock_alone_tells_nothing_of_the_binding() -> None:
    clock = Clock()
    session = ScriptedSession(clock, step_ns=2_000)
    assert timing.binding(sample(session, clock)[0], session) is None


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


def test_kept_outputs_cover_every_batch_and_come_out_of_the_timed_loop() -> None:
    clock = Clock()
    session = ScriptedSession(clock, step_ns=100_000)
    samples, kept = sample(session, clock, rotation=11)
    for boundary in BOUNDARIES:
        assert {batch: outputs["y"][0] for batch, outputs in kept[boundary].items()} == {
            batch: batch for batch in range(11)
        }
    assert session.steps == sum(len(samples[boundary].laps_ns) for boundary in BOUNDARIES), (
        "a step ran that no lap counts"
    )
    laps_of_kept = {
        int(outputs["y"][1]) for boundary in BOUNDARIES for outputs in kept[boundary].values()
    }
    assert len(laps_of_kept) == 22, "an output was kept that another lap made"


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


def test_stops_when_enough_and_stable() -> None:
    clock = Clock()
    samples, _ = sample(ScriptedSession(clock, step_ns=4 * MS), clock, max_seconds=10.0)
    for boundary in BOUNDARIES:
        assert samples[boundary].verdict == "stable"
        assert (
            len(samples[boundary].laps_ns) == 15
        )  # three blocks of one window, the fewest that can agree
        assert samples[boundary].clock == "time.perf_counter_ns"


def test_laps_that_never_agree_are_unstable_after_the_longest_time() -> None:
    clock = Clock()
    samples, _ = sample(
        ScriptedSession(clock, step_ns=lambda step: MS * (1 + step)), clock, max_seconds=2.0
    )
    for boundary in BOUNDARIES:
        laps = samples[boundary].laps_ns
        assert samples[boundary].verdict == "unstable"
        assert 2_000 * MS <= sum(laps) < 2_000 * MS + sum(laps[-5:]) + MS


def test_a_step_too_slow_for_the_minimum_is_capped_once_every_batch_was_seen() -> None:
    clock = Clock()
    samples, kept = sample(
        ScriptedSession(clock, step_ns=1_000 * MS),
        clock,
        rotation=7,
        max_seconds=0.5,
        min_samples=50,
    )
    for boundary in BOUNDARIES:
        assert samples[boundary].verdict == "capped"
        assert 7 <= len(samples[boundary].laps_ns) < 50
        assert sorted(kept[boundary]) == list(range(7))


def test_the_least_time_is_met() -> None:
    clock = Clock()
    samples, _ = sample(ScriptedSession(clock, step_ns=MS), clock, min_seconds=0.4, max_seconds=5.0)
    assert all(400 * MS <= sum(samples[boundary].laps_ns) <= 440 * MS for boundary in BOUNDARIES)


def test_a_step_of_nanoseconds_ends_at_the_most_laps() -> None:
    clock = Clock()
    samples, _ = sample(ScriptedSession(clock, step_ns=10), clock, min_seconds=1.0, max_seconds=5.0)
    assert [len(samples[boundary].laps_ns) for boundary in BOUNDARIES] == [timing.MAX_LAPS] * 2
    assert samples[COMPUTE].verdict == "stable"


def test_boundaries_take_turns_block_by_block() -> None:
    clock = Clock()
    session = ScriptedSession(clock, step_ns=4 * MS)
    sample(session, clock, rotation=5, min_samples=20, max_seconds=10.0)
    # Both boundaries keep two rotations of five outputs: 20 laps of four verbs. After these only
    # host_to_host fetches.
    laps = [at for at in range(4 * 20, len(session.verbs)) if session.verbs[at] == "bind"]
    assert (
        "".join("H" if session.verbs[at + 3] == "fetch" else "c" for at in laps) == "cccccHHHHH" * 2
    )


def test_blocks_account_for_every_lap_and_for_what_the_counters_saw() -> None:
    clock = Clock()
    readings = iter(range(1_000))

    def read() -> tuple[int, int, int, int, int, int]:
        number = next(readings)
        return 100 * number, number, 2 * number, 3 * number, 4 * number, 150 * number

    samples, _ = timing.sample(
        ScriptedSession(clock, bind_ns=7, step_ns=MS),
        batches(3),
        plan(max_seconds=1.0),
        clock,
        read,
    )
    blocks = samples[COMPUTE].blocks
    assert sum(block.laps for block in blocks) == len(samples[COMPUTE].laps_ns)
    for block in blocks:
        assert block.wall_ns == block.laps * (MS + 7)
        counted = (
            block.cpu_ns,
            block.preemptions,
            block.minor_faults,
            block.major_faults,
            block.steal_ticks,
            block.machine_cpu_ns,
        )
        assert counted == (100, 1, 2, 3, 4, 150)


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


def warm(
    step_ns: Callable[[int], int], **changed: Any
) -> tuple[dict[str, Any], ScriptedSession, Plan]:
    clock, chosen = Clock(), plan(**changed)
    session = ScriptedSession(clock, step_ns=step_ns)
    return timing.warm_up(session, batches(3), chosen, clock), session, chosen


def test_warm_up_stops_as_soon_as_windows_agree() -> None:
    found, session, chosen = warm(lambda step: MS, warmup_max_seconds=60.0)
    assert found == {"windows_ns": [MS] * 3, "laps": 3 * chosen.window, "stable": True}
    assert "fetch" in session.verbs, "the way out was never warmed"


def test_warm_up_goes_on_while_laps_get_faster() -> None:
    found, _, _ = warm(lambda step: MS * max(1, 60 - 2 * step), warmup_max_seconds=60.0)
    assert found["stable"]
    assert found["windows_ns"][-3:] == [MS] * 3
    assert len(found["windows_ns"]) > 6


def test_warm_up_ends_with_its_time() -> None:
    found, session, _ = warm(lambda step: MS * (step + 1), warmup_max_seconds=1.0)
    assert not found["stable"]
    assert 1_000 * MS <= session.clock_of_test.ns <= 1_000 * MS + 6 * session.steps * MS


def test_warm_up_takes_at_least_one_window() -> None:
    found, _, chosen = warm(lambda step: MS, warmup_max_seconds=0.0)
    assert found["laps"] == chosen.window


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
