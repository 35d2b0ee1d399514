"""Call patterns of several callers on one loaded network: concurrent calls and random arrivals."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.session import Session
from evenbench.harness.core.types import HOST_TO_HOST
from evenbench.harness.load import mlperf
from evenbench.harness.load.context import LoadContext, Points
from evenbench.harness.load.laps import ThinnedLaps
from evenbench.harness.measurement import timing

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


@dataclass
class Caller:
    """One calling thread: a session on the shared network, with laps and outputs of the calls."""

    session: Session
    context: LoadContext
    number: int = 1
    judged: dict[int, Arrays] = field(default_factory=dict)
    begin: int = 0
    end: int = 0
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.laps = ThinnedLaps(self.context.scenario.seed + self.number)

    def call(self, index: int) -> Arrays:
        """Call the network on a batch; returns the outputs."""
        self.session.bind(self.context.batches[index])
        self.session.step()
        self.session.sync()
        return self.session.fetch()

    def run(self, start: threading.Barrier) -> None:
        """Make calls back to back for the duration of a point.

        An exception is stored in `error` for the waiting thread.
        """
        now, rotation, laps = self.context.now, self.context.rotation, self.laps
        try:
            self.call(0)  # a runtime allocates a thread's buffers and team in the first call
            start.wait()
            self.begin = self.end = now()
            until = self.begin + self.context.limit_ns
            while laps.calls < rotation or self.end < until:
                index = laps.calls % rotation
                begin = now()
                outputs = self.call(index)
                self.end = now()
                laps.add(self.end - begin)
                self.judged[index] = outputs
        except threading.BrokenBarrierError:
            pass  # another caller failed and stores the error
        except BaseException as error:
            self.error = error
            start.abort()


def concurrent(context: LoadContext) -> Points:
    """Call from several threads at once, for each number of callers.

    A session with requests in flight gets a single caller and a single point.
    """
    if context.session.in_flight > 1:
        return asynchronous_requests(context)
    return [_concurrent_point(context, count) for count in context.scenario.callers]


def _concurrent_point(context: LoadContext, count: int) -> dict[str, Any]:
    numbers = range(1, count + 1)
    callers = [Caller(context.session.beside(), context, number) for number in numbers]
    try:
        _run_threads(callers)
    finally:
        for caller in callers:
            caller.session.close()
    failed = next((caller.error for caller in callers if caller.error), None)
    if failed:
        raise failed
    for caller in callers:
        context.judged[f"caller {caller.number} of {count}"] = caller.judged
    wall = max(caller.end for caller in callers) - min(caller.begin for caller in callers)
    return {
        "callers": count,
        "calls": sum(caller.laps.calls for caller in callers),
        "laps_ns": [lap for caller in callers for lap in caller.laps.laps_ns],
        "wall_ns": wall,
    }


def _run_threads(callers: Sequence[Caller]) -> None:
    """Start all callers together, and wait for the end of all."""
    start = threading.Barrier(len(callers))
    threads = [threading.Thread(target=caller.run, args=(start,)) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def asynchronous_requests(context: LoadContext) -> Points:
    """Measure throughput with several requests in flight; single latencies are unknown.

    Filling and draining the queue costs time in each stretch of laps, so a stretch lasts at least a
    tenth of the duration.
    """
    session, kept = context.session, {}
    calls, wall, count = 0, 0, max(context.rotation, session.in_flight)
    while wall < context.limit_ns:
        keep = set(range(calls, calls + context.rotation))
        taken = timing.run_laps(
            session, context.batches, calls, count, HOST_TO_HOST, keep, context.now
        )
        spent = sum(taken.laps_ns)
        kept.update({lap % context.rotation: outputs for lap, outputs in taken.kept.items()})
        calls, wall = calls + count, wall + spent
        if spent < context.limit_ns / 10:
            count *= 2
    context.judged[f"{session.in_flight} requests in flight"] = kept
    return [
        {
            "callers": 1,
            "requests": session.in_flight,
            "calls": calls,
            "laps_ns": [],
            "wall_ns": wall,
        }
    ]


def server(context: LoadContext) -> Points:
    """Handle Poisson arrivals from MLCommons' load generator; see `harness.load.mlperf`."""
    count = context.scenario.callers[0]
    is_alone = count == 1
    sessions = [context.session] if is_alone else [context.session.beside() for _ in range(count)]
    callers = [Caller(session, context) for session in sessions]
    try:
        for caller in callers:
            caller.call(0)
        point = mlperf.judge(
            context.scenario,
            [caller.call for caller in callers],
            context.rotation,
            _usual_ns(context, callers[0]),
            context.judged,
        )
    finally:
        if not is_alone:
            for session in sessions:
                session.close()
    return [point]


def _usual_ns(context: LoadContext, caller: Caller) -> float:
    """The mean duration of a call in nanoseconds, over all batches."""
    begin = context.now()
    for index in range(context.rotation):
        caller.call(index)
    return (context.now() - begin) / context.rotation
