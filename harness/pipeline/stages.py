"""Frames through the stages of a pipeline: one after another, overlapped with a bound on frames in
flight, or at a camera's pace.

Nothing here knows what a stage does, or reads a clock of its own: both are handed in, so that a
test decides what time it is.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

DECODE = "decode"
STAGES = (DECODE, "preprocess", "infer", "postprocess", "draw")
"""The stages of a frame, in order. Decoding is what the source does when it is asked for the next
frame.
"""

Now = Callable[[], int]
Source = Iterator[Any]
"""Frames in order. Asking for one decodes it; what comes out is handed from stage to stage, each of
which changes it.
"""

Work = Mapping[str, Callable[[Any], None]]
"""What every stage after decoding does with a frame, in order."""


@dataclass(frozen=True)
class Passage:
    """What came of some frames. Times are integer nanoseconds; each list has one entry per frame
    that was drawn, in order.

    `dropped` are the numbers of the frames that were left out because they came too fast.
    `delays_ns`, at a camera's pace only, is the time from a frame's moment until it was drawn.
    `most_in_flight` counts frames that were begun and not drawn yet.
    """

    wall_ns: int
    stages_ns: Mapping[str, Sequence[int]]
    frames: int
    dropped: tuple[int, ...] = ()
    delays_ns: tuple[int, ...] = ()
    most_in_flight: int = 1


def sequential(source: Source, work: Work, now: Now) -> Passage:
    """Each frame through all stages before the next one is decoded. The wall time ends when the
    source has no more frames.
    """
    taken: dict[str, list[int]] = {name: [] for name in (DECODE, *work)}
    final = [*work][-1]
    begin = now()
    while True:
        last = now()
        item = next(source, None)
        read = now()
        if item is None:
            return Passage(read - begin, taken, len(taken[DECODE]))
        taken[DECODE].append(read - last)
        last = read
        for name, do in work.items():
            do(item)
            if name == final:
                item = None  # freed within the stage that is last: otherwise the next frame's decoding would be charged with it
            end = now()
            taken[name].append(end - last)
            last = end


class Slots:
    """Room for so many frames in flight, of which `taken` are now."""

    def __init__(self, many: int) -> None:
        self.many, self.taken = many, 0
        self._changed = threading.Condition()

    def take(self, block: bool) -> bool:
        """Take one, waiting until there is one where `block`; whether it was had."""
        with self._changed:
            if not block and self.taken >= self.many:
                return False
            self._changed.wait_for(lambda: self.taken < self.many)
            self.taken += 1
            return True

    def give(self) -> None:
        """Give one back."""
        with self._changed:
            self.taken -= 1
            self._changed.notify_all()


@dataclass
class _Flight:
    """One frame on its way: what it is, its moment, and how long each stage took."""

    item: Any
    due_ns: int
    stages_ns: dict[str, int]
    drawn_ns: int = 0


@dataclass
class Overlap:
    """Three threads: one decodes and does `before`, the calling one does `here`, and one does
    `after`. Frames stay in order.

    The calling thread has the inference, since some sessions belong to the thread that made them.
    With `period_ns` frame number n arrives at n times the period, as from a camera, and `wait`
    sleeps until the clock reaches a time: a frame is dropped where no slot is free at its moment,
    or where the next one is there already when anybody looks. A dropped frame is decoded, since
    later ones depend on it.
    """

    slots: Slots
    now: Now
    wait: Callable[[int], None] = lambda until: None
    period_ns: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)
    _failures: list[BaseException] = field(default_factory=list, init=False)
    _dropped: list[int] = field(default_factory=list, init=False)
    _most: int = field(default=0, init=False)

    def run(self, source: Source, before: Work, here: Work, after: Work) -> Passage:
        """All frames of `source`, once per object. Raises the first thing that a stage raised, when
        all threads have ended.
        """
        decoded: SimpleQueue[_Flight | None] = SimpleQueue()
        inferred: SimpleQueue[_Flight | None] = SimpleQueue()
        done: list[_Flight] = []
        begin = self.now()

        def feed() -> None:
            try:
                for flight in self._arriving(source, begin):
                    self._do(flight, before)
                    decoded.put(flight)
            except BaseException as error:
                self._fail(error)
            finally:
                decoded.put(None)

        def finish() -> None:
            while (flight := inferred.get()) is not None:
                if self._do(flight, after):
                    flight.drawn_ns = self.now()
                    flight.item = None  # what is done is not kept: it would fill the memory
                    done.append(flight)
                self.slots.give()

        with ThreadPoolExecutor(2, "evenbench-stage") as pool:
            pool.submit(feed)
            pool.submit(finish)
            while (flight := decoded.get()) is not None:
                self._do(flight, here)
                inferred.put(flight)
            inferred.put(None)
        if self._failures:
            raise self._failures[0]
        names = (DECODE, *before, *here, *after)
        taken = {name: [flight.stages_ns[name] for flight in done] for name in names}
        delays = tuple(flight.drawn_ns - flight.due_ns for flight in done) if self.period_ns else ()
        end = done[-1].drawn_ns if done else self.now()
        return Passage(end - begin, taken, len(done), tuple(self._dropped), delays, self._most)

    def _arriving(self, source: Source, begin: int) -> Iterator[_Flight]:
        """The frames that get a slot, decoded, each in a slot of its own."""
        for number in itertools.count():
            due = begin + number * self.period_ns
            taken = self._admitted(due)
            first = self.now()
            item = None if self._stopped.is_set() else next(source, None)
            if item is None:
                if taken:
                    self.slots.give()
                return
            if not taken:
                self._dropped.append(number)
                continue
            self._most = max(self._most, self.slots.taken)
            yield _Flight(item, due, {DECODE: self.now() - first})

    def _admitted(self, due: int) -> bool:
        """Whether the frame of this moment gets a slot."""
        if not self.period_ns:
            return self.slots.take(block=True)
        self.wait(due)
        return self.now() <= due + self.period_ns and self.slots.take(block=False)

    def _do(self, flight: _Flight, work: Work) -> bool:
        """Do it, unless something failed before; then frames are passed on undone, so that every
        thread comes to its end.
        """
        if self._stopped.is_set():
            return False
        try:
            last = self.now()
            for name, do in work.items():
                do(flight.item)
                end = self.now()
                flight.stages_ns[name] = end - last
                last = end
        except BaseException as error:
            self._fail(error)
        return not self._stopped.is_set()

    def _fail(self, error: BaseException) -> None:
        self._failures.append(error)
        self._stopped.set()
