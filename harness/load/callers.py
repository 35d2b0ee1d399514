"""Calls of several callers on one loaded network: as fast as they go, or as they arrive."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.core.backend import Session
from harness.core.types import HOST_TO_HOST
from harness.load import mlperf
from harness.load.context import Points, Scene
from harness.load.laps import Thinned
from harness.measurement import timing

if TYPE_CHECKING:
    from harness.core.backend import Arrays


@dataclass
class Caller:
    """One thread's own view of the network, and what its calls took and answered."""

    session: Session
    scene: Scene
    number: int = 1
    kept: dict[int, Arrays] = field(default_factory=dict)
    begin: int = 0
    end: int = 0
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.laps = Thinned(self.scene.scenario.seed + self.number)

    def call(self, index: int) -> Arrays:
        """One call on a batch; its outputs."""
        self.session.bind(self.scene.batches[index])
        self.session.step()
        self.session.sync()
        return self.session.fetch()

    def go_on(self, everybody: threading.Barrier) -> None:
        """Calls one after another until the time of a point is over. What goes wrong is kept for
        the thread that waits.
        """
        now, rotation, laps = self.scene.now, self.scene.rotation, self.laps
        try:
            self.call(
                0
            )  # a runtime makes a thread's buffers and team when it is first called by it
            everybody.wait()
            self.begin = self.end = now()
            until = self.begin + self.scene.limit_ns
            while laps.calls < rotation or self.end < until:
                index = laps.calls % rotation
                begin = now()
                outputs = self.call(index)
                self.end = now()
                laps.add(self.end - begin)
                self.kept[index] = outputs
        except threading.BrokenBarrierError:
            pass  # another caller gave up, and has the error
        except BaseException as error:
            self.error = error
            everybody.abort()


def concurrent(scene: Scene) -> Points:
    """For every number of callers: as many threads on one network, each calling as fast as it is
    answered.

    A session that keeps requests in flight by itself has one caller, and one point.
    """
    if scene.session.in_flight > 1:
        return requests(scene)
    points = []
    for many in scene.scenario.callers:
        callers = [Caller(scene.session.beside(), scene, number) for number in range(1, many + 1)]
        try:
            everybody = threading.Barrier(many)
            threads = [
                threading.Thread(target=caller.go_on, args=(everybody,)) for caller in callers
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            for caller in callers:
                caller.session.close()
        failed = next((caller.error for caller in callers if caller.error), None)
        if failed:
            raise failed
        for caller in callers:
            scene.kept[f"caller {caller.number} of {many}"] = caller.kept
        wall = max(caller.end for caller in callers) - min(caller.begin for caller in callers)
        calls, laps = (
            sum(each.laps.calls for each in callers),
            [lap for each in callers for lap in each.laps.laps_ns],
        )
        points.append({"callers": many, "calls": calls, "laps_ns": laps, "wall_ns": wall})
    return points


def requests(scene: Scene) -> Points:
    """One caller who hands over a request as soon as one of those in flight is answered:
    throughput, without single latencies.

    Laps are taken in stretches that last a tenth of the time or more, since each begins with all
    requests in flight and ends there.
    """
    session, kept = scene.session, {}
    calls, wall, count = 0, 0, max(scene.rotation, session.in_flight)
    while wall < scene.limit_ns:
        keep = set(range(calls, calls + scene.rotation))
        taken = timing.run_laps(session, scene.batches, calls, count, HOST_TO_HOST, keep, scene.now)
        spent = sum(taken.laps_ns)
        kept.update({lap % scene.rotation: outputs for lap, outputs in taken.kept.items()})
        calls, wall = calls + count, wall + spent
        if spent < scene.limit_ns / 10:
            count *= 2
    scene.kept[f"{session.in_flight} requests in flight"] = kept
    return [
        {
            "callers": 1,
            "requests": session.in_flight,
            "calls": calls,
            "laps_ns": [],
            "wall_ns": wall,
        }
    ]


def server(scene: Scene) -> Points:
    """Poisson arrivals by MLCommons' load generator, answered by threads on one network; see
    `loadgen`.
    """
    many = scene.scenario.callers[0]
    sessions = [scene.session] if many == 1 else [scene.session.beside() for _ in range(many)]
    callers = [Caller(session, scene) for session in sessions]
    try:
        for caller in callers:
            caller.call(0)
        begin = scene.now()
        for index in range(scene.rotation):
            callers[0].call(index)
        usual_ns = (scene.now() - begin) / scene.rotation
        point = mlperf.judge(
            scene.scenario,
            [caller.call for caller in callers],
            scene.rotation,
            usual_ns,
            scene.kept,
        )
    finally:
        if many > 1:
            for session in sessions:
                session.close()
    return [point]
