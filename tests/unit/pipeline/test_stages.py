"""Frames through stages: what is timed, how many are in flight, which ones are dropped. Time is the
test's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from evenbench.harness.pipeline import stages
from evenbench.harness.pipeline.stages import Overlap, Slots

SECOND = 1_000_000_000


@dataclass
class Clock:
    """Moves only when somebody works or waits."""

    now_ns: int = 1_000
    waits: list[int] = field(default_factory=list)

    def now(self) -> int:
        return self.now_ns

    def spend(self, duration: int) -> None:
        self.now_ns += duration

    def wait(self, until: int) -> None:
        self.waits.append(until)
        self.now_ns = max(self.now_ns, until)


def frames(
    clock: Clock, count: int, decode: Callable[[int], int] = lambda number: 0
) -> Iterator[int]:
    for number in range(count):
        clock.spend(decode(number))
        yield number


def work(clock: Clock, **durations: int) -> dict[str, Callable[[Any], None]]:
    return {
        name: lambda item, duration=duration: clock.spend(duration)
        for name, duration in durations.items()
    }  # type: ignore[misc]


def nothing(item: Any) -> None:
    pass


def test_one_after_another_every_stage_has_its_own_time() -> None:
    clock = Clock()
    result = stages.sequential(
        frames(clock, 3, lambda number: 10 + number),
        work(clock, preprocess=20, infer=300, draw=4),
        clock.now,
    )
    assert result.stages_ns == {
        "decode": [10, 11, 12],
        "preprocess": [20] * 3,
        "infer": [300] * 3,
        "draw": [4] * 3,
    }
    assert (result.frames, result.wall_ns, result.dropped, result.most_in_flight) == (
        3,
        33 + 3 * 324,
        (),
        1,
    )


class Heavy:
    """A frame that takes time to go."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __del__(self) -> None:
        self.clock.spend(50)


def test_what_a_frame_left_behind_is_cleared_away_within_its_last_stage() -> None:
    clock = Clock()
    result = stages.sequential(
        (Heavy(clock) for _ in range(3)), work(clock, infer=300, draw=4), clock.now
    )
    assert result.stages_ns == {"decode": [0] * 3, "infer": [300] * 3, "draw": [54] * 3}


def test_a_video_without_frames_takes_no_stage() -> None:
    clock = Clock()
    assert stages.sequential(iter(()), work(clock, infer=300), clock.now).frames == 0
    result = Overlap(Slots(2), clock.now).run(iter(()), {}, work(clock, infer=300), {})
    assert (result.frames, result.stages_ns, result.most_in_flight) == (
        0,
        {"decode": [], "infer": []},
        0,
    )


@pytest.mark.parametrize("many", [1, 2, 4])
def test_no_more_than_so_many_frames_are_in_flight(many: int) -> None:
    """Decoding is let run ahead: nothing is drawn until it could not go on."""
    begun: list[int] = []
    slots, ahead = Slots(many), threading.Event()

    def decoded() -> Iterator[int]:
        for number in range(12):
            begun.append(number)
            if len(begun) == many:
                ahead.set()
            yield number

    drawn: list[tuple[int, int]] = []

    def draw(item: int) -> None:
        assert ahead.wait(10)
        drawn.append((item, len(begun)))

    result = Overlap(slots, Clock().now).run(
        decoded(), {"preprocess": nothing}, {"infer": nothing}, {"draw": draw}
    )
    assert [item for item, _ in drawn] == list(range(12)), "frames stay in order"
    assert max(seen - item for item, seen in drawn) <= many, "begun and not drawn"
    assert (result.frames, result.most_in_flight, slots.taken) == (12, many, 0)


def test_stages_overlap() -> None:
    """The next frame is decoded while this one is inferred: each waits for the other, so that
    neither could run alone.
    """
    next_is_decoded, first_is_inferred = threading.Event(), threading.Event()

    def decoded() -> Iterator[int]:
        yield 0
        assert first_is_inferred.wait(10)
        next_is_decoded.set()
        yield 1

    def infer(item: int) -> None:
        if item == 0:
            first_is_inferred.set()
            assert next_is_decoded.wait(10)

    assert Overlap(Slots(2), Clock().now).run(decoded(), {}, {"infer": infer}, {}).frames == 2


