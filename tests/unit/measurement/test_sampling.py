"""Warm-up and sampling: the stop rule, blocks, kept outputs, and binding cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import BOUNDARIES, COMPUTE
from evenbench.harness.measurement import sampling
from tests.unit.builders import Clock, ScriptedSession, batches, plan, sampled

MS = 1_000_000


def sample(
    session: ScriptedSession, clock: Clock, rotation: int = 3, **changed: Any
) -> tuple[Any, Any]:
    turns = sampled(session, rotation, plan(**changed), clock)
    return turns.samples(), turns.kept


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
    assert sampling.binding(samples, session) == 400


def test_one_clock_alone_tells_nothing_of_the_binding() -> None:
    clock = Clock()
    session = ScriptedSession(clock, step_ns=2_000)
    assert sampling.binding(sample(session, clock)[0], session) is None


def test_kept_outputs_cover_every_batch_and_come_out_of_the_timed_loop() -> None:
    clock = Clock()
    session = ScriptedSession(clock, step_ns=100_000)
    turns = sampled(session, 11, plan(), clock)
    samples, kept = turns.samples(), turns.kept
    for boundary in BOUNDARIES:
        assert {batch: outputs["y"][0] for batch, outputs in kept[boundary].items()} == {
            batch: batch for batch in range(11)
        }
    laps = sum(len(samples[boundary].laps_ns) for boundary in BOUNDARIES)
    assert session.steps == laps + sum(turns.untimed_laps), "a step ran that no lap counts"
    laps_of_kept = {
        int(outputs["y"][1]) for boundary in BOUNDARIES for outputs in kept[boundary].values()
    }
    assert len(laps_of_kept) == 22, "an output was kept that another lap made"


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


def test_the_least_time_is_met_in_blocks_of_twenty_ms() -> None:
    clock = Clock()
    samples, _ = sample(ScriptedSession(clock, step_ns=MS), clock, min_seconds=0.4, max_seconds=5.0)
    for boundary in BOUNDARIES:
        assert len(samples[boundary].blocks) == 20
        assert 380 * MS <= sum(samples[boundary].laps_ns) <= 400 * MS, "the first block is short"


def test_a_step_of_nanoseconds_ends_at_the_most_laps() -> None:
    clock = Clock()
    samples, _ = sample(ScriptedSession(clock, step_ns=10), clock, min_seconds=1.0, max_seconds=5.0)
    assert [len(samples[boundary].laps_ns) for boundary in BOUNDARIES] == [sampling.MAX_LAPS] * 2
    assert samples[COMPUTE].verdict == "stable"


def test_blocks_account_for_every_lap_and_for_what_the_counters_saw() -> None:
    clock = Clock()
    readings = iter(range(1_000))

    def read() -> tuple[int, int, int, int, int, int]:
        number = next(readings)
        return 100 * number, number, 2 * number, 3 * number, 4 * number, 150 * number

    session = ScriptedSession(clock, bind_ns=7, step_ns=MS)
    samples = sampled(session, 3, plan(max_seconds=1.0), clock, read).samples()
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


def warm(
    step_ns: Callable[[int], int], **changed: Any
) -> tuple[dict[str, Any], ScriptedSession, Plan]:
    clock, chosen = Clock(), plan(**changed)
    session = ScriptedSession(clock, step_ns=step_ns)
    return sampling.warm_up(session, batches(3), chosen, clock), session, chosen


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
