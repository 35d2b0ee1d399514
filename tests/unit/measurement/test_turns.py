"""Turns: untimed laps first, then a block of each boundary, in alternating order."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.harness.core.types import BOUNDARIES
from evenbench.harness.measurement.sampling import MOST_BLOCK_NS
from evenbench.harness.measurement.turns import MOST_UNTIMED_LAPS, Turns
from tests.unit.builders import Clock, ScriptedSession, batches, plan

MS = 1_000_000


def turns(session: ScriptedSession, typical_ns: float = MS, **changed: Any) -> Turns:
    clock = session.clock_of_test
    return Turns(
        session, batches(3), plan(**changed), typical_ns, clock, lambda: (0, 0, 0, 0, 0, 0)
    )


def test_a_turn_has_a_block_of_each_boundary_of_about_twenty_ms() -> None:
    session = ScriptedSession(Clock(), step_ns=2 * MS)
    taken = turns(session, 2 * MS)
    reply = taken.take(0)
    assert reply["times_ns"] == {"compute": 2 * MS, "host_to_host": 2 * MS}
    for boundary in BOUNDARIES:
        assert taken.samplers[boundary].blocks[0].laps == 10
    assert (taken.rounds, taken.untimed_laps) == ([0], [1])


def test_a_slow_step_is_timed_once_per_turn() -> None:
    taken = turns(ScriptedSession(Clock(), step_ns=500 * MS), 500 * MS)
    taken.take(0)
    assert [taken.samplers[boundary].blocks[0].laps for boundary in BOUNDARIES] == [1, 1]


@pytest.mark.parametrize(("slow", "untimed"), [(0, 1), (1, 2), (4, 5), (99, MOST_UNTIMED_LAPS)])
def test_untimed_laps_end_when_a_lap_is_as_fast_as_before(slow: int, untimed: int) -> None:
    """The first `slow` laps after the wake-up take twice as long."""
    session = ScriptedSession(Clock(), step_ns=lambda step: MS * (2 if step < slow else 1))
    taken = turns(session)
    taken.take(0)
    assert taken.untimed_laps == [untimed]
    if slow < untimed:
        laps_ns = taken.samplers["compute"].laps_ns
        assert set(laps_ns) == {MS}, "a lap of the wake-up was timed"


def test_untimed_laps_end_after_their_time() -> None:
    taken = turns(ScriptedSession(Clock(), step_ns=30 * MS))
    taken.take(0)
    assert taken.untimed_laps == [1]


def test_a_block_of_stalled_laps_is_cut_short() -> None:
    """Laps of 1 ms that take 50 ms from some point on: 20 laps would take a second."""
    session = ScriptedSession(Clock(), step_ns=lambda step: 50 * MS if step > 1 else MS)
    taken = turns(session)
    taken.take(0)
    block = taken.samplers["compute"].blocks[0]
    assert block.laps == 5, "a quarter of the block, then the time was over"
    assert block.wall_ns > MOST_BLOCK_NS


def test_boundaries_take_turns_in_being_first() -> None:
    session = ScriptedSession(Clock(), step_ns=20 * MS, fetch_ns=1)
    taken = turns(session, 20 * MS)
    seen: list[str] = []
    taken.observe = seen.append
    for number in range(3):
        taken.take(number)
    assert seen == ["compute", "host_to_host", "host_to_host", "compute", "compute", "host_to_host"]


def test_the_minimum_counts_laps_and_time_or_blocks() -> None:
    """Steps of 10 µs make blocks of less than 20 ms, since a block has at most 100 laps here."""
    taken = turns(
        ScriptedSession(Clock(), step_ns=10_000), 10_000, min_seconds=0.06, max_seconds=1.0
    )
    assert [taken.take(number)["enough"] for number in range(3)] == [False, False, True]


def test_outputs_are_kept_of_every_batch() -> None:
    taken = turns(ScriptedSession(Clock(), step_ns=30 * MS), 30 * MS)
    for number in range(3):
        taken.take(number)
    assert {name: sorted(kept) for name, kept in taken.kept.items()} == {
        boundary: [0, 1, 2] for boundary in BOUNDARIES
    }


def test_cores_in_use_are_those_of_long_blocks() -> None:
    """CPU time passes twice as fast as the clock; reading a counter takes 60 µs of it."""
    session, read = ScriptedSession(Clock(), step_ns=MS), iter(range(10**6))
    taken = turns(session)
    clock = session.clock_of_test
    for sampler in taken.samplers.values():
        sampler.read_counters = lambda: (2 * clock() + 60_000 * next(read), 0, 0, 0, 0, 0)
    taken.take(0)
    assert taken.cores == pytest.approx(2.0, abs=0.01)
    short = turns(ScriptedSession(Clock(), step_ns=100), 100)
    short.take(0)
    assert short.cores == 0.0
