"""How a timed loop uses its inputs, for any number of samples, batch size and first lap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evenbench.harness.core.types import BOUNDARIES
from evenbench.harness.measurement import sampling, timing
from evenbench.harness.statistics import steady_state
from tests.unit.builders import Clock, ScriptedSession, batches, plan, sampled


@given(
    st.integers(1, 12),
    st.integers(0, 40),
    st.integers(1, 60),
    st.sampled_from(BOUNDARIES),
    st.sets(st.integers(0, 100), max_size=8),
)
def test_laps_are_counted_rotated_and_kept_exactly(
    rotation: int, first: int, count: int, boundary: str, keep: set[int]
) -> None:
    clock = Clock()
    session = ScriptedSession(clock, step_ns=lambda step: 1 + step % 7)
    laps = timing.run_laps(session, batches(rotation), first, count, boundary, keep, clock)
    assert laps.laps_ns == [1 + step % 7 for step in range(count)]
    assert session.bound == [lap % rotation for lap in range(first, first + count)]
    assert set(laps.kept) == {lap for lap in keep if first <= lap < first + count}
    assert all(
        outputs["y"].tolist() == [lap % rotation, lap - first + 1]
        for lap, outputs in laps.kept.items()
    )


@given(
    st.integers(1, 30),
    st.integers(10**3, 10**9),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.01, 0.2]),
    st.booleans(),
)
def test_a_sample_always_ends_with_a_verdict_that_is_true(
    rotation: int, step_ns: int, least: int, seconds: float, drifts: bool
) -> None:
    clock, chosen = Clock(), plan(min_samples=least, min_seconds=seconds, max_seconds=0.3)
    session = ScriptedSession(clock, step_ns=lambda step: step_ns * (1 + step * drifts))
    turns = sampled(session, rotation, chosen, clock)
    samples, kept = turns.samples(), turns.kept
    for boundary in BOUNDARIES:
        found = samples[boundary]
        laps, wall_ns = len(found.laps_ns), sum(block.wall_ns for block in found.blocks)
        assert sorted(kept[boundary]) == list(range(rotation))
        assert laps == sum(block.laps for block in found.blocks) <= sampling.MAX_LAPS
        blocks_ns = len(found.blocks) * sampling.BLOCK_NS
        enough = laps >= max(least, rotation) and (
            max(wall_ns, blocks_ns) >= seconds * 1e9 or laps == sampling.MAX_LAPS
        )
        assert (found.verdict == "capped") is not enough
        if found.verdict == "unstable":
            assert wall_ns >= 0.3e9 or laps == sampling.MAX_LAPS


@given(st.lists(st.floats(200.0, 1e9), min_size=3, max_size=8), st.floats(0.01, 0.5))
def test_windows_agree_whatever_their_order_and_unit_of_time(
    windows: list[float], tolerance: float
) -> None:
    answer = steady_state.stable(windows, tolerance)
    last = windows[-3:]
    assert steady_state.stable(last[::-1], tolerance) is answer
    far_apart = max(last) - min(last) > max(tolerance * min(last), steady_state.CLOCK_NS)
    assert answer is not far_apart