def test_inference_stays_in_the_calling_thread() -> None:
    seen: dict[str, int] = {}
    noting = {
        name: (lambda item, name=name: seen.update({name: threading.get_ident()}))
        for name in ("preprocess", "infer", "draw")
    }
    Overlap(Slots(1), Clock().now).run(iter([0]), *({name: noting[name]} for name in noting))
    assert seen["infer"] == threading.get_ident()
    assert len(set(seen.values())) == 3


def test_frames_are_dropped_while_all_slots_are_taken() -> None:
    """Nothing is drawn before frame 5 is due: 0 and 1 are in flight, 2, 3 and 4 find no slot."""
    clock, slots, hold = Clock(), Slots(2), threading.Event()

    def wait(until: int) -> None:
        clock.wait(until)
        if until == 1_000 + 5 * SECOND:
            hold.set()
            while slots.taken:
                pass

    overlap = Overlap(slots, clock.now, wait, SECOND)
    result = overlap.run(
        frames(clock, 6), {}, {"infer": nothing}, {"draw": lambda item: hold.wait(10)}
    )
    assert result.dropped == (2, 3, 4)
    assert (result.frames, result.most_in_flight) == (3, 2)
    assert len(result.delays_ns) == 3


def test_frames_are_dropped_where_the_next_one_is_there_already() -> None:
    """Decoding frame 1 takes three and a half periods: 2 and 3 are old by then, and 4 is the one
    that a camera would show.
    """
    clock = Clock()
    source = frames(clock, 6, lambda number: 7 * SECOND // 2 if number == 1 else 0)
    result = Overlap(Slots(9), clock.now, clock.wait, SECOND).run(
        source, {}, {"infer": nothing}, {}
    )
    assert result.dropped == (2, 3)
    assert result.frames == 4
    assert clock.waits == [1_000 + number * SECOND for number in range(7)], (
        "every frame, and once more for the end"
    )


def test_what_keeps_up_drops_nothing() -> None:
    clock = Clock()
    result = Overlap(Slots(5), clock.now, clock.wait, SECOND).run(
        frames(clock, 5), {}, {"infer": nothing}, {}
    )
    assert (result.dropped, result.frames) == ((), 5)
    assert all(delay >= 0 for delay in result.delays_ns)


@pytest.mark.parametrize("where", ["decode", "preprocess", "infer", "draw"])
def test_an_error_in_any_stage_ends_all_threads(where: str) -> None:
    def fail(item: int) -> None:
        if item == 3:
            raise RuntimeError(f"{where} broke")

    def decoded() -> Iterator[int]:
        for number in range(100):
            if where == "decode":
                fail(number)
            yield number

    do = {name: fail if name == where else nothing for name in ("preprocess", "infer", "draw")}
    before = threading.active_count()
    with pytest.raises(RuntimeError, match=f"{where} broke"):
        Overlap(Slots(2), Clock().now).run(
            decoded(),
            {"preprocess": do["preprocess"]},
            {"infer": do["infer"]},
            {"draw": do["draw"]},
        )
    assert threading.active_count() == before


def test_what_is_drawn_is_not_kept() -> None:
    """A long video would fill the memory with its frames."""
    import gc
    import weakref

    class Picture:
        pass

    alive: list[weakref.ref[Picture]] = []

    def decoded() -> Iterator[Picture]:
        for _ in range(20):
            picture = Picture()
            alive.append(weakref.ref(picture))
            yield picture

    most: list[int] = []

    def draw(item: Picture) -> None:
        gc.collect(
            1
        )  # the pictures are young; a full collection takes a second after thousands of tests
        most.append(sum(1 for each in alive if each() is not None))

    Overlap(Slots(2), Clock().now).run(decoded(), {}, {"infer": nothing}, {"draw": draw})
    assert max(most) <= 6, "those in flight, and what the threads still hold"
