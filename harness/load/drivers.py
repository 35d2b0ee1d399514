"""Calls that arrive as a scenario says, at one loaded session in this process; the outputs of those
very calls are judged.

A lap is a call as its caller sees it: inputs handed over, inference, outputs fetched
(`host_to_host`). Runs inside a worker.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.backend import Session
from harness.core.errors import Unsupported
from harness.core.types import HOST_TO_HOST, Cell, Plan
from harness.load import dynamic_shapes, mlperf
from harness.load.context import Points, Scene
from harness.load.scenarios import (
    CONCURRENT,
    GAPS,
    SERVER,
    SHAPES,
    SINGLE,
    SWEEP,
    LoadRequest,
    Scenario,
)
from harness.measurement import judging, provenance, timing
from harness.measurement.resident import resident
from harness.runner.job import Channel, Job

if TYPE_CHECKING:
    from harness.core.backend import Arrays

MAX_LAPS = 5000
"""Kept of one caller at one point: enough for a p99.9 at 99 % confidence, and little enough for a
results file.
"""

SETTLING = 3
"""Calls back to back before each measured one, so that what the gap before the last one left behind
is gone.
"""


@dataclass
class Thinned:
    """Laps in order: all of them up to twice `MAX_LAPS`, and then an even share, drawn at random so
    that no rhythm is met.
    """

    seed: int
    laps_ns: list[int] = field(default_factory=list)
    calls: int = 0
    total_ns: int = 0
    share: float = 1.0

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed).random

    def add(self, lap: int) -> None:
        """One more lap, which counts whether or not it is kept."""
        self.calls += 1
        self.total_ns += lap
        if self.share == 1.0 or self.draw() < self.share:
            self.laps_ns.append(lap)
        if len(self.laps_ns) >= 2 * MAX_LAPS:
            self.laps_ns = [each for each in self.laps_ns if self.draw() < 0.5]
            self.share /= 2


# -- one process -----------------------------------------------------------------------------------


def perform(job: Job, channel: Channel) -> dict[str, Any]:
    """The task `load` of a worker."""
    request: LoadRequest = job.payload
    return run(
        job.cell,
        request.plan,
        request.scenario,
        {name: Path(path) for name, path in job.folders.items()},
        channel.enter,
    )


def run(
    cell: Cell,
    plan: Plan,
    scenario: Scenario,
    folders: Mapping[str, Path],
    enter: Callable[[str], None],
) -> dict[str, Any]:
    """Put one scenario's load on the cell's runtime; returns what its line is made of. `folders`
    are artifact, inputs and golden, and inputs and goldens of other sizes where the scenario feeds
    them (`Prepared.folders`).

    Raises Unsupported, in words, where the session cannot be called so, and Unavailable where the
    load generator is not installed.
    """
    if scenario.name == SERVER:
        mlperf.find()
    with resident(cell, plan, folders, enter) as loaded:
        session, watch = loaded.session, loaded.watch
        refuse(session, cell, scenario)
        sizes = dynamic_shapes.load(cell, folders)
        scene = Scene(session, loaded.batches, cell, scenario, sizes=sizes)
        loaded.warm_up()
        with loaded.sampling() as seen:
            before, begin = timing.counters_of(session), scene.now()
            points = DRIVERS[scenario.name](scene)
            wall, after = scene.now() - begin, timing.counters_of(session)
            seen.observe(HOST_TO_HOST)
        peak = provenance.peak_rss_bytes(session)
        attested = session.attest()
        with watch.phase("parity"):
            accuracy = judging.accuracy(session, cell, folders["inputs"])
            verdict, judged_sizes = dynamic_shapes.judge(scene, folders, accuracy)
    return {
        **provenance.provenance(cell, attested, folders, watch, (mlperf.DISTRIBUTION,)),
        "points": points,
        "block": {"wall_ns": wall, **timing.counted(before, after)},
        "clock": session.clock,
        "warm_up": loaded.warm,
        "gpu": loaded.observed,
        "peak_rss_bytes": peak,
        "parity": verdict,
        "sizes": judged_sizes,
        "accuracy": accuracy,
    }


def refuse(session: Session, cell: Cell, scenario: Scenario) -> None:
    """Raise Unsupported, in words, where calls of this scenario cannot be told apart in the
    session.
    """
    if session.in_flight > 1 and scenario.name != CONCURRENT:
        raise Unsupported(
            f"{cell.backend} keeps {session.in_flight} requests in flight, whose single latencies nobody sees; take the cell without "
            "that option here, or `--scenario concurrent` for its throughput"
        )
    if type(session).laps is not Session.laps and scenario.name in (CONCURRENT, SERVER, SHAPES):
        raise Unsupported(
            f"{cell.backend} loops and times by itself ({session.clock}); no call can be made from here when it arrives"
        )


# -- one after another -----------------------------------------------------------------------------


def in_turn(scene: Scene) -> Points:
    """Call after call by one caller, each as soon as the one before is answered. A stall is one
    long lap: nobody else was waiting.
    """
    laps, kept = Thinned(scene.scenario.seed), {}
    begin = scene.now()
    count = max(scene.rotation, 10)
    while not laps.calls or scene.now() - begin < scene.limit_ns:
        first = laps.calls
        keep = set(range(first, first + scene.rotation))
        taken = timing.run_laps(
            scene.session, scene.batches, first, count, HOST_TO_HOST, keep, scene.now
        )
        for lap in taken.laps_ns:
            laps.add(lap)
        kept.update({lap % scene.rotation: outputs for lap, outputs in taken.kept.items()})
    scene.kept["one after another"] = kept
    return [
        {
            "batch": scene.cell.batch,
            "calls": laps.calls,
            "laps_ns": laps.laps_ns,
            "wall_ns": laps.total_ns,
        }
    ]


def idle_gaps(scene: Scene) -> Points:
    """One call after each gap, the gaps in a new order every round; before each come calls back to
    back, then the gap, and then the lap.

    So that every lap has the same past but for the gap, and drift of the machine meets all gaps
    alike.
    """
    gaps = scene.scenario.gaps_ms
    laps: dict[float, list[int]] = {gap: [] for gap in gaps}
    waited: dict[float, list[int]] = {gap: [] for gap in gaps}
    shuffle, calls, kept = random.Random(scene.scenario.seed), 0, {}
    whole = max(scene.scenario.rounds, -(-scene.rotation // len(gaps)))
    for _ in range(whole):
        order = list(gaps)
        shuffle.shuffle(order)
        for gap in order:
            timing.run_laps(
                scene.session, scene.batches, calls, SETTLING, HOST_TO_HOST, set(), scene.now
            )
            begin = scene.now()
            if gap:
                scene.sleep(gap / 1e3)
            waited[gap].append(scene.now() - begin)
            taken = timing.run_laps(
                scene.session, scene.batches, calls, 1, HOST_TO_HOST, {calls}, scene.now
            )
            laps[gap] += taken.laps_ns
            kept[calls % scene.rotation] = taken.kept[calls]
            calls += 1
    scene.kept["after gaps"] = kept
    return [{"gap_ms": gap, "laps_ns": laps[gap], "waited_ns": waited[gap]} for gap in gaps]


# -- several callers -------------------------------------------------------------------------------


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


DRIVERS: Mapping[str, Callable[[Scene], Points]] = {
    SINGLE: in_turn,
    SWEEP: in_turn,
    CONCURRENT: concurrent,
    SERVER: server,
    GAPS: idle_gaps,
    SHAPES: dynamic_shapes.shapes,
}
