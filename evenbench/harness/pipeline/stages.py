"""Frames through the stages of a pipeline: sequential, overlapped, or at a camera's pace.

This module knows neither the work of a stage nor a clock: callers pass in both, so tests control
the time.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from evenbench.harness.core.pipeline_terms import DECODE

Now = Callable[[], int]
Source = Iterator[Any]
"""Frames in order. Requesting the next frame decodes the frame; each stage then changes it."""

Work = Mapping[str, Callable[[Any], None]]
"""The functions of the stages after decoding, in order."""


@dataclass(frozen=True)
class PipelineRun:
    """Times of a run of frames through the stages, in integer nanoseconds.

    Each list in `stages_ns` has an entry per drawn frame, in order. `dropped` has the numbers of
    frames without a slot. `delays_ns`, at a camera's pace only, is the time from a frame's arrival
    to the end of drawing. `most_in_flight` counts started but undrawn frames.
    """

    wall_ns: int
    stages_ns: Mapping[str, Sequence[int]]
    frames: int
    dropped: tuple[int, ...] = ()
    delays_ns: tuple[int, ...] = ()
    most_in_flight: int = 1


def sequential(source: Source, work: Work, now: Now) -> PipelineRun:
    """Pass each frame through all stages before decoding the next frame.

    The wall time ends after the source's last frame.
    """
    taken: dict[str, list[int]] = {name: [] for name in (DECODE, *work)}
    final = [*work][-1]
    begin = now()
    while True:
        last = now()
        item = next(source, None)
        decoded = now()
        if item is None:
            return PipelineRun(decoded - begin, taken, len(taken[DECODE]))
        taken[DECODE].append(decoded - last)
        last = decoded
        for name, do in work.items():
            do(item)
            if name == final:
                # Freed within the last stage; otherwise the next frame's decoding pays for it.
                item = None
            end = now()
            taken[name].append(end - last)
            last = end


class Slots:
    """Room for `many` frames in flight; `taken` counts the occupied slots."""

    def __init__(self, many: int) -> None:
        self.many, self.taken = many, 0
        self._changed = threading.Condition()

    def take(self, block: bool) -> bool:
        """Take a free slot, with `block` waiting for a slot; returns whether a slot was free."""
        with self._changed:
            if not block and self.taken >= self.many:
                return False
            self._changed.wait_for(lambda: self.taken < self.many)
            self.taken += 1
            return True

    def give(self) -> None:
        """Return a slot."""
        with self._changed:
            self.taken -= 1
            self._changed.notify_all()


@dataclass
class _Flight:
    """A frame in flight: the item, the time of arrival, and nanoseconds by stage."""

    item: Any
    due_ns: int
    stages_ns: dict[str, int]
    drawn_ns: int = 0


@dataclass
class Overlap:
    """Overlapped stages in three threads, with frames in order.

    A thread decodes and runs `before`, the calling thread runs `here`, and a third thread runs
    `after`. Inference belongs to the calling thread, because some sessions are bound to a thread.

    With `period_ns`, frame n arrives at n times the period, as from a camera; `wait` sleeps until a
    time. A frame is dropped if no slot is free at arrival, or if the next frame has arrived before
    decoding starts. Dropped frames are still decoded, because later frames depend on them.
    """

    slots: Slots
    now: Now
    wait: Callable[[int], None] = lambda until: None
    period_ns: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)
    _failures: list[BaseException] = field(default_factory=list, init=False)
    _dropped: list[int] = field(default_factory=list, init=False)
    _most: int = field(default=0, init=False)

    def run(self, source: Source, before: Work, here: Work, after: Work) -> PipelineRun:
        """Run all frames of `source`, once per object.

        Raises the first exception of any stage, after the end of all threads.
        """
        decoded: SimpleQueue[_Flight | None] = SimpleQueue()
        inferred: SimpleQueue[_Flight | None] = SimpleQueue()
        done: list[_Flight] = []
        begin = self.now()
        with ThreadPoolExecutor(2, "evenbench-stage") as pool:
            pool.submit(self._feed, source, begin, before, decoded)
            pool.submit(self._finish, after, inferred, done)
            while (flight := decoded.get()) is not None:
                self._do(flight, here)
                inferred.put(flight)
            inferred.put(None)
        if self._failures:
            raise self._failures[0]
        return self._result(begin, done, (DECODE, *before, *here, *after))

    def _feed(
        self, source: Source, begin: int, before: Work, decoded: SimpleQueue[_Flight | None]
    ) -> None:
        """The first thread: decode frames and run the stages before inference."""
        try:
            for flight in self._arriving(source, begin):
                self._do(flight, before)
                decoded.put(flight)
        except BaseException as error:
            self._fail(error)
        finally:
            decoded.put(None)

    def _finish(
        self, after: Work, inferred: SimpleQueue[_Flight | None], done: list[_Flight]
    ) -> None:
        """The last thread: run the stages after inference."""
        while (flight := inferred.get()) is not None:
            if self._do(flight, after):
                flight.drawn_ns = self.now()
                flight.item = None  # drawn frames would fill the memory
                done.append(flight)
            self.slots.give()

    def _result(self, begin: int, done: list[_Flight], names: Sequence[str]) -> PipelineRun:
        taken = {name: [flight.stages_ns[name] for flight in done] for name in names}
        delays = tuple(flight.drawn_ns - flight.due_ns for flight in done) if self.period_ns else ()
        end = done[-1].drawn_ns if done else self.now()
        return PipelineRun(end - begin, taken, len(done), tuple(self._dropped), delays, self._most)

    def _arriving(self, source: Source, begin: int) -> Iterator[_Flight]:
        """The decoded frames with a slot each; other frames are dropped."""
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
        """Whether the frame due at a time gets a slot."""
        if not self.period_ns:
            return self.slots.take(block=True)
        self.wait(due)
        return self.now() <= due + self.period_ns and self.slots.take(block=False)

    def _do(self, flight: _Flight, work: Work) -> bool:
        """Run stages on a frame; returns whether no stage has failed so far.

        After a failure, frames pass without work, so every thread ends.
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
